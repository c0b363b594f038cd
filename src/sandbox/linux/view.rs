//! The file system as a sandbox sees it: a new root that holds what the plan grants and nothing else.
//!
//! What is not granted does not exist inside, so no alias, race or metadata call reaches it. Inside what is granted, three covers
//! are laid: a *mask* over what is denied, a read-only copy over what is protected, and a *pin* (a mount of a folder on itself) on
//! the folders above a protected place, so that they cannot be renamed away and rebuilt. A symbolic link on the way to such a place is
//! itself covered by a copy of itself, which keeps it working and makes it impossible to replace.

use std::{
    collections::HashSet,
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    unistd::{Gid, Uid, chdir, pivot_root},
};

use super::{
    Failure, beneath,
    covers::{MASKED_FILE, MASKED_FOLDER},
    host_sockets::HostSockets,
    limits, protection,
    sweep::Before,
    walk::Globs,
    watches::Watches,
};
use crate::sandbox::{
    plan::{Access, Plan, Root},
    sys,
};

/// The devices of the host that a sandbox sees.
pub const DEVICES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// Where the new root is put together. Any folder that exists everywhere will do: what it holds on the host is copied beforehand.
const STAGING: &str = "/tmp";

/// What was laid over the granted places.
#[derive(Debug)]
pub struct View {
    /// Denied places that were hidden.
    pub hidden: usize,
    /// Protected places that were made read-only.
    pub protected: usize,
    /// See [`limits::bound_processes`].
    pub process_limit: &'static str,
    /// What the workspace held, where it can change.
    pub before: Option<Before>,
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
///
/// `watches` are told of every place outside that the view depends on.
pub fn build(
    plan: &Plan,
    sockets: HostSockets,
    made: &HashSet<PathBuf>,
    globs: &Arc<Globs>,
    watches: &mut Watches,
) -> Result<View, Failure> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|errno| Failure::errno("make the mounts private", errno).with_remedy(super::probe::VIEW_REMEDY))?;
    if watches.any() {
        watch_host(plan, watches);
    }
    let (roots, links) = copy_roots(plan)?;
    let devices = copy_devices()?;
    let outside = denied_outside(plan);
    enter_new_root(&roots)?;
    let process_limit = limits::bound_processes(&plan.limits);
    limits::bound_notifications();
    make_devices(devices)?;
    let mut links = links.into_iter().peekable();
    for detached in roots.iter().filter(|detached| detached.root.target != Path::new("/")) {
        // A link lies in what is attached above it.
        while let Some((path, content)) = links.next_if(|(path, _)| *path < detached.root.target) {
            make_link(&path, &content)?;
        }
        make_mountpoint(&detached.root.target, detached.folder)?;
        attach(&detached.mount, &detached.root.target)?;
    }
    for (path, content) in links {
        make_link(&path, &content)?;
    }
    // Where the roots really lie, which is where a program finds them.
    let seen = Plan { roots: roots.iter().map(|detached| detached.root.clone()).collect(), ..plan.clone() };
    let protection::Laid { hidden, protected, before } = protection::lay(&seen, &outside, sockets, made, globs, watches)?;
    if let Err(error) = symlink("../tmp", "/var/tmp").or_else(|error| if Path::new("/var/tmp").exists() { Ok(()) } else { Err(error) })
        && !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ReadOnlyFilesystem)
    {
        return Err(Failure::system("link /var/tmp", &error));
    }
    // Until here places for mounts had to be made in them.
    for root in seen.roots.iter().filter(|root| root.access == Access::Read && root.is_private()) {
        restrict(&root.target, libc::MOUNT_ATTR_RDONLY)?;
    }
    restrict("/dev", libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOEXEC)?;
    restrict("/", libc::MOUNT_ATTR_RDONLY)?;
    Ok(View { hidden, protected, process_limit, before })
}

/// Whether watches tell of a root that comes to be, or goes another way. The kernel's own files are what it says, whenever it is asked.
pub fn is_watched(root: &Root) -> bool {
    root.source == root.target && !["/sys", "/proc", "/dev"].iter().any(|place| root.source.starts_with(place))
}

/// Places of the host that are looked at before its root is left, and by the names that they have there.
fn watch_host(plan: &Plan, watches: &mut Watches) {
    let roots = plan.roots.iter().filter(|root| is_watched(root)).map(|root| &root.source);
    for path in roots.chain(&plan.deny).chain(&plan.sockets) {
        watches.place(path);
    }
    for path in protection::protected(plan) {
        watches.place(&path);
    }
    for name in [".gitconfig", ".config/git/config"] {
        watches.content(&plan.home.join(name));
    }
    for path in ["/etc/gitconfig", "/etc/resolv.conf"] {
        watches.content(Path::new(path));
    }
}

