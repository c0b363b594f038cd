//! What the kernel offers and no program of the model's needs: each a surface that holes have been found in, or a way around a filter.

use std::{fs, io, os::fd::AsRawFd};

use crate::{
    sandbox::sys::{
        self,
        Argument::{Bytes, Null, Number, Text},
    },
    selftest::{
        case::{Area::Kernel, Case, Control},
        facts::Facts,
        tries::Tries,
    },
};

const HERE: i64 = libc::AT_FDCWD as i64;
const PRIVILEGED: Control = Control::LeaksForRoot("it needs privilege");

/// The cases. What they prove shows only inside, so each counts as an escape if any of its calls is answered with success.
pub fn cases() -> Vec<Case> {
    let case = |id, title, attempt: fn(&Facts, &mut Tries)| Case::inside(id, Kernel, title, attempt).by_answer();
    vec![
        case("kernel-io-uring", "io_uring, which goes past filters of system calls", |_, tries| {
            tries.call("set up", libc::SYS_io_uring_setup, vec![Number(4), Bytes(&mut [0; 256])]);
        })
        .list(&[66])
        .control(Control::Not("a setting of the kernel may forbid it to everybody")),
        case("kernel-bpf", "load a map into the kernel", |_, tries| {
            let mut attributes = [0u8; 128];
            for (at, value) in [(0, 2u8), (4, 4), (8, 4), (12, 1)] {
                attributes[at] = value;
            }
            tries.call("bpf", libc::SYS_bpf, vec![Number(0), Bytes(&mut attributes), Number(72)]);
        })
        .control(PRIVILEGED),
        case("kernel-perf", "count what the processor does", |_, tries| {
            let mut attributes = [0u8; 128];
            attributes[0] = 1;
            attributes[4] = 64;
            // exclude_kernel and exclude_hv.
            attributes[40] = 0x60;
            tries.call(
                "perf_event_open",
                libc::SYS_perf_event_open,
                vec![Bytes(&mut attributes), Number(0), Number(-1), Number(-1), Number(0)],
            );
        })
        .control(PRIVILEGED),
        case("kernel-userfaultfd", "handle one's own page faults", |_, tries| {
            tries.call("userfaultfd", libc::SYS_userfaultfd, vec![Number(1)]);
        })
        .control(Control::Not("a kernel may be built without it")),
        case("kernel-namespaces-unshare", "make namespaces: unshare, each kind, and with a user namespace", |_, tries| {
            for flag in NAMESPACES {
                for flags in [flag, flag | i64::from(libc::CLONE_NEWUSER)] {
                    tries.risky(&format!("unshare {flags:#x}"), || {
                        sys::attempt(libc::SYS_unshare, vec![Number(flags)]).map(|_| "made".to_owned())
                    });
                }
            }
        })
        .list(&[66]),
        case("kernel-namespaces-clone", "make namespaces: clone and clone3, each kind", |_, tries| {
            let made = |process: io::Result<sys::Fork>| match process {
                Ok(sys::Fork::Child) => sys::exit_now(0),
                Ok(sys::Fork::Parent(child)) => nix::sys::wait::waitpid(child, None).map(|_| "made").map_err(io::Error::from),
                Err(error) => Err(error),
            };
            for flag in NAMESPACES {
                for flags in [flag, flag | i64::from(libc::CLONE_NEWUSER)] {
                    // In clone's flags the bit for time namespaces is part of the signal.
                    if flag != CLONE_NEWTIME {
                        let process = sys::clone_into_namespaces(i32::try_from(flags).unwrap_or(0));
                        tries.report(&format!("clone {flags:#x}"), made(process));
                    }
                    tries.report(&format!("clone3 {flags:#x}"), made(sys::clone3_into_namespaces(flags.unsigned_abs())));
                }
            }
        }),
        case("kernel-namespaces-enter", "enter other namespaces", |facts, tries| {
            for process in [facts.agent, facts.launcher, 1] {
                for name in ["user", "mnt", "net", "pid", "ipc"] {
                    if let Ok(file) = fs::File::open(format!("/proc/{process}/ns/{name}")) {
                        tries.risky(&format!("enter {name} of {process}"), || {
                            sys::attempt(libc::SYS_setns, vec![Number(i64::from(file.as_raw_fd())), Number(0)])
                                .map(|_| "entered".to_owned())
                        });
                    }
                }
            }
            let own = fs::File::open("/proc/self/ns/net").map(|file| {
                tries.call("enter one's own", libc::SYS_setns, vec![Number(i64::from(file.as_raw_fd())), Number(0)]);
            });
            tries.act("end", own.and(Err::<(), _>(io::Error::other("through"))));
        })
        .control(PRIVILEGED),
        case("kernel-mounts", "mount, unmount, change mounts, and every call of the newer interface", |facts, tries| {
            let place = facts.workspace.join("sub").display().to_string();
            let root = "/".to_owned();
            for number in [0i64, libc::MS_BIND as i64, libc::MS_REMOUNT as i64 | libc::MS_BIND as i64] {
                tries.risky("mount", || {
                    sys::attempt(libc::SYS_mount, vec![Text(&root), Text(&place), Text("tmpfs"), Number(number), Null])
                        .map(|_| "mounted".to_owned())
                });
            }
            tries.call("umount", libc::SYS_umount2, vec![Text(&place), Number(2)]);
            tries.call(
                "umount of a cover",
                libc::SYS_umount2,
                vec![Text(&facts.workspace.join(".git/hooks").display().to_string()), Number(2)],
            );
            tries.call("open_tree", libc::SYS_open_tree, vec![Number(HERE), Text(&place), Number(1)]);
            tries.call("fsopen", libc::SYS_fsopen, vec![Text("tmpfs"), Number(0)]);
            tries.call("fspick", libc::SYS_fspick, vec![Number(HERE), Text("/"), Number(0)]);
            tries.call("fsmount", libc::SYS_fsmount, vec![Number(0), Number(0), Number(0)]);
            tries.call("move_mount", libc::SYS_move_mount, vec![Number(HERE), Text(&place), Number(HERE), Text(&place), Number(0)]);
            let mut attributes = [0u8; 32];
            tries.call(
                "mount_setattr",
                libc::SYS_mount_setattr,
                vec![Number(HERE), Text(&place), Number(0), Bytes(&mut attributes), Number(32)],
            );
            tries.call("pivot_root", libc::SYS_pivot_root, vec![Text(&place), Text(&place)]);
            tries.risky("chroot", || sys::attempt(libc::SYS_chroot, vec![Text(&place)]).map(|_| "entered".to_owned()));
        })
        .control(Control::Not("as root without layers it would mount on the machine itself")),
        case("kernel-modules", "load and remove modules of the kernel", |_, tries| {
            let mut image = [0u8; 64];
            tries.call("init_module", libc::SYS_init_module, vec![Bytes(&mut image), Number(64), Text("")]);
            tries.call("finit_module", libc::SYS_finit_module, vec![Number(0), Text(""), Number(0)]);
            tries.call("delete_module", libc::SYS_delete_module, vec![Text("selftest_no_such_module"), Number(0)]);
        })
        .control(Control::Not("the kernel refuses what is no module, and none is loaded for a test")),
        case("kernel-kexec", "load another kernel", |_, tries| {
            tries.call("kexec_load", libc::SYS_kexec_load, vec![Number(0), Number(0), Null, Number(0)]);
            tries.call("kexec_file_load", libc::SYS_kexec_file_load, vec![Number(-1), Number(-1), Number(0), Null, Number(0)]);
        })
        .control(Control::Not("as root it would unload a kernel that waits for a crash")),
        case("kernel-power", "restart, swap, accounting, quotas", |_, tries| {
            tries.call("reboot", libc::SYS_reboot, vec![Number(0), Number(0), Number(0), Null]);
            tries.call("swapon", libc::SYS_swapon, vec![Text("/dev/null"), Number(0)]);
            tries.call("swapoff", libc::SYS_swapoff, vec![Text("/dev/null")]);
            tries.call("acct", libc::SYS_acct, vec![Text("/dev/null")]);
            tries.call("quotactl", libc::SYS_quotactl, vec![Number(0), Text("/dev/null"), Number(0), Null]);
        })
        .control(Control::Not("all of it would change the machine")),
        case("kernel-clock-and-names", "set the clock and the machine's names", |_, tries| {
            tries.call("settimeofday", libc::SYS_settimeofday, vec![Null, Null]);
            tries.call("clock_settime", libc::SYS_clock_settime, vec![Number(0), Null]);
            let mut name = *b"planted";
            tries.call("sethostname", libc::SYS_sethostname, vec![Bytes(&mut name), Number(7)]);
            tries.call("setdomainname", libc::SYS_setdomainname, vec![Bytes(&mut name), Number(7)]);
        })
        .control(Control::Not("as root it would change the machine")),
        case("kernel-ports", "reach the machine's input and output ports, and segments", |_, tries| {
            #[cfg(target_arch = "x86_64")]
            {
                tries.risky("iopl", || sys::attempt(libc::SYS_iopl, vec![Number(3)]).map(|_| "given".to_owned()));
                tries.risky("ioperm", || {
                    sys::attempt(libc::SYS_ioperm, vec![Number(0x80), Number(1), Number(1)]).map(|_| "given".to_owned())
                });
                tries.call("modify_ldt", libc::SYS_modify_ldt, vec![Number(0), Bytes(&mut [0; 64]), Number(64)]);
            }
            #[cfg(not(target_arch = "x86_64"))]
            tries.act("ports", Err::<(), _>(io::Error::other("this architecture has none")));
        })
        .control(Control::Not("a kernel may be built without them")),
        case("kernel-old-entry", "system calls by the entry for 32-bit programs, past a filter for 64-bit ones", |facts, tries| {
            let _ = facts;
            #[cfg(target_arch = "x86_64")]
            for (family, kind) in
                [(libc::AF_INET, libc::SOCK_STREAM), (libc::AF_VSOCK, libc::SOCK_STREAM), (libc::AF_NETLINK, libc::SOCK_RAW)]
            {
                tries.risky(&format!("int 0x80: socket({family})"), || {
                    sys::socket_by_the_old_entry(family, kind, 0).map(|socket| socket.to_string())
                });
            }
            #[cfg(not(target_arch = "x86_64"))]
            tries.act("int 0x80", Err::<(), _>(io::Error::other("this architecture has none")));
        })
        .list(&[66])
        .may_die()
        .control(Control::Not("a kernel may be built without it")),
        case("kernel-x32", "system calls by their x32 numbers", |_, tries| {
            #[cfg(target_arch = "x86_64")]
            {
                tries.call("getpid", sys::X32 | libc::SYS_getpid, vec![]);
                tries.call("socket", sys::X32 | libc::SYS_socket, vec![Number(i64::from(libc::AF_INET)), Number(1), Number(0)]);
                tries.call("unshare", sys::X32 | libc::SYS_unshare, vec![Number(i64::from(libc::CLONE_NEWUSER))]);
            }
            #[cfg(not(target_arch = "x86_64"))]
            tries.act("x32", Err::<(), _>(io::Error::other("this architecture has none")));
        })
        .list(&[66])
        .control(Control::Not("few kernels are built with it")),
        case("kernel-personality", "make the kernel map address zero, and run data", |_, tries| {
            for (name, value) in [("MMAP_PAGE_ZERO", 0x010_0000i64), ("READ_IMPLIES_EXEC", 0x040_0000), ("ADDR_COMPAT_LAYOUT", 0x020_0000)]
            {
                tries.risky(name, || sys::attempt(libc::SYS_personality, vec![Number(value)]).map(|_| "set".to_owned()));
            }
        }),
        case("kernel-handles", "open a file by its handle, past every folder above it", |facts, tries| {
            let path = facts.workspace.join("README.md").display().to_string();
            let mut handle = [0u8; 256];
            handle[..4].copy_from_slice(&128u32.to_ne_bytes());
            let mut mount = [0u8; 4];
            let _ = sys::attempt(
                libc::SYS_name_to_handle_at,
                vec![Number(HERE), Text(&path), Bytes(&mut handle), Bytes(&mut mount), Number(0)],
            );
            if let Ok(folder) = fs::File::open(&facts.workspace) {
                let descriptor = i64::from(folder.as_raw_fd());
                tries.call("open_by_handle_at", libc::SYS_open_by_handle_at, vec![Number(descriptor), Bytes(&mut handle), Number(0)]);
            }
        })
        .control(PRIVILEGED),
        case("kernel-watch", "watch the whole file system, and compare kernel objects", |_, tries| {
            tries.call("fanotify_init", libc::SYS_fanotify_init, vec![Number(0), Number(0)]);
            let own = i64::from(std::process::id());
            tries.call("kcmp", libc::SYS_kcmp, vec![Number(own), Number(own), Number(0), Number(0), Number(1)]);
            tries.call("process_madvise", libc::SYS_process_madvise, vec![Number(-1), Null, Number(0), Number(0), Number(0)]);
        })
        .control(PRIVILEGED),
        case("kernel-keyrings", "use the kernel's key store", |_, tries| {
            tries.call("keyctl", libc::SYS_keyctl, vec![Number(0), Number(-3), Number(1)]);
            let mut payload = *b"x";
            tries.call("add_key", libc::SYS_add_key, vec![Text("user"), Text("selftest"), Bytes(&mut payload), Number(1), Number(-1)]);
        }),
        case("kernel-settings", "open the kernel's settings for writing: core_pattern, modprobe, sysrq, cgroups, uevents", |_, tries| {
            for path in [
                "/proc/sys/kernel/core_pattern",
                "/proc/sys/kernel/modprobe",
                "/proc/sys/kernel/pid_max",
                "/proc/sys/kernel/yama/ptrace_scope",
                "/proc/sys/vm/overcommit_memory",
                "/proc/sys/fs/binfmt_misc/register",
                "/proc/sysrq-trigger",
                "/proc/self/uid_map",
                "/proc/self/setgroups",
                "/proc/self/oom_score_adj",
                "/proc/1/oom_score_adj",
                "/sys/kernel/uevent_helper",
                "/sys/fs/cgroup/cgroup.procs",
                "/sys/fs/cgroup/release_agent",
                "/sys/kernel/mm/transparent_hugepage/enabled",
                "/dev/mem",
                "/dev/kmem",
                "/dev/sda",
                "/dev/vda",
                "/dev/kvm",
                "/dev/fuse",
                "/dev/net/tun",
                "/dev/loop-control",
                "/dev/uinput",
                "/dev/dri/card0",
            ] {
                tries.act(path, fs::OpenOptions::new().write(true).open(path));
            }
        })
        .also("w.sysctl: three peers gave root a writable core_pattern")
        .control(PRIVILEGED),
        case("kernel-privileges", "have, or win back, a privilege: capabilities, set-id programs, no_new_privs", privileges)
            .list(&[72])
            .control(Control::LeaksForRoot("an ordinary user has none to begin with")),
    ]
}

