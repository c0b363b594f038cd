//! What of the observed paths a proposal needs, judged by the same code as everything else.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use globset::GlobMatcher;

use super::{
    super::{
        groups,
        judge::{Access, Judge, Reason, hides},
        model::{Origin, PathRule, Place, Policy},
        place,
    },
    Base, Entry, Observation, Outcome, Proposal, Reach, Touch, Uses, Withheld,
    gather::gather,
};

/// Groups that a proposal may name, the narrower ones first.
const GROUPS: [&str; 8] = ["rust", "node", "python", "go", "java", "c", "toolchains", "system"];
/// Folders that hold the affairs of many programs, besides those of one name below the root.
const WIDE: [&str; 7] = ["/usr/local", "/usr/share", "/var/cache", "/var/lib", "/var/log", "/var/spool", "/var/tmp"];
/// The same, below a home folder.
const WIDE_AT_HOME: [&str; 5] = [".cache", ".config", ".local", ".local/share", ".local/state"];

/// Where the running kernel shows itself (sysfs(5)). Names in it may be of one process, and a policy that names what is not there starts nothing.
const KERNEL: &str = "/sys";

/// What is wanted of a path: by whom, and of what exactly.
#[derive(Debug, Clone, Default)]
struct Wanted {
    uses: Uses,
    covers: BTreeSet<PathBuf>,
}

impl Wanted {
    fn join(&mut self, other: Self) {
        self.uses.join(other.uses);
        self.covers.extend(other.covers);
    }
}

struct Judged<'a> {
    base: &'a Base<'a>,
    judge: Judge,
    /// Names that hold secrets by convention. A policy looks for them in the workspace; a proposal goes by them everywhere.
    secret: Vec<GlobMatcher>,
    read: BTreeMap<PathBuf, Wanted>,
    write: BTreeMap<PathBuf, Wanted>,
    /// What the command wrote where the base lets it, which has to stay so: a place that a list names is the real one, and no more the private
    /// home's.
    written: BTreeSet<PathBuf>,
    withheld: BTreeMap<(bool, PathBuf, String), Uses>,
}

/// The part of a proposal that is about paths.
pub(super) fn paths(base: &Base<'_>, observations: &[Observation]) -> Proposal {
    let judge = Judge::new(base.policy, base.anchors);
    let mut judged = Judged {
        base,
        judge,
        secret: secret_names(),
        read: BTreeMap::new(),
        write: BTreeMap::new(),
        written: BTreeSet::new(),
        withheld: BTreeMap::new(),
    };
    for observation in observations {
        judged.look(observation);
    }
    judged.proposal()
}

