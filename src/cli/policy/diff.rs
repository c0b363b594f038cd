//! `portcullis policy diff`: what a second policy lets calls do that a first does not, and the other way round.

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::Args;

use super::refuse;
use crate::{
    cli::{
        exit::Exit,
        output, report,
        resolve::{self, Folders},
    },
    policy::{Anchors, Judge, Policy, load},
    sandbox::plan::INSIDE_TMP,
    tools::{
        diff::{Difference, Direction, Side, diff},
        verdict,
    },
    ui::{
        self,
        sanitize::visible_line,
        style::{Paint, Tone},
        table::{Cell, Table},
    },
};

/// For `--help`.
pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  portcullis policy diff workspace-write networked
  portcullis policy diff old.toml .portcullis/policy.toml
  portcullis policy diff locked                            # from `locked` to what is in force here
  git show main:policy.toml > /tmp/main.toml && portcullis policy diff /tmp/main.toml policy.toml

Each difference has a witness, which the two judge differently. A policy by itself is compared, without the files that bound it.
Ends with 0 if the second lets calls do nothing more than the first, and with 1 if it lets them do more.";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The first policy: a preset's name, or a file.
    #[arg(value_name = "BEFORE")]
    before: String,
    /// The second [default: the one in force here].
    #[arg(value_name = "AFTER")]
    after: Option<String>,
    /// The workspace [default: the repository around the current folder, else that folder].
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    match compare(arguments) {
        Ok(exit) | Err(exit) => exit,
    }
}

fn compare(arguments: &Arguments) -> Result<Exit, Exit> {
    let folders = Folders::from_environment();
    let said = |error: resolve::ResolveError| {
        report(&error);
        error.exit()
    };
    // A difference can be asked for anywhere: nothing is run in the workspace.
    let workspace = arguments.workspace.as_deref().unwrap_or(Path::new("."));
    let (workspace, _) = resolve::find_workspace(Some(workspace), &folders.home).map_err(said)?;
    let alone = |name: &str| load::alone(name).map_err(|error| refuse(&error, Path::new(name)));
    let before = alone(&arguments.before)?;
    let after = match &arguments.after {
        Some(name) => alone(name)?,
        None => resolve::load_policy(None, &workspace, &folders).map_err(|error| said(error.into()))?,
    };
    let anchors = Anchors { workspace, home: folders.home.clone(), temporary: PathBuf::from(INSIDE_TMP) };
    let path = folders.environment.get("PATH").cloned().unwrap_or_default();
    let rules = |policy: &Policy| verdict::rules(policy, &Judge::new(policy, &anchors), &anchors.workspace, &path, Vec::new(), policy.ask);
    let (first, second) = (rules(&before), rules(&after));
    let differences = diff(Side { policy: &before, rules: &first }, Side { policy: &after, rules: &second }, &anchors);
    let printed = if arguments.json { json(&before, &after, &differences) } else { text(&before, &after, &differences) };
    output::print(&printed)?;
    let gained = differences.iter().any(|difference| difference.direction == Direction::Gained);
    Ok(if gained { Exit::Failure } else { Exit::Success })
}

fn json(before: &Policy, after: &Policy, differences: &[Difference]) -> String {
    let side = |policy: &Policy| serde_json::json!({"name": policy.name, "fingerprint": policy.fingerprint()});
    format!("{}\n", serde_json::json!({"v": 1, "before": side(before), "after": side(after), "differences": differences}))
}

fn text(before: &Policy, after: &Policy, differences: &[Difference]) -> String {
    let paint = Paint::of(&io::stdout());
    let side = |policy: &Policy| format!("{} (sha256:{})", visible_line(&policy.name), policy.fingerprint());
    let mut out = format!("from {}\nto   {}\n", side(before), side(after));
    let mut counts = Vec::new();
    for (direction, word, tone) in
        [(Direction::Gained, "gained", Tone::Bad), (Direction::Lost, "lost", Tone::Good), (Direction::Changed, "changed", Tone::Caution)]
    {
        let of_it: Vec<&Difference> = differences.iter().filter(|difference| difference.direction == direction).collect();
        counts.push(format!("{} {word}", of_it.len()));
        if of_it.is_empty() {
            continue;
        }
        out.push_str(&format!("\n{}\n", paint.text(tone, word)));
        let mut table = Table::new(2);
        for difference in of_it {
            let Difference { topic, what, witness, before, after, .. } = difference;
            let said = format!("{what}: {} -> {}", before.word, after.word);
            table.row([topic.name().into(), Cell::new(Tone::Strong, &said)]);
            let by = match [&before.by, &after.by].map(|by| by.as_deref().unwrap_or_default()) {
                [was, is] if was == is => was.to_owned(),
                both => both.join(" -> "),
            };
            let witness = witness.as_ref().filter(|witness| *witness != what).map(|witness| format!("e.g. {witness}"));
            let detail: Vec<String> = witness.into_iter().chain((!by.is_empty()).then_some(by)).collect();
            if !detail.is_empty() {
                table.row([Cell::from(""), Cell::new(Tone::Faint, &detail.join("; "))]);
            }
        }
        out.push_str(&table.render(ui::width(), paint));
    }
    out.push_str(&format!("\n{}\n", counts.join(", ")));
    out
}
