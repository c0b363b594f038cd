//! The launcher's side: a small process with one thread, no environment and no secrets, whose only work is to make sandboxes.
//!
//! It is a stage of the same binary, entered first thing in `main`. Forking from a process this small costs a fraction of what it
//! costs from one with a runtime and threads, and there is nothing in its memory that a sandbox should not have.

use std::{
    collections::HashMap,
    io::{PipeReader, Read},
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
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
        Failure, cgroup,
        init::{self, Call, namespace_flags},
        made::{self, Made},
        placeholder::{Placeholders, clean_abandoned},
        probe::{NAMESPACE_REMEDY, NAMESPACES_REACHED},
        recover::Record,
        remove,
        seccomp::{self, Audience, Filters},
    },
    message::{Launch, MessageError, Program, ToLauncher, Undone, receive, send},
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
    let Some(control) = take_control(control) else { return 1 };
    let Ok(mut stage) = Stage::new() else { return 1 };
    stage.serve(&control)
}

/// The control socket that an argument names, in a process that has nothing else of the agent's: a session of its own, because a Ctrl-C meant for the
/// agent would end this process before it has cleaned up, and no other descriptor.
pub(crate) fn take_control(argument: &str) -> Option<OwnedFd> {
    let control = argument.parse::<i32>().ok().filter(|number| *number >= CONTROL)?;
    let _ = setsid();
    let _ = sys::close_range(control.unsigned_abs() + 1, u32::MAX);
    if control > CONTROL {
        let _ = sys::close_range(CONTROL.unsigned_abs(), control.unsigned_abs() - 1);
    }
    let _ = nix::sys::prctl::set_dumpable(false);
    sys::own(control).ok()
}

/// How long a sandbox may take to end its call and to sweep before it is killed.
const END_PATIENCE: Duration = Duration::from_secs(20);

struct Registered {
    plan: Plan,
    made: Made,
    program: Filters,
    worker: Filters,
}

struct Living {
    plan: u32,
    /// Kept until all is clean, so that the end of this connection tells the agent so.
    _socket: OwnedFd,
    /// The repositories that the call made, once it has ended.
    report: PipeReader,
    /// What is removed once it has ended in order.
    record: Option<Record>,
    /// Removed with this.
    _group: Option<cgroup::Group>,
}

struct Stage {
    plans: HashMap<u32, Result<Registered, Failure>>,
    living: HashMap<Pid, Living>,
    /// By plan; two plans of one workspace hold their own.
    placeholders: HashMap<u32, Placeholders>,
    /// What earlier calls, killed with all that watched them, had left behind; told with the next one.
    recovered: Vec<Undone>,
    launches: u64,
    /// The session's control group; `Some(None)` where none is delegated.
    group: Option<Option<cgroup::Session>>,
    signals: SignalFd,
    /// A pipe on which nothing is ever written: both ends are here, and every sandbox has the one for reading.
    alive: (OwnedFd, Option<OwnedFd>),
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
            recovered: Vec::new(),
            launches: 0,
            group: None,
            signals: SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?,
            alive: {
                let (read, write) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
                (read, Some(write))
            },
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
            let made = Made::load(&plan.journals, &plan.workspace);
            Ok(Registered { plan, made, program, worker })
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
            && let Some((held, recovered)) = Placeholders::hold(plan)?
        {
            self.placeholders.insert(launch.plan, held);
            self.recovered.extend(recovered);
        }
        let (record, record_end) = if self.placeholders.contains_key(&launch.plan) {
            self.launches += 1;
            Record::begin(plan, self.launches).map(|(record, file)| (Some(record), Some(file.into())))?
        } else {
            (None, None)
        };
        let recovered = std::mem::take(&mut self.recovered);
        let kept = socket.try_clone().map_err(|error| Failure::system(step, &error))?;
        let (identity, launcher) = ((geteuid(), getegid()), std::process::id());
        let alive = self.alive.0.try_clone().map_err(|error| Failure::system(step, &error))?;
        let session = self.group.get_or_insert_with(|| cgroup::Session::begin(&plan.limits));
        // One that cannot be made after all is no reason to run without a limit: the init watches where there is none.
        let (group, handle) = session.as_mut().and_then(|session| session.call(&plan.limits).ok()).unzip();
        let (report, report_end) = std::io::pipe().map_err(|error| Failure::system(step, &error))?;
        let made = registered.made.living();
        let special = match &launch.program {
            Program::Observed(_) => Some(seccomp::compile(plan.network, Audience::Observed)?),
            Program::Remote => Some(seccomp::compile(plan.network, Audience::Proxy)?),
            _ => None,
        };
        match sys::clone_into_namespaces(namespace_flags(plan)) {
            Ok(Fork::Parent(child)) => {
                self.living.insert(child, Living { plan: launch.plan, _socket: kept, report, record, _group: group });
                Ok(())
            }
            Ok(Fork::Child) => {
                let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
                let ordinary = if launch.program == Program::Worker { &registered.worker } else { &registered.program };
                let filters = special.as_ref().unwrap_or(ordinary);
                init::run(
                    Call {
                        plan,
                        filters,
                        launch,
                        streams,
                        alive,
                        identity,
                        launcher,
                        made,
                        report: report_end.into(),
                        record: record_end,
                        recovered,
                        group: handle,
                    },
                    socket,
                )
            }
            Err(error) => {
                let mut failure = Failure::system("make new namespaces", &error);
                if failure.errno == Some(libc::ENOSPC) {
                    // user_namespaces(7): the error for a limit, not for a disk.
                    failure.reason = NAMESPACES_REACHED.to_owned();
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
                    if let Some(mut ended) = ended {
                        if matches!(status, WaitStatus::Exited(..))
                            && let Some(record) = ended.record.take()
                        {
                            record.end();
                        }
                        let mut report = Vec::new();
                        let read = ended.report.by_ref().take(made::REPORT_CAP as u64).read_to_end(&mut report);
                        if read.is_ok() && !report.is_empty() {
                            // Two plans of one workspace, the one that only reads among them, know the same.
                            self.plans.values_mut().flatten().for_each(|registered| registered.made.add(&report));
                        }
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
        // The closing of this pipe tells each sandbox to end its call and to sweep.
        drop(self.alive.1.take());
        let end = Instant::now() + END_PATIENCE;
        for (pid, living) in std::mem::take(&mut self.living) {
            let status = loop {
                match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                    Ok(WaitStatus::StillAlive) if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
                    Ok(WaitStatus::StillAlive) => {
                        let _ = kill(pid, Signal::SIGKILL);
                        break waitpid(pid, None);
                    }
                    status => break status,
                }
            };
            if let (Ok(WaitStatus::Exited(..)), Some(record)) = (status, living.record) {
                record.end();
            }
        }
        self.group = None;
        self.clean_up();
        for registered in self.plans.values().flatten() {
            let private = &registered.plan.private;
            // Removing a tree follows no link in it. The name is looked at because nothing else may ever be removed here.
            if private.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PRIVATE_PREFIX)) {
                let _ = remove::tree(private);
            }
        }
    }
}
