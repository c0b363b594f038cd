//! `portcullis audit`: what was recorded, whether it is whole, and what it says.

mod export;
mod keep;
mod report;
mod report_text;
mod select;
mod show;
mod verify;

use std::path::PathBuf;

use clap::Subcommand;

use super::{exit::Exit, output, report as say, resolve::Folders};
use crate::audit::{
    reading::{self, SessionFiles},
    schema,
};

/// For `--help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  portcullis audit verify
  portcullis audit verify last
  portcullis audit verify /backup/log --public 6f0a…
  portcullis audit show last --denied
  portcullis audit report --html report.html
  portcullis audit export --format otlp --to http://127.0.0.1:4318
  portcullis audit head
  portcullis audit key show
  portcullis audit erase last 12 13
  portcullis audit hold last --reason \"incident 12\"
  portcullis audit prune --older-than 90d --dry-run

A log is one JSON record a line, in the state folder (~/.local/state/portcullis/log, or $PORTCULLIS_HOME/log). SESSION is an id or the first 8 of its
characters, or `last`.";

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Say whether logs are what was written, and whether they are all of it.
    Verify(verify::Arguments),
    /// Show a log as a time line that can be filtered.
    Show(show::Arguments),
    /// Say what sessions did, who allowed it, what was refused, and by what: as text, as JSON, or as a page.
    Report(report::Arguments),
    /// Hand records to other programs: CSV, OCSF, OpenTelemetry, or as they are.
    Export(export::Arguments),
    /// Print the head of the ledger, to be kept elsewhere: `verify --anchor` finds out whether what is here still comes to it.
    #[command(after_help = "Examples:\n  portcullis audit head")]
    Head,
    /// Show or change the key that seals and signs logs.
    #[command(subcommand, after_help = "Examples:\n  portcullis audit key show\n  portcullis audit key rotate")]
    Key(keep::KeyCommand),
    /// Erase what single records say; their seals stay, so that the log verifies as before.
    #[command(after_help = "Examples:\n  portcullis audit erase last 12 13")]
    Erase {
        /// The session's id, or `last`.
        session: String,
        /// The records, by their numbers.
        #[arg(required = true)]
        records: Vec<u64>,
    },
    /// Keep a log whole, whatever is pruned or erased, until it is released; the ledger says why. Without a session it lists those that are held.
    #[command(after_help = "Examples:\n  portcullis audit hold last --reason \"incident 12\"\n  portcullis audit hold")]
    Hold {
        /// The session's id, or `last`.
        #[arg(requires = "reason")]
        session: Option<String>,
        /// Why, in a few words.
        #[arg(long, value_name = "TEXT", requires = "session")]
        reason: Option<String>,
    },
    /// Let a log that was held go when its time comes.
    #[command(after_help = "Examples:\n  portcullis audit release last")]
    Release {
        /// The session's id, or `last`.
        session: String,
    },
    /// Take away logs that nobody has written to for long; the ledger says which.
    #[command(after_help = "Examples:\n  portcullis audit prune --older-than 90d --dry-run\n  portcullis audit prune --older-than 90d")]
    Prune {
        /// For how long.
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        older_than: std::time::Duration,
        /// Only say what would go.
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the JSON Schema of a record.
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema,
}

const SCHEMA_EXAMPLES: &str = "\
Examples:
  portcullis audit schema > record.schema.json
  portcullis audit schema | jq '.\"$id\"'

Every line of a log of a session is such a record. Ends with 0.";

/// Does it.
pub(super) fn run(command: &AuditCommand) -> Exit {
    let folders = Folders::from_environment();
    match command {
        AuditCommand::Verify(arguments) => verify::run(arguments, &folders),
        AuditCommand::Show(arguments) => show::run(arguments, &folders),
        AuditCommand::Report(arguments) => report::run(arguments, &folders),
        AuditCommand::Export(arguments) => export::run(arguments, &folders),
        AuditCommand::Schema => output::print(&format!("{:#}\n", schema::record())).err().unwrap_or(Exit::Success),
        AuditCommand::Head => keep::head(&folders),
        AuditCommand::Key(command) => keep::key(command, &folders),
        AuditCommand::Erase { session, records } => keep::erase(session, records, &folders),
        AuditCommand::Hold { session, reason } => keep::hold(session.as_deref().zip(reason.as_deref()), &folders),
        AuditCommand::Release { session } => keep::release(session, &folders),
        AuditCommand::Prune { older_than, dry_run } => keep::prune(*older_than, *dry_run, &folders),
    }
}

/// The folder with all logs.
fn log_folder(folders: &Folders) -> PathBuf {
    folders.state.join("log")
}

/// The log that is meant, by an id or its beginning, `last`, or a file.
fn log(named: &str, folders: &Folders) -> Result<SessionFiles, Exit> {
    reading::find(&log_folder(folders), Some(named)).map_err(|error| {
        say(&error);
        Exit::Usage
    })
}
