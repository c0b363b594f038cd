//! Logs read line by line, whatever is in them. A line that is no record, an event that this program does not know, and a record that was
//! erased are told apart and handed on; none of them ends the reading. Memory stays at one line.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    line::{self, Bytes},
    record::Event,
    verify,
};

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadingError {
    /// The system says no.
    #[error("the log {path} cannot be read: {source}", path = path.display())]
    System {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No session has this name.
    #[error("there is no log of a session `{named}` in {folder}; `portcullis audit show` without a name shows the last", folder = folder.display())]
    Unknown {
        /// As it was typed.
        named: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// There is no log at all.
    #[error("there is no log in {folder} yet; a session writes one, and so does `portcullis demo`", folder = folder.display())]
    None {
        /// Where it was looked for.
        folder: PathBuf,
    },
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// A record.
    Entry(Box<Entry>),
    /// Something else.
    Unreadable {
        /// Its number in the file, from 1.
        number: u64,
        /// Its length in bytes, without the line feed.
        bytes: u64,
        /// What is wrong with it.
        why: String,
    },
}

/// A record as far as it can be understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its number in the session.
    pub seq: Option<u64>,
    /// The session.
    pub session: String,
    /// Wall-clock time as it was written.
    pub time: String,
    /// That, understood.
    pub at: Option<SystemTime>,
    /// Nanoseconds since the session began.
    pub monotonic_ns: Option<u64>,
    /// The event's name; `erased` for a record whose content was taken out.
    pub name: String,
    /// The event, where this program knows it and its fields are as they should be.
    pub event: Option<Event>,
    /// All fields of the line.
    pub fields: Map<String, Value>,
    /// The line itself, as it was sealed.
    pub line: String,
}

impl Entry {
    /// A field that is a text.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.as_str()
    }

    /// Whether its content was taken out.
    pub fn is_erased(&self) -> bool {
        self.fields.get("erased") == Some(&Value::Bool(true))
    }

    fn of(fields: Map<String, Value>, line: &[u8]) -> Result<Self, &'static str> {
        let text = |field: &str| fields.get(field).and_then(Value::as_str).map(str::to_owned);
        let erased = fields.get("erased") == Some(&Value::Bool(true));
        let name = if erased { Some("erased".to_owned()) } else { text("event") };
        let time = text("time").unwrap_or_default();
        Ok(Self {
            seq: fields.get("seq").and_then(Value::as_u64),
            session: text("session").ok_or("it names no session")?,
            at: humantime::parse_rfc3339(&time).ok(),
            time,
            monotonic_ns: fields.get("monotonic_ns").and_then(Value::as_u64),
            name: name.ok_or("it names no event")?,
            event: if erased { None } else { Event::deserialize(&Value::Object(fields.clone())).ok() },
            fields,
            line: String::from_utf8_lossy(line).into_owned(),
        })
    }
}

/// The lines of a log, in order.
#[derive(Debug)]
pub struct Lines<R> {
    reader: BufReader<R>,
    number: u64,
}

impl Lines<File> {
    /// Opens a file.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, ReadingError> {
        let file = File::open(path).map_err(|source| ReadingError::System { path: path.to_path_buf(), source })?;
        Ok(Self::new(file))
    }
}

impl<R: Read> Lines<R> {
    /// The lines of anything that can be read.
    pub fn new(source: R) -> Self {
        Self { reader: BufReader::with_capacity(64 * 1024, source), number: 0 }
    }

    fn read(&mut self) -> io::Result<Option<Line>> {
        let mut buffer = Vec::new();
        let Some(bytes) = line::next(&mut self.reader, &mut buffer)? else { return Ok(None) };
        self.number += 1;
        let unreadable = |bytes, why: &str| Line::Unreadable { number: self.number, bytes, why: why.to_owned() };
        let (line, whole) = match bytes {
            Bytes::Whole(line) => (line, true),
            Bytes::Torn(line) => (line, false),
            Bytes::TooLong(bytes) => return Ok(Some(unreadable(bytes, "it is longer than 16 MiB"))),
        };
        let length = line.len() as u64;
        Ok(Some(match serde_json::from_slice::<Map<String, Value>>(line) {
            Ok(fields) => match Entry::of(fields, line) {
                Ok(entry) => Line::Entry(Box::new(entry)),
                Err(why) => unreadable(length, why),
            },
            Err(_) if !whole => unreadable(length, "it breaks off: whatever wrote it was ended"),
            Err(error) => unreadable(length, &format!("it is no JSON object: {error}")),
        }))
    }
}

impl<R: Read> Iterator for Lines<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// The files of one session, in the order in which they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionFiles {
    /// The session, or the file's name where a file was named.
    pub name: String,
    /// `ID.jsonl`, then `ID.1.jsonl` and so on.
    pub parts: Vec<PathBuf>,
}

impl SessionFiles {
    /// Whether a file was named, and not a session of this user's.
    pub fn is_named_by_path(&self) -> bool {
        is_path(&self.name)
    }

