//! What crosses the boundary between the agent, the launcher and a sandbox: typed messages of bounded size, one per datagram.
//!
//! All sockets are `SOCK_SEQPACKET` pairs, so a message arrives whole or not at all, with its descriptors. A message that is too
//! long, does not parse or is not expected ends the process that receives it, never the checks that it would have met.

use std::{
    io::{IoSlice, IoSliceMut},
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use nix::{
    errno::Errno,
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{plan::Plan, sys};

/// The longest message in bytes. It fits a socket's default buffer (`net.core.wmem_default`, 212 992), so sending never blocks half-way.
pub const MESSAGE_CAP: usize = 160 * 1024;

/// The most descriptors that one message carries: three standard streams and the call's own socket.
const DESCRIPTOR_CAP: usize = 4;
/// The most that the kernel lets one message carry (`SCM_MAX_FD`). There is room for all, so that too many can be closed and not just lost.
const DESCRIPTORS_POSSIBLE: usize = 253;

/// From the agent to the launcher.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToLauncher {
    /// Remember a plan under a number; the number is used once.
    Register {
        /// The number that launches will name.
        id: u32,
        /// What to enforce.
        plan: Box<Plan>,
    },
    /// Start a sandbox; with it come standard input, output and error, and the call's socket, in this order.
    Launch(Launch),
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The registered plan that confines it.
    pub plan: u32,
    /// What runs.
    pub program: Program,
    /// The whole environment, in order.
    pub environment: Vec<(String, String)>,
    /// The working folder, absolute, as seen from inside.
    pub cwd: PathBuf,
    /// Wall-clock limit in milliseconds; the plan's own limit holds as well. `None` leaves only the plan's.
    pub wall_ms: Option<u64>,
    /// Rows and columns of a terminal to be made for the call; its standard streams are replaced by it where `terminal_streams` says so.
    pub terminal: Option<(u16, u16)>,
    /// Which of standard input, output and error become the terminal.
    pub terminal_streams: [bool; 3],
}

/// What a sandbox runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    /// A program with its arguments; a name without a slash is looked up on the `PATH` of the call's own environment.
    Exec(Vec<String>),
    /// The built-in file worker: one request on standard input, one reply on standard output, no exec.
    Worker,
}

/// From the agent to a running sandbox, over the call's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToSandbox {
    /// Deliver a signal to the process group that the program leads.
    Signal(i32),
    /// The person's terminal changed to this many rows and columns.
    Resize(u16, u16),
}

/// What ended a call before its program did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndedBy {
    /// Wall-clock time.
    Wall,
    /// Somebody outside replaced or removed a place that is covered in the call's view, which takes the cover away.
    ViewChanged,
}

/// From a sandbox to the agent, over the call's socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromSandbox {
    /// The terminal asked for; its controlling end comes with the message.
    Terminal,
    /// Every layer is in force and the program is about to start. Says what was really applied.
    Started(Applied),
    /// The sandbox could not be made, or the program not started. Nothing ran.
    Failed {
        /// The step of the ritual, in plain words.
        step: String,
        /// Why, with the remedy where there is one.
        reason: String,
        /// The system's error number, where a system call said no.
        errno: Option<i32>,
    },
    /// The program ended, and everything that it had started was ended with it.
    Exited(Exit),
}

/// What the kernel was really told to enforce for a call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Applied {
    /// The Landlock ABI that the ruleset was built for.
    pub landlock_abi: u32,
    /// System calls that the filter lets through, with or without conditions.
    pub seccomp_allowed: usize,
    /// Namespaces that the call does not share with the host.
    pub namespaces: Vec<String>,
    /// How many places were hidden, and how many made read-only inside writable ones.
    pub hidden: usize,
    /// See `hidden`.
    pub protected: usize,
    /// What keeps the number of processes: `rlimit`, `pid_max` or `none`.
    pub process_limit: String,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit status, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What ended it before its program did, if anything.
    pub ended_by: Option<EndedBy>,
    /// User CPU time of all its processes, in microseconds.
    pub user_us: u64,
    /// System CPU time of all its processes, in microseconds.
    pub system_us: u64,
    /// Peak resident memory of its largest process, in bytes.
    pub peak_bytes: u64,
}

impl Exit {
    /// The status as a shell reports it: the exit code, or 128 + the signal's number.
    pub fn shell_code(&self) -> i32 {
        match (self.code, self.signal) {
            (Some(code), _) => code,
            (None, Some(signal)) => 128 + signal,
            (None, None) => 1,
        }
    }
}

/// Why a message could not be passed on.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// It would be longer than [`MESSAGE_CAP`].
    #[error("a message of {length} bytes is over the limit of {MESSAGE_CAP}")]
    TooLong {
        /// Its encoded length in bytes.
        length: usize,
    },
    /// It carries more descriptors than any message does; they were closed.
    #[error("a message carried {number} descriptors; the limit is {DESCRIPTOR_CAP}")]
    TooManyDescriptors {
        /// How many there were.
        number: usize,
    },
    /// The bytes are no message of the expected type.
    #[error("a message could not be understood: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The other side has closed the socket.
    #[error("the other side closed the connection")]
    Closed,
    /// The system refused.
    #[error("passing a message failed: {0}")]
    System(#[from] Errno),
}

/// Sends one message with its descriptors.
pub fn send<T: Serialize>(socket: BorrowedFd<'_>, message: &T, descriptors: &[BorrowedFd<'_>]) -> Result<(), MessageError> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MESSAGE_CAP {
        return Err(MessageError::TooLong { length: bytes.len() });
    }
    let raw: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    loop {
        match sendmsg::<UnixAddr>(socket.as_raw_fd(), &[IoSlice::new(&bytes)], control, MsgFlags::MSG_NOSIGNAL, None) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(Errno::EPIPE | Errno::ECONNRESET) => return Err(MessageError::Closed),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Receives one message with its descriptors, which are close-on-exec. Blocks unless the socket does not.
pub fn receive<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> Result<(T, Vec<OwnedFd>), MessageError> {
    let mut bytes = vec![0u8; MESSAGE_CAP];
    let mut control = nix::cmsg_space!([std::os::fd::RawFd; DESCRIPTORS_POSSIBLE]);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let (length, flags, descriptors) = loop {
        match recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC) {
            Ok(received) => {
                let mut descriptors = Vec::new();
                for part in received.cmsgs()? {
                    if let ControlMessageOwned::ScmRights(numbers) = part {
                        descriptors.extend(numbers.into_iter().filter_map(|number| sys::own(number).ok()));
                    }
                }
                break (received.bytes, received.flags, descriptors);
            }
            Err(Errno::EINTR) => {}
            Err(Errno::ECONNRESET) => return Err(MessageError::Closed),
            Err(errno) => return Err(errno.into()),
        }
    };
    if length == 0 {
        return Err(MessageError::Closed);
    }
    if flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
        return Err(MessageError::TooLong { length: MESSAGE_CAP + 1 });
    }
    if descriptors.len() > DESCRIPTOR_CAP {
        return Err(MessageError::TooManyDescriptors { number: descriptors.len() });
    }
    Ok((serde_json::from_slice(&bytes[..length])?, descriptors))
}
