//! One case being carried out: the calls that it makes, through the launcher, as the agent would make them.

use std::{
    fs,
    io::{self, Read as _, Seek as _, Write as _},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{
    case::Case,
    facts::{Facts, Request},
    names,
    tries::Said,
    world::World,
};
use crate::{
    policy::{Access, Judge, Layer, NetworkMode, Policy},
    sandbox::{
        Access as RootAccess, Applied, Call, Exit, FromSandbox, LaunchError, Launcher, Plan, Program, message::Launch,
        message::MessageError, plan::INSIDE_TMP,
    },
    worker,
};

/// The most that is kept of what a call says, in bytes.
const SAID_CAP: usize = 4 * 1024 * 1024;
/// How long beyond its own limit a call is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came of one call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heard {
    /// All that it wrote to standard output and error.
    pub text: String,
    /// How it ended, unless it never started.
    pub exit: Option<Exit>,
    /// What the kernel was really told.
    pub applied: Option<Applied>,
    /// Why it never started.
    pub failed: Option<String>,
}

impl Heard {
    /// What an attempt reported.
    pub fn said(&self) -> Vec<Said> {
        self.text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Whether an attempt got to its end.
    pub fn is_complete(&self) -> bool {
        self.said().last() == Some(&Said::End)
    }

    /// What worked, by the attempt's own word.
    pub fn worked(&self) -> Vec<(String, String)> {
        let worked = |said| match said {
            Said::Tried { what, got: Ok(answer) } => Some((what, answer)),
            _ => None,
        };
        self.said().into_iter().filter_map(worked).collect()
    }
}

/// One case being carried out.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The policy in force.
    pub policy: &'a Policy,
    /// What it says of paths.
    pub judge: &'a Judge,
    /// What the kernel is told.
    pub plan: &'a Plan,
    /// The world.
    pub world: &'a mut World,
    /// Makes the sandboxes.
    pub launcher: &'a Launcher,
    /// The number of the plan.
    pub registered: u32,
    /// The case.
    pub case: &'a Case,
    /// All that was said so far.
    pub heard: Vec<Heard>,
}

