//! A whole task, and what is shown of it where.

use portcullis::model::scripted::{ScriptItem, Turn};
use serde_json::json;

use super::support::{Ended, World, apply_patch, call, finish, one, read_file, search, shell, start};

fn project() -> World {
    let world = World::new();
    world.write("ws/greeting.sh", "greet() {\n    echo \"Helo, $1\"\n}\n");
    world.write(
        "ws/test.sh",
        ". ./greeting.sh\n[ \"$(greet you)\" = \"Hello, you\" ] && echo passed || { echo 'FAIL: misspelt'; exit 1; }\n",
    );
    world
}

fn turns() -> Vec<Turn> {
    vec![
        Turn::items([
            ScriptItem::reasoning("A look around."),
            ScriptItem::message("I look around."),
            call("list_dir", json!({"path": ".", "depth": null})),
            read_file("greeting.sh"),
            search("Helo"),
        ]),
        one(shell("sh test.sh")),
        one(call("update_plan", json!({"plan": [{"step": "mend the spelling", "status": "in_progress"}]}))),
        one(apply_patch("*** Update File: greeting.sh\n@@ greet() {\n-    echo \"Helo, $1\"\n+    echo \"Hello, $1\"\n }\n")),
        one(shell("sh test.sh")),
        Turn::message("It was misspelt; now the test passes."),
    ]
}

fn assert_done(world: &World) {
    assert_eq!(world.read("ws/greeting.sh"), "greet() {\n    echo \"Hello, $1\"\n}\n");
    assert_eq!(world.tree().len(), 2, "{:?}", world.tree());
    assert!(world.left_nothing_temporary());
    let records = world.records();
    let kinds: Vec<&str> = records.iter().map(|record| record["event"].as_str().unwrap()).collect();
    assert_eq!((kinds[0], &kinds[kinds.len() - 2..]), ("session_start", &["turn_end", "session_end"][..]), "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == "call_intent").count(), 7);
    let last = &records[records.len() - 2];
    assert_eq!((&last["outcome"], &last["requests"]), (&json!("answered"), &json!(6)));
}

#[test]
fn a_whole_task_changes_the_file_and_each_event_is_a_json_line() {
    let world = project();
    let played = world.play(turns()).well();
    assert_done(&world);
    let outputs = played.outputs();
    assert_eq!(outputs.len(), 7);
    assert!(outputs[0].contains("greeting.sh") && outputs[0].contains("test.sh"), "{}", outputs[0]);
    assert!(outputs[1].contains("Helo, $1") && outputs[2].contains("greeting.sh"), "{outputs:?}");
    assert!(outputs[3].starts_with("Exit code: 1") && outputs[3].contains("FAIL: misspelt"), "{}", outputs[3]);
    assert!(outputs[4].contains("[>] mend the spelling"), "{}", outputs[4]);
    assert_eq!(outputs[6], "Exit code: 0\nOutput:\npassed\n");

    let events = played.ended.events();
    assert!(events.iter().all(|event| event["v"] == 1 && event["type"].is_string()), "{events:#?}");
    assert_eq!(events[0]["type"], "session.started");
    assert_eq!(events[0]["workspace"], json!(world.workspace()));
    assert_eq!(events.last().unwrap()["type"], "turn.finished");
    assert_eq!(played.ended.events_of("request.sent").len(), 6);
    assert_eq!(played.ended.events_of("call.started").len(), 7);
    let finished = played.ended.events_of("call.finished");
    let statuses: Vec<&str> = finished.iter().map(|event| event["status"].as_str().unwrap()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == "ok").count(), 6, "{statuses:?}");
    assert_eq!(finished[3]["exit_code"], 1);
    assert!(played.ended.stderr.is_empty(), "{}", played.ended.stderr);
}

#[test]
fn in_text_mode_the_answer_alone_is_on_standard_output_and_progress_on_standard_error() {
    let world = project();
    let model = start(turns());
    let ended: Ended = finish(world.exec(&model, &[]).arg("Why does the test fail?"));
    assert_eq!(ended.code(), Some(0), "{ended:#?}");
    assert_done(&world);
    assert_eq!(ended.stdout, "It was misspelt; now the test passes.\n");
    for shown in ["I look around.", "sh test.sh", "FAIL: misspelt", "exit 1", "*** Update File: greeting.sh", "6 requests"] {
        assert!(ended.stderr.contains(shown), "{shown:?} is missing in {}", ended.stderr);
    }
    assert!(!ended.stderr.contains('\u{1b}'), "colours go to terminals only: {:?}", ended.stderr);
}

#[test]
fn what_the_model_and_programs_say_cannot_steer_the_terminal() {
    let world = World::new();
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}";
    world.write("ws/evil.txt", evil);
    let model = start([
        Turn::items([ScriptItem::message(&format!("look {evil}")), shell(&format!("cat evil.txt # {evil}")), call(evil, json!({}))]),
        Turn::message("plain"),
    ]);
    let ended = finish(world.exec(&model, &[]).arg("x"));
    assert_eq!(ended.code(), Some(0), "{ended:#?}");
    assert!(!ended.stderr.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{:?}", ended.stderr);
    assert!(ended.stderr.contains("look "), "{:?}", ended.stderr);
}
