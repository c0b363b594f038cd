//! Reaching, outliving or starving other processes.

use std::{
    ffi::CString,
    fs, io,
    io::{Seek as _, Write as _},
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, setsid},
};

use crate::{
    sandbox::{
        Launcher, Program,
        sys::{
            self,
            Argument::{Bytes, Null, Number},
            Fork,
        },
    },
    selftest::{
        case::{Area::Processes, Case, Control, Outcome},
        facts::{Facts, Request},
        names,
        proof::survivors,
        scene::{Heard, Scene, listen},
        tries::Tries,
    },
};

/// How many processes beyond the policy's number root may have (see `limits.processes` in the policy's documentation).
const ROOTS_MORE: u64 = 300;

/// The cases.
pub fn cases() -> Vec<Case> {
    let case = |id, title, attempt: fn(&Facts, &mut Tries)| Case::inside(id, Processes, title, attempt);
    vec![
        case("processes-signal", "signal another process, in every way", signals).list(&[65]),
        case("processes-signal-all", "signal every process there is", |_, tries| {
            tries.act("begin", Err::<(), _>(io::Error::other("this process is one of them")));
            tries.risky("kill -1", || kill(Pid::from_raw(-1), Signal::SIGTERM).map(|()| "sent".to_owned()).map_err(io::Error::from));
        })
        .may_die()
        .control(Control::Not("it would end the person's session")),
        case("processes-trace", "trace another process", |facts, tries| {
            if let Some(pid) = facts.foreign().first().copied() {
                tries.call("attach", libc::SYS_ptrace, vec![Number(16), Number(i64::from(pid)), Null, Null]);
                tries.call("seize", libc::SYS_ptrace, vec![Number(0x4206), Number(i64::from(pid)), Null, Null]);
            }
        })
        .by_answer()
        .list(&[70]),
        case("processes-write-memory", "write into another process' memory", write_memory).list(&[70]),
        case("processes-take-descriptor", "take a descriptor out of another process", |facts, tries| {
            for pid in facts.foreign() {
                let opened = sys::pidfd_open(Pid::from_raw(pid));
                if !tries.act("open the process", opened.as_ref().map_err(|error| io::Error::from(error.kind()))) {
                    continue;
                }
                if let Ok(process) = opened {
                    tries.call("take", libc::SYS_pidfd_getfd, vec![Number(i64::from(process.as_raw_fd())), Number(0), Number(0)]);
                }
            }
        })
        .by_answer()
        .list(&[70]),
        case("processes-limits", "change another process' limits", |facts, tries| {
            for pid in facts.foreign().into_iter().take(1) {
                let mut limit: Vec<u8> = [64u64, 64].iter().flat_map(|value| value.to_ne_bytes()).collect();
                tries.call(
                    "prlimit",
                    libc::SYS_prlimit64,
                    vec![Number(i64::from(pid)), Number(i64::from(libc::RLIMIT_NOFILE)), Bytes(&mut limit), Null],
                );
            }
        })
        .also("Landlock does not mediate it"),
        case("processes-priority", "change another process' priority, processors and scheduling", priority)
            .also("Landlock does not mediate it"),
        case("processes-realtime", "take the processors for oneself: real-time scheduling, better priority, locked memory", |_, tries| {
            let mut parameters = [1u8, 0, 0, 0];
            for (name, policy) in [("first in, first out", 1i64), ("round robin", 2)] {
                tries.call(name, libc::SYS_sched_setscheduler, vec![Number(0), Number(policy), Bytes(&mut parameters)]);
            }
            tries.call("better priority", libc::SYS_setpriority, vec![Number(0), Number(0), Number(-10)]);
            tries.call("real-time input and output", libc::SYS_ioprio_set, vec![Number(1), Number(0), Number(1 << 13)]);
            let mut score = fs::OpenOptions::new().write(true).open("/proc/self/oom_score_adj");
            let spared = score.as_mut().map_err(|error| io::Error::from(error.kind())).and_then(|file| file.write_all(b"-1000"));
            tries.act("be spared when memory runs out", spared);
        })
        .by_answer()
        .control(Control::LeaksForRoot("it needs CAP_SYS_NICE")),
        case("processes-first", "end, trace or stop the sandbox's own first process and its launcher", first)
            .by_answer()
            .control(Control::Not("without layers these are the launcher's and portcullis' own")),
        case("processes-daemon", "leave a process behind: new session, double fork, nohup, ignoring signals", daemon).list(&[72]),
        Case::scene(
            "processes-daemon-of-killed-call",
            Processes,
            "leave one behind when portcullis hangs up in mid-call",
            hung_up,
            wait_with_daemon,
        )
        .control(Control::Leaks),
        Case::scene(
            "processes-death-of-launcher",
            Processes,
            "leave one behind when the launcher is killed",
            launcher_killed,
            wait_with_daemon,
        )
        .also("p.kill9")
        .control(Control::Leaks),
        Case::scene("processes-time", Processes, "run beyond the limit on time, ignoring every signal", time, |facts, tries| {
            let _ = facts;
            tries.report("begun", Ok("waiting"));
            for signal in Signal::iterator().filter(|signal| !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP)) {
                let mut set = nix::sys::signal::SigSet::empty();
                set.add(signal);
                let _ = set.thread_block();
            }
            std::thread::sleep(Duration::from_secs(8));
            tries.report("waited", Ok("to the end"));
        })
        .wall(400)
        .may_die()
        .control(Control::Not("limits hold without layers as well")),
        case("processes-bomb", "start processes without end", bomb).may_die().control(Control::Not("it would harm the machine")),
        case("processes-memory", "take more memory than the policy's limit", |facts, tries| {
            let own = [libc::RLIMIT_NPROC, libc::RLIMIT_NOFILE, libc::RLIMIT_FSIZE, libc::RLIMIT_CORE].map(i64::from);
            for limit in own {
                let mut value: Vec<u8> = [u64::MAX, u64::MAX].iter().flat_map(|value| value.to_ne_bytes()).collect();
                tries.call(&format!("raise limit {limit}"), libc::SYS_prlimit64, vec![Number(0), Number(limit), Bytes(&mut value), Null]);
            }
            let wanted = usize::try_from(facts.limits[1].saturating_add(256 * 1024 * 1024)).unwrap_or(usize::MAX);
            tries.risky("memory in use", || {
                if wanted as u64 > available_memory() {
                    return Err(io::Error::other("the machine itself has less"));
                }
                let all = vec![1u8; wanted];
                // Longer than whoever watches looks away.
                std::thread::sleep(Duration::from_millis(500));
                Ok(format!("{} bytes", all.len()))
            });
        })
        .by_answer()
        .may_die()
        .control(Control::Not("limits hold without layers as well")),
        case("processes-descriptors", "open more files than the policy's limit", |facts, tries| {
            let most = usize::try_from(facts.limits[2]).unwrap_or(usize::MAX).min(70_000);
            tries.risky("open", || {
                let mut all = Vec::new();
                while all.len() <= most {
                    all.push(fs::File::open("/dev/null")?);
                }
                Ok(format!("{} files", all.len()))
            });
        })
        .by_answer()
        .control(Control::Not("limits hold without layers as well")),
        case("processes-file-size", "write a file larger than the policy's limit", |facts, tries| {
            let size = facts.limits[3].saturating_add(1);
            for (name, folder) in [("in /tmp", facts.temporary.clone()), ("in the workspace", facts.workspace.clone())] {
                let path = folder.join("large");
                tries.risky(name, || {
                    let mut file = fs::File::create(&path)?;
                    file.set_len(size)?;
                    file.seek(io::SeekFrom::Start(size))?;
                    file.write_all(b"x")?;
                    Ok(format!("{size} bytes"))
                });
                let _ = fs::remove_file(path);
            }
        })
        .by_answer()
        .control(Control::Not("limits hold without layers as well")),
    ]
}

