//! One list of cases (`tests/cases`), and three that have to agree on it: the decision function that explains a policy, the sandbox of Linux, and
//! the profile of macOS by the evaluator of `tests/seatbelt`. What Linux does is seen from outside the sandbox.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests stand outside of the functions that clippy takes for tests"
)]

#[path = "three_ways/decision.rs"]
mod decision;
#[allow(dead_code, reason = "the tests of the profiles use all of it")]
#[path = "seatbelt/evaluator.rs"]
mod evaluator;
#[path = "three_ways/linux.rs"]
mod linux;
#[path = "three_ways/seatbelt.rs"]
mod seatbelt;
#[allow(dead_code, reason = "shared with suites that need more of it")]
mod support;
#[path = "three_ways/table.rs"]
mod table;
#[path = "three_ways/world.rs"]
mod world;

use table::{Verdict, Way, worlds};

fn agree(file: &str) {
    let mut wrong = Vec::new();
    let mut asked = 0;
    for world in worlds(file) {
        for case in &world.cases {
            let scene = world::Scene::new(&world);
            let found = [
                (Way::Decision, decision::decides(&scene, &case.operation)),
                (Way::Macos, seatbelt::allows(&scene, &case.operation)),
                // Last, because it changes things.
                (Way::Linux, linux::does(&scene, &case.operation)),
            ];
            for (way, verdict) in found {
                asked += 1;
                if verdict != case.expected(way) {
                    wrong.push(format!("{}: {:?}: {way:?} says {verdict:?}, and not {:?}", world.name, case.operation, case.expected(way)));
                }
            }
        }
    }
    assert!(asked > 20 && wrong.is_empty(), "{asked} asked\n{}", wrong.join("\n"));
}

#[test]
fn they_agree_on_files() {
    agree("files");
}

#[test]
fn they_agree_on_what_is_protected() {
    agree("protected");
}

#[test]
fn they_agree_on_the_network() {
    if !support::installed("python3") {
        support::skip("they_agree_on_the_network", "python3 is not installed");
        return;
    }
    agree("network");
}

#[test]
fn the_list_is_long_allows_and_refuses_and_says_why_one_differs() {
    let all: Vec<_> = ["files", "protected", "network"].into_iter().flat_map(worlds).flat_map(|world| world.cases).collect();
    assert!(all.len() >= 120, "{}", all.len());
    for verdict in [Verdict::Allow, Verdict::Refuse] {
        assert!(all.iter().filter(|case| case.verdict == verdict).count() >= 40, "{verdict:?}");
    }
    for case in &all {
        for (way, difference) in &case.differences {
            assert!(difference.verdict != case.verdict && difference.why.ends_with('.'), "{way:?}: {case:?}");
        }
    }
    // On Linux and on a Mac alike a call that the decision refuses is refused, but for what is said here in so many words.
    let looser = all.iter().flat_map(|case| &case.differences).filter(|(_, difference)| difference.verdict == Verdict::Allow);
    let looser: Vec<Way> = looser.map(|(way, _)| *way).filter(|way| *way != Way::Decision).collect();
    assert_eq!(looser, [Way::Linux, Way::Macos, Way::Macos]);
}
