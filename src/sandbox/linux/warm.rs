//! Sandboxes that are made ahead of their calls: a launch is then little more than an `exec`.
//!
//! One is made for each plan that is used, once no call runs, and is used once. Its namespaces, its view, its filters and its Landlock domain are those
//! of any other; what it lacks is the call. It has [watches] on all that its view was made from: whatever the person or another call changed since
//! makes it stale, and a stale one is thrown away. One that is not used for a while is thrown away as well, because what keeps absent
//! places absent is on the host for as long as it lives.

use std::{
    io::{PipeReader, PipeWriter, Read, Write},
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Failure, cgroup, enter::Call, origin::Origin, recover::Record, watches};
use crate::sandbox::message::{Begin, Ready, receive, send};

/// How long one waits for a call.
const IDLE: Duration = Duration::from_secs(10);
/// How often one is made that then says that it cannot be.
const TRIES: usize = 3;
/// How long a call waits for one that is being made.
const NEARLY: Duration = Duration::from_millis(200);
/// The word to begin.
const GO: &[u8] = b"1";

/// The processes of a sandbox, and what the launcher keeps of it.
#[derive(Debug)]
pub struct Sandbox {
    /// Its init.
    pub pid: Pid,
    /// On which it is handed its call.
    pub handover: OwnedFd,
    /// The repositories that the call made, once it has ended.
    pub report: PipeReader,
    /// What is removed once it has ended in order.
    pub record: Option<Record>,
    /// Removed with this.
    pub group: Option<cgroup::Group>,
    /// Where its program waits for the word to begin, if it was made ahead.
    pub begin: Option<PipeWriter>,
}

impl Sandbox {
    /// Hands it a call that it has been made for.
    pub fn hand(&mut self, call: &Call) -> Result<(), Failure> {
        if let Some(record) = &mut self.record {
            record.begin()?;
        }
        call.send(&self.handover).map_err(|error| Failure::new("hand the call to its sandbox", error.to_string()))
    }

    /// Lets the call begin that was handed to one that was made ahead. False where it is gone: then nothing of the call has begun, nor will.
    fn begin(&mut self) -> bool {
        // What changed until here was no call's doing.
        let written_down = self.record.as_mut().is_none_or(|record| record.begin().is_ok());
        let Some(mut program) = self.begin.take().filter(|_| written_down) else { return false };
        // The init first: if that is gone, so is the program. If the program is gone, the init says so.
        send(self.handover.as_fd(), &Begin, &[]).is_ok_and(|()| {
            let _ = program.write_all(GO);
            true
        })
    }
}

/// For what a sandbox can be made ahead: a plan, and whether it serves the file tools.
pub type Use = (u32, bool);

#[derive(Debug)]
struct Warm {
    made_for: Use,
    sandbox: Sandbox,
    /// What tells of changes, once it is ready.
    watches: Option<OwnedFd>,
    /// What it was made from besides.
    origin: Origin,
    since: Instant,
    /// It ended by itself before it was ready.
    failed: bool,
    /// It is not used any more, and ended when there is nothing else to be done.
    spoiled: bool,
    /// It was told to end.
    doomed: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Pool {
    all: Vec<Warm>,
    /// What is used, and when it was last.
    uses: Vec<(Use, Instant)>,
    /// For what one could not be made that would have known of changes: too many folders, or a file system that others change.
    hopeless: Vec<Use>,
    /// Watches of those that are gone. The kernel takes tens of milliseconds to close them, in which nothing else can be done.
    spent: Vec<OwnedFd>,
}

impl Pool {
    /// Notes a use, or that one is expected.
    pub fn used(&mut self, made_for: Use) {
        self.uses.retain(|(other, _)| *other != made_for);
        if self.hopeless.iter().filter(|other| **other == made_for).count() < TRIES {
            self.uses.push((made_for, Instant::now()));
        }
    }

    /// For what one should be made.
    pub fn wanted(&self) -> Vec<Use> {
        let lacks = |made_for: &Use| !self.all.iter().any(|warm| warm.made_for == *made_for);
        let recent = self.uses.iter().rev().filter(|(_, when)| when.elapsed() < IDLE);
        recent.map(|(made_for, _)| *made_for).filter(lacks).collect()
    }

    /// No more of these are wanted until the next use.
    pub fn unwanted(&mut self, made_for: Use) {
        self.uses.retain(|(other, _)| *other != made_for);
    }

    /// Takes one that is being made.
    pub fn add(&mut self, made_for: Use, sandbox: Sandbox, origin: Origin) {
        self.all.push(Warm {
            made_for,
            sandbox,
            watches: None,
            origin,
            since: Instant::now(),
            failed: false,
            spoiled: false,
            doomed: false,
        });
    }

    /// Hands a call to one that is as it would be made now. Whatever is not is not used any more, and `None` says that nothing of the call has begun.
    ///
    /// While the sandbox takes the call, it is looked whether it still is what it has to be; only then the call may begin.
    pub fn hand(&mut self, made_for: Use, call: &Call) -> Option<Sandbox> {
        let at = self.all.iter().position(|warm| warm.made_for == made_for && !warm.doomed && !warm.spoiled)?;
        let warm = self.all.get_mut(at)?;
        let end = Instant::now() + NEARLY;
        while warm.is_awaited() {
            match end.checked_duration_since(Instant::now()) {
                Some(left) => warm.wait(left.max(Duration::from_millis(1))),
                None => warm.end(),
            }
        }
        let fresh = !warm.doomed
            && call.send(&warm.sandbox.handover).is_ok()
            && warm.watches.as_ref().is_some_and(|watches| !watches::have_told(watches))
            && warm.origin.is_same();
        if fresh && warm.sandbox.begin() {
            return Some(self.take(at));
        }
        // It may have the call, with the means to speak to whoever waits for that.
        warm.end();
        if let Some(record) = warm.sandbox.record.take() {
            record.discard();
        }
        warm.spoiled = true;
        self.unwanted(made_for);
        None
    }

