//! What is trusted before anything runs, and what a call inherits.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::{
    policy::{self, Access, Decision, GitAccess, Layer, NetworkMode, Policy, PolicyError, judge_command},
    sandbox::{Access as RootAccess, Plan, Session, private},
    selftest::{
        case::{Area::Start, Case, Control, Outcome},
        facts::Facts,
        scene::Scene,
        tries::{Tries, read},
        world::POISON,
    },
};

/// Opens a file so that a program which is started inherits it.
pub fn open_inheritably(path: &Path) -> io::Result<OwnedFd> {
    let file = fs::File::open(path)?;
    fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(file.into())
}

/// The cases.
pub fn cases() -> Vec<Case> {
    let decision = |id, title, decide: fn(&Scene<'_>) -> Outcome| Case::decision(id, Start, title, decide);
    vec![
        Case::inside("start-descriptors", Start, "use a descriptor that was open when portcullis was started", inherited)
            .by_answer()
            .also("i.fd_*: rights are checked when a file is opened")
            .control(Control::Not("descriptors are closed without layers as well")),
        Case::scene("start-descriptors-of-a-program", Start, "find one in a program that was started", |scene| {
            match scene.program(&["/bin/sh", "-c", "for n in 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 57; do ( eval \"cat <&$n\" ) 2>/dev/null && echo OPEN $n; done; echo end"]) {
                Ok(heard) if heard.text.contains("OPEN") => Outcome::Leaked(heard.text),
                Ok(heard) if heard.text.contains("end") => Outcome::Refused,
                Ok(heard) => Outcome::Untried(format!("the program did not run: {}{}", heard.text, heard.failed.unwrap_or_default())),
                Err(error) => Outcome::Untried(error.to_string()),
            }
        }, |_, _| {})
        .control(Control::Not("descriptors are closed without layers as well")),
        decision("start-environment", "hand on variables that run something, or are secrets", environment).list(&[16, 29, 42, 48]),
        decision("start-path", "have a folder on PATH that a call may write, or that lies in the workspace", path).list(&[71]).also("i.path_hijack"),
        decision("start-project-policy", "widen anything by the repository's own policy", project_widens).list(&[19, 24, 28, 30, 33]),
        decision("start-project-keys", "set an endpoint, a key, a proxy, a server or a hook by the repository's own policy", project_keys).list(&[16, 17, 18, 31]),
        decision("start-bounds", "get past what the machine's policy takes away", bounds).list(&[32, 33]),
        decision("start-no-policy-no-access", "be given something by an empty list, or by a policy that says nothing", empty_lists).list(&[57, 62]),
        decision("start-broken-rule", "drop a rule by an error in a policy", broken_rules).list(&[12, 14, 62]),
        decision("start-hidden-workspace", "have a rule deny what lies around the workspace, and be let in all the same", ancestors).list(&[14]),
        decision("start-layers", "run under a preset with a layer left out", layers).list(&[13, 62]),
        decision("start-roots", "change what a call may touch by what it says", roots).list(&[1, 2, 55]),
        decision("start-arguments", "relax the sandbox by an argument of a tool", arguments).list(&[55]),
        decision("start-strictest-rule", "let an allowing rule beat a forbidding one", strictest).list(&[53]),
        decision("start-one-decision", "be told one thing by the check and another by the executor", one_decision).list(&[56, 12]),
        decision("start-private-folder", "find the private folders of a session beforehand, or as somebody else", private_folder).list(&[11]),
        decision("start-workspace", "make the system, or everything, the workspace", workspaces).list(&[2, 14]),
        Case::inside("start-own-process", Start, "be traced, or have one's memory read, as the process that makes the sandbox", |facts, tries| {
            for pid in [facts.launcher, 1] {
                if pid != nix::unistd::getppid().as_raw() {
                    tries.act("read its memory", read(Path::new(&format!("/proc/{pid}/environ"))));
                }
            }
            tries.act("end", Err::<(), _>(io::Error::other("through")));
        })
        .by_answer()
        .list(&[72])
        .control(Control::LeaksForRoot("the launcher's protection holds without layers as well, for all but root")),
    ]
}

fn inherited(facts: &Facts, tries: &mut Tries) {
    let _ = facts;
    for descriptor in 3..256 {
        let path = format!("/proc/self/fd/{descriptor}");
        let Ok(target) = fs::read_link(&path) else { continue };
        if !fs::metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            tries.report(&path, Ok(target.display()));
            continue;
        }
        let got = read(Path::new(&path)).map(|text| format!("{}: {text}", target.display()));
        tries.report(&path, got);
    }
    tries.act("end", Err::<(), _>(io::Error::other("no descriptor was open")));
}

