//! [`PartialPolicy`]: what one file says, or a file and those that it extends, where a key may be left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::model::{
    Ask, CommandRule, Detail, Enforcement, Environment, Filesystem, GitAccess, Layer, Limits, Network, NetworkMode, OnFailure, OnMissing,
    Origin, PathRule, Policy, Recording,
};

/// The limits of a policy that names none.
pub const DEFAULT_LIMITS: Limits = Limits {
    wall: Duration::from_secs(60),
    memory: 1 << 30,
    processes: 64,
    open_files: 1024,
    file_size: 1 << 30,
    disk: 4 << 30,
    output: 256 << 10,
};

/// A host rule such as `*.example.com:443`, and where it was written.
pub type HostRule = (String, Origin);

/// `[limits]`; each as in [`Limits`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the fields are those of `Limits`, documented there")]
pub struct PartialLimits {
    pub wall: Option<Duration>,
    pub memory: Option<u64>,
    pub processes: Option<u64>,
    pub open_files: Option<u64>,
    pub file_size: Option<u64>,
    pub disk: Option<u64>,
    pub output: Option<u64>,
}

/// `[audit]`; each as in [`Recording`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the fields are those of `Recording`, documented there")]
pub struct PartialRecording {
    pub on_failure: Option<OnFailure>,
    pub sync: Option<bool>,
    pub detail: Option<Detail>,
    pub keep: Option<Duration>,
}

/// A policy with keys left out. As a chosen policy, what is left out allows nothing ([`PartialPolicy::complete`]); as a bound,
/// it bounds nothing ([`super::layers::narrow`]).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartialPolicy {
    /// `name` of the file itself.
    pub name: String,
    /// `why`; inherited.
    pub why: Option<String>,
    /// `filesystem.read`.
    pub read: Option<Vec<PathRule>>,
    /// `filesystem.write`.
    pub write: Option<Vec<PathRule>>,
    /// `filesystem.deny`, added up along `extends`.
    pub deny: Vec<PathRule>,
    /// `filesystem.protect`, added up along `extends`.
    pub protect: Vec<PathRule>,
    /// `git.allow`.
    pub git: Option<GitAccess>,
    /// `network.mode` and where it stands.
    pub mode: Option<(NetworkMode, Origin)>,
    /// `network.allow`; `Some` and empty allows nothing.
    pub hosts: Option<Vec<HostRule>>,
    /// `network.deny`, added up along `extends`.
    pub denied_hosts: Vec<HostRule>,
    /// `network.sockets`.
    pub sockets: Option<Vec<PathRule>>,
    /// `environment.inherit`.
    pub inherit: Option<BTreeSet<String>>,
    /// `environment.set`, merged per key along `extends`.
    pub set: BTreeMap<String, String>,
    /// `limits`, each for itself.
    pub limits: PartialLimits,
    /// `approval.ask`.
    pub ask: Option<Ask>,
    /// `[[command]]`, added up along `extends`.
    pub commands: Vec<CommandRule>,
    /// `enforcement.require`.
    pub require: Option<BTreeSet<Layer>>,
    /// `enforcement.on_missing`.
    pub on_missing: Option<OnMissing>,
    /// `[audit]`, each for itself.
    pub recording: PartialRecording,
    /// The file and those that it extends, itself first.
    pub files: Vec<String>,
}

