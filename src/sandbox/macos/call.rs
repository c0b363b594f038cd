//! One call on macOS: the process that starts `sandbox-exec`, watches it, and ends what it started. Compiled on macOS alone, and never run on one yet.
//!
//! What a call starts is ended by its session (setsid(2)): all processes of it, whatever process groups they have made. One that has made a
//! session of its own is not found.

use std::{
    convert::Infallible,
    ffi::CString,
    fs,
    io::{self, PipeReader, Write},
    net::{Ipv4Addr, TcpListener},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::openpty,
    sys::{
        resource::UsageWho,
        signal::{Signal, kill},
        stat::{SFlag, fstat},
        wait::{WaitStatus, waitpid},
    },
    unistd::{AccessFlags, Pid, access, chdir, dup2_stderr, dup2_stdin, dup2_stdout, execve, getsid, setsid, ttyname},
};

use super::{
    arguments::{SANDBOX_EXEC, arguments, environment, lies},
    limits,
    places::Places,
    profile::{Facts, render},
    refusal::Refusal,
    stage::WORKER,
};
use crate::{
    policy::NetworkMode,
    sandbox::{
        launcher::own_program,
        message::{Applied, EndedBy, Exit, FromSandbox, Launch, Program, ToSandbox, receive, send},
        plan::Plan,
        sys::{self, Fork},
    },
};

/// A step that could not be done. Nothing runs after one.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    step: &'static str,
    reason: String,
    errno: Option<i32>,
}

impl Failure {
    pub(super) fn new(step: &'static str, reason: impl Into<String>) -> Self {
        Self { step, reason: reason.into(), errno: None }
    }

    pub(super) fn system(step: &'static str, error: &io::Error) -> Self {
        Self { step, reason: error.to_string(), errno: error.raw_os_error() }
    }

    pub(super) fn errno(step: &'static str, errno: Errno) -> Self {
        Self { step, reason: errno.desc().to_owned(), errno: Some(errno as i32) }
    }

    pub(super) fn message(&self) -> FromSandbox {
        FromSandbox::Failed { step: self.step.to_owned(), reason: self.reason.clone(), errno: self.errno }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new("write the profile", refusal.to_string())
    }
}

/// Starts a call and sees it to its end.
pub(super) fn supervise(
    plan: &Plan,
    launch: Launch,
    mut streams: [OwnedFd; 3],
    socket: &OwnedFd,
    alive: &PipeReader,
) -> Result<(), Failure> {
    let _ = setsid();
    let places = Places::of(plan)?;
    let (terminal, device) = match launch.terminal {
        Some(size) => make_terminal(size, &launch, &mut streams, socket).map(|(master, device)| (Some(master), Some(device)))?,
        None => (None, None),
    };
    let worker = launch.program == Program::Worker;
    let proxy = if plan.network == NetworkMode::Allowlist && !worker { Some(hand_out_listener(socket)?) } else { None };
    let own = if worker {
        Some(own_program().and_then(fs::canonicalize).map_err(|error| Failure::system("find this program", &error))?)
    } else {
        None
    };
    let profile = render(plan, &Facts { terminal: device.as_deref(), proxy, worker: own.as_deref() })?;
    let cwd = lies(&places, &launch.cwd);
    let variables = environment(&places, launch.environment.clone(), proxy);
    let program = program(&launch.program, own.as_deref(), &cwd, &variables)?;
    let words = [vec![SANDBOX_EXEC.to_owned()], arguments(&profile, &program)].concat();
    let running = sys::processes().map_err(|error| Failure::system("count processes", &error))?;
    match sys::fork().map_err(|error| Failure::system("fork", &error))? {
        Fork::Child => {
            let applied = Applied {
                process_limit: "rlimit".to_owned(),
                memory_limit: "none".to_owned(),
                profile: Some(profile.fingerprint()),
                ..Applied::default()
            };
            let entering = Entering { words, variables, cwd, running: running.len() as u64, terminal: terminal.is_some(), applied };
            let Err(failure) = enter(plan, &streams, socket, entering);
            let _ = send(socket.as_fd(), &failure.message(), &[]);
            sys::exit_now(126)
        }
        Fork::Parent(program) => {
            drop(streams);
            let wall = launch.wall_ms.map_or(plan.wall(), |limit| plan.wall().min(Duration::from_millis(limit)));
            let deadline = launch.terminal.is_none().then(|| Instant::now() + wall);
            let exit = watch(program, socket, alive, terminal.as_ref(), deadline)?;
            let _ = send(socket.as_fd(), &FromSandbox::Exited(exit), &[]);
            Ok(())
        }
    }
}

