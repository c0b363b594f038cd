//! What a policy says of files, as steps with the answer that each must have.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    document::{Statement, Verdict},
    scratch::example,
    step::{Answer, Step},
};
use crate::{
    policy::{Access, Judge, PathRule, Place, Policy},
    sandbox::Session,
};

/// A step with what it must come to.
#[derive(Debug, Clone)]
pub struct Check {
    /// The statement, of which `seen` and `verdict` are filled in by [`Check::answered`].
    pub statement: Statement,
    /// What is tried.
    pub step: Step,
    /// Whether the kernel must let it happen.
    pub allowed: bool,
    /// Why a refusal would be nothing of the policy's: the person may not do it either.
    pub excuse: Option<String>,
    /// Why nothing can be seen by it, whatever comes of the step.
    pub idle: Option<&'static str>,
}

/// There is nothing that could be refused.
const NOTHING_THERE: &str = "nothing is there";
/// A rule of which no path could be made up.
const NO_EXAMPLE: &str = "no path was found that it decides over";

impl Check {
    /// A check of one claim.
    pub fn new(claim: &'static str, on: &'static str, said: &str, tried: String, step: Step, allowed: bool) -> Self {
        let statement = Statement { claim, said: said.to_owned(), origin: None, on, tried, seen: String::new(), verdict: Verdict::Untried };
        Self { statement, step, allowed, excuse: None, idle: None }
    }

    /// The statement with what was seen.
    #[must_use]
    pub fn answered(self, answer: Option<&Answer>) -> Statement {
        let Self { mut statement, allowed, excuse, idle, .. } = self;
        if let Some(why) = idle {
            why.clone_into(&mut statement.seen);
            return statement;
        }
        (statement.verdict, statement.seen) = match answer {
            None => (Verdict::Fails, "the probe ended before it was tried".to_owned()),
            Some(Answer::Refused(why)) if allowed && excuse.is_some() => {
                (Verdict::Untried, format!("{why}: {}", excuse.unwrap_or_default()))
            }
            Some(answer) if answer.worked() == allowed => (Verdict::Holds, answer.text().to_owned()),
            Some(answer) => (Verdict::Fails, answer.text().to_owned()),
        };
        statement
    }
}

/// Which places of a policy are tried in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// Those of the person and the machine, as they are.
    Host,
    /// Those of the workspace and home, with everything planted.
    Planted,
    /// Those that are protected, while they are absent.
    Bare,
}

