//! Reading policy files: the only I/O of this module, done once before a session starts and never on a model's word.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{
    compile::{self, Compiled},
    error::{Mark, PolicyError, Problem, Source, nearest, value},
    file::LARGEST_FILE,
    layers::{self, Layers, Role},
    model::Policy,
    partial::PartialPolicy,
};

/// Most files that one chain of `extends` may lead through.
const LONGEST_CHAIN: usize = 16;
/// The preset that holds where nobody chose anything.
pub const DEFAULT_PRESET: &str = "workspace-write";

/// The presets, sorted by name, each with the text of its file.
static PRESETS: [(&str, &str); 5] = [
    ("ci", include_str!("../../policies/ci.toml")),
    ("locked", include_str!("../../policies/locked.toml")),
    ("networked", include_str!("../../policies/networked.toml")),
    ("read-only", include_str!("../../policies/read-only.toml")),
    ("workspace-write", include_str!("../../policies/workspace-write.toml")),
];

/// Policies that have a name and are no choice for a session, so that no list shows them.
static OTHERS: [(&str, &str); 2] =
    [(REMOTE_PRESET, include_str!("../../policies/mcp-remote.toml")), (SERVER_PRESET, include_str!("../../policies/mcp-server.toml"))];

/// What an MCP server is confined by where nobody chose anything.
pub const SERVER_PRESET: &str = "mcp-server";

/// What passes messages on to one that is reached over HTTP is confined by, likewise. The server's own host is added to what it reaches.
pub const REMOTE_PRESET: &str = "mcp-remote";

/// Where the layers of a session's policy may lie.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Search {
    /// What a flag asks for: a preset's name, or a path where it contains `/` or ends with `.toml`.
    pub chosen: Option<String>,
    /// The machine's file, a bound. As with the two below, no layer where nothing lies there.
    pub system: Option<PathBuf>,
    /// The person's own file: the chosen policy where no flag chooses, and in any case what it takes away.
    pub user: Option<PathBuf>,
    /// The repository's file, a bound.
    pub project: Option<PathBuf>,
}

/// One policy by a preset's name or a path, by itself: no other layer is looked at.
///
/// # Errors
/// Where there is none of that name, or it is unreadable or wrong.
pub fn alone(chosen: &str) -> Result<Policy, PolicyError> {
    named(chosen).map(PartialPolicy::complete)
}

/// Reads and merges the layers of a session.
///
/// # Errors
/// Where any of the files is unreadable or wrong, so that no rule is ever dropped silently, or the chosen one does not exist.
pub fn load(search: &Search) -> Result<Policy, PolicyError> {
    let user = search.user.as_deref().map(|path| layer(path, Trust::Person)).transpose()?.flatten();
    let (chosen, user) = match (&search.chosen, user) {
        (Some(chosen), user) => (named(chosen)?, user),
        (None, Some(user)) => (user, None),
        (None, None) => (named(DEFAULT_PRESET)?, None),
    };
    let system = search.system.as_deref().map(|path| layer(path, Trust::Person)).transpose()?.flatten();
    let project = search.project.as_deref().map(|path| layer(path, Trust::Repository)).transpose()?.flatten();
    Ok(layers::merge(Layers { chosen, user, system, project }))
}

/// Reads one file, and what it extends, as a policy by itself.
///
/// # Errors
/// Where the file does not exist, is unreadable or wrong.
pub fn check(path: &Path) -> Result<Policy, PolicyError> {
    follow(open(path, Trust::Person)?, Trust::Person).map(PartialPolicy::complete)
}

/// The compiled-in presets with the text of each, sorted by name.
pub fn presets() -> &'static [(&'static str, &'static str)] {
    &PRESETS
}

/// A settings file of the person's, if it is there.
///
/// # Errors
/// Where it is there and cannot be read.
pub fn settings(path: &Path) -> Result<Option<Source>, PolicyError> {
    Ok(open_if_there(path, Trust::Person)?.map(|item| item.source))
}

