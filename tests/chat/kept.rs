//! Sessions are kept, and can be gone on with.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use portcullis::model::scripted::Turn;

use crate::{
    driven::{Setting, shell},
    support::{Ended, eventually, processes_with},
};

#[test]
fn a_session_that_was_killed_goes_on_as_an_extension_of_itself() {
    let mark = format!("86404.{}", std::process::id());
    let turns =
        [Turn::message("First."), shell(&format!("touch begun; sleep {mark}")), Turn::message("On we go."), Turn::message("Forked.")];
    let Some(session) = Setting::new().begin("a_session_that_was_killed", turns) else { return };
    session.line("remember this");
    session.turn("First.");
    session.line("work");
    assert!(eventually(|| session.host.has("begun")));
    kill(Pid::from_raw(session.pid()), Signal::SIGKILL).unwrap();
    session.ended();
    assert!(eventually(|| processes_with(&mark) == 0));
    // Nothing can be done at such an end, so the shell is as the session had it.
    session.text("stty sane");
    session.keys(&["C-j"]);
    session.run(&["resume", "--last"]);
    session.wait("an earlier one goes on");
    session.line("and now?");
    session.turn("On we go.");
    let bodies: Vec<Vec<u8>> = session.requests().into_iter().map(|request| request.body).collect();
    let (before, after) = (&bodies[1], &bodies[2]);
    assert!(after.starts_with(&before[..before.len() - 2]));
    let text = String::from_utf8_lossy(after);
    assert!(text.contains("Aborted: the session ended while this ran.") && text.contains("and now?"), "{text}");
    let listed = Ended::from(session.host.bare(&["resume", "--list"]).current_dir(&session.host.workspace).output().unwrap()).done();
    assert!(listed.stdout.contains("remember this"), "{listed:?}");
    // It is open here, so it cannot be open there.
    let id = listed.stdout.split_whitespace().next().unwrap();
    assert_eq!(session.events("resumed")[0]["from"], id);
    session.keys(&["C-d"]);
    session.ended();
    session.run(&["fork", id]);
    session.wait("an earlier one goes on");
    session.line("another way");
    session.turn("Forked.");
    let bodies: Vec<Vec<u8>> = session.requests().into_iter().map(|request| request.body).collect();
    assert!(bodies[3].starts_with(&bodies[2][..bodies[2].len() - 2]));
    let listed = Ended::from(session.host.bare(&["resume", "--list"]).current_dir(&session.host.workspace).output().unwrap()).done();
    assert_eq!(listed.stdout.lines().count(), 2, "{listed:?}");
}

#[test]
fn another_session_can_be_chosen_from_within_one() {
    let turns = [Turn::message("First."), Turn::message("Second."), Turn::message("Third.")];
    let Some(session) = Setting::new().begin("another_session", turns) else { return };
    session.line("the first task");
    session.turn("First.");
    session.keys(&["C-d"]);
    session.ended();
    session.run(&[]);
    session.turn("Type a task.");
    session.line("/resume");
    let screen = session.wait("Which session do you want to go on with?");
    assert!(screen.contains("the first task"), "{screen}");
    session.press("1", "an earlier one goes on");
    session.line("more of it");
    session.turn("Second.");
    let text = String::from_utf8_lossy(&session.requests()[1].body).into_owned();
    assert!(text.contains("the first task") && text.contains("more of it"), "{text}");
}

#[test]
fn a_compacted_session_goes_on_with_a_summary_and_what_was_done() {
    let turns = [
        shell("echo done > made"),
        Turn::message("A very long answer."),
        Turn::message("SUMMARY: we made a file."),
        Turn::message("Yes."),
        Turn::message("Resumed."),
    ];
    let Some(session) = Setting::new().begin("a_compacted_session", turns) else { return };
    session.line("make the file");
    session.turn("A very long answer.");
    session.line("/compact");
    session.wait("the conversation was compacted");
    session.line("is it there?");
    session.turn("Yes.");
    let bodies: Vec<String> = session.requests().iter().map(|request| String::from_utf8(request.body.clone()).unwrap()).collect();
    // The summary is asked for behind all that was sent, so that it is a hit of the provider's cache.
    assert!(bodies[2].starts_with(&bodies[1][..bodies[1].len() - 2]) && bodies[2].contains("Sum up this conversation"));
    let after = &bodies[3];
    for kept in ["make the file", "SUMMARY: we made a file.", "shell: echo done > made → ok", "is it there?"] {
        assert!(after.contains(kept), "{kept}: {after}");
    }
    assert!(!after.contains("A very long answer.") && !after.contains("Sum up this conversation"), "{after}");
    // The prefix is as it was.
    let prefix = bodies[0].split("make the file").next().unwrap();
    assert!(after.starts_with(prefix));
    assert_eq!(session.events("compaction").len(), 1);
    session.keys(&["C-d"]);
    session.ended();
    session.run(&["resume", "--last"]);
    session.wait("an earlier one goes on");
    session.line("still?");
    session.turn("Resumed.");
    let resumed = String::from_utf8(session.requests()[4].body.clone()).unwrap();
    assert!(resumed.starts_with(&after[..after.len() - 2]), "{resumed}");
}
