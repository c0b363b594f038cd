//! The file system as a sandbox sees it: a new root that holds what the plan grants and nothing else.
//!
//! What is not granted does not exist inside, so no alias, race or metadata call reaches it. Inside what is granted, three covers
//! are laid: a *mask* over what is denied, a read-only copy over what is protected, and a *pin* (a mount of a folder on itself) on
//! the folders above a protected place, so that they cannot be renamed away and rebuilt. A symbolic link on the way to such a place is
//! itself covered by a copy of itself, which keeps it working and makes it impossible to replace.

use std::{
    collections::BTreeMap,
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

use nix::{
    fcntl::OFlag,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    unistd::{Gid, Uid, chdir, pivot_root},
};

use super::{Failure, limits, repository, walk};
use crate::{
    policy::GitAccess,
    sandbox::{
        plan::{Access, Plan, Root},
        sys,
    },
};

/// The devices of the host that a sandbox sees.
pub const DEVICES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// Below the private `/dev`: an empty folder and an empty file that nobody may open, to lay over what is denied.
const MASKED_FOLDER: &str = "/dev/.denied/folder";
const MASKED_FILE: &str = "/dev/.denied/file";

/// Where the new root is put together. Any folder that exists everywhere will do: what it holds on the host is copied beforehand.
const STAGING: &str = "/tmp";

/// Inside `.git`, besides what the policy's groups name: files that would make git look for its configuration elsewhere, and the
/// administration of submodules and linked worktrees, which have configuration and hooks of their own.
pub const GIT_REDIRECTIONS: [&str; 3] = [".git/commondir", ".git/modules", ".git/worktrees"];

/// What was laid over the granted places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Denied places that were hidden.
    pub hidden: usize,
    /// Protected places that were made read-only.
    pub protected: usize,
    /// See [`limits::bound_processes`].
    pub process_limit: &'static str,
}

/// How a place is covered; of two covers on one place the later variant wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cover {
    Pin,
    Link,
    Protect,
    Deny,
}

/// A symbolic link to make: where, and what it holds.
type Link = (PathBuf, PathBuf);

struct Detached {
    root: Root,
    mount: OwnedFd,
    folder: bool,
}

/// Builds the view and moves this process into it. Needs new user, mount and PID namespaces. Steps that come before the old root
/// is left look at the host; none that comes after can.
pub fn build(plan: &Plan) -> Result<View, Failure> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|errno| Failure::errno("make the mounts private", errno))?;
    let (roots, links) = copy_roots(plan)?;
    let devices = copy_devices()?;
    let outside = denied_outside(plan);
    enter_new_root(&roots)?;
    let process_limit = limits::bound_processes(&plan.limits);
    make_devices(devices)?;
    for (path, content) in links {
        make_link(&path, &content)?;
    }
    for detached in roots.iter().filter(|detached| detached.root.target != Path::new("/")) {
        make_mountpoint(&detached.root.target, detached.folder)?;
        attach(&detached.mount, &detached.root.target)?;
    }
    let (hidden, protected) = lay_covers(plan, &outside)?;
    if let Err(error) = symlink("../tmp", "/var/tmp").or_else(|error| if Path::new("/var/tmp").exists() { Ok(()) } else { Err(error) })
        && !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ReadOnlyFilesystem)
    {
        return Err(Failure::system("link /var/tmp", &error));
    }
    // Until here places for mounts had to be made in them.
    for root in plan.roots.iter().filter(|root| root.access == Access::Read && is_private(root)) {
        restrict(&root.target, libc::MOUNT_ATTR_RDONLY)?;
    }
    restrict("/dev", libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOEXEC)?;
    restrict("/", libc::MOUNT_ATTR_RDONLY)?;
    Ok(View { hidden, protected, process_limit })
}

/// Locks every mount of the view to its place, by moving into a copy of it that belongs to a further user namespace.
///
/// A folder's descriptor keeps its mount alive beyond its namespace, and two calls that run at the same time can hand one over through
/// a socket in the workspace. When the first call ends, the kernel takes its mounts apart, and the covers would be gone from under that
/// folder; mounts that came from another user namespace are locked, and stay together (mount_namespaces(7)).
///
/// `/proc` becomes read-only last, because the user and group are mapped by way of it.
pub fn lock(identity: (Uid, Gid)) -> Result<(), Failure> {
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).map_err(|errno| Failure::errno("lock the mounts", errno))?;
    super::init::keep_identity(identity)?;
    restrict("/proc", libc::MOUNT_ATTR_RDONLY)
}

