//! Whole sessions with the scripted model, for what the agent and not the sandbox keeps.

use std::sync::atomic::{AtomicU64, Ordering};

use portcullis::{
    approval::{Judgement, judge},
    model::scripted::{Script, ScriptedModel, Turn},
    policy::{Ask, Decision},
    tools::{capture::Capture, registry},
};
use serde_json::{Value, json};

use super::{
    Report,
    said::{self, between},
    world::{Plant, SECRET, World, run},
};

/// What came of a session's calls.
pub struct Session {
    /// Whether the policy asks before every call, so that none without a rule of its own ran.
    pub asks: bool,
    pub outputs: Vec<String>,
    pub statuses: Vec<String>,
}

impl World {
    /// Runs shell commands as the calls of one session.
    pub fn session(&self, commands: &[&str]) -> Result<Session, String> {
        let calls = commands
            .iter()
            .map(|command| Turn::call("shell", &json!({"command": command, "workdir": null, "timeout_ms": null}).to_string()));
        self.calls(calls.collect())
    }

    pub fn calls(&self, turns: Vec<Turn>) -> Result<Session, String> {
        let wanted = turns.len();
        let model = ScriptedModel::start(Script::new(turns)).map_err(|error| error.to_string())?;
        let mut command = self.portcullis("exec");
        command.args(["--json", "--key-env", "HARMLESS", "--provider-url", &model.base_url(), "Do it."]);
        let ran = run(command, "");
        let finished: Vec<Value> = ran
            .out
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|event: &Value| event["type"] == "call.finished")
            .collect();
        if finished.len() != wanted {
            return Err(format!("{} of {wanted} calls were answered (exit code {}): {}\n{}", finished.len(), ran.code, ran.out, ran.err));
        }
        let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        Ok(Session {
            asks: self.policy.ask == Ask::Always,
            outputs: finished.iter().map(|event| text(event, "output")).collect(),
            statuses: finished.iter().map(|event| text(event, "status")).collect(),
        })
    }
}

pub fn output(world: &World, text: &str, report: &mut Report) -> Result<(), String> {
    let limit = said::size(between(text, "Of a call's output, ", " is kept.")?)?;
    report.must(limit == world.policy.limits.output, || format!("the policy has {}", world.policy.limits.output));
    world.rebuild(Plant::Nothing);
    let (half, over) = (limit / 2, 4321);
    let write = |bytes: u64, letter: char| format!("head -c {bytes} /dev/zero | tr '\\0' {letter}");
    // Half of it on standard error: the limit is on both together.
    let exactly = format!("{}; {} >&2", write(half, 'a'), write(limit - half, 'b'));
    let too_much = format!("{}; {} >&2; {}", write(half, 'c'), write(over, 'x'), write(limit - half, 'd'));
    let session = world.session(&[&exactly, &too_much])?;
    if session.asks {
        // No call can write anything, so what would keep its output is looked at by itself.
        let mut capture = Capture::new(limit);
        capture.push(&vec![b'a'; usize::try_from(limit + over).unwrap()]);
        let kept = capture.text().chars().filter(|c| *c == 'a').count() as u64;
        // The words that mark the gap hold one of that letter.
        report.must(capture.gap() == over && kept.abs_diff(limit) <= 1, || format!("{kept} of {} bytes are kept", limit + over));
        return Ok(());
    }
    // The model sees a shortened view; where all that was kept lies, the view says.
    let whole = |number: usize, output: &str| match output.split_once(" can be read at ") {
        Some((_, rest)) => {
            let path = rest.split(' ').next().unwrap_or_default();
            report_path(path, number)
        }
        None => Ok(None),
    };
    let paths: Result<Vec<_>, String> = session.outputs.iter().enumerate().map(|(number, output)| whole(number, output)).collect();
    let paths = paths?;
    let counts = |text: &str| {
        let of = |letter: char| text.chars().filter(|c| *c == letter).count() as u64;
        [of('a') + of('b'), of('c') + of('d')]
    };
    let (kept, dropped) = if paths.iter().all(Option::is_some) {
        // The kept file goes with the session, so it is looked at from inside the same session.
        let count = |path: &str, letters: &str| format!("tr -cd {letters} < {path} | wc -c");
        let [first, second] = [paths[0].clone().unwrap(), paths[1].clone().unwrap()];
        let gap = format!("grep -ao '[0-9]* bytes were not kept' {second}");
        let session = world.session(&[&exactly, &too_much, &count(&first, "ab"), &count(&second, "cd"), &gap])?;
        let number = |text: &str| text.lines().find_map(|line| line.trim().parse::<u64>().ok()).unwrap_or(0);
        ([number(&session.outputs[2]), number(&session.outputs[3])], session.outputs[4].clone())
    } else {
        // The words around the output hold some of these letters as well; the long runs do not.
        let runs = |text: &str| text.split(|c: char| !"abcd".contains(c)).filter(|run| run.len() > 100).collect::<String>();
        ([counts(&runs(&session.outputs[0]))[0], counts(&runs(&session.outputs[1]))[1]], session.outputs[1].clone())
    };
    report.must(kept[0] == limit, || format!("of {limit} bytes, {} are kept", kept[0]));
    report.must(kept[1].abs_diff(limit) <= over && kept[1] <= limit, || format!("of {} bytes, {} are kept", limit + over, kept[1]));
    report.must(dropped.contains(&format!("{over} bytes were not kept")), || {
        format!("it should say that {over} bytes are missing: {dropped:.300}")
    });
    Ok(())
}

