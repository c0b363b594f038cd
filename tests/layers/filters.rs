//! The compiled system call filters, call by call.

use portcullis::{
    policy::NetworkMode,
    sandbox::linux::seccomp::{Audience, compile},
};
use seccompiler::BpfProgram;

use super::bpf::{Call, Verdict, verdict};

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;
/// Bit 30: the x32 form of a call.
const X32: u32 = 0x4000_0000;

const PERM: Verdict = Verdict::Errno(libc::EPERM);
const NOSYS: Verdict = Verdict::Errno(libc::ENOSYS);
const ALLOW: Verdict = Verdict::Allow;

struct Filter {
    what: String,
    programs: [BpfProgram; 2],
}

impl Filter {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for mode in [NetworkMode::None, NetworkMode::Loopback, NetworkMode::Open] {
            all.push(Self::of(mode, Audience::Program));
            all.push(Self::of(mode, Audience::Worker));
        }
        all
    }

    fn of(mode: NetworkMode, audience: Audience) -> Self {
        let filters = compile(mode, audience).unwrap();
        Self { what: format!("{mode:?} {audience:?}"), programs: filters.programs().map(Clone::clone) }
    }

    fn on(&self, arch: u32, number: u32, arguments: &[u64]) -> Verdict {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        verdict(&self.programs.each_ref(), &Call { arch, number, arguments: all })
    }

    /// Asserts the answer, also with whatever a program may put in the upper halves of registers that the kernel reads as 32 bits.
    fn gives(&self, call: libc::c_long, arguments: &[u64], wanted: Verdict) {
        let number = u32::try_from(call).unwrap();
        for high in [0, 0xffff_ffff_0000_0000, 0x1_0000_0000] {
            let raised: Vec<u64> = arguments.iter().map(|argument| argument | high).collect();
            assert_eq!(self.on(X86_64, number, &raised), wanted, "{}: call {call} with {raised:#x?}", self.what);
        }
        assert_eq!(self.on(X86_64, number | X32, arguments), NOSYS, "{}: x32 call {call}", self.what);
        assert_eq!(self.on(I386, number, arguments), Verdict::Kill, "{}: 32-bit call {call}", self.what);
    }
}

fn bits(value: i32) -> u64 {
    u64::from(value.cast_unsigned())
}

pub fn every_number_is_allowed_refused_or_unknown_and_foreign_entries_are_killed() {
    for filter in Filter::all() {
        let mut allowed = 0;
        for number in (0..1024).chain([0x3fff_ffff, 0x7fff_ffff, 0xffff_ffff]) {
            let native = filter.on(X86_64, number, &[]);
            assert!([ALLOW, PERM, NOSYS].contains(&native), "{}: {number}: {native:?}", filter.what);
            allowed += u32::from(native == ALLOW);
            assert!(number < 470 || native == NOSYS, "{}: a call from the future, {number}: {native:?}", filter.what);
            assert_eq!(filter.on(X86_64, number | X32, &[]), NOSYS, "{}: x32 {number}", filter.what);
            for foreign in [I386, AARCH64, 0] {
                assert_eq!(filter.on(foreign, number, &[]), Verdict::Kill, "{}: {number} of {foreign:#x}", filter.what);
            }
        }
        assert!((150..330).contains(&allowed), "{}: {allowed} calls are allowed", filter.what);
    }
}

pub fn calls_are_answered_as_an_older_kernel_would_or_refused_on_purpose() {
    let unknown = [libc::SYS_clone3, libc::SYS_openat2, libc::SYS_lookup_dcookie, libc::SYS_uselib, libc::SYS_ustat, 457, 9999];
    let refused = [
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_move_mount,
        libc::SYS_open_tree,
        libc::SYS_fsopen,
        libc::SYS_mount_setattr,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_setns,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_add_key,
        libc::SYS_keyctl,
        libc::SYS_request_key,
        libc::SYS_init_module,
        libc::SYS_kexec_load,
        libc::SYS_open_by_handle_at,
        libc::SYS_pidfd_getfd,
        libc::SYS_reboot,
        libc::SYS_iopl,
        libc::SYS_modify_ldt,
        libc::SYS_sethostname,
    ];
    let allowed = [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_mmap,
        libc::SYS_futex,
        libc::SYS_openat,
        libc::SYS_exit_group,
        libc::SYS_getrandom,
        libc::SYS_renameat2,
    ];
    for filter in Filter::all() {
        unknown.iter().for_each(|call| filter.gives(*call, &[], NOSYS));
        refused.iter().for_each(|call| filter.gives(*call, &[], PERM));
        allowed.iter().for_each(|call| filter.gives(*call, &[], ALLOW));
    }
}

