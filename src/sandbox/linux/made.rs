//! The repositories that calls have made in a workspace: clones, linked worktrees, the temporary ones of a test.
//!
//! A repository of the person's is covered by mounts, which also keep it from being moved or removed. One that a call made is the
//! model's to remove again. So it gets no mounts and is looked into at the end of every call instead, as on the day it was made. The list
//! lies in the state folder, which no sandbox sees, and names each by its inode and its birth, so that another thing under the same name
//! is not taken for it.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use super::placeholder::name_of;

/// The most repositories that are remembered for a workspace. One that is forgotten is covered as the person's own.
const MOST: usize = 2000;

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Identity {
    device: u64,
    inode: u64,
    /// Nanoseconds since 1970; 0 where the file system does not tell.
    born: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    path: PathBuf,
    #[serde(flatten)]
    identity: Identity,
}

/// See the module. Paths are those of `.git` entries, and of repositories without a work tree.
#[derive(Debug)]
pub struct Made {
    file: PathBuf,
    all: HashMap<PathBuf, Identity>,
}

impl Made {
    /// Reads the list for a workspace; what cannot be read is nothing.
    pub fn load(journals: &Path, workspace: &Path) -> Self {
        let file = journals.join(format!("{}.made", name_of(workspace)));
        let text = fs::read_to_string(&file).unwrap_or_default();
        let entries = text.lines().take(2 * MOST).filter_map(|line| serde_json::from_str::<Entry>(line).ok());
        Self { all: entries.map(|entry| (entry.path, entry.identity)).collect(), file }
    }

    /// Those that are still what they were.
    pub fn living(&self) -> HashSet<PathBuf> {
        self.all.iter().filter(|(path, then)| identity(path).as_ref() == Some(*then)).map(|(path, _)| path.clone()).collect()
    }

    /// Adds those that a call reported, one JSON string a line, and writes the list.
    pub fn add(&mut self, report: &[u8]) {
        let paths = report.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<PathBuf>(line).ok());
        let mut grew = false;
        for path in paths {
            if let Some(now) = identity(&path).filter(|now| self.all.get(&path) != Some(now)) {
                self.all.insert(path, now);
                grew = true;
            }
        }
        if grew {
            self.all.retain(|path, then| identity(path).as_ref() == Some(then));
            // That it could not be written costs no more than that a later session covers them by mounts.
            let _ = self.write();
        }
    }

    fn write(&self) -> std::io::Result<()> {
        let mut text = Vec::new();
        for (path, identity) in self.all.iter().take(MOST) {
            serde_json::to_writer(&mut text, &Entry { path: path.clone(), identity: identity.clone() })?;
            text.push(b'\n');
        }
        let new = self.file.with_extension(format!("made-{}", std::process::id()));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(&new)?.write_all(&text)?;
        fs::rename(&new, &self.file)
    }
}

fn identity(path: &Path) -> Option<Identity> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let born = metadata.created().ok().and_then(|born| born.duration_since(SystemTime::UNIX_EPOCH).ok());
    let born = born.map_or(0, |born| u64::try_from(born.as_nanos()).unwrap_or(u64::MAX));
    Some(Identity { device: metadata.dev(), inode: metadata.ino(), born })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_made_is_known_again_and_what_took_its_place_is_not() {
        let root = tempfile::tempdir().unwrap();
        let (workspace, journals) = (root.path().join("w"), root.path().join("j"));
        fs::create_dir_all(workspace.join("clone/.git")).unwrap();
        fs::create_dir(&journals).unwrap();
        let path = workspace.join("clone/.git");
        let mut made = Made::load(&journals, &workspace);
        assert!(made.living().is_empty());
        let mut report = serde_json::to_vec(&path).unwrap();
        report.extend(b"\nnonsense\n\"/nowhere/.git\"\n");
        made.add(&report);
        assert_eq!(Made::load(&journals, &workspace).living(), HashSet::from([path.clone()]));
        fs::rename(&path, workspace.join("clone/aside")).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(Made::load(&journals, &workspace).living().is_empty());
    }
}
