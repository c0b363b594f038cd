//! Standard output: written whole, or said why not.

use std::{
    io::{self, Write},
    os::fd::AsFd,
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::stat::{fstat, major, minor},
};

use super::{exit::Exit, report};

/// Whether standard output was closed when the program began. Rust then puts `/dev/null` in its place, opened for reading and writing,
/// which nobody does who redirects there on purpose.
pub(super) fn check_open() -> io::Result<()> {
    let stdout = io::stdout();
    let null = fstat(stdout.as_fd())
        .is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFCHR && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3));
    let access = fcntl(stdout.as_fd(), FcntlArg::F_GETFL).map_or(OFlag::O_WRONLY, OFlag::from_bits_truncate) & OFlag::O_ACCMODE;
    if null && access == OFlag::O_RDWR { Err(io::Error::new(io::ErrorKind::BrokenPipe, "it is closed")) } else { Ok(()) }
}

/// Prints a listing. A reader that has seen enough (`| head`) is no failure.
pub(super) fn print(text: &str) -> Result<(), Exit> {
    let written = check_open().and_then(|()| {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    });
    written.map_err(|error| {
        report(&format!("standard output could not be written: {error}"));
        Exit::Output
    })
}
