//! The exit codes, in one table.

use std::process::ExitCode;

/// How portcullis ends. `portcullis sandbox` also passes on the code of the command that it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for was done.
    Success,
    /// It was tried and not achieved: the turn ended without an answer, a check failed.
    Failure,
    /// The command line makes no sense, or what it names does not exist.
    Usage,
    /// A policy has an error, or cannot be used for this workspace.
    Policy,
    /// The host cannot enforce what the policy requires, or the sandbox could not be made.
    Sandbox,
    /// The model's endpoint refused, could not be reached, or spoke nonsense.
    Provider,
    /// The log, the state or standard output could not be written.
    Output,
    /// `exec`: there is an answer, but something was refused because nobody could be asked.
    Unasked,
    /// `audit verify`: what is there is what was written, and something is missing, or no key at hand speaks for it.
    Incomplete,
    /// `audit verify`: something is not what was written.
    Tampered,
    /// `sandbox`: a limit of the policy, or a change of its view from outside, ended the command (as timeout(1)).
    Limit,
    /// `sandbox`: portcullis refused; the command did not run (as docker run).
    Refused,
    /// `sandbox`: the command was found and may not be run (as a shell).
    NotExecutable,
    /// `sandbox`: the command was not found (as a shell).
    NotFound,
    /// A signal ended it: 128 plus its number.
    Signal(i32),
    /// `sandbox`: the code with which the command itself ended.
    Passed(u8),
}

impl Exit {
    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Policy => 3,
            Self::Sandbox => 4,
            Self::Provider => 5,
            Self::Output => 6,
            Self::Unasked => 7,
            Self::Incomplete => 8,
            Self::Tampered => 9,
            Self::Limit => 124,
            Self::Refused => 125,
            Self::NotExecutable => 126,
            Self::NotFound => 127,
            Self::Passed(code) => code,
            Self::Signal(number) => u8::try_from(128 + number).unwrap_or(255),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The table as `--help` shows it.
pub const TABLE: &str = "\
Exit codes:
  0    done
  1    tried and not achieved (`selftest`: something got out)
  2    the command line makes no sense, or names what does not exist
  3    an error in a policy, or one that cannot be used for this workspace
  4    the host cannot enforce what the policy requires
  5    the model's endpoint refused, or could not be reached
  6    the log or standard output could not be written
  7    `exec`: answered, but something was refused because nobody could be asked
  8    `audit verify`: nothing was changed, but something is missing or cannot be proven
  9    `audit verify`: something was changed
  130  interrupted (128 + the signal's number)
  `portcullis sandbox` passes on the command's own code, and adds:
  124  the limit on time, or a change of its view from outside, ended the command
  125  portcullis refused; the command did not run
  126  the command may not be run
  127  the command was not found";
