//! Typing into the person's terminal.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd},
};

use nix::pty::openpty;

use crate::{
    sandbox::sys::{
        self,
        Argument::{Bytes, Number},
    },
    selftest::{
        case::{Area::Terminal, Case, Control},
        facts::Facts,
        tries::Tries,
    },
};

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        Case::inside("terminal-typing", Terminal, "type into a terminal as its owner: TIOCSTI, with high bits too", |_, tries| {
            on_a_terminal(tries, sys::TIOCSTI)
        })
        .list(&[67])
        .also("CVE-2017-5226")
        .by_answer(),
        Case::inside("terminal-console", Terminal, "paste into a console: TIOCLINUX", |_, tries| on_a_terminal(tries, sys::TIOCLINUX))
            .list(&[67])
            .also("CVE-2023-1523")
            .by_answer()
            .control(Control::Not("a pseudo-terminal has no such command")),
        Case::inside("terminal-of-the-person", Terminal, "open the controlling terminal, and those of others", of_the_person)
            .list(&[67])
            .by_answer()
            .control(Control::Not("a new session is begun without layers as well, and whose terminals there are differs by machine")),
        Case::inside("terminal-hang-up", Terminal, "hang the terminal up", |_, tries| {
            tries.call("vhangup", libc::SYS_vhangup, vec![]);
        })
        .by_answer()
        .control(Control::Not("as root it would hang up a real terminal")),
    ]
}

fn on_a_terminal(tries: &mut Tries, command: i64) {
    for (name, command) in [("the command", command), ("with a bit that the kernel does not look at", command | 1 << 32)] {
        tries.risky(name, || {
            let _ = nix::unistd::setsid();
            // The terminal hangs up when its other end is closed.
            let mut hang_up = nix::sys::signal::SigSet::empty();
            hang_up.add(nix::sys::signal::Signal::SIGHUP);
            let _ = hang_up.thread_block();
            let pair = openpty(None, None)?;
            // As the controlling terminal of the session the kernel itself would allow it.
            let _ = sys::set_controlling_terminal(pair.slave.as_fd());
            let mut byte = if command & 0xffff == sys::TIOCLINUX { [4u8] } else { *b"x" };
            let arguments = vec![Number(i64::from(pair.slave.as_raw_fd())), Number(command), Bytes(&mut byte)];
            sys::attempt(libc::SYS_ioctl, arguments)?;
            Ok("typed".to_owned())
        });
    }
}

fn of_the_person(_: &Facts, tries: &mut Tries) {
    tries.act("/dev/tty", fs::OpenOptions::new().read(true).write(true).open("/dev/tty"));
    tries.act("/dev/console", fs::OpenOptions::new().write(true).open("/dev/console"));
    for number in 0..64 {
        for path in [format!("/dev/pts/{number}"), format!("/dev/tty{number}")] {
            let opened = fs::OpenOptions::new().write(true).open(&path);
            if opened.is_ok() {
                tries.act(&path, opened);
            }
        }
    }
    for stream in [io::stdin().as_raw_fd(), io::stdout().as_raw_fd(), io::stderr().as_raw_fd()] {
        let terminal = nix::unistd::ttyname(io::stderr().as_fd()).map_err(io::Error::from);
        tries.report(&format!("stream {stream}"), terminal.map(|path| path.display().to_string()));
    }
}
