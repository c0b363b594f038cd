//! A grant leads where it says, whatever the workspace holds.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    process::Stdio,
};

use crate::support::{Ended, Host, installed, skip};

#[test]
fn a_link_in_the_workspace_cannot_lead_a_grant_out_of_it() {
    for file in ["repository", "person"] {
        let host = Host::new();
        symlink(host.root.join("outside"), host.workspace.join("docs")).unwrap();
        host.write("real/file", "x");
        symlink("real", host.workspace.join("inner")).unwrap();
        let rules = "[filesystem]\nwrite = [\"docs\", \"inner\", \"@tmp\"]";
        let (policy, expected) = match file {
            "repository" => {
                host.write(".portcullis/policy.toml", &format!("schema = 1\nname = \"own\"\n{rules}\n"));
                ("workspace-write".to_owned(), 125)
            }
            _ => (host.policy("own", rules), 125),
        };
        let ended = host.refused(&policy, "echo evil >> docs/precious; touch docs/new ran");
        assert_eq!(ended.code, expected, "{ended:#?}");
        assert!(ended.stderr.contains("docs") && ended.stderr.contains("symbolic link"), "{ended:#?}");
        assert_eq!(fs::read_to_string(host.root.join("outside/precious")).unwrap(), "precious\n");
        assert!(!host.root.join("outside/new").exists());
        // One that stays inside is followed.
        fs::remove_file(host.workspace.join("docs")).unwrap();
        fs::create_dir(host.workspace.join("docs")).unwrap();
        let ended = host.sh_under(&policy, "echo changed > inner/file; echo x > elsewhere");
        assert_eq!(host.read("real/file").as_deref(), Some("changed\n"), "{ended:#?}");
        assert!(!host.has("elsewhere"));
    }
}

#[test]
fn a_grant_below_a_protected_place_takes_nothing_out_of_protection() {
    let host = Host::new();
    host.write(".git/hooks/pre-commit", "#!/bin/sh\n");
    host.write(".claude/settings.local.json", "{}");
    host.write("sub/.vscode/tasks.json", "{}");
    host.write("src/file", "x");
    host.write("hooks-by-another-name/x", "x");
    symlink(".git/hooks", host.workspace.join("h")).unwrap();
    host.write(
        ".portcullis/policy.toml",
        "schema = 1\nname = \"own\"\n[filesystem]\nwrite = [\"src\", \".git/hooks/pre-commit\", \".claude/settings.local.json\", \"sub/.vscode/tasks.json\", \"h\"]\n",
    );
    let script = "echo evil >> .git/hooks/pre-commit; echo evil > .claude/settings.local.json; echo evil > sub/.vscode/tasks.json; \
                  echo evil > h/post-commit; echo fine > src/file";
    let ended = host.sh(script);
    assert_eq!(host.read("src/file").as_deref(), Some("fine\n"), "{ended:#?}");
    assert_eq!(host.read(".git/hooks/pre-commit").as_deref(), Some("#!/bin/sh\n"));
    assert_eq!(host.read(".claude/settings.local.json").as_deref(), Some("{}"));
    assert_eq!(host.read("sub/.vscode/tasks.json").as_deref(), Some("{}"));
    assert!(!host.has(".git/hooks/post-commit"));
}

#[test]
fn what_links_in_protected_folders_lead_to_is_protected_too() {
    let host = Host::new();
    host.write("scripts/pre-commit", "#!/bin/sh\n");
    host.write("conf/agent.json", "{}");
    fs::create_dir(host.workspace.join(".claude")).unwrap();
    symlink("../../scripts/pre-commit", host.workspace.join(".git/hooks/pre-commit")).unwrap();
    symlink("../conf/agent.json", host.workspace.join(".claude/settings.json")).unwrap();
    symlink("../conf/absent.json", host.workspace.join(".claude/settings.local.json")).unwrap();
    host.sh("echo evil > scripts/pre-commit; echo evil > conf/agent.json; rm conf/agent.json; mv conf c; echo evil > conf/absent.json; echo fine > scripts/other");
    assert_eq!(host.read("scripts/pre-commit").as_deref(), Some("#!/bin/sh\n"));
    assert_eq!(host.read("conf/agent.json").as_deref(), Some("{}"));
    assert!(!host.has("conf/absent.json"));
    assert_eq!(host.read("scripts/other").as_deref(), Some("fine\n"));
}

