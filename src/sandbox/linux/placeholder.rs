//! Placeholders: what a mount needs on the host to keep an absent place absent.
//!
//! A protected place that does not exist can only be kept from being made by something that is mounted there, and a mount needs a place.
//! So a socket that nobody listens on is made on the host, for as long as a sandbox lives that could otherwise make it, and removed
//! afterwards. Git and most other programs pass a socket over: it is neither listed, added, stashed nor cleaned away. Inside `.git`, where
//! git reads what it finds, it is an empty file or folder.
//!
//! A journal in the state folder is written before they are made; whoever comes next cleans up after a launcher that was killed. Several
//! launchers on one workspace share them: removing one under a living sandbox would take its cover away.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::{OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, Flock, FlockArg, OFlag, openat},
    sys::{
        socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket},
        stat::{Mode, SFlag, fstatat, mkdirat, mknodat},
    },
    unistd::{UnlinkatFlags, unlinkat, write},
};
use sha2::{Digest, Sha256};

use super::{Failure, beneath, protection::protected, recover};
use crate::sandbox::{
    message::Undone,
    plan::{Access, Plan},
};

const STEP: &str = "keep an absent place absent";

/// How long a lock is waited for that another launcher holds for a moment only.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// The same for the lock that programs can hold too.
const SHARED_PATIENCE: Duration = Duration::from_millis(500);

/// What git reads as "my common folder is here": with it in place nothing else can be put there, and git works as before.
const COMMON_FOLDER_HERE: &[u8] = b".\n";

/// The placeholders of one workspace, held while a sandbox lives.
#[derive(Debug)]
pub struct Placeholders {
    journal: Journal,
    /// By which other launchers know not to clean up.
    presence: Option<OwnedFd>,
}

#[derive(Debug)]
struct Journal {
    workspace: PathBuf,
    folder: PathBuf,
    name: String,
}

impl Placeholders {
    /// Makes what is missing for `plan`, after cleaning up behind launchers that were killed: also returns what their calls had made and was
    /// undone. `None` where the plan lets nothing be written that needs any of this.
    pub fn hold(plan: &Plan) -> Result<Option<(Self, Vec<Undone>)>, Failure> {
        let places: Vec<PathBuf> = protected(plan).into_iter().filter(|path| writable(plan, path)).collect();
        if places.is_empty() {
            return Ok(None);
        }
        let journal = Journal::new(plan)?;
        let turn = journal.turn()?.ok_or_else(|| Failure::new(STEP, "the journal stayed locked"))?;
        let mut recovered = Vec::new();
        if !journal.others_are_present() {
            journal.clean()?;
            recovered = recover::abandoned(plan);
        }
        let presence = journal.be_present();
        let held = Self { journal, presence };
        if let Err(failure) = held.journal.make_all(plan, &places) {
            drop(turn);
            held.release();
            return Err(failure);
        }
        Ok(Some((held, recovered)))
    }

    /// What makes a sandbox present too, for as long as it is kept.
    pub fn presence(&self) -> Option<OwnedFd> {
        self.presence.as_ref()?.try_clone().ok()
    }

    /// Removes the placeholders, unless another launcher still needs them.
    pub fn release(self) {
        let Self { journal, presence } = self;
        let Ok(Some(_turn)) = journal.turn() else { return };
        drop(presence);
        if !journal.others_are_present() {
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

/// Held while placeholders are made or removed.
struct Turn {
    _own: Flock<File>,
    _shared: Option<Flock<File>>,
}

/// Locks a file for this process alone; `None` where somebody else keeps the lock for longer than `patience`.
fn locked(mut file: File, patience: Duration) -> Result<Option<Flock<File>>, Failure> {
    let end = Instant::now() + patience;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(Some(lock)),
            Err((same, Errno::EWOULDBLOCK)) if Instant::now() < end => file = same,
            Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_, errno)) => return Err(Failure::errno(STEP, errno)),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// How the files about a workspace are named in the folder of journals.
pub fn name_of(workspace: &Path) -> String {
    let digest = Sha256::digest(workspace.as_os_str().as_encoded_bytes());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn writable(plan: &Plan, path: &Path) -> bool {
    plan.innermost(path).is_some_and(|root| root.access == Access::Write && !root.is_private())
}

impl Journal {
    fn new(plan: &Plan) -> Result<Self, Failure> {
        let name = name_of(&plan.workspace);
        fs::create_dir_all(&plan.journals).map_err(|error| Failure::system(STEP, &error).about(&plan.journals))?;
        Ok(Self { workspace: plan.workspace.clone(), folder: plan.journals.clone(), name })
    }

    fn open(&self, kind: &str) -> io::Result<File> {
        let path = self.folder.join(format!("{}.{kind}", self.name));
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW).open(path)
    }

    /// Waits for this launcher's turn to make or remove placeholders. The lock on the workspace itself is for launchers with another state
    /// folder, and those of other users; a program can hold it for as long as it likes, so it is not waited for in vain.
    fn turn(&self) -> Result<Option<Turn>, Failure> {
        let own = self.open("lock").map_err(|error| Failure::system(STEP, &error).about(&self.folder))?;
        let Some(own) = locked(own, LOCK_PATIENCE)? else { return Ok(None) };
        let shared = File::open(&self.workspace).map_err(|error| Failure::system(STEP, &error).about(&self.workspace))?;
        Ok(Some(Turn { _own: own, _shared: locked(shared, SHARED_PATIENCE)? }))
    }

    /// Makes this launcher known for as long as the result lives: by a socket in the host's network namespace, which no sandbox is in that has
    /// no network. A lock on the workspace would keep programs from locking it themselves.
    fn be_present(&self) -> Option<OwnedFd> {
        let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).ok()?;
        // The descriptor's number tells the plans of one launcher apart.
        let name = format!("{}{}-{}", self.presence_prefix(), std::process::id(), socket.as_raw_fd());
        bind(socket.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes()).ok()?).ok().map(|()| socket)
    }

