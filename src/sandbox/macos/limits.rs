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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bounded_is_what_the_policy_says_and_processes_come_on_top_of_those_that_run() {
        let plan = PlanLimits { wall_ms: 1, memory: 2, processes: 3, open_files: 4, file_size: 5, disk: 6 };
        let expected = [(Resource::RLIMIT_NOFILE, 4), (Resource::RLIMIT_FSIZE, 5), (Resource::RLIMIT_CORE, 0)];
        assert_eq!(limits(&plan), expected);
        assert_eq!((processes(&plan, 400), processes(&plan, u64::MAX)), (403, u64::MAX));
    }
}
