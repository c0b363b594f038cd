//! Enforcement on Linux: the ritual that a process goes through before it runs anything for the model.

pub mod beneath;
pub mod by_number;
pub mod cgroup;
pub mod covers;
pub mod disk;
pub mod enter;
pub mod git_configuration;
pub mod host_sockets;
pub mod init;
pub mod landlock;
pub mod limits;
pub mod made;
pub mod memory;
pub mod observe;
pub mod observed_calls;
pub mod origin;
pub mod placeholder;
pub mod probe;
pub mod protection;
pub mod recover;
pub mod refusals;
pub mod rehearsal;
pub mod remove;
pub mod report;
pub mod repository;
pub mod seccomp;
pub mod sweep;
pub mod system_calls;
pub mod view;
pub mod walk;
pub mod warm;
pub mod watches;

use std::{io, path::Path};

use nix::errno::Errno;

use super::message::FromSandbox;

/// A step of the ritual that could not be done. Nothing runs after one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not {step}: {reason}")]
pub struct Failure {
    /// The step, as the end of "could not …".
    pub step: String,
    /// Why, with the remedy where there is one.
    pub reason: String,
    /// The system's error number, where a system call said no.
    pub errno: Option<i32>,
}

impl Failure {
    /// A failure that no system call reported.
    pub fn new(step: &str, reason: impl Into<String>) -> Self {
        Self { step: step.to_owned(), reason: reason.into(), errno: None }
    }

    /// A failure that a system call reported.
    pub fn system(step: &str, error: &io::Error) -> Self {
        Self { step: step.to_owned(), reason: error.to_string(), errno: error.raw_os_error() }
    }

    /// The same, from nix.
    pub fn errno(step: &str, errno: Errno) -> Self {
        Self { step: step.to_owned(), reason: errno.desc().to_owned(), errno: Some(errno as i32) }
    }

    /// Names the path that the step was about.
    #[must_use]
    pub fn about(mut self, path: &Path) -> Self {
        self.reason = format!("{}: {}", path.display(), self.reason);
        self
    }

    /// Adds what would help.
    #[must_use]
    pub fn with_remedy(mut self, remedy: &str) -> Self {
        self.reason = format!("{}. {remedy}", self.reason);
        self
    }

    /// As it is told to the agent.
    pub fn message(&self) -> FromSandbox {
        FromSandbox::Failed { step: self.step.clone(), reason: self.reason.clone(), errno: self.errno }
    }
}
