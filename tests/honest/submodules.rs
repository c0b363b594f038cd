//! Submodules (git-submodule(1)) that the person has set up.

use std::path::Path;

use crate::{
    job::job,
    support::{Ended, Host},
};

/// Git on the host in any folder.
#[track_caller]
fn git_in(host: &Host, folder: &Path, arguments: &[&str]) {
    let mut command = host.clean("git");
    command.arg("-C").arg(folder).args([
        "-c",
        "user.name=Test",
        "-c",
        "user.email=test@example.invalid",
        "-c",
        "protocol.file.allow=always",
    ]);
    Ended::from(command.args(arguments).output().unwrap()).done();
}

/// A workspace with one submodule at `library`.
fn with_submodule() -> Host {
    let host = Host::new();
    let library = host.root.join("library");
    std::fs::create_dir(&library).unwrap();
    git_in(&host, &library, &["init", "-q"]);
    std::fs::write(library.join("code"), "one\n").unwrap();
    git_in(&host, &library, &["add", "."]);
    git_in(&host, &library, &["commit", "-qm", "the library"]);
    git_in(&host, &host.workspace, &["submodule", "--quiet", "add", library.to_str().unwrap(), "library"]);
    host.git(&["commit", "-qm", "with a library"]);
    host.git(&["-C", "library", "config", "user.name", "Test"]);
    host.git(&["-C", "library", "config", "user.email", "test@example.invalid"]);
    host
}

#[test]
fn a_submodule_is_committed_in_and_its_new_commit_recorded() {
    let host = with_submodule();
    job(&host, "git submodule status; git -C library switch -qc work; echo two >> library/code; git -C library commit -qam two");
    job(&host, "git diff --submodule; git add library; git commit -qm 'a newer library'; git submodule status --recursive");
    assert_eq!(host.git(&["-C", "library", "log", "--format=%s"]).stdout, "two\nthe library\n");
    assert_eq!(host.git(&["log", "-1", "--format=%s"]).stdout, "a newer library\n");
    assert_eq!(host.git(&["status", "--porcelain"]).stdout, "");
    assert_eq!(host.git(&["-C", "library", "diff-files"]).stdout, "");
}

// `git submodule update` writes `core.worktree` into the submodule's configuration each time, even where it has that value already, and
// a configuration is out of a call's reach.
#[test]
fn a_submodule_is_brought_to_the_commit_that_is_recorded() {
    let host = with_submodule();
    host.write("library/code", "two\n");
    host.git(&["-C", "library", "commit", "-qam", "two"]);
    host.git(&["commit", "-qam", "a newer library"]);
    let script = "git checkout -q HEAD~1; git -C library checkout -q $(git rev-parse HEAD:library); git submodule foreach --quiet 'git log --oneline -1'; \
                  git submodule summary";
    job(&host, script);
    assert_eq!(host.read("library/code").as_deref(), Some("one\n"));
    assert_eq!(host.git(&["status", "--porcelain"]).stdout, "");
}
