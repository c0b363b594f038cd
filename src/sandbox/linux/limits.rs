//! Ceilings by `setrlimit(2)`, and for uid 0, whom `RLIMIT_NPROC` does not bind, by the PID namespace's own `pid_max`.

use std::fs;

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
/// Memory is bounded for each process by its private writable memory (`RLIMIT_DATA` covers anonymous mappings since Linux 4.7) and not
/// by its address space, of which language runtimes reserve far more than they use.
pub fn apply(limits: &PlanLimits) -> Result<(), Failure> {
    for (resource, value) in [
        (Resource::RLIMIT_NPROC, limits.processes.saturating_add(1)),
        (Resource::RLIMIT_NOFILE, limits.open_files),
        (Resource::RLIMIT_FSIZE, limits.file_size),
        (Resource::RLIMIT_DATA, limits.memory),
        // One byte: too little for a file, and the one value with which the kernel hands nothing to the host's core dump helper
        // either (core(5), `core_pattern` with a pipe).
        (Resource::RLIMIT_CORE, 1),
    ] {
        // A harder limit of the host stays in force; nobody without privilege could raise it anyway.
        let (_, ceiling) = nix::sys::resource::getrlimit(resource).map_err(|errno| Failure::errno("read a resource limit", errno))?;
        let value = value.min(ceiling);
        setrlimit(resource, value, value).map_err(|errno| Failure::errno("set a resource limit", errno))?;
    }
    Ok(())
}

/// Bounds the number of processes in this new PID namespace (per namespace since Linux 6.14), before `/proc` becomes read-only.
/// Returns what keeps the limit: `rlimit` for ordinary users, `pid_max` for root, or `none` where root has neither.
pub fn bound_processes(limits: &PlanLimits) -> &'static str {
    let written = fs::write("/proc/sys/kernel/pid_max", (limits.processes + RESERVED_PIDS).to_string()).is_ok();
    match (geteuid().is_root(), written) {
        (false, _) => "rlimit",
        (true, true) => "pid_max",
        (true, false) => "none",
    }
}
