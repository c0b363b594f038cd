//! What the linter of policies asks of this machine.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

#[cfg(target_os = "linux")]
use nix::unistd::{SysconfVar, sysconf};

use crate::{
    audit::looks_secret,
    cli::resolve::Folders,
    policy::{
        Anchors,
        lint::{Facts, Kind},
    },
    sandbox::plan::INSIDE_TMP,
};

/// The workspace where there is none: of what lies in it nothing is known.
pub(super) const NOWHERE: &str = "/workspace";

/// This machine, as a session for one workspace would meet it.
pub(super) struct Machine {
    anchors: Anchors,
    program_folders: Vec<PathBuf>,
    /// Whether the workspace is one.
    placed: bool,
}

impl Machine {
    pub(super) fn new(workspace: Option<&Path>, folders: &Folders) -> Self {
        let path = folders.environment.get("PATH").map_or("", String::as_str);
        let mut program_folders: Vec<PathBuf> = Vec::new();
        for folder in std::env::split_paths(path).filter(|folder| folder.is_absolute()) {
            // Where a link leads, programs lie as well.
            let real = fs::canonicalize(&folder).unwrap_or_else(|_| folder.clone());
            for folder in [folder, real] {
                if !program_folders.contains(&folder) {
                    program_folders.push(folder);
                }
            }
        }
        let placed = workspace.is_some();
        let workspace = workspace.unwrap_or(Path::new(NOWHERE)).to_path_buf();
        let anchors = Anchors { workspace, home: folders.home.clone(), temporary: PathBuf::from(INSIDE_TMP) };
        Self { anchors, program_folders, placed }
    }

    fn is_unknown(&self, path: &Path) -> bool {
        !self.placed && path.starts_with(&self.anchors.workspace)
    }
}

impl Facts for Machine {
    fn anchors(&self) -> &Anchors {
        &self.anchors
    }

    fn program_folders(&self) -> &[PathBuf] {
        &self.program_folders
    }

    fn finds(&self, program: &str) -> bool {
        let runs = |path: PathBuf| fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
        self.program_folders.iter().any(|folder| runs(folder.join(program)))
    }

    fn kind(&self, path: &Path) -> Kind {
        if self.is_unknown(path) {
            return Kind::Present;
        }
        match fs::metadata(path) {
            Ok(found) if found.file_type().is_socket() => Kind::Socket,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Kind::Missing,
            // What may not be looked at may be there.
            Ok(_) | Err(_) => Kind::Present,
        }
    }

    fn leads_to(&self, path: &Path) -> Option<PathBuf> {
        fs::canonicalize(path).ok().filter(|_| !self.is_unknown(path))
    }

    fn memory(&self) -> Option<u64> {
        // _SC_PHYS_PAGES, which nix names on Linux alone.
        #[cfg(target_os = "linux")]
        {
            let value = |name| sysconf(name).ok().flatten().and_then(|value| u64::try_from(value).ok());
            value(SysconfVar::_PHYS_PAGES)?.checked_mul(value(SysconfVar::PAGE_SIZE)?)
        }
        #[cfg(not(target_os = "linux"))]
        None
    }

    fn looks_secret(&self, text: &str) -> bool {
        looks_secret(text)
    }
}
