//! One published escape, or one that we thought of: what is tried, when that makes sense, and what proves that it got out.

use serde::Serialize;

use super::{facts::Facts, scene::Scene, tries::Tries};

/// What an escape is about; the table is grouped by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    /// Changing what lies outside of the writable places.
    Outside,
    /// Planting or changing what runs later, outside of a sandbox.
    Protected,
    /// Reading what is denied.
    Secrets,
    /// Reaching the network and the host's services.
    Network,
    /// Reaching, outliving or starving other processes.
    Processes,
    /// Typing into the person's terminal.
    Terminal,
    /// What the kernel offers and no program needs.
    Kernel,
    /// What is trusted before anything runs, and what a call inherits.
    Start,
}

impl Area {
    /// As a heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Outside => "Writing outside",
            Self::Protected => "What runs later",
            Self::Secrets => "Reading secrets",
            Self::Network => "Network and services",
            Self::Processes => "Processes and limits",
            Self::Terminal => "The terminal",
            Self::Kernel => "Kernel surface",
            Self::Start => "Start-up and inheritance",
        }
    }
}

/// How a case is carried out.
#[derive(Clone, Copy)]
pub enum How {
    /// The attempt runs inside a sandbox; all that it can have done is looked for outside.
    Inside(fn(&Facts, &mut Tries)),
    /// Several calls, or something done outside meanwhile. The second function is the attempt of its calls, for the probe.
    Scene(fn(&mut Scene<'_>) -> Outcome, fn(&Facts, &mut Tries)),
    /// A decision of the very functions that a session uses, without a sandbox.
    Decision(fn(&Scene<'_>) -> Outcome),
}

impl std::fmt::Debug for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Inside(_) => "Inside",
            Self::Scene(..) => "Scene",
            Self::Decision(_) => "Decision",
        })
    }
}

/// What a case that judges itself came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing got out.
    Refused,
    /// Something did: the evidence.
    Leaked(String),
    /// It could not be tried: why.
    Untried(String),
}

/// What proves an escape, besides all that is looked for after each case: changes outside, planted files, secrets in what was said,
/// listeners that were reached, processes that were changed or stayed behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Nothing else: the effect alone counts.
    Effect,
    /// That any try was answered with success. For what shows itself only inside.
    Answer,
}

/// Whether the attempt is known to get out where there is no sandbox, which shows that it is a real one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// It gets out, whoever runs it.
    Leaks,
    /// It gets out for root alone; the reason why not for others.
    LeaksForRoot(&'static str),
    /// It gets out for an ordinary user; it would change the machine, or be no escape, for root.
    LeaksForUsers(&'static str),
    /// It is never tried without a sandbox; the reason.
    Not(&'static str),
}

/// A case.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its stable name.
    pub id: &'static str,
    /// What it is about.
    pub area: Area,
    /// What is tried, in a few words.
    pub title: &'static str,
    /// Numbers in the list of published escapes ([`super::published`]).
    pub list: &'static [u8],
    /// Where else it comes from, such as a CVE that is not on the list, or the name of a mechanism.
    pub also: &'static str,
    /// Why it does not apply here, if so.
    pub excused: fn(&Scene<'_>) -> Option<String>,
    /// How it is carried out.
    pub how: How,
    /// What proves that it got out.
    pub proof: Proof,
    /// Whether it is known to get out without a sandbox.
    pub control: Control,
    /// Whether the attempt may well end before it has said so: it is refused by being killed.
    pub may_die: bool,
    /// How long the call may take, in milliseconds.
    pub wall_ms: u64,
}

impl Case {
    const fn new(id: &'static str, area: Area, title: &'static str, how: How) -> Self {
        Self {
            id,
            area,
            title,
            list: &[],
            also: "",
            excused: |_| None,
            how,
            proof: Proof::Effect,
            control: Control::Leaks,
            may_die: false,
            wall_ms: 15_000,
        }
    }

    /// An attempt inside one sandbox.
    pub const fn inside(id: &'static str, area: Area, title: &'static str, attempt: fn(&Facts, &mut Tries)) -> Self {
        Self::new(id, area, title, How::Inside(attempt))
    }

    /// Several calls.
    pub const fn scene(
        id: &'static str,
        area: Area,
        title: &'static str,
        scene: fn(&mut Scene<'_>) -> Outcome,
        attempt: fn(&Facts, &mut Tries),
    ) -> Self {
        Self::new(id, area, title, How::Scene(scene, attempt))
    }

    /// A decision. It needs no control: there is no sandbox in it.
    pub const fn decision(id: &'static str, area: Area, title: &'static str, decide: fn(&Scene<'_>) -> Outcome) -> Self {
        Self::new(id, area, title, How::Decision(decide)).control(Control::Not("a decision, made without a sandbox"))
    }

    /// The numbers of published escapes that this case stands for.
    pub const fn list(mut self, list: &'static [u8]) -> Self {
        self.list = list;
        self
    }

    /// Where else it comes from.
    pub const fn also(mut self, also: &'static str) -> Self {
        self.also = also;
        self
    }

    /// When it does not apply.
    pub const fn unless(mut self, excused: fn(&Scene<'_>) -> Option<String>) -> Self {
        self.excused = excused;
        self
    }

    /// Any success that the attempt reports is an escape.
    pub const fn by_answer(mut self) -> Self {
        self.proof = Proof::Answer;
        self
    }

    /// What is known of it without a sandbox.
    pub const fn control(mut self, control: Control) -> Self {
        self.control = control;
        self
    }

    /// Being killed is one way of being refused.
    pub const fn may_die(mut self) -> Self {
        self.may_die = true;
        self
    }

    /// A limit on the call's time other than the usual one.
    pub const fn wall(mut self, milliseconds: u64) -> Self {
        self.wall_ms = milliseconds;
        self
    }
}
