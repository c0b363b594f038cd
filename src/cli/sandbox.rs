//! `portcullis sandbox`: one command under a policy, with its streams, terminal, signals and exit code passed through.

use std::{
    collections::BTreeSet,
    io::{self, IsTerminal, Write},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::Signal,
        termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr},
    },
};

use super::{exit::Exit, report, resolve, signals::Signals};
use crate::egress::{Connections, handle::Told};
use crate::policy::learn::Observation;
use crate::sandbox::{
    Call, EndedBy, Exit as Ended, FromSandbox, LaunchError, Launcher, Plan, Program, RefusedCall, ToSandbox,
    message::{Launch, MessageError},
    sys,
};
use crate::tools::{
    VIEW_CHANGED,
    denial::{self, Explainer},
};
use crate::ui::sanitize::visible_line;

/// Runs `command` and returns the code to end with.
pub fn run(workspace: Option<&Path>, policy: Option<&str>, command: &[String]) -> Exit {
    // It gets ready while the policy is read.
    let launcher = Launcher::start();
    let folders = resolve::Folders::from_environment();
    let resolved = match resolve::resolve_or_report(workspace, policy, &folders) {
        Ok(resolved) => resolved,
        Err(exit) => return exit,
    };
    let environment = resolved.plan.environment(&resolved.policy, &resolved.session);
    let what = Passed { plan: &resolved.plan, environment, program: Program::Exec(command.to_vec()) };
    launcher
        .and_then(|launcher| pass_through(&launcher, &resolved, what, &mut Heard::default()))
        .unwrap_or_else(|error| not_started(&error))
}

/// Says why nothing ran; the code to end with, as a shell's.
pub(super) fn not_started(error: &LaunchError) -> Exit {
    report(error);
    match error {
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

/// What runs, and under what.
pub(super) struct Passed<'a> {
    pub(super) plan: &'a Plan,
    pub(super) environment: Vec<(String, String)>,
    pub(super) program: Program,
}

/// What the sandbox told of the command besides its streams and its end.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) observations: Vec<Observation>,
    pub(super) refused: Vec<RefusedCall>,
}

/// Runs it with this process' streams, terminal and signals.
pub(super) fn pass_through(
    launcher: &Launcher,
    resolved: &resolve::Resolved,
    what: Passed<'_>,
    heard: &mut Heard,
) -> Result<Exit, LaunchError> {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let interactive = stdin.is_terminal() && stdout.is_terminal();
    let terminal = interactive.then(|| sys::window_size(stdout.as_fd()).unwrap_or((24, 80)));
    // Signals are taken from here on, so that none gets lost between the start and the relay.
    let signals = Signals::watch(&FORWARDED).map_err(MessageError::from)?;
    let plan = launcher.register(what.plan.clone())?;
    let mut relays = Relays::default();
    let streams = relays.streams(interactive).map_err(|error| LaunchError::Message(MessageError::System(os_error(&error))))?;
    let call = launcher.launch(
        Launch {
            plan,
            program: what.program,
            environment: what.environment,
            cwd: resolved.cwd.clone(),
            wall_ms: None,
            terminal,
            terminal_streams: [interactive, interactive, interactive && stderr.is_terminal()],
        },
        streams.each_ref().map(AsFd::as_fd),
    )?;
    drop(streams);
    let _raw = if interactive { RawMode::enter(stdin.as_fd()) } else { None };
    let mut proxied = None;
    let serve = |listener: OwnedFd| {
        proxied = Some(launcher.serve(plan, listener.as_fd())?);
        Ok(())
    };
    let exit = relay(&call, &signals, relays, &resolved.session.workspace, heard, serve)?;
    if let Some(connections) = proxied {
        report_connections(&connections, &Explainer::new(&resolved.policy, &resolved.session));
    }
    Ok(exit)
}

/// Says what the proxy refused.
fn report_connections(connections: &Connections, explainer: &Explainer) {
    connections.end();
    let mut denials = BTreeSet::new();
    while let Ok(told) = connections.next() {
        if let Told::Connection(connection) = told {
            denials.extend(explainer.of_connection(&connection));
        }
    }
    for denial in denials {
        report(&visible_line(&denial.sentence()));
    }
}

