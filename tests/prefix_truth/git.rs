//! What the prefix says of git, and whether it is so.

use std::{
    fs,
    path::{Path, PathBuf},
};

use portcullis::policy::GitAccess;
use serde_json::{Value, json};

use super::{
    Report,
    files::{Granted, fails},
    world::{Plant, World, difference},
};

pub fn git(world: &World, text: &str, report: &mut Report) -> Result<(), String> {
    world.rebuild(Plant::Nothing);
    let writable = Granted::of(world)?.writable(&world.workspace().join(".git"));
    let condition = if writable { "" } else { " where the above makes .git writable" };
    let expected = match world.policy.git {
        GitAccess::None => "git: .git is read-only; status, log and diff work, commits do not.".to_owned(),
        GitAccess::Commit => format!(
            "git: commits and branches work{condition}; hooks, configuration and attributes in .git are read-only, and so is any repository inside the workspace's own."
        ),
        GitAccess::Full => format!(
            "git: commits work{condition}, and init and clone in writable folders of the workspace; hooks, configuration and attributes of its own .git are read-only, and so is any other repository that was there when a call started."
        ),
    };
    report.reads(text, &expected);
    let workspace = world.workspace();
    if !world.repository() {
        report.skip("there is no git");
        return Ok(());
    }
    // A repository inside the repository, with a commit of its own to come.
    let nested = workspace.join("src/nested");
    let copied = std::process::Command::new("cp").args(["-r"]).arg(workspace.join(".git")).arg(world.base().join("copy")).status();
    fs::create_dir(&nested).unwrap();
    report.must(copied.is_ok_and(|status| status.success()), || "cp failed".to_owned());
    fs::rename(world.base().join("copy"), nested.join(".git")).unwrap();
    fs::write(workspace.join("README"), "changed\n").unwrap();
    let before = world.snapshot();
    let git = |folder: &Path, arguments: &[&str]| {
        let mut request = vec![
            json!("run"),
            json!("git"),
            json!("-C"),
            json!(folder),
            json!("-c"),
            json!("user.name=Ada"),
            json!("-c"),
            json!("user.email=a@b.c"),
        ];
        request.extend(arguments.iter().map(|argument| json!(argument)));
        Value::Array(request)
    };
    let here = |arguments: &[&str]| git(&workspace, arguments);
    let answers = world.inside(&[here(&["status", "--porcelain", "README"]), here(&["log", "--format=%s"]), here(&["diff"])])?;
    let wanted = [" M README\n", "first\n", "+changed"];
    for (answer, wanted) in answers.iter().zip(wanted) {
        report.must(answer["code"] == 0 && answer["out"].as_str().unwrap().contains(wanted), || {
            format!("git should say {wanted:?}: {answer}")
        });
    }
    let commit = ["commit", "-qam", "second"];
    let works = |report: &mut Report, answers: &[Value], what: &str| {
        for (number, answer) in answers.iter().enumerate() {
            report.must(answer["code"] == 0, || format!("{what}, step {number}: {answer}"));
        }
    };
    if world.policy.git == GitAccess::None || !writable {
        let answers = world.inside(&[here(&commit), here(&["branch", "topic"]), here(&["config", "user.name", "x"])])?;
        report.must(answers.iter().all(|answer| answer["code"] != 0), || format!("commits are said not to work: {answers:?}"));
        let changed = difference(&before, &world.snapshot());
        report.must(changed.is_empty(), || format!("changed on the host: {changed:?}"));
        return Ok(());
    }
    let steps: [&[&str]; 8] = [
        &commit,
        &["switch", "-qc", "topic"],
        &["commit", "-q", "--allow-empty", "-m", "third"],
        &["switch", "-q", "main"],
        &["merge", "-q", "topic"],
        &["branch", "-d", "topic"],
        &["tag", "v1"],
        &["gc", "-q"],
    ];
    works(report, &world.inside(&steps.map(here))?, "commits and branches are said to work");
    let log = std::process::Command::new("git")
        .arg("-C")
        .arg(&workspace)
        .args(["log", "--format=%s"])
        .output()
        .map_err(|error| error.to_string())?;
    let log = String::from_utf8_lossy(&log.stdout).into_owned();
    report.must(log == "third\nsecond\nfirst\n", || format!("the host's log: {log:?}"));
    let kept = world.snapshot();
    let inside = |name: &str| workspace.join(".git").join(name);
    let mut requests = vec![
        here(&["config", "core.hooksPath", "/tmp"]),
        here(&["config", "--worktree", "core.fsmonitor", "x"]),
        git(&nested, &["commit", "-q", "--allow-empty", "-m", "nested"]),
    ];
    requests.extend(
        ["hooks/pre-commit", "info/attributes", "config.worktree", "commondir", "modules/a/config"]
            .map(|name| json!(["write", inside(name), "x"])),
    );
    requests.push(json!(["change", inside("config"), workspace]));
    requests.push(json!(["create", inside("hooks/post-checkout"), workspace]));
    let answers = world.inside(&requests)?;
    report.must(answers[..3].iter().all(|answer| answer["code"] != 0), || {
        format!("configuration and nested repositories: {:?}", &answers[..3])
    });
    report.must(answers[3..7].iter().all(fails), || format!("hooks and attributes: {:?}", &answers[3..]));
    report.must(answers[8..].iter().all(|answer| answer["did"] == json!([])), || format!("configuration: {:?}", &answers[8..]));
    let changed: Vec<PathBuf> =
        difference(&kept, &world.snapshot()).into_iter().filter(|path| !path.starts_with(inside("modules"))).collect();
    report.must(changed.is_empty(), || format!("changed on the host: {changed:?}"));
    if world.policy.git == GitAccess::Full {
        let (made, cloned) = (workspace.join("made"), workspace.join("cloned"));
        let name = |path: &Path| path.display().to_string();
        let requests = [
            here(&["init", "-q", &name(&made)]),
            git(&made, &["commit", "-q", "--allow-empty", "-m", "new"]),
            here(&["clone", "-q", ".", &name(&cloned)]),
            git(&cloned, &["commit", "-q", "--allow-empty", "-m", "new"]),
        ];
        works(report, &world.inside(&requests)?, "init and clone are said to work");
        let again = world.one(git(&made, &["commit", "-q", "--allow-empty", "-m", "again"]))?;
        report.must(again["code"] != 0, || format!("a repository that was there when the call started: {again}"));
    }
    Ok(())
}