impl Judged<'_> {
    fn look(&mut self, Observation { reach, program, times }: &Observation) {
        let Reach::Path { touch, named, link, path, anchor, folder, able, outcome } = reach else { return };
        let mut uses = Uses::default();
        uses.add(program, *times);
        let write = *touch == Touch::Write;
        if let Some((held, reason)) = [path, named].into_iter().find_map(|one| Some((one, self.held(one, write)?))) {
            self.withhold(write, held, reason, uses);
            return;
        }
        if write {
            if self.judge.judge(path, Access::Write).allowed {
                self.written.insert(path.clone());
                return;
            }
            match self.kept_from_writing(anchor, *folder, *able) {
                Some(reason) => self.withhold(true, path, reason, uses),
                None => {
                    let wanted = self.write.entry(anchor.clone()).or_default();
                    wanted.join(Wanted { uses, covers: BTreeSet::from([path.clone()]) });
                }
            }
        } else if *outcome == Outcome::Done {
            // A link on the way has to be in view as well.
            for one in BTreeSet::from([path, named]) {
                if is_readable(self.base.policy, self.base, &self.judge, one) || (*folder && self.is_around(one)) {
                    continue;
                }
                let reason = if *folder && self.is_wide(one, false) {
                    Some("to list it, all that is in it would have to be readable".to_owned())
                } else if *link && one == named && self.is_in_private_home(one) {
                    Some(format!("a link to {}, and a private home has no links of the real one", self.shown(path)))
                } else if one.starts_with(KERNEL) && group_of(self.base, one).is_none() {
                    Some("the kernel makes it anew at each start; programs do without".to_owned())
                } else if self.is_secret(one) {
                    Some("a name of @secret-files".to_owned())
                } else {
                    self.unnameable(one)
                };
                match reason {
                    Some(reason) => self.withhold(false, one, reason, uses.clone()),
                    None => {
                        let wanted = self.read.entry(one.clone()).or_default();
                        wanted.join(Wanted { uses: uses.clone(), covers: BTreeSet::from([one.clone()]) });
                    }
                }
            }
        }
    }

    /// Why a path may be in no proposal at all.
    fn held(&self, path: &Path, write: bool) -> Option<String> {
        if let Some(floor) = self.base.floor.iter().find(|floor| path.starts_with(&floor.path)) {
            return Some(format!("deny floor: {}", floor.reason));
        }
        let verdict = self.judge.judge(path, if write { Access::Write } else { Access::Read });
        let origin = verdict.because.rule.map_or_else(|| self.base.policy.name.clone(), |rule| rule.origin.to_string());
        match verdict.because.kind {
            Reason::Denied => Some(format!("deny floor: {origin}")),
            Reason::Protected => Some(format!("protected: {origin}")),
            Reason::GitReadOnly => Some("[git] allow keeps it read-only".to_owned()),
            Reason::NotCovered | Reason::Allowed => None,
        }
    }

    fn kept_from_writing(&self, anchor: &Path, folder: bool, able: bool) -> Option<String> {
        if !able {
            return Some("you could not write there yourself".to_owned());
        }
        if let Some(reason) = self.held(anchor, true) {
            return Some(reason);
        }
        if folder && self.is_wide(anchor, true) {
            return Some(format!("all of {} would have to be writable", self.shown(anchor)));
        }
        self.unnameable(anchor)
    }

    fn withhold(&mut self, write: bool, path: &Path, reason: String, uses: Uses) {
        self.withheld.entry((write, path.to_path_buf(), reason)).or_default().join(uses);
    }

    /// Whether something that the base lists lies below a folder, which can be listed then.
    fn is_around(&self, folder: &Path) -> bool {
        let files = &self.base.policy.filesystem;
        let mut rules = files.read.iter().chain(&files.write).flatten();
        rules.any(|rule| self.base.anchors.path(&rule.place).is_some_and(|place| place.starts_with(folder)))
    }

    /// Whether a folder would take in more than belongs together, or something that is held.
    fn is_wide(&self, folder: &Path, write: bool) -> bool {
        let Base { policy, anchors, floor, private, .. } = self.base;
        let by_name = folder.components().count() <= 2
            || WIDE.iter().any(|wide| folder == Path::new(wide))
            || folder.parent() == Some(Path::new("/home"))
            || WIDE_AT_HOME.iter().any(|wide| folder == anchors.home.join(wide));
        let rules = policy.filesystem.deny.iter().chain(policy.filesystem.protect.iter().filter(|_| write));
        let mut held = rules.filter_map(|rule| anchors.path(&rule.place)).chain(floor.iter().map(|floor| floor.path.clone()));
        let holds = |path: &Path| path.starts_with(folder);
        by_name
            || [&anchors.home, &anchors.workspace, &anchors.temporary].into_iter().any(|path| holds(path))
            || holds(private)
            || held.any(|path| holds(&path))
    }

    fn is_secret(&self, path: &Path) -> bool {
        let below_root = path.strip_prefix("/").unwrap_or(path);
        below_root.ancestors().any(|part| self.secret.iter().any(|name| name.is_match(part)))
    }

    fn is_in_private_home(&self, path: &Path) -> bool {
        path.starts_with(&self.base.anchors.home) && hides(self.base.policy, &Place::PrivateHome)
    }

    fn unnameable(&self, path: &Path) -> Option<String> {
        entry_text(self.base, path).is_none().then(|| "a policy cannot name it".to_owned())
    }

    fn shown(&self, path: &Path) -> String {
        entry_text(self.base, path).unwrap_or_else(|| path.display().to_string())
    }

    fn proposal(mut self) -> Proposal {
        let (mut read, write) = (std::mem::take(&mut self.read), std::mem::take(&mut self.write));
        let holds_withheld = |folder: &Path| self.withheld.keys().any(|(_, path, _)| path.starts_with(folder));
        let write = gather(write, |folder| self.is_wide(folder, true) || holds_withheld(folder), Wanted::join);
        read.retain(|path, _| !write.keys().any(|above| path.starts_with(above)));
        let mut groups: BTreeMap<&str, Wanted> = BTreeMap::new();
        read.retain(|path, wanted| match group_of(self.base, path) {
            Some(group) => {
                groups.entry(group).or_default().join(wanted.clone());
                false
            }
            None => true,
        });
        let wide = |folder: &Path| {
            self.is_wide(folder, false) || holds_withheld(folder) || self.written.iter().any(|path| path.starts_with(folder))
        };
        let read = gather(read, wide, Wanted::join);
        let entry = |(text, wanted): (String, Wanted)| Entry { text, covers: wanted.covers, uses: wanted.uses };
        let named = groups.into_iter().map(|(name, wanted)| (format!("@{name}"), wanted));
        let texts = |paths: BTreeMap<PathBuf, Wanted>| {
            paths.into_iter().filter_map(|(path, wanted)| Some((entry_text(self.base, &path)?, wanted))).collect::<Vec<_>>()
        };
        let mut proposal = Proposal {
            read: named.chain(texts(read)).map(entry).collect(),
            write: texts(write).into_iter().map(entry).collect(),
            ..Proposal::default()
        };
        self.leave_as_written(&mut proposal);
        self.leave_to_bounds(&mut proposal);
        let withheld = self.withheld.iter().map(|((write, path, reason), uses)| Withheld {
            what: self.shown(path),
            write: *write,
            reason: reason.clone(),
            uses: uses.clone(),
        });
        proposal.withheld = withheld.collect();
        proposal
    }

    /// Takes out what would keep the command from writing what it wrote in its private home: the real place would be in the way, read-only.
    fn leave_as_written(&mut self, proposal: &mut Proposal) {
        let judge = Judge::new(&with(self.base.policy, proposal), self.base.anchors);
        let closed: Vec<&PathBuf> = self.written.iter().filter(|path| !judge.judge(path, Access::Write).allowed).collect();
        proposal.read.retain(|entry| {
            let places: Vec<PathBuf> = places(&entry.text).iter().filter_map(|rule| self.base.anchors.path(&rule.place)).collect();
            if !closed.iter().any(|path| places.iter().any(|place| path.starts_with(place))) {
                return true;
            }
            let reason =
                "the command also writes there, in its private home; list it under read or write yourself, for the real one".to_owned();
            for path in &entry.covers {
                self.withheld.entry((false, path.clone(), reason.clone())).or_default().join(entry.uses.clone());
            }
            false
        });
    }

    /// Takes out what would be in vain: what the machine's file or the repository's leaves out stays out, whatever a chosen policy lists.
    fn leave_to_bounds(&mut self, proposal: &mut Proposal) {
        let policy = with(self.base.policy, proposal);
        let judge = Judge::new(&policy, self.base.anchors);
        for (list, write) in [(&mut proposal.read, false), (&mut proposal.write, true)] {
            let access = if write { Access::Write } else { Access::Read };
            let given = |path: &Path| match access {
                Access::Read => is_readable(&policy, self.base, &judge, path),
                Access::Write => judge.judge(path, access).allowed,
            };
            list.retain(|entry| {
                let Some(bound) = entry.covers.iter().find(|path| !given(path)) else { return true };
                let origin =
                    judge.judge(bound, access).because.rule.map_or_else(|| "another layer".to_owned(), |rule| rule.origin.to_string());
                let path = entry.covers.first().cloned().unwrap_or_default();
                self.withheld.entry((write, path, format!("not for this policy to give: {origin}"))).or_default().join(entry.uses.clone());
                false
            });
        }
    }
}

