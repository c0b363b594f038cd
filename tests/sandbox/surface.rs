//! What a program inside is told by the kernel about itself, and what the kernel refuses it.

use std::{fs, os::unix::fs::MetadataExt};

use crate::support::{Host, installed, skip};

#[test]
fn a_program_has_no_capability_and_cannot_gain_any() {
    let host = Host::new();
    let status = host.sh("cat /proc/self/status").done().stdout;
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim_start_matches(':').trim().to_owned());
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(name).as_deref(), Some("0000000000000000"), "{name}");
    }
    assert_eq!(field("NoNewPrivs").as_deref(), Some("1"));
    assert_eq!(field("Seccomp").as_deref(), Some("2"));
    let (user, group) = (nix::unistd::geteuid().to_string(), nix::unistd::getegid().to_string());
    assert_eq!(host.sh("id -u; id -g").done().stdout, format!("{user}\n{group}\n"), "files keep their owner");
}

#[test]
fn no_file_gets_a_set_id_bit() {
    let host = Host::new();
    host.write("program", "x");
    host.sh("chmod 755 program; cp program plain").done();
    host.sh("chmod u+s program; chmod 2755 program; chmod 6777 program; install -m 4755 program other; mkdir d; chmod g+s d");
    if installed("python3") {
        host.python(
            "
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def attempt(act):
    try: act()
    except OSError: pass
attempt(lambda: os.open('created', os.O_CREAT | os.O_WRONLY, 0o6755))
attempt(lambda: os.mknod('node', 0o106755))
attempt(lambda: os.fchmod(os.open('program', os.O_RDONLY), 0o4755))
def unnamed():
    fd = os.open('.', os.O_TMPFILE | os.O_RDWR, 0o6755)
    libc.linkat(-100, f'/proc/self/fd/{fd}'.encode(), -100, b'unnamed', 0x400)
attempt(unnamed)
libc.creat(b'creat', 0o4755)
libc.syscall(452, -100, b'program', 0o4755, 0)
",
        );
    } else {
        skip("no_file_gets_a_set_id_bit", "python3 is not installed");
    }
    assert!(host.has("plain"), "honest files are made");
    for (path, _) in host.tree() {
        let mode = fs::symlink_metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o6000, 0, "{} has mode {mode:o}", path.display());
    }
}

#[test]
fn namespaces_mounts_and_terminal_input_are_refused() {
    let host = Host::new();
    if !installed("python3") {
        skip("namespaces_mounts_and_terminal_input_are_refused", "python3 is not installed");
        return;
    }
    let ended = host.python(
        "
import ctypes, errno, fcntl, os
libc = ctypes.CDLL(None, use_errno=True)
def refused(name, result):
    if result != -1: print('ALLOWED', name)
for flag in (0x10000000, 0x20000, 0x40000000, 0x4000000, 0x8000000, 0x20000000, 0x2000000, 0x80):
    refused(f'unshare {flag:x}', libc.unshare(flag))
refused('clone', libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0) if os.uname().machine == 'x86_64' else -1)
refused('mount', libc.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None))
refused('umount', libc.umount2(b'.git', 2))
refused('open_tree', libc.syscall(428, -100, b'.', 1))
refused('fsopen', libc.syscall(430, b'tmpfs', 0))
refused('pivot_root', libc.pivot_root(b'.', b'.') if hasattr(libc, 'pivot_root') else -1)
refused('chroot', libc.chroot(b'.'))
refused('setns', libc.setns(os.open('/proc/self/ns/mnt', os.O_RDONLY), 0))
refused('open_by_handle_at', libc.open_by_handle_at(0, 0, 0))
refused('io_uring', libc.syscall(425, 1, ctypes.create_string_buffer(256)))
refused('keyctl', libc.syscall(250, 0, -3, 1) if os.uname().machine == 'x86_64' else -1)
refused('bpf', libc.syscall(321, 0, 0, 0) if os.uname().machine == 'x86_64' else -1)
refused('file_setattr', libc.syscall(469, -100, b'file', ctypes.create_string_buffer(32), 32, 0))
for name, command in (('TIOCSTI', 0x5412), ('TIOCLINUX', 0x541c)):
    # As the controlling terminal of its session, for which the kernel itself would allow it.
    master, slave = os.openpty()
    libc.ioctl(slave, 0x540e, 0)
    for number in (command, command | 1 << 32):
        ctypes.set_errno(0)
        refused(name, libc.ioctl(slave, ctypes.c_ulong(number), ctypes.c_char_p(b'x')))
        if ctypes.get_errno() != errno.EPERM: print('NOT EPERM', name, ctypes.get_errno())
",
    );
    assert_eq!((ended.stdout.as_str(), ended.code), ("", 0), "{ended:#?}");
}

#[test]
fn every_namespace_is_the_sandboxs_own() {
    let host = Host::new();
    let script = "for name in user mnt pid ipc uts net; do readlink /proc/self/ns/$name; done";
    let own = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).unwrap().display().to_string();
    let policy = host.policy("open", "[network]\nmode = \"open\"");
    for (policy, shared) in [("workspace-write", ""), (policy.as_str(), "net")] {
        let inside = host.sh_under(policy, script).done().stdout;
        assert_eq!(inside.lines().count(), 6);
        for (name, namespace) in ["user", "mnt", "pid", "ipc", "uts", "net"].iter().zip(inside.lines()) {
            assert_eq!(namespace == own(name), *name == shared, "{policy}: {name}");
        }
    }
}

#[test]
fn kernel_settings_are_read_only() {
    let host = Host::new();
    let before = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let ended = host.sh(
        "echo '|/tmp/x' > /proc/sys/kernel/core_pattern; echo 1 > /proc/sys/kernel/pid_max; echo b > /proc/sysrq-trigger; ls /sys/kernel",
    );
    assert!(ended.code != 0, "{ended:#?}");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), before);
}

#[test]
fn inherited_descriptors_are_closed() {
    let host = Host::new();
    let script = format!(
        "exec 9<{}; exec '{}' sandbox --workspace '{}' -- sh -c 'ls /proc/self/fd; cat <&9; cat /proc/self/fd/9'",
        host.home.join(".ssh/id_ed25519").display(),
        crate::support::program().display(),
        host.workspace.display()
    );
    let command = host.sandbox(&[]);
    let environment: Vec<_> = command.get_envs().map(|(name, value)| (name.to_owned(), value.unwrap_or_default().to_owned())).collect();
    #[allow(clippy::disallowed_methods, reason = "a shell that has a descriptor open when it becomes the program under test")]
    let output = std::process::Command::new("sh").args(["-c", &script]).env_clear().envs(environment).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.lines().count() >= 3, "{stdout}");
    assert!(!stdout.contains(crate::support::SECRET), "{stdout}");
    assert!(stdout.lines().all(|number| number.parse::<i32>().is_ok_and(|number| number < 4)), "{stdout}");
}
