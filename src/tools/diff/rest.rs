//! Differences in all that is a number or a word: git, the network, the environment, limits, enforcement and recording.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Difference, Direction, Said, Topic};
use crate::policy::{
    Limits, NetworkMode, OnMissing, Policy, canonical,
    host::{self, HostLists, HostRules, Target},
    sockets,
    units::{show_duration, show_size},
};

/// The differences.
pub(super) fn differences(before: &Policy, after: &Policy) -> Vec<Difference> {
    let mut found = Vec::new();
    git(before, after, &mut found);
    network(before, after, &mut found);
    environment(before, after, &mut found);
    limits(&before.limits, &after.limits, &mut found);
    enforcement(before, after, &mut found);
    recording(before, after, &mut found);
    found
}

fn difference(more: bool, topic: Topic, what: impl Into<String>, before: impl Into<String>, after: impl Into<String>) -> Difference {
    Difference {
        direction: Direction::of(more),
        topic,
        what: what.into(),
        witness: None,
        before: Said::word(before),
        after: Said::word(after),
        count: 1,
    }
}

fn git(before: &Policy, after: &Policy, found: &mut Vec<Difference>) {
    if before.git != after.git {
        let more = after.git > before.git;
        let (before, after) = (canonical::git(before.git), canonical::git(after.git));
        let witness = if [before, after].contains(&"none") { "git commit" } else { "git init" };
        found.push(Difference {
            witness: Some(witness.to_owned()),
            ..difference(more, Topic::Git, "change what git keeps of the workspace", before, after)
        });
    }
}

/// Hosts that the rules of either are about, judged by both.
fn hosts(before: &Policy, after: &Policy, found: &mut Vec<Difference>) {
    // A mode that opens everything is a difference of its own.
    if [before, after].iter().any(|policy| policy.network.mode == NetworkMode::Open) {
        return;
    }
    let lists = |policy: &Policy| HostLists::of(&policy.network).unwrap_or_default();
    let all = [lists(before), lists(after)];
    let judges = all.each_ref().map(HostRules::new);
    let judge = |at: usize, target: &Target, method: Option<&str>| {
        let verdict = judges[at].judge(target, method);
        (verdict.allowed(), verdict.rule.map(|(rule, origin)| format!("{rule}, {origin}")))
    };
    let rules: BTreeSet<&String> =
        all.iter().flat_map(|lists| lists.allow.iter().flatten().chain(&lists.deny)).map(|(rule, _)| rule).collect();
    let mut told = BTreeSet::new();
    for (rule, (target, method)) in rules.into_iter().flat_map(|rule| host::examples(rule).into_iter().map(move |example| (rule, example)))
    {
        let ((was, was_by), (is, is_by)) = (judge(0, &target, method.as_deref()), judge(1, &target, method.as_deref()));
        // One of the examples of a rule stands for the others that go the same way.
        if was == is || !told.insert((rule, is)) {
            continue;
        }
        let word = |allowed| if allowed { "allowed" } else { "refused" };
        let said = |allowed, by| Said { word: word(allowed).to_owned(), by };
        found.push(Difference {
            witness: Some(method.map_or_else(|| target.to_string(), |method| format!("{method} {target}"))),
            before: said(was, was_by),
            after: said(is, is_by),
            ..difference(is, Topic::Network, format!("reach {rule}"), "", "")
        });
    }
}

fn sockets(before: &Policy, after: &Policy, found: &mut Vec<Difference>) {
    let names = |policy: &Policy| policy.network.sockets.iter().map(|rule| (rule.place.to_string(), rule.origin.to_string())).collect();
    let (was, is): (BTreeMap<String, String>, BTreeMap<String, String>) = (names(before), names(after));
    for place in was.keys().chain(is.keys().filter(|place| !was.contains_key(*place))) {
        let (was, is) = (was.get(place), is.get(place));
        if was.is_some() == is.is_some() {
            continue;
        }
        let said = |by: Option<&String>| Said { word: if by.is_some() { "allowed" } else { "refused" }.to_owned(), by: by.cloned() };
        let what = format!("connect to {place}, which {}", sockets::meaning(place));
        found.push(Difference {
            witness: Some(place.clone()),
            before: said(was),
            after: said(is),
            ..difference(is.is_some(), Topic::Network, what, "", "")
        });
    }
}

