//! Names that make another program run something stay as they are, also while there is nothing of that name.

use std::{fs, os::unix::fs::symlink, path::Path};

use nix::sys::signal::Signal;

use crate::support::{Host, Running, assert_same, eventually, installed, skip};

const ABSENT: [&str; 9] = [".claude", ".vscode", ".mcp.json", ".idea", ".portcullis", ".cursor", ".husky", ".devcontainer", ".envrc"];

#[test]
fn an_absent_name_can_be_made_by_no_call_and_leaves_nothing_behind() {
    let host = Host::new();
    host.write("sub/file", "x\n");
    let before = host.tree();
    for name in ABSENT {
        let ended = host.sh(&format!(
            "mkdir {name}; echo x > {name}; mkdir -p {name}/a; echo x > {name}/settings.json; rmdir {name}; rm -rf {name}; \
             mv sub {name}; ls sub; ln sub/file {name}; ln -s sub {name}; ln -sfn sub {name}; mkfifo {name}; \
             mkdir n; mv -T n {name}; rmdir n; mv {name} other; chmod 0 {name}; touch -d 2001-01-01 {name}; echo x > ./sub/../{name}"
        ));
        assert_same(&host.tree(), &before, &format!("{name}: {ended:#?}"));
    }
}

#[test]
fn absent_names_refuse_every_call_that_makes_or_replaces() {
    let host = Host::new();
    if !installed("python3") {
        skip("absent_names_refuse_every_call_that_makes_or_replaces", "python3 is not installed");
        return;
    }
    host.write("sub/file", "x\n");
    let before = host.tree();
    let ended = host.python(
        "
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for name in '.claude .vscode .mcp.json .envrc'.encode().split():
    attempts = {
        'creat': lambda: os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY)),
        'open': lambda: os.close(os.open(name, os.O_CREAT | os.O_WRONLY)),
        'mkdir': lambda: os.mkdir(name),
        'inside': lambda: os.close(os.open(name + b'/x', os.O_CREAT | os.O_WRONLY)),
        'rename': lambda: os.rename('sub', name),
        'replace': lambda: os.replace('sub/file', name),
        'away': lambda: os.rename(name, 'away'),
        'link': lambda: os.link('sub/file', name),
        'symlink': lambda: os.symlink('sub', name),
        'mknod': lambda: os.mknod(name),
        'rmdir': lambda: os.rmdir(name),
        'unlink': lambda: os.unlink(name),
        'chmod': lambda: os.chmod(name, 0o777),
        'utime': lambda: os.utime(name, (1, 1)),
        'xattr': lambda: os.setxattr(name, 'user.x', b'y'),
    }
    for what, attempt in attempts.items():
        try:
            attempt()
            print('MADE', name, what)
        except OSError:
            pass
    if libc.renameat2(-100, b'sub', -100, name, 2) == 0:
        print('MADE', name, 'exchange')
    fd = os.open('.', os.O_TMPFILE | os.O_RDWR)
    if libc.linkat(-100, f'/proc/self/fd/{fd}'.encode(), -100, name, 0x400) == 0:
        print('MADE', name, 'tmpfile')
",
    );
    assert_eq!((ended.stdout.as_str(), ended.code), ("", 0), "{ended:#?}");
    assert_same(&host.tree(), &before, "");
}

#[test]
fn what_exists_under_a_protected_name_cannot_be_changed() {
    let host = Host::new();
    host.write(".claude/settings.json", "{}");
    host.write(".mcp.json", "{}");
    host.write("sub/deep/.envrc", "use nix\n");
    let before = host.tree();
    let ended = host.sh(
        "echo x > .mcp.json; rm -f .mcp.json; echo x > n; mv -f n .mcp.json; rm -f n; echo x >> .claude/settings.json; echo x > .claude/new; \
         mv .claude c; rm -rf .claude; ln .mcp.json hard; rm -f hard; ln -sf n .mcp.json; chmod 777 .mcp.json .claude; mv sub s; mv sub/deep sub/d; \
         echo x >> sub/deep/.envrc; rm -rf sub; cat .mcp.json",
    );
    assert_eq!(ended.stdout, "{}");
    assert_same(&host.tree(), &before, "");
}

