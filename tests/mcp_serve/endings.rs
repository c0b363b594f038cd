//! How calls and sessions end: what was started is gone, and the log is whole.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::json;

use super::{
    caller::{Caller, assert_whole, command, events, unique_time},
    support::{Ended, Host, eventually, processes_with},
};

/// Begins a call whose processes can be told from all others, among them one that got away from its shell.
fn begin_sleeping(caller: &mut Caller) -> (i64, String) {
    let time = unique_time();
    let id = caller.begin_call("run_sandboxed", json!({"command": format!("setsid sleep {time} & sleep {time}; true")}));
    assert!(eventually(|| processes_with(&time) == 2), "it does not run");
    (id, time)
}

fn statuses(host: &Host) -> Vec<String> {
    events(host, "call_outcome").iter().map(|record| record["status"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_call_that_is_taken_back_ends_with_all_its_processes_and_others_do_not() {
    let host = Host::new();
    let mut caller = Caller::new(&host, &[]);
    let (id, time) = begin_sleeping(&mut caller);
    // Of a call that there is not, nothing is taken back.
    caller.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 4711}}));
    assert!(caller.is_silent() && processes_with(&time) == 2);
    // One that waits behind it is never begun if it is taken back first.
    let waiting = caller.begin_call("run_sandboxed", json!({"command": "touch never"}));
    caller.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": waiting}}));
    caller.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id, "reason": "enough"}}));
    assert!(eventually(|| processes_with(&time) == 0), "processes are left");
    assert!(!caller.sh("echo > after").is_error);
    assert!(host.has("after") && !host.has("never"));
    assert_eq!(caller.end().code, 0);
    assert_eq!(statuses(&host), ["interrupted", "ok"]);
    assert_whole(&host);
}

#[test]
fn the_end_of_the_input_ends_what_runs_and_closes_the_log() {
    let host = Host::new();
    let mut caller = Caller::new(&host, &[]);
    let (_, time) = begin_sleeping(&mut caller);
    caller.begin_call("run_sandboxed", json!({"command": "touch never"}));
    let ended = caller.end();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(eventually(|| processes_with(&time) == 0), "processes are left");
    assert!(!host.has("never"));
    assert_eq!(statuses(&host), ["interrupted"]);
    assert_whole(&host);
}

#[test]
fn a_signal_ends_what_runs_and_closes_the_log() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let host = Host::new();
        let mut caller = Caller::new(&host, &[]);
        let (_, time) = begin_sleeping(&mut caller);
        caller.signal(signal);
        assert!(eventually(|| processes_with(&time) == 0), "processes are left");
        let ended = caller.end();
        assert_eq!(ended.code, code, "{ended:?}");
        assert_whole(&host);
    }
}

#[test]
fn a_server_that_is_killed_leaves_no_process() {
    let host = Host::new();
    let mut caller = Caller::new(&host, &[]);
    let (_, time) = begin_sleeping(&mut caller);
    caller.signal(Signal::SIGKILL);
    assert!(eventually(|| processes_with(&time) == 0), "processes are left");
    let verified = Ended::from(host.bare(&["audit", "verify", "last"]).output().unwrap());
    assert_eq!(verified.code, 8, "nothing was changed, and the end is missing: {verified:?}");
}

#[test]
fn a_session_without_a_call_or_a_greeting_is_recorded_too() {
    let host = Host::new();
    let ended = Caller::unintroduced(command(&host, &[])).end();
    assert!(ended.code == 0 && ended.stdout.is_empty(), "{ended:?}");
    assert!(ended.stderr.starts_with("portcullis: mcp serve: policy workspace-write"), "{ended:?}");
    let started = &events(&host, "session_start")[0];
    assert_eq!((&started["endpoint"], &started["model"]), (&json!("mcp"), &json!("unknown")));
    assert_whole(&host);
}

