//! The last steps before a program runs for the model, in the process that will become it.

use std::{
    ffi::CString,
    io::{Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use nix::{
    errno::Errno,
    sys::stat::{SFlag, fstat},
    unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, execve, setsid},
};
use serde::de::DeserializeOwned;

use super::{Failure, landlock, limits, observe, seccomp::Filters};
use crate::{
    certificate, mcp,
    policy::Layer,
    sandbox::{
        message::{Applied, FromSandbox, Launch, Program, send},
        plan::Plan,
        sys,
    },
    selftest, worker,
};

/// The longest request of a file worker in bytes: the longest patch, with room for its JSON.
pub const REQUEST_CAP: u64 = 16 * 1024 * 1024;

/// What the process reports to and enters on its way.
#[derive(Debug)]
pub struct Ends<'a> {
    /// Leads to the agent.
    pub agent: BorrowedFd<'a>,
    /// Leads to the sandbox's init.
    pub init: BorrowedFd<'a>,
    /// Where to enter the call's control group.
    pub group: Option<OwnedFd>,
}

/// Confines this process and becomes the program. Returns only on failure.
///
/// The order matters. The session and the streams come first, while descriptors can still be moved. Limits and the folder need no
/// privilege that the later steps take. Capabilities go before Landlock, because nothing after needs them, and seccomp is last,
/// because it forbids what the steps before it do.
pub fn enter(plan: &Plan, filters: &Filters, launch: &Launch, streams: [OwnedFd; 3], ends: Ends<'_>, applied: Applied) -> Failure {
    let Ends { agent, init, group } = ends;
    let program = match &launch.program {
        Program::Exec(arguments) | Program::Observed(arguments) => match Executable::new(arguments, &launch.environment) {
            Ok(executable) => Some(executable),
            Err(failure) => return failure,
        },
        Program::Worker | Program::Probe | Program::Steps | Program::Remote => None,
    };
    let worker = launch.program == Program::Worker;
    let confined = (|| {
        if let Some(group) = group {
            // "0" is whoever writes it (cgroups(7)).
            nix::unistd::write(&group, b"0").map_err(|errno| Failure::errno("enter the call's control group", errno))?;
        }
        let terminal = launch.terminal.is_some();
        new_session(streams, terminal)?;
        sys::close_on_exec_from(3).map_err(|error| Failure::system("close inherited descriptors", &error))?;
        sys::reset_signals();
        limits::apply(&plan.limits, worker || !plan.applies(Layer::Namespaces))?;
        chdir(&launch.cwd).map_err(|errno| Failure::errno("enter the working folder", errno).about(&launch.cwd))?;
        nix::sys::prctl::set_no_new_privs().map_err(|errno| Failure::errno("set no_new_privs", errno))?;
        if plan.applies(Layer::Namespaces) {
            sys::drop_capabilities().map_err(|error| Failure::system("drop all capabilities", &error))?;
        }
        let mut applied = applied;
        if plan.applies(Layer::Landlock) {
            applied.landlock_abi = landlock::restrict(plan)?;
        }
        if matches!(launch.program, Program::Observed(_)) {
            observe::wait_for_observer()?;
        }
        if plan.applies(Layer::Seccomp) {
            if !worker {
                if let Some(listener) = filters.install_reporting()? {
                    send(init, &FromSandbox::Listener, &[listener.as_fd()])
                        .map_err(|error| Failure::new("hand on the listener of the system call filter", error.to_string()))?;
                }
            } else {
                filters.install()?;
            }
            applied.seccomp_allowed = filters.allowed;
        }
        send(agent, &FromSandbox::Started(applied), &[]).map_err(|error| Failure::new("report the start", error.to_string()))
    })();
    match (confined, program) {
        (Err(failure), _) => failure,
        (Ok(()), Some(executable)) => executable.run(),
        (Ok(()), None) if launch.program == Program::Probe => attempt(),
        (Ok(()), None) if launch.program == Program::Steps => steps(),
        (Ok(()), None) if launch.program == Program::Remote => pass_on(&launch.environment),
        (Ok(()), None) => work(&launch.cwd),
    }
}

fn new_session(streams: [OwnedFd; 3], terminal: bool) -> Result<(), Failure> {
    let step = "set up the standard streams";
    setsid().map_err(|errno| Failure::errno("start a new session", errno))?;
    for stream in &streams {
        // From an open folder every path below and beside it can be reached, past all that the view covers or leaves out.
        let kind = SFlag::from_bits_truncate(fstat(stream).map_err(|errno| Failure::errno(step, errno))?.st_mode & SFlag::S_IFMT.bits());
        if kind == SFlag::S_IFDIR {
            return Err(Failure::new(step, "a folder was given as standard input, output or error; give a file, a pipe or /dev/null"));
        }
    }
    let [stdin, stdout, stderr] = &streams;
    if terminal && let Some(stream) = streams.iter().find(|stream| nix::unistd::isatty(stream.as_fd()).unwrap_or(false)) {
        sys::set_controlling_terminal(stream.as_fd()).map_err(|error| Failure::system("take the terminal", &error))?;
    }
    dup2_stdin(stdin).and_then(|()| dup2_stdout(stdout)).and_then(|()| dup2_stderr(stderr)).map_err(|errno| Failure::errno(step, errno))
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
fn work(cwd: &Path) -> Failure {
    let request = match request() {
        Ok(request) => request,
        Err(failure) => return failure,
    };
    let reply = worker::serve(&request, cwd);
    let written = serde_json::to_vec(&reply).map_err(std::io::Error::from).and_then(|bytes| {
        let mut out = std::io::stdout().lock();
        out.write_all(&bytes).and_then(|()| out.flush())
    });
    match written {
        Ok(()) => sys::exit_now(0),
        Err(error) => Failure::system("write the reply", &error),
    }
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
