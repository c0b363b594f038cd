//! From what a machine has to what can be enforced on it: pure, but for [`Machine::look`].

use std::{collections::BTreeMap, fs, path::Path};

use serde::Serialize;

use super::presets::{Enforced, Finding, Lack, Preset, Verdict};

use crate::{
    cli::exit::Exit,
    policy::{self, NetworkMode, Policy},
    sandbox::{
        linux::probe::{
            Capabilities, LANDLOCK_REMEDY, LANDLOCK_RIGHTS, MOUNT_REMEDY, NAMESPACE_REMEDY, PROC_REMEDY, PROCESS_REMEDY, SECCOMP_REMEDY,
        },
        plan::NEWEST_LANDLOCK_ABI,
    },
};

/// The shape of the JSON object; see the documentation of the module above.
const VERSION: u32 = 1;
/// On Ubuntu: 1 takes the capabilities of an unprivileged user's namespaces away.
pub(super) const APPARMOR: &str = "kernel.apparmor_restrict_unprivileged_userns";
/// On Debian: 0 refuses user namespaces to ordinary users.
pub(super) const CLONE: &str = "kernel.unprivileged_userns_clone";
/// Everywhere: how many user namespaces a user may have.
pub(super) const MOST: &str = "user.max_user_namespaces";
/// The highest process id of this namespace.
pub(super) const PID_MAX: &str = "kernel.pid_max";
/// What a container needs to be started with for namespaces of its own.
const CONTAINER_REMEDY: &str = "Start the container with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`, or with a \
     profile of its own that lets clone(CLONE_NEWUSER), mount and pivot_root through";

/// What is known of a machine.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) capabilities: Capabilities,
    pub(super) root: bool,
    pub(super) container: Option<&'static str>,
    pub(super) settings: BTreeMap<&'static str, Option<String>>,
}

impl Machine {
    /// Looks at this one.
    pub(super) fn look() -> Self {
        let setting = |name: &'static str| {
            let text = fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/")));
            (name, text.ok().map(|text| text.trim().to_owned()))
        };
        let marks = [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")];
        Self {
            capabilities: Capabilities::probe(),
            root: nix::unistd::geteuid().is_root(),
            container: marks.into_iter().find(|(mark, _)| Path::new(mark).exists()).map(|(_, name)| name),
            settings: [APPARMOR, CLONE, MOST, PID_MAX].map(setting).into(),
        }
    }

    fn is_set(&self, name: &str, value: &str) -> bool {
        self.settings.get(name).and_then(Option::as_deref) == Some(value)
    }

    /// The one thing to change where it can be told which, else all that may help.
    fn namespace_remedy(&self) -> String {
        let sysctl = |text: &str| format!("Allow user namespaces: `{text}`");
        if self.is_set(MOST, "0") {
            return sysctl("sysctl user.max_user_namespaces=15000");
        }
        if self.is_set(CLONE, "0") && !self.root {
            return sysctl("sysctl kernel.unprivileged_userns_clone=1");
        }
        if self.container.is_some() { CONTAINER_REMEDY.to_owned() } else { NAMESPACE_REMEDY.to_owned() }
    }

    fn mount_remedy(&self) -> String {
        if self.is_set(APPARMOR, "1") && !self.root {
            return "Ubuntu's AppArmor restricts user namespaces: give this program a profile with `userns,`, or \
                    `sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
                .to_owned();
        }
        if self.container.is_some() { CONTAINER_REMEDY.to_owned() } else { MOUNT_REMEDY.to_owned() }
    }

