//! Ceilings by `setrlimit(2)`. There is no control group, and what a process reserves is not bounded (`RLIMIT_AS` and `RLIMIT_DATA` bind nothing
//! that is mapped): memory and disk space of a call have no ceiling on macOS, and are said not to.

use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit, setrlimit},
};

use crate::sandbox::plan::PlanLimits;

/// The limits and their values. `running` is how many processes the person has already: the kernel counts all of a user's against `RLIMIT_NPROC`.
pub fn limits(limits: &PlanLimits, running: u64) -> [(Resource, u64); 4] {
    [
        (Resource::RLIMIT_NPROC, limits.processes.saturating_add(running)),
        (Resource::RLIMIT_NOFILE, limits.open_files),
        (Resource::RLIMIT_FSIZE, limits.file_size),
        (Resource::RLIMIT_CORE, 0),
    ]
}

/// Sets them for this process and all that it will start. A harder limit of the host stays in force.
///
/// # Errors
/// What the system says.
pub fn apply(plan: &PlanLimits, running: u64) -> Result<(), Errno> {
    for (resource, value) in limits(plan, running) {
        let (_, ceiling) = getrlimit(resource)?;
        let value = value.min(ceiling);
        setrlimit(resource, value, value)?;
    }
    Ok(())
}