/// Locks every mount of the view to its place, by moving into a copy of it that belongs to a further user namespace.
///
/// A folder's descriptor keeps its mount alive beyond its namespace, and two calls that run at the same time can hand one over through
/// a socket in the workspace. When the first call ends, the kernel takes its mounts apart, and the covers would be gone from under that
/// folder; mounts that came from another user namespace are locked, and stay together (mount_namespaces(7)).
///
/// `/proc` becomes read-only last, because the user and group are mapped by way of it.
pub fn lock(identity: (Uid, Gid)) -> Result<(), Failure> {
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).map_err(|errno| {
        let step = "lock the mounts by a further user namespace";
        match errno {
            // Two of them are needed for a call, one in the other.
            Errno::ENOSPC => Failure::new(step, super::probe::NAMESPACES_REACHED).with_remedy(super::probe::NAMESPACE_REMEDY),
            errno => Failure::errno(step, errno).with_remedy(super::probe::NAMESPACE_REMEDY),
        }
    })?;
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
        let in_workspace = root.source.starts_with(&plan.workspace);
        let granted = plan.granted.contains(&root.source);
        if !granted && metadata.is_symlink() && !in_workspace && root.source == root.target {
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
        let copied = root.copy.as_ref().and_then(|copy| private_copy(&root, copy));
        if root.copy.is_some() && copied.is_none() {
            // Where there is no overlay to be had, it can be read.
            (root.copy, root.access) = (None, Access::Read);
        }
        let mount = if let Some(copied) = copied {
            copied
        } else if granted {
            copy_granted(&root.source)?
        } else if in_workspace {
            copy_in_workspace(plan, &mut root)?
        } else {
            sys::clone_mounts(&root.source, true).map_err(|error| copying(&error, &root.source))?
        };
        let mut attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
        if root.access == Access::Read && !root.is_private() {
            attributes |= libc::MOUNT_ATTR_RDONLY;
        }
        sys::restrict_mount(mount.as_fd(), attributes, true).map_err(|error| copying(&error, &root.source))?;
        let folder = match metadata.is_symlink() {
            true => fs::metadata(&root.source).is_ok_and(|metadata| metadata.is_dir()),
            false => metadata.is_dir(),
        };
        copies.push(Detached { root, mount, folder });
    }
    copies.sort_by(|one, other| one.root.target.cmp(&other.root.target));
    links.sort();
    Ok((copies, links))
}

/// A mount that could not be copied: with the remedy where it is the system call that is refused, and not the place.
fn copying(error: &io::Error, place: &Path) -> Failure {
    let failure = Failure::system("copy a granted folder", error).about(place);
    match error.raw_os_error() {
        Some(libc::EPERM | libc::ENOSYS) => failure.with_remedy(super::probe::VIEW_REMEDY),
        Some(libc::ENOSPC) => failure.with_remedy("This is a limit on mounts, not on a disk: user.max_mnt_namespaces or fs.mount-max"),
        _ => failure,
    }
}

/// An overlay that shows `root` and takes what is written in `folder` (overlayfs, in a user namespace since Linux 5.11). `None` where
/// the kernel or the file system has none, and where a path could be taken for an option.
fn private_copy(root: &Root, folder: &Path) -> Option<OwnedFd> {
    let [upper, work, merged] = ["upper", "work", "merged"].map(|name| folder.join(name));
    for made in [&upper, &work, &merged] {
        fs::create_dir_all(made).ok()?;
    }
    let source = fs::canonicalize(&root.source).ok()?;
    let plain = |path: &Path| path.to_str().filter(|path| !path.contains([':', ',', '\\'])).map(str::to_owned);
    let (lower, upper) = (plain(&source)?, plain(&upper)?);
    let options = match root.access {
        Access::Write => format!("userxattr,lowerdir={lower},upperdir={upper},workdir={}", plain(&work)?),
        Access::Read => format!("userxattr,lowerdir={upper}:{lower}"),
    };
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("overlay"), &merged, Some("overlay"), flags, Some(options.as_str())).ok()?;
    let copy = sys::clone_mounts(&merged, true).ok();
    umount2(&merged, MntFlags::MNT_DETACH).ok().and(copy)
}

/// Copies a place that a person granted. It was looked at then, behind all links, so a link on the way was put there since, by a call perhaps.
fn copy_granted(place: &Path) -> Result<OwnedFd, Failure> {
    let step = "copy what a person granted";
    let changed = |why: &str| {
        let remedy = "Put the place back as it was, or take the grant back";
        Failure::new(step, format!("it is not what was granted any more: {why}")).about(place).with_remedy(remedy)
    };
    let opened = beneath::entry(place).map_err(|errno| match errno {
        Errno::ENOTDIR | Errno::ELOOP => changed("a symbolic link is on the way"),
        errno => Failure::errno(step, errno).about(place),
    })?;
    let by_descriptor = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
    if fs::read_link(&by_descriptor).is_ok_and(|real| real != place) {
        return Err(changed("it is a symbolic link"));
    }
    let kind = nix::sys::stat::fstat(&opened).map_err(|errno| Failure::errno(step, errno).about(place))?.st_mode & libc::S_IFMT;
    if kind == libc::S_IFLNK {
        return Err(changed("it is a symbolic link"));
    }
    sys::clone_mounts(&by_descriptor, true).map_err(|error| copying(&error, place))
}