/// The words after `--`. A name without a slash is looked up here, so that one that does not exist is told as such.
fn program(program: &Program, own: Option<&Path>, cwd: &Path, variables: &[(String, String)]) -> Result<Vec<String>, Failure> {
    let step = "start the program";
    match program {
        Program::Exec(words) => {
            let name = words.first().filter(|name| !name.is_empty()).ok_or_else(|| Failure::new(step, "no program was named"))?;
            let path = variables.iter().find(|(key, _)| key == "PATH").map_or("", |(_, value)| value.as_str());
            let folders = path.split(':').filter(|folder| !folder.is_empty()).map(|folder| format!("{folder}/{name}"));
            let mut candidates: Box<dyn Iterator<Item = String>> =
                if name.contains('/') { Box::new(std::iter::once(name.clone())) } else { Box::new(folders) };
            let found = candidates.find(|candidate| access(&cwd.join(candidate), AccessFlags::X_OK).is_ok());
            let found = found
                .ok_or_else(|| Failure { reason: format!("{name}: {}", Errno::ENOENT.desc()), ..Failure::errno(step, Errno::ENOENT) })?;
            Ok([vec![found], words[1..].to_vec()].concat())
        }
        Program::Worker => {
            Ok(own.into_iter().map(|own| own.display().to_string()).chain([WORKER.to_owned(), cwd.display().to_string()]).collect())
        }
        Program::Observed(_) => {
            Err(Refusal::Program { what: "observing a command", reason: "what it reaches for is seen by way of ptrace(2) and overlays" }
                .into())
        }
        Program::Remote => Err(Refusal::Program {
            what: "an MCP server over HTTP",
            reason: "what passes its messages on is started without an exec, and finds the proxy on the port of a loopback of its own",
        }
        .into()),
        Program::Probe => Err(Refusal::Program { what: "the self-test", reason: "its attempts are system calls of Linux" }.into()),
        Program::Steps => Err(Refusal::Program { what: "a certificate", reason: "its steps are tried in a sandbox of Linux" }.into()),
    }
}

/// A pseudo-terminal of the call's own, and its device. The person's own terminal never gets in.
fn make_terminal(size: (u16, u16), launch: &Launch, streams: &mut [OwnedFd; 3], socket: &OwnedFd) -> Result<(OwnedFd, PathBuf), Failure> {
    let step = "make a terminal";
    let made = openpty(None, None).map_err(|errno| Failure::errno(step, errno))?;
    for end in [&made.master, &made.slave] {
        sys::close_on_exec(end).map_err(|errno| Failure::errno(step, errno))?;
    }
    sys::set_window_size(made.master.as_fd(), size).map_err(|error| Failure::system(step, &error))?;
    let device = ttyname(&made.slave).map_err(|errno| Failure::errno(step, errno))?;
    for (stream, wanted) in streams.iter_mut().zip(launch.terminal_streams) {
        if wanted {
            *stream = made.slave.try_clone().map_err(|error| Failure::system(step, &error))?;
        }
    }
    send(socket.as_fd(), &FromSandbox::Terminal, &[made.master.as_fd()]).map_err(|error| Failure::new(step, error.to_string()))?;
    Ok((made.master, device))
}

/// Makes the socket on which the call finds the proxy: a port of the machine's loopback that the kernel chooses.
fn hand_out_listener(socket: &OwnedFd) -> Result<u16, Failure> {
    let step = "make the way to the proxy";
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| Failure::system(step, &error))?;
    let port = listener.local_addr().map_err(|error| Failure::system(step, &error))?.port();
    send(socket.as_fd(), &FromSandbox::Proxy, &[listener.as_fd()]).map_err(|error| Failure::new(step, error.to_string()))?;
    Ok(port)
}

/// What the process that becomes `sandbox-exec` needs.
struct Entering {
    words: Vec<String>,
    variables: Vec<(String, String)>,
    cwd: PathBuf,
    /// How many processes there were before.
    running: u64,
    terminal: bool,
    applied: Applied,
}

