//! How an attempt says what came of each thing that it tried, and small helpers for trying.

use std::{
    fmt::Display,
    fs, io,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use super::facts::Facts;
use crate::sandbox::sys::{self, Argument, Fork};

/// One line of what an attempt reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// It tried something.
    Tried {
        /// What.
        what: String,
        /// What came of it where it worked, else the error.
        got: Result<String, String>,
    },
    /// It is through.
    End,
}

/// Where an attempt reports.
#[derive(Debug, Default)]
pub struct Tries {
    _private: (),
}

/// The longest answer to one try that is passed on, in bytes.
const ANSWER_CAP: usize = 64 * 1024;
/// How long one risky try may take.
const PATIENCE: Duration = Duration::from_secs(5);

impl Tries {
    /// To the standard output of this process, a line at a time, so that what was said before an untimely end is not lost.
    fn say(said: &Said) {
        let Ok(mut line) = serde_json::to_vec(said) else { return };
        line.push(b'\n');
        let mut out = io::stdout().lock();
        let _ = out.write_all(&line).and_then(|()| out.flush());
    }

    /// Says that nothing more comes.
    pub fn end(self) {
        Self::say(&Said::End);
    }

    /// Reports what came of a try; true if it worked.
    pub fn report<T: Display>(&mut self, what: &str, got: io::Result<T>) -> bool {
        let worked = got.is_ok();
        let got = got.map(|answer| answer.to_string().chars().take(ANSWER_CAP).collect()).map_err(|error| error.to_string());
        Self::say(&Said::Tried { what: what.to_owned(), got });
        worked
    }

    /// Reports a try whose answer is of no interest.
    pub fn act<T>(&mut self, what: &str, got: io::Result<T>) -> bool {
        self.report(what, got.map(|_| "done"))
    }

    /// Makes one raw system call and reports it.
    pub fn call(&mut self, what: &str, number: libc::c_long, arguments: Vec<Argument<'_>>) -> bool {
        self.report(what, sys::attempt(number, arguments))
    }

    /// Reads a file and reports what it holds.
    pub fn read(&mut self, path: impl AsRef<Path>) -> bool {
        let path = path.as_ref();
        self.report(&format!("read {}", path.display()), read(path))
    }

    /// Makes, writes and appends to a file in the ways of ordinary programs.
    pub fn write(&mut self, path: impl AsRef<Path>) -> bool {
        let path = path.as_ref();
        let wrote = fs::OpenOptions::new().append(true).create(true).open(path).and_then(|mut file| file.write_all(PLANTED.as_bytes()));
        self.act(&format!("write {}", path.display()), wrote)
    }

    /// Tries something in a process of its own, which it may end or hang, and which ends after a few seconds.
    pub fn risky(&mut self, what: &str, act: impl FnOnce() -> io::Result<String>) {
        let child = match sys::fork() {
            Ok(Fork::Child) => {
                Self::default().report(what, act());
                sys::exit_now(0)
            }
            Ok(Fork::Parent(child)) => child,
            Err(error) => {
                self.act(what, Err::<(), _>(error));
                return;
            }
        };
        match wait_for(child, PATIENCE) {
            Some(WaitStatus::Exited(_, 0)) => {}
            Some(WaitStatus::Signaled(_, signal, _)) => {
                self.act(what, Err::<(), _>(io::Error::other(format!("ended by {}", signal.as_str()))));
            }
            _ => {
                self.act(what, Err::<(), _>(io::Error::other("no answer in time")));
            }
        }
    }

    /// Runs a shell script in the workspace, with the environment of a call, and reports what it printed. Whether a script worked is for the
    /// effect to say, so its answer counts only for secrets that are in it.
    #[allow(clippy::disallowed_methods, reason = "this runs inside a sandbox, in the place of a program of the model's choosing")]
    pub fn shell(&mut self, facts: &Facts, script: &str) {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).current_dir(&facts.workspace).stdin(Stdio::null());
        command.env_clear().envs(facts.environment.iter().map(|(name, value)| (name, value)));
        command.env("TMPDIR", &facts.temporary).env("OUT", &facts.outside).env("REAL_HOME", &facts.home).env("WORK", &facts.workspace);
        let got = command.output().and_then(|output| {
            let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            if output.status.success() { Ok(text) } else { Err(io::Error::other(text)) }
        });
        self.report(&format!("sh -c '{}'", script.lines().next().unwrap_or_default().trim()), got);
    }
}

/// What attempts write: git would run it, wherever it took it for its configuration.
pub const PLANTED: &str = "[core]\n\tfsmonitor = planted-by-the-self-test\n";

/// What a file holds, as text, up to a limit.
pub fn read(path: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(ANSWER_CAP as u64).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Waits for a child, and ends it when its time is over.
pub fn wait_for(child: Pid, patience: Duration) -> Option<WaitStatus> {
    let end = Instant::now() + patience;
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
            Ok(WaitStatus::StillAlive) => {
                let _ = kill(child, Signal::SIGKILL);
                let _ = waitpid(child, None);
                return None;
            }
            Ok(status) => return Some(status),
            Err(_) => return None,
        }
    }
}
