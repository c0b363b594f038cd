//! Policies compared and put to the test: `policy diff` and `policy test`.

use serde_json::{Value, json};

use super::support::{Ended, World, finish};

fn policy(world: &World, arguments: &[&str]) -> Ended {
    let workspace = world.workspace().display().to_string();
    finish(&mut world.command(&[&["policy", arguments[0], "--workspace", &workspace], &arguments[1..]].concat()))
}

/// The witness of a difference is one for the kernel too.
#[test]
fn what_a_policy_gains_is_what_calls_can_do_then() {
    let world = World::new();
    let outside = tempfile::tempdir_in("/var/tmp").unwrap();
    let place = outside.path().display().to_string();
    let text = |name: &str, more: &str| format!("schema = 1\nname = \"{name}\"\nextends = \"workspace-write\"\n{more}");
    let before = world.write("before.toml", text("before", "")).display().to_string();
    let write = format!("[filesystem]\nwrite = [\"@workspace\", \"@tmp\", \"@home\", \"{place}\"]\n");
    let after = world.write("after.toml", text("after", &write)).display().to_string();
    let ended = policy(&world, &["diff", "--json", &before, &after]);
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    let [difference] = found["differences"].as_array().unwrap().as_slice() else { panic!("{found:#}") };
    assert_eq!((&difference["direction"], &difference["topic"]), (&json!("gained"), &json!("filesystem")), "{found:#}");
    let witness = difference["witness"].as_str().unwrap();
    assert_eq!(witness, place);
    for (name, made) in [(&before, false), (&after, true)] {
        let script = format!("echo x > {witness}/made");
        let workspace = world.workspace().display().to_string();
        finish(&mut world.command(&["sandbox", "--workspace", &workspace, "--policy", name, "--", "sh", "-c", &script]));
        assert_eq!(outside.path().join("made").exists(), made, "{name}");
    }
    let back = policy(&world, &["diff", &after, &before]);
    assert_eq!(back.code(), Some(0), "{back:?}");
    let said: Vec<&str> = back.stdout.split_whitespace().collect();
    let said = said.join(" ");
    assert!(said.contains("0 gained, 1 lost") && said.contains("no entry covers it"), "{back:?}");
    let none = policy(&world, &["diff", &after, "no-such-preset"]);
    assert_eq!((none.code(), none.stdout.as_str()), (Some(2), ""), "{none:?}");
}

/// From a preset to what is in force, which a repository's file has narrowed.
#[test]
fn without_a_second_policy_it_is_compared_to_the_one_in_force() {
    let world = World::new();
    let same = policy(&world, &["diff", "workspace-write"]);
    assert_eq!(same.code(), Some(0), "{same:?}");
    assert!(same.stdout.contains("0 gained, 0 lost, 0 changed"), "{same:?}");
    world.write("ws/.portcullis/policy.toml", "schema = 1\nname = \"ours\"\n[filesystem]\ndeny = [\"private\"]\n");
    let narrowed = policy(&world, &["diff", "workspace-write"]);
    assert_eq!(narrowed.code(), Some(0), "{narrowed:?}");
    let said: Vec<&str> = narrowed.stdout.split_whitespace().collect();
    assert!(said.join(" ").contains("read and write private: allowed -> refused"), "{narrowed:?}");
}

const CASES: &str = r#"schema = 1
policy = "./mine.toml"

[[case]]
command = "git push origin main"
expect = "ask"
rule = "git push"

[[case]]
command = "env X=1 make deploy"
expect = "forbid"
rule = "mine.toml"

[[case]]
command = "make"
expect = "allow"

[[case]]
read = "~/.ssh/id_ed25519"
expect = "refuse"
rule = "@credentials"

[[case]]
write = "docs/new"
expect = "allow"
rule = "docs"

[[case]]
write = "src/main.rs"
expect = "refuse"

[[case]]
host = "example.org:443"
expect = "refuse"
"#;

