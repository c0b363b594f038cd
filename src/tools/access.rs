//! Whether wider access can be granted at all, and what a person should know before they do.
//!
//! Nothing is opened. Where a path leads is looked up, because what a person is shown has to be the place that the sandbox will show, and not a
//! link to it.

use std::{
    collections::VecDeque,
    fs,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

use super::confinement::widened;
use crate::{
    policy::{
        Access, Judge, NetworkMode, Origin, PathRule, Place, Policy, Reason, Wider,
        host::{self, Host, HostLists, HostReason, HostRules, Target},
        sockets,
    },
    sandbox::{Plan, Session},
    worker::normalize,
};

/// Access that can be granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grantable {
    /// The access, with the path where it really lies.
    pub(super) wider: Wider,
    /// What a person should know.
    pub(super) warnings: Vec<String>,
}

/// Why access is not granted, or need not be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotGrantable {
    /// The policy gives it.
    #[error("the policy allows this already ({0}); if it fails all the same, that is for another reason")]
    Given(String),
    /// Nobody can grant it in a session.
    #[error("{0}")]
    Refused(String),
}

/// Where nothing that a person could grant makes sense: the host's own insides, and what the next start of the system or of a program runs.
const NEVER: [&str; 5] = ["/proc", "/sys", "/dev", "/boot", "/run/portcullis"];
/// What belongs to the system and is written by no work in a repository.
const NEVER_WRITTEN: [&str; 11] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/run", "/var/spool", "/var/lib"];

/// A path as the model or a program gave it: `~` is the home folder, the rest relative to where calls start, without `.` and `..`.
pub fn absolute(text: &str, cwd: &Path, home: &Path) -> PathBuf {
    let path = match text.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None if text == "~" => home.to_path_buf(),
        None => cwd.join(text),
    };
    normalize(&path)
}

/// Looks at what is asked for, under the policy in force.
pub(super) fn examine(wider: &Wider, policy: &Policy, session: &Session) -> Result<Grantable, NotGrantable> {
    let refuse = |why: String| Err(NotGrantable::Refused(why));
    let (asked, write) = match wider {
        Wider::Read(path) => (path, false),
        Wider::Write(path) => (path, true),
        Wider::Host(host) => return examine_host(host, policy, session),
        Wider::Socket(path) => return examine_socket(path, policy, session),
    };
    let shown = asked.display();
    let path = match fs::canonicalize(asked) {
        Ok(path) => path,
        Err(error) => {
            let folder = asked.parent().filter(|folder| folder.is_dir());
            let instead = folder.map_or_else(String::new, |folder| format!("; ask for its folder, {}", folder.display()));
            return refuse(format!("{shown} cannot be granted, because it cannot be found ({error}){instead}"));
        }
    };
    if path.to_str().is_none() {
        return refuse(format!("{shown} cannot be granted: its name is not UTF-8, so no record could hold it"));
    }
    let anchors = session.anchors();
    let access = if write { Access::Write } else { Access::Read };
    // By both names: what is denied under one of them is denied.
    for name in [asked, &path] {
        let verdict = Judge::new(policy, &anchors).judge(name, access);
        let rule = verdict.because.rule.as_ref().map_or_else(|| "[git] allow".to_owned(), |rule| rule.origin.to_string());
        match verdict.because.kind {
            // A private folder of the session stands in the real one's place; that one is not given.
            Reason::Allowed if *name == path && !is_private(verdict.because.rule.as_ref()) => return Err(NotGrantable::Given(rule)),
            Reason::Allowed | Reason::NotCovered => {}
            Reason::Denied => return refuse(format!("{shown} is denied by the policy ({rule}); no grant takes that back")),
            Reason::Protected | Reason::GitReadOnly => {
                return refuse(format!("{shown} is protected by the policy ({rule}); no grant takes that back"));
            }
        }
    }
    if let Some(why) = too_wide(&path, write, session) {
        return refuse(format!("{shown} cannot be granted: {why}"));
    }
    let found = if write { Wider::Write(path.clone()) } else { Wider::Read(path.clone()) };
    let wide = widened(policy, std::slice::from_ref(&found));
    let verdict = Judge::new(&wide, &anchors).judge(&path, access);
    if !verdict.allowed || is_private(verdict.because.rule.as_ref()) {
        let bound = verdict.because.rule.map_or_else(|| "a further layer of the policy".to_owned(), |rule| rule.origin.file);
        return refuse(format!("{shown} cannot be granted: {bound} bounds what a person may choose, and leaves it out"));
    }
    if let Err(error) = Plan::new(&wide, session) {
        return refuse(format!("{shown} cannot be granted: {error}"));
    }
    let mut warnings = Vec::new();
    if !path.starts_with(&session.workspace)
        && let Some(socket) = socket_below(&path)
    {
        if socket == path {
            return refuse(format!("{shown} cannot be granted as a file: it is a unix socket; ask for it as one (access `socket`)"));
        }
        let when = "those on which somebody listens when a call begins stay out of reach, later ones do not";
        warnings.push(format!("unix sockets lie there, such as {}: {when}", socket.display()));
    }
    if path != *asked {
        warnings.push(format!("{shown} leads to {}, and that is what is granted", path.display()));
    }
    let below_home = path.strip_prefix(&session.home).ok().and_then(|rest| rest.components().next());
    if write && below_home.is_some_and(|first| first.as_os_str().as_encoded_bytes().starts_with(b".")) {
        warnings.push("settings of your own lie there: what is written can run later, outside of the sandbox".to_owned());
    }
    let repository = |folder: &Path| folder.join(".git").exists() || (folder.join("HEAD").exists() && folder.join("objects").exists());
    if write && !path.starts_with(&session.workspace) && path.ancestors().any(repository) {
        warnings.push(
            "it lies in a repository, whose hooks and settings are not protected: what is written can be run by git or an editor later"
                .to_owned(),
        );
    }
    if write && !path.starts_with(&session.workspace) {
        warnings.push("it lies outside of the workspace: git does not show what changes there".to_owned());
    }
    Ok(Grantable { wider: found, warnings })
}

