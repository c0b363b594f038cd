//! Defence in depth: each layer alone stops what it is there to stop, so that one of them may fail. And the system call filters, answer by
//! answer.
//!
//! The launcher starts this very program again as its stage, so the usual harness, which comes with threads, cannot be used: `main` is
//! the stage first, and otherwise runs the tests one after the other.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "helpers of tests stand outside of the functions that clippy takes for tests"
)]

use std::process::ExitCode;

#[cfg(target_os = "linux")]
#[path = "layers/alone.rs"]
mod alone;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[path = "layers/bpf.rs"]
mod bpf;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[path = "layers/filters.rs"]
mod filters;

type Test = (&'static str, fn());

macro_rules! tests {
    ($module:ident: $($name:ident)*) => {
        vec![$((stringify!($name), $module::$name as fn())),*]
    };
}

#[cfg(target_os = "linux")]
fn layers() -> Vec<Test> {
    if !std::path::Path::new("/usr/bin/python3").exists() {
        println!("SKIP the layers: there is no /usr/bin/python3 to try things with inside a sandbox");
        return Vec::new();
    }
    tests!(alone:
        without_any_layer_all_of_this_is_possible
        landlock_alone_keeps_a_call_to_what_is_granted
        landlock_says_what_it_was_built_for
        each_older_abi_is_applied_as_far_as_it_goes
        seccomp_alone_refuses_what_no_program_needs
        seccomp_alone_lets_ordinary_programs_run
        namespaces_alone_hide_processes_files_and_the_network
        with_the_host_network_landlock_and_namespaces_leave_it_reachable
    )
}

#[cfg(not(target_os = "linux"))]
fn layers() -> Vec<Test> {
    println!("SKIP the layers: they are Linux's");
    Vec::new()
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn answers() -> Vec<Test> {
    tests!(filters:
        every_number_is_allowed_refused_or_unknown_and_foreign_entries_are_killed
        calls_are_answered_as_an_older_kernel_would_or_refused_on_purpose
        the_worker_starts_nothing_and_connects_to_nothing
        no_flag_makes_a_namespace
        socket_families_are_those_of_the_network_mode
        nothing_types_into_a_terminal
        no_personality_weakens_what_it_starts
        no_file_gets_a_set_id_bit_and_no_device_is_made
    )
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn answers() -> Vec<Test> {
    println!("SKIP the filters: their table is for x86-64");
    Vec::new()
}

/// What was asked for on the command line, as far as libtest's options are known here.
#[derive(Default)]
struct Wanted {
    filters: Vec<String>,
    skips: Vec<String>,
    exact: bool,
    list: bool,
    ignored: bool,
}

impl Wanted {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut wanted = Self::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--exact" => wanted.exact = true,
                "--list" => wanted.list = true,
                "--ignored" => wanted.ignored = true,
                "--skip" => wanted.skips.extend(arguments.next()),
                "--format" | "--test-threads" | "--color" | "--logfile" | "-Z" => drop(arguments.next()),
                option if option.starts_with('-') => {}
                _ => wanted.filters.push(argument),
            }
        }
        wanted
    }

    fn runs(&self, name: &str) -> bool {
        let fits = |filter: &String| if self.exact { name == filter } else { name.contains(filter.as_str()) };
        !self.ignored && (self.filters.is_empty() || self.filters.iter().any(fits)) && !self.skips.iter().any(fits)
    }
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
    let wanted = Wanted::from_arguments(std::env::args().skip(1));
    let all = [layers(), answers()].concat();
    let chosen: Vec<&Test> = all.iter().filter(|(name, _)| wanted.runs(name)).collect();
    if wanted.list {
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
    println!("\ntest result: {word}. {passed} passed; {} failed; 0 ignored; 0 measured; {out} filtered out", failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(101) }
}