    /// Calls `each` with every line of all parts, until it says no.
    ///
    /// # Errors
    /// If a part cannot be read.
    pub fn read(&self, mut each: impl FnMut(Line) -> bool) -> Result<(), ReadingError> {
        for path in &self.parts {
            for line in Lines::open(path)? {
                if !each(line.map_err(|source| ReadingError::System { path: path.clone(), source })?) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// The sessions that have a log in a folder, newest first: their ids begin with the time.
pub fn sessions(folder: &Path) -> Vec<SessionFiles> {
    verify::sessions(folder).into_iter().rev().map(|name| SessionFiles { parts: verify::files_of(folder, &name), name }).collect()
}

fn is_path(named: &str) -> bool {
    named.contains('/') || named.ends_with(".jsonl")
}

/// What was named: an id, the beginning of one, `last`, or a file (a path with a slash, or ending in .jsonl).
///
/// # Errors
/// If there is no such log in the folder, or more than one whose id begins so. Whether a file that was named is there is found when it is read.
pub fn find(folder: &Path, named: Option<&str>) -> Result<SessionFiles, ReadingError> {
    let named = named.unwrap_or("last");
    if is_path(named) {
        let path = Path::new(named);
        // The first part of a log stands for all of them.
        let parts = match (path.parent(), path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jsonl"))) {
            (Some(folder), Some(session)) if !session.contains('.') => verify::files_of(folder, session),
            _ => Vec::new(),
        };
        let parts = if parts.is_empty() { vec![path.to_path_buf()] } else { parts };
        return Ok(SessionFiles { name: named.to_owned(), parts });
    }
    let known = sessions(folder);
    let none = || ReadingError::None { folder: folder.to_path_buf() };
    if named == "last" {
        return known.into_iter().next().ok_or_else(none);
    }
    let mut fitting = known.into_iter().filter(|session| named.len() >= 8 && session.name.starts_with(named));
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one),
        _ => Err(ReadingError::Unknown { named: named.to_owned(), folder: folder.to_path_buf() }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Vec<Line> {
        Lines::new(bytes).map(Result::unwrap).collect()
    }

    #[test]
    fn whatever_is_no_record_is_told_and_reading_goes_on() {
        let long = "x".repeat(usize::try_from(line::LONGEST).unwrap() + 7);
        let log = format!(
            "{{\"v\":1,\"seq\":0,\"session\":\"s\",\"time\":\"2026-01-01T00:00:00Z\",\"monotonic_ns\":1,\"event\":\"session_end\",\"mac\":\"00\"}}\n\
             not json\n{long}\n[1]\n\
             {{\"session\":\"s\",\"event\":\"of_tomorrow\",\"x\":1}}\n\
             {{\"v\":1,\"seq\":4,\"session\":\"s\",\"time\":\"\",\"erased\":true,\"digest\":\"00\"}}\n{{\"sess"
        );
        let lines = read(log.as_bytes());
        assert_eq!(lines.len(), 7);
        assert!(matches!(&lines[0], Line::Entry(entry) if entry.event == Some(Event::SessionEnd) && entry.at.is_some()));
        assert!(matches!(&lines[1], Line::Unreadable { number: 2, bytes: 8, .. }));
        assert!(matches!(&lines[2], Line::Unreadable { bytes, .. } if *bytes == line::LONGEST + 7), "{:?}", lines[2]);
        assert!(matches!(&lines[3], Line::Unreadable { .. }));
        assert!(matches!(&lines[4], Line::Entry(entry) if entry.name == "of_tomorrow" && entry.event.is_none()));
        assert!(matches!(&lines[5], Line::Entry(entry) if entry.is_erased() && entry.name == "erased"));
        assert!(matches!(&lines[6], Line::Unreadable { why, .. } if why.contains("breaks off")));
    }

    #[test]
    fn sessions_are_found_newest_first_with_their_parts_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = ("01a21a81-0a44-73a2-ac60-a208193e0e81", "01a21e82-a06c-774f-9e13-70f61d7a3e60");
        for name in
            [format!("{old}.1.jsonl"), format!("{old}.jsonl"), format!("{old}.2.jsonl"), format!("{new}.jsonl"), "ledger.jsonl".into()]
        {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found = sessions(folder.path());
        assert_eq!(found.iter().map(|session| session.name.as_str()).collect::<Vec<_>>(), [new, old]);
        assert_eq!(found[1].parts, verify::files_of(folder.path(), old));
        assert_eq!(found[1].parts.len(), 3);
        assert_eq!(find(folder.path(), Some("last")).unwrap().name, new);
        assert_eq!(find(folder.path(), Some(&old[..13])).unwrap().name, old);
        assert!(matches!(find(folder.path(), Some("01a2")), Err(ReadingError::Unknown { .. })));
        assert!(matches!(find(&folder.path().join("none"), None), Err(ReadingError::None { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let lines = read(&bytes);
            let ends = bytes.iter().filter(|byte| **byte == b'\n').count();
            prop_assert_eq!(lines.len(), ends + usize::from(bytes.last().is_some_and(|last| *last != b'\n')));
        }
    }
}
