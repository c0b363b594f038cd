//! `cargo bench --bench start`: how long from the start of `portcullis exec` to its first request, and how much memory the agent process
//! takes for a short task. It prints; it asserts nothing but that the task was done.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use portcullis::model::scripted::{Pace, Script, ScriptedModel, Turn};

const RUNS: usize = 20;

fn main() {
    let (mut starts, mut peaks) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (start, peak) = one_run();
        starts.push(start);
        peaks.push(peak);
    }
    starts.sort_unstable();
    peaks.sort_unstable();
    let median = |list: &[u128]| list[list.len() / 2];
    println!("start to first request: median {} ms, slowest {} ms ({RUNS} runs)", median(&starts), starts[RUNS - 1]);
    println!("peak memory of the agent process: median {:.1} MB, largest {:.1} MB", mb(median(&peaks)), mb(peaks[RUNS - 1]));
}

fn mb(kib: u128) -> f64 {
    f64::from(u32::try_from(kib).unwrap()) / 1024.0
}

/// Milliseconds to the first request, and the agent's peak resident memory in KiB.
fn one_run() -> (u128, u128) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["work", "home", "state"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    let call =
        |command: &str| Turn::call("shell", &serde_json::json!({"command": command, "workdir": null, "timeout_ms": null}).to_string());
    // The last answer waits, so that there is time to look at the process while it is still there.
    let last = Turn::message("done").with_pace(Pace { delay: Duration::from_millis(150), drip: Duration::ZERO });
    let model = ScriptedModel::start(Script::new([call("echo one"), call("seq 1 20000"), last])).unwrap();
    let began = Instant::now();
    let mut agent = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["exec", "--provider-url", &model.base_url(), "--model", "scripted", "--json", "go"])
        .current_dir(folder.path().join("work"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", folder.path().join("home"))
        .env("PORTCULLIS_HOME", folder.path().join("state"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while model.requests().len() < 3 {
        assert!(began.elapsed() < Duration::from_secs(30), "the third request never came");
        std::thread::sleep(Duration::from_millis(2));
    }
    let status = fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    assert!(agent.wait().unwrap().success());
    let first = model.requests()[0].at.duration_since(began).as_millis();
    (first, peak.trim().trim_end_matches(" kB").parse().unwrap())
}
