//! Long sessions: a conversation that is made shorter in mid-work goes on, costs a cache hit, and stops when it can get no shorter.

use portcullis::model::{
    Usage,
    scripted::{Fault, RecordedRequest, ScriptItem, Turn},
};
use serde_json::{Value, json};

use super::support::{Played, World, call, one, shell};

/// A long output, so that a small window is soon full.
fn noisy(number: u32) -> Turn {
    one(shell(&format!("echo step {number} >> done; head -c 12000 /dev/zero | tr '\\0' x")))
}

fn input(request: &RecordedRequest) -> Vec<Value> {
    serde_json::from_slice::<Value>(&request.body).unwrap()["input"].as_array().unwrap().clone()
}

fn body(request: &RecordedRequest) -> &[u8] {
    request.body.strip_suffix(b"]}").unwrap()
}

fn text(item: &Value) -> &str {
    item["content"][0]["text"].as_str().unwrap_or_default()
}

fn is_summary_request(request: &RecordedRequest) -> bool {
    input(request).last().is_some_and(|item| text(item).starts_with("Sum up this conversation"))
}

/// What every compacted conversation holds: the prefix, the task, the summary, and the ledger by itself.
fn assert_compacted(played: &Played, place: usize, summary: &str) {
    let (first, now) = (input(&played.requests[0]), input(&played.requests[place]));
    let prefix = first.len() - 1;
    assert_eq!(now[..prefix], first[..prefix]);
    assert_eq!(text(&now[prefix]), "Do it.");
    assert!(now[prefix + 1].to_string().contains(summary), "{}", now[prefix + 1]);
    assert!(text(&now[prefix + 2]).starts_with("What portcullis itself has on record") && text(&now[prefix + 2]).contains("echo step 1"));
}

#[test]
fn a_window_that_fills_up_in_mid_turn_is_compacted_and_the_turn_goes_on() {
    let world = World::new();
    let mut turns: Vec<Turn> = (1..=3).map(noisy).collect();
    turns.extend([Turn::message("THE SUMMARY"), noisy(4), Turn::message("fine")]);
    // Four bytes are a token there: about 2 700 before anything was said, and 3 000 for each call.
    let played = world.play_with(&["--context-window", "13000", "--compact-at", "80"], turns).well();
    assert_eq!(world.read("ws/done"), "step 1\nstep 2\nstep 3\nstep 4\n");
    let place = played.requests.iter().position(is_summary_request).expect("a summary is asked for");
    // The request for it extends the one before, so that it is a cache hit.
    assert!(played.requests[place].body.starts_with(body(&played.requests[place - 1])));
    let Usage { input_tokens, cached_tokens, .. } = played.requests[place].usage;
    assert!(cached_tokens * 100 >= input_tokens * 70, "{cached_tokens} of {input_tokens}");
    assert_compacted(&played, place + 1, "THE SUMMARY");
    // What follows extends it.
    for pair in played.requests[place + 1..].windows(2) {
        assert!(pair[1].body.starts_with(body(&pair[0])));
    }
    let compacted = played.ended.events_of("compacted");
    assert_eq!((compacted.len(), &compacted[0]["cause"]), (1, &json!("full")));
    let records = world.records();
    let record = records.iter().find(|record| record["event"] == "compaction").unwrap();
    assert!(record["before_bytes"].as_u64().unwrap() > record["after_bytes"].as_u64().unwrap());
    // The miss that this costs is named, and is the only one.
    let misses: Vec<Value> = played.ended.events_of("usage").iter().filter_map(|event| event.get("miss").cloned()).collect();
    assert_eq!(misses, ["compaction"]);
    assert_eq!(played.ended.events_of("turn.finished")[0]["misses"], json!({"compaction": 1}));
}