/// Mount, cgroup, UTS, IPC, user, PID, network and time namespaces.
const NAMESPACES: [i64; 8] = [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000, CLONE_NEWTIME];
const CLONE_NEWTIME: i64 = 0x80;

fn privileges(facts: &Facts, tries: &mut Tries) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?").trim().to_owned();
    for name in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        let value = field(name);
        let none = !value.is_empty() && value.bytes().all(|byte| byte == b'0');
        tries.report(name, if none { Err(io::Error::other("none")) } else { Ok(value) });
    }
    for (name, expected) in [("NoNewPrivs:", "1"), ("Seccomp:", "2")] {
        let value = field(name);
        tries.report(name, if value == expected { Err(io::Error::other("in force")) } else { Ok(value) });
    }
    if nix::unistd::geteuid().is_root() {
        tries.act("become nobody and root again", nix::unistd::setresuid(65534.into(), 65534.into(), 0.into()).map_err(io::Error::from));
    } else {
        tries.act("become root", nix::unistd::setuid(0.into()).map_err(io::Error::from));
    }
    for program in ["/usr/bin/sudo", "/bin/su", "/usr/bin/pkexec", "/usr/bin/newuidmap", "/usr/bin/passwd"] {
        if let Ok(metadata) = fs::metadata(program)
            && !nix::unistd::geteuid().is_root()
        {
            let owner = std::os::unix::fs::MetadataExt::uid(&metadata);
            tries.shell(facts, &format!("{program} --help >/dev/null 2>&1; false # owner {owner}"));
        }
    }
}
