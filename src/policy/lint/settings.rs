//! Findings about the network, the environment, limits, git, enforcement, questions and the log.

use std::time::Duration;

use toml::Spanned;

use super::{
    super::{
        model::{Ask, Decision, Detail, GitAccess, Layer, NetworkMode, OnFailure, OnMissing, Origin},
        units,
    },
    Finding, Severity, Subject, rules, variables,
    written::Written,
};

/// A call that takes longer is probably one that hangs.
const LONG: Duration = Duration::from_secs(2 * 3600);
/// More processes than any build starts.
const MANY: u64 = 16 * 1024;

pub(super) fn find(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let written = Written::new(subject.sources);
    network(subject, &written, findings);
    environment(subject, &written, findings);
    limits(subject, &written, findings);
    enforcement(subject, &written, findings);
    recording(subject, &written, findings);
    let policy = subject.policy;
    if policy.git == GitAccess::Full {
        findings.push(Finding::new(
            &rules::FULL_GIT,
            &written.origin(|file| file.git.allow.as_ref().filter(|word| word.get_ref() == "full").map(Spanned::span)),
            "calls may make git repositories below the workspace",
            "write allow = \"commit\" unless calls have to clone or to make repositories",
        ));
    }
    if policy.ask == Ask::Never && policy.commands.iter().all(|rule| rule.decision == Decision::Allow) {
        findings.push(Finding::new(
            &rules::NEVER_ASKS_AND_FORBIDS_NOTHING,
            &written.origin(|file| file.approval.ask.as_ref().map(Spanned::span)),
            "no command is ever asked about, and none is forbidden",
            "add a [[command]] that forbids what must not even be tried, such as publishing",
        ));
    }
}

fn network(subject: &Subject<'_>, written: &Written<'_>, findings: &mut Vec<Finding>) {
    let network = &subject.policy.network;
    if network.mode == NetworkMode::Open {
        let origin = network.mode_origin.clone().unwrap_or_else(|| written.origin(|file| file.network.mode.as_ref().map(Spanned::span)));
        findings.push(Finding::new(
            &rules::OPEN_NETWORK,
            &origin,
            "every host can be reached, and whatever is readable can be sent there",
            "write mode = \"loopback\", or use an open network only for what needs one",
        ));
    }
}

fn environment(subject: &Subject<'_>, written: &Written<'_>, findings: &mut Vec<Finding>) {
    let environment = &subject.policy.environment;
    let inherited = |name: &str| {
        written.origin(|file| {
            let list = file.environment.inherit.as_ref()?.get_ref();
            list.iter().find(|entry| entry.get_ref() == name).map(Spanned::span)
        })
    };
    let set = |name: &str| {
        written.origin(|file| file.environment.set.as_ref()?.get_ref().keys().find(|key| key.get_ref() == name).map(Spanned::span))
    };
    for name in &environment.inherit {
        if variables::is_secret(name) {
            findings.push(Finding::new(
                &rules::SECRET_INHERITED,
                &inherited(name),
                format!("every call is given {name}, which by its name holds a secret or leads to one"),
                "leave it out of inherit, and do outside of the sandbox what needs it",
            ));
        }
        if variables::is_loader(name, None) {
            findings.push(Finding::new(
                &rules::LOADER_VARIABLE,
                &inherited(name),
                format!(
                    "{name} makes programs load or run something, and what that is depends on the shell that portcullis is started from"
                ),
                "leave it out of inherit, or give it a value under set",
            ));
        }
    }
    for (name, value) in &environment.set {
        if subject.facts.looks_secret(value) || variables::is_secret(name) && looks_random(value) {
            findings.push(Finding::new(
                &rules::SECRET_SET,
                &set(name),
                format!("the value of {name} looks like a key or token"),
                "take it out of the file, and make it invalid where it is from: whoever can read the file has it",
            ));
        }
        if variables::is_loader(name, Some(value)) {
            findings.push(Finding::new(
                &rules::LOADER_VARIABLE,
                &set(name),
                format!("{name} makes programs load or run something in every call"),
                "set it in the one command that needs it",
            ));
        }
    }
}

/// Whether a value is long and mixed enough to be no word and no path.
fn looks_random(value: &str) -> bool {
    let has = |of: fn(&char) -> bool| value.chars().any(|c| of(&c));
    value.len() >= 16 && !value.contains(['/', ' ', '.', ':']) && has(char::is_ascii_digit) && has(char::is_ascii_alphabetic)
}