#[test]
fn what_cannot_begin_says_so_by_its_code_and_says_nothing_to_the_caller() {
    let host = Host::new();
    let wrong = host.root.join("wrong.toml");
    fs::write(&wrong, "schema = 1\nname = \"wrong\"\nextend = \"read-only\"\n").unwrap();
    let wrong = wrong.display().to_string();
    for (arguments, code, said) in [
        (vec!["--policy", wrong.as_str()], 3, "extends"),
        (vec!["--policy", "no-such-preset"], 2, "no-such-preset"),
        (vec!["--approver", "'"], 2, "--approver"),
        (vec!["--ask", "sometimes"], 2, "sometimes"),
    ] {
        let ended = Caller::unintroduced(command(&host, &arguments)).end();
        assert!(ended.code == code && ended.stdout.is_empty() && ended.stderr.contains(said), "{arguments:?}: {ended:?}");
    }
    let mut unwritable = command(&host, &[]);
    fs::write(host.root.join("file"), "").unwrap();
    unwritable.env("PORTCULLIS_HOME", host.root.join("file/state"));
    let unwritable = Caller::unintroduced(unwritable).end();
    assert!(unwritable.code == 6 && unwritable.stdout.is_empty(), "{unwritable:?}");
    let mut elsewhere = host.bare(&["mcp", "serve", "--workspace", "no-such-folder"]);
    assert_eq!(Ended::from(elsewhere.output().unwrap()).code, 2);
    let mut closed = host.clean("sh");
    closed.args(["-c", "exec \"$0\" mcp serve --workspace \"$1\" >&-"]).arg(super::support::program()).arg(&host.workspace);
    let closed = Ended::from(closed.output().unwrap());
    assert!(closed.code == 6 && closed.stderr.contains("standard"), "{closed:?}");
}

#[test]
fn a_question_that_waits_is_taken_back_with_its_call() {
    let host = Host::new();
    let policy = host.policy("asks", "[[command]]\nprefix = [\"touch\"]\ndecision = \"ask\"\nwhy = \"It makes files.\"\n");
    let time = unique_time();
    let script = host.root.join("approve.sh");
    fs::write(&script, format!("sleep {time}; echo '{{\"answer\":\"once\"}}'\n")).unwrap();
    let approver = format!("sh {}", script.display());
    let mut caller = Caller::new(&host, &["--policy", &policy, "--approver", &approver]);
    let id = caller.begin_call("run_sandboxed", json!({"command": "touch asked"}));
    assert!(eventually(|| processes_with(&time) == 1), "nobody is asked");
    assert_eq!(caller.request("ping", json!({}))["result"], json!({}));
    caller.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}));
    assert!(eventually(|| processes_with(&time) == 0), "it is still asked");
    assert!(!caller.sh("true").is_error && !host.has("asked"));
    caller.end();
    assert_whole(&host);
}

#[test]
fn a_caller_that_is_gone_ends_what_runs_though_its_input_stays_open() {
    let host = Host::new();
    let mut caller = Caller::new(&host, &[]);
    let (_, time) = begin_sleeping(&mut caller);
    caller.stop_reading();
    // The next answer finds nobody.
    caller.begin("ping", json!({}));
    assert!(eventually(|| processes_with(&time) == 0), "processes are left");
    assert!(eventually(|| caller.has_ended()));
    assert_whole(&host);
}

#[test]
fn calls_that_are_made_and_taken_back_take_up_no_room() {
    let host = Host::new();
    let mut caller = Caller::new(&host, &[]);
    let (id, time) = begin_sleeping(&mut caller);
    for _ in 0..200 {
        let waiting = caller.begin_call("run_sandboxed", json!({"command": "touch never"}));
        caller.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": waiting}}));
    }
    let last = caller.begin_call("run_sandboxed", json!({"command": "touch last"}));
    caller.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}));
    let answer = caller.receive();
    assert!(answer["id"] == last && answer["result"]["isError"] == false, "{answer}");
    assert!(host.has("last") && !host.has("never") && processes_with(&time) == 0);
}
