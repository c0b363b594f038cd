//! How git lays out a repository (gitrepository-layout(5)): where its folders are, what in them makes git run something, and what git's
//! own files say of where else to look.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{beneath, git_configuration, walk::open_and_list};
use crate::sandbox::plan::Linked;

/// A longer `.git` file is none that git wrote.
pub const LONGEST: u64 = 8 * 1024;

/// What makes git run something, or look elsewhere for what does, in the folder of a repository or of a linked worktree.
pub const EXECUTING: [&str; 5] = ["commondir", "config", "config.worktree", "hooks", "info/attributes"];

/// The most folders of submodules that are followed.
const MODULES: usize = 4096;

/// Whether git takes `folder` for that of a repository.
pub fn is_git_folder(folder: &Path) -> bool {
    ["HEAD", "objects", "refs"].iter().all(|name| fs::symlink_metadata(folder.join(name)).is_ok())
}

/// The folders of the submodules below the git folder `git`, those of their submodules too. A submodule's name may hold slashes.
pub fn modules_of(git: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![git.join("modules")];
    let mut seen = 0;
    while let Some(folder) = pending.pop() {
        // A folder that its owner may not list is opened: nothing of git's is closed.
        for entry in open_and_list(&folder).into_iter().flatten().flatten() {
            seen += 1;
            if seen > MODULES || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let path = entry.path();
            // One that is no repository yet may be waiting to become one, with its hooks.
            if is_git_folder(&path) || EXECUTING.iter().any(|name| fs::symlink_metadata(path.join(name)).is_ok()) {
                pending.push(path.join("modules"));
                found.push(path);
            } else {
                pending.push(path);
            }
        }
    }
    found
}

/// Whether the git folder `git` has more entries in `modules` than are followed, or links among them, behind which nobody looks.
pub fn modules_are_hidden(git: &Path) -> bool {
    let mut pending = vec![git.join("modules")];
    let mut seen = 0;
    while let Some(folder) = pending.pop() {
        if fs::symlink_metadata(&folder).is_ok_and(|metadata| metadata.is_symlink()) {
            return true;
        }
        if folder != git.join("modules") && is_git_folder(&folder) {
            continue;
        }
        for entry in open_and_list(&folder).into_iter().flatten().flatten() {
            seen += 1;
            let kind = entry.file_type();
            if seen > MODULES || kind.as_ref().is_ok_and(|kind| kind.is_symlink()) {
                return true;
            }
            if kind.is_ok_and(|kind| kind.is_dir()) {
                pending.push(entry.path());
            }
        }
    }
    false
}

/// The folders in which the git folder `git` keeps its linked worktrees (git-worktree(1)).
pub fn worktrees_of(git: &Path) -> Vec<PathBuf> {
    let entries = open_and_list(&git.join("worktrees")).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// The place that one line of a small file of git's names, relative to the folder of that file; no link is followed to the file.
pub fn place_named_in(file: &Path, prefix: &str) -> Option<PathBuf> {
    let bytes = beneath::read(file, LONGEST).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    fs::canonicalize(file.parent()?.join(text.strip_prefix(prefix)?.trim_end_matches(['\n', '\r']))).ok()
}

/// Looks whether `workspace` is a linked worktree or a submodule. A file in the workspace is not believed (CVE-2026-40068): what it names has
/// to name the workspace in turn, as git itself made it do.
pub fn linked(workspace: &Path) -> Option<Linked> {
    let file = workspace.join(".git");
    let own = place_named_in(&file, "gitdir: ").filter(|own| own.is_dir())?;
    if let Some(common) = place_named_in(&own.join("commondir"), "") {
        let listed = own.parent() == Some(&common.join("worktrees"));
        let named = place_named_in(&own.join("gitdir"), "").is_some_and(|named| named == file);
        return (listed && named && is_git_folder(&common)).then_some(Linked { own, common });
    }
    let bytes = beneath::read(&own.join("config"), LONGEST_CONFIGURATION).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let named = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("worktree = "))
        .any(|named| fs::canonicalize(own.join(named.trim_matches('"'))).is_ok_and(|named| named == workspace));
    (named && is_git_folder(&own)).then(|| Linked { common: own.clone(), own })
}

/// The folder that a `.git` file names (gitrepository-layout(5)), if it is such a file and the folder exists.
pub fn folder_named_by(file: &Path) -> Option<PathBuf> {
    let text = String::from_utf8(beneath::read(file, LONGEST).ok()?).ok()?;
    // As git reads it: one blank, and nothing is trimmed but the end of the line.
    let named = text.strip_prefix("gitdir: ")?.trim_end_matches(['\n', '\r']);
    fs::canonicalize(file.parent()?.join(named)).ok().filter(|folder| folder.is_dir())
}

/// A longer configuration is read this far.
const LONGEST_CONFIGURATION: u64 = 256 * 1024;

