//! Tools of MCP servers in a session: the question shows the arguments and the server's own reach, and an answer can be for the session.

use std::fs;

use portcullis::model::scripted::Turn;
use serde_json::json;

use crate::{
    driven::{Driven, Setting},
    support::{Ended, Host, program},
};

const SERVER: &str = include_str!("../mcp/hostile.py");

/// Adds the server as `h`, and approves it in a terminal's stead.
fn approve(host: &Host) {
    host.write("h.py", SERVER);
    let script = host.workspace.join("h.py").display().to_string();
    let run = |arguments: &[&str]| Ended::from(host.bare(arguments).output().unwrap());
    run(&["mcp", "add", "h", "--", "/usr/bin/python3", &script]).done();
    let workspace = host.workspace.display().to_string();
    let shown = run(&["mcp", "review", "h", "--workspace", &workspace]);
    let hash = shown.stdout.lines().find_map(|line| line.strip_prefix("hash         ")).unwrap().to_owned();
    run(&["mcp", "review", "h", "--workspace", &workspace, "--yes", "--expect", &hash]).done();
}

fn told(session: &Driven) -> String {
    session.requests().last().unwrap().outputs().pop().unwrap().1
}

fn echo(text: &str) -> Turn {
    Turn::call("h__echo", &json!({ "text": text }).to_string())
}

#[test]
fn a_tool_of_a_server_asks_with_its_reach_and_can_be_allowed_for_the_session() {
    let setting = Setting::new().sized(100, 40);
    approve(&setting.host);
    let turns =
        [echo("first-arg"), Turn::message("One."), echo("second-arg"), Turn::message("Two."), echo("third-arg"), Turn::message("Three.")];
    let Some(session) = setting.begin("a_tool_of_a_server_asks", turns) else { return };
    session.line("go");
    let screen = session.wait("the call can");
    for shown in ["first-arg", "MCP server h", "nothing allows the tool echo", "reach  nothing", "y once", "n no"] {
        assert!(screen.contains(shown), "{shown}: {screen}");
    }
    session.press("n", "One.");
    assert!(told(&session).contains("the person said no"), "{}", told(&session));
    session.turn("One.");
    session.line("again");
    session.wait("the call can");
    let screen = session.press("s", "allow just this");
    assert!(screen.contains("the tool echo of the MCP server h, whatever its arguments"), "{screen}");
    session.press("Enter", "Two.");
    session.turn("Two.");
    assert_eq!(told(&session), "second-arg");
    session.line("once more");
    session.turn("Three.");
    assert_eq!((told(&session).as_str(), session.events("question").len()), ("third-arg", 2));
    session.keys(&["C-d"]);
    assert_eq!(session.ended(), 0);
}

#[test]
fn what_a_server_says_of_its_progress_is_seen_while_the_call_runs_and_is_no_part_of_its_result() {
    let setting = Setting::new().sized(100, 40);
    approve(&setting.host);
    let file = setting.host.state.join("mcp.toml");
    fs::write(&file, fs::read_to_string(&file).unwrap() + "decisions = { progress = \"allow\" }\n").unwrap();
    let turns = [Turn::call("h__progress", "{}"), Turn::message("One.")];
    let Some(session) = setting.begin("what_a_server_says_of_its_progress", turns) else { return };
    session.line("go");
    let screen = session.wait("progress: 3 of 3: step 3");
    // The call is not over, and its words cannot leave their line.
    assert!(screen.contains("progress: 1 of 3: step 1") && !screen.contains("One."), "{screen}");
    session.turn("One.");
    assert_eq!(told(&session), "progress");
    session.keys(&["C-d"]);
    assert_eq!(session.ended(), 0);
}

#[test]
fn a_server_that_changed_is_asked_about_when_a_session_begins() {
    let setting = Setting::new().sized(120, 40).untrusting();
    approve(&setting.host);
    setting.host.write("h.py", &format!("{SERVER}# changed\n"));
    let file = setting.host.state.join("mcp.toml");
    fs::write(&file, fs::read_to_string(&file).unwrap() + "decisions = { echo = \"allow\" }\n").unwrap();
    let turns = [echo("first"), Turn::message("One."), echo("second"), Turn::message("Two.")];
    let Some(session) = setting.begin("a_server_that_changed", turns) else { return };
    session.wait("Do you trust this folder?");
    session.press("y", "is not as you approved it");
    let screen = session.wait("its script");
    assert!(screen.contains("a yes is taken at the end"), "{screen}");
    // Not to be asked is not to be used.
    session.press("n", "›");
    session.line("go");
    session.turn("One.");
    assert!(told(&session).contains("its script") && told(&session).contains("not used"), "{}", told(&session));
    session.keys(&["C-d"]);
    assert_eq!(session.ended(), 0);
    session.run(&[]);
    session.wait("is not as you approved it");
    session.press("End", "y use it");
    session.press("y", "›");
    session.line("go");
    session.turn("Two.");
    assert_eq!(told(&session), "second");
}

#[test]
fn a_review_in_a_terminal_approves_with_yes_and_with_nothing_else() {
    let setting = Setting::new().sized(120, 40);
    setting.host.write("h.py", SERVER);
    let script = setting.host.workspace.join("h.py").display().to_string();
    Ended::from(setting.host.bare(&["mcp", "add", "h", "--", "/usr/bin/python3", &script]).output().unwrap()).done();
    let Some(session) = setting.begin("a_review_in_a_terminal", []) else { return };
    session.keys(&["C-d"]);
    session.ended();
    let lock = session.host.state.join("mcp.lock");
    let review = format!("clear; {} mcp review h", shlex::try_quote(program().to_str().unwrap()).unwrap());
    session.line(&review);
    session.wait("Type yes to let sessions use h as shown:");
    session.line("y");
    session.wait("h was not approved");
    assert!(!lock.exists());
    session.line(&review);
    session.wait("Type yes to let sessions use h as shown:");
    session.line("yes");
    session.wait("h is approved as it was shown");
    assert!(lock.exists());
}
