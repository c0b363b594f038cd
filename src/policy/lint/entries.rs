//! Findings about single entries of path lists: those without effect, and those that are not what they seem.

use std::path::{Path, PathBuf};

use super::{
    super::{
        judge::{Access, Anchors, Reason, hides},
        model::{Origin, PathRule, Place, Policy},
        place,
    },
    Facts, Finding, Kind, Rule, Subject, rules,
};

/// An entry as it was written: a place, or a group with all of its places.
pub(super) struct Entry<'a> {
    pub(super) rules: Vec<&'a PathRule>,
    pub(super) origin: &'a Origin,
}

impl Entry<'_> {
    /// The entry as the file has it.
    pub(super) fn shown(&self) -> String {
        match (&self.origin.group, self.rules.first()) {
            (Some(group), _) => format!("@{group}"),
            (None, Some(rule)) => rule.place.to_string(),
            (None, None) => String::new(),
        }
    }

    /// The place of an entry that is no group.
    fn alone(&self) -> Option<&Place> {
        match self.rules.as_slice() {
            [one] if self.origin.group.is_none() => Some(&one.place),
            _ => None,
        }
    }
}

/// The entries of a list, each group put together again.
pub(super) fn entries(list: &[PathRule]) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for rule in list {
        match entries.last_mut() {
            // The group that begins anew with its first place stands there twice.
            Some(last)
                if rule.origin.group.is_some()
                    && *last.origin == rule.origin
                    && last.rules.first().is_none_or(|first| first.place != rule.place) =>
            {
                last.rules.push(rule);
            }
            _ => entries.push(Entry { rules: vec![rule], origin: &rule.origin }),
        }
    }
    entries
}

/// A place of an entry, found in one session.
struct Spot<'a> {
    /// The entry, by its number.
    entry: usize,
    place: &'a Place,
    /// See [`Map::root`].
    root: Option<PathBuf>,
}

/// Relations of places in one session.
struct Map<'a> {
    anchors: &'a Anchors,
    /// Private folders that take the place of real ones: what lies below is seen only where an entry names it.
    private: Vec<PathBuf>,
}

impl<'a> Map<'a> {
    fn new(policy: &Policy, anchors: &'a Anchors) -> Self {
        let private = [(Place::PrivateHome, &anchors.home), (Place::Temporary, &anchors.temporary)];
        Self { anchors, private: private.iter().filter(|(place, _)| hides(policy, place)).map(|(_, root)| (*root).clone()).collect() }
    }

    /// The real folder or file that a place is or, for a glob, that all it can match lies in.
    fn root(&self, place: &Place) -> Option<PathBuf> {
        match place {
            Place::Temporary | Place::PrivateHome => None,
            Place::WorkspaceGlob(glob) => {
                let plain = glob.split('/').take_while(|part| !part.contains(['*', '?', '[', '{', '\\']));
                Some(plain.fold(self.anchors.workspace.clone(), |path, part| path.join(part)))
            }
            place => self.anchors.path(place),
        }
    }

    fn spot<'b>(&self, entry: usize, rule: &'b PathRule) -> Spot<'b> {
        Spot { entry, place: &rule.place, root: self.root(&rule.place) }
    }

    /// Whether all that `inner` stands for is covered by `outer`.
    fn covers(&self, outer: &Spot<'_>, inner: &Spot<'_>) -> bool {
        let (Some(above), Some(below)) = (&outer.root, &inner.root) else { return false };
        if matches!(outer.place, Place::WorkspaceGlob(_)) || !below.starts_with(above) {
            return false;
        }
        let hidden = |root: &PathBuf| below.starts_with(root) && !above.starts_with(root) && !below.starts_with(&self.anchors.workspace);
        !self.private.iter().any(hidden)
    }

    /// Whether some part of what `taken` stands for is given by a list.
    fn touches(&self, list: &[PathRule], taken: &Place) -> bool {
        let Some(taken) = self.root(taken) else { return true };
        list.iter().filter_map(|rule| self.root(&rule.place)).any(|given| given.starts_with(&taken) || taken.starts_with(&given))
    }
}

