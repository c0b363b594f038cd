//! One entry of a path list: `/usr`, `~/.ssh`, `.git/hooks` or `**/.env`.

use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use super::{
    error::{Problem, value},
    model::Place,
};

/// Longest path that a policy may hold, in bytes: `PATH_MAX` of Linux, limits.h(0p).
const LONGEST: usize = 4096;

/// Why an entry is refused.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) problem: Problem,
    pub(super) hint: Option<String>,
}

impl Fault {
    pub(super) fn new(problem: Problem, hint: &str) -> Self {
        Self { problem, hint: Some(hint.to_owned()) }
    }
}

/// Reads an entry that is not a group. A trailing slash, `.` and repeated slashes are dropped.
pub(super) fn parse(text: &str) -> Result<Place, Fault> {
    if text.trim().is_empty() {
        return Err(Fault::new(Problem::Empty("path"), "write @workspace for the workspace itself"));
    }
    if text.len() > LONGEST || text.contains(char::is_control) {
        return Err(Fault::new(Problem::Malformed { what: "path", value: value(text) }, "at most 4096 bytes, and no control characters"));
    }
    if text.split('/').any(|part| part == "..") {
        return Err(Fault::new(
            Problem::Upwards(value(text)),
            "a relative path lies below the workspace; name any other place from / or ~/",
        ));
    }
    if text.starts_with('!') {
        return Err(Fault::new(
            Problem::Malformed { what: "path", value: value(text) },
            "no list takes exceptions; write ./! for a name that begins so",
        ));
    }
    let wild = text.contains(['*', '?', '[', '{']);
    if text.starts_with('/') {
        refuse_glob_outside(text, wild)?;
        return Ok(Place::Absolute(normal(text)));
    }
    if text == "~" || text.starts_with("~/") {
        refuse_glob_outside(text, wild)?;
        let below = normal(text.trim_start_matches('~').trim_start_matches('/'));
        if below.as_os_str().is_empty() {
            return Err(Fault::new(Problem::WholeHome(value(text)), "name folders below ~, or @home for a private, empty home folder"));
        }
        return Ok(Place::Home(below));
    }
    if text.starts_with('~') {
        return Err(Fault::new(
            Problem::Malformed { what: "path", value: value(text) },
            "only ~/ is known, for the home folder of whoever starts the session",
        ));
    }
    if wild {
        // Paths are matched without `.` and repeated or trailing slashes, so a glob that kept them would silently match nothing.
        let glob = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/");
        // To compile it takes longer than to read the rest of a policy, and most are never asked.
        return match builder(&glob).build() {
            Ok(_) => Ok(Place::WorkspaceGlob(glob)),
            Err(e) => Err(Fault::new(
                Problem::BadGlob { glob: value(text), reason: e.kind().to_string() },
                "* and ? stay within a name, ** crosses folders, [ab] and {a,b} are choices",
            )),
        };
    }
    let below = normal(text);
    if below.as_os_str().is_empty() {
        return Err(Fault::new(Problem::Malformed { what: "path", value: value(text) }, "write @workspace for the workspace itself"));
    }
    Ok(Place::Workspace(below))
}

/// Folders that package managers fill and empty. Packages ship files with names such as `.env` and `.envrc`, which are nobody's secrets
/// and start nothing there; covering them would keep the folder from being installed anew.
const FILLED_BY_PACKAGE_MANAGERS: [&str; 2] = ["node_modules", "site-packages"];

/// Whether globs do not count for a path, relative to the workspace, because it lies in a folder that a package manager fills.
pub fn is_in_package_folder(relative: &Path) -> bool {
    let folders = relative.parent().into_iter().flat_map(Path::components);
    folders.into_iter().any(|folder| FILLED_BY_PACKAGE_MANAGERS.iter().any(|name| folder.as_os_str() == *name))
}

/// Compiles a [`Place::WorkspaceGlob`]. It is matched against paths relative to the workspace.
///
/// # Errors
/// Where `glob` is not a glob.
pub fn compile(glob: &str) -> Result<GlobMatcher, globset::Error> {
    builder(glob).build().map(|glob| glob.compile_matcher())
}

fn builder(glob: &str) -> GlobBuilder<'_> {
    let mut builder = GlobBuilder::new(glob);
    builder.literal_separator(true).backslash_escape(true);
    builder
}

fn refuse_glob_outside(text: &str, wild: bool) -> Result<(), Fault> {
    if !wild {
        return Ok(());
    }
    Err(Fault::new(Problem::GlobOutside(value(text)), "globs are looked for below the workspace only; spell out the paths elsewhere"))
}

fn normal(text: &str) -> PathBuf {
    Path::new(text).components().filter(|part| !matches!(part, Component::CurDir)).collect()
}