fn report_path(path: &str, number: usize) -> Result<Option<String>, String> {
    let expected = format!("/run/portcullis/outputs/{number}.txt");
    if path == expected { Ok(Some(expected)) } else { Err(format!("output {number} is kept at {path:?}")) }
}

pub fn lifetime(world: &World, text: &str, report: &mut Report) -> Result<(), String> {
    static MARKS: AtomicU64 = AtomicU64::new(1);
    report
        .reads(text, "Processes end with the call that started them; what shell was told to run in the background ends with the session.");
    world.rebuild(Plant::Nothing);
    // No other process on this machine has this number of seconds.
    let seconds = 1000 + u64::from(std::process::id()) * 100 + MARKS.fetch_add(1, Ordering::Relaxed);
    let sleep = format!("sleep {seconds}.25");
    let stubborn =
        format!("(trap '' HUP TERM INT; setsid {sleep} & setsid sh -c \"trap '' TERM; {sleep}; :\" & nohup {sleep} >/dev/null 2>&1 &)");
    let running = || {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        entries
            .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
            .filter(|line| String::from_utf8_lossy(line).contains(&format!("{seconds}.25")))
            .count()
    };
    // Its streams are inherited: were any of them alive, this would wait for the end of the sleep.
    let ran = world.sandbox(&["sh", "-c", &format!("{stubborn}; sleep 0.2; echo started")], "");
    report.must(ran.out == "started\n" && ran.took.as_secs() < 60, || format!("{ran:?}"));
    report.must(running() == 0, || format!("{} processes of the call are alive after it", running()));
    let session = world.session(&[
        &format!("{stubborn}; sleep 0.2; ls /proc | grep -c '^[0-9]'"),
        "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done",
    ])?;
    if !session.asks {
        report.must(!session.outputs[1].contains(&format!("{seconds}.25")), || format!("the next call sees them: {}", session.outputs[1]));
    }
    report.must(running() == 0, || "processes of a session's call are alive after it".to_owned());
    Ok(())
}

