//! Published escapes, and those that we could think of, as attempts on this very machine.
//!
//! Each [`case::Case`] has an attempt, which runs inside a sandbox that is made exactly as one for the model's programs, and a check, which
//! looks outside for what the attempt may have done ([`proof`]). The attempts need nothing that is not in this binary but `/bin/sh`.
//!
//! A case counts as refused only if its attempt was made and nothing got out. That an attempt is a real one is shown by the test
//! suite, which makes it without any layer and requires that it does get out there ([`case::Control`]).
//!
//! | file | what it holds |
//! |---|---|
//! | `case` | what a case is |
//! | `cases` | all of them, by area |
//! | `published` | the list of published escapes, each with the cases that stand for it, or why there is none |
//! | `world`, `services`, `victim`, `names` | what is attacked |
//! | `facts`, `tries`, `inside` | what runs inside a sandbox |
//! | `scene` | the calls of one case |
//! | `proof`, `repository` | what is looked for outside |

pub mod case;
pub mod cases;
pub mod facts;
pub mod inside;
pub mod names;
pub mod proof;
pub mod published;
pub mod repository;
pub mod scene;
pub mod services;
pub mod tries;
pub mod victim;
pub mod world;

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::Pid,
};

use self::{
    case::{Case, How, Outcome, Proof},
    proof::Watched,
    scene::Scene,
    tries::Said,
    world::World,
};
use crate::{
    policy::{Judge, Layer, Policy},
    sandbox::{LaunchError, Launcher, Plan, PlanError},
};

/// What a run is told.
#[derive(Debug)]
pub struct Options<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The environment of the session's start.
    pub environment: &'a BTreeMap<String, String>,
    /// Which cases to run.
    pub wanted: &'a dyn Wanted,
    /// Other layers than the usual ones: for the control of the test suite, which applies none.
    pub layers: Option<&'a [Layer]>,
}

/// Which cases to run.
pub trait Wanted: std::fmt::Debug {
    /// Whether this one.
    fn wants(&self, case: &Case) -> bool;
}

/// Those whose name, area or title contains a text; all where there is none.
#[derive(Debug)]
pub struct Matching(pub Option<String>);

impl Wanted for Matching {
    fn wants(&self, case: &Case) -> bool {
        let Some(text) = self.0.as_deref().map(str::to_lowercase) else { return true };
        [case.id, case.area.title(), case.title].iter().any(|field| field.to_lowercase().contains(&text))
    }
}

/// What a case came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was tried, and nothing got out.
    Refused,
    /// Something got out: the evidence.
    Leaked(Vec<String>),
    /// It makes no sense here: why.
    DoesNotApply(String),
    /// It could not be tried: why. Counts as a failure.
    Untried(String),
}

