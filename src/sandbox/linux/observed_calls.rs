//! Which system calls of an observed program say what it reaches for, and which of their arguments do.

use libc::c_long;

use super::system_calls::SYS_FCHMODAT2;

/// What a call does with a path that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// Opens it; the flags are in this argument.
    Open(usize),
    /// Opens it for writing, and makes it if it is not there.
    Create,
    /// Runs it.
    Run,
    /// Changes it where it is.
    Change,
    /// Makes, removes or renames it, which changes the folder that it lies in.
    Make,
}

/// Where a call names what it reaches for; numbers are those of arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// A path, relative to the working folder.
    Path(usize, Aim),
    /// A path, relative to the folder behind a descriptor.
    PathAt(usize, usize, Aim),
    /// The address to connect to, or to send to, and its length.
    Peer(usize, usize),
    /// The address to listen on, and its length.
    Own(usize, usize),
}

use Aim::{Change, Make, Open, Run};
use Operand::{Own, Path, PathAt, Peer};

const OPERANDS: &[(c_long, Operand)] = &[
    (libc::SYS_openat, PathAt(0, 1, Open(2))),
    (libc::SYS_execve, Path(0, Run)),
    (libc::SYS_execveat, PathAt(0, 1, Run)),
    (libc::SYS_mkdirat, PathAt(0, 1, Make)),
    (libc::SYS_mknodat, PathAt(0, 1, Make)),
    (libc::SYS_unlinkat, PathAt(0, 1, Make)),
    (libc::SYS_symlinkat, PathAt(1, 2, Make)),
    (libc::SYS_renameat2, PathAt(0, 1, Make)),
    (libc::SYS_renameat2, PathAt(2, 3, Make)),
    (libc::SYS_linkat, PathAt(2, 3, Make)),
    (libc::SYS_truncate, Path(0, Change)),
    (libc::SYS_fchmodat, PathAt(0, 1, Change)),
    (SYS_FCHMODAT2, PathAt(0, 1, Change)),
    (libc::SYS_fchownat, PathAt(0, 1, Change)),
    (libc::SYS_utimensat, PathAt(0, 1, Change)),
    (libc::SYS_setxattr, Path(0, Change)),
    (libc::SYS_lsetxattr, Path(0, Change)),
    (libc::SYS_connect, Peer(1, 2)),
    (libc::SYS_sendto, Peer(4, 5)),
    (libc::SYS_bind, Own(1, 2)),
];

#[cfg(target_arch = "x86_64")]
const OPERANDS_ON_THIS_ARCHITECTURE: &[(c_long, Operand)] = &[
    (libc::SYS_open, Path(0, Open(1))),
    (libc::SYS_creat, Path(0, Aim::Create)),
    (libc::SYS_mkdir, Path(0, Make)),
    (libc::SYS_mknod, Path(0, Make)),
    (libc::SYS_rmdir, Path(0, Make)),
    (libc::SYS_unlink, Path(0, Make)),
    (libc::SYS_symlink, Path(1, Make)),
    (libc::SYS_rename, Path(0, Make)),
    (libc::SYS_rename, Path(1, Make)),
    (libc::SYS_renameat, PathAt(0, 1, Make)),
    (libc::SYS_renameat, PathAt(2, 3, Make)),
    (libc::SYS_link, Path(1, Make)),
    (libc::SYS_chmod, Path(0, Change)),
    (libc::SYS_chown, Path(0, Change)),
    (libc::SYS_lchown, Path(0, Change)),
    (libc::SYS_utime, Path(0, Change)),
    (libc::SYS_utimes, Path(0, Change)),
    (libc::SYS_futimesat, PathAt(0, 1, Change)),
];
#[cfg(not(target_arch = "x86_64"))]
const OPERANDS_ON_THIS_ARCHITECTURE: &[(c_long, Operand)] =
    &[(libc::SYS_renameat, PathAt(0, 1, Make)), (libc::SYS_renameat, PathAt(2, 3, Make))];

/// The numbers of all observed calls. One with two operands comes twice.
pub fn numbers() -> impl Iterator<Item = c_long> {
    OPERANDS.iter().chain(OPERANDS_ON_THIS_ARCHITECTURE).map(|(call, _)| *call)
}

/// What a call names.
pub fn operands(call: c_long) -> impl Iterator<Item = Operand> {
    OPERANDS.iter().chain(OPERANDS_ON_THIS_ARCHITECTURE).filter(move |(other, _)| *other == call).map(|(_, operand)| *operand)
}
