//! A session that ended somehow goes on: what was sent is the beginning of what is sent next, byte for byte.

use std::time::Duration;

use portcullis::model::scripted::{Pace, RecordedRequest, Script, ScriptItem, ScriptedModel, Turn};
use serde_json::Value;

use super::support::{Running, World, assert_none_left, finish, one, shell, start, unique_sleep, wait_until};

fn body(request: &RecordedRequest) -> &[u8] {
    request.body.strip_suffix(b"]}").unwrap()
}

fn resume(world: &World, model: &ScriptedModel, which: &str) -> super::support::Ended {
    finish(&mut world.exec(model, &["--json", "--resume", which, "Go on."]))
}

#[test]
fn the_last_session_goes_on_where_it_ended() {
    let world = World::new();
    let model = start([one(shell("echo 1")), Turn::message("one"), one(shell("echo 2")), Turn::message("two")]);
    assert_eq!(finish(&mut world.exec(&model, &["Do it."])).code(), Some(0));
    let ended = resume(&world, &model, "last");
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let requests = model.requests();
    assert_eq!(requests.len(), 4);
    for pair in requests.windows(2) {
        assert!(pair[1].body.starts_with(body(&pair[0])));
    }
    // The provider's cache knows it by the same key, and what it knew is reported.
    let first = ended.events_of("usage")[0].clone();
    assert!(first["cached_tokens"].as_u64().unwrap() > 0 && first.get("miss").is_none(), "{first}");
    // The logs of both are whole.
    let verified = finish(&mut world.command(&["audit", "verify"]));
    assert_eq!(verified.code(), Some(0), "{verified:?}");
    let none = resume(&World::new(), &model, "last");
    assert_eq!(none.code(), Some(2), "{none:?}");
    assert!(none.complaint().contains("no session"), "{none:?}");
    let none = resume(&world, &model, "../../etc/passwd");
    assert_eq!(none.code(), Some(2), "{none:?}");
}

#[test]
fn what_is_otherwise_than_before_is_appended_or_named() {
    let world = World::new();
    let model = start([Turn::message("one"), Turn::message("two"), Turn::message("three")]);
    assert_eq!(finish(&mut world.exec(&model, &["Do it."])).code(), Some(0));
    // Another policy is told of at the end.
    let ended = finish(&mut world.exec(&model, &["--json", "--resume", "last", "--policy", "read-only", "Go on."]));
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    // Another model, and how it is to think, stand before everything: the cache knows nothing, and that is said.
    let ended =
        finish(&mut world.exec(&model, &["--json", "--resume", "last", "--policy", "read-only", "--reasoning-effort", "high", "Go on."]));
    assert_eq!(ended.events_of("usage")[0]["miss"], "model and settings", "{ended:?}");
    let inputs: Vec<Vec<Value>> = model
        .requests()
        .iter()
        .map(|request| serde_json::from_slice::<Value>(&request.body).unwrap()["input"].as_array().unwrap().clone())
        .collect();
    for pair in inputs.windows(2) {
        assert_eq!(pair[1][..pair[0].len()], pair[0][..]);
    }
    assert!(inputs[1].iter().any(|item| item.to_string().contains("another policy is in force")));
}

#[test]
fn a_session_that_was_killed_at_any_moment_goes_on_and_an_open_call_is_aborted() {
    // From before the first request to after the last one.
    for round in 0..8_u64 {
        let world = World::new();
        let slow = Pace { delay: Duration::from_millis(20), drip: Duration::from_millis(8) };
        let turns = (0..6).map(|number| {
            let items =
                [ScriptItem::reasoning("hm"), ScriptItem::message("I look."), shell(&format!("echo {number}; sleep 0.05")), shell("true")];
            Turn::items(items).with_pace(slow)
        });
        let model = ScriptedModel::start(Script::new(turns)).unwrap();
        let running = Running::start(&mut world.exec(&model, &["--json", "Do it."]), "");
        wait_until("the first request", || !model.requests().is_empty());
        std::thread::sleep(Duration::from_millis(round * 110));
        running.signal(libc::SIGKILL);
        running.end();
        let before = model.requests();
        let next = start([Turn::message("fine")]);
        let ended = resume(&world, &next, "last");
        assert_eq!(ended.code(), Some(0), "{round}: {ended:?}");
        let request = &next.requests()[0];
        assert!(request.body.starts_with(body(before.last().unwrap())), "{round}");
        let sent: Value = serde_json::from_slice(&request.body).unwrap();
        let ids = |kind: &str| -> Vec<String> {
            let items = sent["input"].as_array().unwrap().iter().filter(|item| item["type"] == kind);
            items.map(|item| item["call_id"].as_str().unwrap().to_owned()).collect()
        };
        let (mut calls, mut outputs) = (ids("function_call"), ids("function_call_output"));
        calls.sort();
        outputs.sort();
        assert_eq!(calls, outputs, "{round}");
    }
}

#[test]
fn a_call_that_ran_when_the_session_was_killed_is_said_to_be_aborted_and_is_gone() {
    let world = World::new();
    let mark = unique_sleep();
    let model = start([one(shell(&format!("touch began; sleep {mark}")))]);
    let running = Running::start(&mut world.exec(&model, &["Do it."]), "");
    wait_until("the call", || world.path("ws/began").exists());
    running.signal(libc::SIGKILL);
    running.end();
    assert_none_left(&mark);
    let next = start([Turn::message("fine")]);
    let ended = resume(&world, &next, "last");
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let outputs = next.requests()[0].outputs();
    assert!(outputs.len() == 1 && outputs[0].1.starts_with("Aborted"), "{outputs:?}");
}

#[test]
fn sessions_are_listed_and_old_ones_go() {
    let world = World::new();
    let model = start([Turn::message("one")]);
    assert_eq!(finish(&mut world.exec(&model, &["A task to remember."])).code(), Some(0));
    let listed = finish(&mut world.command(&["resume", "--list"]));
    assert!(listed.stdout.contains("A task to remember."), "{listed:?}");
    let folder = std::fs::read_dir(world.path("state/sessions")).unwrap().next().unwrap().unwrap().path();
    let file = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let then = std::time::SystemTime::now() - Duration::from_secs(40 * 24 * 3600);
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(then).unwrap();
    let dry = finish(&mut world.command(&["sessions", "prune", "--older-than", "30d", "--dry-run"]));
    assert!(dry.stdout.starts_with("1 sessions would go") && file.exists(), "{dry:?}");
    assert_eq!(finish(&mut world.command(&["sessions", "prune"])).code(), Some(0));
    assert!(file.exists());
    let pruned = finish(&mut world.command(&["sessions", "prune", "--older-than", "30d"]));
    assert!(pruned.stdout.starts_with("1 sessions went") && !file.exists(), "{pruned:?}");
    assert_eq!(finish(&mut world.command(&["sessions", "prune", "--keep", "lots"])).code(), Some(2));
}
