//! The sweep at the end of a call: what no mount can keep from being made is found, taken out of effect, and reported.
//!
//! A mount keeps a known name absent. It cannot keep a name absent in a folder that does not exist yet, nor a *pattern* of names, nor a
//! repository. So once every process of a call has ended, its init compares the folders of the workspace with what the
//! [walk] saw before it, and looks into those that changed. What is not allowed there is given another name
//! (`.envrc` becomes `.envrc.refused`), so that nothing is lost, nothing takes effect, and everybody is told.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ffi::{OsStr, OsString},
    fs,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket},
        stat::SFlag,
    },
};

use serde::{Deserialize, Serialize};

use super::{
    Failure, beneath, git_configuration, report,
    repository::{self, EXECUTING},
    walk::{self, Found, Globs, Purpose, Stamp, stamp},
    watches::Watches,
};
use crate::sandbox::message::{Undone, UndoneKind};

/// What is put behind the name of something that was taken out of effect.
const REFUSED: &str = ".refused";
/// The coarsest clock that a file system stamps with, with room (10 ms at 100 Hz).
const TICK: Duration = Duration::from_millis(50);
/// The most things that are reported one by one.
pub const REPORTED: usize = 48;
/// The longest list of steps of a rebase that is looked at, in bytes.
const LONGEST_LIST: u64 = 4 * 1024 * 1024;

/// What of [`Before`] outlives the process that knows it: a call that was killed together with its init is swept by the next one. Paths
/// that are not UTF-8 are left out.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    known: Vec<(PathBuf, Option<Identity>)>,
    git: Vec<(PathBuf, Vec<(String, Identity)>)>,
    hidden: Vec<PathBuf>,
    worktrees: Vec<(PathBuf, Vec<u8>)>,
    made: Vec<PathBuf>,
    absent: Vec<PathBuf>,
}

/// Device and inode.
type Identity = (u64, u64);

/// What was there before a call.
#[derive(Debug)]
pub struct Before {
    workspace: PathBuf,
    globs: Arc<Globs>,
    folders: Vec<(PathBuf, Stamp)>,
    /// Entries with a protected name, repositories, sockets: they stay as they are.
    /// They are told by their inodes: another thing in the place of one is new. Of what is hidden only the name counts.
    known: HashMap<PathBuf, Option<Identity>>,
    /// Git folders that may change, and which of [`EXECUTING`] each held; those are covered by mounts.
    git: BTreeMap<PathBuf, BTreeMap<&'static str, Identity>>,
    /// Git folders whose submodules could not all be seen before the call either: they are the person's.
    hidden: BTreeSet<PathBuf>,
    /// The person's own configurations, and what in each could make git run something. Git writes a new file when the person changes one.
    own: BTreeMap<PathBuf, BTreeSet<String>>,
    /// Repositories that earlier calls made: looked into as if they were new.
    made: Vec<PathBuf>,
    /// Linked worktrees' folders and the place that each had for its common folder.
    worktrees: BTreeMap<PathBuf, Vec<u8>>,
    /// Places that must stay absent: what git's configuration and links in protected folders name.
    absent: Vec<PathBuf>,
    began: SystemTime,
}

impl Before {
    /// Takes down what a walk found. `git` are the git folders that may change, `own` those of them that are the person's for certain; `absent`
    /// are places that must stay absent if they are.
    pub fn new(
        workspace: &Path,
        globs: Arc<Globs>,
        found: &mut Found,
        git: &[PathBuf],
        own: &[PathBuf],
        made: Vec<PathBuf>,
        absent: Vec<PathBuf>,
    ) -> Self {
        let known = found.protect.iter().chain(&found.repositories).chain(&found.bare);
        let known = known.map(|path| (path.clone(), beneath::identity(path)));
        let hidden = found.sockets.iter().chain(&found.deny).map(|path| (path.clone(), None));
        let held = |folder: &PathBuf| {
            let names = EXECUTING.into_iter().filter_map(|name| Some((name, beneath::identity(&folder.join(name))?)));
            (folder.clone(), names.collect())
        };
        let configurations = own.iter().flat_map(|folder| ["config", "config.worktree"].map(|name| folder.join(name)));
        let own = configurations.filter_map(|path| {
            let bytes = beneath::read(&path, git_configuration::LONGEST + 1).ok()?;
            Some((path, git_configuration::harmless(&bytes, &|_| false).dropped.into_iter().collect()))
        });
        let worktrees = git.iter().flat_map(|folder| repository::worktrees_of(folder)).filter_map(|folder| {
            let named = beneath::read(&folder.join("commondir"), repository::LONGEST).ok()?;
            Some((folder, named))
        });
        Self {
            workspace: workspace.to_path_buf(),
            known: known.chain(hidden).collect(),
            own: own.collect(),
            hidden: git.iter().filter(|folder| repository::modules_are_hidden(folder)).cloned().collect(),
            git: git.iter().map(held).collect(),
            worktrees: worktrees.collect(),
            made,
            absent: absent.iter().map(|path| repository::settled(path)).filter(|path| !beneath::exists(path)).collect(),
            folders: std::mem::take(&mut found.folders),
            globs,
            began: SystemTime::now(),
        }
    }

