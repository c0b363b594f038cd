//! The self-test, tested: under each preset nothing leaks; without any layer every attempt that can be made there does, which shows that it
//! is a real one; and each published escape has a case or a reason why it has none.
//!
//! The launcher starts this very program again as its stage, and the self-test forks, so the usual harness, which comes with threads, cannot
//! be used: `main` is the stage first, and otherwise runs the tests one after the other.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "helpers of tests stand outside of the functions that clippy takes for tests"
)]

use std::process::ExitCode;

#[cfg(target_os = "linux")]
#[path = "selftest/certificate.rs"]
mod certificate;
#[cfg(target_os = "linux")]
#[path = "selftest/control.rs"]
mod control;
#[cfg(target_os = "linux")]
#[path = "selftest/presets.rs"]
mod presets;

type Test = (&'static str, fn());

macro_rules! tests {
    ($($module:ident::$name:ident)*) => {
        vec![$((stringify!($name), $module::$name as fn())),*]
    };
}

#[cfg(target_os = "linux")]
fn tests() -> Vec<Test> {
    tests!(
        certificate::a_statement_that_does_not_hold_is_found
        certificate::a_certificate_is_whole_or_is_none
        control::without_any_layer_every_attempt_gets_out
        presets::nothing_leaks_under_workspace_write
        presets::nothing_leaks_under_read_only
        presets::nothing_leaks_under_locked
        presets::nothing_leaks_under_networked
        presets::nothing_leaks_under_ci
        presets::each_published_escape_has_a_case_or_a_reason
        presets::a_choice_of_cases_runs_these_alone_and_one_that_fits_none_is_a_mistake
        presets::an_allowed_write_is_no_leak_and_a_granted_folder_no_canary
    )
}

#[cfg(not(target_os = "linux"))]
fn tests() -> Vec<Test> {
    println!("SKIP the self-test: it is Linux's");
    Vec::new()
}

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    {
        let mut arguments = std::env::args().skip(1);
        if arguments.next().is_some_and(|first| first == portcullis::sandbox::stage::STAGE) {
            let control = arguments.next().unwrap_or_default();
            return ExitCode::from(u8::try_from(portcullis::sandbox::stage::run(&control)).unwrap_or(1));
        }
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let all = tests();
    let chosen: Vec<&Test> = all.iter().filter(|(name, _)| filters.is_empty() || filters.iter().any(|text| name.contains(*text))).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len());
    let mut failed: usize = 0;
    for (name, test) in &chosen {
        let passed = std::panic::catch_unwind(test).is_ok();
        failed += usize::from(!passed);
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
    }
    let (word, passed, out) = (if failed == 0 { "ok" } else { "FAILED" }, chosen.len() - failed, all.len() - chosen.len());
    println!("\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {out} filtered out");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(101) }
}
