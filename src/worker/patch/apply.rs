//! `apply_patch`: what every file will be, computed in memory, before the tree is touched.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::content::Content;
use super::matching::{self, Tolerance};
use super::parse::{self, Hunk, HunkLine, Operation, Section};
use super::transaction::{self, Step};
use crate::worker::error::WorkerError;
use crate::worker::path::{normalize, open_regular, require_regular, resolve};
use crate::worker::request::{Access, Change, ChangeKind};
use crate::worker::text::{Body, visible};
use crate::worker::{Served, text};

/// The largest file that a patch may touch, before and after, in bytes.
const FILE_BYTES: u64 = 16 * 1024 * 1024;
/// All files of a patch together, in bytes.
const ALL_BYTES: u64 = 64 * 1024 * 1024;

/// Applies a patch: all of it, or none of it.
///
/// A file that is a symbolic link is refused, so that what is written is what was named; directories on the way may be links, and
/// where they lead is for the kernel to allow. A file that the caller may not write is refused even where its directory would let
/// it be replaced.
///
/// # Errors
/// A patch that does not parse or does not fit, a file that is in the way, and every refusal by the kernel. Nothing has changed then.
pub(crate) fn apply(cwd: &Path, patch: &str) -> Result<Served, WorkerError> {
    let sections = parse::parse(patch)?;
    let mut plan = Plan { cwd, steps: Vec::new(), lines: Vec::new(), changes: Vec::new(), bytes: 0, seen: HashMap::new() };
    for section in &sections {
        plan.section(section)?;
    }
    let notes = transaction::run(&plan.steps)?;
    let mut body = Body::default();
    let mut truncated = false;
    for line in &plan.lines {
        truncated |= !body.push(line);
    }
    if truncated {
        body.note("the list of changes is cut here; all of the patch was applied");
    }
    for note in notes {
        body.note(note);
    }
    Ok(Served { text: body.finish(), changes: plan.changes, truncated })
}

struct Plan<'a> {
    cwd: &'a Path,
    steps: Vec<Step>,
    lines: Vec<String>,
    changes: Vec<Change>,
    bytes: u64,
    /// Which file, by directory and name, was named by which path of the patch.
    seen: HashMap<(u64, u64, PathBuf), String>,
}

