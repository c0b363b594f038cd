//! The last steps before a program runs for the model, in the process that will become it.

use std::{
    ffi::CString,
    io::{PipeReader, Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use nix::{
    errno::Errno,
    sys::{
        resource::UsageWho,
        stat::{SFlag, fstat},
    },
    unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, execve, setsid},
};
use serde::de::DeserializeOwned;

use super::{Failure, landlock, limits, observe, rehearsal, seccomp::Filters, warm};
use crate::{
    certificate, mcp,
    policy::Layer,
    sandbox::{
        message::{Applied, FromSandbox, Handover, Launch, MessageError, Program, Ready, ToInit, forward, receive, send},
        plan::Plan,
        sys,
    },
    selftest, worker,
};

/// The longest request of a file worker in bytes: the longest patch, with room for its JSON.
pub const REQUEST_CAP: u64 = 16 * 1024 * 1024;

/// What the process that becomes the program has from the init.
#[derive(Debug)]
pub struct Inherited {
    /// On which the init hands it the call.
    pub handover: OwnedFd,
    /// On which the launcher lets that begin, where the sandbox is made ahead.
    pub begin: Option<PipeReader>,
    /// On which the init takes the listener of the system call filter.
    pub init: OwnedFd,
    /// Where to enter the call's control group.
    pub group: Option<OwnedFd>,
    /// The call's own terminal, where it has one.
    pub terminal: Option<OwnedFd>,
}

/// What it is made for, as far as that decides how it is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// The call is not known yet.
    pub ahead: bool,
    /// It serves the built-in file tools.
    pub worker: bool,
    /// It is observed.
    pub observed: bool,
}

/// A call as it is handed over.
#[derive(Debug)]
pub struct Call {
    /// What is to be done.
    pub handover: Handover,
    /// Standard input, output and error.
    pub streams: [OwnedFd; 3],
    /// Leads to the agent.
    pub agent: OwnedFd,
}

impl Call {
    /// Waits for one.
    pub fn receive(from: &OwnedFd) -> Result<Self, MessageError> {
        receive(from.as_fd()).and_then(Self::of)
    }

    /// Waits for one and hands it on.
    pub fn forward(from: &OwnedFd, to: &OwnedFd) -> Result<Self, MessageError> {
        forward(from.as_fd(), to.as_fd()).and_then(Self::of)
    }

    fn of((handover, descriptors): (Handover, Vec<OwnedFd>)) -> Result<Self, MessageError> {
        let [stdin, stdout, stderr, agent] = <[OwnedFd; 4]>::try_from(descriptors).map_err(|_| MessageError::Closed)?;
        Ok(Self { handover, streams: [stdin, stdout, stderr], agent })
    }

    /// Hands it over.
    pub fn send(&self, to: &OwnedFd) -> Result<(), MessageError> {
        let [stdin, stdout, stderr] = &self.streams;
        send(to.as_fd(), &self.handover, &[stdin.as_fd(), stdout.as_fd(), stderr.as_fd(), self.agent.as_fd()])
    }
}

/// Confines this process and becomes the program of the call. Returns only on failure, which it has told whoever waits for the call.
///
/// A sandbox that is made ahead is confined before it knows its call, and waits for that; any other has its call from the beginning.
pub fn enter(plan: &Plan, filters: &Filters, role: Role, inherited: Inherited, applied: Applied) {
    let handover = &inherited.handover;
    let begun = |call: Call| {
        let program = begin(plan, role, &call, inherited.terminal.as_ref());
        (call, program)
    };
    let known = if role.ahead { None } else { Call::receive(handover).ok().map(begun) };
    if role.ahead {
        // Before it is confined: its filter may refuse what the steps on the way to it need.
        rehearsal::hand_over();
        if role.worker {
            rehearsal::serve();
        }
    }
    let confined = confine(plan, filters, role, &inherited, applied);
    let known = match known {
        None if role.ahead && confined.is_ok() && send(handover.as_fd(), &Ready, &[]).is_ok() => {
            Call::receive(handover).ok().map(begun).filter(|_| inherited.begin.as_ref().is_some_and(warm::may_begin))
        }
        known => known,
    };
    // Nobody waits for a call that was never handed over, or is another's by now.
    let Some((call, program)) = known else { return };
    let failure = match program.and_then(|program| Ok((program, confined?))) {
        Err(failure) => failure,
        Ok((program, applied)) => match send(call.agent.as_fd(), &FromSandbox::Started(applied), &[]) {
            Err(error) => Failure::new("report the start", error.to_string()),
            Ok(()) => become_program(&call.handover.launch, program, &inherited.init),
        },
    };
    let _ = send(call.agent.as_fd(), &failure.message(), &[]);
}

