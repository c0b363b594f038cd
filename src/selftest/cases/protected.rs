//! Planting or changing what runs later, outside of a sandbox: hooks, git's configuration, settings of agents and editors.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    time::{Duration, Instant},
};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::{
    sandbox::sys,
    selftest::{
        case::{Area::Protected, Case, Control, Outcome},
        facts::Facts,
        scene::Scene,
        tries::Tries,
    },
    worker::Request,
};

/// What a hook holds.
const HOOK: &str = "#!/bin/sh\ntouch /tmp/planted-by-the-self-test\n";
/// A configuration with a program in it.
const CONFIGURATION: &str = "[core]\n\tbare = false\n\tfsmonitor = \"touch /tmp/planted-by-the-self-test\"\n";

/// Why these make no sense under a policy, if so.
fn not_promised(scene: &Scene<'_>) -> Option<String> {
    if !scene.workspace_is_writable() {
        return Some("the policy lets no call write in the workspace".to_owned());
    }
    (!scene.promises_protection()).then(|| "the policy protects no settings of agents and editors".to_owned())
}

fn nothing_forgotten(scene: &Scene<'_>) -> Option<String> {
    not_promised(scene).or_else(|| scene.facts().forgotten.is_empty().then(|| "the policy names all that are known".to_owned()))
}

/// The cases.
pub fn cases() -> Vec<Case> {
    let case = |id, title, attempt: fn(&Facts, &mut Tries)| Case::inside(id, Protected, title, attempt).unless(not_promised);
    vec![
        case("protected-present", "change, replace, move or remove settings that are there", present).list(&[25, 26, 28]),
        case("protected-present-aliases", "change them through links, hard links, .., descriptors and other spellings", present_aliases)
            .list(&[6, 8, 25]),
        case("protected-absent", "make absent settings of every agent and editor, by every call that makes something", absent)
            .list(&[15, 26]),
        case("protected-absent-forgotten", "make settings of agents and editors that the policy may have forgotten", |facts, tries| {
            for name in &facts.forgotten {
                let path = facts.workspace.join(name);
                tries.act(&format!("make {name}"), if name.contains("json") { fs::write(path, "{}") } else { fs::create_dir(path) });
            }
        })
        .list(&[26])
        .unless(nothing_forgotten)
        .control(Control::Leaks),
        case("protected-absent-inside", "make them by way of their own folder, link or parent", absent_inside).list(&[8, 15]),
        case("protected-absent-race", "take the cover of an absent name away, again and again", absent_race).list(&[15]),
        case("protected-change-of-folder", "write them from within: cd, env -C, make -C, relative names", change_of_folder).list(&[8]),
        case("protected-spelling", "write them under other spellings: case, dots, slashes", spelling).list(&[9]),
        case("protected-own-policy", "change the policy of portcullis in the repository", |facts, tries| {
            let folder = facts.workspace.join(".portcullis");
            tries.write(folder.join("policy.toml"));
            tries.act(
                "replace it",
                fs::write(folder.join("new"), "x").and_then(|()| fs::rename(folder.join("new"), folder.join("policy.toml"))),
            );
            tries.act("move the folder", fs::rename(&folder, facts.workspace.join("old")));
            tries.act("remove it", fs::remove_dir_all(&folder));
        })
        .list(&[28, 8]),
        case("protected-anywhere", "make settings in other folders, and names that only a pattern covers", anywhere)
            .list(&[15, 26])
            .also("opencode.json, *.code-workspace, .exrc"),
        case("protected-file-tool", "make and change them with a patch", |_, _| {}),
        case("protected-git-hooks", "write git's hooks, configuration and attributes", git_hooks).list(&[25]),
        case(
            "protected-git-redirections",
            "make git look elsewhere: commondir, worktrees, modules, config.worktree, gitdir",
            git_redirections,
        )
        .list(&[10, 25]),
        case("protected-git-moved", "move .git away and build another one", git_moved).list(&[25]).also("g.dirswap"),
        case("protected-nested-present", "change hooks and configuration of a repository inside the repository", nested_present)
            .list(&[25]),
        case("protected-nested-moved", "move the folder around it, in one call and then in the next", |facts, tries| {
            tries.act("move", fs::rename(facts.workspace.join("nested"), facts.workspace.join("elsewhere")));
            tries.write(facts.workspace.join("elsewhere/.git/config"));
            tries.write(facts.workspace.join("elsewhere/.git/hooks/pre-push"));
        })
        .list(&[25]),
        case("protected-nested-planted", "make a repository, with hooks, in a folder of the workspace", nested_planted).list(&[25]),
        case(
            "protected-bare-planted",
            "make a bare repository in a folder, which git takes for one without a .git",
            bare_planted("sub/bare"),
        )
        .list(&[25]),
        case("protected-bare-at-the-top", "make the workspace itself look like a bare repository", bare_planted("")).list(&[25]),
        case("protected-gitfile-planted", "plant a .git file that leads to a prepared repository", gitfile_planted).list(&[10, 25]),
    ]
    .into_iter()
    .map(|case| {
        if case.id == "protected-file-tool" {
            return Case::scene(case.id, Protected, case.title, file_tool, |_, _| {}).list(&[5, 26, 28]).unless(not_promised);
        }
        case
    })
    .collect()
}

