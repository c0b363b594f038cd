//! The list as it is written.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Allow,
    Refuse,
}

impl Verdict {
    pub fn of(allowed: bool) -> Self {
        if allowed { Self::Allow } else { Self::Refuse }
    }
}

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Decision,
    Linux,
    Macos,
}

/// What is tried. Places as the list writes them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    Read(String),
    /// To change a file that is there.
    Write(String),
    /// To make a file.
    Create(String),
    Mkdir(String),
    Delete(String),
    Rename([String; 2]),
    /// To make a hard link.
    Link([String; 2]),
    Run(String),
    Network(Network),
    Socket(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    Own,
    Machine,
    Proxy,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    pub verdict: Verdict,
    pub why: String,
}

#[derive(Debug)]
pub struct Case {
    pub operation: Operation,
    pub verdict: Verdict,
    pub differences: BTreeMap<Way, Difference>,
}

impl Case {
    pub fn expected(&self, way: Way) -> Verdict {
        self.differences.get(&way).map_or(self.verdict, |difference| difference.verdict)
    }
}

#[derive(Debug)]
pub struct World {
    pub name: String,
    pub policy: Option<String>,
    pub rules: String,
    pub repository: bool,
    pub files: BTreeMap<String, String>,
    pub links: BTreeMap<String, String>,
    pub cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    world: Vec<WorldShape>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WorldShape {
    name: String,
    policy: Option<String>,
    #[serde(default)]
    rules: String,
    #[serde(default = "yes")]
    repository: bool,
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    links: BTreeMap<String, String>,
    case: Vec<toml::Table>,
}

fn yes() -> bool {
    true
}

/// The worlds of a file, with their cases.
pub fn worlds(name: &str) -> Vec<World> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/cases/{name}.toml"));
    // A copy of the tests may be run where the sources are not.
    let text = fs::read_to_string(&path).or_else(|_| fs::read_to_string(format!("tests/cases/{name}.toml"))).unwrap();
    let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    file.world.into_iter().map(world).collect()
}

fn world(shape: WorldShape) -> World {
    assert!(shape.policy.is_some() == shape.rules.is_empty(), "{}: either a preset or rules", shape.name);
    World {
        policy: shape.policy,
        rules: shape.rules,
        repository: shape.repository,
        files: shape.files,
        links: shape.links,
        cases: shape.case.into_iter().map(|case| read(&shape.name, case)).collect(),
        name: shape.name,
    }
}

/// One key that says what is tried, the verdict, and who differs.
fn read(world: &str, mut case: toml::Table) -> Case {
    let shown = format!("{world}: {case}");
    let verdict = case.remove("verdict").unwrap_or_else(|| panic!("{shown}")).try_into().unwrap();
    let mut differences = BTreeMap::new();
    for (key, way) in [("decision", Way::Decision), ("linux", Way::Linux), ("macos", Way::Macos)] {
        if let Some(difference) = case.remove(key) {
            differences.insert(way, difference.try_into().unwrap_or_else(|error| panic!("{shown}: {error}")));
        }
    }
    assert_eq!(case.len(), 1, "{shown}: exactly one thing is tried");
    let operation = toml::Value::Table(case).try_into().unwrap_or_else(|error| panic!("{shown}: {error}"));
    Case { operation, verdict, differences }
}
