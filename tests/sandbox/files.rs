//! What can be read and written, and what the environment holds.

use std::{fs, os::unix::fs::symlink};

use crate::support::{Host, SECRET, assert_same, skip};

#[test]
fn a_file_of_the_workspace_can_be_written_and_one_outside_cannot() {
    let host = Host::new();
    let outside = host.root.join("outside");
    let precious = outside.join("precious");
    let before = crate::support::listing(&outside);
    let ended = host.sh(&format!(
        "echo inside > written; echo x > {0}; echo x > {1}/new; rm -f {0}; mkdir {1}/folder; ln -s {0} way; echo x >> way; chmod 777 {0}; touch {0}",
        precious.display(),
        outside.display()
    ));
    assert_eq!(host.read("written").as_deref(), Some("inside\n"), "{ended:#?}");
    assert_same(&crate::support::listing(&outside), &before, "");
}

#[test]
fn a_system_file_can_be_read_and_a_private_key_cannot() {
    let host = Host::new();
    let passwd = host.sh("cat /etc/passwd").done();
    assert_eq!(passwd.stdout, fs::read_to_string("/etc/passwd").unwrap());
    let key = host.home.join(".ssh/id_ed25519");
    for script in ["cat ~/.ssh/id_ed25519".to_owned(), format!("cat {}", key.display()), format!("cp {} stolen; cat stolen", key.display())]
    {
        let ended = host.sh(&script);
        assert!(ended.code != 0 && !ended.stdout.contains(SECRET), "{script}: {ended:#?}");
    }
    assert!(!host.has("stolen") || host.read("stolen").as_deref() == Some(""));
}

#[test]
fn credentials_are_masked_also_where_a_policy_grants_the_whole_home() {
    let host = Host::new();
    fs::write(host.home.join("notes"), "notes\n").unwrap();
    let rules =
        format!("[filesystem]\nread = [\"@system\", \"@workspace\", \"{}\"]\nwrite = [\"@workspace\", \"@tmp\"]", host.root.display());
    let policy = host.policy("home", &rules);
    let ended = host.sh_under(&policy, "cat ~/notes");
    assert_eq!(ended.stdout, "notes\n", "{ended:#?}");
    let ended = host.sh_under(&policy, "cat ~/.netrc ~/.bash_history ~/.ssh/id_ed25519; ls ~/.ssh; grep -r TOP ~");
    assert!(!ended.stdout.contains(SECRET) && !ended.stdout.contains("id_ed25519"), "{ended:#?}");
}

#[test]
fn the_home_folder_is_private_and_gone_afterwards() {
    let host = Host::new();
    let before = crate::support::listing(&host.home);
    let ended = host.sh("echo x > ~/.profile && echo x > ~/new && cat ~/new").done();
    assert_eq!(ended.stdout, "x\n");
    assert_same(&crate::support::listing(&host.home), &before, "");
}

#[test]
fn the_temporary_folder_is_private_and_gone_afterwards() {
    let host = Host::new();
    let name = format!("portcullis-test-{}", std::process::id());
    let ended = host.sh(&format!("echo x > /tmp/{name} && echo x > /var/tmp/{name}2 && echo x > /dev/shm/{name} && echo $TMPDIR")).done();
    assert_eq!(ended.stdout, "/tmp\n");
    for folder in ["/tmp", "/var/tmp", "/dev/shm"] {
        for suffix in ["", "2"] {
            assert!(fs::symlink_metadata(format!("{folder}/{name}{suffix}")).is_err(), "{folder}");
        }
    }
    assert_eq!(fs::read_dir(host.root.join("tmp")).unwrap().count(), 0, "the private folder outlived its session");
}

#[test]
fn a_folder_below_the_temporary_one_can_be_granted_by_a_link() {
    let host = Host::in_folder(&std::env::temp_dir(), false);
    let (real, link) = (host.root.join("outside"), host.root.join("link"));
    symlink(&real, &link).unwrap();
    let policy = host.policy("linked", &format!("[filesystem]\nread = [\"@system\", \"@workspace\", \"{}\"]", link.display()));
    let ended = host.sh_under(&policy, &format!("cat {0}/precious && ! echo evil > {0}/precious", link.display())).done();
    assert_eq!(ended.stdout, "precious\n");
    assert_eq!(fs::read_to_string(real.join("precious")).unwrap(), "precious\n");
}