/// Copies a granted place of the workspace. Who writes the workspace must not choose where a grant leads: a link on the way may stay in the
/// workspace, and no step is followed that was not looked at.
fn copy_in_workspace(plan: &Plan, root: &mut Root) -> Result<OwnedFd, Failure> {
    let step = "copy a granted folder";
    let real = fs::canonicalize(&root.source).map_err(|error| Failure::system(step, &error).about(&root.source))?;
    if !real.starts_with(&plan.workspace) {
        return Err(Failure::new(step, format!("a symbolic link leads it out of the workspace, to {}", real.display()))
            .about(&root.source)
            .with_remedy("Name the place that is meant in a policy of your own, or remove the link"));
    }
    let opened = beneath::entry(&real).map_err(|errno| Failure::errno(step, errno).about(&real))?;
    let by_descriptor = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
    (root.source, root.target) = (real.clone(), real);
    sys::clone_mounts(&by_descriptor, true).map_err(|error| Failure::system(step, &error).about(&root.source))
}

/// With the host's network, names must resolve: `/etc/resolv.conf` is often a link to a file that a service keeps elsewhere.
fn resolver_configuration(plan: &Plan) -> Option<Root> {
    let real = fs::canonicalize("/etc/resolv.conf").ok()?;
    // A private folder in the host's place does not hold it.
    let visible = plan.innermost(&real).is_some_and(|root| !root.is_private());
    let granted = plan.roots.iter().any(|root| Path::new("/etc/resolv.conf").starts_with(&root.target));
    (granted && !visible).then(|| Root { target: real.clone(), source: real, access: Access::Read, required: false, copy: None })
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
        // A copy shows what the host has, links included, and they are followed as in any granted folder.
        plan.innermost(path).is_none_or(|root| root.source != root.target)
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
    pivot_root(".", ".").map_err(|errno| Failure::errno(step, errno).with_remedy(super::probe::VIEW_REMEDY))?;
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
    for folder in ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/.denied"] {
        fs::create_dir(folder).map_err(system)?;
    }
    mount(Some("devpts"), "/dev/pts", Some("devpts"), flags, Some("newinstance,ptmxmode=0666,mode=0620"))
        .map_err(|errno| Failure::errno(step, errno))?;
    let shared = flags | MsFlags::MS_NODEV;
    mount(Some("shm"), "/dev/shm", Some("tmpfs"), shared, Some("mode=1777,size=512m")).map_err(|errno| Failure::errno(step, errno))?;
    // The queues of this IPC namespace (mq_overview(7)); where it cannot be mounted, queues cannot be opened either.
    let _ = mount(Some("mqueue"), "/dev/mqueue", Some("mqueue"), shared, None::<&str>);
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

/// Makes an empty folder or file for a mount to lie on, with what is lacking above it.
pub fn make_mountpoint(path: &Path, folder: bool) -> Result<(), Failure> {
    let make = || match folder {
        true => fs::create_dir(path),
        false => fs::OpenOptions::new().write(true).create_new(true).open(path).map(drop),
    };
    let made = make().or_else(|error| match (error.kind(), path.parent()) {
        (io::ErrorKind::NotFound, Some(parent)) => fs::create_dir_all(parent).and_then(|()| make()),
        _ => Err(error),
    });
    match made {
        // Where it is in view already, or was made for another sandbox of the session, which has the same private folders.
        Err(_) if path.exists() => Ok(()),
        made => made.map_err(|error| Failure::system("make a place for a mount", &error).about(path)),
    }
}

/// Attaches a detached mount.
pub fn attach(mount: &OwnedFd, target: &Path) -> Result<(), Failure> {
    sys::attach_mount(mount.as_fd(), target).map_err(|error| Failure::system("attach a mount", &error).about(target))
}

/// Adds attributes to the mount at `path`, which must be the root of one.
fn restrict(path: impl AsRef<Path>, attributes: u64) -> Result<(), Failure> {
    let (step, path) = ("restrict a mount", path.as_ref());
    let opened = nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())
        .map_err(|errno| Failure::errno(step, errno).about(path))?;
    sys::restrict_mount(opened.as_fd(), attributes, false).map_err(|error| Failure::system(step, &error).about(path))
}
