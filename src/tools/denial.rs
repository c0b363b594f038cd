//! From a call that failed to the refusals behind it: which path or host, which layer, which rule, and what would have allowed it.
//!
//! A file tool reports the very access that the kernel refused, and the system call filter each call that it refused. Of a file that a program
//! was refused only the program's words tell, so there the policy is asked about each path that its words name, and the result is labelled as
//! inferred. A program that merely prints "permission denied" about something that the policy allows is not taken for a refusal.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::access::absolute;
use crate::{
    audit::Denial,
    egress::{Connection, Ending},
    policy::host::HostReason,
    policy::{self, Anchors, GitAccess, Judge, NetworkMode, Place, Policy, Reason, Wider},
    sandbox::{self, RefusedCall, Session, Undone, UndoneKind},
    worker::{self, ErrorKind},
};

/// Words of programs for a refused write.
const WRITE_WORDS: [&str; 11] = [
    "file exists",
    "no such device or address",
    "not a directory",
    "is a directory",
    "read-only file system",
    "cannot create",
    "resource busy",
    "cannot remove",
    "cannot move",
    "could not write",
    "cannot touch",
];
/// Words of programs for a refused access of any kind.
const REFUSAL_WORDS: [&str; 10] = [
    // What stands in the place of an absent protected name.
    "file exists",
    "no such device or address",
    "not a directory",
    "is a directory",
    "permission denied",
    "operation not permitted",
    "read-only file system",
    "resource busy",
    "no such file or directory",
    "directory nonexistent",
];
/// Words of programs for a network that cannot be reached.
const NETWORK_WORDS: [&str; 6] = [
    "could not resolve",
    "network is unreachable",
    "temporary failure in name resolution",
    "name or service not known",
    "failed to lookup",
    "socket: operation not permitted",
];
/// The same, but words that a program also has for a server of its own that does not run. With a private loopback they count only where
/// the call failed.
const CONNECTION_WORDS: [&str; 4] = ["connection refused", "couldn't connect", "failed to connect", "/dev/tcp/"];
/// Calls that programs try and do without. Their refusal explains nothing.
const TRIED_AND_DONE_WITHOUT: [&str; 4] = ["io_uring_setup", "userfaultfd", "perf_event_open", "keyctl"];
/// The last lines of a program's output, which are those that are read.
const LINES: usize = 400;
/// The most paths that are looked at for one call.
const PATHS: usize = 64;

/// Explains refusals under one policy in one session.
#[derive(Debug)]
pub struct Explainer {
    judge: Judge,
    anchors: Anchors,
    network: NetworkMode,
    network_rule: String,
    git: GitAccess,
    /// The files that only bound the policy, which no policy of the person's own outweighs.
    bounds: Vec<String>,
    /// Whether Landlock refuses as well.
    landlock: bool,
}

impl Explainer {
    /// Prepares for a policy in a session.
    pub fn new(policy: &Policy, session: &Session) -> Self {
        let anchors = session.anchors();
        Self {
            judge: Judge::new(policy, &anchors),
            anchors,
            network: policy.network.mode,
            git: policy.git,
            landlock: sandbox::lost(policy).is_none(),
            bounds: policy.sources.iter().filter(|(_, role)| role == "system" || role == "project").map(|(file, _)| file.clone()).collect(),
            network_rule: policy.network.mode_origin.as_ref().map_or_else(|| format!("policy {}", policy.name), ToString::to_string),
        }
    }

    /// What a file tool was refused.
    pub fn of_worker(&self, reply: &worker::Reply, cwd: &Path) -> Vec<Denial> {
        let worker::Reply::Refused { kind, path: Some(path), access, errno, .. } = reply else { return Vec::new() };
        if !matches!(kind, ErrorKind::Denied | ErrorKind::NotFound) {
            return Vec::new();
        }
        let access = match access {
            worker::Access::Read => policy::Access::Read,
            worker::Access::Write => policy::Access::Write,
        };
        let reported = *kind == ErrorKind::Denied && errno.is_some();
        self.of_path(&self.resolve(path, cwd), access, if reported { "kernel" } else { "inferred" }).into_iter().collect()
    }

    /// What a shell command was refused: what the kernel reported, and what follows from the program's words. `failed` says whether the command
    /// failed by its own account.
    pub fn of_program(&self, output: &str, cwd: &Path, refused: &[RefusedCall], failed: bool) -> Vec<Denial> {
        let lines: Vec<(&str, String)> = output.lines().rev().take(LINES).map(|line| (line, line.to_lowercase())).collect();
        let says = |lowered: &str, words: &[&str]| words.iter().any(|word| lowered.contains(word));
        let said = |words: &[&str]| lines.iter().any(|(_, lowered)| says(lowered, words));
        let access = if said(&WRITE_WORDS) { policy::Access::Write } else { policy::Access::Read };
        // Only what the program's own words are about: a path of the command that they do not name was perhaps never reached.
        let refusing = lines.iter().filter(|(_, lowered)| says(lowered, &REFUSAL_WORDS));
        let named = refusing.flat_map(|(line, _)| words(line)).take(PATHS);
        let mut denials: BTreeSet<Denial> = named.filter_map(|word| self.of_path(&self.resolve(&word, cwd), access, "inferred")).collect();
        let internet =
            |call: &&RefusedCall| call.call == "socket" && call.detail.as_ref().is_some_and(|family| family.starts_with("AF_INET"));
        let reported = refused.iter().any(|call| internet(&call));
        let spoken = said(&NETWORK_WORDS) || (said(&CONNECTION_WORDS) && (failed || self.network == NetworkMode::None));
        if reported || (self.network != NetworkMode::Open && spoken) {
            denials.insert(self.of_network(if reported { "kernel" } else { "inferred" }));
        }
        if failed {
            let telling = refused.iter().filter(|call| !internet(call) && explains(call));
            denials.extend(telling.map(of_call));
        }
        denials.into_iter().collect()
    }

