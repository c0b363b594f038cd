//! One run of a hook: a program in a sandbox of its own, what it is told on standard input, and its answer on standard output.

use std::{path::Path, time::Instant};

use super::prepare::Prepared;
use crate::{
    audit::CallStatus,
    egress::Connection,
    hooks::{ANSWER_CAP, Told},
    policy::{error::visible, units::show_duration},
    sandbox::{
        EndedBy, LaunchError, Launcher, Program,
        message::{Launch, MessageError},
    },
    tools::{
        VIEW_CHANGED,
        capture::Capture,
        recorded::milliseconds,
        run::{Finished, Output, run},
    },
};

/// What is kept of its standard error.
const ERRORS_CAP: u64 = 4 * 1024;
/// The most characters of its last words that a reason repeats.
const LAST_WORDS: usize = 200;

/// A hook whose plan the launcher knows.
#[derive(Debug)]
pub struct RegisteredHook {
    /// The hook.
    pub(super) prepared: Prepared,
    plan: u32,
}

/// What came of a run.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub status: CallStatus,
    /// Wall-clock milliseconds, launch included.
    pub duration_ms: u64,
    /// What it wrote to standard output; or why that does not count, in words that follow its name.
    pub answer: Result<Vec<u8>, String>,
    /// The end of what it wrote to standard error.
    pub errors: String,
    /// What it connected to, where its policy lists hosts.
    pub(super) connections: Vec<Connection>,
    pub(super) connections_more: u64,
}

impl Ran {
    fn failed(status: CallStatus, began: Instant, why: String) -> Self {
        let duration_ms = milliseconds(began.elapsed());
        Self { status, duration_ms, answer: Err(why), errors: String::new(), connections: Vec::new(), connections_more: 0 }
    }
}

impl RegisteredHook {
    /// Registers the plan of a hook.
    pub(super) fn new(launcher: &Launcher, prepared: Prepared) -> Result<Self, LaunchError> {
        Ok(Self { plan: launcher.register(prepared.plan.clone())?, prepared })
    }

    /// Runs it. Only what ends the session is an error. Dropping the future ends the program.
    pub(super) async fn run(&self, launcher: &Launcher, cwd: &Path, told: &Told<'_>) -> Result<Ran, LaunchError> {
        let began = Instant::now();
        let input = match told.bytes() {
            Ok(input) => input,
            Err(error) => return Ok(Ran::failed(CallStatus::Broken, began, format!("what it is asked cannot be written down: {error}"))),
        };
        let launch = Launch {
            plan: self.plan,
            program: Program::Exec(self.prepared.command.clone()),
            environment: self.prepared.environment.clone(),
            cwd: cwd.to_path_buf(),
            wall_ms: None,
            terminal: None,
            terminal_streams: [false; 3],
        };
        let mut errors = Capture::new(ERRORS_CAP);
        let output = Output { errors: Some(&mut errors), ..Output::kept(ANSWER_CAP) };
        let finished = match run(launcher, launch, Some(&input), output).await {
            Ok(finished) => finished,
            Err(error @ (LaunchError::Refused { .. } | LaunchError::Died | LaunchError::Message(MessageError::TooLong { .. }))) => {
                return Ok(Ran::failed(CallStatus::Broken, began, error.to_string()));
            }
            Err(error) => return Err(error),
        };
        let errors = errors.text();
        let (status, answer) = match self.ending(&finished, &errors) {
            None => (CallStatus::Ok, Ok(finished.output.bytes())),
            Some((status, why)) => (status, Err(why)),
        };
        let Finished { connections, connections_more, .. } = finished;
        Ok(Ran { status, duration_ms: milliseconds(began.elapsed()), answer, errors, connections, connections_more })
    }

    /// Why its answer does not count, whatever it is.
    fn ending(&self, finished: &Finished, errors: &str) -> Option<(CallStatus, String)> {
        let exit = &finished.exit;
        if finished.flooded || finished.output.total() > ANSWER_CAP {
            return Some((CallStatus::Limit, format!("it wrote more than {ANSWER_CAP} bytes")));
        }
        match (exit.ended_by, exit.signal) {
            (Some(EndedBy::Wall), _) => {
                let time = show_duration(self.prepared.plan.wall());
                Some((CallStatus::Limit, format!("it took longer than {time}")))
            }
            (Some(EndedBy::Memory | EndedBy::HostMemory), _) => Some((CallStatus::Limit, "it took too much memory".to_owned())),
            (Some(EndedBy::Disk), _) => Some((CallStatus::Limit, "it took too much disk space".to_owned())),
            (Some(EndedBy::ViewChanged), _) => Some((CallStatus::Limit, format!("it was {VIEW_CHANGED}"))),
            (None, Some(signal)) => Some((CallStatus::Failed, format!("it was ended by signal {signal}"))),
            (None, None) => match exit.shell_code() {
                0 => None,
                code => {
                    let last = errors.lines().rev().find(|line| !line.trim().is_empty());
                    let said = last.map(|line| format!(" and said: {}", visible(line.trim(), LAST_WORDS))).unwrap_or_default();
                    Some((CallStatus::Failed, format!("it ended with {code}{said}")))
                }
            },
        }
    }
}

/// Runs a hook outside of any session.
///
/// # Errors
/// If the launcher is gone.
pub async fn run_once(launcher: &Launcher, prepared: Prepared, cwd: &Path, told: &Told<'_>) -> Result<Ran, LaunchError> {
    RegisteredHook::new(launcher, prepared)?.run(launcher, cwd, told).await
}
