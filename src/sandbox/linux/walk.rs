//! One walk through the workspace for what only a look can tell: paths that match a glob, and repositories inside the repository.
//!
//! It runs in the sandbox that is being made, after the mounts and before the program, and follows no symbolic link.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::Failure;

/// The most entries that are looked at. Beyond, a glob cannot be promised to have found all that it covers, and nothing starts.
pub const ENTRY_CAP: usize = 2_000_000;

/// What a walk found, as absolute paths.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Paths that match a `deny` glob.
    pub deny: Vec<PathBuf>,
    /// Paths that match a `protect` glob.
    pub protect: Vec<PathBuf>,
    /// Folders and files named `.git` below the workspace's own.
    pub repositories: Vec<PathBuf>,
}

/// Walks `workspace`. A folder that cannot be read is itself denied where a `deny` glob could match in it: the program may be its owner and
/// change its mode, or know the names in it.
pub fn walk(workspace: &Path, deny: &[String], protect: &[String]) -> Result<Found, Failure> {
    let closed_is_denied = !deny.is_empty();
    let (deny, protect) = (set(deny)?, set(protect)?);
    let mut found = Found::default();
    let mut pending = vec![workspace.to_path_buf()];
    let mut seen = 0usize;
    while let Some(folder) = pending.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && folder != workspace => {
                if closed_is_denied {
                    found.deny.push(folder);
                }
                continue;
            }
            Err(error) => return Err(Failure::system("look through the workspace", &error).about(&folder)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| Failure::system("look through the workspace", &error).about(&folder))?;
            seen += 1;
            if seen > ENTRY_CAP {
                let reason = format!(
                    "more than {ENTRY_CAP} files, so that not all that a glob covers could be found; name a smaller folder with --workspace"
                );
                return Err(Failure::new("look through the workspace", reason));
            }
            let path = entry.path();
            let relative = path.strip_prefix(workspace).unwrap_or(&path);
            if deny.is_match(relative) {
                found.deny.push(path);
                continue;
            }
            if protect.is_match(relative) {
                found.protect.push(path.clone());
            }
            if entry.file_name() == ".git" {
                if folder != workspace {
                    found.repositories.push(path);
                }
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pending.push(path);
            }
        }
    }
    Ok(found)
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
    fn a_walk_finds_matches_and_nested_repositories_and_follows_no_link() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("a/b/.git/hooks")).unwrap();
        fs::create_dir_all(at(".git")).unwrap();
        fs::write(at("a/.env"), "").unwrap();
        fs::write(at("a/b/x.code-workspace"), "").unwrap();
        std::os::unix::fs::symlink("..", at("a/loop")).unwrap();
        let found = walk(root.path(), &["**/.env".to_owned()], &["**/*.code-workspace".to_owned()]).unwrap();
        assert_eq!(found.deny, [at("a/.env")]);
        assert_eq!(found.protect, [at("a/b/x.code-workspace")]);
        assert_eq!(found.repositories, [at("a/b/.git")]);
    }
}