fn secret_names() -> Vec<GlobMatcher> {
    let group = groups::group("secret-files").ok().flatten();
    let globs = group.iter().flat_map(|group| &group.rules).filter_map(|rule| match &rule.place {
        Place::WorkspaceGlob(glob) => place::compile(glob).ok(),
        _ => None,
    });
    globs.collect()
}

/// Whether a path can be read under `policy`, and is what it was in the run. A private home has nothing in it but what the command makes: of
/// the real one, only what a list names is there.
fn is_readable(policy: &Policy, base: &Base<'_>, judge: &Judge, path: &Path) -> bool {
    let verdict = judge.judge(path, Access::Read);
    let private = verdict.because.rule.is_some_and(|rule| rule.place == Place::PrivateHome);
    let named = |lists: &[Vec<PathRule>]| {
        let covers = |rule: &PathRule| {
            let real = !matches!(rule.place, Place::PrivateHome | Place::Temporary);
            real && base.anchors.path(&rule.place).is_some_and(|place| place.starts_with(&base.anchors.home) && path.starts_with(place))
        };
        lists.iter().all(|list| list.iter().any(covers))
    };
    verdict.allowed && (!private || base.made.contains(path) || named(&policy.filesystem.read) || named(&policy.filesystem.write))
}

/// `policy` with the entries of `proposal` in the chosen policy's lists.
pub(super) fn with(policy: &Policy, proposal: &Proposal) -> Policy {
    let mut policy = policy.clone();
    let rules = |entries: &[Entry]| entries.iter().flat_map(|entry| places(&entry.text)).collect::<Vec<_>>();
    for (lists, entries) in [(&mut policy.filesystem.read, &proposal.read), (&mut policy.filesystem.write, &proposal.write)] {
        match lists.first_mut() {
            Some(chosen) => chosen.extend(rules(entries)),
            None => lists.push(rules(entries)),
        }
    }
    policy
}

