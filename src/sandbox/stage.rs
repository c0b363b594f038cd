//! The launcher's side: a small process with one thread, no environment and no secrets, whose only work is to make sandboxes.
//!
//! It is a stage of the same binary, entered first thing in `main`. Forking from a process this small costs a fraction of what it
//! costs from one with a runtime and threads, and there is nothing in its memory that a sandbox should not have.

use std::{
    collections::{HashMap, HashSet},
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::Arc,
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
    launcher::pair,
    linux::{
        Failure, cgroup,
        enter::{Call, Role},
        init::{self, New, namespace_flags},
        made::Made,
        origin::Origin,
        placeholder::{Placeholders, clean_abandoned},
        probe::{NAMESPACE_REMEDY, NAMESPACES_REACHED},
        recover::Record,
        rehearsal, remove,
        report::{self, Heard},
        seccomp::{self, Audience, Filters},
        sweep,
        walk::Globs,
        warm::{Pool, Sandbox, Use},
    },
    message::{Expected, Handover, Launch, MessageError, Program, ToLauncher, Undone, receive, send},
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

const STEP: &str = "make the sandbox";
/// A call that has run for so long is one that goes on.
const CALM: Duration = Duration::from_secs(1);
/// The most bytes of what is told with a call of earlier ones.
const RECOVERED_CAP: usize = 32 * 1024;
/// How long a call waits for the places of what was laid over others before it.
const ROOM_PATIENCE: Duration = Duration::from_millis(500);
/// How long a sandbox may take to end its call and to sweep before it is killed.
const END_PATIENCE: Duration = Duration::from_secs(20);

struct Registered {
    plan: Plan,
    /// For what sandboxes are made ahead.
    expected: Option<Expected>,
    made: Made,
    globs: Arc<Globs>,
    program: Filters,
    worker: Filters,
    /// Whether something that calls write is laid over something else for each of them, which must not be done twice at a time. As it was when a sandbox
    /// was last made.
    has_copies: bool,
}

fn has_copies(plan: &Plan) -> bool {
    plan.roots.iter().any(|root| root.copy.is_some() && root.source.exists())
}

struct Living {
    plan: u32,
    /// Kept until all is clean, so that the end of this connection tells the agent so.
    _socket: OwnedFd,
    sandbox: Sandbox,
    since: Instant,
    /// Nobody can report any more, because all of it is gone.
    mute: bool,
}

impl Living {
    fn new(plan: u32, socket: OwnedFd, sandbox: Sandbox) -> Self {
        Self { plan, _socket: socket, sandbox, since: Instant::now(), mute: false }
    }

    /// What to wait on for its report.
    fn source(&self) -> Option<PollFd<'_>> {
        (!self.mute).then(|| PollFd::new(self.sandbox.report.as_fd(), PollFlags::POLLIN))
    }

    /// What was reported and not heard yet, without waiting.
    fn hear(&mut self) -> Option<Heard> {
        let mut source = [self.source()?];
        if poll(&mut source, PollTimeout::ZERO) != Ok(1) {
            return None;
        }
        let heard = report::hear(&mut self.sandbox.report);
        self.mute = heard.is_none();
        heard
    }
}

