//! Streams, exit codes, signals and limits pass through `portcullis sandbox` as if it were not there, and its own refusals have codes.

use std::{fs, os::unix::fs::PermissionsExt, time::Instant};

use nix::sys::signal::Signal;

use crate::support::{Ended, Host, Running, assert_same, eventually};

#[test]
fn the_three_streams_pass_through_byte_by_byte() {
    let host = Host::new();
    let mut running = Running::start(host.sandbox(&["sh", "-c", "cat; echo error >&2"]));
    running.type_line("typed \u{1b}[31m \u{0}");
    let ended = running.end();
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str(), ended.code), ("typed \u{1b}[31m \u{0}\n", "error\n", 0));
}

#[test]
fn a_megabyte_of_output_arrives_whole() {
    let host = Host::new();
    let ended = host.sh("head -c 1048576 /dev/zero | tr '\\0' x").done();
    assert_eq!(ended.stdout.len(), 1_048_576);
}

#[test]
fn the_exit_code_passes_through() {
    let host = Host::new();
    for code in [0, 1, 2, 3, 42, 124, 125, 126, 127, 128, 255] {
        assert_eq!(host.sh(&format!("exit {code}")).code, code);
    }
}

#[test]
fn a_death_by_signal_is_128_and_its_number() {
    let host = Host::new();
    for (name, number) in [("KILL", 9), ("TERM", 15), ("SEGV", 11), ("HUP", 1)] {
        assert_eq!(host.sh(&format!("kill -{name} $$")).code, 128 + number, "{name}");
    }
}

#[test]
fn signals_reach_the_command() {
    let host = Host::new();
    for (signal, name) in [(Signal::SIGTERM, "TERM"), (Signal::SIGINT, "INT"), (Signal::SIGHUP, "HUP"), (Signal::SIGUSR1, "USR1")] {
        let script = format!("trap 'echo got {name}; exit 7' {name}; echo x > ready-{name}; while :; do sleep 0.02; done");
        let running = Running::start(host.sandbox(&["sh", "-c", &script]));
        assert!(eventually(|| host.read(&format!("ready-{name}")).as_deref() == Some("x\n")));
        running.signal(signal);
        let ended = running.end();
        assert_eq!((ended.stdout.as_str(), ended.code), (format!("got {name}\n").as_str(), 7), "{ended:#?}");
    }
    let running = Running::start(host.sandbox(&["sh", "-c", "echo x > ready; while :; do sleep 0.02; done"]));
    assert!(eventually(|| host.has("ready")));
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end().code, 143, "without a handler the command dies of it");
}

#[test]
fn the_limit_on_time_ends_a_command_with_124() {
    let host = Host::new();
    let policy = host.policy("hasty", "[limits]\nwall = \"1s\"");
    assert_eq!(host.sh_under(&policy, "sleep 0.1; echo fine").done().stdout, "fine\n");
    let start = Instant::now();
    let ended = host.sh_under(&policy, "trap '' TERM INT HUP; while :; do sleep 0.05; done");
    assert_eq!(ended.code, 124, "{ended:#?}");
    assert!(ended.stderr.contains("wall"), "{ended:#?}");
    assert!(start.elapsed().as_secs() < 10);
}

#[test]
fn the_limits_on_files_memory_and_descriptors_hold() {
    let host = Host::new();
    let policy = host.policy("small", "[limits]\nfile_size = \"1MiB\"\nopen_files = 64\nmemory = \"64MiB\"");
    host.sh_under(&policy, "head -c 4194304 /dev/zero > big; true");
    assert_eq!(fs::metadata(host.workspace.join("big")).unwrap().len(), 1 << 20);
    assert_eq!(host.sh_under(&policy, "ulimit -n; ulimit -c").done().stdout, "64\n0\n");
    assert_ne!(host.sh_under(&policy, "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}").stdout, "200000000\n");
}

#[test]
fn what_cannot_be_run_has_the_shells_codes() {
    let host = Host::new();
    host.write("plain", "#!/bin/sh\n");
    fs::set_permissions(host.workspace.join("plain"), fs::Permissions::from_mode(0o644)).unwrap();
    let run = |command: &[&str]| Ended::from(host.sandbox(command).output().unwrap());
    for (command, code) in [("no-such-program", 127), ("./no-such-program", 127), ("./plain", 126), ("/", 126)] {
        let ended = run(&[command]);
        assert_eq!(ended.code, code, "{command}: {ended:#?}");
        assert!(ended.stderr.starts_with("portcullis: ") && ended.stderr.contains(command), "{ended:#?}");
    }
}

#[test]
fn refusals_have_their_own_codes_and_nothing_runs() {
    let host = Host::new();
    let broken = host.policy("broken", "[filesystem]\nwirte = [\"/\"]");
    let ended = host.refused(&broken, "touch ran");
    assert_eq!(ended.code, 3, "{ended:#?}");
    assert_eq!(host.refused("no-such-preset", "touch ran").code, 2);
    let state = host.policy("state", &format!("[filesystem]\nwrite = [\"@workspace\", \"{}\"]", host.root.display()));
    assert_eq!(host.refused(&state, "touch ran").code, 3, "the state folder may not be writable");
    let missing = host.policy("missing", &format!("[filesystem]\nread = [\"@system\", \"{}/none\"]", host.root.display()));
    assert_eq!(host.refused(&missing, "touch ran").code, 125, "a folder that a policy names must be there");
    assert!(!host.has("ran"));
}

#[test]
fn a_policys_reading_alone_leaves_the_workspace_as_it_was() {
    let host = Host::new();
    let before = host.tree();
    let ended = host.sh_under("read-only", "cat file; echo x > new; echo x >> file; rm file; mkdir .claude; chmod 777 file");
    assert_eq!(ended.stdout, "one\n", "{ended:#?}");
    assert_same(&host.tree(), &before, "");
}

#[test]
fn an_input_that_has_ended_is_not_looked_at_again_and_again() {
    let host = Host::new();
    let mut command = host.sandbox(&["sleep", "1"]);
    let (input, end) = std::io::pipe().unwrap();
    drop(end);
    command.stdin(input);
    let running = command.spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(700));
    let text = fs::read_to_string(format!("/proc/{}/stat", running.id())).unwrap();
    // utime and stime, in ticks of 10 ms (proc_pid_stat(5)): a busy wait would have taken tens of them.
    let fields: Vec<u64> = text.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2).map(|n| n.parse().unwrap()).collect();
    let mut running = running;
    assert!(running.wait().unwrap().success());
    assert!(fields.iter().sum::<u64>() < 30, "{fields:?}");
}