    fn presence_prefix(&self) -> String {
        format!("portcullis-{}-", self.name)
    }

    /// Whether anybody who is present lives in the workspace, as far as this network namespace knows (`/proc/net/unix`, proc(5)).
    fn others_are_present(&self) -> bool {
        let Ok(table) = fs::read("/proc/self/net/unix") else { return true };
        let table = String::from_utf8_lossy(&table);
        table.contains(&format!("@{}", self.presence_prefix()))
    }

    /// The placeholders that the journal names.
    fn standing(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut text = String::new();
        self.open("journal").and_then(|mut journal| journal.read_to_string(&mut text)).map_err(|error| Failure::system(STEP, &error))?;
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Makes a placeholder for the first absent component of each of `places` that lacks one, and journals them all first.
    fn make_all(&self, plan: &Plan, places: &[PathBuf]) -> Result<(), Failure> {
        let (mut standing, mut folders) = (self.standing()?, Folders::default());
        let (mut lacking, mut lines) = (Vec::new(), Vec::new());
        for place in places {
            // What lies below a placeholder is kept absent by it.
            if standing.iter().any(|placeholder| place.starts_with(placeholder)) {
                continue;
            }
            let found = Absent::find(place, &mut folders).map_err(|errno| Failure::errno(STEP, errno).about(place))?;
            if let Some(absent) = found {
                serde_json::to_writer(&mut lines, &absent.path).map_err(|error| Failure::new(STEP, error.to_string()))?;
                lines.push(b'\n');
                standing.push(absent.path.clone());
                lacking.push(absent);
            }
        }
        let written = self.open("journal").and_then(|mut journal| journal.write_all(&lines));
        written.map_err(|error| Failure::system("write the journal of placeholders", &error))?;
        lacking.iter().try_for_each(|absent| absent.fill(plan))
    }

    /// Removes all that the journal names and that is still as it was made, then empties the journal.
    fn clean(&self) -> Result<(), Failure> {
        let mut journal = self.open("journal").map_err(|error| Failure::system(STEP, &error))?;
        let mut text = String::new();
        journal.read_to_string(&mut text).map_err(|error| Failure::system(STEP, &error))?;
        let (mut left, mut folders) = (Vec::new(), Folders::default());
        for line in text.lines().rev() {
            if let Ok(path) = serde_json::from_str::<PathBuf>(line)
                && !remove(&path, &mut folders)
            {
                left.insert(0, line);
            }
        }
        let left: String = left.iter().map(|line| format!("{line}\n")).collect();
        let written = journal.set_len(0).and_then(|()| journal.rewind()).and_then(|()| journal.write_all(left.as_bytes()));
        written.map_err(|error| Failure::system(STEP, &error))
    }
}

/// Folders that were opened: most placeholders stand side by side.
#[derive(Default)]
struct Folders(HashMap<PathBuf, Rc<OwnedFd>>);

impl Folders {
    fn open(&mut self, path: &Path) -> Result<Rc<OwnedFd>, Errno> {
        if let Some(opened) = self.0.get(path) {
            return Ok(Rc::clone(opened));
        }
        let opened = Rc::new(beneath::folder(path)?);
        self.0.insert(path.to_path_buf(), Rc::clone(&opened));
        Ok(opened)
    }
}

/// The first component of a place that is absent.
struct Absent {
    /// The folder that lacks it.
    parent: Rc<OwnedFd>,
    name: OsString,
    path: PathBuf,
}

impl Absent {
    /// `None` if all of `place` is there, or if a component is a link or no folder, which the view then covers as it is. No link is followed, so a
    /// workspace cannot lead this outside.
    fn find(place: &Path, folders: &mut Folders) -> Result<Option<Self>, Errno> {
        let mut path = place;
        // From the innermost outwards: most often all is there but the last.
        while let (Some(above), Some(name)) = (path.parent(), path.file_name()) {
            let parent = match folders.open(above) {
                Ok(parent) => parent,
                Err(Errno::ENOENT) => {
                    path = above;
                    continue;
                }
                Err(Errno::ENOTDIR | Errno::ELOOP) => return Ok(None),
                Err(errno) => return Err(errno),
            };
            return match fstatat(&parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(_) => Ok(None),
                Err(Errno::ENOENT) => Ok(Some(Self { parent, name: name.to_owned(), path: path.to_path_buf() })),
                Err(errno) => Err(errno),
            };
        }
        Ok(None)
    }

