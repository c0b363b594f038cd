//! `policy learn` by the real program: what a command reaches for is seen, what is proposed lets it, and what is denied stays out of reach
//! while it is observed as well.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests stand outside of the functions that clippy takes for tests")]

#[allow(dead_code, reason = "shared with suites that need more of it")]
mod support;

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use support::{Ended, Host, SECRET, assert_same, installed, listing, skip};
use tempfile::TempDir;

/// A host, and a folder that no preset covers and that is not in the private `/tmp`.
struct Scene {
    host: Host,
    outside: PathBuf,
    _folder: TempDir,
}

/// What one run of `policy learn` came to.
struct Learned {
    ended: Ended,
    /// Where the proposal was to be written.
    file: PathBuf,
    /// The proposal; empty where there is none.
    text: String,
}

impl Scene {
    fn new() -> Self {
        let host = Host::without_git();
        let folder = tempfile::Builder::new().prefix("portcullis-learn-").tempdir_in("/var/tmp").unwrap();
        let outside = fs::canonicalize(folder.path()).unwrap().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("data"), "outside data\n").unwrap();
        Self { host, outside, _folder: folder }
    }

    fn learn(&self, policy: &str, command: &[&str]) -> Learned {
        let file = self.host.root.join(format!("learned-{}.toml", fs::read_dir(&self.host.root).unwrap().count()));
        let mut run = self.host.bare(&["policy", "learn", "--policy", policy, "--workspace"]);
        run.arg(&self.host.workspace).arg("--output").arg(&file).arg("--").args(command);
        let ended = Ended::from(run.output().unwrap());
        let text = fs::read_to_string(&file).unwrap_or_default();
        Learned { ended, file, text }
    }

    fn sh(&self, script: &str) -> Learned {
        self.learn("workspace-write", &["sh", "-c", script])
    }

    /// Runs a script under what was proposed for it.
    fn again(&self, learned: &Learned, script: &str) -> Ended {
        Ended::from(self.host.sandbox_under(&learned.file.display().to_string(), &["sh", "-c", script]).output().unwrap())
    }

    /// Fails unless a script fails under the base, is learned, and succeeds under what is proposed. What it then says.
    #[track_caller]
    fn learned_in_one_run(&self, script: &str) -> (Learned, String) {
        let before = self.host.sh(script);
        assert_ne!(before.code, 0, "nothing to learn: {before:#?}");
        let learned = self.sh(script);
        assert_eq!(learned.ended.code, 0, "{:#?}", learned.ended);
        let after = self.again(&learned, script);
        assert_eq!(after.code, 0, "{}\n{after:#?}", learned.text);
        (learned, after.stdout)
    }

    fn at(&self, name: &str) -> String {
        self.outside.join(name).display().to_string()
    }
}

