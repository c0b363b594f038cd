//! The system call filter: deny by default, in two stacked programs.
//!
//! The first lets a written list of calls through and answers `ENOSYS` to everything else, as an older kernel would, so that libc
//! falls back to a call whose arguments a filter can see (`clone3` to `clone`, `openat2` to `openat`). The second answers `EPERM` to
//! what is refused on purpose. It is installed last, because of two programs with the same kind of answer the newest one's counts
//! (seccomp(2)). Both check the architecture first; x32 numbers (bit 30) are on no list and get `ENOSYS`, 32-bit entry points are killed.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Op, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::Failure;
use crate::policy::NetworkMode;

/// For whom a filter is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// A program of the model's choosing.
    Program,
    /// The built-in file worker, which starts nothing and connects to nothing.
    Worker,
}

/// Both programs, ready to install.
#[derive(Debug, Clone)]
pub struct Filters {
    allow: BpfProgram,
    refuse: BpfProgram,
    /// How many calls the first program names.
    pub allowed: usize,
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// All flags of `clone` and `unshare` that make a namespace. `CLONE_NEWTIME` shares its bit with the exit signal of `clone`, so
/// there it cannot be asked for, and it is checked for `unshare` alone.
const NAMESPACE_FLAGS: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];
const CLONE_NEWTIME: u64 = 0x80;
const SET_ID_BITS: [u64; 2] = [0o4000, 0o2000];
const O_CREAT: u64 = libc::O_CREAT as u64;
/// The bit of `O_TMPFILE` that `O_DIRECTORY` does not share. Such a file has a mode as well, and gets its name by `linkat(2)` later.
const O_TMPFILE: u64 = (libc::O_TMPFILE & !libc::O_DIRECTORY) as u64;

/// Compiles the filters for a network mode.
pub fn compile(network: NetworkMode, audience: Audience) -> Result<Filters, Failure> {
    let failure = |error: seccompiler::BackendError| Failure::new("compile the system call filter", error.to_string());
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(failure)?;
    let build = |rules: Rules, otherwise, then| -> Result<BpfProgram, seccompiler::BackendError> {
        SeccompFilter::new(rules, otherwise, then, arch)?.try_into()
    };
    let allowed = allowed(network).map_err(failure)?;
    let count = allowed.len();
    Ok(Filters {
        allow: build(allowed, SeccompAction::Errno(libc::ENOSYS as u32), SeccompAction::Allow).map_err(failure)?,
        refuse: build(refused(network, audience).map_err(failure)?, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32))
            .map_err(failure)?,
        allowed: count,
    })
}

impl Filters {
    /// Installs both programs for this process and all that it will start. Sets `no_new_privs` as well.
    pub fn install(&self) -> Result<(), Failure> {
        for program in [&self.allow, &self.refuse] {
            seccompiler::apply_filter(program).map_err(|error| Failure::new("install the system call filter", error.to_string()))?;
        }
        Ok(())
    }

    /// The programs in the order of installation, for an evaluator in tests.
    pub fn programs(&self) -> [&BpfProgram; 2] {
        [&self.allow, &self.refuse]
    }
}

type Built<T> = Result<T, seccompiler::BackendError>;

fn when(argument: u8, width: Width, operator: Op, value: u64) -> Built<SeccompRule> {
    SeccompRule::new(vec![SeccompCondition::new(argument, width, operator, value)?])
}

fn bit(argument: u8, mask: u64) -> Built<SeccompRule> {
    when(argument, Width::Dword, Op::MaskedEq(mask), mask)
}

fn allowed(network: NetworkMode) -> Built<Rules> {
    let mut rules: Rules = ALLOWED.iter().chain(ALLOWED_ON_THIS_ARCHITECTURE).map(|call| (*call, Vec::new())).collect();
    let mut families = vec![libc::AF_UNIX];
    if network == NetworkMode::Open {
        families.extend([libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK]);
    }
    let families: Built<Vec<_>> = families.iter().map(|family| when(0, Width::Dword, Op::Eq, *family as u64)).collect();
    rules.insert(libc::SYS_socket, families?);
    rules.insert(libc::SYS_socketpair, vec![when(0, Width::Dword, Op::Eq, libc::AF_UNIX as u64)?]);
    Ok(rules)
}

