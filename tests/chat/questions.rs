//! Questions on the screen: what is shown, what counts as an answer, and what each answer does.

use std::{fs, os::unix::fs::PermissionsExt};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use portcullis::model::scripted::Turn;
use serde_json::json;

use crate::{
    driven::{Driven, Setting, shell},
    support::eventually,
};

/// The preset asks about this, and it takes away what git does not know.
const ASKED: &str = "git clean -fdq";
const QUESTION: &str = "May this run?";

/// A session in which the model cleans several times, a message after each.
fn cleaning(test: &str, times: usize) -> Option<Driven> {
    let turns = (0..times).flat_map(|number| [shell(ASKED), Turn::message(&format!("Cleaned {number}."))]);
    let session = Setting::new().begin(test, turns)?;
    session.host.write("junk", "");
    Some(session)
}

/// What the model was told of its last call.
fn told(session: &Driven) -> String {
    session.requests().last().unwrap().outputs().pop().unwrap().1
}

fn answers(session: &Driven) -> Vec<String> {
    session.events("answer").iter().map(|record| record["answer"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn once_is_once_and_no_is_no() {
    let Some(session) = cleaning("once_is_once", 2) else { return };
    session.line("clean");
    let screen = session.wait(QUESTION);
    // All that will happen, and who asks.
    for shown in [ASKED, "asked because", "workspace-write.toml:", "the call can", "y once", "n no"] {
        assert!(screen.contains(shown), "{shown}: {screen}");
    }
    assert!(session.host.has("junk"));
    session.press("y", "Cleaned 0.");
    session.turn("Cleaned 0.");
    assert!(!session.host.has("junk"));
    assert!(session.all().contains("you allowed it once"));
    session.host.write("junk", "");
    session.line("again");
    session.wait(QUESTION);
    session.press("n", "Cleaned 1.");
    assert!(session.host.has("junk"));
    assert!(told(&session).contains("the person said no"), "{}", told(&session));
    assert_eq!(answers(&session), ["once", "refuse"]);
    let questions = session.events("question");
    assert!(
        questions
            .iter()
            .all(|question| question["shown"].as_str().unwrap().len() == 64 && question["because"].as_str().unwrap().contains(".toml:"))
    );
    let intents = session.events("call_intent");
    let decided: Vec<_> =
        intents.iter().map(|intent| (intent["decision"].as_str().unwrap(), intent["decided_by"].as_str().unwrap())).collect();
    assert_eq!(decided, [("allow", "person"), ("refuse", "person")]);
}

#[test]
fn the_session_is_until_its_end() {
    let Some(session) = cleaning("the_session_is", 3) else { return };
    session.line("clean");
    session.wait(QUESTION);
    let screen = session.press("s", "allow just this");
    assert!(screen.contains("git clean -fdq") && screen.contains("for this session"), "{screen}");
    session.press("Enter", "Cleaned 0.");
    session.turn("Cleaned 0.");
    session.host.write("junk", "");
    session.line("again");
    session.turn("Cleaned 1.");
    assert!(!session.host.has("junk"));
    assert_eq!(session.events("question").len(), 1);
    session.line("/grants");
    session.wait("(for this session)");
    session.keys(&["C-d"]);
    assert_eq!(session.ended(), 0);
    session.host.write("junk", "");
    session.run(&[]);
    session.turn("Type a task.");
    session.line("once more");
    session.wait(QUESTION);
    assert!(session.host.has("junk"));
}

#[test]
fn the_repository_is_the_next_session_too_until_it_is_revoked() {
    let Some(session) = cleaning("the_repository_is", 3) else { return };
    session.line("clean");
    session.wait(QUESTION);
    let screen = session.press("r", "allow just this");
    assert!(screen.contains("in this repository") && screen.contains("30 days"), "{screen}");
    session.press("Enter", "Cleaned 0.");
    session.turn("Cleaned 0.");
    session.keys(&["C-d"]);
    assert_eq!(session.ended(), 0);
    let kept = session.host.state.join("grants.json");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    session.host.write("junk", "");
    session.run(&[]);
    session.wait("1 of yours hold here");
    session.line("again");
    session.turn("Cleaned 1.");
    assert!(!session.host.has("junk"));
    let grant = session.events("granted").last().unwrap()["grant"].as_str().unwrap().to_owned();
    session.line(&format!("/revoke {grant}"));
    session.wait("Taken back.");
    session.host.write("junk", "");
    session.line("once more");
    session.wait(QUESTION);
    assert!(session.host.has("junk"));
    assert!(!fs::read_to_string(&kept).unwrap().contains(&grant));
}

#[test]
fn a_word_reaches_the_model_and_an_edit_runs_instead() {
    let Some(session) = cleaning("a_word_reaches", 2) else { return };
    session.line("clean");
    session.wait(QUESTION);
    session.press("m", "say no, with these words");
    session.text("keep junk y");
    session.wait("keep junk y");
    session.press("Enter", "Cleaned 0.");
    session.turn("Cleaned 0.");
    assert!(told(&session).contains("the person said no, and: keep junk y"), "{}", told(&session));
    session.line("again");
    session.wait(QUESTION);
    session.press("e", "it is judged again");
    session.keys(&["C-u"]);
    session.text("touch edited");
    session.wait("touch edited");
    session.press("Enter", "Cleaned 1.");
    assert!(session.host.has("edited") && session.host.has("junk"));
    assert!(told(&session).contains("this was run instead: touch edited"), "{}", told(&session));
    // What was run is what is on record.
    let intent = session.events("call_intent").pop().unwrap();
    assert!(intent["arguments"].as_str().unwrap().contains("touch edited"), "{intent}");
}

#[test]
fn an_edit_is_judged_again() {
    let Some(session) = cleaning("an_edit_is_judged", 1) else { return };
    session.line("clean");
    session.wait(QUESTION);
    session.press("e", "it is judged again");
    session.keys(&["C-u"]);
    session.text("sudo touch edited");
    session.wait("sudo touch edited");
    session.press("Enter", "Cleaned 0.");
    assert!(!session.host.has("edited") && session.host.has("junk"));
    assert!(told(&session).contains("forbids"), "{}", told(&session));
}

#[test]
fn stop_ends_the_turn_and_the_session_goes_on() {
    for key in ["Escape", "C-c"] {
        let Some(session) = cleaning("stop_ends", 1) else { return };
        session.line("clean");
        session.wait(QUESTION);
        session.press(key, "Interrupted. The session goes on.");
        assert!(session.host.has("junk"));
        session.line("what now?");
        session.turn("Cleaned 0.");
        assert_eq!(answers(&session), ["stop"]);
    }
}

#[test]
fn a_long_command_is_approved_at_its_end_only() {
    let long: String = (0..60).map(|number| format!("# line {number}\n")).collect();
    let turns = [shell(&format!("{long}git clean -fdq; touch \u{202e}hidden")), Turn::message("Cleaned.")];
    let Some(session) = Setting::new().begin("a_long_command", turns) else { return };
    session.host.write("junk", "");
    session.line("clean");
    session.wait("a yes is taken at the end");
    session.press("y", "Not before all of it has been on the screen");
    session.press("s", "Not before all of it has been on the screen");
    assert!(session.host.has("junk"));
    session.resize(60, 16);
    session.wait_until("a smaller screen", |screen| !screen.contains("# line 12"));
    session.keys(&["End"]);
    session.wait_until("the end", |screen| screen.contains("the call can") || screen.contains("asked because"));
    session.resize(80, 50);
    session.wait("touch \\u{202e}hidden");
    session.press("y", "Cleaned.");
    assert!(!session.host.has("junk"));
}

#[test]
fn what_is_pasted_or_typed_ahead_is_no_answer() {
    let Some(session) = cleaning("what_is_pasted", 1) else { return };
    session.line("clean");
    // While nothing is asked yet, and in the first moment.
    for _ in 0..5 {
        session.text("y");
    }
    session.wait(QUESTION);
    session.paste("y\n");
    session.paste("y");
    // In the flow of typing something else, key by key.
    for key in ["w", "h", "y", "n", "o", "t", "y"] {
        session.keys(&[key]);
        std::thread::sleep(std::time::Duration::from_millis(150));
    }
    session.wait("on the heels of other keys");
    session.text("yyyyyyyy");
    session.text("y\ny\n");
    // The question is there still, and takes a key that a person presses.
    session.press("e", "it is judged again");
    assert!(session.host.has("junk"));
    session.press("Escape", "y once");
    assert!(session.events("answer").is_empty());
    session.press("n", "Cleaned 0.");
    assert!(session.host.has("junk"));
}

#[test]
fn a_question_that_is_up_when_the_session_is_killed_or_crashes_is_no_yes() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129), (Signal::SIGSEGV, 139), (Signal::SIGABRT, 134)] {
        let Some(session) = cleaning("a_question_that_is_up", 1) else { return };
        session.line("clean");
        session.wait(QUESTION);
        kill(Pid::from_raw(session.pid()), signal).unwrap();
        assert_eq!(session.ended(), code);
        session.assert_terminal_as_before();
        assert!(session.host.has("junk"));
    }
}