/// Whether a rule is about a place in which a sandbox sees a folder of its own.
pub(super) fn is_private(rule: Option<&PathRule>) -> bool {
    rule.is_some_and(|rule| matches!(rule.place, Place::Temporary | Place::PrivateHome))
}

/// The most entries that are looked at for a socket.
const LOOKED_AT: usize = 10_000;

/// A unix socket that a path is or holds, if one is found soon.
fn socket_below(path: &Path) -> Option<PathBuf> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        return Some(path.to_path_buf());
    }
    let (mut folders, mut seen) = (VecDeque::from([path.to_path_buf()]), 0);
    while let Some(folder) = folders.pop_front() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            seen += 1;
            match entry.file_type() {
                _ if seen > LOOKED_AT => return None,
                Ok(kind) if kind.is_socket() => return Some(entry.path()),
                Ok(kind) if kind.is_dir() => folders.push_back(entry.path()),
                _ => {}
            }
        }
    }
    None
}

/// Why a path is no narrow grant.
fn too_wide(path: &Path, write: bool, session: &Session) -> Option<String> {
    if path.parent().is_none() {
        return Some("it is the root of the file system".to_owned());
    }
    for (place, within, what) in [
        (&session.home, false, "your home folder"),
        (&session.state, true, "the state of portcullis"),
        (&session.private, true, "the private folder of the session"),
    ] {
        if place.starts_with(path) {
            return Some(format!("it is, or holds, {what}"));
        }
        if within && path.starts_with(place) {
            return Some(format!("it belongs to {what}"));
        }
    }
    if session.workspace.starts_with(path) && session.workspace != path {
        return Some("it holds more than the workspace".to_owned());
    }
    // What holds such a place is no better than what lies in it.
    let within = |list: &[&str]| list.iter().any(|place| path.starts_with(place) || Path::new(place).starts_with(path));
    // The sockets of the system and of the person's own services.
    let services = path.starts_with("/run/user") && path.components().count() <= 4;
    if path == Path::new("/run") || services || within(&NEVER) || (write && within(&NEVER_WRITTEN)) {
        return Some("it belongs to the system".to_owned());
    }
    if write {
        let folders = session.environment.get("PATH").map(String::as_str).unwrap_or_default();
        let real = |folder: &str| fs::canonicalize(folder).unwrap_or_else(|_| PathBuf::from(folder));
        let holds = |folder: &PathBuf| folder.starts_with(path) || path.starts_with(folder);
        if let Some(folder) = folders.split(':').filter(|folder| folder.starts_with('/')).map(real).find(holds) {
            return Some(format!("your PATH finds programs in {}", folder.display()));
        }
    }
    None
}

