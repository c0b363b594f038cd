//! However a run ends, its log is whole, nothing of it is left running, and nobody is told that it succeeded.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    process::Stdio,
    time::Duration,
};

use portcullis::model::scripted::{Pace, ScriptItem, ScriptedModel, Turn};
use serde_json::json;

use super::support::{
    Running, World, assert_none_left, binary, can_unshare, finish, one, processes_with, records_of, shell, skip, start, unique_sleep,
    wait_until,
};

/// A project with a repository, so that calls hold placeholders in it, and a model that sleeps in its second call.
fn asleep() -> (World, ScriptedModel, String) {
    let world = World::new();
    fs::create_dir_all(world.path("ws/.git/objects")).unwrap();
    fs::create_dir_all(world.path("ws/.git/refs/heads")).unwrap();
    world.write("ws/.git/HEAD", "ref: refs/heads/main\n");
    world.write("ws/a.txt", "a\n");
    let mark = unique_sleep();
    let model = start([one(shell("echo first")), one(shell(&format!("sleep {mark} & setsid sleep {mark} & wait")))]);
    (world, model, mark)
}

fn wait_for_sleep(mark: &str) {
    wait_until("the call runs", || processes_with(&format!("sleep\0{mark}")).len() == 2);
}

#[test]
fn each_record_stands_on_a_line_and_each_intent_before_its_outcome() {
    let world = World::new();
    world.play([Turn::items([shell("printf 'a\\nb'"), shell("echo '\n{\"v\":1}\n'")]), one(shell("false"))]).well();
    for call in ["call_0_0", "call_0_1", "call_1_0"] {
        let (intent, outcome) = world.span(call);
        assert!(intent < outcome);
    }
    let records = world.records();
    let outcome = records.iter().find(|record| record["event"] == "call_outcome").unwrap();
    assert_eq!((&outcome["status"], &outcome["exit_code"], &outcome["output_bytes"]), (&json!("ok"), &json!(0), &json!(3)), "{outcome}");
    assert!(outcome["applied"]["landlock_abi"].as_u64().unwrap() > 0, "{outcome}");
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o077;
    assert_eq!((mode(&world.logs()[0]), mode(&world.path("state"))), (0, 0), "others can read the log");
}

#[test]
fn an_agent_killed_in_a_call_leaves_the_intent_and_nothing_else() {
    let (world, model, mark) = asleep();
    let before = world.tree();
    let running = Running::start(&mut world.exec(&model, &["--json", "x"]), "");
    wait_for_sleep(&mark);
    running.signal(libc::SIGKILL);
    let ended = running.end();
    assert!(ended.status.code().is_none());
    assert_none_left(&mark);
    wait_until("the workspace is as it was", || world.tree() == before);
    wait_until("the session's private folder is gone", || world.left_nothing_temporary());
    let records = world.records();
    let last = records.last().unwrap();
    assert_eq!((&last["event"], &last["call"]), (&json!("call_intent"), &json!("call_1_0")), "{records:#?}");
    // The next session in the same place works.
    let again = finish(&mut world.exec(&start([one(shell("cat a.txt"))]), &["x"]));
    assert_eq!(again.code(), Some(0), "{again:#?}");
    assert_eq!(world.tree(), before);
}

#[test]
fn an_interrupt_in_a_call_ends_it_and_is_recorded() {
    for (signal, code) in [(libc::SIGINT, 130), (libc::SIGTERM, 143), (libc::SIGHUP, 129)] {
        let (world, model, mark) = asleep();
        let before = world.tree();
        let running = Running::start(&mut world.exec(&model, &["--json", "x"]), "");
        wait_for_sleep(&mark);
        running.signal(signal);
        let ended = running.end();
        assert_eq!(ended.code(), Some(code), "{ended:#?}");
        // No waiting here: the program waits for its launcher.
        assert!(processes_with(&format!("sleep\0{mark}")).is_empty(), "signal {signal}: something is left running");
        assert_eq!(world.tree(), before);
        assert!(world.left_nothing_temporary());
        let records = world.records();
        let ends: Vec<_> = records[records.len() - 2..].iter().map(|record| record["event"].as_str().unwrap()).collect();
        assert_eq!(ends, ["turn_end", "session_end"], "{records:#?}");
        let end = &records[records.len() - 2];
        assert_eq!((&end["outcome"], &end["requests"]), (&json!("interrupted"), &json!(2)), "{end}");
        assert_eq!(ended.events().last().unwrap()["type"], "turn.failed");
    }
}