pub fn commands(world: &World, text: &str, report: &mut Report) -> Result<(), String> {
    world.rebuild(Plant::Nothing);
    let (asks, forbids) = match text.split_once("Never run: ") {
        Some((asks, forbids)) => (asks.trim_end(), between(forbids, "", ".")?),
        None => (text, ""),
    };
    let start = if world.policy.ask == Ask::Never {
        "Refused, because they would have to ask: "
    } else {
        "A person is asked before, and where none can be asked it is refused: "
    };
    let asks = if asks.is_empty() { "" } else { between(asks, start, ".")? };
    let mut all = Vec::new();
    for (list, decision) in [(asks, Decision::Ask), (forbids, Decision::Forbid)] {
        let rules: Vec<String> = {
            let mut all: Vec<String> =
                world.policy.commands.iter().filter(|rule| rule.decision == decision).map(|rule| rule.prefix.join(" ")).collect();
            all.sort();
            all.dedup();
            all
        };
        let (mut named, mut more) = (Vec::new(), 0);
        for entry in said::split(list, ", ").into_iter().filter(|entry| !entry.is_empty()) {
            match entry.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
                Some(prefix) => named.push(prefix.to_owned()),
                None => {
                    more = entry
                        .strip_suffix(" more")
                        .and_then(|number| number.parse().ok())
                        .ok_or_else(|| format!("{entry:?} cannot be read"))?
                }
            }
        }
        report.must(named.iter().all(|prefix| rules.contains(prefix)) && named.len() + more == rules.len(), || {
            format!("{list:?} is not {rules:?}")
        });
        for prefix in &rules {
            for command in [prefix.clone(), format!("cd src && {prefix} now"), format!("{prefix}; true")] {
                // A prefix may be part of a stricter rule as well.
                let right = match judge(&world.policy, &command) {
                    Judgement::Forbid { .. } => true,
                    Judgement::Ask { .. } => decision == Decision::Ask,
                    Judgement::Allow { .. } => false,
                };
                report.must(right, || format!("`{command}` is said to be {decision:?}"));
            }
        }
        all.extend(rules);
    }
    let attempts: Vec<String> = all.iter().map(|prefix| format!("touch src/ran; {prefix} --help; echo it ran")).collect();
    let session = world.session(&attempts.iter().map(String::as_str).collect::<Vec<_>>())?;
    for (number, prefix) in all.iter().enumerate() {
        let (status, output) = (&session.statuses[number], &session.outputs[number]);
        report
            .must(status == "refused" && output.starts_with("Refused: ") && !output.contains("it ran"), || format!("`{prefix}`: {output}"));
    }
    report.must(!world.workspace().join("src/ran").exists(), || "one of them ran".to_owned());
    let other = judge(&world.policy, "true");
    let allowed = matches!(other, Judgement::Allow { .. });
    report.must(allowed == (world.policy.ask != Ask::Always), || format!("`true`: {other:?}"));
    Ok(())
}

pub fn ask(world: &World, text: &str, report: &mut Report) -> Result<(), String> {
    let of = |decision| world.policy.commands.iter().filter(move |rule| rule.decision == decision).map(|rule| rule.prefix.join(" "));
    let judges = of(Decision::Ask).chain(of(Decision::Forbid)).next().is_some();
    let mut allowed: Vec<String> = of(Decision::Allow).map(|prefix| format!("`{prefix}`")).collect();
    allowed.sort();
    let beyond = "a shell command of more than 16KiB, 50 simple commands or 16 levels of nesting";
    let expected = match world.policy.ask {
        Ask::WhenNeeded if judges => format!("Other calls run without asking, but {beyond} asks."),
        Ask::WhenNeeded => "Other calls run without asking.".to_owned(),
        Ask::Always if allowed.is_empty() => {
            "A person is asked before every call but update_plan; where none can be asked it is refused.".to_owned()
        }
        Ask::Always => format!(
            "A person is asked before every call but update_plan and plain shell commands (no redirection to a file, no variables, no expansions) \
             that begin with one of: {}; where none can be asked it is refused.",
            allowed.join(", ")
        ),
        Ask::Never if judges => format!("Nobody can be asked: what would ask is refused with the reason, and so is {beyond}."),
        Ask::Never => "Nobody can be asked: what would ask is refused with the reason.".to_owned(),
    };
    report.reads(text, &expected);
    world.rebuild(Plant::Nothing);
    let mut turns = vec![
        Turn::call("shell", &json!({"command": "echo it ran", "workdir": null, "timeout_ms": null}).to_string()),
        Turn::call("read_file", &json!({"path": "README", "offset": null, "limit": null}).to_string()),
    ];
    let allowed = world.policy.commands.iter().find(|rule| rule.decision == Decision::Allow).map(|rule| rule.prefix.join(" "));
    if let Some(prefix) = &allowed {
        turns.push(Turn::call("shell", &json!({"command": format!("{prefix} it ran"), "workdir": null, "timeout_ms": null}).to_string()));
    }
    let session = world.calls(turns)?;
    let ran = [session.outputs[0].contains("it ran"), session.outputs[1].contains("read me")];
    if session.asks {
        report.must(ran == [false, false], || format!("nobody was asked: {:?}", session.outputs));
        if let Some(prefix) = &allowed {
            report.must(session.statuses[2] == "ok" && session.outputs[2].contains("it"), || {
                format!("a rule that allows: {:?}", session.outputs)
            });
            // With a file to write, a variable or an expansion it is not that plain command any more.
            let other = [format!("{prefix} it ran > src/ran"), format!("A=1 {prefix} it ran"), format!("{prefix} \"$(echo it ran)\"")];
            let session = world.session(&other.iter().map(String::as_str).collect::<Vec<_>>())?;
            report.must(session.statuses.iter().all(|status| status == "refused"), || format!("not plain: {:?}", session.outputs));
        }
        let plan = world.calls(vec![Turn::call("update_plan", &json!({"plan": [{"step": "look", "status": "pending"}]}).to_string())])?;
        report.must(plan.statuses[0] == "ok", || format!("update_plan: {:?}", plan.outputs));
    } else {
        report.must(ran == [true, true], || format!("nobody needs to be asked: {:?}", session.outputs));
    }
    if judges {
        let [within, beyond] = [49, 50].map(|count| format!("{}echo it ran", "true; ".repeat(count)));
        let session = world.session(&[&within, &beyond])?;
        let ran = [session.outputs[0].contains("it ran"), session.outputs[1].contains("it ran")];
        report.must(ran == [!session.asks, false], || format!("fifty commands and one more: {:?}", session.outputs));
        report.must(session.statuses[1] == "refused", || format!("one more: {:?}", session.statuses));
    }
    if world.policy.ask == Ask::Never
        && let Some(rule) = world.policy.commands.iter().find(|rule| rule.decision == Decision::Ask)
    {
        let session = world.session(&[&rule.prefix.join(" ")])?;
        report.must(session.outputs[0].starts_with("Refused: ") && session.outputs[0].contains(&rule.why), || {
            format!("the reason: {:?}", session.outputs)
        });
    }
    Ok(())
}

