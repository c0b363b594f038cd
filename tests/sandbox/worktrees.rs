//! Linked worktrees and submodules can be worked in, and nobody's repository but their own opens by that.

use std::fs;

use crate::support::{Host, assert_same, listing};

impl Host {
    /// A host whose workspace is a linked worktree of a repository beside it.
    fn linked() -> Self {
        let host = Self::without_git();
        fs::remove_dir(&host.workspace).unwrap();
        let main = host.root.join("main").display().to_string();
        let workspace = host.workspace.display().to_string();
        for arguments in [
            &["init", "-q", &main][..],
            &["-C", &main, "config", "user.name", "Test"],
            &["-C", &main, "config", "user.email", "test@example.invalid"],
            &["-C", &main, "commit", "-q", "--allow-empty", "-m", "first"],
            &["-C", &main, "worktree", "add", "-q", "-b", "linked", &workspace],
            &["-C", &main, "worktree", "add", "-q", "-b", "other", &format!("{main}-other")],
        ] {
            let output = host.plain_git().args(arguments).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        host
    }
}

#[test]
fn a_linked_worktree_can_be_committed_in_and_the_rest_of_its_repository_stays() {
    let host = Host::linked();
    let main = host.root.join("main");
    let executing = || (fs::read_to_string(main.join(".git/config")).unwrap(), listing(&main.join(".git/hooks")));
    let (config, hooks) = executing();
    let other = listing(&main.join(".git/worktrees/main-other"));
    host.sh("git status --short; echo x > file; git add .; git commit -qm second; git switch -qc topic; git stash list; git log --oneline")
        .done();
    assert_eq!(host.git(&["log", "--format=%s"]).stdout, "second\nfirst\n");
    let git = main.join(".git");
    for script in [
        "echo x > GIT/hooks/pre-commit; echo x >> GIT/config; echo x > GIT/info/attributes; echo '[core] fsmonitor=x' > GIT/config.worktree",
        "echo x > GIT/worktrees/main-other/HEAD; rm -rf GIT/worktrees/main-other; echo .. > GIT/worktrees/workspace/commondir",
        "mv GIT/worktrees/workspace GIT/worktrees/moved; mv GIT GIT-moved; mv GIT/hooks GIT/h",
        "echo x > GIT/../planted; git config core.fsmonitor x; git -C GIT/../ config core.fsmonitor x",
    ] {
        host.sh(&script.replace("GIT", &git.display().to_string()));
        assert_eq!(executing().0, config, "{script}");
        assert_same(&executing().1, &hooks, script);
        assert_same(&listing(&main.join(".git/worktrees/main-other")), &other, script);
        assert!(!main.join("planted").exists() && !main.join(".git-moved").exists(), "{script}");
    }
    assert!(!fs::read_to_string(git.join("config.worktree")).unwrap_or_default().contains("fsmonitor"));
}

#[test]
fn under_a_policy_that_only_reads_the_history_can_be_read_and_nothing_changed() {
    let host = Host::linked();
    let git = host.root.join("main/.git");
    let before = listing(&git);
    let ended = host.sh_under("read-only", "git log --format=%s; git commit -q --allow-empty -m no; echo x > ../main/.git/HEAD");
    assert!(ended.stdout.starts_with("first\n"), "{ended:#?}");
    assert_same(&listing(&git), &before, "");
}

/// CVE-2026-40068: a repository's own file named another, trusted one.
#[test]
fn a_file_in_the_workspace_cannot_open_a_repository_that_does_not_know_it() {
    let host = Host::linked();
    let victim = host.root.join("victim");
    host.plain_git().args(["init", "-q"]).arg(&victim).output().unwrap();
    let forged = [
        format!("gitdir: {}/.git", victim.display()),
        format!("gitdir: {}/main/.git/worktrees/main-other", host.root.display()),
        format!("gitdir: {}/home/.ssh", host.root.display()),
        "gitdir: /etc".to_owned(),
    ];
    for forged in forged {
        fs::write(host.workspace.join(".git"), format!("{forged}\n")).unwrap();
        let place = forged.strip_prefix("gitdir: ").unwrap();
        let before = listing(&host.root.join("victim"));
        let ended = host.sh(&format!("echo x > {place}/planted; ls {place}/objects {place}/../objects; cat {place}/id_ed25519"));
        assert!(!ended.stdout.contains("info") && !ended.stdout.contains(crate::support::SECRET), "{forged}: {ended:#?}");
        assert!(!std::path::Path::new(place).join("planted").exists(), "{forged}: {ended:#?}");
        assert_same(&listing(&host.root.join("victim")), &before, &forged);
    }
}

#[test]
fn a_submodule_can_be_committed_in_and_its_hooks_and_configuration_stay() {
    let host = Host::new();
    let library = host.root.join("library").display().to_string();
    for arguments in [
        &["init", "-q", &library][..],
        &["-C", &library, "-c", "user.name=a", "-c", "user.email=b", "commit", "-q", "--allow-empty", "-m", "library"],
        &["-C", &host.workspace.display().to_string(), "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &library, "lib"],
    ] {
        let output = host.plain_git().args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    host.git(&["commit", "-qam", "submodule"]);
    let config = host.read(".git/modules/lib/config");
    let hooks = listing(&host.workspace.join(".git/modules/lib/hooks"));
    host.sh(
        "cd lib && echo x > file && git add . && git -c user.name=a -c user.email=b commit -qm inside && cd .. && git commit -qam moved",
    )
    .done();
    assert_eq!(host.git(&["-C", "lib", "log", "--format=%s"]).stdout, "inside\nlibrary\n");
    assert_eq!(host.git(&["status", "--short"]).stdout, "");
    host.sh("echo x > .git/modules/lib/hooks/pre-commit; echo x >> .git/modules/lib/config; mv .git/modules/lib .git/modules/l; echo 'gitdir: /tmp' > lib/.git");
    assert_eq!(host.read(".git/modules/lib/config"), config);
    assert_same(&listing(&host.workspace.join(".git/modules/lib/hooks")), &hooks, "");
    assert_eq!(host.git(&["-C", "lib", "log", "-1", "--format=%s"]).stdout, "inside\n");
}