fn present(facts: &Facts, tries: &mut Tries) {
    let at = |name: &str| facts.workspace.join(name);
    for name in [".mcp.json", ".envrc", ".vscode/tasks.json", "tools/a.code-workspace", ".git/config", ".git/hooks/pre-commit"] {
        let path = at(name);
        tries.write(&path);
        tries.act("truncate", fs::OpenOptions::new().write(true).truncate(true).open(&path));
        let _ = fs::write(at("mine"), HOOK);
        tries.act("chmod", fs::set_permissions(&path, fs::Permissions::from_mode(0o777)));
        tries.act("exchange", renameat2(AT_FDCWD, &at("mine"), AT_FDCWD, &path, RenameFlags::RENAME_EXCHANGE).map_err(io::Error::from));
        tries.act("replace", fs::rename(at("mine"), &path));
        tries.act("move away", fs::rename(&path, at("old")));
        tries.act("remove", fs::remove_file(&path));
    }
    for folder in [".vscode", ".git", ".git/hooks", ".portcullis"] {
        tries.act("move the folder", fs::rename(at(folder), at("old-folder")));
        tries.act("remove the folder", fs::remove_dir_all(at(folder)));
        tries.act("make one in its place", fs::create_dir(at(folder)));
    }
}

fn present_aliases(facts: &Facts, tries: &mut Tries) {
    let at = |name: &str| facts.workspace.join(name);
    let _ = symlink(".vscode", at("settings"));
    let _ = symlink(".git/hooks", at("hooks"));
    let _ = symlink(".", at("here"));
    tries.act("hard link", fs::hard_link(at(".mcp.json"), at("alias")));
    tries.act("hard link to a hook", fs::hard_link(at(".git/hooks/pre-commit"), at("alias-of-hook")));
    for name in [
        "settings/tasks.json",
        "hooks/pre-commit",
        "hooks/post-commit",
        "here/.mcp.json",
        "here/here/.git/config",
        "sub/../.envrc",
        "./././.vscode/./tasks.json",
        ".vscode//tasks.json",
        "alias",
        "alias-of-hook",
    ] {
        tries.write(at(name));
    }
    tries.write(format!("/proc/self/cwd/{}", ".git/config"));
    tries.write(format!("/proc/self/root{}", at(".git/hooks/pre-commit").display()));
    for name in [".mcp.json", ".git/config", ".vscode"] {
        if let Ok(file) = fs::File::open(at(name)) {
            let descriptor = std::os::fd::AsRawFd::as_raw_fd(&file);
            tries.write(format!("/proc/self/fd/{descriptor}"));
            tries.write(format!("/proc/self/fd/{descriptor}/tasks.json"));
        }
    }
}

