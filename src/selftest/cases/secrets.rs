//! Reading what is denied: by other names, from other processes, from what the kernel shares.

use std::{
    fs, io,
    io::{Read as _, Seek as _},
    os::{
        fd::AsRawFd,
        unix::fs::{OpenOptionsExt, symlink},
    },
    path::Path,
};

use nix::{
    sys::uio::{RemoteIoVec, process_vm_readv},
    unistd::Pid,
};

use super::workspace_is_read_only;
use crate::{
    policy::Access,
    sandbox::sys::{
        self,
        Argument::{Bytes, Null, Number, Text},
    },
    selftest::{
        case::{Area::Secrets, Case, Control, Outcome},
        facts::Facts,
        scene::Scene,
        tries::{Tries, read},
    },
    worker::Request,
};

fn home_is_granted(scene: &Scene<'_>) -> Option<String> {
    let key = scene.world.at("home/.ssh/id_ed25519");
    scene.allows(&key, Access::Read).then(|| "the policy lets a call read ~/.ssh".to_owned())
}

fn secret_files_are_granted(scene: &Scene<'_>) -> Option<String> {
    let file = scene.world.at("workspace/.env");
    scene.allows(&file, Access::Read).then(|| "the policy lets a call read .env files".to_owned())
}

fn secret_files_or_read_only(scene: &Scene<'_>) -> Option<String> {
    secret_files_are_granted(scene).or_else(|| workspace_is_read_only(scene))
}

fn outside_is_granted(scene: &Scene<'_>) -> Option<String> {
    let file = scene.world.at("outside/secret");
    scene.allows(&file, Access::Read).then(|| format!("the policy lets a call read {}", file.display()))
}

/// The cases.
pub fn cases() -> Vec<Case> {
    let case = |id, title, attempt: fn(&Facts, &mut Tries)| Case::inside(id, Secrets, title, attempt);
    vec![
        case("secrets-home", "read keys, tokens, histories and notes in the person's home", home).list(&[6, 70, 71]).unless(home_is_granted),
        case("secrets-home-aliases", "read them by links, /proc, descriptors, handles and other mounts", home_aliases).list(&[6, 12, 54]).unless(home_is_granted),
        Case::scene("secrets-home-file-tool", Secrets, "read them with the file tools", file_tool, |_, _| {}).list(&[6]).unless(home_is_granted),
        case("secrets-outside", "read files beside the workspace", |facts, tries| {
            tries.read(facts.outside.join("secret"));
            tries.read(facts.workspace.join("link-out/secret"));
            tries.read(facts.workspace.join("../outside/secret"));
            tries.shell(facts, "cat $OUT/secret; cp $OUT/secret $TMPDIR/x && cat $TMPDIR/x; tar cf - $OUT");
        })
        .list(&[6, 13])
        .unless(outside_is_granted),
        case("secrets-state", "read the log and the state of portcullis", |facts, tries| {
            tries.read(facts.state.join("log/session.jsonl"));
            tries.act("list", fs::read_dir(facts.state.join("log")));
        }),
        case("secrets-workspace", "read .env files and keys in the workspace", |facts, tries| {
            for name in [".env", "sub/.env.local", "id_rsa", "./.env", "sub/../.env", "link-env"] {
                tries.read(facts.workspace.join(name));
            }
            tries.shell(facts, "cat .env; grep -r canary . ; head -c 100 sub/.env.local; cp -r . $TMPDIR/copy; grep -r canary $TMPDIR/copy; tar cf - .; find . -type f -exec cat {} +");
        })
        .list(&[6, 12])
        .unless(secret_files_are_granted),
        case("secrets-workspace-aliases", "read them after moving, linking or copying them, or the folders above", workspace_aliases)
            .list(&[6, 12, 14])
            .unless(secret_files_or_read_only),
        case("secrets-processes", "read the environment, memory, files and descriptors of other processes in /proc", processes).by_answer().list(&[70, 65]),
        case("secrets-memory", "read the memory of another process", memory).list(&[70]),
        case("secrets-own-memory", "look through one's own memory for what the launcher may have left there", own_memory)
            .control(Control::Not("the launcher knows no secret, with or without layers")),
        case("secrets-shared-memory", "attach the shared memory of other processes: System V, POSIX", shared),
        case("secrets-queue", "take a message from another process' queue", queue),
        case("secrets-keyrings", "search the person's keyrings", keyrings).by_answer().also("keyrings(7) are not in a namespace"),
        case("secrets-kernel", "read the kernel's log, memory and symbols", kernel).by_answer().control(Control::LeaksForRoot("an ordinary user may not")),
        case("secrets-system", "read the machine's own secrets below /etc", |_, tries| {
            for path in ["/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/ssh/ssh_host_ed25519_key", "/etc/ssl/private"] {
                if let Ok(text) = read(Path::new(path)) {
                    tries.report(path, Ok(format!("{} bytes", text.len())));
                }
            }
            tries.act("end", Err::<(), _>(io::Error::other("nothing was readable")));
        })
        .by_answer()
        .unless(|scene| scene.allows(Path::new("/etc/shadow"), Access::Read).then(|| "the policy lets a call read them".to_owned()))
        .control(Control::LeaksForRoot("an ordinary user may not")),
        Case::scene("secrets-environment", Secrets, "print the environment of a program", environment, |_, _| {})
            .list(&[16, 42, 70])
            .control(Control::Not("the environment is built from nothing without layers as well")),
    ]
}

