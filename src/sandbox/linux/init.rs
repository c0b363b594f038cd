//! The first process of a sandbox: it makes the namespaces' insides, starts the program, and outlives everything that the program
//! started, so that a call's processes die together.

use std::{
    collections::HashSet,
    fs,
    io::{PipeReader, Write},
    net::{Ipv4Addr, TcpListener},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        resource::UsageWho,
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
        socket::{AddressFamily, SockFlag, SockType, socketpair},
        stat::Mode,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Gid, Pid, Uid, sethostname},
};

use super::{
    Failure, cgroup, disk,
    enter::{Call, Inherited, Role, enter},
    host_sockets::HostSockets,
    memory,
    observe::Observer,
    recover,
    refusals::Refusals,
    rehearsal, report,
    seccomp::Filters,
    sweep, view,
    walk::Globs,
    watches::Watches,
};
use crate::{
    egress,
    policy::{Layer, NetworkMode},
    sandbox::{
        message::{Applied, Begin, EndedBy, Exit, FromSandbox, Handover, Launch, Ready, ToInit, ToSandbox, receive, send},
        plan::Plan,
        sys::{self, Fork, Usage},
    },
};

/// The name of the machine inside: one that every `/etc/hosts` has, so that programs which look their own name up find it.
pub const HOST_NAME: &str = "localhost";

/// What the launcher gives a new sandbox, before or beside its call.
#[derive(Debug)]
pub struct New<'a> {
    /// What to enforce.
    pub plan: &'a Plan,
    /// The compiled system call filter.
    pub filters: &'a Filters,
    /// The compiled globs of the plan.
    pub globs: &'a Arc<Globs>,
    /// What it is made for.
    pub role: Role,
    /// On which the launcher hands over the call.
    pub handover: OwnedFd,
    /// The end of a pipe on which the launcher lets the call begin, where it is made ahead of that.
    pub begin: Option<PipeReader>,
    /// The end of a pipe that closes when the launcher dies.
    pub alive: OwnedFd,
    /// The caller's user and group. In a new user namespace they cannot be asked for any more.
    pub identity: (Uid, Gid),
    /// The launcher's process id on the host, which a new PID namespace does not tell.
    pub launcher: u32,
    /// The repositories that earlier calls made in the workspace.
    pub made: HashSet<PathBuf>,
    /// The end of a pipe on which those that this call made are reported, one JSON string a line.
    pub report: OwnedFd,
    /// Where it is written down what the workspace holds, if the call can change it.
    pub record: Option<OwnedFd>,
    /// Kept for as long as it lives, so that nobody else takes the workspace for deserted when the launcher has been killed.
    pub presence: Option<OwnedFd>,
    /// The call's control group, where there is one.
    pub group: Option<cgroup::Handle>,
}

/// The flags of `clone(2)` for the namespaces that a plan asks for.
pub fn namespace_flags(plan: &Plan) -> libc::c_int {
    if !plan.applies(Layer::Namespaces) {
        return 0;
    }
    let network = if plan.network == NetworkMode::Open { 0 } else { libc::CLONE_NEWNET };
    libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | network
}

/// Makes a sandbox and runs its call to its end, in the process that `clone` made, and never returns.
pub fn run(new: New<'_>) -> ! {
    // A sandbox that is made for a call is told it first, so that the agent hears of it if none can be made.
    let known = if new.role.ahead { None } else { Call::receive(&new.handover).ok() };
    if known.is_none() && !new.role.ahead {
        sys::exit_now(1);
    }
    let mut agent = None;
    let result = prepare_and_supervise(new, known, &mut agent);
    if let (Err(failure), Some(agent)) = (&result, agent) {
        let _ = send(agent.as_fd(), &failure.message(), &[]);
    }
    sys::exit_now(i32::from(result.is_err()))
}

