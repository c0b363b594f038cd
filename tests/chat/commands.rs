//! Line editing, and what begins with a slash.

use portcullis::model::scripted::Turn;
use serde_json::{Value, json};

use crate::{
    driven::{Setting, shell},
    support::{eventually, processes_with},
};

fn last_text(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap();
    body["input"].as_array().unwrap().last().unwrap()["content"][0]["text"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn several_lines_a_paste_history_and_files_can_be_typed() {
    let turns = (0..4).map(|number| Turn::message(&format!("Answer {number}.")));
    let Some(session) = Setting::new().begin("several_lines", turns) else { return };
    session.text("one");
    session.keys(&["C-j"]);
    session.line("two");
    session.turn("Answer 0.");
    assert_eq!(last_text(&session.requests()[0].body), "one\ntwo");
    // A paste is text, whatever stands in it.
    session.paste("pasted\nin lines\n");
    session.wait("in lines");
    session.keys(&["Enter"]);
    session.turn("Answer 1.");
    assert_eq!(last_text(&session.requests()[1].body).trim_end(), "pasted\nin lines");
    session.host.write("src/unmistakable.rs", "");
    session.text("look at @src/unm");
    session.keys(&["Tab"]);
    session.wait("@src/unmistakable.rs");
    session.keys(&["Enter"]);
    session.turn("Answer 2.");
    assert_eq!(last_text(&session.requests()[2].body).trim_end(), "look at @src/unmistakable.rs");
    session.keys(&["Up"]);
    session.wait("› look at @src/unmistakable.rs");
    session.keys(&["C-d", "C-c"]);
    session.wait("Ctrl-D, or /quit, ends the session.");
    session.keys(&["C-d"]);
    assert_eq!(session.ended(), 0);
    // History is there in the next session.
    session.run(&[]);
    session.wait("Type a task.");
    session.keys(&["Up", "Up"]);
    session.wait("› pasted");
}

#[test]
fn what_runs_in_the_background_can_be_listed_read_and_stopped() {
    let mark = format!("86401.{}", std::process::id());
    let command = json!({"command": format!("echo from the background; sleep {mark}"), "background": true});
    let turns = [Turn::call("shell", &command.to_string()), Turn::message("It runs."), Turn::message("Still here.")];
    let Some(session) = Setting::new().begin("what_runs_in_the_background", turns) else { return };
    session.line("start it");
    session.turn("It runs.");
    session.wait("1 in the background");
    assert!(eventually(|| processes_with(&mark) > 0));
    session.line("/background");
    session.wait(&format!("1: echo from the background; sleep {mark}"));
    session.line("/output 1");
    session.wait_until("its output", |screen| screen.lines().any(|line| line == "from the background"));
    session.line("and the turn?");
    session.turn("Still here.");
    assert!(processes_with(&mark) > 0);
    session.line("/stop 1");
    session.wait("Stopped, with all that it had started.");
    assert!(eventually(|| processes_with(&mark) == 0));
    session.line("/stop 1");
    session.wait("Nothing that runs in the background has this number.");
    assert_eq!(session.events("background_end").len(), 1);
}

#[test]
fn what_runs_in_the_background_ends_with_the_session() {
    let mark = format!("86402.{}", std::process::id());
    let command = json!({"command": format!("setsid sleep {mark} & wait"), "background": true});
    let Some(session) = Setting::new().begin("background_ends", [Turn::call("shell", &command.to_string()), Turn::message("It runs.")])
    else {
        return;
    };
    session.line("start it");
    session.turn("It runs.");
    assert!(eventually(|| processes_with(&mark) > 0));
    session.keys(&["C-d"]);
    assert_eq!(session.ended(), 0);
    assert!(eventually(|| processes_with(&mark) == 0));
}

#[test]
fn the_commands_say_what_they_are_asked() {
    let turns = [shell("echo changed >> file; echo new > added"), Turn::message("Changed.")];
    let Some(session) = Setting::new().begin("the_commands_say", turns) else { return };
    session.line("change something");
    session.turn("Changed.");
    session.line("/diff");
    let screen = session.wait("new: added");
    assert!(screen.contains("+changed"), "{screen}");
    session.line("/cost");
    session.wait("from the provider's cache");
    session.line("/policy");
    session.wait("workspace-write");
    session.line("/grants");
    session.wait("Nothing is granted beyond the policy.");
    session.line("/log");
    session.wait_until("the log", |_| session.all().contains(".jsonl"));
    session.line("/halp");
    session.wait("did you mean /help?");
    session.line("/help");
    session.wait("end the session; so does Ctrl-D");
    // None of it went to the model, and the look at the changes is on record.
    assert_eq!(session.requests().len(), 2);
    assert!(session.events("call_intent").iter().any(|record| record["tool"] == "diff" && record["decided_by"] == "person"));
    session.line("/quit");
    assert_eq!(session.ended(), 0);
}

#[test]
fn a_repository_cannot_have_a_program_run_by_a_look_at_what_changed() {
    let Some(session) = Setting::new().begin("a_look_at_what_changed", []) else { return };
    let planted = session.host.root.join("planted");
    for (name, value) in [
        ("diff.external", "sh -c 'touch ../planted inside'"),
        ("core.fsmonitor", "touch ../planted inside"),
        ("diff.x.textconv", "touch ../planted inside;cat"),
    ] {
        session.host.git(&["config", name, value]);
    }
    session.host.write(".gitattributes", "* diff=x\n");
    session.host.write("file", "two\n");
    session.line("/diff");
    session.wait("+two");
    assert!(!planted.exists());
}

#[test]
fn another_mode_is_told_to_the_model_and_never_laxer_than_the_policy() {
    let turns = [Turn::message("One."), Turn::message("Two.")];
    let Some(session) = Setting::new().begin("another_mode", turns) else { return };
    session.line("first");
    session.turn("One.");
    session.line("/ask never");
    session.wait("From here on portcullis asks never.");
    session.line("second");
    session.turn("Two.");
    let bodies: Vec<String> = session.requests().iter().map(|request| String::from_utf8(request.body.clone()).unwrap()).collect();
    assert!(bodies[1].contains("nobody is asked: what would ask is refused") && !bodies[0].contains("nobody is asked: what"));
    // Appended, not edited in.
    assert!(bodies[1].starts_with(&bodies[0][..bodies[0].len() - 2]));
    assert_eq!(session.events("ask_mode").last().unwrap()["mode"], "never");
}
