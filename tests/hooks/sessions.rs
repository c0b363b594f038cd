//! Hooks at a session's start and stop.

use std::fs;

use serde_json::{Value, json};

use super::{
    Hooked,
    support::{one, shell},
};

fn body(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_context_is_appended_after_a_prefix_that_stays_as_it_is() {
    let hooked = Hooked::new();
    let without = body(&hooked.play([one(shell("true"))]).well().bodies()[0]);
    hooked.hook("session-start", r#"case "$told" in *'"workspace":'*) echo '{"context":"On call today: Ada."}' ;; esac"#, "");
    hooked.hook("session-start", "echo '{}'", "");
    let played = hooked.play([one(shell("true"))]).well();
    let with = body(&played.bodies()[0]);
    for part in ["instructions", "tools", "model"] {
        assert_eq!(with[part].to_string(), without[part].to_string(), "{part}");
    }
    let (with, without) = (with["input"].as_array().unwrap(), without["input"].as_array().unwrap());
    let added: Vec<&Value> = with.iter().filter(|item| !without.contains(item)).collect();
    assert_eq!((added.len(), with.len()), (1, without.len() + 1), "{with:#?}");
    assert_eq!(added[0]["role"], "developer");
    assert!(added[0].to_string().contains("On call today: Ada."), "{}", added[0]);
    // All but what the person says stands before it, and only that behind it.
    assert_eq!(with[..without.len() - 1], without[..without.len() - 1]);
    assert_eq!(with.last(), without.last());
    assert_eq!(played.bodies().last().unwrap().matches("On call today").count(), 1);
}

#[test]
fn a_session_that_a_hook_refuses_sends_nothing() {
    let refuse = r#"echo '{"decision":"refuse","reason":"not on a Sunday"}'"#;
    for (script, why, decision) in [
        (refuse, "the hook hooks.toml:2 says no: not on a Sunday", json!("refuse")),
        ("exit 1", "the hook hooks.toml:2 failed: it ended with 1", json!(null)),
        ("echo '{\"decision\":\"allow\"}'", "the hook hooks.toml:2 failed: its answer", json!(null)),
    ] {
        let hooked = Hooked::new();
        hooked.hook("session-start", script, "");
        let played = hooked.play([one(shell("touch one"))]);
        assert_eq!(played.ended.code(), Some(1), "{:#?}", played.ended);
        assert!(played.ended.complaint().contains(why), "{:#?}", played.ended);
        assert!(played.requests.is_empty() && !hooked.has("one"));
        assert_eq!(hooked.records("hook")[0]["decision"], decision);
        assert_eq!(hooked.records("session_end").len(), 1);
    }
}

#[test]
fn a_hook_runs_when_the_session_stops() {
    let hooked = Hooked::new();
    let keeps = r#"printf '%s' "$told" > stopped; echo '{}'"#;
    hooked.hook("session-stop", "exit 4", "").hook("session-stop", keeps, "policy = \"workspace-write\"");
    let played = hooked.play([one(shell("ls > before"))]).well();
    assert!(!hooked.world.read("ws/before").contains("stopped"));
    assert_eq!(body(&hooked.world.read("ws/stopped"))["hook"], "session-stop");
    // That one failed is said, and no more.
    assert!(played.ended.stderr.contains("at the end of the session the hook hooks.toml:2 failed: it ended with 4"), "{:#?}", played.ended);
    let seqs: Vec<u64> = hooked.records("hook").iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert!(seqs.len() == 2 && seqs[1] < hooked.records("session_end")[0]["seq"].as_u64().unwrap());
    fs::remove_file(hooked.world.path("ws/stopped")).unwrap();
}

#[test]
fn a_file_with_an_error_ends_the_run_with_its_line() {
    let hooked = Hooked::new();
    hooked.add("on = \"before-cal\"\ncommand = [\"true\"]\n");
    let played = hooked.play([one(shell("touch one"))]);
    assert_eq!(played.ended.code(), Some(3), "{:#?}", played.ended);
    assert!(played.ended.stderr.contains("hooks.toml:3:6: `before-cal` is not a value of `on`"), "{}", played.ended.stderr);
    assert!(played.requests.is_empty() && !hooked.has("one"));
    // So does a program that is not there, and a policy that is none.
    for (more, why) in [("command = [\"/no/such\"]", "names no program"), ("command = [\"true\"]\npolicy = \"lax\"", "unknown preset")] {
        let hooked = Hooked::new();
        hooked.add(&format!("on = \"before-call\"\n{more}\n"));
        let played = hooked.play([one(shell("touch one"))]);
        assert_eq!(played.ended.code(), Some(3), "{:#?}", played.ended);
        assert!(played.ended.complaint().contains(why) && played.ended.complaint().contains("hooks.toml:2"), "{:#?}", played.ended);
    }
}
