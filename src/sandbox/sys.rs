//! The crate's only `unsafe`: system calls that no safe wrapper covers.
//!
//! Everything here is a thin, typed call with the kernel's own name. Decisions are made by the callers.

#![allow(unsafe_code)]

#[cfg(target_os = "linux")]
use std::{ffi::CString, os::unix::ffi::OsStrExt, path::Path};
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};

use nix::{
    sys::resource::{UsageWho, getrusage},
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
    unistd::Pid,
};

use serde::{Deserialize, Serialize};

/// What a call that splits the process returned, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// This is the caller; the new process has this id.
    Parent(Pid),
    /// This is the new process.
    Child,
}

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(target_os = "linux")]
fn c_string(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// `fork(2)`. To be called by a process with one thread only, because the child goes on to allocate.
pub fn fork() -> io::Result<Fork> {
    // SAFETY: the launcher and the sandbox's init never start a thread (they are entered before any runtime), so no lock can be
    // held by a thread that does not exist in the child.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => Ok(Fork::Parent(child)),
        nix::unistd::ForkResult::Child => Ok(Fork::Child),
    }
}

/// `clone(2)` with namespace flags, otherwise like [`fork`]: the child has a copy of the memory and dies with `SIGCHLD`.
#[cfg(target_os = "linux")]
pub fn clone_into_namespaces(flags: libc::c_int) -> io::Result<Fork> {
    let flags = libc::c_long::from(flags | libc::SIGCHLD);
    // SAFETY: without CLONE_VM and with a null stack the child runs on a copy of this very stack, as after fork(2). The caller has
    // one thread (see `fork`), so the copied allocator and libc state are consistent. The two architectures that are supported
    // differ in the order of the last two arguments, and both are null.
    let result = checked(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })?;
    Ok(if result == 0 { Fork::Child } else { Fork::Parent(Pid::from_raw(libc::pid_t::try_from(result).unwrap_or(libc::pid_t::MAX))) })
}

/// `clone3(2)` (Linux 5.3) with namespace flags, for the self-test: its flags lie in memory, where no filter can see them.
#[cfg(target_os = "linux")]
pub fn clone3_into_namespaces(flags: u64) -> io::Result<Fork> {
    // struct clone_args of the first version: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls.
    let arguments = [flags, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0];
    // Nothing that shares memory, and nothing that would store into it.
    let sharing = (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_THREAD | libc::CLONE_SETTLS | libc::CLONE_PIDFD) as u64
        | (libc::CLONE_PARENT_SETTID | libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID) as u64;
    if flags & sharing != 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: as for `clone_into_namespaces`: no memory is shared and the stack is a copy of this one; the structure lives through the call.
    let result = checked(unsafe { libc::syscall(libc::SYS_clone3, arguments.as_ptr(), size_of_val(&arguments)) })?;
    Ok(if result == 0 { Fork::Child } else { Fork::Parent(Pid::from_raw(libc::pid_t::try_from(result).unwrap_or(libc::pid_t::MAX))) })
}

/// Takes ownership of a descriptor that has just come from the kernel (`SCM_RIGHTS`, an inherited number of the launcher stage).
///
/// The caller says that nothing else owns it; this is the one place where that promise is made.
pub fn own(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD only reads, and shows that the number is open before it is owned.
    checked(libc::c_long::from(unsafe { libc::fcntl(descriptor, libc::F_GETFD) }))?;
    // SAFETY: the number is open (checked above), and the callers are the two places that receive numbers from the kernel: each
    // received number is handed over once.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Marks a descriptor close-on-exec.
pub fn close_on_exec(descriptor: &OwnedFd) -> nix::Result<()> {
    nix::fcntl::fcntl(descriptor, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC)).map(drop)
}

/// The same for every descriptor from `first` on that this process can have, without a system call for all at once.
#[cfg(not(target_os = "linux"))]
pub fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    let (most, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)?;
    // OPEN_MAX of macOS: a limit of more, or of none, is not used up by this small process.
    let most = RawFd::try_from(most).unwrap_or(RawFd::MAX).min(10_240);
    for descriptor in first..most {
        // SAFETY: F_SETFD changes a flag of a descriptor, or fails where there is none.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// `setrlimit(2)` with `RLIMIT_NPROC`, which nix does not name there. A harder limit of the host stays in force.
#[cfg(target_os = "macos")]
pub fn limit_processes(most: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both structures live through the calls, of which the first fills the one and the second reads the other.
    checked(libc::c_long::from(unsafe { libc::getrlimit(libc::RLIMIT_NPROC, &raw mut limit) }))?;
    let most = most.min(limit.rlim_max);
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: as above.
    checked(libc::c_long::from(unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &raw const limit) })).map(drop)
}