fn os_error(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Pipes in the place of the person's terminal, files and sockets, where they are among the standard streams. They never get in themselves: a
/// program could read what is typed at the terminal and change its settings, or change mode, times and content of a file that was opened
/// for another purpose.
#[derive(Default)]
struct Relays {
    /// What is typed goes here. `None` once there is no more.
    input: Option<OwnedFd>,
    /// Whether the program has not taken what it was given yet.
    full: bool,
    /// What comes from here goes to standard output or error.
    outputs: [Option<OwnedFd>; 2],
}

impl Relays {
    /// The three streams for the sandbox: this process' own, or a pipe's end, or (where it will be replaced by a terminal) nothing.
    fn streams(&mut self, interactive: bool) -> io::Result<[OwnedFd; 3]> {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let inner = if interactive {
            std::fs::File::open("/dev/null")?.into()
        } else if !may_enter(stdin.as_fd()) {
            let (reader, writer) = io::pipe()?;
            self.input = Some(writer.into());
            reader.into()
        } else {
            stdin.as_fd().try_clone_to_owned()?
        };
        let mut output = |terminal: bool, own: BorrowedFd<'_>, place: usize| -> io::Result<OwnedFd> {
            if terminal && interactive {
                Ok(std::fs::File::open("/dev/null")?.into())
            } else if !may_enter(own) {
                let (reader, writer) = io::pipe()?;
                self.outputs[place] = Some(reader.into());
                Ok(writer.into())
            } else {
                own.try_clone_to_owned()
            }
        };
        Ok([inner, output(stdout.is_terminal(), stdout.as_fd(), 0)?, output(stderr.is_terminal(), stderr.as_fd(), 1)?])
    }

    /// Passes on what was typed, as far as the program takes it.
    fn type_on(&mut self) {
        let Some(pipe) = &self.input else { return };
        let mut room = [PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)];
        let _ = poll(&mut room, PollTimeout::ZERO);
        let state = room[0].revents().unwrap_or(PollFlags::empty());
        if state.contains(PollFlags::POLLERR) {
            // The program has closed its end.
            self.input = None;
        } else if self.full || !state.contains(PollFlags::POLLOUT) {
            // With room again, whether there is anything to read is for the next look to say.
            self.full = !state.contains(PollFlags::POLLOUT);
        } else if !type_into(pipe, 4096) {
            // A pipe that has room takes that much without waiting (PIPE_BUF, pipe(7)).
            self.input = None;
        }
    }

    fn show(&mut self, place: usize) {
        let shown = match place {
            0 => copy(self.outputs[0].as_ref(), &mut io::stdout()),
            _ => copy(self.outputs[1].as_ref(), &mut io::stderr()),
        };
        if !shown {
            self.outputs[place] = None;
        }
    }
}

/// Whether a stream may be handed to the sandbox as it is: a pipe without a name, and `/dev/null`.
fn may_enter(stream: BorrowedFd<'_>) -> bool {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", stream.as_raw_fd()));
    link.is_ok_and(|link| link == Path::new("/dev/null") || link.as_os_str().as_encoded_bytes().starts_with(b"pipe:["))
}

const FORWARDED: [Signal; 7] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGWINCH];

