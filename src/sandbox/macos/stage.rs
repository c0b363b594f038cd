//! The launcher's side on macOS: a small process with one thread that makes one process for each call, which starts `sandbox-exec` and watches it.
//! Compiled on macOS alone, and never run on one yet.
//!
//! What a call starts is ended by its session (setsid(2)): all processes of it, whatever process groups they have made. One that has made a
//! session of its own is not found.

use std::{
    collections::HashMap,
    convert::Infallible,
    ffi::CString,
    fs,
    io::{self, PipeReader, PipeWriter, Read, Write},
    net::{Ipv4Addr, TcpListener},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::openpty,
    sys::{
        signal::{Signal, kill},
        stat::{SFlag, fstat},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{AccessFlags, Pid, access, chdir, dup2_stderr, dup2_stdin, dup2_stdout, execve, getsid, setsid, ttyname},
};

use super::{
    arguments::{SANDBOX_EXEC, arguments, environment, lies, links},
    limits,
    places::Places,
    profile::{Facts, render},
    refusal::Refusal,
    settle::{leads_to, settled},
};
use crate::{
    egress,
    policy::NetworkMode,
    sandbox::{
        launcher::own_program,
        message::{Applied, EndedBy, Exit, FromSandbox, Launch, MessageError, Program, ToLauncher, ToSandbox, receive, send},
        plan::{PRIVATE_PREFIX, Plan},
        sys::{self, Fork},
    },
    worker,
};

/// The first argument that makes this binary a launcher.
pub const STAGE: &str = "__launcher";
/// The first argument that makes it a file worker, with the folder to start in as the second. `sandbox-exec` has confined it by then.
pub const WORKER: &str = "__worker";
/// The lowest descriptor on which a launcher may find its control socket; the second argument names the one.
pub const CONTROL: i32 = 3;

/// The longest request of a file worker in bytes, as on Linux.
const REQUEST_CAP: u64 = 16 * 1024 * 1024;

/// A step that could not be done. Nothing runs after one.
#[derive(Debug, Clone)]
struct Failure {
    step: &'static str,
    reason: String,
    errno: Option<i32>,
}

impl Failure {
    fn new(step: &'static str, reason: impl Into<String>) -> Self {
        Self { step, reason: reason.into(), errno: None }
    }

    fn system(step: &'static str, error: &io::Error) -> Self {
        Self { step, reason: error.to_string(), errno: error.raw_os_error() }
    }

    fn errno(step: &'static str, errno: Errno) -> Self {
        Self { step, reason: errno.desc().to_owned(), errno: Some(errno as i32) }
    }

    fn message(&self) -> FromSandbox {
        FromSandbox::Failed { step: self.step.to_owned(), reason: self.reason.clone(), errno: self.errno }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new("write the profile", refusal.to_string())
    }
}

/// Runs the launcher to its end on the control socket that the argument names. Returns its exit code.
pub fn run(control: &str) -> i32 {
    let Some(control) = take_control(control) else { return 1 };
    let Ok((alive, living)) = io::pipe() else { return 1 };
    let mut plans: HashMap<u32, Result<Plan, Failure>> = HashMap::new();
    let code = loop {
        match receive::<ToLauncher>(control.as_fd()) {
            Ok((ToLauncher::Register { id, plan }, _)) => {
                let plan = settled(&plan, &leads_to);
                make_links(&plan);
                plans.entry(id).or_insert_with(|| is_taken(&plan).map(|()| plan));
            }
            Ok((ToLauncher::Launch(launch), descriptors)) => {
                let Ok([stdin, stdout, stderr, socket]) = <[OwnedFd; 4]>::try_from(descriptors) else { break 1 };
                if let Err(failure) = start(&plans, launch, [stdin, stdout, stderr], &socket, &alive, &living) {
                    let _ = send(socket.as_fd(), &failure.message(), &[]);
                }
            }
            Err(MessageError::Closed) => break 0,
            Err(_) => break 1,
        }
        while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive) {}
    };
    // Closing it tells each call's process to end.
    drop(living);
    while waitpid(None, None).is_ok() {}
    for plan in plans.values().flatten() {
        // The name is looked at because nothing else may ever be removed here.
        if plan.private.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PRIVATE_PREFIX)) {
            remove(&plan.private);
        }
    }
    code
}

