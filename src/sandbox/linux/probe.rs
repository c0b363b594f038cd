//! What this kernel can enforce for this user, found by asking it, not by its version.

use std::{fs, io, os::fd::AsFd, path::Path};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::wait::{WaitStatus, waitpid},
    unistd::{chdir, getegid, geteuid, pivot_root, sethostname},
};

use crate::sandbox::sys::{self, Fork};

/// What to do where Landlock is missing.
pub const LANDLOCK_REMEDY: &str = "Landlock needs Linux 5.13 or newer, built with CONFIG_SECURITY_LANDLOCK and with `landlock` in the boot \
     parameter `lsm=`; in a container, a system call filter that lets landlock_* through";
/// What to do where system call filters are refused.
pub const SECCOMP_REMEDY: &str = "Filters need a kernel built with CONFIG_SECCOMP_FILTER; in a container, a system call filter that lets \
     prctl(PR_SET_SECCOMP) and seccomp(2) through";
/// What to do where `/proc` cannot be mounted.
pub const PROC_REMEDY: &str =
    "In a container this needs an unmasked /proc: `--security-opt systempaths=unconfined` (docker) or `--security-opt unmask=ALL` (podman)";
/// What to do where namespaces are there and mounting in them is refused.
pub const MOUNT_REMEDY: &str = "A security module refuses it: on Ubuntu an AppArmor profile for this program with `userns,`, or \
     `sysctl kernel.apparmor_restrict_unprivileged_userns=0`; in a container `--security-opt apparmor=unconfined`, and `--security-opt \
     label=disable` with SELinux";
/// What to do where the system calls that put a view together are refused.
pub const VIEW_REMEDY: &str = "This needs Linux 5.12 or newer, and in a container a system call filter that lets close_range, open_tree, \
     move_mount, mount_setattr, mount, umount2, pivot_root, unshare and sethostname through, such as `--security-opt seccomp=unconfined`";
/// What to do where root may not map itself.
pub const ROOT_MAP_REMEDY: &str = "Since Linux 5.12 root needs CAP_SETFCAP for this: run portcullis as an ordinary user, or let root keep that \
     capability (docker `--cap-add SETFCAP`)";
/// What to do where user namespaces are refused.
pub const NAMESPACE_REMEDY: &str = "Allow user namespaces: on Ubuntu an AppArmor profile for this program with `userns,`, or \
     `sysctl kernel.apparmor_restrict_unprivileged_userns=0`; on Debian `sysctl kernel.unprivileged_userns_clone=1`; everywhere \
     `sysctl user.max_user_namespaces=15000`; in a container `--security-opt seccomp=unconfined` or a profile that lets clone(CLONE_NEWUSER) \
     and unshare(CLONE_NEWUSER) through";
/// What to do where nothing bounds root's processes.
pub const PROCESS_REMEDY: &str =
    "Run portcullis as an ordinary user, whom RLIMIT_NPROC binds, or on Linux 6.14 or newer, where pid_max belongs to the PID namespace";

/// What `ENOSPC` says where a namespace is made (user_namespaces(7)).
pub const NAMESPACES_REACHED: &str = "a limit on namespaces, such as user.max_user_namespaces, is reached";

/// What one Landlock ABI added, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LandlockRight {
    /// The ABI that added it.
    pub abi: u32,
    /// What can be ruled since.
    pub adds: &'static str,
    /// What holds, or does not work, on a kernel that has Landlock and not this ABI.
    pub without: &'static str,
}