/// A case and what it came to.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The case.
    pub case: Case,
    /// What it came to.
    pub verdict: Verdict,
    /// What the attempt said, for whoever wants to know how it was refused.
    pub said: Vec<Said>,
    /// How long it took.
    pub took: Duration,
}

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
pub enum SelftestError {
    /// The world that is attacked could not be made.
    #[error("what is to be attacked could not be made in a temporary folder: {0}")]
    World(#[from] io::Error),
    /// The policy cannot be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// No sandbox could be made.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// Somebody wanted it to end. What was made for it is removed.
    #[error("interrupted")]
    Interrupted(i32),
    /// A sandbox that only has to start and end did not.
    #[error("no sandbox could be made: {0}")]
    NoSandbox(String),
}

/// Runs the cases. To be called while this process has one thread, because it forks.
pub fn run(options: &Options<'_>, mut progress: impl FnMut(&Finding)) -> Result<Vec<Finding>, SelftestError> {
    let mut world = World::make(options.environment)?;
    let mut plan = Plan::new(options.policy, &world.session)?;
    if let Some(layers) = options.layers {
        plan.layers = layers.to_vec();
    }
    let session = &world.session;
    let anchors = session.anchors();
    let judge = Judge::new(options.policy, &anchors);
    // A descriptor of a secret that is open, and not closed on exec, when the launcher is started.
    let _inherited = cases::start::open_inheritably(&world.at("outside/secret"))?;
    let launcher = Launcher::start()?;
    let registered = launcher.register(plan.clone())?;
    let mut findings = Vec::new();
    let all = cases::all();
    let signals = watch_signals().map_err(io::Error::from)?;
    let nothing = Case::inside("nothing", case::Area::Start, "nothing at all", |_, _| {});
    let mut scene = Scene {
        policy: options.policy,
        judge: &judge,
        plan: &plan,
        world: &mut world,
        launcher: &launcher,
        registered,
        case: &nothing,
        heard: Vec::new(),
    };
    if let Some(reason) = scene.attempt()?.failed {
        return Err(SelftestError::NoSandbox(reason));
    }
    for case in all.iter().filter(|case| options.wanted.wants(case)) {
        scene.case = case;
        scene.heard.clear();
        let begun = Instant::now();
        let verdict = carry_out(&mut scene)?;
        let said = scene.heard.iter().flat_map(scene::Heard::said).collect();
        let finding = Finding { case: *case, verdict, said, took: begun.elapsed() };
        progress(&finding);
        findings.push(finding);
        if let Ok(Some(signal)) = signals.read_signal() {
            return Err(SelftestError::Interrupted(i32::try_from(signal.ssi_signo).unwrap_or(libc::SIGTERM)));
        }
    }
    Ok(findings)
}

/// Signals that ask for an end are taken between two cases, so that nothing stays behind.
fn watch_signals() -> nix::Result<SignalFd> {
    let mut mask = SigSet::empty();
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().for_each(|signal| mask.add(signal));
    mask.thread_block()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

fn carry_out(scene: &mut Scene<'_>) -> Result<Verdict, SelftestError> {
    if let Some(reason) = (scene.case.excused)(scene) {
        return Ok(Verdict::DoesNotApply(reason));
    }
    let before = Watched::look(scene);
    let outcome = match scene.case.how {
        How::Decision(decide) => decide(scene),
        How::Scene(play, _) => play(scene),
        How::Inside(_) => alone(scene)?,
    };
    let after = Watched::look(scene);
    let mut evidence = proof::escaped(scene, &before, &after);
    if scene.case.proof == Proof::Answer {
        let worked = scene.heard.iter().flat_map(scene::Heard::worked);
        evidence.extend(worked.map(|(what, answer)| format!("{what}: {}", answer.chars().take(80).collect::<String>())));
    }
    for pid in proof::survivors(&scene.world.mark()) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    scene.world.empty_private()?;
    if !before.is_same(&after) {
        scene.world.rebuild()?;
    }
    if let Outcome::Leaked(what) = &outcome {
        evidence.push(what.clone());
    }
    Ok(match (evidence.is_empty(), outcome) {
        (false, _) => Verdict::Leaked(evidence),
        (true, Outcome::Untried(reason)) => Verdict::Untried(reason),
        (true, _) => Verdict::Refused,
    })
}

/// The usual case: one attempt in one sandbox.
fn alone(scene: &mut Scene<'_>) -> Result<Outcome, SelftestError> {
    let heard = scene.attempt()?;
    if let Some(reason) = heard.failed {
        return Ok(Outcome::Untried(reason));
    }
    if heard.said().is_empty() || (!heard.is_complete() && !scene.case.may_die) {
        let text = heard.text.lines().last().unwrap_or_default();
        return Ok(Outcome::Untried(format!("the attempt ended before it was through ({:?}): {text}", heard.exit)));
    }
    // What is sent is not always there at once.
    std::thread::sleep(Duration::from_millis(if scene.case.area == case::Area::Network { 20 } else { 0 }));
    Ok(Outcome::Refused)
}
