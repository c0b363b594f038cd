//! The private folder of a session on the host: what calls see as their `/tmp` and home, and outputs that were too long for the model.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

use tempfile::TempDir;

use super::plan::PRIVATE_PREFIX;

/// What lies in it.
const FOLDERS: [&str; 3] = ["tmp", "home", "outputs"];

/// Makes one below `TMPDIR`, of a name that nobody knows beforehand, for its owner alone (0700). It goes when it is dropped.
///
/// # Errors
/// What the system says where it cannot be made.
pub fn make() -> io::Result<TempDir> {
    make_in(&std::env::temp_dir())
}

/// Makes one in a folder, such as the private one of a session: what lies in that goes with it, also where this process is killed.
///
/// # Errors
/// As [`make`].
pub fn make_in(parent: &Path) -> io::Result<TempDir> {
    let folder = tempfile::Builder::new().prefix(PRIVATE_PREFIX).permissions(Permissions::from_mode(0o700)).tempdir_in(parent)?;
    let root = fs::canonicalize(folder.path())?;
    FOLDERS.iter().try_for_each(|name| DirBuilder::new().mode(0o700).create(root.join(name)))?;
    Ok(folder)
}
