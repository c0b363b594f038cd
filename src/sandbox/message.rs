//! What crosses the boundary between the agent, the launcher and a sandbox: typed messages of bounded size, one per datagram.
//!
//! All sockets are `SOCK_SEQPACKET` pairs, so a message arrives whole or not at all, with its descriptors (where there are none, see `frame`). A message that is too
//! long, does not parse or is not expected ends the process that receives it, never the checks that it would have met.

#[cfg(target_os = "linux")]
use std::io::{IoSlice, IoSliceMut};
use std::{
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
    path::PathBuf,
};

use nix::errno::Errno;
#[cfg(target_os = "linux")]
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recv, recvmsg, sendmsg};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

#[cfg(not(target_os = "linux"))]
use super::frame::{self, NoFrame};
use super::plan::Plan;
use super::sys;
use crate::policy::learn::Observation;

/// The longest message in bytes. It fits a socket's default buffer (`net.core.wmem_default`, 212 992), so sending never blocks half-way.
pub const MESSAGE_CAP: usize = 160 * 1024;

/// The most descriptors that one message carries: three standard streams and the call's own socket.
const DESCRIPTOR_CAP: usize = 4;
/// The most that the kernel lets one message carry (`SCM_MAX_FD`). There is room for all, so that too many can be closed and not just lost.
#[cfg(target_os = "linux")]
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
        /// What its calls will be, where there will be more than one, so that sandboxes are made ahead of them.
        expected: Option<Expected>,
    },
    /// Start a sandbox; with it come standard input, output and error, and the call's socket, in this order.
    Launch(Launch),
}

/// The calls for which sandboxes are made ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expected {
    /// Programs.
    Programs,
    /// The built-in file tools.
    FileTools,
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

/// From the launcher to the init of a sandbox, and from that to the process that becomes the program: the call that it is for. With it come the
/// standard streams and the call's socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// The call.
    pub launch: Launch,
    /// What an earlier call had left behind and was undone before this one.
    pub recovered: Vec<Undone>,
}

/// From a process of a sandbox that is made ahead of its call, to whom it has the call from: it waits for that. To the launcher it comes with what tells
/// of changes of the places that the view was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready;

/// To the init of a sandbox that was made ahead, after its call: it is what it would be if it were made now, and the call begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin;

/// What a sandbox runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    /// A program with its arguments; a name without a slash is looked up on the `PATH` of the call's own environment.
    Exec(Vec<String>),
    /// The built-in file worker: one request on standard input, one reply on standard output, no exec.
    Worker,
    /// One attempt of `portcullis selftest`, confined as a program is: its request on standard input, what it saw on standard output.
    Probe,
    /// What passes messages on to a server that is reached over HTTP: on standard input a line that says which, then the protocol's messages; on
    /// standard output those of the server. It starts nothing.
    Remote,
    /// A program, with what it and all that it starts reach for observed and told at its end.
    Observed(Vec<String>),
    /// The steps of `portcullis policy verify`, confined as a program is: a list on standard input, an answer to each on standard output.
    Steps,
}

impl Program {
    /// Whether a sandbox for it can be made before the call is known: all such are alike.
    pub fn can_be_made_ahead(&self) -> bool {
        matches!(self, Self::Exec(_) | Self::Worker)
    }
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
    /// Memory of all its processes together.
    Memory,
    /// Memory that the host has or allows, which was less than what the policy does.
    HostMemory,
    /// Disk space.
    Disk,
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
    /// The call lists hosts: the socket on which it finds the proxy comes with the message.
    Proxy,
    /// The sandbox could not be made, or the program not started. Nothing ran.
    Failed {
        /// The step of the ritual, in plain words.
        step: String,
        /// Why, with the remedy where there is one.
        reason: String,
        /// The system's error number, where a system call said no.
        errno: Option<i32>,
    },
    /// What an observed program has reached for; in parts, before its end is told.
    Observed(Vec<Observation>),
    /// The program ended, and everything that it had started was ended with it. A file worker that could only read, and starts nothing, may have its
    /// memory still to be taken apart.
    Exited(Exit),
}