/// `proc_listallpids` of libproc: the processes of this machine.
#[cfg(target_os = "macos")]
pub fn processes() -> io::Result<Vec<Pid>> {
    let room = 65_536;
    let mut numbers: Vec<libc::pid_t> = vec![0; room];
    let bytes = libc::c_int::try_from(size_of_val(numbers.as_slice())).unwrap_or(libc::c_int::MAX);
    // SAFETY: the buffer is of the size that is passed and lives through the call, which fills it with numbers.
    let found = unsafe { libc::proc_listallpids(numbers.as_mut_ptr().cast(), bytes) };
    if found < 0 {
        return Err(io::Error::last_os_error());
    }
    numbers.truncate(usize::try_from(found).unwrap_or(0));
    Ok(numbers.into_iter().filter(|number| *number > 0).map(Pid::from_raw).collect())
}

/// `close_range(2)` (Linux 5.9): marks every descriptor from `first` on close-on-exec.
#[cfg(target_os = "linux")]
pub fn close_on_exec_from(first: libc::c_uint) -> io::Result<()> {
    // SAFETY: the call only changes descriptor flags.
    checked(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// `close_range(2)` (Linux 5.9): closes every descriptor from `first` to `last`.
#[cfg(target_os = "linux")]
pub fn close_range(first: libc::c_uint, last: libc::c_uint) -> io::Result<()> {
    // SAFETY: the callers are about to exec or hold no owner for any number in the range; a stale `OwnedFd` in a copied parent
    // frame is never dropped, because the process leaves by `exec` or `_exit`.
    checked(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Ends the process at once: no destructors, no buffers, no exit handlers that belong to the process it was forked from.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) has no preconditions.
    unsafe { libc::_exit(code) }
}

/// `pidfd_open(2)` (Linux 5.3): a descriptor that becomes readable when the process ends.
#[cfg(target_os = "linux")]
pub fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed; the result is a fresh descriptor that nobody else owns.
    let fd = checked(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    own(RawFd::try_from(fd).unwrap_or(-1))
}

/// The newest Landlock ABI of the running kernel, or the reason why there is none (`ENOSYS`: not built in; `EOPNOTSUPP`: disabled at boot).
#[cfg(target_os = "linux")]
pub fn landlock_abi() -> io::Result<u32> {
    const LANDLOCK_CREATE_RULESET_VERSION: libc::c_uint = 1;
    // SAFETY: with the VERSION flag the kernel takes a null pointer and a size of zero, and makes nothing (landlock_create_ruleset(2)).
    let abi = checked(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0usize, LANDLOCK_CREATE_RULESET_VERSION)
    })?;
    Ok(u32::try_from(abi).unwrap_or(0))
}

/// `open_tree(2)` (Linux 5.2): a detached copy of the mounts at and below `path`. With `follow` a symbolic link at the end is followed,
/// without it the copy is of the link itself.
#[cfg(target_os = "linux")]
pub fn clone_mounts(path: &Path, follow: bool) -> io::Result<OwnedFd> {
    let path = c_string(path)?;
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_RECURSIVE as libc::c_uint;
    if !follow {
        flags |= libc::AT_SYMLINK_NOFOLLOW as libc::c_uint;
    }
    // SAFETY: the path is a NUL-terminated string that lives through the call; the result is a fresh descriptor.
    let fd = checked(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })?;
    own(RawFd::try_from(fd).unwrap_or(-1))
}

/// `move_mount(2)` (Linux 5.2): attaches a detached mount at `target`. A symbolic link at the end of `target` is not followed: the
/// mount then covers the link itself.
#[cfg(target_os = "linux")]
pub fn attach_mount(mount: BorrowedFd<'_>, target: &Path) -> io::Result<()> {
    let target = c_string(target)?;
    // SAFETY: both paths are NUL-terminated strings that live through the call.
    checked(unsafe {
        libc::syscall(libc::SYS_move_mount, mount.as_raw_fd(), c"".as_ptr(), libc::AT_FDCWD, target.as_ptr(), libc::MOVE_MOUNT_F_EMPTY_PATH)
    })
    .map(drop)
}

