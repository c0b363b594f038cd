//! Ceilings by `setrlimit(2)`. There is no control group, and what a process reserves is not bounded (`RLIMIT_AS` and `RLIMIT_DATA` bind nothing
//! that is mapped): memory and disk space of a call have no ceiling on macOS, and are said not to.

use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit, setrlimit},
};

use crate::sandbox::plan::PlanLimits;

/// The limits of one process, and their values.
pub fn limits(limits: &PlanLimits) -> [(Resource, u64); 3] {
    [(Resource::RLIMIT_NOFILE, limits.open_files), (Resource::RLIMIT_FSIZE, limits.file_size), (Resource::RLIMIT_CORE, 0)]
}

/// The most processes that the person may have (`RLIMIT_NPROC`) while a call runs: the kernel counts all of a user's, of which `running` are there
/// already.
pub fn processes(limits: &PlanLimits, running: u64) -> u64 {
    limits.processes.saturating_add(running)
}

/// Sets [`limits`] for this process and all that it will start. A harder limit of the host stays in force.
///
/// # Errors
/// What the system says.
pub fn apply(plan: &PlanLimits) -> Result<(), Errno> {
    for (resource, value) in limits(plan) {
        let (_, ceiling) = getrlimit(resource)?;
        let value = value.min(ceiling);
        setrlimit(resource, value, value)?;
    }
    Ok(())
}