    /// Puts a placeholder there.
    fn fill(&self, plan: &Plan) -> Result<(), Failure> {
        let folder = || mkdirat(&self.parent, self.name.as_os_str(), Mode::from_bits_truncate(0o755));
        let made = if let Some(content) = content(plan, &self.path) {
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let file = openat(&self.parent, self.name.as_os_str(), flags, Mode::from_bits_truncate(0o644));
            file.and_then(|file| write(&file, content).map(drop))
        } else if self.path.starts_with(plan.workspace.join(".git")) {
            folder()
        } else {
            match mknodat(&self.parent, self.name.as_os_str(), SFlag::S_IFSOCK, Mode::empty(), 0) {
                // A file system that has no sockets.
                Err(Errno::EPERM | Errno::EOPNOTSUPP | Errno::EINVAL) => folder(),
                made => made,
            }
        };
        match made {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(errno) => Err(Failure::errno(STEP, errno).about(&self.path)),
        }
    }
}

/// Removes a placeholder. False where it is still there and could not be removed; what has become somebody's is no placeholder any more.
fn remove(path: &Path, folders: &mut Folders) -> bool {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return true };
    // No link is followed, as none was when the placeholder was made.
    let at = match folders.open(parent) {
        Ok(at) => at,
        Err(Errno::EACCES) => return false,
        Err(_) => return true,
    };
    match remove_in(&at, name) {
        Err(Errno::EACCES | Errno::EPERM) => {
            // A call can take the right to write from the folder around it, and gets no placeholder by that.
            let Ok(status) = fstatat(&at, ".", AtFlags::empty()) else { return false };
            let by_descriptor = format!("/proc/self/fd/{}", at.as_raw_fd());
            let mode = |mode: u32| fs::set_permissions(&by_descriptor, fs::Permissions::from_mode(mode & 0o7777)).is_ok();
            mode(status.st_mode | 0o700) && {
                let removed = remove_in(&at, name).is_ok();
                mode(status.st_mode);
                removed
            }
        }
        Err(Errno::EROFS | Errno::EBUSY | Errno::EIO) => false,
        _ => true,
    }
}

fn remove_in(at: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    let mode = fstatat(at, name, AtFlags::AT_SYMLINK_NOFOLLOW)?.st_mode;
    if mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits() {
        // A folder that has been filled since is somebody's: removing it fails, and it stays.
        return unlinkat(at, name, UnlinkatFlags::RemoveDir);
    }
    if mode == SFlag::S_IFSOCK.bits() {
        return unlinkat(at, name, UnlinkatFlags::NoRemoveDir);
    }
    let file = openat(at.as_fd(), name, OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut content = Vec::new();
    let read = File::from(file).take(COMMON_FOLDER_HERE.len() as u64 + 1).read_to_end(&mut content);
    // An interrupted write may have left a beginning of it.
    if read.is_ok() && COMMON_FOLDER_HERE.starts_with(&content) { unlinkat(at, name, UnlinkatFlags::NoRemoveDir) } else { Ok(()) }
}

/// Cleans up after launchers that were killed, if nobody works in this workspace now. Called when a plan is registered.
pub fn clean_abandoned(journals: &Path, workspace: &Path) {
    let name = name_of(workspace);
    if !journals.join(format!("{name}.journal")).exists() {
        return;
    }
    let journal = Journal { workspace: workspace.to_path_buf(), folder: journals.to_path_buf(), name };
    if let Ok(Some(_turn)) = journal.turn()
        && !journal.others_are_present()
    {
        let _ = journal.clean();
    }
}