/// `mount_setattr(2)` (Linux 5.12): sets attributes (`MOUNT_ATTR_*`) on a mount and everything below it. Attributes are only ever added.
#[cfg(target_os = "linux")]
pub fn restrict_mount(mount: BorrowedFd<'_>, attributes: u64, recursive: bool) -> io::Result<()> {
    let attr = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the structure is of the size that is passed and lives through the call; the path is a NUL-terminated string.
    checked(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(&attr),
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Gives up every capability for good: ambient, bounding, effective, permitted and inheritable, and the special standing of uid 0
/// (`SECBIT_NOROOT`, locked). Needs `CAP_SETPCAP` for the bounding set while a capability is still held there. See capabilities(7).
#[cfg(target_os = "linux")]
pub fn drop_capabilities() -> io::Result<()> {
    const SECBITS_ALL_LOCKED: libc::c_ulong = 0b1010_1111;
    const VERSION_3: u32 = 0x2008_0522;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let prctl = |option: libc::c_int, argument: libc::c_ulong, second: libc::c_ulong| {
        // SAFETY: these options take plain numbers.
        checked(libc::c_long::from(unsafe { libc::prctl(option, argument, second, 0, 0) }))
    };
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0)?;
    // The kernel answers EINVAL one past its last capability; 63 is the most the interface can name.
    for capability in 0..64 {
        match prctl(libc::PR_CAPBSET_READ, capability, 0) {
            Ok(1) => drop(prctl(libc::PR_CAPBSET_DROP, capability, 0)?),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    prctl(libc::PR_SET_SECUREBITS, SECBITS_ALL_LOCKED, 0)?;
    let header = Header { version: VERSION_3, pid: 0 };
    let data = [Data::default(); 2];
    // SAFETY: version 3 of the interface reads one header and two data elements, which live through the call.
    checked(unsafe { libc::syscall(libc::SYS_capset, std::ptr::from_ref(&header), data.as_ptr()) }).map(drop)
}

/// Restores every signal's default action and unblocks all, as a new program expects.
pub fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL is no code of ours; refusals (SIGKILL, SIGSTOP, libc's own) do no harm and are ignored.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let _ = SigSet::empty().thread_set_mask();
}

/// Makes the terminal behind `fd` the controlling terminal of this session (`TIOCSCTTY`, ioctl_tty(2)).
pub fn set_controlling_terminal(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the argument is a plain number.
    checked(libc::c_long::from(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY as _, 0) })).map(drop)
}

/// The other end of a pseudo-terminal (`TIOCGPTPEER`, Linux 4.13), after unlocking it.
#[cfg(target_os = "linux")]
pub fn terminal_peer(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let unlock: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int, which lives through the call.
    checked(libc::c_long::from(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, std::ptr::from_ref(&unlock)) }))?;
    // SAFETY: TIOCGPTPEER takes open flags by value and returns a fresh descriptor.
    let fd = checked(libc::c_long::from(unsafe {
        libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC)
    }))?;
    own(RawFd::try_from(fd).unwrap_or(-1))
}

/// What a crash gives back: a terminal, the settings that it had, and what is written to it last.
struct Farewell {
    terminal: libc::c_int,
    settings: libc::termios,
    words: fn() -> &'static [u8],
}

static FAREWELL: AtomicPtr<Farewell> = AtomicPtr::new(std::ptr::null_mut());

/// Has a terminal given back as it is now when this process crashes: its settings are restored and `words` written to it, then the signal does what it
/// does anyway. For signals that mean a crash, and SIGQUIT. `words` is called by the handler, and may do nothing but read atomics.
pub fn restore_terminal_on_crash(terminal: OwnedFd, settings: &nix::sys::termios::Termios, words: fn() -> &'static [u8]) -> io::Result<()> {
    use std::os::fd::IntoRawFd;
    let farewell = Box::new(Farewell { terminal: terminal.into_raw_fd(), settings: settings.clone().into(), words });
    // Never freed: a handler may be reading it at any time.
    FAREWELL.store(Box::into_raw(farewell), Ordering::Release);
    let flags = SaFlags::SA_ONSTACK | SaFlags::SA_RESETHAND | SaFlags::SA_NODEFER;
    let action = SigAction::new(SigHandler::Handler(give_back), flags, SigSet::empty());
    for signal in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGABRT, Signal::SIGILL, Signal::SIGFPE, Signal::SIGQUIT] {
        // SAFETY: the handler calls only functions that are async-signal-safe (signal-safety(7)): tcsetattr, write and raise.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

extern "C" fn give_back(signal: libc::c_int) {
    let farewell = FAREWELL.load(Ordering::Acquire);
    // SAFETY: the pointer is null or was stored once from a box that is never freed, and what it points to never changes. The descriptor is
    // never closed, the settings and words are valid for as long as the process lives. The handler was reset by SA_RESETHAND, so that raise
    // does what the signal does by default.
    unsafe {
        if let Some(farewell) = farewell.as_ref() {
            libc::tcsetattr(farewell.terminal, libc::TCSANOW, &raw const farewell.settings);
            let words = (farewell.words)();
            libc::write(farewell.terminal, words.as_ptr().cast(), words.len());
        }
        libc::raise(signal);
    }
}

/// The size of a terminal in rows and columns (`TIOCGWINSZ`).
pub fn window_size(fd: BorrowedFd<'_>) -> io::Result<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ fills one winsize, which lives through the call.
    checked(libc::c_long::from(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, std::ptr::from_mut(&mut size)) }))?;
    Ok((size.ws_row, size.ws_col))
}

