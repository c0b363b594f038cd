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
            "git: commits and branches work{condition}, in submodules, worktrees and repositories inside the workspace too; hooks, configuration and attributes of each are read-only, and what a call makes of them in a new one is taken out of effect when it ends."
        ),
        GitAccess::Full => format!(
            "git: commits work{condition}, and init and clone in writable folders of the workspace; hooks, configuration and attributes of each repository are read-only, and what a call makes of them in a new one is taken out of effect when it ends."
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
        git(&nested, &["config", "core.hooksPath", "/tmp"]),
    ];
    requests
        .extend(["hooks/pre-commit", "info/attributes", "config.worktree", "commondir"].map(|name| json!(["write", inside(name), "x"])));
    requests.push(json!(["change", inside("config"), workspace]));
    requests.push(json!(["create", inside("hooks/post-checkout"), workspace]));
    let answers = world.inside(&requests)?;
    report.must(answers[..3].iter().all(|answer| answer["code"] != 0), || format!("configuration: {:?}", &answers[..3]));
    report.must(answers[3..6].iter().all(fails), || format!("hooks and attributes: {:?}", &answers[3..]));
    report.must(answers[7..].iter().all(|answer| answer["did"] == json!([])), || format!("configuration: {:?}", &answers[7..]));
    let changed: Vec<PathBuf> = difference(&kept, &world.snapshot());
    report.must(changed.is_empty(), || format!("changed on the host: {changed:?}"));
    let linked = workspace.join("linked");
    let within = |folder: &Path| git(folder, &["commit", "-q", "--allow-empty", "-m", "within"]);
    let added = [here(&["worktree", "add", "-q", "-b", "linked", &linked.display().to_string()]), within(&linked), within(&nested)];
    works(report, &world.inside(&added)?, "commits are said to work in worktrees and repositories inside");
    let planted = [
        json!(["write", workspace.join("linked/new"), "x"]),
        here(&["init", "-q", &workspace.join("planted").display().to_string()]),
        json!(["write", workspace.join("planted/.git/hooks/pre-commit"), "x"]),
        git(&workspace.join("planted"), &["config", "core.fsmonitor", "x"]),
    ];
    let written = world.inside(&planted[..1])?;
    report.must(written[0]["ok"] == true, || format!("a worktree of an earlier call can be written: {written:?}"));
    world.inside(&planted[1..])?;
    let made = |name: &str| fs::read_to_string(workspace.join("planted/.git").join(name)).unwrap_or_default();
    report.must(made("hooks/pre-commit").is_empty(), || "a hook was left in a new repository".to_owned());
    report.must(made("config").contains("bare") && !made("config").contains("fsmonitor"), || made("config"));
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
        works(report, &[again], "a repository of an earlier call can be worked in");
    }
    Ok(())
}
