//! Ceilings by `setrlimit(2)`, and for uid 0, whom `RLIMIT_NPROC` does not bind, by the PID namespace's own `pid_max`.

use std::{fs, io, path::Path};

use nix::{
    sys::resource::{Resource, setrlimit},
    unistd::geteuid,
};

use super::Failure;
use crate::sandbox::plan::PlanLimits;

/// PIDs below this are not handed out again once the numbers have wrapped round (`RESERVED_PIDS` in the kernel's pid.c), and it is also the
/// least that `pid_max` may be.
const RESERVED_PIDS: u64 = 301;

/// Sets the limits of this process and all that it will start. The sandbox's own init counts as one process, hence the one more.
///
/// Memory of programs is bounded elsewhere, where its use can be seen ([`super::memory`]). With `reserved` set, what one process reserves is
/// bounded as well (`RLIMIT_DATA` covers anonymous mappings since Linux 4.7): the file worker reserves no more than it uses.
pub fn apply(limits: &PlanLimits, reserved: bool) -> Result<(), Failure> {
    let reserved = reserved.then_some((Resource::RLIMIT_DATA, limits.memory));
    let limits = [
        (Resource::RLIMIT_NPROC, limits.processes.saturating_add(1)),
        (Resource::RLIMIT_NOFILE, limits.open_files),
        (Resource::RLIMIT_FSIZE, limits.file_size),
        // One byte: too little for a file, and the one value with which the kernel hands nothing to the host's core dump helper
        // either (core(5), `core_pattern` with a pipe).
        (Resource::RLIMIT_CORE, 1),
    ];
    for (resource, value) in limits.into_iter().chain(reserved) {
        // A harder limit of the host stays in force; nobody without privilege could raise it anyway.
        let (_, ceiling) = nix::sys::resource::getrlimit(resource).map_err(|errno| Failure::errno("read a resource limit", errno))?;
        let value = value.min(ceiling);
        setrlimit(resource, value, value).map_err(|errno| Failure::errno("set a resource limit", errno))?;
    }
    Ok(())
}

/// Whether `pid_max` belongs to the PID namespace, as it does since Linux 6.14.
///
/// For root this is asked of the version and not found by trying: before 6.14 there is one value for the whole machine, and because a sysctl
/// looks at the user and not at capabilities, root may write it from inside any user namespace that has root mapped.
pub fn pid_max_is_private(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 14)
}

/// Lowers `pid_max` of this PID namespace by way of a `/proc` that was mounted in it, and nobody else's.
pub fn lower_pid_max(proc: &Path, limit: u64) -> io::Result<()> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if geteuid().is_root() && !pid_max_is_private(&release) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    fs::write(proc.join("sys/kernel/pid_max"), limit.to_string())
}

/// Bounds the number of processes in this new PID namespace (per namespace since Linux 6.14), before `/proc` becomes read-only.
/// Returns what keeps the limit: `rlimit` for ordinary users, `pid_max` for root, or `none` where root has neither.
pub fn bound_processes(limits: &PlanLimits) -> &'static str {
    let written = lower_pid_max(Path::new("/proc"), limits.processes + RESERVED_PIDS).is_ok();
    match (geteuid().is_root(), written) {
        (false, _) => "rlimit",
        (true, true) => "pid_max",
        (true, false) => "none",
    }
}

/// Bounds what a call takes of the person's own share of inotify instances (`max_user_instances`, 128 unless set otherwise), without which
/// editors and desktops do not work (inotify(7)). The limit belongs to this new user namespace (namespaces(7), Linux 4.13).
pub fn bound_notifications() {
    // Where it cannot be written there is no more than the person's own limit, which holds anyway.
    let _ = fs::write("/proc/sys/user/max_inotify_instances", "96");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pid_max_is_left_alone_on_kernels_where_it_is_the_whole_machines() {
        for release in ["6.13.9-arch1", "6.9.0", "5.15.0-100-generic", "4.18.0-553.el8_10.x86_64", "", "unknown"] {
            assert!(!pid_max_is_private(release), "{release}");
        }
        for release in ["6.14.0", "6.14-rc1", "6.18.44-fc-v769", "7.0.0"] {
            assert!(pid_max_is_private(release), "{release}");
        }
    }
}