/// What each Landlock ABI added.
pub const LANDLOCK_RIGHTS: [LandlockRight; 7] = [
    LandlockRight { abi: 1, adds: "files: read, write, make, remove, run", without: "there is no Landlock" },
    LandlockRight {
        abi: 2,
        adds: "moving and linking files between folders",
        without: "moves and links between folders are refused everywhere; most programs then copy",
    },
    LandlockRight { abi: 3, adds: "truncating files", without: "read-only mounts alone keep files from being truncated" },
    LandlockRight { abi: 4, adds: "TCP: bind and connect by port", without: "the network namespace alone keeps calls off the network" },
    LandlockRight { abi: 5, adds: "ioctl on devices", without: "what keeps calls off devices is that they see only a few harmless ones" },
    LandlockRight {
        abi: 6,
        adds: "scopes: no signals to, and no abstract sockets of, processes outside",
        without: "the PID and network namespaces alone hold this, and network mode `open`, which has no network namespace, is refused",
    },
    LandlockRight { abi: 7, adds: "records of refusals in the kernel's audit log", without: "nothing depends on it" },
];

/// One namespace and whether it can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Its name, as in namespaces(7).
    pub name: &'static str,
    /// Why not, if not.
    pub refused: Option<String>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The kernel's own description of itself.
    pub kernel: String,
    /// The Landlock ABI, or why there is none.
    pub landlock: Result<u32, String>,
    /// Whether system call filters work, or why not.
    pub seccomp: Result<(), String>,
    /// Each namespace that a sandbox uses, made together with a user namespace.
    pub namespaces: Vec<Namespace>,
    /// Whether anything can be mounted in them, or why not.
    pub mounts: Result<(), String>,
    /// Whether a fresh `/proc` can be mounted in them, or why not.
    pub proc: Result<(), String>,
    /// Whether a PID namespace has a ceiling of its own, which is what bounds root's processes.
    pub pid_max: bool,
    /// Control group version 2 controllers that this user could delegate to a sandbox.
    pub cgroup_controllers: Vec<String>,
    /// Whether calls get a control group each.
    pub cgroups: bool,
}

