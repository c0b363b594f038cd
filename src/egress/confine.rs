//! What the proxy itself is confined to: the host's network, the files of the resolver, and nothing else. It reads hostile bytes all day.

use std::{fs, path::Path};

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
    RulesetStatus, Scope,
};

use crate::{
    policy::NetworkMode,
    sandbox::{
        linux::{
            Failure,
            seccomp::{self, Audience},
        },
        sys,
    },
};

/// What getaddrinfo(3) reads and maps: its settings, and the modules that nsswitch.conf(5) names.
const RESOLVER: [&str; 13] = [
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ld.so.cache",
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
];

/// Gives up every capability. An ordinary user has none, and may not even take the bounding set away, which means nothing under `no_new_privs`.
fn without_capabilities(step: &str) -> Result<(), Failure> {
    let Err(error) = sys::drop_capabilities() else { return Ok(()) };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let none =
        |set: &str| status.lines().any(|line| line.strip_prefix(set).is_some_and(|rest| rest.trim().bytes().all(|digit| digit == b'0')));
    if error.raw_os_error() == Some(libc::EPERM) && ["CapPrm:", "CapEff:", "CapInh:", "CapAmb:"].into_iter().all(none) {
        return Ok(());
    }
    Err(Failure::system(step, &error))
}

/// Confines this process.
pub(super) fn restrict() -> Result<(), Failure> {
    let step = "confine the proxy";
    let failed = |error: landlock::RulesetError| Failure::new(step, error.to_string());
    nix::sys::prctl::set_no_new_privs().map_err(|errno| Failure::errno(step, errno))?;
    without_capabilities(step)?;
    let kernel = sys::landlock_abi().map_err(|error| Failure::system(step, &error))?;
    let abi = match kernel {
        1 => ABI::V1,
        2 => ABI::V2,
        3 => ABI::V3,
        4 => ABI::V4,
        5 => ABI::V5,
        _ => ABI::V6,
    };
    let mut ruleset =
        Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::from_all(abi)).map_err(failed)?;
    if kernel >= 6 {
        ruleset = ruleset.scope(Scope::from_all(abi)).map_err(failed)?;
    }
    let mut created = ruleset.create().map_err(failed)?;
    for path in RESOLVER.map(Path::new).into_iter().filter(|path| path.exists()) {
        let rights = if path.is_dir() { AccessFs::from_read(abi) } else { AccessFs::ReadFile.into() };
        let opened = PathFd::new(path).map_err(|error| Failure::new(step, error.to_string()).about(path))?;
        (&mut created).add_rule(PathBeneath::new(opened, rights)).map_err(failed)?;
    }
    let status = created.restrict_self().map_err(failed)?;
    if status.ruleset != RulesetStatus::FullyEnforced {
        return Err(Failure::new(step, "the kernel enforced its ruleset only in part"));
    }
    seccomp::compile(NetworkMode::Open, Audience::Proxy)?.install()
}
