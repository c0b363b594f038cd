//! Observing a program: the sandbox's init traces it and all that it starts (ptrace(2)), and notes what they reach for.
//!
//! The program asks to be traced before its filters are installed, and one more filter stops it at the calls of [`super::observed_calls`]; at
//! every other it runs at full speed. Nothing of it is a boundary: what may be done is decided by the mounts, Landlock and the other filters,
//! as ever. A path lies in the program's own memory and can be changed between the look at it and the call, so a race can make what is noted
//! wrong or incomplete, and never the program freer. One thing differs for the program: a stop by a signal (`SIGSTOP`) does not last.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::IoSliceMut,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::{
        ptrace::{self, Options},
        signal::{Signal, raise},
        uio::{RemoteIoVec, process_vm_readv},
        wait::WaitStatus,
    },
    unistd::{AccessFlags, Pid, access},
};

use super::{
    Failure,
    observed_calls::{self, Aim, Operand},
};
use crate::{
    policy::learn::{Observation, Outcome, Reach, Touch},
    sandbox::sys::{self, TracedCall},
};

/// The most different things that are noted.
const MOST: usize = 20_000;
/// Bytes of observations in one message, which leaves room for the message around them.
const PART: usize = 100 * 1024;
/// `PATH_MAX`, limits.h(0p).
const LONGEST_PATH: usize = 4096;
/// What a page of memory is at least: a read across the end of one may find nothing behind it.
const PAGE: usize = 4096;
/// Places that every sandbox has of its own.
const OWN_PLACES: [&str; 2] = ["/proc", "/dev"];

/// In the program's process, before its filters: asks the init to trace it, and waits until it does.
pub fn wait_for_observer() -> Result<(), Failure> {
    let failure = |errno| {
        Failure::errno("be observed", errno)
            .with_remedy("Tracing may be forbidden here (kernel.yama.ptrace_scope above 1, a container's filter)")
    };
    ptrace::traceme().map_err(failure)?;
    raise(Signal::SIGSTOP).map_err(failure)
}

/// See the module.
#[derive(Debug)]
pub struct Observer {
    program: Pid,
    /// Whether the program has become what was asked for; what led there is portcullis' own doing.
    begun: bool,
    tasks: HashMap<Pid, Task>,
    seen: BTreeMap<(Reach, String), u64>,
}

/// One traced thread.
#[derive(Debug, Default)]
struct Task {
    /// Whether its first stop, which only says that it is traced, has been.
    known: bool,
    /// What the call that it is in reaches for.
    pending: Vec<Pending>,
}

#[derive(Debug, Clone)]
enum Pending {
    Path(NamedPath),
    Reach(Reach),
}

/// A path of a call that has not ended.
#[derive(Debug, Clone)]
struct NamedPath {
    touch: Touch,
    opens: bool,
    named: PathBuf,
    path: PathBuf,
    anchor: PathBuf,
    able: bool,
}

impl Observer {
    /// Observes `program`, which calls [`wait_for_observer`].
    pub fn new(program: Pid) -> Self {
        Self { program, begun: false, tasks: HashMap::new(), seen: BTreeMap::new() }
    }

    /// Attends to everything that has happened; how the program ended, if it did.
    pub fn attend(&mut self) -> Option<WaitStatus> {
        let mut ended = None;
        while let Ok(Some((pid, status))) = sys::wait_for_any(false) {
            ended = self.take(pid, status).or(ended);
        }
        ended
    }

    /// Waits until nothing is left; how the program ended, if that had not been told.
    pub fn wait_for_all(&mut self) -> Option<WaitStatus> {
        let mut ended = None;
        while let Ok(Some((pid, status))) = sys::wait_for_any(true) {
            ended = self.take(pid, status).or(ended);
        }
        ended
    }

    /// What was seen, in parts that fit a message.
    pub fn told(self) -> Vec<Vec<Observation>> {
        let (mut parts, mut size) = (vec![Vec::new()], 0);
        for ((reach, program), times) in self.seen {
            let observation = Observation { reach, program, times };
            // What has no UTF-8 name cannot be told, and no policy could name it.
            let Ok(length) = serde_json::to_vec(&observation).map(|bytes| bytes.len()) else { continue };
            if size + length > PART {
                parts.push(Vec::new());
                size = 0;
            }
            size += length;
            parts.last_mut().into_iter().for_each(|part| part.push(observation.clone()));
        }
        parts
    }

