//! `cargo bench --bench verify`: a log of one million records, written record by record as a session does, and verified. It prints; it asserts nothing but that
//! all of it was read and found whole.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::{fs, time::Instant};

use portcullis::{
    audit::{
        Event, Keys, Log,
        verify::{Integrity, Trust, files_of, verify_log},
    },
    policy::Recording,
};

const RECORDS: u64 = 1_000_000;

fn main() {
    let state = tempfile::tempdir_in("/var/tmp").unwrap();
    let id = uuid::Uuid::now_v7().to_string();
    let began = Instant::now();
    let log = Log::create(state.path(), &id, &Recording::default()).unwrap();
    for number in 0..RECORDS {
        log.append(Event::CallIntent {
            call: format!("call_{number}"),
            tool: "shell".to_owned(),
            arguments: format!("{{\"command\":\"cargo test --package number-{number}\",\"workdir\":null,\"timeout_ms\":null}}"),
            decision: "allow".to_owned(),
            decided_by: "policy".to_owned(),
            rule: None,
            opaque: None,
        })
        .unwrap();
    }
    log.close().unwrap();
    let wrote = began.elapsed();
    let files = files_of(&state.path().join("log"), &id);
    let bytes: u64 = files.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    println!("written: {RECORDS} records, {} MB in {} files: {:.1} µs a record", bytes / 1_000_000, files.len(), wrote.as_secs_f64());
    let before = peak_kilobytes();
    let began = Instant::now();
    let trust = Trust { keys: Some(Keys::of(state.path())), public: Vec::new() };
    let verdict = verify_log(&files, Some(&id), &trust, None).unwrap();
    assert!(verdict.integrity == Integrity::Intact && verdict.complete && verdict.records > RECORDS, "{verdict:?}");
    let more = peak_kilobytes() - before;
    println!("verified: {} records in {:.2} s, {more} kB more memory at the peak", verdict.records, began.elapsed().as_secs_f64());
}

/// The most memory that this process has had, in kilobytes (proc_pid_status(5)).
fn peak_kilobytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
