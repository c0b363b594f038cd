//! `portcullis policy lint`: what is legal in a policy and yet probably a mistake.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    super::resolve::Folders,
    machine::{Machine, NOWHERE},
    refuse, sarif,
};
use crate::{
    cli::{exit::Exit, output, report, resolve},
    policy::{
        Policy,
        error::Source,
        lint::{self, Finding, Report, Severity},
        load,
    },
    ui::{
        self,
        sanitize::visible_line,
        style::{Paint, Tone},
        table,
    },
};

/// The version of what `--json` prints.
const VERSION: u32 = 1;

/// What was asked for.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// A preset's name, or a file (a path with a slash, or ending in .toml), by itself [default: the policy in force here, of all its files].
    #[arg(value_name = "NAME|FILE")]
    policy: Option<String>,
    /// The workspace that relative places are looked for in [default: the repository around the current folder, else that folder].
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Print one JSON object instead of text.
    #[arg(long, conflicts_with = "sarif")]
    json: bool,
    /// Print SARIF 2.1.0, for what shows findings in a review.
    #[arg(long)]
    sarif: bool,
}

/// For `--help`.
pub(in crate::cli) fn help() -> String {
    let rules = lint::RULES.iter().map(|rule| format!("  {} ({})\n      {}", rule.id, rule.severity.word(), rule.help));
    format!("{EXAMPLES}\n\nRules:\n{}", rules.collect::<Vec<_>>().join("\n"))
}

const EXAMPLES: &str = "\
Examples:
  portcullis policy lint
  portcullis policy lint .portcullis/policy.toml
  portcullis policy lint --json | jq '.findings[] | select(.severity == \"error\")'
  portcullis policy lint mine.toml --sarif > lint.sarif

A comment on the line of a finding, or on the line above, accepts it if it says why:
  write = [\"/srv/cache\"]  # lint: allow missing-path because only the build machines have it
On the line of `extends` it accepts what is found in the files that are extended.

Ends with 0 if nothing is a warning or worse, with 1 if something is, with 2 if there is no such policy, and with 3 if it has an error.";

/// A policy, the files that it is made of, and where it holds.
struct Linted {
    policy: Policy,
    sources: Vec<Source>,
    workspace: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let folders = Folders::from_environment();
    let linted = match read(arguments, &folders) {
        Ok(linted) => linted,
        Err(exit) => return exit,
    };
    let machine = Machine::new(linted.workspace.as_deref(), &folders);
    let found = lint::lint(&linted.policy, &linted.sources, &machine);
    let text = if arguments.sarif {
        pretty(&sarif::log(&found, linted.workspace.as_deref().unwrap_or(Path::new(NOWHERE))))
    } else if arguments.json {
        pretty(&object(&linted.policy, &found))
    } else {
        page(&linted.policy, &found, ui::width(), Paint::of(&io::stdout()))
    };
    match output::print(&text) {
        Err(exit) => exit,
        Ok(()) if found.reaches(Severity::Warning) => Exit::Failure,
        Ok(()) => Exit::Success,
    }
}

fn read(arguments: &Arguments, folders: &Folders) -> Result<Linted, Exit> {
    let failed = |error: resolve::ResolveError| {
        report(&error);
        error.exit()
    };
    let named = arguments.workspace.as_deref();
    let Some(name) = &arguments.policy else {
        let (workspace, _) = resolve::find_workspace(named, &folders.home).map_err(failed)?;
        let policy = resolve::load_policy(None, &workspace, folders).map_err(|error| failed(error.into()))?;
        let sources = load::sources(&policy).map_err(|error| failed(error.into()))?;
        return Ok(Linted { policy, sources, workspace: Some(workspace) });
    };
    let refused = |error| refuse(&error, Path::new(name));
    let policy = load::alone(name).map_err(refused)?;
    let sources = load::written(name).map_err(refused)?;
    // A file is a file wherever one stands, and no policy is meant for a workspace that holds the home folder.
    let workspace = match (named, resolve::find_workspace(named, &folders.home)) {
        (Some(_), Err(error)) => return Err(failed(error)),
        (None, Err(_)) => None,
        (named, Ok((workspace, _))) => Some(workspace).filter(|workspace| named.is_some() || !folders.home.starts_with(workspace)),
    };
    Ok(Linted { policy, sources, workspace })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn entry(finding: &Finding, reason: Option<&str>) -> Value {
    let mut entry = json!({
        "rule": finding.rule.id,
        "severity": finding.severity.word(),
        "file": finding.origin.file,
        "line": finding.origin.line,
        "problem": finding.problem,
        "advice": finding.advice,
    });
    if let (Some(reason), Some(entry)) = (reason, entry.as_object_mut()) {
        entry.insert("reason".to_owned(), reason.into());
    }
    entry
}

fn object(policy: &Policy, found: &Report) -> Value {
    json!({
        "v": VERSION,
        "policy": policy.name,
        "fingerprint": policy.fingerprint(),
        "findings": found.findings.iter().map(|finding| entry(finding, None)).collect::<Vec<_>>(),
        "accepted": found.accepted.iter().map(|(finding, reason)| entry(finding, Some(reason))).collect::<Vec<_>>(),
    })
}

fn page(policy: &Policy, found: &Report, width: usize, paint: Paint) -> String {
    let mut text = String::new();
    for finding in &found.findings {
        let tone = match finding.severity {
            Severity::Error => Tone::Bad,
            Severity::Warning => Tone::Caution,
            Severity::Note => Tone::Accent,
        };
        let at = visible_line(&format!("{}:{}", finding.origin.file, finding.origin.line));
        let (word, rule) = (paint.text(tone, finding.severity.word()), paint.text(Tone::Faint, &format!("[{}]", finding.rule.id)));
        text.push_str(&format!("{}: {word} {rule}\n", paint.text(Tone::Strong, &at)));
        for (sentence, tone) in [(&finding.problem, Tone::Plain), (&finding.advice, Tone::Faint)] {
            for line in table::fold(&visible_line(sentence), width.saturating_sub(4)) {
                text.push_str(&format!("    {}\n", paint.text(tone, &line)));
            }
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&format!("{}: {}\n", visible_line(&policy.name), tally(found)));
    text
}

/// `1 error, 2 warnings, 1 note; 2 accepted`.
fn tally(found: &Report) -> String {
    let count = |severity| found.findings.iter().filter(|finding| finding.severity == severity).count();
    let counted = [Severity::Error, Severity::Warning, Severity::Note].map(|severity| (count(severity), severity.word()));
    let parts: Vec<String> = counted
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{number} {word}{}", if *number == 1 { "" } else { "s" }))
        .collect();
    let parts = if parts.is_empty() { "no findings".to_owned() } else { parts.join(", ") };
    match found.accepted.len() {
        0 => parts,
        accepted => format!("{parts}; {accepted} accepted"),
    }
}