/// One preset as a policy.
///
/// # Errors
/// Where there is none of that name; the hint holds the nearest.
pub fn preset(name: &str) -> Result<Policy, PolicyError> {
    preset_source(name).and_then(|source| follow(Item::preset(source), Trust::Person)).map(PartialPolicy::complete)
}

/// A preset or a file as it is written, first itself and then what it extends, in order.
///
/// # Errors
/// As [`check`] and [`preset`]: what has an error is not shown as if it were a policy.
pub fn written(chosen: &str) -> Result<Vec<Source>, PolicyError> {
    let mut sources = Vec::new();
    follow_each(item(chosen)?, Trust::Person, |source| sources.push(source.clone()))?;
    Ok(sources)
}

/// The files that a policy was merged from ([`Policy::sources`]), as they are now, each once.
///
/// # Errors
/// Where one can no longer be read.
pub fn sources(policy: &Policy) -> Result<Vec<Source>, PolicyError> {
    let mut sources: Vec<Source> = Vec::new();
    for (file, role) in &policy.sources {
        if sources.iter().any(|source| source.file == *file) {
            continue;
        }
        let preset = PRESETS.iter().chain(&OTHERS).find(|(name, _)| *file == format!("policies/{name}.toml"));
        let trust = if role == Role::Project.name() { Trust::Repository } else { Trust::Person };
        sources.push(match preset {
            Some((_, text)) => Source::new(file, *text),
            None => open(Path::new(file), trust)?.source,
        });
    }
    Ok(sources)
}

/// Checks text as if it were the file `name`; it may extend presets only. For linters and tests: nothing is read.
///
/// # Errors
/// Where the text is wrong.
pub fn check_text(name: &str, text: &str) -> Result<PartialPolicy, PolicyError> {
    follow(Item { source: Source::new(name, text), identity: PathBuf::from(name), folder: None }, Trust::Repository)
}

/// Who wrote a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// A person of this machine; may extend any file.
    Person,
    /// Whoever wrote the repository; may extend presets only, and may not be a link to a file elsewhere.
    Repository,
}

/// One file of a chain of `extends`.
#[derive(Debug)]
struct Item {
    source: Source,
    /// Equal for the same file, by whatever name it was reached.
    identity: PathBuf,
    /// What a relative path in `extends` starts from; `None` where none is allowed.
    folder: Option<PathBuf>,
}

impl Item {
    fn preset(source: Source) -> Self {
        let identity = PathBuf::from(&source.file);
        Self { source, identity, folder: None }
    }
}

/// Whether a name of a policy is a file's.
pub fn is_path(text: &str) -> bool {
    text.contains('/') || Path::new(text).extension().is_some_and(|ext| ext == "toml")
}

fn named(chosen: &str) -> Result<PartialPolicy, PolicyError> {
    follow(item(chosen)?, Trust::Person)
}

fn item(chosen: &str) -> Result<Item, PolicyError> {
    if is_path(chosen) { open(Path::new(chosen), Trust::Person) } else { preset_source(chosen).map(Item::preset) }
}

fn preset_source(name: &str) -> Result<Source, PolicyError> {
    match PRESETS.iter().chain(&OTHERS).find(|(known, _)| *known == name) {
        Some((known, text)) => Ok(Source::new(format!("policies/{known}.toml"), *text)),
        None => Err(PolicyError::whole("policy", Problem::UnknownPreset(value(name)), preset_hint(name))),
    }
}

fn preset_hint(name: &str) -> Option<String> {
    nearest(name, PRESETS.iter().map(|(known, _)| *known), "")
}

/// A layer that may be absent.
fn layer(path: &Path, trust: Trust) -> Result<Option<PartialPolicy>, PolicyError> {
    open_if_there(path, trust)?.map(|item| follow(item, trust)).transpose()
}

/// A file that may be absent. What is there and cannot be read is an error, a link that leads nowhere included.
fn open_if_there(path: &Path, trust: Trust) -> Result<Option<Item>, PolicyError> {
    match fs::symlink_metadata(path) {
        Ok(_) => open(path, trust).map(Some),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(unreadable(path, &e)),
    }
}

