//! The system call filter: deny by default, in stacked programs.
//!
//! The first knows a written list of calls and answers `ENOSYS` to everything else, as an older kernel would, so that libc
//! falls back to a call whose arguments a filter can see (`clone3` to `clone`, `openat2` to `openat`). The second answers `EPERM` to
//! what is refused on purpose, after telling the sandbox's init which call it was. An observed program has a third one, which refuses nothing
//! and stops it for its observer. All check the architecture first; x32 numbers (bit 30) are on no list and get `ENOSYS`, 32-bit entry points are killed.

use std::{collections::BTreeMap, os::fd::OwnedFd};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Op, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::{
    Failure,
    by_number::{RETURN, Then, by_number},
    observed_calls,
    system_calls::{ALLOWED, ALLOWED_ON_THIS_ARCHITECTURE, SYS_FCHMODAT2, refused_outright},
};
use crate::{policy::NetworkMode, sandbox::sys};

/// For whom a filter is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// A program of the model's choosing.
    Program,
    /// The built-in file worker, which starts nothing and connects to nothing.
    Worker,
    /// The proxy, which connects and starts nothing.
    Proxy,
    /// A program that is observed: its init hears of each call that reaches for something, and there are no named unix sockets, because more of
    /// the host is in view than a policy grants, and with it the sockets of its services.
    Observed,
}

/// Both programs, ready to install.
#[derive(Debug, Clone)]
pub struct Filters {
    allow: BpfProgram,
    refuse: BpfProgram,
    /// Stops the program for its observer. Where the others refuse, it is never asked.
    observe: Option<BpfProgram>,
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
    let stops = || observed_calls::numbers().map(|call| (call, Vec::new())).collect();
    let observe = (audience == Audience::Observed).then(|| build(stops(), SeccompAction::Allow, SeccompAction::Trace(0)));
    let refused = refused(network, audience).map_err(failure)?;
    // What is asked of arguments comes after the numbers of the calls whose arguments are asked for.
    let mut refuse = by_number(refused.keys().copied(), Then::GoOn, Then::Return(libc::SECCOMP_RET_ALLOW))?;
    refuse.extend(build(refused, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32)).map_err(failure)?);
    Ok(Filters {
        observe: observe.transpose().map_err(failure)?,
        allow: by_number(known(), Then::Return(libc::SECCOMP_RET_ALLOW), Then::Return(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32))?,
        refuse,
        allowed: ALLOWED.len() + ALLOWED_ON_THIS_ARCHITECTURE.len() + 2,
    })
}

const INSTALL: &str = "install the system call filter";

fn apply(program: &BpfProgram) -> Result<(), Failure> {
    seccompiler::apply_filter(program).map_err(|error| {
        let failure = match &error {
            seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => Failure::system(INSTALL, error),
            other => Failure::new(INSTALL, other.to_string()),
        };
        failure.with_remedy(super::probe::SECCOMP_REMEDY)
    })
}

impl Filters {
    /// Installs both programs for this process and all that it will start. Sets `no_new_privs` as well.
    pub fn install(&self) -> Result<(), Failure> {
        for program in [&self.allow, &self.refuse] {
            apply(program)?;
        }
        Ok(())
    }

    /// The same, with each refusal put to a supervisor before it is answered, so that it is known which call it was. What the supervisor
    /// answers is not left to it: it can only refuse. Where somebody further out listens already, as in some containers, nobody is asked.
    pub fn install_reporting(&self) -> Result<Option<OwnedFd>, Failure> {
        apply(&self.allow)?;
        let listener = self.install_listening()?;
        self.observe.as_ref().map_or(Ok(()), apply)?;
        Ok(listener)
    }

    fn install_listening(&self) -> Result<Option<OwnedFd>, Failure> {
        let refusal = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
        let reporting = self.refuse.iter().map(|instruction| sys::Instruction {
            code: instruction.code,
            jt: instruction.jt,
            jf: instruction.jf,
            k: if instruction.code == RETURN && instruction.k == refusal { libc::SECCOMP_RET_USER_NOTIF } else { instruction.k },
        });
        let reporting: Vec<_> = reporting.collect();
        match sys::install_filter_with_listener(&reporting) {
            Ok(listener) => Ok(Some(listener)),
            // EBUSY: there is a listener; EINVAL and ENOSYS: a kernel, or something that stands in for one, without them.
            Err(error) if [libc::EBUSY, libc::EINVAL, libc::ENOSYS].map(Some).contains(&error.raw_os_error()) => {
                apply(&self.refuse)?;
                Ok(None)
            }
            Err(error) => Err(Failure::system(INSTALL, &error).with_remedy(super::probe::SECCOMP_REMEDY)),
        }
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

/// The socket families of a network mode. An internet socket in the sandbox's own network namespace reaches its own loopback and
/// nothing else; `AF_VSOCK`, which no namespace confines, is in no mode's list.
fn families(network: NetworkMode, audience: Audience) -> &'static [libc::c_int] {
    match network {
        _ if audience == Audience::Observed => &[libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK],
        NetworkMode::None => &[libc::AF_UNIX],
        NetworkMode::Loopback | NetworkMode::Allowlist | NetworkMode::Open => {
            &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK]
        }
    }
}