fn signals(facts: &Facts, tries: &mut Tries) {
    // The last of these only: the others are not this test's to end.
    for pid in facts.foreign() {
        tries.act("ask whether it is there", kill(Pid::from_raw(pid), None).map_err(io::Error::from));
    }
    let Some(pid) = facts.foreign().into_iter().find(|pid| *pid == facts.victim) else { return };
    let mut info = [0u8; 128];
    info[0] = 10;
    // si_code is SI_QUEUE (-1).
    info[8..12].copy_from_slice(&(-1i32).to_ne_bytes());
    tries.call(
        "rt_sigqueueinfo",
        libc::SYS_rt_sigqueueinfo,
        vec![Number(i64::from(pid)), Number(i64::from(libc::SIGUSR1)), Bytes(&mut info)],
    );
    tries.call("tgkill", libc::SYS_tgkill, vec![Number(i64::from(pid)), Number(i64::from(pid)), Number(i64::from(libc::SIGUSR1))]);
    if let Ok(process) = sys::pidfd_open(Pid::from_raw(pid)) {
        tries.call(
            "pidfd_send_signal",
            libc::SYS_pidfd_send_signal,
            vec![Number(i64::from(process.as_raw_fd())), Number(i64::from(libc::SIGTERM)), Null, Number(0)],
        );
    }
    tries.act("stop", kill(Pid::from_raw(pid), Signal::SIGSTOP).map_err(io::Error::from));
    tries.act("end", kill(Pid::from_raw(pid), Signal::SIGKILL).map_err(io::Error::from));
    tries.shell(facts, &format!("kill -9 {pid}"));
}