impl Plan<'_> {
    fn section(&mut self, section: &Section) -> Result<(), WorkerError> {
        let shown = &section.path;
        let target = self.target(shown)?;
        match &section.operation {
            Operation::Add { lines } => self.add(shown, target, lines),
            Operation::Delete => self.delete(shown, target),
            Operation::Update { move_to, hunks } => self.update(shown, target, move_to.as_deref(), hunks),
        }
    }

    /// The path to use for a path of the patch.
    ///
    /// The parser has refused the same text twice; this refuses two texts for one file, as a link among the directories makes
    /// possible: each section was computed from the file as it is now, so that the second would undo the first.
    fn target(&mut self, shown: &str) -> Result<PathBuf, WorkerError> {
        let target = resolve(self.cwd, shown)?;
        match self.seen.insert(identity(&target), shown.to_owned()) {
            Some(first) => Err(conflict(shown, &format!("the patch names the same file as {first}; one section per file"))),
            None => Ok(target),
        }
    }

    fn count(&mut self, shown: &str, size: u64) -> Result<(), WorkerError> {
        let too_large = |size, cap, hint| WorkerError::TooLarge { path: shown.to_owned(), size, cap, hint, access: Access::Write };
        if size > FILE_BYTES {
            return Err(too_large(size, FILE_BYTES, "a patch is for text files; use the shell"));
        }
        self.bytes += size;
        if self.bytes > ALL_BYTES {
            return Err(too_large(self.bytes, ALL_BYTES, "the files of this patch together; apply it in parts"));
        }
        Ok(())
    }

    /// Reads an existing file that is to be changed or deleted.
    fn original(&mut self, shown: &str, target: &Path, doing: &'static str) -> Result<(Vec<u8>, Metadata), WorkerError> {
        let writing = |source| WorkerError::writing(shown, doing, source);
        let named = std::fs::symlink_metadata(target).map_err(writing)?;
        require_regular(&named, shown, Access::Write)?;
        access(target, AccessFlags::W_OK).map_err(|errno| writing(io::Error::from(errno)))?;
        let (file, metadata) = open_regular(target, shown, false)?;
        self.count(shown, metadata.len())?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|source| WorkerError::reading(shown, "read it", source))?;
        if bytes.len() as u64 > FILE_BYTES {
            // It grew while it was read.
            self.count(shown, bytes.len() as u64)?;
        }
        Ok((bytes, metadata))
    }

    fn add(&mut self, shown: &str, target: PathBuf, lines: &[String]) -> Result<(), WorkerError> {
        let mut bytes = lines.join("\n").into_bytes();
        if !lines.is_empty() {
            bytes.push(b'\n');
        }
        if let Some(existing) = exists(shown, &target, "create it")? {
            require_regular(&existing, shown, Access::Write)?;
            let (present, _) = self.original(shown, &target, "create it")?;
            if present != bytes {
                return Err(conflict(shown, "it exists already, with other content; use `*** Update File`"));
            }
            self.lines.push(format!("= {} (unchanged: it has this content already)", visible(shown)));
            return Ok(());
        }
        self.count(shown, bytes.len() as u64)?;
        self.steps.push(Step::Create { shown: shown.to_owned(), target, bytes, like: None });
        self.record(shown, ChangeKind::Added, lines.len() as u64, 0);
        Ok(())
    }

    fn delete(&mut self, shown: &str, target: PathBuf) -> Result<(), WorkerError> {
        let (bytes, original) = self.original(shown, &target, "delete it")?;
        let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() + usize::from(!bytes.is_empty() && !bytes.ends_with(b"\n"));
        self.steps.push(Step::Remove { shown: shown.to_owned(), target, original });
        self.record(shown, ChangeKind::Deleted, 0, lines as u64);
        Ok(())
    }

    fn update(&mut self, shown: &str, target: PathBuf, move_to: Option<&str>, hunks: &[Hunk]) -> Result<(), WorkerError> {
        let (bytes, original) = self.original(shown, &target, "change it")?;
        let content = Content::new(&bytes);
        let placements = matching::locate(hunks, &content.text())
            .map_err(|source| WorkerError::Match { path: shown.to_owned(), source: Box::new(source) })?;
        let new = content.replace(hunks, &placements);
        self.count(shown, (new.len() as u64).saturating_sub(bytes.len() as u64))?;
        if new.len() as u64 > FILE_BYTES {
            self.count(shown, new.len() as u64)?;
        }
        let counted = |wanted: fn(&HunkLine) -> bool| hunks.iter().flat_map(|hunk| &hunk.lines).filter(|line| wanted(line)).count() as u64;
        let added = counted(|line| matches!(line, HunkLine::Add(_)));
        let removed = counted(|line| matches!(line, HunkLine::Remove(_)));
        if let Some(new_path) = move_to {
            let destination = self.target(new_path)?;
            if exists(new_path, &destination, "move it there")?.is_some() {
                return Err(conflict(new_path, "it exists already, so nothing can be moved there"));
            }
            let like = Some(original.clone());
            self.steps.push(Step::Create { shown: new_path.to_owned(), target: destination, bytes: new, like });
            self.steps.push(Step::Remove { shown: shown.to_owned(), target, original });
            self.record(new_path, ChangeKind::Moved { from: shown.to_owned() }, added, removed);
        } else if new == bytes {
            self.lines.push(format!("= {} (unchanged: the patch changes nothing in it)", visible(shown)));
        } else {
            self.steps.push(Step::Replace { shown: shown.to_owned(), target, bytes: new, original });
            self.record(shown, ChangeKind::Modified, added, removed);
        }
        for (hunk, place) in hunks.iter().zip(&placements) {
            if place.tolerance > Tolerance::Exact {
                self.lines.push(format!("    line {}: found {} (patch line {})", place.start + 1, place.tolerance, hunk.patch_line));
            }
        }
        Ok(())
    }

    fn record(&mut self, shown: &str, kind: ChangeKind, added_lines: u64, removed_lines: u64) {
        let path = visible(shown);
        self.lines.push(match &kind {
            ChangeKind::Added => format!("A {path} (+{added_lines})"),
            ChangeKind::Modified => format!("M {path} (+{added_lines} -{removed_lines})"),
            ChangeKind::Deleted => format!("D {path} (-{removed_lines})"),
            ChangeKind::Moved { from } => format!("R {} -> {path} (+{added_lines} -{removed_lines})", visible(from)),
        });
        self.changes.push(Change { path: shown.to_owned(), kind, added_lines, removed_lines });
    }
}

fn conflict(shown: &str, problem: &str) -> WorkerError {
    WorkerError::Conflict { path: text::quote(shown, 500), problem: problem.to_owned() }
}

/// What stands at `target`, a link not followed; nothing where nothing does.
fn exists(shown: &str, target: &Path, doing: &'static str) -> Result<Option<Metadata>, WorkerError> {
    match std::fs::symlink_metadata(target) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(WorkerError::writing(shown, doing, source)),
    }
}

/// The nearest directory that exists, by device and inode, and what of the path is below it.
fn identity(target: &Path) -> (u64, u64, PathBuf) {
    for directory in target.ancestors().skip(1) {
        if let (Ok(metadata), Ok(below)) = (std::fs::metadata(directory), target.strip_prefix(directory)) {
            return (metadata.dev(), metadata.ino(), normalize(below));
        }
    }
    (0, 0, normalize(target))
}
