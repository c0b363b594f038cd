//! The covers that are laid inside what a plan grants, place by place: see [`super::view`] for what each is.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use nix::errno::Errno;

use super::{Failure, view::attach};
use crate::sandbox::{
    plan::{Access, Plan},
    sys,
};

/// Below the private `/dev`: an empty folder that nobody may open, to lay over what is denied.
pub const MASKED_FOLDER: &str = "/dev/.denied/folder";
/// The same for a file.
pub const MASKED_FILE: &str = "/dev/.denied/file";

/// How a place is covered; of two covers on one place the later variant wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cover {
    /// It stays in its place.
    Pin,
    /// It is a link, and stays the one that it is.
    Link,
    /// It is read-only.
    Protect,
    /// It is hidden.
    Deny,
}

/// What the absence of a place means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// There is nothing to cover.
    Passes,
    /// It could be made, so the folder that would hold it is covered in its stead.
    Refuses,
}

/// The covers of a view, before they are laid.
#[derive(Debug)]
pub struct Covers<'a> {
    plan: &'a Plan,
    at: BTreeMap<PathBuf, Cover>,
    /// What was seen so far on the ways to them: many lie below the same folders, or below the same absent ones.
    seen: HashMap<PathBuf, Seen>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Absent,
    Link,
    Folder,
    Other,
}

impl<'a> Covers<'a> {
    /// None yet.
    pub fn new(plan: &'a Plan) -> Self {
        Self { plan, at: BTreeMap::new(), seen: HashMap::new() }
    }

    /// Whether a place is protected so far.
    pub fn protects(&self, path: &Path) -> bool {
        self.at.get(path) == Some(&Cover::Protect)
    }

    /// Notes a cover for one place.
    pub fn insert(&mut self, path: &Path, cover: Cover) {
        let entry = self.at.entry(path.to_path_buf()).or_insert(cover);
        *entry = (*entry).max(cover);
    }

    fn look(&mut self, path: &Path) -> io::Result<Seen> {
        if let Some(seen) = self.seen.get(path) {
            return Ok(*seen);
        }
        let seen = match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_symlink() => Seen::Link,
            Ok(metadata) if metadata.is_dir() => Seen::Folder,
            Ok(_) => Seen::Other,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Seen::Absent,
            Err(error) => return Err(error),
        };
        self.seen.insert(path.to_path_buf(), seen);
        Ok(seen)
    }

    /// Follows `path` from the root that grants it, component by component, and notes a cover for each.
    pub fn resolve(&mut self, path: &Path, cover: Cover, absent: Absent) -> Result<(), Failure> {
        self.resolve_at_depth(path, cover, absent, 0)
    }

    fn resolve_at_depth(&mut self, path: &Path, cover: Cover, absent: Absent, depth: u8) -> Result<(), Failure> {
        let step = "protect a place";
        if depth > 40 {
            return Err(Failure::new(step, "too many symbolic links").about(path));
        }
        let Some(root) = self.plan.innermost(path) else { return Ok(()) };
        let writable = root.access == Access::Write;
        // Where nothing can be written nothing can be moved away either. What stands there may be another session's placeholder, which can go
        // at any moment.
        if matches!(cover, Cover::Protect | Cover::Pin) && !writable {
            return Ok(());
        }
        // Below an optional root that this machine lacks there is nothing.
        let mut current = root.target.clone();
        let rest: Vec<_> = path.strip_prefix(&root.target).unwrap_or(Path::new("")).components().collect();
        for (index, component) in rest.iter().enumerate() {
            current.push(component);
            let seen = self.look(&current).map_err(|error| Failure::system(step, &error).about(&current))?;
            if seen == Seen::Absent {
                if absent == Absent::Passes {
                    return Ok(());
                }
                if index == 0 {
                    return Err(Failure::errno(step, Errno::ENOENT).about(&current));
                }
                // A folder that lacks what a placeholder would have filled is itself the placeholder, or lies behind a link,
                // where none is made.
                current.pop();
                self.insert(&current, cover);
                return Ok(());
            }
            if seen == Seen::Link {
                if writable {
                    self.insert(&current, Cover::Link);
                }
                let real = match fs::canonicalize(&current) {
                    Ok(real) => real,
                    // Where absence passes, a link to nothing is an absence too; the link itself is covered.
                    Err(_) if cover == Cover::Deny || absent == Absent::Passes || !self.could_be_made(&current) => return Ok(()),
                    // What a dangling link points to could be made, and the link would then lead there.
                    Err(error) => {
                        return Err(Failure::system(step, &error)
                            .about(&current)
                            .with_remedy("Remove this dangling link, or make what it points to"));
                    }
                };
                let onward: PathBuf = rest[index + 1..].iter().collect();
                let onward = if onward.as_os_str().is_empty() { real } else { real.join(onward) };
                return self.resolve_at_depth(&onward, cover, absent, depth + 1);
            }
            let last = index + 1 == rest.len();
            if last || seen != Seen::Folder {
                // `.git` is a file in linked worktrees and submodules: then it is that file which must stay as it is.
                self.insert(&current, cover);
                return Ok(());
            }
            if writable {
                self.insert(&current, Cover::Pin);
            }
        }
        // The root itself.
        self.insert(path, cover);
        Ok(())
    }

    /// Whether a program could make what a dangling link points to, in a place that the host has as well. A link to what lies outside of
    /// the view is harmless: nothing can be made there.
    fn could_be_made(&self, link: &Path) -> bool {
        let Ok(content) = fs::read_link(link) else { return true };
        let target = link.parent().unwrap_or(link).join(content);
        for place in target.ancestors() {
            match fs::canonicalize(place) {
                Ok(real) => {
                    return self.plan.innermost(&real).is_some_and(|root| root.access == Access::Write && !root.is_private());
                }
                // A further dangling link, or `..` after what is not there: where that leads depends on what is made.
                Err(_) if fs::symlink_metadata(place).is_ok() || place.file_name().is_none() => return true,
                Err(_) => {}
            }
        }
        true
    }

    /// Attaches all covers, parents first. Returns how many places were hidden and how many protected.
    pub fn lay(self) -> Result<(usize, usize), Failure> {
        let (mut hidden, mut protected) = (0, 0);
        let mut closed: Option<(PathBuf, Cover)> = None;
        for (path, cover) in self.at {
            if let Some((above, how)) = &closed
                && path.starts_with(above)
                && (*how == Cover::Deny || cover != Cover::Deny)
            {
                continue;
            }
            let step = "cover a place";
            let failure = |error: io::Error| Failure::system(step, &error).about(&path);
            match cover {
                Cover::Deny => {
                    let folder = fs::metadata(&path).map_err(failure)?.is_dir();
                    let mask = sys::clone_mounts(Path::new(if folder { MASKED_FOLDER } else { MASKED_FILE }), false).map_err(failure)?;
                    let attributes = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
                    sys::restrict_mount(mask.as_fd(), attributes, true).map_err(failure)?;
                    attach(&mask, &path)?;
                    hidden += 1;
                }
                Cover::Protect | Cover::Link | Cover::Pin => {
                    let copy = sys::clone_mounts(&path, false).map_err(failure)?;
                    if cover == Cover::Protect {
                        sys::restrict_mount(copy.as_fd(), libc::MOUNT_ATTR_RDONLY, true).map_err(failure)?;
                        protected += 1;
                    }
                    attach(&copy, &path)?;
                }
            }
            if matches!(cover, Cover::Deny | Cover::Protect) {
                closed = Some((path, cover));
            }
        }
        Ok((hidden, protected))
    }
}