/// Sets the size of a terminal in rows and columns (`TIOCSWINSZ`); its foreground processes get `SIGWINCH`.
pub fn set_window_size(fd: BorrowedFd<'_>, (rows, columns): (u16, u16)) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize, which lives through the call.
    checked(libc::c_long::from(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ, std::ptr::from_ref(&size)) })).map(drop)
}

/// One instruction of a system call filter (`struct sock_filter`, linux/filter.h).
#[derive(Debug, Clone, Copy)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// How far to jump if so.
    pub jt: u8,
    /// How far to jump if not.
    pub jf: u8,
    /// Its operand.
    pub k: u32,
}

/// `seccomp(2)` with a listener (Linux 5.0): installs a filter for this process and returns the descriptor on which its questions come.
/// A process that waits for an answer can be killed and nothing else (Linux 5.19; before, a signal makes it ask again).
#[cfg(target_os = "linux")]
pub fn install_filter_with_listener(program: &[Instruction]) -> io::Result<OwnedFd> {
    let mut program: Vec<libc::sock_filter> =
        program.iter().map(|one| libc::sock_filter { code: one.code, jt: one.jt, jf: one.jf, k: one.k }).collect();
    let length = libc::c_ushort::try_from(program.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let filter = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    let install = |flags: libc::c_ulong| {
        // SAFETY: the kernel copies the program, which lives through the call, and returns a fresh descriptor.
        checked(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, std::ptr::from_ref(&filter)) })
    };
    let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let fd = match install(listener | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => install(listener)?,
        other => other?,
    };
    own(RawFd::try_from(fd).unwrap_or(-1))
}

/// A system call that a filter asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    id: u64,
    /// Its number.
    pub call: libc::c_long,
    /// Its arguments; those that are addresses mean nothing here.
    pub arguments: [u64; 6],
}

/// Takes the next question of a filter's listener (seccomp_unotify(2)). `ENOENT` where who asked has died.
#[cfg(target_os = "linux")]
pub fn next_question(listener: BorrowedFd<'_>) -> io::Result<Question> {
    // SAFETY: seccomp_notif is plain data, and the kernel wants it zeroed.
    let mut question: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: SECCOMP_IOCTL_NOTIF_RECV fills one seccomp_notif, which lives through the call.
    checked(libc::c_long::from(unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, std::ptr::from_mut(&mut question))
    }))?;
    Ok(Question { id: question.id, call: libc::c_long::from(question.data.nr), arguments: question.data.args })
}

/// Answers a question of a filter's listener: the call is not carried out and fails with `EPERM`.
#[cfg(target_os = "linux")]
pub fn refuse(listener: BorrowedFd<'_>, question: Question) -> io::Result<()> {
    let answer = libc::seccomp_notif_resp { id: question.id, val: 0, error: -libc::EPERM, flags: 0 };
    // SAFETY: SECCOMP_IOCTL_NOTIF_SEND reads one seccomp_notif_resp, which lives through the call.
    checked(libc::c_long::from(unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, std::ptr::from_ref(&answer))
    }))
    .map(drop)
}

/// Brings up the interface `lo` of this network namespace (netdevice(7)). Needs `CAP_NET_ADMIN` in it.
#[cfg(target_os = "linux")]
pub fn bring_up_loopback() -> io::Result<()> {
    // SAFETY: plain numbers; the new descriptor is owned right below.
    let socket = checked(libc::c_long::from(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }))?;
    let socket = own(RawFd::try_from(socket).unwrap_or(-1))?;
    // SAFETY: ifreq is plain data, for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *place = libc::c_char::try_from(*byte).unwrap_or(0);
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives through the call.
    checked(libc::c_long::from(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, std::ptr::from_ref(&request)) })).map(drop)
}

/// What was used of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time of programs in microseconds.
    pub user_us: u64,
    /// CPU time of the kernel in microseconds.
    pub system_us: u64,
    /// The most memory that any one process had at a time, in bytes.
    pub peak_bytes: u64,
}

/// CPU time and peak memory of this process, or of the children that were waited for (`getrusage(2)`).
pub fn usage(of: UsageWho) -> Usage {
    getrusage(of).map_or_else(
        |_| Usage::default(),
        |usage| {
            let micros = |time: nix::sys::time::TimeVal| {
                u64::try_from(time.tv_sec()).unwrap_or(0).saturating_mul(1_000_000) + u64::try_from(time.tv_usec()).unwrap_or(0)
            };
            Usage {
                user_us: micros(usage.user_time()),
                system_us: micros(usage.system_time()),
                peak_bytes: u64::try_from(usage.max_rss()).unwrap_or(0).saturating_mul(RSS_UNIT),
            }
        },
    )
}