struct Stage {
    plans: HashMap<u32, Result<Registered, Failure>>,
    living: HashMap<Pid, Living>,
    /// Inits that have nothing left to do but to be taken apart by the kernel, which takes it longer than some calls, with their plans.
    leaving: HashMap<Pid, u32>,
    warm: Pool,
    /// By plan; two plans of one workspace hold their own.
    placeholders: HashMap<u32, Placeholders>,
    /// What earlier calls had left behind whose own agents could not be told; told with the next one.
    recovered: Vec<Undone>,
    /// Where the same is written down, until it is told.
    untold: Vec<Record>,
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
            leaving: HashMap::new(),
            warm: Pool::default(),
            placeholders: HashMap::new(),
            recovered: Vec::new(),
            untold: Vec::new(),
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
            let due = self.warm.expire();
            self.clean_up();
            // What is wanted ahead is made when nothing else is to be done.
            let calm = self.is_calm();
            let pending = self.warm.any_spoiled() || self.warm.any_spent() || self.to_make_ahead().is_some();
            let idle_work = calm && pending;
            let patience = match pending {
                true if calm => Some(Duration::ZERO),
                // A call that goes on is looked at again.
                true => Some(due.unwrap_or(CALM).min(CALM)),
                false => due,
            };
            let mut sources = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN), PollFd::new(control.as_fd(), PollFlags::POLLIN)];
            sources.extend(self.warm.sources());
            sources.extend(self.living.values().filter_map(|living| living.source()));
            let timeout = patience.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
            let happened = match poll(&mut sources, timeout) {
                Ok(happened) => happened > 0,
                Err(Errno::EINTR) => true,
                Err(_) => break 1,
            };
            let spoken = sources[1].any().unwrap_or(false);
            drop(sources);
            if self.told_to_stop() {
                break 0;
            }
            self.warm.hear();
            self.hear_reports();
            self.bury();
            if spoken {
                match receive::<ToLauncher>(control.as_fd()) {
                    Ok((ToLauncher::Register { id, plan, expected }, _)) => self.register(id, *plan, expected),
                    Ok((ToLauncher::Launch(launch), descriptors)) => {
                        let Ok([stdin, stdout, stderr, socket]) = <[OwnedFd; 4]>::try_from(descriptors) else { break 1 };
                        self.launch(launch, [stdin, stdout, stderr], socket);
                    }
                    Err(MessageError::Closed) => break 0,
                    Err(_) => break 1,
                }
            } else if !happened && idle_work && !self.warm.end_spoiled() {
                match self.to_make_ahead() {
                    Some(made_for) => self.make_ahead(made_for),
                    None => self.warm.close_spent(),
                }
            }
        };
        self.end_all();
        code
    }

    /// Whether no call has just begun: it has the machine for itself, and changes what a view would be made from.
    fn is_calm(&self) -> bool {
        self.living.values().all(|living| living.since.elapsed() > CALM)
    }

    /// For what a sandbox is to be made now. Not where something is laid over something else that a call may be writing.
    fn to_make_ahead(&self) -> Option<Use> {
        let fits = |made_for: &Use| {
            let registered = self.plans.get(&made_for.0).and_then(|registered| registered.as_ref().ok());
            registered.is_some_and(|registered| (self.living.is_empty() && self.leaving.is_empty()) || !registered.has_copies)
        };
        self.warm.wanted().into_iter().find(fits)
    }

    fn make_ahead(&mut self, made_for: Use) {
        let (plan, worker) = made_for;
        let role = Role { ahead: true, worker, observed: false };
        self.look_for_copies(plan);
        let Some(Ok(registered)) = self.plans.get(&plan) else { return self.warm.unwanted(made_for) };
        let origin = Origin::of(&registered.plan);
        match self.make(plan, role, None) {
            Ok(sandbox) => {
                self.warm.add(made_for, sandbox, origin);
                rehearsal::hand_over();
            }
            // Whoever wants one is told so when they do.
            Err(_) => self.warm.unwanted(made_for),
        }
    }

    /// Before a sandbox is made under a plan: whether it will have any.
    fn look_for_copies(&mut self, plan: u32) -> bool {
        let Some(Ok(registered)) = self.plans.get_mut(&plan) else { return false };
        registered.has_copies = has_copies(&registered.plan);
        registered.has_copies
    }

    fn told_to_stop(&mut self) -> bool {
        let mut stop = false;
        while let Ok(Some(signal)) = self.signals.read_signal() {
            stop |= i32::try_from(signal.ssi_signo).is_ok_and(|number| number != Signal::SIGCHLD as i32);
        }
        stop
    }

    fn register(&mut self, id: u32, mut plan: Plan, expected: Option<Expected>) {
        if plan.without_landlock && sys::landlock_abi().is_err() {
            plan.layers.retain(|layer| *layer != Layer::Landlock);
        }
        clean_abandoned(&plan.journals, &plan.workspace);
        let all_layers = [Layer::Namespaces, Layer::Landlock, Layer::Seccomp].into_iter().all(|layer| plan.applies(layer));
        let expected = expected.filter(|_| all_layers);
        let registered = (|| {
            let program = seccomp::compile(plan.network, Audience::Program)?;
            let worker = seccomp::compile(plan.network, Audience::Worker)?;
            let made = Made::load(&plan.journals, &plan.workspace);
            let same = |other: &&Registered| other.plan.deny_globs == plan.deny_globs && other.plan.protect_globs == plan.protect_globs;
            let known = self.plans.values().filter_map(|other| other.as_ref().ok()).find(same);
            let globs = known.map_or_else(|| sweep::globs(&plan), |other| Ok(Arc::clone(&other.globs)))?;
            let has_copies = has_copies(&plan);
            Ok(Registered { plan, expected, made, globs, program, worker, has_copies })
        })();
        self.plans.entry(id).or_insert(registered);
        if let Some(expected) = expected {
            self.warm.used((id, expected == Expected::FileTools));
        }
    }

    fn launch(&mut self, launch: Launch, streams: [OwnedFd; 3], socket: OwnedFd) {
        if let Err(failure) = self.try_launch(launch, streams, &socket) {
            self.clean_up();
            let _ = send(socket.as_fd(), &failure.message(), &[]);
        }
    }

    fn try_launch(&mut self, launch: Launch, streams: [OwnedFd; 3], socket: &OwnedFd) -> Result<(), Failure> {
        let plan = launch.plan;
        let (expected, has_copies) = match self.plans.get(&plan) {
            Some(Ok(registered)) => (registered.expected, registered.has_copies),
            Some(Err(failure)) => return Err(failure.clone()),
            None => return Err(Failure::new(STEP, "its plan was never registered")),
        };
        let system = |error: std::io::Error| Failure::system(STEP, &error);
        let kept = socket.try_clone().map_err(system)?;
        self.hear_reports();
        let made_for = (plan, launch.program == Program::Worker);
        let fits = launch.program.can_be_made_ahead() && launch.terminal.is_none();
        let role = Role { ahead: false, worker: made_for.1, observed: matches!(launch.program, Program::Observed(_)) };
        let program = launch.program.clone();
        let handover = Handover { launch, recovered: self.recovered_to_tell() };
        let mut call = Call { handover, streams, agent: socket.try_clone().map_err(system)? };
        let warm = if fits && expected.is_some_and(|expected| (expected == Expected::FileTools) == made_for.1) {
            self.warm.used(made_for);
            self.warm.hand(made_for, &call)
        } else {
            None
        };
        if warm.is_none() {
            if self.look_for_copies(plan) {
                self.make_room_for_copies();
            }
        } else if has_copies {
            // What this call writes is below what they show.
            let plans = &self.plans;
            self.warm.spoil(|(other, _)| plans.get(&other).is_some_and(|other| other.as_ref().is_ok_and(|plan| plan.has_copies)));
        }
        let (sandbox, handed) = match warm {
            Some(warm) => (warm, Ok(())),
            None => {
                let mut made = match self.make(plan, role, Some(&program)) {
                    Ok(made) => made,
                    Err(failure) => {
                        // Still to be told, with the next call that there is.
                        self.recovered.splice(0..0, call.handover.recovered);
                        return Err(failure);
                    }
                };
                // What was found to be undone while it was made.
                let more = self.recovered_to_tell();
                call.handover.recovered.extend(more);
                let handed = made.hand(&call);
                if handed.is_err() {
                    // It waits for what will not come.
                    let _ = kill(made.pid, Signal::SIGKILL);
                    self.recovered.append(&mut call.handover.recovered);
                }
                (made, handed)
            }
        };
        self.living.insert(sandbox.pid, Living::new(plan, kept, sandbox));
        handed
    }

    /// What earlier calls had left behind, as much of it as a message takes; the rest is told with later calls.
    fn recovered_to_tell(&mut self) -> Vec<Undone> {
        let mut room = RECOVERED_CAP;
        let fits = self.recovered.iter().take(sweep::REPORTED).take_while(|undone| {
            let length = serde_json::to_vec(undone).map_or(RECOVERED_CAP, |bytes| bytes.len() + 1);
            let fits = length <= room;
            room = room.saturating_sub(length);
            fits
        });
        let count = fits.count();
        let told = self.recovered.drain(..count).collect();
        if self.recovered.is_empty() {
            self.untold.drain(..).for_each(Record::discard);
        }
        told
    }

    /// Waits until nothing is laid any more over what the next sandbox lays something over: one place for what is written serves one at a time.
    fn make_room_for_copies(&mut self) {
        let registered = self.plans.iter().filter(|(_, plan)| plan.as_ref().is_ok_and(|plan| plan.has_copies));
        let copying: HashSet<u32> = registered.map(|(id, _)| *id).collect();
        let ended = self.warm.drain(|(plan, _)| copying.contains(&plan));
        let end = Instant::now() + ROOM_PATIENCE;
        loop {
            self.hear_reports();
            self.bury();
            let leaving = self.leaving.values().any(|plan| copying.contains(plan));
            if (!leaving && !ended.iter().any(|pid| self.warm.has(*pid))) || Instant::now() >= end {
                return;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Makes a sandbox under a plan, for a program that is known or for any that is like most.
    fn make(&mut self, id: u32, role: Role, program: Option<&Program>) -> Result<Sandbox, Failure> {
        let registered = match self.plans.get(&id) {
            Some(Ok(registered)) => registered,
            Some(Err(failure)) => return Err(failure.clone()),
            None => return Err(Failure::new(STEP, "its plan was never registered")),
        };
        let plan = &registered.plan;
        if plan.applies(Layer::Namespaces)
            && !self.placeholders.contains_key(&id)
            && let Some((held, recovered)) = Placeholders::hold(plan)?
        {
            self.placeholders.insert(id, held);
            self.recovered.extend(recovered);
        }
        let (record, record_end) = if self.placeholders.contains_key(&id) {
            self.launches += 1;
            Record::prepare(plan, self.launches).map(|(record, file)| (Some(record), Some(file.into())))?
        } else {
            (None, None)
        };
        let system = |error: std::io::Error| Failure::system(STEP, &error);
        let (identity, launcher) = ((geteuid(), getegid()), std::process::id());
        let alive = self.alive.0.try_clone().map_err(system)?;
        let session = self.group.get_or_insert_with(|| cgroup::Session::begin(&plan.limits));
        // One that cannot be made after all is no reason to run without a limit: the init watches where there is none.
        let (group, handle) = session.as_mut().and_then(|session| session.call(&plan.limits).ok()).unzip();
        let (report, report_end) = std::io::pipe().map_err(system)?;
        let made = registered.made.living();
        let special = match program {
            Some(Program::Observed(_)) => Some(seccomp::compile(plan.network, Audience::Observed)?),
            Some(Program::Remote) => Some(seccomp::compile(plan.network, Audience::Proxy)?),
            _ => None,
        };
        let presence = self.placeholders.get(&id).and_then(Placeholders::presence);
        let (to_init, init_end) = pair().map_err(|errno| Failure::errno(STEP, errno))?;
        let (begins, begin) = if role.ahead { std::io::pipe().map(Some) } else { Ok(None) }.map_err(system)?.unzip();
        match sys::clone_into_namespaces(namespace_flags(plan)) {
            Ok(Fork::Parent(pid)) => Ok(Sandbox { pid, handover: to_init, report, record, group, begin }),
            Ok(Fork::Child) => {
                let ordinary = if role.worker { &registered.worker } else { &registered.program };
                init::run(New {
                    plan,
                    filters: special.as_ref().unwrap_or(ordinary),
                    globs: &registered.globs,
                    role,
                    handover: init_end,
                    begin: begins,
                    alive,
                    identity,
                    launcher,
                    made,
                    report: report_end.into(),
                    record: record_end,
                    presence,
                    group: handle,
                })
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

    /// Takes what calls have reported so far. One that says that nothing is left of it but its init has ended.
    fn hear_reports(&mut self) {
        let (mut made, mut ended) = (Vec::new(), Vec::new());
        for (pid, living) in &mut self.living {
            if let Some(heard) = living.hear() {
                made.extend(heard.made);
                ended.extend(heard.ended.map(|told| (*pid, told)));
            }
        }
        self.add_made(&made);
        let ended: Vec<_> = ended.into_iter().filter_map(|(pid, told)| Some((pid, told, self.living.remove(&pid)?))).collect();
        if ended.is_empty() {
            return;
        }
        self.clean_up();
        for (pid, told, mut living) in ended {
            match living.sandbox.record.take() {
                Some(record) if told => record.discard(),
                Some(record) => {
                    self.recovered.extend(record.untold());
                    self.untold.push(record);
                }
                None => {}
            }
            self.leaving.insert(pid, living.plan);
            // The closing of its socket, last of all, tells the agent.
            drop(living);
        }
    }

    /// Two plans of one workspace, the one that only reads among them, know the same.
    fn add_made(&mut self, report: &[u8]) {
        if !report.is_empty() {
            self.plans.values_mut().flatten().for_each(|registered| registered.made.add(report));
        }
    }

    /// Takes notice of inits that are gone: some have said before that their calls have ended, others were killed.
    fn bury(&mut self) {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            let Some(pid) = status.pid() else { break };
            if self.leaving.remove(&pid).is_some() {
                continue;
            }
            // It may have said so since.
            self.hear_reports();
            self.warm.bury(pid);
            self.leaving.remove(&pid);
            let mut ended = self.living.remove(&pid);
            self.clean_up();
            // Its end came without a word: it could not go on, or was killed, and then nobody has swept.
            if matches!(status, WaitStatus::Exited(..))
                && let Some(record) = ended.as_mut().and_then(|ended| ended.sandbox.record.take())
            {
                record.discard();
            }
            // The closing of its socket, last of all, tells the agent.
            drop(ended);
        }
    }

    /// Removes the placeholders of every plan in whose workspace nothing lives any more.
    fn clean_up(&mut self) {
        // One that only reads holds none, and its view may be made at this moment from what stands there.
        let workspace = |id: u32| self.plans.get(&id)?.as_ref().ok().map(|registered| &registered.plan.workspace);
        let plans = self.living.values().map(|living| living.plan).chain(self.warm.plans());
        let inhabited: Vec<&PathBuf> = plans.filter_map(workspace).collect();
        let lives = |id: &u32| workspace(*id).is_some_and(|workspace| inhabited.contains(&workspace));
        let idle: Vec<u32> = self.placeholders.keys().filter(|id| !lives(id)).copied().collect();
        for id in idle {
            if let Some(held) = self.placeholders.remove(&id) {
                held.release();
            }
        }
    }

    fn end_all(&mut self) {
        // The closing of this pipe tells each sandbox to end its call and to sweep.
        drop(self.alive.1.take());
        for pid in self.warm.drain(|_| true) {
            let _ = waitpid(pid, None);
        }
        self.warm = Pool::default();
        let end = Instant::now() + END_PATIENCE;
        while !self.living.is_empty() && Instant::now() < end {
            let mut sources = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            sources.extend(self.living.values().filter_map(Living::source));
            let _ = poll(&mut sources, PollTimeout::from(100_u8));
            drop(sources);
            while let Ok(Some(_)) = self.signals.read_signal() {}
            self.hear_reports();
            self.bury();
        }
        for (pid, _) in self.living.drain() {
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
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
