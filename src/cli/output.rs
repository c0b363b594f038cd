//! Results on standard output: written to the last byte, or the exit code says that they were not.

use std::{
    fs::File,
    io::{self, ErrorKind, Write},
    os::fd::AsFd,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{exit::Exit, report};
use crate::sandbox::sys;

/// An error if this process was started with its standard output closed.
pub(super) fn check_open() -> io::Result<()> {
    if sys::stdout_was_closed() { Err(io::Error::new(ErrorKind::BrokenPipe, "it is closed")) } else { Ok(()) }
}

/// Writes `text` to standard output. That nobody reads on (`| head`) is no error.
pub(super) fn print(text: &str) -> Result<(), Exit> {
    if sys::stdout_was_closed() {
        report(&"standard output is closed; nothing could be written");
        return Err(Exit::Output);
    }
    match write(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            report(&format!("standard output could not be written: {error}"));
            Err(Exit::Output)
        }
        _ => Ok(()),
    }
}

/// Not through `Stdout`, which takes a descriptor that cannot be written for one that swallows everything.
fn write(mut bytes: &[u8]) -> io::Result<()> {
    let mut file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Another process that holds the same terminal or pipe has made it non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
