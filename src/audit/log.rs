//! The log of a session: appended to, one record a line, written before what it records happens.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant, SystemTime},
};

use super::{
    chain::{self, Chain, hex},
    keys::{Key, KeyError, Keys},
    ledger::{self, LedgerError, LedgerEvent},
    metadata,
    record::{Cause, Event, Record, SCHEMA},
    retention, shapes,
};
use crate::policy::{Detail, OnFailure, Recording};

/// Records between two checkpoints.
const COUNT: u64 = 256;
/// How long nothing may happen before a checkpoint says that the writer lives.
pub const HEARTBEAT: Duration = Duration::from_secs(60);
/// Bytes of a part of a log; what comes after goes to the next file.
const PART: u64 = 64 * 1024 * 1024;

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
    /// There is nothing to seal records with.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The log could not be entered among the others.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// An open log.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    session: String,
    began: Instant,
    key: Key,
    recording: Recording,
    /// Whether it is entered among the others.
    kept: bool,
    state: Mutex<State>,
    /// Told when the log is closed, so that nobody waits for a heartbeat.
    closing: Condvar,
}

#[derive(Debug)]
struct State {
    file: File,
    path: PathBuf,
    part: u32,
    length: u64,
    chain: Chain,
    /// Records at the last checkpoint, and when that was.
    checked: (u64, Instant),
    /// Records that could not be written since the last one that could, and what the system said.
    lost: (u64, String),
    /// All of them that were lost.
    lost_ever: u64,
    closed: bool,
}

/// The file of a part of a log.
pub fn part_path(folder: &Path, session: &str, part: u32) -> PathBuf {
    folder.join(if part == 0 { format!("{session}.jsonl") } else { format!("{session}.{part}.jsonl") })
}

fn open_part(folder: &Path, session: &str, part: u32) -> Result<(PathBuf, File), LogError> {
    let path = part_path(folder, session, part);
    let opened = OpenOptions::new().append(true).create_new(true).mode(0o600).custom_flags(libc::O_CLOEXEC).open(&path);
    // Held as long as it is open, so that a reader can tell a log that is being written from one that was left.
    let locked = opened.and_then(|file| file.try_lock().map(|()| file).map_err(io::Error::other));
    locked.map(|file| (path.clone(), file)).map_err(|source| LogError::Create { path, source })
}

impl Log {
    /// Makes the log of a session in the state folder, readable by nobody else, and enters it among the others.
    ///
    /// # Errors
    /// If it cannot be made, sealed or entered.
    pub fn create(state: &Path, session: &str, recording: &Recording) -> Result<Self, LogError> {
        let folder = state.join("log");
        let log = Self::begin(&folder, session, recording, Keys::of(state).current()?, true)?;
        ledger::enter(&folder, &log.shared.key, LedgerEvent::Opened { session: session.to_owned() })?;
        beat(&log.shared);
        Ok(log)
    }