    fn take(&mut self, pid: Pid, status: i32) -> Option<WaitStatus> {
        if !libc::WIFSTOPPED(status) {
            self.tasks.remove(&pid);
            return (pid == self.program).then(|| WaitStatus::from_raw(pid, status).unwrap_or(WaitStatus::StillAlive));
        }
        let mut deliver = 0;
        match (libc::WSTOPSIG(status), status >> 16) {
            (_, libc::PTRACE_EVENT_SECCOMP) => self.before_call(pid),
            (_, libc::PTRACE_EVENT_EXEC) => {
                self.begun = true;
                // A thread that becomes a program takes the number of its process.
                let former = ptrace::getevent(pid).map_or(pid, |number| Pid::from_raw(i32::try_from(number).unwrap_or(0)));
                if let Some(task) = (former != pid).then(|| self.tasks.remove(&former)).flatten() {
                    self.tasks.insert(pid, task);
                }
                self.note_interpreter(pid);
            }
            (signal, 0) if signal == libc::SIGTRAP | 0x80 => self.after_call(pid),
            (libc::SIGSTOP, 0) if !self.tasks.entry(pid).or_default().known => {
                self.tasks.entry(pid).or_default().known = true;
                if pid == self.program {
                    let _ = ptrace::setoptions(
                        pid,
                        Options::PTRACE_O_TRACESECCOMP
                            | Options::PTRACE_O_TRACEFORK
                            | Options::PTRACE_O_TRACEVFORK
                            | Options::PTRACE_O_TRACECLONE
                            | Options::PTRACE_O_TRACEEXEC
                            | Options::PTRACE_O_TRACESYSGOOD
                            | Options::PTRACE_O_EXITKILL,
                    );
                }
            }
            // A signal on its way to the program; where there is none to be told of, it is only stopped (ptrace(2), "Group-stop").
            (signal, 0) if ptrace::getsiginfo(pid).is_ok() => deliver = signal,
            _ => {}
        }
        let in_call = self.tasks.get(&pid).is_some_and(|task| !task.pending.is_empty());
        let _ = sys::resume_traced(pid, in_call, deliver);
        None
    }

    fn before_call(&mut self, pid: Pid) {
        let Ok(TracedCall::Before(call, arguments)) = sys::traced_call(pid) else { return };
        let pending = observed_calls::operands(call).filter_map(|operand| pending(pid, operand, &arguments)).collect();
        self.tasks.entry(pid).or_default().pending = pending;
    }

    fn after_call(&mut self, pid: Pid) {
        let pending = std::mem::take(&mut self.tasks.entry(pid).or_default().pending);
        let Ok(TracedCall::After(result)) = sys::traced_call(pid) else { return };
        if !self.begun {
            return;
        }
        let outcome = match i32::try_from(-result).unwrap_or(0) {
            _ if result >= 0 => Some(Outcome::Done),
            libc::EACCES | libc::EPERM | libc::EROFS => Some(Outcome::Refused),
            // It is not there, or was not asked for in earnest; it would be the same with any policy.
            _ => None,
        };
        for one in pending {
            match (one, outcome) {
                (Pending::Reach(reach), _) => self.note(pid, reach),
                (Pending::Path(mut one), Some(outcome)) => {
                    // Only the kernel knows for certain what was opened.
                    let opened = one.opens && outcome == Outcome::Done;
                    if let Some(real) = opened.then(|| link(pid, &format!("fd/{result}"))).flatten() {
                        one.path = real;
                    }
                    self.note_path(pid, one, outcome);
                }
                (Pending::Path(_), None) => {}
            }
        }
    }

    /// What a process has become, where that is not what it asked for: the interpreter of a script.
    fn note_interpreter(&mut self, pid: Pid) {
        let Some(path) = link(pid, "exe") else { return };
        let asked = |one: &Pending| matches!(one, Pending::Path(named) if named.path == path);
        if !self.tasks.get(&pid).is_some_and(|task| task.pending.iter().any(asked)) {
            let one = NamedPath { touch: Touch::Run, opens: false, named: path.clone(), anchor: path.clone(), path, able: true };
            self.note_path(pid, one, Outcome::Done);
        }
    }

    fn note_path(&mut self, pid: Pid, one: NamedPath, outcome: Outcome) {
        if OWN_PLACES.iter().any(|place| one.path.starts_with(place)) || !one.path.is_absolute() {
            return;
        }
        let anchor = if one.touch == Touch::Write { one.anchor } else { one.path.clone() };
        let folder = anchor.is_dir();
        let NamedPath { touch, named, path, able, .. } = one;
        let link = named.is_symlink();
        self.note(pid, Reach::Path { touch, named, link, path, anchor, folder, able, outcome });
    }

    fn note(&mut self, pid: Pid, reach: Reach) {
        let program = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
        let key = (reach, String::from_utf8_lossy(program.trim_ascii_end()).into_owned());
        if let Some(times) = self.seen.get_mut(&key) {
            *times = times.saturating_add(1);
        } else if self.seen.len() < MOST {
            self.seen.insert(key, 1);
        }
    }
}

/// What an operand of a call that is about to be made reaches for.
fn pending(pid: Pid, operand: Operand, arguments: &[u64; 6]) -> Option<Pending> {
    let argument = |at: usize| arguments.get(at).copied().unwrap_or(0);
    match operand {
        Operand::Path(path, aim) => named_path(pid, libc::AT_FDCWD, argument(path), aim, argument).map(Pending::Path),
        // Descriptors are ints; what stands above them in the register means nothing.
        Operand::PathAt(folder, path, aim) => named_path(pid, argument(folder) as i32, argument(path), aim, argument).map(Pending::Path),
        Operand::Peer(address, length) | Operand::Own(address, length) => {
            let listens = matches!(operand, Operand::Own(..));
            address_of(pid, argument(address), argument(length), listens).map(Pending::Reach)
        }
    }
}

