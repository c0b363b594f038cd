//! Which binary a bare name stands for in the sandbox.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::policy::command::file_name;

/// The binaries that the sandbox's `PATH` finds for the names that rules use. It is made once, before the first call, so that nothing that
/// a call does can change what a rule is bound to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Binaries {
    /// `None` where no `PATH` was given.
    found: Option<BTreeMap<String, PathBuf>>,
}

impl Binaries {
    /// Nothing is known of a `PATH`: a bare name stands for itself, and a path for no name.
    pub fn unknown() -> Self {
        Self::default()
    }

    /// Looks up the programs that rules name. `folders` are those of the sandbox's `PATH`, in order; `out_of_reach` says of a path that no call can
    /// change or replace it, which holds for nothing in the workspace or in any other writable folder; `is_program` says whether a path is a file
    /// that may be run. A name that a folder within reach holds, or could come to hold before the one where it is found, is bound to nothing.
    pub fn find<'n>(
        names: impl IntoIterator<Item = &'n str>,
        folders: &[PathBuf],
        out_of_reach: &dyn Fn(&Path) -> bool,
        is_program: &dyn Fn(&Path) -> bool,
    ) -> Self {
        let mut found = BTreeMap::new();
        for name in names {
            let path = Path::new(name);
            if name.contains('/') && path.is_absolute() && out_of_reach(path) {
                found.insert(name.to_owned(), path.to_path_buf());
            }
            // A path that a rule pins may be called by its bare name too.
            let name = file_name(name);
            for folder in folders.iter().take_while(|folder| folder.is_absolute() && out_of_reach(folder)) {
                let path = folder.join(name);
                if is_program(&path) {
                    if out_of_reach(&path) {
                        found.insert(name.to_owned(), path);
                    }
                    break;
                }
            }
        }
        Self { found: Some(found) }
    }

    /// Whether a program's name, as a command writes it, stands for a binary that no call can replace.
    pub fn finds(&self, name: &str) -> bool {
        self.binds(name, name)
    }

    /// Whether a rule's program, a bare name or a path, is the one that a command names. A relative path is none that a rule can mean.
    pub fn binds(&self, rule: &str, command: &str) -> bool {
        let path_of = |name: &str| self.found.as_ref().and_then(|found| found.get(name));
        match (rule.contains('/'), command.contains('/')) {
            (true, true) => rule == command && rule.starts_with('/') && (self.found.is_none() || path_of(rule).is_some()),
            (false, false) => rule == command && (is_builtin(rule) || self.found.is_none() || path_of(rule).is_some()),
            (true, false) => {
                !is_builtin(command) && path_of(rule).is_some() && path_of(command).is_some_and(|path| path == Path::new(rule))
            }
            (false, true) => !is_builtin(rule) && path_of(rule).is_some_and(|path| path == Path::new(command)),
        }
    }
}

/// Whether bash runs a name itself, whatever `PATH` holds (bash 5.2, the builtins that a rule could sensibly allow).
fn is_builtin(name: &str) -> bool {
    [
        ":", "[", "cd", "dirs", "echo", "exit", "export", "false", "kill", "popd", "printf", "pushd", "pwd", "read", "return", "shift",
        "test", "times", "true", "type", "ulimit", "umask", "unset", "wait",
    ]
    .contains(&name)
}
