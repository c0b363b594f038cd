//! What a call plants where no mount can keep it from being made is out of effect when the call has ended, and everybody is told.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
};

use nix::sys::signal::Signal;

use crate::support::{Host, Running, assert_same, children_of, eventually, installed, skip};

/// Run by the person's git wherever an attack succeeds.
const EVIL: &str = "#!/bin/sh\ntouch \"$PWD/owned\" /tmp/portcullis-owned 2>/dev/null\n";

impl Host {
    /// Whether the person's git, going about in a folder of the workspace, runs what a call planted.
    fn git_runs_something_in(&self, folder: &str) -> bool {
        let mark = self.root.join("owned");
        for arguments in [&["status"][..], &["add", "."], &["commit", "-qm", "x", "--allow-empty"], &["checkout", "-q", "-b", "new"]] {
            let mut command = self.git_command(folder);
            command.args(arguments).env("MARK", &mark);
            let _ = command.output();
        }
        mark.exists()
    }

    /// A shell line that plants something which leaves the mark.
    fn evil(&self) -> String {
        format!("#!/bin/sh\\ntouch {}\\n", self.root.join("owned").display())
    }
}

#[test]
fn a_planted_repository_runs_nothing_and_stays_a_repository() {
    let host = Host::new();
    let evil = host.evil();
    let scripts = [
        ("nested", format!("git init -q nested; printf '{evil}' > nested/.git/hooks/pre-commit; chmod +x nested/.git/hooks/pre-commit")),
        (
            "configured",
            format!(
                "git init -q configured; printf '{evil}' > configured/f; chmod +x configured/f; git -C configured config core.fsmonitor ./f"
            ),
        ),
        (
            "pointer",
            format!(
                "git init -q data; printf '{evil}' > data/.git/hooks/pre-commit; chmod +x data/.git/hooks/pre-commit; mkdir pointer; echo 'gitdir: ../data/.git' > pointer/.git"
            ),
        ),
        (
            "link",
            format!(
                "git init -q other; printf '{evil}' > other/.git/hooks/pre-commit; chmod +x other/.git/hooks/pre-commit; mkdir link; ln -s ../other/.git link/.git"
            ),
        ),
        (
            "renamed",
            format!(
                "git init -q a; mv a/.git a/prepared; printf '{evil}' > a/prepared/hooks/pre-commit; chmod +x a/prepared/hooks/pre-commit; mv a renamed; mv renamed/prepared renamed/.git"
            ),
        ),
        (
            "hookspath",
            "git init -q hookspath; cp -r .git/hooks hookspath/h; git -C hookspath config core.hooksPath h".to_owned()
                + &format!("; printf '{evil}' > hookspath/h/pre-commit; chmod +x hookspath/h/pre-commit"),
        ),
    ];
    for (folder, script) in &scripts {
        let ended = host.sh(script).done();
        assert!(ended.stderr.contains("end of the command"), "{folder}: {ended:#?}");
        assert!(!host.git_runs_something_in(folder), "{folder}");
        assert!(host.git(&["-C", folder, "rev-parse", "--git-dir"]).stdout.contains("git"), "{folder} is no repository any more");
    }
    // And at the root, where `git status` looks into a repository that was added as one.
    let evil = host.evil();
    host.sh(&format!(
        "git init -q sub && cd sub && git -c user.name=a -c user.email=b commit -q --allow-empty -m s && printf '{evil}' > f && chmod +x f \
         && git config core.fsmonitor {0}/sub/f; cd ..; git add sub",
        host.workspace.display()
    ));
    assert!(!host.git_runs_something_in("."));
}

