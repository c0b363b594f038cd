//! `portcullis audit show`: a log as a time line.

use std::io;

use clap::Args;

use super::select::FilterArguments;
use crate::{
    audit::{
        filter::Filtering,
        reading::{self, Entry, Line, ReadingError},
        sentence::{Mood, sentence},
    },
    cli::{exit::Exit, output, report, resolve::Folders},
    ui::{
        sanitize::visible,
        style::{Paint, Tone},
    },
};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// A session's id or the first 8 of its characters, `last`, or a log's file [default: last].
    #[arg(value_name = "SESSION|FILE")]
    what: Option<String>,
    #[command(flatten)]
    filter: FilterArguments,
    /// Print the records as they are, one JSON object a line.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  portcullis audit show
  portcullis audit show last --denied
  portcullis audit show 01a21a81 --tool shell --path /etc
  portcullis audit show --event question --event answer --json | jq .waited_ms

Lines that are no record, and records that were erased, are shown as such and counted.";

/// Bytes that are gathered before they are written.
const BATCH: usize = 32 * 1024;
/// Columns before what a record says: the time and the event.
const INDENT: usize = 29;

pub(super) fn run(arguments: &Arguments, folders: &Folders) -> Exit {
    match show(arguments, folders) {
        Ok(()) => Exit::Success,
        Err(exit) => exit,
    }
}

fn show(arguments: &Arguments, folders: &Folders) -> Result<(), Exit> {
    let failed = |error: ReadingError| {
        report(&error);
        Exit::Usage
    };
    let files = reading::find(&super::log_folder(folders), arguments.what.as_deref()).map_err(failed)?;
    let filter = arguments.filter.filter();
    let (mut filtering, paint) = (Filtering::new(&filter), Paint::of(&io::stdout()));
    let (mut out, mut ended) = (String::new(), None);
    let (mut shown, mut unreadable, mut session) = (0_u64, 0_u64, String::new());
    files
        .read(|line| {
            match line {
                Line::Entry(entry) => {
                    if !filtering.wants(&entry) {
                        return true;
                    }
                    shown += 1;
                    if arguments.json {
                        out.push_str(&entry.line);
                        out.push('\n');
                    } else {
                        if entry.session != session {
                            session.clone_from(&entry.session);
                            out.push_str(&paint.text(Tone::Strong, &format!("session {}\n", visible(&session))));
                        }
                        push(&mut out, &entry, paint);
                    }
                }
                Line::Unreadable { number, bytes, why } => {
                    unreadable += 1;
                    if !arguments.json && filter.is_empty() {
                        let text = format!("line {number} ({bytes} bytes) is no record: {}\n", visible(&why));
                        out.push_str(&paint.text(Tone::Bad, &text));
                    }
                }
            }
            if out.len() < BATCH {
                return true;
            }
            ended = output::print(&out).err();
            out.clear();
            ended.is_none()
        })
        .map_err(failed)?;
    if let Some(exit) = ended {
        return Err(exit);
    }
    output::print(&out)?;
    if unreadable > 0 {
        report(&format!("{unreadable} lines are no records; `portcullis audit verify` says what that means"));
    }
    if shown == 0 && unreadable == 0 {
        report(&"no record is like that");
    }
    Ok(())
}

/// How a mood looks on a terminal.
pub(super) const fn tone(mood: Mood) -> Tone {
    match mood {
        Mood::Plain => Tone::Plain,
        Mood::Good => Tone::Good,
        Mood::Caution => Tone::Caution,
        Mood::Bad => Tone::Bad,
        Mood::Faint => Tone::Faint,
    }
}

fn push(out: &mut String, entry: &Entry, paint: Paint) {
    let said = sentence(entry);
    // The day is the same for nearly all of them; `--json` has the whole time.
    let time = visible(entry.time.get(11..23).unwrap_or(&entry.time));
    let what: String = visible(&said.what).replace('\n', "^J").chars().take(14).collect();
    out.push_str(&format!("{}  {}  ", paint.text(Tone::Faint, &format!("{time:12}")), paint.text(tone(said.mood), &format!("{what:14}"))));
    let indent = format!("\n{:INDENT$} ", "");
    out.push_str(&visible(&said.text).replace('\n', &indent));
    for (mood, line) in &said.more {
        out.push_str(&indent);
        out.push_str(&paint.text(tone(*mood), &visible(line).replace('\n', &indent)));
    }
    out.push('\n');
}