    /// Makes a log of something that is no session, in a folder that goes; its key goes with it.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn passing(folder: &Path, session: &str) -> Result<Self, LogError> {
        Self::begin(folder, session, &Recording::default(), Key::ephemeral()?, false)
    }

    fn begin(folder: &Path, session: &str, recording: &Recording, key: Key, kept: bool) -> Result<Self, LogError> {
        let create = |source| LogError::Create { path: folder.to_path_buf(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(create)?;
        let (path, file) = open_part(folder, session, 0)?;
        let state = State {
            file,
            path,
            part: 0,
            length: 0,
            chain: Chain::new(session, Some(&key.seal)),
            checked: (0, Instant::now()),
            lost: (0, String::new()),
            lost_ever: 0,
            closed: false,
        };
        let opened = Event::LogOpened { key: key.id.clone(), public: key.public() };
        let shared = Shared {
            folder: folder.to_path_buf(),
            session: session.to_owned(),
            began: Instant::now(),
            key,
            recording: recording.clone(),
            kept,
            state: Mutex::new(state),
            closing: Condvar::new(),
        };
        let log = Self { shared: Arc::new(shared) };
        log.append(opened)?;
        Ok(log)
    }

    /// Appends one record: the whole line, or nothing.
    ///
    /// # Errors
    /// If it cannot be written, unless the policy says to go on then.
    pub fn append(&self, event: Event) -> Result<(), LogError> {
        let mut state = self.shared.state();
        self.shared.append(&mut state, event)
    }

    /// Ends the log in order: its last records say that nothing is missing behind them. Closing it again does nothing.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn close(&self) -> Result<(), LogError> {
        let mut state = self.shared.state();
        if state.closed {
            return Ok(());
        }
        self.shared.append(&mut state, Event::SessionEnd)?;
        self.shared.checkpoint(&mut state, Cause::Close)?;
        state.closed = true;
        self.shared.closing.notify_all();
        Ok(())
    }

    /// Takes away logs that are older than the policy keeps them; those that cannot go stay.
    pub fn prune(&self) {
        if let Some(keep) = self.shared.recording.keep.filter(|_| self.shared.kept) {
            let _ = retention::prune(&self.shared.folder, &self.shared.key, keep, false);
        }
    }

    /// The session's id.
    pub fn session(&self) -> &str {
        &self.shared.session
    }

    /// Its first file.
    pub fn path(&self) -> PathBuf {
        part_path(&self.shared.folder, &self.shared.session, 0)
    }

    /// How many records could not be written, where the policy says to go on without, in words for the person; `None` if all of them could.
    pub fn told_loss(&self) -> Option<String> {
        let lost = self.shared.state().lost_ever;
        (lost > 0).then(|| format!("{lost} records could not be written to the log, and the policy said to go on ([audit] on_failure)"))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closed = true;
        // Who waits for a heartbeat may hold the file for a moment more.
        let _ = state.file.unlock();
        self.shared.closing.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the state as it was after the last whole record.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, state: &mut State, event: Event) -> Result<(), LogError> {
        let event = if self.recording.detail == Detail::Metadata { metadata::only(event) } else { event };
        let written = self.write_lost(state).and_then(|()| self.write(state, event));
        let written = written
            .and_then(|()| if state.chain.records - state.checked.0 >= COUNT { self.checkpoint(state, Cause::Count) } else { Ok(()) });
        match written {
            Err(error) if self.recording.on_failure == OnFailure::Continue && state.chain.records > 0 => {
                state.lost = (state.lost.0 + 1, error.to_string());
                state.lost_ever += 1;
                Ok(())
            }
            other => other,
        }
    }

    fn write_lost(&self, state: &mut State) -> Result<(), LogError> {
        let (lost, error) = state.lost.clone();
        if lost == 0 {
            return Ok(());
        }
        self.write(state, Event::LogTrouble { lost, error })?;
        state.lost = (0, String::new());
        Ok(())
    }

    fn write(&self, state: &mut State, event: Event) -> Result<(), LogError> {
        if state.length > PART {
            let (path, file) = open_part(&self.folder, &self.session, state.part + 1)?;
            (state.path, state.file, state.part, state.length) = (path, file, state.part + 1, 0);
        }
        let record = Record {
            v: SCHEMA,
            seq: state.chain.records,
            session: self.session.clone(),
            time: now(),
            monotonic_ns: u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX),
            salt: self.key.salt(&self.session, state.chain.records),
            event,
        };
        let error = |source| LogError::Write { path: state.path.clone(), source };
        let text = serde_json::to_string(&record).map_err(|problem| error(problem.into()))?;
        let mut body = shapes::redact(&text).into_owned().into_bytes();
        body.pop();
        let mut chain = state.chain.clone();
        let line = chain.seal(&self.key.seal, body);
        let sync = |file: &File| if self.recording.sync { file.sync_data() } else { Ok(()) };
        if let Err(problem) = state.file.write_all(&line).and_then(|()| sync(&state.file)) {
            // Half a line would make the next record unreadable as well.
            let _ = state.file.set_len(state.length);
            return Err(error(problem));
        }
        state.length += line.len() as u64;
        state.chain = chain;
        Ok(())
    }

    fn checkpoint(&self, state: &mut State, cause: Cause) -> Result<(), LogError> {
        let (records, head) = (state.chain.records, hex(&state.chain.head));
        let signature = self.key.sign(&chain::statement(&self.session, records, &head, &self.key.id));
        self.write(state, Event::Checkpoint { cause, records, head, key: self.key.id.clone(), signature })?;
        state.checked = (state.chain.records, Instant::now());
        if self.kept {
            let (records, head) = (state.chain.records, hex(&state.chain.head));
            ledger::enter(&self.folder, &self.key, LedgerEvent::Head { session: self.session.clone(), records, head, cause })?;
        }
        Ok(())
    }
}

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