pub fn the_worker_starts_nothing_and_connects_to_nothing() {
    for mode in [NetworkMode::None, NetworkMode::Loopback, NetworkMode::Open] {
        let (program, worker) = (Filter::of(mode, Audience::Program), Filter::of(mode, Audience::Worker));
        for call in [libc::SYS_execve, libc::SYS_execveat, libc::SYS_fork, libc::SYS_vfork, libc::SYS_clone, libc::SYS_connect] {
            program.gives(call, &[], ALLOW);
            worker.gives(call, &[], PERM);
        }
        for call in [libc::SYS_socket, libc::SYS_socketpair] {
            program.gives(call, &[bits(libc::AF_UNIX), bits(libc::SOCK_STREAM)], ALLOW);
            worker.gives(call, &[bits(libc::AF_UNIX), bits(libc::SOCK_STREAM)], PERM);
        }
    }
}

pub fn no_flag_makes_a_namespace() {
    let flags = [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ];
    let thread = bits(
        libc::CLONE_VM
            | libc::CLONE_FS
            | libc::CLONE_FILES
            | libc::CLONE_SIGHAND
            | libc::CLONE_THREAD
            | libc::CLONE_SYSVSEM
            | libc::CLONE_SETTLS,
    );
    for mode in [NetworkMode::None, NetworkMode::Loopback, NetworkMode::Open] {
        let filter = Filter::of(mode, Audience::Program);
        for flag in flags.map(bits) {
            filter.gives(libc::SYS_unshare, &[flag], PERM);
            filter.gives(libc::SYS_clone, &[flag | bits(libc::SIGCHLD)], PERM);
            filter.gives(libc::SYS_clone, &[flag | thread], PERM);
        }
        filter.gives(libc::SYS_unshare, &[0x80], PERM);
        filter.gives(libc::SYS_unshare, &[bits(libc::CLONE_FILES)], ALLOW);
        filter.gives(libc::SYS_clone, &[thread], ALLOW);
        filter.gives(libc::SYS_clone, &[bits(libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD)], ALLOW);
    }
}

pub fn socket_families_are_those_of_the_network_mode() {
    let stream = bits(libc::SOCK_STREAM | libc::SOCK_CLOEXEC);
    let datagram = bits(libc::SOCK_DGRAM | libc::SOCK_NONBLOCK);
    let raw = bits(libc::SOCK_RAW | libc::SOCK_CLOEXEC);
    for mode in [NetworkMode::None, NetworkMode::Loopback, NetworkMode::Open] {
        let filter = Filter::of(mode, Audience::Program);
        let network = if mode == NetworkMode::None { PERM } else { ALLOW };
        for family in [libc::AF_INET, libc::AF_INET6].map(bits) {
            filter.gives(libc::SYS_socket, &[family, stream, 0], network);
            filter.gives(libc::SYS_socket, &[family, datagram, bits(libc::IPPROTO_UDP)], network);
            filter.gives(libc::SYS_socket, &[family, raw, bits(libc::IPPROTO_ICMP)], PERM);
            filter.gives(libc::SYS_socket, &[family, stream, bits(libc::IPPROTO_MPTCP)], PERM);
            filter.gives(libc::SYS_socketpair, &[family, stream, 0], PERM);
        }
        filter.gives(libc::SYS_socket, &[bits(libc::AF_NETLINK), raw, 0], network);
        filter.gives(libc::SYS_socket, &[bits(libc::AF_NETLINK), raw, bits(libc::NETLINK_KOBJECT_UEVENT)], PERM);
        filter.gives(libc::SYS_socket, &[bits(libc::AF_NETLINK), raw, bits(libc::NETLINK_NETFILTER)], PERM);
        for kind in [stream, datagram] {
            filter.gives(libc::SYS_socket, &[bits(libc::AF_UNIX), kind, 0], ALLOW);
            filter.gives(libc::SYS_socketpair, &[bits(libc::AF_UNIX), kind, 0], ALLOW);
        }
        for family in
            [libc::AF_PACKET, libc::AF_VSOCK, libc::AF_ALG, libc::AF_BLUETOOTH, libc::AF_TIPC, libc::AF_XDP, libc::AF_UNSPEC, 46].map(bits)
        {
            filter.gives(libc::SYS_socket, &[family, stream, 0], PERM);
            filter.gives(libc::SYS_socketpair, &[family, stream, 0], PERM);
        }
    }
}

