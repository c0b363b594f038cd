//! What of the logs goes: whole logs that are older than is kept, and what single records say. Either is entered in the ledger first, so that it is not
//! taken for tampering.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde_json::Value;

use super::{
    chain::{self, hex, sha256},
    keys::Key,
    ledger::{self, LedgerError, LedgerEvent},
    line::{self, Bytes},
    verify::{Trust, VerifyError, files_of, sessions, verify_log},
};

/// Records that are erased at once, so that the entry of the ledger that names them stays short.
const MOST: usize = 1_000;

/// Why something could not go.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// It could not be entered, so it stays.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A log could not be read.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A file could not be changed.
    #[error("{path} cannot be changed: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is being written.
    #[error("the log of session {0} is being written; end the session first")]
    Running(String),
    /// Somebody said that it has to stay.
    #[error("the log of session {session} is held ({reason}); `portcullis audit release` lets it go")]
    Held {
        /// The session.
        session: String,
        /// Why.
        reason: String,
    },
    /// The ledger's entry would be too long.
    #[error("{0} records are more than can be erased at once; name at most {MOST}")]
    TooMany(usize),
    /// There is no such record in it.
    #[error("the log of session {session} has no record {record} that could be erased; `portcullis audit show` numbers them")]
    NoSuch {
        /// The session.
        session: String,
        /// The record.
        record: u64,
    },
}

/// Takes away the logs of a folder that nobody has written to for longer than `keep` and that are not held, and says which. With `dry` it only says so.
///
/// # Errors
/// If one cannot be entered or removed; those before it are gone.
pub fn prune(folder: &Path, key: &Key, keep: Duration, dry: bool) -> Result<Vec<String>, RetentionError> {
    let mut gone = Vec::new();
    let held = ledger::held(folder)?;
    for session in sessions(folder).into_iter().filter(|session| !held.contains_key(session)) {
        let files = files_of(folder, &session);
        let error = |path: &Path, source| RetentionError::File { path: path.to_path_buf(), source };
        let old = |path: &PathBuf| {
            let age =
                fs::metadata(path).and_then(|found| found.modified()).map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
            age.is_ok_and(|age| age > keep)
        };
        if files.is_empty() || !files.iter().all(old) || files.iter().any(|path| is_running(path)) {
            continue;
        }
        if !dry {
            let verdict = verify_log(&files, Some(&session), &Trust::default(), None)?;
            let event = LedgerEvent::Pruned { session: session.clone(), records: verdict.records, head: verdict.head };
            ledger::enter(folder, key, event)?;
            for path in &files {
                fs::remove_file(path).map_err(|source| error(path, source))?;
            }
        }
        gone.push(session);
    }
    Ok(gone)
}

fn is_running(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
}

/// Erases what records of a session say. Their digests and seals stay, so that the log verifies as before.
///
/// # Errors
/// If a record is not there, or it cannot be entered or written; then the log is as it was.
pub fn erase(folder: &Path, key: &Key, session: &str, records: &BTreeSet<u64>) -> Result<(), RetentionError> {
    if records.len() > MOST {
        return Err(RetentionError::TooMany(records.len()));
    }
    let files = files_of(folder, session);
    if let Some(reason) = ledger::held(folder)?.remove(session) {
        return Err(RetentionError::Held { session: session.to_owned(), reason });
    }
    if files.iter().any(|path| is_running(path)) {
        return Err(RetentionError::Running(session.to_owned()));
    }
    let mut left = records.clone();
    let mut changed = Vec::new();
    for path in &files {
        let error = |source| RetentionError::File { path: path.clone(), source };
        let next = path.with_extension("jsonl.next");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next).map_err(error)?;
        if copy_without(path, &mut BufWriter::new(&file), &mut left).and_then(|any| file.sync_all().map(|()| any)).map_err(error)? {
            changed.push((next, path));
        } else {
            fs::remove_file(&next).map_err(error)?;
        }
    }
    if let Some(record) = left.first() {
        for (next, _) in &changed {
            let _ = fs::remove_file(next);
        }
        return Err(RetentionError::NoSuch { session: session.to_owned(), record: *record });
    }
    ledger::enter(folder, key, LedgerEvent::Erased { session: session.to_owned(), records: records.iter().copied().collect() })?;
    for (next, path) in changed {
        fs::rename(&next, path).map_err(|source| RetentionError::File { path: path.clone(), source })?;
    }
    Ok(())
}

/// Copies a file line by line; of the records in `left` only what keeps the chains whole. Whether there was any of them.
fn copy_without(path: &Path, to: &mut impl Write, left: &mut BTreeSet<u64>) -> io::Result<bool> {
    let mut reader = BufReader::new(File::open(path)?);
    let (mut buffer, mut any) = (Vec::new(), false);
    while let Some(line) = line::next(&mut reader, &mut buffer)? {
        let Bytes::Whole(line) = line else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it does not consist of whole records; `portcullis audit verify` says more",
            ));
        };
        match erased(line, left) {
            Some(short) => {
                any = true;
                to.write_all(&short)?;
            }
            None => to.write_all(line)?,
        }
        to.write_all(b"\n")?;
    }
    to.flush()?;
    Ok(any)
}

/// A record without what it says, if it is one of these. How a log begins and what checkpoints sign stays.
pub fn erased(line: &[u8], records: &mut BTreeSet<u64>) -> Option<Vec<u8>> {
    let record: Value = serde_json::from_slice(line).ok()?;
    let (body, mac) = chain::open(line)?;
    let event = record.get("event")?.as_str()?;
    if matches!(event, "log_opened" | "checkpoint") || !records.remove(&record.get("seq")?.as_u64()?) {
        return None;
    }
    let kept =
        ["v", "seq", "session", "time", "monotonic_ns"].map(|field| format!("\"{field}\":{}", record.get(field).unwrap_or(&Value::Null)));
    let digest = hex(&sha256(body));
    Some(format!("{{{},\"erased\":true,\"digest\":\"{digest}\",\"mac\":\"{}\"}}", kept.join(","), hex(&mac)).into_bytes())
}