/// Writes a checkpoint where nothing was written for a while, until the log is closed.
fn beat(shared: &Arc<Shared>) {
    let weak = Arc::downgrade(shared);
    // Without it the log is what it is, and only says less of when the writer was still there.
    let _ = std::thread::Builder::new().name("heartbeat".to_owned()).stack_size(256 * 1024).spawn(move || while wait_and_beat(&weak) {});
}

/// Whether there is anything left to wait for.
fn wait_and_beat(weak: &Weak<Shared>) -> bool {
    let Some(shared) = weak.upgrade() else { return false };
    let state = shared.state();
    let left = HEARTBEAT.saturating_sub(state.checked.1.elapsed());
    let (mut state, _) = shared.closing.wait_timeout_while(state, left, |state| !state.closed).unwrap_or_else(PoisonError::into_inner);
    if state.closed {
        return false;
    }
    if state.checked.1.elapsed() >= HEARTBEAT {
        // The next record meets the same trouble, and says so to somebody.
        if shared.checkpoint(&mut state, Cause::Heartbeat).is_err() {
            state.checked.1 = Instant::now();
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(log: &Log) -> Vec<Record> {
        std::fs::read_to_string(log.path()).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn records_are_whole_lines_numbered_without_a_gap_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let log = Log::create(folder.path(), "s1", &Recording::default()).unwrap();
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
        log.close().unwrap();
        log.close().unwrap();
        let records = read(&log);
        assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert!(matches!(&records[3].event, Event::Checkpoint { cause: Cause::Close, records: 3, .. }));
        assert_eq!(std::fs::metadata(log.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_log_that_cannot_be_written_says_so_and_keeps_what_it_had() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::create(folder.path(), "s1", &Recording::default()).unwrap();
        let before = std::fs::read(log.path()).unwrap();
        log.shared.state().file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert!(matches!(log.append(Event::SessionEnd), Err(LogError::Write { .. })));
        assert_eq!(std::fs::read(log.path()).unwrap(), before);
    }

    #[test]
    fn where_the_policy_says_to_go_on_what_was_lost_is_counted_and_said_once_it_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let recording = Recording { on_failure: OnFailure::Continue, ..Recording::default() };
        let log = Log::create(folder.path(), "s1", &recording).unwrap();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let real = std::mem::replace(&mut log.shared.state().file, full);
        for _ in 0..3 {
            log.append(Event::Revoked { grant: "g".to_owned() }).unwrap();
        }
        log.shared.state().file = real;
        log.append(Event::Revoked { grant: "h".to_owned() }).unwrap();
        let records = read(&log);
        assert!(records.len() == 3 && log.told_loss().is_some_and(|told| told.starts_with("3 records")));
        assert!(matches!(&records[1].event, Event::LogTrouble { lost: 3, error } if error.contains("No space left")));
    }

    #[test]
    fn so_many_records_bring_a_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::create(folder.path(), "s1", &Recording::default()).unwrap();
        for _ in 0..COUNT {
            log.append(Event::Revoked { grant: "g".to_owned() }).unwrap();
        }
        assert!(read(&log).iter().any(|record| matches!(record.event, Event::Checkpoint { cause: Cause::Count, .. })));
    }
}
