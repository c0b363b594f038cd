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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        policy,
        sandbox::{Root, Session},
    };

    fn session() -> Session {
        Session {
            workspace: "/home/me/project".into(),
            home: "/home/me".into(),
            private: "/scratch/portcullis-x".into(),
            state: "/home/me/state".into(),
            linked: None,
            environment: BTreeMap::from([("PATH".to_owned(), "/home/me/tools:/home/me/project/bin:/usr/bin".to_owned())]),
        }
    }

    fn plan(preset: &str) -> Plan {
        Plan::new(&policy::preset(preset).unwrap(), &session()).unwrap()
    }

    /// Where a change would be one of the host's.
    fn written(plan: &Plan) -> Vec<&Root> {
        plan.roots.iter().filter(|root| root.access == Access::Write && !root.is_private()).collect()
    }

    #[test]
    fn everything_is_readable_and_nothing_more_is_writable_or_unprotected() {
        for preset in ["workspace-write", "read-only", "locked", "networked"] {
            let (base, observing) = (plan(preset), plan(preset).observing(&["/home/me/.ssh".into()], true));
            assert_eq!(written(&base), written(&observing), "{preset}");
            assert!(observing.roots.iter().any(|root| root.target == Path::new("/") && root.access == Access::Read), "{preset}");
            assert!(base.deny.iter().all(|path| observing.deny.contains(path)), "{preset}");
            for denied in ["/home/me/.ssh", "/home/me/state", "/scratch/portcullis-x"] {
                assert!(observing.deny.contains(&denied.into()), "{preset}: {denied}");
            }
            let kept = |plan: &Plan| (plan.protect.clone(), plan.protect_globs.clone(), plan.deny_globs.clone(), plan.git, plan.limits);
            assert_eq!(kept(&base), kept(&observing), "{preset}");
            let reaches = if base.network == NetworkMode::None { NetworkMode::Loopback } else { base.network };
            assert_eq!(observing.network, reaches, "{preset}");
        }
    }

    #[test]
    fn a_private_home_shows_the_real_one_and_keeps_what_is_written() {
        let home = |plan: &Plan| plan.roots.iter().find(|root| root.target == Path::new("/home/me")).cloned().unwrap();
        let shown = home(&plan("workspace-write").observing(&[], true));
        assert_eq!((shown.source.as_path(), shown.copy.is_some()), (Path::new("/home/me"), true));
        assert_eq!(
            home(&plan("workspace-write").observing(&[], false)),
            home(&plan("workspace-write")),
            "who has no home keeps the private one"
        );
    }

    #[test]
    fn programs_of_the_home_folder_are_found_and_those_of_the_workspace_are_not() {
        let policy = policy::preset("workspace-write").unwrap();
        let path = |plan: &Plan| plan.environment(&policy, &session()).into_iter().find(|(name, _)| name == "PATH").unwrap().1;
        assert_eq!(path(&plan("workspace-write").observing(&[], true).observing_environment()), "/home/me/tools:/usr/bin");
        assert_eq!(path(&plan("workspace-write")), "/usr/bin");
    }
}