/// Detached copies of every root, and the links to make where a root is one (`/bin` on most systems).
fn copy_roots(plan: &Plan) -> Result<(Vec<Detached>, Vec<Link>), Failure> {
    let step = "copy a granted folder";
    let (mut copies, mut links) = (Vec::new(), Vec::new());
    let mut roots = plan.roots.clone();
    if plan.network == crate::policy::NetworkMode::Open {
        roots.extend(resolver_configuration(plan));
    }
    for root in roots {
        let metadata = match fs::symlink_metadata(&root.source) {
            Ok(metadata) => metadata,
            Err(error) if root.required && error.kind() == io::ErrorKind::NotFound => {
                return Err(Failure::system(step, &error)
                    .about(&root.source)
                    .with_remedy("The policy names it: make it, or take it out of the policy"));
            }
            Err(error) if root.required => return Err(Failure::system(step, &error).about(&root.source)),
            Err(_) => continue,
        };
        let mut root = root;
        if metadata.is_symlink() && root.source == root.target {
            let content = fs::read_link(&root.source).map_err(|error| Failure::system(step, &error).about(&root.source))?;
            links.push((root.target.clone(), content));
            match fs::canonicalize(&root.source) {
                Ok(real) => root = Root { target: real.clone(), source: real, ..root },
                Err(error) if root.required => return Err(Failure::system(step, &error).about(&root.source)),
                Err(_) => continue,
            }
            let covered = |other: &Root| {
                other.source == other.target
                    && root.source.starts_with(&other.source)
                    && (root.access == other.access || other.access == Access::Write)
            };
            if plan.roots.iter().any(covered) {
                continue;
            }
        }
        let mount = sys::clone_mounts(&root.source, true).map_err(|error| Failure::system(step, &error).about(&root.source))?;
        let mut attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
        if root.access == Access::Read && !is_private(&root) {
            attributes |= libc::MOUNT_ATTR_RDONLY;
        }
        sys::restrict_mount(mount.as_fd(), attributes, true).map_err(|error| Failure::system(step, &error).about(&root.source))?;
        let folder = fs::metadata(&root.source).is_ok_and(|metadata| metadata.is_dir());
        copies.push(Detached { root, mount, folder });
    }
    copies.sort_by(|one, other| one.root.target.cmp(&other.root.target));
    Ok((copies, links))
}

/// With the host's network, names must resolve: `/etc/resolv.conf` is often a link to a file that a service keeps elsewhere.
fn resolver_configuration(plan: &Plan) -> Option<Root> {
    let real = fs::canonicalize("/etc/resolv.conf").ok()?;
    let visible = |root: &Root| real.starts_with(&root.target);
    let granted = plan.roots.iter().any(|root| Path::new("/etc/resolv.conf").starts_with(&root.target));
    (granted && !plan.roots.iter().any(visible)).then(|| Root { target: real.clone(), source: real, access: Access::Read, required: false })
}

fn copy_devices() -> Result<Vec<(&'static str, OwnedFd)>, Failure> {
    let step = "copy a device";
    DEVICES
        .iter()
        .filter(|device| Path::new(device).exists())
        .map(|device| {
            let mount =
                sys::clone_mounts(Path::new(device), true).map_err(|error| Failure::system(step, &error).about(Path::new(device)))?;
            sys::restrict_mount(mount.as_fd(), libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC, true)
                .map_err(|error| Failure::system(step, &error).about(Path::new(device)))?;
            Ok((*device, mount))
        })
        .collect()
}

/// Denied places that exist on the host and are in no granted folder, with whether they are folders. They get a mask as well, so
/// that a program is told "permission denied" and not that there is nothing.
fn denied_outside(plan: &Plan) -> Vec<(PathBuf, bool)> {
    let outside = |path: &&PathBuf| {
        let innermost = plan.roots.iter().filter(|root| path.starts_with(&root.target)).max_by_key(|root| root.target.components().count());
        innermost.is_none_or(is_private)
    };
    plan.deny.iter().filter(outside).filter_map(|path| Some((path.clone(), fs::metadata(path).ok()?.is_dir()))).collect()
}

