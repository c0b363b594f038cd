//! `portcullis policy replay`: the verdicts of a recorded session under another policy.

use std::{io, path::PathBuf};

use clap::Args;

use crate::{
    audit::reading::{Line, find},
    cli::{
        exit::Exit,
        output, report,
        resolve::{self, Folders},
    },
    policy::Judge,
    tools::{
        replay::{Candidate, Replayed, Word},
        verdict,
    },
    ui::{
        sanitize::visible_line,
        style::{Paint, Tone},
    },
};

/// For `--help`.
pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  portcullis policy replay last --with read-only
  portcullis policy replay 01a21e8e --with ./stricter.toml --json

What relative paths start from is the workspace; links that were on the way cannot be told from a record. Programs are judged by their words: what
they would have been refused on the way shows only where a refusal was recorded.
Ends with 0 if no verdict would change, and with 1 if one would.";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// A session's id or its beginning, `last`, or a log's file.
    #[arg(value_name = "SESSION|FILE")]
    log: String,
    /// The policy to judge by: a preset's name, or a file.
    #[arg(long, value_name = "NAME|FILE")]
    with: String,
    /// The workspace [default: the repository around the current folder, else that folder].
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let folders = Folders::from_environment();
    let resolved = match resolve::resolve_or_report(arguments.workspace.as_deref(), Some(&arguments.with), &folders) {
        Ok(resolved) => resolved,
        Err(exit) => return exit,
    };
    let session = &resolved.session;
    let judge = Judge::new(&resolved.policy, &session.anchors());
    let rules = verdict::rules(&resolved.policy, &judge, &session.workspace, &resolved.search_path(), Vec::new(), resolved.policy.ask);
    let candidate = Candidate { policy: &resolved.policy, rules, judge, workspace: &session.workspace, home: &session.home };
    let (mut replayed, mut unreadable) = (Replayed::default(), 0_u64);
    let read = find(&folders.state.join("log"), Some(&arguments.log)).and_then(|files| {
        files.read(|line| {
            match line {
                Line::Entry(entry) => entry.event.iter().for_each(|event| candidate.take(event, &mut replayed)),
                Line::Unreadable { .. } => unreadable += 1,
            }
            true
        })
    });
    if let Err(error) = read {
        report(&error);
        return Exit::Usage;
    }
    replayed.finish();
    if unreadable > 0 {
        report(&format!("{unreadable} lines of the log are no records; `portcullis audit verify` says more"));
    }
    let printed = if arguments.json { json(&replayed, &resolved.policy.fingerprint()) } else { text(&replayed, &resolved.policy.name) };
    match output::print(&printed) {
        Err(exit) => exit,
        Ok(()) if replayed.changes.is_empty() => Exit::Success,
        Ok(()) => Exit::Failure,
    }
}

fn json(replayed: &Replayed, fingerprint: &str) -> String {
    let Replayed { calls, changes, untold, .. } = replayed;
    format!("{}\n", serde_json::json!({"v": 1, "fingerprint": fingerprint, "calls": calls, "changes": changes, "untold": untold}))
}

fn text(replayed: &Replayed, policy: &str) -> String {
    let paint = Paint::of(&io::stdout());
    let word = |word: Word| match word {
        Word::Allow => paint.text(Tone::Good, "allowed"),
        Word::Ask => paint.text(Tone::Caution, "asked"),
        Word::Forbid => paint.text(Tone::Bad, "forbidden"),
        Word::Denied => paint.text(Tone::Bad, "refused by the sandbox"),
    };
    let mut out = String::new();
    for change in &replayed.changes {
        let tool = if change.tool.is_empty() { String::new() } else { format!("{}  ", visible_line(&change.tool)) };
        out.push_str(&format!("{tool}{}\n", visible_line(&change.what)));
        out.push_str(&format!("  was       {}  {}\n", word(change.was), visible_line(&change.by)));
        out.push_str(&format!("  would be  {}  {}\n", word(change.would_be), visible_line(&change.because)));
    }
    for (call, why) in &replayed.untold {
        out.push_str(&format!("call {}: cannot be told: {}\n", visible_line(call), visible_line(why)));
    }
    let changes = match replayed.changes.len() {
        0 => "no verdict would change".to_owned(),
        1 => "one verdict would change".to_owned(),
        many => format!("{many} verdicts would change"),
    };
    out.push_str(&format!("{} calls under {}: {changes}\n", replayed.calls, visible_line(policy)));
    out
}
