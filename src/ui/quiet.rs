//! A terminal that does not show what is typed, while something else is on it. Ctrl-C still interrupts.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use nix::sys::termios::{InputFlags, LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// Shows what is typed again when it is dropped.
#[derive(Debug)]
pub struct Quiet {
    terminal: OwnedFd,
    before: Termios,
}

impl Quiet {
    /// Quiets the terminal of standard input.
    ///
    /// # Errors
    /// If it is none.
    pub fn begin() -> io::Result<Self> {
        let terminal = io::stdin().as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&terminal)?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO | LocalFlags::ECHONL | LocalFlags::ICANON);
        quiet.local_flags.insert(LocalFlags::ISIG);
        // What is typed ahead for the next prompt arrives there as it was typed.
        quiet.input_flags.remove(InputFlags::ICRNL);
        tcsetattr(&terminal, SetArg::TCSANOW, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before);
    }
}
