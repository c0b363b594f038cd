//! What is legal in a policy and yet probably a mistake.
//!
//! Pure: what the machine knows is asked through [`Facts`]. A finding can be accepted where it stands, by a comment with a reason (`accept`).

mod accept;
mod commands;
mod entries;
mod exposure;
mod known;
mod programs;
mod rules;
mod settings;
mod variables;
mod written;

use std::path::{Path, PathBuf};

use super::{
    error::Source,
    judge::{Anchors, Judge},
    load,
    model::{Origin, Policy},
};

pub use rules::{RULES, Rule};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; nothing follows from it.
    Note,
    /// The policy allows more, or does less, than its author probably meant.
    Warning,
    /// The policy gives away what makes a sandbox pointless.
    Error,
}

impl Severity {
    /// The word for it, which is SARIF's too.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Something that is probably a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule that found it.
    pub rule: &'static Rule,
    /// How much it matters here.
    pub severity: Severity,
    /// Where it stands.
    pub origin: Origin,
    /// What is wrong, as a sentence without its full stop.
    pub problem: String,
    /// What to do about it, likewise.
    pub advice: String,
}

impl Finding {
    /// A finding as severe as its rule says.
    fn new(rule: &'static Rule, origin: &Origin, problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { rule, severity: rule.severity, origin: origin.clone(), problem: problem.into(), advice: advice.into() }
    }
}

/// What there is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Missing,
    /// A socket.
    Socket,
    /// Anything else.
    Present,
}

/// What a machine and a session know that a policy does not.
pub trait Facts {
    /// Where the places of a policy lie.
    fn anchors(&self) -> &Anchors;
    /// The folders in which programs are found, the person's and the sandbox's.
    fn program_folders(&self) -> &[PathBuf];
    /// Whether a program of this name is found in one of them.
    fn finds(&self, program: &str) -> bool;
    /// What there is at `path`, links followed.
    fn kind(&self, path: &Path) -> Kind;
    /// Where `path` leads, all links followed; `None` if it leads nowhere.
    fn leads_to(&self, path: &Path) -> Option<PathBuf>;
    /// Bytes of memory that the machine has, if that is known.
    fn memory(&self) -> Option<u64>;
    /// Whether `text` has the shape of a key or token.
    fn looks_secret(&self, text: &str) -> bool;
}

/// What came of linting.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// What stands, by file and line.
    pub findings: Vec<Finding>,
    /// What was found and accepted, each with the reason that was given.
    pub accepted: Vec<(Finding, String)>,
}

impl Report {
    /// Whether anything is at `severity` or above.
    pub fn reaches(&self, severity: Severity) -> bool {
        self.findings.iter().any(|finding| finding.severity >= severity)
    }
}

/// A policy with the files that it was merged from.
struct Subject<'a> {
    policy: &'a Policy,
    sources: &'a [Source],
    facts: &'a dyn Facts,
    judge: Judge,
}

impl Subject<'_> {
    /// Whether an entry comes from a preset, which nobody can edit: what is merely absent on this machine is no finding there.
    fn is_preset(&self, origin: &Origin) -> bool {
        self.sources.iter().any(|source| {
            source.file == origin.file
                && load::presets().iter().any(|(name, text)| source.file == format!("policies/{name}.toml") && source.text == *text)
        })
    }

    /// The part that a file plays. A bound that says again what the chosen policy says is no mistake.
    fn role(&self, origin: &Origin) -> &str {
        self.policy.sources.iter().find(|(file, _)| *file == origin.file).map_or("", |(_, role)| role)
    }

    /// Whether `origin` lies in a file that `source` extends, at once or by way of others.
    fn is_under(&self, origin: &Origin, source: &Source) -> bool {
        let mut files = self.policy.sources.iter();
        let role = files.find(|(file, _)| *file == source.file).map(|(_, role)| role);
        files.take_while(|(_, other)| Some(other) == role).any(|(file, _)| *file == origin.file)
    }

    fn same_role(&self, one: &Origin, other: &Origin) -> bool {
        self.role(one) == self.role(other)
    }
}

/// Lints a policy. `sources` are the files that it was merged from, each after those that put something on top of it.
pub fn lint(policy: &Policy, sources: &[Source], facts: &dyn Facts) -> Report {
    let subject = Subject { policy, sources, facts, judge: Judge::new(policy, facts.anchors()) };
    let mut findings = Vec::new();
    entries::find(&subject, &mut findings);
    exposure::find(&subject, &mut findings);
    commands::find(&subject, &mut findings);
    settings::find(&subject, &mut findings);
    let mut report = accept::split(findings, &subject);
    report.findings.sort_by(|a, b| order(&a.origin, sources).cmp(&order(&b.origin, sources)).then_with(|| b.severity.cmp(&a.severity)));
    report.findings.dedup();
    report
}

/// The files in their own order, and each from its first line to its last.
fn order<'a>(origin: &'a Origin, sources: &[Source]) -> (usize, &'a str, u32) {
    let file = sources.iter().position(|source| source.file == origin.file).unwrap_or(sources.len());
    (file, &origin.file, origin.line)
}