fn named_path(pid: Pid, folder: i32, address: u64, aim: Aim, argument: impl Fn(usize) -> u64) -> Option<NamedPath> {
    let text = if address == 0 { Vec::new() } else { string(pid, address)? };
    let text = PathBuf::from(String::from_utf8(text).ok()?);
    let base = || if folder == libc::AT_FDCWD { link(pid, "cwd") } else { link(pid, &format!("fd/{folder}")) };
    let whole = if text.is_absolute() {
        text
    } else if text.as_os_str().is_empty() {
        base()?
    } else {
        base()?.join(text)
    };
    if OWN_PLACES.iter().any(|place| whole.starts_with(place)) {
        return None;
    }
    let flags = match aim {
        Aim::Open(at) => argument(at) as i32,
        Aim::Create => libc::O_CREAT | libc::O_WRONLY,
        _ => 0,
    };
    if flags & libc::O_PATH != 0 {
        return None;
    }
    let path = resolved(&whole, aim != Aim::Make);
    let there = path.symlink_metadata().is_ok();
    let unnamed = flags & libc::O_TMPFILE == libc::O_TMPFILE;
    let (touch, in_place) = match aim {
        Aim::Run => (Touch::Run, true),
        Aim::Change => (Touch::Write, true),
        Aim::Make => (Touch::Write, false),
        Aim::Open(_) | Aim::Create => {
            let writes = flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0 || (flags & libc::O_CREAT != 0 && !there);
            (if writes { Touch::Write } else { Touch::Read }, there || unnamed)
        }
    };
    let anchor = if in_place { path.clone() } else { path.ancestors().skip(1).find(|above| above.is_dir())?.to_path_buf() };
    let able = touch != Touch::Write || matches!(access(&anchor, AccessFlags::W_OK), Ok(()) | Err(Errno::EROFS));
    let plain = !whole.components().any(|part| part == Component::ParentDir);
    let named = if plain { whole.components().collect() } else { path.clone() };
    Some(NamedPath { touch, opens: matches!(aim, Aim::Open(_) | Aim::Create), named, path, anchor, able })
}

/// Where a path leads, links followed; a name at its end that is not there, or that a call is about, is taken as it is.
fn resolved(path: &Path, follow: bool) -> PathBuf {
    let last = || Some(fs::canonicalize(path.parent()?).ok()?.join(path.file_name()?));
    let whole = follow.then(|| fs::canonicalize(path).ok()).flatten();
    whole.or_else(last).unwrap_or_else(|| path.components().collect())
}

/// What a link of a process' own leads to, as the kernel tells it (proc(5)).
fn link(pid: Pid, name: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/{name}")).ok().filter(|path| path.is_absolute())
}

/// The string at an address of a process, as far as it can be read.
fn string(pid: Pid, address: u64) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let mut at = usize::try_from(address).ok()?;
    while text.len() < LONGEST_PATH {
        let mut bytes = memory(pid, at, PAGE - at % PAGE)?;
        at = at.checked_add(bytes.len())?;
        let end = bytes.iter().position(|byte| *byte == 0);
        bytes.truncate(end.unwrap_or(bytes.len()));
        text.extend(bytes);
        if end.is_some() {
            return Some(text);
        }
    }
    None
}

fn memory(pid: Pid, address: usize, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    let read = process_vm_readv(pid, &mut [IoSliceMut::new(&mut bytes)], &[RemoteIoVec { base: address, len: length }]).ok()?;
    bytes.truncate(read);
    (read > 0).then_some(bytes)
}

/// The internet address, or the path of the unix socket, that a `struct sockaddr` of a process holds.
fn address_of(pid: Pid, address: u64, length: u64, listens: bool) -> Option<Reach> {
    let length = usize::try_from(length).ok().filter(|length| (2..=128).contains(length))?;
    let bytes = memory(pid, usize::try_from(address).ok().filter(|address| *address != 0)?, length)?;
    let (family, rest) = bytes.split_first_chunk::<2>()?;
    let port = |rest: &[u8]| rest.first_chunk::<2>().map(|port| u16::from_be_bytes(*port));
    match i32::from(u16::from_ne_bytes(*family)) {
        libc::AF_INET => {
            let host = Ipv4Addr::from(*rest.get(2..)?.first_chunk::<4>()?);
            Some(Reach::Address { address: SocketAddr::from((host, port(rest)?)), listens })
        }
        libc::AF_INET6 => {
            let host = Ipv6Addr::from(*rest.get(6..)?.first_chunk::<16>()?);
            Some(Reach::Address { address: SocketAddr::from((host, port(rest)?)), listens })
        }
        libc::AF_UNIX => {
            let path = rest.split(|byte| *byte == 0).next().filter(|path| !path.is_empty())?;
            Some(Reach::Socket { path: PathBuf::from(String::from_utf8(path.to_vec()).ok()?) })
        }
        _ => None,
    }
}
