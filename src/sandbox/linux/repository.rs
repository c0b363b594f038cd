//! What git's own files say of where else to look: the folder that a `.git` file points to, and the hooks and further configuration that a
//! configuration names.

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

/// A longer configuration is read this far.
const LONGEST_CONFIGURATION: u64 = 256 * 1024;

/// The places that the configuration in `folder` (a `.git`) names for hooks (`core.hooksPath`) and for further configuration
/// (`include.path`), whether they exist or not (git-config(1)). Those in the home folder are out of every call's reach anyway.
///
/// Only where it finds too much does this differ from git's own reading: a place more that is read-only does no harm.
pub fn places_named_by_configuration(folder: &Path) -> Vec<PathBuf> {
    let mut bytes = Vec::new();
    let read = File::open(folder.join("config")).and_then(|file| file.take(LONGEST_CONFIGURATION).read_to_end(&mut bytes));
    if read.is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    let mut section = String::new();
    let mut places = Vec::new();
    for line in text.lines() {
        let mut line = line.trim();
        if let Some((header, rest)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            section = header.split(|c: char| c.is_whitespace() || c == '"').next().unwrap_or_default().to_ascii_lowercase();
            line = rest.trim();
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let value = value.split(['#', ';']).next().unwrap_or_default().trim().trim_matches('"').trim_end_matches('\\');
        let beside = match (section.as_str(), key.trim().to_ascii_lowercase().as_str()) {
            // Relative to where the hook runs, which is the top of the work tree.
            ("core", "hookspath") => folder.parent().unwrap_or(folder),
            // Relative to the file that holds it.
            ("include" | "includeif", "path") => folder,
            _ => continue,
        };
        if !value.is_empty() && !value.starts_with('~') {
            places.push(beside.join(value));
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_names_hooks_and_further_configuration_however_it_is_written() {
        let root = tempfile::tempdir().unwrap();
        let git = root.path().join(".git");
        fs::create_dir(&git).unwrap();
        assert_eq!(places_named_by_configuration(&git), Vec::<PathBuf>::new());
        let text = "[core]\n\tbare = false\n\tHooksPath = .githooks # ours\n[Include] path = ../shared.cfg\n\
                    [includeIf \"gitdir:x\"]\n  path = \"/abs/x.cfg\"\n[include]\n path = ~/mine\n[user]\npath = no\n";
        fs::write(git.join("config"), text).unwrap();
        let expected = [root.path().join(".githooks"), git.join("../shared.cfg"), PathBuf::from("/abs/x.cfg")];
        assert_eq!(places_named_by_configuration(&git), expected);
    }

    proptest::proptest! {
        #[test]
        fn any_configuration_is_read_without_a_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            let root = tempfile::tempdir().unwrap();
            fs::write(root.path().join("config"), bytes).unwrap();
            let _ = places_named_by_configuration(root.path());
        }
    }

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
