//! What a process does with a call, done once without one while there is nothing else to do.
//!
//! After a fork, code is mapped into a process and memory is copied for it when it first touches them, a page at a time. Of a call that takes a millisecond
//! a good part is such faults, in each of the processes that it goes through. Nothing here has an effect outside of the process.

use std::{fs::File, os::fd::OwnedFd, path::Path};

use super::enter::Call;
use crate::{
    sandbox::{
        launcher::pair,
        message::{Handover, Launch, Program},
    },
    worker::{self, Request},
};

/// How many variables most calls have.
const VARIABLES: usize = 12;
/// A file of some lines that every view has.
const FILE: &str = "/proc/self/status";

/// Hands a call from this process to itself. That it cannot be done is no error: then the real one takes a little longer.
pub fn hand_over() {
    let handed = || {
        let null = || File::open("/dev/null").ok().map(OwnedFd::from);
        let launch = Launch {
            plan: 0,
            program: Program::Exec(vec!["/bin/sh".to_owned(), "-c".to_owned(), "true".to_owned()]),
            environment: (0..VARIABLES).map(|number| (format!("VARIABLE_{number}"), "/usr/local/bin:/usr/bin:/bin".to_owned())).collect(),
            cwd: "/".into(),
            wall_ms: Some(1000),
            terminal: None,
            terminal_streams: [false; 3],
        };
        let handover = Handover { launch, recovered: Vec::new() };
        let (one, other) = pair().ok()?;
        Call { handover, streams: [null()?, null()?, null()?], agent: null()? }.send(&one).ok()?;
        Call::receive(&other).ok()
    };
    drop(handed());
}

/// Serves what file workers are most often asked for.
pub fn serve() {
    let read = Request::ReadFile { path: FILE.to_owned(), offset: None, limit: None };
    let bytes = serde_json::to_vec(&read).unwrap_or_default();
    if let Ok(request) = serde_json::from_slice::<Request>(&bytes) {
        let _ = serde_json::to_vec(&worker::serve(&request, Path::new("/")));
    }
}