/// What a decision came to: nothing wrong, or the first thing that is.
fn verdict(wrong: Vec<String>) -> Outcome {
    match wrong.first() {
        None => Outcome::Refused,
        Some(first) => Outcome::Leaked(first.clone()),
    }
}

fn environment(scene: &Scene<'_>) -> Outcome {
    let given = scene.plan.environment(scene.policy, &scene.world.session);
    let asked = |name: &str| scene.policy.environment.inherit.contains(name) || scene.policy.environment.set.contains_key(name);
    let wrong = given.iter().filter(|(name, value)| {
        (POISON.contains(&name.as_str()) && !asked(name))
            || !scene.world.secrets_in(value).iter().all(|what| asked(what.trim_start_matches("the variable ")))
    });
    verdict(wrong.map(|(name, _)| format!("{name} is handed on")).collect())
}

fn path(scene: &Scene<'_>) -> Outcome {
    let mut session = scene.world.session.clone();
    let usual = session.environment.get("PATH").cloned().unwrap_or_default();
    let workspace = session.workspace.display().to_string();
    session
        .environment
        .insert("PATH".to_owned(), format!("{workspace}/bin:.::{workspace}:/tmp/bin:{}/.local/bin:{usual}", session.home.display()));
    let given = scene.plan.environment(scene.policy, &session);
    let path = given.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone()).unwrap_or_default();
    let set_by_policy = scene.policy.environment.set.contains_key("PATH");
    let wrong =
        path.split(':').filter(|entry| !entry.starts_with('/') || (!set_by_policy && scene.allows(Path::new(entry), Access::Write)));
    let wrong = wrong.filter(|entry| {
        scene.plan.roots.iter().any(|root| root.access == RootAccess::Write && Path::new(entry).starts_with(&root.target))
            || !entry.starts_with('/')
    });
    verdict(wrong.map(|entry| format!("`{entry}` is on the PATH")).collect())
}

/// Writes policy files into a folder of their own and loads them as a session would.
fn load(chosen: &str, system: Option<&str>, project: Option<&str>) -> Result<Policy, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let write = |name: &str, text: Option<&str>| -> Result<Option<PathBuf>, String> {
        let Some(text) = text else { return Ok(None) };
        let path = folder.path().join(name);
        fs::write(&path, text).map_err(|error| error.to_string())?;
        Ok(Some(path))
    };
    let (system, project) = (write("system.toml", system)?, write("project.toml", project)?);
    let chosen = if chosen.contains('\n') {
        write("chosen.toml", Some(chosen))?.map(|path| path.display().to_string())
    } else {
        Some(chosen.to_owned())
    };
    policy::load(&policy::Search { chosen, system, user: None, project }).map_err(|error: PolicyError| error.to_string())
}

