//! What is denied and protected in a workspace: from a plan and what a walk found to the covers that are laid, and to what the sweep has to
//! look at because no mount can cover it.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Failure,
    covers::{Absent, Cover, Covers},
    host_sockets::HostSockets,
    repository::{self, EXECUTING},
    sweep::Before,
    view::make_mountpoint,
    walk::{self, Globs},
    watches::Watches,
};
use crate::{
    policy::GitAccess,
    sandbox::plan::{Access, Plan},
};

/// Inside `.git`, besides what the policy's groups name: it would make git look for its configuration and hooks elsewhere.
const COMMON_FOLDER: &str = ".git/commondir";

/// What was laid.
#[derive(Debug)]
pub struct Laid {
    /// Denied places that were hidden.
    pub hidden: usize,
    /// Protected places that were made read-only.
    pub protected: usize,
    /// What the workspace held, where it can change.
    pub before: Option<Before>,
}

/// Covers what is denied and protected. `outside` are denied places that lie in nothing granted, and whether each is a folder; `made` are
/// repositories that earlier calls made.
///
/// `watches` are told of everything that is looked at for it.
pub fn lay(
    plan: &Plan,
    outside: &[(PathBuf, bool)],
    mut sockets: HostSockets,
    made: &HashSet<PathBuf>,
    globs: &Arc<Globs>,
    watches: &mut Watches,
) -> Result<Laid, Failure> {
    let mut covers = Covers::new(plan);
    let writable = is_writable(plan, &plan.workspace);
    let mut found = walk::walk(&plan.workspace, &plan.workspace, globs, walk::Purpose::Cover, watches)?;
    for path in &plan.deny {
        if !outside.iter().any(|(other, _)| other == path) {
            covers.resolve(path, Cover::Deny, Absent::Passes)?;
        }
    }
    for path in &found.deny {
        covers.resolve(path, Cover::Deny, Absent::Passes)?;
    }
    for path in protected(plan) {
        covers.resolve(&path, Cover::Protect, Absent::Refuses)?;
    }
    // What earlier calls made has no covers, so that it can be removed; the sweep looks into it.
    let is_made = |path: &PathBuf| made.contains(path);
    let made = found.repositories.iter().chain(&found.bare).filter(|path| is_made(path)).cloned().collect();
    found.repositories.retain(|path| !is_made(path));
    found.bare.retain(|path| !is_made(path));
    let mut absent = Vec::new();
    let git = git_folders(plan, &found, watches);
    for folder in &git {
        for (path, cover) in git_covers(plan, folder) {
            covers.resolve(&path, cover, Absent::Passes)?;
        }
    }
    let named = named_by_configurations(plan, &found, &git);
    if watches.any() {
        named.iter().for_each(|place| watches.content(place));
        // What was read before it was watched is read again.
        if named_by_configurations(plan, &found, &git) != named {
            watches.give_up();
        }
    }
    for place in named {
        // What does not exist is for the sweep: a placeholder would have to be journalled before this process can know of it.
        match fs::canonicalize(&place) {
            // A place that holds the workspace names nothing in particular.
            Ok(real) if plan.workspace.starts_with(&real) => {}
            Ok(real) => covers.resolve(&real, Cover::Protect, Absent::Passes)?,
            Err(_) => absent.push(place),
        }
    }
    // A `.git` that is a folder stays in its place; one that is a file or a link stays as it is.
    let redirecting = found.repositories.iter().filter(|path| plan.git == GitAccess::None || !git.contains(path));
    for path in found.protect.iter().chain(redirecting) {
        covers.resolve(path, Cover::Protect, Absent::Passes)?;
    }
    // What a protected folder holds may be a link to a file elsewhere in the workspace, which is then what runs.
    let mut folders: Vec<PathBuf> = protected(plan).into_iter().chain(found.protect.iter().cloned()).collect();
    folders.extend(git.iter().map(|folder| folder.join("hooks")));
    let links: Vec<(&PathBuf, PathBuf)> =
        folders.iter().flat_map(|folder| linked_from(folder, watches).into_iter().map(move |target| (folder, target))).collect();
    for (folder, target) in links {
        watches.place(&target);
        match fs::canonicalize(&target) {
            // A link upwards names nothing that would run.
            Ok(real) if folder.starts_with(&real) => {}
            Ok(real) => covers.resolve(&real, Cover::Protect, Absent::Passes)?,
            Err(_) => absent.push(target),
        }
    }
    // A grant of its own below a protected place does not take it out of protection.
    let mut closed = protected(plan);
    closed.extend(git.iter().flat_map(|folder| EXECUTING.map(|name| folder.join(name))));
    for root in plan.roots.iter().filter(|root| root.access == Access::Write && !root.is_private()) {
        let below_workspace = root.target.strip_prefix(&plan.workspace).ok();
        let by_glob = below_workspace.is_some_and(|below| below.ancestors().any(|part| is_named(globs, part)));
        if by_glob || closed.iter().any(|path| root.target.starts_with(path)) {
            covers.insert(&root.target, Cover::Protect);
        }
    }
    for path in &found.sockets {
        // What stands in the place of an absent protected name is a socket too.
        if !covers.protects(path) && sockets.lives(path) {
            covers.resolve(path, Cover::Deny, Absent::Passes)?;
        }
    }
    let granted: Vec<PathBuf> = plan.sockets.iter().map(|path| fs::canonicalize(path).unwrap_or_else(|_| path.clone())).collect();
    for path in sockets.paths() {
        if !granted.contains(&path) && !path.starts_with(&plan.workspace) {
            covers.resolve(&path, Cover::Deny, Absent::Passes)?;
        }
    }
    for (path, folder) in outside {
        make_mountpoint(path, *folder)?;
        covers.insert(path, Cover::Deny);
    }
    let before = writable.then(|| Before::new(&plan.workspace, Arc::clone(globs), &mut found, &git, &own_folders(plan), made, absent));
    let (hidden, protected) = covers.lay()?;
    Ok(Laid { hidden, protected, before })
}

