//! Placeholders: what a mount needs on the host to keep an absent place absent.
//!
//! A protected place that does not exist can only be kept from being made by something that is mounted there, and a mount needs a place.
//! So an empty folder (which git does not see) is made on the host, for as long as a sandbox lives that could otherwise make it, and removed
//! afterwards. A journal in the state folder is written before each is made; whoever comes next cleans up after a launcher that was
//! killed. Several launchers on one workspace share them: removing one under a living sandbox would take its cover away.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, Flock, FlockArg, OFlag, openat},
    sys::stat::{Mode, mkdirat},
    unistd::{UnlinkatFlags, unlinkat, write},
};
use sha2::{Digest, Sha256};

use super::{Failure, view::protected};
use crate::sandbox::plan::{Access, Plan};

const STEP: &str = "keep an absent place absent";

/// What git reads as "my common folder is here": with it in place nothing else can be put there, and git works as before.
const COMMON_FOLDER_HERE: &[u8] = b".\n";

/// The placeholders of one workspace, held while a sandbox lives.
#[derive(Debug)]
pub struct Placeholders {
    journal: Journal,
    /// Shared while held, so that another launcher knows not to clean up.
    living: Flock<File>,
}

#[derive(Debug)]
struct Journal {
    workspace: PathBuf,
    folder: PathBuf,
    name: String,
}

impl Placeholders {
    /// Makes what is missing for `plan`. `None` where the plan lets nothing be written that needs them.
    pub fn hold(plan: &Plan) -> Result<Option<Self>, Failure> {
        let places: Vec<PathBuf> = protected(plan).into_iter().filter(|path| writable(plan, path)).collect();
        if places.is_empty() {
            return Ok(None);
        }
        let journal = Journal::new(plan)?;
        let _turn = journal.lock("lock", FlockArg::LockExclusive)?.ok_or_else(|| Failure::new(STEP, "the journal stayed locked"))?;
        let living = match journal.living(FlockArg::LockExclusiveNonblock)? {
            Some(alone) => {
                journal.clean()?;
                alone.relock(FlockArg::LockShared).map_err(|(_, errno)| Failure::errno(STEP, errno))?
            }
            None => journal.living(FlockArg::LockShared)?.ok_or_else(|| Failure::new(STEP, "the workspace stayed locked"))?,
        };
        let held = Self { journal, living };
        let mut standing = held.journal.standing()?;
        for place in &places {
            // What lies below a placeholder is kept absent by it.
            if standing.iter().any(|placeholder| place.starts_with(placeholder)) {
                continue;
            }
            let made = held.journal.make(plan, place);
            standing.extend(made.as_ref().ok().cloned().flatten());
            if let Err(failure) = made {
                drop(_turn);
                held.release();
                return Err(failure);
            }
        }
        Ok(Some(held))
    }

    /// Removes the placeholders, unless another launcher still needs them.
    pub fn release(self) {
        let Self { journal, living } = self;
        let Ok(Some(_turn)) = journal.lock("lock", FlockArg::LockExclusive) else { return };
        if living.relock(FlockArg::LockExclusiveNonblock).is_ok() {
            let _ = journal.clean();
        }
    }
}

/// What a placeholder holds, if it is a file. Inside `.git` the names are those of files that git reads.
fn content(plan: &Plan, path: &Path) -> Option<&'static [u8]> {
    let inside = path.strip_prefix(plan.workspace.join(".git")).ok()?;
    match inside.to_str()? {
        "commondir" => Some(COMMON_FOLDER_HERE),
        "config" | "config.worktree" | "info/attributes" => Some(b""),
        _ => None,
    }
}

trait Relock: Sized {
    fn relock(self, how: FlockArg) -> Result<Self, (Self, Errno)>;
}

impl Relock for Flock<File> {
    fn relock(self, how: FlockArg) -> Result<Self, (Self, Errno)> {
        match Flock::relock(&self, how) {
            Ok(()) => Ok(self),
            Err(errno) => Err((self, errno)),
        }
    }
}

fn writable(plan: &Plan, path: &Path) -> bool {
    let innermost = plan.roots.iter().filter(|root| path.starts_with(&root.target)).max_by_key(|root| root.target.components().count());
    innermost.is_some_and(|root| root.access == Access::Write && root.source == root.target)
}

impl Journal {
    fn new(plan: &Plan) -> Result<Self, Failure> {
        let digest = Sha256::digest(plan.workspace.as_os_str().as_encoded_bytes());
        let name = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        fs::create_dir_all(&plan.journals).map_err(|error| Failure::system(STEP, &error).about(&plan.journals))?;
        Ok(Self { workspace: plan.workspace.clone(), folder: plan.journals.clone(), name })
    }

