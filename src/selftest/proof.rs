//! What is looked for outside after every case, whatever it tried.

use std::{fs, path::Path};

use super::{
    names, repository,
    scene::Scene,
    world::{Entry, Listing},
};
use crate::policy::{Access, GitAccess};

/// What is the same before and after, unless something got out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    outside: Listing,
    workspace: Listing,
    victim: String,
    host: Vec<(&'static str, String)>,
}

/// Settings of the host that a program with the right to would change.
const HOST: [&str; 5] = [
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/domainname",
    "/proc/sys/vm/overcommit_memory",
];

impl Watched {
    /// Looks.
    pub fn look(scene: &Scene<'_>) -> Self {
        Self {
            outside: scene.world.outside(),
            workspace: scene.world.workspace(),
            victim: scene.world.victim().map(super::victim::Victim::state).unwrap_or_default(),
            host: HOST.map(|path| (path, fs::read_to_string(path).unwrap_or_default())).to_vec(),
        }
    }

    /// Whether anything is to be put back.
    pub fn is_same(&self, other: &Self) -> bool {
        self == other
    }
}

/// The evidence of an escape: nothing where nothing got out.
pub fn escaped(scene: &Scene<'_>, before: &Watched, after: &Watched) -> Vec<String> {
    let mut evidence = Vec::new();
    let changes = before.outside.changes(&after.outside);
    // A folder's own times say nothing that its entries do not.
    let said = changes
        .iter()
        .filter(|(path, how)| !(*how == "changed in its metadata" && changes.iter().any(|(other, _)| other.parent() == Some(path))));
    evidence.extend(said.map(|(path, how)| format!("{} outside was {how}", path.display())));
    evidence.extend(in_workspace(scene, before, after));
    evidence.extend(scene.world.reached());
    if before.victim != after.victim {
        let changed = before.victim.lines().zip(after.victim.lines()).find(|(one, other)| one != other);
        evidence.push(
            changed.map_or("another process is gone".to_owned(), |(one, other)| format!("of another process, `{one}` became `{other}`")),
        );
    }
    for ((path, one), (_, other)) in before.host.iter().zip(&after.host) {
        if one != other {
            evidence.push(format!("{path} was changed"));
        }
    }
    for heard in &scene.heard {
        evidence.extend(scene.world.secrets_in(&heard.text).into_iter().map(|what| format!("{what} was read")));
    }
    evidence.extend(survivors(&scene.world.mark()).into_iter().map(|pid| format!("process {pid} outlived its call")));
    evidence.sort();
    evidence.dedup();
    evidence
}

fn in_workspace(scene: &Scene<'_>, before: &Watched, after: &Watched) -> Vec<String> {
    let changes = before.workspace.changes(&after.workspace);
    let workspace = &scene.world.session.workspace;
    let promised = scene.promises_protection();
    let mut evidence = Vec::new();
    for (path, how) in &changes {
        let whole = workspace.join(path);
        let entry = after.workspace.0.get(path);
        let folder = entry.is_some_and(Entry::is_folder);
        // Whoever may put things into a folder changes its times; placeholders do as well.
        if *how == "changed in its metadata" && folder && same_but_for_times(before, after, path) {
            continue;
        }
        if entry.is_some_and(|entry| entry.mode & 0o6000 != 0 && entry.mode & libc::S_IFMT == libc::S_IFREG) {
            evidence.push(format!("{} of the workspace has a set-id bit", path.display()));
        }
        let harmless = *how == "made" && (repository::is_harmless(&after.workspace, path) || made_by_leave(scene, path));
        if !scene.allows(&whole, Access::Write) {
            evidence.push(format!("{} of the workspace was {how}", path.display()));
        } else if promised && names::runs_later(path) && !harmless {
            evidence.push(format!("{} of the workspace, which makes something run later, was {how}", path.display()));
        }
    }
    if promised {
        let known = repository::bare(&before.workspace);
        let planted = repository::bare(&after.workspace).into_iter().filter(|path| !known.contains(path));
        evidence.extend(planted.map(|path| format!("a repository was planted at {}", workspace.join(path).display())));
    }
    evidence
}

fn same_but_for_times(before: &Watched, after: &Watched, path: &Path) -> bool {
    let mode = |listing: &Listing| listing.0.get(path).map(|entry| entry.mode);
    mode(&before.workspace) == mode(&after.workspace)
}

/// Repositories below the workspace may be made under `git.allow = "full"`.
fn made_by_leave(scene: &Scene<'_>, path: &Path) -> bool {
    scene.policy.git == GitAccess::Full && !path.starts_with(".git") && path.components().any(|part| part.as_os_str() == ".git")
}

/// Processes of this name, seen from outside.
pub fn survivors(mark: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let named = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == mark);
    pids.filter(named).collect()
}
