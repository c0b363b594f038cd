//! A real server of somebody else's: llama.cpp with a small model. Its words mean nothing, so only what happens is looked at.
//!
//! `PORTCULLIS_LLAMA` names its address; `.ci/llama.py FOLDER` starts one and writes the address to `FOLDER/url`.

use std::{
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::support::{Ended, Running, World, skip};

/// A small model on a busy machine reads a prompt for minutes.
const PATIENCE: Duration = Duration::from_secs(900);
/// The server answers one request at a time; a test would wait for the other's.
static TURN: Mutex<()> = Mutex::new(());

fn finish(command: &mut Command) -> Ended {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    Running::start(command, "").end_within(PATIENCE)
}

fn server(test: &str) -> Option<String> {
    let url = std::env::var("PORTCULLIS_LLAMA").ok();
    if url.is_none() {
        assert!(std::env::var_os("PORTCULLIS_NO_SKIP").is_none(), "{test} may not be skipped: PORTCULLIS_LLAMA names no server");
        skip(test, "PORTCULLIS_LLAMA names no server; .ci/llama.py starts one");
    }
    url
}

#[test]
fn a_real_server_streams_has_its_call_carried_out_and_takes_the_output() {
    let Some(url) = server("a_real_server_streams_has_its_call_carried_out_and_takes_the_output") else { return };
    let world = World::new();
    world.write("ws/a.txt", "a\n");
    let mut command = world.command(&["exec", "--provider", "llama.cpp", "--provider-url", &url, "--json", "--workspace"]);
    let ended = finish(command.arg(world.workspace()).arg("Please use the list_dir tool"));
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let calls = ended.events_of("call.finished");
    assert!(!calls.is_empty() && calls.iter().all(|call| call["tool"] == "list_dir"), "{calls:?}");
    let usages = ended.events_of("usage");
    assert_eq!(usages.len(), 2, "{usages:?}");
    // Its cache is a real one, and what was sent is the beginning of what is sent next.
    let (first, second) = (usages[0]["input_tokens"].as_u64().unwrap(), &usages[1]);
    assert!(second["input_tokens"].as_u64().unwrap() > 1000, "{usages:?}");
    assert!(first > 100 && second["cached_tokens"].as_u64().is_some(), "{usages:?}");
    // It goes on where it ended, with all that it said itself.
    let mut command =
        world.command(&["exec", "--provider", "llama.cpp", "--provider-url", &url, "--json", "--resume", "last", "--workspace"]);
    let ended = finish(command.arg(world.workspace()).arg("Thank you."));
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let usage = &ended.events_of("usage")[0];
    let share = usage["cached_tokens"].as_u64().unwrap() * 100 / usage["input_tokens"].as_u64().unwrap();
    assert!(share >= 90, "{usage}");
}

#[test]
fn the_doctor_can_tell_what_a_real_server_takes() {
    let Some(url) = server("the_doctor_can_tell_what_a_real_server_takes") else { return };
    let ended = finish(&mut World::new().command(&["doctor", "--provider", "llama.cpp", "--provider-url", &url, "--json"]));
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let works =
        |what: &str| report["findings"].as_array().unwrap().iter().any(|finding| finding["what"] == what && finding["works"] == true);
    for what in ["answers", "streams its answer", "counts tokens", "calls tools", "takes the output of a call", "caches what it has seen"] {
        assert!(works(what), "{what} in {report:#}");
    }
    for what in ["offers a WebSocket", "compacts conversations itself"] {
        assert!(!works(what), "{what} in {report:#}");
    }
}