/// From the program's process to the sandbox's init.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToInit {
    /// The listener of its system call filter comes with the message.
    Listener,
    /// From a file worker: its reply is written, and nobody can write to its streams any more. What is left is for the kernel to take its memory apart.
    Done(sys::Usage),
}

/// What the kernel was really told to enforce for a call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
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
    /// What keeps the number of processes: `cgroup`, `rlimit`, `pid_max` or `none`.
    pub process_limit: String,
    /// What keeps the memory: `cgroup`, or `watch` for the sandbox's init.
    #[serde(default)]
    pub memory_limit: String,
    /// On macOS the SHA-256 of the profile with its parameters, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

impl Applied {
    /// In one line, for people.
    pub fn sentence(&self) -> String {
        match &self.profile {
            Some(profile) => format!("Seatbelt, profile sha256:{profile}, processes kept by {}", self.process_limit),
            None => format!(
                "Landlock ABI {}, {} system calls let through, own {} namespaces, {} places hidden, {} protected, processes kept by {}",
                self.landlock_abi,
                self.seccomp_allowed,
                self.namespaces.join(", "),
                self.hidden,
                self.protected,
                self.process_limit
            ),
        }
    }
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
    /// How often its control group refused it a process; 0 where there is none, and nobody counts.
    #[serde(default)]
    pub processes_refused: u64,
    /// System calls that the filter refused, as the kernel reported them; empty where nobody could be told (an outer listener).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedCall>,
    /// What it had made and must not stay, and was taken out of effect once it had ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undone: Vec<Undone>,
    /// How many more such things there were.
    #[serde(default)]
    pub undone_more: usize,
}

/// A system call that the filter refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedCall {
    /// Its name.
    pub call: String,
    /// The argument that was the reason, where only some are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How often.
    pub times: u64,
}

impl RefusedCall {
    /// The call with the argument that was the reason, for people.
    pub fn sentence(&self) -> String {
        self.detail.as_ref().map_or_else(|| self.call.clone(), |detail| format!("{} ({detail})", self.call))
    }
}

/// Something that a call had made in the workspace and that was taken out of effect at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Undone {
    /// Where it was.
    pub path: PathBuf,
    /// Where it is now.
    pub became: Option<PathBuf>,
    /// What it was.
    pub kind: UndoneKind,
    /// Why it could not be undone, if it could not.
    pub failed: Option<String>,
}

/// Why something that a call had made must not stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UndoneKind {
    /// It has a protected name.
    ProtectedName,
    /// A hook, or a step of a rebase, that git would run.
    GitHook,
    /// A git configuration with keys that name programs, addresses or further files.
    GitConfiguration,
    /// It makes git take its configuration and hooks from elsewhere.
    GitRedirection,
    /// It could not be looked into.
    NotSeen,
}

impl Undone {
    /// In one line, for people; paths are shown below `workspace` where they lie there.
    pub fn sentence(&self, workspace: &std::path::Path) -> String {
        let below = |path: &PathBuf| path.strip_prefix(workspace).unwrap_or(path).display().to_string();
        let (path, what) = (below(&self.path), self.kind.words());
        match (&self.became, &self.failed) {
            (_, Some(reason)) => format!("{path} ({what}) could not be undone: {reason}"),
            (Some(became), None) => format!("{path} ({what}) was taken out of effect; it is now {}", below(became)),
            (None, None) => format!("{path} ({what}) was taken out of effect"),
        }
    }
}

impl UndoneKind {
    /// What it was, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::ProtectedName => "a protected name",
            Self::GitHook => "a command that git would run",
            Self::GitConfiguration => "git configuration that can run programs or redirect git",
            Self::GitRedirection => "a redirection of git to another repository",
            Self::NotSeen => "too much to be looked through",
        }
    }
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
    send_bytes(socket, &bytes, &raw)
}

