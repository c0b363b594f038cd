//! One decision (invariant I9): what the gate does with a call, what `policy explain` says of it, and what a replay of its log comes to.

use portcullis::model::scripted::Turn;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Value, json};

use super::support::{Ended, World, finish, one, shell};

fn explain(world: &World, policy: &str, what: &[&str]) -> Ended {
    let workspace = world.workspace().display().to_string();
    finish(&mut world.command(&[&["policy", "explain", "--workspace", &workspace, "--policy", policy], what].concat()))
}

fn replay(world: &World, policy: &str) -> (Option<i32>, Value) {
    let workspace = world.workspace().display().to_string();
    let ended = finish(&mut world.command(&["policy", "replay", "last", "--workspace", &workspace, "--with", policy, "--json"]));
    (ended.code(), serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}")))
}

#[test]
fn a_command_a_path_and_a_host_are_explained_by_the_rule_that_decides() {
    let world = World::new();
    world.write("home/.ssh/id_ed25519", "key");
    let key = world.path("home/.ssh/id_ed25519").display().to_string();
    std::os::unix::fs::symlink(&key, world.path("ws/link")).unwrap();
    let link = world.path("ws/link").display().to_string();
    let inside = world.path("ws/new").display().to_string();
    for (what, code, said) in [
        (["command", "git status"], 0, "no rule is about it"),
        (["command", "true; env X=1 git push"], 1, "rule `git push`"),
        (["command", "sudo ls"], 1, "forbidden"),
        (["read", &key], 1, "@credentials"),
        (["read", &link], 1, "leads to"),
        (["write", &inside], 0, "policies/workspace-write.toml"),
        (["write", "/etc/passwd"], 1, "add \"/etc/passwd\""),
        (["write", ".git/hooks/pre-commit"], 1, "no policy can allow it"),
        (["host", "[::1]:8080"], 0, "loopback"),
        (["host", "example.org:443"], 1, "mode = \"allowlist\""),
    ] {
        let ended = explain(&world, "workspace-write", &what);
        assert_eq!(ended.code(), Some(code), "{what:?}: {ended:?}");
        assert!(ended.stdout.contains(said), "{what:?}: {ended:?}");
    }
}

#[test]
fn a_recorded_session_under_a_stricter_policy_flips_the_right_verdicts() {
    let world = World::new();
    let patch = json!({"patch": "*** Begin Patch\n*** Add File: new\n+x\n*** End Patch\n"}).to_string();
    world.write("home/.ssh/id_ed25519", "key");
    let denied = json!({"path": world.path("home/.ssh/id_ed25519")}).to_string();
    let turns = [
        one(shell("echo hello")),
        Turn::call("apply_patch", &patch),
        one(shell("git push")),
        one(shell("cat /var/precious")),
        Turn::call("read_file", &denied),
        Turn::message("Done."),
    ];
    world.play(turns);
    let (code, same) = replay(&world, "workspace-write");
    assert_eq!((code, &same["calls"], same["changes"].as_array().unwrap().len()), (Some(0), &json!(5), 0), "{same}");
    let (code, stricter) = replay(&world, "read-only");
    let changes = stricter["changes"].as_array().unwrap();
    assert_eq!(code, Some(1));
    let of = |what: &str| changes.iter().find(|change| change["what"] == what).unwrap_or_else(|| panic!("{what}: {stricter}"));
    assert_eq!((&of("a patch")["was"], &of("a patch")["would_be"]), (&json!("allow"), &json!("denied")));
    // What asks by the one policy has no rule in the other.
    assert_eq!((&of("git push")["was"], &of("git push")["would_be"]), (&json!("ask"), &json!("allow")));
    assert_eq!(changes.len(), 2, "{stricter}");
    let mine = world.write("mine.toml", "schema = 1\nname = \"mine\"\nextends = \"workspace-write\"\n[[command]]\nprefix = [\"echo\"]\ndecision = \"forbid\"\nwhy = \"Silence.\"\n");
    let (_, forbids) = replay(&world, &mine.display().to_string());
    let change = &forbids["changes"][0];
    assert_eq!((&change["what"], &change["would_be"]), (&json!("echo hello"), &json!("forbid")), "{forbids}");
    assert!(change["because"].as_str().unwrap().contains("mine.toml:5"), "{forbids}");
    assert!(!world.path("ws/replayed").exists() && world.path("ws/new").exists(), "nothing was run, and nothing undone");
}

#[test]
fn what_was_refused_and_would_be_allowed_is_a_change_too() {
    let world = World::new();
    let outside = tempfile::tempdir_in("/var/tmp").unwrap();
    std::fs::write(outside.path().join("file"), "text").unwrap();
    let call = json!({"path": outside.path().join("file")}).to_string();
    world.play([Turn::call("read_file", &call), Turn::message("Done.")]);
    let folder = outside.path().display();
    let read = format!("[filesystem]\nread = [\"@system\", \"@toolchains\", \"@workspace\", \"{folder}\"]\n");
    let wider = world.write("wider.toml", format!("schema = 1\nname = \"wider\"\nextends = \"workspace-write\"\n{read}"));
    let (code, replayed) = replay(&world, &wider.display().to_string());
    let changes = replayed["changes"].as_array().unwrap();
    assert_eq!((code, changes.len()), (Some(1), 1), "{replayed}");
    assert_eq!((&changes[0]["was"], &changes[0]["would_be"]), (&json!("denied"), &json!("allow")), "{replayed}");
}

/// Commands as they are generated from the words of the rules of the policy and of others, run by a real session, then explained and replayed.
#[test]
fn the_gate_the_explanation_and_the_replay_agree() {
    let world = World::new();
    let mut runner = TestRunner::deterministic();
    let word = prop::sample::select(vec![
        "git",
        "push",
        "reset",
        "--hard",
        "sudo",
        "cargo",
        "publish",
        "npm",
        "true",
        "-C",
        ".",
        "$x",
        "env",
        "sh -c 'git push'",
        "pull",
    ]);
    let command = prop::collection::vec(word, 1..4).prop_map(|words| words.join(" "));
    let text = prop::collection::vec((command, prop::sample::select(vec!["; ", " && ", " | "])), 1..3)
        .prop_map(|parts| parts.into_iter().map(|(command, joint)| command + joint).collect::<String>() + "true");
    let texts: Vec<String> = (0..40).map(|_| text.new_tree(&mut runner).unwrap().current()).collect();
    let turns = texts.iter().map(|text| one(shell(text))).chain([Turn::message("Done.")]).collect::<Vec<_>>();
    world.play(turns);
    let intents: Vec<Value> = world.records().into_iter().filter(|record| record["event"] == "call_intent").collect();
    assert_eq!(intents.len(), texts.len());
    let mut seen = std::collections::BTreeSet::new();
    for (text, intent) in texts.iter().zip(&intents) {
        let word = match (intent["decision"].as_str().unwrap(), intent["decided_by"].as_str().unwrap()) {
            ("allow", _) => "allowed",
            (_, "nobody") => "asked",
            _ => "forbidden",
        };
        seen.insert(word);
        let explained = explain(&world, "workspace-write", &["command", text]);
        assert!(explained.stdout.starts_with(word), "{text}: {word}, and {explained:?}");
    }
    assert_eq!(seen.len(), 3, "{seen:?}: the commands are too much alike");
    let (code, replayed) = replay(&world, "workspace-write");
    assert_eq!((code, &replayed["calls"]), (Some(0), &json!(texts.len())), "{replayed}");
}