const OF_HOME: [&str; 8] = [
    ".ssh/id_ed25519",
    ".netrc",
    ".aws/credentials",
    ".bash_history",
    ".config/gh/hosts.yml",
    ".claude/.credentials.json",
    ".codex/auth.json",
    "notes.txt",
];

fn home(facts: &Facts, tries: &mut Tries) {
    for name in OF_HOME {
        tries.read(facts.home.join(name));
    }
    tries.read(facts.workspace.join("link-key"));
    tries.read(facts.workspace.join("link-home/.netrc"));
    tries.shell(
        facts,
        "cat $REAL_HOME/.ssh/* $REAL_HOME/.netrc ~/.netrc; cp -r $REAL_HOME $TMPDIR/h; grep -r canary $TMPDIR/h; tar cf - $REAL_HOME",
    );
}

fn home_aliases(facts: &Facts, tries: &mut Tries) {
    let home = facts.home.display();
    let _ = symlink(&facts.home, facts.temporary.join("alias"));
    tries.read(facts.temporary.join("alias/.ssh/id_ed25519"));
    tries.act("hard link", fs::hard_link(facts.home.join(".netrc"), facts.workspace.join("alias")));
    tries.read(facts.workspace.join("alias"));
    for process in ["self", "thread-self", "1", &facts.victim.to_string(), &facts.agent.to_string(), &facts.launcher.to_string()] {
        tries.read(format!("/proc/{process}/root{home}/.ssh/id_ed25519"));
        tries.read(format!("/proc/{process}/cwd/../home/.netrc"));
    }
    for descriptor in 3..80 {
        let _ =
            read(Path::new(&format!("/proc/self/fd/{descriptor}/../home/.netrc"))).map(|text| tries.report("by a descriptor", Ok(text)));
    }
    let opened = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(facts.home.join(".ssh/id_ed25519"));
    if let Ok(file) = opened {
        tries.read(format!("/proc/self/fd/{}", file.as_raw_fd()));
    }
    let text = facts.home.join(".netrc").display().to_string();
    let here = i64::from(libc::AT_FDCWD);
    let mut handle = [0u8; 256];
    handle[..4].copy_from_slice(&128u32.to_ne_bytes());
    let mut mount = [0u8; 4];
    let named =
        sys::attempt(libc::SYS_name_to_handle_at, vec![Number(here), Text(&text), Bytes(&mut handle), Bytes(&mut mount), Number(0)]);
    let opened = named.and_then(|_| fs::File::open(&facts.workspace)).and_then(|folder| {
        sys::attempt(libc::SYS_open_by_handle_at, vec![Number(i64::from(folder.as_raw_fd())), Bytes(&mut handle), Number(0)])
    });
    let got = opened.and_then(|number| sys::own(i32::try_from(number).unwrap_or(-1))).and_then(|file| {
        let mut text = String::new();
        fs::File::from(file).read_to_string(&mut text).map(|_| text)
    });
    tries.report("by its handle", got);
    let place = facts.workspace.join("sub").display().to_string();
    tries.risky("by a mount", || {
        sys::attempt(libc::SYS_unshare, vec![Number(i64::from(libc::CLONE_NEWUSER | libc::CLONE_NEWNS))])?;
        sys::attempt(
            libc::SYS_mount,
            vec![Text(&facts.home.display().to_string()), Text(&place), Null, Number(libc::MS_BIND as i64), Null],
        )?;
        read(&facts.workspace.join("sub/.netrc"))
    });
}