fn places(text: &str) -> Vec<PathRule> {
    if let Some(group) = text.strip_prefix('@') {
        return groups::group(group).ok().flatten().map(|group| group.rules.clone()).unwrap_or_default();
    }
    let origin = Origin { file: "proposed".to_owned(), line: 1, group: None };
    place::parse(text).ok().map(|place| PathRule { place, origin }).into_iter().collect()
}

/// The group that a path lies in.
fn group_of(base: &Base<'_>, path: &Path) -> Option<&'static str> {
    GROUPS.into_iter().find(|name| {
        let group = groups::group(name).ok().flatten();
        let mut rules = group.iter().flat_map(|group| &group.rules);
        rules.any(|rule| base.anchors.path(&rule.place).is_some_and(|place| path.starts_with(place)))
    })
}

/// A path as a policy writes it; `None` where it cannot.
pub(super) fn entry_text(base: &Base<'_>, path: &Path) -> Option<String> {
    let anchors = base.anchors;
    if path == anchors.workspace {
        return Some("@workspace".to_owned());
    }
    let below = |above: &Path| path.strip_prefix(above).ok()?.to_str().map(str::to_owned);
    let relative = || below(&anchors.workspace).map(|below| if below.starts_with(['@', '~', '!']) { format!("./{below}") } else { below });
    let at_home = || below(&anchors.home).map(|below| format!("~/{below}"));
    let candidates = [relative(), at_home(), path.to_str().map(str::to_owned)];
    let means = |text: &String| {
        let place = place::parse(text).ok().filter(|place| !matches!(place, Place::WorkspaceGlob(_)));
        !text.starts_with('@') && place.and_then(|place| anchors.path(&place)).is_some_and(|place| place == path)
    };
    candidates.into_iter().flatten().find(means)
}
