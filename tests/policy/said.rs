//! The text that the model reads says of paths and commands what the one decision says. It is read here by its words alone.

use std::path::{Path, PathBuf};

use portcullis::{
    approval::{Binaries, Judgement, Rules, shell::Dialect},
    policy::{
        Access, ClaimKind, Judge, Policy, claims, group,
        layers::{Role, narrow},
        place,
    },
};
use proptest::prelude::*;

use super::{PROBES, anchors, body, parse};

/// The names of one list in a claim.
#[derive(Debug, Default)]
struct Names {
    roots: Vec<PathBuf>,
    globs: Vec<String>,
    private_tmp: bool,
    private_home: bool,
}

impl Names {
    fn read(text: &str) -> Self {
        let mut names =
            Self { private_tmp: text.contains("the private /tmp"), private_home: text.contains("the private ~"), ..Self::default() };
        let anchors = anchors();
        if text.contains("the workspace") {
            names.roots.push(anchors.workspace.clone());
        }
        for name in text.split('`').skip(1).step_by(2) {
            match name.strip_prefix("~/") {
                Some(below) => names.roots.push(anchors.home.join(below)),
                None if name.starts_with('/') => names.roots.push(PathBuf::from(name)),
                None if name.contains('*') => names.globs.push(name.to_owned()),
                None => names.roots.push(anchors.workspace.join(name)),
            }
        }
        names
    }

    /// The length of the deepest root around a path.
    fn depth(&self, path: &Path) -> Option<usize> {
        self.roots.iter().filter(|root| path.starts_with(root)).map(|root| root.components().count()).max()
    }

    fn matches(&self, path: &Path) -> bool {
        let below = path.strip_prefix(anchors().workspace).ok();
        let glob = |glob: &String| below.is_some_and(|below| below.ancestors().any(|part| place::compile(glob).unwrap().is_match(part)));
        self.depth(path).is_some() || self.globs.iter().any(glob)
    }
}

/// What the text says of files.
struct Said {
    read: Vec<Names>,
    write: Vec<Names>,
    deny: Names,
    protect: Names,
    private_tmp: bool,
    private_home: bool,
    git: Option<ClaimKind>,
}

impl Said {
    fn read(policy: &Policy) -> Self {
        let claims = claims(policy);
        let text = |kind| claims.iter().find(|claim| claim.kind == kind).map_or("", |claim| claim.text.as_str());
        let has = |kind| claims.iter().any(|claim| claim.kind == kind);
        let lists = |text: &str| {
            let list = text.split(". ").next().unwrap();
            list.split("; (").map(Names::read).collect::<Vec<_>>()
        };
        Self {
            read: lists(text(ClaimKind::Reads)),
            write: lists(text(ClaimKind::Writes)),
            deny: Names::read(text(ClaimKind::Deny)),
            protect: Names::read(text(ClaimKind::Protect)),
            private_tmp: has(ClaimKind::PrivateTemporary),
            private_home: has(ClaimKind::PrivateHome),
            git: [ClaimKind::GitReadOnly, ClaimKind::GitCommit, ClaimKind::GitFull].into_iter().find(|kind| has(*kind)),
        }
    }

    /// Whether a reader of the text would expect the access to be allowed.
    fn allows(&self, path: &Path, access: Access) -> bool {
        let anchors = anchors();
        let write = access == Access::Write;
        if self.deny.matches(path) || (write && self.protect.matches(path)) {
            return false;
        }
        if write && path.starts_with(anchors.workspace.join(".git")) {
            // "hooks, configuration and attributes of each are read-only"
            let executes = |rule: &portcullis::policy::PathRule| anchors.path(&rule.place).is_some_and(|place| path.starts_with(place));
            if self.git == Some(ClaimKind::GitReadOnly) || group("git-exec").unwrap().unwrap().rules.iter().any(executes) {
                return false;
            }
        }
        // What is covered by all lists, and how deep the deepest of the roots lies.
        let covered =
            |lists: &[Names]| lists.iter().map(|list| list.depth(path)).collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max());
        let (reads, writes) = (covered(&self.read), covered(&self.write));
        let in_tmp = self.private_tmp && path.starts_with(&anchors.temporary);
        let in_home = self.private_home && path.starts_with(&anchors.home) && !path.starts_with(&anchors.workspace);
        if !in_tmp && !in_home {
            return writes.is_some() || (!write && reads.is_some());
        }
        // A private folder hides what is not named at or below it.
        let root = if in_tmp { &anchors.temporary } else { &anchors.home }.components().count();
        let real = |depth: Option<usize>| depth.is_some_and(|depth| depth >= root);
        if real(writes) || (!write && real(reads)) {
            return true;
        }
        if real(reads) {
            return false;
        }
        let named = |lists: &[Names]| lists.iter().all(|list| if in_tmp { list.private_tmp } else { list.private_home });
        named(&self.write) || (!write && named(&self.read))
    }
}

/// What the text says of a plain command.
fn said_of_command(policy: &Policy, text: &str) -> &'static str {
    let claims = claims(policy);
    let of = |kind| claims.iter().find(|claim| claim.kind == kind).map_or("", |claim| claim.text.as_str());
    let begins = |list: &str| list.split('`').skip(1).step_by(2).any(|prefix| text == prefix || text.starts_with(&format!("{prefix} ")));
    let part = |text: &str, head: &str| {
        text.split_once(head).map_or(String::new(), |(_, rest)| rest.split_inclusive('.').next().unwrap().to_owned())
    };
    let rules = of(ClaimKind::Commands);
    let mode = of(ClaimKind::AskMode);
    if begins(&part(rules, "Never run: ")) || begins(&part(rules, "Refused, because they would have to ask: ")) {
        "forbid"
    } else if begins(&part(rules, "where none can be asked it is refused: "))
        || (mode.starts_with("A person is asked before every call") && !begins(&part(mode, "begin with one of: ")))
    {
        "ask"
    } else {
        "allow"
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_text_for_the_model_says_what_is_decided(chosen in body(), bound in prop::option::of(body())) {
        let mut policy = parse(&chosen).complete();
        if let Some(bound) = bound {
            narrow(&mut policy, &parse(&bound), Role::Project);
        }
        let (said, judge) = (Said::read(&policy), Judge::new(&policy, &anchors()));
        // Of `.git` itself no sentence speaks.
        for path in PROBES.iter().filter(|path| !path.ends_with(".git")).map(PathBuf::from) {
            for access in [Access::Read, Access::Write] {
                let decided = judge.judge(&path, access).allowed;
                prop_assert_eq!(said.allows(&path, access), decided, "{:?} of {}: {:#?}", access, path.display(), claims(&policy));
            }
        }
        let binaries = Binaries::find(["a"], &[PathBuf::from("/usr/bin")], &|_| true, &|_| true);
        let rules = Rules::new(&policy, binaries, Dialect::Bash);
        for text in ["a", "a b", "a c", "x"] {
            let decided = match rules.judge(text).judgement {
                Judgement::Allow { .. } => "allow",
                Judgement::Ask { .. } => "ask",
                Judgement::Forbid { .. } => "forbid",
            };
            prop_assert_eq!(said_of_command(&policy, text), decided, "{}: {:#?}", text, claims(&policy));
        }
    }
}