#[test]
fn a_file_that_is_a_standard_stream_keeps_its_mode_times_and_content() {
    const NAME: &str = "a_file_that_is_a_standard_stream_keeps_its_mode_times_and_content";
    if !installed("python3") {
        return skip(NAME, "python3 is not installed");
    }
    let host = Host::new();
    let (input, log) = (host.root.join("input"), host.root.join("log"));
    fs::write(&input, "some input\n").unwrap();
    fs::write(&log, "earlier\n").unwrap();
    for path in [&input, &log] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let before = fs::metadata(&input).unwrap();
    let program = "
import os, sys
print(sys.stdin.read().strip())
sys.stdout.flush()
for act in [lambda fd: os.fchmod(fd, 0o777), lambda fd: os.utime(fd, (1, 1)), lambda fd: os.setxattr(fd, 'user.x', b'1'), lambda fd: os.ftruncate(fd, 0),
            lambda fd: os.pwrite(fd, b'forged', 0), lambda fd: os.lseek(fd, 0, 0)]:
    for fd in (0, 1):
        try: act(fd)
        except OSError: pass
";
    let mut command = host.sandbox(&["python3", "-c", program]);
    command.stdin(Stdio::from(fs::File::open(&input).unwrap()));
    command.stdout(Stdio::from(fs::OpenOptions::new().append(true).open(&log).unwrap()));
    let ended = Ended::from(command.output().unwrap());
    assert_eq!(ended.code, 0, "{ended:#?}");
    let after = fs::metadata(&input).unwrap();
    assert_eq!((after.mode(), after.mtime(), after.mtime_nsec()), (before.mode(), before.mtime(), before.mtime_nsec()));
    assert_eq!(fs::read_to_string(&input).unwrap(), "some input\n");
    assert_eq!(fs::read_to_string(&log).unwrap(), "earlier\nsome input\n");
    assert_eq!(fs::metadata(&log).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_lock_on_the_workspace_keeps_nobody_out_and_no_placeholder_in() {
    const NAME: &str = "a_lock_on_the_workspace_keeps_nobody_out_and_no_placeholder_in";
    if !installed("python3") {
        return skip(NAME, "python3 is not installed");
    }
    let host = Host::new();
    let before = host.tree();
    for kind in ["LOCK_EX", "LOCK_SH"] {
        let program = format!(
            "import fcntl, os, sys; f = os.open('.', os.O_RDONLY); fcntl.flock(f, fcntl.{kind}); print('locked', flush=True); sys.stdin.readline()"
        );
        // Not under `locked`: another test of this suite takes more room on the disk than a call may see go under that.
        let mut holder = crate::support::Running::start(host.sandbox_under("read-only", &["python3", "-c", &program]));
        assert_eq!(holder.line(), "locked\n");
        host.sh("true").done();
        assert_same_tree(&host, &before, kind);
        holder.type_line("");
        holder.end().done();
    }
}

fn assert_same_tree(host: &Host, before: &std::collections::BTreeMap<std::path::PathBuf, String>, context: &str) {
    crate::support::assert_same(&host.tree(), before, context);
}

#[test]
fn the_private_folders_are_nobody_elses_and_gone_whatever_was_left_in_them() {
    let host = Host::new();
    let folder = host.root.join("tmp");
    let private = || fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let running = crate::support::Running::start(host.sandbox(&[
        "sh",
        "-c",
        "mkdir -p /tmp/a/b ~/c; echo x > /tmp/a/b/f; i=0; while [ $i -lt 300 ]; do mkdir deep-deep-deep-deep && cd deep-deep-deep-deep || break; i=$((i+1)); done; \
         chmod 0 /tmp/a/b /tmp/a ~/c; touch ../../started; cd /tmp; echo ready; read line",
    ]));
    assert!(crate::support::eventually(|| !private().is_empty()));
    for path in private() {
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700, "{}", path.display());
    }
    running.end();
    assert_eq!(private(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_home_folder_is_no_workspace_unless_it_is_named() {
    let host = Host::new();
    let mut command = host.bare(&["sandbox", "--", "sh", "-c", "echo evil > .bashrc"]);
    command.current_dir(&host.home);
    let ended = Ended::from(command.output().unwrap());
    assert_eq!(ended.code, 2, "{ended:#?}");
    assert!(ended.stderr.contains("home folder") && !host.home.join(".bashrc").exists(), "{ended:#?}");
}

#[test]
fn caches_are_used_and_the_persons_own_is_never_changed() {
    let host = Host::new();
    let cache = host.home.join(".cargo/registry/cache");
    fs::create_dir_all(&cache).unwrap();
    fs::write(cache.join("a.crate"), "a").unwrap();
    let before = crate::support::listing(&host.home.join(".cargo"));
    let ended = host.sh("cat ~/.cargo/registry/cache/a.crate; echo b > ~/.cargo/registry/cache/b.crate && rm ~/.cargo/registry/cache/a.crate && ls ~/.cargo/registry/cache");
    crate::support::assert_same(&crate::support::listing(&host.home.join(".cargo")), &before, "");
    if ended.stderr.contains("Read-only") {
        return skip("caches_are_used_and_the_persons_own_is_never_changed", "kernel: there is no overlay in a user namespace here");
    }
    assert_eq!(ended.stdout, "ab.crate\n", "{ended:#?}");
}
