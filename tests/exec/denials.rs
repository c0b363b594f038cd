//! What is refused is told with its layer and rule, and only what is refused.

use std::fs;

use super::support::{World, apply_patch, one, read_file, shell};

const SECRET: &str = "PRIVATE-KEY-45c48cce";

#[test]
fn a_private_key_is_refused_with_layer_and_rule_to_programs_and_to_tools() {
    let world = World::new();
    world.write("home/.ssh/id_ed25519", SECRET);
    let key = world.path("home/.ssh/id_ed25519").display().to_string();
    let turns =
        [one(shell("cat ~/.ssh/id_ed25519")), one(read_file(&key)), one(shell(&format!("grep -r PRIVATE {key} /proc/1/root/{key}")))];
    let played = world.play(turns).well();
    assert!(!played.bodies().concat().contains(SECRET) && !played.ended.stdout.contains(SECRET));
    for call in ["call_0_0", "call_1_0"] {
        let denials = played.denials(call);
        assert_eq!(denials.len(), 1, "{call}: {denials:?}");
        let denial = &denials[0];
        assert_eq!((denial["resource"].as_str(), denial["access"].as_str()), (Some("~/.ssh/id_ed25519"), Some("read")), "{denial}");
        assert!(denial["layer"].as_str().unwrap().contains("mount namespace"), "{denial}");
        let rule = denial["rule"].as_str().unwrap();
        let line =
            rule.split_once("read-only.toml:").and_then(|(_, rest)| rest.split(' ').next()).and_then(|line| line.parse::<usize>().ok());
        let file = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/policies/read-only.toml")).ok();
        // Where the sources are at hand, the line has to be the one of the rule.
        if let (Some(line), Some(file)) = (line, file) {
            assert!(file.lines().nth(line - 1).unwrap().contains("@credentials"), "{rule}");
        }
        assert!(line.is_some() && rule.contains("@credentials"), "{rule}");
    }
    let told = &played.outputs()[0];
    assert!(told.contains("[portcullis] refused: read ~/.ssh/id_ed25519") && told.contains("read-only.toml:"), "{told}");
    let outcome = world.records().into_iter().find(|record| record["event"] == "call_outcome" && record["call"] == "call_0_0").unwrap();
    assert_eq!(outcome["denials"].as_array().unwrap(), &played.denials("call_0_0"));
}

#[test]
fn a_write_outside_of_the_workspace_or_to_a_hook_is_refused_with_its_rule() {
    let world = World::new();
    for folder in ["objects", "refs/heads", "hooks"] {
        fs::create_dir_all(world.path("ws/.git").join(folder)).unwrap();
    }
    world.write("ws/.git/HEAD", "ref: refs/heads/main\n");
    // Not below the temporary folder: a sandbox has one of its own, where it may write.
    let outside = format!("/etc/portcullis-test-{}", std::process::id());
    let before = world.tree();
    let turns = [
        one(shell(&format!("echo x > {outside}"))),
        one(shell("echo x > .git/hooks/pre-commit")),
        one(apply_patch("*** Add File: .git/hooks/pre-commit\n+x\n")),
        one(shell("mkdir .vscode && echo x > .vscode/tasks.json")),
    ];
    let played = world.play(turns).well();
    for call in 0..3 {
        let denials = played.denials(&format!("call_{call}_0"));
        assert!(
            denials.iter().any(|denial| denial["rule"].as_str().unwrap().contains(".toml:")),
            "{call}: {denials:?}\n{}",
            played.outputs()[call]
        );
    }
    assert!(!std::path::Path::new(&outside).exists());
    assert_eq!(world.tree(), before);
}

#[test]
fn a_program_that_only_speaks_of_a_refusal_is_not_taken_for_one() {
    let world = World::new();
    world.write("ws/log.txt", "x\n");
    let turns = [
        one(shell("echo './log.txt: Permission denied'; false")),
        one(shell("echo 'permission denied: log.txt' >&2; cat ./log.txt; exit 3")),
        one(shell("chmod 000 log.txt; cat ./nowhere/at/all; chmod 644 log.txt")),
        one(read_file("nowhere.txt")),
    ];
    let played = world.play(turns).well();
    for call in 0..4 {
        let denials = played.denials(&format!("call_{call}_0"));
        assert!(denials.is_empty(), "{call}: {denials:?}");
    }
    assert!(!played.outputs().concat().contains("[portcullis]"));
}

#[test]
fn the_network_is_refused_with_its_rule() {
    let world = World::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let phone = format!("bash -c 'echo hello > /dev/tcp/127.0.0.1/{port}' || curl -sS http://127.0.0.1:{port}/");
    let played = world.play([one(shell(&phone))]).well();
    let denials = played.denials("call_0_0");
    assert!(
        denials.iter().any(|denial| denial["access"] == "connect" && denial["rule"].as_str().unwrap().contains("workspace-write.toml:")),
        "{denials:?}"
    );
    assert!(listener.accept().is_err(), "somebody connected");
}

#[test]
fn what_the_system_call_filter_refuses_is_reported_by_the_kernel_and_not_guessed() {
    let world = World::new();
    let policy = world.policy("[network]\nmode = \"none\"\n");
    let silent = "python3 -c 'import socket; socket.socket(socket.AF_INET)' 2>/dev/null; unshare -U true 2>/dev/null";
    let played = world.play_with(&["--policy", &policy], [one(shell(silent)), one(shell("echo unshare: Operation not permitted"))]).well();
    let denials = played.denials("call_0_0");
    let of = |access: &str| denials.iter().find(|denial| denial["access"] == access).unwrap_or_else(|| panic!("{access}: {denials:?}"));
    assert_eq!(
        (of("connect")["certainty"].as_str(), of("connect")["layer"].as_str()),
        (Some("kernel"), Some("seccomp and network namespace"))
    );
    assert_eq!((of("call")["certainty"].as_str(), of("call")["resource"].as_str()), (Some("kernel"), Some("unshare (a new namespace)")));
    assert!(played.denials("call_1_0").is_empty(), "a program that only says so");
}
