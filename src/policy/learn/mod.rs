//! From what a command was seen to reach for to the smallest policy that would let it: pure data, and never more than the base's deny floor
//! lets be proposed.
//!
//! What was seen may be incomplete (a race, a first refusal), so a proposal may be too small; it is never wider than what was seen, but for the
//! folder that several files of it stand for (`gather`) and a named group, and every entry says which program it is for.

mod gather;
mod judged;
mod render;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    judge::Anchors,
    model::{NetworkMode, Policy},
};

pub use render::render;

/// What is done with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Touch {
    /// It is read, or a folder is listed.
    Read,
    /// It is run.
    Run,
    /// It is made, changed, removed or renamed.
    Write,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was done.
    Done,
    /// The kernel said that it may not be done.
    Refused,
}

/// Something that was reached for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// A path.
    Path {
        /// What for.
        touch: Touch,
        /// As the program named it.
        named: PathBuf,
        /// Whether that is a symbolic link itself.
        link: bool,
        /// Where it really lies.
        path: PathBuf,
        /// What would have to be granted: the path itself, or the nearest folder above it that there is, if it is made or removed.
        anchor: PathBuf,
        /// Whether `anchor` is a folder.
        folder: bool,
        /// Whether the person could have written there.
        able: bool,
        /// What the kernel said.
        outcome: Outcome,
    },
    /// An internet address.
    Address {
        /// Which.
        address: SocketAddr,
        /// Whether it was listened on.
        listens: bool,
    },
    /// A unix socket with a path.
    Socket {
        /// Which.
        path: PathBuf,
    },
}

/// Something that was reached for, by whom, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// What.
    pub reach: Reach,
    /// The program's name, as the kernel has it.
    pub program: String,
    /// How often.
    pub times: u64,
}

/// A place that is never proposed, and is out of the command's reach while it is observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Floor {
    /// Which, with all that is below it.
    pub path: PathBuf,
    /// Where that is written.
    pub reason: String,
}

/// What a proposal adds to.
#[derive(Debug, Clone, Copy)]
pub struct Base<'a> {
    /// The policy in force.
    pub policy: &'a Policy,
    /// The name or path by which a policy extends it.
    pub extends: &'a str,
    /// Where its places lie.
    pub anchors: &'a Anchors,
    /// What is never proposed, besides what the policy denies.
    pub floor: &'a [Floor],
    /// The session's private folder, which nothing writable may hold.
    pub private: &'a Path,
    /// Paths that the command has used and the host does not have: it had made them itself, in its private home.
    pub made: &'a BTreeSet<PathBuf>,
}

/// Who used something, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Uses {
    /// The names of the programs.
    pub programs: BTreeSet<String>,
    /// How often, by all of them.
    pub times: u64,
}

impl Uses {
    fn add(&mut self, program: &str, times: u64) {
        self.programs.insert(program.to_owned());
        self.times = self.times.saturating_add(times);
    }

    fn join(&mut self, other: Self) {
        self.programs.extend(other.programs);
        self.times = self.times.saturating_add(other.times);
    }
}

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// As a policy writes it.
    pub text: String,
    /// What it is for.
    pub covers: BTreeSet<PathBuf>,
    /// By whom.
    pub uses: Uses,
}

/// Something that was reached for and is not proposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Withheld {
    /// The path, as a policy would write it.
    pub what: String,
    /// Whether it was to be written.
    pub write: bool,
    /// Why it is not proposed.
    pub reason: String,
    /// By whom it was wanted.
    pub uses: Uses,
}

/// What would let the command do what it was seen to try.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Proposal {
    /// New entries of `filesystem.read`.
    pub read: Vec<Entry>,
    /// New entries of `filesystem.write`.
    pub write: Vec<Entry>,
    /// Who needs a loopback, where the base gives none.
    pub loopback: Option<Uses>,
    /// Addresses elsewhere, where the base does not reach them.
    pub addresses: Vec<(SocketAddr, Uses)>,
    /// Unix sockets by path.
    pub sockets: Vec<(PathBuf, Uses)>,
    /// What is not proposed.
    pub withheld: Vec<Withheld>,
}

impl Proposal {
    /// Whether it adds nothing to the base.
    pub fn is_empty(&self) -> bool {
        self.read.is_empty() && self.write.is_empty() && self.loopback.is_none()
    }
}

/// Proposes what `observations` need beyond `base`.
pub fn propose(base: &Base<'_>, observations: &[Observation]) -> Proposal {
    let mut proposal = judged::paths(base, observations);
    let (mut addresses, mut sockets) = (BTreeMap::<SocketAddr, Uses>::new(), BTreeMap::<PathBuf, Uses>::new());
    for Observation { reach, program, times } in observations {
        match reach {
            Reach::Path { .. } => {}
            // The ports of those who send are of no interest, and everybody has an address of their own to listen on.
            Reach::Address { address, listens } if address.ip().is_loopback() || (*listens && address.ip().is_unspecified()) => {
                if base.policy.network.mode == NetworkMode::None {
                    proposal.loopback.get_or_insert_default().add(program, *times);
                }
            }
            Reach::Address { address, .. } => {
                if base.policy.network.mode != NetworkMode::Open {
                    addresses.entry(*address).or_default().add(program, *times);
                }
            }
            Reach::Socket { path } => sockets.entry(path.clone()).or_default().add(program, *times),
        }
    }
    proposal.addresses = addresses.into_iter().collect();
    proposal.sockets = sockets.into_iter().collect();
    proposal
}

/// What is never proposed under `policy` besides what it denies: credentials, unless the policy itself lets them be read, and the state of
/// portcullis.
pub fn floor(policy: &Policy, anchors: &Anchors, state: &Path) -> Vec<Floor> {
    let judge = super::judge::Judge::new(policy, anchors);
    let credentials = super::groups::group("credentials").ok().flatten();
    let rules = credentials.iter().flat_map(|group| &group.rules);
    let places = rules.filter_map(|rule| Some((anchors.path(&rule.place)?, format!("{}:{}", rule.origin.file, rule.origin.line))));
    let named_by_policy = |path: &Path| {
        let verdict = judge.judge(path, super::judge::Access::Read);
        let rule = verdict.because.rule.filter(|_| verdict.allowed);
        rule.is_some_and(|rule| anchors.path(&rule.place).is_some_and(|place| place.starts_with(path)))
    };
    let mut floor: Vec<Floor> = places.filter(|(path, _)| !named_by_policy(path)).map(|(path, reason)| Floor { path, reason }).collect();
    floor.push(Floor { path: state.to_path_buf(), reason: "the state of portcullis".to_owned() });
    floor
}

#[cfg(test)]
mod tests;