    fn open(&self, kind: &str) -> io::Result<File> {
        let path = self.folder.join(format!("{}.{kind}", self.name));
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW).open(path)
    }

    fn lock(&self, kind: &str, how: FlockArg) -> Result<Option<Flock<File>>, Failure> {
        Self::locked(self.open(kind).map_err(|error| Failure::system(STEP, &error).about(&self.folder))?, how)
    }

    /// The lock of those who live in the workspace. It is on the workspace itself, so that launchers with another state folder, and those
    /// of other users, know of one another too.
    fn living(&self, how: FlockArg) -> Result<Option<Flock<File>>, Failure> {
        Self::locked(File::open(&self.workspace).map_err(|error| Failure::system(STEP, &error).about(&self.workspace))?, how)
    }

    fn locked(file: File, how: FlockArg) -> Result<Option<Flock<File>>, Failure> {
        match Flock::lock(file, how) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(Failure::errno(STEP, errno)),
        }
    }

    /// The placeholders that the journal names.
    fn standing(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut text = String::new();
        self.open("journal").and_then(|mut journal| journal.read_to_string(&mut text)).map_err(|error| Failure::system(STEP, &error))?;
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Makes a placeholder for the first absent component of `place`, if one is absent, and journals it first. Returns its path.
    fn make(&self, plan: &Plan, place: &Path) -> Result<Option<PathBuf>, Failure> {
        let failure = |errno: Errno| Failure::errno(STEP, errno).about(place);
        let Some((parent, name, path)) = absent(place).map_err(failure)? else { return Ok(None) };
        let mut journal = self.open("journal").map_err(|error| Failure::system(STEP, &error))?;
        let mut line = serde_json::to_vec(&path).map_err(|error| Failure::new(STEP, error.to_string()))?;
        line.push(b'\n');
        journal.write_all(&line).map_err(|error| Failure::system("write the journal of placeholders", &error))?;
        let made = if let Some(content) = content(plan, &path) {
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            openat(&parent, name.as_os_str(), flags, Mode::from_bits_truncate(0o644)).and_then(|file| write(&file, content).map(drop))
        } else {
            mkdirat(&parent, name.as_os_str(), Mode::from_bits_truncate(0o755))
        };
        match made {
            Ok(()) | Err(Errno::EEXIST) => Ok(Some(path)),
            Err(errno) => Err(failure(errno)),
        }
    }

    /// Removes all that the journal names and that is still as it was made, then empties the journal.
    fn clean(&self) -> Result<(), Failure> {
        let mut journal = self.open("journal").map_err(|error| Failure::system(STEP, &error))?;
        let mut text = String::new();
        journal.read_to_string(&mut text).map_err(|error| Failure::system(STEP, &error))?;
        for line in text.lines().rev() {
            if let Ok(path) = serde_json::from_str::<PathBuf>(line) {
                remove(&path);
            }
        }
        journal.set_len(0).and_then(|()| journal.rewind()).map_err(|error| Failure::system(STEP, &error))
    }
}

/// The first component of `place` that is absent, with its open parent; `None` if all is there, or if a component is a link or no folder,
/// which the view then covers as it is. No link is followed, so a workspace cannot lead this outside.
fn absent(place: &Path) -> Result<Option<(OwnedFd, std::ffi::OsString, PathBuf)>, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut at = openat(AT_FDCWD, "/", flags, Mode::empty())?;
    let mut path = PathBuf::from("/");
    for component in place.components().skip(1) {
        path.push(component);
        let name: &OsStr = component.as_os_str();
        match openat(at.as_fd(), name, flags, Mode::empty()) {
            Ok(next) => at = next,
            Err(Errno::ENOENT) => return Ok(Some((at, name.to_owned(), path))),
            Err(Errno::ENOTDIR | Errno::ELOOP) => return Ok(None),
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}

fn remove(path: &Path) {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return };
    // Every component is opened without following links, as it was when the placeholder was made.
    let mut at = match openat(AT_FDCWD, "/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(root) => root,
        Err(_) => return,
    };
    for component in parent.components().skip(1) {
        match openat(
            at.as_fd(),
            component.as_os_str(),
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
            Mode::empty(),
        ) {
            Ok(next) => at = next,
            Err(_) => return,
        }
    }
    // A folder that has been filled since is somebody's: removing it fails, and it stays.
    if unlinkat(&at, name, UnlinkatFlags::RemoveDir) == Err(Errno::ENOTDIR)
        && let Ok(file) =
            openat(at.as_fd(), name, OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty())
    {
        let mut content = Vec::new();
        let read = File::from(file).take(COMMON_FOLDER_HERE.len() as u64 + 1).read_to_end(&mut content);
        // An interrupted write may have left a beginning of it.
        if read.is_ok() && COMMON_FOLDER_HERE.starts_with(&content) {
            let _ = unlinkat(&at, name, UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// Cleans up after launchers that were killed, if nobody works in this workspace now. Called when a plan is registered.
pub fn clean_abandoned(journals: &Path, workspace: &Path) {
    let digest = Sha256::digest(workspace.as_os_str().as_encoded_bytes());
    let name = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>();
    if !journals.join(format!("{name}.journal")).exists() {
        return;
    }
    let journal = Journal { workspace: workspace.to_path_buf(), folder: journals.to_path_buf(), name };
    if let Ok(Some(_turn)) = journal.lock("lock", FlockArg::LockExclusive)
        && let Ok(Some(_alone)) = journal.living(FlockArg::LockExclusiveNonblock)
    {
        let _ = journal.clean();
    }
}
