//! The ledger of a log folder: one file in which every session's log is entered when it is opened, as it grows, and when it is closed, so that a log that is
//! gone, or that lost its end, is missed. Several agents write it, one at a time.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use super::{
    chain::{self, Chain, hex, sha256, unhex},
    keys::Key,
    line::{self, Bytes},
    record::{Cause, SCHEMA},
};

/// The name of the ledger's file in the log folder, and of its chain.
pub const LEDGER: &str = "ledger";
/// Bytes at the end of the file in which the last entry is looked for; no entry is longer.
const WINDOW: u64 = 64 * 1024;

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// [`SCHEMA`].
    pub v: u32,
    /// Counts up from 0 without a gap.
    pub seq: u64,
    /// Wall-clock time, RFC 3339 in UTC with milliseconds.
    pub time: String,
    /// The head of the public chain before this entry, so that whoever appends need not read all of it.
    pub previous: String,
    /// The key that seals this entry, by its id.
    pub key: String,
    /// What is entered.
    #[serde(flatten)]
    pub event: LedgerEvent,
}

/// What is entered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum LedgerEvent {
    /// A log was begun.
    Opened {
        /// The session.
        session: String,
    },
    /// What a log has come to.
    Head {
        /// The session.
        session: String,
        /// Its records so far.
        records: u64,
        /// The head of its public chain.
        head: String,
        /// Why it was entered.
        cause: Cause,
    },
    /// A log was taken away on purpose, because it was older than is kept.
    Pruned {
        /// The session.
        session: String,
        /// Its records.
        records: u64,
        /// The head of its public chain.
        head: String,
    },
    /// What some records of a log say was erased; their digests stay.
    Erased {
        /// The session.
        session: String,
        /// The records, by their numbers.
        records: Vec<u64>,
    },
    /// A log is not to be taken away, nor what it says, until it is released.
    Held {
        /// The session.
        session: String,
        /// Why, in a person's words.
        reason: String,
    },
    /// A log that was held may go again.
    Released {
        /// The session.
        session: String,
    },
    /// Another key is used from here on; this entry is the first that it seals.
    KeyRotated {
        /// The one before.
        before: Option<String>,
        /// The public half of the new one.
        public: String,
    },
    /// An export did not arrive.
    DeliveryFailed {
        /// The session.
        session: String,
        /// Where it was to go.
        target: String,
        /// Why it did not.
        error: String,
    },
}

/// Why nothing could be entered.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file cannot be read or written.
    #[error("the ledger {path} cannot be written: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Nothing at its end is an entry.
    #[error("the ledger {path} does not end with an entry, so that none can follow; `portcullis audit verify` says more, and moving the file away begins a new one", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// Enters `event` into the ledger of `folder`, and says what its head is then: how many entries, and the public head.
