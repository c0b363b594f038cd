//! What one policy lets calls do that another does not: capabilities, not text. Each difference has a witness, which both judge differently.
//!
//! Rules about files are prefixes and globs, so they cut all paths into finitely many parts; one path of each part is judged by both policies
//! (`files`). Commands are judged by the texts that the rules of either are about (`commands`). The rest is compared as numbers and words (`rest`).

mod commands;
mod files;
mod rest;

use serde::Serialize;

use crate::{
    approval::Rules,
    policy::{Anchors, Policy},
};

/// Which way a capability goes from the first policy to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The second lets calls do more, asks less, or enforces or records less.
    Gained,
    /// It lets them do less.
    Lost,
    /// It is otherwise, and which is more cannot be said.
    Changed,
}

impl Direction {
    /// By how the two compare: `more` says that the second lets calls do more.
    const fn of(more: bool) -> Self {
        if more { Self::Gained } else { Self::Lost }
    }
}

/// What a difference is about: the table of a policy file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "they are the tables of a policy file")]
pub enum Topic {
    Filesystem,
    Git,
    Network,
    Command,
    Approval,
    Environment,
    Limits,
    Enforcement,
    Audit,
}

impl Topic {
    /// The table's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Filesystem => "filesystem",
            Self::Git => "git",
            Self::Network => "network",
            Self::Command => "command",
            Self::Approval => "approval",
            Self::Environment => "environment",
            Self::Limits => "limits",
            Self::Enforcement => "enforcement",
            Self::Audit => "audit",
        }
    }
}

/// What one of the two policies says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Said {
    /// In a word or a few.
    pub word: String,
    /// Where it says so: file and line, or what stands in for them.
    pub by: Option<String>,
}

impl Said {
    fn word(word: impl Into<String>) -> Self {
        Self { word: word.into(), by: None }
    }
}

/// One capability that the two policies do not share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// Which way.
    pub direction: Direction,
    /// What about.
    pub topic: Topic,
    /// The capability, in words.
    pub what: String,
    /// One path, command, host or variable that the two judge differently.
    pub witness: Option<String>,
    /// What the first says of it.
    pub before: Said,
    /// What the second says of it.
    pub after: Said,
    /// How many places or rules this stands for.
    pub count: usize,
}

/// One of the two policies.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Its rules over commands, ready to judge.
    pub rules: &'a Rules,
}

/// The differences from `before` to `after`, gained ones first.
pub fn diff(before: Side<'_>, after: Side<'_>, anchors: &Anchors) -> Vec<Difference> {
    let mut differences = files::differences(before.policy, after.policy, anchors);
    differences.extend(commands::differences(before, after));
    differences.extend(rest::differences(before.policy, after.policy));
    differences.sort();
    differences
}
