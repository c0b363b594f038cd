//! The agent's side of the launcher: the only way by which portcullis starts anything.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::socket::{AddressFamily, SockFlag, SockType, socketpair},
};

use super::{
    message::{Expected, FromSandbox, Launch, MessageError, ToLauncher, ToSandbox, receive, send},
    plan::Plan,
    stage,
};
use crate::{
    egress::{Connections, Egress},
    policy::host::HostLists,
};

/// Why nothing could be launched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// This system has no sandbox that portcullis can use.
    #[error("there is no sandbox for this system; portcullis runs on Linux and macOS")]
    Unsupported,
    /// The launcher process did not start.
    #[error("the launcher could not be started: {0}")]
    Start(#[source] io::Error),
    /// The message to or from it was not passed on.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The sandbox could not be made, or the program not started.
    #[error("could not {step}: {reason}")]
    Refused {
        /// The step of the ritual.
        step: String,
        /// Why, with the remedy.
        reason: String,
        /// The system's error number.
        errno: Option<i32>,
    },
    /// The sandbox ended without saying how.
    #[error("the sandbox ended without a word; it may have been killed from outside, or have run out of memory")]
    Died,
}

/// The handle to a running launcher. Dropping it ends every sandbox, cleans up, and waits for both.
#[derive(Debug)]
pub struct Launcher {
    control: Option<OwnedFd>,
    process: Child,
    plans: AtomicU32,
    /// The hosts of each plan that lists some.
    hosts: Mutex<HashMap<u32, HostLists>>,
    /// Started with the first plan that lists hosts.
    egress: Mutex<Option<Egress>>,
}

impl Launcher {
    /// Starts the launcher. To be called before this process has a second thread, so that nothing else's descriptors or locks are copied.
    pub fn start() -> Result<Self, LaunchError> {
        if !cfg!(any(target_os = "linux", target_os = "macos")) {
            return Err(LaunchError::Unsupported);
        }
        let (control, process) = start_stage(stage::STAGE)?;
        Ok(Self { control: Some(control), process, plans: AtomicU32::new(0), hosts: Mutex::default(), egress: Mutex::new(None) })
    }

    /// The process id of the launcher.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Hands a plan to the launcher and returns the number by which launches name it.
    pub fn register(&self, plan: Plan) -> Result<u32, LaunchError> {
        self.register_with(plan, None)
    }

    /// The same for a plan under which there will be many such calls: while none runs, a sandbox is made for the next.
    pub fn register_for(&self, plan: Plan, expected: Expected) -> Result<u32, LaunchError> {
        self.register_with(plan, Some(expected))
    }

    fn register_with(&self, plan: Plan, expected: Option<Expected>) -> Result<u32, LaunchError> {
        let id = self.plans.fetch_add(1, Ordering::Relaxed);
        if let Some(hosts) = &plan.hosts {
            let mut egress = self.egress.lock().unwrap_or_else(PoisonError::into_inner);
            if egress.is_none() {
                *egress = Some(Egress::start()?);
            }
            self.hosts.lock().unwrap_or_else(PoisonError::into_inner).insert(id, hosts.clone());
        }
        self.tell(&ToLauncher::Register { id, plan: Box::new(plan), expected }, &[])?;
        Ok(id)
    }

    /// Starts a call with the given standard input, output and error.
    pub fn launch(&self, launch: Launch, streams: [BorrowedFd<'_>; 3]) -> Result<Call, LaunchError> {
        let (ours, theirs) = pair().map_err(MessageError::from)?;
        let [stdin, stdout, stderr] = streams;
        self.tell(&ToLauncher::Launch(launch), &[stdin, stdout, stderr, theirs.as_fd()])?;
        Ok(Call { socket: ours })
    }

    /// Has the proxy serve a call of a plan that lists hosts, on the listening socket of [`FromSandbox::Proxy`].
    ///
    /// # Errors
    /// If the proxy is gone, or the plan lists none.
    pub fn serve(&self, plan: u32, listener: BorrowedFd<'_>) -> Result<Connections, LaunchError> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner).get(&plan).cloned();
        let mut egress = self.egress.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(hosts), Some(running)) = (hosts, egress.as_ref()) else { return Err(MessageError::Closed.into()) };
        // One that was killed is started anew, once for a call.
        let served = running.serve(listener, &hosts).or_else(|_| egress.insert(Egress::start()?).serve(listener, &hosts));
        served.map_err(|_| LaunchError::Refused {
            step: "have the proxy serve the call".to_owned(),
            reason:
                "the proxy does not run, so that nothing that the policy lists can be reached: it could not be confined here, or was killed"
                    .to_owned(),
            errno: None,
        })
    }

