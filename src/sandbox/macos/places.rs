//! Where the places of a plan lie on a Mac, which has no mounts of a process' own: a private folder is used where it really is, and the folder
//! that it stands in for is closed.

use std::path::{Path, PathBuf};

use super::refusal::Refusal;
use crate::{
    policy::GitAccess,
    sandbox::plan::{Access, Plan, Root},
};

/// Folders at the top that are links, and what they lead to (hier(7) of macOS).
const LINKS: [(&str, &str); 3] = [("/etc", "/private/etc"), ("/tmp", "/private/tmp"), ("/var", "/private/var")];

/// The path that the kernel knows a place by.
pub fn real(path: &Path) -> PathBuf {
    let below = |(link, target): &(&str, &str)| path.strip_prefix(link).ok().map(|rest| join(Path::new(target), rest));
    LINKS.iter().find_map(below).unwrap_or_else(|| path.to_path_buf())
}

/// Joined with nothing, a path would gain a slash at its end.
pub fn join(folder: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { folder.to_path_buf() } else { folder.join(rest) }
}

/// What a call may do in one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Where it lies.
    pub folder: PathBuf,
    /// Where the policy sees it; the same but for a private folder.
    pub seen: PathBuf,
    /// What may be done there.
    pub access: Access,
    /// Whether it is one of the session's own.
    pub private: bool,
}

/// What a plan comes to on a Mac.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Folders that private ones stand in for: closed, but for what is granted in them.
    pub hidden: Vec<PathBuf>,
    /// What is granted, a folder before those in it, and the private ones last.
    pub grants: Vec<Grant>,
}

impl Places {
    /// Finds them.
    ///
    /// # Errors
    /// Where a root shows what lies elsewhere, or keeps apart a whole home.
    pub fn of(plan: &Plan) -> Result<Self, Refusal> {
        let mut places = Self { hidden: Vec::new(), grants: Vec::new() };
        let mut private = Vec::new();
        for root in &plan.roots {
            let grant = |folder: &Path, access| Grant { folder: real(folder), seen: real(&root.target), access, private: false };
            match (is_of_session(plan, root), &root.copy) {
                // A cache that calls would write copies of is only read: stricter, and the person's own stays as it is all the same.
                (_, Some(_)) if root.target == root.source && root.target != plan.home => {
                    places.grants.push(grant(&root.source, Access::Read));
                }
                (_, Some(_)) => return Err(Refusal::Copy { target: root.target.clone() }),
                (true, None) => {
                    places.hidden.push(real(&root.target));
                    private.push(Grant { private: true, ..grant(&root.source, root.access) });
                }
                (false, None) if root.source == root.target => places.grants.push(grant(&root.source, root.access)),
                (false, None) => {
                    return Err(Refusal::OtherContent { target: root.target.clone(), source_folder: root.source.clone() });
                }
            }
        }
        places.grants.extend(private);
        Ok(places)
    }

    /// The folders that can be written.
    pub fn writable(&self) -> impl Iterator<Item = &Grant> {
        self.grants.iter().filter(|grant| grant.access == Access::Write)
    }

    /// Whether anything but private folders can be written. What is moved out of a folder takes what it holds along, so that protected names are
    /// kept in all writable folders or in none.
    pub fn changes_anything(&self) -> bool {
        self.writable().any(|grant| !grant.private)
    }

    /// Whether `path` lies in something granted, or around it.
    pub fn touches(&self, path: &Path) -> bool {
        self.grants.iter().any(|grant| path.starts_with(&grant.folder) || grant.folder.starts_with(path))
    }

    /// Where a place of the policy's lies: in the private folder that stands in for the one around it, if one does.
    pub fn lies(&self, path: &Path) -> PathBuf {
        let path = real(path);
        let around = self.grants.iter().filter(|grant| path.starts_with(&grant.seen)).max_by_key(|grant| grant.seen.components().count());
        match around {
            Some(grant) if grant.private => join(&grant.folder, path.strip_prefix(&grant.seen).unwrap_or(Path::new(""))),
            _ => path,
        }
    }
}

/// Whether a root is a folder of the session's private one, shown where a host's would be.
fn is_of_session(plan: &Plan, root: &Root) -> bool {
    root.source != root.target && root.source.starts_with(&plan.private)
}

/// The folder of the workspace's own repository, and of the one that it is linked to.
pub fn git_folders(plan: &Plan) -> Vec<PathBuf> {
    let linked = plan.linked.iter().flat_map(|linked| [linked.common.clone(), linked.own.clone()]);
    [plan.workspace.join(".git")].into_iter().chain(linked).map(|path| real(&path)).collect()
}

/// The fixed places that are never writable, also while absent.
pub fn protected(plan: &Plan) -> Vec<PathBuf> {
    let mut all = plan.protect.clone();
    if plan.git == GitAccess::None {
        all.extend(plan.linked.iter().flat_map(|linked| [linked.common.clone(), linked.own.clone()]));
        all.push(plan.workspace.join(".git"));
    }
    all
}
