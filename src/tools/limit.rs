//! From how a program ended and what it said to the limits of the policy that it met, with their numbers.
//!
//! Limits that end a call are told apart by the sandbox itself. The others only refuse: a process that cannot be made, a file that cannot
//! grow. The control group counts what it refused; of the rest only the signal or the program's own words tell, which is said.

use crate::{
    policy::{Limits, units::show_size},
    sandbox::Exit,
};

/// Words of programs for a process or thread that could not be made.
const PROCESS_WORDS: [&str; 4] = ["fork: retry", "cannot fork", "can't start new thread", "fork: resource temporarily unavailable"];
const FILE_WORDS: [&str; 1] = ["too many open files"];
const SIZE_WORDS: [&str; 2] = ["file too large", "file size limit exceeded"];

/// One sentence for each limit that was met.
pub(super) fn met(limits: &Limits, exit: &Exit, output: &str) -> Vec<String> {
    let output = output.to_lowercase();
    let said = |words: &[&str]| words.iter().any(|word| output.contains(word));
    let mut notes = Vec::new();
    let mut note = |key: &str, value: String, certain: bool| {
        notes.push(format!("limit: [limits] {key} = {value} was met{}", if certain { "" } else { " (inferred from the output)" }));
    };
    if exit.processes_refused > 0 || said(&PROCESS_WORDS) {
        note("processes", limits.processes.to_string(), exit.processes_refused > 0);
    }
    if said(&FILE_WORDS) {
        note("open_files", limits.open_files.to_string(), false);
    }
    // A shell reports the signal of its child as 128 and its number.
    let signalled = exit.signal == Some(libc::SIGXFSZ) || exit.code == Some(128 + libc::SIGXFSZ);
    if signalled || said(&SIZE_WORDS) {
        note("file_size", show_size(limits.file_size), signalled);
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy;

    fn exit(code: i32) -> Exit {
        serde_json::from_value(serde_json::json!({
            "code": code, "signal": null, "ended_by": null, "user_us": 0, "system_us": 0, "peak_bytes": 0, "processes_refused": 0
        }))
        .unwrap()
    }

    #[test]
    fn a_limit_is_named_with_its_number_and_with_what_is_known_of_it() {
        let limits = policy::preset("locked").unwrap().limits;
        let of = |exit: &Exit, output: &str| met(&limits, exit, output);
        assert_eq!(of(&exit(0), "all is well"), Vec::<String>::new());
        assert_eq!(
            of(&exit(1), "OSError: [Errno 24] Too many open files"),
            ["limit: [limits] open_files = 1024 was met (inferred from the output)"]
        );
        assert_eq!(of(&exit(153), ""), ["limit: [limits] file_size = 256MiB was met"]);
        let counted = Exit { processes_refused: 3, ..exit(1) };
        assert_eq!(of(&counted, "bash: fork: retry: Resource temporarily unavailable"), ["limit: [limits] processes = 64 was met"]);
    }
}
