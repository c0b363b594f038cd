//! What the prefix says of the process itself, the network, the environment and the limits.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read,
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    time::{Duration, Instant},
};

use portcullis::policy::NetworkMode;
use serde_json::{Value, json};

use super::{
    Report,
    said::{between, seconds, size, words},
    world::{Plant, SECRET, World},
};

const NAMESPACES: [&str; 6] = ["user", "mnt", "pid", "ipc", "uts", "net"];

pub fn confined(world: &World, text: &str, report: &mut Report) -> Result<(), String> {
    report.reads(text, "Every tool call runs in a process that the kernel confines to what is said here.");
    world.rebuild(Plant::Nothing);
    let mut requests: Vec<Value> = NAMESPACES.iter().map(|name| json!(["link", format!("/proc/self/ns/{name}")])).collect();
    requests.push(json!(["read", "/proc/self/status"]));
    requests.push(json!(["read", "/proc"]));
    requests.push(json!(["kill", std::process::id()]));
    let answers = world.inside(&requests)?;
    for (name, answer) in NAMESPACES.iter().zip(&answers) {
        let host = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        let same = answer["text"].as_str() == host.to_str();
        let shared = *name == "net" && world.policy.network.mode == NetworkMode::Open;
        report.must(answer["text"].is_string() && same == shared, || format!("namespace {name}: {answer}, the host's is {host:?}"));
    }
    status(answers[6]["text"].as_str().unwrap_or_default(), report);
    let processes = answers[7]["list"].as_array().unwrap().iter().filter(|name| name.as_str().unwrap().parse::<u32>().is_ok()).count();
    report.must(processes <= 3, || format!("{processes} processes are seen"));
    report.must(answers[8]["errno"] == "ESRCH" || answers[8]["errno"] == "EPERM", || format!("a process outside: {}", answers[8]));
    // "Every tool call": through the agent as well, the file tools included, whose sandbox the log describes.
    let session = world.session(&["cat /proc/self/status"])?;
    if !session.asks {
        status(&session.outputs[0], report);
    }
    Ok(())
}