    /// Writes down what a later [`Self::recall`] needs.
    pub fn record(&self) -> Result<Vec<u8>, serde_json::Error> {
        let text = |path: &&PathBuf| path.to_str().is_some();
        let names = |held: &BTreeMap<&'static str, Identity>| held.iter().map(|(name, then)| ((*name).to_owned(), *then)).collect();
        serde_json::to_vec(&Record {
            known: self.known.iter().filter(|(path, _)| text(path)).map(|(path, then)| (path.clone(), *then)).collect(),
            git: self.git.iter().filter(|(path, _)| text(path)).map(|(path, held)| (path.clone(), names(held))).collect(),
            hidden: self.hidden.iter().filter(text).cloned().collect(),
            worktrees: self.worktrees.iter().filter(|(path, _)| text(path)).map(|(path, then)| (path.clone(), then.clone())).collect(),
            made: self.made.iter().filter(text).cloned().collect(),
            absent: self.absent.iter().filter(text).cloned().collect(),
        })
    }

    /// What a call that was killed had written down. Nothing is known of when folders changed, so everything is looked through.
    pub fn recall(bytes: &[u8], workspace: &Path, globs: Arc<Globs>) -> Result<Self, serde_json::Error> {
        let record: Record = serde_json::from_slice(bytes)?;
        let held = |names: Vec<(String, Identity)>| {
            let held = |name| Some((name, names.iter().find(|(held, _)| held == name)?.1));
            EXECUTING.into_iter().filter_map(held).collect()
        };
        Ok(Self {
            workspace: workspace.to_path_buf(),
            globs,
            folders: Vec::new(),
            known: record.known.into_iter().collect(),
            git: record.git.into_iter().map(|(path, names)| (path, held(names))).collect(),
            own: BTreeMap::new(),
            hidden: record.hidden.into_iter().collect(),
            worktrees: record.worktrees.into_iter().collect(),
            made: record.made,
            absent: record.absent,
            began: SystemTime::now(),
        })
    }

    /// Looks for what a call has made and must not stay. To be called when all of its processes have ended. Returns what was undone, and
    /// the repositories that the call made.
    pub fn sweep(self) -> (Vec<Undone>, Vec<PathBuf>) {
        let mut sweep = Sweep { before: &self, undone: Vec::new(), made: Vec::new(), inspected: HashSet::new() };
        if self.folders.is_empty() {
            sweep.new_folder(&self.workspace);
        } else {
            sweep.folders();
        }
        for path in &self.made {
            if path.file_name() == Some(OsStr::new(".git")) {
                sweep.new_repository(path);
            } else {
                sweep.inspect(path);
            }
        }
        sweep.git();
        for path in &self.absent {
            if beneath::exists(path) {
                sweep.refuse(path, UndoneKind::ProtectedName);
            }
        }
        sweep.forget_nothing();
        (sweep.undone, sweep.made)
    }
}

struct Sweep<'a> {
    before: &'a Before,
    undone: Vec<Undone>,
    /// Repositories that were not there before.
    made: Vec<PathBuf>,
    /// Git folders that were looked into.
    inspected: HashSet<PathBuf>,
}