/// Whether a part of a path below the workspace has a protected name.
fn is_named(globs: &Globs, part: &Path) -> bool {
    !part.as_os_str().is_empty() && globs.protects(part)
}

/// How deep a protected folder is searched for links, and how many of its entries are looked at.
const LINK_DEPTH: usize = 4;
const LINK_ENTRIES: usize = 2000;

/// What the symbolic links in a protected folder lead to.
fn linked_from(folder: &Path, watches: &mut Watches) -> Vec<PathBuf> {
    let mut targets = Vec::new();
    let mut pending = vec![(folder.to_path_buf(), 0)];
    let mut seen = 0;
    watches.listing(folder);
    while let Some((folder, depth)) = pending.pop() {
        if fs::symlink_metadata(&folder).is_ok_and(|found| found.is_dir()) {
            watches.folder(&folder);
        }
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            seen += 1;
            let Ok(kind) = entry.file_type() else { continue };
            if seen > LINK_ENTRIES {
                return targets;
            }
            if kind.is_dir() && depth < LINK_DEPTH {
                pending.push((entry.path(), depth + 1));
            } else if kind.is_symlink()
                && let Ok(content) = fs::read_link(entry.path())
            {
                targets.push(folder.join(content));
            }
        }
    }
    targets
}

fn is_writable(plan: &Plan, path: &Path) -> bool {
    plan.innermost(path).is_some_and(|root| root.access == Access::Write)
}

/// The folders of all repositories that a call could change: the workspace's own, those below it, and those of their submodules.
fn git_folders(plan: &Plan, found: &walk::Found, watches: &mut Watches) -> Vec<PathBuf> {
    let own = plan.workspace.join(".git");
    let mut all: Vec<PathBuf> = plan.linked.iter().flat_map(|linked| [linked.common.clone(), linked.own.clone()]).collect();
    for path in found.repositories.iter().chain([&own]) {
        all.extend(repository::folder_named_by(path));
        if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
            all.push(path.clone());
        }
    }
    all.extend(found.bare.iter().cloned());
    if watches.any() {
        watches.content(&own);
        all.iter().for_each(|folder| watches.listing(&folder.join("modules")));
        found.repositories.iter().for_each(|path| watches.content(path));
    }
    let modules: Vec<PathBuf> = all.iter().flat_map(|folder| repository::modules_of(folder)).collect();
    // A submodule's name may have slashes in it.
    modules.iter().filter_map(|module| module.parent()).for_each(|parent| watches.folder(parent));
    all.extend(modules);
    all.sort();
    all.dedup();
    if watches.any() {
        all.iter().for_each(|folder| watch_repository(folder, watches));
    }
    all
}

