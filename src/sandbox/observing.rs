//! The plan under which a command is observed, so that a policy can be proposed for it: what it reads is let be read and noted, and all
//! else is as it was.

use std::path::{Path, PathBuf};

use super::plan::{Access, Plan, Root};
use crate::policy::NetworkMode;

/// Folders of the session's private one that such a plan needs besides the usual ones.
pub const OBSERVING_FOLDERS: [&str; 1] = ["run"];

impl Plan {
    /// This plan with everything readable that the person can read, except what it denies and `floor`. What may be written, what is protected,
    /// git and the limits stay as they are.
    ///
    /// Three things are not what they were, so that more can be seen and no more can be reached. A private home shows the real one, and takes
    /// what is written as before: it is an overlay. `/run`, where the sockets of the host's services lie, is empty. And without a network there
    /// is a loopback of the call's own, so that it is known what the command would connect to. Who has no home folder (`has_home`) keeps the
    /// private one.
    #[must_use]
    pub fn observing(&self, floor: &[PathBuf], has_home: bool) -> Self {
        let mut plan = self.clone();
        let private_home = |root: &&mut Root| has_home && root.target == self.home && root.source.starts_with(&self.private);
        for root in plan.roots.iter_mut().filter(private_home) {
            root.source.clone_from(&self.home);
            root.copy = (root.access == Access::Write).then(|| self.private.join("copies/home"));
        }
        let whole = [(PathBuf::from("/"), PathBuf::from("/")), (PathBuf::from("/run"), self.private.join("run"))];
        for (target, source) in whole {
            if !plan.roots.iter().any(|root| root.target == target) {
                plan.roots.push(Root { target, source, access: Access::Read, required: true, copy: None });
            }
        }
        plan.roots.sort();
        plan.deny.extend(floor.iter().cloned());
        plan.deny.push(self.private.clone());
        plan.deny.sort();
        plan.deny.dedup();
        if plan.network == NetworkMode::None {
            plan.network = NetworkMode::Loopback;
        }
        plan
    }

    /// The same plan for its environment alone: a program in the home folder is found by its name, because what is written there in this one
    /// call is gone before the next.
    #[must_use]
    pub fn observing_environment(&self) -> Self {
        let mut plan = self.clone();
        let home: &Path = &self.home;
        plan.roots.iter_mut().filter(|root| root.target == home && root.copy.is_some()).for_each(|root| root.access = Access::Read);
        plan
    }
}