pub(super) fn find(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let filesystem = &subject.policy.filesystem;
    let map = Map::new(subject.policy, subject.facts.anchors());
    for (lists, access) in [(&filesystem.read, Access::Read), (&filesystem.write, Access::Write)] {
        for list in lists {
            let entries = entries(list);
            repeated(subject, &map, &entries, findings);
            for entry in &entries {
                taken_away(subject, entry, access, findings);
                on_this_machine(subject, entry, findings);
            }
        }
    }
    for (list, given) in [(&filesystem.deny, Access::Read), (&filesystem.protect, Access::Write)] {
        let entries = entries(list);
        repeated(subject, &map, &entries, findings);
        for entry in &entries {
            without_object(subject, &map, entry, given, findings);
            led_away(subject.facts, entry, findings);
        }
    }
}

/// Entries that others of the list make superfluous. From the end, so that of two equal ones the second is found.
fn repeated(subject: &Subject<'_>, map: &Map<'_>, entries: &[Entry<'_>], findings: &mut Vec<Finding>) {
    let spots: Vec<Spot<'_>> =
        entries.iter().enumerate().flat_map(|(at, entry)| entry.rules.iter().map(move |rule| map.spot(at, rule))).collect();
    let mut gone = vec![false; entries.len()];
    for (at, entry) in entries.iter().enumerate().rev() {
        let stays: Vec<bool> = entries
            .iter()
            .zip(&gone)
            .enumerate()
            .map(|(place, (other, gone))| place != at && !gone && subject.same_role(other.origin, entry.origin))
            .collect();
        let others = || spots.iter().filter(|spot| stays.get(spot.entry).copied().unwrap_or_default());
        // An equal one is the better explanation.
        let covering = |inner: &Spot<'_>| {
            let equal = others().find(|outer| outer.place == inner.place);
            equal.map(|spot| (spot, true)).or_else(|| others().find(|outer| map.covers(outer, inner)).map(|spot| (spot, false)))
        };
        let own = spots.iter().filter(|spot| spot.entry == at);
        let Some(covered) = own.map(covering).collect::<Option<Vec<_>>>() else { continue };
        let Some(other) = covered.first().and_then(|(spot, _)| entries.get(spot.entry)) else { continue };
        if let Some(mark) = gone.get_mut(at) {
            *mark = true;
        }
        let equal = covered.iter().all(|(_, equal)| *equal);
        let (rule, problem): (&'static Rule, String) = if equal {
            (&rules::DUPLICATE_ENTRY, format!("`{}` is in the list already, by `{}` at {}", entry.shown(), other.shown(), place_of(other)))
        } else {
            (&rules::SHADOWED_RULE, format!("`{}` is covered by `{}` at {}", entry.shown(), other.shown(), place_of(other)))
        };
        findings.push(Finding::new(
            rule,
            entry.origin,
            problem,
            "take one of the two out, or correct the one that should say something else",
        ));
    }
}

fn place_of(entry: &Entry<'_>) -> String {
    format!("{}:{}", entry.origin.file, entry.origin.line)
}