/// Bytes in which the peak of memory is counted (getrusage(2)).
const RSS_UNIT: u64 = if cfg!(target_os = "macos") { 1 } else { 1024 };

static STDOUT_WAS_CLOSED: AtomicBool = AtomicBool::new(false);

extern "C" fn look_at_stdout() {
    // SAFETY: F_GETFD only reads; an atomic of this crate needs nothing of a runtime that has not started yet.
    let closed = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) } == -1;
    STDOUT_WAS_CLOSED.store(closed, Ordering::Relaxed);
}

// SAFETY: the loader calls each function in this section once, before `main` and before Rust's runtime, which opens /dev/null in the
// place of a closed standard stream and so hides that it was closed. Looking for that /dev/null afterwards would not do: what Python's
// and node's process modules hand to a child whose output is to be dropped looks exactly the same.
#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
#[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
static LOOK_AT_STDOUT: extern "C" fn() = look_at_stdout;

/// Whether this process was started with its standard output closed.
pub fn stdout_was_closed() -> bool {
    STDOUT_WAS_CLOSED.load(Ordering::Relaxed)
}

/// An argument of [`attempt`].
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub enum Argument<'a> {
    /// A number: a flag, a descriptor, a process id, a length.
    Number(i64),
    /// A string, handed over with a NUL at its end.
    Text(&'a str),
    /// At most [`SCRATCH`] bytes, which the kernel reads or fills.
    Bytes(&'a mut [u8]),
    /// A null pointer.
    Null,
}

/// What an argument of a call that can be attempted may be.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy)]
enum Shape {
    /// Any number; the kernel takes none for an address here.
    Number,
    /// This number alone: with others the call would take addresses or do what cannot be undone.
    Is(i64),
    /// How much memory the kernel looks at: at most [`SCRATCH`] bytes.
    Length,
    /// An address of [`SCRATCH`] bytes of our own, in which the kernel looks for no further address, or null.
    Memory,
    /// Null.
    Null,
}

/// Bytes behind every address that [`attempt`] hands to the kernel.
#[cfg(target_os = "linux")]
pub const SCRATCH: usize = 4096;

/// The calls that can be attempted, each with the shapes of all its arguments. A call with more than one use stands here more than once.
/// None maps, unmaps or protects memory, starts a thread, or closes a descriptor; what the kernel writes fits the scratch memory.
#[cfg(target_os = "linux")]
const ATTEMPTS: &[(libc::c_long, &[Shape])] = {
    use Shape::{Is, Length, Memory, Null, Number};
    &[
        (libc::SYS_acct, &[Memory]),
        (libc::SYS_add_key, &[Memory, Memory, Memory, Length, Number]),
        (libc::SYS_adjtimex, &[Memory]),
        (libc::SYS_bind, &[Number, Memory, Length]),
        // BPF_MAP_CREATE, whose attributes hold no address.
        (libc::SYS_bpf, &[Is(0), Memory, Length]),
        (libc::SYS_chroot, &[Memory]),
        (libc::SYS_clock_settime, &[Number, Null]),
        (libc::SYS_connect, &[Number, Memory, Length]),
        (libc::SYS_delete_module, &[Memory, Number]),
        (libc::SYS_fanotify_init, &[Number, Number]),
        (libc::SYS_fchmodat, &[Number, Memory, Number]),
        (SYS_FCHMODAT2, &[Number, Memory, Number, Number]),
        (libc::SYS_fchownat, &[Number, Memory, Number, Number, Number]),
        (SYS_FILE_SETATTR, &[Number, Memory, Memory, Length, Number]),
        (libc::SYS_finit_module, &[Number, Memory, Number]),
        (libc::SYS_fsetxattr, &[Number, Memory, Memory, Length, Number]),
        (libc::SYS_fsmount, &[Number, Number, Number]),
        (libc::SYS_fsopen, &[Memory, Number]),
        (libc::SYS_fspick, &[Number, Memory, Number]),
        (libc::SYS_init_module, &[Memory, Length, Memory]),
        (libc::SYS_io_uring_setup, &[Number, Memory]),
        (libc::SYS_ioctl, &[Number, Is(TIOCSTI), Memory]),
        (libc::SYS_ioctl, &[Number, Is(TIOCSTI | 1 << 32), Memory]),
        (libc::SYS_ioctl, &[Number, Is(TIOCLINUX), Memory]),
        (libc::SYS_ioctl, &[Number, Is(TIOCLINUX | 1 << 32), Memory]),
        (libc::SYS_ioctl, &[Number, Is(FS_IOC_SETFLAGS), Memory]),
        (libc::SYS_ioprio_set, &[Number, Number, Number]),
        (libc::SYS_kcmp, &[Number, Number, Number, Number, Number]),
        (libc::SYS_kexec_file_load, &[Number, Number, Length, Memory, Number]),
        (libc::SYS_kexec_load, &[Number, Number, Null, Number]),
        // KEYCTL_GET_KEYRING_ID, KEYCTL_JOIN_SESSION_KEYRING, KEYCTL_SEARCH and KEYCTL_READ.
        (libc::SYS_keyctl, &[Is(0), Number, Number]),
        (libc::SYS_keyctl, &[Is(1), Memory]),
        (libc::SYS_keyctl, &[Is(10), Number, Memory, Memory, Number]),
        (libc::SYS_keyctl, &[Is(11), Number, Memory, Length]),
        (libc::SYS_lsetxattr, &[Memory, Memory, Memory, Length, Number]),
        (libc::SYS_migrate_pages, &[Number, Is(64), Memory, Memory]),
        (libc::SYS_mknodat, &[Number, Memory, Number, Number]),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_modify_ldt, &[Is(0), Memory, Length]),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_iopl, &[Is(3)]),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_ioperm, &[Number, Number, Number]),
        (libc::SYS_mount, &[Memory, Memory, Memory, Number, Memory]),
        (libc::SYS_mount_setattr, &[Number, Memory, Number, Memory, Length]),
        (libc::SYS_move_mount, &[Number, Memory, Number, Memory, Number]),
        (libc::SYS_move_pages, &[Number, Is(0), Null, Null, Null, Number]),
        (libc::SYS_mq_open, &[Memory, Number, Number, Memory]),
        (libc::SYS_mq_timedreceive, &[Number, Memory, Length, Memory, Memory]),
        (libc::SYS_mq_timedsend, &[Number, Memory, Length, Number, Memory]),
        (libc::SYS_mq_unlink, &[Memory]),
        // The kernel fills in at most MAX_HANDLE_SZ (128) bytes and refuses when asked for more.
        (libc::SYS_name_to_handle_at, &[Number, Memory, Memory, Memory, Number]),
        (libc::SYS_open_by_handle_at, &[Number, Memory, Number]),
        (libc::SYS_open_tree, &[Number, Memory, Number]),
        (libc::SYS_perf_event_open, &[Memory, Number, Number, Number, Number]),
        (libc::SYS_personality, &[Number]),
        (libc::SYS_pidfd_getfd, &[Number, Number, Number]),
        (libc::SYS_pidfd_send_signal, &[Number, Number, Null, Number]),
        (libc::SYS_pivot_root, &[Memory, Memory]),
        (libc::SYS_prlimit64, &[Number, Number, Memory, Memory]),
        (libc::SYS_process_madvise, &[Number, Null, Is(0), Number, Number]),
        // PTRACE_ATTACH and PTRACE_SEIZE.
        (libc::SYS_ptrace, &[Is(16), Number, Null, Null]),
        (libc::SYS_ptrace, &[Is(0x4206), Number, Null, Null]),
        (libc::SYS_quotactl, &[Number, Memory, Number, Null]),
        // With no magic number that the kernel knows: tells only whether one may ask.
        (libc::SYS_reboot, &[Is(0), Is(0), Is(0), Null]),
        (libc::SYS_request_key, &[Memory, Memory, Null, Number]),
        (libc::SYS_rt_sigqueueinfo, &[Number, Number, Memory]),
        (libc::SYS_sched_setaffinity, &[Number, Length, Memory]),
        (libc::SYS_sched_setscheduler, &[Number, Number, Memory]),
        (libc::SYS_sendto, &[Number, Memory, Length, Number, Memory, Length]),
        (libc::SYS_setdomainname, &[Memory, Length]),
        (libc::SYS_sethostname, &[Memory, Length]),
        (libc::SYS_setns, &[Number, Number]),
        (libc::SYS_setpriority, &[Number, Number, Number]),
        (libc::SYS_settimeofday, &[Null, Null]),
        (libc::SYS_socket, &[Number, Number, Number]),
        (libc::SYS_swapoff, &[Memory]),
        (libc::SYS_swapon, &[Memory, Number]),
        // SYSLOG_ACTION_SIZE_BUFFER and SYSLOG_ACTION_READ_ALL.
        (libc::SYS_syslog, &[Is(10), Null, Is(0)]),
        (libc::SYS_syslog, &[Is(3), Memory, Length]),
        (libc::SYS_tgkill, &[Number, Number, Number]),
        (libc::SYS_umount2, &[Memory, Number]),
        (libc::SYS_unshare, &[Number]),
        (libc::SYS_userfaultfd, &[Number]),
        (libc::SYS_vhangup, &[]),
        // The numbers of x32 for calls without an address.
        #[cfg(target_arch = "x86_64")]
        (X32 | libc::SYS_getpid, &[]),
        #[cfg(target_arch = "x86_64")]
        (X32 | libc::SYS_socket, &[Number, Number, Number]),
        #[cfg(target_arch = "x86_64")]
        (X32 | libc::SYS_unshare, &[Number]),
    ]
};

