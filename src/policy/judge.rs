//! What a policy says of one path: the decision that explanations, refusals and tests share.
//!
//! Pure: paths are compared by their components and nothing is looked up. A symbolic link, a hard link, a bind mount and a file
//! system that ignores case are the enforcing layers' business; they hand over the path that the kernel resolved.

use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use globset::GlobMatcher;

use super::{
    groups,
    model::{GitAccess, PathRule, Place, Policy},
    place,
};

/// Where the symbolic places of a policy lie in one session. Absolute and normalised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchors {
    /// The workspace.
    pub workspace: PathBuf,
    /// The home folder of whoever started the session.
    pub home: PathBuf,
    /// The private temporary folder as seen inside, `/tmp`.
    pub temporary: PathBuf,
}

impl Anchors {
    /// Where `place` lies in this session; `None` for a glob, which lies in no one place. The private folders lie where the real
    /// ones would be.
    pub fn path(&self, place: &Place) -> Option<PathBuf> {
        match place {
            Place::Absolute(path) => Some(path.clone()),
            Place::Home(below) => Some(self.home.join(below)),
            // Joined with nothing, a path would gain a slash at its end.
            Place::Workspace(below) if below.as_os_str().is_empty() => Some(self.workspace.clone()),
            Place::Workspace(below) => Some(self.workspace.join(below)),
            Place::WorkspaceGlob(_) => None,
            Place::Temporary => Some(self.temporary.clone()),
            Place::PrivateHome => Some(self.home.clone()),
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// To read, list or run.
    Read,
    /// To create, change, remove or rename.
    Write,
}

/// What sort of rule decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A `deny` rule matches.
    Denied,
    /// The access is a write, and a `protect` rule matches or the path is of git's own that no policy opens.
    Protected,
    /// The access is a write below `.git`, which `git.allow` keeps read-only.
    GitReadOnly,
    /// One layer's `read` or `write` list does not cover the path.
    NotCovered,
    /// Every layer's list covers the path.
    Allowed,
}

/// Why a verdict is what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Because {
    /// The rule that decided. For [`Reason::NotCovered`] the first of the list that lacks the path, which names the file and
    /// the line to change; `None` where that list is empty.
    pub rule: Option<PathRule>,
    /// What sort of rule that is.
    pub kind: Reason,
}

/// The verdict on one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathVerdict {
    /// Whether the access is allowed.
    pub allowed: bool,
    /// Why.
    pub because: Because,
}

impl PathVerdict {
    fn new(kind: Reason, rule: Option<&PathRule>) -> Self {
        Self { allowed: kind == Reason::Allowed, because: Because { rule: rule.cloned(), kind } }
    }
}

/// Judges one path. For many, keep a [`Judge`].
pub fn judge_path(policy: &Policy, anchors: &Anchors, path: &Path, access: Access) -> PathVerdict {
    Judge::new(policy, anchors).judge(path, access)
}

/// A policy with its places found and its globs compiled.
#[derive(Debug)]
pub struct Judge {
    read: Vec<Vec<Found>>,
    write: Vec<Vec<Found>>,
    deny: Vec<Found>,
    protect: Vec<Found>,
    git: GitAccess,
    /// Of these the private home holds copies that can be written.
    caches: Vec<PathBuf>,
    anchors: Anchors,
}

/// A rule and where it lies in this session.
#[derive(Debug)]
struct Found {
    rule: PathRule,
    spot: Spot,
}

#[derive(Debug)]
enum Spot {
    Below(PathBuf),
    Glob(Lazy),
    Private,
}

/// A glob, compiled when something is first held against it: most sessions never do.
#[derive(Debug)]
struct Lazy {
    glob: String,
    /// `None` if it does not compile, which loading excludes: then it stands for everything, so that a rule that takes access away never takes too
    /// little.
    compiled: OnceLock<Option<GlobMatcher>>,
}

impl Lazy {
    fn get(&self) -> Option<&GlobMatcher> {
        self.compiled.get_or_init(|| place::compile(&self.glob).ok()).as_ref()
    }
}

