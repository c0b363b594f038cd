//! The disk space that a call takes, watched by its init.
//!
//! No limit of the kernel's is to be had for it without privilege. So the init looks at how much room is left on the file systems that
//! the call can write to. Others write there too: the limit is against a call that fills the disk, not an account of what it wrote.

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{OFlag, open},
    sys::{
        stat::{Mode, fstat},
        statvfs::fstatvfs,
    },
};

use crate::sandbox::plan::{Access, Plan};

/// How often the file systems are looked at.
const EVERY: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub struct Watch {
    limit: u64,
    /// One folder of each file system, and the room on it when the call began.
    places: Vec<(OwnedFd, u64)>,
    next: Instant,
}

impl Watch {
    /// Watches the writable places of a plan, as they are seen from inside, from now on.
    pub fn new(plan: &Plan) -> Self {
        let (mut places, mut seen) = (Vec::new(), Vec::new());
        for root in plan.roots.iter().filter(|root| root.access == Access::Write) {
            let opened = open(&root.target, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
            if let Ok(opened) = opened
                && let Ok(status) = fstat(&opened)
                && !seen.contains(&status.st_dev)
                && let Some(room) = room(&opened)
            {
                seen.push(status.st_dev);
                places.push((opened, room));
            }
        }
        Self { limit: plan.limits.disk, places, next: Instant::now() + EVERY }
    }

    /// The same from now on, whatever was written before.
    #[must_use]
    pub fn anew(mut self) -> Self {
        for (place, then) in &mut self.places {
            *then = room(place).unwrap_or(*then);
        }
        self.next = Instant::now() + EVERY;
        self
    }

    /// When to look next.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Looks, if it is time. Whether more room is gone from a file system than the limit allows.
    pub fn exceeded(&mut self) -> bool {
        if Instant::now() < self.next {
            return false;
        }
        self.next = Instant::now() + EVERY;
        self.places.iter().any(|(place, then)| room(place).is_some_and(|now| then.saturating_sub(now) > self.limit))
    }
}

/// Free bytes on the file system of a folder.
fn room(place: &OwnedFd) -> Option<u64> {
    let status = fstatvfs(place).ok()?;
    Some(status.blocks_free().saturating_mul(status.fragment_size()))
}