#[test]
fn a_denied_file_of_the_workspace_is_unreadable_by_every_name() {
    let host = Host::new();
    host.write("app/config/.env", SECRET);
    host.write("app/config/.env.example", "TOKEN=\n");
    symlink("app/config/.env", host.workspace.join("link")).unwrap();
    assert_eq!(host.sh("cat app/config/.env.example").done().stdout, "TOKEN=\n");
    for script in [
        "cat app/config/.env",
        "cat link",
        "cat app/config/../config/./.env",
        "ln app/config/.env other; cat other",
        "mv app/config/.env other; cat other",
        "cp -a app copy; cat copy/config/.env",
        "tar c app | tar xO",
        "cat /proc/self/cwd/app/config/.env",
        "cat /proc/self/root$PWD/app/config/.env",
        "chmod 644 app/config/.env; cat app/config/.env",
    ] {
        let ended = host.sh(script);
        assert!(!ended.stdout.contains(SECRET), "{script}: {ended:#?}");
    }
    assert_eq!(host.read("app/config/.env").as_deref(), Some(SECRET), "it is still there and unharmed");
}

#[test]
fn a_denied_file_is_not_uncovered_by_moving_the_folders_above_it_between_two_calls() {
    let host = Host::new();
    host.write("app/config/.env", SECRET);
    for first in [
        "mv app moved",
        "mv app/config app/moved",
        "mkdir x; mv app/config x/.git",
        "mv app/config/.env app/config/plain",
        "rm -rf app",
        "chmod 0 app/config",
        "chmod 0 app",
    ] {
        host.sh(first);
        let second = host.sh("chmod -R u+rwX .; cat $(find . -name .env -o -name plain -o -path '*/.git/*' -prune) app/config/.env");
        assert!(!second.stdout.contains(SECRET), "{first}: {second:#?}");
        assert_eq!(host.read("app/config/.env").as_deref(), Some(SECRET), "{first}");
    }
}

#[test]
fn a_denied_file_in_a_folder_that_cannot_be_looked_through_is_unreadable() {
    let host = Host::new();
    host.write("app/.env", SECRET);
    if !crate::support::is_root() {
        skip(
            "a_denied_file_in_a_folder_that_cannot_be_looked_through_is_unreadable",
            "uid: only root can give a folder to a foreign group",
        );
        return;
    }
    // The group has no number in the sandbox's user namespace, so that no capability there overrides the folder's mode.
    std::os::unix::fs::chown(host.workspace.join("app"), None, Some(12345)).unwrap();
    host.sh("chmod 0 app");
    let ended = host.sh("chmod 700 app; cat app/.env");
    assert!(!ended.stdout.contains(SECRET), "{ended:#?}");
    assert_eq!(host.read("app/.env").as_deref(), Some(SECRET));
}

#[test]
fn the_environment_is_the_policys_list_and_nothing_else() {
    let host = Host::new();
    let mut command = host.sandbox(&["env"]);
    command.env("AWS_SECRET_ACCESS_KEY", SECRET).env("LD_PRELOAD", "/nonexistent.so").env("TZ", "Europe/Vienna");
    let stdout = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(stdout.contains("TZ=Europe/Vienna\n"), "{stdout}");
    for name in ["SECRET", SECRET, "LD_PRELOAD", "PORTCULLIS_HOME"] {
        assert!(!stdout.contains(name), "{name}: {stdout}");
    }
    let ended = host.sh("cat /proc/1/environ /proc/self/environ /proc/2/environ 2>/dev/null");
    assert!(!ended.stdout.contains("PORTCULLIS_HOME"), "{ended:#?}");
}