#[test]
fn in_the_mode_always_every_call_is_asked_about_and_a_patch_is_a_diff() {
    let patch = json!({"patch": "*** Begin Patch\n*** Update File: file\n@@\n-one\n+two\n*** End Patch"});
    let turns = [
        Turn::call("apply_patch", &patch.to_string()),
        Turn::call("read_file", r#"{"path":"file"}"#),
        shell("echo ran > ran"),
        Turn::message("Done."),
    ];
    let Some(session) = Setting::new().with(&["--ask", "always"]).begin("in_the_mode_always", turns) else { return };
    session.line("go");
    let screen = session.wait("May these files be changed?");
    assert!(screen.contains("-one") && screen.contains("+two"), "{screen}");
    let coloured = session.coloured();
    let colour_of = |text: &str| coloured.lines().find(|line| line.ends_with(text)).unwrap_or_default().to_owned();
    assert!(colour_of("+two").contains("\u{1b}[32m") && colour_of("-one").contains("\u{1b}[31m"), "{coloured}");
    assert_eq!(session.host.read("file").unwrap(), "one\n");
    session.press("y", "May this be done?");
    assert_eq!(session.host.read("file").unwrap(), "two\n");
    session.press("y", QUESTION);
    assert!(!session.host.has("ran"));
    session.press("y", "Done.");
    assert!(session.host.has("ran"));
    assert_eq!(answers(&session), ["once", "once", "once"]);
}

#[test]
fn a_refused_command_can_be_given_exactly_what_it_lacked() {
    let setting = Setting::new();
    // Not below /tmp, of which a call has its own.
    let place = tempfile::Builder::new().prefix("portcullis-test-").tempdir_in("/var/tmp").unwrap();
    let outside = place.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "precious\n").unwrap();
    fs::write(place.path().join("other"), "other\n").unwrap();
    let command = format!("cat {0}/outside/precious && ! cat {0}/other", place.path().display());
    let turns = [shell(&command), Turn::message("Read."), shell(&command), Turn::message("Again.")];
    let Some(session) = setting.begin("a_refused_command", turns) else { return };
    session.line("read it");
    let screen = session.wait("May it have this?");
    assert!(screen.contains("then run again, confined") && screen.contains("/outside/precious and what is below it"), "{screen}");
    session.press("y", "Read.");
    session.turn("Read.");
    assert!(told(&session).contains("precious\n"), "{}", told(&session));
    assert!(!told(&session).contains("other\n"), "{}", told(&session));
    // Once was once.
    session.line("again");
    session.wait("May it have this?");
    session.press("n", "Again.");
    assert!(!told(&session).contains("precious\n"), "{}", told(&session));
    assert!(eventually(|| session.events("in_force").len() >= 2));
}

#[test]
fn the_model_can_ask_for_a_folder_and_never_for_what_is_denied() {
    let setting = Setting::new();
    let outside = setting.host.root.join("outside");
    let ask =
        |what: &str| Turn::call("request_access", &json!({"access": "read", "what": what, "reason": "I need \u{1b}[2Jit."}).to_string());
    let read = Turn::call("read_file", &json!({"path": outside.join("precious")}).to_string());
    let secret = setting.host.home.join(".ssh").display().to_string();
    let turns = [ask(&outside.display().to_string()), read, Turn::message("One."), ask(&secret), Turn::message("Two.")];
    let Some(session) = setting.begin("the_model_can_ask", turns) else { return };
    session.line("go");
    let screen = session.wait("May it have this?");
    assert!(screen.contains("I need ^[[2Jit."), "{screen}");
    session.press("y", "One.");
    session.turn("One.");
    assert!(told(&session).contains("precious"), "{}", told(&session));
    session.line("and this");
    // Nobody is even asked.
    session.turn("Two.");
    assert!(told(&session).contains("denied by the policy"), "{}", told(&session));
    assert_eq!(session.events("question").len(), 1);
}