fn enter_new_root(roots: &[Detached]) -> Result<(), Failure> {
    let step = "enter the new root";
    match roots.iter().find(|detached| detached.root.target == Path::new("/")) {
        Some(whole) => attach(&whole.mount, Path::new(STAGING))?,
        None => {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            mount(Some("root"), STAGING, Some("tmpfs"), flags, Some("mode=0755,size=1m,nr_inodes=16k"))
                .map_err(|errno| Failure::errno(step, errno))?;
            for folder in ["proc", "dev", "tmp", "var"] {
                fs::create_dir(Path::new(STAGING).join(folder)).map_err(|error| Failure::system(step, &error))?;
            }
        }
    }
    chdir(STAGING).map_err(|errno| Failure::errno(step, errno))?;
    // Before the old root goes: the kernel lets an unprivileged mount of /proc show no more than one that is already there.
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "proc", Some("proc"), flags, None::<&str>)
        .map_err(|errno| Failure::errno("mount /proc", errno).with_remedy(super::probe::PROC_REMEDY))?;
    pivot_root(".", ".").map_err(|errno| Failure::errno(step, errno))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(|errno| Failure::errno("leave the old root", errno))?;
    chdir("/").map_err(|errno| Failure::errno(step, errno))
}

fn make_devices(devices: Vec<(&'static str, OwnedFd)>) -> Result<(), Failure> {
    let step = "make /dev";
    let system = |error: io::Error| Failure::system(step, &error);
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount(Some("dev"), "/dev", Some("tmpfs"), flags, Some("mode=0755,size=64k")).map_err(|errno| Failure::errno(step, errno))?;
    for (device, mount) in devices {
        make_mountpoint(Path::new(device), false)?;
        attach(&mount, Path::new(device))?;
    }
    for folder in ["/dev/pts", "/dev/shm", "/dev/.denied"] {
        fs::create_dir(folder).map_err(system)?;
    }
    mount(Some("devpts"), "/dev/pts", Some("devpts"), flags, Some("newinstance,ptmxmode=0666,mode=0620"))
        .map_err(|errno| Failure::errno(step, errno))?;
    let shared = flags | MsFlags::MS_NODEV;
    mount(Some("shm"), "/dev/shm", Some("tmpfs"), shared, Some("mode=1777,size=512m")).map_err(|errno| Failure::errno(step, errno))?;
    for (link, content) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(content, Path::new("/dev").join(link)).map_err(system)?;
    }
    fs::DirBuilder::new().mode(0o0).create(MASKED_FOLDER).map_err(system)?;
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(MASKED_FILE).map_err(system)?;
    fs::set_permissions(MASKED_FILE, fs::Permissions::from_mode(0o0)).map_err(system)
}

fn make_link(path: &Path, content: &Path) -> Result<(), Failure> {
    if fs::symlink_metadata(path).is_ok() {
        return Ok(());
    }
    let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| symlink(content, path));
    made.map_err(|error| Failure::system("make a link", &error).about(path))
}

fn make_mountpoint(path: &Path, folder: bool) -> Result<(), Failure> {
    if path.exists() {
        return Ok(());
    }
    let made = if folder {
        fs::create_dir_all(path)
    } else {
        path.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::OpenOptions::new().write(true).create_new(true).open(path).map(drop))
    };
    made.map_err(|error| Failure::system("make a place for a mount", &error).about(path))
}

fn attach(mount: &OwnedFd, target: &Path) -> Result<(), Failure> {
    sys::attach_mount(mount.as_fd(), target).map_err(|error| Failure::system("attach a mount", &error).about(target))
}

/// Adds attributes to the mount at `path`, which must be the root of one.
fn restrict(path: impl AsRef<Path>, attributes: u64) -> Result<(), Failure> {
    let (step, path) = ("restrict a mount", path.as_ref());
    let opened = nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())
        .map_err(|errno| Failure::errno(step, errno).about(path))?;
    sys::restrict_mount(opened.as_fd(), attributes, false).map_err(|error| Failure::system(step, &error).about(path))
}

