//! What this kernel can enforce for this user, found by asking it, not by its version.

use std::fs;

use nix::sys::wait::{WaitStatus, waitpid};

use crate::sandbox::sys::{self, Fork};

/// What to do where Landlock is missing.
pub const LANDLOCK_REMEDY: &str = "Landlock needs Linux 5.13 or newer, built with CONFIG_SECURITY_LANDLOCK and with `landlock` in the boot parameter `lsm=`; in a container, its system call filter must let landlock_* through";
/// What to do where `/proc` cannot be mounted.
pub const PROC_REMEDY: &str =
    "In a container this needs an unmasked /proc: `--security-opt systempaths=unconfined` (docker) or `--security-opt unmask=ALL` (podman)";
/// What to do where user namespaces are refused.
pub const NAMESPACE_REMEDY: &str = "Allow user namespaces: on Ubuntu an AppArmor profile for this program with `userns,`, or \
     `sysctl kernel.apparmor_restrict_unprivileged_userns=0`; on Debian `sysctl kernel.unprivileged_userns_clone=1`; everywhere \
     `sysctl user.max_user_namespaces=15000`; in a container `--security-opt seccomp=unconfined` or a profile that lets clone(CLONE_NEWUSER) through";

/// The right that each Landlock ABI added, for people.
pub const LANDLOCK_ABIS: [(u32, &str); 7] = [
    (1, "files: read, write, make, remove, run"),
    (2, "moving and linking files between folders"),
    (3, "truncating files"),
    (4, "TCP: bind and connect by port"),
    (5, "ioctl on devices"),
    (6, "scopes: no signals to, and no abstract sockets of, processes outside"),
    (7, "records of refusals in the kernel's audit log"),
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
    /// Whether a fresh `/proc` can be mounted in them, or why not.
    pub proc: Result<(), String>,
    /// Whether a PID namespace has a ceiling of its own, which is what bounds root's processes.
    pub pid_max: bool,
    /// Control group version 2 controllers that this user could delegate to a sandbox.
    pub cgroup_controllers: Vec<String>,
}

impl Capabilities {
    /// Asks the kernel. Needs a process with one thread, because it forks.
    pub fn probe() -> Self {
        let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let namespaces = [
            ("user", 0),
            ("mount", libc::CLONE_NEWNS),
            ("pid", libc::CLONE_NEWPID),
            ("network", libc::CLONE_NEWNET),
            ("ipc", libc::CLONE_NEWIPC),
            ("uts", libc::CLONE_NEWUTS),
        ]
        .map(|(name, flag)| Namespace { name, refused: in_namespaces(libc::CLONE_NEWUSER | flag, || true).err() });
        let every = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID;
        let mount_proc = || {
            use nix::mount::{MsFlags, mount};
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).is_ok()
                && mount(Some("tmpfs"), "/tmp", Some("tmpfs"), MsFlags::empty(), None::<&str>).is_ok()
                && fs::create_dir("/tmp/proc").is_ok()
                && mount(Some("proc"), "/tmp/proc", Some("proc"), MsFlags::empty(), None::<&str>).is_ok()
        };
        Self {
            kernel: format!("{} {} ({})", read("/proc/sys/kernel/ostype"), read("/proc/sys/kernel/osrelease"), std::env::consts::ARCH),
            landlock: sys::landlock_abi().map_err(|error| error.to_string()),
            seccomp: in_namespaces(0, || {
                super::seccomp::compile(crate::policy::NetworkMode::None, super::seccomp::Audience::Program)
                    .and_then(|filters| filters.install())
                    .is_ok()
            }),
            namespaces: namespaces.to_vec(),
            proc: in_namespaces(every, mount_proc),
            pid_max: in_namespaces(every, || mount_proc() && fs::write("/tmp/proc/sys/kernel/pid_max", "1000").is_ok()).is_ok(),
            cgroup_controllers: delegated_controllers(),
        }
    }

    /// Whether every namespace that a policy may require can be made.
    pub fn namespaces_work(&self) -> Result<(), String> {
        if let Some(refused) = self.namespaces.iter().find(|namespace| namespace.refused.is_some()) {
            let why = refused.refused.as_deref().unwrap_or_default();
            return Err(format!("{} namespaces are refused ({why}). {NAMESPACE_REMEDY}", refused.name));
        }
        self.proc.clone().map_err(|why| format!("/proc cannot be mounted in new namespaces ({why}). {PROC_REMEDY}"))
    }
}

fn in_namespaces(flags: libc::c_int, attempt: impl FnOnce() -> bool) -> Result<(), String> {
    match sys::clone_into_namespaces(flags) {
        Err(error) => Err(error.to_string()),
        Ok(Fork::Child) => sys::exit_now(i32::from(!attempt())),
        Ok(Fork::Parent(child)) => match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, 0)) => Ok(()),
            Ok(_) => Err("the kernel refused it".to_owned()),
            Err(errno) => Err(errno.desc().to_owned()),
        },
    }
}

fn delegated_controllers() -> Vec<String> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::")) else { return Vec::new() };
    let folder = format!("/sys/fs/cgroup{}", path.trim_end_matches('/'));
    let may_write = nix::unistd::access(folder.as_str(), nix::unistd::AccessFlags::W_OK).is_ok();
    let controllers = fs::read_to_string(format!("{folder}/cgroup.controllers")).unwrap_or_default();
    if may_write { controllers.split_whitespace().map(str::to_owned).collect() } else { Vec::new() }
}