/// The bit that makes a number one of the x32 interface.
#[cfg(target_arch = "x86_64")]
pub const X32: libc::c_long = 0x4000_0000;
/// `fchmodat2(2)` (Linux 6.6).
pub const SYS_FCHMODAT2: libc::c_long = 452;
/// `file_setattr(2)` (Linux 6.17).
pub const SYS_FILE_SETATTR: libc::c_long = 469;
/// Types into a terminal, ioctl_tty(2).
pub const TIOCSTI: i64 = 0x5412;
/// Selects and pastes on a virtual console, ioctl_console(2).
pub const TIOCLINUX: i64 = 0x541c;
/// Sets what chattr(1) sets, ioctl_iflags(2).
pub const FS_IOC_SETFLAGS: i64 = 0x4008_6602;

/// Makes one system call for the self-test and returns what the kernel returned. A call or an argument that is not on the list is
/// `InvalidInput` and does not reach the kernel.
#[cfg(target_os = "linux")]
pub fn attempt(number: libc::c_long, mut arguments: Vec<Argument<'_>>) -> io::Result<i64> {
    let refused = || io::Error::new(io::ErrorKind::InvalidInput, "this call is not on the list of those that can be attempted");
    let fits = |argument: &Argument<'_>, shape: &Shape| match (argument, shape) {
        (Argument::Number(_), Shape::Number) | (Argument::Null, Shape::Memory | Shape::Null) => true,
        (Argument::Number(value), Shape::Is(only)) => value == only,
        (Argument::Number(value), Shape::Length) => usize::try_from(*value).is_ok_and(|length| length <= SCRATCH),
        (Argument::Text(text), Shape::Memory) => text.len() < SCRATCH && !text.contains('\0'),
        (Argument::Bytes(bytes), Shape::Memory) => bytes.len() <= SCRATCH,
        _ => false,
    };
    let known = ATTEMPTS.iter().any(|(call, shapes)| {
        *call == number && shapes.len() == arguments.len() && arguments.iter().zip(*shapes).all(|(argument, shape)| fits(argument, shape))
    });
    if !known {
        return Err(refused());
    }
    let mut memory: Vec<Vec<u8>> = arguments
        .iter()
        .map(|argument| {
            let content: &[u8] = match argument {
                Argument::Text(text) => text.as_bytes(),
                Argument::Bytes(bytes) => bytes,
                Argument::Number(_) | Argument::Null => return Vec::new(),
            };
            let mut scratch = content.to_vec();
            scratch.resize(SCRATCH, 0);
            scratch
        })
        .collect();
    let mut words = [0 as libc::c_long; 6];
    for ((word, argument), scratch) in words.iter_mut().zip(&arguments).zip(&mut memory) {
        *word = match argument {
            Argument::Number(value) => *value as libc::c_long,
            Argument::Null => 0,
            Argument::Text(_) | Argument::Bytes(_) => scratch.as_mut_ptr() as libc::c_long,
        };
    }
    let [a, b, c, d, e, f] = words;
    // SAFETY: the number and the shape of every argument are on the list above. Each address is null or that of SCRATCH bytes which live
    // through the call and are nobody else's, no length is longer, and no call on the list keeps an address or takes a number for one.
    let result = checked(unsafe { libc::syscall(number, a, b, c, d, e, f) });
    for (argument, scratch) in arguments.iter_mut().zip(&memory) {
        if let Argument::Bytes(bytes) = argument {
            let length = bytes.len();
            bytes.copy_from_slice(&scratch[..length]);
        }
    }
    result
}