/// The checks of a session's files.
pub fn checks(policy: &Policy, session: &Session, on: On, name: &str) -> Vec<Check> {
    let anchors = session.anchors();
    let judge = Judge::new(policy, &anchors);
    let here = if on == On::Host { "host" } else { "scratch" };
    let mut out = Vec::new();
    let mut add = |claim, rule: &PathRule, tried: &str, path: &Path, step, allowed, excuse, idle| {
        let mut check = Check::new(claim, here, &rule.place.to_string(), format!("{tried} {}", path.display()), step, allowed);
        check.statement.origin = Some(rule.origin.to_string());
        check.excuse = excuse;
        check.idle = idle;
        out.push(check);
    };
    let find = |rule: &PathRule| match (&rule.place, on) {
        (Place::WorkspaceGlob(_), On::Host) | (Place::Workspace(_), On::Host) | (Place::Absolute(_), On::Planted | On::Bare) => None,
        (Place::WorkspaceGlob(glob), _) => Some(session.workspace.join(example(glob))),
        (place, _) => anchors.path(place),
    };
    let files = &policy.filesystem;
    let given = [("read", Access::Read, &files.read), ("write", Access::Write, &files.write)];
    let given = given.into_iter().flat_map(|(claim, access, lists)| lists.iter().flatten().map(move |rule| (claim, access, rule)));
    for (claim, access, rule) in given.filter(|_| on != On::Bare) {
        let Some(path) = find(rule) else { continue };
        // A folder that another layer leaves out may still be there because something below it is granted.
        if judge.judge(&path, access).allowed {
            let (there, excuse) = outside(&path, access);
            let private = matches!(rule.place, Place::Temporary | Place::PrivateHome);
            let idle = (!there && !private).then_some(NOTHING_THERE);
            let (step, excuse) = match access {
                Access::Read => (Step::Read(path.clone()), excuse),
                Access::Write => (Step::Write(path.clone(), name.to_owned()), excuse.filter(|_| !private)),
            };
            add(claim, rule, claim, &path, step, there || private, excuse, idle);
        }
    }
    for rule in files.deny.iter().filter(|_| on != On::Bare) {
        let Some(path) = find(rule) else { continue };
        let idle = match fs::symlink_metadata(&path) {
            Err(_) => Some(NOTHING_THERE),
            Ok(_) => judge.judge(&path, Access::Read).allowed.then_some(NO_EXAMPLE),
        };
        add("deny", rule, "read", &path, Step::Read(path.clone()), false, None, idle);
        add("deny", rule, "write", &path, Step::Write(path.clone(), name.to_owned()), false, None, idle);
    }
    for rule in &files.protect {
        let Some(path) = find(rule) else { continue };
        if judge.judge(&path, Access::Write).allowed {
            add("protect", rule, "write", &path, Step::Write(path.clone(), name.to_owned()), false, None, Some(NO_EXAMPLE));
            continue;
        }
        match (on, fs::symlink_metadata(&path).is_ok()) {
            (On::Bare, true) => {}
            (On::Bare, false) if matches!(rule.place, Place::WorkspaceGlob(_)) => {}
            (_, false) => add("protect", rule, "make, while it is absent,", &path, Step::Make(path.clone()), false, None, None),
            (_, true) => {
                add("protect", rule, "write", &path, Step::Write(path.clone(), name.to_owned()), false, None, None);
                // A person's own file is not moved, not even for a moment, where this very promise should not hold.
                if on != On::Host {
                    add("protect", rule, "rename", &path, Step::Move(path.clone()), false, None, None);
                }
            }
        }
    }
    out
}

/// Whether something is there, and why the person could not do this outside of a sandbox either.
fn outside(path: &Path, access: Access) -> (bool, Option<String>) {
    if fs::metadata(path).is_err() {
        return (false, None);
    }
    let flags = if access == Access::Write { nix::unistd::AccessFlags::W_OK } else { nix::unistd::AccessFlags::R_OK };
    // Root reads past permissions outside by a capability that no call has.
    let root =
        nix::unistd::geteuid().is_root().then(|| "root's calls have no capabilities, so the permissions of files bind them".to_owned());
    let refused = nix::unistd::access(path, flags).err().map(|errno| format!("it is refused outside of a sandbox too ({})", errno.desc()));
    let linked = path.is_symlink().then(|| "it is a link; what counts is where it leads".to_owned());
    (true, refused.or(linked).or(root.filter(|_| fs::metadata(path).is_ok_and(|found| !is_open_to_owner(&found, access)))))
}

fn is_open_to_owner(metadata: &fs::Metadata, access: Access) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let bit = if access == Access::Write { 2 } else { 4 };
    let class = if metadata.uid() == nix::unistd::geteuid().as_raw() { 6 } else { 0 };
    metadata.mode() & (bit << class) != 0
}

/// What no policy's list names: it must be closed, unless one covers it.
pub fn elsewhere(policy: &Policy, session: &Session, outside: &Path) -> Vec<Check> {
    let anchors = session.anchors();
    let judge = Judge::new(policy, &anchors);
    let file = outside.join("file");
    let new: PathBuf = outside.join("new");
    let state = session.state.join("log");
    let read = judge.judge(&file, Access::Read).allowed;
    let write = judge.judge(&file, Access::Write).allowed;
    let said = "no other file or folder";
    vec![
        Check::new("read", "scratch", said, format!("read {}", file.display()), Step::Read(file.clone()), read),
        Check::new("write", "scratch", said, format!("write {}", file.display()), Step::Write(file, String::new()), write),
        Check::new("write", "scratch", said, format!("make {}", new.display()), Step::Make(new), write),
        Check::new("deny", "scratch", "the state of portcullis", format!("read {}", state.display()), Step::Read(state), false),
    ]
}