#[test]
fn a_bare_repository_runs_nothing_wherever_it_is_planted() {
    for (git, folder) in [(true, "docs"), (false, "docs"), (false, ".")] {
        let host = if git { Host::new() } else { Host::without_git() };
        fs::create_dir_all(host.workspace.join(folder)).unwrap();
        let evil = host.evil();
        let script = format!(
            "cd {folder} && mkdir objects refs && echo 'ref: refs/heads/m' > HEAD && printf '{evil}' > f && chmod +x f && \
             printf '[core]\\n\\trepositoryformatversion = 0\\n\\tbare = false\\n\\tworktree = .\\n\\tfsmonitor = {0}/{folder}/f\\n' > config",
            host.workspace.display()
        );
        host.sh(&script).done();
        assert!(!host.git_runs_something_in(folder), "{folder}");
        // The second form: without objects of its own, by way of another folder.
        let script = format!(
            "mkdir -p q && cd q && echo 'ref: refs/heads/m' > HEAD && echo ../{folder} > commondir && \
             printf '[core]\\n\\tfsmonitor = {0}/{folder}/f\\n' > config.worktree",
            host.workspace.display()
        );
        host.sh(&script).done();
        assert!(!host.git_runs_something_in("q"));
    }
}

#[test]
fn no_folder_is_too_well_hidden_for_the_sweep() {
    let host = Host::new();
    fs::create_dir(host.workspace.join("old")).unwrap();
    for (place, script) in [
        ("closed", "mkdir closed && cd closed"),
        ("old/closed", "mkdir old/closed && cd old/closed"),
        (".env.d/.env", "mkdir -p .env.d/.env && cd .env.d/.env"),
        ("x/.env", "mkdir -p x/.env && cd x/.env"),
        ("bare/below", "mkdir -p bare/below && cd bare && touch HEAD objects refs && cd below"),
        ("deep/a/b/c/d", "mkdir -p deep/a/b/c/d && cd deep/a/b/c/d"),
    ] {
        let ended =
            host.sh(&format!("{script} && echo evil > .envrc && mkdir .claude && echo '{{}}' > .claude/settings.json && chmod 0311 . .."));
        let _ = fs::set_permissions(host.workspace.join(place), fs::Permissions::from_mode(0o755));
        assert!(!host.has(&format!("{place}/.envrc")) && !host.has(&format!("{place}/.claude")), "{place}: {ended:#?}");
        assert_eq!(host.read(&format!("{place}/.envrc.refused")).as_deref(), Some("evil\n"), "{place}: nothing is lost: {ended:#?}");
    }
}

#[test]
fn patterns_and_settings_of_agents_at_any_depth_cannot_stay() {
    let host = Host::new();
    fs::create_dir(host.workspace.join("src")).unwrap();
    let names = [".claude", ".codex", ".cursor", ".gemini", ".qwen", ".trae", ".vscode", ".idea", ".devcontainer", ".husky"];
    let files = [".mcp.json", ".envrc", "crush.json", "opencode.json", "x.code-workspace", ".exrc", "mise.toml", ".dir-locals.el"];
    for name in names {
        host.sh(&format!("mkdir src/{name} && echo x > src/{name}/settings.json")).done();
        assert!(!host.has(&format!("src/{name}")), "{name}");
    }
    for name in files {
        host.sh(&format!("echo x > src/{name}; mkdir n; echo x > n/{name}; mv n src/m")).done();
        assert!(!host.has(&format!("src/{name}")) && !host.has(&format!("src/m/{name}")), "{name}");
        host.sh("rm -rf src/m").done();
    }
    host.sh("mkdir -p src/node_modules/a && echo x > src/node_modules/a/.envrc && echo x > src/ordinary").done();
    assert!(host.has("src/node_modules/a/.envrc") && host.has("src/ordinary"), "what is nobody's settings stays");
}

/// Plants and goes on.
const PLANTING: &str = "mkdir q; echo x > q/.envrc; git init -q r; git -C r config core.fsmonitor x; touch done; sleep 60";

/// A call that plants, once it has, with its launcher and its init.
fn planting(host: &Host) -> (Running, i32, i32) {
    let running = Running::start(host.sandbox(&["sh", "-c", PLANTING]));
    assert!(eventually(|| host.has("done")));
    let launcher = running.launcher();
    (running, launcher, children_of(launcher)[0])
}

