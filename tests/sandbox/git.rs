//! A repository can be worked in, and nothing can be planted in it that git would run outside.

use std::{fs, os::unix::fs::symlink};

use crate::support::{Host, assert_same, listing};

/// What git runs, or reads what to run from, relative to a `.git` folder.
const PLANTS: [&str; 6] = ["hooks/pre-commit", "config", "config.worktree", "commondir", "info/attributes", "hooks/x/../post-commit"];

#[test]
fn status_commit_switch_stash_and_merge_work() {
    let host = Host::new();
    let ended = host
        .sh("set -e; git status --short; echo two >> file; git commit -qam second; git switch -qc topic; echo three >> file; \
         git stash -q; git stash pop -q; git commit -qam third; git switch -q -; git merge -q topic; git gc -q; git log --oneline | wc -l")
        .done();
    assert_eq!(ended.stdout.trim(), "3");
    assert_eq!(host.git(&["log", "--format=%s"]).stdout, "third\nsecond\nfirst\n");
    assert_eq!(host.git(&["status", "--short"]).stdout, "");
}

#[test]
fn nothing_that_git_runs_can_be_planted() {
    let host = Host::new();
    let config = host.read(".git/config");
    let hooks = listing(&host.workspace.join(".git/hooks"));
    for plant in PLANTS {
        host.sh(&format!(
            "printf '#!/bin/sh\\ntouch hooked' > .git/{plant}; chmod +x .git/{plant}; rm -rf .git/{plant}; mkdir -p .git/{plant}"
        ));
    }
    for script in [
        "git config core.fsmonitor 'touch hooked'",
        "git config core.hooksPath .",
        "cp .git/config c; echo x >> c; mv -f c .git/config",
        "mv .git/hooks h; mkdir .git/hooks; echo x > .git/hooks/pre-commit",
        "mkdir h; echo x > h/pre-commit; rm -rf .git/hooks; ln -s ../h .git/hooks",
        "ln .git/config c && echo x >> c",
        "ln -sf ../file .git/config",
        "echo .. > .git/commondir; rm -f .git/commondir; mkdir o; echo o > .git/commondir",
        "mkdir -p .git/x; mv -T .git/x .git/hooks",
        "echo x >> /proc/self/cwd/.git/config; echo x >> .git/../.git/config; cd .git && echo x >> config",
    ] {
        host.sh(script);
    }
    assert_eq!(host.read(".git/config"), config);
    assert_same(&listing(&host.workspace.join(".git/hooks")), &hooks, "");
    for plant in ["config.worktree", "commondir", "info/attributes"] {
        assert!(!host.has(&format!(".git/{plant}")), "{plant}");
    }
    host.git(&["commit", "-q", "--allow-empty", "-m", "as the person"]);
    assert!(!host.has("hooked"));
}

#[test]
fn the_repository_cannot_be_moved_away_and_rebuilt() {
    let host = Host::new();
    let config = host.read(".git/config");
    for script in [
        "mv .git old",
        "mv .git old; mkdir -p .git/hooks; echo x > .git/hooks/pre-commit",
        "rm -rf .git; mkdir -p .git/hooks; echo x > .git/hooks/pre-commit",
        "mkdir n; mv -T n .git",
        "ln -sfn /tmp .git; ln -sf /tmp .git",
        "cd .. && mv workspace w && mkdir -p workspace/.git/hooks",
    ] {
        host.sh(script);
        assert_eq!(host.read(".git/config"), config, "{script}");
        assert!(!host.has("old") && !host.has(".git/hooks/pre-commit"), "{script}");
    }
}

#[test]
fn a_repository_cannot_be_made_where_there_is_none() {
    let host = Host::without_git();
    host.write("file", "one\n");
    let before = host.tree();
    assert_eq!(host.sh("cat file").done().stdout, "one\n", "work without git goes on");
    for script in [
        "git init",
        "mkdir -p .git/hooks; echo x > .git/hooks/pre-commit",
        "echo x > .git/config; echo 'ref: refs/heads/main' > .git/HEAD",
        "echo 'gitdir: /tmp/x' > .git; ln -s /tmp/x .git; ln file .git",
        "mkdir n; mv -T n .git; rm -rf n .git",
    ] {
        host.sh(script);
        assert_same(&host.tree(), &before, script);
    }
}