/// What a list gives and another takes away as a whole.
fn taken_away(subject: &Subject<'_>, entry: &Entry<'_>, access: Access, findings: &mut Vec<Finding>) {
    let verdicts: Option<Vec<_>> = entry
        .rules
        .iter()
        .map(|rule| match rule.place {
            Place::Temporary | Place::PrivateHome => None,
            ref place => subject.facts.anchors().path(place).map(|path| subject.judge.judge(&path, access).because),
        })
        .collect();
    let Some(verdicts) = verdicts else { return };
    let all = |reason: Reason| !verdicts.is_empty() && verdicts.iter().all(|because| because.kind == reason);
    let by = verdicts.first().and_then(|because| because.rule.as_ref()).map_or_else(String::new, |rule| format!(" ({})", rule.origin));
    let (problem, advice) = if all(Reason::Denied) {
        (format!("`{}` is denied{by}, so that naming it here does nothing", entry.shown()), "take it out here, or out of deny")
    } else if all(Reason::Protected) {
        (format!("`{}` is protected{by}, so that nothing of it can be written", entry.shown()), "name it in read instead of write")
    } else if all(Reason::GitReadOnly) {
        (format!("`{}` is git's own, which allow under [git] opens and not write", entry.shown()), "write allow = \"commit\" under [git]")
    } else {
        return;
    };
    findings.push(Finding::new(&rules::SHADOWED_RULE, entry.origin, problem, advice));
}

fn on_this_machine(subject: &Subject<'_>, entry: &Entry<'_>, findings: &mut Vec<Finding>) {
    let Some(place) = entry.alone() else { return };
    let Some(path) = subject.facts.anchors().path(place) else { return };
    if subject.facts.kind(&path) == Kind::Missing && !subject.is_preset(entry.origin) {
        findings.push(Finding::new(
            &rules::MISSING_PATH,
            entry.origin,
            format!("`{}` does not exist on this machine", entry.shown()),
            "correct it, or leave it if other machines have it",
        ));
    }
    led_away(subject.facts, entry, findings);
}

/// A link whose end lies elsewhere than its name says.
fn led_away(facts: &dyn Facts, entry: &Entry<'_>, findings: &mut Vec<Finding>) {
    let anchors = facts.anchors();
    let Some(place) = entry.alone() else { return };
    let Some(path) = anchors.path(place) else { return };
    let within = match place {
        Place::Workspace(_) => anchors.workspace.as_path(),
        Place::Home(_) => anchors.home.as_path(),
        _ => path.parent().unwrap_or(Path::new("/")),
    };
    if let Some(end) = facts.leads_to(&path).filter(|end| !end.starts_with(within)) {
        findings.push(Finding::new(
            &rules::SYMLINK_OUT,
            entry.origin,
            format!("`{}` leads to {}", entry.shown(), end.display()),
            "name the place that it leads to, so that the policy means the same wherever the link leads",
        ));
    }
}

/// What takes away where nothing was given.
fn without_object(subject: &Subject<'_>, map: &Map<'_>, entry: &Entry<'_>, given: Access, findings: &mut Vec<Finding>) {
    let Some(place) = entry.alone() else { return };
    if let Place::WorkspaceGlob(glob) = place
        && let Some(folder) = glob.split('/').rev().skip(1).find(|part| place::is_in_package_folder(&Path::new(part).join("x")))
    {
        findings.push(Finding::new(
            &rules::GLOB_NEVER_MATCHES,
            entry.origin,
            format!("`{glob}` matches nothing: globs do not count below {folder}, which a package manager fills"),
            "name the path without * if it has to be covered",
        ));
        return;
    }
    // A bound of the machine, of the repository or of the person stands for whatever is chosen next.
    if subject.role(entry.origin) != "chosen" {
        return;
    }
    let filesystem = &subject.policy.filesystem;
    let written = filesystem.write.iter().all(|list| map.touches(list, place));
    let read = written || filesystem.read.iter().all(|list| map.touches(list, place));
    match given {
        Access::Read if !read => findings.push(Finding::new(
            &rules::DENY_UNCOVERED,
            entry.origin,
            format!("`{}` is denied, and nothing lets it be read", entry.shown()),
            "take it out, or leave it for a policy that extends this one",
        )),
        Access::Write if !written => findings.push(Finding::new(
            &rules::PROTECT_NOT_WRITABLE,
            entry.origin,
            format!("`{}` is protected, and nothing makes it writable", entry.shown()),
            "take it out, or leave it for a policy that extends this one",
        )),
        _ => {}
    }
}
