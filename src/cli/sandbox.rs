//! `portcullis sandbox`: one command under a policy, with its streams, terminal, signals and exit code passed through.

use std::{
    io::{self, IsTerminal, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr},
    },
};

use super::{exit::Exit, report, resolve};
use crate::sandbox::{
    Call, EndedBy, FromSandbox, LaunchError, Launcher, Program, ToSandbox,
    message::{Launch, MessageError},
    sys,
};
use crate::tools::gate::VIEW_CHANGED;

/// Runs `command` and returns the code to end with.
pub fn run(workspace: Option<&Path>, policy: Option<&str>, command: &[String]) -> Exit {
    let folders = resolve::Folders::from_environment();
    let resolved = match resolve::resolve(workspace, policy, &folders) {
        Ok(resolved) => resolved,
        Err(error) => {
            report(&error);
            return error.exit();
        }
    };
    match launch(&resolved, command) {
        Ok(exit) => exit,
        Err(error) => {
            report(&error);
            match &error {
                LaunchError::Refused { step, errno, .. } if step == "start the program" => {
                    if *errno == Some(libc::ENOENT) {
                        Exit::NotFound
                    } else {
                        Exit::NotExecutable
                    }
                }
                _ => Exit::Refused,
            }
        }
    }
}

fn launch(resolved: &resolve::Resolved, command: &[String]) -> Result<Exit, LaunchError> {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let interactive = stdin.is_terminal() && stdout.is_terminal();
    let terminal = interactive.then(|| sys::window_size(stdout.as_fd()).unwrap_or((24, 80)));
    // Signals are taken from here on, so that none gets lost between the start and the relay.
    let signals = watch_signals().map_err(MessageError::from)?;
    let launcher = Launcher::start()?;
    let plan = launcher.register(resolved.plan.clone())?;
    let call = launcher.launch(
        Launch {
            plan,
            program: Program::Exec(command.to_vec()),
            environment: resolved.plan.environment(&resolved.policy, &resolved.session),
            cwd: resolved.cwd.clone(),
            wall_ms: None,
            terminal,
            terminal_streams: [interactive, interactive, interactive && stderr.is_terminal()],
        },
        [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
    )?;
    let _raw = if interactive { RawMode::enter(stdin.as_fd()) } else { None };
    relay(&call, &signals)
}

const FORWARDED: [Signal; 7] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGWINCH];

fn watch_signals() -> Result<SignalFd, Errno> {
    let mut mask = SigSet::empty();
    FORWARDED.iter().for_each(|signal| mask.add(*signal));
    mask.thread_block()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Passes bytes and signals until the sandbox is gone and cleaned up after.
fn relay(call: &Call, signals: &SignalFd) -> Result<Exit, LaunchError> {
    let (stdin, mut stdout) = (io::stdin(), io::stdout());
    let mut terminal: Option<OwnedFd> = None;
    let mut result: Option<Result<Exit, LaunchError>> = None;
    let mut typing = true;
    loop {
        let nothing = PollFlags::empty();
        let reads = |wanted: bool| if wanted { PollFlags::POLLIN } else { nothing };
        let master: BorrowedFd<'_> = terminal.as_ref().map_or_else(|| call.as_fd(), AsFd::as_fd);
        let mut sources = [
            PollFd::new(call.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(master, reads(terminal.is_some())),
            PollFd::new(stdin.as_fd(), reads(terminal.is_some() && typing)),
        ];
        match poll(&mut sources, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(MessageError::from(errno).into()),
        }
        let [spoken, signalled, output, input] = sources.map(|source| source.any().unwrap_or(false));
        if signalled {
            forward(call, signals);
        }
        if terminal.is_some() && output && !copy(terminal.as_ref(), &mut stdout) {
            terminal = None;
        }
        if let Some(master) = terminal.as_ref().filter(|_| input && typing) {
            typing = type_into(master, &stdin);
        }
        if spoken {
            match call.next() {
                Ok((FromSandbox::Terminal, master)) => terminal = master,
                Ok((FromSandbox::Started(_), _)) => {}
                Ok((FromSandbox::Failed { step, reason, errno }, _)) => {
                    result = Some(Err(LaunchError::Refused { step, reason, errno }));
                }
                Ok((FromSandbox::Exited(exit), _)) => {
                    while terminal.is_some() && copy(terminal.as_ref(), &mut stdout) {}
                    result.get_or_insert(Ok(match (exit.ended_by, exit.code, exit.signal) {
                        (Some(EndedBy::Wall), ..) => {
                            report(&"the policy's limit on time ([limits] wall) ended the command");
                            Exit::Limit
                        }
                        (Some(EndedBy::ViewChanged), ..) => {
                            report(&VIEW_CHANGED);
                            Exit::Limit
                        }
                        (None, Some(code), _) => return_code(code),
                        (None, None, signal) => Exit::Signal(signal.unwrap_or(libc::SIGKILL)),
                    }));
                }
                Err(MessageError::Closed) => return result.unwrap_or(Err(LaunchError::Died)),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn return_code(code: i32) -> Exit {
    if code == 0 { Exit::Success } else { Exit::Passed(u8::try_from(code).unwrap_or(1)) }
}

fn forward(call: &Call, signals: &SignalFd) {
    while let Ok(Some(signal)) = signals.read_signal() {
        let Ok(number) = i32::try_from(signal.ssi_signo) else { continue };
        if number == Signal::SIGWINCH as i32 {
            if let Ok((rows, columns)) = sys::window_size(io::stdout().as_fd()) {
                call.tell(ToSandbox::Resize(rows, columns));
            }
        } else {
            call.tell(ToSandbox::Signal(number));
        }
    }
}

/// Copies what the terminal shows. False at its end (`EIO` once nobody holds the other side).
fn copy(master: Option<&OwnedFd>, out: &mut io::Stdout) -> bool {
    let mut bytes = [0u8; 8192];
    match master.map(|master| nix::unistd::read(master, &mut bytes)) {
        Some(Ok(length)) if length > 0 => out.write_all(&bytes[..length]).and_then(|()| out.flush()).is_ok(),
        Some(Err(Errno::EINTR)) => true,
        _ => false,
    }
}

/// Passes on what was typed. False when there is no more.
fn type_into(master: &OwnedFd, stdin: &io::Stdin) -> bool {
    let mut bytes = [0u8; 1024];
    let mut lock = stdin.lock();
    let Ok(length) = lock.read(&mut bytes) else { return false };
    let mut rest = &bytes[..length];
    while !rest.is_empty() {
        match nix::unistd::write(master, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
    length > 0
}

/// The person's terminal without its own line editing and signals, which the sandbox's terminal does; put back when dropped.
struct RawMode(Termios);

impl RawMode {
    fn enter(terminal: BorrowedFd<'_>) -> Option<Self> {
        let before = tcgetattr(terminal).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(terminal, SetArg::TCSANOW, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin().as_fd(), SetArg::TCSADRAIN, &self.0);
    }
}
