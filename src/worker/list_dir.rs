//! `list_dir`: the entries of a directory, down to a few levels.

use std::collections::VecDeque;
use std::fs::{DirEntry, FileType};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::error::WorkerError;
use super::request::Access;
use super::text::{Body, quote, visible};
use super::{Served, path};

const DEFAULT_DEPTH: u32 = 1;
const DEPTH: u32 = 5;
const ENTRIES: u64 = 1000;
/// Entries past the limit are counted up to this number in all, so that a vast tree does not take minutes.
const COUNTED: u64 = 100_000;
const NAME_CHARACTERS: usize = 1000;

/// Lists a directory, sorted by path. Links are shown with their target and not followed.
///
/// Where there are more entries than `limit`, those nearest to the directory are shown, since the levels are read one after the
/// other. `.git` is shown and not entered.
///
/// # Errors
/// What is no directory or cannot be read; a `depth` or `limit` out of range.
pub(crate) fn list_dir(cwd: &Path, shown: &str, depth: Option<u32>, limit: Option<u64>) -> Result<Served, WorkerError> {
    let depth = depth.unwrap_or(DEFAULT_DEPTH);
    if !(1..=DEPTH).contains(&depth) {
        return Err(WorkerError::Argument { argument: "depth", problem: format!("{depth} is not in 1 to {DEPTH}") });
    }
    let limit = limit.unwrap_or(ENTRIES);
    if !(1..=ENTRIES).contains(&limit) {
        return Err(WorkerError::Argument { argument: "limit", problem: format!("{limit} is not in 1 to {ENTRIES}") });
    }
    let root = path::resolve(cwd, shown)?;
    let metadata = std::fs::metadata(&root).map_err(|source| WorkerError::reading(shown, "list it", source))?;
    if !metadata.is_dir() {
        let found = "this is not a directory".to_owned();
        return Err(WorkerError::WrongKind { path: shown.to_owned(), found, hint: "use read_file", access: Access::Read });
    }

    let mut listing = Listing { limit, ..Listing::default() };
    listing.level(&root, Path::new("")).map_err(|source| WorkerError::reading(shown, "list it", source))?;
    for _ in 1..depth {
        for (directory, position) in std::mem::take(&mut listing.pending) {
            if listing.counted >= COUNTED {
                break;
            }
            let name = listing.shown.get(position).map(|entry| entry.path.clone()).unwrap_or_default();
            if let Err(error) = listing.level(&directory, &name)
                && let Some(entry) = listing.shown.get_mut(position)
            {
                entry.suffix = format!("/  (cannot be read: {})", error.kind());
            }
        }
    }
    Ok(listing.finish())
}

/// An entry that is shown.
#[derive(Debug)]
struct Entry {
    /// Relative to the listed directory.
    path: PathBuf,
    /// What follows the name: the kind, the size, the target.
    suffix: String,
}

#[derive(Debug, Default)]
struct Listing {
    limit: u64,
    shown: Vec<Entry>,
    counted: u64,
    /// Directories of the level last read that are to be entered, with their position in `shown`.
    pending: VecDeque<(PathBuf, usize)>,
}

impl Listing {
    /// Reads one directory.
    fn level(&mut self, directory: &Path, relative: &Path) -> io::Result<()> {
        let mut entries: Vec<DirEntry> = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            if self.counted >= COUNTED {
                break;
            }
            entries.push(entry?);
            self.counted += 1;
        }
        entries.sort_by_key(DirEntry::file_name);
        for entry in entries {
            if self.shown.len() as u64 >= self.limit {
                break;
            }
            let kind = entry.file_type()?;
            if kind.is_socket() && entry.metadata().is_ok_and(|metadata| metadata.mode() & 0o7777 == 0) {
                // Nobody's: it keeps a protected name absent for as long as a sandbox needs that.
                continue;
            }
            if kind.is_dir() && entry.file_name() != ".git" {
                self.pending.push_back((entry.path(), self.shown.len()));
            }
            self.shown.push(Entry { path: relative.join(entry.file_name()), suffix: suffix(&entry, kind) });
        }
        Ok(())
    }

    fn finish(mut self) -> Served {
        if self.shown.is_empty() {
            return Served { text: "[the directory is empty]\n".to_owned(), changes: Vec::new(), truncated: false };
        }
        self.shown.sort_by(|a, b| a.path.cmp(&b.path));
        let mut body = Body::default();
        let mut written = 0;
        for entry in &self.shown {
            let name = quote(&visible(&entry.path.to_string_lossy()), NAME_CHARACTERS);
            if !body.push(&format!("{name}{}", entry.suffix)) {
                break;
            }
            written += 1;
        }
        let truncated = written < self.counted;
        if truncated && self.counted >= COUNTED {
            body.note(format!("{written} entries shown; at least {} more were left out", self.counted - written));
        } else if truncated {
            body.note(format!("{written} entries shown; {} more were left out", self.counted - written));
        }
        Served { text: body.finish(), changes: Vec::new(), truncated }
    }
}

fn suffix(entry: &DirEntry, kind: FileType) -> String {
    if kind.is_dir() {
        "/".to_owned()
    } else if kind.is_symlink() {
        match std::fs::read_link(entry.path()) {
            Ok(target) => format!("@ -> {}", quote(&visible(&target.to_string_lossy()), NAME_CHARACTERS)),
            Err(error) => format!("@  (cannot be read: {})", error.kind()),
        }
    } else if kind.is_file() {
        match entry.metadata() {
            Ok(metadata) => format!("  {} bytes", metadata.len()),
            Err(error) => format!("  (size cannot be read: {})", error.kind()),
        }
    } else if kind.is_fifo() {
        "  (FIFO)".to_owned()
    } else if kind.is_socket() {
        "  (socket)".to_owned()
    } else {
        "  (device)".to_owned()
    }
}