/// `agent` is set to the call's socket as soon as it is known.
fn prepare_and_supervise(new: New<'_>, known: Option<Call>, agent: &mut Option<OwnedFd>) -> Result<(), Failure> {
    let New { plan, filters, globs, role, handover, begin, alive, identity, launcher, made, report, record, presence, group } = new;
    let of_call = known.iter().flat_map(|call| call.streams.iter().chain([&call.agent]));
    let mut keep: Vec<_> =
        [&handover, &alive, &report].into_iter().chain(&record).chain(&presence).chain(of_call).map(AsRawFd::as_raw_fd).collect();
    keep.extend(begin.iter().map(AsRawFd::as_raw_fd));
    keep.extend(group.iter().flat_map(|group| {
        [group.procs.as_raw_fd(), group.memory.as_raw_fd(), group.session_memory.as_raw_fd(), group.processes.as_raw_fd()]
    }));
    close_all_but(&mut keep)?;
    *agent = known.as_ref().and_then(|call| call.agent.try_clone().ok());
    let private = plan.applies(Layer::Namespaces);
    let mut applied = Applied { process_limit: "rlimit".to_owned(), memory_limit: "watch".to_owned(), ..Applied::default() };
    let (mut before, mut listener) = (None, None);
    let mut record = record.map(fs::File::from);
    let mut watches = if role.ahead { Watches::begin() } else { Watches::none() };
    if private {
        // The launcher's protection came along with the fork, and by it `/proc/self` belongs to root. Nothing that could attach to
        // this process runs in the sandbox yet.
        nix::sys::prctl::set_dumpable(true).map_err(|errno| Failure::errno("map the user into its namespace", errno))?;
        keep_identity(identity)?;
        if matches!(plan.network, NetworkMode::Loopback | NetworkMode::Allowlist) {
            sys::bring_up_loopback().map_err(|error| Failure::system("bring up the private loopback", &error))?;
        }
        if plan.network == NetworkMode::Allowlist && !role.worker {
            listener = Some(proxy_listener()?);
        }
        sethostname(HOST_NAME).map_err(|errno| Failure::errno("name the sandbox", errno).with_remedy(super::probe::VIEW_REMEDY))?;
        let view = view::build(plan, HostSockets::of(launcher), &made, globs, &mut watches)?;
        view::lock(identity)?;
        before = view.before;
        if let (Some(before), Some(record)) = (&before, &mut record) {
            let bytes = before.record().map_err(|error| Failure::new("write down what the workspace holds", error.to_string()))?;
            record.write_all(&bytes).map_err(|error| Failure::system("write down what the workspace holds", &error))?;
        }
        (applied.hidden, applied.protected) = (view.hidden, view.protected);
        view.process_limit.clone_into(&mut applied.process_limit);
        if group.is_some() {
            "cgroup".clone_into(&mut applied.memory_limit);
            "cgroup".clone_into(&mut applied.process_limit);
        }
        applied.namespaces = ["user", "mount", "pid", "ipc", "uts"].map(str::to_owned).to_vec();
        if plan.network != NetworkMode::Open {
            applied.namespaces.push("network".to_owned());
        }
    }
    nix::sys::prctl::set_dumpable(false).map_err(|errno| Failure::errno("hide the sandbox's init", errno))?;
    nix::sys::prctl::set_child_subreaper(true).map_err(|errno| Failure::errno("adopt orphans", errno))?;
    let terminal = match &known {
        Some(Call { handover: Handover { launch: Launch { terminal: Some(size), .. }, .. }, agent, .. }) => {
            Some(make_terminal(*size, agent)?)
        }
        _ => None,
    };
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block().map_err(|errno| Failure::errno("watch for the end of processes", errno))?;
    let step = "listen to the system call filter";
    let (listening, telling) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)
        .map_err(|errno| Failure::errno(step, errno))?;
    let step = "hand the call to its program";
    let (to_program, program_end) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).map_err(|errno| Failure::errno(step, errno))?;
    let (terminal, peer) = terminal.unzip();
    match sys::fork().map_err(|error| Failure::system("fork", &error))? {
        Fork::Child => {
            // A worker is this same process: what the init says of a call is not for it to say.
            drop((listening, to_program, handover, terminal, agent.take(), known, record, presence, report, alive));
            // Without a PID namespace nothing else would end the program with its supervisor.
            let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
            let inherited =
                Inherited { handover: program_end, begin, init: telling, group: group.map(|group| group.procs), terminal: peer };
            enter(plan, filters, role, inherited, applied);
            sys::exit_now(126)
        }
        Fork::Parent(program) => {
            drop((program_end, begin, telling, peer));
            if private {
                sys::drop_capabilities().map_err(|error| Failure::system("drop all capabilities", &error))?;
            }
            let mut watching = Watching::begin(&mask, private)?;
            // What does not depend on the call is done before it comes.
            let disk = (private && role.ahead).then(|| disk::Watch::new(plan));
            let call = match known {
                Some(call) => {
                    call.send(&to_program).map_err(|error| Failure::new(step, error.to_string()))?;
                    call
                }
                None => match watching.wait_for_call(&handover, &to_program, &alive, watches) {
                    Some(call) => call,
                    // It is not needed, or not what it was made as any more.
                    None => return Ok(()),
                },
            };
            if role.ahead && receive::<Begin>(handover.as_fd()).is_err() {
                // It is another's call by now.
                return Ok(());
            }
            let Call { handover: Handover { launch, recovered }, streams, agent: socket } = call;
            // Whoever reads what the program writes waits until nobody can write any more.
            drop((streams, to_program, handover));
            *agent = agent.take().or_else(|| socket.try_clone().ok());
            if let Some(listener) = listener {
                hand_out(&listener, &socket)?;
            }
            let wall = launch.wall_ms.map_or(plan.wall(), |limit| plan.wall().min(Duration::from_millis(limit)));
            let memory = (private && group.is_none()).then(|| memory::Watch::new(plan.limits.memory));
            let disk = disk.map(disk::Watch::anew).or_else(|| private.then(|| disk::Watch::new(plan)));
            // A person who sits at the sandbox's terminal ends it when they are done; the model's calls never have one.
            let deadline = launch.terminal.is_none().then(|| Instant::now() + wall);
            let mut observer = role.observed.then(|| Observer::new(program));
            let Watched { mut exit, deserted, refusals: _kept } = Supervisor {
                program,
                private,
                socket: &socket,
                alive: &alive,
                terminal,
                deadline,
                memory,
                disk,
                listening: Some(listening),
                refusals: None,
                asking: true,
                group,
                observer: observer.as_mut(),
                may_say_done: role.worker && before.is_none(),
                done: None,
            }
            .watch(watching)?;
            for part in observer.map(Observer::told).unwrap_or_default() {
                let _ = send(socket.as_fd(), &FromSandbox::Observed(part), &[]);
            }
            if let Some(before) = before {
                let made;
                (exit.undone, made) = before.sweep();
                exit.undone.splice(0..0, recovered);
                report::tell_made(&report, &made);
                exit.undone_more = exit.undone.len().saturating_sub(sweep::REPORTED);
                exit.undone.truncate(sweep::REPORTED);
            }
            let undone = exit.undone.clone();
            // Without a word where the launcher is gone: the agent is to know that, and may be on its way out as well.
            let told = !deserted && send(socket.as_fd(), &FromSandbox::Exited(exit), &[]).is_ok();
            let untold = record.filter(|_| !told && !undone.is_empty());
            let known = untold.is_none();
            if let Some(record) = untold {
                recover::leave_untold(record, &undone);
            }
            wait_for_all();
            drop(presence);
            report::tell_end(&report, known);
            // Those who wait for this word may have been woken on this processor, which the end of the namespaces would keep from them.
            let _ = nix::sched::sched_yield();
            Ok(())
        }
    }
}