/// A private folder that takes a real one's place.
struct Private<'a> {
    place: Place,
    root: &'a Path,
}

impl Judge {
    /// Finds the places of `policy`.
    pub fn new(policy: &Policy, anchors: &Anchors) -> Self {
        let find = |rules: &[PathRule]| rules.iter().map(|rule| Found { rule: rule.clone(), spot: spot(&rule.place, anchors) }).collect();
        let mut protect: Vec<Found> = find(&policy.filesystem.protect);
        // git's hooks and settings run programs outside the sandbox, so they stay read-only whatever a policy lists.
        let git_exec = groups::group("git-exec").ok().flatten().map(|group| group.rules.as_slice()).unwrap_or_default();
        let of_git = |place: &Place| matches!(place, Place::Workspace(path) if path.starts_with(".git"));
        protect.extend(find(git_exec).into_iter().filter(|found: &Found| of_git(&found.rule.place)));
        Self {
            read: policy.filesystem.read.iter().map(|rules| find(rules)).collect(),
            write: policy.filesystem.write.iter().map(|rules| find(rules)).collect(),
            deny: find(&policy.filesystem.deny),
            protect,
            git: policy.git,
            caches: groups::group("caches")
                .ok()
                .flatten()
                .iter()
                .flat_map(|group| &group.rules)
                .filter_map(|rule| anchors.path(&rule.place))
                .collect(),
            anchors: anchors.clone(),
        }
    }

    /// Judges `path`, which has to be absolute and without `.` and `..`; any other is covered by nothing.
    ///
    /// `deny` beats `protect`, which for a write beats being covered by every layer's list. A private folder hides the real one
    /// in whose place it stands, except where a list names something at or below it, and never the workspace.
    pub fn judge(&self, path: &Path, access: Access) -> PathVerdict {
        if !path.has_root() || path.components().any(|part| part == Component::ParentDir) {
            return PathVerdict::new(Reason::NotCovered, None);
        }
        let below = path.strip_prefix(&self.anchors.workspace).ok();
        let hits = |found: &&Found| matches(&found.spot, path, below);
        if let Some(found) = self.deny.iter().find(hits) {
            return PathVerdict::new(Reason::Denied, Some(&found.rule));
        }
        if access == Access::Write {
            if let Some(found) = self.protect.iter().find(hits) {
                return PathVerdict::new(Reason::Protected, Some(&found.rule));
            }
            if let Some(below) = below.filter(|below| below.starts_with(".git")) {
                // `.git` itself may be a file that names another repository: with `commit`, only what is in it changes.
                let itself = below == Path::new(".git");
                if self.git == GitAccess::None || (itself && self.git == GitAccess::Commit) {
                    return PathVerdict::new(Reason::GitReadOnly, None);
                }
            }
        }
        self.covered(path, access)
    }

    fn covered(&self, path: &Path, access: Access) -> PathVerdict {
        let read = deepest(&self.read, path);
        let write = deepest(&self.write, path);
        let (Some(private), false) = (self.private(path), path.starts_with(&self.anchors.workspace)) else {
            return match (access, read, write) {
                (_, _, Ok(rule)) | (Access::Read, Ok(rule), _) => PathVerdict::new(Reason::Allowed, Some(&rule.rule)),
                (Access::Read, Err(rule), _) | (Access::Write, _, Err(rule)) => {
                    PathVerdict::new(Reason::NotCovered, rule.map(|found| &found.rule))
                }
            };
        };
        let real = |found: &&Found| matches!(&found.spot, Spot::Below(root) if root.starts_with(private.root));
        let (real_read, real_write) = (read.as_ref().ok().copied().filter(real), write.as_ref().ok().copied().filter(real));
        let copied = || named(&self.write, &Place::PrivateHome).filter(|_| self.caches.iter().any(|cache| path.starts_with(cache)));
        let to_read = || named(&self.read, &private.place).filter(|_| access == Access::Read);
        let by_private = || if real_read.is_some() { copied() } else { named(&self.write, &private.place).or_else(to_read) };
        match real_write.or(real_read.filter(|_| access == Access::Read)).or_else(by_private) {
            Some(rule) => PathVerdict::new(Reason::Allowed, Some(&rule.rule)),
            None => PathVerdict::new(Reason::NotCovered, write.err().flatten().or_else(|| first(&self.write)).map(|found| &found.rule)),
        }
    }