#[test]
fn a_link_under_a_protected_name_keeps_its_target_and_its_content() {
    let host = Host::new();
    host.write("docs/claude/settings.json", "{}");
    symlink("docs/claude", host.workspace.join(".claude")).unwrap();
    let before = host.tree();
    let ended = host.sh(
        "cat .claude/settings.json; rm -f .claude; ln -sfn /tmp .claude; mv .claude c; mv docs d; mv docs/claude d; rm -rf d; echo x > docs/claude/settings.json; \
         echo x > .claude/new",
    );
    assert_eq!(ended.stdout, "{}");
    assert_same(&host.tree(), &before, "");
}

#[test]
fn a_dangling_link_under_a_protected_name_stops_the_run_with_its_reason() {
    let host = Host::new();
    symlink("nowhere", host.workspace.join(".claude")).unwrap();
    let before = host.tree();
    let ended = host.refused("workspace-write", "mkdir nowhere; echo x > nowhere/settings.json");
    assert_eq!(ended.code, 125, "{ended:#?}");
    assert!(ended.stderr.contains(".claude") && ended.stderr.contains("dangling link"), "{ended:#?}");
    assert_same(&host.tree(), &before, "");
}

#[test]
fn a_link_that_leads_outside_makes_the_launcher_make_nothing_there() {
    let host = Host::new();
    let outside = host.root.join("outside");
    for name in [".claude", ".vscode"] {
        symlink(&outside, host.workspace.join(name)).unwrap();
    }
    fs::remove_dir_all(host.workspace.join(".git/info")).unwrap();
    symlink(&outside, host.workspace.join(".git/info")).unwrap();
    let before = crate::support::listing(&outside);
    let ended = host.sh("rm -f .claude; mkdir .claude; ln -sfn sub .vscode; rm -rf .git/info; mkdir -p .vscode/x; echo works").done();
    assert_eq!(ended.stdout, "works\n");
    assert_eq!(fs::read_link(host.workspace.join(".claude")).unwrap(), outside);
    assert_eq!(fs::read_link(host.workspace.join(".vscode")).unwrap(), outside);
    assert_eq!(fs::read_link(host.workspace.join(".git/info")).unwrap(), outside);
    assert_same(&crate::support::listing(&outside), &before, "");
}

#[test]
fn a_placeholder_outside_of_the_workspace_is_removed_as_well() {
    let host = Host::new();
    let data = host.root.join("data");
    fs::create_dir(&data).unwrap();
    let rules = format!("[filesystem]\nwrite = [\"@workspace\", \"{0}\"]\nprotect = [\"{0}/keep\"]", data.display());
    let ended =
        host.sh_under(&host.policy("data", &rules), &format!("echo x > {0}/made; echo x > {0}/keep/x; rmdir {0}/keep", data.display()));
    let names: Vec<_> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["made"], "{ended:#?}");
}

/// Starts a run that grows `beat`, and waits until it does.
fn beating(host: &Host) -> Running {
    let running = Running::start(host.sandbox(&["sh", "-c", "while :; do echo x >> beat; sleep 0.02; done"]));
    assert!(eventually(|| host.has("beat")), "the run never started");
    assert!(host.has(".claude"), "a placeholder is there while a sandbox lives");
    running
}

fn still(path: &Path) -> bool {
    let length = || fs::metadata(path).map_or(0, |metadata| metadata.len());
    eventually(|| {
        let before = length();
        std::thread::sleep(std::time::Duration::from_millis(300));
        length() == before
    })
}