#[test]
fn a_repository_inside_the_repository_can_be_worked_in_and_git_runs_nothing_new_there() {
    let host = Host::new();
    host.git(&["init", "-q", "vendor/lib"]);
    let config = host.read("vendor/lib/.git/config");
    let hooks = listing(&host.workspace.join("vendor/lib/.git/hooks"));
    host.sh("echo changed > vendor/lib/file; cd vendor/lib && git add . && git -c user.name=a -c user.email=b commit -qm inside").done();
    assert_eq!(host.git(&["-C", "vendor/lib", "log", "--format=%s"]).stdout, "inside\n");
    for script in [
        "echo x > vendor/lib/.git/hooks/pre-commit; git -C vendor/lib config core.fsmonitor x",
        "echo .. > vendor/lib/.git/commondir; echo '[core] fsmonitor=x' > vendor/lib/.git/config.worktree",
        "rm -rf vendor/lib/.git/config vendor/lib/.git/hooks; mkdir vendor/lib/.git/hooks; echo x > vendor/lib/.git/hooks/pre-commit",
        "mv vendor/lib old; mv vendor old; mv -T vendor/lib/.git/hooks old",
    ] {
        host.sh(script);
        assert_eq!(host.read("vendor/lib/.git/config"), config, "{script}");
        assert_same(&listing(&host.workspace.join("vendor/lib/.git/hooks")), &hooks, script);
        assert!(!host.has("vendor/lib/.git/commondir"), "{script}");
        assert!(!host.read("vendor/lib/.git/config.worktree").unwrap_or_default().contains("fsmonitor"), "{script}");
    }
}

#[test]
fn a_git_folder_under_another_name_is_protected_where_a_gitdir_file_names_it() {
    let host = Host::new();
    fs::rename(host.workspace.join(".git"), host.workspace.join(".real")).unwrap();
    host.write(".git", "gitdir: .real\n");
    let config = host.read(".real/config");
    host.sh("echo x > .real/hooks/pre-commit; echo x >> .real/config; mv .real r; echo 'gitdir: /tmp' > .git");
    assert!(!host.has(".real/hooks/pre-commit"), "a hook was planted");
    assert_eq!(host.read(".real/config"), config);
    assert_eq!(host.git(&["log", "--format=%s"]).stdout, "first\n");
}

#[test]
fn a_git_folder_behind_a_link_is_protected_also_where_its_parts_are_absent() {
    let host = Host::new();
    fs::rename(host.workspace.join(".git"), host.workspace.join(".real")).unwrap();
    fs::remove_dir_all(host.workspace.join(".real/hooks")).unwrap();
    symlink(".real", host.workspace.join(".git")).unwrap();
    let config = host.read(".real/config");
    host.sh("mkdir .real/hooks; echo x > .real/hooks/pre-commit; echo x >> .real/config; mv .real r; rm .git; mkdir .git");
    assert!(!host.has(".real/hooks/pre-commit"), "a hook was planted");
    assert_eq!(host.read(".real/config"), config);
    assert_eq!(host.git(&["log", "--format=%s"]).stdout, "first\n");
}

#[test]
fn hooks_and_configuration_that_git_takes_from_the_workspace_stay_as_they_are() {
    let host = Host::new();
    host.write("githooks/pre-commit", "#!/bin/sh\n");
    host.write("shared.cfg", "[user]\n");
    host.write("ordinary", "x");
    host.git(&["config", "core.hooksPath", "githooks"]);
    host.git(&["config", "include.path", "../shared.cfg"]);
    let script = "echo evil >> githooks/pre-commit; echo evil > githooks/pre-push; mv githooks moved; \
                  echo '[core]' >> shared.cfg; rm -f shared.cfg; echo changed > ordinary";
    host.sh(script).ran();
    assert_eq!(host.read("githooks/pre-commit").as_deref(), Some("#!/bin/sh\n"));
    assert!(!host.has("githooks/pre-push") && !host.has("moved"));
    assert_eq!(host.read("shared.cfg").as_deref(), Some("[user]\n"));
    assert_eq!(host.read("ordinary").as_deref(), Some("changed\n"));
}
