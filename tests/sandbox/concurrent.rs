//! Two sandboxes on one workspace at the same time: what one cannot do alone, the two cannot do together.

use std::fs;

use crate::support::{Host, Running, SECRET, assert_same, eventually, installed, skip};

#[test]
fn the_first_to_end_leaves_the_placeholders_to_the_other() {
    let host = Host::new();
    let before = host.tree();
    let mut first = Running::start(host.sandbox(&["sh", "-c", "touch started; read line"]));
    assert!(eventually(|| host.has("started")));
    let mut second =
        Running::start(host.sandbox(&["sh", "-c", "touch started2; read line; mkdir .claude; echo x > .claude/settings.json"]));
    assert!(eventually(|| host.has("started2")));
    first.type_line("");
    first.end();
    second.type_line("");
    second.end();
    assert!(!host.has(".claude"), "made under the other's cover");
    fs::remove_file(host.workspace.join("started")).unwrap();
    fs::remove_file(host.workspace.join("started2")).unwrap();
    assert_same(&host.tree(), &before, "");
}

/// A folder's descriptor keeps the mount that it was opened in. Passed to another sandbox it must not lose its covers when the sandbox
/// that it comes from ends and its mounts are taken down.
#[test]
fn a_folder_handed_from_one_sandbox_to_another_keeps_its_covers() {
    let host = Host::new();
    if !installed("python3") {
        skip("a_folder_handed_from_one_sandbox_to_another_keeps_its_covers", "python3 is not installed");
        return;
    }
    host.write(".env", SECRET);
    host.write(
        "give.py",
        "
import socket, os, time
while not os.path.exists('go'): time.sleep(0.01)
s = socket.socket(socket.AF_UNIX)
s.bind('new-socket'); s.listen(1)
os.rename('new-socket', 'socket')
c, _ = s.accept()
socket.send_fds(c, [b'x'], [os.open('.', os.O_RDONLY | os.O_DIRECTORY)])
c.recv(1)
",
    );
    host.write(
        "take.py",
        "
import socket, os, sys, time
open('ready', 'w')
while not os.path.exists('socket'): time.sleep(0.01)
c = socket.socket(socket.AF_UNIX)
c.connect('socket')
_, (folder,), _, _ = socket.recv_fds(c, 1, 1)
c.send(b'x')
print('taken', flush=True)
sys.stdin.readline()
print(os.read(os.open('take.py', os.O_RDONLY, dir_fd=folder), 9))
for act in [
    lambda: print(os.read(os.open('.env', os.O_RDONLY, dir_fd=folder), 99)),
    lambda: os.open('.git/hooks/pre-commit', os.O_CREAT | os.O_WRONLY, 0o755, dir_fd=folder),
    lambda: os.write(os.open('.git/config', os.O_APPEND | os.O_WRONLY, dir_fd=folder), b'#'),
    lambda: os.mkdir('.claude/x', dir_fd=folder),
    lambda: os.rename('.git', 'moved', src_dir_fd=folder, dst_dir_fd=folder),
]:
    try: act()
    except OSError: pass
",
    );
    let config = host.read(".git/config");
    let giver = Running::start(host.sandbox(&["python3", "give.py"]));
    let mut taker = Running::start(host.sandbox(&["python3", "take.py"]));
    // A socket that is there when a call starts is out of its reach, so it is made when both have started.
    assert!(eventually(|| host.has("ready")));
    host.write("go", "");
    let given = giver.end();
    assert_eq!(given.code, 0, "{given:#?}");
    taker.type_line("");
    let taken = taker.end();
    assert!(taken.stdout.contains("taken"), "{taken:#?}");
    assert!(!taken.stdout.contains(SECRET), "{taken:#?}");
    assert!(!host.has(".git/hooks/pre-commit") && !host.has("moved") && !host.has(".claude"), "{taken:#?}");
    assert_eq!(host.read(".git/config"), config);
}

#[test]
fn two_sandboxes_see_neither_each_others_processes_nor_their_shared_memory() {
    let host = Host::new();
    let mark = format!("86400.{}", std::process::id());
    let mut first = Running::start(host.sandbox(&[
        "sh",
        "-c",
        &format!("echo x > /dev/shm/mine; sleep {mark} & echo x > /tmp/mine; touch started; read line"),
    ]));
    assert!(eventually(|| host.has("started")));
    assert!(eventually(|| crate::support::processes_with(&mark) == 1), "it never became what is looked for");
    let ended = host.sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '; ls /dev/shm /tmp");
    assert!(!ended.stdout.contains(&mark) && !ended.stdout.contains("mine"), "{ended:#?}");
    first.type_line("");
    first.end();
    assert_eq!(crate::support::processes_with(&mark), 0);
}

#[test]
fn launchers_with_different_state_folders_keep_each_others_placeholders() {
    let host = Host::new();
    let before = host.tree();
    let mut first = Running::start(host.sandbox(&["sh", "-c", "touch started; read line"]));
    assert!(eventually(|| host.has("started")));
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = host.sandbox(&["sh", "-c", "touch second; read line; mkdir .claude; echo x > .claude/settings.json; mkdir .vscode"]);
    command.env("PORTCULLIS_HOME", elsewhere.path());
    let mut second = Running::start(command);
    assert!(eventually(|| host.has("second")));
    first.type_line("");
    first.end().ran();
    second.type_line("");
    let ended = second.end();
    assert_ne!(ended.code, 0, "{ended:#?}");
    assert!(!host.has(".claude/settings.json"), "{ended:#?}");
    // Whoever was first cleans up when it comes again.
    host.sh("rm started second").done();
    assert_same(&host.tree(), &before, "after both");
}

#[test]
fn a_call_ends_when_a_covered_file_is_replaced_from_outside() {
    let host = Host::new();
    let running = Running::start(host.sandbox(&[
        "sh",
        "-c",
        "touch started; while :; do echo '# planted' >> .git/config; sleep 0.2; done 2>/dev/null",
    ]));
    assert!(eventually(|| host.has("started")));
    // As git and editors write: beside it, and renamed into its place.
    host.write(".git/config.new", "[core]\n\tbare = false\n");
    fs::rename(host.workspace.join(".git/config.new"), host.workspace.join(".git/config")).unwrap();
    let ended = running.end();
    assert_eq!(ended.code, 124, "{ended:#?}");
    assert!(ended.stderr.contains("replaced"), "{ended:#?}");
}

/// Other sessions make and remove what keeps absent places absent, `.git` among them, whenever they come and go.
#[test]
fn the_view_of_a_sandbox_that_only_reads_hangs_on_no_placeholder() {
    let host = Host::new();
    let places = |policy: &str| -> Vec<String> {
        let mounts = host.sh_under(policy, "cat /proc/self/mountinfo").done().stdout;
        let git = host.workspace.join(".git").display().to_string();
        mounts.lines().filter_map(|line| line.split(' ').nth(4)).filter(|place| place.starts_with(&git)).map(str::to_owned).collect()
    };
    assert!(!places("workspace-write").is_empty());
    // With git's own files as open as there, where alone they are pinned: as the tools that only read have it.
    assert_eq!(places(&host.policy("looking", "[filesystem]\nwrite = [\"@tmp\"]")), Vec::<String>::new());
}
