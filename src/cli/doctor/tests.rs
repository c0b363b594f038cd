//! Machines that are not this one.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use std::collections::BTreeMap;

use super::{
    presets::Enforced,
    report::{APPARMOR, CLONE, MOST, Machine, PID_MAX, Report, lacks},
};
use crate::{
    cli::exit::Exit,
    policy::{self, load::check_text},
    sandbox::linux::probe::{Capabilities, Namespace},
    ui::style::Paint,
};

const NAMESPACES: [&str; 6] = ["user", "mount", "pid", "network", "ipc", "uts"];

/// A machine of an ordinary user that has everything.
fn machine() -> Machine {
    Machine {
        capabilities: Capabilities {
            kernel: "Linux 6.18.0 (x86_64)".to_owned(),
            landlock: Ok(7),
            seccomp: Ok(()),
            namespaces: NAMESPACES.map(|name| Namespace { name, refused: None }).to_vec(),
            mounts: Ok(()),
            proc: Ok(()),
            pid_max: true,
            cgroup_controllers: Vec::new(),
            cgroups: false,
        },
        root: false,
        container: None,
        settings: BTreeMap::from([
            (APPARMOR, None),
            (CLONE, None),
            (MOST, Some("15000".to_owned())),
            (PID_MAX, Some("4194304".to_owned())),
        ]),
    }
}

/// As [`machine`], where namespaces are refused, and so is all that happens in them.
fn without_namespaces() -> Machine {
    let mut machine = machine();
    let refused = || "Operation not permitted".to_owned();
    machine.capabilities.namespaces = NAMESPACES.map(|name| Namespace { name, refused: Some(refused()) }).to_vec();
    (machine.capabilities.mounts, machine.capabilities.proc) = (Err(refused()), Err(refused()));
    machine.capabilities.pid_max = false;
    machine
}

fn text(machine: &Machine) -> String {
    Report::new(machine).text(100_000, Paint::PLAIN)
}

fn enforced(machine: &Machine, preset: &str) -> Enforced {
    Report::new(machine).presets.iter().find(|candidate| candidate.name == preset).map(|preset| preset.enforced).unwrap()
}

fn remedies(machine: &Machine) -> String {
    lacks(&policy::preset("workspace-write").unwrap(), machine).into_iter().map(|lack| lack.remedy).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn holds(text: &str, part: &str) {
    assert!(text.contains(part), "`{part}` is not in:\n{text}");
}

#[test]
fn a_machine_that_has_everything_enforces_every_preset_in_full() {
    let report = Report::new(&machine());
    assert_eq!(report.exit(), Exit::Success);
    assert!(report.presets.iter().all(|preset| preset.enforced == Enforced::Full && preset.lacks.is_empty()), "{report:?}");
    let text = text(&machine());
    assert!(!text.contains("What is lacking") && !text.contains("lacking  "), "{text}");
    assert_eq!(text.lines().last(), Some("Verdict: the default preset, workspace-write, can be enforced in full on this machine."));
}

#[test]
fn without_landlock_nothing_runs_and_the_reason_and_the_remedy_are_named() {
    let mut machine = machine();
    machine.capabilities.landlock = Err("Function not implemented".to_owned());
    let (report, text) = (Report::new(&machine), text(&machine));
    assert_eq!(report.exit(), Exit::Sandbox);
    assert!(report.landlock.rights.iter().all(|right| !right.had));
    holds(&text, "none: Function not implemented");
    holds(&text, "remedy     Landlock needs Linux 5.13 or newer");
    let last = text.lines().last();
    assert_eq!(last, Some("Verdict: nothing runs under the default preset, workspace-write, on this machine; lacking: Landlock."));
}

#[test]
fn each_landlock_abi_has_its_own_rights_and_those_before_it() {
    for abi in 1..=8 {
        let mut machine = machine();
        machine.capabilities.landlock = Ok(abi);
        let report = Report::new(&machine);
        let had: Vec<u32> = report.landlock.rights.iter().filter(|right| right.had).map(|right| right.abi).collect();
        assert_eq!(had, (1..=abi.min(7)).collect::<Vec<_>>());
        assert_eq!(report.landlock.used_abi, abi.min(7));
        assert_eq!(report.exit(), Exit::Success, "ABI {abi}");
        assert_eq!(text(&machine).matches("Without it: ").count(), 7usize.saturating_sub(abi as usize), "ABI {abi}");
    }
    let mut machine = machine();
    machine.capabilities.landlock = Ok(8);
    holds(&text(&machine), "ABI 8; this version uses up to 7");
    machine.capabilities.landlock = Ok(0);
    assert_eq!(Report::new(&machine).exit(), Exit::Sandbox);
}

#[test]
fn an_open_network_needs_the_scopes_of_abi_6() {
    for (abi, expected) in [(1, Enforced::Refused), (5, Enforced::Refused), (6, Enforced::Full)] {
        let mut machine = machine();
        machine.capabilities.landlock = Ok(abi);
        assert_eq!(enforced(&machine, "networked"), expected, "ABI {abi}");
        assert_eq!(enforced(&machine, "workspace-write"), Enforced::Full, "ABI {abi}");
        assert_eq!(text(&machine).contains("needed by  networked (no call runs)"), abi < 6);
    }
}

#[test]
fn refused_user_namespaces_are_one_lack_with_the_remedy_that_fits() {
    let refused = without_namespaces();
    let found = lacks(&policy::preset("workspace-write").unwrap(), &refused);
    assert_eq!(found.iter().map(|lack| lack.what.as_str()).collect::<Vec<_>>(), ["user namespaces"]);
    assert_eq!(Report::new(&refused).exit(), Exit::Sandbox);
    holds(&text(&refused), "user namespace         lacking  Operation not permitted");
    holds(&text(&refused), "lost       covers over denied and protected places");
    holds(&remedies(&refused), "everywhere `sysctl user.max_user_namespaces");

    let with = |name: &'static str, value: &str| {
        let mut machine = without_namespaces();
        machine.settings.insert(name, Some(value.to_owned()));
        remedies(&machine)
    };
    assert_eq!(with(MOST, "0"), "Allow user namespaces: `sysctl user.max_user_namespaces=15000`");
    assert_eq!(with(CLONE, "0"), "Allow user namespaces: `sysctl kernel.unprivileged_userns_clone=1`");
    let mut container = without_namespaces();
    container.container = Some("docker");
    holds(&remedies(&container), "--security-opt seccomp=unconfined");
    holds(&text(&container), "docker, by its /.dockerenv");
}

