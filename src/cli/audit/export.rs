//! `portcullis audit export`: records for other programs, to standard output, a file, or a collector.

use std::{
    fs::{File, OpenOptions},
    io::{BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use clap::{Args, ValueEnum};

use super::select::FilterArguments;
use crate::{
    audit::{
        Keys,
        export::{
            Csv, Otlp, Signal, Tools,
            deliver::{Collector, DeliveryError},
            jsonl, ocsf,
        },
        filter::Filtering,
        ledger::{self, LedgerEvent},
        reading::{self, Entry, Line},
    },
    cli::{exit::Exit, output, report, resolve::Folders},
};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// A session's id or the first 8 of its characters, `last`, or a log's file [default: last].
    #[arg(value_name = "SESSION|FILE")]
    what: Option<String>,
    /// In which form.
    #[arg(long, value_name = "FORMAT")]
    format: Format,
    /// Where to: a file, or for OTLP the URL of a collector [default: standard output].
    #[arg(long, value_name = "FILE|URL")]
    to: Option<String>,
    #[command(flatten)]
    filter: FilterArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table for spreadsheets.
    Csv,
    /// Events of the Open Cybersecurity Schema Framework 1.3.0, one a line.
    Ocsf,
    /// OpenTelemetry logs and traces, JSON; posted to URL/v1/logs and URL/v1/traces.
    Otlp,
    /// The records as they were sealed; what a filter leaves out is erased in place, so that `audit verify` takes the export.
    Jsonl,
}

const EXAMPLES: &str = "\
Examples:
  portcullis audit export --format csv --to session.csv
  portcullis audit export last --format ocsf --denied
  portcullis audit export --format otlp --to http://127.0.0.1:4318

Headers for a collector are taken from OTEL_EXPORTER_OTLP_HEADERS. What does not arrive ends with exit code 1, and is entered into the ledger.";

/// Bytes that are gathered before they are written to standard output.
const BATCH: usize = 64 * 1024;

enum Sink {
    Output(String),
    File(PathBuf, BufWriter<File>),
    Collector(Box<Collector>, tokio::runtime::Runtime),
}

enum Form {
    Csv(Csv),
    Ocsf(Tools),
    Otlp(Otlp),
    Jsonl,
}

pub(super) fn run(arguments: &Arguments, folders: &Folders) -> Exit {
    match export(arguments, folders) {
        Ok(()) => Exit::Success,
        Err(exit) => exit,
    }
}

fn export(arguments: &Arguments, folders: &Folders) -> Result<(), Exit> {
    let usage = |error: &dyn std::fmt::Display| {
        report(error);
        Exit::Usage
    };
    let files = reading::find(&super::log_folder(folders), arguments.what.as_deref()).map_err(|error| usage(&error))?;
    let mut sink = open(arguments, folders)?;
    let filter = arguments.filter.filter();
    let mut filtering = Filtering::new(&filter);
    let mut form = match arguments.format {
        Format::Csv => Form::Csv(Csv::default()),
        Format::Ocsf => Form::Ocsf(Tools::default()),
        Format::Otlp => Form::Otlp(Otlp::default()),
        Format::Jsonl => Form::Jsonl,
    };
    let (mut ended, mut unreadable, mut session) = (Ok(()), 0_u64, String::new());
    files
        .read(|line| {
            match line {
                Line::Entry(entry) => {
                    session.clone_from(&entry.session);
                    ended = take(&mut form, &entry, filtering.wants(&entry), &mut sink);
                }
                Line::Unreadable { .. } => unreadable += 1,
            }
            ended.is_ok()
        })
        .map_err(|error| usage(&error))?;
    let finished = ended.and_then(|()| finish(&mut form, &mut sink));
    if unreadable > 0 {
        report(&format!("{unreadable} lines are no records and were left out; `portcullis audit verify` says what that means"));
    }
    finished.map_err(|failure| failed(failure, &sink, session, folders))
}

enum Failure {
    Exit(Exit),
    Write(std::io::Error),
    Delivery(DeliveryError),
}

fn open(arguments: &Arguments, folders: &Folders) -> Result<Sink, Exit> {
    let Some(to) = &arguments.to else { return Ok(Sink::Output(String::new())) };
    if to.contains("://") {
        if arguments.format != Format::Otlp {
            report(&"only --format otlp can be sent to a URL; name a file instead");
            return Err(Exit::Usage);
        }
        let headers = folders.environment.get("OTEL_EXPORTER_OTLP_HEADERS").map(String::as_str);
        let collector = Collector::new(to, headers).map_err(|error| {
            report(&error);
            Exit::Usage
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
            report(&error);
            Exit::Failure
        })?;
        return Ok(Sink::Collector(Box::new(collector), runtime));
    }
    // What a session did is nobody else's to read.
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to);
    file.map(|file| Sink::File(PathBuf::from(to), BufWriter::new(file))).map_err(|error| {
        report(&format!("the file {to} cannot be written: {error}"));
        Exit::Output
    })
}