/// What is answered with `EPERM`: calls that are refused outright, and arguments that are refused of calls that are allowed.
fn refused(network: NetworkMode, audience: Audience) -> Built<Rules> {
    let mut rules: Rules = REFUSED.iter().chain(REFUSED_ON_THIS_ARCHITECTURE).map(|call| (*call, Vec::new())).collect();
    let mut families = vec![libc::AF_UNIX];
    if network == NetworkMode::Open {
        families.extend([libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK]);
    }
    // Every family that is not on the list, in one rule: conditions of a rule must all hold.
    let other = |families: &[libc::c_int]| -> Built<SeccompRule> {
        let conditions: Built<Vec<_>> =
            families.iter().map(|family| SeccompCondition::new(0, Width::Dword, Op::Ne, *family as u64)).collect();
        SeccompRule::new(conditions?)
    };
    let mut sockets = vec![other(&families)?];
    if network == NetworkMode::Open {
        // Raw and packet-level sockets, and MPTCP, which Landlock's TCP rules do not see (landlock-lsm/linux issue 54).
        sockets.push(when(1, Width::Dword, Op::MaskedEq(0xf), libc::SOCK_RAW as u64)?);
        sockets.push(when(2, Width::Dword, Op::Eq, libc::IPPROTO_MPTCP as u64)?);
        // Netlink is for reading routes and addresses (NETLINK_ROUTE is 0), as getaddrinfo(3) does.
        sockets.push(SeccompRule::new(vec![
            SeccompCondition::new(0, Width::Dword, Op::Eq, libc::AF_NETLINK as u64)?,
            SeccompCondition::new(2, Width::Dword, Op::Ne, 0)?,
        ])?);
        // A raw netlink socket is the usual kind of one; the rule above keeps it to routes.
        sockets[1] = SeccompRule::new(vec![
            SeccompCondition::new(1, Width::Dword, Op::MaskedEq(0xf), libc::SOCK_RAW as u64)?,
            SeccompCondition::new(0, Width::Dword, Op::Ne, libc::AF_NETLINK as u64)?,
        ])?;
    }
    rules.insert(libc::SYS_socket, sockets);
    rules.insert(libc::SYS_socketpair, vec![other(&[libc::AF_UNIX])?]);

    let namespaces: Built<Vec<_>> = NAMESPACE_FLAGS.iter().map(|flag| bit(0, u64::from(*flag as u32))).collect();
    let namespaces = namespaces?;
    rules.insert(libc::SYS_unshare, namespaces.iter().cloned().chain([bit(0, CLONE_NEWTIME)?]).collect());
    rules.insert(libc::SYS_clone, namespaces);

    // Typing into the terminal of the person (CVE-2017-5226); the kernel looks at the low 32 bits of the command only.
    rules.insert(libc::SYS_ioctl, vec![when(1, Width::Dword, Op::Eq, libc::TIOCSTI)?, when(1, Width::Dword, Op::Eq, TIOCLINUX)?]);
    // Set-id programs in the workspace would run with the person's identity for everybody else on the machine.
    let set_id = |argument: u8| -> Built<Vec<SeccompRule>> { SET_ID_BITS.iter().map(|mask| bit(argument, *mask)).collect() };
    let creating = |flags: u8, mode: u8| -> Built<Vec<SeccompRule>> {
        [O_CREAT, O_TMPFILE]
            .iter()
            .flat_map(|making| SET_ID_BITS.iter().map(move |mask| (*making, *mask)))
            .map(|(making, mask)| {
                SeccompRule::new(vec![
                    SeccompCondition::new(flags, Width::Dword, Op::MaskedEq(making), making)?,
                    SeccompCondition::new(mode, Width::Dword, Op::MaskedEq(mask), mask)?,
                ])
            })
            .collect()
    };
    rules.insert(libc::SYS_fchmod, set_id(1)?);
    rules.insert(libc::SYS_fchmodat, set_id(2)?);
    rules.insert(SYS_FCHMODAT2, set_id(2)?);
    rules.insert(libc::SYS_openat, creating(2, 3)?);
    let devices = |argument: u8| -> Built<Vec<SeccompRule>> {
        let kind = u64::from(libc::S_IFMT);
        let mut all = set_id(argument)?;
        for device in [libc::S_IFCHR, libc::S_IFBLK] {
            all.push(when(argument, Width::Dword, Op::MaskedEq(kind), u64::from(device))?);
        }
        Ok(all)
    };
    rules.insert(libc::SYS_mknodat, devices(2)?);
    #[cfg(target_arch = "x86_64")]
    {
        rules.insert(libc::SYS_chmod, set_id(1)?);
        rules.insert(libc::SYS_creat, set_id(1)?);
        rules.insert(libc::SYS_open, creating(1, 2)?);
        rules.insert(libc::SYS_mknod, devices(1)?);
    }
    if audience == Audience::Worker {
        for call in [libc::SYS_execve, libc::SYS_execveat, libc::SYS_clone, libc::SYS_socket, libc::SYS_socketpair, libc::SYS_connect] {
            rules.insert(call, Vec::new());
        }
        #[cfg(target_arch = "x86_64")]
        for call in [libc::SYS_fork, libc::SYS_vfork] {
            rules.insert(call, Vec::new());
        }
    }
    Ok(rules)
}

const TIOCLINUX: u64 = 0x541c;
const SYS_FCHMODAT2: c_long = 452;

/// Refused on purpose, so that a program is told "not permitted" and not "no such call".
const REFUSED: &[c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    442, // mount_setattr, where libc has no name for it
    467, // open_tree_attr (Linux 6.15)
    469, // file_setattr (Linux 6.17)
];

