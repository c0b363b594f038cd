//! A set of file changes that happens completely or not at all.
//!
//! First everything that can fail for want of space or permission is done beside the tree: each new content is written to a
//! temporary file in its target's own directory, so that putting it into place is a rename(2) within one directory, which needs
//! neither space nor a right that making the temporary file did not need. Then each original gets a second name (a hard link; where
//! the file system has none, it is renamed away) and the new file is renamed over it. When a step fails, the originals are renamed
//! back, which restores the very same inodes; temporary files and created directories are removed.
//!
//! Limits, on purpose: nothing is flushed to the disk, and a process that is killed between the first rename and the last leaves a
//! tree that is partly patched, with the originals in it as `.portcullis-*`. A file with several hard links is replaced under the
//! name that was given, so that its other names, which may lie outside what the patch named, keep the old content. Extended
//! attributes and access control lists are not carried over.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use tempfile::TempPath;

use crate::worker::error::WorkerError;
use crate::worker::text::visible;

/// A change to one name.
#[derive(Debug)]
pub(crate) enum Step {
    /// A new file where nothing is.
    Create {
        /// The path as the patch names it.
        shown: String,
        /// The path to use.
        target: PathBuf,
        /// The content.
        bytes: Vec<u8>,
        /// The file whose mode and owner it gets; else it gets 0644 less the umask.
        like: Option<Metadata>,
    },
    /// New content for a file.
    Replace {
        /// The path as the patch names it.
        shown: String,
        /// The path to use.
        target: PathBuf,
        /// The content.
        bytes: Vec<u8>,
        /// The file from which `bytes` was computed.
        original: Metadata,
    },
    /// No file any more.
    Remove {
        /// The path as the patch names it.
        shown: String,
        /// The path to use.
        target: PathBuf,
        /// The file that was looked at.
        original: Metadata,
    },
}

/// Carries out `steps`; answers notes on what could not be kept (an owner, a mode).
///
/// # Errors
/// The first failure. The tree is then as before, or the error is [`WorkerError::Rollback`] and says what is not.
pub(crate) fn run(steps: &[Step]) -> Result<Vec<String>, WorkerError> {
    let mut transaction = Transaction::default();
    match transaction.stage(steps).and_then(|()| transaction.commit(steps)) {
        Ok(()) => Ok(transaction.finish()),
        Err(failure) => Err(transaction.roll_back(failure)),
    }
}

#[derive(Debug, Default)]
struct Transaction {
    /// For each step, its new content under a temporary name.
    staged: Vec<Option<TempPath>>,
    /// Directories that were made, outermost first.
    directories: Vec<PathBuf>,
    /// How to take back what was done, in the order in which it was done.
    undo: Vec<Undo>,
    notes: Vec<String>,
}

#[derive(Debug)]
enum Undo {
    /// Remove a file that was created.
    Remove { target: PathBuf },
    /// Rename the original back.
    Restore { backup: TempPath, target: PathBuf },
}

impl Transaction {
    fn stage(&mut self, steps: &[Step]) -> Result<(), WorkerError> {
        for step in steps {
            let staged = match step {
                Step::Create { shown, target, bytes, like } => {
                    self.make_parents(target).map_err(|source| WorkerError::writing(shown, "create its directory", source))?;
                    Some(self.write_beside(shown, target, bytes, like.as_ref())?)
                }
                Step::Replace { shown, target, bytes, original } => Some(self.write_beside(shown, target, bytes, Some(original))?),
                Step::Remove { .. } => None,
            };
            self.staged.push(staged);
        }
        Ok(())
    }

    fn make_parents(&mut self, target: &Path) -> io::Result<()> {
        let mut missing = Vec::new();
        for directory in target.ancestors().skip(1) {
            match fs::metadata(directory) {
                Ok(metadata) if metadata.is_dir() => break,
                Ok(_) => return Err(Errno::ENOTDIR.into()),
                // `missing/../file`: nothing is there to go up from.
                Err(error) if error.kind() == io::ErrorKind::NotFound && directory.file_name().is_none() => return Err(error),
                Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(directory.to_path_buf()),
                Err(error) => return Err(error),
            }
        }
        for directory in missing.into_iter().rev() {
            fs::create_dir(&directory)?;
            self.directories.push(directory);
        }
        Ok(())
    }

    fn write_beside(&mut self, shown: &str, target: &Path, bytes: &[u8], like: Option<&Metadata>) -> Result<TempPath, WorkerError> {
        let failed = |source| WorkerError::writing(shown, "write it", source);
        // Set-user-ID and set-group-ID do not survive: the kernel takes them off a file that is written, too.
        let mode = like.map_or(0o644, Metadata::mode) & 0o777;
        let create = |name: &Path| OpenOptions::new().write(true).create_new(true).mode(mode).open(name);
        let mut temporary = names().make_in(parent(target), create).map_err(failed)?;
        temporary.as_file_mut().write_all(bytes).map_err(failed)?;
        if let Some(like) = like {
            self.keep_attributes(shown, temporary.as_file(), mode, like).map_err(failed)?;
        }
        Ok(temporary.into_temp_path())
    }

