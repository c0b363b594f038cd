//! What calls can and cannot do, seen from outside.

use std::{fs, os::unix::fs::symlink};

use serde_json::json;

use super::{
    caller::{Caller, assert_whole, command, events},
    support::{Host, SECRET},
};

#[test]
fn a_command_writes_in_the_workspace_and_nowhere_else() {
    let host = Host::new();
    let mut caller = Caller::new(&host, &[]);
    let inside = caller.sh("echo made > made; cat made");
    assert!(!inside.is_error && inside.text.contains("made"), "{inside:?}");
    assert_eq!(inside.told["exit_code"], 0);
    assert_eq!(host.read("made").as_deref(), Some("made\n"));

    let outside = host.root.join("outside");
    // Below /tmp, which is the session's own inside.
    caller.sh(&format!("mkdir -p {0}; echo changed > {0}/precious", outside.display()));
    assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "precious\n");
    let refused = caller.sh("echo changed >> ~/.ssh/id_ed25519");
    assert!(refused.is_error && refused.status() == "failed", "{refused:?}");
    assert!(refused.told["denials"][0]["resource"].as_str().unwrap().ends_with("id_ed25519"), "{refused:?}");
    assert_eq!(fs::read_to_string(host.home.join(".ssh/id_ed25519")).unwrap(), SECRET);
    let home = caller.sh("echo x >> ~/.bashrc; echo x > ~/new; ls ~/new");
    assert_eq!(home.told["exit_code"], 0, "the private home can be written: {home:?}");
    assert!(!host.home.join("new").exists() && !host.home.join(".bashrc").exists());
    assert_eq!(caller.end().code, 0);
    assert_whole(&host);
}

#[test]
fn files_of_the_workspace_are_read_and_keys_are_not_by_any_tool() {
    let host = Host::new();
    let mut caller = Caller::new(&host, &[]);
    let key = host.home.join(".ssh/id_ed25519").display().to_string();
    for (tool, open, closed) in [
        ("read_file", json!({"path": "file"}), json!({"path": key})),
        ("run_sandboxed", json!({"command": "cat file"}), json!({"command": format!("cat {key}")})),
        ("search", json!({"pattern": "one"}), json!({"pattern": "SECRET", "path": host.home.join(".ssh").display().to_string()})),
    ] {
        let read = caller.call(tool, open);
        assert!(!read.is_error && read.text.contains("one"), "{tool}: {read:?}");
        let refused = caller.call(tool, closed);
        assert!(!refused.text.contains(SECRET), "{tool}: {refused:?}");
        // A search goes on past what it cannot read.
        let said = if tool == "search" { refused.text.contains("could not be searched") } else { refused.is_error };
        assert!(said, "{tool}: {refused:?}");
    }
    // A link in the workspace leads nowhere that its name may not.
    symlink(&key, host.workspace.join("link")).unwrap();
    let linked = caller.call("read_file", json!({"path": "link"}));
    assert!(linked.is_error && !linked.text.contains(SECRET), "{linked:?}");
}

#[test]
fn a_patch_changes_files_and_no_hook() {
    let host = Host::new();
    let mut caller = Caller::new(&host, &[]);
    let add = |path: &str| json!({"patch": format!("*** Begin Patch\n*** Add File: {path}\n+#!/bin/sh\n*** End Patch")});
    let added = caller.call("apply_patch", add("scripts/run.sh"));
    assert!(!added.is_error, "{added:?}");
    assert_eq!(host.read("scripts/run.sh").as_deref(), Some("#!/bin/sh\n"));
    for path in [".git/hooks/pre-commit", ".git/hooks/../config", "~/.ssh/authorized_keys", "/usr/portcullis-test"] {
        let path = path.replace('~', &host.home.display().to_string());
        let refused = caller.call("apply_patch", add(&path));
        assert!(refused.is_error, "{path}: {refused:?}");
    }
    assert!(!host.has(".git/hooks/pre-commit") && !host.home.join(".ssh/authorized_keys").exists());
    // Below /tmp, which is the session's own inside.
    let outside = host.root.join("outside/new");
    caller.call("apply_patch", add("../outside/new"));
    caller.call("apply_patch", add(&outside.display().to_string()));
    assert!(!outside.exists());
}

