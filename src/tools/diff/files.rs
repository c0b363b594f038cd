//! Differences in what of the file system may be read and written.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{Difference, Direction, Said, Topic};
use crate::{
    policy::{Access, Anchors, Judge, PathRule, Place, Policy, Reason, group, place},
    tools::access::is_private,
};

/// What is appended to a folder to stand for anything in it that no rule names.
const ANY: &str = "example";

/// How much of a path a call has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Nothing,
    /// A private folder or copy in its place.
    Private,
    /// The host's own.
    Real,
}

impl Reach {
    const fn word(self) -> &'static str {
        match self {
            Self::Nothing => "refused",
            Self::Private => "a private copy",
            Self::Real => "allowed",
        }
    }
}

/// The verdict of one policy on one path and access.
#[derive(Debug, Clone)]
struct Verdict {
    reach: Reach,
    rule: Option<PathRule>,
    reason: Reason,
}

impl Verdict {
    fn of(judge: &Judge, path: &Path, access: Access) -> Self {
        let verdict = judge.judge(path, access);
        let reach = match verdict.allowed {
            false => Reach::Nothing,
            true if is_private(verdict.because.rule.as_ref()) => Reach::Private,
            true => Reach::Real,
        };
        Self { reach, rule: verdict.because.rule, reason: verdict.because.kind }
    }

    fn said(&self) -> Said {
        let origin = self.rule.as_ref().map(|rule| rule.origin.to_string());
        let by = match (self.reason, origin) {
            (Reason::Denied, Some(origin)) => format!("deny, {origin}"),
            (Reason::Protected, Some(origin)) => format!("protect, {origin}"),
            (Reason::GitReadOnly, _) => "[git] allow".to_owned(),
            (Reason::Allowed, Some(origin)) => origin,
            _ => "no entry covers it".to_owned(),
        };
        Said { word: self.reach.word().to_owned(), by: Some(by) }
    }

    /// The group by which the deciding entry came into the policy.
    fn group(&self) -> Option<&str> {
        let decides = matches!(self.reason, Reason::Denied | Reason::Protected | Reason::Allowed);
        self.rule.as_ref().filter(|_| decides)?.origin.group.as_deref()
    }
}

/// One change on one path.
struct Change {
    path: PathBuf,
    access: &'static str,
    before: Verdict,
    after: Verdict,
}

/// The differences, one for each place or named group of places.
pub(super) fn differences(before: &Policy, after: &Policy, anchors: &Anchors) -> Vec<Difference> {
    let judges = (Judge::new(before, anchors), Judge::new(after, anchors));
    let mut found: BTreeMap<(Direction, &str, Reach, Reach, String), Vec<Change>> = BTreeMap::new();
    for change in changes(&candidates(before, after, anchors), &judges) {
        // What `[git] allow` decides is a difference of its own.
        if before.git != after.git && [&change.before, &change.after].iter().any(|verdict| verdict.reason == Reason::GitReadOnly) {
            continue;
        }
        let reach = (change.before.reach, change.after.reach);
        let group = change.before.group().or(change.after.group()).filter(|group| !groups_of_one(group));
        let key = group.map_or_else(|| change.path.display().to_string(), |group| format!("@{group}"));
        found.entry((Direction::of(reach.1 > reach.0), change.access, reach.0, reach.1, key)).or_default().push(change);
    }
    let difference = |((direction, access, _, _, key), changes): ((Direction, &str, Reach, Reach, String), Vec<Change>)| {
        let first = changes.first()?;
        let place = match changes.len() {
            1 => named(&first.path, anchors),
            many => format!("{many} places of {key}"),
        };
        Some(Difference {
            direction,
            topic: Topic::Filesystem,
            what: format!("{access} {place}"),
            witness: Some(first.path.display().to_string()),
            before: first.before.said(),
            after: first.after.said(),
            count: changes.len(),
        })
    };
    found.into_iter().filter_map(difference).collect()
}

/// The groups that stand for one place each.
fn groups_of_one(group: &str) -> bool {
    matches!(group, "workspace" | "tmp" | "home")
}