fn write_memory(facts: &Facts, tries: &mut Tries) {
    let (address, _) = facts.victim_secret;
    if !facts.foreign().contains(&facts.victim) {
        return;
    }
    let remote = [nix::sys::uio::RemoteIoVec { base: address, len: 4 }];
    let written = nix::sys::uio::process_vm_writev(Pid::from_raw(facts.victim), &[io::IoSlice::new(b"gone")], &remote);
    tries.act("process_vm_writev", written.map_err(io::Error::from));
    let written = fs::OpenOptions::new().write(true).open(format!("/proc/{}/mem", facts.victim)).and_then(|mut file| {
        file.seek(io::SeekFrom::Start(address as u64))?;
        file.write_all(b"gone")
    });
    tries.act("/proc/PID/mem", written);
}

fn priority(facts: &Facts, tries: &mut Tries) {
    let Some(pid) = facts.foreign().into_iter().find(|pid| *pid == facts.victim).map(i64::from) else { return };
    tries.call("setpriority", libc::SYS_setpriority, vec![Number(0), Number(pid), Number(19)]);
    let mut first = [0u8; 128];
    first[0] = 1;
    tries.call("sched_setaffinity", libc::SYS_sched_setaffinity, vec![Number(pid), Number(128), Bytes(&mut first)]);
    // SCHED_IDLE.
    let mut parameters = [0u8; 4];
    tries.call("sched_setscheduler", libc::SYS_sched_setscheduler, vec![Number(pid), Number(5), Bytes(&mut parameters)]);
    tries.call("ioprio_set", libc::SYS_ioprio_set, vec![Number(1), Number(pid), Number(3 << 13)]);
    let mut nodes = [[1u8; 8], [0u8; 8]];
    let [from, to] = &mut nodes;
    tries.call("migrate_pages", libc::SYS_migrate_pages, vec![Number(pid), Number(64), Bytes(from), Bytes(to)]);
}

fn first(facts: &Facts, tries: &mut Tries) {
    let parent = nix::unistd::getppid().as_raw();
    for pid in [1, parent].into_iter().chain(facts.foreign()) {
        if pid < 1 {
            continue;
        }
        let number = i64::from(pid);
        tries.call(&format!("trace {pid}"), libc::SYS_ptrace, vec![Number(0x4206), Number(number), Null, Null]);
        for name in ["mem", "environ", "maps", "fd", "root/etc/hostname", "cwd/etc/hostname"] {
            let path = format!("/proc/{pid}/{name}");
            // That root can list the numbers is all that the kernel grants there; what is behind them is what counts.
            let got = if name == "fd" {
                (0..16)
                    .find_map(|number| fs::read_link(format!("{path}/{number}")).ok())
                    .ok_or(io::ErrorKind::PermissionDenied.into())
                    .map(drop)
            } else {
                fs::File::open(&path).map(drop)
            };
            tries.act(&path, got);
        }
    }
    // A signal that the first process takes no notice of is sent and does nothing (pid_namespaces(7)): that the call goes on is the proof.
    let _ = kill(Pid::from_raw(1), Signal::SIGKILL);
    let _ = kill(Pid::from_raw(1), Signal::SIGSTOP);
}

/// Becomes a daemon with the name by which it is found again.
fn become_daemon(mark: &str) -> ! {
    let _ = setsid();
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGPIPE] {
        let mut set = nix::sys::signal::SigSet::empty();
        set.add(signal);
        let _ = set.thread_block();
    }
    let _ = sys::close_range(0, u32::MAX);
    if let Ok(name) = CString::new(mark) {
        let _ = nix::sys::prctl::set_name(&name);
    }
    std::thread::sleep(Duration::from_secs(60));
    sys::exit_now(0)
}

fn start_daemon(mark: &str) -> io::Result<&'static str> {
    match sys::fork()? {
        Fork::Child => match sys::fork() {
            Ok(Fork::Child) => become_daemon(mark),
            _ => sys::exit_now(0),
        },
        Fork::Parent(child) => {
            let _ = nix::sys::wait::waitpid(child, None);
            // The daemon has to have its name before anybody looks for it.
            std::thread::sleep(Duration::from_millis(30));
            Ok("a daemon was started")
        }
    }
}

fn daemon(facts: &Facts, tries: &mut Tries) {
    tries.report("a daemon", start_daemon(&facts.mark));
}

fn wait_with_daemon(facts: &Facts, tries: &mut Tries) {
    tries.report("a daemon", start_daemon(&facts.mark));
    std::thread::sleep(Duration::from_secs(20));
}