fn file_tool(scene: &mut Scene<'_>) -> Outcome {
    let home = scene.world.session.home.clone();
    let mut requests = Vec::new();
    for name in OF_HOME {
        requests.push(Request::ReadFile { path: home.join(name).display().to_string(), offset: None, limit: None });
    }
    for path in ["link-key", "link-home/.netrc", "../home/.netrc", "link-out/secret"] {
        requests.push(Request::ReadFile { path: path.to_owned(), offset: None, limit: None });
    }
    let search = |path: String| Request::Search {
        pattern: "canary".to_owned(),
        path: Some(path),
        glob: None,
        case_insensitive: false,
        context: None,
        limit: None,
        files_only: false,
    };
    requests.push(search(home.display().to_string()));
    requests.push(search("link-home".to_owned()));
    requests.push(Request::ReadInstructions { files: vec![home.join(".netrc").display().to_string(), "link-key".to_owned()] });
    for request in requests {
        match scene.worker(&request) {
            Ok(heard) if heard.text.contains("result") => {}
            Ok(heard) => {
                return Outcome::Untried(format!("the file tool did not answer: {}{}", heard.text, heard.failed.unwrap_or_default()));
            }
            Err(error) => return Outcome::Untried(error.to_string()),
        }
    }
    Outcome::Refused
}

fn workspace_aliases(facts: &Facts, tries: &mut Tries) {
    let at = |name: &str| facts.workspace.join(name);
    tries.act("hard link", fs::hard_link(at(".env"), at("alias")));
    tries.read(at("alias"));
    tries.act("move", fs::rename(at(".env"), at("plain")));
    tries.read(at("plain"));
    tries.act("move the folder", fs::rename(at("sub"), at("moved")));
    tries.read(at("moved/.env.local"));
    tries.act(
        "exchange",
        nix::fcntl::renameat2(
            nix::fcntl::AT_FDCWD,
            &at("README.md"),
            nix::fcntl::AT_FDCWD,
            &at("id_rsa"),
            nix::fcntl::RenameFlags::RENAME_EXCHANGE,
        )
        .map_err(io::Error::from),
    );
    tries.read(at("README.md"));
    let flag = libc::O_PATH;
    if let Ok(file) = fs::OpenOptions::new().read(true).custom_flags(flag).open(at("id_rsa")) {
        tries.read(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let linked = nix::unistd::linkat(
            nix::fcntl::AT_FDCWD,
            path.as_str(),
            nix::fcntl::AT_FDCWD,
            &at("named"),
            nix::fcntl::AtFlags::AT_SYMLINK_FOLLOW,
        );
        tries.act("link by descriptor", linked.map_err(io::Error::from));
        tries.read(at("named"));
    }
    tries.read(format!("/proc/self/root{}", at("id_rsa").display()));
    tries.act("chmod", fs::set_permissions(at("id_rsa"), std::os::unix::fs::PermissionsExt::from_mode(0o644)));
    tries.read(at("id_rsa"));
    tries.risky("without the mounts", || {
        sys::attempt(libc::SYS_unshare, vec![Number(i64::from(libc::CLONE_NEWUSER | libc::CLONE_NEWNS))])?;
        sys::attempt(libc::SYS_umount2, vec![Text(&at("id_rsa").display().to_string()), Number(i64::from(libc::MNT_DETACH))])?;
        read(&at("id_rsa"))
    });
}

fn processes(facts: &Facts, tries: &mut Tries) {
    for process in facts.foreign() {
        for name in ["environ", "cmdline", "maps", "status", "mountinfo"] {
            let got = read(Path::new(&format!("/proc/{process}/{name}")));
            tries.report(&format!("/proc/{process}/{name}"), got.map(|text| format!("{} bytes", text.len())));
        }
        tries.read(format!("/proc/{process}/cwd/outside/secret"));
        tries.read(format!("/proc/{process}/root{}", facts.outside.join("secret").display()));
        for descriptor in 0..64 {
            let path = format!("/proc/{process}/fd/{descriptor}");
            if fs::symlink_metadata(&path).is_ok_and(|_| fs::metadata(&path).is_ok_and(|metadata| metadata.is_file())) {
                tries.read(path);
            }
        }
    }
    let number = |name: &std::ffi::OsStr| name.to_str().and_then(|name| name.parse::<i32>().ok());
    let in_sight: Vec<i32> = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| number(&entry.file_name())).collect();
    let own = [1, nix::unistd::getpid().as_raw(), nix::unistd::getppid().as_raw()];
    let others: Vec<String> = in_sight.iter().filter(|pid| !own.contains(pid)).map(ToString::to_string).collect();
    let seen = if others.is_empty() { Err(io::Error::other("none but one's own")) } else { Ok(others.join(" ")) };
    tries.report("other processes in sight", seen);
}

fn memory(facts: &Facts, tries: &mut Tries) {
    let (address, length) = facts.victim_secret;
    let mut bytes = vec![0; length];
    let remote = [RemoteIoVec { base: address, len: length }];
    let got = process_vm_readv(Pid::from_raw(facts.victim), &mut [io::IoSliceMut::new(&mut bytes)], &remote).map_err(io::Error::from);
    tries.report("process_vm_readv", got.map(|_| String::from_utf8_lossy(&bytes).into_owned()));
    let got = fs::File::open(format!("/proc/{}/mem", facts.victim)).and_then(|mut file| {
        file.seek(io::SeekFrom::Start(address as u64))?;
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    });
    tries.report("/proc/PID/mem", got);
}