#[test]
fn a_request_that_is_too_long_is_compacted_and_the_window_is_learned() {
    for fault in [
        Fault::status(400, "context_length_exceeded", "This model's maximum context length is 8000 tokens."),
        Fault::FailedEvent { code: "context_length_exceeded".into(), message: "too long".into(), after_items: false },
        Fault::status(400, "exceed_context_size_error", "the request exceeds the available context size"),
    ] {
        let world = World::new();
        let turns = [noisy(1), Turn::message("").with_fault(fault.clone()), Turn::message("THE SUMMARY"), Turn::message("fine")];
        let played = world.play(turns).well();
        assert_eq!(played.requests.len(), 4, "{fault:?}");
        // The very request that did not fit is not sent again with more behind it: outputs are clipped.
        assert!(is_summary_request(&played.requests[2]) && played.requests[2].body.len() < played.requests[1].body.len());
        assert_compacted(&played, 3, "THE SUMMARY");
        assert_eq!(played.ended.events_of("compacted")[0]["cause"], "too-long");
    }
}

#[test]
fn a_summary_that_cannot_be_had_leaves_the_ledger() {
    let world = World::new();
    let too_long = || Turn::message("").with_fault(Fault::status(400, "context_length_exceeded", "too long"));
    let played = world.play([noisy(1), too_long(), too_long(), too_long(), Turn::message("fine")]).well();
    assert_compacted(&played, 4, "no summary could be made");
    assert_eq!(played.ended.events_of("warning").len(), 1);
    // A model that calls a tool instead of summing up does not get it, nor does that stop the work.
    let world = World::new();
    let turns = [noisy(1), too_long(), one(shell("touch summed-up")), Turn::message("fine")];
    let played = world.play(turns).well();
    assert_compacted(&played, 3, "no summary could be made");
    assert!(!world.path("ws/summed-up").exists());
}

#[test]
fn two_compactions_without_progress_end_the_run_with_the_reason() {
    let world = World::new();
    let played = world.play_with(&["--context-window", "1000"], [Turn::message("one"), Turn::message("two")]);
    assert_eq!(played.ended.code(), Some(1), "{:?}", played.ended);
    assert!(played.ended.complaint().contains("did not help twice in a row"), "{:?}", played.ended);
    assert_eq!(played.requests.len(), 2);
    assert_eq!(played.ended.events_of("compacted").len(), 2);
    // The same where only the endpoint knows how much it takes.
    let world = World::new();
    let too_long = || Turn::message("").with_fault(Fault::status(400, "context_length_exceeded", "too long"));
    let played = world.play((0..20).map(|_| too_long()));
    assert_eq!(played.ended.code(), Some(1));
    assert!(played.ended.complaint().contains("did not help twice in a row"), "{:?}", played.ended);
    assert!(played.requests.len() <= 8, "{}", played.requests.len());
}

#[test]
fn the_endpoints_own_compaction_is_used_where_it_has_one() {
    let item = || ScriptItem::Raw(json!({"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAA-opaque"}));
    for how in ["call", "trigger"] {
        let world = World::new();
        let turns = [noisy(1), noisy(2), noisy(3), Turn::items([item()]), Turn::message("fine")];
        let played = world.play_with(&["--context-window", "13000", "--compact-at", "80", "--compaction", how], turns).well();
        assert_eq!(played.requests.len(), 5, "{how}");
        let asked = &played.requests[3];
        assert_eq!(asked.path.ends_with("/compact"), how == "call");
        assert_eq!(input(asked).last().unwrap()["type"] == "compaction_trigger", how == "trigger");
        if how == "trigger" {
            assert!(asked.body.starts_with(body(&played.requests[2])));
        }
        assert_compacted(&played, 4, "gAAAA-opaque");
        assert!(played.requests[4].body.windows(14).all(|window| window != b"Your summary o"));
    }
    // An endpoint that turns out not to have it is asked for a summary, and not again for the other.
    for fault in [Fault::status(404, "not_found", "no such call"), Fault::status(400, "invalid_value", "compaction_trigger")] {
        for how in ["call", "trigger"] {
            let world = World::new();
            let turns = [
                noisy(1),
                noisy(2),
                noisy(3),
                Turn::message("").with_fault(fault.clone()),
                Turn::message("THE SUMMARY"),
                Turn::message("fine"),
            ];
            let played = world.play_with(&["--context-window", "13000", "--compact-at", "80", "--compaction", how], turns).well();
            assert!(is_summary_request(&played.requests[4]));
            assert_compacted(&played, 5, "THE SUMMARY");
            assert_eq!(played.ended.events_of("warning").len(), 1);
        }
    }
}