/// Of two policies, what the second lets a call do and the first does not.
fn wider(before: &Policy, after: &Policy, session: &Session) -> Vec<String> {
    let mut wider = Vec::new();
    let (one, other) = match (Plan::new(before, session), Plan::new(after, session)) {
        (Ok(one), Ok(other)) => (one, other),
        // A policy that cannot be carried out lets nothing run.
        (_, Err(_)) => return wider,
        (Err(error), Ok(_)) => return vec![format!("what was refused ({error}) can now be carried out")],
    };
    let covered = |plan: &Plan, root: &crate::sandbox::Root| {
        plan.roots
            .iter()
            .any(|known| root.target.starts_with(&known.target) && root.source.starts_with(&known.source) && known.access >= root.access)
    };
    // To see an empty private folder where there was nothing is nothing.
    let empty = |root: &crate::sandbox::Root| root.source != root.target && root.access == RootAccess::Read;
    wider.extend(
        other.roots.iter().filter(|root| !covered(&one, root) && !empty(root)).map(|root| format!("{} is granted", root.target.display())),
    );
    wider.extend(one.deny.iter().filter(|path| !other.deny.contains(path)).map(|path| format!("{} is denied no more", path.display())));
    wider.extend(
        one.protect.iter().filter(|path| !other.protect.contains(path)).map(|path| format!("{} is protected no more", path.display())),
    );
    let globs = |plan: &Plan| [plan.deny_globs.clone(), plan.protect_globs.clone()].concat();
    wider.extend(globs(&one).iter().filter(|glob| !globs(&other).contains(glob)).map(|glob| format!("{glob} is covered no more")));
    if other.network > one.network || other.git > one.git {
        wider.push("network or git are wider".to_owned());
    }
    let (a, b) = (&one.limits, &other.limits);
    if b.wall_ms > a.wall_ms || b.memory > a.memory || b.processes > a.processes || b.open_files > a.open_files || b.file_size > a.file_size
    {
        wider.push("a limit is higher".to_owned());
    }
    if after.ask < before.ask || after.limits.output > before.limits.output {
        wider.push("fewer questions, or more output".to_owned());
    }
    let fresh =
        after.environment.set.iter().filter(|(name, value)| before.environment.set.get(*name) != Some(*value)).map(|(name, _)| name);
    wider.extend(fresh.chain(after.environment.inherit.difference(&before.environment.inherit)).map(|name| format!("{name} is handed on")));
    let allows = |policy: &Policy| policy.commands.iter().filter(|rule| rule.decision == Decision::Allow).count();
    if allows(after) > allows(before) || before.commands.iter().any(|rule| !after.commands.contains(rule)) {
        wider.push("a rule over commands came or went".to_owned());
    }
    if !after.enforcement.require.is_superset(&before.enforcement.require) || after.enforcement.on_missing < before.enforcement.on_missing {
        wider.push("a layer is required no more".to_owned());
    }
    wider
}

/// Each asks for more in one place; the last for everything at once.
const GREEDY: [&str; 12] = [
    "[filesystem]\nread = [\"/\"]",
    "[filesystem]\nwrite = [\"/etc\", \"~/.ssh\", \"/tmp\", \"@workspace\", \"@home\", \"@tmp\"]",
    "[filesystem]\ndeny = []\nprotect = []",
    "[git]\nallow = \"full\"",
    "[network]\nmode = \"open\"",
    "[environment]\ninherit = [\"OPENAI_API_KEY\", \"LD_PRELOAD\", \"SSH_AUTH_SOCK\"]",
    "[environment]\nset = { LD_PRELOAD = \"./evil.so\", PATH = \"./bin\", PORTCULLIS_HOME = \".\" }",
    "[limits]\nwall = \"24h\"\nmemory = \"1TiB\"\nprocesses = 60000\nopen_files = 1000000\nfile_size = \"1TiB\"\noutput = \"64MiB\"",
    "[approval]\nask = \"when-needed\"",
    "[[command]]\nprefix = [\"git\"]\ndecision = \"allow\"\nwhy = \"x\"\nmatch = [\"git push\"]",
    "[enforcement]\nrequire = []\non_missing = \"degrade\"",
    "extends = \"networked\"",
];

fn project_widens(scene: &Scene<'_>) -> Outcome {
    let mut wrong = Vec::new();
    for preset in ["workspace-write", "read-only", "locked", "ci"] {
        let Ok(before) = policy::preset(preset) else { return Outcome::Untried(format!("there is no preset {preset}")) };
        for greedy in GREEDY {
            let text = format!("schema = 1\nname = \"project\"\n{greedy}\n");
            // An error stops the run, which lets nothing through either.
            if let Ok(after) = load(preset, None, Some(&text)) {
                wrong.extend(
                    wider(&before, &after, &scene.world.session)
                        .into_iter()
                        .map(|what| format!("{preset} with a repository's `{greedy}`: {what}")),
                );
            }
        }
    }
    verdict(wrong)
}