#[test]
fn an_interrupted_call_is_swept() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let world = World::new();
        let command = "mkdir q; echo evil > q/.envrc; git init -q r; git -C r config core.fsmonitor x; touch started; sleep 60";
        let model = start([one(shell(command)), Turn::message("never")]);
        let running = Running::start(&mut world.exec(&model, &["--json", "Do it."]), "");
        wait_until("the call has started", || world.workspace().join("started").exists());
        running.signal(signal);
        running.end();
        assert!(!world.workspace().join("q/.envrc").exists() && world.workspace().join("q/.envrc.refused").exists(), "signal {signal}");
        assert!(!fs::read_to_string(world.workspace().join("r/.git/config")).unwrap().contains("fsmonitor"), "signal {signal}");
    }
}

#[test]
fn an_interrupt_while_the_model_thinks_ends_the_request() {
    let world = World::new();
    let model = start([Turn::message("late").with_pace(Pace { delay: Duration::from_secs(100), drip: Duration::ZERO })]);
    let running = Running::start(&mut world.exec(&model, &["x"]), "");
    wait_until("the request is sent", || model.requests().len() == 1);
    running.signal(libc::SIGINT);
    let ended = running.end();
    assert_eq!((ended.code(), ended.stdout.as_str()), (Some(130), ""), "{ended:#?}");
    assert_eq!(world.records().last().unwrap()["event"], "session_end");
    wait_until("the connection is closed", || model.open_connections() == 0);
}

#[test]
fn without_a_log_nothing_is_done() {
    // A file where the folder should be, and a folder that cannot be made, for root neither.
    for place in ["file", "/proc/self/nowhere"] {
        let world = World::new();
        world.write("file", "");
        let model = start([one(shell("touch ran"))]);
        let mut command = world.exec(&model, &["x"]);
        let ended = finish(command.env("PORTCULLIS_HOME", world.path("").join(place)));
        assert_eq!(ended.code(), Some(6), "{ended:#?}");
        assert!(ended.complaint().contains("PORTCULLIS_HOME"), "{ended:#?}");
        assert!(model.requests().is_empty() && world.tree().is_empty());
    }
    let world = World::new();
    world.write("state/log", "a file where the folder of the logs should be");
    let model = start([one(shell("touch ran"))]);
    let ended = finish(&mut world.exec(&model, &["x"]));
    assert_eq!(ended.code(), Some(6), "{ended:#?}");
    assert!(ended.complaint().contains("state/log") && model.requests().is_empty() && world.left_nothing_temporary(), "{ended:#?}");
}

#[test]
fn a_call_that_cannot_be_recorded_does_not_run() {
    const NAME: &str = "a_call_that_cannot_be_recorded_does_not_run";
    if !can_unshare("-Urm") {
        return skip(NAME, "no mount namespace can be made here");
    }
    let world = World::new();
    fs::create_dir_all(world.path("state/log")).unwrap();
    let padding = "x".repeat(90 * 1024);
    let model = start([one(shell("touch first")), one(shell(&format!("touch second # {padding}"))), Turn::message("done")]);
    // The log is copied out because it goes with the namespace.
    let script = format!(
        "mount -t tmpfs -o size=64k none '{log}' || exit 77; \"$0\" \"$@\"; code=$?; cp -r '{log}' '{kept}' || exit 78; exit $code",
        log = world.path("state/log").display(),
        kept = world.path("kept").display()
    );
    let mut command = world.program("unshare");
    command.args(["-Urm", "sh", "-c", &script]).arg(binary()).args(["exec", "--provider-url", &model.base_url(), "--workspace"]);
    let ended = finish(command.arg(world.workspace()).args(["--json", "x"]));
    if ended.status.code() == Some(77) {
        return skip(NAME, "no tmpfs can be mounted here");
    }
    assert_eq!(ended.code(), Some(6), "{ended:#?}");
    assert!(ended.complaint().contains("the log") && ended.complaint().contains("No space left"), "{ended:#?}");
    assert_eq!(world.tree(), ["first: \"\""], "the call ran without a record");
    assert_eq!(model.requests().len(), 2);
    let kept = fs::read_dir(world.path("kept")).unwrap().map(|entry| entry.unwrap().path());
    let logs: Vec<_> = kept.filter(|path| !path.ends_with("ledger.jsonl")).collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    let records = records_of(&logs[0]);
    assert!(records.iter().all(|record| record["call"] != "call_1_0"), "{records:#?}");
    assert!(records.iter().any(|record| record["event"] == "call_outcome" && record["call"] == "call_0_0"), "{records:#?}");
}