#[test]
fn no_folder_on_the_path_is_writable() {
    let host = Host::new();
    host.write("bin/git", "#!/bin/sh\necho hijacked\n");
    fs::create_dir_all(host.home.join("bin")).unwrap();
    let mut command =
        host.sandbox(&["sh", "-c", "IFS=:; for f in $PATH; do touch $f/planted 2>/dev/null && echo writable: $f; done; echo \"$PATH\""]);
    let path = format!("{0}/bin:.:bin::/tmp:{1}/bin:/usr/bin:/bin", host.workspace.display(), host.home.display());
    command.env("PATH", path);
    let stdout = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert_eq!(stdout, "/usr/bin:/bin\n");
    assert!(!fs::exists("/usr/bin/planted").unwrap());
}

#[test]
fn a_folder_handed_over_as_a_standard_stream_opens_no_way_past_the_covers() {
    let host = Host::new();
    host.write(".env", SECRET);
    if !crate::support::installed("python3") {
        skip("a_folder_handed_over_as_a_standard_stream_opens_no_way_past_the_covers", "python3 is not installed");
        return;
    }
    host.write(
        "attack.py",
        "
import os
for act in [
    lambda: print(os.read(os.open('.env', os.O_RDONLY, dir_fd=5), 99)),
    lambda: os.open('.git/hooks/pre-commit', os.O_CREAT | os.O_WRONLY, 0o755, dir_fd=5),
    lambda: os.chmod('../outside/precious', 0o777, dir_fd=5),
    lambda: os.utime('../outside/precious', (1, 1), dir_fd=5),
    lambda: os.mkdir('.claude/x', dir_fd=5),
]:
    try: act()
    except OSError: pass
",
    );
    let before = crate::support::listing(&host.root.join("outside"));
    let mut command = host.sandbox(&["sh", "-c", "exec 5<&0 </dev/null; exec python3 attack.py"]);
    let output = command.stdin(fs::File::open(&host.workspace).unwrap()).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(!stdout.contains(SECRET), "{stdout}");
    assert!(!host.has(".git/hooks/pre-commit"), "a hook was planted");
    assert_same(&crate::support::listing(&host.root.join("outside")), &before, "");
}

#[test]
fn a_file_handed_over_for_reading_cannot_be_opened_again_for_writing() {
    let host = Host::new();
    let precious = host.root.join("outside/precious");
    let mut command = host.sandbox(&["sh", "-c", "cat; echo x >> /proc/self/fd/0; echo x > /dev/stdin"]);
    let output = command.stdin(fs::File::open(&precious).unwrap()).output().unwrap();
    assert_eq!(output.stdout, b"precious\n");
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious\n");
}

#[test]
fn the_sessions_private_folder_may_not_lie_where_a_call_can_replace_it() {
    let host = Host::new();
    fs::create_dir(host.workspace.join("tmp")).unwrap();
    let mut command = host.sandbox(&["touch", "ran"]);
    let ended = crate::support::Ended::from(command.env("TMPDIR", host.workspace.join("tmp")).output().unwrap());
    assert_eq!(ended.code, 3, "{ended:#?}");
    assert!(ended.stderr.contains("TMPDIR") && !host.has("ran"), "{ended:#?}");
    assert_eq!(fs::read_dir(host.workspace.join("tmp")).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_writable_folder_inside_the_workspace_cannot_be_led_outside_between_two_calls() {
    let host = Host::new();
    host.write("build/cache/file", "x\n");
    let outside = host.root.join("outside");
    let before = crate::support::listing(&outside);
    let policy = host.policy("nested", "[filesystem]\nwrite = [\"@workspace\", \"@tmp\", \"@home\", \"build/cache\"]");
    host.sh_under(&policy, "echo y > build/cache/file").done();
    host.sh_under(&policy, &format!("mv build b; mkdir build; ln -s {} build/cache", outside.display()));
    host.sh_under(&policy, &format!("echo x > build/cache/new; echo x > {0}/new; rm -f {0}/precious", outside.display()));
    assert_same(&crate::support::listing(&outside), &before, "");
    assert!(host.has("b/cache/file"), "the first call did what this is about");
}
