//! Where git keeps a repository that a `.git` file points to.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

/// A longer `.git` file is none that git wrote.
const LONGEST: u64 = 8 * 1024;

/// The folder that a `.git` file names (gitrepository-layout(5)), if it is such a file and the folder exists.
pub fn folder_named_by(file: &Path) -> Option<PathBuf> {
    if !fs::symlink_metadata(file).is_ok_and(|metadata| metadata.is_file()) {
        return None;
    }
    let mut text = String::new();
    File::open(file).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
    let named = text.strip_prefix("gitdir:")?.trim();
    fs::canonicalize(file.parent()?.join(named)).ok().filter(|folder| folder.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_git_file_names_a_folder_and_nothing_else_does() {
        let root = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(root.path()).unwrap();
        fs::create_dir_all(root.join("a/real")).unwrap();
        for (content, expected) in
            [("gitdir: real\n", Some("a/real")), ("gitdir: ../a/real", Some("a/real")), ("gitdir: none\n", None), ("real", None)]
        {
            fs::write(root.join("a/.git"), content).unwrap();
            assert_eq!(folder_named_by(&root.join("a/.git")), expected.map(|path| root.join(path)), "{content:?}");
        }
        assert_eq!(folder_named_by(&root.join("a")), None);
    }
}