fn project_keys(_: &Scene<'_>) -> Outcome {
    let keys = [
        "[provider]\nurl = \"http://evil.example\"",
        "provider_url = \"http://evil.example\"",
        "model = \"evil\"",
        "[model]\nkey_env = \"X\"",
        "[proxy]\nurl = \"http://evil.example\"",
        "[network]\nproxy = \"http://evil.example\"",
        "[mcp.evil]\ncommand = [\"./evil\"]",
        "[[hook]]\ncommand = [\"./evil\"]",
        "[telemetry]\nendpoint = \"http://evil.example\"",
        "ca = \"./evil.pem\"",
        "sandbox = false",
        "[enforcement]\nenabled = false",
        "dangerously_disable_sandbox = true",
        "extends = \"./../../etc/evil.toml\"",
        "extends = \"/etc/passwd\"",
    ];
    let taken = keys.iter().filter(|key| load("workspace-write", None, Some(&format!("schema = 1\nname = \"p\"\n{key}\n"))).is_ok());
    verdict(taken.map(|key| format!("a repository's policy may say `{key}`")).collect())
}

fn bounds(scene: &Scene<'_>) -> Outcome {
    let system = "schema = 1\nname = \"machine\"\n[filesystem]\nwrite = [\"@tmp\"]\ndeny = [\"docs\"]\n[network]\nmode = \"none\"\n[limits]\nwall = \"1m\"\n";
    let mut wrong = Vec::new();
    for preset in ["workspace-write", "networked"] {
        let (Ok(bounded), Ok(alone)) = (load(preset, Some(system), None), policy::preset(preset)) else {
            return Outcome::Untried("the policies could not be loaded".to_owned());
        };
        wrong.extend(wider(&alone, &bounded, &scene.world.session));
        match Plan::new(&bounded, &scene.world.session) {
            Ok(plan) => {
                let written = plan.roots.iter().filter(|root| root.access == RootAccess::Write && root.target != Path::new("/tmp"));
                wrong.extend(written.map(|root| format!("{} is writable past the machine's policy", root.target.display())));
                if plan.network == NetworkMode::Open || plan.limits.wall_ms > 60_000 || !plan.deny.iter().any(|path| path.ends_with("docs"))
                {
                    wrong.push(format!("{preset} gets past the machine's policy"));
                }
            }
            Err(error) => return Outcome::Untried(error.to_string()),
        }
    }
    verdict(wrong)
}

fn empty_lists(scene: &Scene<'_>) -> Outcome {
    let mut wrong = Vec::new();
    for text in [
        "schema = 1\nname = \"e\"\n",
        "schema = 1\nname = \"e\"\n[filesystem]\nread = []\nwrite = []\n",
        "schema = 1\nname = \"e\"\n[network]\nmode = \"allowlist\"\nallow = []\n",
        "schema = 1\nname = \"e\"\n[network]\nmode = \"allowlist\"\n",
        "schema = 1\nname = \"e\"\n[network]\nallow = [\"example.org\"]\n",
        "schema = 1\nname = \"e\"\n[network]\n",
    ] {
        let Ok(policy) = load(text, None, None) else { continue };
        let Ok(plan) = Plan::new(&policy, &scene.world.session) else { continue };
        if plan.network == NetworkMode::Open {
            wrong.push(format!("`{text}` opens the network"));
        }
        let granted = plan.roots.iter().filter(|root| root.source == root.target);
        wrong.extend(granted.map(|root| format!("`{text}` grants {}", root.target.display())));
    }
    verdict(wrong)
}

fn broken_rules(_: &Scene<'_>) -> Outcome {
    let broken = [
        "[filesystem]\ndeny = [\"../secrets\"]",
        "[filesystem]\ndeny = [\"/etc/[a\"]",
        "[filesystem]\ndeny = [\"/srv/**/x\"]",
        "[filesystem]\ndeny = [\"!keep\"]",
        "[filesystem]\ndeny = [\"@no-such-group\"]",
        "[filesystem]\ndenny = [\"x\"]",
        "[network]\nmode = \"of\"",
        "[limits]\nwall = 5",
        "[[command]]\nprefix = []\ndecision = \"forbid\"\nwhy = \"x\"",
        "[[command]]\nprefix = [\"rm\"]\ndecision = \"forbid\"\nwhy = \"x\"\nmatch = [\"ls\"]",
        "[filesystem\ndeny = [\"x\"]",
    ];
    let taken = broken.iter().filter(|text| load("workspace-write", None, Some(&format!("schema = 1\nname = \"p\"\n{text}\n"))).is_ok());
    verdict(taken.map(|text| format!("`{text}` is taken")).collect())
}