    fn of_network(&self, certainty: &str) -> Denial {
        let (layer, wider) = match self.network {
            NetworkMode::None => ("seccomp and network namespace", "mode = \"loopback\" for servers of the call's own, or \"open\","),
            _ => ("network namespace: nothing but the call's own loopback", "mode = \"open\""),
        };
        Denial {
            resource: "network".to_owned(),
            access: "connect".to_owned(),
            layer: layer.to_owned(),
            rule: self.network_rule.clone(),
            certainty: certainty.to_owned(),
            grant: Some(format!("{wider} under [network] in a policy of your own")),
            wider: None,
        }
    }

    /// What the proxy refused; `None` where it did not.
    pub fn of_connection(&self, connection: &Connection) -> Option<Denial> {
        let Connection { target, ending, rule, method, .. } = connection;
        let (what, grant) = match ending {
            Ending::Served | Ending::Unreachable(_) | Ending::Refused(HostReason::Allowed) => return None,
            Ending::Refused(HostReason::Denied) => (
                target.clone(),
                rule.as_ref().map(|(rule, origin)| format!("a policy of your own that extends none with \"{rule}\" under deny ({origin})")),
            ),
            Ending::Refused(HostReason::NotPublic) => {
                let grant = "name the very address too, under allow in [network] in a policy of your own, if calls may reach it";
                (format!("{target} (its name leads to an address that is not public)"), Some(grant.to_owned()))
            }
            Ending::Refused(_) => {
                let bound = rule.as_ref().map(|(_, origin)| &origin.file).filter(|file| self.bounds.contains(file));
                let file =
                    bound.map_or_else(|| "a policy of your own".to_owned(), |file| format!("{file}, which bounds every policy here"));
                (target.clone(), Some(format!("add \"{target}\" to allow under [network] in {file}")))
            }
            Ending::NoHost(why) => (format!("{target} ({why})"), None),
            Ending::OtherName(other) => (format!("{target} (another host was named in it: {other})"), None),
        };
        let wider = matches!(ending, Ending::Refused(HostReason::NotCovered | HostReason::Port)).then(|| Wider::Host(target.clone()));
        let method = method.as_ref().filter(|_| *ending == Ending::Refused(HostReason::Method));
        Some(Denial {
            resource: method.map_or(what.clone(), |method| format!("{what} ({method})")),
            access: "connect".to_owned(),
            layer: "the proxy".to_owned(),
            rule: match rule {
                Some((_, origin)) => origin.to_string(),
                None if matches!(ending, Ending::NoHost(_)) => "what the proxy understands".to_owned(),
                None => format!("allow under [network], which is empty ({})", self.network_rule),
            },
            certainty: "observed".to_owned(),
            grant,
            wider,
        })
    }

    /// What a call had made and what was taken out of effect at its end.
    pub fn of_undone(&self, undone: &Undone) -> Denial {
        let because = self.judge.judge(&undone.path, policy::Access::Write).because;
        let rule = match (undone.kind, &because.rule) {
            (UndoneKind::ProtectedName, Some(rule)) => rule.origin.to_string(),
            (UndoneKind::ProtectedName, None) => "[filesystem] protect".to_owned(),
            _ => "[git] allow".to_owned(),
        };
        let grant = because.rule.filter(|_| undone.kind == UndoneKind::ProtectedName && because.kind == Reason::Protected);
        let now = match (&undone.became, &undone.failed) {
            (_, Some(reason)) => format!("it could not be undone: {reason}"),
            (Some(became), None) => format!("it is now {}", self.named(became)),
            (None, None) => "it is gone".to_owned(),
        };
        Denial {
            resource: format!("{} ({}; {now})", self.named(&undone.path), undone.kind.words()),
            access: "write".to_owned(),
            layer: "the sweep at the call's end".to_owned(),
            rule,
            certainty: "observed".to_owned(),
            grant: grant.map(|rule| format!("a policy of your own that extends none with \"{}\" under protect", rule.place)),
            wider: None,
        }
    }

