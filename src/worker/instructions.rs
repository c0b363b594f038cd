//! `read_instructions`: the files in which a project tells an agent how it wants to be worked on.

use std::io::Read;
use std::path::Path;

use nix::errno::Errno;

use super::error::WorkerError;
use super::{Served, path};

const FILE_BYTES: usize = 64 * 1024;
const ALL_BYTES: usize = 128 * 1024;
/// More candidates than any chain of directories has.
const FILES: usize = 256;

/// Reads those of `files` that exist, in order, each under a heading with its name.
///
/// A missing file is skipped; so is one under a path that is no directory. Every other failure is told in the file's place, because
/// instructions that are there and cannot be read should not go unnoticed, and should not cost the others.
///
/// # Errors
/// More than 256 candidates.
pub(crate) fn read_instructions(cwd: &Path, files: &[String]) -> Result<Served, WorkerError> {
    if files.len() > FILES {
        return Err(WorkerError::Argument { argument: "files", problem: format!("{} candidates; at most {FILES}", files.len()) });
    }
    let mut text = String::new();
    let mut truncated = false;
    let mut left = ALL_BYTES;
    for shown in files {
        let (content, cut) = match read_start(cwd, shown, left.min(FILE_BYTES)) {
            Ok(Some(read)) => read,
            Ok(None) => continue,
            Err(error) => (format!("[{error}]\n"), false),
        };
        left = left.saturating_sub(content.len());
        truncated |= cut;
        text.push_str("## ");
        text.push_str(&super::text::visible(shown));
        text.push_str("\n\n");
        text.push_str(&content);
        if !content.ends_with('\n') {
            text.push('\n');
        }
        if cut {
            text.push_str(&format!("[{shown} is cut here: {} bytes of it were read]\n", content.len()));
        }
        text.push('\n');
    }
    Ok(Served { text, changes: Vec::new(), truncated })
}

/// The first `cap` bytes of a file and whether there are more, or nothing where there is no such file.
fn read_start(cwd: &Path, shown: &str, cap: usize) -> Result<Option<(String, bool)>, WorkerError> {
    let file = match path::open_regular(&path::resolve(cwd, shown)?, shown, true) {
        Ok((file, _)) => file,
        Err(WorkerError::System { source, .. })
            if matches!(source.raw_os_error().map(Errno::from_raw), Some(Errno::ENOENT | Errno::ENOTDIR)) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut content = Vec::new();
    file.take(cap as u64 + 1).read_to_end(&mut content).map_err(|source| WorkerError::reading(shown, "read it", source))?;
    let cut = content.len() > cap;
    if cut {
        // The cap may fall within a character, which would then show as invalid: take the whole character out.
        let mut end = cap;
        while end > cap.saturating_sub(3) && content.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
            end -= 1;
        }
        content.truncate(end);
    }
    Ok(Some((String::from_utf8_lossy(&content).into_owned(), cut)))
}