fn take(form: &mut Form, entry: &Entry, wanted: bool, sink: &mut Sink) -> Result<(), Failure> {
    match form {
        // A span of a call needs the records around it, so that it is told of all of them.
        Form::Otlp(otlp) => send(sink, otlp.add(entry, wanted)),
        Form::Ocsf(tools) if !wanted => {
            tools.note(entry);
            Ok(())
        }
        Form::Jsonl => write(sink, &jsonl(entry, wanted)),
        _ if !wanted => Ok(()),
        Form::Csv(csv) => write(sink, &csv.row(entry)),
        Form::Ocsf(tools) => write(sink, &ocsf(entry, tools)),
    }
}

fn finish(form: &mut Form, sink: &mut Sink) -> Result<(), Failure> {
    match form {
        Form::Otlp(otlp) => send(sink, otlp.finish())?,
        Form::Csv(csv) => write(sink, &csv.header())?,
        Form::Ocsf(_) | Form::Jsonl => {}
    }
    match sink {
        Sink::Output(text) => output::print(text).map_err(Failure::Exit),
        Sink::File(_, file) => file.flush().map_err(Failure::Write),
        Sink::Collector(..) => Ok(()),
    }
}

fn write(sink: &mut Sink, more: &str) -> Result<(), Failure> {
    match sink {
        Sink::Output(text) => {
            text.push_str(more);
            if text.len() >= BATCH {
                output::print(text).map_err(Failure::Exit)?;
                text.clear();
            }
            Ok(())
        }
        Sink::File(_, file) => file.write_all(more.as_bytes()).map_err(Failure::Write),
        Sink::Collector(..) => Ok(()),
    }
}

fn send(sink: &mut Sink, requests: Vec<(Signal, String)>) -> Result<(), Failure> {
    for (signal, request) in requests {
        match sink {
            Sink::Collector(collector, runtime) => runtime.block_on(collector.post(signal, request)).map_err(Failure::Delivery)?,
            // The form of OTLP in files: one request a line.
            _ => write(sink, &(request + "\n"))?,
        }
    }
    Ok(())
}

/// Says what went wrong; of an export that did not arrive the ledger tells as well.
fn failed(failure: Failure, sink: &Sink, session: String, folders: &Folders) -> Exit {
    match (failure, sink) {
        (Failure::Exit(exit), _) => exit,
        (Failure::Write(error), Sink::File(path, _)) => {
            report(&format!("the file {} cannot be written: {error}", path.display()));
            Exit::Output
        }
        (Failure::Write(error), _) => {
            report(&error);
            Exit::Output
        }
        (Failure::Delivery(error), sink) => {
            let target = match sink {
                Sink::Collector(collector, _) => collector.address().to_owned(),
                Sink::Output(_) | Sink::File(..) => String::new(),
            };
            report(&format!("the export to {target} failed: {error}"));
            // Both may come from a log and a collector that are anything but friendly.
            let short = |text: String| text.chars().take(500).collect::<String>();
            let event = LedgerEvent::DeliveryFailed { session: short(session), target: short(target), error: short(error.to_string()) };
            let entered = Keys::of(&folders.state)
                .current()
                .map_err(|error| error.to_string())
                .and_then(|key| ledger::enter(&super::log_folder(folders), &key, event).map_err(|error| error.to_string()));
            if let Err(error) = entered {
                report(&format!("and that could not be entered into the ledger: {error}"));
            }
            Exit::Failure
        }
    }
}