fn own_memory(_: &Facts, tries: &mut Tries) {
    const PREFIX: &[u8] = b"canary-";
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let Ok(mut memory) = fs::File::open("/proc/self/mem") else {
        tries.act("open it", Err::<(), _>(io::Error::other("/proc/self/mem cannot be opened")));
        return;
    };
    let mut found = Vec::new();
    let mut looked = 0usize;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let Some((from, to)) = line.split(' ').next().and_then(|range| range.split_once('-')) else { continue };
        let (Ok(from), Ok(to)) = (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16)) else { continue };
        let length = usize::try_from(to - from).unwrap_or(0).min(16 * 1024 * 1024);
        let mut bytes = vec![0; length];
        if memory.seek(io::SeekFrom::Start(from)).and_then(|_| memory.read_exact(&mut bytes)).is_err() {
            continue;
        }
        looked += length;
        for (at, _) in bytes.windows(PREFIX.len()).enumerate().filter(|(_, window)| *window == PREFIX) {
            found.push(String::from_utf8_lossy(&bytes[at..(at + 48).min(bytes.len())]).into_owned());
        }
    }
    found.truncate(1000);
    tries.report("looked through", Ok(format!("{looked} bytes: {}", found.join("\n"))));
}

fn shared(facts: &Facts, tries: &mut Tries) {
    if let Some(id) = facts.segment {
        tries.report("attach by its number", sys::shared_memory_read(id, 64).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
        let all = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
        let ids = all.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)?.parse::<i32>().ok());
        for id in ids.take(100) {
            tries
                .report("attach what is listed", sys::shared_memory_read(id, 64).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    if let Some(file) = &facts.shared_file {
        tries.read(file);
    }
    tries.act("list", fs::read_dir("/dev/shm"));
}

fn queue(facts: &Facts, tries: &mut Tries) {
    let Some(name) = &facts.queue else {
        tries.act("open", Err::<(), _>(io::Error::other("this kernel has no message queues")));
        return;
    };
    let flags = i64::from(libc::O_RDONLY | libc::O_NONBLOCK);
    let got = sys::attempt(libc::SYS_mq_open, vec![Text(name), Number(flags), Number(0), Null]).and_then(|queue| {
        let mut bytes = [0u8; 4096];
        // The kernel's default for the longest message is 8192 bytes, and it takes no shorter buffer.
        let length = i64::try_from(bytes.len()).unwrap_or(0);
        let taken = sys::attempt(libc::SYS_mq_timedreceive, vec![Number(queue), Bytes(&mut bytes), Number(length), Null, Null]);
        match taken {
            Ok(length) => Ok(String::from_utf8_lossy(&bytes[..usize::try_from(length).unwrap_or(0)]).into_owned()),
            Err(error) => Err(error),
        }
    });
    tries.report("take", got);
}

fn keyrings(_: &Facts, tries: &mut Tries) {
    for (name, ring) in [("session", -3i64), ("user", -4), ("user session", -5)] {
        tries.call(&format!("the {name} keyring"), libc::SYS_keyctl, vec![Number(0), Number(ring), Number(0)]);
    }
    tries.call("request a key", libc::SYS_request_key, vec![Text("user"), Text("selftest"), Null, Number(-4)]);
    let mut payload = *b"x";
    tries.call("add a key", libc::SYS_add_key, vec![Text("user"), Text("selftest"), Bytes(&mut payload), Number(1), Number(-2)]);
}

fn kernel(_: &Facts, tries: &mut Tries) {
    tries.call("syslog: size", libc::SYS_syslog, vec![Number(10), Null, Number(0)]);
    let mut bytes = [0u8; 4096];
    tries.call("syslog: read", libc::SYS_syslog, vec![Number(3), Bytes(&mut bytes), Number(4096)]);
    for path in [
        "/dev/kmsg",
        "/dev/mem",
        "/dev/port",
        "/proc/kcore",
        "/proc/kmsg",
        "/sys/kernel/security/landlock",
        "/proc/1/environ",
        "/sys/kernel/debug/tracing",
    ] {
        tries.act(path, fs::File::open(path));
    }
}

fn environment(scene: &mut Scene<'_>) -> Outcome {
    match scene.program(&["/bin/sh", "-c", "env; set; cat /proc/self/environ"]) {
        Ok(heard) if heard.text.contains("PATH=") => Outcome::Refused,
        Ok(heard) => Outcome::Untried(format!("the program printed no environment: {}", heard.text)),
        Err(error) => Outcome::Untried(error.to_string()),
    }
}
