//! What a turn shows, and what an interruption leaves.

use std::time::Duration;

use portcullis::model::scripted::{Pace, ScriptItem, Turn};
use serde_json::Value;

use crate::{
    driven::{Setting, shell},
    support::{eventually, processes_with},
};

fn texts(body: &[u8]) -> Vec<String> {
    let body: Value = serde_json::from_slice(body).unwrap();
    let items = body["input"].as_array().unwrap().clone();
    items.iter().map(|item| item["content"][0]["text"].as_str().or(item["output"].as_str()).unwrap_or_default().to_owned()).collect()
}

#[test]
fn text_and_output_are_shown_as_they_come_and_the_session_goes_on() {
    let slow = Pace { drip: Duration::from_millis(40), ..Pace::default() };
    let turns = [
        Turn::items([ScriptItem::message(&format!("I look. {}", "word ".repeat(60)))]).with_pace(slow),
        shell("echo first line; while [ ! -e go ]; do sleep 0.05; done; echo last line"),
        Turn::message("That was it."),
        Turn::message("And again."),
    ];
    let Some(session) = Setting::new().begin("text_and_output_are_shown_as_they_come", turns) else { return };
    session.line("go on");
    session.turn("I look.");
    session.line("run it");
    // While it runs: its output and its time.
    let screen = session.wait("first line");
    assert!(screen.contains("workspace-write"), "{screen}");
    session.wait("shell 1 s · ");
    assert!(!session.screen().contains("That was it."));
    session.host.write("go", "");
    let screen = session.turn("That was it.");
    assert!(screen.contains("last line") && screen.contains("% cached"), "{screen}");
    session.line("and now?");
    session.turn("And again.");
    assert_eq!(session.requests().len(), 4);
    // Every request is the one before and more.
    let bodies: Vec<Vec<u8>> = session.requests().into_iter().map(|request| request.body).collect();
    for pair in bodies.windows(2) {
        assert!(pair[1].starts_with(&pair[0][..pair[0].len() - 2]));
    }
}

#[test]
fn an_interrupted_turn_ends_what_runs_and_the_model_is_told() {
    let mark = format!("86400.{}", std::process::id());
    let interrupted = format!("mkdir sub; echo x > sub/.envrc; echo begun; sleep {mark}; echo never > after");
    let turns = [shell(&interrupted), shell("sleep 0.5"), shell("true"), Turn::message("I see.")];
    let Some(session) = Setting::new().begin("an_interrupted_turn", turns) else { return };
    session.line("wait for it");
    session.wait("begun");
    assert!(eventually(|| processes_with(&mark) > 0));
    session.keys(&["C-c"]);
    session.wait("Interrupted. The session goes on.");
    assert!(eventually(|| processes_with(&mark) == 0));
    assert!(!session.host.has("after"));
    session.line("what now?");
    session.turn("I see.");
    let told = texts(&session.requests()[1].body).join("\n");
    assert!(
        told.contains("Interrupted by the person")
            && told.contains("Output until then:\nbegun\n")
            && told.contains("The person interrupted the turn here."),
        "{told}"
    );
    let outcomes = session.events("call_outcome");
    assert_eq!(outcomes[0]["status"], "interrupted");
    // Nobody listened to its end any more, so the next call that begins after it tells what was undone.
    assert!(!session.host.has("sub/.envrc"));
    let told = texts(&session.requests()[3].body).join("\n");
    assert!(told.contains("sub/.envrc"), "{told}");
    assert!(session.events("turn_end").iter().any(|record| record["outcome"] == "interrupted"));
}

#[test]
fn nothing_that_a_model_or_a_program_says_moves_the_cursor() {
    let turns = [
        Turn::message("\u{1b}[2J\u{1b}]0;owned\u{7}Hello \u{202e}there\rYes"),
        shell("printf '\\033[2J\\033[Hwiped\\r\\rand more\\n\\302\\233 31m'; printf '\\342\\200\\256'"),
        Turn::message("Done."),
    ];
    let Some(session) = Setting::new().begin("nothing_moves_the_cursor", turns) else { return };
    session.line("say it");
    let screen = session.turn("Hello");
    assert!(screen.contains("^[[2J") && screen.contains("\\u{202e}there^MYes"), "{screen}");
    // What stood there before is there still.
    assert!(session.all().contains("say it"));
    session.line("print it");
    session.turn("Done.");
    let all = session.all();
    assert!(all.contains("^[[2J^[[Hwiped^M^Mand more") && all.contains("\\u{202e}") && all.contains("say it"), "{all}");
}

#[test]
fn a_narrow_screen_and_a_resize_leave_no_rubble() {
    let turns = [shell("echo start; while [ ! -e go ]; do sleep 0.05; done; echo end"), Turn::message("Over.")];
    let Some(session) = Setting::new().sized(100, 30).begin("a_narrow_screen", turns) else { return };
    session.line("go");
    session.wait("start");
    session.resize(50, 16);
    session.wait_until("a status line that fits", |screen| {
        screen.lines().any(|line| line.starts_with("shell") && line.contains(" s · ") && line.chars().count() <= 50)
    });
    session.resize(90, 24);
    session.host.write("go", "");
    session.turn("Over.");
    let screen = session.all();
    assert_eq!(screen.matches("Over.").count(), 1, "{screen}");
}

#[test]
fn no_colour_where_none_is_wanted_and_colour_where_it_is() {
    for (name, value, wanted) in [("NO_COLOR", "1", false), ("NO_COLOR", "", true)] {
        let turns = [shell("exit 3"), Turn::message("So.")];
        let Some(session) = Setting::new().environment(name, value).begin("no_colour", turns) else { return };
        session.line("go");
        session.turn("So.");
        assert_eq!(
            session.coloured().contains("\u{1b}[31m") || session.coloured().contains("\u{1b}[1m\u{1b}[31m"),
            wanted,
            "{}",
            session.coloured()
        );
    }
}

#[test]
fn over_a_websocket_the_prefix_is_there_before_the_prompt_and_an_interruption_costs_no_more_than_a_connection() {
    let slow = Pace { delay: Duration::from_secs(20), ..Pace::default() };
    let turns = [shell("echo one"), Turn::message("It is done."), Turn::message("never").with_pace(slow), Turn::message("And again.")];
    let Some(session) = Setting::new().over_websocket().begin("over_a_websocket", turns) else { return };
    assert!(eventually(|| session.model.warm_ups() == 1));
    session.line("do it");
    session.turn("It is done.");
    session.line("and now?");
    assert!(eventually(|| session.requests().len() == 3));
    session.keys(&["C-c"]);
    session.turn("Interrupted.");
    session.line("once more");
    session.turn("And again.");
    let requests = session.requests();
    let items = |place: usize| -> usize {
        let frame: Value = serde_json::from_slice(requests[place].frame.as_ref().unwrap()).unwrap();
        frame["input"].as_array().unwrap().len()
    };
    // The prompt alone; the output alone; the next prompt; then everything, on a new connection.
    assert_eq!((items(0), items(1), items(2)), (1, 1, 1));
    assert!(items(3) > 5);
    assert_eq!(requests[3].connection, requests[0].connection + 1);
    for pair in requests.windows(2) {
        assert!(pair[1].body.starts_with(pair[0].body.strip_suffix(b"]}").unwrap()));
    }
}