/// The control socket that an argument names, in a process of a session of its own: a Ctrl-C meant for the agent would end this one before it has
/// ended its calls.
pub(crate) fn take_control(argument: &str) -> Option<OwnedFd> {
    let control = argument.parse::<i32>().ok().filter(|number| *number >= CONTROL)?;
    let _ = setsid();
    sys::close_on_exec_from(CONTROL).ok()?;
    sys::own(control).ok()
}

/// Removes a tree, also one whose folders a call has closed. No link in it is followed.
fn remove(folder: &Path) {
    if fs::remove_dir_all(folder).is_err() {
        open_up(folder);
        let _ = fs::remove_dir_all(folder);
    }
}

fn open_up(folder: &Path) {
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// Whether this version of macOS takes the profile of a plan, found by trying: what `sandbox-exec` says of one would otherwise look like the program's own
/// words. Whether the program that it starts here is granted does not matter.
#[allow(clippy::disallowed_methods, reason = "a program of the system's, in a sandbox")]
fn is_taken(plan: &Plan) -> Result<(), Failure> {
    let step = "apply the profile";
    let profile = render(plan, &Facts { proxy: Some(egress::PORT), ..Facts::default() })?;
    let mut command = Command::new(SANDBOX_EXEC);
    command.args(arguments(&profile, &["/usr/bin/true".to_owned()])).env_clear().current_dir("/").stdin(Stdio::null());
    let ended = command.output().map_err(|error| Failure::system(step, &error))?;
    let said = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
    if ended.status.success() || said.contains("execvp") {
        Ok(())
    } else {
        Err(Failure::new(step, format!("this macOS does not take it: {said}")))
    }
}

/// Makes the process of one call.
fn start(
    plans: &HashMap<u32, Result<Plan, Failure>>,
    launch: Launch,
    streams: [OwnedFd; 3],
    socket: &OwnedFd,
    alive: &PipeReader,
    living: &PipeWriter,
) -> Result<(), Failure> {
    let plan = match plans.get(&launch.plan) {
        Some(Ok(plan)) => plan,
        Some(Err(failure)) => return Err(failure.clone()),
        None => return Err(Failure::new("make the sandbox", "its plan was never registered")),
    };
    match sys::fork().map_err(|error| Failure::system("fork", &error))? {
        Fork::Parent(_) => Ok(()),
        Fork::Child => {
            // The end that says that the launcher lives must be the launcher's alone.
            let _ = nix::unistd::close(std::os::fd::AsRawFd::as_raw_fd(living));
            let done = supervise(plan, launch, streams, socket, alive);
            if let Err(failure) = &done {
                let _ = send(socket.as_fd(), &failure.message(), &[]);
            }
            sys::exit_now(i32::from(done.is_err()))
        }
    }
}

/// Starts a call and sees it to its end.
fn supervise(plan: &Plan, launch: Launch, mut streams: [OwnedFd; 3], socket: &OwnedFd, alive: &PipeReader) -> Result<(), Failure> {
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
        Program::Probe => Err(Refusal::Program { what: "the self-test", reason: "its attempts are system calls of Linux" }.into()),
        Program::Steps => Err(Refusal::Program { what: "a certificate", reason: "its steps are tried in a sandbox of Linux" }.into()),
    }
}

/// What is granted in the person's home is found in the private one, from the first call on. Later a call could have put links of its own in the way,
/// and this process is not confined: so a home that holds anything is left alone.
fn make_links(plan: &Plan) {
    let Ok(places) = Places::of(plan) else { return };
    let home = plan.private.join("home");
    if fs::read_dir(&home).is_ok_and(|mut entries| entries.next().is_some()) {
        return;
    }
    for (link, target) in links(&places).into_iter().filter(|(link, target)| link.starts_with(&home) && target.exists()) {
        if let Some(folder) = link.parent() {
            let _ = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
            let _ = symlink(&target, &link);
        }
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
    let (user_us, system_us, peak_bytes) = sys::children_usage();
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

/// Serves one request of a built-in file tool, in a process that `sandbox-exec` has confined. Returns the exit code.
pub fn work(cwd: &str) -> i32 {
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(REQUEST_CAP + 1).read_to_end(&mut bytes);
    if read.is_err() || bytes.len() as u64 > REQUEST_CAP {
        return 1;
    }
    let Ok(request) = serde_json::from_slice(&bytes) else { return 1 };
    let Ok(reply) = serde_json::to_vec(&worker::serve(&request, Path::new(cwd))) else { return 1 };
    let mut out = io::stdout().lock();
    i32::from(out.write_all(&reply).and_then(|()| out.flush()).is_err())
}
