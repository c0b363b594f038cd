//! The compiled [`Policy`]: what every other part of portcullis is handed once files have been read, extended and merged.
//!
//! Nothing in here is wrong by construction: paths are absolute or anchored, globs compile, lists of programs are not empty,
//! numbers carry their unit. Paths that depend on the session (the workspace, the home folder) stay symbolic, so that the
//! canonical form, its fingerprint and the text that the model reads are the same on every machine and in every folder.

use std::{collections::BTreeMap, collections::BTreeSet, fmt, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a rule was written, so that a refusal can name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The file as a person would name it: a preset as `policies/NAME.toml`, any other as the path that was read.
    pub file: String,
    /// Line of the entry, counted from 1.
    pub line: u32,
    /// The named group that brought the entry, without its `@`.
    pub group: Option<String>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        match &self.group {
            Some(group) => write!(f, " (@{group})"),
            None => Ok(()),
        }
    }
}

/// A place in the file system, as a policy names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// An absolute path, normalised: no `.`, `..` or repeated slash. It stands for itself and everything below.
    Absolute(PathBuf),
    /// Below the home folder of the person who started the session (`~/.ssh`); normalised and relative, never empty.
    Home(PathBuf),
    /// Below the workspace (`.git/hooks`); normalised and relative. Empty for the workspace itself (`@workspace`).
    Workspace(PathBuf),
    /// Any path below the workspace that matches this glob, such as `**/.env`, with `/` matched only literally.
    WorkspaceGlob(String),
    /// The session's private `/tmp` (`@tmp`).
    Temporary,
    /// The session's private, initially empty home folder (`@home`).
    PrivateHome,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absolute(path) => write!(f, "{}", path.display()),
            Self::Home(path) => write!(f, "~/{}", path.display()),
            Self::Workspace(path) if path.as_os_str().is_empty() => write!(f, "@workspace"),
            Self::Workspace(path) => write!(f, "{}", path.display()),
            Self::WorkspaceGlob(glob) => write!(f, "{glob}"),
            Self::Temporary => write!(f, "@tmp"),
            Self::PrivateHome => write!(f, "@home"),
        }
    }
}

/// A place and where the policy names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PathRule {
    /// What the rule covers.
    pub place: Place,
    /// Where it was written.
    pub origin: Origin,
}

/// Everything a policy says of files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filesystem {
    /// What may be read and run. Each element is one layer's list; a path must be covered by *every* element, so that a
    /// further layer can only narrow. At least one element; an empty list in it allows nothing.
    pub read: Vec<Vec<PathRule>>,
    /// What may be written, under the same rule. Whatever is writable is readable as well.
    pub write: Vec<Vec<PathRule>>,
    /// Neither readable nor writable, whatever `read` and `write` say. The union of all layers.
    pub deny: Vec<PathRule>,
    /// Readable where `read` says so, never writable, also while absent. The union of all layers.
    pub protect: Vec<PathRule>,
}

/// How much of git's own folder a call may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GitAccess {
    /// `.git` is read-only.
    #[default]
    None,
    /// Objects, refs, index and logs are writable; hooks, configuration and attributes are not.
    Commit,
    /// As `commit`, and may make repositories (`git init`, `git clone`) below the workspace; hooks and configuration of the workspace's own stay read-only.
    Full,
}

/// What a call can reach over a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// Nothing: an empty network namespace and no socket family but local ones.
    #[default]
    None,
    /// A loopback of its own.
    Loopback,
    /// The listed hosts, through the egress proxy.
    Allowlist,
    /// The host's network.
    Open,
}

/// What a policy says of the network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// The mode; the narrowest of all layers.
    pub mode: NetworkMode,
    /// Where the mode was written.
    pub mode_origin: Option<Origin>,
    /// Host rules such as `*.example.com:443`, one list per layer; used with [`NetworkMode::Allowlist`] only. Empty allows nothing.
    pub allow: Vec<Vec<(String, Origin)>>,
    /// Unix sockets of the host that can be connected to, by exact path; of several layers those that each of them names.
    pub sockets: Vec<PathRule>,
    /// What those who bound the policy leave of sockets, one list each; it decides on grants.
    pub socket_bounds: Vec<Vec<PathRule>>,
    /// The widest mode that those who bound the policy leave, and which file says so; not part of the fingerprint, as it decides on grants alone.
    pub bound: Option<(NetworkMode, Option<Origin>)>,
    /// Host rules that refuse, whatever is allowed; used with [`NetworkMode::Allowlist`] only. The union of all layers.
    pub deny: Vec<(String, Origin)>,
}

/// The environment that a call is given; it is built from nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment {
    /// Variables copied from the session's start, if set there.
    pub inherit: BTreeSet<String>,
    /// Variables set to a fixed value.
    pub set: BTreeMap<String, String>,
}

