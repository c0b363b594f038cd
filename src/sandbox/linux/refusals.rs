//! The system calls that the filter refuses, as they are made: the init answers for it, and so knows each of them.
//!
//! The answer is always the same refusal. Nothing that the program says is looked at to decide it, so that there is nothing to win by
//! changing it in between; and where nobody answers any more, the call fails all the same.

use std::os::fd::{AsFd, OwnedFd};

use super::system_calls::name_of;
use crate::sandbox::{message::RefusedCall, sys};

/// The most different calls that are reported.
const MOST: usize = 32;

/// See the module.
#[derive(Debug)]
pub struct Refusals {
    listener: OwnedFd,
    seen: Vec<RefusedCall>,
}

impl Refusals {
    /// Listens for the filter behind `listener`.
    pub fn new(listener: OwnedFd) -> Self {
        Self { listener, seen: Vec::new() }
    }

    /// Answers one question; false when there will be no more.
    pub fn answer(&mut self) -> bool {
        match sys::next_question(self.listener.as_fd()) {
            Ok(question) => {
                self.note(question);
                let _ = sys::refuse(self.listener.as_fd(), question);
                true
            }
            // Who asked was killed meanwhile, or a signal came.
            Err(error) => [libc::ENOENT, libc::EINTR, libc::EAGAIN].map(Some).contains(&error.raw_os_error()),
        }
    }

    fn note(&mut self, question: sys::Question) {
        let call = name_of(question.call).map_or_else(|| format!("number {}", question.call), str::to_owned);
        let detail = detail(&call, question.arguments);
        if let Some(seen) = self.seen.iter_mut().find(|seen| seen.call == call && seen.detail == detail) {
            seen.times = seen.times.saturating_add(1);
        } else if self.seen.len() < MOST {
            self.seen.push(RefusedCall { call, detail, times: 1 });
        }
    }

    /// The listener, to wait on.
    pub fn descriptor(&self) -> &OwnedFd {
        &self.listener
    }

    /// What was refused so far, in the order in which it was first seen, and not told before.
    pub fn seen(&mut self) -> Vec<RefusedCall> {
        std::mem::take(&mut self.seen)
    }
}

/// The argument that was the reason, in the kernel's own words.
fn detail(call: &str, arguments: [u64; 6]) -> Option<String> {
    let [first, second, ..] = arguments;
    let family = || {
        let families = [
            (libc::AF_UNIX, "AF_UNIX"),
            (libc::AF_INET, "AF_INET"),
            (libc::AF_INET6, "AF_INET6"),
            (libc::AF_NETLINK, "AF_NETLINK"),
            (libc::AF_PACKET, "AF_PACKET"),
            (libc::AF_VSOCK, "AF_VSOCK"),
            (libc::AF_ALG, "AF_ALG"),
        ];
        let known = families.iter().find(|(number, _)| u64::from(number.unsigned_abs()) == first & 0xffff_ffff);
        known.map_or_else(|| format!("family {first}"), |(_, name)| (*name).to_owned())
    };
    match call {
        "socket" | "socketpair" => Some(family()),
        "unshare" | "clone" => Some("a new namespace".to_owned()),
        "ioctl" if second & 0xffff_ffff == libc::TIOCSTI => Some("TIOCSTI".to_owned()),
        "ioctl" => Some("TIOCLINUX".to_owned()),
        "fcntl" => Some("F_SETLEASE".to_owned()),
        "chmod" | "fchmod" | "fchmodat" | "fchmodat2" | "open" | "openat" | "creat" => Some("a set-id bit".to_owned()),
        "mknod" | "mknodat" => Some("a device, or a set-id bit".to_owned()),
        _ => None,
    }
}