/// `socket(2)` by the entry for 32-bit programs (`int 0x80`), whose numbers are others than those a filter for 64-bit ones looks at.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub fn socket_by_the_old_entry(family: i32, kind: i32, protocol: i32) -> io::Result<i32> {
    const SYS_SOCKET_OF_I386: i64 = 359;
    let result: i64;
    // SAFETY: the arguments are three numbers, of which none is an address; the kernel touches no memory of this process. rbx, which the
    // compiler keeps for itself, is put back, and the entry clobbers what is named.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {first}",
            "int 0x80",
            "xchg rbx, {first}",
            first = inout(reg) i64::from(family) => _,
            inlateout("rax") SYS_SOCKET_OF_I386 => result,
            in("rcx") i64::from(kind),
            in("rdx") i64::from(protocol),
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    let result = i32::try_from(result as i32 as i64).unwrap_or(-libc::EINVAL);
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) }
}

/// Makes a System V shared memory segment that holds `content` and that its owner alone may use; returns its identifier (shmget(2)). It goes
/// when this process ends, however that comes about: it is marked for removal at once, and stays mapped.
#[cfg(target_os = "linux")]
pub fn shared_memory_make(content: &[u8]) -> io::Result<i32> {
    // SAFETY: the call takes numbers and maps nothing.
    let id = unsafe { libc::shmget(libc::IPC_PRIVATE, content.len().max(1), libc::IPC_CREAT | 0o600) };
    checked(libc::c_long::from(id))?;
    // SAFETY: with a null address the kernel chooses a free one, so no mapping of this process is touched.
    let address = unsafe { libc::shmat(id, std::ptr::null(), 0) };
    let mapped = if address as isize == -1 { Err(io::Error::last_os_error()) } else { Ok(address) };
    // SAFETY: IPC_RMID takes no address; a segment that is mapped stays until it is mapped no more.
    let removed = checked(libc::c_long::from(unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) }));
    let address = mapped?;
    removed?;
    // SAFETY: the segment was made at least this long, is mapped writable, and stays so.
    unsafe { std::ptr::copy_nonoverlapping(content.as_ptr(), address.cast::<u8>(), content.len()) };
    Ok(id)
}

