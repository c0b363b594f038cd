//! The first process of a sandbox: it makes the namespaces' insides, starts the program, and outlives everything that the program
//! started, so that a call's processes die together.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
        stat::Mode,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Gid, Pid, Uid, sethostname},
};

use super::{Failure, enter::enter, seccomp::Filters, view};
use crate::{
    policy::{Layer, NetworkMode},
    sandbox::{
        message::{Applied, EndedBy, Exit, FromSandbox, Launch, ToSandbox, receive, send},
        plan::Plan,
        sys::{self, Fork},
    },
};

/// What the launcher hands to a new sandbox.
#[derive(Debug)]
pub struct Call<'a> {
    /// What to enforce.
    pub plan: &'a Plan,
    /// The compiled system call filter.
    pub filters: &'a Filters,
    /// What to run.
    pub launch: Launch,
    /// Standard input, output and error.
    pub streams: [OwnedFd; 3],
    /// The end of a pipe that closes when the launcher dies.
    pub alive: OwnedFd,
    /// The caller's user and group. In a new user namespace they cannot be asked for any more.
    pub identity: (Uid, Gid),
}

/// The flags of `clone(2)` for the namespaces that a plan asks for.
pub fn namespace_flags(plan: &Plan) -> libc::c_int {
    if !plan.applies(Layer::Namespaces) {
        return 0;
    }
    let network = if plan.network == NetworkMode::Open { 0 } else { libc::CLONE_NEWNET };
    libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | network
}

/// Runs a call to its end, in the process that `clone` made, and never returns. `socket` leads to the agent.
pub fn run(call: Call<'_>, socket: &OwnedFd) -> ! {
    let result = prepare_and_supervise(call, socket);
    if let Err(failure) = &result {
        let _ = send(socket.as_fd(), &failure.message(), &[]);
    }
    sys::exit_now(i32::from(result.is_err()))
}

fn prepare_and_supervise(call: Call<'_>, socket: &OwnedFd) -> Result<(), Failure> {
    let Call { plan, filters, launch, mut streams, alive, identity } = call;
    let mut keep: Vec<_> = streams.iter().chain([socket, &alive]).map(AsRawFd::as_raw_fd).collect();
    close_all_but(&mut keep)?;
    let private = plan.applies(Layer::Namespaces);
    let mut applied = Applied { process_limit: "rlimit".to_owned(), ..Applied::default() };
    if private {
        // The launcher's protection came along with the fork, and by it `/proc/self` belongs to root. Nothing that could attach to
        // this process runs in the sandbox yet.
        nix::sys::prctl::set_dumpable(true).map_err(|errno| Failure::errno("map the user into its namespace", errno))?;
        keep_identity(identity)?;
        sethostname("sandbox").map_err(|errno| Failure::errno("name the sandbox", errno))?;
        let view = view::build(plan)?;
        view::lock(identity)?;
        (applied.hidden, applied.protected) = (view.hidden, view.protected);
        view.process_limit.clone_into(&mut applied.process_limit);
        applied.namespaces = ["user", "mount", "pid", "ipc", "uts"].map(str::to_owned).to_vec();
        if plan.network != NetworkMode::Open {
            applied.namespaces.push("network".to_owned());
        }
    }
    nix::sys::prctl::set_dumpable(false).map_err(|errno| Failure::errno("hide the sandbox's init", errno))?;
    nix::sys::prctl::set_child_subreaper(true).map_err(|errno| Failure::errno("adopt orphans", errno))?;
    let terminal = match launch.terminal {
        Some(size) => Some(make_terminal(size, &launch, &mut streams, socket)?),
        None => None,
    };
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block().map_err(|errno| Failure::errno("watch for the end of processes", errno))?;
    match sys::fork().map_err(|error| Failure::system("fork", &error))? {
        Fork::Child => {
            // Without a PID namespace nothing else would end the program with its supervisor.
            let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
            let failure = enter(plan, filters, &launch, streams, socket.as_fd(), applied);
            let _ = send(socket.as_fd(), &failure.message(), &[]);
            sys::exit_now(126)
        }
        Fork::Parent(program) => {
            drop(streams);
            if private {
                sys::drop_capabilities().map_err(|error| Failure::system("drop all capabilities", &error))?;
            }
            let wall = launch.wall_ms.map_or(plan.wall(), |limit| plan.wall().min(Duration::from_millis(limit)));
            // A person who sits at the sandbox's terminal ends it when they are done; the model's calls never have one.
            let deadline = launch.terminal.is_none().then(|| Instant::now() + wall);
            let exit = Supervisor { program, private, socket, alive: &alive, terminal, deadline }.watch(&mask)?;
            let _ = send(socket.as_fd(), &FromSandbox::Exited(exit), &[]);
            Ok(())
        }
    }
}

/// Closes what the launcher had open, other calls' sockets above all.
fn close_all_but(keep: &mut [i32]) -> Result<(), Failure> {
    keep.sort_unstable();
    // The three standard ones lead to /dev/null; leaving them keeps their numbers from being used for something else.
    let mut first = 3;
    for descriptor in keep.iter().map(|number| u32::try_from(*number).unwrap_or(0)).chain([u32::MAX]) {
        if descriptor > first {
            let last = if descriptor == u32::MAX { u32::MAX } else { descriptor - 1 };
            sys::close_range(first, last).map_err(|error| Failure::system("close inherited descriptors", &error))?;
        }
        first = descriptor.saturating_add(1);
    }
    Ok(())
}

