//! What every program on a Mac needs besides files of the policy's: services of launchd's, system values, named semaphores, places of the
//! system. Each stands here with its reason; what is not named is refused.
//!
//! Left out on purpose: `com.apple.securityd*` and `SecurityServer` (the keychain), `com.apple.coreservices.*` and `lsopen` (they start programs
//! outside of the sandbox), `com.apple.pasteboard.*`, `com.apple.tccd*`, `com.apple.windowserver*`, and `com.apple.cfprefsd.*`: preferences of every
//! program could be read by way of it, and tokens lie in some.

use crate::policy::NetworkMode;

/// Something that a profile names, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Its name.
    pub name: &'static str,
    /// Who needs it for what, as a comment in the profile: letters, commas and the like, never a quotation mark or the end of a line.
    pub why: &'static str,
}

const fn need(name: &'static str, why: &'static str) -> Need {
    Need { name, why }
}

/// Services that any program may look up (`mach-lookup`, `global-name`).
pub const SERVICES: [Need; 6] = [
    need("com.apple.system.opendirectoryd.libinfo", "names of users: git, ssh, python and the shells ask who they run as"),
    need("com.apple.system.opendirectoryd.membership", "groups of users: access checks of shells and build tools"),
    need("com.apple.system.notification_center", "libc learns by it that the time zone changed"),
    need("com.apple.system.logger", "syslog of libc; without it programs wait"),
    need("com.apple.logd", "os_log of the system's libraries; without it programs wait"),
    need("com.apple.bsd.dirhelper", "the folders of confstr, which clang and mktemp ask for"),
];

/// Services of programs that reach a network, through the proxy or by themselves.
pub const NETWORK_SERVICES: [Need; 2] = [
    need("com.apple.trustd.agent", "certificates: curl, go, git and python verify servers by it"),
    need("com.apple.SystemConfiguration.configd", "settings of the network: resolvers and proxies that node, go and python look up"),
];

/// The services of a plan whose network is of this mode.
pub fn services(mode: NetworkMode) -> impl Iterator<Item = &'static Need> {
    let network: &[Need] = if matches!(mode, NetworkMode::Allowlist | NetworkMode::Open) { &NETWORK_SERVICES } else { &[] };
    SERVICES.iter().chain(network)
}

/// System values that may be read (`sysctl-read`), by the beginnings of their names. `kern.procargs2` is none of them: it holds the arguments
/// and the environment of other processes.
pub const VALUE_PREFIXES: [Need; 3] = [
    need("hw.", "processors, memory and page size: compilers, test runners, allocators"),
    need("machdep.cpu.", "features of the processor"),
    need("net.routetable.", "getifaddrs lists interfaces by it; it reaches nothing"),
];

/// The same, by their whole names.
pub const VALUES: [Need; 17] = [
    need("kern.argmax", "how long arguments may be: xargs, python"),
    need("kern.hostname", "gethostname"),
    need("kern.maxfilesperproc", "limits: java, node"),
    need("kern.maxproc", "limits: shells"),
    need("kern.ngroups", "getgroups"),
    need("kern.osproductversion", "the version of the system: compilers choose by it"),
    need("kern.osrelease", "uname"),
    need("kern.ostype", "uname"),
    need("kern.osvariant_status", "libraries of the system ask it at their start"),
    need("kern.osversion", "uname"),
    need("kern.secure_kernel", "libraries of the system ask it at their start"),
    need("kern.usrstack64", "runtimes find their stack by it"),
    need("kern.version", "uname"),
    need("sysctl.proc_cputype", "Rosetta: whether this process is translated"),
    need("security.mac.lockdown_mode_state", "runtimes with a compiler of their own ask whether they may use it"),
    need("vm.loadavg", "make and ninja"),
    need("kern.clockrate", "times of processes"),
];

/// Named semaphores and shared memory that are let be made, by the beginnings of their names; other names may be another program's.
pub const SHARED_NAMES: [Need; 3] = [
    need("/mp-", "locks of python's multiprocessing"),
    need("/psm_", "shared memory of python's multiprocessing"),
    need("/__KMP_REGISTERED_LIB_", "OpenMP registers itself"),
];

/// Places of the system that every program reads as it starts. They are readable under every policy.
pub const LOADER: [Need; 11] = [
    need("/System/Library", "frameworks and the loader's cache"),
    need("/System/Cryptexes", "the loader's cache since macOS 13"),
    need("/System/Volumes/Preboot/Cryptexes", "the same, by its other path"),
    need("/System/iOSSupport", "frameworks of Catalyst"),
    need("/Library/Apple", "frameworks that are updated by themselves"),
    need("/usr/lib", "libSystem and the loader"),
    need("/usr/share/icu", "tables of characters"),
    need("/usr/share/zoneinfo.default", "time zones"),
    need("/private/var/db/timezone", "time zones"),
    need("/private/var/db/dyld", "the loader's cache before macOS 13"),
    need("/private/etc/localtime", "the time zone"),
];

/// Places of the developer's tools. They are readable where a policy grants `/usr`, whose programs are only the way to them.
pub const DEVELOPER_TOOLS: [Need; 5] = [
    need("/Library/Developer/CommandLineTools", "git, clang, make and python of Apple"),
    need("/Applications/Xcode.app", "the same, where Xcode is installed"),
    need("/private/var/select", "which shell is sh"),
    need("/private/var/db/xcode_select_link", "which of the two is used"),
    need("/Library/Preferences/com.apple.dt.Xcode.plist", "whether the licence was accepted, without which git stops"),
];