pub fn no_escalation(world: &World, text: &str, report: &mut Report) -> Result<(), String> {
    report.reads(text, "Nothing turns the sandbox off, and no argument of a call widens it.");
    fn properties(schema: &Value, found: &mut Vec<String>) {
        if let Some(map) = schema["properties"].as_object() {
            found.extend(map.keys().cloned());
            map.values().for_each(|schema| properties(schema, found));
        }
        if schema.get("items").is_some() {
            properties(&schema["items"], found);
        }
    }
    const WIDENING: [&str; 18] = [
        "sandbox",
        "polic",
        "permission",
        "privileg",
        "escalat",
        "unconfined",
        "network",
        "allow",
        "approv",
        "ask",
        "grant",
        "root",
        "mount",
        "user",
        "environment",
        "env_",
        "limit_",
        "justif",
    ];
    for tool in registry::definitions() {
        let mut names = Vec::new();
        properties(&tool.parameters, &mut names);
        for name in &names {
            report.must(!WIDENING.iter().any(|word| name.to_lowercase().contains(word)), || format!("{} takes `{name}`", tool.name));
        }
        // Every argument that can name a place or a program, at its boldest, and one that the schema does not have.
        let refused = registry::parse(&tool.name, r#"{"sandbox":"off","with_escalated_permissions":true}"#);
        report.must(refused.is_err(), || format!("{} takes what its schema does not have", tool.name));
    }
    world.rebuild(Plant::Nothing);
    let outside = world.base().join("outside");
    let secret = outside.join("file");
    // What lies in the workspace, and what the environment holds (see `World::environment`), is no switch.
    for name in [".env.portcullis", "portcullis.toml", ".portcullisrc", "policy.toml"] {
        std::fs::write(world.workspace().join(name), "sandbox = \"off\"\nPORTCULLIS_POLICY=networked\nPORTCULLIS_SANDBOX=off\n").unwrap();
    }
    let shell = |command: String, workdir: Value, timeout: Value| {
        Turn::call("shell", &json!({"command": command, "workdir": workdir, "timeout_ms": timeout}).to_string())
    };
    let session = world.calls(vec![
        shell(format!("cat {}", secret.display()), json!(outside), Value::Null),
        shell("cat file".to_owned(), json!("../../outside"), Value::Null),
        shell(format!("PORTCULLIS_SANDBOX=off PORTCULLIS_POLICY=networked cat {}", secret.display()), Value::Null, json!(u64::MAX)),
        Turn::call("read_file", &json!({"path": secret, "offset": null, "limit": null}).to_string()),
        Turn::call("list_dir", &json!({"path": outside, "depth": 5}).to_string()),
        Turn::call(
            "search",
            &json!({"pattern": "SECRET", "path": outside, "glob": null, "case_insensitive": null, "context": null, "files_only": null})
                .to_string(),
        ),
        Turn::call(
            "apply_patch",
            &json!({"patch": format!("*** Begin Patch\n*** Add File: {}\n+x\n*** End Patch\n", outside.join("new").display())}).to_string(),
        ),
        Turn::call("apply_patch", &json!({"patch": "*** Begin Patch\n*** Add File: ../../outside/new\n+x\n*** End Patch\n"}).to_string()),
    ])?;
    for (number, output) in session.outputs.iter().enumerate() {
        report.must(!output.contains(SECRET) && session.statuses[number] != "ok", || {
            format!("call {number} reached what is outside: {output}")
        });
    }
    report.must(!outside.join("new").exists(), || "a patch reached what is outside".to_owned());
    let direct = world.sandbox(&["cat", &secret.display().to_string()], "");
    report.must(direct.code != 0 && !direct.out.contains(SECRET), || format!("{direct:?}"));
    Ok(())
}

pub fn refusal(world: &World, text: &str, report: &mut Report) -> Result<(), String> {
    let words = between(
        text,
        "A refusal shows as ",
        ", a network error or a note that names the rule; a place that is not readable may look absent. Do not try to get round it: say what you need and why.",
    )?;
    let words: Vec<&str> = words.split('"').skip(1).step_by(2).collect();
    world.rebuild(Plant::Repository);
    world.plant(&world.home().join(".ssh"), Plant::Folders, SECRET);
    world.plant(&world.workspace().join(".env"), Plant::Files, SECRET);
    world.plant(&world.workspace().join(".vscode"), Plant::Folders, "{}");
    let outside = world.base().join("outside");
    let attempts = [
        "cat ~/.ssh/inside".to_owned(),
        "ls ~/.ssh".to_owned(),
        format!("cat {}", world.home().join(".ssh/inside").display()),
        "cat .env".to_owned(),
        "cat /etc/shadow".to_owned(),
        format!("cat {}", outside.join("file").display()),
        format!("echo x > {}", outside.join("new").display()),
        "echo x > /etc/portcullis-probe".to_owned(),
        "touch /usr/portcullis-probe".to_owned(),
        "echo x > .vscode/settings.json".to_owned(),
        "rm -rf .vscode".to_owned(),
        "mv .vscode away".to_owned(),
        "echo x > .git/hooks/pre-commit".to_owned(),
        "git config core.hooksPath /tmp".to_owned(),
        "python3 -c 'import os; os.chroot(\".\")'".to_owned(),
        "unshare -r true".to_owned(),
        "chmod u+s README".to_owned(),
        "echo x > /proc/sys/kernel/hostname".to_owned(),
    ];
    let session = world.session(&attempts.iter().map(String::as_str).collect::<Vec<_>>())?;
    for ((attempt, output), status) in attempts.iter().zip(&session.outputs).zip(&session.statuses) {
        let shows = words.iter().any(|word| output.to_lowercase().contains(&word.to_lowercase()))
            || output.contains("No such file or directory")
            || output.contains("[portcullis]")
            || output.starts_with("Refused: ");
        // Where a policy allows one of these, there is no refusal to be shown.
        report.must(shows || status == "ok" || output.contains("not found"), || {
            format!("`{attempt}` was refused with other words: {output}")
        });
    }
    // Each of the words is one that refusals really use.
    let shown = session.outputs.join("\n");
    for word in words {
        let needed = !session.asks && (world.policy.filesystem.protect.len() > 5 || word == "Permission denied");
        report.must(!needed || shown.contains(word), || format!("no refusal showed as {word:?}"));
    }
    Ok(())
}
