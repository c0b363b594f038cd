//! How files combine into one [`Policy`]: pure, and only ever narrower (invariant I6).
//!
//! The chosen policy is what the person asked for. Everything else takes away from it. The system's file and a repository's own
//! are *bounds*: each key that they name limits the result, and a key that they leave out does not.

use super::{
    model::{Decision, NetworkMode, Policy},
    partial::PartialPolicy,
};

/// Whose file a bound is. It decides what of the file counts, never how far it can widen: it cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The file of whoever runs the machine.
    System,
    /// A file that came with the repository and that nobody may have reviewed.
    Project,
}

impl Role {
    /// The word that [`Policy::sources`] holds.
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Project => "project",
        }
    }
}

/// The files of one session, each with what it extends.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// What the person chose.
    pub chosen: PartialPolicy,
    /// The person's own file, where something else was chosen: what it takes away still holds.
    pub user: Option<PartialPolicy>,
    /// The bound of the machine.
    pub system: Option<PartialPolicy>,
    /// The bound of the repository.
    pub project: Option<PartialPolicy>,
}

/// Merges the layers.
pub fn merge(layers: Layers) -> Policy {
    let mut policy = layers.chosen.complete();
    if let Some(user) = layers.user {
        policy.filesystem.deny.extend(user.deny);
        policy.filesystem.protect.extend(user.protect);
        policy.network.deny.extend(user.denied_hosts);
        policy.commands.extend(user.commands.into_iter().filter(|rule| rule.decision != Decision::Allow));
        policy.sources.extend(user.files.into_iter().map(|file| (file, "user".to_owned())));
    }
    if let Some(system) = &layers.system {
        narrow(&mut policy, system, Role::System);
    }
    if let Some(project) = &layers.project {
        narrow(&mut policy, project, Role::Project);
    }
    policy
}

/// Narrows `policy` by every key that `bound` names.
///
/// `read`, `write` and `network.allow` become one more list that has to agree; `deny`, `protect` and `enforcement.require` add
/// up; limits, git and the network mode take the smaller value; `approval.ask` the stricter of `when-needed` < `always` <
/// `never` (a run where nobody is asked refuses what would ask, so it permits least); `environment.inherit` keeps what both
/// name; `refuse` beats `degrade`, and `stop` beats `continue`. How much is recorded, and for how long, is the system's file's to say and never a
/// repository's. Two things could widen and are kept from a repository's file: its `allow` rules over commands
/// and its `environment.set` are ignored, and a note says so.
pub fn narrow(policy: &mut Policy, bound: &PartialPolicy, role: Role) {
    let file = bound.files.first().map_or(role.name(), String::as_str).to_owned();
    policy.filesystem.read.extend(bound.read.clone());
    policy.filesystem.write.extend(bound.write.clone());
    if bound.read.is_some() && bound.write.is_none() {
        policy.notes.push(format!("{file} bounds `read` and not `write`: what is writable stays readable."));
    }
    policy.filesystem.deny.extend(bound.deny.iter().cloned());
    policy.filesystem.protect.extend(bound.protect.iter().cloned());
    policy.git = bound.git.map_or(policy.git, |git| git.min(policy.git));
    narrow_network(policy, bound);
    if let Some(inherit) = &bound.inherit {
        policy.environment.inherit.retain(|name| inherit.contains(name));
    }
    narrow_limits(policy, bound);
    policy.ask = bound.ask.map_or(policy.ask, |ask| ask.max(policy.ask));
    if let Some(require) = &bound.require {
        policy.enforcement.require.extend(require);
    }
    policy.enforcement.on_missing = bound.on_missing.map_or(policy.enforcement.on_missing, |what| what.max(policy.enforcement.on_missing));
    let (recording, bounds) = (&mut policy.recording, &bound.recording);
    recording.on_failure = bounds.on_failure.map_or(recording.on_failure, |what| what.max(recording.on_failure));
    recording.sync |= bounds.sync.unwrap_or_default();
    match role {
        Role::System => {
            policy.recording.detail = bound.recording.detail.unwrap_or(policy.recording.detail);
            policy.recording.keep = bound.recording.keep.or(policy.recording.keep);
            policy.environment.set.extend(bound.set.clone());
            policy.commands.extend(bound.commands.iter().cloned());
        }
        Role::Project => narrow_by_project(policy, bound, &file),
    }
    policy.sources.extend(bound.files.iter().map(|file| (file.clone(), role.name().to_owned())));
}

fn narrow_network(policy: &mut Policy, bound: &PartialPolicy) {
    if let Some((mode, origin)) = bound.stated_mode() {
        if policy.network.bound.as_ref().is_none_or(|(known, _)| mode < *known) {
            policy.network.bound = Some((mode, origin.clone()));
        }
        if mode < policy.network.mode {
            policy.network.mode = mode;
            policy.network.mode_origin = origin;
        }
    }
    policy.network.deny.extend(bound.denied_hosts.iter().cloned());
    if let Some(sockets) = &bound.sockets {
        policy.network.sockets.retain(|rule| sockets.iter().any(|other| other.place == rule.place));
        policy.network.socket_bounds.push(sockets.clone());
    }
    // A bound that opens the network says nothing of hosts, even where a preset below it lists some.
    if bound.stated_mode().is_some_and(|(mode, _)| mode != NetworkMode::Open) {
        policy.network.allow.extend(bound.hosts.clone());
    }
}

fn narrow_limits(policy: &mut Policy, bound: &PartialPolicy) {
    let (limits, ceiling) = (&mut policy.limits, &bound.limits);
    limits.wall = ceiling.wall.map_or(limits.wall, |c| c.min(limits.wall));
    limits.memory = ceiling.memory.map_or(limits.memory, |c| c.min(limits.memory));
    limits.processes = ceiling.processes.map_or(limits.processes, |c| c.min(limits.processes));
    limits.open_files = ceiling.open_files.map_or(limits.open_files, |c| c.min(limits.open_files));
    limits.file_size = ceiling.file_size.map_or(limits.file_size, |c| c.min(limits.file_size));
    limits.disk = ceiling.disk.map_or(limits.disk, |c| c.min(limits.disk));
    limits.output = ceiling.output.map_or(limits.output, |c| c.min(limits.output));
}

fn narrow_by_project(policy: &mut Policy, bound: &PartialPolicy, file: &str) {
    for rule in &bound.commands {
        if rule.decision == Decision::Allow {
            let words = super::error::value(&rule.prefix.join(" "));
            policy.notes.push(format!("{}: the rule that allows `{words}` is ignored: a repository's file can only narrow.", rule.origin));
        } else {
            policy.commands.push(rule.clone());
        }
    }
    if bound.recording.detail.is_some() || bound.recording.keep.is_some() {
        policy
            .notes
            .push(format!("{file}: audit.detail and audit.keep are ignored: what is recorded of a repository is not its own to say."));
    }
    if !bound.set.is_empty() {
        let names: Vec<&str> = bound.set.keys().map(String::as_str).collect();
        let names = super::error::value(&names.join(", "));
        policy.notes.push(format!("{file}: environment.set ({names}) is ignored: a repository's file can only narrow."));
    }
}
