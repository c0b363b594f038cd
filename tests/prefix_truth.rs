//! Invariant I10: what the prefix says is what the kernel does. Every claim is read back from its own words and tried in a real sandbox,
//! in both directions, and what has an effect is looked at from the host's side.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "helpers of tests stand outside of the functions that clippy takes for tests; tests start the program under test"
)]

use std::fs;

use portcullis::policy::{self, Claim, ClaimKind};

#[path = "prefix_truth/files.rs"]
mod files;
#[path = "prefix_truth/git.rs"]
mod git;
#[path = "prefix_truth/process.rs"]
mod process;
#[path = "prefix_truth/said.rs"]
mod said;
#[path = "prefix_truth/session.rs"]
mod session;
#[path = "prefix_truth/world.rs"]
mod world;

use world::{Case, World};

/// What a probe found.
#[derive(Debug, Default)]
pub struct Report {
    checks: usize,
    problems: Vec<String>,
    skipped: Vec<String>,
}

impl Report {
    pub fn must(&mut self, holds: bool, what: impl FnOnce() -> String) {
        self.checks += 1;
        if !holds {
            self.problems.push(what());
        }
    }

    /// A sentence without numbers or lists has to be the one that its probe was written for.
    pub fn reads(&mut self, text: &str, expected: &str) {
        self.must(text == expected, || format!("the sentence is {text:?}; the probe is of {expected:?}"));
    }

    pub fn skip(&mut self, reason: &str) {
        self.skipped.push(reason.to_owned());
    }
}

/// Tries one claim. There is no wildcard: a new kind of claim does not compile without a probe.
fn probe(world: &World, claim: &Claim, report: &mut Report) -> Result<(), String> {
    let text = claim.text.as_str();
    match claim.kind {
        ClaimKind::Confined => process::confined(world, text, report),
        ClaimKind::Reads => files::reads(world, text, report),
        ClaimKind::Writes => files::writes(world, text, report),
        ClaimKind::Deny => files::deny(world, text, report),
        ClaimKind::Protect => files::protect(world, text, report),
        ClaimKind::PrivateTemporary => files::private_temporary(world, text, report),
        ClaimKind::PrivateHome => files::private_home(world, text, report),
        ClaimKind::GitReadOnly | ClaimKind::GitCommit | ClaimKind::GitFull => git::git(world, text, report),
        ClaimKind::NetworkNone | ClaimKind::NetworkLoopback | ClaimKind::NetworkAllowlist | ClaimKind::NetworkOpen => {
            process::network(world, text, report)
        }
        ClaimKind::Environment => process::environment(world, text, report),
        ClaimKind::WallLimit => process::wall(world, text, report),
        ClaimKind::MemoryLimit => process::memory(world, text, report),
        ClaimKind::ProcessLimit => process::processes(world, text, report),
        ClaimKind::OpenFilesLimit => process::open_files(world, text, report),
        ClaimKind::FileSizeLimit => process::file_size(world, text, report),
        ClaimKind::DiskLimit => process::disk(world, text, report),
        ClaimKind::OutputLimit => session::output(world, text, report),
        ClaimKind::LifetimeEndsWithCall => session::lifetime(world, text, report),
        ClaimKind::Commands => session::commands(world, text, report),
        ClaimKind::AskMode => session::ask(world, text, report),
        ClaimKind::Degrades => process::degrades(world, text, report),
        ClaimKind::NoEscalation => session::no_escalation(world, text, report),
        ClaimKind::Refusal => session::refusal(world, text, report),
    }
}

/// Probes every claim of a policy and fails with all that does not hold.
fn holds(case: Case) {
    if fs::exists("/usr/bin/python3").is_ok_and(|found| !found) {
        println!("SKIP {}: there is no /usr/bin/python3 to try things with inside a sandbox", case.name);
        return;
    }
    let world = World::new(case);
    let only = std::env::var("PREFIX_TRUTH_ONLY").ok();
    let claims = policy::claims(&world.policy).into_iter();
    let mut problems = Vec::new();
    for claim in claims.filter(|claim| only.as_ref().is_none_or(|only| format!("{:?}", claim.kind) == *only)) {
        let mut report = Report::default();
        if let Err(reason) = probe(&world, &claim, &mut report) {
            report.must(false, || reason);
        }
        for reason in &report.skipped {
            println!("SKIP {} {:?}: {reason}", case.name, claim.kind);
        }
        println!("{} {:?}: {} of {} checks failed", case.name, claim.kind, report.problems.len(), report.checks);
        assert!(report.checks > 0 || !report.skipped.is_empty(), "{:?} was not probed", claim.kind);
        problems.extend(report.problems.iter().map(|problem| format!("{:?}: {problem}", claim.kind)));
    }
    assert!(problems.is_empty(), "{} does not do what it says:\n{}", case.name, problems.join("\n"));
}