/// Waits until all of a call is gone. Whoever is on its way out still counts as somebody who works here.
fn gone(running: Running, launcher: i32, init: i32) {
    drop(running.end());
    for process in [launcher, init] {
        assert!(eventually(|| !std::path::Path::new(&format!("/proc/{process}")).exists()));
    }
}

fn kill(process: i32, signal: Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(process), signal).unwrap();
}

#[test]
fn a_killed_call_is_swept_by_whoever_comes_next() {
    let host = Host::new();
    let (running, launcher, init) = planting(&host);
    // So that the init does not see the others die and sweep.
    kill(init, Signal::SIGSTOP);
    running.signal(Signal::SIGKILL);
    kill(launcher, Signal::SIGKILL);
    kill(init, Signal::SIGKILL);
    gone(running, launcher, init);
    let ended = host.sh("true").done();
    assert!(ended.stderr.contains("q/.envrc"), "{ended:#?}");
    assert!(!host.has("q/.envrc") && !host.read("r/.git/config").unwrap().contains("fsmonitor"));
    assert!(!host.sh("true").done().stderr.contains("q/.envrc"), "told twice");
}

#[test]
fn an_init_sweeps_though_the_agent_or_the_launcher_was_killed_and_the_next_call_tells_of_it() {
    for launcher_too in [false, true] {
        let host = Host::new();
        let (running, launcher, init) = planting(&host);
        running.signal(Signal::SIGKILL);
        if launcher_too {
            kill(launcher, Signal::SIGKILL);
        }
        gone(running, launcher, init);
        assert!(!host.has("q/.envrc") && !host.read("r/.git/config").unwrap().contains("fsmonitor"), "not swept");
        let ended = host.sh("true").done();
        assert!(ended.stderr.contains("q/.envrc"), "{launcher_too} {ended:#?}");
        assert!(!host.sh("true").done().stderr.contains("q/.envrc"), "told twice");
    }
}

#[test]
fn the_persons_own_repository_and_settings_below_are_left_alone() {
    let host = Host::new();
    host.git(&["init", "-q", "mine"]);
    host.git(&["-C", "mine", "config", "core.fsmonitor", "false"]);
    host.git(&["-C", "mine", "config", "alias.x", "!true"]);
    host.write("mine/.git/hooks/pre-push", EVIL);
    host.write("mine/.vscode/settings.json", "{}");
    host.write("mine/.envrc", "x");
    let before = host.tree();
    host.sh("touch mine/file mine/.git/index2; rm mine/file mine/.git/index2").done();
    assert_same(&host.tree(), &before, "");
}

#[test]
fn what_a_call_made_can_be_removed_by_a_later_one() {
    let host = Host::new();
    host.sh("git clone -q . clone; git init -q --bare b.git; git worktree add -q wt -b wt; mkdir -p t/.git/x").done();
    let ended = host.sh("rm -rf clone b.git t && git worktree remove wt && git branch -d wt");
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert!(!host.has("clone") && !host.has("b.git") && !host.has("wt") && !host.has("t"));
}

#[test]
fn the_init_that_sweeps_is_out_of_the_programs_reach() {
    if !installed("prlimit") {
        return skip("the_init_that_sweeps_is_out_of_the_programs_reach", "prlimit is not installed");
    }
    let host = Host::new();
    let ended = host.sh(
        "prlimit --pid 1 --nofile=3:3; kill -STOP 1; kill -9 1; mkdir q; echo x > q/.envrc; prlimit --pid $$ --nofile=100:100 && echo own",
    );
    assert!(ended.stdout.contains("own"), "a program's own limits are its own: {ended:#?}");
    assert!(!host.has("q/.envrc"), "{ended:#?}");
}

