//! The Landlock ruleset: what may be read, written and run once the mounts are made, and a second lock on everything that they decide.
//!
//! Landlock rules only add rights below a folder (landlock(7)), so hidden and protected places inside a granted one are the work of
//! [`super::view`]. What this layer adds is a boundary that holds if a mount trick is ever found, the scopes, and TCP ports.

use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::Failure;
use crate::{
    policy::{Layer, NetworkMode},
    sandbox::{
        plan::{Access, Plan},
        sys,
    },
};

/// Confines this process and all that it will start. Returns the ABI that the ruleset was built for.
pub fn restrict(plan: &Plan) -> Result<u32, Failure> {
    let step = "apply the Landlock ruleset";
    let kernel = sys::landlock_abi().map_err(|error| Failure::system(step, &error).with_remedy(super::probe::LANDLOCK_REMEDY))?;
    let kernel = kernel.min(plan.landlock_abi);
    if plan.network == NetworkMode::Open && kernel < 6 {
        return Err(Failure::new(
            step,
            format!(
                "network mode `open` needs Landlock ABI 6 (Linux 6.12), which keeps abstract sockets of the host out of reach; this kernel has {kernel}"
            ),
        )
        .with_remedy("Use a policy with network mode `none` or `loopback`, or Linux 6.12 or newer"));
    }
    let number = kernel;
    let abi = abi(number);
    let ruleset = |error: landlock::RulesetError| Failure::new(step, error.to_string()).with_remedy(super::probe::LANDLOCK_REMEDY);

    let mut handled =
        Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::from_all(abi)).map_err(ruleset)?;
    // A private loopback needs no rule on ports: the namespace holds nothing else.
    if number >= 4 && plan.network == NetworkMode::None {
        handled = handled.handle_access(AccessNet::from_all(abi)).map_err(ruleset)?;
    }
    if number >= 6 {
        handled = handled.scope(Scope::from_all(abi)).map_err(ruleset)?;
    }
    let mut created = handled.create().map_err(ruleset)?;

    let read = AccessFs::from_read(abi);
    let all = AccessFs::from_all(abi);
    let mut grant = |path: &Path, rights: BitFlags<AccessFs>, required: bool| -> Result<(), Failure> {
        let metadata = match path.metadata() {
            Ok(metadata) => metadata,
            Err(error) if required => return Err(Failure::system(step, &error).about(path)),
            Err(_) => return Ok(()),
        };
        // A rule on a file may only name rights that a file can have.
        let rights = if metadata.is_dir() { rights } else { rights & AccessFs::from_file(abi) };
        let opened = PathFd::new(path).map_err(|error| Failure::new(step, error.to_string()).about(path))?;
        (&mut created).add_rule(PathBeneath::new(opened, rights)).map_err(|error| Failure::new(step, error.to_string()).about(path))?;
        Ok(())
    };
    let private_view = plan.applies(Layer::Namespaces);
    for root in &plan.roots {
        let place = if private_view { &root.target } else { &root.source };
        grant(place, if root.access == Access::Write { all } else { read }, root.required)?;
    }
    if private_view {
        // The view holds only what the policy grants, so listing its folders tells nothing more.
        grant(Path::new("/"), AccessFs::ReadDir.into(), true)?;
        grant(Path::new("/proc"), read, true)?;
        for writable in ["/dev/shm", "/dev/pts", "/dev/mqueue"] {
            grant(Path::new(writable), all & !AccessFs::Execute, true)?;
        }
    }
    for device in super::view::DEVICES {
        let mut rights = AccessFs::ReadFile | AccessFs::WriteFile;
        if number >= 5 {
            rights |= AccessFs::IoctlDev;
        }
        grant(Path::new(device), rights, false)?;
    }
    let status = created.restrict_self().map_err(ruleset)?;
    if status.ruleset != RulesetStatus::FullyEnforced {
        return Err(Failure::new(step, format!("the kernel enforced the ruleset only in part ({:?})", status.ruleset)));
    }
    Ok(number)
}

/// Confines this process to nothing, to find out whether it can be done.
pub fn restrict_nothing() -> Result<(), landlock::RulesetError> {
    let handled = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::from_all(ABI::V1))?;
    handled.create()?.restrict_self().map(drop)
}

fn abi(number: u32) -> ABI {
    match number {
        0 => ABI::Unsupported,
        1 => ABI::V1,
        2 => ABI::V2,
        3 => ABI::V3,
        4 => ABI::V4,
        5 => ABI::V5,
        6 => ABI::V6,
        _ => ABI::V7,
    }
}
