//! A job: a script that a developer would run, in a sandbox, to its end.

use std::process::Command;

use crate::support::{Ended, Host, installed, skip};

/// Runs a bash script under the everyday policy, and returns what it printed. It fails with the first command that does.
#[track_caller]
pub fn job(host: &Host, script: &str) -> String {
    finished(host.sandbox(&["bash", "-euo", "pipefail", "-c", script]))
}

/// Runs a Python program under the everyday policy, and returns what it printed.
#[track_caller]
pub fn python(host: &Host, program: &str) -> String {
    finished(host.sandbox(&["python3", "-c", program]))
}

/// Runs what must succeed, and returns what it printed.
#[track_caller]
pub fn finished(mut command: Command) -> String {
    Ended::from(command.output().unwrap()).ran().done().stdout
}

/// Whether one of these programs is not on this machine, which is then said.
pub fn lacks(test: &str, programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| !installed(program));
    if let Some(program) = missing {
        skip(test, &format!("`{program}` is not installed"));
    }
    missing.is_some()
}