/// Until a condition holds, for a while.
fn eventually(patience: Duration, holds: impl Fn() -> bool) -> bool {
    let end = Instant::now() + patience;
    while Instant::now() < end {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    holds()
}

fn request(scene: &Scene<'_>) -> Vec<u8> {
    serde_json::to_vec(&Request { case: scene.case.id.to_owned(), facts: scene.facts() }).unwrap_or_default()
}

fn hung_up(scene: &mut Scene<'_>) -> Outcome {
    let absent = scene.facts().absent;
    let input = request(scene);
    let started = scene.start(scene.launcher, scene.registered, Program::Probe, &input, scene.world.session.workspace.clone());
    let (call, output) = match started {
        Ok(started) => started,
        Err(error) => return Outcome::Untried(error.to_string()),
    };
    let mark = scene.world.mark();
    if !eventually(Duration::from_secs(5), || !survivors(&mark).is_empty()) {
        return Outcome::Untried("the daemon did not start".to_owned());
    }
    drop((call, output));
    let outcome = gone(&mark);
    cleaned_up(scene, &absent);
    outcome
}

/// Waits for the launcher to take its placeholders away; whether it did is looked at like everything else.
fn cleaned_up(scene: &Scene<'_>, absent: &[String]) {
    let there = || {
        absent
            .iter()
            .map(String::as_str)
            .chain(names::ABSENT_OF_GIT)
            .any(|name| scene.world.session.workspace.join(name).symlink_metadata().is_ok())
    };
    let _ = eventually(Duration::from_secs(2), || !there());
}

fn launcher_killed(scene: &mut Scene<'_>) -> Outcome {
    let absent = scene.facts().absent;
    let input = request(scene);
    let started = Launcher::start().and_then(|launcher| {
        let registered = launcher.register(scene.plan.clone())?;
        let call = scene.start(&launcher, registered, Program::Probe, &input, scene.world.session.workspace.clone())?;
        Ok((launcher, call))
    });
    let (launcher, (call, output)) = match started {
        Ok(started) => started,
        Err(error) => return Outcome::Untried(error.to_string()),
    };
    let mark = scene.world.mark();
    if !eventually(Duration::from_secs(5), || !survivors(&mark).is_empty()) {
        return Outcome::Untried("the daemon did not start".to_owned());
    }
    let _ = kill(Pid::from_raw(i32::try_from(launcher.id()).unwrap_or(0)), Signal::SIGKILL);
    drop(launcher);
    let outcome = gone(&mark);
    drop((call, output));
    // Nobody is left to clean up, until the next run comes.
    if let Ok(next) = Launcher::start() {
        let _ = next.register(scene.plan.clone());
        drop(next);
        cleaned_up(scene, &absent);
    }
    outcome
}

fn gone(mark: &str) -> Outcome {
    if eventually(Duration::from_secs(2), || survivors(mark).is_empty()) {
        Outcome::Refused
    } else {
        Outcome::Leaked("a process outlived what it belonged to".to_owned())
    }
}

fn time(scene: &mut Scene<'_>) -> Outcome {
    let begun = Instant::now();
    let input = request(scene);
    let started = scene.start(scene.launcher, scene.registered, Program::Probe, &input, scene.world.session.workspace.clone());
    let heard: Result<Heard, _> = started.and_then(|(call, output)| listen(&call, output, Duration::from_secs(12)));
    match heard {
        Ok(heard) if heard.text.contains("to the end") => Outcome::Leaked(format!("it ran for {} ms", begun.elapsed().as_millis())),
        Ok(heard) if heard.text.contains("begun") => Outcome::Refused,
        Ok(heard) => Outcome::Untried(heard.failed.unwrap_or_else(|| "it did not begin".to_owned())),
        Err(error) => Outcome::Untried(error.to_string()),
    }
}

fn bomb(facts: &Facts, tries: &mut Tries) {
    let more = if nix::unistd::geteuid().is_root() { ROOTS_MORE } else { 0 };
    let most = facts.limits[0].saturating_add(more).saturating_add(8).min(20_000);
    let Ok((reader, writer)) = io::pipe() else { return };
    let mut children = 0;
    let mut refused = None;
    while children < most {
        match sys::fork() {
            Ok(Fork::Child) => {
                // Waits for the pipe's end, and so for the parent's.
                drop(writer);
                let mut byte = [0];
                let _ = nix::unistd::read(reader.as_fd(), &mut byte);
                sys::exit_now(0)
            }
            Ok(Fork::Parent(_)) => children += 1,
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    drop(writer);
    // By a link that says so: a report alone would be the attacker's word.
    match refused {
        Some(error) => tries.act(&format!("stopped after {children}"), Err::<(), _>(error)),
        None => tries.report("more processes than the limit", Ok(children)),
    };
}

/// Bytes that can be had on this machine without pushing out what is in use (proc_meminfo(5)).
fn available_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    value.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