#[cfg(target_arch = "x86_64")]
const REFUSED_ON_THIS_ARCHITECTURE: &[c_long] = &[libc::SYS_ioperm, libc::SYS_iopl, libc::SYS_modify_ldt];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_ON_THIS_ARCHITECTURE: &[c_long] = &[];

/// Let through, whatever the arguments (as far as [`refused`] says nothing of them).
const ALLOWED: &[c_long] = &[
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_brk,
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_chdir,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_clone,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_connect,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fchdir,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    SYS_FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_fgetxattr,
    libc::SYS_flistxattr,
    libc::SYS_flock,
    libc::SYS_fremovexattr,
    libc::SYS_fsetxattr,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_futex,
    libc::SYS_get_mempolicy,
    libc::SYS_get_robust_list,
    libc::SYS_getcpu,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getitimer,
    libc::SYS_getpeername,
    libc::SYS_getpgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getpriority,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrusage,
    libc::SYS_getsid,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_getxattr,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_rm_watch,
    libc::SYS_io_cancel,
    libc::SYS_io_destroy,
    libc::SYS_io_getevents,
    libc::SYS_io_setup,
    libc::SYS_io_submit,
    libc::SYS_ioctl,
    libc::SYS_ioprio_get,
    libc::SYS_ioprio_set,
    libc::SYS_kill,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_restrict_self,
    libc::SYS_lgetxattr,
    libc::SYS_linkat,
    libc::SYS_listen,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_lremovexattr,
    libc::SYS_lseek,
    libc::SYS_lsetxattr,
    libc::SYS_madvise,
    libc::SYS_mbind,
    libc::SYS_membarrier,
    libc::SYS_memfd_create,
    libc::SYS_mincore,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_mlockall,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mq_getsetattr,
    libc::SYS_mq_notify,
    libc::SYS_mq_open,
    libc::SYS_mq_timedreceive,
    libc::SYS_mq_timedsend,
    libc::SYS_mq_unlink,
    libc::SYS_mremap,
    libc::SYS_msgctl,
    libc::SYS_msgget,
    libc::SYS_msgrcv,
    libc::SYS_msgsnd,
    libc::SYS_msync,
    libc::SYS_munlock,
    libc::SYS_munlockall,
    libc::SYS_munmap,
    libc::SYS_name_to_handle_at,
    libc::SYS_nanosleep,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_personality,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_pipe2,
    libc::SYS_pkey_alloc,
    libc::SYS_pkey_free,
    libc::SYS_pkey_mprotect,
    libc::SYS_ppoll,
    libc::SYS_prctl,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_prlimit64,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pselect6,
    libc::SYS_ptrace,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_read,
    libc::SYS_readahead,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_remap_file_pages,
    libc::SYS_removexattr,
    libc::SYS_renameat2,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getattr,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_rr_get_interval,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_yield,
    libc::SYS_seccomp,
    libc::SYS_semctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_sendfile,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_set_mempolicy,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_setfsgid,
    libc::SYS_setfsuid,
    libc::SYS_setgid,
    libc::SYS_setgroups,
    libc::SYS_setitimer,
    libc::SYS_setpgid,
    libc::SYS_setpriority,
    libc::SYS_setregid,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
    libc::SYS_setreuid,
    libc::SYS_setsid,
    libc::SYS_setsockopt,
    libc::SYS_setuid,
    libc::SYS_setxattr,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_shmdt,
    libc::SYS_shmget,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_signalfd4,
    libc::SYS_splice,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_symlinkat,
    libc::SYS_sync,
    libc::SYS_sync_file_range,
    libc::SYS_syncfs,
    libc::SYS_sysinfo,
    libc::SYS_tee,
    libc::SYS_tgkill,
    libc::SYS_timer_create,
    libc::SYS_timer_delete,
    libc::SYS_timer_getoverrun,
    libc::SYS_timer_gettime,
    libc::SYS_timer_settime,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
    libc::SYS_times,
    libc::SYS_tkill,
    libc::SYS_truncate,
    libc::SYS_umask,
    libc::SYS_uname,
    libc::SYS_unlinkat,
    libc::SYS_unshare,
    libc::SYS_utimensat,
    libc::SYS_vmsplice,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_write,
    libc::SYS_writev,
];

#[cfg(target_arch = "x86_64")]
const ALLOWED_ON_THIS_ARCHITECTURE: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_alarm,
    libc::SYS_arch_prctl,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_creat,
    libc::SYS_dup2,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_fork,
    libc::SYS_futimesat,
    libc::SYS_getdents,
    libc::SYS_getpgrp,
    libc::SYS_getrlimit,
    libc::SYS_inotify_init,
    libc::SYS_lchown,
    libc::SYS_link,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_mknod,
    libc::SYS_open,
    libc::SYS_pause,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_setrlimit,
    libc::SYS_signalfd,
    libc::SYS_stat,
    libc::SYS_symlink,
    libc::SYS_sysfs,
    libc::SYS_time,
    libc::SYS_unlink,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_vfork,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_ON_THIS_ARCHITECTURE: &[c_long] = &[libc::SYS_renameat];