/// The changes on candidates, without those that the nearest candidate above shares.
fn changes(candidates: &BTreeSet<PathBuf>, judges: &(Judge, Judge)) -> Vec<Change> {
    let mut seen: BTreeMap<&Path, [(Reach, Reach); 2]> = BTreeMap::new();
    let mut changes = Vec::new();
    for path in candidates {
        let of = |access| (Verdict::of(&judges.0, path, access), Verdict::of(&judges.1, path, access));
        let (read, write) = (of(Access::Read), of(Access::Write));
        let reach = [&read, &write].map(|(before, after)| (before.reach, after.reach));
        let above = path.ancestors().skip(1).find_map(|above| seen.get(above)).copied();
        seen.insert(path, reach);
        let new = |at: usize| reach[at].0 != reach[at].1 && above.is_none_or(|above| above[at] != reach[at]);
        let change = |access, (before, after)| Change { path: path.clone(), access, before, after };
        match (new(0), new(1)) {
            (true, true) if reach[0] == reach[1] => changes.push(change("read and write", write)),
            (reads, writes) => {
                changes.extend(reads.then(|| change("read", read)));
                changes.extend(writes.then(|| change("write", write)));
            }
        }
    }
    changes
}

/// One path of each part into which the rules of both policies cut the file system.
fn candidates(before: &Policy, after: &Policy, anchors: &Anchors) -> BTreeSet<PathBuf> {
    let mut roots: BTreeSet<PathBuf> = ["/", "/tmp", "/var/tmp"].map(PathBuf::from).into();
    roots.extend([anchors.workspace.clone(), anchors.home.clone(), anchors.temporary.clone()]);
    roots.extend([".git", ".git/hooks", ".git/objects"].map(|below| anchors.workspace.join(below)));
    let mut globs = BTreeSet::new();
    let lists = [before, after].into_iter().flat_map(|policy| {
        let files = &policy.filesystem;
        files.read.iter().chain(&files.write).chain([&files.deny, &files.protect]).flatten()
    });
    let of_groups = ["caches", "git-exec"].into_iter().filter_map(|name| group(name).ok().flatten()).flat_map(|group| &group.rules);
    for rule in lists.chain(of_groups) {
        match &rule.place {
            Place::WorkspaceGlob(glob) => _ = globs.insert(glob.clone()),
            place => roots.extend(anchors.path(place)),
        }
    }
    let samples: Vec<PathBuf> = globs.iter().filter_map(|glob| sample(glob)).collect();
    let inside: Vec<&PathBuf> = roots.iter().filter(|root| root.starts_with(&anchors.workspace)).collect();
    let matching: Vec<PathBuf> = inside.iter().flat_map(|root| samples.iter().map(|sample| root.join(sample))).collect();
    let below: Vec<PathBuf> = roots.iter().map(|root| root.join(ANY)).collect();
    roots.into_iter().chain(below).chain(matching).collect()
}

/// A path, relative to the workspace, that a glob matches.
fn sample(glob: &str) -> Option<PathBuf> {
    let matcher = place::compile(glob).ok()?;
    let mut text = String::new();
    let mut rest = glob;
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..)?;
        match c {
            '*' if rest.starts_with("*/") => rest = rest.get(2..)?,
            '*' => {
                rest = rest.trim_start_matches('*');
                text.push_str(ANY);
            }
            '?' => text.push('x'),
            '[' => {
                let (class, behind) = rest.split_once(']')?;
                text.push(class.chars().find(|c| !matches!(c, '!' | '^'))?);
                rest = behind;
            }
            '{' => {
                let (choices, behind) = rest.split_once('}')?;
                text.push_str(choices.split(',').next()?);
                rest = behind;
            }
            '\\' => {
                let escaped = rest.chars().next()?;
                rest = rest.get(escaped.len_utf8()..)?;
                text.push(escaped);
            }
            other => text.push(other),
        }
    }
    Some(PathBuf::from(text)).filter(|path| matcher.is_match(path))
}

/// A path as a policy would name it.
fn named(path: &Path, anchors: &Anchors) -> String {
    // What stands for anything else in a folder is said so.
    let (path, suffix) = match path.file_name() {
        Some(name) if name == ANY => (path.parent().unwrap_or(path), ": what no entry names"),
        _ => (path, ""),
    };
    let below = |folder: &Path| path.strip_prefix(folder).ok();
    let name = match (below(&anchors.workspace), below(&anchors.home)) {
        (Some(rest), _) if rest.as_os_str().is_empty() => "the workspace".to_owned(),
        (Some(rest), _) => rest.display().to_string(),
        (None, Some(rest)) if rest.as_os_str().is_empty() => "~".to_owned(),
        (None, Some(rest)) => format!("~/{}", rest.display()),
        (None, None) => path.display().to_string(),
    };
    format!("{name}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_has_a_sample_that_it_matches() {
        for glob in ["**/.env", "**/*.pem", "a/{b,c}/[d-f]?", "src/**/x", "\\*x", "**/.env.*", "*"] {
            let sample = sample(glob).unwrap_or_else(|| panic!("{glob}"));
            assert!(place::compile(glob).unwrap().is_match(&sample), "{glob}: {}", sample.display());
        }
    }
}
