//! The terminal of the person: taken whole for a view, and given back as it was, after a crash too.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::termios::{FlushArg, SetArg, Termios, cfmakeraw, tcflush, tcgetattr, tcsetattr},
    unistd::read,
};

use crate::sandbox::sys;

/// The terminal of this process, whatever its standard streams are (tty(4)).
const TERMINAL: &str = "/dev/tty";
/// The other screen, pastes marked as such, no cursor, no colour.
const TAKE: &[u8] = b"\x1b[?1049h\x1b[?2004h\x1b[?25l\x1b[0m\x1b[2J";
/// All of that undone.
const GIVE_BACK: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?2004l\x1b[?1049l";
/// Whether the other screen is up. To leave it where it is not would move the cursor.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// What undoes all that is in effect, in a signal handler too.
fn farewell() -> &'static [u8] {
    if TAKEN.load(Ordering::Relaxed) { b"\x1b[0m\x1b[?25h\x1b[?2004l\x1b[?1049l\r\n" } else { b"\x1b[0m\x1b[?25h\x1b[?2004l\r\n" }
}

/// Undoes what a prompt may have left in effect.
const AT_END: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?2004l";

/// The settings that the terminal had when the session began. Termios of nix holds a cell, so the plain structure is kept.
static BEFORE: OnceLock<libc::termios> = OnceLock::new();

fn open() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC | libc::O_NOCTTY).open(TERMINAL)
}

/// Remembers the terminal as it is. From here on it is given back so when this process crashes, or a thread of it panics.
///
/// # Errors
/// If there is no terminal.
pub fn guard() -> io::Result<()> {
    let terminal = open()?;
    let settings = tcgetattr(&terminal)?;
    if BEFORE.set(settings.clone().into()).is_ok() {
        sys::restore_terminal_on_crash(terminal.into(), &settings, farewell)?;
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if let Ok(mut terminal) = open() {
                let _ = terminal.write_all(farewell());
                TAKEN.store(false, Ordering::Relaxed);
            }
            restore();
            before(panic);
        }));
    }
    Ok(())
}

/// Gives the terminal the settings that it had when the session began.
pub fn restore() {
    if let (Some(settings), Ok(mut terminal)) = (BEFORE.get(), open()) {
        let _ = terminal.write_all(AT_END);
        let _ = tcsetattr(&terminal, SetArg::TCSANOW, &Termios::from(*settings));
    }
}

/// The terminal while a view has it. Dropping it gives it back.
#[derive(Debug)]
pub struct Taken {
    terminal: File,
    before: Termios,
}

impl Taken {
    /// Takes it. What was typed before is thrown away: it was meant for something else.
    ///
    /// # Errors
    /// If there is no terminal.
    pub fn take() -> io::Result<Self> {
        let mut terminal = open()?;
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&terminal, SetArg::TCSANOW, &raw)?;
        TAKEN.store(true, Ordering::Relaxed);
        // From here on dropping gives it back.
        let result = terminal.write_all(TAKE).and_then(|()| Ok(tcflush(&terminal, FlushArg::TCIFLUSH)?));
        let taken = Self { terminal, before };
        result.map(|()| taken)
    }

    /// Its columns and rows.
    pub fn size(&self) -> (usize, usize) {
        let (rows, columns) = sys::window_size(self.terminal.as_fd()).unwrap_or((0, 0));
        (usize::from(columns), usize::from(rows))
    }

    /// Shows rows from the top, and the cursor, if there is one to show, at a row and column.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn draw(&mut self, rows: &[String], cursor: Option<(usize, usize)>) -> io::Result<()> {
        let mut out = String::from("\x1b[?25l");
        for (number, row) in rows.iter().enumerate() {
            // Each at its own place, so that none can push another away.
            out.push_str(&format!("\x1b[{};1H", number + 1));
            out.push_str(row);
            out.push_str("\x1b[0m\x1b[K");
        }
        if let Some((row, column)) = cursor {
            out.push_str(&format!("\x1b[{};{}H\x1b[?25h", row + 1, column + 1));
        }
        self.terminal.write_all(out.as_bytes())
    }

    /// Waits so many milliseconds for input. None if none came.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub fn read(&mut self, milliseconds: u16) -> io::Result<Option<Vec<u8>>> {
        let mut ready = [PollFd::new(self.terminal.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::from(milliseconds)) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut buffer = vec![0; 4096];
        let length = read(&self.terminal, &mut buffer)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.truncate(length);
        Ok(Some(buffer))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let _ = self.terminal.write_all(GIVE_BACK);
        TAKEN.store(false, Ordering::Relaxed);
        // What was typed into the view is for nothing else.
        let _ = tcsetattr(&self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}