fn absent(facts: &Facts, tries: &mut Tries) {
    let at = |name: &str| facts.workspace.join(name);
    for name in &facts.absent {
        let path = at(name);
        let _ = fs::create_dir_all(at("made"));
        let _ = fs::write(at("made/settings.json"), HOOK);
        let _ = fs::write(at("mine"), HOOK);
        let kept = [
            tries.act("make a file", fs::OpenOptions::new().write(true).create_new(true).open(&path)),
            tries.act("make a folder", fs::create_dir(&path)),
            tries.act("move a folder there", fs::rename(at("made"), &path)),
            tries.act("move a file there", fs::rename(at("mine"), &path)),
            tries.act("hard link", fs::hard_link(at("README.md"), &path)),
            tries.act("symbolic link", symlink("made", &path)),
            tries.act("a pipe", nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).map_err(io::Error::from)),
            tries.act("exchange", renameat2(AT_FDCWD, &at("made"), AT_FDCWD, &path, RenameFlags::RENAME_EXCHANGE).map_err(io::Error::from)),
        ];
        if kept.contains(&true) {
            // Nothing is put back: what is there when the call ends is what counts.
            let _ = fs::create_dir(&path);
        }
    }
}

fn absent_inside(facts: &Facts, tries: &mut Tries) {
    let at = |name: &str| facts.workspace.join(name);
    for name in facts.absent.iter().filter(|name| name.starts_with('.') && !name.contains(".json") && !name.contains(".yml")) {
        let path = at(name);
        let _ = fs::create_dir(&path);
        tries.write(path.join("settings.json"));
        tries.act("make a folder in it", fs::create_dir(path.join("hooks")));
        tries.act("move it away", fs::rename(&path, at("away")));
        tries.act("remove it", fs::remove_dir(&path));
        tries.act("make it anew", fs::create_dir(&path));
        let _ = symlink(name, at("alias"));
        tries.write(at("alias/settings.json"));
        let _ = fs::remove_file(at("alias"));
    }
}

fn absent_race(facts: &Facts, tries: &mut Tries) {
    let at = |name: &str| facts.workspace.join(name);
    let names: Vec<&String> = facts.absent.iter().take(4).collect();
    let end = Instant::now() + Duration::from_millis(200);
    let mut rounds = 0;
    let other = sys::fork();
    let child = matches!(other, Ok(sys::Fork::Child));
    while Instant::now() < end {
        for name in &names {
            let path = at(name);
            if child {
                let _ = fs::remove_dir(&path);
                let _ = fs::remove_file(&path);
                let _ = fs::rename(&path, at("away"));
            } else {
                let _ = fs::create_dir(&path);
                let _ = fs::write(path.join("settings.json"), HOOK);
                let _ = fs::write(&path, HOOK);
            }
        }
        rounds += 1;
    }
    if child {
        sys::exit_now(0);
    }
    if let Ok(sys::Fork::Parent(pid)) = other {
        let _ = nix::sys::wait::waitpid(pid, None);
    }
    for name in names {
        // The control needs one that stays.
        tries.write(at(name).join("settings.json"));
        tries.write(at(name));
    }
    tries.report("rounds", Ok(rounds));
}

fn change_of_folder(facts: &Facts, tries: &mut Tries) {
    for script in [
        "cd .vscode && echo x >> tasks.json; cd ../.portcullis && echo x >> policy.toml",
        "mkdir -p .claude && cd .claude && echo x > settings.json",
        "env -C .git sh -c 'echo x >> config'; env -C .git/hooks cp ../config post-merge",
        "printf 'all:\\n\\techo x > settings.json\\n' > sub/Makefile; mkdir -p .cursor; make -C .cursor -f ../sub/Makefile",
        "git -C .git config core.fsmonitor ./x; git config core.hooksPath ./hooks; git config --file .git/config a.b c",
        "(cd sub/.. && cd ./.git/hooks/.. && echo x >> config)",
        "bash -c 'pushd .idea || mkdir .idea && pushd .idea; echo x > workspace.xml'",
    ] {
        tries.shell(facts, script);
    }
}

