//! Calls: side by side or alone, and everything that can be wrong with one comes back as text.

use std::fs;

use portcullis::model::scripted::{Chunking, ScriptItem, Turn};
use serde_json::{Value, json};

use super::support::{World, apply_patch, call, finish, one, read_file, search, shell, start};

#[test]
fn calls_that_only_read_run_side_by_side_and_answer_in_the_order_of_the_calls() {
    let world = World::new();
    // The first has far more to do than the second, so that the order of ends is not that of beginnings.
    for number in 0..40 {
        world.write(&format!("ws/large/{number}.txt"), "nothing in this line\n".repeat(20_000));
    }
    world.write("ws/small.txt", "the small one\n");
    let turn = Turn::items([search("needle"), read_file("small.txt"), call("list_dir", json!({"path": ".", "depth": null}))]);
    let played = world.play([turn.with_chunking(Chunking::Whole)]).well();
    let spans: Vec<(usize, usize)> = (0..3).map(|place| world.span(&format!("call_0_{place}"))).collect();
    let last_intent = spans.iter().map(|(intent, _)| *intent).max();
    let first_outcome = spans.iter().map(|(_, outcome)| *outcome).min();
    assert!(last_intent < first_outcome, "they ran one after another: {spans:?}");
    let outputs = played.outputs();
    assert!(!outputs[0].contains("small one") && outputs[1].contains("the small one") && outputs[2].contains("large"), "{outputs:?}");
}

#[test]
fn a_call_that_may_write_never_runs_beside_another() {
    let world = World::new();
    world.write("ws/a.txt", "before\n");
    let items = [
        read_file("a.txt"),
        shell("sleep 0.2; echo shell >> a.txt"),
        read_file("a.txt"),
        apply_patch("*** Update File: a.txt\n@@\n before\n-shell\n+patch\n"),
        read_file("a.txt"),
        search("patch"),
        shell("cat a.txt"),
    ];
    let played = world.play([Turn::items(items).with_chunking(Chunking::Whole)]).well();
    let mut running: Vec<String> = Vec::new();
    let writes = ["call_0_1", "call_0_3", "call_0_6"];
    for record in world.records() {
        let Some(id) = record["call"].as_str() else { continue };
        if record["event"] == "call_intent" {
            let alone = |id: &str| writes.contains(&id);
            assert!(running.is_empty() || !(alone(id) || running.iter().any(|other| alone(other))), "{id} began beside {running:?}");
            running.push(id.to_owned());
        } else {
            running.retain(|other| other != id);
        }
    }
    let outputs = played.outputs();
    assert!(!outputs[0].contains("shell") && outputs[2].contains("shell") && outputs[4].contains("patch"), "{outputs:?}");
    assert_eq!(outputs[6], "Exit code: 0\nOutput:\nbefore\npatch\n");
}

#[test]
fn what_is_wrong_with_a_call_is_told_to_the_model_and_the_loop_goes_on() {
    let world = World::new();
    let long = "x".repeat(200 * 1024);
    let cases: Vec<(ScriptItem, &str)> = vec![
        (ScriptItem::call("shell", "{\"command\": \"touch ran"), "could not be understood"),
        (ScriptItem::call("shell", ""), "could not be understood"),
        (ScriptItem::call("shell", "[1]"), "could not be understood"),
        (call("shell", json!({"command": "touch ran", "sandbox": "off"})), "unknown field `sandbox`"),
        (call("shell", json!({"command": "touch ran\0x"})), "NUL"),
        (call("shell", json!({"command": format!("touch ran # {long}")})), "the limit is"),
        (call("shell", json!({"command": "touch ran", "timeout_ms": -1})), "could not be understood"),
        (call("shell", json!({"command": "touch ran", "workdir": "/nowhere"})), "working folder"),
        (call("shell", json!({"command": "touch ran", "workdir": "a\0b"})), "working folder"),
        (call("shell", json!({"command": "touch ran", "workdir": long})), "Error"),
        (call("run_python", json!({"code": "1"})), "there is no tool `run_python`"),
        (call("", json!({})), "there is no tool"),
        (call("read_file", json!({"path": "a\0b"})), "Error"),
        (call("read_file", json!({"path": long})), "Error"),
        (call("read_file", json!({"path": "nowhere"})), "nowhere"),
        (call("search", json!({"pattern": "("})), "Error"),
        (call("apply_patch", json!({"patch": "no patch"})), "Error"),
        (call("update_plan", json!({"plan": 7})), "could not be understood"),
    ];
    let played = world.play([Turn::items(cases.iter().map(|(item, _)| item.clone()))]).well();
    let outputs = played.outputs();
    assert_eq!(outputs.len(), cases.len());
    for ((item, expected), output) in cases.iter().zip(&outputs) {
        let item: String = format!("{item:?}").chars().take(120).collect();
        assert!(output.contains(expected) && output.len() < 4096, "{item}: {}", output.chars().take(600).collect::<String>());
    }
    assert!(world.tree().is_empty(), "something ran: {:?}", world.tree());
    assert!(played.ended.events_of("call.finished").iter().all(|event| event["status"] != "ok"));
}

#[test]
fn a_worker_that_breaks_is_told_to_the_model_and_the_loop_goes_on() {
    let world = World::new();
    // The worker stops with the limit's signal when it writes more than one file may hold.
    let policy = world.policy("[limits]\nfile_size = \"64KiB\"\n");
    let huge: String = (0..20_000).map(|number| format!("+line {number}\n")).collect();
    let turns = [one(apply_patch(&format!("*** Add File: huge.txt\n{huge}"))), one(shell("echo still here"))];
    let played = world.play_with(&["--policy", &policy], turns).well();
    let outputs = played.outputs();
    assert!(outputs[0].starts_with("Error: "), "{}", outputs[0]);
    assert_eq!(outputs[1], "Exit code: 0\nOutput:\nstill here\n");
    assert!(!world.path("ws/huge.txt").exists(), "half a file was left");
}