    fn take(&mut self, at: usize) -> Sandbox {
        let Warm { sandbox, watches, .. } = self.all.remove(at);
        self.spent.extend(watches);
        sandbox
    }

    /// Closes what is left of those that are gone.
    pub fn close_spent(&mut self) {
        self.spent.clear();
    }

    /// Whether there is anything to close.
    pub fn any_spent(&self) -> bool {
        !self.spent.is_empty()
    }

    /// What has to be waited on besides everything else: those that are not ready.
    pub fn sources(&self) -> Vec<PollFd<'_>> {
        let awaited = self.all.iter().filter(|warm| warm.is_awaited());
        awaited.map(|warm| PollFd::new(warm.sandbox.handover.as_fd(), PollFlags::POLLIN)).collect()
    }

    /// Hears those that have something to say, without waiting.
    pub fn hear(&mut self) {
        self.all.iter_mut().filter(|warm| warm.is_awaited()).for_each(|warm| warm.wait(Duration::ZERO));
    }

    /// Ends those that were not used for long, and forgets uses that are as long ago. When the next one is due.
    pub fn expire(&mut self) -> Option<Duration> {
        self.all.iter_mut().filter(|warm| warm.since.elapsed() >= IDLE).for_each(Warm::end);
        self.uses.retain(|(_, when)| when.elapsed() < IDLE);
        let living = self.all.iter().filter(|warm| !warm.doomed).map(|warm| warm.since);
        living.chain(self.uses.iter().map(|(_, when)| *when)).map(|since| IDLE.saturating_sub(since.elapsed())).min()
    }

    /// Uses none of those that `which` names any more, and makes none in their place before the next such call.
    pub fn spoil(&mut self, which: impl Fn(Use) -> bool) {
        for warm in self.all.iter_mut().filter(|warm| which(warm.made_for)) {
            warm.spoiled = true;
        }
        self.uses.retain(|(made_for, _)| !self.all.iter().any(|warm| warm.spoiled && warm.made_for == *made_for));
    }

    /// Ends those that are not used any more. Whether there were any.
    pub fn end_spoiled(&mut self) -> bool {
        let mut spoiled = self.all.iter_mut().filter(|warm| warm.spoiled && !warm.doomed).peekable();
        let any = spoiled.peek().is_some();
        spoiled.for_each(Warm::end);
        any
    }

    /// Whether any has to be ended.
    pub fn any_spoiled(&self) -> bool {
        self.all.iter().any(|warm| warm.spoiled && !warm.doomed)
    }

    /// The plans that they are made for, or will be in a moment; one that was told to end lives until it is buried.
    pub fn plans(&self) -> impl Iterator<Item = u32> {
        let soon = self.uses.iter().filter(|(_, when)| when.elapsed() < IDLE).map(|(made_for, _)| made_for.0);
        self.all.iter().map(|warm| warm.made_for.0).chain(soon)
    }

    /// Whether one of that init is not buried yet.
    pub fn has(&self, pid: Pid) -> bool {
        self.all.iter().any(|warm| warm.sandbox.pid == pid)
    }

    /// Forgets the one whose init has ended, if it was one of these. What has ended before it was ready, unbidden, is tried a few times more.
    pub fn bury(&mut self, pid: Pid) {
        let Some(at) = self.all.iter().position(|warm| warm.sandbox.pid == pid) else { return };
        let buried = &self.all[at];
        if buried.failed || (buried.watches.is_none() && !buried.doomed) {
            let made_for = buried.made_for;
            self.unwanted(made_for);
            self.hopeless.push(made_for);
        }
        self.take(at);
    }

    /// Ends those that `which` names, and says whose ends are to be waited for.
    pub fn drain(&mut self, which: impl Fn(Use) -> bool) -> Vec<Pid> {
        let ended = self.all.iter_mut().filter(|warm| which(warm.made_for));
        ended
            .map(|warm| {
                warm.end();
                warm.sandbox.pid
            })
            .collect()
    }
}

impl Warm {
    /// Whether it is still being made.
    fn is_awaited(&self) -> bool {
        !self.doomed && self.watches.is_none()
    }

    /// Waits for it to say that it is ready. One that says anything else ends.
    fn wait(&mut self, patience: Duration) {
        let mut source = [PollFd::new(self.sandbox.handover.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
        if poll(&mut source, timeout) != Ok(1) {
            return;
        }
        match receive::<Ready>(self.sandbox.handover.as_fd()) {
            Ok((Ready, mut watches)) if !watches.is_empty() => self.watches = watches.pop(),
            _ => {
                self.failed = true;
                self.end();
            }
        }
    }

    /// As the first process of its PID namespace it takes the other one along.
    fn end(&mut self) {
        if !std::mem::replace(&mut self.doomed, true) {
            let _ = kill(self.sandbox.pid, Signal::SIGKILL);
        }
    }
}

/// Waits, in the program's process, for the word to begin. False where none will come.
pub fn may_begin(mut begin: &PipeReader) -> bool {
    begin.read_exact(&mut [0; GO.len()]).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_begins_by_the_word_alone() {
        let (waiting, launcher) = std::io::pipe().unwrap();
        drop(launcher);
        assert!(!may_begin(&waiting));
        let (waiting, mut launcher) = std::io::pipe().unwrap();
        launcher.write_all(GO).unwrap();
        assert!(may_begin(&waiting));
    }
}