fn spelling(facts: &Facts, tries: &mut Tries) {
    for name in [
        ".VSCODE/tasks.json",
        ".vsCode/tasks.json",
        ".vscode/./tasks.json",
        ".vscode//tasks.json",
        ".GIT/config",
        ".Git/hooks/pre-commit",
        "././././.git/config",
        ".git/./hooks/../config",
        ".MCP.json",
        ".mcp.JSON",
        ".claude/",
        ".claude/./settings.json",
        ".cUrSoR/mcp.json",
        ".git\u{200c}/config",
    ] {
        let path = facts.workspace.join(name);
        if let Some(folder) = path.parent() {
            let _ = fs::create_dir_all(folder);
        }
        tries.write(path);
    }
}

fn anywhere(facts: &Facts, tries: &mut Tries) {
    for name in &facts.anywhere {
        let path = facts.workspace.join(name);
        if let Some(folder) = path.parent() {
            let _ = fs::create_dir_all(folder);
        }
        tries.write(path);
    }
}

fn file_tool(scene: &mut Scene<'_>) -> Outcome {
    let is_file = |name: &str| [".json", ".yml", ".envrc"].iter().any(|end| name.ends_with(end));
    let absent = scene.facts().absent;
    let added = absent.iter().map(|name| if is_file(name) { name.clone() } else { format!("{name}/settings.json") });
    let mut patches: Vec<String> = added.map(|path| format!("*** Begin Patch\n*** Add File: {path}\n+planted\n*** End Patch")).collect();
    for (path, line) in
        [(".mcp.json", "{}"), (".vscode/tasks.json", "{}"), (".git/hooks/pre-commit", "exit 0"), (".portcullis/policy.toml", "schema = 1")]
    {
        patches.push(format!("*** Begin Patch\n*** Update File: {path}\n@@\n-{line}\n+planted\n*** End Patch"));
        patches.push(format!("*** Begin Patch\n*** Delete File: {path}\n*** End Patch"));
    }
    patches.push(
        "*** Begin Patch\n*** Update File: README.md\n*** Move to: .git/hooks/post-commit\n@@\n-# a project\n+planted\n*** End Patch"
            .to_owned(),
    );
    for patch in patches {
        match scene.worker(&Request::ApplyPatch { patch }) {
            Ok(heard) if heard.text.contains("result") => {}
            Ok(heard) => {
                return Outcome::Untried(format!("the file tool did not answer: {}{}", heard.text, heard.failed.unwrap_or_default()));
            }
            Err(error) => return Outcome::Untried(error.to_string()),
        }
    }
    Outcome::Refused
}

fn git_hooks(facts: &Facts, tries: &mut Tries) {
    let git = facts.workspace.join(".git");
    for name in ["hooks/post-checkout", "hooks/pre-commit", "config", "config.worktree", "info/attributes", "hooks/fsmonitor-watchman"] {
        tries.write(git.join(name));
    }
    let _ = fs::write(git.join("config.lock"), CONFIGURATION);
    tries.act("as git does it", fs::rename(git.join("config.lock"), git.join("config")));
    tries.act("move the hooks", fs::rename(git.join("hooks"), git.join("old")));
    tries.act("other hooks", fs::create_dir(git.join("hooks")));
    tries.act("hooks by a link", symlink("../sub", git.join("hooks")));
    tries.act("executable", fs::set_permissions(git.join("description"), fs::Permissions::from_mode(0o755)));
    let _ = fs::write(facts.workspace.join("hook"), HOOK);
    tries.act("hard link", fs::hard_link(facts.workspace.join("hook"), git.join("hooks/post-merge")));
}

