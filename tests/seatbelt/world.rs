//! A Mac that is nobody's: where things lie on it, and profiles for it.

use std::{collections::BTreeMap, path::Path};

use portcullis::{
    policy::{self, Policy},
    sandbox::{
        Linked, Plan, Session,
        macos::{
            profile::{Facts, Profile, render},
            refusal::Refusal,
        },
    },
};

use crate::evaluator::{About, Evaluator, Operation};

pub const WORKSPACE: &str = "/Users/me/project";
pub const PRIVATE: &str = "/private/var/folders/ab/cd/T/portcullis-x";

pub fn session() -> Session {
    Session {
        linked: None,
        workspace: WORKSPACE.into(),
        home: "/Users/me".into(),
        private: PRIVATE.into(),
        state: "/Users/me/.local/state/portcullis".into(),
        environment: BTreeMap::from([("PATH".to_owned(), "/Users/me/.cargo/bin:/opt/homebrew/bin:/usr/bin:/bin".to_owned())]),
    }
}

/// A session in a linked worktree.
pub fn linked() -> Session {
    let common = Path::new("/Users/me/main/.git");
    Session { linked: Some(Linked { own: common.join("worktrees/project"), common: common.into() }), ..session() }
}

/// A policy on top of a preset's.
pub fn policy(base: &str, rules: &str) -> Policy {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.toml");
    std::fs::write(&path, format!("schema = 1\nname = \"p\"\nextends = \"{base}\"\n{rules}\n")).unwrap();
    policy::load(&policy::Search { chosen: Some(path.display().to_string()), ..policy::Search::default() }).unwrap()
}

pub fn plan(base: &str, rules: &str) -> Plan {
    Plan::new(&policy(base, rules), &session()).unwrap()
}

pub fn profile(plan: &Plan, facts: &Facts<'_>) -> Profile {
    render(plan, facts).unwrap_or_else(|refusal| panic!("{refusal}"))
}

pub fn refusal(plan: &Plan) -> Refusal {
    render(plan, &Facts::default()).expect_err("it is refused")
}

/// A profile that can be asked.
pub struct Asked(pub Evaluator);

impl Asked {
    pub fn of(profile: &Profile) -> Self {
        Self(Evaluator::new(&profile.text, &profile.parameters).unwrap_or_else(|error| panic!("{error}\n{}", profile.text)))
    }

    pub fn plan(plan: &Plan) -> Self {
        Self::of(&profile(plan, &Facts::default()))
    }

    fn file(&self, names: &[&str], path: &str) -> bool {
        self.0.allows_all(names, &About::File(Path::new(path)))
    }

    pub fn reads(&self, path: &str) -> bool {
        self.file(&["file-read-metadata", "file-read-data"], path)
    }

    /// To change what is there.
    pub fn writes(&self, path: &str) -> bool {
        self.file(&["file-write-data", "file-write-mode"], path)
    }

    pub fn makes(&self, path: &str) -> bool {
        self.file(&["file-write-create", "file-write-data"], path)
    }

    pub fn removes(&self, path: &str) -> bool {
        self.file(&["file-write-unlink"], path)
    }

    /// rename(2) asks for the old name and for the new one, and for nothing that lies in a folder.
    pub fn moves(&self, from: &str, to: &str) -> bool {
        self.file(&["file-write-unlink"], from) && self.file(&["file-write-create"], to)
    }

    pub fn runs(&self, path: &str) -> bool {
        self.file(&["process-exec", "file-read-data", "file-map-executable"], path)
    }

    pub fn named(&self, operation: &str, name: &str) -> bool {
        self.0.allows(&Operation { name: operation, about: About::Name(name) })
    }

    pub fn asks(&self, operation: &str, about: About<'_>) -> bool {
        self.0.allows(&Operation { name: operation, about })
    }
}