fn preset(name: &'static str) {
    holds(Case { name, chosen: name, project: None });
}

#[test]
fn what_workspace_write_says_is_what_the_kernel_does() {
    preset("workspace-write");
}

#[test]
fn what_read_only_says_is_what_the_kernel_does() {
    preset("read-only");
}

#[test]
fn what_ci_says_is_what_the_kernel_does() {
    preset("ci");
}

#[test]
fn what_locked_says_is_what_the_kernel_does() {
    preset("locked");
}

#[test]
fn what_networked_says_is_what_the_kernel_does() {
    preset("networked");
}

#[test]
fn a_policy_with_all_of_git_does_what_it_says() {
    let chosen = "schema = 1\nname = \"git-full\"\nextends = \"workspace-write\"\n[git]\nallow = \"full\"\n";
    holds(Case { name: "git-full", chosen, project: None });
}

#[test]
fn a_policy_that_the_repository_narrows_does_what_it_says() {
    // What the repository asks for beyond its person's choice is not said, and not given.
    let project = "schema = 1\nname = \"narrow\"\n[filesystem]\nread = [\"@system\", \"@workspace\", \"/var\", \"/root\"]\nwrite = [\"src\", \"@tmp\", \"/etc\"]\n\
                   deny = [\"src/*.key\"]\n[git]\nallow = \"full\"\n[network]\nmode = \"open\"\n[environment]\ninherit = [\"PATH\", \"HOME\", \"TERM\", \"OPENAI_API_KEY\"]\n\
                   [approval]\nask = \"always\"\n[enforcement]\non_missing = \"degrade\"\n";
    let chosen = "schema = 1\nname = \"chosen\"\nextends = \"workspace-write\"\n[[command]]\nprefix = [\"printf\"]\ndecision = \"allow\"\nwhy = \"It only prints.\"\n";
    holds(Case { name: "bounded", chosen, project: Some(project) });
}

#[test]
fn a_policy_with_more_roots_does_what_it_says() {
    let chosen = r#"schema = 1
name = "more"
extends = "workspace-write"
[filesystem]
read = ["@system", "@workspace", "{base}/more", "{base}/many/01", "{base}/many/02", "{base}/many/03", "{base}/many/04", "{base}/many/05", "{base}/many/06", "{base}/many/07", "{base}/many/08", "{base}/many/09", "{base}/many/10", "{base}/many/11", "{base}/many/12", "{base}/many/13", "{base}/many/14"]
write = ["@workspace", "@tmp", "@home", "{base}/extra"]
deny = ["{base}/extra/closed", "{base}/many/07/closed"]
protect = ["{base}/extra/kept"]
[git]
allow = "none"
[enforcement]
on_missing = "degrade"
"#;
    holds(Case { name: "more-roots", chosen, project: None });
}

#[test]
fn a_policy_with_its_own_environment_does_what_it_says() {
    let chosen = r#"schema = 1
name = "environment"
extends = "workspace-write"
[environment]
inherit = ["HARMLESS", "PATH", "LANG", "NOT_SET_ANYWHERE"]
set = { CI = "1", EMPTY = "", SPACED = "a b=c", TMPDIR = "/tmp/own", USER = "nobody" }
[approval]
ask = "never"
"#;
    holds(Case { name: "environment", chosen, project: None });
}

#[test]
fn a_policy_with_tight_limits_does_what_it_says() {
    let chosen = r#"schema = 1
name = "tight"
extends = "workspace-write"
[limits]
wall = "7s"
memory = "384MiB"
processes = 20
open_files = 48
file_size = "64KiB"
output = "4KiB"
"#;
    holds(Case { name: "tight", chosen, project: None });
}

#[test]
fn what_an_allow_list_says_is_what_the_kernel_and_the_proxy_do() {
    let chosen = "schema = 1\nname = \"allowlist\"\nextends = \"networked\"\n[network]\nmode = \"allowlist\"\nallow = [\"127.0.0.1:47631\", \"localhost:47632\"]\ndeny = [\"127.0.0.1:47633\"]\nsockets = [\"{base}/outside/socket\"]\n";
    holds(Case { name: "allowlist", chosen, project: None });
}