///
/// # Errors
/// If it cannot be written, or does not end with an entry.
pub fn enter(folder: &Path, key: &Key, event: LedgerEvent) -> Result<(u64, String), LedgerError> {
    let path = path(folder);
    let error = |source| LedgerError::File { path: path.clone(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(error)?;
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(&path)
        .map_err(error)?;
    file.lock().map_err(error)?;
    let length = file.metadata().map_err(error)?.len();
    let (mut chain, torn) = behind(&mut file, length, key).map_err(error)?.ok_or_else(|| LedgerError::Damaged { path: path.clone() })?;
    let entry = Entry {
        v: SCHEMA,
        seq: chain.records,
        time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
        previous: hex(&chain.head),
        key: key.id.clone(),
        event,
    };
    let mut body = serde_json::to_vec(&entry).map_err(|problem| error(problem.into()))?;
    body.pop();
    let mut line = if torn { b"\n".to_vec() } else { Vec::new() };
    line.extend(chain.seal(&key.seal, body));
    if let Err(problem) = file.write_all(&line) {
        let _ = file.set_len(length);
        return Err(error(problem));
    }
    Ok((chain.records, hex(&chain.head)))
}

/// The sessions whose logs are held, each with the reason. A line that is no entry is passed over; `verify` says more of it.
///
/// # Errors
/// If there is a ledger that cannot be read.
pub fn held(folder: &Path) -> Result<BTreeMap<String, String>, LedgerError> {
    let path = path(folder);
    let error = |source| LedgerError::File { path: path.clone(), source };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => return Err(error(source)),
    };
    let (mut reader, mut buffer, mut held) = (io::BufReader::new(file), Vec::new(), BTreeMap::new());
    while let Some(line) = line::next(&mut reader, &mut buffer).map_err(error)? {
        let Bytes::Whole(line) = line else { continue };
        match serde_json::from_slice::<Entry>(line).map(|entry| entry.event) {
            Ok(LedgerEvent::Held { session, reason }) => drop(held.insert(session, reason)),
            Ok(LedgerEvent::Released { session }) => drop(held.remove(&session)),
            _ => {}
        }
    }
    Ok(held)
}

/// The chain behind the last entry, and whether a writer died in the middle of a line after it.
fn behind(file: &mut File, length: u64, key: &Key) -> io::Result<Option<(Chain, bool)>> {
    if length == 0 {
        return Ok(Some((Chain::new(LEDGER, Some(&key.seal)), false)));
    }
    let from = length.saturating_sub(WINDOW);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    file.take(WINDOW).read_to_end(&mut end)?;
    let torn = end.last() != Some(&b'\n');
    let whole = |line: &&[u8]| !line.is_empty();
    let mut lines = end.split(|byte| *byte == b'\n').rev();
    if torn {
        let rest = lines.next().map_or(0, <[u8]>::len);
        // A first line that was never finished leaves nothing to go on from but the beginning.
        if from == 0 && rest == end.len() {
            return Ok(Some((Chain::new(LEDGER, Some(&key.seal)), true)));
        }
    }
    Ok(lines.filter(whole).find_map(after).map(|chain| (chain, torn)))
}

fn after(line: &[u8]) -> Option<Chain> {
    let (body, mac) = chain::open(line)?;
    let entry: Entry = serde_json::from_slice(line).ok()?;
    let previous = unhex::<32>(entry.previous.as_bytes())?;
    let head = sha256(&[previous, sha256(body)].concat());
    Some(Chain { mac: Some(mac), head, records: entry.seq.checked_add(1)? })
}

/// The ledger's file in a log folder.
pub fn path(folder: &Path) -> PathBuf {
    folder.join(format!("{LEDGER}.jsonl"))
}

/// Whether a ledger was begun in this folder.
pub fn exists(folder: &Path) -> bool {
    fs::symlink_metadata(path(folder)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(session: &str) -> LedgerEvent {
        LedgerEvent::Opened { session: session.to_owned() }
    }

    #[test]
    fn entries_of_several_writers_and_keys_are_one_chain() {
        let folder = tempfile::tempdir().unwrap();
        let keys = [Key::ephemeral().unwrap(), Key::ephemeral().unwrap()];
        std::thread::scope(|scope| {
            for key in &keys {
                scope.spawn(|| {
                    (0..50).for_each(|number| {
                        enter(folder.path(), key, opened(&number.to_string())).unwrap();
                    })
                });
            }
        });
        let text = fs::read_to_string(path(folder.path())).unwrap();
        let mut head = Chain::new(LEDGER, None);
        for (number, line) in text.lines().enumerate() {
            let entry: Entry = serde_json::from_str(line).unwrap();
            assert_eq!((entry.seq, entry.previous), (number as u64, hex(&head.head)));
            head.advance(None, &sha256(chain::open(line.as_bytes()).unwrap().0));
        }
        assert_eq!(head.records, 100);
    }

    #[test]
    fn a_line_that_was_never_finished_is_left_behind_and_a_file_that_is_no_ledger_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::ephemeral().unwrap();
        enter(folder.path(), &key, opened("a")).unwrap();
        OpenOptions::new().append(true).open(path(folder.path())).unwrap().write_all(b"{\"v\":2,\"se").unwrap();
        assert_eq!(enter(folder.path(), &key, opened("b")).unwrap().0, 2);
        fs::write(path(folder.path()), "nonsense\n").unwrap();
        assert!(matches!(enter(folder.path(), &key, opened("c")), Err(LedgerError::Damaged { .. })));
        assert_eq!(fs::read_to_string(path(folder.path())).unwrap(), "nonsense\n");
    }
}
