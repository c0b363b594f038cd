//! `portcullis audit report`: what sessions did, as text, JSON, or a page.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Args;

use super::{report_text, select::moment};
use crate::{
    approval::Store,
    audit::{
        Keys, ledger,
        reading::{self, SessionFiles},
        report::{Collector, LiveGrant, Report, VERSION, html},
        verify::{Trust, Verdict, verify_ledger, verify_log},
    },
    cli::{exit::Exit, output, report, resolve::Folders},
    ui::style::Paint,
};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// Sessions by id or the first 8 of its characters, `last`, or logs' files [default: last].
    #[arg(value_name = "SESSION|FILE")]
    what: Vec<String>,
    /// All sessions that began then or later: a time, a day, or how long ago, such as 7d.
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "what")]
    since: Option<SystemTime>,
    /// Write one self-contained page to this file.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    html: Option<PathBuf>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  portcullis audit report
  portcullis audit report --html report.html
  portcullis audit report --since 7d --json | jq '.sessions[].denials'
  portcullis audit report 01a21a81

The page has no script and loads nothing; whatever a log holds is only text in it.";

/// The most sessions of one report.
const SESSIONS: usize = 200;

pub(super) fn run(arguments: &Arguments, folders: &Folders) -> Exit {
    match make(arguments, folders).and_then(|report| deliver(arguments, &report)) {
        Ok(()) => Exit::Success,
        Err(exit) => exit,
    }
}

fn deliver(arguments: &Arguments, made: &Report) -> Result<(), Exit> {
    let Some(path) = &arguments.html else {
        let text = if arguments.json {
            serde_json::to_string(made).unwrap_or_default() + "\n"
        } else {
            report_text::text(made, Paint::of(&io::stdout()))
        };
        return output::print(&text);
    };
    // What a session did is nobody else's to read.
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(html::page(made).as_bytes())).map_err(|error| {
        report(&format!("the page {} cannot be written: {error}", path.display()));
        Exit::Output
    })
}

fn make(arguments: &Arguments, folders: &Folders) -> Result<Report, Exit> {
    let usage = |error: &dyn std::fmt::Display| {
        report(error);
        Exit::Usage
    };
    let folder = super::log_folder(folders);
    let mut chosen: Vec<SessionFiles> = if let Some(since) = arguments.since {
        let began = |session: &SessionFiles| {
            let id = uuid::Uuid::try_parse(&session.name).ok()?.get_timestamp()?;
            let (seconds, nanoseconds) = id.to_unix();
            UNIX_EPOCH.checked_add(std::time::Duration::new(seconds, nanoseconds))
        };
        reading::sessions(&folder).into_iter().filter(|session| began(session).is_none_or(|at| at >= since)).collect()
    } else if arguments.what.is_empty() {
        vec![reading::find(&folder, None).map_err(|error| usage(&error))?]
    } else {
        arguments.what.iter().map(|what| reading::find(&folder, Some(what))).collect::<Result<_, _>>().map_err(|error| usage(&error))?
    };
    if chosen.len() > SESSIONS {
        report(&format!("{} sessions are more than one report takes; it is about the last {SESSIONS}", chosen.len()));
        chosen.truncate(SESSIONS);
    }
    let mut sessions = Vec::new();
    for files in &chosen {
        let mut collector = Collector::default();
        files
            .read(|line| {
                collector.add(&line);
                true
            })
            .map_err(|error| usage(&error))?;
        let mut session = collector.finish();
        session.verdict = verdict(files, folders);
        sessions.push(session);
    }
    sessions.sort_by(|one, other| one.began.cmp(&other.began));
    let now = SystemTime::now();
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
    let stored = Store::new(&folders.state).load().map_err(|error| {
        report(&error);
        Exit::Output
    })?;
    let used = |id: &str| {
        let grants = sessions.iter().flat_map(|session| &session.grants.items).filter(|grant| grant.grant == id);
        grants.fold((0, None), |(uses, last), grant| (uses + grant.uses, last.max(grant.last_used.clone())))
    };
    let grants = stored.into_iter().map(|grant| {
        let (uses, last_used) = used(&grant.id);
        LiveGrant { expired: seconds >= grant.ends, uses, last_used, grant }
    });
    let grants = grants.collect();
    Ok(Report { v: VERSION, made: humantime::format_rfc3339_seconds(now).to_string(), sessions, grants })
}

/// As `audit verify` gives it with this user's keys; none where the log cannot be read that way.
fn verdict(files: &SessionFiles, folders: &Folders) -> Option<Verdict> {
    let trust = Trust { keys: Some(Keys::of(&folders.state)), public: Vec::new() };
    let folder = super::log_folder(folders);
    let here = files.parts.first().is_some_and(|part| part.parent() == Some(&folder));
    if !here {
        return verify_log(&files.parts, None, &trust, None).ok();
    }
    let known = if ledger::exists(&folder) { verify_ledger(&folder, &trust, None).ok()?.1 } else { Default::default() };
    verify_log(&files.parts, Some(&files.name), &trust, known.get(&files.name)).ok()
}