fn ancestors(scene: &Scene<'_>) -> Outcome {
    let workspace = &scene.world.session.workspace;
    let Some(around) = workspace.parent() else { return Outcome::Untried("the workspace has no parent".to_owned()) };
    let text = format!("schema = 1\nname = \"e\"\nextends = \"workspace-write\"\n[filesystem]\ndeny = [\"{}\"]\n", around.display());
    match load(&text, None, None) {
        Err(_) => Outcome::Refused,
        Ok(policy) => {
            let anchors =
                policy::Anchors { workspace: workspace.clone(), home: scene.world.session.home.clone(), temporary: "/tmp".into() };
            let allowed = policy::judge_path(&policy, &anchors, &workspace.join("README.md"), Access::Read).allowed;
            let hidden =
                Plan::new(&policy, &scene.world.session).is_ok_and(|plan| plan.deny.iter().any(|path| workspace.starts_with(path)));
            if allowed || !hidden { Outcome::Leaked("a rule over the folders above is not applied".to_owned()) } else { Outcome::Refused }
        }
    }
}

fn layers(scene: &Scene<'_>) -> Outcome {
    let mut wrong = Vec::new();
    for (name, _) in policy::presets() {
        let Ok(policy) = policy::preset(name) else { return Outcome::Untried(format!("{name} cannot be loaded")) };
        let all = [Layer::Landlock, Layer::Seccomp, Layer::Namespaces];
        match Plan::new(&policy, &scene.world.session) {
            Ok(plan) => wrong.extend(all.iter().filter(|layer| !plan.applies(**layer)).map(|layer| format!("{name} runs without {layer}"))),
            Err(_) => continue,
        }
    }
    verdict(wrong)
}

fn roots(scene: &Scene<'_>) -> Outcome {
    // A plan is made of the policy and of the session's facts. Whatever a call says, and whatever else is in the environment, it stays.
    let mut session = scene.world.session.clone();
    for (name, value) in
        [("PWD", "/"), ("OLDPWD", "/etc"), ("HOME", "/"), ("TMPDIR", "/etc"), ("PORTCULLIS_POLICY", "/etc/x"), ("XDG_STATE_HOME", "/")]
    {
        session.environment.insert(name.to_owned(), value.to_owned());
    }
    match Plan::new(scene.policy, &session) {
        Ok(plan) => {
            let plan = Plan { layers: scene.plan.layers.clone(), ..plan };
            if plan == *scene.plan { Outcome::Refused } else { Outcome::Leaked("a variable changed what a call may touch".to_owned()) }
        }
        Err(error) => Outcome::Untried(error.to_string()),
    }
}

fn arguments(_: &Scene<'_>) -> Outcome {
    use crate::tools::registry::{definitions, parse};
    let mut wrong = Vec::new();
    let relaxing = [
        "dangerously_disable_sandbox",
        "dangerouslyDisableSandbox",
        "sandbox",
        "with_escalated_permissions",
        "policy",
        "roots",
        "write",
        "network",
        "env",
        "environment",
        "sandbox_permissions",
        "require_escalated",
    ];
    for tool in definitions() {
        if tool.parameters["additionalProperties"] != serde_json::Value::Bool(false) {
            wrong.push(format!("{} takes arguments that it does not know", tool.name));
        }
        for name in relaxing {
            if !tool.parameters["properties"][name].is_null() {
                wrong.push(format!("{} has an argument `{name}`", tool.name));
            }
            for base in [
                serde_json::json!({"command": "true"}),
                serde_json::json!({"path": "x"}),
                serde_json::json!({"pattern": "x"}),
                serde_json::json!({"patch": "x"}),
            ] {
                let mut arguments = base;
                arguments[name] = serde_json::Value::Bool(true);
                if parse(&tool.name, &arguments.to_string()).is_ok() {
                    wrong.push(format!("{} takes `{name}`", tool.name));
                }
            }
        }
    }
    verdict(wrong)
}