impl Learned {
    /// The entries of the file, without what its comments say.
    fn entries(&self) -> String {
        self.text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.starts_with("why")).collect::<Vec<_>>().join("\n")
    }

    fn comments(&self) -> String {
        self.text.lines().filter(|line| line.starts_with("# not proposed")).collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn a_file_outside_that_is_read_is_proposed_and_can_be_read_then() {
    let scene = Scene::new();
    let (learned, said) = scene.learned_in_one_run(&format!("cat {}", scene.at("data")));
    assert_eq!(said, "outside data\n");
    assert_eq!(learned.ended.stdout, "outside data\n");
    assert!(learned.entries().contains(&format!("\"{}\", # cat, once", scene.at("data"))), "{}", learned.text);
    assert!(!learned.entries().contains("write = ["), "{}", learned.text);
}

#[test]
fn a_file_of_the_home_folder_is_proposed_and_one_that_the_command_made_is_not() {
    let scene = Scene::new();
    fs::write(scene.host.home.join("notes"), "of the home\n").unwrap();
    let before = listing(&scene.host.home);
    let (learned, _) = scene.learned_in_one_run("cat ~/notes && echo x > ~/made && cat ~/made");
    assert_same(&listing(&scene.host.home), &before, "a learning run changed the home folder");
    assert!(learned.entries().contains("\"~/notes\""), "{}", learned.text);
    assert!(!learned.text.contains("~/made\","), "{}", learned.text);
}

#[test]
fn what_the_policy_covers_is_no_proposal_and_says_so() {
    let scene = Scene::new();
    let learned = scene.sh("cat /etc/passwd > copy; echo x > ~/x; ls / > /tmp/list");
    assert_eq!((learned.ended.code, learned.text.as_str()), (0, ""), "{:#?}", learned.ended);
    assert!(!learned.file.exists());
    assert!(learned.ended.stderr.contains("already covers"), "{:#?}", learned.ended);
    assert!(scene.host.read("copy").is_some_and(|copy| !copy.is_empty()), "the base's own writing works");
}

#[test]
fn a_write_outside_is_refused_while_learning_proposed_and_done_then() {
    let scene = Scene::new();
    let before = listing(&scene.outside);
    let script = format!("echo new > {}", scene.at("result"));
    let learned = scene.sh(&script);
    assert_same(&listing(&scene.outside), &before, "a learning run wrote outside");
    assert_eq!(learned.ended.code, 0, "{:#?}", learned.ended);
    let entry = format!("\"{}\", # sh, once", scene.outside.display());
    assert!(learned.entries().contains(&entry), "{}", learned.text);
    assert!(learned.ended.stderr.contains("not known: run learn again with --policy"), "{:#?}", learned.ended);
    assert_eq!(scene.again(&learned, &script).code, 0);
    assert_eq!(fs::read_to_string(scene.outside.join("result")).unwrap(), "new\n");
}

#[test]
fn each_run_goes_further_than_the_one_before() {
    let scene = Scene::new();
    for folder in ["first", "second"] {
        fs::create_dir(scene.outside.join(folder)).unwrap();
    }
    let script = format!("set -e; echo 1 > {}; echo 2 > {}", scene.at("first/file"), scene.at("second/file"));
    let first = scene.sh(&script);
    assert!(first.entries().contains(&scene.at("first")) && !first.text.contains(&scene.at("second\"")), "{}", first.text);
    let second = scene.learn(&first.file.display().to_string(), &["sh", "-c", &script]);
    assert!(second.entries().contains(&format!("\"{}\"", scene.at("second"))), "{}\n{:#?}", second.text, second.ended);
    assert!(!scene.outside.join("second/file").exists());
    let third = scene.learn(&second.file.display().to_string(), &["sh", "-c", &script]);
    assert!(third.ended.stderr.contains("already covers") && third.text.is_empty(), "{:#?}", third.ended);
    assert_eq!(fs::read_to_string(scene.outside.join("second/file")).unwrap(), "2\n");
}

#[test]
fn keys_and_secret_files_are_neither_readable_while_learning_nor_proposed() {
    let scene = Scene::new();
    scene.host.write(".env", SECRET);
    fs::write(scene.host.home.join("plain"), "plain\n").unwrap();
    std::os::unix::fs::symlink(".ssh/id_ed25519", scene.host.home.join("way")).unwrap();
    let script = "cat ~/.ssh/id_ed25519; cat ~/way; cat .env; cat ~/.netrc; cp ~/.ssh/id_ed25519 stolen; grep -r TOP ~ .; cat ~/plain";
    let learned = scene.sh(script);
    let told = format!("{}{}{}", learned.ended.stdout, learned.ended.stderr, learned.text);
    assert!(!told.contains(SECRET) && told.contains("plain\n"), "{:#?}", learned.ended);
    assert!(scene.host.read("stolen").is_none_or(|stolen| stolen.is_empty()));
    for held in [".ssh", "id_ed25519", ".env", ".netrc", "~/way"] {
        assert!(!learned.entries().contains(held), "{held}: {}", learned.text);
    }
    assert!(learned.comments().contains("~/.ssh/id_ed25519 (deny floor: policies/groups.toml:"), "{}", learned.text);
    assert!(learned.comments().contains(".env (deny floor: policies/read-only.toml:"), "{}", learned.text);
    let after = scene.again(&learned, script);
    assert!(!after.stdout.contains(SECRET), "{after:#?}");
}

#[test]
fn keys_are_out_of_reach_also_where_the_base_denies_nothing_and_by_the_place_that_a_link_names() {
    let scene = Scene::new();
    fs::write(scene.outside.join("key"), SECRET).unwrap();
    std::os::unix::fs::symlink(scene.outside.join("key"), scene.host.home.join(".vault-token")).unwrap();
    let policy = scene.host.root.join("open.toml");
    let rules =
        "[filesystem]\nread = [\"@system\", \"@workspace\"]\nwrite = [\"@workspace\", \"@tmp\", \"@home\"]\n[limits]\nprocesses = 512";
    fs::write(&policy, format!("schema = 1\nname = \"open\"\n{rules}\n")).unwrap();
    let script = format!("cat ~/.ssh/id_ed25519 ~/.vault-token {} {}", scene.at("key"), scene.at("data"));
    let learned = scene.learn(&policy.display().to_string(), &["sh", "-c", &script]);
    assert!(!learned.ended.stdout.contains(SECRET) && learned.ended.stdout.contains("outside data"), "{:#?}", learned.ended);
    assert!(learned.entries().contains(&scene.at("data")), "{}", learned.text);
    assert!(learned.entries().contains(&format!("extends = \"{}\"", policy.display())), "{}", learned.text);
    for held in ["id_ed25519", "vault", &scene.at("key")] {
        assert!(!learned.entries().contains(held), "{held}: {}", learned.text);
    }
    assert!(learned.comments().contains(&format!("{} (deny floor: policies/groups.toml:", scene.at("key"))), "{}", learned.text);
}

#[test]
fn the_state_of_portcullis_is_out_of_reach_and_not_proposed() {
    let scene = Scene::new();
    // Elsewhere than in the private /tmp, where it would not be in view at all.
    let state = scene.outside.join("state");
    fs::create_dir(&state).unwrap();
    fs::write(state.join("mark"), SECRET).unwrap();
    let mut run = scene.host.bare(&["policy", "learn", "--workspace"]);
    let script = format!("cat {0}/mark; ls {0}; echo x > {0}/mark; cat {1}", state.display(), scene.at("data"));
    run.env("PORTCULLIS_HOME", &state).arg(&scene.host.workspace).args(["--", "sh", "-c", &script]);
    let ended = Ended::from(run.output().unwrap());
    assert!(!ended.stdout.contains(SECRET) && ended.stdout.contains("outside data"), "{ended:#?}");
    let entries: Vec<&str> = ended.stdout.lines().filter(|line| line.starts_with("    \"")).collect();
    assert!(!entries.is_empty() && !entries.iter().any(|line| line.contains("state")), "{ended:#?}");
    assert!(ended.stdout.contains("deny floor: the state of portcullis"), "{ended:#?}");
    assert_eq!(fs::read_to_string(state.join("mark")).unwrap(), SECRET);
}

#[test]
fn a_protected_file_is_not_proposed_for_writing() {
    let scene = Scene::new();
    let learned = scene.sh("mkdir -p .git/hooks; echo x > .envrc; echo fine > notes");
    assert!(!learned.entries().contains(".envrc"), "{}", learned.text);
    assert!(learned.ended.stderr.contains("not proposed: write .envrc (protected: "), "{:#?}", learned.ended);
    assert_eq!(scene.host.read("notes").as_deref(), Some("fine\n"));
    assert!(!scene.host.has(".envrc"));
}

#[test]
fn what_a_child_in_a_session_of_its_own_does_is_seen_too() {
    if !installed("setsid") {
        return skip("what_a_child_in_a_session_of_its_own_does_is_seen_too", "setsid is not installed");
    }
    let scene = Scene::new();
    let script = format!("setsid sh -c 'cat {}' > out & wait", scene.at("data"));
    let learned = scene.sh(&script);
    assert!(learned.entries().contains(&scene.at("data")), "{}\n{:#?}", learned.text, learned.ended);
    assert_eq!(scene.host.read("out").as_deref(), Some("outside data\n"));
}

#[test]
fn what_threads_and_raw_system_calls_do_is_seen_too() {
    if !installed("python3") {
        return skip("what_threads_and_raw_system_calls_do_is_seen_too", "python3 is not installed");
    }
    let scene = Scene::new();
    fs::write(scene.outside.join("raw"), "raw\n").unwrap();
    let number = if cfg!(target_arch = "x86_64") { 257 } else { 56 };
    let program = format!(
        "import ctypes, threading\n\
         t = threading.Thread(target=lambda: print(open('{}').read())); t.start(); t.join()\n\
         libc = ctypes.CDLL(None)\n\
         print(libc.syscall({number}, -100, b'{}', 0) >= 0)",
        scene.at("data"),
        scene.at("raw"),
    );
    let learned = scene.learn("workspace-write", &["python3", "-c", &program]);
    assert!(learned.ended.stdout.contains("outside data") && learned.ended.stdout.contains("True"), "{:#?}", learned.ended);
    for name in ["data", "raw"] {
        assert!(learned.entries().contains(&format!("\"{}\"", scene.at(name))), "{}", learned.text);
    }
}

#[test]
fn programs_that_use_signals_and_children_behave_as_they_do_unobserved() {
    if !installed("python3") {
        return skip("programs_that_use_signals_and_children_behave_as_they_do_unobserved", "python3 is not installed");
    }
    let scene = Scene::new();
    let program = "import os, signal, subprocess, sys\n\
                   got = []\n\
                   for number in (signal.SIGUSR1, signal.SIGTRAP, signal.SIGRTMIN + 3):\n\
                   \x20   signal.signal(number, lambda n, f: got.append(int(n)))\n\
                   \x20   os.kill(os.getpid(), number)\n\
                   child = subprocess.Popen(['sleep', '30'])\n\
                   os.kill(child.pid, signal.SIGSTOP); os.kill(child.pid, signal.SIGCONT); child.terminate()\n\
                   print(len(got), child.wait(), [subprocess.run(['false']).returncode for _ in range(20)].count(1))\n\
                   sys.exit(7)";
    let learned = scene.learn("workspace-write", &["python3", "-c", program]);
    assert_eq!(learned.ended.stdout, "3 -15 20\n", "{:#?}", learned.ended);
    assert!(learned.ended.stderr.contains("the command ended with 7"), "{:#?}", learned.ended);
}

#[test]
fn a_program_in_a_folder_that_is_not_covered_is_proposed_and_runs_then() {
    let scene = Scene::new();
    let script = scene.outside.join("tool");
    fs::write(&script, "#!/bin/sh\necho ran\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let (learned, said) = scene.learned_in_one_run(&scene.at("tool"));
    assert_eq!(said, "ran\n");
    assert!(learned.entries().contains(&format!("\"{}\"", scene.at("tool"))), "{}", learned.text);
}

#[test]
fn many_files_of_a_folder_become_the_folder_and_a_few_do_not() {
    let scene = Scene::new();
    for folder in ["many", "few"] {
        fs::create_dir(scene.outside.join(folder)).unwrap();
        for file in 0..5 {
            fs::write(scene.outside.join(folder).join(file.to_string()), "x").unwrap();
        }
    }
    let (learned, _) = scene.learned_in_one_run(&format!("cat {0}/0 {0}/1 {0}/2 {0}/3 {1}/0 {1}/1", scene.at("many"), scene.at("few")));
    assert!(learned.entries().contains(&format!("\"{}\", # 4 paths, cat", scene.at("many"))), "{}", learned.text);
    assert!(learned.entries().contains(&format!("\"{}\"", scene.at("few/1"))), "{}", learned.text);
    assert!(!learned.entries().contains(&format!("\"{}\"", scene.at("few"))), "{}", learned.text);
}

#[test]
fn an_address_elsewhere_is_told_and_not_proposed_and_a_loopback_is() {
    if !installed("python3") {
        return skip("an_address_elsewhere_is_told_and_not_proposed_and_a_loopback_is", "python3 is not installed");
    }
    let scene = Scene::new();
    let program = "import socket\n\
                   for address in (('127.0.0.1', 9), ('192.0.2.7', 443)):\n\
                   \x20   try: socket.create_connection(address, 1)\n\
                   \x20   except OSError: pass";
    let learned = scene.learn("read-only", &["python3", "-c", program]);
    assert!(learned.entries().contains("mode = \"loopback\" # python3"), "{}\n{:#?}", learned.text, learned.ended);
    assert!(learned.comments().contains("192.0.2.7:443 (python3"), "{}", learned.text);
    assert!(!learned.entries().contains("open"), "{}", learned.text);
    let learned = scene.learn("workspace-write", &["python3", "-c", program]);
    assert!(learned.text.is_empty() && learned.ended.stderr.contains("192.0.2.7:443"), "{:#?}", learned.ended);
}

#[test]
fn a_service_of_the_host_that_listens_on_a_socket_is_not_reached() {
    if !installed("python3") {
        return skip("a_service_of_the_host_that_listens_on_a_socket_is_not_reached", "python3 is not installed");
    }
    let scene = Scene::new();
    let (stream, datagram) = (scene.outside.join("stream"), scene.outside.join("datagram"));
    let listener = std::os::unix::net::UnixListener::bind(&stream).unwrap();
    let receiver = std::os::unix::net::UnixDatagram::bind(&datagram).unwrap();
    for socket in [&stream, &datagram] {
        fs::set_permissions(socket, fs::Permissions::from_mode(0o777)).unwrap();
    }
    listener.set_nonblocking(true).unwrap();
    receiver.set_nonblocking(true).unwrap();
    let program = format!(
        "import socket\n\
         def tried(what):\n\
         \x20   try: what(); print('reached')\n\
         \x20   except OSError as error: print(error.errno)\n\
         tried(lambda: socket.socket(socket.AF_UNIX).connect('{0}'))\n\
         tried(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', '{1}'))\n\
         tried(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b'x', '{1}'))\n\
         tried(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_RAW)[0].sendto(b'x', '{1}'))\n\
         tried(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)[0].connect('{0}'))\n\
         one, other = socket.socketpair(); one.send(b'fine'); print(other.recv(9))",
        stream.display(),
        datagram.display(),
    );
    let learned = scene.learn("workspace-write", &["python3", "-c", &program]);
    assert!(!learned.ended.stdout.contains("reached") && learned.ended.stdout.contains("b'fine'"), "{:#?}", learned.ended);
    assert!(listener.accept().is_err() && receiver.recv(&mut [0; 8]).is_err(), "the service was reached");
    assert!(learned.ended.stderr.contains("asked for unix sockets"), "{:#?}", learned.ended);
}

#[test]
fn nothing_is_overwritten_and_what_did_not_run_has_the_code_of_sandbox() {
    let scene = Scene::new();
    let there = scene.host.root.join("there.toml");
    fs::write(&there, "mine").unwrap();
    let mut run = scene.host.bare(&["policy", "learn", "--workspace"]);
    run.arg(&scene.host.workspace).arg("--output").arg(&there).args(["--", "touch", "ran"]);
    let ended = Ended::from(run.output().unwrap());
    assert_eq!((ended.code, fs::read_to_string(&there).unwrap().as_str()), (2, "mine"), "{ended:#?}");
    assert!(!scene.host.has("ran"), "it ran although there is nowhere to write to");
    assert_eq!(scene.learn("workspace-write", &["no-such-program"]).ended.code, 127);
    assert_eq!(scene.learn("no-such-policy", &["true"]).ended.code, 2);
    let wrong = scene.host.policy("wrong", "nonsense = 1");
    assert_eq!(scene.learn(&wrong, &["true"]).ended.code, 3);
}

#[test]
fn json_holds_the_file_each_entry_and_what_is_not_proposed() {
    let scene = Scene::new();
    let mut run = scene.host.bare(&["policy", "learn", "--json", "--workspace"]);
    let script = format!("cat {} > copy; cat ~/.netrc 2> error; exit 5", scene.at("data"));
    run.arg(&scene.host.workspace).args(["--", "sh", "-c", &script]);
    let ended = Ended::from(run.output().unwrap());
    let value: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((ended.code, &value["code"]), (0, &serde_json::json!(5)), "{ended:#?}");
    assert_eq!(value["proposal"]["read"][0]["text"], scene.at("data"));
    assert_eq!(value["proposal"]["withheld"][0]["what"], "~/.netrc");
    assert!(value["policy"].as_str().unwrap().contains("extends = \"workspace-write\""));
}