/// Looks at a unix socket of the host's.
fn examine_socket(asked: &Path, policy: &Policy, session: &Session) -> Result<Grantable, NotGrantable> {
    let shown = asked.display();
    let refuse = |why: String| Err(NotGrantable::Refused(format!("{shown} cannot be granted: {why}")));
    let path = match fs::canonicalize(asked) {
        Ok(path) => path,
        Err(error) => return refuse(format!("it cannot be found ({error})")),
    };
    if !fs::metadata(&path).is_ok_and(|found| found.file_type().is_socket()) || path.to_str().is_none() {
        return refuse("it is no unix socket".to_owned());
    }
    let anchors = session.anchors();
    let resolved = |rule: &&PathRule| anchors.path(&rule.place).is_some_and(|place| fs::canonicalize(&place).unwrap_or(place) == path);
    if let Some(rule) = policy.network.sockets.iter().find(resolved) {
        return Err(NotGrantable::Given(rule.origin.to_string()));
    }
    for name in [asked, &path] {
        let because = Judge::new(policy, &anchors).judge(name, Access::Read).because;
        if because.kind == Reason::Denied {
            let rule = because.rule.map_or_else(String::new, |rule| rule.origin.to_string());
            return refuse(format!("the policy denies it ({rule}); no grant takes that back"));
        }
    }
    if path.starts_with(&session.state) || path.starts_with(&session.workspace) {
        return refuse("it lies in the workspace or in portcullis' own state, whose sockets are never reached".to_owned());
    }
    let found = Wider::Socket(path.clone());
    let wide = widened(policy, std::slice::from_ref(&found));
    if !wide.network.sockets.iter().any(|rule| rule.place == Place::Absolute(path.clone())) {
        return refuse("a list of sockets in a further layer bounds what a person may choose, and leaves it out".to_owned());
    }
    if let Err(error) = Plan::new(&wide, session) {
        return refuse(error.to_string());
    }
    let mut warnings = vec![sockets::meaning(&path.to_string_lossy()).to_owned()];
    if path != asked {
        warnings.push(format!("{shown} leads to {}, and that is what is granted", path.display()));
    }
    Ok(Grantable { wider: found, warnings })
}

