//! Calls: decided, recorded, bounded in time and size, and told as they ended.

use std::{
    fs,
    time::{Duration, Instant},
};

use portcullis::model::scripted::RecordedRequest;
use serde_json::{Value, json};

use super::{
    guests::{ALLOW, approve, echo, hostile, tool},
    support::{Played, Running, World, one, processes_with, start, wait_until},
};

#[test]
fn a_call_is_decided_recorded_and_carried_out_in_a_sandbox() {
    let world = hostile(ALLOW);
    let played = world.play([one(echo("hello"))]).well();
    assert_eq!(played.output(), "hello");
    let (intent, outcome) = world.span("call_0_0");
    let records = world.records();
    assert!(intent < outcome);
    assert_eq!((&records[intent]["tool"], &records[intent]["decision"]), (&json!("h__echo"), &json!("allow")), "{records:#?}");
    assert_eq!((&records[intent]["decided_by"], &records[intent]["rule"]), (&json!("rule"), &json!("[server.h] decisions in mcp.toml")));
    assert!(records[outcome]["applied"]["landlock_abi"].as_u64().unwrap() > 0, "{records:#?}");
    assert_eq!(records[outcome]["status"], "ok");
    let server = records.iter().find(|record| record["event"] == "server").unwrap();
    let approved = super::guests::hash(&super::guests::review(&world, "h"));
    assert_eq!((&server["server"], &server["policy"]), (&json!("h"), &json!("mcp-server")));
    assert_eq!(server["approved"], approved, "{server}");
    assert!(world.left_nothing_temporary());
}

#[test]
fn what_nobody_allowed_is_refused_where_nobody_can_be_asked_and_never_reaches_the_server() {
    for (settings, name, because) in [
        ("", "write", "nothing allows the tool write without a question"),
        (ALLOW, "destroy", "nothing allows the tool destroy without a question"),
        ("decisions = { write = \"forbid\" }\n", "write", "the person forbids the tool write"),
    ] {
        let world = hostile(settings);
        let played = world.play([one(tool(name, json!({"path": "/tmp/x"})))]);
        let code = if because.contains("forbids") { 0 } else { 7 };
        assert_eq!(played.ended.code(), Some(code), "{:#?}", played.ended);
        assert!(played.output().contains(because), "{}", played.output());
        let records = world.records();
        let (intent, outcome) = world.span("call_0_0");
        assert_eq!(records[intent]["decision"], "refuse");
        assert!(records[outcome].get("applied").is_none_or(Value::is_null), "it was started: {records:#?}");
    }
    // The person's word for a tool counts for more than what the server says of it.
    let world = hostile("decisions = { destroy = \"allow\" }\n");
    assert_eq!(world.play([one(tool("destroy", json!({})))]).well().output(), "destroy");
}

#[test]
fn a_mode_that_asks_before_every_call_asks_before_these_too_and_one_that_asks_never_refuses() {
    let world = hostile("decisions = { echo = \"allow\" }\n");
    let played = world.play_with(&["--ask", "always"], [one(echo("hello"))]);
    assert_eq!(played.ended.code(), Some(7), "{:#?}", played.ended);
    assert!(played.output().starts_with("Refused"), "{}", played.output());
    fs::remove_dir_all(world.path("state/log")).unwrap();
    let played = world.play_with(&["--ask", "never"], [one(echo("hello")), one(tool("read", json!({"path": "h.py"})))]).well();
    let outputs = played.outputs();
    assert_eq!(outputs[0], "hello");
    assert!(outputs[1].contains("this mode asks nobody"), "{}", outputs[1]);
}

#[test]
fn an_approver_is_shown_the_arguments_and_the_reach_of_the_server() {
    let world = hostile("");
    let place = World::new();
    let script = place.write("tmp/approve", "#!/bin/sh\ncat > \"$(dirname \"$0\")/question\"\necho '{\"answer\": \"once\"}'\n");
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let played = world.play_with(&["--approver", script.to_str().unwrap()], [one(echo("the-argument"))]);
    assert_eq!(played.output(), "the-argument", "{:#?}", played.ended);
    let question = place.read("tmp/question");
    assert!(question.contains("the-argument") && question.contains("reach  nothing") && question.contains("MCP server h"), "{question}");
}

#[test]
fn results_of_every_kind_are_told_and_a_failure_is_one() {
    let world = hostile(ALLOW);
    let calls = ["structured", "fails", "image", "long"].map(|name| one(tool(name, json!({}))));
    let played = world.play(calls).well();
    let outputs = played.outputs();
    assert_eq!(outputs[0], "{\"answer\":42}");
    assert!(outputs[1].starts_with("Error: the tool says that it failed.\nfails"), "{}", outputs[1]);
    assert!(outputs[2].contains("4×3"), "{}", outputs[2]);
    assert!(
        outputs[3].len() < 64 * 1024 && outputs[3].starts_with("begin") && outputs[3].trim_end().ends_with("end"),
        "{}",
        outputs[3].len()
    );
    let urls = images(played.requests.last().unwrap());
    assert!(urls.len() == 1 && urls[0].starts_with("data:image/"), "{urls:?}");
    let finished = played.ended.events_of("call.finished");
    assert_eq!(finished[1]["status"], "failed");
}