/// What is not answered with `ENOSYS`: what is allowed, and what the second program refuses with a word of its own. Of a filter's answers
/// `ENOSYS` would win over the question to the supervisor that the second program asks (seccomp(2)).
fn known() -> impl Iterator<Item = i64> {
    let allowed = ALLOWED.iter().chain(ALLOWED_ON_THIS_ARCHITECTURE).chain(&[libc::SYS_socket, libc::SYS_socketpair]);
    allowed.chain(refused_outright().map(|(call, _)| call)).copied()
}

/// What is answered with `EPERM`: calls that are refused outright, and arguments that are refused of calls that are allowed.
fn refused(network: NetworkMode, audience: Audience) -> Built<Rules> {
    let mut rules: Rules = refused_outright().map(|(call, _)| (*call, Vec::new())).collect();
    let families = families(network, audience);
    // Every family that is not on the list, in one rule: conditions of a rule must all hold.
    let other = |families: &[libc::c_int]| -> Built<SeccompRule> {
        let conditions: Built<Vec<_>> =
            families.iter().map(|family| SeccompCondition::new(0, Width::Dword, Op::Ne, *family as u64)).collect();
        SeccompRule::new(conditions?)
    };
    let mut sockets = vec![other(families)?];
    if network != NetworkMode::None {
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
    let mut pairs = vec![other(&[libc::AF_UNIX])?];
    if audience == Audience::Observed {
        // Of a pair, one that takes datagrams can be connected anew, to a name; the kernel takes SOCK_RAW for the same (unix(7)).
        for kind in [libc::SOCK_DGRAM, libc::SOCK_RAW] {
            pairs.push(when(1, Width::Dword, Op::MaskedEq(0xf), kind as u64)?);
        }
    }
    rules.insert(libc::SYS_socketpair, pairs);

    let namespaces: Built<Vec<_>> = NAMESPACE_FLAGS.iter().map(|flag| bit(0, u64::from(*flag as u32))).collect();
    let namespaces = namespaces?;
    rules.insert(libc::SYS_unshare, namespaces.iter().cloned().chain([bit(0, CLONE_NEWTIME)?]).collect());
    rules.insert(libc::SYS_clone, namespaces);

    // Typing into the terminal of the person (CVE-2017-5226); the kernel looks at the low 32 bits of the command only.
    rules.insert(libc::SYS_ioctl, vec![when(1, Width::Dword, Op::Eq, libc::TIOCSTI)?, when(1, Width::Dword, Op::Eq, TIOCLINUX)?]);
    // The sandbox's init is process 1 of its namespace and has the program's own user: lowering its limits or its claim to the processor
    // would keep it from its work at the end of the call.
    for call in
        [libc::SYS_prlimit64, libc::SYS_sched_setaffinity, libc::SYS_sched_setattr, libc::SYS_sched_setparam, libc::SYS_sched_setscheduler]
    {
        rules.insert(call, vec![when(0, Width::Dword, Op::Eq, 1)?]);
    }
    let of_process = |which: libc::c_int| -> Built<SeccompRule> {
        SeccompRule::new(vec![
            SeccompCondition::new(0, Width::Dword, Op::Eq, which as u64)?,
            SeccompCondition::new(1, Width::Dword, Op::Eq, 1)?,
        ])
    };
    // `PRIO_PROCESS` and `IOPRIO_WHO_PROCESS` (setpriority(2), ioprio_set(2)).
    rules.insert(libc::SYS_setpriority, vec![of_process(0)?]);
    rules.insert(libc::SYS_ioprio_set, vec![of_process(1)?]);
    // An address space that is laid out for old programs is easier to attack. What debuggers (ADDR_NO_RANDOMIZE) and setarch(8) ask for, and
    // asking what there is, may pass (personality(2)).
    let harmless = u64::from(libc::ADDR_NO_RANDOMIZE.unsigned_abs()) | 0x0008 | 0x0002_0000;
    let persona: Built<Vec<_>> = (0..32)
        .map(|bit| 1u64 << bit)
        .filter(|bit| harmless & bit == 0)
        .map(|bit| {
            SeccompRule::new(vec![
                SeccompCondition::new(0, Width::Dword, Op::MaskedEq(bit), bit)?,
                SeccompCondition::new(0, Width::Dword, Op::Ne, 0xffff_ffff)?,
            ])
        })
        .collect();
    rules.insert(libc::SYS_personality, persona?);
    // A lease makes everybody else who opens the file wait for up to 45 s (fcntl(2)), also on a file that can only be read.
    rules.insert(libc::SYS_fcntl, vec![when(1, Width::Dword, Op::Eq, libc::F_SETLEASE as u64)?]);
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
    if audience == Audience::Proxy {
        for call in [libc::SYS_execve, libc::SYS_execveat] {
            rules.insert(call, Vec::new());
        }
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
