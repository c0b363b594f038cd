//! What a probe is asked to try inside a sandbox, and what it answers. No content of a file ever travels: only its digest.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One thing to try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// List a folder, or read the first 4 KiB of a file.
    Read(PathBuf),
    /// Write where something is: open a file for writing and leave it as it is, or make a file without a name in a folder. Where the file
    /// system knows none, one of this name, which is removed.
    Write(PathBuf, String),
    /// Make a file where nothing is, and remove it.
    Make(PathBuf),
    /// Rename what is there, and rename it back.
    Move(PathBuf),
    /// Connect to a TCP port of 127.0.0.1.
    Connect(u16),
    /// Connect to an abstract unix socket.
    Abstract(String),
    /// Listen on 127.0.0.1 and connect to that.
    Loopback,
    /// Read back what the kernel says of this process: lines of `/proc/self/status`.
    Status,
    /// Read back a resource limit: `files`, `file-size` or `processes`.
    Limit(String),
    /// Open descriptors until there are no more.
    OpenFiles,
    /// Write two bytes of which the second lies beyond the limit, in a new file of this folder.
    FileSize(PathBuf, u64),
    /// Make a user namespace.
    Namespace,
    /// Leave a process of this name behind.
    LeaveBehind(String),
    /// Wait for longer than the call may take.
    Wait,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It worked.
    Worked(String),
    /// The kernel refused it, in its own words.
    Refused(String),
}

impl Answer {
    /// Whether it worked.
    pub fn worked(&self) -> bool {
        matches!(self, Self::Worked(_))
    }

    /// The words.
    pub fn text(&self) -> &str {
        let (Self::Worked(text) | Self::Refused(text)) = self;
        text
    }
}
