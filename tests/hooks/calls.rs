//! What hooks before and after a call decide and say.

use serde_json::json;

use super::{
    ALLOW, Hooked,
    support::{Played, finish, one, read_file, shell, start},
};

/// Refuses what is `bad`, asks about what is `odd`, and has nothing against the rest.
const JUDGES: &str = r#"case "$told" in
*bad*) echo '{"decision":"refuse","reason":"it is bad"}' ;;
*odd*) echo '{"decision":"ask","reason":"it is odd"}' ;;
*) echo '{"decision":"allow"}' ;;
esac"#;

/// Plays with an approver that gives this answer to every question, and keeps the questions.
fn play_asking(hooked: &Hooked, policy: &str, answer: &str, commands: &[&str]) -> (Played, Vec<serde_json::Value>) {
    let script = format!("cat >> \"$1\"; echo >> \"$1\"\necho '{answer}'\n");
    let approver = hooked.world.write("approver/run.sh", script);
    let questions = hooked.world.path("approver/questions");
    let approver = format!("sh {} {}", approver.display(), questions.display());
    let policy = hooked.world.policy(policy);
    let turns = commands.iter().map(|command| one(shell(command)));
    let played = hooked.world.play_with(&["--policy", &policy, "--approver", &approver], turns);
    let text = std::fs::read_to_string(questions).unwrap_or_default();
    (played, text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[test]
fn what_a_hook_allows_runs_and_what_it_refuses_does_not() {
    let hooked = Hooked::new();
    hooked.hook("before-call", JUDGES, "tools = [\"shell\"]");
    let played = hooked.play([one(shell("touch good")), one(shell("touch bad")), one(read_file("bad"))]).well();
    assert!(hooked.has("good") && !hooked.has("bad"));
    let outputs = played.outputs();
    assert!(outputs[1].contains("Refused: the hook hooks.toml:2 says no: it is bad"), "{outputs:?}");
    // The third is a call of a tool that the hook is not about.
    assert!(!outputs[2].contains("hook"), "{outputs:?}");
    assert_eq!(hooked.runs(), [("ok".to_owned(), Some("allow".to_owned())), ("ok".to_owned(), Some("refuse".to_owned()))]);
    let intents = hooked.records("call_intent");
    assert_eq!((&intents[0]["decision"], &intents[0]["decided_by"]), (&json!("allow"), &json!("policy")));
    assert_eq!((&intents[1]["decision"], &intents[1]["decided_by"]), (&json!("refuse"), &json!("hook")));
    assert!(intents[1]["rule"].as_str().unwrap().contains("hooks.toml:2"), "{intents:?}");
    // The record of a run stands before that of the call, which stands before its effect.
    let first = &hooked.records("hook")[0];
    assert_eq!((&first["hook"], &first["on"], &first["call"]), (&json!("hooks.toml:2"), &json!("before-call"), &intents[0]["call"]));
    assert!(first["seq"].as_u64() < intents[0]["seq"].as_u64());
}

#[test]
fn a_hook_is_told_all_of_the_call() {
    let hooked = Hooked::new();
    hooked.hook("before-call", r#"printf '%s' "$told" > seen; echo '{"decision":"allow"}'"#, "policy = \"workspace-write\"");
    hooked.play([one(shell("touch good"))]).well();
    let told: serde_json::Value = serde_json::from_str(&hooked.world.read("ws/seen")).unwrap();
    let session = hooked.world.records()[0]["session"].clone();
    assert_eq!((&told["v"], &told["hook"], &told["session"], &told["tool"]), (&json!(1), &json!("before-call"), &session, &json!("shell")));
    assert_eq!((&told["arguments"]["command"], &told["policy"]["name"]), (&json!("touch good"), &json!("workspace-write")));
    assert_eq!(told["cwd"], json!(hooked.world.workspace()));
    assert_eq!(told["call"], hooked.records("call_intent")[0]["call"]);
    assert_eq!(told["policy"]["fingerprint"].as_str().unwrap().len(), 64);
}

#[test]
fn a_hook_that_asks_is_answered_by_a_person_or_not_at_all() {
    for (answer, runs, by) in [("{\"answer\":\"once\"}", true, "approver"), ("{\"answer\":\"refuse\"}", false, "approver")] {
        let hooked = Hooked::new();
        hooked.hook("before-call", JUDGES, "");
        let (played, questions) = play_asking(&hooked, "", answer, &["touch odd", "touch good"]);
        assert_eq!(played.ended.code(), Some(0), "{:#?}", played.ended);
        assert_eq!((hooked.has("odd"), hooked.has("good")), (runs, true));
        assert_eq!(questions.len(), 1);
        assert_eq!(questions[0]["because"], "the hook hooks.toml:2 asks: it is odd");
        assert!(questions[0]["lasting"].is_null(), "{questions:?}");
        assert_eq!(hooked.records("call_intent")[0]["decided_by"], by);
    }
    let hooked = Hooked::new();
    hooked.hook("before-call", JUDGES, "");
    let played = hooked.play([one(shell("touch odd"))]);
    assert_eq!(played.ended.code(), Some(7), "{:#?}", played.ended);
    assert!(!hooked.has("odd") && played.output().contains("none can be asked here: the hook hooks.toml:2 asks: it is odd"));
    assert_eq!(hooked.records("call_intent")[0]["decided_by"], "nobody");
}

#[test]
fn a_hook_asks_nobody_where_nobody_is_to_be_asked() {
    let hooked = Hooked::new();
    hooked.hook("before-call", JUDGES, "");
    let (played, questions) = play_asking(&hooked, "[approval]\nask = \"never\"\n", "{\"answer\":\"once\"}", &["touch odd"]);
    assert!(!hooked.has("odd") && questions.is_empty(), "{:#?}", played.ended);
}

#[test]
fn a_hook_that_allows_takes_nothing_back() {
    let rules = "[[command]]\nprefix = [\"touch\"]\ndecision = \"forbid\"\nwhy = \"No.\"\n[[command]]\nprefix = [\"mkdir\"]\ndecision = \"ask\"\nwhy = \"No.\"\n";
    let hooked = Hooked::new();
    hooked.hook("before-call", &format!("echo '{ALLOW}'"), "");
    let policy = hooked.world.policy(rules);
    let turns = [one(shell("touch one")), one(shell("mkdir two")), one(shell("echo > three"))];
    let played = hooked.world.play_with(&["--policy", &policy], turns);
    assert_eq!(played.ended.code(), Some(7), "{:#?}", played.ended);
    assert!(!hooked.has("one") && !hooked.has("two") && hooked.has("three"));
    assert!(played.outputs()[0].contains("the policy forbids this command"), "{:?}", played.outputs());
    // What is forbidden anyway is asked of no hook.
    assert_eq!(hooked.runs().len(), 2);
}

#[test]
fn what_was_granted_does_not_answer_a_hook() {
    let rules = "[[command]]\nprefix = [\"touch\"]\ndecision = \"ask\"\nwhy = \"No.\"\n";
    let always = r#"{"answer":"always","scope":"session","permission":{"words":{"words":["touch","one"]}}}"#;
    let hooked = Hooked::new();
    hooked.hook("before-call", JUDGES, "");
    let (_, questions) = play_asking(&hooked, rules, always, &["touch one", "touch one two", "touch one odd"]);
    // The third answer is none of those that were offered.
    assert!(hooked.has("one") && hooked.has("two") && !hooked.has("odd"));
    assert_eq!(questions.len(), 2);
    assert!(questions[1]["because"].as_str().unwrap().starts_with("the hook hooks.toml:2 asks: it is odd"), "{questions:?}");
}

#[test]
fn a_command_that_was_changed_is_told_again() {
    let hooked = Hooked::new();
    hooked.hook("before-call", JUDGES, "");
    let (played, questions) = play_asking(&hooked, "", r#"{"answer":"edit","command":"touch bad"}"#, &["touch odd"]);
    assert!(!hooked.has("odd") && !hooked.has("bad") && questions.len() == 1);
    assert!(played.output().contains("the hook hooks.toml:2 says no: it is bad"), "{:?}", played.outputs());
    let decisions: Vec<_> = hooked.runs().into_iter().map(|(_, decision)| decision.unwrap()).collect();
    assert_eq!(decisions, ["ask", "refuse"]);
}

#[test]
fn of_several_hooks_the_strictest_counts() {
    let hooked = Hooked::new();
    for answer in [ALLOW, r#"{"decision":"ask","reason":"a"}"#, r#"{"decision":"refuse","reason":"r"}"#, ALLOW] {
        hooked.hook("before-call", &format!("echo '{answer}'"), "");
    }
    let (_, questions) = play_asking(&hooked, "", "{\"answer\":\"once\"}", &["touch one"]);
    assert!(!hooked.has("one") && questions.is_empty());
    // Nothing is asked of those behind it.
    assert_eq!(hooked.runs().len(), 3);
}

#[test]
fn a_note_after_a_call_reaches_the_model_once() {
    let hooked = Hooked::new();
    let note = r#"case "$told" in *said-so*'"exit_code":3'*) echo '{"note":"three-was-seen"}' ;; *) echo '{}' ;; esac"#;
    hooked.hook("after-call", note, "tools = [\"shell\"]");
    let played = hooked.play([one(shell("echo said-so; exit 3")), one(shell("true")), one(read_file("none"))]).well();
    let outputs = played.outputs();
    assert!(outputs[0].contains("a note of the hook hooks.toml:2: three-was-seen"), "{outputs:?}");
    assert!(outputs[1..].iter().all(|output| !output.contains("hook")), "{outputs:?}");
    assert_eq!(played.bodies().last().unwrap().matches("three-was-seen").count(), 1);
    let seqs = |event: &str| -> Vec<u64> { hooked.records(event).iter().map(|record| record["seq"].as_u64().unwrap()).collect() };
    assert!(seqs("call_intent")[0] < seqs("hook")[0] && seqs("hook")[0] < seqs("call_outcome")[0]);
    assert_eq!(hooked.runs().len(), 2);
}

#[test]
fn a_hook_that_fails_after_a_call_makes_it_a_failure_and_says_what_stays() {
    for (hook, status) in [("exit 1", "failed"), ("echo '{}'", "ok")] {
        let hooked = Hooked::new();
        hooked.hook("after-call", hook, "");
        let played = hooked.play([one(shell("touch one"))]).well();
        assert!(hooked.has("one"));
        let output = played.output();
        assert_eq!(output.contains("what it did is not undone") && output.contains("hooks.toml:2"), status == "failed", "{output}");
        assert_eq!(hooked.records("call_outcome")[0]["status"], status);
        assert_eq!(played.ended.events_of("call.finished")[0]["status"], status);
    }
}

#[test]
fn nothing_runs_after_a_call_that_was_refused() {
    let hooked = Hooked::new();
    hooked.hook("before-call", JUDGES, "").hook("after-call", "echo '{}'", "");
    hooked.play([one(shell("touch bad"))]).well();
    assert_eq!(hooked.records("hook").iter().map(|record| record["on"].clone()).collect::<Vec<_>>(), [json!("before-call")]);
}

#[test]
fn a_log_without_texts_holds_no_reason() {
    for (policy, kept) in [("", true), ("[audit]\ndetail = \"metadata\"\n", false)] {
        let hooked = Hooked::new();
        hooked.hook("before-call", JUDGES, "");
        let policy = hooked.world.policy(policy);
        hooked.world.play_with(&["--policy", &policy], [one(shell("touch bad"))]).well();
        let record = &hooked.records("hook")[0];
        assert_eq!((&record["decision"], record["reason"] == "it is bad"), (&json!("refuse"), kept), "{record}");
        let log = std::fs::read_to_string(&hooked.world.logs()[0]).unwrap();
        assert_eq!(log.contains("it is bad"), kept);
    }
}

#[test]
fn the_key_reaches_neither_a_hook_nor_by_way_of_it_the_log() {
    let hooked = Hooked::new();
    let script = r#"case "$told" in *sk-very*) echo '{"decision":"allow"}' ;; *) echo '{"decision":"refuse","reason":"sk-very-secret is not in it"}' ;; esac; env >&2"#;
    hooked.hook("before-call", script, "");
    let model = start([one(shell("echo sk-very-secret"))]);
    let mut command = hooked.world.exec(&model, &["--key-env", "MY_KEY", "x"]);
    assert_eq!(finish(command.env("MY_KEY", "sk-very-secret")).code(), Some(0));
    assert_eq!(hooked.runs()[0].1.as_deref(), Some("refuse"));
    let log = std::fs::read_to_string(&hooked.world.logs()[0]).unwrap();
    assert!(log.contains("is not in it") && !log.contains("sk-very-secret"), "{log}");
}