#[test]
fn a_masked_proc_stops_everything_and_names_the_containers_flag() {
    let mut machine = machine();
    machine.capabilities.proc = Err("Operation not permitted".to_owned());
    machine.container = Some("podman");
    assert_eq!(Report::new(&machine).exit(), Exit::Sandbox);
    holds(&text(&machine), "/proc                  lacking  Operation not permitted");
    holds(&remedies(&machine), "--security-opt unmask=ALL");
}

#[test]
fn mounts_that_apparmor_refuses_are_not_taken_for_a_masked_proc() {
    let mut machine = machine();
    (machine.capabilities.mounts, machine.capabilities.proc) = (Err("Permission denied".to_owned()), Err("Permission denied".to_owned()));
    machine.settings.insert(APPARMOR, Some("1".to_owned()));
    let remedies = remedies(&machine);
    holds(&remedies, "kernel.apparmor_restrict_unprivileged_userns=0");
    assert!(!remedies.contains("systempaths"), "{remedies}");
}

#[test]
fn missing_filters_stop_everything() {
    let mut machine = machine();
    machine.capabilities.seccomp = Err("Invalid argument".to_owned());
    assert!(Report::new(&machine).presets.iter().all(|preset| preset.enforced == Enforced::Refused));
    holds(&text(&machine), "seccomp                lacking  Invalid argument");
}

#[test]
fn only_root_needs_a_pid_max_of_the_namespaces_own() {
    let mut machine = machine();
    machine.capabilities.pid_max = false;
    assert_eq!(Report::new(&machine).exit(), Exit::Success);
    machine.root = true;
    let report = Report::new(&machine);
    assert_eq!((report.exit(), report.verdict.enforced, report.processes.bound), (Exit::Sandbox, Enforced::Part, "none"));
    let text = text(&machine);
    holds(&text, "(calls run without it)");
    holds(&text, "remedy     Run portcullis as an ordinary user");
    holds(text.lines().last().unwrap(), "can be enforced in part only; lacking: a limit on root's processes");
    machine.capabilities.pid_max = true;
    assert_eq!(Report::new(&machine).exit(), Exit::Success);
}

#[test]
fn a_network_namespace_is_missed_only_where_it_is_used() {
    let mut machine = machine();
    machine.capabilities.namespaces[3].refused = Some("No space left on device".to_owned());
    assert_eq!(enforced(&machine, "networked"), Enforced::Full);
    assert_eq!(enforced(&machine, "workspace-write"), Enforced::Refused);
    holds(&text(&machine), "lost       that there is no network");
}

#[test]
fn no_network_mode_lacks_anything_on_a_machine_with_all_layers() {
    for mode in ["none", "loopback", "allowlist", "open"] {
        let text = format!("schema = 1\nname = \"p\"\n[network]\nmode = \"{mode}\"");
        assert!(lacks(&check_text("p.toml", &text).unwrap().complete(), &machine()).is_empty(), "{mode}");
    }
}

#[test]
fn cgroups_are_shown_with_what_they_are_for() {
    let mut machine = machine();
    machine.capabilities.cgroup_controllers = vec!["memory".to_owned(), "pids".to_owned()];
    holds(&text(&machine), "delegated to this user: memory, pids; calls get no group of their own");
    machine.capabilities.cgroups = true;
    holds(&text(&machine), "delegated to this user: memory, pids; calls get a group each");
}

#[test]
fn the_json_object_has_the_keys_that_are_documented() {
    let json = serde_json::to_value(Report::new(&without_namespaces())).unwrap();
    let documented = [
        "cgroups",
        "container",
        "kernel",
        "landlock",
        "macos",
        "mounts",
        "namespaces",
        "portcullis",
        "presets",
        "proc",
        "processes",
        "root",
        "seccomp",
        "settings",
        "verdict",
        "version",
    ];
    let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, documented);
    assert_eq!(json["version"], 1);
    assert_eq!(json["verdict"]["enforced"], "refused");
    assert_eq!(json["namespaces"][0], serde_json::json!({ "name": "user", "works": false, "reason": "Operation not permitted" }));
    let lack = json["presets"][0]["lacks"][0].as_object().unwrap();
    assert_eq!(lack.keys().map(String::as_str).collect::<Vec<_>>(), ["lost", "reason", "remedy", "stops", "what"]);
}
