//! Hooks that hang, crash, answer rubbish or too much: none of that lets a call run.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{
    ALLOW, Hooked,
    support::{Running, assert_none_left, one, processes_with, shell, start, unique_sleep, wait_until},
};

#[test]
fn whatever_is_no_answer_refuses_the_call() {
    let hooked = Hooked::new();
    let sleep = unique_sleep();
    let script = format!(
        r#"case "$told" in
*hangs*) sleep {sleep} ;;
*crashes*) echo '{ALLOW}'; kill -9 $$ ;;
*fails*) echo '{ALLOW}'; echo 'a word' >&2; exit 3 ;;
*silent*) ;;
*rubbish*) echo 'certainly' ;;
*twice*) echo '{ALLOW}{ALLOW}' ;;
*listed*) echo '["allow",null]' ;;
*more*) echo '{{"decision":"allow","also":1}}' ;;
*floods*) yes ;;
*huge*) printf '%s' '{{"decision":"refuse","reason":"'; head -c 100000 /dev/zero | tr '\0' x; echo '"}}' ;;
*spaces*) echo '{ALLOW}'; head -c 100000 /dev/zero | tr '\0' ' ' ;;
*noisy*) head -c 100000 /dev/zero | tr '\0' x >&2; echo '{ALLOW}' ;;
*) echo '{ALLOW}' ;;
esac"#
    );
    hooked.hook("before-call", &script, "timeout = \"5s\"");
    let expected = [
        ("hangs", "it took longer than 5s", "limit"),
        ("crashes", "ended by signal 9", "failed"),
        ("fails", "it ended with 3 and said: a word", "failed"),
        ("silent", "its answer is empty", "failed"),
        ("rubbish", "its answer is no JSON object", "failed"),
        ("twice", "its answer could not be understood", "failed"),
        ("listed", "its answer is no JSON object", "failed"),
        ("more", "its answer could not be understood", "failed"),
        ("floods", "it wrote more than 65536 bytes", "limit"),
        ("huge", "it wrote more than 65536 bytes", "limit"),
        ("spaces", "it wrote more than 65536 bytes", "limit"),
    ];
    let names = expected.iter().map(|(name, ..)| *name).chain(["noisy", "plain"]);
    let played = hooked.play(names.map(|name| one(shell(&format!("touch {name}"))))).well();
    let (outputs, records) = (played.outputs(), hooked.records("hook"));
    for (number, (name, why, status)) in expected.iter().enumerate() {
        let output = &outputs[number];
        assert!(
            output.contains("Refused: the hook hooks.toml:2, which decides about it, failed: ") && output.contains(why),
            "{name}: {output}"
        );
        assert!(!hooked.has(name), "{name}");
        assert_eq!(records[number]["status"], *status, "{name}: {}", records[number]);
        assert!(records[number]["reason"].as_str().unwrap().contains(why) && records[number]["decision"].is_null(), "{}", records[number]);
    }
    // Standard error is no part of the answer, however long.
    assert!(hooked.has("noisy") && hooked.has("plain"), "{outputs:?}");
    assert_none_left(&format!("sleep\0{sleep}"));
    assert!(hooked.records("call_intent")[..expected.len()].iter().all(|record| record["decided_by"] == "hook"));
}

#[test]
fn a_sandbox_that_cannot_be_made_refuses_the_call() {
    for (read, runs) in [("", true), ("read = [\"@system\", \"@workspace\", \"/no/such/folder\"]\n", false)] {
        let hooked = Hooked::new();
        let policy = format!("schema = 1\nname = \"own\"\nextends = \"read-only\"\n[filesystem]\n{read}");
        let policy = hooked.world.write("policy/own.toml", policy);
        hooked.hook("before-call", &format!("echo '{ALLOW}'"), &format!("policy = \"{}\"", policy.display()));
        let played = hooked.play([one(shell("touch one"))]).well();
        assert_eq!(hooked.has("one"), runs, "{}", played.output());
        assert_eq!(hooked.runs()[0].0, if runs { "ok" } else { "broken" });
    }
}

#[test]
fn a_hook_that_its_own_policy_hides_ends_the_run() {
    for (deny, place, code) in [("", "home/bin", 0), ("deny = [\"~/bin\"]\n", "home/bin", 3), ("", "state", 3)] {
        let hooked = Hooked::new();
        let program = hooked.world.write(&format!("{place}/program"), format!("#!/bin/sh\necho '{ALLOW}'\n"));
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        hooked.world.write("state/own.toml", format!("schema = 1\nname = \"own\"\nextends = \"read-only\"\n[filesystem]\n{deny}"));
        hooked.add(&format!("on = \"before-call\"\ncommand = [\"{}\"]\npolicy = \"own.toml\"\n", program.display()));
        let played = hooked.play([one(shell("touch one"))]);
        assert_eq!(played.ended.code(), Some(code), "{:#?}", played.ended);
        assert_eq!(hooked.has("one"), code == 0);
        assert!(code == 0 || played.ended.complaint().contains("could not see its own program"), "{:#?}", played.ended);
    }
}

#[test]
fn a_hook_ends_with_the_turn_and_is_on_record() {
    let hooked = Hooked::new();
    let sleep = unique_sleep();
    hooked.hook("before-call", &format!("sleep {sleep}"), "timeout = \"10m\"").hook("session-stop", "echo '{}'", "");
    let model = start([one(shell("touch one"))]);
    let running = Running::start(&mut hooked.world.exec(&model, &["--json", "Do it."]), "");
    wait_until("the hook runs", || !processes_with(&format!("sleep\0{sleep}")).is_empty());
    running.signal(libc::SIGTERM);
    assert_eq!(running.end().code(), Some(143));
    assert_none_left(&format!("sleep\0{sleep}"));
    assert_eq!(hooked.runs(), [("interrupted".to_owned(), None), ("ok".to_owned(), None)]);
    assert!(!hooked.has("one"));
}