fn status(text: &str, report: &mut Report) {
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    for (name, wanted) in [
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("CapEff", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("CapBnd", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
    ] {
        report.must(value(name) == Some(wanted), || format!("{name} is {:?}", value(name)));
    }
}

/// Things of the host's that a network would lead to.
struct Listeners {
    tcp: TcpListener,
    abstract_name: String,
    abstract_socket: UnixListener,
    outside: UnixListener,
    workspace: UnixListener,
}

impl Listeners {
    fn new(world: &World) -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let abstract_name = format!("portcullis-{}-{}", std::process::id(), world.case.name);
        let made = Self {
            tcp: TcpListener::bind("127.0.0.1:0").map_err(text)?,
            abstract_socket: UnixListener::bind_addr(&SocketAddr::from_abstract_name(&abstract_name).map_err(text)?).map_err(text)?,
            abstract_name,
            outside: UnixListener::bind(world.base().join("outside/socket")).map_err(text)?,
            workspace: UnixListener::bind(world.workspace().join("socket")).map_err(text)?,
        };
        made.tcp.set_nonblocking(true).map_err(text)?;
        for socket in [&made.abstract_socket, &made.outside, &made.workspace] {
            socket.set_nonblocking(true).map_err(text)?;
        }
        Ok(made)
    }

    /// What each of them was sent: over TCP, to the abstract socket, outside and in the workspace.
    fn heard(&self) -> [Option<String>; 4] {
        fn read(mut stream: impl Read) -> String {
            let mut text = String::new();
            let _ = stream.read_to_string(&mut text);
            text
        }
        let unix = |listener: &UnixListener| {
            listener.accept().ok().map(|(stream, _)| {
                let _ = stream.set_nonblocking(false);
                read(stream)
            })
        };
        let tcp = self.tcp.accept().ok().map(|(stream, _)| {
            let _ = stream.set_nonblocking(false);
            read(stream)
        });
        [tcp, unix(&self.abstract_socket), unix(&self.outside), unix(&self.workspace)]
    }
}

pub fn network(world: &World, text: &str, report: &mut Report) -> Result<(), String> {
    world.rebuild(Plant::Nothing);
    let open = world.policy.network.mode == NetworkMode::Open;
    let internet = world.policy.network.mode != NetworkMode::None;
    let granted = !world.policy.network.sockets.is_empty();
    let sockets = if granted {
        let socket = world.base().join("outside/socket");
        format!("of the unix sockets on which the host listens when a call begins, only these can be reached: `{}`.", socket.display())
    } else {
        "no unix socket on which the host listens when a call begins can be reached.".to_owned()
    };
    report.reads(
        text,
        &match world.policy.network.mode {
            NetworkMode::Open => format!("The host's network can be reached; {sockets}"),
            NetworkMode::Allowlist => format!(
                "Only these hosts can be reached, through the proxy that HTTP_PROXY, HTTPS_PROXY and ALL_PROXY name: `127.0.0.1:47631`, \
                 `localhost:47632`. Never: `127.0.0.1:47633`. A host without a port means its ports 80 and 443, and *.NAME what is below NAME. \
                 Nothing else gets out: no name is resolved inside, and names that lead to private addresses are refused. Each call has a \
                 loopback of its own; {sockets}"
            ),
            NetworkMode::None => {
                format!("There is no network, not even a loopback; {sockets}")
            }
            _ => format!("There is no network but a loopback of each call's own; {sockets}"),
        },
    );
    let listeners = Listeners::new(world)?;
    let port = listeners.tcp.local_addr().unwrap().port();
    let families: [(i32, i32); 8] = [
        (libc::AF_INET, libc::SOCK_STREAM),
        (libc::AF_INET, libc::SOCK_DGRAM),
        (libc::AF_INET6, libc::SOCK_STREAM),
        (libc::AF_NETLINK, libc::SOCK_RAW),
        (libc::AF_INET, libc::SOCK_RAW),
        (libc::AF_PACKET, libc::SOCK_RAW),
        (libc::AF_VSOCK, libc::SOCK_STREAM),
        (libc::AF_ALG, libc::SOCK_SEQPACKET),
    ];
    let mut requests = vec![
        json!(["tcp", "127.0.0.1", port]),
        json!(["unix", format!("@{}", listeners.abstract_name)]),
        json!(["unix", world.base().join("outside/socket")]),
        json!(["unix", world.workspace().join("socket")]),
        json!(["listen"]),
        json!(["pair"]),
        json!(["read", "/proc/net/dev"]),
    ];
    requests.extend(families.iter().map(|(family, kind)| json!(["family", family, kind])));
    let answers = world.inside(&requests)?;
    let ok = |index: usize| answers[index]["ok"] == true;
    report.must((0..5).map(ok).collect::<Vec<_>>() == [open, false, granted, false, internet], || {
        format!("connections: {:?}", &answers[..5])
    });
    report.must(answers[5]["text"] == "hello", || format!("a pair of sockets is no network: {}", answers[5]));
    let hello = Some("hello".to_owned());
    let heard = listeners.heard();
    report.must(heard == [hello.clone().filter(|_| open), None, hello.filter(|_| granted), None], || format!("the host heard {heard:?}"));
    let interfaces: Vec<&str> =
        answers[6]["text"].as_str().unwrap_or_default().lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    let host = fs::read_to_string("/proc/net/dev").unwrap().lines().count() - 2;
    report.must(if open { interfaces.len() == host } else { interfaces == ["lo"] }, || format!("interfaces: {interfaces:?}"));
    if world.policy.network.mode == NetworkMode::Allowlist {
        allow_list(world, port, report)?;
    }
    let made: Vec<bool> = (7..15).map(ok).collect();
    let ipv6 = internet && TcpListener::bind("[::]:0").is_ok();
    report
        .must(made == [internet, internet, ipv6, internet, false, false, false, false], || format!("socket families: {:?}", &answers[7..]));
    Ok(())
}

/// What is listed is reached through the proxy; what is not, what is denied, and what a name leads to that no rule names, is not.
fn allow_list(world: &World, unlisted: u16, report: &mut Report) -> Result<(), String> {
    let listen = |port: u16| {
        let listener = TcpListener::bind(("127.0.0.1", port)).map_err(|error| format!("port {port}: {error}"))?;
        listener.set_nonblocking(true).map_err(|error| error.to_string())?;
        Ok::<_, String>(listener)
    };
    let listeners = [listen(47631)?, listen(47632)?, listen(47633)?];
    let ask = |host: &str, port: u16| json!(["proxied", host, port]);
    let answers = world.inside(&[
        ask("127.0.0.1", 47631),
        ask("localhost", 47632),
        ask("127.0.0.1", 47633),
        ask("127.0.0.1", unlisted),
        ask("example.org", 443),
    ])?;
    let status: Vec<i64> = answers.iter().map(|answer| answer["status"].as_i64().unwrap_or_default()).collect();
    report.must(status == [200, 403, 403, 403, 403], || format!("the proxy answered {answers:?}"));
    let reached = listeners.map(|listener| listener.accept().is_ok());
    report.must(reached == [true, false, false], || format!("the host heard {reached:?}"));
    let resolved = world.inside(&[json!(["resolve", "example.org"])])?;
    report.must(resolved[0]["errno"].is_string(), || format!("a name was resolved inside: {}", resolved[0]));
    Ok(())
}

pub fn environment(world: &World, text: &str, report: &mut Report) -> Result<(), String> {
    // What the proxy's variables hold is for the network's probe to use.
    let (text, proxy) = text.split_once(" For the proxy: ").unwrap_or((text, ""));
    let proxy: BTreeSet<String> = words(proxy.trim_end_matches('.')).into_iter().collect();
    let rest = between(text, "Of the person's environment variables, calls see only: ", ".")?;
    let (seen, fixed) = rest.split_once(". Set to fixed values: ").unwrap_or((rest, ""));
    let (seen, fixed): (BTreeSet<String>, BTreeSet<String>) =
        (words(seen).into_iter().collect(), words(fixed).into_iter().filter(|name| !name.is_empty()).collect());
    world.rebuild(Plant::Nothing);
    let ran = world.sandbox(&["cat", "/proc/self/environ"], "");
    let inside: BTreeMap<&str, &str> = ran.out.split('\0').filter_map(|pair| pair.split_once('=')).collect();
    report.must(ran.code == 0 && !inside.is_empty(), || format!("{ran:?}"));
    let outside: BTreeMap<String, String> = world.environment().into_iter().collect();
    for (name, value) in &outside {
        let shown = inside.get(name.as_str());
        if fixed.contains(name) || ["HOME", "PATH", "TMPDIR"].contains(&name.as_str()) {
            continue;
        }
        report.must(shown.is_some_and(|shown| shown == value) == seen.contains(name), || format!("{name} is {shown:?} inside"));
    }
    for name in &fixed {
        let (shown, wanted) = (inside.get(name.as_str()), world.policy.environment.set.get(name));
        report.must(shown.copied() == wanted.map(String::as_str) && wanted.is_some(), || {
            format!("{name} is said to be fixed: {shown:?}, {wanted:?}")
        });
    }
    for name in inside.keys() {
        let own = ["HOME", "PATH", "TMPDIR"].contains(name);
        report.must(own || proxy.contains(*name) || fixed.contains(*name) || (seen.contains(*name) && outside.contains_key(*name)), || {
            format!("{name} comes from nowhere")
        });
    }
    report.must(!ran.out.contains(SECRET), || "a secret is in the environment".to_owned());
    Ok(())
}

pub fn wall(world: &World, text: &str, report: &mut Report) -> Result<(), String> {
    let limit = seconds(between(text, "A call ends after ", ".")?)?;
    report.must(Duration::from_secs(limit) == world.policy.limits.wall, || format!("the policy has {:?}", world.policy.limits.wall));
    world.rebuild(Plant::Nothing);
    let began = Instant::now();
    let short = world.sandbox(&["sleep", "1"], "");
    report.must(short.code == 0, || format!("a second is within {limit} s: {short:?}"));
    if limit > 10 {
        report.skip(&format!("nobody waits {limit} s here; a tighter policy is waited for"));
        return Ok(());
    }
    let long = world.sandbox(&["sh", "-c", "trap '' TERM INT; sleep 1000 & sleep 1000; echo survived"], "");
    let took = long.took.as_secs_f64();
    report.must(long.code == 124 && !long.out.contains("survived"), || format!("{long:?}"));
    report.must((limit as f64..limit as f64 + 8.0).contains(&took), || format!("it ended after {took} s"));
    let session = world.session(&["sleep 1000"])?;
    report.must(session.asks || session.statuses[0] == "limit", || format!("{:?} {:?}", session.statuses, session.outputs));
    report.must(began.elapsed() < Duration::from_secs(100), || "it took far longer than said".to_owned());
    Ok(())
}

pub fn memory(world: &World, text: &str, report: &mut Report) -> Result<(), String> {
    let limit = size(between(text, "A call has ", " of memory; one that takes more is ended.")?)?;
    report.must(limit == world.policy.limits.memory, || format!("the policy has {}", world.policy.limits.memory));
    world.rebuild(Plant::Nothing);
    let take = |bytes: u64| format!("import time; taken = b'x' * {bytes}; time.sleep(2); print('kept', flush=True)");
    let ran = world.sandbox(&["python3", "-c", &take((limit / 2).min(1 << 30))], "");
    report.must(ran.code == 0 && ran.out == "kept\n", || format!("half of it: {ran:?}"));
    let ran = world.sandbox(&["python3", "-c", &take(limit + limit / 4)], "");
    report.must(ran.code == 124 && ran.out.is_empty() && ran.err.contains("limit on memory"), || format!("a quarter more: {ran:?}"));
    if limit > 1 << 30 {
        // The machine may not have room for several of these at once.
        return Ok(());
    }
    // "A call": all of its processes together, and memory that is shared is no way round it.
    let both = format!("import os\nos.fork()\n{}", take(limit / 8 * 5));
    let ran = world.sandbox(&["python3", "-c", &both], "");
    report.must(ran.code == 124 && ran.err.contains("limit on memory"), || format!("two processes: {ran:?}"));
    let shared =
        format!("import mmap, time\nm = mmap.mmap(-1, {0})\nfor i in range(0, {0}, 4096): m[i] = 1\ntime.sleep(2)", limit + limit / 4);
    let ran = world.sandbox(&["python3", "-c", &shared], "");
    report.must(ran.code == 124 && ran.err.contains("limit on memory"), || format!("shared memory: {ran:?}"));
    Ok(())
}

pub fn disk(world: &World, text: &str, report: &mut Report) -> Result<(), String> {
    let limit = size(between(text, "A call that takes more than ", " of disk space is ended.")?)?;
    report.must(limit == world.policy.limits.disk, || format!("the policy has {}", world.policy.limits.disk));
    // What is beyond it is tried where it is small, in the tests of the sandbox: others write to the disk as well.
    world.rebuild(Plant::Nothing);
    let ran = world.sandbox(&["python3", "-c", "import time; open('/tmp/some', 'wb').write(b'x' * 60000); time.sleep(0.3)"], "");
    report.must(ran.code == 0, || format!("{ran:?}"));
    Ok(())
}

pub fn processes(world: &World, text: &str, report: &mut Report) -> Result<(), String> {
    let limit =
        between(text, "A call has room for about ", " processes and threads.")?.parse::<u64>().map_err(|error| error.to_string())?;
    report.must(limit == world.policy.limits.processes, || format!("the policy has {}", world.policy.limits.processes));
    world.rebuild(Plant::Nothing);
    let root = nix::unistd::geteuid().is_root();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let version: Vec<u32> = kernel.split(['.', '-']).take(2).filter_map(|part| part.parse().ok()).collect();
    if root && version < vec![6, 14] {
        report.skip("before Linux 6.14 nothing bounds the processes of root");
        return Ok(());
    }
    // "About": root gets up to 300 more, which a PID namespace keeps back.
    let most = limit + if root { 301 } else { 1 };
    for kind in ["processes", "threads"] {
        let answer = world.one(json!([kind, limit]))?;
        let alive = answer["alive"].as_u64().unwrap_or(0);
        report.must(alive >= limit - 3 && alive <= most && !answer["errno"].is_null(), || format!("{kind}: {answer}, {limit} are said"));
    }
    Ok(())
}

pub fn open_files(world: &World, text: &str, report: &mut Report) -> Result<(), String> {
    let limit = between(text, "A process has at most ", " open files.")?.parse::<u64>().map_err(|error| error.to_string())?;
    report.must(limit == world.policy.limits.open_files, || format!("the policy has {}", world.policy.limits.open_files));
    world.rebuild(Plant::Nothing);
    let answer = world.one(json!(["files", limit]))?;
    report.must(answer["open"] == limit && answer["errno"] == "EMFILE" && answer["raised"] == false, || {
        format!("{limit} are said: {answer}")
    });
    Ok(())
}

pub fn file_size(world: &World, text: &str, report: &mut Report) -> Result<(), String> {
    let limit = size(between(text, "A written file has at most ", ".")?)?;
    report.must(limit == world.policy.limits.file_size, || format!("the policy has {}", world.policy.limits.file_size));
    world.rebuild(Plant::Nothing);
    let answer = world.one(json!(["largest", "/tmp/large", limit]))?;
    let wanted = json!({"last": 1, "beyond": "EFBIG", "longer": "EFBIG", "size": limit});
    report.must(answer == wanted, || format!("{answer}, and not {wanted}"));
    Ok(())
}

/// Where the host lacks a layer: by a filter as containers have, under which Landlock or namespaces are not to be had.
pub fn degrades(world: &World, text: &str, report: &mut Report) -> Result<(), String> {
    report.reads(
        text,
        "Where this host has no Landlock, calls run without it, and the mounts, the namespaces and the system call filter alone keep what is said \
         here. Where another layer of enforcement is missing, nothing runs.",
    );
    let original = world.portcullis("sandbox");
    let without = |what: &str, name: &str| -> Result<_, String> {
        let mut command = std::process::Command::new("python3");
        command.args(["-c", include_str!("../support/without.py"), what]).arg(original.get_program()).args(original.get_args());
        command
            .args(["--", "sh", "-c", &format!("touch src/{name} {}/{name}", world.base().display())])
            .env_clear()
            .envs(world.environment());
        command.output().map_err(|error| error.to_string())
    };
    world.rebuild(Plant::Nothing);
    let (output, name) = (without("namespaces", "ran")?, "ran");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    report.must(output.status.code() == Some(125) && said.contains("namespace"), || format!("{:?}: {said}", output.status));
    report.must(!world.workspace().join("src").join(name).exists(), || "it ran".to_owned());
    let output = without("landlock", name)?;
    report.must(world.workspace().join("src").join(name).exists(), || format!("it did not run: {output:?}"));
    report.must(!world.base().join(name).exists(), || "it wrote elsewhere".to_owned());
    Ok(())
}