    /// The private folder that `path` lies in, if any list asks for it.
    fn private(&self, path: &Path) -> Option<Private<'_>> {
        let folders = [
            Private { place: Place::Temporary, root: self.anchors.temporary.as_path() },
            Private { place: Place::PrivateHome, root: self.anchors.home.as_path() },
        ];
        let asked = |place: &Place| self.write.iter().chain(&self.read).flatten().any(|found| found.rule.place == *place);
        let there = |private: &Private<'_>| path.starts_with(private.root) && asked(&private.place);
        folders.into_iter().filter(there).max_by_key(|private| private.root.components().count())
    }
}

/// Whether the private folder `place` ([`Place::Temporary`] or [`Place::PrivateHome`]) takes the real one's place: one layer's
/// list that names it is enough. If all had to, a repository's file that leaves `@home` out of `write` would bring the real
/// home folder back into view. Who may use the private folder is another question: that takes every list.
pub fn hides(policy: &Policy, place: &Place) -> bool {
    policy.filesystem.write.iter().chain(&policy.filesystem.read).flatten().any(|rule| rule.place == *place)
}

fn spot(place: &Place, anchors: &Anchors) -> Spot {
    match place {
        Place::WorkspaceGlob(glob) => Spot::Glob(Lazy { glob: glob.clone(), compiled: OnceLock::new() }),
        Place::Temporary | Place::PrivateHome => Spot::Private,
        _ => anchors.path(place).map_or(Spot::Private, Spot::Below),
    }
}

/// Whether a rule matches; a glob that matches a folder stands for what is in it too.
fn matches(spot: &Spot, path: &Path, below: Option<&Path>) -> bool {
    match spot {
        Spot::Below(root) => path.starts_with(root),
        // Outside the workspace it matches nothing, and need not be compiled to say so.
        Spot::Glob(glob) => below.is_some_and(|below| match glob.get() {
            None => true,
            Some(glob) => {
                let mut parts = below.ancestors().filter(|part| !part.as_os_str().is_empty());
                parts.any(|part| glob.is_match(part) && !place::is_in_package_folder(part))
            }
        }),
        Spot::Private => false,
    }
}

/// The rule with the deepest root of all that cover `path`, if each list has one; else the first rule of the first list that
/// has none. No list at all covers nothing.
fn deepest<'a>(lists: &'a [Vec<Found>], path: &Path) -> Result<&'a Found, Option<&'a Found>> {
    let depth = |found: &Found| match &found.spot {
        Spot::Below(root) if path.starts_with(root) => Some(root.components().count()),
        _ => None,
    };
    let mut best: Option<(usize, &Found)> = None;
    for list in lists {
        let deepest = list.iter().filter_map(|found| depth(found).map(|depth| (depth, found))).max_by_key(|(depth, _)| *depth);
        let Some(deepest) = deepest else { return Err(list.first()) };
        best = best.filter(|best| best.0 >= deepest.0).or(Some(deepest));
    }
    best.map(|(_, found)| found).ok_or(None)
}

/// The rule by which the first list names the private folder `place`, if every list names it.
fn named<'a>(lists: &'a [Vec<Found>], place: &Place) -> Option<&'a Found> {
    let by = |list: &'a Vec<Found>| list.iter().find(|found| found.rule.place == *place);
    if lists.iter().all(|list| by(list).is_some()) { lists.first().and_then(by) } else { None }
}

fn first(lists: &[Vec<Found>]) -> Option<&Found> {
    lists.first().and_then(|list| list.first())
}