/// What an init waits on besides what its call brings.
struct Watching {
    children: SignalFd,
    /// Nothing in here can mount or unmount. So any change of the mounts comes from outside: a covered file was replaced on the host, which takes its
    /// cover along (mount_namespaces(7)). The kernel reports it here as an exceptional condition (proc_pid_mountinfo(5)).
    mounts: Option<fs::File>,
}

impl Watching {
    fn begin(mask: &SigSet, private: bool) -> Result<Self, Failure> {
        let step = "watch the program";
        let mounts = match private {
            true => Some(fs::File::open("/proc/self/mountinfo").map_err(|error| Failure::system(step, &error))?),
            false => None,
        };
        let children =
            SignalFd::with_flags(mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(|errno| Failure::errno(step, errno))?;
        Ok(Self { children, mounts })
    }

    /// Says that the sandbox is ready once the program's process has said so, and waits for its call, which it hands on to that. `None` where none
    /// will come, or that process is gone, or a cover.
    fn wait_for_call(&mut self, launcher: &OwnedFd, program: &OwnedFd, alive: &OwnedFd, watches: Watches) -> Option<Call> {
        let mut watches = Some(watches.descriptor()?);
        rehearsal::hand_over();
        loop {
            let mounts = self.mounts.as_ref()?;
            let mut sources = [
                PollFd::new(if watches.is_some() { program } else { launcher }.as_fd(), PollFlags::POLLIN),
                PollFd::new(alive.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.children.as_fd(), PollFlags::POLLIN),
                PollFd::new(mounts.as_fd(), PollFlags::POLLPRI),
            ];
            match poll(&mut sources, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(_) => return None,
            }
            let [spoken, gone, child, changed] = sources.map(|source| source.any().unwrap_or(false));
            if gone || child || changed {
                return None;
            }
            if spoken && let Some(watches) = watches.take() {
                receive::<Ready>(program.as_fd()).ok()?;
                send(launcher.as_fd(), &Ready, &[watches.as_fd()]).ok()?;
            } else if spoken {
                return Call::forward(launcher, program).ok();
            }
        }
    }
}

const PROXY_STEP: &str = "make the way to the proxy";

/// Makes the socket on which the call finds the proxy. It belongs to the call's own network; whoever accepts from it need not be in that.
fn proxy_listener() -> Result<TcpListener, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, egress::PORT)).map_err(|error| Failure::system(PROXY_STEP, &error))
}