/// Runs with standard output closed or full. Whatever ran, the end is one sentence and code 6.
#[test]
fn a_standard_output_that_cannot_be_written_is_said_in_one_sentence() {
    for json in [true, false] {
        for how in [">&-", ">/dev/full"] {
            let world = World::new();
            let mark = unique_sleep();
            let model = start([one(shell(&format!("true {mark}"))), Turn::message("done")]);
            let mut command = world.program("sh");
            command.args(["-c", &format!("exec \"$0\" \"$@\" {how}")]).arg(binary());
            command.args(["exec", "--provider-url", &model.base_url(), "x", "--workspace"]).arg(world.workspace());
            if json {
                command.arg("--json");
            }
            let ended = finish(&mut command);
            assert_eq!(ended.code(), Some(6), "json {json}, {how}: {ended:#?}");
            assert!(ended.complaint().contains("standard output"), "{ended:#?}");
            assert!(!ended.stderr.contains("panicked"), "{ended:#?}");
            if json || how == ">&-" {
                assert!(model.requests().is_empty(), "json {json}, {how}: a closed output is known before anything is sent");
            }
            assert!(processes_with(&mark).is_empty() && world.left_nothing_temporary());
        }
    }
}

#[test]
fn a_reader_of_the_events_that_goes_away_ends_the_run_and_its_calls() {
    let world = World::new();
    let mark = unique_sleep();
    // The message comes while the call runs, long after its reader is gone.
    let items = [shell(&format!("sleep {mark}")), ScriptItem::message("a message that takes some events")];
    let pace = Pace { delay: Duration::ZERO, drip: Duration::from_millis(150) };
    let model = start([Turn::items(items).with_pace(pace)]);
    let mut command = world.exec(&model, &["--json", "x"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("call.started")));
    drop(lines);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(6), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("standard output"), "{stderr}");
    assert!(processes_with(&format!("sleep\0{mark}")).is_empty());
    let records = world.records();
    assert_eq!(records.last().unwrap()["event"], "session_end", "{records:#?}");
}

#[test]
fn a_standard_error_that_cannot_be_written_costs_nobody_the_answer() {
    let world = World::new();
    let model = start([Turn::message("the answer")]);
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = world.exec(&model, &["x"]);
    let output = command.stderr(full).stdout(Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stdout).as_ref()), (Some(0), "the answer\n"));
}

#[test]
fn a_launcher_that_is_killed_ends_the_run_and_leaves_nothing_running() {
    let (world, model, mark) = asleep();
    let before = world.tree();
    let running = Running::start(&mut world.exec(&model, &["--json", "x"]), "");
    wait_for_sleep(&mark);
    let parent = format!("PPid:\t{}\n", running.child.id());
    let launcher = processes_with("__launcher")
        .into_iter()
        .find(|pid| fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| status.contains(&parent)));
    let launcher = nix::unistd::Pid::from_raw(i32::try_from(launcher.unwrap()).unwrap());
    nix::sys::signal::kill(launcher, nix::sys::signal::Signal::SIGKILL).unwrap();
    let ended = running.end();
    assert_none_left(&mark);
    // The model is told of the first broken call; whatever comes next cannot be launched.
    assert!([Some(0), Some(4)].contains(&ended.code()), "{ended:#?}");
    let outcome = world.records().into_iter().find(|record| record["event"] == "call_outcome" && record["call"] == "call_1_0").unwrap();
    assert_eq!(outcome["status"], "broken", "{outcome}");
    assert_eq!(world.records().last().unwrap()["event"], "session_end");
    // What could not be cleaned up is by the next session.
    let again = finish(&mut world.exec(&start([one(shell("cat a.txt"))]), &["x"]));
    assert_eq!(again.code(), Some(0), "{again:#?}");
    assert_eq!(world.tree(), before);
}
