//! Control groups (version 2, cgroups(7)), where one is delegated to this user: the kernel's own limit on the memory and the processes of a
//! call, and of all calls of a session together.
//!
//! The launcher makes one group for the session and one for each call in it. Only the program enters the call's group; the sandbox's init
//! stays outside, so that it outlives a call that runs out of memory and can say so.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::sandbox::{message::EndedBy, plan::PlanLimits};

/// The controllers without which a group is of no use here.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];

/// The group of a session, made at its first call. Removed when dropped.
#[derive(Debug)]
pub struct Session {
    folder: PathBuf,
    calls: u64,
}

/// The group of a call. Removed when dropped, which has to wait for its last process.
#[derive(Debug)]
pub struct Group {
    folder: PathBuf,
}

/// What a sandbox needs of its group: where to enter it, and where it counts what its limits did.
#[derive(Debug)]
pub struct Handle {
    /// `cgroup.procs`, open for writing: the credentials of whoever opened it count (Linux 5.16).
    pub procs: OwnedFd,
    /// `memory.events`.
    pub memory: File,
    /// The same of the session's group, whose limit all calls of it share.
    pub session_memory: File,
    /// `pids.events`.
    pub processes: File,
}

impl Session {
    /// Makes a group with the limits of a plan, in this process' own group or beside it. `None` where none is delegated.
    pub fn begin(limits: &PlanLimits) -> Option<Self> {
        bases().iter().find_map(|base| Self::begin_in(base, limits))
    }

    fn begin_in(base: &Path, limits: &PlanLimits) -> Option<Self> {
        if !usable(base) {
            return None;
        }
        if !names_both(base, "cgroup.subtree_control") {
            enable(base).ok()?;
        }
        remove_abandoned(base);
        let folder = base.join(format!("portcullis-{}", std::process::id()));
        fs::create_dir(&folder).ok()?;
        let session = Self { folder, calls: 0 };
        let set = limit(&session.folder, limits).and_then(|()| enable(&session.folder));
        set.ok().map(|()| session)
    }

    /// Makes the group of a call with the same limits: what one call may take, all together may.
    pub fn call(&mut self, limits: &PlanLimits) -> io::Result<(Group, Handle)> {
        self.calls += 1;
        let group = Group { folder: self.folder.join(format!("call-{}", self.calls)) };
        fs::create_dir(&group.folder)?;
        limit(&group.folder, limits)?;
        // All of a call or nothing: half of its processes would only wait for the other half.
        write(&group.folder.join("memory.oom.group"), "1")?;
        let at = |name: &str| group.folder.join(name);
        let procs = OpenOptions::new().write(true).open(at("cgroup.procs"))?.into();
        let session_memory = File::open(self.folder.join("memory.events"))?;
        let handle = Handle { procs, memory: File::open(at("memory.events"))?, session_memory, processes: File::open(at("pids.events"))? };
        Ok((group, handle))
    }
}

impl Handle {
    /// What ended processes for want of memory, if anything did: the policy's limit, or a lower one of the host's (of a group further out,
    /// or all the memory that there is). `oom` counts in the group whose limit it was and above, `oom_kill` in the group of who was ended.
    pub fn ran_out_of_memory(&mut self) -> Option<EndedBy> {
        let ended = counted(&mut self.memory, "oom_kill") > 0;
        let by_policy = counted(&mut self.memory, "oom") > 0 || counted(&mut self.session_memory, "oom") > 0;
        ended.then_some(if by_policy { EndedBy::Memory } else { EndedBy::HostMemory })
    }

