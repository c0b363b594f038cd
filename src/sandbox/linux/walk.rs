//! One walk through the workspace for what only a look can tell: paths that match a glob, repositories inside the repository, and sockets.
//!
//! It runs in the sandbox that is being made, after the mounts and before the program, and follows no symbolic link. What it saw of the
//! folders is kept for the [sweep](super::sweep) at the end of the call.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::{Failure, watches::Watches};
use crate::policy::place::is_in_package_folder;

/// The most entries that are looked at. Beyond, a glob cannot be promised to have found all that it covers, and nothing starts.
pub const ENTRY_CAP: usize = 2_000_000;

/// When a folder was last changed: `st_ctime` and `st_mtime` in seconds and nanoseconds. A program cannot set the first one back.
pub type Stamp = [i64; 4];

/// What a walk found, as absolute paths.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Paths that match a `deny` glob.
    pub deny: Vec<PathBuf>,
    /// Paths that match a `protect` glob.
    pub protect: Vec<PathBuf>,
    /// Folders, files and links named `.git` below the workspace's own.
    pub repositories: Vec<PathBuf>,
    /// Folders that git takes for a repository without a work tree (gitrepository-layout(5)).
    pub bare: Vec<PathBuf>,
    /// Sockets.
    pub sockets: Vec<PathBuf>,
    /// Every folder that was looked into.
    pub folders: Vec<(PathBuf, Stamp)>,
    /// Folders that could not be looked into, and why. A walk that lays covers ends at the first instead.
    pub unseen: Vec<(PathBuf, String)>,
}

/// What makes git take a folder for a repository, as bits: `HEAD` beside `objects` and `refs`, or beside a file that says where those are.
const MARKS: [(&str, u8); 4] = [("HEAD", 1), ("objects", 2), ("refs", 4), ("commondir", 8)];

/// Whether names like these make git take their folder for a repository.
pub fn looks_like_a_repository<'a>(names: impl Iterator<Item = &'a OsStr>) -> bool {
    let bit = |name: &OsStr| MARKS.iter().find(|(mark, _)| name == *mark).map_or(0, |(_, bit)| *bit);
    is_marked(names.fold(0, |marks, name| marks | bit(name)))
}

fn is_marked(marks: u8) -> bool {
    marks & 7 == 7 || marks & 9 == 9
}

/// For what a walk is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To lay covers: what is denied is not looked into.
    Cover,
    /// To find what a call left behind: everything is looked into, and what the call has closed is opened.
    Sweep,
}

/// The globs of a plan, compiled.
#[derive(Debug)]
pub struct Globs {
    deny: GlobSet,
    protect: GlobSet,
    any_denied: bool,
}

impl Globs {
    /// Compiles the globs of a plan; `/` is matched only literally.
    pub fn new(deny: &[String], protect: &[String]) -> Result<Self, Failure> {
        Ok(Self { deny: set(deny)?, protect: set(protect)?, any_denied: !deny.is_empty() })
    }

    /// Whether a path, relative to the workspace, matches a `protect` glob.
    pub fn protects(&self, relative: &Path) -> bool {
        self.protect.is_match(relative) && !is_in_package_folder(relative)
    }

    fn denies(&self, relative: &Path) -> bool {
        self.deny.is_match(relative) && !is_in_package_folder(relative)
    }
}

