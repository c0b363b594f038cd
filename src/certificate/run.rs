//! The sandboxes of a run.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Seek as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    os::{
        fd::AsFd as _,
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr as UnixAddress, UnixListener},
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use nix::errno::Errno;

use super::{
    canonical::digest,
    document::{Statement, Subject, Verdict},
    files::{self, Check, On},
    process,
    scratch::{Plant, Scratch},
    step::{Answer, Step},
};
use crate::{
    policy::Policy,
    sandbox::{
        EndedBy, LaunchError, Launcher, Plan, PlanError, Program, Session,
        message::Launch,
        plan::{INSIDE_TMP, PRIVATE_PREFIX},
    },
    selftest::{
        proof::survivors,
        scene::{Heard, listen},
    },
};

/// How long a call may take, in milliseconds.
const WALL_MS: u64 = 10_000;
/// The limit on time that is tried in the place of the policy's, in milliseconds.
const SHORT_MS: u64 = 200;
/// How long beyond its limit a call is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a run is told.
pub struct Options<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The person's own session: home, state, environment, and the workspace, which is looked at for its shape only.
    pub session: &'a Session,
    /// What the kernel is told other than the policy says: for tests, which show that a statement which does not hold is found.
    pub other: Option<&'a dyn Fn(&mut Plan)>,
}

impl std::fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("policy", &self.policy.name).finish_non_exhaustive()
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// What is tried on could not be made.
    #[error("a folder to try on could not be made: {0}; TMPDIR can name another place")]
    Scratch(#[from] io::Error),
    /// The policy cannot be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// No sandbox could be made.
    #[error("this policy cannot be enforced here: {0}")]
    Launch(#[from] LaunchError),
    /// A sandbox could not be made.
    #[error("this policy cannot be enforced here: {0}")]
    NoSandbox(String),
}

/// A session with its plan.
struct Room<'a> {
    policy: &'a Policy,
    launcher: &'a Launcher,
    session: Session,
    plan: Plan,
    number: u32,
}

impl<'a> Room<'a> {
    fn new(options: &Options<'a>, launcher: &'a Launcher, session: Session) -> Result<Self, VerifyError> {
        let mut plan = Plan::new(options.policy, &session)?;
        if let Some(other) = options.other {
            other(&mut plan);
        }
        let number = launcher.register(plan.clone())?;
        Ok(Self { policy: options.policy, launcher, session, plan, number })
    }

    fn call(&self, program: Program, steps: &[Step], wall_ms: u64) -> Result<Heard, VerifyError> {
        let input = serde_json::to_vec(steps).map_err(io::Error::from)?;
        let mut file = tempfile::tempfile_in(&self.session.private)?;
        file.write_all(&input)?;
        file.rewind()?;
        // Not to be written through by a call that gets hold of it.
        let stdin = File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file)))?;
        let (output, end) = io::pipe()?;
        let launch = Launch {
            plan: self.number,
            program,
            environment: self.plan.environment(self.policy, &self.session),
            cwd: if self.plan.roots.iter().any(|root| self.session.workspace.starts_with(&root.target)) {
                self.session.workspace.clone()
            } else {
                PathBuf::from("/")
            },
            wall_ms: Some(wall_ms),
            terminal: None,
            terminal_streams: [false; 3],
        };
        let call = self.launcher.launch(launch, [stdin.as_fd(), end.as_fd(), end.as_fd()])?;
        drop(end);
        let heard = listen(&call, output.into(), Duration::from_millis(wall_ms) + PATIENCE)?;
        match heard.failed {
            Some(reason) => Err(VerifyError::NoSandbox(reason)),
            None => Ok(heard),
        }
    }

    fn steps(&self, steps: &[Step]) -> Result<(Vec<Answer>, Heard), VerifyError> {
        let heard = self.call(Program::Steps, steps, WALL_MS)?;
        Ok((heard.text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect(), heard))
    }

    fn check(&self, checks: Vec<Check>) -> Result<Vec<Statement>, VerifyError> {
        let steps: Vec<Step> = checks.iter().map(|check| check.step.clone()).collect();
        let (answers, _) = self.steps(&steps)?;
        Ok(checks.into_iter().enumerate().map(|(at, check)| check.answered(answers.get(at))).collect())
    }
}