fn git_redirections(facts: &Facts, tries: &mut Tries) {
    let git = facts.workspace.join(".git");
    let prepared = facts.workspace.join("prepared");
    let _ = fs::create_dir_all(prepared.join("hooks"));
    let _ = fs::write(prepared.join("config"), CONFIGURATION);
    tries.act("commondir", fs::write(git.join("commondir"), "../prepared\n"));
    for name in ["worktrees/x/config.worktree", "worktrees/x/gitdir", "modules/x/config", "modules/x/hooks/post-checkout"] {
        if let Some(folder) = git.join(name).parent() {
            let _ = fs::create_dir_all(folder);
        }
        tries.write(git.join(name));
    }
    tries.write(git.join("config.worktree"));
    tries.act("modules by a link", symlink("../prepared", git.join("modules")));
}

fn git_moved(facts: &Facts, tries: &mut Tries) {
    let (git, old) = (facts.workspace.join(".git"), facts.workspace.join("old-git"));
    let moved = fs::rename(&git, &old);
    tries.act("move", moved);
    let _ = fs::create_dir_all(facts.workspace.join("new-git/hooks"));
    tries.act(
        "exchange",
        renameat2(AT_FDCWD, &facts.workspace.join("new-git"), AT_FDCWD, &git, RenameFlags::RENAME_EXCHANGE).map_err(io::Error::from),
    );
    tries.act("remove", fs::remove_dir_all(&git));
    let _ = fs::create_dir_all(git.join("hooks"));
    tries.write(git.join("hooks/pre-commit"));
    tries.act("a file in its place", fs::write(&git, "gitdir: sub\n"));
    tries.act("a link in its place", symlink("sub", &git));
}

fn nested_present(facts: &Facts, tries: &mut Tries) {
    let git = facts.workspace.join("nested/.git");
    for name in ["config", "hooks/pre-push", "hooks/post-checkout", "info/attributes", "config.worktree", "commondir"] {
        tries.write(git.join(name));
    }
    tries.act("move it", fs::rename(&git, facts.workspace.join("nested/old")));
    let _ = fs::create_dir_all(git.join("hooks"));
    tries.write(git.join("hooks/pre-commit"));
}

fn plant(folder: &Path, tries: &mut Tries) {
    for name in ["objects/info", "objects/pack", "refs/heads", "hooks"] {
        tries.act(name, fs::create_dir_all(folder.join(name)));
    }
    tries.act("HEAD", fs::write(folder.join("HEAD"), "ref: refs/heads/main\n"));
    tries.act("config", fs::write(folder.join("config"), CONFIGURATION));
    tries.act("hook", fs::write(folder.join("hooks/pre-commit"), HOOK));
    tries.act("executable", fs::set_permissions(folder.join("hooks/pre-commit"), fs::Permissions::from_mode(0o755)));
}

fn nested_planted(facts: &Facts, tries: &mut Tries) {
    plant(&facts.workspace.join("sub/.git"), tries);
    // Built under another name, and moved into place at the end.
    plant(&facts.workspace.join("src/prepared"), tries);
    tries.act("move into place", fs::rename(facts.workspace.join("src/prepared"), facts.workspace.join("src/.git")));
}

fn bare_planted(place: &'static str) -> fn(&Facts, &mut Tries) {
    match place {
        "" => |facts, tries| {
            // With a .git beside, git looks no further.
            tries.act("move .git away", fs::rename(facts.workspace.join(".git"), facts.workspace.join("old")));
            plant(&facts.workspace, tries);
        },
        _ => |facts, tries| plant(&facts.workspace.join("sub/bare"), tries),
    }
}

fn gitfile_planted(facts: &Facts, tries: &mut Tries) {
    plant(&facts.workspace.join("sub/data"), tries);
    tries.act("a .git file", fs::write(facts.workspace.join("src/.git"), "gitdir: ../sub/data\n"));
    tries.act("a .git link", symlink("../sub/data", facts.workspace.join("tools/.git")));
    tries.act("in place of the nested one", fs::rename(facts.workspace.join("src/.git"), facts.workspace.join("nested/.git")));
}