    /// Gives the new file its original's owner and mode, as far as the sandbox lets it.
    fn keep_attributes(&mut self, shown: &str, file: &File, mode: u32, like: &Metadata) -> io::Result<()> {
        let made = file.metadata()?;
        if (made.uid(), made.gid()) != (like.uid(), like.gid())
            && std::os::unix::fs::fchown(file, Some(like.uid()), Some(like.gid())).is_err()
        {
            let (uid, gid) = (like.uid(), like.gid());
            self.notes.push(format!("{}: owner {uid}:{gid} was not kept; it is now {}:{}", visible(shown), made.uid(), made.gid()));
        }
        // The umask may have taken bits away that the original has.
        if file.metadata()?.mode() & 0o777 != mode && file.set_permissions(Permissions::from_mode(mode)).is_err() {
            self.notes.push(format!("{}: mode {mode:o} was not kept; it is now {:o}", visible(shown), made.mode() & 0o777));
        }
        Ok(())
    }

    fn commit(&mut self, steps: &[Step]) -> Result<(), WorkerError> {
        let staged = std::mem::take(&mut self.staged);
        for (step, temporary) in steps.iter().zip(staged) {
            match (step, temporary) {
                (Step::Create { shown, target, .. }, Some(temporary)) => {
                    temporary.persist_noclobber(target).map_err(|failed| WorkerError::writing(shown, "create it", failed.error))?;
                    self.undo.push(Undo::Remove { target: target.clone() });
                }
                (Step::Replace { shown, target, original, .. }, Some(temporary)) => {
                    unchanged(shown, target, original)?;
                    self.replace(target, temporary).map_err(|source| WorkerError::writing(shown, "change it", source))?;
                }
                _ => {}
            }
        }
        for step in steps {
            if let Step::Remove { shown, target, original } = step {
                unchanged(shown, target, original)?;
                let backup = move_away(target).map_err(|source| WorkerError::writing(shown, "delete it", source))?;
                self.undo.push(Undo::Restore { backup, target: target.clone() });
            }
        }
        Ok(())
    }

    fn replace(&mut self, target: &Path, temporary: TempPath) -> io::Result<()> {
        let linked = names().make_in(parent(target), |name| fs::hard_link(target, name));
        let (backup, away) = match linked {
            Ok(backup) => (backup.into_temp_path(), false),
            Err(error) if has_no_links(&error) => (move_away(target)?, true),
            Err(error) => return Err(error),
        };
        let renamed = temporary.persist(target).map_err(|failed| failed.error);
        // A backup that is a second name of a file still in place is only removed: rename(2) between two names of one file does
        // nothing, and would leave both.
        if renamed.is_ok() || away {
            self.undo.push(Undo::Restore { backup, target: target.to_path_buf() });
        }
        renamed
    }

    fn finish(mut self) -> Vec<String> {
        for undo in self.undo {
            if let Undo::Restore { backup, target } = undo {
                let name = backup.to_path_buf();
                if let Err(error) = backup.close() {
                    self.notes.push(format!("{}: the old content could not be removed from {}: {error}", target.display(), name.display()));
                }
            }
        }
        self.notes
    }

    fn roll_back(mut self, failure: WorkerError) -> WorkerError {
        let mut remains = Vec::new();
        for undo in self.undo.into_iter().rev() {
            match undo {
                Undo::Remove { target } => {
                    if let Err(error) = fs::remove_file(&target) {
                        remains.push(format!("{} was created and could not be removed ({error})", target.display()));
                    }
                }
                Undo::Restore { backup, target } => {
                    if let Err(failed) = backup.persist(&target) {
                        let error = failed.error;
                        let kept = failed.path.to_path_buf();
                        // Kept: it is the only copy of the original.
                        let _ = failed.path.keep();
                        remains.push(format!("the original of {} is kept as {} ({error})", target.display(), kept.display()));
                    }
                }
            }
        }
        self.staged.clear();
        for directory in self.directories.into_iter().rev() {
            if let Err(error) = fs::remove_dir(&directory) {
                remains.push(format!("the directory {} was created and could not be removed ({error})", directory.display()));
            }
        }
        if remains.is_empty() { failure } else { WorkerError::Rollback { failure: Box::new(failure), remains: remains.join("; ") } }
    }
}

/// Refuses a file that is no longer the one that was read, so that nobody's change in between is lost.
fn unchanged(shown: &str, target: &Path, original: &Metadata) -> Result<(), WorkerError> {
    let now = fs::symlink_metadata(target).map_err(|source| WorkerError::writing(shown, "change it", source))?;
    let state = |file: &Metadata| (file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec());
    if state(&now) == state(original) {
        return Ok(());
    }
    Err(WorkerError::Conflict { path: shown.to_owned(), problem: "it was changed by something else meanwhile; read it again".to_owned() })
}

fn move_away(target: &Path) -> io::Result<TempPath> {
    Ok(names().make_in(parent(target), |name| fs::rename(target, name))?.into_temp_path())
}

/// link(2): what a file system without hard links, a mount in between, a full link count, or `fs.protected_hardlinks` answers.
fn has_no_links(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EPERM | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EMLINK | Errno::EXDEV | Errno::EACCES)
    )
}

fn names() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".portcullis-").rand_bytes(16);
    builder
}

/// The directory of `target`, which always has one, since every target is joined to an absolute working directory.
fn parent(target: &Path) -> &Path {
    target.parent().unwrap_or(target)
}

#[cfg(test)]
#[path = "transaction_tests.rs"]
mod tests;
