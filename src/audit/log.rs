//! The log of a session: one file, appended to, one record a line, written before what it records happens.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Instant, SystemTime},
};

use super::record::{Event, Record, SCHEMA};

/// Why a record could not be written. What it would have recorded must then not happen.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file or its folder could not be made.
    #[error("the log {path} cannot be made: {source}", path = path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A record could not be written; the file ends with the record before it.
    #[error("the log {path} cannot be written: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// An open log.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    session: String,
    began: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    length: u64,
    sequence: u64,
}

impl Log {
    /// Makes the log of a session in `folder`, readable by nobody else.
    pub fn create(folder: &Path, session: &str) -> Result<Self, LogError> {
        let path = folder.join(format!("{session}.jsonl"));
        let error = |source| LogError::Create { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(error)?;
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path).map_err(error)?;
        let state = Mutex::new(State { file, length: 0, sequence: 0 });
        Ok(Self { path, session: session.to_owned(), began: Instant::now(), state })
    }

    /// Appends one record: the whole line, or nothing.
    pub fn append(&self, event: Event) -> Result<(), LogError> {
        // A panic elsewhere leaves the state as it was after the last whole record.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let record = Record {
            v: SCHEMA,
            seq: state.sequence,
            session: self.session.clone(),
            time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            monotonic_ns: u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX),
            event,
        };
        let error = |source| LogError::Write { path: self.path.clone(), source };
        let mut line = serde_json::to_vec(&record).map_err(|problem| error(problem.into()))?;
        line.push(b'\n');
        if let Err(problem) = state.file.write_all(&line) {
            // Half a line would make the next record unreadable as well.
            let _ = state.file.set_len(state.length);
            return Err(error(problem));
        }
        state.length += line.len() as u64;
        state.sequence += 1;
        Ok(())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_whole_lines_numbered_without_a_gap_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let log = Log::create(&folder.path().join("log"), "s1").unwrap();
        log.append(Event::SessionEnd).unwrap();
        log.append(Event::CallIntent {
            call: "c".to_owned(),
            tool: "shell".to_owned(),
            arguments: "a\n{\"v\":1,\"seq\":9}".to_owned(),
            decision: "allow".to_owned(),
            decided_by: "policy".to_owned(),
            rule: None,
            opaque: None,
        })
        .unwrap();
        let text = std::fs::read_to_string(log.path()).unwrap();
        let records: Vec<Record> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(std::fs::metadata(log.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_log_that_cannot_be_written_says_so_and_keeps_what_it_had() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::create(folder.path(), "s1").unwrap();
        log.append(Event::SessionEnd).unwrap();
        let before = std::fs::read(log.path()).unwrap();
        log.state.lock().unwrap().file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert!(matches!(log.append(Event::SessionEnd), Err(LogError::Write { .. })));
        assert_eq!(std::fs::read(log.path()).unwrap(), before);
    }
}