    fn process_bound(&self) -> &'static str {
        match (self.capabilities.cgroups, self.root, self.capabilities.pid_max) {
            (true, ..) => "cgroup",
            (false, false, _) => "rlimit",
            (false, true, true) => "pid_max",
            (false, true, false) => "none",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Right {
    pub(super) abi: u32,
    pub(super) adds: &'static str,
    pub(super) had: bool,
    pub(super) without: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Landlock {
    pub(super) abi: Option<u32>,
    pub(super) used_abi: u32,
    pub(super) reason: Option<String>,
    pub(super) rights: Vec<Right>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Namespace {
    pub(super) name: &'static str,
    #[serde(flatten)]
    pub(super) finding: Finding,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Processes {
    pub(super) bound: &'static str,
    pub(super) pid_max_per_namespace: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Cgroups {
    pub(super) controllers: Vec<String>,
    pub(super) used: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct MacOs {
    pub(super) applicable: bool,
    pub(super) sandbox_exec: bool,
    pub(super) built: bool,
}

/// Everything that `doctor` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    pub(super) version: u32,
    pub(super) portcullis: &'static str,
    pub(super) kernel: String,
    pub(super) root: bool,
    pub(super) container: Option<&'static str>,
    pub(super) landlock: Landlock,
    pub(super) seccomp: Finding,
    pub(super) namespaces: Vec<Namespace>,
    pub(super) mounts: Finding,
    pub(super) proc: Finding,
    pub(super) processes: Processes,
    pub(super) cgroups: Cgroups,
    pub(super) macos: MacOs,
    pub(super) settings: BTreeMap<&'static str, Option<String>>,
    pub(super) presets: Vec<Preset>,
    pub(super) verdict: Verdict,
}

impl Report {
    /// Judges a machine.
    pub(super) fn new(machine: &Machine) -> Self {
        let found = &machine.capabilities;
        let abi = found.landlock.clone().ok().filter(|abi| *abi > 0);
        let right = |right: &crate::sandbox::linux::probe::LandlockRight| Right {
            abi: right.abi,
            adds: right.adds,
            had: abi.is_some_and(|abi| abi >= right.abi),
            without: right.without,
        };
        let presets: Vec<Preset> = policy::presets().iter().map(|(name, _)| preset(name, machine)).collect();
        Self {
            version: VERSION,
            portcullis: env!("CARGO_PKG_VERSION"),
            kernel: found.kernel.clone(),
            root: machine.root,
            container: machine.container,
            landlock: Landlock {
                abi,
                used_abi: abi.unwrap_or(0).min(NEWEST_LANDLOCK_ABI),
                reason: found.landlock.clone().err(),
                rights: LANDLOCK_RIGHTS.iter().map(right).collect(),
            },
            seccomp: (&found.seccomp).into(),
            namespaces: found
                .namespaces
                .iter()
                .map(|namespace| Namespace {
                    name: namespace.name,
                    finding: Finding { works: namespace.refused.is_none(), reason: namespace.refused.clone() },
                })
                .collect(),
            mounts: (&found.mounts).into(),
            proc: (&found.proc).into(),
            processes: Processes { bound: machine.process_bound(), pid_max_per_namespace: found.pid_max },
            cgroups: Cgroups { controllers: found.cgroup_controllers.clone(), used: found.cgroups },
            macos: MacOs { applicable: false, sandbox_exec: false, built: true },
            settings: machine.settings.clone(),
            verdict: Verdict::of(&presets),
            presets,
        }
    }

    /// The code to end with.
    pub(super) fn exit(&self) -> Exit {
        if self.verdict.enforced == Enforced::Full { Exit::Success } else { Exit::Sandbox }
    }
}

fn preset(name: &str, machine: &Machine) -> Preset {
    let (needs, lacks) = match policy::preset(name) {
        Ok(policy) => (needs(&policy), lacks(&policy, machine)),
        Err(error) => {
            let lack = Lack {
                what: "a policy without errors".to_owned(),
                reason: error.to_string(),
                lost: "everything that it says".to_owned(),
                stops: true,
                remedy: "Report this: the preset is part of the program".to_owned(),
            };
            (Vec::new(), vec![lack])
        }
    };
    Preset::new(name, needs, lacks)
}

/// What a policy needs of a machine.
fn needs(policy: &Policy) -> Vec<String> {
    let open = policy.network.mode == NetworkMode::Open;
    let landlock = if open { "Landlock ABI 6" } else { "Landlock" };
    let namespaces = if open { "user, mount, pid, ipc and uts namespaces" } else { "user, mount, pid, ipc, uts and network namespaces" };
    [landlock, "seccomp filters", namespaces, "mounts and a /proc in them", "for root: pid_max per namespace"].map(str::to_owned).into()
}

/// What a policy needs and the machine lacks. All three layers are applied to every policy, whatever it requires, so each that is missing
/// stops its calls.
pub(super) fn lacks(policy: &Policy, machine: &Machine) -> Vec<Lack> {
    let found = &machine.capabilities;
    let mut out = Vec::new();
    let mut stopped = |what: &str, reason: &str, lost: &str, remedy: String| {
        let [what, reason, lost] = [what, reason, lost].map(str::to_owned);
        out.push(Lack { what, reason, lost, stops: true, remedy });
    };
    let mode = policy.network.mode;
    match &found.landlock {
        Ok(abi) if *abi > 0 => {
            if mode == NetworkMode::Open && *abi < 6 {
                let reason = format!("this kernel has ABI {abi}, and network mode `open` needs what ABI 6 (Linux 6.12) adds");
                let lost = "what keeps abstract sockets of the host out of reach of calls that share its network";
                stopped("Landlock ABI 6", &reason, lost, "Use a policy with network mode `none`, or Linux 6.12 or newer".to_owned());
            }
        }
        other => {
            let reason = other.as_ref().err().map_or("the kernel has ABI 0", String::as_str);
            let lost = "the second lock on which files are read, written and run, and on signals and sockets of processes outside";
            stopped("Landlock", reason, lost, LANDLOCK_REMEDY.to_owned());
        }
    }
    if let Err(reason) = &found.seccomp {
        let lost = "the filter on system calls: kernel surface, socket families, ptrace, io_uring, new namespaces, terminal injection";
        stopped("seccomp filters", reason, lost, SECCOMP_REMEDY.to_owned());
    }
    let needed = |name: &str| name != "network" || mode != NetworkMode::Open;
    // Each is tried together with a user namespace, so where that is refused the others say nothing more.
    if let Some(refused) = found.namespaces.iter().find(|namespace| namespace.refused.is_some() && needed(namespace.name)) {
        let what = format!("{} namespaces", refused.name);
        stopped(&what, refused.refused.as_deref().unwrap_or_default(), loss_of(refused.name), machine.namespace_remedy());
    } else if let Err(reason) = &found.mounts {
        stopped("mounts in new namespaces", reason, loss_of("mount"), machine.mount_remedy());
    } else if let Err(reason) = &found.proc {
        let lost = "a /proc that shows the sandbox's own processes and nobody else's";
        stopped("a /proc of the sandbox's own", reason, lost, PROC_REMEDY.to_owned());
    }
    if machine.process_bound() == "none" {
        out.push(Lack {
            what: "a limit on root's processes".to_owned(),
            reason: "RLIMIT_NPROC does not bind root, and pid_max is the whole machine's here".to_owned(),
            lost: "the policy's limit on processes: a fork bomb takes process ids until the machine has none left".to_owned(),
            stops: false,
            remedy: PROCESS_REMEDY.to_owned(),
        });
    }
    out
}

fn loss_of(namespace: &str) -> &'static str {
    match namespace {
        "pid" => "the end of all of a call's processes with it, and that it sees nobody else's",
        "network" => "that there is no network",
        "ipc" => "shared memory and queues of the sandbox's own",
        "uts" => "a host name of the sandbox's own",
        _ => {
            "covers over denied and protected places, the private /tmp and home folder, and that what is not granted does not exist inside"
        }
    }
}