fn images(request: &RecordedRequest) -> Vec<String> {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let outputs = body["input"].as_array().unwrap().iter().filter_map(|item| item["output"].as_array());
    outputs.flatten().filter_map(|part| part["image_url"].as_str().map(str::to_owned)).collect()
}

/// The most memory that a process has had at once; none once it has ended.
fn peak_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok())
}

#[test]
fn a_result_of_100_mb_is_not_read_and_the_next_call_is_answered() {
    let world = hostile(ALLOW);
    let model = start([one(tool("huge", json!({}))), one(echo("after"))]);
    let run = Running::start(world.exec(&model, &["--json"]).arg("Do it."), "");
    let pid = run.child.id();
    let watch = std::thread::spawn(move || {
        let mut peak = 0;
        while let Some(now) = peak_kib(pid) {
            peak = peak.max(now);
            std::thread::sleep(Duration::from_millis(2));
        }
        peak
    });
    let played = Played { ended: run.end(), requests: model.requests(), connections: model.connections() }.well();
    let peak = watch.join().unwrap();
    assert!(peak > 1024 && peak < 100 * 1024, "{peak} KiB");
    let outputs = played.outputs();
    assert!(outputs[0].contains("more than is read of it"), "{}", &outputs[0][..outputs[0].len().min(500)]);
    assert_eq!(outputs[1], "after");
    assert!(played.bodies().iter().all(|body| body.len() < 1024 * 1024));
}

#[test]
fn a_server_that_crashes_is_told_with_its_last_words_and_started_again_three_times() {
    let world = hostile(ALLOW);
    let crash = || one(tool("crash", json!({})));
    let played = world.play([crash(), one(echo("again")), crash(), crash(), crash(), one(echo("no more"))]).well();
    let outputs = played.outputs();
    for place in [0, 2, 3, 4] {
        assert!(outputs[place].contains("exit code 3") && outputs[place].contains("the last words\\u{1b}[2J"), "{}", outputs[place]);
    }
    assert_eq!(outputs[1], "again");
    assert!(outputs[5].contains("failed 4 times"), "{}", outputs[5]);
}

#[test]
fn a_call_that_hangs_ends_in_time_and_the_server_is_told_before_it_is_ended() {
    let world = World::new();
    let policy = world.policy("");
    super::guests::add_hostile(&world, "h", &format!("timeout = \"1s\"\npolicy = \"{policy}\"\n{ALLOW}"));
    approve(&world, "h");
    world.write("ws/mode", "log");
    let began = Instant::now();
    let script = world.path("ws/h.py").display().to_string();
    let played = world.play([one(tool("hang", json!({}))), one(super::support::shell("sleep 3")), one(echo("after"))]).well();
    let outputs = played.outputs();
    assert!(outputs[0].contains("did not answer within 1 s"), "{}", outputs[0]);
    assert_eq!(outputs[2], "after");
    assert!(began.elapsed() < Duration::from_secs(40));
    assert!(world.read("ws/seen.log").contains("notifications/cancelled"), "{}", world.read("ws/seen.log"));
    wait_until("the server is gone", || processes_with(&script).is_empty());
}

#[test]
fn an_interrupted_session_tells_the_server_and_leaves_none_behind() {
    let world = World::new();
    super::guests::add_hostile(&world, "h", &format!("policy = \"workspace-write\"\n{ALLOW}"));
    approve(&world, "h");
    world.write("ws/mode", "log");
    let script = world.path("ws/h.py").display().to_string();
    let model = start([one(tool("hang", json!({})))]);
    let run = Running::start(world.exec(&model, &["--json"]).arg("Do it."), "");
    wait_until("the server is called", || fs::read_to_string(world.path("ws/seen.log")).is_ok_and(|log| log.contains("tools/call")));
    run.signal(libc::SIGINT);
    let ended = run.end();
    assert_eq!(ended.status.code(), Some(130), "{ended:#?}");
    wait_until("the server is gone", || processes_with(&script).is_empty());
    assert!(world.read("ws/seen.log").contains("notifications/cancelled"), "{}", world.read("ws/seen.log"));
    let (_, outcome) = world.span("call_0_0");
    assert_eq!(world.records()[outcome]["status"], "interrupted");
    assert!(world.left_nothing_temporary());
}