#[test]
fn a_worker_out_of_memory_is_told_to_the_model_and_the_loop_goes_on() {
    let world = World::new();
    let policy = world.policy("[limits]\nmemory = \"16MiB\"\n");
    let large = "a line\n".repeat(4_000_000);
    world.write("ws/large.txt", format!("{large}old\n"));
    let patch = apply_patch("*** Update File: large.txt\n@@\n a line\n-old\n+new\n");
    let played = world.play_with(&["--policy", &policy], [one(patch), one(shell("echo still here"))]).well();
    let outputs = played.outputs();
    assert!(outputs[0].starts_with("Error: "), "{}", outputs[0]);
    assert_eq!(outputs[1], "Exit code: 0\nOutput:\nstill here\n");
    assert!(fs::read_to_string(world.path("ws/large.txt")).unwrap().ends_with("line\nold\n"));
}

#[test]
fn a_time_limit_ends_a_call_and_all_that_it_started() {
    let world = World::new();
    let sleep = super::support::unique_sleep();
    let slow =
        call("shell", json!({"command": format!("echo begun; (sleep {sleep} &) ; sleep {sleep}"), "workdir": null, "timeout_ms": 400}));
    let played = world.play([one(slow), one(shell("echo next"))]).well();
    let outputs = played.outputs();
    assert!(outputs[0].starts_with("Ended after 400 ms") && outputs[0].contains("begun"), "{}", outputs[0]);
    assert_eq!(outputs[1], "Exit code: 0\nOutput:\nnext\n");
    assert!(super::support::processes_with(&format!("sleep\0{sleep}")).is_empty());
    assert_eq!(played.ended.events_of("call.finished")[0]["status"], "limit");
}

#[test]
fn a_rule_that_asks_or_forbids_is_refused_with_its_file_and_line() {
    let world = World::new();
    let policy = world.policy("[[command]]\nprefix = [\"touch\", \"forbidden\"]\ndecision = \"forbid\"\nwhy = \"It must not be.\"\n");
    let turn = Turn::items([shell("git push origin main"), shell("true && touch forbidden"), shell("touch allowed"), shell("sudo ls")]);
    let played = world.play_with(&["--policy", &policy], [turn]);
    // Answered, but nobody could be asked about the first call.
    assert_eq!(played.ended.code(), Some(7), "{:#?}", played.ended);
    let outputs = played.outputs();
    assert!(outputs[0].starts_with("Refused: ") && outputs[0].contains("approve") && outputs[0].contains("git push"), "{}", outputs[0]);
    assert!(outputs[0].contains("workspace-write.toml:"), "{}", outputs[0]);
    assert!(
        outputs[1].starts_with("Refused: ") && outputs[1].contains("It must not be.") && outputs[1].contains("test.toml:6"),
        "{}",
        outputs[1]
    );
    assert!(outputs[3].contains("forbids") && outputs[3].contains("workspace-write.toml:"), "{}", outputs[3]);
    assert_eq!(world.tree(), ["allowed: \"\""]);
    let decisions: Vec<(Value, Value)> = world
        .records()
        .into_iter()
        .filter(|record| record["event"] == "call_intent")
        .map(|record| (record["decision"].clone(), record["decided_by"].clone()))
        .collect();
    let refused = (json!("refuse"), json!("rule"));
    assert_eq!(decisions, [(json!("refuse"), json!("nobody")), refused.clone(), (json!("allow"), json!("policy")), refused]);
}

#[test]
fn ask_always_refuses_every_call_that_touches_anything() {
    let world = World::new();
    let model = start([Turn::items([shell("touch ran"), read_file("x"), call("update_plan", json!({"plan": []}))]), Turn::message("done")]);
    let ended = finish(world.exec(&model, &["--json", "--ask", "always", "x"]).env("LC_ALL", "C"));
    assert_eq!(ended.code(), Some(7), "{ended:#?}");
    assert!(ended.complaint().contains("2 calls were refused because nobody could be asked"), "{ended:#?}");
    let outputs = model.requests()[1].outputs();
    assert!(outputs[0].1.starts_with("Refused: ") && outputs[1].1.starts_with("Refused: "), "{outputs:?}");
    assert!(outputs[2].1.starts_with("Plan recorded"), "{outputs:?}");
    assert!(world.tree().is_empty());
}

#[test]
fn ask_never_refuses_by_the_policy_and_that_is_no_failure() {
    let world = World::new();
    let played = world.play_with(&["--ask", "never"], [one(shell("git push origin main"))]).well();
    assert!(played.outputs()[0].contains("asks nobody"), "{:?}", played.outputs());
}

#[test]
fn one_sandbox_leaves_nothing_to_the_next_but_the_workspace_and_the_private_folders() {
    let world = World::new();
    let first = "cd /tmp; export A=1; echo a > /tmp/kept; echo b > ~/kept; umask 0";
    let second = "pwd; echo \"A=$A\"; cat /tmp/kept ~/kept; umask; ls /proc | grep -c '^[0-9]'";
    let played = world.play([one(shell(first)), one(shell(second))]).well();
    let output = &played.outputs()[1];
    assert!(output.contains(&format!("{}\nA=\na\nb\n", world.workspace().display())), "{output}");
    assert!(!output.contains("\n0000\n"), "{output}");
    assert!(fs::read_dir(world.path("home")).unwrap().count() == 1, "the host's home was written to");
}
