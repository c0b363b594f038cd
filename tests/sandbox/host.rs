//! Hosts that lack something: nothing runs, unless the policy accepts it, and what is said names the layer, the reason and the remedy.

use std::process::Command;

use crate::support::{Ended, Host, SECRET, installed, program, skip};

const DEGRADE: &str = "[enforcement]\nrequire = [\"seccomp\"]\non_missing = \"degrade\"";

/// Takes something away, and becomes the rest of its arguments.
const WITHOUT: &str = include_str!("../support/without.py");

fn on_a_host_without(what: &str, host: &Host, arguments: &[&str]) -> Command {
    let mut command = host.bare_program("python3");
    command.args(["-c", WITHOUT, what]).arg(program()).args(arguments);
    command
}

#[test]
fn what_a_host_lacks_is_named_with_its_remedy_and_nothing_runs() {
    const NAME: &str = "what_a_host_lacks_is_named_with_its_remedy_and_nothing_runs";
    if !installed("python3") {
        return skip(NAME, "python3 is not installed");
    }
    let host = Host::new();
    let workspace = host.workspace.display().to_string();
    let run = |what: &str, policy: &str| {
        let arguments = ["sandbox", "--policy", policy, "--workspace", &workspace, "--", "touch", "ran"];
        Ended::from(on_a_host_without(what, &host, &arguments).output().unwrap())
    };
    let whole = run("nothing", "workspace-write");
    assert!(whole.code == 0 && host.has("ran"), "the filter itself takes nothing away: {whole:#?}");
    std::fs::remove_file(host.workspace.join("ran")).unwrap();
    let degrade = host.policy("degrade", DEGRADE);
    let open = host.policy("degrade-open", &format!("{DEGRADE}\n[network]\nmode = \"open\""));
    let before = host.tree();
    for policy in ["workspace-write", "read-only", "locked", "networked", &degrade, &open] {
        for (what, layer, remedy) in [
            ("landlock", "Landlock", "lsm="),
            ("namespaces", "namespaces", "user.max_user_namespaces"),
            ("mounts", "mount", ""),
            ("seccomp", "system call filter", ""),
            ("container", "namespaces", "seccomp=unconfined"),
        ] {
            if policy == degrade && what == "landlock" {
                continue;
            }
            let ended = run(what, policy);
            assert_eq!(ended.code, 125, "{policy} without {what}: {ended:#?}");
            assert!(
                ended.stderr.starts_with("portcullis: could not ") && ended.stderr.contains(layer),
                "{policy} without {what}: {ended:#?}"
            );
            assert!(ended.stderr.contains(remedy), "{policy} without {what}: {ended:#?}");
            crate::support::assert_same(&host.tree(), &before, &format!("{policy} without {what}"));
        }
    }
}

#[test]
fn a_policy_that_degrades_runs_without_landlock_and_holds_all_the_same() {
    const NAME: &str = "a_policy_that_degrades_runs_without_landlock_and_holds_all_the_same";
    if !installed("python3") {
        return skip(NAME, "python3 is not installed");
    }
    let host = Host::new();
    host.write(".env", SECRET);
    std::fs::write(host.home.join("key"), SECRET).unwrap();
    let policy = host.policy("degrade", DEGRADE);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let outside = host.root.join("outside");
    let script = format!(
        "echo x > inside; echo x > {0}/new; echo x > {0}/precious; cat .env {1}/key; echo x > .git/hooks/pre-commit; echo x > .envrc; \
         exec 3<>/dev/tcp/127.0.0.1/{2}; kill -9 {3}; cat /proc/self/status | grep Seccomp:; mount -t tmpfs none /tmp; unshare -U true; true",
        outside.display(),
        host.home.display(),
        listener.local_addr().unwrap().port(),
        std::process::id(),
    );
    let workspace = host.workspace.display().to_string();
    let arguments = ["sandbox", "--policy", &policy, "--workspace", &workspace, "--", "bash", "-c", &script];
    let ended = Ended::from(on_a_host_without("landlock", &host, &arguments).output().unwrap());
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert!(ended.stderr.contains("no Landlock") && ended.stderr.contains("on_missing"), "the person is told: {ended:#?}");
    assert!(host.has("inside"), "{ended:#?}");
    assert!(!outside.join("new").exists() && !host.has(".git/hooks/pre-commit") && !host.has(".envrc"), "{ended:#?}");
    assert_eq!(std::fs::read_to_string(outside.join("precious")).unwrap(), "precious\n");
    assert!(!ended.stdout.contains(SECRET) && ended.stdout.contains("Seccomp:\t2"), "{ended:#?}");
    assert!(listener.accept().is_err(), "somebody connected");
    // Where nothing is missing, nothing is lost and nothing said.
    let ended = Ended::from(on_a_host_without("nothing", &host, &arguments).output().unwrap());
    assert!(ended.code == 0 && !ended.stderr.contains("Landlock"), "{ended:#?}");
}

#[test]
fn doctor_says_what_such_a_host_lacks() {
    if !installed("python3") {
        return skip("doctor_says_what_such_a_host_lacks", "python3 is not installed");
    }
    let host = Host::new();
    for what in ["landlock", "namespaces", "container"] {
        let ended = Ended::from(on_a_host_without(what, &host, &["doctor"]).output().unwrap());
        assert_eq!(ended.code, 4, "{what}: {ended:#?}");
        assert!(ended.stdout.contains("nothing runs"), "{what}: {ended:#?}");
    }
}

#[test]
fn no_tools_are_served_on_such_a_host() {
    if !installed("python3") {
        return skip("no_tools_are_served_on_such_a_host", "python3 is not installed");
    }
    let host = Host::new();
    let workspace = host.workspace.display().to_string();
    for (what, code) in [("nothing", 0), ("landlock", 4), ("namespaces", 4)] {
        let ended = Ended::from(on_a_host_without(what, &host, &["mcp", "serve", "--workspace", &workspace]).output().unwrap());
        assert!(ended.code == code && ended.stdout.is_empty(), "without {what}: {ended:#?}");
    }
}