impl Capabilities {
    /// Asks the kernel. Needs a process with one thread, because it forks.
    pub fn probe() -> Self {
        let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        // As a sandbox does: without a mapped user, nothing can be made on a file system that is mounted inside.
        let identity = (geteuid(), getegid());
        // A call takes two, one in the other, and the inner one is not made with the rights that root has on the host.
        let user_twice = || -> Result<(), Errno> {
            match super::init::keep_identity(identity) {
                Ok(()) => unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS),
                // Told as a finding about mounts, which need it first.
                Err(_) => Ok(()),
            }
        };
        let user = Namespace { name: "user", refused: in_namespaces(libc::CLONE_NEWUSER, user_twice).err() };
        let others = [
            ("mount", libc::CLONE_NEWNS),
            ("pid", libc::CLONE_NEWPID),
            ("network", libc::CLONE_NEWNET),
            ("ipc", libc::CLONE_NEWIPC),
            ("uts", libc::CLONE_NEWUTS),
        ]
        .map(|(name, flag)| Namespace { name, refused: in_namespaces(libc::CLONE_NEWUSER | flag, || Ok(())).err() });
        let every = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID;
        let mount_any = || -> Result<(), Errno> {
            super::init::keep_identity(identity).map_err(|failure| Errno::from_raw(failure.errno.unwrap_or(libc::EIO)))?;
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
            mount(Some("tmpfs"), "/tmp", Some("tmpfs"), MsFlags::empty(), None::<&str>)
        };
        // All that the ritual asks of the kernel to make a view, in its order.
        let mount_all = || -> Result<(), Errno> {
            sys::close_range(u32::MAX - 1, u32::MAX).map_err(|error| errno(&error))?;
            sethostname(super::init::HOST_NAME)?;
            mount_any()?;
            fs::create_dir("/tmp/copy").map_err(|error| errno(&error))?;
            let copy = sys::clone_mounts(Path::new("/usr"), true).map_err(|error| errno(&error))?;
            sys::restrict_mount(copy.as_fd(), libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID, true).map_err(|error| errno(&error))?;
            sys::attach_mount(copy.as_fd(), Path::new("/tmp/copy")).map_err(|error| errno(&error))?;
            fs::create_dir("/tmp/proc").map_err(|error| errno(&error))?;
            // Without a /proc of its own, which is a finding of its own, the host's is used for what follows.
            let proc = sys::clone_mounts(Path::new("/proc"), true).map_err(|error| errno(&error))?;
            sys::attach_mount(proc.as_fd(), Path::new("/tmp/proc")).map_err(|error| errno(&error))?;
            chdir("/tmp")?;
            pivot_root(".", ".")?;
            umount2(".", MntFlags::MNT_DETACH)?;
            chdir("/")
        };
        let mount_proc = || -> Result<(), Errno> {
            mount_any()?;
            fs::create_dir("/tmp/proc").map_err(|error| errno(&error))?;
            mount(Some("proc"), "/tmp/proc", Some("proc"), MsFlags::empty(), None::<&str>)
        };
        let bound_pids = || -> Result<(), Errno> {
            mount_proc()?;
            super::limits::lower_pid_max(Path::new("/tmp/proc"), 1000).map_err(|error| errno(&error))
        };
        let filter = || -> Result<(), Errno> {
            super::seccomp::compile(crate::policy::NetworkMode::None, super::seccomp::Audience::Program)
                .and_then(|filters| filters.install())
                .map_err(|failure| Errno::from_raw(failure.errno.unwrap_or(libc::EINVAL)))
        };
        let restrict = || -> Result<(), Errno> {
            nix::sys::prctl::set_no_new_privs()?;
            super::landlock::restrict_nothing().map_err(|_| Errno::EPERM)
        };
        Self {
            kernel: format!("{} {} ({})", read("/proc/sys/kernel/ostype"), read("/proc/sys/kernel/osrelease"), std::env::consts::ARCH),
            landlock: sys::landlock_abi()
                .map_err(|error| errno(&error).desc().to_owned())
                .and_then(|abi| in_namespaces(0, restrict).map(|()| abi)),
            seccomp: in_namespaces(0, filter),
            namespaces: std::iter::once(user).chain(others).collect(),
            mounts: in_namespaces(every | libc::CLONE_NEWUTS, mount_all),
            proc: in_namespaces(every, mount_proc),
            pid_max: in_namespaces(every, bound_pids).is_ok(),
            cgroup_controllers: super::cgroup::delegated(),
            cgroups: super::cgroup::works(),
        }
    }

    /// Whether every namespace that a policy may require can be made.
    pub fn namespaces_work(&self) -> Result<(), String> {
        if let Some(refused) = self.namespaces.iter().find(|namespace| namespace.refused.is_some()) {
            let why = refused.refused.as_deref().unwrap_or_default();
            return Err(format!("{} namespaces are refused ({why}). {NAMESPACE_REMEDY}", refused.name));
        }
        self.mounts.clone().map_err(|why| format!("nothing can be mounted in new namespaces ({why}). {MOUNT_REMEDY}"))?;
        self.proc.clone().map_err(|why| format!("/proc cannot be mounted in new namespaces ({why}). {PROC_REMEDY}"))
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// Tries something in a process of its own, which ends with the error's number as its code: every one of Linux's is below 256.
fn in_namespaces(flags: libc::c_int, attempt: impl FnOnce() -> Result<(), Errno>) -> Result<(), String> {
    match sys::clone_into_namespaces(flags) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => Err(NAMESPACES_REACHED.to_owned()),
        Err(error) => Err(errno(&error).desc().to_owned()),
        Ok(Fork::Child) => sys::exit_now(attempt().map_or_else(|errno| errno as i32, |()| 0)),
        Ok(Fork::Parent(child)) => match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, 0)) => Ok(()),
            Ok(WaitStatus::Exited(_, libc::ENOSPC)) => Err(NAMESPACES_REACHED.to_owned()),
            Ok(WaitStatus::Exited(_, number)) => Err(Errno::from_raw(number).desc().to_owned()),
            Ok(WaitStatus::Signaled(_, signal, _)) => Err(format!("the attempt was ended by {}", signal.as_str())),
            Ok(_) => Err("the attempt did not end".to_owned()),
            Err(errno) => Err(errno.desc().to_owned()),
        },
    }
}