#[test]
fn a_rebase_that_is_left_half_done_runs_no_command() {
    let host = Host::new();
    let evil = host.root.join("owned");
    let script = format!(
        "echo two > file; git commit -qam two; GIT_SEQUENCE_EDITOR='printf \"break\\nexec touch {}\\n\" >' git rebase -i HEAD~1",
        evil.display()
    );
    host.sh(&script);
    let mut command = host.git_command(".");
    let _ = command.args(["rebase", "--continue"]).output();
    assert!(!evil.exists());
    assert_eq!(host.git(&["log", "--format=%s"]).stdout.lines().last(), Some("first"));
}

#[test]
fn a_server_of_the_hosts_in_the_workspace_cannot_be_reached_and_one_of_the_calls_own_can() {
    if !installed("python3") {
        return skip("a_server_of_the_hosts_in_the_workspace_cannot_be_reached_and_one_of_the_calls_own_can", "python3 is not installed");
    }
    let host = Host::new();
    let listener = UnixListener::bind(host.workspace.join("server")).unwrap();
    listener.set_nonblocking(true).unwrap();
    // Abandoned by a server that has ended: it can be replaced.
    drop(UnixListener::bind(host.workspace.join("abandoned")).unwrap());
    let ended = host.python(
        "
import os, socket
for act in [lambda: socket.socket(socket.AF_UNIX).connect('server'), lambda: os.rename('server', 'moved'), lambda: os.link('server', 'other'),
            lambda: socket.socket(socket.AF_UNIX).connect('moved'), lambda: socket.socket(socket.AF_UNIX).connect('other')]:
    try: act(); print('REACHED')
    except OSError: pass
os.unlink('abandoned')
own = socket.socket(socket.AF_UNIX); own.bind('abandoned'); own.listen(1)
socket.socket(socket.AF_UNIX).connect('abandoned')
print('own')
",
    );
    assert_eq!(ended.stdout, "own\n", "{ended:#?}");
    assert!(listener.accept().is_err(), "somebody connected");
}

/// Each of these once led git to what the sweep had not looked at, or kept the sweep from its work.
#[test]
fn no_detour_leads_git_past_the_sweep() {
    let repository = "git init -q t && git -C t config core.fsmonitor \"touch MARK; false\" && printf '#!/bin/sh\\ntouch MARK\\n' > t/.git/hooks/post-commit && chmod +x t/.git/hooks/post-commit";
    let cases = [
        ("sub", "mkdir -p .git/x sub; mv t/.git .git/x/y; echo 'gitdir: ../.git/x/y' > sub/.git"),
        ("sub", "mkdir -p sub 'sub/ ../.git/z'; mv t/.git .git/z; echo 'gitdir: ../.git/z' > sub/.git"),
        (
            "sub",
            "mkdir sub; mv t/.git '.git/z '; cp -r '.git/z ' .git/z; rm -rf .git/z/hooks .git/z/config; echo 'gitdir: ../.git/z ' > sub/.git",
        ),
        ("sub", "mkdir -p .git/modules sub; mv t/.git .git/modules/m; chmod 311 .git/modules; echo 'gitdir: ../.git/modules/m' > sub/.git"),
        (
            "src",
            "mkdir -p other; mv t/.git other/g; cp other/g/HEAD src/HEAD; echo ../other/g > src/commondir; cp other/g/config src/config.worktree; git -C other/g config extensions.worktreeConfig true",
        ),
        ("d", "mv t d; chmod 000 d/.git"),
        ("d", "mv t d; touch d/.git/config.refused d/.git/hooks/post-commit.refused; chmod 555 d/.git d/.git/hooks"),
        ("d", "mv t d; for n in '' -1 -2 -3 -4 -5; do touch d/.git/config.refused$n d/.git/hooks/post-commit.refused$n; done"),
        ("node_modules/d", "mkdir node_modules; mv t node_modules/d"),
        ("x/t", "mkdir x; mv t x; cd x; n=$(printf '%0200d' 0); for i in $(seq 30); do mkdir $n && cd $n || break; done"),
    ];
    for (folder, script) in cases {
        let host = Host::new();
        fs::create_dir(host.workspace.join("src")).unwrap();
        let script = format!("{repository}; {script}; true").replace("MARK", &host.root.join("owned").display().to_string());
        let ended = host.sh(&script);
        if host.workspace.join(folder).exists() {
            assert!(!host.git_runs_something_in(folder), "{folder}: {script}: {ended:#?}");
        }
        assert!(!host.git_runs_something_in("."), "{folder}: {script}: {ended:#?}");
    }
}

