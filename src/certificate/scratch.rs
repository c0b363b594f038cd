//! The places that statements are tried on: a workspace and a home folder made for the run, in which what a policy names is planted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::{
    policy::{Place, Policy},
    sandbox::{Session, plan::PRIVATE_PREFIX},
};

/// What a run is made in; it goes when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    root: PathBuf,
    _folder: tempfile::TempDir,
}

/// Whether what is only denied or protected is planted too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// Everything that the policy names.
    All,
    /// Only what it grants, without which no sandbox can be made.
    Granted,
}

impl Scratch {
    /// Makes an empty one below `parent`.
    ///
    /// # Errors
    /// What the system says where it cannot be made.
    pub fn make(parent: &Path) -> io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        let folder = builder.prefix("portcullis-verify-").permissions(fs::Permissions::from_mode(0o700)).tempdir_in(parent)?;
        let root = fs::canonicalize(folder.path())?;
        fs::create_dir(root.join("outside"))?;
        fs::write(root.join("outside/file"), "outside\n")?;
        Ok(Self { root, _folder: folder })
    }

    /// A path in it.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Lays out a workspace with the skeleton of a repository and a home, and returns the session in them.
    ///
    /// # Errors
    /// What the system says where something cannot be made.
    pub fn session(&self, name: &str, policy: &Policy, plant: Plant, real: &Session) -> io::Result<Session> {
        let base = self.root.join(name);
        let (workspace, home, state) = (base.join("workspace"), base.join("home"), base.join("state"));
        let private = base.join(format!("{PRIVATE_PREFIX}private"));
        for folder in ["tmp", "home", "outputs"] {
            fs::create_dir_all(private.join(folder))?;
        }
        fs::set_permissions(&private, fs::Permissions::from_mode(0o700))?;
        for folder in [&home, &workspace, &state.join("placeholders"), &workspace.join(".git/objects"), &workspace.join(".git/refs/heads")]
        {
            fs::create_dir_all(folder)?;
        }
        fs::write(state.join("log"), "state\n")?;
        fs::write(workspace.join("file"), "a file\n")?;
        fs::write(workspace.join(".git/HEAD"), "ref: refs/heads/main\n")?;
        let files = &policy.filesystem;
        let granted = files.read.iter().chain(&files.write).flatten();
        let taken = files.deny.iter().chain(&files.protect).map(|rule| &rule.place).filter(|_| plant == Plant::All);
        let find = |place: &Place| match place {
            Place::Home(below) => Some((home.join(below), real.home.join(below))),
            Place::Workspace(below) => Some((workspace.join(below), real.workspace.join(below))),
            Place::WorkspaceGlob(glob) => Some((workspace.join(example(glob)), PathBuf::from("/dev/null"))),
            _ => None,
        };
        let all: BTreeMap<PathBuf, PathBuf> = granted.map(|rule| &rule.place).chain(taken).filter_map(find).collect();
        let folders: BTreeSet<&Path> = all.keys().flat_map(|path| path.ancestors().skip(1)).collect();
        for (number, (path, original)) in all.iter().enumerate() {
            let is_folder = match fs::metadata(original) {
                _ if folders.contains(path.as_path()) => true,
                Ok(found) => found.is_dir(),
                // What is absent could be either; both are tried.
                Err(_) => number % 2 == 0,
            };
            if is_folder {
                fs::create_dir_all(path)?;
            } else if !path.exists() {
                path.parent().map_or(Ok(()), fs::create_dir_all)?;
                fs::write(path, "planted\n")?;
            }
        }
        Ok(Session { workspace, home, private, state, linked: None, environment: real.environment.clone() })
    }
}

/// A path that a glob matches; for most globs, which are names with a star at one end.
pub fn example(glob: &str) -> PathBuf {
    let text = glob.replace("**/", "some/where/").replace("/**", "/inside").replace(['*', '?'], "x");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once(['{', '[']) {
        out.push_str(before);
        let (inner, behind) = after.split_once(['}', ']']).unwrap_or((after, ""));
        let first = inner.split(',').next().unwrap_or_default();
        out.push_str(if text.contains('[') { &first[..first.chars().next().map_or(0, char::len_utf8)] } else { first });
        rest = behind;
    }
    PathBuf::from(out + rest)
}