    /// How often the limit on processes refused one.
    pub fn processes_refused(&mut self) -> u64 {
        counted(&mut self.processes, "max")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

/// Where a session's group may lie: beside this process' own group, or in it. The parent comes first: a group that holds processes, as the
/// own one does, can have none below it with controllers.
fn bases() -> Vec<PathBuf> {
    let Some(own) = own_folder() else { return Vec::new() };
    own.parent().map(Path::to_path_buf).into_iter().chain([own.clone()]).collect()
}

/// Whether calls get groups of their own here. Changes nothing.
pub fn works() -> bool {
    bases().iter().any(|base| usable(base))
}

/// Whether a group for calls can be made in `base`, and processes of this user moved into it (cgroups(7), "delegation containment": that
/// takes leave to write `cgroup.procs` of the group above both, which is `base`).
fn usable(base: &Path) -> bool {
    let writable = |path: &Path| nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).is_ok();
    if !writable(base) || !writable(&base.join("cgroup.procs")) {
        return false;
    }
    // Only the root of the hierarchy has no such file, and only it may hold processes besides groups with controllers.
    let root = !base.join("cgroup.type").exists();
    let threaded = fs::read_to_string(base.join("cgroup.type")).is_ok_and(|kind| kind.trim_end() != "domain");
    let empty = || fs::read_to_string(base.join("cgroup.procs")).is_ok_and(|processes| processes.trim().is_empty());
    let could_be_enabled = || names_both(base, "cgroup.controllers") && writable(&base.join("cgroup.subtree_control")) && (root || empty());
    !threaded && (names_both(base, "cgroup.subtree_control") || could_be_enabled())
}

/// Whether a file of a group names both controllers.
fn names_both(group: &Path, file: &str) -> bool {
    let text = fs::read_to_string(group.join(file)).unwrap_or_default();
    CONTROLLERS.iter().all(|wanted| text.split_whitespace().any(|word| word == *wanted))
}

/// Removes the groups of launchers that were killed. One that holds a process is kept by the kernel.
fn remove_abandoned(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(launcher) = name.to_str().and_then(|name| name.strip_prefix("portcullis-")?.parse::<u32>().ok()) else { continue };
        if launcher != std::process::id() && Path::new(&format!("/proc/{launcher}")).exists() {
            continue;
        }
        for call in fs::read_dir(entry.path()).into_iter().flatten().flatten() {
            if call.file_name().to_string_lossy().starts_with("call-") {
                let _ = fs::remove_dir(call.path());
            }
        }
        let _ = fs::remove_dir(entry.path());
    }
}

/// The controllers of the groups in which this user could make one for a session.
pub fn delegated() -> Vec<String> {
    let bases = bases().into_iter();
    let writable = |base: &PathBuf| nix::unistd::access(base, nix::unistd::AccessFlags::W_OK).is_ok();
    let controllers = |base: PathBuf| fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
    let mut all: Vec<String> =
        bases.filter(writable).flat_map(|base| controllers(base).split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    all.sort();
    all.dedup();
    all
}

/// The last process of a group is gone from it a moment after it was waited for.
fn remove(folder: &Path) {
    for _ in 0..50 {
        match fs::remove_dir(folder) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => std::thread::sleep(Duration::from_millis(2)),
            _ => return,
        }
    }
}

fn limit(folder: &Path, limits: &PlanLimits) -> io::Result<()> {
    write(&folder.join("memory.max"), &limits.memory.to_string())?;
    // Without swap of its own; a kernel without swap accounting has no such file.
    let _ = write(&folder.join("memory.swap.max"), "0");
    write(&folder.join("pids.max"), &limits.processes.to_string())
}

fn enable(folder: &Path) -> io::Result<()> {
    write(&folder.join("cgroup.subtree_control"), &CONTROLLERS.map(|name| format!("+{name}")).join(" "))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

fn counted(file: &mut File, name: &str) -> u64 {
    let mut text = String::new();
    if file.rewind().and_then(|()| file.read_to_string(&mut text)).is_err() {
        return 0;
    }
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// The folder of this process' own group: the line of version 2 in `/proc/self/cgroup`, below where that is mounted.
pub fn own_folder() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let below = groups.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounted_at(&mounts).map(|root| root.join(below))
}

/// Where the hierarchy of version 2 is mounted as a whole (proc_pid_mountinfo(5)).
fn mounted_at(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, place) = (fields.next()?, fields.next()?);
        (kind.starts_with("cgroup2 ") && root == "/").then(|| PathBuf::from(place))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_of_version_2_is_found_among_those_of_version_1() {
        let mounts = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n41 31 0:38 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 none rw\n";
        assert_eq!(mounted_at(mounts).as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(mounted_at("41 31 0:38 /part /sys/fs/cgroup rw - cgroup2 none rw"), None);
        assert_eq!(mounted_at("nonsense\n - cgroup2 x"), None);
    }

    #[test]
    fn events_are_counted_by_their_whole_name() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\noom_group_kill 1\n").unwrap();
        assert_eq!((counted(&mut file, "oom_kill"), counted(&mut file, "max"), counted(&mut file, "oom_k")), (3, 7, 0));
    }

    #[test]
    fn a_folder_that_is_no_group_gives_none() {
        let base = tempfile::tempdir().unwrap();
        let limits = PlanLimits { wall_ms: 1, memory: 1, processes: 1, open_files: 1, file_size: 1, disk: 1 };
        assert!(Session::begin_in(base.path(), &limits).is_none());
        fs::write(base.path().join("cgroup.subtree_control"), "cpu pids\n").unwrap();
        assert!(Session::begin_in(base.path(), &limits).is_none());
        assert!(fs::read_dir(base.path()).unwrap().all(|entry| entry.unwrap().file_name() == "cgroup.subtree_control"));
    }
}
