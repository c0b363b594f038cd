//! What one policy lets calls do that another does not.

use std::path::{Path, PathBuf};

use portcullis::{
    approval::{Binaries, Rules, shell::Dialect},
    policy::{Access, Judge, Place, Policy, preset},
    tools::diff::{Difference, Direction, Side, Topic, diff},
};
use proptest::prelude::*;

use super::{PROBES, anchors, body, parse};

fn compare(before: &Policy, after: &Policy) -> Vec<Difference> {
    let rules = |policy: &Policy| Rules::new(policy, Binaries::unknown(), Dialect::Bash);
    diff(Side { policy: before, rules: &rules(before) }, Side { policy: after, rules: &rules(after) }, &anchors())
}

#[test]
fn hosts_are_compared_by_each_port_and_method_that_a_rule_covers() {
    let policy = |network: &str| parse(&format!("network.mode = \"allowlist\"\n{network}")).complete();
    for (before, after, gained, lost) in [
        ("network.allow = [\"a.org:443\"]", "network.allow = [\"a.org\"]", 1, 0),
        ("network.allow = [\"a.org:443\"]", "network.allow = [\"a.org:443\", \"POST b.org:80\"]", 1, 0),
        ("network.allow = [\"GET a.org:80\"]", "network.allow = [\"GET,POST a.org:80\"]", 1, 0),
        ("network.allow = [\"GET a.org:80\"]", "network.allow = [\"a.org:80\"]", 1, 0),
        ("network.allow = [\"*.a.org\"]", "network.allow = [\"a.org\"]", 1, 1),
        ("network.allow = [\"*.a.org\"]", "network.allow = [\"*.a.org\"]\nnetwork.deny = [\"x.a.org\"]", 0, 1),
        ("network.allow = [\"a.org\", \"a.org:443\"]", "network.allow = [\"a.org\"]", 0, 0),
    ] {
        let differences = compare(&policy(before), &policy(after));
        let count = |direction| differences.iter().filter(|one| one.direction == direction).count();
        assert_eq!((count(Direction::Gained), count(Direction::Lost)), (gained, lost), "{before} to {after}: {differences:#?}");
        assert!(differences.iter().all(|one| one.topic == Topic::Network && one.witness.is_some()), "{differences:#?}");
    }
}

/// 0: refused; 1: a private place; 2: the host's own.
fn reach(judge: &Judge, path: &Path, access: Access) -> usize {
    let verdict = judge.judge(path, access);
    let private = verdict.because.rule.is_some_and(|rule| matches!(rule.place, Place::Temporary | Place::PrivateHome));
    if verdict.allowed { 2 - usize::from(private) } else { 0 }
}

const WORDS: [&str; 3] = ["refused", "a private copy", "allowed"];

fn words(access: Access) -> &'static str {
    if access == Access::Write { "write" } else { "read" }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_difference_has_a_witness_and_each_path_that_is_judged_otherwise_a_difference(first in body(), second in body()) {
        let (before, after) = (parse(&first).complete(), parse(&second).complete());
        let judges = (Judge::new(&before, &anchors()), Judge::new(&after, &anchors()));
        let differences = compare(&before, &after);
        for difference in differences.iter().filter(|difference| difference.topic == Topic::Filesystem) {
            let witness = PathBuf::from(difference.witness.as_ref().unwrap());
            for access in [Access::Read, Access::Write].into_iter().filter(|access| difference.what.contains(words(*access))) {
                let seen = (reach(&judges.0, &witness, access), reach(&judges.1, &witness, access));
                prop_assert_eq!((WORDS[seen.0], WORDS[seen.1]), (difference.before.word.as_str(), difference.after.word.as_str()), "{:?}", difference);
                prop_assert_eq!(difference.direction, if seen.1 > seen.0 { Direction::Gained } else { Direction::Lost });
            }
        }
        for path in PROBES.map(PathBuf::from) {
            for access in [Access::Read, Access::Write] {
                let seen = (reach(&judges.0, &path, access), reach(&judges.1, &path, access));
                let covers = |difference: &&Difference| {
                    let files = difference.topic == Topic::Filesystem && difference.what.contains(words(access))
                        && (difference.before.word.as_str(), difference.after.word.as_str()) == (WORDS[seen.0], WORDS[seen.1]);
                    files || (difference.topic == Topic::Git && path.starts_with(anchors().workspace.join(".git")))
                };
                prop_assert!(seen.0 == seen.1 || differences.iter().any(|difference| covers(&difference)), "{access:?} of {}: {differences:#?}", path.display());
            }
        }
        prop_assert!(compare(&before, &before).is_empty());
        let count = |differences: &[Difference], direction| differences.iter().filter(|one| one.direction == direction).count();
        let back = compare(&after, &before);
        prop_assert_eq!(count(&differences, Direction::Gained), count(&back, Direction::Lost));
        // Two policies that mean the same have the same fingerprint; those that differ in effect never do.
        prop_assert!(differences.is_empty() || before.fingerprint() != after.fingerprint());
    }
}

