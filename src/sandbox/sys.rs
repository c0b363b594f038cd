//! The crate's only `unsafe`: system calls that no safe wrapper covers.
//!
//! Everything here is a thin, typed call with the kernel's own name. Decisions are made by the callers.

#![allow(unsafe_code)]

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use nix::unistd::Pid;

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
    let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
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

/// CPU time and peak memory of the children that were waited for (`getrusage(2)`): user and system microseconds, peak bytes.
pub fn children_usage() -> (u64, u64, u64) {
    nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).map_or((0, 0, 0), |usage| {
        let micros = |time: nix::sys::time::TimeVal| {
            u64::try_from(time.tv_sec()).unwrap_or(0).saturating_mul(1_000_000) + u64::try_from(time.tv_usec()).unwrap_or(0)
        };
        (micros(usage.user_time()), micros(usage.system_time()), u64::try_from(usage.max_rss()).unwrap_or(0).saturating_mul(1024))
    })
}

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
