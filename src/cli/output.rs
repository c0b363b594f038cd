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
    match Output::of_process().and_then(|mut output| output.write_all(text.as_bytes())) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            report(&format!("standard output could not be written: {error}"));
            Err(Exit::Output)
        }
        _ => Ok(()),
    }
}

/// Standard output, not through `Stdout`, which takes a descriptor that cannot be written for one that swallows everything.
#[derive(Debug)]
pub(super) struct Output(File);

impl Output {
    /// That of this process.
    pub(super) fn of_process() -> io::Result<Self> {
        check_open()?;
        Ok(Self(File::from(io::stdout().as_fd().try_clone_to_owned()?)))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                // Another process that holds the same terminal or pipe has made it non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE)?;
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
