//! How a session ends, and that the terminal is as it was.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use portcullis::model::scripted::{Fault, Turn};

use crate::driven::{Setting, shell};

#[test]
fn the_terminal_is_as_it_was_after_every_end() {
    let turns = || [shell("echo begun; sleep 86403"), Turn::message("Over.")];
    // At the prompt and in a turn.
    for (busy, signal, code) in [
        (false, None, 0),
        (false, Some(Signal::SIGTERM), 143),
        (true, Some(Signal::SIGTERM), 143),
        (true, Some(Signal::SIGHUP), 129),
        (false, Some(Signal::SIGSEGV), 139),
        (true, Some(Signal::SIGSEGV), 139),
        (true, Some(Signal::SIGABRT), 134),
        (false, Some(Signal::SIGQUIT), 131),
    ] {
        let Some(session) = Setting::new().begin("the_terminal_is_as_it_was", turns()) else { return };
        if busy {
            session.line("go");
            session.wait("begun");
        }
        match signal {
            Some(signal) => kill(Pid::from_raw(session.pid()), signal).unwrap(),
            None => session.keys(&["C-d"]),
        }
        assert_eq!(session.ended(), code, "{signal:?}");
        session.assert_terminal_as_before();
    }
}

#[test]
fn a_failing_endpoint_ends_the_turn_and_not_the_session() {
    let turns = [
        Turn::message("x").with_fault(Fault::status(400, "invalid_request_error", "no such model \u{1b}[2J")),
        Turn::message("Back again."),
    ];
    let Some(session) = Setting::new().begin("a_failing_endpoint", turns) else { return };
    session.line("first");
    session.turn("no such model");
    session.line("second");
    session.turn("Back again.");
    assert!(session.events("turn_end").iter().any(|record| record["outcome"] == "failed"));
}

#[test]
fn without_a_terminal_there_is_no_session() {
    let host = crate::support::Host::new();
    let ended =
        crate::support::Ended::from(host.bare(&["--provider-url", "http://127.0.0.1:9/v1"]).current_dir(&host.workspace).output().unwrap());
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("portcullis exec"), "{ended:?}");
}

#[test]
fn on_a_terminal_that_cannot_show_a_question_there_is_no_session() {
    let Some(session) = Setting::new().environment("TERM", "dumb").untrusting().begin("on_a_dumb_terminal", []) else { return };
    assert_eq!(session.ended(), 2);
    assert!(session.screen().contains("TERM is dumb"), "{}", session.screen());
}
