//! One layer at a time, in real processes.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::{
        fd::AsFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    path::PathBuf,
};

use portcullis::{
    policy::{self, Layer},
    sandbox::{Applied, FromSandbox, Launcher, Plan, Program, Session, message::Launch, sys},
};
use serde_json::{Value, json};
use tempfile::TempDir;

const INSIDE: &str = include_str!("../prefix_truth/inside.py");

struct World {
    base: TempDir,
    plan: Plan,
}

impl World {
    fn new(preset: &str, layers: &[Layer]) -> Self {
        let base = tempfile::Builder::new().prefix("layers-").tempdir_in("/var/tmp").unwrap();
        let at = |name: &str| fs::canonicalize(base.path()).unwrap().join(name);
        for folder in ["home/work", "private/tmp", "private/home", "private/outputs", "state", "outside"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::write(at("outside/file"), "outside").unwrap();
        fs::write(at("home/work/file"), "workspace").unwrap();
        fs::write(at("home/work/.env"), "hidden").unwrap();
        let session = Session {
            workspace: at("home/work"),
            home: at("home"),
            private: at("private"),
            state: at("state"),
            linked: None,
            environment: BTreeMap::new(),
        };
        let mut plan = Plan::new(&policy::preset(preset).unwrap(), &session).unwrap();
        plan.layers = layers.to_vec();
        Self { base, plan }
    }

    /// The same without a loopback, as the presets that only read have it.
    fn offline(preset: &str, layers: &[Layer]) -> Self {
        let mut world = Self::new(preset, layers);
        world.plan.network = policy::NetworkMode::None;
        world
    }

    fn at(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.base.path()).unwrap().join(name)
    }

    fn run(&self, command: &[&str], input: &str) -> (String, Applied, i32) {
        let launcher = Launcher::start().unwrap();
        let plan = launcher.register(self.plan.clone()).unwrap();
        let mut stdin = tempfile::tempfile().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        std::io::Seek::rewind(&mut stdin).unwrap();
        let (mut output, end) = std::io::pipe().unwrap();
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let launch = Launch {
            plan,
            program: Program::Exec(command.iter().map(|word| (*word).to_owned()).collect()),
            environment: vec![
                variable("PATH", "/usr/local/bin:/usr/bin:/bin"),
                variable("HOME", &self.at("home/work").display().to_string()),
                variable("TMPDIR", &self.at("home/work").display().to_string()),
                variable("LC_ALL", "C.UTF-8"),
            ],
            cwd: self.at("home/work"),
            wall_ms: Some(60_000),
            terminal: None,
            terminal_streams: [false; 3],
        };
        let call = launcher.launch(launch, [stdin.as_fd(), end.as_fd(), end.as_fd()]).unwrap();
        drop(end);
        let mut bytes = Vec::new();
        output.read_to_end(&mut bytes).unwrap();
        let (mut applied, mut code) = (None, None);
        while let Ok((message, _)) = call.next() {
            match message {
                FromSandbox::Started(what) => applied = Some(what),
                FromSandbox::Exited(exit) => code = Some(exit.shell_code()),
                FromSandbox::Failed { step, reason, .. } => panic!("could not {step}: {reason}"),
                FromSandbox::Terminal | FromSandbox::Observed(_) | FromSandbox::Proxy => {}
            }
        }
        (String::from_utf8_lossy(&bytes).into_owned(), applied.unwrap(), code.unwrap())
    }

    /// Why the sandbox refuses to start a program, if it does.
    fn refused(&self, command: &[&str]) -> Option<String> {
        let launcher = Launcher::start().unwrap();
        let plan = launcher.register(self.plan.clone()).unwrap();
        let null = fs::File::open("/dev/null").unwrap();
        let launch = Launch {
            plan,
            program: Program::Exec(command.iter().map(|word| (*word).to_owned()).collect()),
            environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
            cwd: self.at("home/work"),
            wall_ms: Some(60_000),
            terminal: None,
            terminal_streams: [false; 3],
        };
        let call = launcher.launch(launch, [null.as_fd(), null.as_fd(), null.as_fd()]).unwrap();
        let mut reason = None;
        while let Ok((message, _)) = call.next() {
            if let FromSandbox::Failed { reason: why, .. } = message {
                reason = Some(why);
            }
        }
        reason
    }