fn limits(subject: &Subject<'_>, written: &Written<'_>, findings: &mut Vec<Finding>) {
    let limits = &subject.policy.limits;
    let mut push = |origin: Origin, problem: String, advice: &str| {
        let finding = Finding::new(&rules::LAX_LIMITS, &origin, problem, advice);
        // A preset is for machines of every size, and what is written in it is not the reader's to change.
        let severity = if subject.is_preset(&origin) { Severity::Note } else { finding.severity };
        findings.push(Finding { severity, ..finding });
    };
    if let Some(memory) = subject.facts.memory()
        && limits.memory > memory / 4 * 3
    {
        let equals = |value: &toml::Value| match value {
            toml::Value::String(text) => units::parse_size(text) == Some(limits.memory),
            other => other.as_integer().and_then(|bytes| u64::try_from(bytes).ok()) == Some(limits.memory),
        };
        push(
            written.origin(|file| file.limits.memory.as_ref().filter(|value| equals(value.get_ref())).map(Spanned::span)),
            format!("a call may use {} of memory, and this machine has {}", units::show_size(limits.memory), rounded(memory)),
            "write at most three quarters of what the machine has, so that it runs out of memory before the machine does",
        );
    }
    if limits.wall > LONG {
        let equals = |value: &toml::Value| value.as_str().and_then(units::parse_duration) == Some(limits.wall);
        push(
            written.origin(|file| file.limits.wall.as_ref().filter(|value| equals(value.get_ref())).map(Spanned::span)),
            format!("a call may take {}", units::show_duration(limits.wall)),
            "write at most 2h: what hangs is ended no sooner",
        );
    }
    if limits.processes > MANY {
        let equals = |value: &toml::Value| value.as_integer().and_then(|number| u64::try_from(number).ok()) == Some(limits.processes);
        push(
            written.origin(|file| file.limits.processes.as_ref().filter(|value| equals(value.get_ref())).map(Spanned::span)),
            format!("a call may start {} processes", limits.processes),
            "write at most 16384: a fork bomb is stopped no sooner",
        );
    }
}

/// Memory in whole MiB, or in GiB where it is many.
fn rounded(bytes: u64) -> String {
    if bytes >= 8 << 30 { format!("{} GiB", bytes >> 30) } else { format!("{} MiB", bytes >> 20) }
}

fn enforcement(subject: &Subject<'_>, written: &Written<'_>, findings: &mut Vec<Finding>) {
    let enforcement = &subject.policy.enforcement;
    if enforcement.on_missing == OnMissing::Degrade {
        findings.push(Finding::new(
            &rules::DEGRADE,
            &written.origin(|file| file.enforcement.on_missing.as_ref().filter(|word| word.get_ref() == "degrade").map(Spanned::span)),
            "on a host that lacks Landlock, calls run without it",
            "write on_missing = \"refuse\"; `portcullis doctor` says what this machine has",
        ));
    }
    let missing: Vec<String> = [Layer::Landlock, Layer::Seccomp, Layer::Namespaces]
        .into_iter()
        .filter(|layer| !enforcement.require.contains(layer))
        .map(|layer| layer.to_string())
        .collect();
    if !missing.is_empty() {
        findings.push(Finding::new(
            &rules::MISSING_LAYERS,
            &written.origin(|file| file.enforcement.require.as_ref().map(Spanned::span)),
            format!("require leaves out {}", missing.join(" and ")),
            "name landlock, seccomp and namespaces, or leave require out",
        ));
    }
}

fn recording(subject: &Subject<'_>, written: &Written<'_>, findings: &mut Vec<Finding>) {
    let recording = &subject.policy.recording;
    if recording.on_failure == OnFailure::Continue {
        findings.push(Finding::new(
            &rules::ON_FAILURE_CONTINUE,
            &written.origin(|file| file.audit.on_failure.as_ref().filter(|word| word.get_ref() == "continue").map(Spanned::span)),
            "calls run on where they cannot be recorded",
            "write on_failure = \"stop\", or watch the log for lost records",
        ));
    }
    if recording.detail == Detail::Metadata {
        findings.push(Finding::new(
            &rules::METADATA_DETAIL,
            &written.origin(|file| file.audit.detail.as_ref().filter(|word| word.get_ref() == "metadata").map(Spanned::span)),
            "the log holds no arguments, so that nobody can tell later what a call did",
            "write detail = \"full\" unless the log must not hold what people work on",
        ));
    }
}