pub fn nothing_types_into_a_terminal() {
    for filter in Filter::all() {
        filter.gives(libc::SYS_ioctl, &[0, libc::TIOCSTI], PERM);
        filter.gives(libc::SYS_ioctl, &[0, 0x541c], PERM);
        for harmless in [libc::TCGETS, libc::TIOCGWINSZ, libc::FIONREAD, libc::FIOCLEX] {
            filter.gives(libc::SYS_ioctl, &[0, harmless], ALLOW);
        }
    }
}

pub fn no_personality_weakens_what_it_starts() {
    for filter in Filter::all() {
        for weaker in [0x010_0000, 0x020_0000, 0x040_0000, 0x010_0000 | 0x8, 0x044_0000] {
            filter.gives(libc::SYS_personality, &[weaker], PERM);
        }
        // Linux itself, 32-bit names, no randomised addresses (debuggers), and the question which one is in force.
        for ordinary in [0, 0x8, 0x2_0000, 0x004_0000, 0xffff_ffff] {
            filter.gives(libc::SYS_personality, &[ordinary], ALLOW);
        }
    }
}

pub fn no_file_gets_a_set_id_bit_and_no_device_is_made() {
    let create = bits(libc::O_CREAT | libc::O_WRONLY);
    let unnamed = bits(libc::O_TMPFILE | libc::O_WRONLY);
    for filter in Filter::all() {
        for (mode, wanted) in [(0o755, ALLOW), (0o1777, ALLOW), (0o4755, PERM), (0o2755, PERM), (0o6777, PERM), (0o4000, PERM)] {
            filter.gives(libc::SYS_chmod, &[0, mode], wanted);
            filter.gives(libc::SYS_fchmod, &[0, mode], wanted);
            filter.gives(libc::SYS_fchmodat, &[0, 0, mode], wanted);
            filter.gives(452, &[0, 0, mode, 0], wanted);
            filter.gives(libc::SYS_creat, &[0, mode], wanted);
            filter.gives(libc::SYS_open, &[0, create, mode], wanted);
            filter.gives(libc::SYS_openat, &[0, 0, create, mode], wanted);
            filter.gives(libc::SYS_open, &[0, unnamed, mode], wanted);
            filter.gives(libc::SYS_openat, &[0, 0, unnamed, mode], wanted);
            // Without a file to be made, the mode is left over from something else.
            filter.gives(libc::SYS_openat, &[0, 0, bits(libc::O_RDONLY | libc::O_DIRECTORY), mode], ALLOW);
            filter.gives(libc::SYS_mknodat, &[0, 0, u64::from(libc::S_IFREG) | mode], wanted);
            filter.gives(libc::SYS_mknod, &[0, u64::from(libc::S_IFIFO) | mode], wanted);
        }
        for (kind, wanted) in [
            (libc::S_IFREG, ALLOW),
            (libc::S_IFIFO, ALLOW),
            (libc::S_IFSOCK, ALLOW),
            (0, ALLOW),
            (libc::S_IFCHR, PERM),
            (libc::S_IFBLK, PERM),
        ] {
            filter.gives(libc::SYS_mknodat, &[0, 0, u64::from(kind) | 0o644], wanted);
            filter.gives(libc::SYS_mknod, &[0, u64::from(kind) | 0o644], wanted);
        }
    }
}
