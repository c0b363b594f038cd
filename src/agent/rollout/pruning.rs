//! Old sessions are taken away: those that nobody has written to for long, and the oldest where all together are too large.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::listing::files;

/// What is younger than this stays, whatever its size.
const YOUNG: Duration = Duration::from_secs(24 * 3600);

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruning {
    /// How long after the last word.
    pub age: Duration,
    /// Bytes of all sessions together.
    pub bytes: u64,
    /// Whether it is only said what would go.
    pub dry: bool,
}

impl Default for Pruning {
    /// 90 days and 4 GiB.
    fn default() -> Self {
        Self { age: Duration::from_secs(90 * 24 * 3600), bytes: 4 << 30, dry: false }
    }
}

/// What went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Sessions.
    pub sessions: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Sessions that stay.
    pub kept: u64,
    /// Their bytes.
    pub kept_bytes: u64,
}

/// Takes away the sessions of all workspaces that are not to be kept. What is open anywhere, or cannot be taken away, stays.
pub fn prune(state: &Path, pruning: &Pruning) -> Pruned {
    let root = state.join("sessions");
    let folders: Vec<PathBuf> = fs::read_dir(&root).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    let mut all: Vec<(SystemTime, PathBuf)> = folders.iter().flat_map(|folder| files(folder)).collect();
    all.sort_unstable();
    let now = SystemTime::now();
    let mut pruned = Pruned::default();
    // The newest first, so that what is too much is the oldest.
    for (last, path) in all.into_iter().rev() {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        let age = now.duration_since(last).unwrap_or_default();
        let too_much = pruned.kept_bytes.saturating_add(metadata.len()) > pruning.bytes;
        let goes = metadata.is_file() && age > YOUNG && (age > pruning.age || too_much) && (pruning.dry || take_away(&path));
        let (sessions, bytes) = if goes { (&mut pruned.sessions, &mut pruned.bytes) } else { (&mut pruned.kept, &mut pruned.kept_bytes) };
        *sessions += 1;
        *bytes = bytes.saturating_add(metadata.len());
    }
    if !pruning.dry {
        // Only what is empty goes.
        folders.iter().for_each(|folder| drop(fs::remove_dir(folder)));
    }
    pruned
}

fn take_away(path: &Path) -> bool {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    // Whoever works in it holds its lock.
    opened.is_ok_and(|file: File| file.try_lock().is_ok() && fs::remove_file(path).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aged(state: &Path, name: &str, days: u64, bytes: usize) -> PathBuf {
        let folder = state.join("sessions").join(&name[..1]);
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        fs::write(&path, vec![b'x'; bytes]).unwrap();
        let then = SystemTime::now() - Duration::from_secs(days * 24 * 3600 + 60);
        File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
        path
    }

    #[test]
    fn the_old_and_the_too_much_go_and_what_is_open_or_young_stays() {
        let state = tempfile::tempdir().unwrap();
        let old = aged(state.path(), "a-old", 100, 10);
        let open = aged(state.path(), "b-open", 100, 10);
        let _lock = {
            let file = File::open(&open).unwrap();
            file.try_lock().unwrap();
            file
        };
        let large = aged(state.path(), "b-large", 20, 900);
        let fits = aged(state.path(), "b-fits", 10, 200);
        let young = aged(state.path(), "b-young", 0, 5000);
        let other = aged(state.path(), "b-other", 30, 100);
        let dry = Pruning { bytes: 6000, dry: true, ..Pruning::default() };
        let would = prune(state.path(), &dry);
        assert_eq!((would.sessions, old.exists()), (3, true));
        let pruned = prune(state.path(), &Pruning { dry: false, ..dry });
        assert_eq!((pruned.sessions, pruned.bytes, pruned.kept), (2, 910, 4), "{pruned:?}");
        for (path, stays) in [(old, false), (open, true), (large, false), (fits, true), (young, true), (other, true)] {
            assert_eq!(path.exists(), stays, "{}", path.display());
        }
        assert!(!state.path().join("sessions/a").exists());
        assert_eq!(prune(&state.path().join("none"), &dry), Pruned::default());
    }
}
