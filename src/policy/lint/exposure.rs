//! Findings about what readable and writable places give away.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    super::{
        groups,
        judge::Access,
        model::{Origin, PathRule, Place},
        sockets,
    },
    Finding, Kind, Rule, Severity, Subject, known, rules,
};

/// More than this many names in one sentence are counted instead.
const NAMED: usize = 3;

/// A place that matters.
struct Target {
    path: PathBuf,
    shown: String,
}

/// What is looked at for one policy.
struct Exposure<'a> {
    subject: &'a Subject<'a>,
}

/// What was found, by entry and in order.
type Hits = BTreeMap<(Origin, String), Vec<String>>;

pub(super) fn find(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let exposure = Exposure { subject };
    exposure.wide(findings);
    exposure.credentials(findings);
    exposure.sockets(findings);
    exposure.programs(findings);
    exposure.temporary(findings);
}

/// How an entry is named: a group by its own name.
fn shown(rule: &PathRule) -> String {
    rule.origin.group.as_ref().map_or_else(|| rule.place.to_string(), |group| format!("@{group}"))
}

/// `a, b, c and 4 more`.
fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        _ if names.len() <= NAMED => {
            let (last, before) = names.split_last().map_or(("", names), |(last, before)| (last.as_str(), before));
            format!("{} and {last}", before.join(", "))
        }
        _ => {
            let first: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
            format!("{} and {} more", first.join(", "), names.len() - NAMED)
        }
    }
}