/// Becomes `sandbox-exec`. Returns only on failure.
fn enter(plan: &Plan, streams: &[OwnedFd; 3], socket: &OwnedFd, entering: Entering) -> Result<Infallible, Failure> {
    let Entering { words, variables, cwd, running, terminal, applied } = entering;
    let step = "set up the standard streams";
    setsid().map_err(|errno| Failure::errno("start a new session", errno))?;
    for stream in streams {
        // From an open folder every path below and beside it can be reached, past what the profile says of names.
        let kind = SFlag::from_bits_truncate(fstat(stream).map_err(|errno| Failure::errno(step, errno))?.st_mode & SFlag::S_IFMT.bits());
        if kind == SFlag::S_IFDIR {
            return Err(Failure::new(step, "a folder was given as standard input, output or error; give a file, a pipe or /dev/null"));
        }
    }
    if terminal && let Some(stream) = streams.iter().find(|stream| nix::unistd::isatty(stream.as_fd()).unwrap_or(false)) {
        sys::set_controlling_terminal(stream.as_fd()).map_err(|error| Failure::system("take the terminal", &error))?;
    }
    let [stdin, stdout, stderr] = streams;
    dup2_stdin(stdin).and_then(|()| dup2_stdout(stdout)).and_then(|()| dup2_stderr(stderr)).map_err(|errno| Failure::errno(step, errno))?;
    sys::close_on_exec_from(3).map_err(|error| Failure::system("close inherited descriptors", &error))?;
    sys::reset_signals();
    limits::apply(&plan.limits).map_err(|errno| Failure::errno("set a resource limit", errno))?;
    let most = limits::processes(&plan.limits, running);
    sys::limit_processes(most).map_err(|error| Failure::system("set a resource limit", &error))?;
    chdir(&cwd).map_err(|errno| Failure::errno("enter the working folder", errno))?;
    let string = |text: String| CString::new(text).map_err(|_| Failure::new("start the program", "a NUL byte in an argument or variable"));
    let words = words.into_iter().map(string).collect::<Result<Vec<_>, _>>()?;
    let variables = variables.into_iter().map(|(key, value)| string(format!("{key}={value}"))).collect::<Result<Vec<_>, _>>()?;
    send(socket.as_fd(), &FromSandbox::Started(applied), &[]).map_err(|error| Failure::new("report the start", error.to_string()))?;
    let program = string(SANDBOX_EXEC.to_owned())?;
    execve(&program, &words, &variables).map_err(|errno| Failure::errno("start sandbox-exec", errno))
}

/// Waits for the program, the agent, the launcher or the clock, whichever is first, and ends everything that is left.
fn watch(
    program: Pid,
    socket: &OwnedFd,
    alive: &PipeReader,
    terminal: Option<&OwnedFd>,
    deadline: Option<Instant>,
) -> Result<Exit, Failure> {
    let step = "watch the program";
    let (ended, mut tell) = io::pipe().map_err(|error| Failure::system(step, &error))?;
    // There is no descriptor of a process to poll, so a thread waits for it. Nothing is forked any more.
    let waiting = thread::spawn(move || {
        let status = loop {
            match waitpid(program, None) {
                Err(Errno::EINTR) => {}
                status => break status,
            }
        };
        let _ = tell.write_all(b"x");
        status
    });
    let mut ended_by = None;
    loop {
        let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            PollTimeout::try_from(left.saturating_add(Duration::from_millis(1))).unwrap_or(PollTimeout::from(u16::MAX))
        });
        let mut sources = [
            PollFd::new(ended.as_fd(), PollFlags::POLLIN),
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(alive.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut sources, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Failure::errno(step, errno)),
        }
        let [done, from_agent, from_launcher] = sources.map(|source| source.any().unwrap_or(false));
        if done || from_launcher || (from_agent && !obey(program, socket.as_fd(), terminal)) {
            break;
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            ended_by = Some(EndedBy::Wall);
            break;
        }
    }
    end_all(program);
    let status = waiting.join().unwrap_or(Err(Errno::ECHILD));
    let sys::Usage { user_us, system_us, peak_bytes } = sys::usage(UsageWho::RUSAGE_CHILDREN);
    let (code, signal) = match status {
        Ok(WaitStatus::Exited(_, code)) => (Some(code), None),
        Ok(WaitStatus::Signaled(_, signal, _)) => (None, Some(signal as i32)),
        _ => (None, None),
    };
    Ok(Exit {
        code,
        signal,
        ended_by,
        user_us,
        system_us,
        peak_bytes,
        processes_refused: 0,
        refused: Vec::new(),
        undone: Vec::new(),
        undone_more: 0,
    })
}

/// Does what the agent says; false when it is gone or says something that makes no sense, which ends the call.
fn obey(program: Pid, socket: BorrowedFd<'_>, terminal: Option<&OwnedFd>) -> bool {
    match receive::<ToSandbox>(socket) {
        Ok((ToSandbox::Signal(number), _)) => {
            if let Ok(signal) = Signal::try_from(number) {
                let _ = kill(Pid::from_raw(-program.as_raw()), signal);
            }
            true
        }
        Ok((ToSandbox::Resize(rows, columns), _)) => {
            if let Some(terminal) = terminal {
                let _ = sys::set_window_size(terminal.as_fd(), (rows, columns));
            }
            true
        }
        Err(_) => false,
    }
}

/// Ends all processes of the program's session, until none is left: one may start another meanwhile.
fn end_all(program: Pid) {
    for _ in 0..32 {
        let _ = kill(Pid::from_raw(-program.as_raw()), Signal::SIGKILL);
        let left: Vec<Pid> = sys::processes().unwrap_or_default().into_iter().filter(|pid| getsid(Some(*pid)) == Ok(program)).collect();
        if left.is_empty() {
            return;
        }
        left.into_iter().for_each(|pid| _ = kill(pid, Signal::SIGKILL));
        thread::sleep(Duration::from_millis(1));
    }
}
