//! What git would run from a repository that was planted, by what lies there when a call has ended.

use std::path::{Path, PathBuf};

use super::world::{Entry, Listing};

/// Keys of git's configuration whose value is a program, or leads to one (git-config(1)).
const RUNNING: [&str; 18] = [
    "fsmonitor",
    "hookspath",
    "sshcommand",
    "pager",
    "editor",
    "askpass",
    "external",
    "textconv",
    "command",
    "clean",
    "smudge",
    "process",
    "driver",
    "program",
    "helper",
    "gitproxy",
    "path",
    "cmd",
];

fn runs(entry: &Entry) -> bool {
    let text = entry.content.to_ascii_lowercase();
    let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    text.lines().filter(|line| line.contains('=')).any(|line| RUNNING.iter().any(|name| key(line).ends_with(name)))
}

/// Whether git would run something from this folder, taken as the folder of a repository.
fn would_run(listing: &Listing, folder: &Path) -> bool {
    let configured = ["config", "config.worktree"].iter().any(|name| listing.0.get(&folder.join(name)).is_some_and(runs));
    let hooks = folder.join("hooks");
    configured || listing.0.iter().any(|(path, entry)| path.parent() == Some(&hooks) && is_hook(path, entry))
}

fn is_hook(path: &Path, entry: &Entry) -> bool {
    // What was taken out of effect has a name that git does not know.
    !entry.is_folder() && path.extension().is_none_or(|end| end != "sample" && end != "refused")
}

/// Whether a path that was made has `.git` in it and nothing that git would run: a folder by itself, objects, a configuration without programs,
/// a `.git` file or link that leads to no repository with any.
pub fn is_harmless(listing: &Listing, path: &Path) -> bool {
    let parts: Vec<_> = path.components().collect();
    let Some(git) = parts.iter().rposition(|part| part.as_os_str() == ".git") else { return false };
    let Some(entry) = listing.0.get(path) else { return true };
    let below: PathBuf = parts[git + 1..].iter().collect();
    if entry.is_folder() {
        return true;
    }
    if below.as_os_str().is_empty() {
        let target = entry.content.strip_prefix("link to ").or_else(|| entry.content.strip_prefix("file: gitdir: "));
        return target.is_none_or(|target| !would_run(listing, &normal(&path.parent().unwrap_or(path).join(target.trim()))));
    }
    let hook = path.parent().is_some_and(|folder| folder.ends_with("hooks")) && is_hook(path, entry);
    let program = (below.ends_with("config") || below.ends_with("config.worktree")) && runs(entry);
    // A linked worktree of git's own making leads back to its repository; where it says that it lies makes git run nothing.
    let elsewhere = below.ends_with("commondir") && entry.content.trim() != "file: ../..";
    !(hook || program || elsewhere)
}

/// A relative path without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(normal.pop()),
            std::path::Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

/// Folders that git takes for a repository though they are not called `.git` (gitrepository-layout(5)), and from which it would run something. Where
/// there is a `.git` beside, git takes that.
pub fn bare(listing: &Listing) -> Vec<&Path> {
    let has = |folder: &Path, name: &str| listing.0.contains_key(&folder.join(name));
    let looks_like_one = |folder: &Path| ["HEAD", "objects", "refs"].iter().all(|name| has(folder, name)) && !has(folder, ".git");
    let folders = listing.0.iter().filter(|(_, entry)| entry.is_folder()).map(|(path, _)| path.as_path());
    folders.filter(|folder| !folder.ends_with(".git") && looks_like_one(folder) && would_run(listing, folder)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(entries: &[(&str, &str)]) -> Listing {
        let entry = |content: &str| Entry { content: content.to_owned(), metadata: String::new(), mode: 0 };
        Listing(entries.iter().map(|(path, content)| (PathBuf::from(path), entry(content))).collect())
    }

    #[test]
    fn a_repository_is_harmless_only_without_hooks_and_programs() {
        let planted = listing(&[
            ("a", "folder"),
            ("a/.git", "folder"),
            ("a/.git/HEAD", "file: ref: refs/heads/main"),
            ("a/.git/config", "file: [core]\n\tbare = false\n"),
            ("a/.git/hooks/x.sample", "file: "),
            ("b/.git/config", "file: [core]\n\tFsMonitor = ./x\n"),
            ("c/.git/hooks/pre-commit", "file: "),
            ("d/.git", "file: gitdir: ../e\n"),
            ("e/config", "file: [diff \"x\"]\n textconv=./x\n"),
            ("f/.git", "link to ../nothing"),
        ]);
        for path in ["a/.git", "a/.git/HEAD", "a/.git/config", "a/.git/hooks/x.sample", "f/.git"] {
            assert!(is_harmless(&planted, Path::new(path)), "{path}");
        }
        for path in ["b/.git/config", "c/.git/hooks/pre-commit", "d/.git", ".claude"] {
            assert!(!is_harmless(&planted, Path::new(path)), "{path}");
        }
    }

    #[test]
    fn a_bare_repository_is_found_by_its_look_and_not_where_git_takes_another() {
        let repository = |folder: &str| ["HEAD", "objects", "refs", "config"].map(|name| format!("{folder}{name}"));
        let mut entries: Vec<(String, &str)> = Vec::new();
        for folder in ["x/", "y/", "z/"] {
            let content = if folder == "y/" { "file: [core]\n" } else { "file: [core]\nfsmonitor = x\n" };
            entries.push((folder.trim_end_matches('/').to_owned(), "folder"));
            entries.extend(repository(folder).map(|path| (path, content)));
        }
        entries.push(("z/.git".to_owned(), "folder"));
        let entries: Vec<(&str, &str)> = entries.iter().map(|(path, content)| (path.as_str(), *content)).collect();
        assert_eq!(bare(&listing(&entries)), [Path::new("x")]);
    }
}
