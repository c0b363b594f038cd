//! What an attempt is told of the world outside: where things lie, never what they hold.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A request to the probe inside a sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// The case whose attempt is to be made.
    pub case: String,
    /// What the attacker knows.
    pub facts: Facts,
}

/// What the attacker knows. It is given everything but the secrets themselves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Facts {
    /// The workspace.
    pub workspace: PathBuf,
    /// The person's home.
    pub home: PathBuf,
    /// A folder beside the workspace, full of what must not change.
    pub outside: PathBuf,
    /// Where the state of portcullis would lie.
    pub state: PathBuf,
    /// The session's private folder on the host.
    pub private: PathBuf,
    /// The temporary folder of the call.
    pub temporary: PathBuf,
    /// A file in the host's `/dev/shm` that holds a secret, where there is such a folder.
    pub shared_file: Option<PathBuf>,
    /// The port of a TCP server on 127.0.0.1.
    pub tcp: u16,
    /// The port of a TCP server on `::1`, where the host has IPv6.
    pub tcp6: Option<u16>,
    /// The port of a UDP server on 127.0.0.1.
    pub udp: u16,
    /// A server's socket in the outside folder.
    pub stream: PathBuf,
    /// A datagram socket in the outside folder.
    pub datagram: PathBuf,
    /// A server's socket in the workspace that was there before the call.
    pub inner_stream: PathBuf,
    /// A datagram socket in the workspace that was there before the call.
    pub inner_datagram: PathBuf,
    /// The name of an abstract server socket.
    pub abstract_stream: String,
    /// The name of an abstract datagram socket.
    pub abstract_datagram: String,
    /// A System V shared memory segment that holds a secret.
    pub segment: Option<i32>,
    /// A POSIX message queue that holds a secret.
    pub queue: Option<String>,
    /// The process of portcullis itself.
    pub agent: i32,
    /// Another process of the same person.
    pub victim: i32,
    /// The launcher.
    pub launcher: i32,
    /// Where in the victim's memory its secret lies, and how long it is.
    pub victim_secret: (usize, usize),
    /// The environment that a program of the call would have.
    pub environment: Vec<(String, String)>,
    /// Ceilings of one call or process: processes, bytes of memory, descriptors, bytes of a file.
    pub limits: [u64; 4],
    /// The name that a process which stays behind takes, so that it is found again.
    pub mark: String,
    /// Names of the workspace that this policy promises to keep as they are, though they are absent.
    pub absent: Vec<String>,
    /// Names of the workspace that make something run later, are absent, and of which the policy says nothing.
    pub forgotten: Vec<String>,
    /// Fixed names at any depth and names by pattern that make something run later, all absent.
    pub anywhere: Vec<String>,
}

impl Facts {
    /// Processes outside. Numbers that by chance are this process', its parent's or the first one's are left out.
    pub fn foreign(&self) -> Vec<i32> {
        let own = [1, nix::unistd::getpid().as_raw(), nix::unistd::getppid().as_raw()];
        [self.victim, self.agent, self.launcher].into_iter().filter(|pid| *pid > 0 && !own.contains(pid)).collect()
    }
}