/// Walks through `folder`, which is the workspace or lies below it. A folder that cannot be read is itself denied where a `deny` glob could
/// match in it: the program may be its owner and change its mode, or know the names in it.
///
/// `watches` are told of each folder before it is looked into.
pub fn walk(workspace: &Path, folder: &Path, globs: &Globs, purpose: Purpose, watches: &mut Watches) -> Result<Found, Failure> {
    let step = "look through the workspace";
    let mut found = Found::default();
    let mut pending = vec![folder.to_path_buf()];
    let mut seen = 0usize;
    while let Some(folder) = pending.pop() {
        let failure = |error: &io::Error| Failure::system(step, error).about(&folder);
        watches.folder(&folder);
        // Before its entries are read, so that what is made meanwhile shows as a change.
        let stamp = match stamp(&folder) {
            Ok(stamp) => stamp,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) if purpose == Purpose::Sweep => {
                found.unseen.push((folder.clone(), error.to_string()));
                continue;
            }
            Err(error) => return Err(failure(&error)),
        };
        let entries = match if purpose == Purpose::Sweep { open_and_list(&folder) } else { fs::read_dir(&folder) } {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) if purpose == Purpose::Cover && error.kind() == io::ErrorKind::PermissionDenied && folder != workspace => {
                if globs.any_denied {
                    found.deny.push(folder);
                }
                continue;
            }
            Err(error) if purpose == Purpose::Sweep => {
                found.unseen.push((folder.clone(), error.to_string()));
                continue;
            }
            Err(error) => return Err(failure(&error)),
        };
        let (mut marks, mut below) = (0u8, Vec::new());
        for entry in entries {
            seen += 1;
            let entry = match entry {
                Ok(entry) if seen <= ENTRY_CAP => entry,
                Ok(_) if purpose == Purpose::Sweep => {
                    found.unseen.push((folder.clone(), format!("more than {ENTRY_CAP} files")));
                    return Ok(found);
                }
                Ok(_) => {
                    let reason = format!(
                        "more than {ENTRY_CAP} files, so that not all that a glob covers could be found; name a smaller folder with --workspace"
                    );
                    return Err(Failure::new(step, reason));
                }
                Err(error) if purpose == Purpose::Sweep => {
                    found.unseen.push((folder.clone(), error.to_string()));
                    break;
                }
                Err(error) => return Err(failure(&error)),
            };
            let path = entry.path();
            let relative = path.strip_prefix(workspace).unwrap_or(&path);
            if purpose == Purpose::Cover && globs.denies(relative) {
                found.deny.push(path);
                continue;
            }
            if globs.protects(relative) {
                found.protect.push(path.clone());
            }
            let name = entry.file_name();
            if name == ".git" {
                if folder != workspace {
                    found.repositories.push(path);
                }
                continue;
            }
            marks |= MARKS.iter().find(|(mark, _)| name == *mark).map_or(0, |(_, bit)| *bit);
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => below.push(path),
                Ok(kind) if kind.is_socket() => found.sockets.push(path),
                _ => {}
            }
        }
        if is_marked(marks) {
            found.bare.push(folder.clone());
        }
        pending.extend(below);
        found.folders.push((folder, stamp));
    }
    Ok(found)
}

/// Lists a folder, after giving its owner the right to if that was taken away.
pub fn open_and_list(folder: &Path) -> io::Result<fs::ReadDir> {
    let metadata = fs::symlink_metadata(folder)?;
    if metadata.is_dir() && metadata.mode() & 0o700 != 0o700 {
        // Without it the listing fails, which the caller reports.
        let _ = fs::set_permissions(folder, fs::Permissions::from_mode(metadata.mode() & 0o7777 | 0o700));
    }
    fs::read_dir(folder)
}

/// When `folder` was last changed.
pub fn stamp(folder: &Path) -> io::Result<Stamp> {
    let metadata = fs::symlink_metadata(folder)?;
    Ok([metadata.ctime(), metadata.ctime_nsec(), metadata.mtime(), metadata.mtime_nsec()])
}

fn set(globs: &[String]) -> Result<GlobSet, Failure> {
    let failure = |error: globset::Error| Failure::new("compile a glob", error.to_string());
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        builder.add(GlobBuilder::new(glob).literal_separator(true).build().map_err(failure)?);
    }
    builder.build().map_err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_finds_matches_repositories_and_sockets_and_follows_no_link() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("a/b/.git/hooks")).unwrap();
        fs::create_dir_all(at(".git")).unwrap();
        fs::create_dir_all(at("bare/objects/aa")).unwrap();
        fs::create_dir_all(at("bare/refs")).unwrap();
        fs::write(at("bare/HEAD"), "").unwrap();
        fs::write(at("a/.env"), "").unwrap();
        fs::write(at("a/b/x.code-workspace"), "").unwrap();
        std::os::unix::fs::symlink("..", at("a/loop")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("a/socket")).unwrap();
        let globs = Globs::new(&["**/.env".to_owned()], &["**/*.code-workspace".to_owned()]).unwrap();
        let found = walk(root.path(), root.path(), &globs, Purpose::Cover, &mut Watches::none()).unwrap();
        assert_eq!(found.deny, [at("a/.env")]);
        assert_eq!(found.protect, [at("a/b/x.code-workspace")]);
        assert_eq!(found.repositories, [at("a/b/.git")]);
        assert_eq!(found.bare, [at("bare")]);
        assert_eq!(found.sockets, [at("a/socket")]);
        let mut folders: Vec<_> = found.folders.iter().map(|(path, _)| path.clone()).collect();
        folders.sort();
        let below = ["a", "a/b", "bare", "bare/objects", "bare/objects/aa", "bare/refs"].map(at);
        assert_eq!(folders[0], root.path());
        assert_eq!(folders[1..], below);
    }
}