/// Maps the caller's own user and group to themselves: files keep their owners, and git its index (user_namespaces(7)).
pub fn keep_identity((user, group): (Uid, Gid)) -> Result<(), Failure> {
    let write =
        |file: &str, text: String| fs::write(file, text).map_err(|error| Failure::system("map the user into its namespace", &error));
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// A pseudo-terminal of the sandbox's own. Its controlling end goes to the agent, its other end replaces the streams that asked for it;
/// the person's own terminal never gets in.
fn make_terminal(size: (u16, u16), launch: &Launch, streams: &mut [OwnedFd; 3], socket: &OwnedFd) -> Result<OwnedFd, Failure> {
    let step = "make a terminal";
    let master = open("/dev/ptmx", OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| Failure::errno(step, errno))?;
    let peer = sys::terminal_peer(master.as_fd()).map_err(|error| Failure::system(step, &error))?;
    sys::set_window_size(master.as_fd(), size).map_err(|error| Failure::system(step, &error))?;
    for (stream, wanted) in streams.iter_mut().zip(launch.terminal_streams) {
        if wanted {
            *stream = peer.try_clone().map_err(|error| Failure::system(step, &error))?;
        }
    }
    send(socket.as_fd(), &FromSandbox::Terminal, &[master.as_fd()]).map_err(|error| Failure::new(step, error.to_string()))?;
    Ok(master)
}

struct Supervisor<'a> {
    program: Pid,
    private: bool,
    socket: &'a OwnedFd,
    alive: &'a OwnedFd,
    terminal: Option<OwnedFd>,
    deadline: Option<Instant>,
}

impl Supervisor<'_> {
    /// Waits for the program, the agent, the launcher or the clock, whichever is first, and ends everything that is left.
    fn watch(mut self, mask: &SigSet) -> Result<Exit, Failure> {
        let step = "watch the program";
        // Nothing in here can mount or unmount. So any change of the mounts comes from outside: a covered file was replaced on the
        // host, which takes its cover along (mount_namespaces(7)). The kernel reports it here as an exceptional condition
        // (proc_pid_mountinfo(5)).
        let mounts = match self.private {
            true => Some(fs::File::open("/proc/self/mountinfo").map_err(|error| Failure::system(step, &error))?),
            false => None,
        };
        let children =
            SignalFd::with_flags(mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(|errno| Failure::errno(step, errno))?;
        let mut status = None;
        let mut ended_by = None;
        while status.is_none() {
            let timeout = self.deadline.map_or(PollTimeout::NONE, |deadline| {
                let left = deadline.saturating_duration_since(Instant::now());
                PollTimeout::try_from(left.saturating_add(Duration::from_millis(1))).unwrap_or(PollTimeout::from(u16::MAX))
            });
            let mut sources = [
                PollFd::new(children.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.alive.as_fd(), PollFlags::POLLIN),
                PollFd::new(
                    mounts.as_ref().map_or(self.alive.as_fd(), AsFd::as_fd),
                    if mounts.is_some() { PollFlags::POLLPRI } else { PollFlags::empty() },
                ),
            ];
            match poll(&mut sources, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Failure::errno(step, errno)),
            }
            let [_, from_agent, from_launcher, from_outside] = sources.map(|source| source.any().unwrap_or(false));
            while let Ok(Some(_)) = children.read_signal() {}
            status = self.reap();
            if status.is_some() {
                break;
            }
            if from_launcher || (from_agent && !self.obey()) {
                break;
            }
            if from_outside {
                ended_by = Some(EndedBy::ViewChanged);
                break;
            }
            if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                ended_by = Some(EndedBy::Wall);
                break;
            }
        }
        self.end_all();
        if status.is_none() {
            status = Some(waitpid(self.program, None).unwrap_or(WaitStatus::Signaled(self.program, Signal::SIGKILL, false)));
        }
        while waitpid(None, None).is_ok() {}
        let (user_us, system_us, peak_bytes) = sys::children_usage();
        let (code, signal) = match status {
            Some(WaitStatus::Exited(_, code)) => (Some(code), None),
            Some(WaitStatus::Signaled(_, signal, _)) => (None, Some(signal as i32)),
            _ => (None, None),
        };
        Ok(Exit { code, signal, ended_by, user_us, system_us, peak_bytes })
    }

    fn reap(&self) -> Option<WaitStatus> {
        let mut own = None;
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(_) => return own,
                Ok(status) if status.pid() == Some(self.program) => own = Some(status),
                Ok(_) => {}
            }
        }
    }

    /// Does what the agent says; false when it is gone or says something that makes no sense, which ends the call.
    fn obey(&mut self) -> bool {
        match receive::<ToSandbox>(self.socket.as_fd()) {
            Ok((ToSandbox::Signal(number), _)) => {
                if let Ok(signal) = Signal::try_from(number) {
                    let _ = kill(Pid::from_raw(-self.program.as_raw()), signal);
                }
                true
            }
            Ok((ToSandbox::Resize(rows, columns), _)) => {
                if let Some(terminal) = &self.terminal {
                    let _ = sys::set_window_size(terminal.as_fd(), (rows, columns));
                }
                true
            }
            Err(_) => false,
        }
    }

    fn end_all(&self) {
        // As the first process of a PID namespace, -1 means everything in it and nothing outside.
        let all = if self.private { Pid::from_raw(-1) } else { Pid::from_raw(-self.program.as_raw()) };
        let _ = kill(all, Signal::SIGKILL);
    }
}