/// What is read of the folder of a repository.
fn watch_repository(folder: &Path, watches: &mut Watches) {
    watches.place(folder);
    for name in EXECUTING {
        watches.content(&folder.join(name));
    }
    for name in ["modules", "worktrees"] {
        watches.listing(&folder.join(name));
    }
    for worktree in repository::worktrees_of(folder) {
        for name in ["commondir", "config.worktree", "gitdir"] {
            watches.content(&worktree.join(name));
        }
    }
}

/// The git folders that were the person's before any call: the workspace's own, and the one that it is linked to.
fn own_folders(plan: &Plan) -> Vec<PathBuf> {
    let linked = plan.linked.iter().flat_map(|linked| [linked.common.clone(), linked.own.clone()]);
    linked.chain([plan.workspace.join(".git")]).collect()
}

/// What the configurations of all repositories here, and those of the person and the machine, name in the workspace.
fn named_by_configurations(plan: &Plan, found: &walk::Found, git: &[PathBuf]) -> Vec<PathBuf> {
    // Hooks run at the top of a work tree; which of them a configuration is for does not matter.
    let mut tops: Vec<PathBuf> = found.repositories.iter().filter_map(|path| path.parent()).map(Path::to_path_buf).collect();
    tops.push(plan.workspace.clone());
    tops.extend(found.bare.iter().cloned());
    let worktrees = git.iter().flat_map(|folder| repository::worktrees_of(folder));
    let mut files: Vec<PathBuf> =
        git.iter().cloned().chain(worktrees).flat_map(|folder| ["config", "config.worktree"].map(|name| folder.join(name))).collect();
    files.extend([".gitconfig", ".config/git/config"].map(|name| plan.home.join(name)));
    files.push("/etc/gitconfig".into());
    let bases = repository::Bases { tops: &tops, home: &plan.home };
    let mut places: Vec<PathBuf> = files.iter().flat_map(|file| repository::places_named_by_configuration(file, &bases)).collect();
    places.sort();
    places.dedup();
    places
}

/// How the folder of a repository is covered: what makes git run something stays as it is, and the folder stays in its place.
fn git_covers(plan: &Plan, folder: &Path) -> Vec<(PathBuf, Cover)> {
    if plan.git == GitAccess::None {
        return vec![(folder.to_path_buf(), Cover::Protect)];
    }
    let mut covers: Vec<(PathBuf, Cover)> = EXECUTING.iter().map(|name| (folder.join(name), Cover::Protect)).collect();
    covers.push((folder.to_path_buf(), Cover::Pin));
    let own = plan.linked.as_ref().map(|linked| linked.own.as_path());
    for worktree in repository::worktrees_of(folder).into_iter().filter(|worktree| own != Some(worktree)) {
        // One that lies elsewhere is none of the call's business. One that lies in the workspace can be removed; the sweep looks at it.
        let named = repository::place_named_in(&worktree.join("gitdir"), "");
        if named.is_some_and(|named| named.starts_with(&plan.workspace)) {
            covers.extend(Some((worktree.join("config.worktree"), Cover::Protect)).filter(|(path, _)| path.exists()));
        } else {
            covers.push((worktree, Cover::Protect));
        }
    }
    if own == Some(folder) {
        covers.push((folder.join("gitdir"), Cover::Protect));
    }
    covers
}

/// The fixed places that are never writable, also while absent.
pub fn protected(plan: &Plan) -> Vec<PathBuf> {
    let mut all = plan.protect.clone();
    let git = plan.workspace.join(".git");
    if plan.git == GitAccess::None {
        all.retain(|path| !path.starts_with(&git));
        all.push(git);
    } else {
        all.push(plan.workspace.join(COMMON_FOLDER));
    }
    all
}
