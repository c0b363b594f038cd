//! From a [`Policy`] and the facts of a session to a [`Plan`]: everything that the kernel will be told, in absolute paths.
//!
//! Pure: no file is looked at, no clock, no environment. Whether a path exists, is a link or matches a glob is found out where the
//! plan is carried out, inside the sandbox that is being made.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    egress,
    policy::{
        self, Anchors, GRANTED, GitAccess, Layer, NetworkMode, PathRule, Place, Policy,
        host::{HostLists, PROXY_VARIABLES},
    },
};

/// The facts of a session that a plan depends on besides the policy. They are taken once, at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The workspace: absolute and canonical.
    pub workspace: PathBuf,
    /// The person's home folder: absolute and canonical.
    pub home: PathBuf,
    /// A private folder of the session on the host, 0700, holding `tmp`, `home` and `outputs`.
    pub private: PathBuf,
    /// Where portcullis keeps its state; never visible in a sandbox.
    pub state: PathBuf,
    /// The repository that the workspace belongs to, where that lies elsewhere: the workspace is a linked worktree or a submodule.
    pub linked: Option<Linked>,
    /// The environment at the start.
    pub environment: BTreeMap<String, String>,
}

impl Session {
    /// Where the symbolic places of a policy lie in this session, as seen inside. Without a view of its own (macOS) the private temporary folder is seen
    /// where it lies.
    pub fn anchors(&self) -> Anchors {
        let temporary = if cfg!(target_os = "macos") { self.private.join("tmp") } else { INSIDE_TMP.into() };
        Anchors { workspace: self.workspace.clone(), home: self.home.clone(), temporary }
    }
}

impl Session {
    /// Where the tools find an output that was too long, by its name: where the view shows it, and without a view of its own (macOS) where it lies.
    pub fn output(&self, name: &str) -> String {
        if cfg!(target_os = "macos") {
            self.private.join("outputs").join(name).display().to_string()
        } else {
            format!("{INSIDE_OUTPUTS}/{name}")
        }
    }
}

/// The repository that a workspace belongs to where its `.git` is a file (gitrepository-layout(5)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Linked {
    /// HEAD, index and the like of this worktree or submodule.
    pub own: PathBuf,
    /// Objects, refs, configuration and hooks; the same folder for a submodule.
    pub common: PathBuf,
}

/// What may be done below a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Access {
    /// Read and run.
    Read,
    /// Read, run, write, make and remove.
    Write,
}

/// A part of the host's file system that a sandbox sees.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Root {
    /// Where it is seen.
    pub target: PathBuf,
    /// Where it lies on the host.
    pub source: PathBuf,
    /// What may be done with it.
    pub access: Access,
    /// Whether its absence is an error. Named groups list more than any one machine has.
    pub required: bool,
    /// The folder of the session's that takes what is written there, so that the source stays as it is: `upper` and `work` in it are those
    /// of an overlay.
    pub copy: Option<PathBuf>,
}

/// Everything that the kernel is told for the calls of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What is visible, sorted by target, so that a root comes before those inside it.
    pub roots: Vec<Root>,
    /// Neither readable nor writable, where they exist.
    pub deny: Vec<PathBuf>,
    /// Never writable, also while absent.
    pub protect: Vec<PathBuf>,
    /// The same for paths below the workspace that match.
    pub deny_globs: Vec<String>,
    /// The same for paths below the workspace that match; those that exist when a call starts.
    pub protect_globs: Vec<String>,
    /// The workspace.
    pub workspace: PathBuf,
    /// The home folder as seen from inside.
    pub home: PathBuf,
    /// How much of `.git` may change.
    pub git: GitAccess,
    /// Those of the roots that a person granted, exactly as they then lay: a link on the way leads to another place than was granted.
    pub granted: Vec<PathBuf>,
    /// The repository that the workspace belongs to, where that lies elsewhere.
    pub linked: Option<Linked>,
    /// What can be reached.
    pub network: NetworkMode,
    /// The hosts that can be reached, where the mode lists them.
    pub hosts: Option<HostLists>,
    /// The host's unix sockets that can be connected to.
    pub sockets: Vec<PathBuf>,
    /// Ceilings.
    pub limits: PlanLimits,
    /// The layers that are applied. All three, outside of the tests that look at one layer alone.
    pub layers: Vec<Layer>,
    /// Whether calls run without Landlock where the kernel has none.
    pub without_landlock: bool,
    /// The newest Landlock ABI that is asked for. The newest that is known, outside of the tests that look at an older kernel's.
    pub landlock_abi: u32,
    /// Folder for the journals of placeholders on the host; it lies in the state folder.
    pub journals: PathBuf,
    /// The session's private folder on the host, which the launcher removes at its end: the agent may have been killed.
    pub private: PathBuf,
}