#[cfg(target_os = "linux")]
fn send_bytes(socket: BorrowedFd<'_>, bytes: &[u8], raw: &[RawFd]) -> Result<(), MessageError> {
    let rights = [ControlMessage::ScmRights(raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    loop {
        match sendmsg::<UnixAddr>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, None) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(Errno::EPIPE | Errno::ECONNRESET) => return Err(MessageError::Closed),
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn send_bytes(socket: BorrowedFd<'_>, bytes: &[u8], raw: &[RawFd]) -> Result<(), MessageError> {
    Ok(frame::send(socket, bytes, raw)?)
}

#[cfg(not(target_os = "linux"))]
impl From<NoFrame> for MessageError {
    fn from(none: NoFrame) -> Self {
        match none {
            NoFrame::Closed => Self::Closed,
            NoFrame::TooLong(length) => Self::TooLong { length },
            NoFrame::System(errno) => Self::System(errno),
        }
    }
}

/// Receives one message with its descriptors, which are close-on-exec. Blocks unless the socket does not.
pub fn receive<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> Result<(T, Vec<OwnedFd>), MessageError> {
    let (bytes, descriptors) = receive_few(socket)?;
    Ok((serde_json::from_slice(&bytes)?, descriptors))
}

/// The same, with the message handed on as it came before it is read: who gets it next need not wait for that.
pub fn forward<T: DeserializeOwned>(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(T, Vec<OwnedFd>), MessageError> {
    let (bytes, descriptors) = receive_few(from)?;
    let raw: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    send_bytes(to, &bytes, &raw)?;
    Ok((serde_json::from_slice(&bytes)?, descriptors))
}

/// The bytes of a message that carries no more descriptors than any does.
fn receive_few(socket: BorrowedFd<'_>) -> Result<(Vec<u8>, Vec<OwnedFd>), MessageError> {
    let (bytes, descriptors) = receive_bytes(socket)?;
    if descriptors.len() > DESCRIPTOR_CAP {
        return Err(MessageError::TooManyDescriptors { number: descriptors.len() });
    }
    Ok((bytes, descriptors))
}

#[cfg(not(target_os = "linux"))]
fn receive_bytes(socket: BorrowedFd<'_>) -> Result<(Vec<u8>, Vec<OwnedFd>), MessageError> {
    Ok(frame::receive(socket, MESSAGE_CAP)?)
}

#[cfg(target_os = "linux")]
fn receive_bytes(socket: BorrowedFd<'_>) -> Result<(Vec<u8>, Vec<OwnedFd>), MessageError> {
    // Its length first: most are short, and room for the longest would have to be cleared for each.
    let length = uninterrupted(|| recv(socket.as_raw_fd(), &mut [], MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC))?;
    if length == 0 {
        return Err(MessageError::Closed);
    }
    let mut bytes = vec![0u8; length.min(MESSAGE_CAP)];
    let mut control = nix::cmsg_space!([RawFd; DESCRIPTORS_POSSIBLE]);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let (length, flags, descriptors) = uninterrupted(|| {
        let received = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
        let mut descriptors = Vec::new();
        for part in received.cmsgs()? {
            if let ControlMessageOwned::ScmRights(numbers) = part {
                descriptors.extend(numbers.into_iter().filter_map(|number| sys::own(number).ok()));
            }
        }
        Ok((received.bytes, received.flags, descriptors))
    })?;
    if flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
        return Err(MessageError::TooLong { length: MESSAGE_CAP + 1 });
    }
    bytes.truncate(length);
    Ok((bytes, descriptors))
}

/// Calls until no signal comes between. A socket whose other side has broken off is a closed one.
#[cfg(target_os = "linux")]
fn uninterrupted<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, MessageError> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            Err(Errno::ECONNRESET) => return Err(MessageError::Closed),
            other => return Ok(other?),
        }
    }
}