    fn inside(&self, requests: &[Value]) -> Vec<Value> {
        let (output, ..) = self.run(&["/usr/bin/python3", "-c", INSIDE], &serde_json::to_string(requests).unwrap());
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
    }
}

fn ok(answer: &Value) -> bool {
    answer.get("errno").is_none()
}

/// Things outside of any sandbox, and the requests that try to reach them.
struct Outside {
    _tcp: TcpListener,
    _abstract: UnixListener,
    requests: Vec<Value>,
}

/// In the order of the requests.
const READ_OUTSIDE: usize = 0;
const WRITE_OUTSIDE: usize = 1;
const LINK_OUT: usize = 2;
const TCP: usize = 3;
const ABSTRACT: usize = 4;
const SIGNAL: usize = 5;
const PROCESSES: usize = 6;
const READ_HIDDEN: usize = 7;
const READ_INSIDE: usize = 8;
const WRITE_INSIDE: usize = 9;

impl Outside {
    fn new(world: &World) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = format!("portcullis-layers-{}", world.base.path().display());
        let requests = vec![
            json!(["read", world.at("outside/file")]),
            json!(["write", world.at("outside/new"), "x"]),
            json!(["run", "mv", world.at("home/work/file"), world.at("outside/moved")]),
            json!(["tcp", "127.0.0.1", tcp.local_addr().unwrap().port()]),
            json!(["unix", format!("@{name}")]),
            json!(["kill", std::process::id()]),
            json!(["read", format!("/proc/{}/status", std::process::id())]),
            json!(["read", world.at("home/work/.env")]),
            json!(["read", world.at("home/work")]),
            json!(["write", world.at("home/work/new"), "x"]),
        ];
        let socket = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Self { _tcp: tcp, _abstract: socket, requests }
    }
}

fn reached(world: &World) -> Vec<bool> {
    let outside = Outside::new(world);
    let answers = world.inside(&outside.requests);
    let moved = world.at("outside/moved").exists();
    assert_eq!(ok(&answers[WRITE_OUTSIDE]), world.at("outside/new").exists(), "{answers:?}");
    answers.iter().enumerate().map(|(index, answer)| if index == LINK_OUT { moved } else { ok(answer) }).collect()
}

fn skip(name: &str, reason: &str) {
    println!("SKIP {name}: {reason}");
}

fn abi() -> u32 {
    sys::landlock_abi().unwrap_or(0)
}

pub fn without_any_layer_all_of_this_is_possible() {
    let world = World::new("workspace-write", &[]);
    assert_eq!(reached(&world), [true; 10]);
}

pub fn landlock_alone_keeps_a_call_to_what_is_granted() {
    if abi() < 6 {
        return skip("landlock_alone_keeps_a_call_to_what_is_granted", "this kernel's Landlock has no scopes (ABI 6, Linux 6.12)");
    }
    let world = World::offline("workspace-write", &[Layer::Landlock]);
    let reached = reached(&world);
    for index in [READ_OUTSIDE, WRITE_OUTSIDE, LINK_OUT, TCP, ABSTRACT, SIGNAL, PROCESSES] {
        assert!(!reached[index], "request {index} got out: {reached:?}");
    }
    // What lies inside something granted is for the mounts to hide (see the module's documentation).
    assert!(reached[READ_HIDDEN] && reached[READ_INSIDE] && reached[WRITE_INSIDE], "{reached:?}");
    let read_only = World::new("read-only", &[Layer::Landlock]);
    let answers = read_only.inside(&[
        json!(["read", read_only.at("home/work/file")]),
        json!(["write", read_only.at("home/work/new"), "x"]),
        json!(["append", read_only.at("home/work/file"), "x"]),
        json!(["syscall", libc::SYS_truncate, 0, 0]),
        json!(["run", "rm", "-f", read_only.at("home/work/file")]),
        json!(["run", "ln", read_only.at("home/work/file"), read_only.at("home/work/other")]),
    ]);
    assert!(ok(&answers[0]) && answers[1]["errno"] == "EACCES" && answers[2]["errno"] == "EACCES", "{answers:?}");
    assert_eq!(fs::read_to_string(read_only.at("home/work/file")).unwrap(), "workspace", "{answers:?}");
    assert!(!read_only.at("home/work/other").exists(), "{answers:?}");
}

pub fn landlock_says_what_it_was_built_for() {
    let (_, applied, code) = World::new("workspace-write", &[Layer::Landlock]).run(&["true"], "");
    assert_eq!((applied.landlock_abi, code), (abi().min(7), 0));
    assert_eq!((applied.seccomp_allowed, applied.namespaces.len()), (0, 0));
}