    /// What refuses a path, and what would allow it; `None` where it is allowed.
    pub fn of_path(&self, path: &Path, access: policy::Access, certainty: &str) -> Option<Denial> {
        let verdict = self.judge.judge(path, access);
        if verdict.allowed {
            return None;
        }
        let because = verdict.because;
        let write = access == policy::Access::Write;
        let layer = match because.kind {
            Reason::Denied => "mount namespace: masked",
            Reason::Protected | Reason::GitReadOnly => "mount namespace: read-only",
            _ => match (write && self.judge.judge(path, policy::Access::Read).allowed, self.landlock) {
                (true, true) => "mount namespace and landlock: read-only",
                (true, false) => "mount namespace: read-only",
                (false, true) => "mount namespace and landlock: not in view",
                (false, false) => "mount namespace: not in view",
            },
        };
        let rule = match &because.rule {
            // The list lacks the path; which of its entries stands first does not matter.
            Some(rule) if because.kind == Reason::NotCovered => format!("{}:{}", rule.origin.file, rule.origin.line),
            Some(rule) => rule.origin.to_string(),
            None if because.kind == Reason::GitReadOnly => "[git] allow".to_owned(),
            None => format!("{} under [filesystem], which is empty", if write { "write" } else { "read" }),
        };
        let named = self.named(path);
        let list = if write { "write" } else { "read" };
        let wider = (because.kind == Reason::NotCovered)
            .then(|| if write { Wider::Write(path.to_path_buf()) } else { Wider::Read(path.to_path_buf()) });
        let bound = because.rule.as_ref().map(|rule| &rule.origin.file).filter(|file| self.bounds.contains(file));
        let grant = match because.kind {
            _ if because.rule.as_ref().is_some_and(|rule| always_protected(&rule.place)) => None,
            Reason::NotCovered if bound.is_some() => {
                bound.map(|file| format!("add \"{named}\" to {list} under [filesystem] in {file}, which bounds every policy here"))
            }
            Reason::NotCovered => {
                let folder = if write { " (its folder, if it is new)" } else { "" };
                Some(format!("add \"{named}\"{folder} to {list} under [filesystem] in a policy of your own"))
            }
            // What denies and protects adds up along `extends`, so that no child can take it back.
            Reason::Denied | Reason::Protected => because.rule.as_ref().map(|rule| {
                let list = if because.kind == Reason::Denied { "deny" } else { "protect" };
                format!("a policy of your own that extends none with \"{}\" under {list}", rule.place)
            }),
            Reason::GitReadOnly if self.git == GitAccess::None => Some("allow = \"commit\" under [git] in a policy of your own".to_owned()),
            Reason::GitReadOnly | Reason::Allowed => None,
        };
        Some(Denial {
            resource: named,
            access: if write { "write" } else { "read" }.to_owned(),
            layer: layer.to_owned(),
            rule,
            certainty: certainty.to_owned(),
            grant,
            wider,
        })
    }

    /// A path as a policy would name it: below the workspace, below the home folder, or absolute.
    pub(super) fn named(&self, path: &Path) -> String {
        let below = |folder: &Path| path.strip_prefix(folder).ok().filter(|rest| !rest.as_os_str().is_empty());
        match (below(&self.anchors.workspace), below(&self.anchors.home)) {
            (Some(rest), _) => rest.display().to_string(),
            (None, Some(rest)) => format!("~/{}", rest.display()),
            (None, None) => path.display().to_string(),
        }
    }

    fn resolve(&self, word: &str, cwd: &Path) -> PathBuf {
        match word.strip_prefix("$HOME/") {
            Some(rest) => absolute(rest, &self.anchors.home, &self.anchors.home),
            None => absolute(word, cwd, &self.anchors.home),
        }
    }
}

/// What runs outside of the sandbox when git is used next is written under no policy.
fn always_protected(place: &Place) -> bool {
    let of_git = matches!(place, Place::Workspace(path) if path.starts_with(".git"));
    of_git && policy::group("git-exec").ok().flatten().is_some_and(|group| group.rules.iter().any(|rule| rule.place == *place))
}

/// Whether the refusal of a call can be why a program failed.
pub fn explains(call: &RefusedCall) -> bool {
    !TRIED_AND_DONE_WITHOUT.contains(&call.call.as_str())
}

/// A system call that the kernel reported as refused.
fn of_call(call: &RefusedCall) -> Denial {
    Denial {
        resource: call.sentence(),
        access: "call".to_owned(),
        layer: "seccomp".to_owned(),
        rule: "the system call filter".to_owned(),
        certainty: "kernel".to_owned(),
        grant: None,
        wider: None,
    }
}

/// The words of a text that could be paths: those with a slash, or a dot in front.
fn words(text: &str) -> Vec<String> {
    let separators = |c: char| c.is_whitespace() || "'\"`‘’;|&()<>,".contains(c);
    text.split(separators)
        .map(|word| word.trim_matches(|c| c == ':' || c == '='))
        .filter(|word| word.len() > 1 && word.len() < 4096 && (word.contains('/') || word.starts_with('.')))
        // Bash's own names for sockets are no paths.
        .filter(|word| !word.starts_with("/dev/tcp/") && !word.starts_with("/dev/udp/"))
        .map(str::to_owned)
        .collect()
}