const MINE: &str = "schema = 1\nname = \"mine\"\nextends = \"workspace-write\"\n[filesystem]\nwrite = [\"docs\", \"attic\", \"@tmp\"]\n\
                    [[command]]\nprefix = [\"make\", \"deploy\"]\ndecision = \"forbid\"\nwhy = \"A person does it.\"\n";

#[test]
fn cases_hold_or_are_named_with_what_is_instead() {
    let world = World::new();
    world.write("mine.toml", MINE);
    let cases = world.write("cases.toml", CASES).display().to_string();
    let ended = policy(&world, &["test", &cases]);
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(ended.stdout.contains("7 cases, 0 failed") && ended.stdout.contains("write attic"), "{ended:?}");
    let covered = policy(&world, &["test", "--coverage", &cases]);
    assert_eq!(covered.code(), Some(1), "an entry that no case reaches: {covered:?}");
    // Each expectation turned round fails, and nothing else does.
    for (from, to, line, said) in [
        ("expect = \"ask\"", "expect = \"allow\"", 5, "allow was expected, and it is ask"),
        ("rule = \"git push\"", "rule = \"git pull\"", 5, "`git pull` was expected to decide"),
        ("\"make\"\nexpect = \"allow\"", "\"make\"\nexpect = \"forbid\"", 15, "forbid was expected, and it is allow"),
        ("rule = \"@credentials\"", "rule = \"@secret-files\"", 19, "policies/read-only.toml"),
        ("\"docs/new\"\nexpect = \"allow\"", "\"docs/new\"\nexpect = \"refuse\"", 24, "refuse was expected, and it is allow"),
        ("host = \"example.org:443\"\nexpect = \"refuse\"", "host = \"example.org:443\"\nexpect = \"allow\"", 33, "it is refuse"),
    ] {
        assert!(CASES.contains(from), "{from}");
        let path = world.write("turned.toml", CASES.replace(from, to)).display().to_string();
        let ended = policy(&world, &["test", "--json", &path]);
        assert_eq!(ended.code(), Some(1), "{to}: {ended:?}");
        let found: Value = serde_json::from_str(&ended.stdout).unwrap();
        let failed: Vec<&Value> = found["cases"].as_array().unwrap().iter().filter(|case| case["holds"] == false).collect();
        assert_eq!((failed.len(), &failed[0]["line"]), (1, &json!(line)), "{to}: {found:#}");
        assert!(failed[0]["missed"].as_str().unwrap().contains(said), "{to}: {found:#}");
    }
}

#[test]
fn a_wrong_file_of_cases_is_shown_with_its_line() {
    let world = World::new();
    for (text, said) in [
        ("schema = 1\n", "[[case]]"),
        ("schema = 2\n[[case]]\nread = \"x\"\nexpect = \"allow\"\n", "schema version 2"),
        ("schema = 1\n[[case]]\nread = \"x\"\n", "missing key `expect`"),
        ("schema = 1\n[[case]]\nexpect = \"allow\"\n", "exactly one of"),
        ("schema = 1\n[[case]]\nread = \"x\"\nwrite = \"y\"\nexpect = \"allow\"\n", "exactly one of"),
        ("schema = 1\n[[case]]\nread = \"x\"\nexpect = \"ask\"\n", "allow, refuse"),
        ("schema = 1\n[[case]]\ncomand = \"x\"\nexpect = \"ask\"\n", "did you mean `command`"),
        ("schema = 1\n[[case]]\nread = \" \"\nexpect = \"allow\"\n", "`read` is empty"),
    ] {
        let path = world.write("wrong.toml", text).display().to_string();
        let ended = policy(&world, &["test", &path]);
        assert_eq!((ended.code(), ended.stdout.as_str()), (Some(3), ""), "{text}: {ended:?}");
        assert!(ended.stderr.contains(said) && ended.stderr.contains("wrong.toml:"), "{text}: {ended:?}");
    }
    let none = policy(&world, &["test", "no-such-file.toml"]);
    assert_eq!(none.code(), Some(2), "{none:?}");
}