/// Ceilings as the kernel takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanLimits {
    /// Wall-clock milliseconds of one call.
    pub wall_ms: u64,
    /// Bytes of memory of all processes of one call together.
    pub memory: u64,
    /// Processes and threads of one call.
    pub processes: u64,
    /// Descriptors of one process.
    pub open_files: u64,
    /// Bytes of one file.
    pub file_size: u64,
    /// Bytes by which the room on a file system may shrink during one call.
    pub disk: u64,
}

/// Why no plan can be made. All of these stop a run before anything starts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The workspace holds more than a project.
    #[error("{path} cannot be a workspace: {reason}", path = path.display())]
    Workspace {
        /// What was asked for.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// A writable place would hold the logs and grants.
    #[error("{state} (the state of portcullis) lies inside {root}, which the policy makes writable; set PORTCULLIS_HOME to a folder elsewhere", state = state.display(), root = root.display())]
    StateInside {
        /// The state folder.
        state: PathBuf,
        /// The writable root around it.
        root: PathBuf,
    },
    /// A call could replace the folders that the next call gets as its `/tmp` and home.
    #[error("{private} (the private folder of the session) lies inside {root}, which the policy makes writable; set TMPDIR to a folder elsewhere", private = private.display(), root = root.display())]
    PrivateInside {
        /// The session's private folder.
        private: PathBuf,
        /// The writable root around it.
        root: PathBuf,
    },
}

impl Plan {
    /// Makes the plan for a policy in a session.
    pub fn new(policy: &Policy, session: &Session) -> Result<Self, PlanError> {
        let refuse = |reason| Err(PlanError::Workspace { path: session.workspace.clone(), reason });
        if session.workspace.parent().is_none() {
            return refuse("it is the root of the file system; name a project folder with --workspace");
        }
        if session.home != session.workspace && session.home.starts_with(&session.workspace) {
            return refuse("it contains your home folder; name a project folder with --workspace");
        }
        for system in SYSTEM_FOLDERS {
            if session.workspace == Path::new(system) {
                return refuse("it belongs to the system; name a project folder with --workspace");
            }
        }
        let resolver = Resolver { session };
        let write = resolver.roots(&policy.filesystem.write, Access::Write);
        let read = resolver.roots(&policy.filesystem.read, Access::Read);
        let mut roots = write;
        // A private folder that any layer names hides the host's own, even where not every layer lets it be used.
        for place in [Place::Temporary, Place::PrivateHome] {
            if policy::hides(policy, &place)
                && let Some(root) = resolver.private(&place, Access::Read)
            {
                roots.push(root);
            }
        }
        roots.push(Root {
            target: INSIDE_OUTPUTS.into(),
            source: session.private.join("outputs"),
            access: Access::Read,
            required: true,
            copy: None,
        });
        roots.extend(resolver.caches(&roots, &read));
        roots.extend(read);
        if let Some(linked) = &session.linked {
            // Reading the workspace takes reading its history; changing it, with `[git] allow`, changing that.
            let around = |list: &[Root]| list.iter().any(|root| session.workspace.starts_with(&root.target) && root.source == root.target);
            let writable = around(&roots.iter().filter(|root| root.access == Access::Write).cloned().collect::<Vec<_>>());
            let access = if writable && policy.git != GitAccess::None { Access::Write } else { Access::Read };
            if around(&roots) {
                roots.push(Root { target: linked.common.clone(), source: linked.common.clone(), access, required: true, copy: None });
            }
        }
        let shared = |root: &&Root| root.access == Access::Write && !root.is_private();
        if let Some(root) = roots.iter().filter(shared).find(|root| session.state.starts_with(&root.source)) {
            return Err(PlanError::StateInside { state: session.state.clone(), root: root.source.clone() });
        }
        if let Some(root) = roots.iter().filter(shared).find(|root| session.private.starts_with(&root.source)) {
            return Err(PlanError::PrivateInside { private: session.private.clone(), root: root.source.clone() });
        }
        // A connection needs no more than that the socket is in view.
        let sockets = sorted(policy.network.sockets.iter().filter_map(|rule| resolver.path(&rule.place)).collect::<Vec<_>>());
        let as_root =
            |path: &PathBuf| Root { target: path.clone(), source: path.clone(), access: Access::Read, required: false, copy: None };
        roots.extend(sockets.iter().map(as_root));
        let roots = without_covered(sorted(roots));
        let (mut deny, deny_globs) = resolver.split(&policy.filesystem.deny);
        deny.push(session.state.clone());
        let (protect, protect_globs) = resolver.split(&policy.filesystem.protect);
        let (deny, protect) = (sorted(deny), sorted(protect));
        let of_person = |rule: &&PathRule| rule.origin.file == GRANTED;
        let lists = policy.filesystem.read.iter().chain(&policy.filesystem.write).flatten().chain(&policy.network.sockets);
        let granted = sorted(lists.filter(of_person).filter_map(|rule| resolver.path(&rule.place)).collect());
        let limits = &policy.limits;
        Ok(Self {
            roots,
            deny,
            protect,
            deny_globs: sorted(deny_globs),
            protect_globs: sorted(protect_globs),
            workspace: session.workspace.clone(),
            home: session.home.clone(),
            git: policy.git,
            granted,
            linked: session.linked.clone(),
            network: policy.network.mode,
            hosts: HostLists::of(&policy.network),
            sockets,
            limits: PlanLimits {
                wall_ms: u64::try_from(limits.wall.as_millis()).unwrap_or(u64::MAX),
                memory: limits.memory,
                processes: limits.processes,
                open_files: limits.open_files,
                file_size: limits.file_size,
                disk: limits.disk,
            },
            layers: vec![Layer::Namespaces, Layer::Landlock, Layer::Seccomp],
            without_landlock: policy.can_do_without_landlock(),
            landlock_abi: NEWEST_LANDLOCK_ABI,
            journals: session.state.join("placeholders"),
            private: session.private.clone(),
        })
    }

