//! Named groups of paths (`@system`, `@credentials`, …): data in `policies/groups.toml`, compiled in.

use std::{collections::BTreeMap, path::PathBuf, sync::OnceLock};

use serde::Deserialize;
use toml::Spanned;

use super::{
    error::{PolicyError, Problem, Source},
    model::{Origin, PathRule, Place},
    place,
};

/// The file as errors and origins name it.
const FILE: &str = "policies/groups.toml";
/// What the file holds.
const TEXT: &str = include_str!("../../policies/groups.toml");
/// Groups that stand for a place which exists only with a session, so that no file can list them.
pub const SPECIAL: [(&str, &str); 3] = [
    ("home", "A private, initially empty home folder that ends with the session."),
    ("tmp", "A private /tmp that ends with the session."),
    ("workspace", "The folder that the session was started for."),
];

/// A named group of places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name, without the `@`.
    pub name: String,
    /// What belongs in it and why.
    pub why: String,
    /// Its places, with the line in `policies/groups.toml` that each stands in.
    pub rules: Vec<PathRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupsFile {
    schema: i64,
    group: BTreeMap<String, GroupShape>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupShape {
    why: String,
    /// Groups whose own places belong to this one as well; what those include in their turn does not.
    #[serde(default)]
    include: Vec<String>,
    paths: Vec<Spanned<String>>,
}

/// All groups of `policies/groups.toml` and the special ones, sorted by name.
///
/// # Errors
/// Where the compiled-in file is wrong, which a test of this module excludes.
pub fn groups() -> Result<&'static [Group], PolicyError> {
    static GROUPS: OnceLock<Result<Vec<Group>, PolicyError>> = OnceLock::new();
    GROUPS.get_or_init(|| parse(&Source::new(FILE, TEXT))).as_deref().map_err(Clone::clone)
}

/// The group called `name`, without its `@`.
///
/// # Errors
/// As [`groups`].
pub fn group(name: &str) -> Result<Option<&'static Group>, PolicyError> {
    Ok(groups()?.iter().find(|group| group.name == name))
}

fn parse(source: &Source) -> Result<Vec<Group>, PolicyError> {
    let file: GroupsFile = toml::from_str(&source.text).map_err(|e| {
        let problem = Problem::Syntax(e.message().to_owned());
        source.error(&e.span().unwrap_or(0..0), problem, None)
    })?;
    if file.schema != 1 {
        return Err(PolicyError::whole(FILE, Problem::Schema(file.schema), None));
    }
    let mut groups = Vec::with_capacity(file.group.len() + SPECIAL.len());
    for (name, shape) in &file.group {
        let included = shape.include.iter().filter_map(|name| file.group.get(name)).flat_map(|shape| &shape.paths);
        let mut rules = Vec::with_capacity(shape.paths.len());
        for path in included.chain(&shape.paths) {
            let place = place::parse(path.get_ref()).map_err(|fault| source.error(&path.span(), fault.problem, fault.hint))?;
            rules.push(PathRule {
                place,
                origin: Origin { file: FILE.to_owned(), line: source.line(path.span().start), group: Some(name.clone()) },
            });
        }
        groups.push(Group { name: name.clone(), why: shape.why.clone(), rules });
    }
    for (name, why) in SPECIAL {
        let place = match name {
            "home" => Place::PrivateHome,
            "tmp" => Place::Temporary,
            _ => Place::Workspace(PathBuf::new()),
        };
        let origin = Origin { file: FILE.to_owned(), line: 1, group: Some(name.to_owned()) };
        groups.push(Group { name: name.to_owned(), why: why.to_owned(), rules: vec![PathRule { place, origin }] });
    }
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(groups)
}
