//! What a call starts dies with it, stays within its number, and sees nobody else.

use std::{fs, thread, time::Duration};

use crate::support::{Host, Running, eventually, installed, is_root, processes_with, skip};

fn mark(number: u32) -> String {
    format!("{}.{number}", 80_000 + std::process::id() % 9_000)
}

#[test]
fn a_background_process_runs_while_its_call_does_and_dies_with_it() {
    let host = Host::new();
    let beat = host.workspace.join("beat");
    let length = || fs::metadata(&beat).map_or(0, |metadata| metadata.len());
    let mut running = Running::start(host.sandbox(&["sh", "-c", "(while :; do echo x >> beat; sleep 0.02; done) & read line"]));
    assert!(eventually(|| length() > 8), "it never ran");
    running.type_line("");
    assert_eq!(running.end().code, 0);
    let after = length();
    thread::sleep(Duration::from_millis(400));
    assert_eq!(length(), after);
}

#[test]
fn a_daemon_does_not_outlive_its_call() {
    let host = Host::new();
    let mark = mark(1);
    let beat = host.workspace.join("beat");
    host.sh(&format!(
        "setsid sh -c '(trap \"\" TERM HUP INT; while :; do echo x >> beat; sleep 0.02; done) & exec sleep {mark}' </dev/null >/dev/null 2>&1 & \
         while [ ! -s beat ]; do sleep 0.02; done"
    ))
    .done();
    let length = fs::metadata(&beat).unwrap().len();
    assert!(length > 0);
    thread::sleep(Duration::from_millis(400));
    assert_eq!(fs::metadata(&beat).unwrap().len(), length);
    assert_eq!(processes_with(&mark), 0);
}

#[test]
fn three_hundred_processes_run() {
    let host = Host::new();
    let mark = mark(2);
    let script = format!("i=0; while [ $i -lt 300 ]; do sleep {mark} & i=$((i+1)); done; echo all > full; read line");
    let mut running = Running::start(host.sandbox(&["sh", "-c", &script]));
    assert!(eventually(|| host.has("full")));
    assert!(eventually(|| processes_with(&mark) == 300), "{}", processes_with(&mark));
    running.type_line("");
    running.end();
    assert_eq!(processes_with(&mark), 0);
}

#[test]
fn a_fork_bomb_is_stopped_at_the_policys_number() {
    let host = Host::new();
    let mark = mark(3);
    let policy = host.policy("few", "[limits]\nprocesses = 64");
    let script = format!("(i=0; while [ $i -lt 2000 ]; do sleep {mark} & i=$((i+1)); done) 2>/dev/null; echo full > full; read line");
    let mut running = Running::start(host.sandbox_under(&policy, &["sh", "-c", &script]));
    assert!(eventually(|| host.has("full")));
    thread::sleep(Duration::from_millis(200));
    let count = processes_with(&mark);
    // For root the ceiling is one on process numbers, of which a namespace has 300 before any can be handed out again.
    let ceiling = if is_root() { 64 + 301 } else { 64 };
    assert!((20..=ceiling).contains(&count), "{count} processes");
    running.type_line("");
    running.end();
    assert_eq!(processes_with(&mark), 0);
}

#[test]
fn one_sandbox_at_its_number_leaves_room_for_another() {
    let host = Host::new();
    let policy = host.policy("few", "[limits]\nprocesses = 64");
    let script = format!("(i=0; while [ $i -lt 2000 ]; do sleep {} & i=$((i+1)); done) 2>/dev/null; echo full > full; read line", mark(4));
    let running = Running::start(host.sandbox_under(&policy, &["sh", "-c", &script]));
    assert!(eventually(|| host.has("full")));
    assert_eq!(host.sh_under(&policy, "for i in 1 2 3; do sleep 0.1 & done; wait; echo fine").done().stdout, "fine\n");
    drop(running);
}

#[test]
fn no_process_of_the_host_is_visible_or_can_be_signalled() {
    let host = Host::new();
    let ended = host.sh("ls /proc | grep -c '^[0-9]*$'; cat /proc/1/comm").done();
    let count: usize = ended.stdout.lines().next().unwrap().parse().unwrap();
    assert!(count < 8, "{ended:#?}");
    let mark = mark(5);
    let mut other = {
        #[allow(clippy::disallowed_methods, reason = "a process of the host for the sandbox not to find")]
        std::process::Command::new("sleep").arg(&mark).spawn().unwrap()
    };
    host.sh(&format!("kill -9 {0}; kill -9 -{0}; kill -9 -1; pkill -f {mark}", other.id()));
    thread::sleep(Duration::from_millis(100));
    assert!(other.try_wait().unwrap().is_none(), "a process of the host was killed");
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn the_first_process_of_a_sandbox_is_out_of_reach_of_the_others() {
    let host = Host::new();
    if !installed("python3") {
        skip("the_first_process_of_a_sandbox_is_out_of_reach_of_the_others", "python3 is not installed");
        return;
    }
    let ended = host.python(
        "
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGSEGV):
    try: os.kill(1, number)
    except OSError: pass
if libc.ptrace(16, 1, 0, 0) == 0: print('ATTACHED')
for name in ('mem', 'environ', 'fd/0', 'root/etc/passwd', 'cwd/etc', 'exe', 'maps'):
    try:
        os.open('/proc/1/' + name, os.O_RDONLY)
        print('OPENED', name)
    except OSError: pass
print('alive')
",
    );
    assert_eq!((ended.stdout.as_str(), ended.code), ("alive\n", 0), "{ended:#?}");
}
