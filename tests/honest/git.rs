//! A day with git. After each job the host's git sees the same history, and need not look at any file anew.

use std::{fs, os::unix::fs::MetadataExt};

use crate::{
    job::{job, lacks},
    support::{Host, listing},
};

/// The subjects of a branch's commits, newest first, as the host's git sees them.
#[track_caller]
fn history(host: &Host, branch: &str) -> Vec<String> {
    host.git(&["log", "--first-parent", "--format=%s", branch, "--"]).stdout.lines().map(str::to_owned).collect()
}

/// Fails unless the repository is sound, clean and at rest. `diff-files` compares what the index holds of size, times, owner and inode
/// with the files, and refreshes nothing: an owner that is another inside would show here.
#[track_caller]
fn at_rest(host: &Host) {
    assert_eq!(host.git(&["diff-files"]).stdout, "", "the host's git would have to read files anew");
    assert_eq!(host.git(&["status", "--porcelain"]).stdout, "");
    assert_eq!(host.git(&["fsck", "--no-dangling", "--no-progress"]).stdout, "");
    let left: Vec<_> =
        listing(&host.workspace.join(".git")).into_keys().filter(|path| path.extension().is_some_and(|end| end == "lock")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn files_are_added_committed_and_amended() {
    let host = Host::new();
    let script = "git status --short; echo two >> file; echo new > new; git add new; git commit -qam second; git diff HEAD~1 --stat; \
                  echo three >> file; git add -u; git commit -q --amend -m 'second, amended'; git mv new moved; git rm -q --cached file; git add file; \
                  git commit -qm third; git show --stat HEAD; git blame file; git grep -n two; git shortlog -sn HEAD";
    let printed = job(&host, script);
    assert!(printed.contains("file:2:two"), "{printed}");
    assert_eq!(history(&host, "HEAD"), ["third", "second, amended", "first"]);
    assert_eq!(host.git(&["show", "HEAD:file"]).stdout, "one\ntwo\nthree\n");
    assert_eq!(fs::metadata(host.workspace.join("moved")).unwrap().uid(), nix::unistd::getuid().as_raw());
    at_rest(&host);
}

#[test]
fn both_sides_take_turns_and_neither_reads_files_anew() {
    let host = Host::new();
    for number in 0..50 {
        host.write(&format!("many/{number}"), "content\n");
    }
    host.git(&["add", "."]);
    host.git(&["commit", "-qm", "many"]);
    assert_eq!(job(&host, "git diff-files"), "");
    job(&host, "for i in $(seq 0 49); do echo more >> many/$i; done; git diff | grep -c '^+more'; git commit -qam inside");
    at_rest(&host);
    host.write("many/0", "outside\n");
    host.git(&["commit", "-qam", "outside"]);
    assert_eq!(job(&host, "git diff-files; git log -1 --format=%s"), "outside\n");
    assert_eq!(history(&host, "HEAD"), ["outside", "inside", "many", "first"]);
}

#[test]
fn branches_are_made_merged_and_deleted() {
    let host = Host::new();
    host.git(&["branch", "-m", "main"]);
    let script = "git switch -qc straight; echo a > a; git add a; git commit -qm a; git switch -q main; git merge -q --ff-only straight; \
                  git branch -d straight; git switch -qc side HEAD~1; echo b > b; git add b; git commit -qm b; git switch -q main; \
                  git merge -q --no-ff -m joined side; git branch; git branch -D side; git checkout -qb last; git checkout -q main; git branch --merged";
    job(&host, script);
    assert_eq!(history(&host, "main"), ["joined", "a", "first"]);
    assert_eq!(history(&host, "main^2"), ["b", "first"]);
    assert_eq!(host.git(&["branch", "--format=%(refname:short)"]).stdout, "last\nmain\n");
    at_rest(&host);
}

#[test]
fn a_conflict_is_resolved_or_given_up() {
    let host = Host::new();
    host.git(&["branch", "-m", "main"]);
    let script = "git switch -qc other; echo theirs > file; git commit -qam theirs; git switch -q main; echo ours > file; git commit -qam ours; \
                  ! git merge other; git diff --name-only --diff-filter=U; git merge --abort; ! git merge other; git checkout -q --theirs file; \
                  echo both > file; git add file; git commit -qm resolved";
    assert!(job(&host, script).contains("CONFLICT"));
    assert_eq!(history(&host, "main").first().unwrap(), "resolved");
    assert_eq!(host.read("file").as_deref(), Some("both\n"));
    at_rest(&host);
}

#[test]
fn commits_are_rebased_reordered_squashed_picked_and_reverted() {
    let host = Host::new();
    host.git(&["branch", "-m", "main"]);
    let script = "git switch -qc topic; for i in 1 2 3; do echo $i > $i; git add $i; git commit -qm $i; done; \
                  git switch -q main; echo m > m; git add m; git commit -qm m; git switch -q topic; git rebase -q main; \
                  GIT_SEQUENCE_EDITOR='sed -i -e 2s/pick/squash/ -e 3s/pick/reword/' GIT_EDITOR='sed -i -e s/^1$/one/ -e s/^3$/three/' git rebase -qi main; \
                  echo f > 3; git commit -qa --fixup HEAD; GIT_SEQUENCE_EDITOR=true git rebase -qi --autosquash main; \
                  git switch -q main; git cherry-pick topic; git revert --no-edit HEAD; git rebase -q --onto topic HEAD~1 main; git reflog";
    job(&host, script);
    assert_eq!(history(&host, "topic"), ["three", "one", "m", "first"]);
    assert_eq!(host.git(&["show", "topic:3"]).stdout, "f\n");
    assert_eq!(history(&host, "main")[1..], ["three", "one", "m", "first"]);
    at_rest(&host);
}

#[test]
fn work_is_put_aside_and_taken_up_again() {
    let host = Host::new();
    job(&host, "echo two >> file; git stash -q; git stash list; cat file; git stash show -p; git stash pop -q");
    assert_eq!(host.read("file").as_deref(), Some("one\ntwo\n"));
    job(
        &host,
        "git stash push -qm named file; git stash apply -q; git checkout -q file; git stash branch -q later || git stash branch later; git stash list",
    );
    assert_eq!(host.read("file").as_deref(), Some("one\ntwo\n"));
    assert_eq!(host.git(&["stash", "list"]).stdout, "");
}

#[test]
fn untracked_files_are_put_aside_too() {
    let host = Host::new();
    job(&host, "echo two >> file; mkdir new; echo new > new/file; git stash -u");
    assert!(!host.has("new"));
    at_rest(&host);
    job(&host, "git stash pop");
    assert_eq!(host.read("new/file").as_deref(), Some("new\n"));
    assert_eq!(host.read("file").as_deref(), Some("one\ntwo\n"));
}

#[test]
fn untracked_files_are_cleaned_away() {
    for flags in ["-fd", "-fdx", "-ffdx"] {
        let host = Host::new();
        host.write(".gitignore", "*.o\n");
        host.git(&["add", "."]);
        host.git(&["commit", "-qm", "ignore"]);
        job(&host, &format!("mkdir -p junk/deep; touch junk/deep/file loose x.o; git clean -nd; git clean {flags}"));
        assert_eq!((host.has("junk"), host.has("loose"), host.has("x.o")), (false, false, flags == "-fd"), "{flags}");
        at_rest(&host);
    }
}

#[test]
fn history_is_looked_through_and_taken_back() {
    let host = Host::new();
    let script = "for i in $(seq 8); do echo $i > number; git add number; git commit -qm $i; done; git bisect start HEAD HEAD~7; \
                  git bisect run sh -c 'test $(cat number) -lt 5'; git bisect log; git bisect reset; \
                  git log --oneline --graph --all; git log -S5 --format=%s; git log -p -1; git rev-list --count HEAD; \
                  git reset -q --soft HEAD~1; git reset -q; git restore number; git reset -q --hard HEAD~1; git checkout -q HEAD~1 -- number; git restore --staged --worktree number";
    let printed = job(&host, script);
    assert!(printed.contains("first bad commit: [") && printed.contains("] 5"), "{printed}");
    assert_eq!(history(&host, "HEAD")[0], "6");
    assert_eq!(host.read("number").as_deref(), Some("6\n"));
    at_rest(&host);
}

#[test]
fn commits_are_tagged_annotated_described_and_packed_up() {
    let host = Host::new();
    let script = "git tag light; git tag -a v1 -m one; git notes add -m remark; git notes show; git describe; git archive -o release.tar HEAD; \
                  git archive --format=zip HEAD > release.zip; git bundle create -q all.bundle --all; git bundle verify -q all.bundle; \
                  git clone -q all.bundle copy; git tag -d light; git update-ref refs/heads/mark HEAD; git symbolic-ref HEAD; git var GIT_AUTHOR_IDENT";
    assert!(job(&host, script).starts_with("remark\nv1\n"));
    assert_eq!(host.git(&["tag"]).stdout, "v1\n");
    assert_eq!(host.git(&["notes", "show"]).stdout, "remark\n");
    assert_eq!(host.read("copy/file").as_deref(), Some("one\n"));
    assert!(host.has("release.tar") && host.has("release.zip"));
}

#[test]
fn the_repository_is_tidied_and_checked() {
    let host = Host::new();
    let script = "for i in $(seq 5); do echo $i > file; git commit -qam $i; done; git gc -q; git repack -adq; git prune; git pack-refs --all; \
                  git commit-graph write --reachable --no-progress; git multi-pack-index write --no-progress; git maintenance run --quiet; \
                  git reflog expire --expire=now --all; git gc -q --prune=now --aggressive; git fsck --no-progress --strict; git count-objects -v";
    assert!(job(&host, script).contains("packs: 1"));
    assert_eq!(history(&host, "HEAD").len(), 6);
    at_rest(&host);
}

#[test]
fn tidying_that_a_commit_sets_off_is_finished_when_its_call_ends() {
    let host = Host::new();
    host.git(&["config", "gc.auto", "1"]);
    for number in 0..600 {
        host.write(&format!("many/{number}"), &format!("{number}\n"));
    }
    job(&host, "git add .; git commit -qm many; git commit -q --allow-empty -m again");
    assert!(!host.has(".git/gc.pid"), "git on the host would take it for a tidying that still runs on another machine");
    host.git(&["gc", "-q"]);
    at_rest(&host);
}

#[test]
fn patches_are_made_and_applied() {
    let host = Host::new();
    let script = "echo two >> file; git commit -qam 'a patch'; git format-patch -q -1 -o patches; git diff HEAD~1 > change.diff; \
                  git reset -q --hard HEAD~1; git apply --check change.diff; git apply --index change.diff; git reset -q --hard; \
                  git am -q patches/*.patch; git apply -R change.diff; patch -p1 < change.diff; git diff --exit-code; rm -r patches change.diff";
    job(&host, script);
    assert_eq!(history(&host, "HEAD"), ["a patch", "first"]);
    at_rest(&host);
}

#[test]
fn a_repository_is_cloned_into_the_workspace_and_worked_in() {
    let host = Host::new();
    let script = "git clone -q . copy; git clone -q --bare . bare.git; git clone -q --depth 1 file://$PWD shallow; cd copy; \
                  git config user.name Test; git config user.email test@example.invalid; echo more > more; git add more; git commit -qm 'in the copy'; \
                  cd ..; git fetch -q copy HEAD; git merge -q --ff-only FETCH_HEAD; git -C bare.git log --oneline; git init -q fresh; \
                  git ls-remote copy";
    job(&host, script);
    assert_eq!(history(&host, "HEAD"), ["in the copy", "first"]);
    assert_eq!(host.git(&["-C", "copy", "status", "--porcelain"]).stdout, "");
    assert_eq!(host.git(&["-C", "copy", "diff-files"]).stdout, "");
    assert_eq!(host.read("shallow/file").as_deref(), Some("one\n"));
}

#[test]
fn a_branch_of_a_remote_is_switched_to() {
    let host = Host::new();
    host.git(&["branch", "-m", "main"]);
    host.git(&["branch", "feature"]);
    let mut clone = host;
    let name = clone.root.join("clone");
    clone.git(&["clone", "-q", ".", name.to_str().unwrap()]);
    clone.workspace = name;
    job(&clone, "git branch -r; git switch feature; git status -sb");
    assert_eq!(clone.git(&["branch", "--show-current"]).stdout, "feature\n");
    at_rest(&clone);
}

#[test]
fn what_the_persons_git_settings_ignore_is_ignored() {
    for name in [".gitignore", ".gitignore_global"] {
        let host = Host::new();
        fs::write(host.home.join(".gitconfig"), format!("[core]\nexcludesFile = ~/{name}\n[alias]\nsave = commit -qam\n")).unwrap();
        fs::write(host.home.join(name), "*.log\n").unwrap();
        job(&host, "echo x > noise.log; echo x > kept; git add .; git save kept");
        assert_eq!(host.git(&["ls-files"]).stdout, "file\nkept\n", "{name}");
    }
}

#[test]
fn commits_go_on_where_the_person_signs_theirs() {
    let host = Host::new();
    if lacks("honest::git::commits_go_on_where_the_person_signs_theirs", &["gpg"]) {
        return;
    }
    fs::create_dir(host.home.join(".gnupg")).unwrap();
    fs::write(host.home.join(".gitconfig"), "[commit]\ngpgSign = true\n[tag]\ngpgSign = true\n").unwrap();
    job(&host, "echo two >> file; git commit -qam unsigned; git tag -m one v1");
    assert_eq!(history(&host, "HEAD"), ["unsigned", "first"]);
    assert_eq!(host.git(&["tag"]).stdout, "v1\n");
}