impl Sweep<'_> {
    /// Goes through the folders of the workspace that changed, and those that are new.
    fn folders(&mut self) {
        let before = self.before;
        let old: HashSet<&Path> = before.folders.iter().map(|(path, _)| path.as_path()).collect();
        for (folder, then) in &before.folders {
            let changed = match stamp(folder) {
                Ok(now) => now != *then || recent(now, before.began),
                // Gone, or moved to where it shows as new.
                Err(_) => continue,
            };
            if !changed {
                continue;
            }
            let mut names = HashSet::new();
            let entries = match walk::open_and_list(folder) {
                Ok(entries) => entries,
                Err(error) => {
                    self.report(folder, None, UndoneKind::NotSeen, Some(error.to_string()));
                    continue;
                }
            };
            for entry in entries.flatten() {
                let path = entry.path();
                names.insert(entry.file_name());
                self.entry(&path, entry.file_type().is_ok_and(|kind| kind.is_socket()));
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.file_name() != ".git" && !old.contains(path.as_path()) {
                    self.new_folder(&path);
                }
            }
            self.looks_like_a_repository(folder, &names);
        }
    }

    fn looks_like_a_repository(&mut self, folder: &Path, names: &HashSet<OsString>) {
        let marked = walk::looks_like_a_repository(names.iter().map(OsString::as_os_str));
        if marked && folder.file_name() != Some(OsStr::new(".git")) && !self.knows(folder) && !self.before.git.contains_key(folder) {
            self.made.push(folder.to_path_buf());
            self.inspect(folder);
        }
    }

    /// Whether this very thing was there before.
    fn knows(&self, path: &Path) -> bool {
        self.before.known.get(path).is_some_and(|then| then.is_none() || *then == beneath::identity(path))
    }

    /// Judges one entry of a folder that changed.
    fn entry(&mut self, path: &Path, socket: bool) {
        if self.knows(path) || path == self.before.workspace.join(".git") {
            return;
        }
        if socket {
            self.socket(path);
        }
        if path.file_name() == Some(OsStr::new(".git")) {
            self.made.push(path.to_path_buf());
            self.new_repository(path);
        } else if self.before.globs.protects(path.strip_prefix(&self.before.workspace).unwrap_or(path)) {
            self.refuse(path, UndoneKind::ProtectedName);
        }
    }

    /// Looks through a folder that is new, or that was moved there.
    fn new_folder(&mut self, folder: &Path) {
        let found = match walk::walk(&self.before.workspace, folder, &self.before.globs, Purpose::Sweep, &mut Watches::none()) {
            Ok(found) => found,
            Err(failure) => return self.report(folder, None, UndoneKind::NotSeen, Some(failure.to_string())),
        };
        for path in &found.sockets {
            self.entry(path, true);
        }
        // From the innermost outwards: a name that has changed leads to nothing below it any more.
        let mut entries: Vec<&PathBuf> = found.protect.iter().chain(&found.repositories).collect();
        entries.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
        for path in entries {
            self.entry(path, false);
        }
        for path in &found.bare {
            if !self.knows(path) && !self.before.git.contains_key(path) {
                self.made.push(path.clone());
                self.inspect(path);
            }
        }
        if !found.unseen.is_empty() {
            // Whoever enters what nobody has seen enters it by a name that says so.
            if folder == self.before.workspace {
                let reason = found.unseen.into_iter().next().map(|(_, reason)| reason);
                return self.report(folder, None, UndoneKind::NotSeen, reason);
            }
            self.refuse(folder, UndoneKind::NotSeen);
        }
    }

    /// Removes a socket that was left behind: nobody listens on it any more, and the next call could neither use nor replace it.
    fn socket(&mut self, path: &Path) {
        if refuses_connections(path) {
            let _ = fs::remove_file(path);
        }
    }

    /// A `.git` that was not there before.
    fn new_repository(&mut self, path: &Path) {
        let Ok(status) = beneath::status(path) else { return };
        let kind = SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits());
        if kind == SFlag::S_IFDIR {
            return self.inspect(path);
        }
        let named = match kind {
            SFlag::S_IFREG => repository::folder_named_by(path),
            _ => fs::canonicalize(path).ok(),
        };
        match named {
            Some(folder) if folder.starts_with(&self.before.workspace) => {
                // A linked worktree's folder is looked at with those of its repository.
                let listed = self.before.git.keys().any(|git| repository::worktrees_of(git).contains(&folder));
                if !listed && !self.before.git.contains_key(&folder) {
                    self.inspect(&folder);
                }
            }
            _ => self.refuse(path, UndoneKind::GitRedirection),
        }
    }

    /// What is new in the git folders that were there.
    fn git(&mut self) {
        let before = self.before;
        for (folder, held) in &before.git {
            for name in EXECUTING {
                let path = folder.join(name);
                if !beneath::exists(&path) || held.get(name).is_some_and(|then| Some(*then) == beneath::identity(&path)) {
                    continue;
                }
                match name {
                    "commondir" => self.refuse(&path, UndoneKind::GitRedirection),
                    "hooks" => self.hooks(&path),
                    "info/attributes" => {}
                    _ => self.configuration(folder, name),
                }
            }
            self.steps(folder);
            if !before.hidden.contains(folder) && repository::modules_are_hidden(folder) {
                self.refuse(&folder.join("modules"), UndoneKind::NotSeen);
            }
            for module in repository::modules_of(folder) {
                if !before.git.contains_key(&module) {
                    self.inspect(&module);
                }
            }
            self.worktrees(folder);
        }
    }

    /// A linked worktree takes configuration and hooks from its common folder, which has to stay the one that it belongs to.
    fn worktrees(&mut self, git: &Path) {
        for folder in repository::worktrees_of(git) {
            let path = folder.join("commondir");
            match self.before.worktrees.get(&folder) {
                Some(then) if beneath::read(&path, repository::LONGEST).as_ref() != Ok(then) => {
                    self.refuse(&path, UndoneKind::GitRedirection);
                    let _ = beneath::create(&path, then);
                }
                None if beneath::exists(&path) && repository::place_named_in(&path, "").as_deref() != Some(git) => {
                    self.refuse(&path, UndoneKind::GitRedirection);
                }
                _ => {}
            }
            let known = self.before.git.get(&folder);
            if known.is_none_or(|held| !held.contains_key("config.worktree")) && !self.knows(&folder.join("config.worktree")) {
                self.configuration(&folder, "config.worktree");
            }
            self.steps(&folder);
        }
    }

    /// Takes everything out of a repository that was made, or moved here, by which git would run something.
    fn inspect(&mut self, git: &Path) {
        if !self.inspected.insert(git.to_path_buf()) {
            return;
        }
        // Its owner may have closed it, and can open it again.
        let _ = walk::open_and_list(git);
        if repository::modules_are_hidden(git) {
            self.refuse(&git.join("modules"), UndoneKind::NotSeen);
        }
        let common = git.join("commondir");
        if beneath::exists(&common) {
            self.refuse(&common, UndoneKind::GitRedirection);
        }
        self.hooks(&git.join("hooks"));
        for name in ["config", "config.worktree"] {
            self.configuration(git, name);
        }
        self.steps(git);
        for module in repository::modules_of(git) {
            self.inspect(&module);
        }
        self.worktrees(git);
    }

    /// All hooks but git's own samples, which git does not run.
    fn hooks(&mut self, folder: &Path) {
        match beneath::status(folder) {
            Err(Errno::ENOENT) => return,
            Ok(status) if status.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits() => {}
            _ => return self.refuse(folder, UndoneKind::GitHook),
        }
        match walk::open_and_list(folder) {
            Ok(entries) => {
                for entry in entries.flatten() {
                    let name = entry.file_name();
                    let name = name.as_encoded_bytes();
                    if !name.ends_with(b".sample") && !name.ends_with(REFUSED.as_bytes()) {
                        self.refuse(&entry.path(), UndoneKind::GitHook);
                    }
                }
            }
            // What cannot be listed may be run all the same.
            Err(_) => self.refuse(folder, UndoneKind::GitHook),
        }
    }

    /// Leaves of a configuration only what can make git run nothing.
    fn configuration(&mut self, git: &Path, name: &str) {
        let path = git.join(name);
        let bytes = match beneath::read(&path, git_configuration::LONGEST + 1) {
            Ok(bytes) => bytes,
            Err(Errno::ENOENT) => return,
            Err(_) => return self.refuse(&path, UndoneKind::GitConfiguration),
        };
        // Where it leads now; a repository of a call's is looked at again after each further call.
        let inside = |place: &str| fs::canonicalize(git.join(place)).is_ok_and(|place| place.starts_with(&self.before.workspace));
        let kept = git_configuration::harmless(&bytes, &inside);
        let own = self.before.own.get(&path);
        if kept.dropped.iter().any(|key| own.is_none_or(|own| !own.contains(key))) {
            self.refuse(&path, UndoneKind::GitConfiguration);
            let _ = beneath::create(&path, kept.text.as_bytes());
        } else if beneath::status(&path).is_ok_and(|status| status.st_nlink > 1) {
            // Another name of the same file would be a way past the cover that a later call lays over this one.
            let _ = beneath::replace(&path, &bytes);
        }
    }

    /// The commands among the steps of a rebase that was left half done: `git rebase --continue` would run them.
    fn steps(&mut self, git: &Path) {
        let folder = git.join("rebase-merge");
        match beneath::status(&folder) {
            Err(Errno::ENOENT) => {}
            Ok(status) if status.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits() => {}
            _ => return self.refuse(&folder, UndoneKind::GitHook),
        }
        // A strategy is the end of a program's name, `git-merge-NAME`; one with a slash in it lies where git is called.
        for (file, whole) in [(folder.join("strategy"), true), (git.join("sequencer/opts"), false)] {
            match beneath::read(&file, LONGEST_LIST) {
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Ok(bytes)
                    if !bytes.contains(&b'/')
                        && (!whole || bytes.trim_ascii().iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'-')) => {}
                _ => self.refuse(&file, UndoneKind::GitHook),
            }
        }
        let path = folder.join("git-rebase-todo");
        let bytes = match beneath::read(&path, LONGEST_LIST + 1) {
            Ok(bytes) => bytes,
            Err(Errno::ENOENT) => return,
            Err(_) => return self.refuse(&path, UndoneKind::GitHook),
        };
        let runs = |line: &[u8]| {
            let word = line.trim_ascii_start().split(u8::is_ascii_whitespace).next().unwrap_or_default();
            word == b"x" || word == b"exec"
        };
        if bytes.len() as u64 > LONGEST_LIST || bytes.split(|byte| *byte == b'\n').any(runs) {
            self.refuse(&path, UndoneKind::GitHook);
            let kept: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').filter(|line| !runs(line)).collect();
            let _ = beneath::create(&path, &kept.join(&b'\n'));
        }
    }

    /// Gives something another name.
    fn refuse(&mut self, path: &Path, kind: UndoneKind) {
        let Some(name) = path.file_name() else { return };
        let mut opened = false;
        let mut refused = None;
        for number in 0..12 {
            let mut other = name.to_os_string();
            other.push(REFUSED);
            match number {
                0 => {}
                1..6 => other.push(format!("-{number}")),
                // Every name that speaks for itself is taken, or too long.
                _ => other = format!("refused-{}", uuid::Uuid::now_v7().simple()).into(),
            }
            let other_path = path.with_file_name(&other);
            if beneath::exists(&other_path) && number < 6 {
                continue;
            }
            let mut renamed = beneath::rename(path, &other);
            // The program may have taken the right to write from the folder; it belongs to the same user.
            if matches!(renamed, Err(Errno::EACCES | Errno::EPERM)) && !opened && make_writable(path.parent()) {
                opened = true;
                renamed = beneath::rename(path, &other);
            }
            match renamed {
                Ok(()) => return self.report(path, Some(other_path), kind, None),
                Err(Errno::ENOENT) => return,
                Err(errno) => refused = Some(errno.desc().to_owned()),
            }
        }
        self.report(path, None, kind, refused);
    }

    /// A repository that cannot be remembered as a call's own would be taken for the person's by the next call, while this one may hold other
    /// names of its files. So it does not stay one.
    fn forget_nothing(&mut self) {
        let mut room = report::CAP;
        let mut made = std::mem::take(&mut self.made);
        // Those of earlier calls are remembered already.
        made.retain(|path| !self.before.made.contains(path));
        made.sort();
        made.dedup();
        for path in made {
            match serde_json::to_vec(&path) {
                Ok(line) if line.len() < room => {
                    room -= line.len() + 1;
                    self.made.push(path);
                }
                _ if path.file_name() == Some(OsStr::new(".git")) => self.refuse(&path, UndoneKind::NotSeen),
                _ => self.refuse(&path.join("HEAD"), UndoneKind::NotSeen),
            }
        }
    }

    fn report(&mut self, path: &Path, became: Option<PathBuf>, kind: UndoneKind, failed: Option<String>) {
        // What cannot be shown is not sent either; names are for people.
        let shown = |path: &Path| PathBuf::from(path.to_string_lossy().into_owned());
        self.undone.push(Undone { path: shown(path), became: became.as_deref().map(shown), kind, failed });
    }
}

fn make_writable(folder: Option<&Path>) -> bool {
    use std::os::unix::fs::PermissionsExt;
    folder.is_some_and(|folder| fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).is_ok())
}

/// Whether a stamp is so new that the clock may not have moved on since the walk.
fn recent(now: Stamp, began: SystemTime) -> bool {
    let seconds = u64::try_from(now[0]).unwrap_or(0);
    let changed = SystemTime::UNIX_EPOCH + Duration::new(seconds, u32::try_from(now[1]).unwrap_or(0));
    changed + TICK >= began
}

/// Whether nobody listens on a socket. Only one that was just made is asked.
pub fn refuses_connections(path: &Path) -> bool {
    let Ok(address) = UnixAddr::new(path) else { return false };
    let kinds = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let Ok(asking) = socket(AddressFamily::Unix, SockType::Stream, kinds, None) else { return false };
    connect(std::os::fd::AsRawFd::as_raw_fd(&asking), &address) == Err(Errno::ECONNREFUSED)
}

/// Compiles the globs of a plan for a walk and the sweep that follows it.
pub fn globs(plan: &crate::sandbox::plan::Plan) -> Result<Arc<Globs>, Failure> {
    Globs::new(&plan.deny_globs, &plan.protect_globs).map(Arc::new)
}
