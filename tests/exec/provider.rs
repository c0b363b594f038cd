//! A provider's failures as they come through the whole program.

use portcullis::model::scripted::{Fault, Malformed, Script, ScriptItem, ScriptedModel, Turn, WhenExhausted};
use serde_json::json;

use super::support::{World, finish, one, shell, start};

fn limited(headers: &[(&str, &str)]) -> Fault {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Fault::Status { status: 429, headers, body: json!({"error": {"code": "rate_limit_exceeded", "message": "slow down"}}).to_string() }
}

#[test]
fn a_rate_limit_is_waited_for_as_long_as_asked_and_the_same_request_sent_again() {
    let world = World::new();
    let played =
        world.play([one(shell("echo x > ran")), Turn::message("").with_fault(limited(&[("retry-after", "0.7")])), Turn::message("fine")]);
    let played = played.well();
    let requests = &played.requests;
    assert_eq!(requests.len(), 3);
    assert_eq!(requests[1].body, requests[2].body);
    assert!(requests[2].at.duration_since(requests[1].at).as_millis() >= 700);
    let retried = played.ended.events_of("request.retried");
    assert_eq!((retried.len(), &retried[0]["wait_ms"]), (1, &json!(700)), "{retried:?}");
    assert!(retried[0]["why"].as_str().unwrap().contains("slow down"), "{retried:?}");
    assert_eq!(played.ended.events_of("message").last().unwrap()["text"], "fine");
    assert_eq!(played.connections, 1);
}

#[test]
fn a_server_that_fails_twice_is_asked_a_third_time() {
    let world = World::new();
    let failing = || Turn::message("").with_fault(Fault::status(500, "server_error", "oops"));
    let played = world.play([failing(), failing(), Turn::message("fine")]).well();
    assert_eq!(played.requests.len(), 3);
    assert_eq!(played.ended.events_of("request.retried").len(), 2);
}