    /// The same plan with nothing writable: for the tools that only read. Nothing needs protection then.
    #[must_use]
    pub fn read_only(&self) -> Self {
        let mut plan = self.clone();
        for root in &mut plan.roots {
            root.access = Access::Read;
        }
        plan
    }

    /// The same plan for a program in the background: what ends it is its stop, or the session's end, within a day.
    #[must_use]
    pub fn without_clock(&self) -> Self {
        let mut plan = self.clone();
        plan.limits.wall_ms = 24 * 60 * 60 * 1000;
        plan
    }

    /// Whether a layer is applied.
    pub fn applies(&self, layer: Layer) -> bool {
        self.layers.contains(&layer)
    }

    /// The wall-clock limit of one call.
    pub fn wall(&self) -> Duration {
        Duration::from_millis(self.limits.wall_ms)
    }

    /// The innermost root around a path, as it is seen from inside; of two at one place the later.
    pub fn innermost(&self, path: &Path) -> Option<&Root> {
        let path = direct(path);
        self.roots.iter().filter(|root| is_at_or_below(&path, &root.target)).max_by_key(|root| root.target.as_os_str().len())
    }

    /// The environment of a call: the policy's list and nothing else, with `HOME` and `TMPDIR` as they are inside, and on `PATH` only
    /// folders that are visible and not writable, so that no call can plant a program for the next one.
    pub fn environment(&self, policy: &Policy, session: &Session) -> Vec<(String, String)> {
        let mut environment = BTreeMap::new();
        for name in &policy.environment.inherit {
            if let Some(value) = session.environment.get(name) {
                environment.insert(name.clone(), value.clone());
            }
        }
        environment.extend(policy.environment.set.iter().map(|(name, value)| (name.clone(), value.clone())));
        let path = environment.get("PATH").cloned().unwrap_or_else(|| DEFAULT_PATH.to_owned());
        environment.insert("PATH".to_owned(), self.visible_path(&path));
        let home_is_visible = self.roots.iter().any(|root| root.target.starts_with(&self.home) || self.home.starts_with(&root.target));
        let home = if home_is_visible { self.home.display().to_string() } else { INSIDE_TMP.to_owned() };
        if !policy.environment.set.contains_key("HOME") {
            environment.insert("HOME".to_owned(), home);
        }
        if !policy.environment.set.contains_key("TMPDIR") {
            environment.insert("TMPDIR".to_owned(), INSIDE_TMP.to_owned());
        }
        if self.hosts.is_some() {
            environment.extend(to_the_proxy().map(|(name, value)| (name.to_owned(), value)));
        }
        environment.into_iter().collect()
    }