/// Whether a root shows a private folder of the session in the place of the host's own.
fn is_private(root: &Root) -> bool {
    root.source != root.target
}

fn lay_covers(plan: &Plan, outside: &[(PathBuf, bool)]) -> Result<(usize, usize), Failure> {
    let mut covers = Covers { plan, at: BTreeMap::new() };
    let writable = plan.roots.iter().any(|root| root.access == Access::Write && plan.workspace.starts_with(&root.target));
    let found = if plan.deny_globs.is_empty() && !writable {
        walk::Found::default()
    } else {
        walk::walk(&plan.workspace, &plan.deny_globs, &plan.protect_globs)?
    };
    for path in &plan.deny {
        if !outside.iter().any(|(other, _)| other == path) {
            covers.resolve(path, Cover::Deny, Absent::Passes)?;
        }
    }
    for path in &found.deny {
        covers.resolve(path, Cover::Deny, Absent::Passes)?;
    }
    for path in protected(plan) {
        covers.resolve(&path, Cover::Protect, Absent::Refuses)?;
    }
    // Read-only as a whole: what may change in a `.git` folder is known only where it has that name.
    for file in found.repositories.iter().chain([&plan.workspace.join(".git")]) {
        if let Some(folder) = repository::folder_named_by(file) {
            covers.resolve(&folder, Cover::Protect, Absent::Passes)?;
        }
    }
    for place in repository::places_named_by_configuration(&plan.workspace.join(".git")) {
        // What does not exist is left open: a placeholder would have to be journalled before this process can know of it.
        if let Ok(real) = fs::canonicalize(&place) {
            covers.resolve(&real, Cover::Protect, Absent::Passes)?;
        }
    }
    let redirections = GIT_REDIRECTIONS.iter().skip(1).map(|path| plan.workspace.join(path));
    for path in found.protect.iter().chain(&found.repositories).cloned().chain(redirections) {
        covers.resolve(&path, Cover::Protect, Absent::Passes)?;
    }
    for (path, folder) in outside {
        make_mountpoint(path, *folder)?;
        covers.insert(path, Cover::Deny);
    }
    covers.lay()
}

/// The fixed places that are never writable, also while absent.
pub fn protected(plan: &Plan) -> Vec<PathBuf> {
    let mut all = plan.protect.clone();
    let git = plan.workspace.join(".git");
    if plan.git == GitAccess::None {
        all.retain(|path| !path.starts_with(&git));
        all.push(git);
    } else {
        all.push(plan.workspace.join(GIT_REDIRECTIONS[0]));
    }
    all
}

/// What the absence of a place means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Absent {
    /// There is nothing to cover.
    Passes,
    /// It could be made, so the folder that would hold it is covered in its stead.
    Refuses,
}

struct Covers<'a> {
    plan: &'a Plan,
    at: BTreeMap<PathBuf, Cover>,
}

