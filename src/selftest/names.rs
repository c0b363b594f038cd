//! Names in a workspace that make something run, or relax a rule, when a person next uses an agent, an editor, a shell or git there.
//!
//! Written down here a second time, and not taken from the policy's groups, so that a name which a group forgets is found.

use std::path::{Component, Path};

/// Settings of coding agents: tools that start, hooks, approvals.
pub const AGENTS: [&str; 25] = [
    ".agents",
    ".aider.conf.yml",
    ".amazonq",
    ".augment",
    ".claude",
    ".clinerules",
    ".codex",
    ".continue",
    ".crush.json",
    ".cursor",
    ".factory",
    ".gemini",
    ".goose",
    ".junie",
    ".kiro",
    ".mcp.json",
    ".opencode",
    ".openhands",
    ".portcullis",
    ".qwen",
    ".roo",
    ".trae",
    ".windsurf",
    "crush.json",
    "opencode.json",
];

/// What editors and shells run when a folder is opened or entered.
pub const EDITORS: [&str; 8] = [".devcontainer", ".envrc", ".fleet", ".husky", ".idea", ".vscode", ".zed", ".devcontainer.json"];

/// Settings of other version control than git, which name programs to run.
pub const REPOSITORIES: [&str; 2] = [".hg/hgrc", ".jj/repo/config.toml"];

/// Names below other folders, and names that a policy can give by a pattern only.
pub const ANYWHERE: [&str; 14] = [
    "sub/.claude/settings.json",
    "sub/.cursor/mcp.json",
    "sub/.vscode/tasks.json",
    "sub/.mcp.json",
    "sub/.envrc",
    "sub/.devcontainer/devcontainer.json",
    "sub/.devcontainer.json",
    "sub/opencode.json",
    "b.code-workspace",
    "b.sublime-project",
    ".exrc",
    ".nvim.lua",
    ".mise.toml",
    "sub/.idea/workspace.xml",
];

/// What is absent below the world's `.git`, and in whose place something stands while a call runs.
pub const ABSENT_OF_GIT: [&str; 3] = [".git/commondir", ".git/config.worktree", ".git/info/attributes"];

/// What git takes programs from, below `.git`.
const OF_GIT: [&str; 7] = ["config", "config.worktree", "hooks", "info/attributes", "commondir", "modules", "worktrees"];

/// The fixed names that are absent from a workspace: first those that `promised` says are kept so, then the others.
pub fn absent(workspace: &Path, promised: impl Fn(&Path) -> bool) -> [Vec<String>; 2] {
    let absent = AGENTS.iter().chain(&EDITORS).chain(&REPOSITORIES).filter(|name| workspace.join(name).symlink_metadata().is_err());
    let (kept, others): (Vec<&str>, Vec<&str>) = absent.partition(|name| promised(&workspace.join(name)));
    [kept, others].map(|names| names.into_iter().map(str::to_owned).collect())
}

/// Whether a path of a workspace makes something run later.
pub fn runs_later(path: &Path) -> bool {
    let parts: Vec<&str> =
        path.components().filter_map(|part| if let Component::Normal(name) = part { name.to_str() } else { None }).collect();
    let fixed = |name: &&str| [&AGENTS[..], &EDITORS].iter().any(|names| names.contains(name));
    if REPOSITORIES.iter().any(|name| path.ends_with(name)) {
        return true;
    }
    if parts.iter().any(fixed) || ANYWHERE.iter().any(|name| path == Path::new(name)) {
        return true;
    }
    let Some(git) = parts.iter().position(|name| *name == ".git") else { return false };
    let below: std::path::PathBuf = parts[git + 1..].iter().collect();
    below.as_os_str().is_empty() || OF_GIT.iter().any(|name| below.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_later_is_told_from_ordinary_files() {
        for path in
            [".claude/settings.json", "a/.vscode/tasks.json", ".git", ".git/hooks/x", "n/.git/config", ".git/info/attributes", ".exrc"]
        {
            assert!(runs_later(Path::new(path)), "{path}");
        }
        for path in ["src/main.c", ".git/objects/ab", ".git/index", ".git/refs/heads/x", "a/.gitignore", ".github/workflows/x.yml"] {
            assert!(!runs_later(Path::new(path)), "{path}");
        }
    }
}
