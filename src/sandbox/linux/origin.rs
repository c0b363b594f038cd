//! What the view of a sandbox that is made ahead was made from and that no watch tells of: which folders the roots are, the host's mounts, and its sockets.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::PathBuf,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{host_sockets::HostSockets, view};
use crate::sandbox::plan::{self, Plan};

/// See the module. Taken before the sandbox is made.
#[derive(Debug)]
pub struct Origin {
    roots: Vec<Root>,
    workspace: PathBuf,
    sockets: BTreeSet<PathBuf>,
    /// Tells of every change of this namespace's mounts (proc_pid_mountinfo(5)); none where it could not be opened.
    mounts: Option<File>,
}

/// Where a root lies, and what it is: the entry itself, and what it leads to. A mount of the sandbox's own keeps a removed folder alive, so that its end is
/// not told.
#[derive(Debug, PartialEq, Eq)]
struct Root {
    source: PathBuf,
    real: Option<PathBuf>,
    entry: Option<(u64, u64)>,
    place: Option<(u64, u64)>,
}

fn identity(found: std::io::Result<fs::Metadata>) -> Option<(u64, u64)> {
    found.ok().map(|found| (found.dev(), found.ino()))
}

impl Root {
    fn of(source: PathBuf) -> Self {
        Self {
            real: fs::canonicalize(&source).ok(),
            entry: identity(fs::symlink_metadata(&source)),
            place: identity(fs::metadata(&source)),
            source,
        }
    }

    fn is_same(&self) -> bool {
        // What is no link leads to itself.
        let leads_on = self.entry.is_some() && self.entry != self.place;
        self.entry == identity(fs::symlink_metadata(&self.source)) && (!leads_on || self.place == identity(fs::metadata(&self.source)))
    }
}

impl Origin {
    /// As it is now.
    pub fn of(plan: &Plan) -> Self {
        let mounts = File::open("/proc/self/mountinfo").ok();
        // Of one that comes to be the watches tell.
        let there = |root: &plan::Root| {
            (!view::is_watched(root) || fs::symlink_metadata(&root.source).is_ok()).then(|| Root::of(root.source.clone()))
        };
        let roots: Vec<Root> = plan.roots.iter().filter_map(there).collect();
        let shown: Vec<PathBuf> = roots.iter().filter_map(|root| root.real.clone()).collect();
        let sockets = HostSockets::of(std::process::id()).in_reach(&shown, &plan.workspace);
        Self { roots, workspace: plan.workspace.clone(), sockets, mounts }
    }

    /// Whether it still is.
    pub fn is_same(&self) -> bool {
        let Some(mounts) = &self.mounts else { return false };
        let mut changed = [PollFd::new(mounts.as_fd(), PollFlags::POLLPRI)];
        if poll(&mut changed, PollTimeout::ZERO) != Ok(0) || !self.roots.iter().all(Root::is_same) {
            return false;
        }
        let shown: Vec<PathBuf> = self.roots.iter().filter_map(|root| root.real.clone()).collect();
        HostSockets::of(std::process::id()).in_reach(&shown, &self.workspace) == self.sockets
    }
}
