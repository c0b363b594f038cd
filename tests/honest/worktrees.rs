//! Linked worktrees (git-worktree(1)): one inside the workspace, and a workspace that is one itself.

use crate::{job::job, support::Host};

#[test]
fn a_worktree_is_added_worked_in_and_removed_in_one_call_or_in_several() {
    for apart in [false, true] {
        let host = Host::new();
        let steps = [
            "git worktree add -q side -b side; git worktree list",
            "cd side; git status --short; echo side > side; git add side; git commit -qm 'on the side'; git switch -qc deeper; git stash list",
            "git worktree add -q --detach other; git -C other reset -q --hard side; git worktree lock other; git worktree unlock other",
            "cat side/side other/side; git worktree remove other; git worktree prune; git gc -q",
        ];
        if apart {
            for step in steps {
                job(&host, step);
            }
        } else {
            job(&host, &steps.map(|step| format!("({step})")).join("\n"));
        }
        assert_eq!(host.git(&["log", "-1", "--format=%s", "side", "--"]).stdout, "on the side\n", "apart: {apart}");
        assert_eq!(host.git(&["-C", "side", "status", "--porcelain"]).stdout, "");
        assert_eq!(host.git(&["-C", "side", "diff-files"]).stdout, "");
        assert!(!host.has("other"));
        job(&host, "git worktree remove --force side; git branch -D side deeper");
        assert_eq!(host.git(&["worktree", "list", "--porcelain"]).stdout.matches("worktree ").count(), 1);
    }
}

#[test]
fn a_workspace_that_is_a_worktree_of_a_repository_elsewhere_is_worked_in() {
    let mut host = Host::new();
    let repository = host.workspace.clone();
    let linked = host.root.join("linked");
    host.git(&["worktree", "add", "-q", "-b", "linked", linked.to_str().unwrap()]);
    host.workspace = linked;
    job(&host, "git status --short; git log --oneline; echo linked > linked; git add linked; git commit -qm 'in the worktree'");
    job(
        &host,
        "git switch -qc further; echo more >> linked; git stash -q; git stash pop -q; git commit -qam further; git rebase -q refs/heads/linked; git diff linked --",
    );
    assert_eq!(host.git(&["status", "--porcelain"]).stdout, "");
    assert_eq!(host.git(&["diff-files"]).stdout, "");
    host.workspace = repository;
    assert_eq!(host.git(&["log", "--format=%s", "further", "--"]).stdout, "further\nin the worktree\nfirst\n");
    assert_eq!(host.git(&["status", "--porcelain"]).stdout, "");
    assert_eq!(host.git(&["fsck", "--no-dangling", "--no-progress"]).stdout, "");
}