fn hand_out(listener: &TcpListener, socket: &OwnedFd) -> Result<(), Failure> {
    send(socket.as_fd(), &FromSandbox::Proxy, &[listener.as_fd()]).map_err(|error| Failure::new(PROXY_STEP, error.to_string()))
}

/// Closes what the launcher had open, other calls' sockets above all.
fn close_all_but(keep: &mut [i32]) -> Result<(), Failure> {
    keep.sort_unstable();
    // The three standard ones lead to /dev/null; leaving them keeps their numbers from being used for something else.
    let mut first = 3;
    for descriptor in keep.iter().map(|number| u32::try_from(*number).unwrap_or(0)).chain([u32::MAX]) {
        if descriptor > first {
            let last = if descriptor == u32::MAX { u32::MAX } else { descriptor - 1 };
            sys::close_range(first, last)
                .map_err(|error| Failure::system("close inherited descriptors", &error).with_remedy(super::probe::VIEW_REMEDY))?;
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
    write("/proc/self/uid_map", format!("{user} {user} 1")).map_err(|failure| match failure.errno {
        Some(libc::EPERM) if user.is_root() => failure.with_remedy(super::probe::ROOT_MAP_REMEDY),
        _ => failure,
    })?;
    write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// A pseudo-terminal of the sandbox's own. Its controlling end goes to the agent, its other end replaces the streams that asked for it;
/// the person's own terminal never gets in.
fn make_terminal(size: (u16, u16), socket: &OwnedFd) -> Result<(OwnedFd, OwnedFd), Failure> {
    let step = "make a terminal";
    let master = open("/dev/ptmx", OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| Failure::errno(step, errno))?;
    let peer = sys::terminal_peer(master.as_fd()).map_err(|error| Failure::system(step, &error))?;
    sys::set_window_size(master.as_fd(), size).map_err(|error| Failure::system(step, &error))?;
    send(socket.as_fd(), &FromSandbox::Terminal, &[master.as_fd()]).map_err(|error| Failure::new(step, error.to_string()))?;
    Ok((master, peer))
}

/// What came of a call.
struct Watched {
    exit: Exit,
    /// The launcher was gone first.
    deserted: bool,
    /// To be dropped when all is told: the kernel takes the filter apart in the meantime, on the processor of whoever closes the listener.
    refusals: Option<Refusals>,
}

struct Supervisor<'a> {
    program: Pid,
    private: bool,
    socket: &'a OwnedFd,
    alive: &'a OwnedFd,
    terminal: Option<OwnedFd>,
    deadline: Option<Instant>,
    memory: Option<memory::Watch>,
    disk: Option<disk::Watch>,
    /// Where the listener of the system call filter comes from, until it has come.
    listening: Option<OwnedFd>,
    refusals: Option<Refusals>,
    /// Whether anybody is left who could ask by it.
    asking: bool,
    group: Option<cgroup::Handle>,
    /// Where the program is observed.
    observer: Option<&'a mut Observer>,
    /// Whether a worker's word that it is done is enough, without waiting until it is gone; it is killed all the same. Not where it could have changed
    /// anything that is to be swept: who lies about it may not be past its last system call.
    may_say_done: bool,
    /// That word.
    done: Option<Usage>,
}

/// Waits for every process that is left of a call that has been ended.
fn wait_for_all() {
    while waitpid(None, None).is_ok() {}
}

impl Supervisor<'_> {
    /// Waits for the program, the agent, the launcher or the clock, whichever is first, and ends everything that is left.
    fn watch(mut self, Watching { children, mounts }: Watching) -> Result<Watched, Failure> {
        let step = "watch the program";
        let mut status = None;
        let mut ended_by = None;
        let mut deserted = false;
        let mut said = None;
        while status.is_none() {
            let next = self
                .deadline
                .into_iter()
                .chain(self.memory.as_ref().map(memory::Watch::next))
                .chain(self.disk.as_ref().map(disk::Watch::next))
                .min();
            let timeout = next.map_or(PollTimeout::NONE, |next| {
                let left = next.saturating_duration_since(Instant::now());
                PollTimeout::try_from(left.saturating_add(Duration::from_millis(1))).unwrap_or(PollTimeout::from(u16::MAX))
            });
            let filter = self.listening.as_ref().or(self.refusals.as_ref().filter(|_| self.asking).map(Refusals::descriptor));
            let mut sources = [
                PollFd::new(children.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.alive.as_fd(), PollFlags::POLLIN),
                PollFd::new(filter.unwrap_or(self.alive).as_fd(), if filter.is_some() { PollFlags::POLLIN } else { PollFlags::empty() }),
                PollFd::new(
                    mounts.as_ref().map_or(self.alive.as_fd(), AsFd::as_fd),
                    if mounts.is_some() { PollFlags::POLLPRI } else { PollFlags::empty() },
                ),
            ];
            match poll(&mut sources, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Failure::errno(step, errno)),
            }
            let asked = sources[3].revents().is_some_and(|events| events.contains(PollFlags::POLLIN));
            let [_, from_agent, from_launcher, from_filter, from_outside] = sources.map(|source| source.any().unwrap_or(false));
            while let Ok(Some(_)) = children.read_signal() {}
            if from_filter {
                self.hear(asked);
            }
            status = self.reap();
            if let Some(usage) = self.done.take_if(|_| self.may_say_done && status.is_none()) {
                said = Some(usage);
                status = Some(WaitStatus::Exited(self.program, 0));
            }
            if status.is_some() {
                break;
            }
            deserted = from_launcher;
            if deserted || (from_agent && !self.obey()) {
                break;
            }
            if from_outside {
                ended_by = Some(EndedBy::ViewChanged);
                break;
            }
            if self.memory.as_mut().is_some_and(memory::Watch::exceeded) {
                ended_by = Some(EndedBy::Memory);
                break;
            }
            if self.disk.as_mut().is_some_and(disk::Watch::exceeded) {
                ended_by = Some(EndedBy::Disk);
                break;
            }
            if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                ended_by = Some(EndedBy::Wall);
                break;
            }
        }
        self.end_all();
        if let Some(observer) = &mut self.observer {
            status = observer.wait_for_all().or(status);
        }
        if status.is_none() {
            status = Some(waitpid(self.program, None).unwrap_or(WaitStatus::Signaled(self.program, Signal::SIGKILL, false)));
        }
        if said.is_none() {
            wait_for_all();
        }
        let mut processes_refused = 0;
        if let Some(group) = &mut self.group {
            ended_by = ended_by.or(group.ran_out_of_memory());
            processes_refused = group.processes_refused();
        }
        let refused = self.refusals.as_mut().map(Refusals::seen).unwrap_or_default();
        let Usage { user_us, system_us, peak_bytes } = said.unwrap_or_else(|| sys::usage(UsageWho::RUSAGE_CHILDREN));
        let (code, signal) = match status {
            Some(WaitStatus::Exited(_, code)) => (Some(code), None),
            Some(WaitStatus::Signaled(_, signal, _)) => (None, Some(signal as i32)),
            _ => (None, None),
        };
        let exit =
            Exit { code, signal, ended_by, user_us, system_us, peak_bytes, processes_refused, refused, undone: Vec::new(), undone_more: 0 };
        Ok(Watched { exit, deserted, refusals: self.refusals })
    }

    /// Takes the filter's listener or a worker's last word, or answers the listener. One that hangs up without having `asked` has nobody left who
    /// could ask. It is let be then: to ask it for a question can block for ever on older kernels, and a poll of it would return at once, again
    /// and again.
    fn hear(&mut self, asked: bool) {
        if let Some(listening) = self.listening.take() {
            // Closed without a word, there is none: somebody further out listens, or the program was never started.
            match receive::<ToInit>(listening.as_fd()) {
                Ok((ToInit::Listener, mut listener)) => self.refusals = listener.pop().map(Refusals::new),
                Ok((ToInit::Done(usage), _)) => self.done = Some(usage),
                Err(_) => {}
            }
        } else {
            self.asking = asked && self.refusals.as_mut().is_some_and(Refusals::answer);
        }
    }

    fn reap(&mut self) -> Option<WaitStatus> {
        if let Some(observer) = &mut self.observer {
            return observer.attend();
        }
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
