//! The launcher's side: a small process with one thread, no environment and no secrets, whose only work is to make sandboxes.
//!
//! It is a stage of the same binary, entered first thing in `main`. Forking from a process this small costs a fraction of what it
//! costs from one with a runtime and threads, and there is nothing in its memory that a sandbox should not have.

use std::{
    collections::HashMap,
    os::fd::{AsFd, OwnedFd},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, getegid, geteuid, pipe2, setsid},
};

use super::{
    linux::{
        Failure,
        init::{self, Call, namespace_flags},
        placeholder::{Placeholders, clean_abandoned},
        probe::NAMESPACE_REMEDY,
        seccomp::{self, Audience, Filters},
    },
    message::{Launch, MessageError, Program, ToLauncher, receive, send},
    plan::{PRIVATE_PREFIX, Plan},
    sys::{self, Fork},
};
use crate::policy::Layer;

/// The first argument that makes this binary a launcher.
pub const STAGE: &str = "__launcher";
/// The lowest descriptor on which a launcher may find its control socket; the second argument names the one.
pub const CONTROL: i32 = 3;

/// Runs the launcher to its end on the control socket that the argument names. Returns its exit code: 0 when the agent hung up, 1 when
/// it could not go on.
pub fn run(control: &str) -> i32 {
    let Some(control) = control.parse::<i32>().ok().filter(|number| *number >= CONTROL) else { return 1 };
    // Without a session of its own, a Ctrl-C meant for the agent would end the launcher before it has cleaned up.
    let _ = setsid();
    let _ = sys::close_range(control.unsigned_abs() + 1, u32::MAX);
    if control > CONTROL {
        let _ = sys::close_range(CONTROL.unsigned_abs(), control.unsigned_abs() - 1);
    }
    let _ = nix::sys::prctl::set_dumpable(false);
    let Ok(control) = sys::own(control) else { return 1 };
    let Ok(mut stage) = Stage::new() else { return 1 };
    stage.serve(&control)
}

struct Registered {
    plan: Plan,
    program: Filters,
    worker: Filters,
}

struct Living {
    plan: u32,
    /// Kept until all is clean, so that the end of this connection tells the agent so.
    _socket: OwnedFd,
}

struct Stage {
    plans: HashMap<u32, Result<Registered, Failure>>,
    living: HashMap<Pid, Living>,
    /// By plan; two plans of one workspace hold their own.
    placeholders: HashMap<u32, Placeholders>,
    signals: SignalFd,
    alive: (OwnedFd, OwnedFd),
}