/// As on the kernels that have them: what an older ABI cannot rule is held by the other layers, or refused.
pub fn each_older_abi_is_applied_as_far_as_it_goes() {
    for number in 1..=abi().min(7) {
        let mut alone = World::offline("workspace-write", &[Layer::Landlock]);
        alone.plan.landlock_abi = number;
        let answers = alone.inside(&[
            json!(["read", alone.at("outside/file")]),
            json!(["write", alone.at("outside/new"), "x"]),
            json!(["write", alone.at("home/work/new"), "x"]),
        ]);
        assert!(!ok(&answers[0]) && !ok(&answers[1]) && ok(&answers[2]), "ABI {number} alone: {answers:?}");
        let mut all = World::new("workspace-write", &[Layer::Namespaces, Layer::Landlock, Layer::Seccomp]);
        all.plan.landlock_abi = number;
        assert_eq!(reached(&all)[..READ_HIDDEN + 1], [false; READ_HIDDEN + 1], "ABI {number} with all other layers");
        let (_, applied, code) = all.run(&["true"], "");
        assert_eq!((applied.landlock_abi, code), (number, 0), "what was applied is said");
        let mut open = World::new("networked", &[Layer::Namespaces, Layer::Landlock, Layer::Seccomp]);
        open.plan.landlock_abi = number;
        let refused = open.refused(&["touch", "ran"]);
        assert_eq!(refused.is_some(), number < 6, "ABI {number} under an open network: {refused:?}");
        assert!(refused.is_none_or(|reason| reason.contains("ABI 6")));
    }
}

pub fn seccomp_alone_refuses_what_no_program_needs() {
    let calls = |world: &World| {
        let file = world.at("home/work/file");
        let folder = world.at("home/work");
        let high = i64::try_from(libc::TIOCSTI).unwrap() | 1 << 32;
        let long = |value: i32| i64::from(value);
        // What is refused, and whether an ordinary user is let do it by a kernel without filters.
        vec![
            ("socket(AF_INET)", true, json!(["family", libc::AF_INET, libc::SOCK_STREAM])),
            ("socket(AF_ALG)", false, json!(["family", libc::AF_ALG, libc::SOCK_SEQPACKET])),
            ("chmod 4755", true, json!(["chmod", file, 0o4755])),
            ("open with mode 4755", true, json!(["opened", folder.join("set-id"), libc::O_CREAT | libc::O_WRONLY, 0o4755])),
            ("open unnamed with mode 4755", true, json!(["opened", folder, libc::O_TMPFILE | libc::O_WRONLY, 0o4755])),
            ("ioctl(TIOCSTI)", true, json!(["syscall", libc::SYS_ioctl, 1, libc::TIOCSTI, 0])),
            ("ioctl(TIOCSTI) with a high bit", true, json!(["syscall", libc::SYS_ioctl, 1, high, 0])),
            ("io_uring_setup", false, json!(["syscall", libc::SYS_io_uring_setup, 1, 0])),
            ("keyctl", false, json!(["syscall", libc::SYS_keyctl, 0, -3, 0])),
            ("userfaultfd", false, json!(["syscall", libc::SYS_userfaultfd, 1])),
            ("mount", false, json!(["syscall", libc::SYS_mount, 0, 0, 0, 0, 0])),
            ("bpf", false, json!(["syscall", libc::SYS_bpf, 0, 0, 0])),
            ("setns", true, json!(["syscall", libc::SYS_setns, -1, 0])),
            ("unshare", true, json!(["syscall", libc::SYS_unshare, long(libc::CLONE_NEWUSER)])),
        ]
    };
    let free = World::new("workspace-write", &[]);
    let control = free.inside(&calls(&free).into_iter().map(|(.., request)| request).collect::<Vec<_>>());
    let world = World::offline("workspace-write", &[Layer::Seccomp]);
    let answers = world.inside(&calls(&world).into_iter().map(|(.., request)| request).collect::<Vec<_>>());
    let root = nix::unistd::geteuid().is_root();
    for (((what, anybody, _), answer), control) in calls(&world).iter().zip(&answers).zip(&control) {
        assert_eq!(answer["errno"], "EPERM", "{what}");
        let alone = control["errno"] != "EPERM";
        assert!(alone || !(*anybody || (root && *what == "mount")), "{what} is refused without a filter too: {control}");
        if !alone {
            skip(what, "this kernel refuses it to this user even without a filter");
        }
    }
    let unknown = json!(["syscall", libc::SYS_clone3, 0, 0]);
    let answer = |world: &World| world.inside(std::slice::from_ref(&unknown))[0]["errno"].clone();
    assert_eq!((answer(&free), answer(&world)), (json!("EINVAL"), json!("ENOSYS")));
    let metadata = fs::metadata(world.at("home/work/file")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&metadata) & 0o6000, 0);
}