#[test]
fn names_that_are_too_long_or_taken_do_not_stay_either() {
    let host = Host::new();
    let long = format!("{}.code-workspace", "x".repeat(234));
    host.sh(&format!("mkdir q; echo x > q/{long}; for n in '' -1 -2 -3 -4 -5; do touch q/.envrc.refused$n; done; echo x > q/.envrc"))
        .done();
    assert!(!host.has(&format!("q/{long}")) && !host.has("q/.envrc"));
    assert_eq!(fs::read_dir(host.workspace.join("q")).unwrap().count(), 8, "nothing is lost");
}

#[test]
fn what_the_persons_configuration_names_for_hooks_is_protected_however_it_is_written() {
    for (file, text, hooks) in [
        (".git/config", "[core]\n\thooksPath = tools\"/hk\"\n", "tools/hk"),
        (".git/config", "[core]\n\thooksPath = absent/hk\n", "absent/hk"),
        (".git/config", "[include]\n\tpath = ../shared.cfg\n", "tools/hk"),
        (".git/config", "[core]\n\thooksPath = l/hk\n", "tools/hk"),
        ("../home/.gitconfig", "[core]\n\thooksPath = tools/hk\n", "tools/hk"),
    ] {
        let host = Host::new();
        host.write("tools/file", "");
        host.write("shared.cfg", "[core]\n\thooksPath = tools/hk\n");
        std::os::unix::fs::symlink("tools", host.workspace.join("l")).unwrap();
        let path = host.workspace.join(file);
        let before = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, before + text).unwrap();
        host.sh(&format!("mkdir -p {hooks}; printf '{}' > {hooks}/pre-commit; chmod +x {hooks}/pre-commit; true", host.evil()));
        assert!(!host.git_runs_something_in("."), "{file}: {text}");
    }
}

#[test]
fn what_one_call_planted_is_not_anothers_to_keep() {
    let host = Host::new();
    fs::create_dir(host.workspace.join("src")).unwrap();
    let mut first = Running::start(host.sandbox(&["sh", "-c", "echo a > src/.envrc; git init -q r; echo ready; read line"]));
    assert_eq!(first.line(), "ready\n");
    let mut second = Running::start(host.sandbox(&[
        "sh",
        "-c",
        "echo ready; read line; echo b > src/.envrc; cp .git/config r/.git/c && echo x >> r/.git/c; true",
    ]));
    assert_eq!(second.line(), "ready\n");
    first.type_line("");
    first.end();
    assert!(!host.has("src/.envrc"), "the first call's end sweeps");
    second.type_line("");
    second.end();
    assert!(!host.has("src/.envrc"), "and so does the second's");
}

#[test]
fn another_name_of_a_planted_file_is_no_way_past_a_later_cover() {
    let host = Host::new();
    host.sh("git init -q sub; ln sub/.git/config data; d=$(printf 'x\\377'); mkdir $d; git init -q $d/s; ln $d/s/.git/config more").done();
    host.sh("for f in data more; do printf '[core]\\n\\tfsmonitor = x\\n' > $f; done").done();
    let config = host.read("sub/.git/config").unwrap_or_default();
    assert!(!config.contains("fsmonitor"), "{config}");
    let odd = fs::read_dir(&host.workspace).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.to_str().is_none()).unwrap();
    assert!(!fs::read_to_string(odd.join("s/.git/config")).unwrap_or_default().contains("fsmonitor"));
}