impl Scene<'_> {
    /// Whether the policy lets a call do this.
    pub fn allows(&self, path: &Path, access: Access) -> bool {
        self.judge.judge(path, access).allowed
    }

    /// Whether a call may write in the workspace.
    pub fn workspace_is_writable(&self) -> bool {
        self.plan.roots.iter().any(|root| root.access == RootAccess::Write && self.plan.workspace.starts_with(&root.target))
    }

    /// Whether the policy promises that what other programs run later is not planted in the workspace.
    pub fn promises_protection(&self) -> bool {
        let probe = self.world.session.workspace.join(".vscode/tasks.json");
        self.workspace_is_writable() && !self.allows(&probe, Access::Write)
    }

    /// Whether the policy keeps calls off the host's network.
    pub fn network_is_closed(&self) -> bool {
        self.policy.network.mode != NetworkMode::Open
    }

    /// What the attacker is told.
    pub fn facts(&self) -> Facts {
        let world = &self.world;
        let limits = &self.plan.limits;
        let [absent, forgotten] = names::absent(&world.session.workspace, |path| !self.allows(path, Access::Write));
        Facts {
            workspace: world.session.workspace.clone(),
            home: world.session.home.clone(),
            outside: world.at("outside"),
            state: world.session.state.clone(),
            private: world.session.private.clone(),
            // Without namespaces there is no /tmp of the call's own, and the host's is not to be littered.
            temporary: if self.plan.applies(Layer::Namespaces) { INSIDE_TMP.into() } else { world.session.private.join("tmp") },
            shared_file: world.shared.file.clone(),
            tcp: world.addresses.tcp,
            tcp6: world.addresses.tcp6,
            udp: world.addresses.udp,
            stream: world.at("outside/stream"),
            datagram: world.at("outside/datagram"),
            inner_stream: world.at("workspace/run/stream"),
            inner_datagram: world.at("workspace/run/datagram"),
            abstract_stream: format!("{}-stream", world.name()),
            abstract_datagram: format!("{}-datagram", world.name()),
            segment: world.shared.segment,
            queue: world.shared.queue.clone(),
            agent: i32::try_from(std::process::id()).unwrap_or(0),
            victim: world.victim().map_or(0, super::victim::Victim::pid),
            launcher: i32::try_from(self.launcher.id()).unwrap_or(0),
            victim_secret: world.victim().map_or((0, 0), super::victim::Victim::secret_at),
            environment: self.plan.environment(self.policy, &world.session),
            limits: [limits.processes, limits.memory, limits.open_files, limits.file_size],
            mark: world.mark(),
            absent,
            forgotten,
            anywhere: names::ANYWHERE.map(str::to_owned).to_vec(),
        }
    }

    /// Makes the case's attempt in a sandbox.
    pub fn attempt(&mut self) -> Result<Heard, LaunchError> {
        self.attempt_from(self.world.session.workspace.clone())
    }

    /// The same with another folder to start in.
    pub fn attempt_from(&mut self, cwd: PathBuf) -> Result<Heard, LaunchError> {
        let request = Request { case: self.case.id.to_owned(), facts: self.facts() };
        let input = serde_json::to_vec(&request).map_err(MessageError::from)?;
        self.call(Program::Probe, &input, cwd)
    }

    /// Asks the built-in file worker for something.
    pub fn worker(&mut self, request: &worker::Request) -> Result<Heard, LaunchError> {
        let input = serde_json::to_vec(request).map_err(MessageError::from)?;
        self.call(Program::Worker, &input, self.world.session.workspace.clone())
    }

    /// Runs a real program with the environment of a call.
    pub fn program(&mut self, command: &[&str]) -> Result<Heard, LaunchError> {
        let words = command.iter().map(|word| (*word).to_owned()).collect();
        self.call(Program::Exec(words), b"", self.world.session.workspace.clone())
    }

    fn call(&mut self, program: Program, input: &[u8], cwd: PathBuf) -> Result<Heard, LaunchError> {
        let (call, output) = self.start(self.launcher, self.registered, program, input, cwd)?;
        let heard = listen(&call, output, Duration::from_millis(self.case.wall_ms) + PATIENCE)?;
        self.heard.push(heard.clone());
        Ok(heard)
    }

    /// Starts a call and returns what it will say and its output.
    pub fn start(
        &self,
        launcher: &Launcher,
        plan: u32,
        program: Program,
        input: &[u8],
        cwd: PathBuf,
    ) -> Result<(Call, OwnedFd), LaunchError> {
        let system =
            |error: io::Error| LaunchError::Message(MessageError::System(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)));
        let mut stdin = tempfile::tempfile_in(self.world.at("outside").parent().unwrap_or(Path::new("/"))).map_err(system)?;
        stdin.write_all(input).and_then(|()| stdin.rewind()).map_err(system)?;
        // Not to be written through by a call that gets hold of it.
        let stdin = fs::File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&stdin))).map_err(system)?;
        let (output, end) = io::pipe().map_err(system)?;
        let launch = Launch {
            plan,
            program,
            environment: self.plan.environment(self.policy, &self.world.session),
            cwd,
            wall_ms: Some(self.case.wall_ms),
            terminal: None,
            terminal_streams: [false; 3],
        };
        let call = launcher.launch(launch, [stdin.as_fd(), end.as_fd(), end.as_fd()])?;
        Ok((call, output.into()))
    }
}

/// Hears a call to its end, but not for ever.
pub fn listen(call: &Call, output: OwnedFd, patience: Duration) -> Result<Heard, LaunchError> {
    let end = Instant::now() + patience;
    let flags = OFlag::from_bits_truncate(fcntl(&output, FcntlArg::F_GETFL).map_err(MessageError::from)?);
    fcntl(&output, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map_err(MessageError::from)?;
    let mut output = fs::File::from(output);
    let mut heard = Heard::default();
    let mut bytes = Vec::new();
    let mut open = true;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let events = if open { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut sources =
            [PollFd::new(call.as_fd(), PollFlags::POLLIN), PollFd::new(if open { output.as_fd() } else { call.as_fd() }, events)];
        match poll(&mut sources, PollTimeout::try_from(left).unwrap_or(PollTimeout::from(u16::MAX))) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(MessageError::from(errno).into()),
        }
        let [spoken, written] = sources.map(|source| source.any().unwrap_or(false));
        if written && open {
            open = drain(&mut output, &mut bytes);
        }
        if spoken {
            match call.next() {
                Ok((FromSandbox::Failed { step, reason, .. }, _)) => heard.failed = Some(format!("could not {step}: {reason}")),
                Ok((FromSandbox::Exited(exit), _)) => heard.exit = Some(exit),
                Ok((FromSandbox::Started(applied), _)) => heard.applied = Some(applied),
                Ok(_) => {}
                Err(MessageError::Closed) => break,
                Err(error) => return Err(error.into()),
            }
        }
        if Instant::now() >= end {
            break;
        }
    }
    drain(&mut output, &mut bytes);
    heard.text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(heard)
}

/// Takes what there is; false at the end.
fn drain(output: &mut fs::File, bytes: &mut Vec<u8>) -> bool {
    let mut part = [0; 16 * 1024];
    loop {
        match output.read(&mut part) {
            Ok(0) => return false,
            Ok(length) if bytes.len() < SAID_CAP => bytes.extend_from_slice(&part[..length]),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}
