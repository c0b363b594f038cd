//! Reads the sentences of the prefix back: their lists, examples, counts and units. It shares no code with what wrote them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use portcullis::policy::{self, PathRule, Place};

/// What an entry of a list stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spot {
    /// A place of the host's.
    Host(PathBuf),
    /// Below the workspace, whatever matches.
    Glob(String),
    /// The session's own `/tmp`.
    Temporary,
    /// The session's own home folder.
    Home,
}

/// One list of places, complete: what the sentence counts instead of naming is taken from the policy.
#[derive(Debug, Clone, Default)]
pub struct List(pub BTreeSet<Spot>);

/// Where the symbolic places lie.
#[derive(Debug, Clone)]
pub struct Anchors {
    pub home: PathBuf,
    pub workspace: PathBuf,
}

impl Anchors {
    pub fn spot(&self, place: &Place) -> Spot {
        match place {
            Place::Absolute(path) => Spot::Host(path.clone()),
            Place::Home(path) => Spot::Host(self.home.join(path)),
            Place::Workspace(path) if path.as_os_str().is_empty() => Spot::Host(self.workspace.clone()),
            Place::Workspace(path) => Spot::Host(self.workspace.join(path)),
            Place::WorkspaceGlob(glob) => Spot::Glob(glob.clone()),
            Place::Temporary => Spot::Temporary,
            Place::PrivateHome => Spot::Home,
        }
    }

    fn quoted(&self, text: &str) -> Spot {
        match text.strip_prefix("~/") {
            Some(below) => Spot::Host(self.home.join(below)),
            None if text.starts_with('/') => Spot::Host(PathBuf::from(text)),
            None if text.contains(['*', '?', '[', '{']) => Spot::Glob(text.to_owned()),
            None => Spot::Host(self.workspace.join(text)),
        }
    }
}

/// The text between two fixed ends of a sentence.
pub fn between<'t>(text: &'t str, start: &str, end: &str) -> Result<&'t str, String> {
    text.strip_prefix(start)
        .and_then(|rest| rest.strip_suffix(end))
        .ok_or_else(|| format!("the sentence does not read \"{start}…{end}\": {text:?}"))
}

/// Cuts at `separator` where it stands outside of brackets and quotation marks.
pub fn split<'t>(text: &'t str, separator: &str) -> Vec<&'t str> {
    let (mut parts, mut start, mut depth, mut quoted) = (Vec::new(), 0, 0_i32, false);
    for (index, character) in text.char_indices() {
        match character {
            '`' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 && !quoted && index >= start && text[index..].starts_with(separator) {
            parts.push(&text[start..index]);
            start = index + separator.len();
        }
    }
    parts.push(&text[start..]);
    parts
}

/// The lists of a `read` or `write` sentence: one, or several that all have to agree.
pub fn lists(text: &str, rules: &[Vec<PathRule>], anchors: &Anchors) -> Result<Vec<List>, String> {
    let Some(several) = text.strip_prefix("only what each of these lists covers: ") else {
        let all: Vec<PathRule> = rules.iter().flatten().cloned().collect();
        return Ok(vec![list(text, &all, anchors)?]);
    };
    let mut found = Vec::new();
    for (number, part) in split(several, "; ").into_iter().enumerate() {
        let part =
            part.strip_prefix(&format!("({}) ", number + 1)).ok_or_else(|| format!("list {} has no number: {part:?}", number + 1))?;
        // Which layer's list this is, the sentence does not say; what it counts must be right for one of them.
        let read: Vec<Result<List, String>> = rules.iter().map(|rules| list(part, rules, anchors)).collect();
        let first = read.iter().find_map(|read| read.as_ref().ok().cloned());
        found.push(first.ok_or_else(|| format!("{part:?} is the list of no layer: {read:?}"))?);
    }
    Ok(found)
}

