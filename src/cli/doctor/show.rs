//! The report as text.

use super::{
    presets::{self, Finding},
    report::{PID_MAX, Report},
};
use crate::ui::{
    style::{Paint, Tone},
    table::{Cell, Table},
};

impl Report {
    /// The report in lines of `width` columns; its last line is the verdict.
    pub(super) fn text(&self, width: usize, paint: Paint) -> String {
        let mut out = String::new();
        let mut section = |title: &str, table: &Table| {
            if !table.is_empty() {
                out.push_str(&format!("{}\n{}\n", paint.text(Tone::Strong, title), table.render(width, paint)));
            }
        };
        section("Machine", &machine(self));
        section("Landlock", &landlock(self));
        section("Other layers", &layers(self));
        section("Presets", &presets::table(&self.presets));
        section("What is lacking", &presets::lacking(&self.presets));
        let tone = presets::tone(self.verdict.enforced);
        // One line whatever the width, so that `tail -n 1` is the verdict.
        out + &paint.text(tone, &format!("Verdict: {}.", self.verdict.text)) + "\n"
    }
}

fn machine(report: &Report) -> Table {
    let mut table = Table::new(2);
    let mut row = |name: &str, text: String| table.row([name.into(), text.into()]);
    row("portcullis", report.portcullis.to_owned());
    row("kernel", report.kernel.clone());
    row("user", if report.root { "root (uid 0)".to_owned() } else { "an ordinary user".to_owned() });
    row(
        "container",
        match report.container {
            Some("docker") => "docker, by its /.dockerenv; if namespaces are refused: --security-opt seccomp=unconfined --security-opt \
                               apparmor=unconfined --security-opt systempaths=unconfined"
                .to_owned(),
            Some(name) => format!(
                "{name}, by its /run/.containerenv; if namespaces are refused: --security-opt seccomp=unconfined --security-opt \
                 label=disable --security-opt unmask=ALL"
            ),
            None => "no sign of one".to_owned(),
        },
    );
    for (name, value) in &report.settings {
        row(name, value.clone().unwrap_or_else(|| "no such setting here".to_owned()));
    }
    row("macOS tools", "not applicable on Linux".to_owned());
    table
}

fn landlock(report: &Report) -> Table {
    let mut table = Table::new(2);
    match (report.landlock.abi, &report.landlock.reason) {
        (Some(abi), _) => {
            let used = report.landlock.used_abi;
            let newer = if abi > used { format!("; this version uses up to {used}") } else { String::new() };
            table.row(["kernel".into(), Cell::new(Tone::Good, &format!("ABI {abi}{newer}"))]);
        }
        (None, reason) => {
            let reason = reason.as_deref().unwrap_or("ABI 0");
            table.row(["kernel".into(), Cell::new(Tone::Bad, &format!("none: {reason}"))]);
        }
    }
    for right in &report.landlock.rights {
        let (state, detail) = match (right.had, report.landlock.abi) {
            (true, _) => (Cell::new(Tone::Good, "had"), right.adds.to_owned()),
            (false, None) => (Cell::new(Tone::Bad, "lacking"), right.adds.to_owned()),
            (false, Some(_)) => (Cell::new(Tone::Caution, "lacking"), format!("{}. Without it: {}", right.adds, right.without)),
        };
        table.row([format!("ABI {}", right.abi).into(), state, detail.into()]);
    }
    table
}

fn layers(report: &Report) -> Table {
    let mut table = Table::new(2);
    let mut row = |name: &str, finding: &Finding, detail: &str| {
        let state = if finding.works { Cell::new(Tone::Good, "had") } else { Cell::new(Tone::Bad, "lacking") };
        table.row([name.into(), state, finding.reason.as_deref().unwrap_or(detail).into()]);
    };
    row("seccomp", &report.seccomp, "system call filters");
    for namespace in &report.namespaces {
        row(&format!("{} namespace", namespace.name), &namespace.finding, "");
    }
    row("mounts", &report.mounts, "in new namespaces");
    row("/proc", &report.proc, "a fresh one in new namespaces");
    let pid_max = report.settings.get(PID_MAX).cloned().flatten().map(|value| format!(" ({value} on this machine)")).unwrap_or_default();
    let per_namespace = Finding {
        works: report.processes.pid_max_per_namespace,
        reason: (!report.processes.pid_max_per_namespace)
            .then(|| format!("pid_max{pid_max} belongs to the whole machine before Linux 6.14")),
    };
    row("pid_max per namespace", &per_namespace, &format!("pid_max{pid_max} can be lowered for a sandbox alone"));
    let (tone, state, detail) = match report.processes.bound {
        "pid_max" => (Tone::Good, "had", "root's processes are bounded by the PID namespace's pid_max, as RLIMIT_NPROC does not bind root"),
        "cgroup" => (Tone::Good, "had", "a call's control group bounds its processes"),
        "rlimit" => (Tone::Good, "had", "an ordinary user's processes are bounded by RLIMIT_NPROC, counted in the user namespace"),
        _ => (Tone::Bad, "lacking", "nothing bounds root's processes: RLIMIT_NPROC does not bind root"),
    };
    table.row(["limit on processes".into(), Cell::new(tone, state), detail.into()]);
    let controllers = match report.cgroups.controllers.as_slice() {
        [] => "no version 2 controller is delegated to this user".to_owned(),
        some => format!("delegated to this user: {}", some.join(", ")),
    };
    let used = report.cgroups.used;
    let what = if used {
        "calls get a group each, which bounds memory and processes"
    } else {
        "calls get no group of their own (that takes memory and pids in a group that holds no process, and leave to move processes there): \
         processes are bounded by rlimits, and memory is watched by each call's first process"
    };
    table.row(["cgroups".into(), if used { "used" } else { "unused" }.into(), format!("{controllers}; {what}").into()]);
    table
}