/// Passes bytes and signals until the sandbox is gone and cleaned up after.
fn relay(
    call: &Call,
    signals: &Signals,
    mut relays: Relays,
    workspace: &Path,
    heard: &mut Heard,
    mut serve: impl FnMut(OwnedFd) -> Result<(), LaunchError>,
) -> Result<Exit, LaunchError> {
    let (stdin, mut stdout) = (io::stdin(), io::stdout());
    let mut terminal: Option<OwnedFd> = None;
    let mut result: Option<Result<Exit, LaunchError>> = None;
    let mut typing = true;
    loop {
        let reads = |fd: Option<BorrowedFd<'_>>| fd.map_or(PollFlags::empty(), |_| PollFlags::POLLIN);
        let [master, out, err] = [&terminal, &relays.outputs[0], &relays.outputs[1]].map(|fd| fd.as_ref().map(AsFd::as_fd));
        let listens = (terminal.is_some() && typing) || (relays.input.is_some() && !relays.full);
        let idle = call.as_fd();
        let (input, wanted) = match &relays.input {
            // Nothing more is read from the person until the program has taken what it was given.
            Some(pipe) if relays.full => (pipe.as_fd(), PollFlags::POLLOUT),
            _ if listens => (stdin.as_fd(), PollFlags::POLLIN),
            // Not even its end is asked for, which would be told again and again.
            _ => (idle, PollFlags::empty()),
        };
        let mut sources = [
            PollFd::new(call.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(master.unwrap_or(idle), reads(master)),
            PollFd::new(input, wanted),
            PollFd::new(out.unwrap_or(idle), reads(out)),
            PollFd::new(err.unwrap_or(idle), reads(err)),
        ];
        match poll(&mut sources, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(MessageError::from(errno).into()),
        }
        let [spoken, signalled, output, input, out, err] = sources.map(|source| source.any().unwrap_or(false));
        if signalled {
            forward(call, signals);
        }
        if terminal.is_some() && output && !copy(terminal.as_ref(), &mut stdout) {
            terminal = None;
        }
        for (place, ready) in [out, err].into_iter().enumerate() {
            if ready && relays.outputs[place].is_some() {
                relays.show(place);
            }
        }
        if let Some(master) = terminal.as_ref().filter(|_| input && typing) {
            typing = type_into(master, 1024);
        } else if input {
            relays.type_on();
        }
        if spoken {
            match call.next() {
                Ok((FromSandbox::Terminal, master)) => terminal = master,
                Ok((FromSandbox::Proxy, Some(listener))) => serve(listener)?,
                Ok((FromSandbox::Started(_) | FromSandbox::Proxy, _)) => {}
                Ok((FromSandbox::Observed(part), _)) => heard.observations.extend(part),
                Ok((FromSandbox::Failed { step, reason, errno }, _)) => {
                    result = Some(Err(LaunchError::Refused { step, reason, errno }));
                }
                Ok((FromSandbox::Exited(exit), _)) => {
                    while terminal.is_some() && copy(terminal.as_ref(), &mut stdout) {}
                    // Nobody is left to write, so these end.
                    for place in 0..2 {
                        while relays.outputs[place].is_some() {
                            relays.show(place);
                        }
                    }
                    report_end(&exit, workspace);
                    let code = code(&exit);
                    heard.refused = exit.refused;
                    result.get_or_insert(Ok(code));
                }
                Err(MessageError::Closed) => return result.unwrap_or(Err(LaunchError::Died)),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Says what the command had made and must not stay, which system calls it was refused, and what ended it before its time.
fn report_end(exit: &Ended, workspace: &Path) {
    for undone in &exit.undone {
        report(&format!("at the end of the command: {}", visible_line(&undone.sentence(workspace))));
    }
    if exit.shell_code() != 0 {
        for call in exit.refused.iter().filter(|call| denial::explains(call)) {
            report(&format!("while the command ran, the system call filter refused {}", call.sentence()));
        }
    }
    if exit.undone_more > 0 {
        report(&format!("at the end of the command: and {} more such things", exit.undone_more));
    }
    match exit.ended_by {
        Some(EndedBy::Wall) => report(&"the policy's limit on time ([limits] wall) ended the command"),
        Some(EndedBy::Memory) => report(&"the policy's limit on memory ([limits] memory) ended the command"),
        Some(EndedBy::HostMemory) => {
            report(&"the machine ran out of memory for the command, below the policy's limit ([limits] memory), and ended it");
        }
        Some(EndedBy::Disk) => report(&"the policy's limit on disk space ([limits] disk) ended the command"),
        Some(EndedBy::ViewChanged) => report(&VIEW_CHANGED),
        None => {}
    }
}

/// The code to end with.
fn code(exit: &Ended) -> Exit {
    match (exit.ended_by, exit.code, exit.signal) {
        (Some(_), ..) => Exit::Limit,
        (None, Some(0), _) => Exit::Success,
        (None, Some(code), _) => Exit::Passed(u8::try_from(code).unwrap_or(1)),
        (None, None, signal) => Exit::Signal(signal.unwrap_or(libc::SIGKILL)),
    }
}

fn forward(call: &Call, signals: &Signals) {
    while let Some(signal) = signals.next() {
        if signal == Signal::SIGWINCH {
            if let Ok((rows, columns)) = sys::window_size(io::stdout().as_fd()) {
                call.tell(ToSandbox::Resize(rows, columns));
            }
        } else {
            call.tell(ToSandbox::Signal(signal as i32));
        }
    }
}

/// Copies what comes. False at its end (for a terminal that is `EIO`, once nobody holds the other side).
fn copy(source: Option<&OwnedFd>, out: &mut impl Write) -> bool {
    let mut bytes = [0u8; 8192];
    match source.map(|source| nix::unistd::read(source, &mut bytes)) {
        Some(Ok(length)) if length > 0 => out.write_all(&bytes[..length]).and_then(|()| out.flush()).is_ok(),
        Some(Err(Errno::EINTR)) => true,
        _ => false,
    }
}

/// Passes on what was typed, at most `most` bytes. False when there is no more. It reads past the standard library's buffer, whose content
/// poll(2) would not see.
fn type_into(target: &OwnedFd, most: usize) -> bool {
    let mut bytes = vec![0u8; most];
    let length = match nix::unistd::read(io::stdin(), &mut bytes) {
        Ok(0) => return false,
        Ok(length) => length,
        Err(Errno::EINTR | Errno::EAGAIN) => return true,
        Err(_) => return false,
    };
    let mut rest = &bytes[..length];
    while !rest.is_empty() {
        match nix::unistd::write(target, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
    true
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
        let _ = tcsetattr(io::stdin().as_fd(), SetArg::TCSAFLUSH, &self.0);
    }
}