/// One list.
pub fn list(text: &str, rules: &[PathRule], anchors: &Anchors) -> Result<List, String> {
    let mut spots = BTreeSet::new();
    let mut left_out = 0;
    for entry in split(text, ", ") {
        match entry {
            "nothing" => {}
            "the workspace" => _ = spots.insert(Spot::Host(anchors.workspace.clone())),
            "the private /tmp" => _ = spots.insert(Spot::Temporary),
            "the private ~" => _ = spots.insert(Spot::Home),
            _ => {
                if let Some(quoted) = entry.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
                    spots.insert(anchors.quoted(quoted));
                } else if let Some(number) = entry.strip_suffix(" more") {
                    left_out = number.parse::<usize>().map_err(|_| format!("{number:?} is no number"))?;
                } else {
                    spots.extend(group(entry, anchors)?);
                }
            }
        }
    }
    let all: BTreeSet<Spot> = rules.iter().map(|rule| anchors.spot(&rule.place)).collect();
    if let Some(unknown) = spots.iter().find(|spot| !all.contains(spot)) {
        return Err(format!("{unknown:?} is in the sentence and not in the policy"));
    }
    let hidden = all.len() - spots.len();
    if hidden != left_out {
        return Err(format!("the sentence leaves {hidden} out and says that it is {left_out}: {text:?}"));
    }
    Ok(List(all))
}

/// `@name (first, second, third and 7 more)`, which stands for the whole group.
fn group(entry: &str, anchors: &Anchors) -> Result<Vec<Spot>, String> {
    let form = || format!("{entry:?} is no entry that this test can read");
    let (name, examples) =
        entry.strip_prefix('@').and_then(|rest| rest.strip_suffix(')')).and_then(|rest| rest.split_once(" (")).ok_or_else(form)?;
    let group = policy::group(name).map_err(|error| error.to_string())?.ok_or_else(|| format!("there is no group @{name}"))?;
    let (examples, more) = match examples.rsplit_once(" and ") {
        Some((examples, more)) => {
            let number = more.strip_suffix(" more").ok_or_else(form)?;
            (examples, number.parse::<usize>().map_err(|_| form())?)
        }
        None => (examples, 0),
    };
    let examples: Vec<&str> = examples.split(", ").collect();
    let names: Vec<String> = group.rules.iter().map(|rule| rule.place.to_string()).collect();
    if examples.len() + more != names.len() || names[..examples.len()] != examples {
        return Err(format!("@{name} has {} members, first {:?}; the sentence says {entry:?}", names.len(), &names[..examples.len()]));
    }
    Ok(group.rules.iter().map(|rule| anchors.spot(&rule.place)).collect())
}

impl List {
    fn covers(&self, spot: &Spot) -> bool {
        match spot {
            Spot::Host(path) => self.0.iter().any(|other| matches!(other, Spot::Host(root) if path.starts_with(root))),
            other => self.0.contains(other),
        }
    }

    pub fn hosts(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().filter_map(|spot| match spot {
            Spot::Host(path) => Some(path.as_path()),
            _ => None,
        })
    }

    pub fn globs(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|spot| match spot {
            Spot::Glob(glob) => Some(glob.as_str()),
            _ => None,
        })
    }
}

/// Whether every list covers `spot`. No list at all covers nothing.
pub fn granted(lists: &[List], spot: &Spot) -> bool {
    !lists.is_empty() && lists.iter().all(|list| list.covers(spot))
}

/// Every place that any list names.
pub fn named(lists: &[List]) -> BTreeSet<Spot> {
    lists.iter().flat_map(|list| list.0.iter().cloned()).collect()
}

/// The names in a plain list of words.
pub fn words(text: &str) -> Vec<String> {
    text.split(", ").filter(|word| *word != "none").map(str::to_owned).collect()
}

/// `4GiB` in bytes.
pub fn size(text: &str) -> Result<u64, String> {
    counted(text, &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)])
}

/// `10m` in seconds.
pub fn seconds(text: &str) -> Result<u64, String> {
    counted(text, &[("h", 3600), ("m", 60), ("s", 1)])
}

fn counted(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let found = units.iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<u64>().ok()? * factor));
    found.ok_or_else(|| format!("{text:?} is no quantity"))
}