    fn tell(&self, message: &ToLauncher, descriptors: &[BorrowedFd<'_>]) -> Result<(), LaunchError> {
        let control = self.control.as_ref().ok_or(MessageError::Closed)?;
        Ok(send(control.as_fd(), message, descriptors)?)
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        self.control = None;
        let _ = self.process.wait();
    }
}

/// A running call. Dropping it ends the call and everything that it started.
#[derive(Debug)]
pub struct Call {
    socket: OwnedFd,
}

impl Call {
    /// The next message of the sandbox, and the terminal's controlling end if it comes with it. Blocks.
    /// [`MessageError::Closed`] says that the sandbox is gone and cleaned up after.
    pub fn next(&self) -> Result<(FromSandbox, Option<OwnedFd>), MessageError> {
        let (message, mut descriptors) = receive(self.socket.as_fd())?;
        Ok((message, descriptors.pop()))
    }

    /// Tells the sandbox something. That it is gone already is no error.
    pub fn tell(&self, message: ToSandbox) {
        let _ = send(self.socket.as_fd(), &message, &[]);
    }

    /// Makes [`Self::next`] return `EAGAIN` instead of blocking, for use with an event loop.
    pub fn set_nonblocking(&self) -> Result<(), Errno> {
        let flags = OFlag::from_bits_truncate(fcntl(&self.socket, FcntlArg::F_GETFL)?);
        fcntl(&self.socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
    }
}

impl AsFd for Call {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Call {
    fn as_raw_fd(&self) -> i32 {
        self.socket.as_raw_fd()
    }
}

/// This program. On Linux it is the very file that runs, whatever has become of its name.
pub(crate) fn own_program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { std::env::current_exe() }
}

/// Starts another stage of this program, with nothing of this process but one end of a pair.
#[allow(clippy::disallowed_methods)]
pub(crate) fn start_stage(stage: &str) -> Result<(OwnedFd, Child), LaunchError> {
    let (ours, theirs) = pair().map_err(|errno| LaunchError::Start(errno.into()))?;
    // The number must survive the exec, in this child only: it is made inheritable on a copy that is closed right after.
    let inherited = fcntl(&theirs, FcntlArg::F_DUPFD(stage::CONTROL + 7)).map_err(|errno| LaunchError::Start(errno.into()))?;
    let inherited = super::sys::own(inherited).map_err(LaunchError::Start)?;
    let mut command = stage_command(stage)?;
    command.arg(stage).arg(inherited.as_raw_fd().to_string()).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let process = command.spawn().map_err(LaunchError::Start)?;
    Ok((ours, process))
}

#[cfg(not(target_os = "macos"))]
#[allow(clippy::disallowed_methods)]
fn stage_command(_stage: &str) -> Result<Command, LaunchError> {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(own_program().map_err(LaunchError::Start)?);
    command.arg0("portcullis");
    Ok(command)
}

/// The proxy is confined from outside: it cannot do so by itself.
#[cfg(target_os = "macos")]
#[allow(clippy::disallowed_methods)]
fn stage_command(stage: &str) -> Result<Command, LaunchError> {
    use super::macos::{
        arguments::{SANDBOX_EXEC, arguments},
        proxy,
    };
    let own = own_program().and_then(std::fs::canonicalize).map_err(LaunchError::Start)?;
    if stage != crate::egress::handle::STAGE {
        return Ok(Command::new(own));
    }
    let profile = proxy::profile(&own).map_err(|refusal| LaunchError::Start(io::Error::other(refusal)))?;
    let mut command = Command::new(SANDBOX_EXEC);
    command.args(arguments(&profile, &[own.display().to_string()]));
    Ok(command)
}

pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    #[cfg(target_os = "linux")]
    let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    #[cfg(not(target_os = "linux"))]
    let (one, other) = {
        let (one, other) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::empty())?;
        super::sys::close_on_exec(&one)?;
        super::sys::close_on_exec(&other)?;
        (one, other)
    };
    // A message that is longer than the buffer would be refused by the kernel; asking for more than the system's maximum is harmless.
    for socket in [&one, &other] {
        let _ = nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::SndBuf, &(2 * super::message::MESSAGE_CAP));
    }
    Ok((one, other))
}