#[test]
fn a_call_that_was_finished_before_the_stream_broke_ran_once_and_its_output_is_sent() {
    for fault in [Fault::CutAfter { events: 8 }, Fault::ResetAfter { events: 8 }, Fault::Malformed(Malformed::NoCompleted)] {
        let world = World::new();
        let call = ScriptItem::call("shell", r#"{"command":"echo once >> ran"}"#);
        let broken = Turn::items([call, ScriptItem::message("and a text that takes a few more events to say")]).with_fault(fault.clone());
        let played = world.play([broken, Turn::message("fine")]).well();
        assert_eq!(world.read("ws/ran"), "once\n", "{fault:?}");
        assert_eq!(played.requests.len(), 2, "{fault:?}");
        assert_eq!(played.requests[1].outputs(), [("call_0_0".to_owned(), "Exit code: 0\n(no output)".to_owned())], "{fault:?}");
        let bodies = played.bodies();
        assert!(bodies[1].starts_with(bodies[0].strip_suffix("]}").unwrap()));
        assert_eq!(world.records().iter().filter(|record| record["event"] == "call_intent").count(), 1);
    }
}

#[test]
fn what_cannot_pass_by_itself_ends_the_run_with_the_servers_words_after_one_request() {
    for (status, code) in
        [(401, "invalid_api_key"), (400, "bad_request"), (403, "no"), (404, "model_not_found"), (429, "insufficient_quota")]
    {
        let world = World::new();
        let model = start([Turn::message("").with_fault(Fault::status(status, code, "the words of the server"))]);
        let ended = finish(world.exec(&model, &["--json"]).arg("x"));
        assert_eq!(ended.code(), Some(5), "{status}: {ended:#?}");
        assert!(ended.complaint().contains("the words of the server") && ended.complaint().contains(&status.to_string()), "{ended:#?}");
        assert_eq!(model.requests().len(), 1, "{status} was asked again");
        let events = ended.events();
        assert_eq!(events.last().unwrap()["type"], "turn.failed");
        assert!(events.last().unwrap()["error"].as_str().unwrap().contains("the words of the server"));
        let records = world.records();
        let ends: Vec<_> = records.iter().rev().take(2).map(|record| record["event"].as_str().unwrap()).collect();
        assert_eq!(ends, ["session_end", "turn_end"], "{records:#?}");
        assert_eq!(records[records.len() - 2]["outcome"], "failed");
    }
}

#[test]
fn a_missing_key_is_what_a_local_server_that_wants_one_is_about() {
    let world = World::new();
    let model = start([Turn::message("").with_fault(Fault::status(401, "x", "who are you?"))]);
    let ended = finish(world.exec(&model, &["--key-env", "LOCAL_KEY"]).arg("x"));
    assert_eq!(ended.code(), Some(5));
    assert!(ended.complaint().contains("who are you?") && ended.complaint().contains("LOCAL_KEY"), "{ended:#?}");
}

#[test]
fn garbage_is_asked_about_again_and_what_is_no_stream_is_not() {
    let world = World::new();
    let garbage = Fault::Malformed(Malformed::Garbage(b"\xff\xfe\n\ndata: {{{\n\n".to_vec()));
    let played = world.play([Turn::message("").with_fault(garbage), Turn::message("fine")]).well();
    assert_eq!(played.requests.len(), 2);

    let page = Fault::Status { status: 200, headers: vec![("content-type".into(), "text/html".into())], body: "<html>hello</html>".into() };
    let world = World::new();
    let model = start([Turn::message("").with_fault(page)]);
    let ended = finish(world.exec(&model, &[]).arg("x"));
    assert_eq!(ended.code(), Some(5), "{ended:#?}");
    assert_eq!(model.requests().len(), 1);
    assert!(ended.stdout.is_empty() && !ended.complaint().is_empty());
}

#[test]
fn a_server_that_always_fails_is_given_up() {
    let world = World::new();
    let model = ScriptedModel::start(Script { when_exhausted: WhenExhausted::Http500, ..Script::default() }).unwrap();
    let ended = finish(world.exec(&model, &[]).arg("x"));
    assert_eq!(ended.code(), Some(5), "{ended:#?}");
    assert_eq!(model.requests().len(), 6);
    assert!(ended.complaint().contains("the script is used up"), "{ended:#?}");
    assert!(ended.stdout.is_empty() && ended.stderr.contains("retry 5 of 5"), "{ended:#?}");
}

#[test]
fn a_wait_of_an_hour_is_not_waited() {
    let world = World::new();
    let model = start([Turn::message("").with_fault(limited(&[("retry-after", "3600")]))]);
    let ended = finish(world.exec(&model, &[]).arg("x"));
    assert_eq!(ended.code(), Some(5), "{ended:#?}");
    assert_eq!(model.requests().len(), 1);
    assert!(ended.complaint().contains("slow down"), "{ended:#?}");
}

#[test]
fn nobody_listening_is_said_with_the_address() {
    let world = World::new();
    let model = start([]);
    let (mut command, url) = (world.exec(&model, &["x"]), model.base_url());
    drop(model);
    let ended = finish(&mut command);
    assert_eq!(ended.code(), Some(5), "{ended:#?}");
    assert!(ended.complaint().contains(url.trim_start_matches("http://").trim_end_matches("/v1")), "{ended:#?}");
}

#[test]
fn an_answer_that_was_cut_short_is_shown_and_is_no_success() {
    let incomplete = || Turn::message("the first half").with_fault(Fault::Incomplete { reason: "max_output_tokens".into() });
    let world = World::new();
    let played = world.play([incomplete()]);
    assert_eq!(played.ended.code(), Some(1), "{:#?}", played.ended);
    assert_eq!(played.ended.events_of("message")[0]["text"], "the first half");
    assert!(played.ended.complaint().contains("max_output_tokens"));
    assert_eq!(played.requests.len(), 1);

    let world = World::new();
    let model = start([incomplete()]);
    let ended = finish(&mut world.exec(&model, &["x"]));
    assert_eq!(ended.code(), Some(1), "{ended:#?}");
    assert!(ended.stderr.contains("the first half") && ended.complaint().contains("max_output_tokens"), "{ended:#?}");
}

#[test]
fn a_failure_that_does_not_heal_after_answers_says_what_may_be_in_the_way() {
    let world = World::new();
    let failing = || Turn::message("").with_fault(Fault::status(500, "server_error", "Failed to parse input"));
    let played = world.play([one(shell("true"))].into_iter().chain((0..6).map(|_| failing())));
    assert_eq!((played.ended.code(), played.requests.len()), (Some(5), 7), "{:?}", played.ended);
    assert!(played.ended.complaint().contains("may be unable to take what came since"), "{:?}", played.ended);
}