/// Looks at a host, with or without a port (443 then).
fn examine_host(asked: &str, policy: &Policy, session: &Session) -> Result<Grantable, NotGrantable> {
    let shown: String = asked.chars().take(260).collect();
    let refuse = |why: String| Err(NotGrantable::Refused(format!("{shown} cannot be granted: {why}")));
    let target = match Target::parse(asked, 443) {
        Ok(target) => target,
        Err(error) => return refuse(error.to_string()),
    };
    let mode = policy.network.mode_origin.as_ref().map_or_else(|| format!("policy {}", policy.name), ToString::to_string);
    if policy.network.mode == NetworkMode::Open {
        return Err(NotGrantable::Given(format!("every host can be reached, mode under [network] ({mode})")));
    }
    if let Some((_, origin)) = policy.network.bound.as_ref().filter(|(mode, _)| *mode < NetworkMode::Allowlist) {
        let origin = origin.as_ref().map_or_else(|| "a further layer of the policy".to_owned(), ToString::to_string);
        return refuse(format!("the network mode there bounds what a person may choose ({origin})"));
    }
    let judge = |policy: &Policy| HostLists::of(&policy.network).map(|lists| HostRules::new(&lists).judge(&target, None));
    let by = |rule: Option<(String, Origin)>| {
        rule.map_or_else(|| "a list under [network]".to_owned(), |(rule, origin)| format!("{rule}, {origin}"))
    };
    match judge(policy) {
        Some(verdict) if verdict.allowed() => return Err(NotGrantable::Given(by(verdict.rule))),
        Some(verdict) if verdict.reason == HostReason::Denied => {
            return refuse(format!("the policy denies it ({}); no grant takes that back", by(verdict.rule)));
        }
        _ => {}
    }
    let found = Wider::Host(target.to_string());
    let wide = widened(policy, std::slice::from_ref(&found));
    match judge(&wide) {
        Some(verdict) if verdict.allowed() => {}
        Some(verdict) => return refuse(format!("{} bounds what a person may choose, and leaves it out", by(verdict.rule))),
        None => return refuse("there is no way out under this policy".to_owned()),
    }
    if let Err(error) = Plan::new(&wide, session) {
        return refuse(error.to_string());
    }
    let mut warnings = vec!["what the call can read, it can send there".to_owned()];
    if let Host::Address(address) = target.host
        && !host::is_public(address)
    {
        warnings.push("it is an address of this machine, of a network around it, or of a service that only they can reach".to_owned());
    }
    Ok(Grantable { wider: found, warnings })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::policy;

    struct World {
        _folder: tempfile::TempDir,
        session: Session,
        elsewhere: PathBuf,
    }

    fn world() -> World {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let make = |name: &str| {
            let path = root.join(name);
            fs::create_dir_all(&path).unwrap();
            path
        };
        let (home, bin) = (make("home"), make("programs"));
        make("home/.ssh");
        make("home/.tool");
        let session = Session {
            workspace: make("home/project"),
            home,
            private: make("private"),
            state: make("home/.local/state/portcullis"),
            linked: None,
            environment: BTreeMap::from([("PATH".to_owned(), format!("/usr/bin:{}", bin.display()))]),
        };
        World { elsewhere: make("elsewhere/data"), session, _folder: folder }
    }

    #[test]
    fn one_folder_elsewhere_can_be_granted_and_what_holds_more_than_that_cannot() {
        let world = world();
        let policy = policy::preset("workspace-write").unwrap();
        let ask = |wider: Wider| examine(&wider, &policy, &world.session);
        let data = world.elsewhere.clone();
        assert_eq!(ask(Wider::Read(data.clone())).unwrap().wider, Wider::Read(data.clone()));
        assert!(!ask(Wider::Write(data.clone())).unwrap().warnings.is_empty());
        let of_a_repository = || ask(Wider::Write(data.clone())).unwrap().warnings.iter().any(|warning| warning.contains("hooks"));
        assert!(!of_a_repository());
        fs::create_dir(data.join(".git")).unwrap();
        assert!(of_a_repository());
        let home = &world.session.home;
        let grants = world.session.state.join("grants.json");
        fs::write(&grants, "").unwrap();
        for path in [
            Path::new("/"),
            home.as_path(),
            home.parent().unwrap(),
            &home.join(".ssh"),
            &world.session.state,
            &world.session.private,
            &grants,
            Path::new("/proc/self"),
            Path::new("/dev"),
            Path::new("/no/such/place"),
        ] {
            for wider in [Wider::Read(path.to_path_buf()), Wider::Write(path.to_path_buf())] {
                assert!(matches!(ask(wider.clone()), Err(NotGrantable::Refused(_))), "{wider:?}");
            }
        }
        for path in [Path::new("/usr/bin"), Path::new("/etc"), &data.parent().unwrap().with_file_name("programs")] {
            assert!(matches!(ask(Wider::Write(path.to_path_buf())), Err(NotGrantable::Refused(_))), "{}", path.display());
        }
        assert!(matches!(ask(Wider::Write(world.session.workspace.clone())), Err(NotGrantable::Given(_))));
        assert!(ask(Wider::Write(home.join(".tool"))).unwrap().warnings.iter().any(|warning| warning.contains("run later")));
    }

    #[test]
    fn a_link_is_granted_as_what_it_leads_to_and_never_to_what_is_denied() {
        let world = world();
        let policy = policy::preset("workspace-write").unwrap();
        let link = |to: &Path, name: &str| {
            let path = world.session.workspace.join(name);
            std::os::unix::fs::symlink(to, &path).unwrap();
            path
        };
        let data = link(&world.elsewhere, "data");
        // Under the workspace it is writable by name, but it leads elsewhere.
        let granted = examine(&Wider::Read(data), &policy, &world.session).unwrap();
        assert_eq!(granted.wider, Wider::Read(world.elsewhere.clone()));
        assert!(granted.warnings[0].contains("leads to"));
        let keys = link(&world.session.home.join(".ssh"), "keys");
        assert!(matches!(examine(&Wider::Read(keys), &policy, &world.session), Err(NotGrantable::Refused(_))));
    }

    #[test]
    fn a_bound_of_the_system_is_not_granted_over() {
        let world = world();
        let mut policy = policy::preset("workspace-write").unwrap();
        let bound = policy.filesystem.read[0].clone();
        policy.filesystem.read.push(bound);
        let refused = examine(&Wider::Read(world.elsewhere.clone()), &policy, &world.session).unwrap_err();
        assert!(refused.to_string().contains("bounds"), "{refused}");
    }
}