fn strictest(_: &Scene<'_>) -> Outcome {
    // Every order of every choice of up to three rules over one command, of longer and shorter prefixes.
    let decisions = [("allow", Decision::Allow), ("ask", Decision::Ask), ("forbid", Decision::Forbid)];
    let prefixes = ["\"git\"", "\"git\", \"push\"", "\"git\", \"push\", \"--force\""];
    let words: Vec<String> = ["git", "push", "--force"].map(str::to_owned).to_vec();
    let mut wrong = Vec::new();
    for (a, b, c) in (0..27).map(|number| (number / 9, number / 3 % 3, number % 3)) {
        let chosen = [decisions[a], decisions[b], decisions[c]];
        let rules: Vec<String> = chosen
            .iter()
            .zip(prefixes)
            .map(|((name, _), prefix)| format!("[[command]]\nprefix = [{prefix}]\ndecision = \"{name}\"\nwhy = \"x\"\n"))
            .collect();
        let text = format!("schema = 1\nname = \"e\"\n{}", rules.concat());
        let Ok(policy) = load(&text, None, None) else { return Outcome::Untried(format!("this is no policy: {text}")) };
        let expected = chosen.iter().map(|(_, decision)| *decision).max();
        if judge_command(&policy, &words).decision != expected {
            wrong.push(format!("of {chosen:?} another one won"));
        }
    }
    verdict(wrong)
}

fn one_decision(scene: &Scene<'_>) -> Outcome {
    // What the judge says of a place and what the plan grants there agree, for every place of the world.
    let session = &scene.world.session;
    let mut wrong = Vec::new();
    for listing in [scene.world.workspace(), scene.world.outside()] {
        for path in listing.0.keys() {
            let whole =
                [session.workspace.join(path), scene.world.at("").join(path)].into_iter().find(|path| path.symlink_metadata().is_ok());
            let Some(path) = whole.filter(|path| !path.starts_with(&session.home)) else { continue };
            let innermost = scene
                .plan
                .roots
                .iter()
                .filter(|root| path.starts_with(&root.target) && root.source == root.target)
                .max_by_key(|root| root.target.components().count());
            let denied = scene.plan.deny.iter().any(|denied| path.starts_with(denied));
            let written = innermost.is_some_and(|root| root.access == RootAccess::Write) && !denied;
            if scene.allows(&path, Access::Write) && !written && !path.starts_with("/tmp") {
                wrong.push(format!("{}: the check says writable, the plan does not", path.display()));
            }
            if scene.allows(&path, Access::Read) && innermost.is_none() && !path.starts_with("/tmp") {
                wrong.push(format!("{}: the check says readable, the plan does not", path.display()));
            }
        }
    }
    if scene.policy.git == GitAccess::None && scene.allows(&session.workspace.join(".git/index"), Access::Write) {
        wrong.push(".git: the check says writable, the policy does not".to_owned());
    }
    verdict(wrong)
}

fn private_folder(_: &Scene<'_>) -> Outcome {
    use std::os::unix::fs::MetadataExt;
    let (Ok(one), Ok(other)) = (private::make(), private::make()) else {
        return Outcome::Untried("no private folder could be made".to_owned());
    };
    let mut wrong = Vec::new();
    for folder in [&one, &other] {
        match fs::symlink_metadata(folder.path()) {
            Ok(metadata) if metadata.mode() & 0o077 == 0 && metadata.uid() == nix::unistd::geteuid().as_raw() => {}
            _ => wrong.push("a private folder is open to others".to_owned()),
        }
    }
    if one.path() == other.path() {
        wrong.push("two sessions have one private folder".to_owned());
    }
    verdict(wrong)
}

fn workspaces(scene: &Scene<'_>) -> Outcome {
    let refused =
        |workspace: &Path| Plan::new(scene.policy, &Session { workspace: workspace.to_path_buf(), ..scene.world.session.clone() }).is_err();
    let folders = ["/", "/etc", "/usr", "/var", "/tmp", "/home", "/proc", "/dev", "/boot", "/run"].map(PathBuf::from);
    // A home that is itself the workspace is a person's choice; one that merely lies in it is not.
    let around = scene.world.session.home.parent().map(Path::to_path_buf);
    let folders = folders.iter().filter(|folder| folder.as_path() != Path::new("/home")).chain(&around);
    verdict(folders.filter(|folder| !refused(folder)).map(|folder| format!("{} can be a workspace", folder.display())).collect())
}
