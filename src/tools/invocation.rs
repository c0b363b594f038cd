//! A call that makes sense: what its tool's arguments came to.

use serde::Deserialize;

use super::plan::PlanStep;
use crate::{mcp::client::GuestCall, worker::Request};

/// A call that makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// A shell command.
    Shell {
        /// The text, for `bash -c` (or `sh -c`).
        command: String,
        /// The folder to run in, relative to the session's.
        workdir: Option<String>,
        /// A time limit of its own in milliseconds, within the policy's.
        timeout_ms: Option<u64>,
        /// Whether it goes on while the model does other things.
        background: bool,
    },
    /// A look at what runs in the background, or its end.
    Background(BackgroundAction),
    /// Access beyond the policy, which a person may grant.
    RequestAccess(AccessRequest),
    /// A built-in file tool.
    File(Request),
    /// The plan that the model keeps of its work.
    UpdatePlan(Vec<PlanStep>),
    /// A tool of an MCP server.
    Guest(GuestCall),
}

impl Invocation {
    /// Whether calls of this kind may run beside one another: those that only read.
    pub fn only_reads(&self) -> bool {
        match self {
            Self::File(request) => !matches!(request, Request::ApplyPatch { .. }),
            Self::Shell { .. } | Self::UpdatePlan(_) | Self::Background(_) | Self::RequestAccess(_) | Self::Guest(_) => false,
        }
    }
}

/// What is done with a program in the background.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackgroundAction {
    /// All of them are listed.
    List,
    /// What the one of this number wrote since the last look.
    Output(u32),
    /// The one of this number ends.
    Stop(u32),
}

/// Access that the model asks for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessRequest {
    /// What sort of access.
    pub access: AccessKind,
    /// The path, or the host as a policy writes it.
    pub what: String,
    /// Why, for the person.
    pub reason: String,
}

/// What sort of access is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessKind {
    /// Reading a file or folder.
    Read,
    /// Reading and writing it.
    Write,
    /// Connecting to a host.
    Host,
    /// Connecting to a unix socket.
    Socket,
}