/// How deep files that configurations include are followed.
const INCLUDED: u8 = 5;

/// Where what a configuration names is looked for.
#[derive(Debug)]
pub struct Bases<'a> {
    /// The tops of all work trees: hooks and commands run there.
    pub tops: &'a [PathBuf],
    /// The person's home folder, for `~/`.
    pub home: &'a Path,
}

/// The places that a configuration names, whether they exist or not (git-config(1)): for hooks (`core.hooksPath`), for further configuration
/// (`include.path`), and the files that exist among the words of every other value which could be a command.
///
/// Only where it finds too much does this differ from git's own reading: a place more that is read-only does no harm.
pub fn places_named_by_configuration(file: &Path, bases: &Bases<'_>) -> Vec<PathBuf> {
    let mut places = Vec::new();
    collect_places(file, bases, INCLUDED, &mut places);
    places
}

fn collect_places(file: &Path, bases: &Bases<'_>, depth: u8, places: &mut Vec<PathBuf>) {
    let Ok(file) = fs::canonicalize(file) else { return };
    let Ok(bytes) = beneath::read(&file, LONGEST_CONFIGURATION) else { return };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut section = String::new();
    for line in text.lines() {
        let mut line = line.trim();
        if let Some((header, rest)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            section = header.split(|c: char| c.is_whitespace() || c == '"').next().unwrap_or_default().to_ascii_lowercase();
            line = rest.trim();
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let key = key.trim().to_ascii_lowercase();
        let plain: String = value.split(['#', ';']).next().unwrap_or_default().replace(['"', '\\'], "");
        let plain = plain.trim();
        let from = |top: &Path| plain.strip_prefix("~/").map_or_else(|| top.join(plain), |rest| bases.home.join(rest));
        match (section.as_str(), key.as_str()) {
            _ if plain.is_empty() => {}
            ("core", "hookspath") => places.extend(bases.tops.iter().map(|top| from(top))),
            ("include" | "includeif", "path") => {
                let included = from(file.parent().unwrap_or(&file));
                if depth > 0 {
                    collect_places(&included, bases, depth - 1, places);
                }
                places.push(included);
            }
            (section, key) if !git_configuration::is_harmless(section, key, plain, &|_| true) => {
                // One without a slash is looked for on the PATH, and not where git runs.
                let words = plain.split_whitespace().map(|word| word.trim_start_matches('!')).filter(|word| word.contains('/'));
                let named = words.flat_map(|word| bases.tops.iter().map(move |top| top.join(word)));
                places.extend(named.filter(|place| place.is_file()));
            }
            _ => {}
        }
    }
}

/// `path` with its links followed as far as it exists; what is absent keeps its name.
pub fn settled(path: &Path) -> PathBuf {
    for above in path.ancestors() {
        if let Ok(real) = fs::canonicalize(above) {
            return path
                .strip_prefix(above)
                .map_or_else(|_| real.clone(), |rest| if rest.as_os_str().is_empty() { real.clone() } else { real.join(rest) });
        }
    }
    path.to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_names_hooks_and_further_configuration_however_it_is_written() {
        let root = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(root.path()).unwrap();
        let (git, home) = (root.join(".git"), root.join("home"));
        fs::create_dir(&git).unwrap();
        fs::write(root.join("watch"), "").unwrap();
        fs::write(root.join("shared.cfg"), "[core]\nhooksPath = more\n").unwrap();
        let tops = [root.clone(), root.join("linked")];
        let bases = Bases { tops: &tops, home: &home };
        let file = git.join("config");
        assert_eq!(places_named_by_configuration(&file, &bases), Vec::<PathBuf>::new());
        let text = "[core]\n\tbare = false\n\tHooksPath = .git\"hooks\" # ours\n\tfsmonitor = ./watch --fast\n[Include] path = ../shared.cfg\n\
                    [includeIf \"gitdir:x\"]\n  path = \"/abs/x.cfg\"\n[include]\n path = ~/mine\n[user]\npath = no\n";
        fs::write(&file, text).unwrap();
        let expected = [
            root.join(".githooks"),
            root.join("linked/.githooks"),
            root.join("./watch"),
            root.join("more"),
            root.join("linked/more"),
            git.join("../shared.cfg"),
            PathBuf::from("/abs/x.cfg"),
            home.join("mine"),
        ];
        assert_eq!(places_named_by_configuration(&file, &bases), expected);
    }

    proptest::proptest! {
        #[test]
        fn any_configuration_is_read_without_a_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            let root = tempfile::tempdir().unwrap();
            fs::write(root.path().join("config"), bytes).unwrap();
            let tops = [root.path().to_path_buf()];
            let _ = places_named_by_configuration(&root.path().join("config"), &Bases { tops: &tops, home: root.path() });
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