/// Ceilings. The smallest of all layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Wall-clock time of one call; 1 s to 24 h.
    pub wall: Duration,
    /// Bytes of memory of all processes of a call together; at least 16 MiB.
    pub memory: u64,
    /// Processes and threads of one call; 1 to 65 536. Exact for ordinary users, up to 300 more for root.
    pub processes: u64,
    /// Open descriptors of one process; 16 to 1 048 576.
    pub open_files: u64,
    /// Bytes of the largest file that a process may write; at least 4 KiB.
    pub file_size: u64,
    /// Bytes by which the room on a file system that a call can write to may shrink while it runs; at least 1 MiB.
    pub disk: u64,
    /// Bytes of output kept of one call, standard output and error together; 1 KiB to 64 MiB.
    pub output: u64,
}

/// When a person is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Confined calls run; only wider access asks.
    #[default]
    WhenNeeded,
    /// Every call asks.
    Always,
    /// Nothing asks: what would ask is refused with the reason.
    Never,
}

/// The verdict on a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It runs, confined.
    Allow,
    /// A person decides.
    Ask,
    /// It does not run.
    Forbid,
}

/// A rule over one simple command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRule {
    /// The words a command must begin with; never empty.
    pub prefix: Vec<String>,
    /// What then holds. The strictest matching rule wins.
    pub decision: Decision,
    /// Why, for the person who is asked and the model that is refused.
    pub why: String,
    /// Commands that must match, checked when the policy is loaded.
    pub examples_match: Vec<String>,
    /// Commands that must not match, checked when the policy is loaded.
    pub examples_not_match: Vec<String>,
    /// Where the rule was written.
    pub origin: Origin,
}

/// A layer of enforcement that a policy can require.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// Landlock: where files may be read, written and run.
    Landlock,
    /// seccomp: which system calls there are.
    Seccomp,
    /// User, mount, PID, network, IPC and UTS namespaces.
    Namespaces,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(super::canonical::layer(*self))
    }
}

/// What happens where the host lacks a required layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnMissing {
    /// Where Landlock is what is missing and the network is the call's own, the call runs without it, which is said in the log, in the prefix and to
    /// the person. Without another layer nothing starts: what a policy denies and protects could not be kept.
    Degrade,
    /// Nothing starts.
    #[default]
    Refuse,
}

/// What a policy demands of the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Enforcement {
    /// The layers without which `on_missing` takes effect.
    pub require: BTreeSet<Layer>,
    /// What then happens; `refuse` if any layer says so.
    pub on_missing: OnMissing,
}

/// What happens where a record cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The call runs; how many records were lost is said and recorded as soon as one can be written again.
    Continue,
    /// What would have been recorded does not happen.
    #[default]
    Stop,
}

/// How much a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    /// All of it, without known secrets.
    #[default]
    Full,
    /// Who decided what about which tool, when, and how it ended; no arguments, no words, no paths of refusals.
    Metadata,
}

/// How a session is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recording {
    /// What happens where a record cannot be written; `stop` if any layer says so.
    pub on_failure: OnFailure,
    /// Whether each record has reached the disk before what it records happens; if any layer says so.
    pub sync: bool,
    /// How much a record says.
    pub detail: Detail,
    /// How long logs are kept; at least a day. `None` for ever.
    pub keep: Option<Duration>,
}

/// One policy, merged from all its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The name that the person chose it by.
    pub name: String,
    /// One sentence on what it is for.
    pub why: String,
    /// Files.
    pub filesystem: Filesystem,
    /// git's own folder.
    pub git: GitAccess,
    /// The network.
    pub network: Network,
    /// Environment variables.
    pub environment: Environment,
    /// Ceilings.
    pub limits: Limits,
    /// When a person is asked; the strictest of all layers.
    pub ask: Ask,
    /// Rules over commands, in no meaningful order.
    pub commands: Vec<CommandRule>,
    /// Demands on the host.
    pub enforcement: Enforcement,
    /// How it is recorded.
    pub recording: Recording,
    /// The files that this policy was merged from, first the chosen one, with the role each plays (`chosen`, `user`, `system`, `project`).
    pub sources: Vec<(String, String)>,
    /// What a reader should know, such as a repository's `allow` rule that was ignored. Not part of the fingerprint.
    pub notes: Vec<String>,
}

impl Policy {
    /// Whether calls may run where the kernel has no Landlock: the policy says so, and a network of the call's own does what Landlock would do for it.
    pub fn can_do_without_landlock(&self) -> bool {
        self.enforcement.on_missing == OnMissing::Degrade && matches!(self.network.mode, NetworkMode::None | NetworkMode::Loopback)
    }
}