#[test]
fn the_presets_differ_in_what_they_are_for() {
    let gained = |before: &str, after: &str| {
        let differences = compare(&preset(before).unwrap(), &preset(after).unwrap());
        let gained = differences.into_iter().filter(|difference| difference.direction == Direction::Gained);
        gained.map(|difference| format!("{}: {}", difference.topic.name(), difference.what)).collect::<Vec<_>>()
    };
    assert_eq!(gained("workspace-write", "networked"), ["network: reach every host"]);
    assert_eq!(
        gained("read-only", "workspace-write"),
        ["filesystem: write the workspace", "git: change what git keeps of the workspace", "network: a loopback of each call's own"]
    );
    assert!(gained("workspace-write", "ci").is_empty());
    let names = ["ci", "locked", "networked", "read-only", "workspace-write"];
    for (before, after) in names.iter().flat_map(|before| names.iter().map(move |after| (before, after))) {
        let differences = compare(&preset(before).unwrap(), &preset(after).unwrap());
        assert_eq!(differences.is_empty(), before == after);
        assert!(differences.len() < 40, "{before} to {after}: more than a person reads: {differences:#?}");
    }
}

#[test]
fn everything_that_a_policy_can_say_is_compared() {
    let base = "filesystem.write = [\"src\"]\n";
    for (first, second, topic, what) in [
        ("", "filesystem.deny = [\"**/.env\"]", Topic::Filesystem, "read and write src/.env"),
        ("", "filesystem.protect = [\"src/x\"]", Topic::Filesystem, "write src/x"),
        ("git.allow = \"full\"", "git.allow = \"commit\"", Topic::Git, "git"),
        ("network.mode = \"open\"", "", Topic::Network, "every host"),
        ("environment.inherit = [\"A\", \"B\"]", "environment.inherit = [\"A\"]", Topic::Environment, "B"),
        ("limits.wall = \"2h\"", "limits.wall = \"1h\"", Topic::Limits, "wall"),
        ("limits.memory = \"2GiB\"", "limits.memory = \"1GiB\"", Topic::Limits, "memory"),
        ("limits.disk = \"5GiB\"", "limits.disk = \"1GiB\"", Topic::Limits, "disk"),
        ("limits.output = \"2MiB\"", "limits.output = \"1MiB\"", Topic::Limits, "output"),
        ("limits.open_files = 100", "limits.open_files = 50", Topic::Limits, "open_files"),
        ("limits.file_size = \"2GiB\"", "limits.file_size = \"1GiB\"", Topic::Limits, "file_size"),
        ("limits.processes = 9", "limits.processes = 3", Topic::Limits, "processes"),
        ("", "approval.ask = \"always\"", Topic::Approval, "no rule"),
        ("", "command = [{prefix=[\"git\",\"push\"],decision=\"ask\"}]", Topic::Command, "git push"),
        ("enforcement.require = []", "enforcement.require = [\"seccomp\"]", Topic::Enforcement, "seccomp"),
        ("enforcement.on_missing = \"degrade\"", "", Topic::Enforcement, "missing"),
        ("audit.on_failure = \"continue\"", "", Topic::Audit, "record"),
        ("audit.sync = \"none\"", "audit.sync = \"each\"", Topic::Audit, "disk"),
        ("audit.detail = \"metadata\"", "", Topic::Audit, "what was done"),
        ("audit.keep = \"3d\"", "", Topic::Audit, "go after"),
    ] {
        let policy = |text: &str| parse(&format!("{base}{text}")).complete();
        let differences = compare(&policy(first), &policy(second));
        let said = format!("{first} to {second}: {differences:#?}");
        assert!(differences.iter().any(|one| one.topic == topic && one.what.contains(what) && one.direction == Direction::Lost), "{said}");
        assert!(differences.iter().all(|one| one.topic == topic), "{said}");
        let back = compare(&policy(second), &policy(first));
        assert!(back.iter().all(|one| one.direction == Direction::Gained) && back.len() == differences.len(), "{said}");
    }
}
