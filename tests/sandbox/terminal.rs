//! A person at a terminal gets a terminal inside, which is not their own.

use std::{
    io::{Read, Write},
    os::fd::{AsFd, OwnedFd},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use nix::{
    pty::{Winsize, openpty},
    sys::{signal::Signal, termios::tcgetattr},
};

use crate::support::{Host, eventually};

/// The person's terminal with a program on it.
struct Screen {
    child: Child,
    master: std::fs::File,
    slave: OwnedFd,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Screen {
    fn start(mut command: Command) -> Self {
        let size = Winsize { ws_row: 33, ws_col: 101, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).unwrap();
        let end = || pair.slave.try_clone().unwrap();
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        // The command keeps copies of its streams, and with them the terminal open.
        drop(command);
        let master = std::fs::File::from(pair.master);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, into) = (master.try_clone().unwrap(), Arc::clone(&shown));
        thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(length @ 1..) = reader.read(&mut bytes) {
                into.lock().unwrap().extend_from_slice(&bytes[..length]);
            }
        });
        Self { child, master, slave: pair.slave, shown }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    #[track_caller]
    fn shows(&self, text: &str) {
        assert!(eventually(|| self.text().contains(text)), "{text:?} is not in {:?}", self.text());
    }

    fn code(&mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_command_at_a_terminal_has_a_terminal_of_its_own_of_the_same_size() {
    let host = Host::new();
    let mut screen = Screen::start(host.sandbox(&[
        "sh",
        "-c",
        "tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo three; : < /dev/tty && echo own",
    ]));
    screen.shows("/dev/pts/0");
    screen.shows("33 101");
    screen.shows("three");
    screen.shows("own");
    assert_eq!(screen.code(), 0);
}

#[test]
fn a_pipe_beside_a_terminal_stays_a_pipe() {
    let host = Host::new();
    let ended = host.sh("tty; test -t 1 || echo pipe");
    assert_eq!(ended.stdout, "not a tty\npipe\n");
}

#[test]
fn a_change_of_size_reaches_the_command() {
    let host = Host::new();
    let mut screen = Screen::start(host.sandbox(&["sh", "-c", "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.02; done"]));
    screen.shows("ready");
    portcullis::sandbox::sys::set_window_size(screen.master.as_fd(), (44, 55)).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(screen.child.id()).unwrap()), Signal::SIGWINCH).unwrap();
    screen.shows("44 55");
    assert_eq!(screen.code(), 0);
}

#[test]
fn what_is_typed_arrives_and_control_c_interrupts_the_command() {
    let host = Host::new();
    let mut screen = Screen::start(host.sandbox(&[
        "sh",
        "-c",
        "trap 'echo interrupted; exit 9' INT; read line; echo \"<$line>\"; while :; do sleep 0.02; done",
    ]));
    screen.master.write_all(b"hello\r").unwrap();
    screen.shows("<hello>");
    screen.master.write_all(b"\x03").unwrap();
    screen.shows("interrupted");
    assert_eq!(screen.code(), 9);
}

#[test]
fn the_persons_terminal_is_as_it_was_afterwards() {
    let host = Host::new();
    let mut screen = Screen::start(host.sandbox(&["sh", "-c", "stty raw -echo; echo done; exit 3"]));
    assert_eq!(screen.code(), 3);
    let after = tcgetattr(screen.slave.as_fd()).unwrap();
    let fresh = openpty(None, None).unwrap();
    let fresh = tcgetattr(fresh.slave.as_fd()).unwrap();
    assert_eq!((after.local_flags, after.input_flags, after.output_flags), (fresh.local_flags, fresh.input_flags, fresh.output_flags));
}

#[test]
fn the_persons_terminal_gets_in_with_no_mix_of_streams() {
    let script = "for fd in 0 1 2; do test -t $fd && echo \"terminal at $fd\"; readlink /proc/self/fd/$fd; done; stty -echo <&2; read line; echo \"got $line\"";
    for terminals in [[true, false, false], [false, true, false], [false, false, true], [true, false, true], [false, true, true]] {
        let host = Host::new();
        let pair = openpty(None, None).unwrap();
        let before = tcgetattr(pair.slave.as_fd()).unwrap();
        let (input, mut typed) = std::io::pipe().unwrap();
        let (mut seen, output) = std::io::pipe().unwrap();
        let mut command = host.sandbox(&["sh", "-c", script]);
        let end = || Stdio::from(pair.slave.try_clone().unwrap());
        let piped = || Stdio::from(output.try_clone().unwrap());
        command.stdin(if terminals[0] { end() } else { Stdio::from(input) });
        command.stdout(if terminals[1] { end() } else { piped() });
        command.stderr(if terminals[2] { end() } else { piped() });
        // What is read below ends when the command's own copies are closed.
        drop(output);
        let mut child = command.spawn().unwrap();
        drop(command);
        let mut master = std::fs::File::from(pair.master);
        if terminals[0] {
            master.write_all(b"hello\n").unwrap()
        } else {
            typed.write_all(b"hello\n").unwrap()
        }
        drop(typed);
        let shown = Arc::new(Mutex::new(String::new()));
        let mut reader = master.try_clone().unwrap();
        let into = Arc::clone(&shown);
        thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(length @ 1..) = reader.read(&mut bytes) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        });
        let mut piped = String::new();
        if !(terminals[1] && terminals[2]) {
            seen.read_to_string(&mut piped).unwrap();
        }
        assert!(child.wait().unwrap().code().is_some());
        let all = || format!("{piped}{}", shown.lock().unwrap());
        assert!(eventually(|| all().contains("got hello")), "{terminals:?}: {}", all());
        assert!(!all().contains("terminal at") && !all().contains("/dev/pts"), "{terminals:?}: {}", all());
        let after = tcgetattr(pair.slave.as_fd()).unwrap();
        assert_eq!(after.local_flags, before.local_flags, "{terminals:?}");
    }
}

#[test]
fn a_paste_arrives_whole() {
    let host = Host::new();
    let mut screen = Screen::start(host.sandbox(&["sh", "-c", "stty raw -echo; echo ready; head -c 3000 > pasted; echo done"]));
    screen.shows("ready");
    screen.master.write_all(&[b'x'; 3000]).unwrap();
    screen.shows("done");
    assert_eq!(screen.code(), 0);
    assert_eq!(host.read("pasted").map(|text| text.len()), Some(3000));
}

#[test]
fn a_person_at_a_terminal_is_not_ended_by_the_limit_on_time() {
    let host = Host::new();
    let policy = host.policy("short", "[limits]\nwall = \"1s\"\n");
    let mut screen = Screen::start(host.sandbox_under(&policy, &["sh", "-c", "sleep 2; echo still here"]));
    screen.shows("still here");
    assert_eq!(screen.code(), 0);
}