impl Stage {
    fn new() -> Result<Self, Errno> {
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            mask.add(signal);
        }
        mask.thread_block()?;
        Ok(Self {
            plans: HashMap::new(),
            living: HashMap::new(),
            placeholders: HashMap::new(),
            signals: SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?,
            alive: pipe2(nix::fcntl::OFlag::O_CLOEXEC)?,
        })
    }

    fn serve(&mut self, control: &OwnedFd) -> i32 {
        let code = loop {
            let mut sources = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN), PollFd::new(control.as_fd(), PollFlags::POLLIN)];
            match poll(&mut sources, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => break 1,
            }
            let spoken = sources[1].any().unwrap_or(false);
            if self.told_to_stop() {
                break 0;
            }
            self.bury();
            if spoken {
                match receive::<ToLauncher>(control.as_fd()) {
                    Ok((ToLauncher::Register { id, plan }, _)) => self.register(id, *plan),
                    Ok((ToLauncher::Launch(launch), descriptors)) => {
                        let Ok([stdin, stdout, stderr, socket]) = <[OwnedFd; 4]>::try_from(descriptors) else { break 1 };
                        self.launch(launch, [stdin, stdout, stderr], socket);
                    }
                    Err(MessageError::Closed) => break 0,
                    Err(_) => break 1,
                }
            }
        };
        self.end_all();
        code
    }

    fn told_to_stop(&mut self) -> bool {
        let mut stop = false;
        while let Ok(Some(signal)) = self.signals.read_signal() {
            stop |= i32::try_from(signal.ssi_signo).is_ok_and(|number| number != Signal::SIGCHLD as i32);
        }
        stop
    }

    fn register(&mut self, id: u32, plan: Plan) {
        clean_abandoned(&plan.journals, &plan.workspace);
        let registered = (|| {
            let program = seccomp::compile(plan.network, Audience::Program)?;
            let worker = seccomp::compile(plan.network, Audience::Worker)?;
            Ok(Registered { plan, program, worker })
        })();
        self.plans.entry(id).or_insert(registered);
    }

    fn launch(&mut self, launch: Launch, streams: [OwnedFd; 3], socket: OwnedFd) {
        if let Err(failure) = self.try_launch(launch, streams, &socket) {
            self.clean_up();
            let _ = send(socket.as_fd(), &failure.message(), &[]);
        }
    }

    fn try_launch(&mut self, launch: Launch, streams: [OwnedFd; 3], socket: &OwnedFd) -> Result<(), Failure> {
        let step = "make the sandbox";
        let registered = match self.plans.get(&launch.plan) {
            Some(Ok(registered)) => registered,
            Some(Err(failure)) => return Err(failure.clone()),
            None => return Err(Failure::new(step, "its plan was never registered")),
        };
        let plan = &registered.plan;
        if plan.applies(Layer::Namespaces)
            && !self.placeholders.contains_key(&launch.plan)
            && let Some(held) = Placeholders::hold(plan)?
        {
            self.placeholders.insert(launch.plan, held);
        }
        let kept = socket.try_clone().map_err(|error| Failure::system(step, &error))?;
        let identity = (geteuid(), getegid());
        let alive = self.alive.0.try_clone().map_err(|error| Failure::system(step, &error))?;
        match sys::clone_into_namespaces(namespace_flags(plan)) {
            Ok(Fork::Parent(child)) => {
                self.living.insert(child, Living { plan: launch.plan, _socket: kept });
                Ok(())
            }
            Ok(Fork::Child) => {
                let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
                let filters = if launch.program == Program::Worker { &registered.worker } else { &registered.program };
                init::run(Call { plan, filters, launch, streams, alive, identity }, socket)
            }
            Err(error) => {
                let mut failure = Failure::system("make new namespaces", &error);
                if failure.errno == Some(libc::ENOSPC) {
                    // user_namespaces(7): the error for a limit, not for a disk.
                    failure.reason = "the limit user.max_user_namespaces is reached".to_owned();
                }
                Err(if plan.applies(Layer::Namespaces) { failure.with_remedy(NAMESPACE_REMEDY) } else { failure })
            }
        }
    }

    fn bury(&mut self) {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(_) => break,
                Ok(status) => {
                    let ended = status.pid().and_then(|pid| self.living.remove(&pid));
                    self.clean_up();
                    if let Some(ended) = ended {
                        // Its end may have come without a word; the closing of its socket, last of all, tells the agent.
                        drop(ended);
                    }
                }
            }
        }
    }

    /// Removes the placeholders of every plan under which nothing lives any more.
    fn clean_up(&mut self) {
        let idle: Vec<u32> =
            self.placeholders.keys().filter(|id| !self.living.values().any(|living| living.plan == **id)).copied().collect();
        for id in idle {
            if let Some(held) = self.placeholders.remove(&id) {
                held.release();
            }
        }
    }

    fn end_all(&mut self) {
        for pid in self.living.keys() {
            let _ = kill(*pid, Signal::SIGKILL);
        }
        for pid in std::mem::take(&mut self.living).into_keys() {
            let _ = waitpid(pid, None);
        }
        self.clean_up();
        for registered in self.plans.values().flatten() {
            let private = &registered.plan.private;
            // Removing a tree follows no link in it. The name is looked at because nothing else may ever be removed here.
            if private.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PRIVATE_PREFIX)) {
                let _ = std::fs::remove_dir_all(private);
            }
        }
    }
}