impl PartialPolicy {
    /// This policy on top of the one that it extends: what it says replaces what the parent says, except that `deny`, `protect`
    /// and `[[command]]` add up and `environment.set` merges per key.
    #[must_use]
    pub fn over(self, parent: Self) -> Self {
        let join = |mut first: Vec<PathRule>, second| {
            first.extend(second);
            first
        };
        let mut set = parent.set;
        set.extend(self.set);
        let mut commands = parent.commands;
        commands.extend(self.commands);
        let mut files = self.files;
        files.extend(parent.files);
        Self {
            name: self.name,
            why: self.why.or(parent.why),
            read: self.read.or(parent.read),
            write: self.write.or(parent.write),
            deny: join(parent.deny, self.deny),
            protect: join(parent.protect, self.protect),
            git: self.git.or(parent.git),
            mode: self.mode.or(parent.mode),
            hosts: self.hosts.or(parent.hosts),
            sockets: self.sockets.or(parent.sockets),
            denied_hosts: parent.denied_hosts.into_iter().chain(self.denied_hosts).collect(),
            inherit: self.inherit.or(parent.inherit),
            set,
            limits: PartialLimits {
                wall: self.limits.wall.or(parent.limits.wall),
                memory: self.limits.memory.or(parent.limits.memory),
                processes: self.limits.processes.or(parent.limits.processes),
                open_files: self.limits.open_files.or(parent.limits.open_files),
                file_size: self.limits.file_size.or(parent.limits.file_size),
                disk: self.limits.disk.or(parent.limits.disk),
                output: self.limits.output.or(parent.limits.output),
            },
            ask: self.ask.or(parent.ask),
            commands,
            require: self.require.or(parent.require),
            on_missing: self.on_missing.or(parent.on_missing),
            recording: PartialRecording {
                on_failure: self.recording.on_failure.or(parent.recording.on_failure),
                sync: self.recording.sync.or(parent.recording.sync),
                detail: self.recording.detail.or(parent.recording.detail),
                keep: self.recording.keep.or(parent.recording.keep),
            },
            files,
        }
    }

    /// The network mode that this policy states. A list of hosts without a mode is an allow list.
    pub fn stated_mode(&self) -> Option<(NetworkMode, Option<Origin>)> {
        match (&self.mode, &self.hosts) {
            (Some((mode, origin)), _) => Some((*mode, Some(origin.clone()))),
            (None, Some(hosts)) => Some((NetworkMode::Allowlist, hosts.first().map(|(_, origin)| origin.clone()))),
            (None, None) => None,
        }
    }

    /// The policy that this is by itself. What was left out is as narrow as it can be: nothing is readable or writable, there is
    /// no network, no variable is inherited, [`DEFAULT_LIMITS`] hold, and every layer of enforcement is required.
    pub fn complete(self) -> Policy {
        let (mode, mode_origin) = self.stated_mode().unwrap_or_default();
        let allow = match self.hosts {
            // A narrower mode makes them mean nothing, and no bound brings a wider one.
            Some(_) if mode < NetworkMode::Allowlist => Vec::new(),
            Some(hosts) => vec![hosts],
            None if mode == NetworkMode::Allowlist => vec![Vec::new()],
            None => Vec::new(),
        };
        Policy {
            name: self.name,
            why: self.why.unwrap_or_default(),
            filesystem: Filesystem {
                read: vec![self.read.unwrap_or_default()],
                write: vec![self.write.unwrap_or_default()],
                deny: self.deny,
                protect: self.protect,
            },
            git: self.git.unwrap_or_default(),
            network: Network {
                mode,
                mode_origin,
                allow,
                bound: None,
                deny: self.denied_hosts,
                sockets: self.sockets.unwrap_or_default(),
                socket_bounds: Vec::new(),
            },
            environment: Environment { inherit: self.inherit.unwrap_or_default(), set: self.set },
            limits: Limits {
                wall: self.limits.wall.unwrap_or(DEFAULT_LIMITS.wall),
                memory: self.limits.memory.unwrap_or(DEFAULT_LIMITS.memory),
                processes: self.limits.processes.unwrap_or(DEFAULT_LIMITS.processes),
                open_files: self.limits.open_files.unwrap_or(DEFAULT_LIMITS.open_files),
                file_size: self.limits.file_size.unwrap_or(DEFAULT_LIMITS.file_size),
                disk: self.limits.disk.unwrap_or(DEFAULT_LIMITS.disk),
                output: self.limits.output.unwrap_or(DEFAULT_LIMITS.output),
            },
            ask: self.ask.unwrap_or_default(),
            commands: self.commands,
            enforcement: Enforcement {
                require: self.require.unwrap_or_else(|| BTreeSet::from([Layer::Landlock, Layer::Seccomp, Layer::Namespaces])),
                on_missing: self.on_missing.unwrap_or_default(),
            },
            recording: Recording {
                on_failure: self.recording.on_failure.unwrap_or_default(),
                sync: self.recording.sync.unwrap_or_default(),
                detail: self.recording.detail.unwrap_or_default(),
                keep: self.recording.keep,
            },
            sources: self.files.into_iter().map(|file| (file, "chosen".to_owned())).collect(),
            notes: Vec::new(),
        }
    }
}