/// Tries every statement. To be called while this process has one thread, because it forks.
///
/// # Errors
/// Where nothing can be tried, because no sandbox can be made for this policy.
pub fn run(options: &Options<'_>) -> Result<(Subject, Vec<Statement>), VerifyError> {
    let policy = options.policy;
    let scratch = Scratch::make(Path::new("/var/tmp")).or_else(|_| Scratch::make(&std::env::temp_dir()))?;
    let launcher = Launcher::start()?;
    let planted = Room::new(options, &launcher, scratch.session("planted", policy, Plant::All, options.session)?)?;
    let bare = Room::new(options, &launcher, scratch.session("bare", policy, Plant::Granted, options.session)?)?;
    let mut host = scratch.session("host", policy, Plant::All, options.session)?;
    host.home.clone_from(&options.session.home);
    host.state.clone_from(&options.session.state);
    let host = Room::new(options, &launcher, host)?;
    debug_assert!(host.session.private.to_string_lossy().contains(PRIVATE_PREFIX));

    let name = format!(".portcullis-verify-{}", uuid::Uuid::now_v7().simple());
    let short = &name[name.len() - 8..];
    let mark = format!("pcv-{short}");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let _abstract = UnixListener::bind_addr(&UnixAddress::from_abstract_name(&name)?)?;

    let mut out = Vec::new();
    let (answers, heard) = planted.steps(&[Step::Status])?;
    let applied = heard.applied.unwrap_or_default();
    out.push(process::status(answers.first()));
    out.extend(process::layers(policy, &applied));

    let mut checks = files::checks(policy, &planted.session, On::Planted, &name);
    checks.extend(files::elsewhere(policy, &planted.session, &scratch.at("outside")));
    checks.extend(process::checks(policy, &planted.session.workspace, port, &name, &mark));
    out.extend(planted.check(checks)?);
    out.push(arrived(policy, &listener));
    out.push(left(&mark));
    out.extend(bare.check(files::checks(policy, &bare.session, On::Bare, &name))?);
    out.extend(host.check(files::checks(policy, &host.session, On::Host, &name))?);

    let folder =
        planted.plan.roots.iter().find(|root| root.target == Path::new(INSIDE_TMP)).map_or(&planted.session.workspace, |root| &root.target);
    let (answers, _) = planted.steps(&process::limit_steps(policy, folder))?;
    out.extend(process::limits(policy, &applied, &answers));
    out.push(environment(&planted)?);
    out.push(wall(&planted)?);
    out.sort_by_key(|statement| ORDER.iter().position(|claim| *claim == statement.claim));
    let subject = Subject {
        policy: policy.name.clone(),
        fingerprint: policy.fingerprint(),
        kernel: kernel(),
        host: digest(setting("hostname").as_bytes()),
        time: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        applied,
    };
    Ok((subject, out))
}

/// The order in which claims are shown.
const ORDER: [&str; 11] = ["confined", "layers", "read", "write", "deny", "protect", "git", "network", "environment", "limits", "lifetime"];

/// The kernel's release, as a certificate states it.
pub fn kernel() -> String {
    setting("osrelease")
}

/// A setting of the kernel (proc_sys_kernel(5)); empty if there is none.
fn setting(name: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// What the listener outside saw, which no answer of the probe can talk away.
fn arrived(policy: &Policy, listener: &TcpListener) -> Statement {
    let open = policy.network.mode == crate::policy::NetworkMode::Open;
    let arrived = match listener.accept() {
        Ok(_) => true,
        Err(error) if error.raw_os_error() == Some(Errno::EAGAIN as i32) => false,
        Err(_) => open,
    };
    let seen = if arrived { "a connection arrived" } else { "nothing arrived" };
    let verdict = if arrived == open { Verdict::Holds } else { Verdict::Fails };
    process::statement(
        "network",
        "what is outside is reached only where the mode is open",
        "ask the listener outside",
        seen.to_owned(),
        verdict,
    )
}

fn left(mark: &str) -> Statement {
    let left = survivors(mark);
    for pid in &left {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), nix::sys::signal::Signal::SIGKILL);
    }
    let verdict = if left.is_empty() { Verdict::Holds } else { Verdict::Fails };
    let seen = format!("{} processes of that name", left.len());
    process::statement("lifetime", "processes end with their call", "look for it outside once the call has ended", seen, verdict)
}

fn environment(room: &Room<'_>) -> Result<Statement, VerifyError> {
    let expected: BTreeSet<String> = room.plan.environment(room.policy, &room.session).into_iter().map(|(name, _)| name).collect();
    let (said, tried) = (expected.iter().cloned().collect::<Vec<_>>().join(" "), "run `env -0` and compare the names");
    let words = ["env", "-0"].map(str::to_owned).to_vec();
    let heard = match room.call(Program::Exec(words), &[], WALL_MS) {
        Ok(heard) => heard,
        Err(VerifyError::NoSandbox(reason)) => return Ok(process::statement("environment", &said, tried, reason, Verdict::Untried)),
        Err(error) => return Err(error),
    };
    let found: BTreeSet<String> =
        heard.text.split('\0').filter_map(|entry| entry.split_once('=')).map(|(name, _)| name.to_owned()).collect();
    let verdict = if found == expected { Verdict::Holds } else { Verdict::Fails };
    let seen = found.into_iter().collect::<Vec<_>>().join(" ");
    Ok(process::statement("environment", &said, tried, seen, verdict))
}

fn wall(room: &Room<'_>) -> Result<Statement, VerifyError> {
    let heard = room.call(Program::Steps, &[Step::Wait], SHORT_MS)?;
    let ended = heard.exit.is_some_and(|exit| exit.ended_by == Some(EndedBy::Wall));
    let said = format!("wall = {}", crate::policy::units::show_duration(room.policy.limits.wall));
    let seen = if ended { "it was ended for its time" } else { "it was not ended for its time" };
    let verdict = if ended { Verdict::Holds } else { Verdict::Fails };
    Ok(process::statement("limits", &said, "wait for 30 s in a call that may take 0.2 s in its place", seen.to_owned(), verdict))
}