impl Covers<'_> {
    fn insert(&mut self, path: &Path, cover: Cover) {
        let entry = self.at.entry(path.to_path_buf()).or_insert(cover);
        *entry = (*entry).max(cover);
    }

    /// Follows `path` from the root that grants it, component by component, and notes a cover for each.
    fn resolve(&mut self, path: &Path, cover: Cover, absent: Absent) -> Result<(), Failure> {
        self.resolve_at_depth(path, cover, absent, 0)
    }

    fn resolve_at_depth(&mut self, path: &Path, cover: Cover, absent: Absent, depth: u8) -> Result<(), Failure> {
        let step = "protect a place";
        if depth > 40 {
            return Err(Failure::new(step, "too many symbolic links").about(path));
        }
        let Some(root) =
            self.plan.roots.iter().filter(|root| path.starts_with(&root.target)).max_by_key(|root| root.target.components().count())
        else {
            return Ok(());
        };
        let writable = root.access == Access::Write;
        if cover == Cover::Protect && !writable {
            return Ok(());
        }
        // Below an optional root that this machine lacks there is nothing.
        let mut current = root.target.clone();
        let rest: Vec<_> = path.strip_prefix(&root.target).unwrap_or(Path::new("")).components().collect();
        for (index, component) in rest.iter().enumerate() {
            current.push(component);
            let metadata = match fs::symlink_metadata(&current) {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound && absent == Absent::Passes => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound && index > 0 => {
                    // A folder that lacks what a placeholder would have filled is itself the placeholder, or lies behind a link,
                    // where none is made.
                    current.pop();
                    self.insert(&current, cover);
                    return Ok(());
                }
                Err(error) => return Err(Failure::system(step, &error).about(&current)),
            };
            if metadata.is_symlink() {
                if writable {
                    self.insert(&current, Cover::Link);
                }
                let real = match fs::canonicalize(&current) {
                    Ok(real) => real,
                    // Where absence passes, a link to nothing is an absence too; the link itself is covered.
                    Err(_) if cover == Cover::Deny || absent == Absent::Passes || !self.could_be_made(&current) => return Ok(()),
                    // What a dangling link points to could be made, and the link would then lead there.
                    Err(error) => {
                        return Err(Failure::system(step, &error)
                            .about(&current)
                            .with_remedy("Remove this dangling link, or make what it points to"));
                    }
                };
                let onward: PathBuf = rest[index + 1..].iter().collect();
                let onward = if onward.as_os_str().is_empty() { real } else { real.join(onward) };
                return self.resolve_at_depth(&onward, cover, absent, depth + 1);
            }
            let last = index + 1 == rest.len();
            if last || !metadata.is_dir() {
                // `.git` is a file in linked worktrees and submodules: then it is that file which must stay as it is.
                self.insert(&current, cover);
                return Ok(());
            }
            if writable {
                self.insert(&current, Cover::Pin);
            }
        }
        // The root itself.
        self.insert(path, cover);
        Ok(())
    }

    /// Whether a program could make what a dangling link points to, in a place that the host has as well. A link to what lies outside of
    /// the view is harmless: nothing can be made there.
    fn could_be_made(&self, link: &Path) -> bool {
        let Ok(content) = fs::read_link(link) else { return true };
        let target = link.parent().unwrap_or(link).join(content);
        for place in target.ancestors() {
            match fs::canonicalize(place) {
                Ok(real) => {
                    let around = self.plan.roots.iter().filter(|root| real.starts_with(&root.target));
                    let innermost = around.max_by_key(|root| root.target.components().count());
                    return innermost.is_some_and(|root| root.access == Access::Write && !is_private(root));
                }
                // A further dangling link, or `..` after what is not there: where that leads depends on what is made.
                Err(_) if fs::symlink_metadata(place).is_ok() || place.file_name().is_none() => return true,
                Err(_) => {}
            }
        }
        true
    }

    /// Attaches all covers, parents first. Returns how many places were hidden and how many protected.
    fn lay(self) -> Result<(usize, usize), Failure> {
        let (mut hidden, mut protected) = (0, 0);
        let mut closed: Option<(PathBuf, Cover)> = None;
        for (path, cover) in self.at {
            if let Some((above, how)) = &closed
                && path.starts_with(above)
                && (*how == Cover::Deny || cover != Cover::Deny)
            {
                continue;
            }
            let step = "cover a place";
            let failure = |error: io::Error| Failure::system(step, &error).about(&path);
            match cover {
                Cover::Deny => {
                    let folder = fs::metadata(&path).map_err(failure)?.is_dir();
                    let mask = sys::clone_mounts(Path::new(if folder { MASKED_FOLDER } else { MASKED_FILE }), false).map_err(failure)?;
                    let attributes = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
                    sys::restrict_mount(mask.as_fd(), attributes, true).map_err(failure)?;
                    attach(&mask, &path)?;
                    hidden += 1;
                }
                Cover::Protect | Cover::Link | Cover::Pin => {
                    let copy = sys::clone_mounts(&path, false).map_err(failure)?;
                    if cover == Cover::Protect {
                        sys::restrict_mount(copy.as_fd(), libc::MOUNT_ATTR_RDONLY, true).map_err(failure)?;
                        protected += 1;
                    }
                    attach(&copy, &path)?;
                }
            }
            if matches!(cover, Cover::Deny | Cover::Protect) {
                closed = Some((path, cover));
            }
        }
        Ok((hidden, protected))
    }
}