    fn visible_path(&self, path: &str) -> String {
        let mut kept: Vec<&str> = Vec::new();
        for entry in path.split(':').filter(|entry| entry.starts_with('/')) {
            let innermost = self.innermost(Path::new(entry));
            if innermost.is_some_and(|root| root.access == Access::Read) && !kept.contains(&entry) {
                kept.push(entry);
            }
        }
        if kept.is_empty() { DEFAULT_PATH.to_owned() } else { kept.join(":") }
    }
}

/// [`Path::starts_with`] for paths that are written without detours: it is asked thousands of times a launch.
fn is_at_or_below(path: &Path, folder: &Path) -> bool {
    let (path, folder) = (path.as_os_str().as_encoded_bytes(), folder.as_os_str().as_encoded_bytes());
    path.strip_prefix(folder).is_some_and(|rest| folder == b"/" || rest.is_empty() || rest.starts_with(b"/"))
}

/// A path without the components that say nothing: `//`, `/./`, and `/` and `/.` at its end.
fn direct(path: &Path) -> Cow<'_, Path> {
    let bytes = path.as_os_str().as_encoded_bytes();
    let detour = |rest: &[u8]| matches!(rest, [b'/'] | [b'/', b'.'] | [b'/', b'/', ..] | [b'/', b'.', b'/', ..]);
    if bytes != b"/" && (0..bytes.len()).any(|at| detour(&bytes[at..])) {
        Cow::Owned(path.components().collect())
    } else {
        Cow::Borrowed(path)
    }
}

/// The variables by which programs find the proxy, with their values. What ignores them reaches nothing.
fn to_the_proxy() -> impl Iterator<Item = (&'static str, String)> {
    let port = egress::PORT;
    PROXY_VARIABLES.into_iter().map(move |name| {
        let value = match name {
            "ALL_PROXY" | "all_proxy" => format!("socks5h://127.0.0.1:{port}"),
            "NO_PROXY" | "no_proxy" => "localhost,127.0.0.1,::1".to_owned(),
            "NODE_USE_ENV_PROXY" => "1".to_owned(),
            "JAVA_TOOL_OPTIONS" => {
                let scheme = |scheme| format!("-D{scheme}.proxyHost=127.0.0.1 -D{scheme}.proxyPort={port}");
                format!("{} {} -Dhttp.nonProxyHosts=localhost|127.0.0.1", scheme("http"), scheme("https"))
            }
            _ => format!("http://127.0.0.1:{port}"),
        };
        (name, value)
    })
}

/// The newest Landlock ABI whose rights this version knows how to grant (landlock(7)). A newer one is a change with its own tests, never a
/// surprise.
pub const NEWEST_LANDLOCK_ABI: u32 = 7;
/// No workspaces, on Linux and on macOS.
const SYSTEM_FOLDERS: [&str; 22] = [
    "/usr",
    "/etc",
    "/dev",
    "/proc",
    "/sys",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/boot",
    "/var",
    "/tmp",
    "/run",
    "/Applications",
    "/Library",
    "/System",
    "/Users",
    "/Volumes",
    "/private",
    "/private/etc",
    "/private/tmp",
    "/private/var",
];
/// The `PATH` where the environment names none that is visible.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// How the name of every private folder begins.
pub const PRIVATE_PREFIX: &str = "portcullis-";
/// Where the session's private temporary folder is seen.
pub const INSIDE_TMP: &str = "/tmp";
/// Where outputs that were too long for the model are seen, read-only; the folder `outputs` of the session's private one.
pub const INSIDE_OUTPUTS: &str = "/run/portcullis/outputs";

/// Leaves out every root whose place shows the same thing already: the innermost root around it has the same source and grants as much.
fn without_covered(roots: Vec<Root>) -> Vec<Root> {
    let mut kept: Vec<Root> = Vec::new();
    for root in roots {
        let around =
            kept.iter().filter(|other| is_at_or_below(&root.target, &other.target)).max_by_key(|other| other.target.as_os_str().len());
        if !around.is_some_and(|other| root.same_or_below(other) && other.access >= root.access) {
            // Of two grants of one place the wider one comes last.
            kept.retain(|other| other.target.as_os_str() != root.target.as_os_str() || other.source.as_os_str() != root.source.as_os_str());
            kept.push(root);
        }
    }
    kept
}

