//! Where a program of the person's lies, and the links that lead to it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Finds a program as a shell does, by its name and behind all links, but for folders of `PATH` that are relative: what they name depends on where one stands.
pub fn find(program: &str, path: &str, cwd: &Path) -> Option<(PathBuf, PathBuf)> {
    let candidates: Vec<PathBuf> = if program.contains('/') {
        vec![cwd.join(program)]
    } else {
        path.split(':').filter(|folder| folder.starts_with('/')).map(|folder| Path::new(folder).join(program)).collect()
    };
    let runs = |path: &PathBuf| fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    let found = candidates.into_iter().find(runs)?;
    let real = fs::canonicalize(&found).ok()?;
    Some((found, real))
}

/// The most links that are followed, as in the kernel.
const HOPS: usize = 40;

/// A path, each link that it leads over, and where it ends.
pub fn hops(path: &Path) -> Vec<PathBuf> {
    let mut all = vec![path.to_path_buf()];
    while let Some(target) = all.last().and_then(|last| Some(last.parent()?.join(fs::read_link(last).ok()?)))
        && all.len() < HOPS
    {
        all.push(target);
    }
    all.extend(fs::canonicalize(path));
    all
}