pub fn seccomp_alone_lets_ordinary_programs_run() {
    let world = World::new("workspace-write", &[Layer::Seccomp]);
    let programs = [
        ("sh", "sh -c 'echo works | cat; (sleep 0 & wait)'"),
        (
            "python3",
            "python3 -c 'import threading, subprocess, socket; t = threading.Thread(target=print, args=(\"works\",)); t.start(); t.join(); subprocess.run([\"true\"], check=True); socket.socketpair()'",
        ),
        (
            "git",
            "git init -q r && cd r && git -c user.name=a -c user.email=b commit -q --allow-empty -m x && git log --format=tformat:works",
        ),
        ("gcc", "printf '#include <stdio.h>\\nint main(void) { puts(\"works\"); return 0; }\\n' > m.c && gcc m.c -o m && ./m"),
        ("tar", "tar cf a.tar file && tar xOf a.tar >/dev/null && echo works"),
    ];
    for (name, script) in programs {
        let (found, ..) = World::new("workspace-write", &[]).run(&["sh", "-c", &format!("command -v {name}")], "");
        if found.is_empty() {
            skip("seccomp_alone_lets_ordinary_programs_run", &format!("there is no {name}"));
            continue;
        }
        let (output, applied, code) = world.run(&["sh", "-c", script], "");
        assert_eq!((output.as_str(), code), ("works\n", 0), "{name}");
        assert!(applied.seccomp_allowed > 200 && applied.landlock_abi == 0 && applied.namespaces.is_empty(), "{applied:?}");
    }
}

pub fn namespaces_alone_hide_processes_files_and_the_network() {
    let world = World::new("workspace-write", &[Layer::Namespaces]);
    let reached = reached(&world);
    for index in [READ_OUTSIDE, WRITE_OUTSIDE, LINK_OUT, TCP, ABSTRACT, SIGNAL, PROCESSES, READ_HIDDEN] {
        assert!(!reached[index], "request {index} got out: {reached:?}");
    }
    assert!(reached[READ_INSIDE] && reached[WRITE_INSIDE], "{reached:?}");
    let answers = world.inside(&[
        json!(["read", "/proc"]),
        json!(["run", "uname", "-n"]),
        json!(["read", "/"]),
        json!(["write", "/etc/portcullis-probe", "x"]),
        json!(["read", "/proc/self/status"]),
        json!(["read", "/proc/net/dev"]),
    ]);
    let numbers = answers[0]["list"].as_array().unwrap().iter().filter(|name| name.as_str().unwrap().parse::<u32>().is_ok()).count();
    assert!(numbers <= 3, "{numbers} processes are seen");
    assert_eq!(answers[1]["out"], "localhost\n");
    assert!(!answers[2]["list"].as_array().unwrap().contains(&json!("root")), "{}", answers[2]);
    assert_eq!(answers[3]["errno"], "EROFS");
    let status = answers[4]["text"].as_str().unwrap();
    assert!(status.contains("CapEff:\t0000000000000000") && status.contains("Seccomp:\t0\n"), "{status}");
    assert_eq!(answers[5]["text"].as_str().unwrap().lines().count(), 3, "only lo: {}", answers[5]);
}

pub fn with_the_host_network_landlock_and_namespaces_leave_it_reachable() {
    for layer in [Layer::Landlock, Layer::Namespaces, Layer::Seccomp] {
        if layer == Layer::Landlock && abi() < 6 {
            skip("with_the_host_network_landlock_and_namespaces_leave_it_reachable", "mode `open` needs Landlock ABI 6");
            continue;
        }
        let reached = reached(&World::new("networked", &[layer]));
        assert!(reached[TCP], "{layer}: {reached:?}");
        assert_eq!(reached[ABSTRACT], layer != Layer::Landlock, "{layer}: abstract sockets are Landlock's to stop: {reached:?}");
    }
}