impl Root {
    /// Whether what is written there stays in the session's private folder.
    pub fn is_private(&self) -> bool {
        self.source != self.target || self.copy.is_some()
    }

    fn same_or_below(&self, other: &Self) -> bool {
        is_at_or_below(&self.target, &other.target) && is_at_or_below(&self.source, &other.source)
    }
}

struct Resolver<'a> {
    session: &'a Session,
}

impl Resolver<'_> {
    /// The places that every list covers. A private folder is never the same place as the host's folder that it stands in for.
    fn roots(&self, lists: &[Vec<PathRule>], access: Access) -> Vec<Root> {
        let mut lists = lists.iter();
        let Some(first) = lists.next() else { return Vec::new() };
        let mut covered: Vec<Root> = first.iter().filter_map(|rule| self.root(rule, access)).collect();
        for list in lists {
            let list: Vec<Root> = list.iter().filter_map(|rule| self.root(rule, access)).collect();
            let mut both = Vec::new();
            for one in &covered {
                for other in &list {
                    if one.same_or_below(other) {
                        both.push(one.clone());
                    } else if other.same_or_below(one) {
                        both.push(other.clone());
                    }
                }
            }
            covered = both;
        }
        sorted(covered)
    }

    fn root(&self, rule: &PathRule, access: Access) -> Option<Root> {
        if matches!(rule.place, Place::Temporary | Place::PrivateHome) {
            return self.private(&rule.place, access);
        }
        let path = self.path(&rule.place)?;
        let required = rule.origin.group.is_none() || matches!(rule.place, Place::Workspace(_));
        Some(Root { target: path.clone(), source: path, access, required, copy: None })
    }

    /// A private folder of the session. There is none for a home that is the workspace.
    fn private(&self, place: &Place, access: Access) -> Option<Root> {
        let (target, folder) = match place {
            Place::Temporary => (PathBuf::from(INSIDE_TMP), "tmp"),
            Place::PrivateHome if self.session.home != self.session.workspace => (self.session.home.clone(), "home"),
            _ => return None,
        };
        Some(Root { target, source: self.session.private.join(folder), access, required: true, copy: None })
    }

    /// Private copies of the caches that may be read, where there is a private home for them to lie in.
    fn caches(&self, write: &[Root], read: &[Root]) -> Vec<Root> {
        if !write.iter().any(|root| root.target == self.session.home && root.access == Access::Write && root.is_private()) {
            return Vec::new();
        }
        let group = policy::groups::group("caches").ok().flatten();
        let places = group.iter().flat_map(|group| &group.rules).filter_map(|rule| self.path(&rule.place)).enumerate();
        places
            .filter(|(_, path)| read.iter().any(|root| path.starts_with(&root.target) && !root.is_private()))
            .map(|(number, path)| Root {
                target: path.clone(),
                source: path,
                access: Access::Write,
                required: false,
                copy: Some(self.session.private.join(format!("copies/{number}"))),
            })
            .collect()
    }

    fn path(&self, place: &Place) -> Option<PathBuf> {
        match place {
            Place::Absolute(path) => Some(path.clone()),
            Place::Home(path) => Some(self.session.home.join(path)),
            // Joining an empty path would leave a trailing slash behind.
            Place::Workspace(path) if path.as_os_str().is_empty() => Some(self.session.workspace.clone()),
            Place::Workspace(path) => Some(self.session.workspace.join(path)),
            Place::Temporary => Some(PathBuf::from(INSIDE_TMP)),
            Place::PrivateHome => Some(self.session.home.clone()),
            Place::WorkspaceGlob(_) => None,
        }
    }

    fn split(&self, rules: &[PathRule]) -> (Vec<PathBuf>, Vec<String>) {
        let globs = rules.iter().filter_map(|rule| match &rule.place {
            Place::WorkspaceGlob(glob) => Some(glob.clone()),
            _ => None,
        });
        (rules.iter().filter_map(|rule| self.path(&rule.place)).collect(), globs.collect())
    }
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list.dedup();
    list
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_path_is_below_a_folder_as_the_standard_library_has_it(path in "(/[ab.]{0,2}){0,5}/?", folder in "(/[ab]{1,2}){1,3}|/") {
            let (path, folder) = (Path::new(&path), Path::new(&folder));
            prop_assert_eq!(is_at_or_below(&direct(path), folder), path.starts_with(folder), "{} {}", path.display(), folder.display());
        }
    }
}