#[test]
fn the_policy_of_the_command_line_holds_and_no_other() {
    let host = Host::new();
    for (policy, writes) in [("workspace-write", true), ("read-only", false)] {
        let mut caller = Caller::new(&host, &["--policy", policy]);
        let called = caller.sh(&format!("touch by-{policy}"));
        assert_eq!((called.is_error, host.has(&format!("by-{policy}"))), (!writes, writes), "{called:?}");
    }
}

#[test]
fn no_argument_changes_policy_workspace_or_environment() {
    let host = Host::new();
    let mut command = command(&host, &["--policy", "read-only"]);
    command.env("PRIVATE_TOKEN", "private-value");
    let mut caller = Caller::unintroduced(command);
    caller.introduce("by-hand", "1");
    for more in [
        json!({"policy": "networked"}),
        json!({"workspace": host.root.join("outside")}),
        json!({"environment": {"PATH": "/evil"}}),
        json!({"env": {"A": "b"}}),
        json!({"sandbox": false}),
        json!({"background": true}),
        json!({"ask": "never"}),
    ] {
        let mut arguments = json!({"command": "touch widened"});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let refused = caller.call("run_sandboxed", arguments);
        assert!(refused.is_error && refused.status() == "refused" && refused.text.contains("unknown field"), "{more}: {refused:?}");
    }
    // Beside the arguments nothing is listened to.
    let parameters = json!({"name": "run_sandboxed", "arguments": {"command": "touch widened; pwd; env"}, "policy": "networked",
        "_meta": {"policy": "networked", "workspace": "/", "env": {"INJECTED": "1"}}});
    let answer = caller.request("tools/call", parameters);
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains(&format!("PWD={}", host.workspace.display())), "{text}");
    assert!(!text.contains("INJECTED") && !text.contains("private-value"), "{text}");
    assert!(!host.has("widened") && !host.root.join("outside/widened").exists());
    // Another folder to run in is no other workspace.
    let elsewhere = caller.call("run_sandboxed", json!({"command": "touch widened", "workdir": host.root.join("outside")}));
    assert!(elsewhere.is_error && !host.root.join("outside/widened").exists(), "{elsewhere:?}");
    // A later handshake is no other session.
    caller.introduce("other", "2");
    assert!(caller.sh("touch widened").is_error && !host.has("widened"));
    caller.end();
    let starts = events(&host, "session_start");
    assert_eq!((starts.len(), &starts[0]["policy"], &starts[0]["model"]), (1, &json!("read-only"), &json!("by-hand 1")));
}

#[test]
fn a_key_of_the_environment_is_neither_told_nor_recorded() {
    let host = Host::new();
    let mut command = command(&host, &[]);
    command.env("OPENAI_API_KEY", "sk-of-the-person");
    let mut caller = Caller::unintroduced(command);
    caller.introduce("named sk-of-the-person", &"9".repeat(500));
    let told = caller.sh("echo sk-of-the-person other");
    assert!(told.text.contains("[redacted] other"), "{told:?}");
    let unknown = caller.request("tools/call", json!({"name": "sk-of-the-person"}));
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    assert!(caller.call("policy_explain", json!({"kind": "command", "what": "sk-of-the-person"})).text.contains("[redacted]"));
    caller.end();
    let started = events(&host, "session_start")[0].clone();
    let client = started["model"].as_str().unwrap();
    assert!(client.starts_with("named [redacted] 999") && client.chars().count() == 64, "{client}");
    assert_eq!(started["endpoint"], "mcp");
    for entry in fs::read_dir(host.state.join("log")).unwrap() {
        assert!(!fs::read_to_string(entry.unwrap().path()).unwrap().contains("sk-of"));
    }
}