#[test]
fn the_ledger_survives_one_compaction_after_another() {
    let world = World::new();
    let mut turns = Vec::new();
    for round in 0..3 {
        turns.extend((1..=3).map(|step| noisy(round * 3 + step)));
        turns.push(Turn::message(&format!("SUMMARY {round}")));
    }
    turns.push(Turn::message("fine"));
    let played = world.play_with(&["--context-window", "13000", "--compact-at", "80"], turns).well();
    assert_eq!(played.ended.events_of("compacted").len(), 3);
    let last = input(played.requests.last().unwrap());
    let ledger = text(last.last().unwrap());
    for step in 1..=9 {
        assert!(ledger.contains(&format!("echo step {step} ")), "{ledger}");
    }
    // Of the summaries only the last is left.
    let all = String::from_utf8_lossy(&played.requests.last().unwrap().body).into_owned();
    assert!(all.contains("SUMMARY 2") && !all.contains("SUMMARY 1"));
}

#[test]
fn a_call_that_fails_the_same_way_again_and_again_ends_the_turn() {
    let world = World::new();
    let again = || one(shell("echo tried >> tries; exit 3"));
    let played = world.play((0..20).map(|_| again()));
    assert_eq!(played.ended.code(), Some(1));
    assert!(played.ended.complaint().contains("6 times with the same arguments and the same failure"), "{:?}", played.ended);
    assert_eq!(world.read("ws/tries").lines().count(), 6);
    // The model was told before.
    let outputs = played.requests.last().unwrap().outputs();
    assert!(outputs[1].1.starts_with("Exit code: 3") && !outputs[1].1.contains("has failed the same way"));
    assert!(outputs[2].1.contains("has failed the same way 3 times"), "{outputs:?}");
    // A call that is made again after something else has changed, and one that fails otherwise each time, are no repeats.
    let world = World::new();
    let changes = |number: u32| one(shell(&format!("echo {number} > changed")));
    let turns = (0..8).flat_map(|number| [again(), changes(number)]).chain([Turn::message("fine")]);
    assert_eq!(world.play(turns).well().ended.code(), Some(0));
}

#[test]
fn arguments_that_are_no_json_are_answered_and_go_back_as_json() {
    let world = World::new();
    let cut = r#"{"command": "echo \"never"#;
    let played = world.play([Turn::items([ScriptItem::call("shell", cut)]), one(call("shell", json!({"command": "echo fine"})))]).well();
    let items = input(played.requests.last().unwrap());
    let calls: Vec<&Value> = items.iter().filter(|item| item["type"] == "function_call").collect();
    let sent: Value = serde_json::from_str(calls[0]["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(sent["malformed"], cut);
    assert!(played.requests[1].outputs()[0].1.contains("could not be understood"), "{:?}", played.requests[1].outputs());
    assert!(played.requests[2].body.starts_with(body(&played.requests[1])));
}

#[test]
fn what_it_cost_is_said_where_prices_are_given() {
    let world = World::new();
    let usage = Usage { input_tokens: 2_000_000, cached_tokens: 1_000_000, output_tokens: 100_000, ..Usage::default() };
    let played = world.play_with(&["--prices", "2/0.5/10"], [Turn::message("fine").with_usage(usage)]).well();
    assert_eq!(played.ended.events_of("turn.finished")[0]["cost_millionths"], 3_500_000);
    let plain = World::new().play([Turn::message("fine")]).well();
    assert!(plain.ended.events_of("turn.finished")[0].get("cost_millionths").is_none());
}