fn unreadable(path: &Path, e: &io::Error) -> PolicyError {
    PolicyError::whole(&path.display().to_string(), Problem::Unreadable(value(&e.to_string())), None)
}

fn open(path: &Path, trust: Trust) -> Result<Item, PolicyError> {
    let name = path.display().to_string();
    // Non-blocking, so that a FIFO in the file's place cannot hang the start; a link that a repository brings could show a file
    // from elsewhere in an error message.
    let link = if trust == Trust::Repository { libc::O_NOFOLLOW } else { 0 };
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY | link).open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(e) if trust == Trust::Repository && e.raw_os_error() == Some(libc::ELOOP) => {
            return Err(PolicyError::whole(&name, Problem::NotAFile, Some("a repository's policy may not be a symbolic link".to_owned())));
        }
        Err(e) => return Err(unreadable(path, &e)),
    };
    let kind = file.metadata().map_err(|e| unreadable(path, &e))?;
    if !kind.is_file() {
        return Err(PolicyError::whole(&name, Problem::NotAFile, None));
    }
    let mut bytes = Vec::new();
    file.by_ref().take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(|e| unreadable(path, &e))?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(PolicyError::whole(&name, Problem::TooLarge(LARGEST_FILE), None));
    }
    let text = String::from_utf8(bytes).map_err(|e| PolicyError::whole(&name, Problem::NotUtf8(e.utf8_error().valid_up_to()), None))?;
    let identity = fs::canonicalize(path).map_err(|e| unreadable(path, &e))?;
    let folder = path.parent().map(Path::to_path_buf);
    Ok(Item { source: Source::new(name, text), identity, folder })
}

/// Follows `extends` to its end and puts each file on top of what it extends.
fn follow(first: Item, trust: Trust) -> Result<PartialPolicy, PolicyError> {
    follow_each(first, trust, |_| ())
}

fn follow_each(first: Item, trust: Trust, mut each: impl FnMut(&Source)) -> Result<PartialPolicy, PolicyError> {
    let mut seen: Vec<(PathBuf, String)> = Vec::new();
    let mut parts = Vec::new();
    let mut item = first;
    loop {
        let Item { source, identity, folder } = item;
        let Compiled { partial, extends } = compile::compile(&source)?;
        each(&source);
        seen.push((identity, source.file.clone()));
        parts.push(partial);
        let Some((target, mark)) = extends else { break };
        if parts.len() == LONGEST_CHAIN {
            return Err(PolicyError::at(&source.file, mark, Problem::TooDeep(LONGEST_CHAIN), None));
        }
        let next = extended(&source.file, folder.as_deref(), &target, &mark, trust)?;
        if let Some(at) = seen.iter().position(|(identity, _)| *identity == next.identity) {
            let names = seen.iter().skip(at).chain(seen.get(at)).map(|(_, name)| name.as_str());
            let chain = names.collect::<Vec<_>>().join(" -> ");
            return Err(PolicyError::at(&source.file, mark, Problem::Cycle(chain), None));
        }
        item = next;
    }
    let top = parts.into_iter().rev().reduce(|parent, child| child.over(parent));
    Ok(top.unwrap_or_default())
}

fn extended(file: &str, folder: Option<&Path>, target: &str, mark: &Mark, trust: Trust) -> Result<Item, PolicyError> {
    let fail = |problem, hint: Option<String>| Err(PolicyError::at(file, mark.clone(), problem, hint));
    if !is_path(target) {
        return match preset_source(target) {
            Ok(source) => Ok(Item::preset(source)),
            Err(_) => fail(Problem::UnknownPreset(value(target)), preset_hint(target)),
        };
    }
    let Some(folder) = folder.filter(|_| trust == Trust::Person) else {
        return fail(Problem::ExtendsPath(value(target)), preset_hint(target));
    };
    let path = folder.join(target);
    match open(&path, trust) {
        Err(PolicyError { problem: Problem::Unreadable(reason), .. }) => {
            fail(Problem::Unreadable(reason), Some(format!("looked for {}", value(&path.display().to_string()))))
        }
        other => other,
    }
}