#[test]
fn a_killed_program_leaves_no_process_and_no_placeholder() {
    let host = Host::new();
    let before = host.tree();
    let running = beating(&host);
    running.signal(Signal::SIGKILL);
    assert!(still(&host.workspace.join("beat")), "the command outlived the program");
    fs::remove_file(host.workspace.join("beat")).unwrap();
    assert!(eventually(|| host.tree() == before), "{:#?}", host.tree());
}

#[test]
fn after_a_killed_launcher_the_next_run_cleans_up() {
    let host = Host::new();
    let before = host.tree();
    let running = beating(&host);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(running.launcher()), Signal::SIGKILL).unwrap();
    assert!(still(&host.workspace.join("beat")), "the command outlived the launcher");
    let ended = running.end();
    assert!(ended.code != 0 && !ended.stderr.is_empty(), "{ended:#?}");
    fs::remove_file(host.workspace.join("beat")).unwrap();
    let ended = host.sh("echo x > .claude/settings.json");
    assert!(!host.has(".claude/settings.json"), "{ended:#?}");
    assert_same(&host.tree(), &before, "");
}

#[test]
fn what_the_person_puts_in_the_place_of_a_placeholder_meanwhile_is_kept() {
    let host = Host::new();
    let running = beating(&host);
    // Made beside it first: an empty folder would be taken for a placeholder when the run ends.
    host.write("new/settings.json", "{}");
    fs::remove_file(host.workspace.join(".claude")).unwrap();
    fs::rename(host.workspace.join("new"), host.workspace.join(".claude")).unwrap();
    running.signal(Signal::SIGTERM);
    running.end();
    assert_eq!(host.read(".claude/settings.json").as_deref(), Some("{}"));
    assert!(!host.has(".vscode"));
}

#[test]
fn a_dangling_link_that_a_call_leaves_behind_does_not_stop_the_next() {
    for (name, above) in [
        ("mise.toml", ""),
        ("sub/.envrc", "sub"),
        ("x.code-workspace", ""),
        (".git/modules", ""),
        (".git/worktrees", ""),
        ("sub/.git", "sub"),
    ] {
        let host = Host::new();
        let script = format!("mkdir -p ./{above}; ln -s nowhere {name} && echo made");
        host.sh(&script).done();
        let next = host.sh("echo fine > next");
        assert_eq!(next.code, 0, "{name}: {next:#?}");
        assert_eq!(host.read("next").as_deref(), Some("fine\n"), "{name}");
    }
}

#[test]
fn a_full_disk_leaves_no_litter() {
    const NAME: &str = "a_full_disk_leaves_no_litter";
    let host = Host::without_git();
    let mut whole = host.bare_program("unshare");
    if !whole.args(["-Urm", "mount", "-t", "tmpfs", "none", "/mnt"]).output().is_ok_and(|output| output.status.success()) {
        return skip(NAME, "kernel: nothing can be mounted here in a user namespace");
    }
    // Enough inodes for some of the placeholders, and then for none.
    for inodes in [2, 6, 12, 40] {
        let script = format!(
            "mount -t tmpfs -o size=64k,nr_inodes={inodes} none \"$1\" && cd \"$1\" && head -c 1000000 /dev/zero > fill; find . | sort > \"$3/before\"; \
             \"$2\" sandbox --workspace \"$1\" -- sh -c 'mkdir a; echo x > b; rm -rf a b; true'; find . | sort > \"$3/after\""
        );
        let mut command = host.bare_program("unshare");
        command
            .args(["-Urm", "sh", "-c", &script, "sh"])
            .arg(&host.workspace)
            .arg(crate::support::program())
            .arg(host.root.join("outside"));
        let ended = crate::support::Ended::from(command.output().unwrap());
        let read = |name: &str| fs::read_to_string(host.root.join("outside").join(name)).unwrap();
        assert_eq!(read("after"), read("before"), "{inodes} inodes: {ended:#?}");
    }
}