/// What needs no knowledge of the call.
///
/// The order matters. The session and the terminal come first, while the terminal can still be taken. Capabilities go before Landlock, because
/// nothing after needs them, and seccomp is last, because it forbids what the steps before it do.
fn confine(plan: &Plan, filters: &Filters, role: Role, inherited: &Inherited, mut applied: Applied) -> Result<Applied, Failure> {
    if let Some(group) = &inherited.group {
        // "0" is whoever writes it (cgroups(7)).
        nix::unistd::write(group, b"0").map_err(|errno| Failure::errno("enter the call's control group", errno))?;
    }
    setsid().map_err(|errno| Failure::errno("start a new session", errno))?;
    if let Some(terminal) = &inherited.terminal {
        sys::set_controlling_terminal(terminal.as_fd()).map_err(|error| Failure::system("take the terminal", &error))?;
    }
    sys::close_on_exec_from(3).map_err(|error| Failure::system("close inherited descriptors", &error))?;
    sys::reset_signals();
    nix::sys::prctl::set_no_new_privs().map_err(|errno| Failure::errno("set no_new_privs", errno))?;
    if plan.applies(Layer::Namespaces) {
        sys::drop_capabilities().map_err(|error| Failure::system("drop all capabilities", &error))?;
    }
    if plan.applies(Layer::Landlock) {
        applied.landlock_abi = landlock::restrict(plan)?;
    }
    if role.observed {
        observe::wait_for_observer()?;
    }
    if plan.applies(Layer::Seccomp) {
        if role.worker {
            filters.install()?;
        } else if let Some(listener) = filters.install_reporting()? {
            send(inherited.init.as_fd(), &ToInit::Listener, &[listener.as_fd()])
                .map_err(|error| Failure::new("hand on the listener of the system call filter", error.to_string()))?;
        }
        applied.seccomp_allowed = filters.allowed;
    }
    Ok(applied)
}

/// What the call itself says: its streams, its limits, its folder and its program. Nothing of it needs a privilege.
fn begin(plan: &Plan, role: Role, call: &Call, terminal: Option<&OwnedFd>) -> Result<Option<Executable>, Failure> {
    let Call { handover: Handover { launch, .. }, streams, .. } = call;
    let program = match &launch.program {
        Program::Exec(arguments) | Program::Observed(arguments) => Some(Executable::new(arguments, &launch.environment)?),
        Program::Worker | Program::Probe | Program::Steps | Program::Remote => None,
    };
    take_streams(streams, terminal, launch.terminal_streams)?;
    limits::apply(&plan.limits, role.worker || !plan.applies(Layer::Namespaces))?;
    chdir(&launch.cwd).map_err(|errno| Failure::errno("enter the working folder", errno).about(&launch.cwd))?;
    Ok(program)
}

fn become_program(launch: &Launch, program: Option<Executable>, init: &OwnedFd) -> Failure {
    match (program, &launch.program) {
        (Some(executable), _) => executable.run(),
        (None, Program::Probe) => attempt(),
        (None, Program::Steps) => steps(),
        (None, Program::Remote) => pass_on(&launch.environment),
        (None, _) => work(&launch.cwd, init),
    }
}

fn take_streams(streams: &[OwnedFd; 3], terminal: Option<&OwnedFd>, by_terminal: [bool; 3]) -> Result<(), Failure> {
    let step = "set up the standard streams";
    for stream in streams {
        // From an open folder every path below and beside it can be reached, past all that the view covers or leaves out.
        let kind = SFlag::from_bits_truncate(fstat(stream).map_err(|errno| Failure::errno(step, errno))?.st_mode & SFlag::S_IFMT.bits());
        if kind == SFlag::S_IFDIR {
            return Err(Failure::new(step, "a folder was given as standard input, output or error; give a file, a pipe or /dev/null"));
        }
    }
    let [stdin, stdout, stderr] = streams;
    let stream = |number: usize, own| terminal.filter(|_| by_terminal[number]).unwrap_or(own);
    dup2_stdin(stream(0, stdin))
        .and_then(|()| dup2_stdout(stream(1, stdout)))
        .and_then(|()| dup2_stderr(stream(2, stderr)))
        .map_err(|errno| Failure::errno(step, errno))
}