/// The first bytes of somebody's System V shared memory segment.
#[cfg(target_os = "linux")]
pub fn shared_memory_read(id: i32, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length.min(SCRATCH)];
    // SAFETY: with a null address the kernel chooses a free one, so no mapping of this process is touched.
    let address = unsafe { libc::shmat(id, std::ptr::null(), libc::SHM_RDONLY) };
    if address as isize == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a segment is mapped in whole pages, and a page is at least SCRATCH bytes.
    unsafe { std::ptr::copy_nonoverlapping(address.cast::<u8>(), bytes.as_mut_ptr(), bytes.len()) };
    // SAFETY: this is the address that was mapped above, and nothing keeps it.
    checked(libc::c_long::from(unsafe { libc::shmdt(address) }))?;
    Ok(bytes)
}

/// Waits for a child, or for anything that this process traces: who it was, and its status as waitpid(2) encodes it. Raw, because signals and
/// events that libraries have no name for must not be lost. `None` where, without `block`, nothing has happened.
#[cfg(target_os = "linux")]
pub fn wait_for_any(block: bool) -> io::Result<Option<(Pid, i32)>> {
    let mut status = 0;
    let flags = libc::__WALL | if block { 0 } else { libc::WNOHANG };
    // SAFETY: the kernel fills one int, which lives through the call.
    let pid = checked(libc::c_long::from(unsafe { libc::waitpid(-1, &raw mut status, flags) }))?;
    Ok((pid != 0).then(|| (Pid::from_raw(libc::pid_t::try_from(pid).unwrap_or(libc::pid_t::MAX)), status)))
}

/// Lets a traced process go on with a signal (0 for none), until its next event or, with `until_call`, until the call that it is in ends.
#[cfg(target_os = "linux")]
pub fn resume_traced(pid: Pid, until_call: bool, signal: i32) -> io::Result<()> {
    let request = if until_call { libc::PTRACE_SYSCALL } else { libc::PTRACE_CONT };
    // SAFETY: these requests take a number as data and no address (ptrace(2)).
    checked(unsafe { libc::ptrace(request, pid.as_raw(), std::ptr::null_mut::<libc::c_void>(), libc::c_long::from(signal)) }).map(drop)
}

/// At which point of a system call a traced process stands.
#[cfg(target_os = "linux")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TracedCall {
    /// Before it, with its number and arguments.
    Before(libc::c_long, [u64; 6]),
    /// After it, with what the kernel returned.
    After(i64),
    /// At none.
    None,
}

/// `PTRACE_GET_SYSCALL_INFO` (Linux 5.3).
#[cfg(target_os = "linux")]
pub fn traced_call(pid: Pid) -> io::Result<TracedCall> {
    const PTRACE_GET_SYSCALL_INFO: libc::c_uint = 0x420e;
    const ENTRY: u8 = 1;
    const EXIT: u8 = 2;
    const SECCOMP: u8 = 3;
    // struct ptrace_syscall_info: one word of kind and architecture, two addresses, then the number and six arguments, or the result.
    let mut words = [0u64; 11];
    // SAFETY: the kernel writes at most as many bytes as it is told that there are, and they live through the call.
    checked(unsafe { libc::ptrace(PTRACE_GET_SYSCALL_INFO as _, pid.as_raw(), size_of_val(&words), words.as_mut_ptr()) })?;
    let [kind, _, _, first, a, b, c, d, e, f, _] = words;
    Ok(match kind.to_ne_bytes()[0] {
        ENTRY | SECCOMP => TracedCall::Before(libc::c_long::try_from(first).unwrap_or(-1), [a, b, c, d, e, f]),
        EXIT => TracedCall::After(first.cast_signed()),
        _ => TracedCall::None,
    })
}
