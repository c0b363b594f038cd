//! `portcullis audit verify`: the verdicts, for people and as JSON.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;

use crate::{
    audit::{
        Keys,
        verify::{FolderVerdict, Integrity, Trust, Verdict, VerifyError, verify_folder, verify_ledger, verify_log},
    },
    cli::{exit::Exit, output, report, resolve::Folders},
    ui::{
        sanitize::visible_line,
        style::{Paint, Tone},
    },
};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// A session's id or the first 8 of its characters, `last`, a log's file, or a folder of logs [default: all logs of this user, and the ledger].
    #[arg(value_name = "SESSION|FILE|FOLDER")]
    what: Option<String>,
    /// The folder with the keys [default: this user's].
    #[arg(long, value_name = "FOLDER")]
    keys: Option<PathBuf>,
    /// A public key to trust, as `audit key show` prints it; no secret is needed then.
    #[arg(long, value_name = "HEX")]
    public: Vec<String>,
    /// A head of the ledger that was kept elsewhere, as `audit head` prints it.
    #[arg(long, value_name = "COUNT:HEX", value_parser = anchor)]
    anchor: Option<(u64, String)>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  portcullis audit verify
  portcullis audit verify last --json
  portcullis audit verify --anchor 2:a99f7e0aecea536ae74bb55234841852a50565cbe8969bfb6789581996c9285c
  portcullis audit verify /evidence/log --public 03b1…

Two verdicts: `intact` says that what is there is what was written, `complete` that nothing is missing.
Exit code: 0 intact and complete, 8 intact or unproven and something is missing or unproven, 9 something was changed.";

fn anchor(text: &str) -> Result<(u64, String), String> {
    let parts = text.split_once(':').and_then(|(count, head)| Some((count.parse().ok()?, head.to_owned())));
    parts.filter(|(_, head)| head.len() == 64).ok_or_else(|| "it is a number, a colon, and 64 hexadecimal digits".to_owned())
}

pub(super) fn run(arguments: &Arguments, folders: &Folders) -> Exit {
    match verdict(arguments, folders) {
        Ok(verdict) => {
            let text = if arguments.json { json(&verdict) } else { text(&verdict, Paint::of(&io::stdout())) };
            output::print(&text).err().unwrap_or_else(|| exit(&verdict))
        }
        Err(exit) => exit,
    }
}

fn verdict(arguments: &Arguments, folders: &Folders) -> Result<FolderVerdict, Exit> {
    let keys = match &arguments.keys {
        Some(folder) => Keys::in_folder(folder),
        None => Keys::of(&folders.state),
    };
    let trust = Trust { keys: Some(keys), public: arguments.public.clone() };
    let failed = |error: VerifyError| {
        report(&error);
        Exit::Usage
    };
    let folder = super::log_folder(folders);
    let Some(what) = &arguments.what else {
        return verify_folder(&folder, &trust, arguments.anchor.as_ref()).map_err(failed);
    };
    let path = Path::new(what);
    if fs::metadata(path).is_ok_and(|found| found.is_dir()) {
        return verify_folder(path, &trust, arguments.anchor.as_ref()).map_err(failed);
    }
    let log = super::log(what, folders)?;
    if log.is_named_by_path() {
        let verdict = verify_log(&log.parts, None, &trust, None).map_err(failed)?;
        return Ok(FolderVerdict { ledger: None, sessions: vec![verdict], findings: Vec::new() });
    }
    let known = if crate::audit::ledger::exists(&folder) {
        verify_ledger(&folder, &trust, arguments.anchor.as_ref()).map_err(failed)?.1
    } else {
        Default::default()
    };
    let verdict = verify_log(&log.parts, Some(&log.name), &trust, known.get(&log.name)).map_err(failed)?;
    Ok(FolderVerdict { ledger: None, sessions: vec![verdict], findings: Vec::new() })
}

fn exit(verdict: &FolderVerdict) -> Exit {
    match (verdict.integrity(), verdict.complete()) {
        (Integrity::Broken, _) => Exit::Tampered,
        (Integrity::Intact, true) => Exit::Success,
        _ => Exit::Incomplete,
    }
}

fn json(verdict: &FolderVerdict) -> String {
    let object = serde_json::json!({
        "v": 1,
        "integrity": verdict.integrity(),
        "complete": verdict.complete(),
        "ledger": verdict.ledger,
        "sessions": verdict.sessions,
        "findings": verdict.findings,
    });
    format!("{object}\n")
}

fn text(verdict: &FolderVerdict, paint: Paint) -> String {
    let mut out = String::new();
    for log in verdict.ledger.iter().chain(&verdict.sessions) {
        out.push_str(&log_text(log, paint));
    }
    for finding in &verdict.findings {
        out.push_str(&format!("  {}\n", paint.text(Tone::Bad, &visible_line(&finding.text))));
    }
    if verdict.sessions.is_empty() && verdict.findings.is_empty() {
        out.push_str("There are no logs here.\n");
    } else if verdict.sessions.len() + usize::from(verdict.ledger.is_some()) > 1 || !verdict.findings.is_empty() {
        let logs = if verdict.sessions.len() == 1 { "one log".to_owned() } else { format!("{} logs", verdict.sessions.len()) };
        out.push_str(&format!("{logs}: {}\n", words(verdict.integrity(), verdict.complete(), paint)));
    }
    out
}

fn log_text(log: &Verdict, paint: Paint) -> String {
    let mut out = format!("{}  {} records  {}\n", visible_line(&log.session), log.records, words(log.integrity, log.complete, paint));
    for finding in &log.findings {
        let tone = if finding.kind.breaks_integrity() {
            Tone::Bad
        } else if finding.kind.breaks_completeness() {
            Tone::Caution
        } else {
            Tone::Faint
        };
        let line = if finding.line > 0 { format!("line {}: ", finding.line) } else { String::new() };
        out.push_str(&format!("  {line}{}\n", paint.text(tone, &visible_line(&finding.text))));
    }
    if log.more_findings > 0 {
        out.push_str(&format!("  and {} findings more\n", log.more_findings));
    }
    out
}

fn words(integrity: Integrity, complete: bool, paint: Paint) -> String {
    let integrity = match integrity {
        Integrity::Intact => paint.text(Tone::Good, "intact"),
        Integrity::Unproven => paint.text(Tone::Caution, "unproven"),
        Integrity::Broken => paint.text(Tone::Bad, "CHANGED"),
    };
    let complete = if complete { paint.text(Tone::Good, "complete") } else { paint.text(Tone::Caution, "INCOMPLETE") };
    format!("{integrity}, {complete}")
}