/// Reads the one request of a process that does not become a program.
fn request<T: DeserializeOwned>() -> Result<T, Failure> {
    let step = "read the request";
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(REQUEST_CAP + 1).read_to_end(&mut bytes).map_err(|error| Failure::system(step, &error))?;
    if bytes.len() as u64 > REQUEST_CAP {
        return Err(Failure::new(step, "it is too long"));
    }
    serde_json::from_slice(&bytes).map_err(|error| Failure::new(step, error.to_string()))
}

/// Makes one attempt of the self-test, with the descriptors that a program would have after its exec.
fn attempt() -> Failure {
    if let Err(error) = sys::close_range(3, u32::MAX) {
        return Failure::system("close inherited descriptors", &error);
    }
    match request().map(|request| selftest::inside::serve(&request)) {
        Ok(()) => sys::exit_now(0),
        Err(failure) => failure,
    }
}

/// Tries the steps of a certificate, likewise.
fn steps() -> Failure {
    if let Err(error) = sys::close_range(3, u32::MAX) {
        return Failure::system("close inherited descriptors", &error);
    }
    match request().map(|steps: Vec<certificate::Step>| certificate::inside::serve(&steps)) {
        Ok(()) => sys::exit_now(0),
        Err(failure) => failure,
    }
}

/// Passes messages on to a server that is reached over HTTP.
fn pass_on(environment: &[(String, String)]) -> Failure {
    if let Err(error) = sys::close_range(3, u32::MAX) {
        return Failure::system("close inherited descriptors", &error);
    }
    // What it says stands where a server's own last words would.
    let code = mcp::inside::serve(environment).map_or_else(
        |why| {
            let _ = writeln!(std::io::stderr(), "{why}");
            1
        },
        |()| 0,
    );
    sys::exit_now(code)
}

/// Serves one request of a built-in file tool, without starting any program.
fn work(cwd: &Path, init: &OwnedFd) -> Failure {
    let request = match request() {
        Ok(request) => request,
        Err(failure) => return failure,
    };
    let reply = worker::serve(&request, cwd);
    let written = serde_json::to_vec(&reply).map_err(std::io::Error::from).and_then(|bytes| {
        let mut out = std::io::stdout().lock();
        out.write_all(&bytes).and_then(|()| out.flush())
    });
    if let Err(error) = written {
        return Failure::system("write the reply", &error);
    }
    let _ = sys::close_range(0, 2);
    let _ = send(init.as_fd(), &ToInit::Done(sys::usage(UsageWho::RUSAGE_SELF)), &[]);
    // As the init does at its end: those whom this word has woken would wait for the processor until this memory is taken apart.
    let _ = nix::sched::sched_yield();
    sys::exit_now(0)
}

struct Executable {
    candidates: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Executable {
    fn new(arguments: &[String], environment: &[(String, String)]) -> Result<Self, Failure> {
        let step = "start the program";
        let Some(name) = arguments.first().filter(|name| !name.is_empty()) else {
            return Err(Failure::new(step, "no program was named"));
        };
        let path = environment.iter().find(|(key, _)| key == "PATH").map_or("", |(_, value)| value.as_str());
        let candidates: Vec<String> = if name.contains('/') {
            vec![name.clone()]
        } else {
            path.split(':').filter(|folder| !folder.is_empty()).map(|folder| format!("{folder}/{name}")).collect()
        };
        let strings = |list: Vec<String>| -> Result<Vec<CString>, Failure> {
            list.into_iter()
                .map(|text| CString::new(text).map_err(|_| Failure::new(step, "a NUL byte in an argument or variable")))
                .collect()
        };
        Ok(Self {
            candidates: strings(candidates)?,
            arguments: strings(arguments.to_vec())?,
            environment: strings(environment.iter().map(|(key, value)| format!("{key}={value}")).collect())?,
        })
    }

    fn run(&self) -> Failure {
        let mut refused = Errno::ENOENT;
        for candidate in &self.candidates {
            let Err(errno) = execve(candidate, &self.arguments, &self.environment);
            match errno {
                Errno::ENOENT | Errno::ENOTDIR => {}
                // As execvp(3): a candidate that may not be run does not end the search, but is what is reported.
                Errno::EACCES => refused = errno,
                errno => {
                    refused = errno;
                    break;
                }
            }
        }
        let name = self.arguments.first().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Failure::errno("start the program", refused).about(Path::new(&name))
    }
}