fn network(before: &Policy, after: &Policy, found: &mut Vec<Difference>) {
    sockets(before, after, found);
    hosts(before, after, found);
    let modes = (before.network.mode, after.network.mode);
    if modes.0 == modes.1 {
        return;
    }
    let said = |policy: &Policy| Said {
        word: canonical::mode(policy.network.mode).to_owned(),
        by: Some(policy.network.mode_origin.as_ref().map_or_else(|| "no file sets it".to_owned(), ToString::to_string)),
    };
    let (what, witness) = match modes.0.max(modes.1) {
        NetworkMode::Open => ("reach every host", "example.org:443"),
        // Both have a loopback; which hosts, the lists say.
        NetworkMode::Allowlist if modes.0.min(modes.1) == NetworkMode::Loopback => return,
        _ => ("a loopback of each call's own", "127.0.0.1:8080"),
    };
    found.push(Difference {
        witness: Some(witness.to_owned()),
        before: said(before),
        after: said(after),
        ..difference(modes.1 > modes.0, Topic::Network, what, "", "")
    });
}

fn environment(before: &Policy, after: &Policy, found: &mut Vec<Difference>) {
    let (before, after) = (&before.environment, &after.environment);
    for (names, more) in [(after.inherit.difference(&before.inherit), true), (before.inherit.difference(&after.inherit), false)] {
        let names: Vec<&str> = names.map(String::as_str).collect();
        let Some(first) = names.first() else { continue };
        let (was, is) = if more { ("hidden", "passed on") } else { ("passed on", "hidden") };
        let what = format!("see of the session's own environment {}", names.join(", "));
        let one = difference(more, Topic::Environment, what, was, is);
        found.push(Difference { witness: Some((*first).to_owned()), count: names.len(), ..one });
    }
    let names: BTreeSet<&String> = before.set.keys().chain(after.set.keys()).collect();
    for name in names {
        let (was, is) = (before.set.get(name), after.set.get(name));
        if was != is {
            let word = |value: Option<&String>| value.map_or_else(|| "not set".to_owned(), |value| format!("{value:?}"));
            let one = difference(false, Topic::Environment, name.as_str(), word(was), word(is));
            found.push(Difference { direction: Direction::Changed, ..one });
        }
    }
}

/// How a number is shown.
type Shown<'a> = &'a dyn Fn(u64) -> String;

fn limits(before: &Limits, after: &Limits, found: &mut Vec<Difference>) {
    let plain = |number: u64| number.to_string();
    let numbers: [(&str, u64, u64, Shown<'_>); 6] = [
        ("memory", before.memory, after.memory, &show_size),
        ("processes", before.processes, after.processes, &plain),
        ("open_files", before.open_files, after.open_files, &plain),
        ("file_size", before.file_size, after.file_size, &show_size),
        ("disk", before.disk, after.disk, &show_size),
        ("output", before.output, after.output, &show_size),
    ];
    if before.wall != after.wall {
        let (was, is) = (show_duration(before.wall), show_duration(after.wall));
        found.push(difference(after.wall > before.wall, Topic::Limits, "wall", was, is));
    }
    for (name, was, is, show) in numbers {
        if was != is {
            found.push(difference(is > was, Topic::Limits, name, show(was), show(is)));
        }
    }
}

fn enforcement(before: &Policy, after: &Policy, found: &mut Vec<Difference>) {
    for layer in before.enforcement.require.symmetric_difference(&after.enforcement.require) {
        let more = before.enforcement.require.contains(layer);
        let (was, is) = if more { ("required", "not required") } else { ("not required", "required") };
        found.push(difference(more, Topic::Enforcement, format!("run without {layer}"), was, is));
    }
    let missing = (before.enforcement.on_missing, after.enforcement.on_missing);
    if missing.0 != missing.1 {
        let (was, is) = (canonical::on_missing(missing.0), canonical::on_missing(missing.1));
        found.push(difference(missing.1 == OnMissing::Degrade, Topic::Enforcement, "run where a required layer is missing", was, is));
    }
}

fn recording(before: &Policy, after: &Policy, found: &mut Vec<Difference>) {
    let (before, after) = (&before.recording, &after.recording);
    if before.on_failure != after.on_failure {
        let (was, is) = (canonical::on_failure(before.on_failure), canonical::on_failure(after.on_failure));
        found.push(difference(after.on_failure < before.on_failure, Topic::Audit, "go on where a record cannot be written", was, is));
    }
    if before.sync != after.sync {
        let word = |sync: bool| if sync { "each" } else { "none" };
        found.push(difference(before.sync, Topic::Audit, "begin before the record is on the disk", word(before.sync), word(after.sync)));
    }
    if before.detail != after.detail {
        let (was, is) = (canonical::detail(before.detail), canonical::detail(after.detail));
        found.push(difference(after.detail > before.detail, Topic::Audit, "leave out of the record what was done", was, is));
    }
    if before.keep != after.keep {
        let word = |keep: Option<Duration>| keep.map_or_else(|| "for ever".to_owned(), show_duration);
        let long = |keep: Option<Duration>| keep.unwrap_or(Duration::MAX);
        let more = long(after.keep) < long(before.keep);
        found.push(difference(more, Topic::Audit, "records go after a time", word(before.keep), word(after.keep)));
    }
}