impl Exposure<'_> {
    fn expand(&self, name: &str) -> PathBuf {
        match name.strip_prefix("~/") {
            Some(below) => self.subject.facts.anchors().home.join(below),
            None => PathBuf::from(name),
        }
    }

    fn targets(&self, names: &[&str]) -> Vec<Target> {
        names.iter().map(|name| Target { path: self.expand(name), shown: (*name).to_owned() }).collect()
    }

    fn of_group(&self, name: &str) -> Vec<Target> {
        let rules = groups::group(name).ok().flatten().map(|group| group.rules.as_slice()).unwrap_or_default();
        let anchors = self.subject.facts.anchors();
        rules.iter().filter_map(|rule| Some(Target { path: anchors.path(&rule.place)?, shown: rule.place.to_string() })).collect()
    }

    /// The entry by which a path of the host is within reach; what is private to a session is no path of the host.
    fn reached(&self, path: &Path, access: Access) -> Option<PathRule> {
        let verdict = self.subject.judge.judge(path, access);
        let rule = verdict.because.rule.filter(|_| verdict.allowed)?;
        (!matches!(rule.place, Place::Temporary | Place::PrivateHome)).then_some(rule)
    }

    /// Real places of the lists, where they are in the end readable or writable.
    fn given(&self, access: Access) -> Vec<(PathRule, PathBuf)> {
        let filesystem = &self.subject.policy.filesystem;
        let lists = match access {
            Access::Read => &filesystem.read,
            Access::Write => &filesystem.write,
        };
        let rules = lists.iter().flatten().filter(|rule| !matches!(rule.place, Place::Temporary | Place::PrivateHome));
        let found = rules.filter_map(|rule| Some((rule.clone(), self.subject.facts.anchors().path(&rule.place)?)));
        found.filter(|(_, path)| self.reached(path, access).is_some()).collect()
    }

    /// Which targets can be written, wholly or in part, and by which entry.
    fn written(&self, targets: &[Target], deeper: impl Fn(&PathRule, &Path) -> bool) -> Hits {
        let mut hits = Hits::new();
        let mut add = |rule: &PathRule, name: String| {
            let names = hits.entry((rule.origin.clone(), shown(rule))).or_default();
            if !names.contains(&name) {
                names.push(name);
            }
        };
        for target in targets {
            if let Some(rule) = self.reached(&target.path, Access::Write) {
                add(&rule, target.shown.clone());
            }
        }
        for (rule, path) in self.given(Access::Write) {
            for target in targets.iter().filter(|target| path != target.path && path.starts_with(&target.path)) {
                if deeper(&rule, &path) {
                    add(&rule, format!("a part of {}", target.shown));
                }
            }
        }
        hits
    }

    fn wide(&self, findings: &mut Vec<Finding>) {
        for (access, rule) in [(Access::Read, &rules::OVER_WIDE_READ), (Access::Write, &rules::OVER_WIDE_WRITE)] {
            let mut hits = Hits::new();
            for (entry, path) in self.given(access) {
                if !matches!(entry.place, Place::Workspace(_)) && self.is_wide(&path, access) {
                    hits.entry((entry.origin.clone(), shown(&entry))).or_default().push(entry.place.to_string());
                }
            }
            for ((origin, entry), places) in hits {
                let (what, advice) = match access {
                    Access::Read => ("to be read", "name the folders in it that programs need"),
                    Access::Write => ("to be written", "name a folder of the task's own, or use @tmp or @home"),
                };
                let places = listed(&places);
                let problem = if places == entry {
                    format!("`{entry}` as a whole is too much {what}")
                } else {
                    format!("`{entry}` holds {places}, which is too much {what}")
                };
                findings.push(Finding::new(rule, &origin, problem, advice));
            }
        }
    }

    fn is_wide(&self, path: &Path, access: Access) -> bool {
        let is_any = |names: &[&str]| names.iter().any(|name| self.expand(name) == path);
        let home = path.parent().is_some_and(|parent| known::HOMES.iter().any(|homes| parent == Path::new(homes)));
        let own_home = self.subject.facts.anchors().home.starts_with(path);
        let system = || known::SYSTEM.iter().any(|folder| path.starts_with(folder)) || is_any(known::WIDE_TO_WRITE);
        home || own_home || is_any(known::WIDE_TO_READ) || access == Access::Write && system()
    }

    fn credentials(&self, findings: &mut Vec<Finding>) {
        let stores = self.of_group("credentials");
        let mut hits = Hits::new();
        for store in &stores {
            if let Some(rule) = self.reached(&store.path, Access::Read) {
                hits.entry((rule.origin.clone(), shown(&rule))).or_default().push(store.shown.clone());
            }
        }
        let advice = "add deny = [\"@credentials\"], or name the single file that is needed";
        for ((origin, entry), names) in hits {
            let names = listed(&names);
            let problem = if names == entry { format!("`{entry}` can be read") } else { format!("`{entry}` lets {names} be read") };
            findings.push(Finding::new(&rules::CREDENTIAL_STORE_READABLE, &origin, problem, advice));
        }
        for (rule, path) in self.given(Access::Read).into_iter().chain(self.given(Access::Write)) {
            let Some(store) = stores.iter().find(|store| path != store.path && path.starts_with(&store.path)) else { continue };
            // A workspace may lie where an agent keeps what it works on.
            if matches!(rule.place, Place::Workspace(_)) {
                continue;
            }
            let problem = format!("`{}` is part of {}", shown(&rule), store.shown);
            let finding =
                Finding::new(&rules::CREDENTIAL_STORE_READABLE, &rule.origin, problem, "leave it out unless it holds nothing secret");
            findings.push(Finding { severity: Severity::Warning, ..finding });
        }
    }

    fn sockets(&self, findings: &mut Vec<Finding>) {
        let mut hits = Hits::new();
        for (name, service) in known::SOCKETS {
            // A connection needs no more than that the socket is in view.
            if let Some(rule) = self.reached(&self.expand(name), Access::Read) {
                hits.entry((rule.origin.clone(), shown(&rule))).or_default().push((*service).to_owned());
            }
        }
        for ((origin, entry), mut services) in hits {
            services.dedup();
            findings.push(Finding::new(
                &rules::SOCKET_IN_REACH,
                &origin,
                format!("`{entry}` brings the socket of {} into view: it is covered where somebody listens when a call begins, and not if that begins later", listed(&services)),
                "leave it out, or name folders that hold no socket of a service",
            ));
        }
        for (rule, path) in self.given(Access::Read).into_iter().chain(self.given(Access::Write)) {
            let known = known::SOCKETS.iter().any(|(name, _)| self.expand(name) == path);
            if !known && rule.origin.group.is_none() && self.subject.facts.kind(&path) == Kind::Socket {
                findings.push(Finding::new(
                    &rules::SOCKET_IN_REACH,
                    &rule.origin,
                    format!(
                        "`{}` is a socket, and cannot be connected to as a file where somebody listens when a call begins",
                        shown(&rule)
                    ),
                    "name it under sockets in [network] if calls may have its service do what they ask, else leave it out",
                ));
            }
        }
        for rule in &self.subject.policy.network.sockets {
            let path = rule.place.to_string();
            if sockets::may_be_root(&path) {
                findings.push(Finding::new(
                    &rules::ROOT_EQUIVALENT_SOCKET,
                    &rule.origin,
                    format!("whoever connects to `{}` {}", shown(rule), sockets::meaning(&path)),
                    "leave it out, and run by hand what needs it",
                ));
            }
        }
    }

    fn programs(&self, findings: &mut Vec<Finding>) {
        let anchors = self.subject.facts.anchors();
        let mut folders = self.targets(known::PROGRAM_FOLDERS);
        let on_path = self.subject.facts.program_folders().iter().filter(|folder| folder.parent().is_some());
        for folder in on_path {
            if folders.iter().all(|known| known.path != *folder) {
                let shown = folder
                    .strip_prefix(&anchors.home)
                    .map_or_else(|_| folder.display().to_string(), |below| format!("~/{}", below.display()));
                folders.push(Target { path: folder.clone(), shown });
            }
        }
        // A workspace below a folder of the PATH holds no programs of that folder.
        let below = |rule: &PathRule, _: &Path| !matches!(rule.place, Place::Workspace(_));
        push(findings, &rules::WRITABLE_ON_PATH, self.written(&folders, below), "take it out of write, or the folder off the PATH");

        let startup = self.targets(known::STARTUP);
        push(findings, &rules::WRITABLE_STARTUP_FILE, self.written(&startup, |_, _| true), "take it out of write");
        let groups = ["agent-config", "editor-exec", "git-exec"];
        let settings: Vec<Target> = groups.iter().flat_map(|group| self.of_group(group)).collect();
        let advice = "add protect = [\"@agent-config\", \"@git-exec\", \"@editor-exec\"]";
        push(findings, &rules::WRITABLE_STARTUP_FILE, self.written(&settings, |_, _| true), advice);

        let caches = self.of_group("caches");
        let is_cache = |path: &Path| caches.iter().any(|cache| path.starts_with(&cache.path));
        let said = |path: &Path| folders.iter().chain(&startup).any(|other| path.starts_with(&other.path));
        let mut toolchains = self.of_group("toolchains");
        toolchains.retain(|target| !is_cache(&target.path) && !said(&target.path));
        let below = |_: &PathRule, path: &Path| !is_cache(path) && !said(path);
        let advice = "leave it readable only; @caches are what builds fill, and with @home they are filled in a private copy";
        push(findings, &rules::WRITABLE_TOOLCHAIN, self.written(&toolchains, below), advice);
    }

    fn temporary(&self, findings: &mut Vec<Finding>) {
        for (rule, path) in self.given(Access::Write) {
            if matches!(rule.place, Place::Absolute(_)) && known::SHARED_TEMPORARY.iter().any(|folder| path == Path::new(folder)) {
                findings.push(Finding::new(
                    &rules::WRITE_WITHOUT_PRIVATE_TMP,
                    &rule.origin,
                    format!("`{}` is the machine's own, shared with every other program", shown(&rule)),
                    "write @tmp, which is private to the session",
                ));
            }
        }
    }
}

fn push(findings: &mut Vec<Finding>, rule: &'static Rule, hits: Hits, advice: &str) {
    for ((origin, entry), names) in hits {
        let names = listed(&names);
        let problem = if names == entry { format!("`{entry}` can be written") } else { format!("`{entry}` lets {names} be written") };
        findings.push(Finding::new(rule, &origin, problem, advice));
    }
}
