//! The sessions of a workspace as they are listed. Only as many files are opened as are shown.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{Header, Line, folder};

/// Bytes at the beginning of a file in which its title is looked for: behind what every session begins with.
const TITLE_WITHIN: u64 = 256 * 1024;

/// A session as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it was.
    pub header: Header,
    /// The beginning of what was asked first.
    pub title: String,
    /// When it was written to last.
    pub last: SystemTime,
}

/// At most so many sessions of a workspace, those written to last first. Files that make no sense, and sessions in which nothing was asked, are left out.
pub fn list(state: &Path, workspace: &Path, most: usize) -> Vec<Listed> {
    let mut files = files(&folder(state, workspace));
    files.sort_unstable();
    let read = files.into_iter().rev().filter_map(|(last, path)| peek(&path, last));
    read.filter(|listed| listed.header.workspace == workspace).take(most).collect()
}

/// How many sessions of a workspace are kept, those included in which nothing was asked.
pub fn count(state: &Path, workspace: &Path) -> usize {
    fs::read_dir(folder(state, workspace)).map_or(0, |entries| entries.flatten().count())
}

/// The files of a folder, with when each was written to last.
pub(super) fn files(folder: &Path) -> Vec<(SystemTime, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect()
}

fn peek(path: &Path, last: SystemTime) -> Option<Listed> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path).ok()?;
    let mut lines = BufReader::new(file.take(TITLE_WITHIN)).lines().map_while(Result::ok);
    let header: Header = serde_json::from_str(&lines.next()?).ok()?;
    // What every session begins with is long, and need not be understood to find what was asked.
    let title = lines.filter(|line| line.starts_with("{\"turn\"")).find_map(|line| match serde_json::from_str::<Line<'_>>(&line) {
        Ok(Line::Turn(title)) => Some(title),
        _ => None,
    });
    // A session in which nothing was asked is none to go on with.
    Some(Listed { header, title: title?, last })
}
