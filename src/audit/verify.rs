//! Whether a log is what was written, and whether it is all of it: two verdicts, of one pass with flat memory.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufReader},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    chain::statement,
    keys::{Key, Keys, is_signed},
    ledger::{self, Entry, LEDGER, LedgerEvent},
    line::{self, Bytes},
    log::{HEARTBEAT, part_path},
    record::{Cause, SCHEMA},
    walk::{Finding, Kind, Walk, parts},
};

/// Whose seals and signatures count.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The keys at hand: with them each record's seal can be checked.
    pub keys: Option<Keys>,
    /// Public halves, in hexadecimal: with one of them what checkpoints sign can be checked, without any secret.
    pub public: Vec<String>,
}

/// Whether what is there is what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Integrity {
    /// It is, as far as a key that is trusted here can tell.
    Intact,
    /// Nothing speaks against it, and no key that is trusted here speaks for all of it.
    Unproven,
    /// It is not.
    Broken,
}

/// The verdict on one log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The session, or `ledger`.
    pub session: String,
    /// Its files.
    pub files: Vec<PathBuf>,
    /// Records in them.
    pub records: u64,
    /// Those of them that were erased.
    pub erased: u64,
    /// The head of the public chain, in hexadecimal.
    pub head: String,
    /// The key that it names, by its id.
    pub key: Option<String>,
    /// How many records, from the first, the last good signature covers.
    pub signed: u64,
    /// Whether what is there is what was written.
    pub integrity: Integrity,
    /// Whether nothing is missing.
    pub complete: bool,
    /// What was found.
    pub findings: Vec<Finding>,
    /// How much more was found than `findings` holds.
    pub more_findings: u64,
}

/// The verdict on all logs of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FolderVerdict {
    /// On the ledger; none where there is none.
    pub ledger: Option<Verdict>,
    /// On each log, by the session's id, which is by time.
    pub sessions: Vec<Verdict>,
    /// What is about no log that is there.
    pub findings: Vec<Finding>,
}

impl FolderVerdict {
    /// The worst of all.
    pub fn integrity(&self) -> Integrity {
        self.sessions.iter().chain(&self.ledger).map(|verdict| verdict.integrity).max().unwrap_or(Integrity::Intact)
    }

    /// Whether nothing is missing anywhere.
    pub fn complete(&self) -> bool {
        self.findings.is_empty() && self.sessions.iter().chain(&self.ledger).all(|verdict| verdict.complete)
    }
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// What the ledger knows of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    records: u64,
    head: Option<String>,
    erased: Vec<u64>,
    pruned: bool,
}

/// What every record has.
#[derive(Deserialize)]
struct Envelope<'a> {
    v: u32,
    seq: u64,
    #[serde(borrow, default)]
    session: Cow<'a, str>,
    #[serde(borrow, default)]
    time: Cow<'a, str>,
    #[serde(default)]
    monotonic_ns: Option<u64>,
    #[serde(borrow, default)]
    event: Cow<'a, str>,
    #[serde(default)]
    erased: bool,
    #[serde(borrow, default)]
    digest: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Opened {
    key: String,
    public: String,
}

#[derive(Deserialize)]
struct Checkpoint {
    cause: Cause,
    records: u64,
    head: String,
    key: String,
    signature: String,
}

/// Longer than this between two records means that the writer was stopped, or the machine slept.
const SILENCE: Duration = Duration::from_secs(3 * HEARTBEAT.as_secs());

/// The pass over one log.
struct LogPass<'a> {
    trust: &'a Trust,
    known: Option<&'a Known>,
    name: String,
    walk: Walk,
    key: Option<Key>,
    id: Option<String>,
    public: Option<String>,
    signed: u64,
    erased: u64,
    closed: bool,
    last: Option<(String, u64)>,
}

/// Verifies the log of which these are the files, in order. `name` is the session that it has to be; else what its first record says counts.
///
/// # Errors
/// If a file cannot be read.
pub fn verify_log(files: &[PathBuf], name: Option<&str>, trust: &Trust, known: Option<&Known>) -> Result<Verdict, VerifyError> {
    let name = name.unwrap_or_default().to_owned();
    let walk = Walk::new(&name);
    let mut pass = LogPass { trust, known, name, walk, key: None, id: None, public: None, signed: 0, erased: 0, closed: false, last: None };
    let mut running = false;
    for path in files {
        let error = |source| VerifyError::Read { path: path.clone(), source };
        let file = File::open(path).map_err(error)?;
        running |= matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock));
        let mut reader = BufReader::with_capacity(256 * 1024, file);
        let mut buffer = Vec::new();
        pass.walk.line = 0;
        while let Some(line) = line::next(&mut reader, &mut buffer).map_err(error)? {
            pass.walk.line += 1;
            pass.line(&line);
        }
    }
    Ok(pass.finish(files, running))
}

impl LogPass<'_> {
    fn line(&mut self, line: &Bytes<'_>) {
        let line = match line {
            Bytes::Whole(line) => *line,
            Bytes::Torn(_) => {
                return self.walk.find(Kind::Torn, "the last record was never finished: its writer died, or the disk was full");
            }
            Bytes::TooLong(_) => return self.walk.unreadable("a line is longer than any record"),
        };
        if self.closed {
            self.walk.find(Kind::AfterClose, "something follows behind the closing checkpoint");
        }
        let envelope: Envelope<'_> = match serde_json::from_slice(line) {
            Ok(envelope) => envelope,
            Err(error) => return self.walk.unreadable(format!("this line is no record: {error}")),
        };
        let kept = if envelope.erased { envelope.digest.as_deref() } else { None };
        let Some((digest, mac)) = parts(line, kept) else {
            return self.walk.unreadable("this line does not end with a seal");
        };
        if self.walk.head().0 == 0 {
            self.begin(line, &envelope);
        }
        if envelope.session != self.name {
            self.walk.find(Kind::Foreign, format!("record {} is of session {}", envelope.seq, envelope.session));
        }
        if envelope.v > SCHEMA {
            self.walk.find(Kind::Newer, format!("record {} is of version {}, and this program knows {SCHEMA}", envelope.seq, envelope.v));
        }
        let before = self.walk.head();
        self.walk.step(self.key.as_ref().map(|key| &key.seal), envelope.seq, &digest, mac);
        self.compare_with_ledger();
        self.times(&envelope);
        match &*envelope.event {
            "checkpoint" => self.checkpoint(line, before),
            "log_trouble" => self.walk.find(Kind::Lost, "records were lost before this one, because they could not be written"),
            _ => {}
        }
        if envelope.erased {
            self.erased += 1;
            if self.known.is_none_or(|known| !known.erased.contains(&envelope.seq)) {
                self.walk.find(Kind::Erased, format!("what record {} said was erased", envelope.seq));
            }
        }
    }

    fn begin(&mut self, line: &[u8], envelope: &Envelope<'_>) {
        if self.name.is_empty() {
            self.name = envelope.session.clone().into_owned();
            self.walk.named(&self.name);
        }
        let opened = (envelope.event == "log_opened").then(|| serde_json::from_slice::<Opened>(line).ok()).flatten();
        let Some(opened) = opened else {
            return self.walk.find(Kind::NoBeginning, "the first record is not the one with which a log begins");
        };
        self.key = self.trust.keys.as_ref().and_then(|keys| keys.get(&opened.key).ok());
        match &self.key {
            Some(key) => {
                self.walk.sealed_by(&self.name, &key.seal);
                self.public = Some(key.public());
            }
            None => {
                let vouched = self.trust.public.iter().find(|public| **public == opened.public);
                self.public = vouched.cloned();
                if vouched.is_none() {
                    self.walk.find(Kind::UnknownKey, format!("its key {} is not at hand, so that nobody vouches for it here", opened.key));
                }
            }
        }
        self.id = Some(opened.key);
    }

    fn checkpoint(&mut self, line: &[u8], (records, head): (u64, String)) {
        let Ok(checkpoint) = serde_json::from_slice::<Checkpoint>(line) else {
            return self.walk.find(Kind::BadSignature, "this checkpoint is not whole");
        };
        self.closed |= checkpoint.cause == Cause::Close;
        let Some(public) = &self.public else { return };
        let message = statement(&self.name, checkpoint.records, &checkpoint.head, &checkpoint.key);
        if !is_signed(public, &message, &checkpoint.signature) {
            return self.walk.find(Kind::BadSignature, "this checkpoint was not signed by the log's key");
        }
        if (records, &head) == (checkpoint.records, &checkpoint.head) {
            self.signed = records + 1;
        } else if !self.walk.broken() {
            let text = format!("this checkpoint signs {} records with another head than those before it come to", checkpoint.records);
            self.walk.find(Kind::HeadDiffers, text);
        }
    }

    fn compare_with_ledger(&mut self) {
        let (records, head) = self.walk.head();
        let Some(Known { records: known, head: Some(entered), .. }) = self.known else { return };
        if records == *known && head != *entered && !self.walk.broken() {
            self.walk.find(Kind::HeadDiffers, format!("the ledger has another head for these {records} records"));
        }
    }

    /// Times only ever say something of the clock and of the writer: what seals them is the record's seal.
    fn times(&mut self, envelope: &Envelope<'_>) {
        let Some(monotonic) = envelope.monotonic_ns else { return };
        if let Some((wall, before)) = &self.last {
            if *envelope.time < **wall && monotonic >= *before {
                self.walk.find(
                    Kind::ClockBack,
                    format!("the clock was set back before record {}: from {wall} to {}", envelope.seq, envelope.time),
                );
            }
            let silence = Duration::from_nanos(monotonic.saturating_sub(*before));
            if silence > SILENCE {
                let words = humantime::format_duration(Duration::from_secs(silence.as_secs()));
                self.walk.find(Kind::Silence, format!("nothing was written for {words} before record {}", envelope.seq));
            }
        }
        self.last = Some((envelope.time.clone().into_owned(), monotonic));
    }

    fn finish(mut self, files: &[PathBuf], running: bool) -> Verdict {
        let (records, _) = self.walk.head();
        self.walk.line = 0;
        if running {
            self.walk.find(Kind::Running, "it is being written");
        } else if !self.closed {
            self.walk.find(Kind::NotClosed, "it was never closed: its writer was ended, or its end was cut off");
        }
        if let Some(known) = self.known.filter(|known| known.records > records) {
            self.walk
                .find(Kind::CutOff, format!("the ledger knows of {} records, and {records} are here: the end was cut off", known.records));
        }
        if records == 0 && !running {
            self.walk.find(Kind::NoBeginning, "there is no record in it");
        }
        let proven = self.key.is_some() || (self.public.is_some() && self.signed == records && records > 0);
        let verdict = Verdict::of(self.name, files.to_vec(), self.walk, proven);
        Verdict { key: self.id, signed: self.signed, erased: self.erased, ..verdict }
    }
}

impl Verdict {
    /// Weighs what a pass has found. `proven` says whether a key that is trusted speaks for all of it.
    fn of(session: String, files: Vec<PathBuf>, walk: Walk, proven: bool) -> Self {
        let (records, head) = walk.head();
        let Walk { findings, more: more_findings, .. } = walk;
        let integrity = match (findings.iter().any(|finding| finding.kind.breaks_integrity()), proven) {
            (true, _) => Integrity::Broken,
            (false, true) => Integrity::Intact,
            (false, false) => Integrity::Unproven,
        };
        let complete = !findings.iter().any(|finding| finding.kind.breaks_completeness());
        Self { session, files, records, erased: 0, head, key: None, signed: 0, integrity, complete, findings, more_findings }
    }
}

/// The files of a session's log, in order.
pub fn files_of(folder: &Path, session: &str) -> Vec<PathBuf> {
    (0..).map(|part| part_path(folder, session, part)).take_while(|path| fs::symlink_metadata(path).is_ok()).collect()
}

/// The sessions of which a folder has logs, sorted, which is by time.
pub fn sessions(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut sessions: Vec<String> = names
        .filter_map(|name| name.strip_suffix(".jsonl").map(str::to_owned))
        .filter(|name| name != LEDGER && !name.contains('.'))
        .collect();
    sessions.sort();
    sessions
}

/// Verifies all logs of a folder, and whether they are all. `anchor` is a head of the ledger that was kept elsewhere: how many entries, and the head.
///
/// # Errors
/// If a file cannot be read.
pub fn verify_folder(folder: &Path, trust: &Trust, anchor: Option<&(u64, String)>) -> Result<FolderVerdict, VerifyError> {
    let mut findings = Vec::new();
    let mut find = |kind, text: String| findings.push(Finding { kind, line: 0, text });
    let there = sessions(folder);
    let (ledger, known) = if ledger::exists(folder) {
        let (verdict, known) = verify_ledger(folder, trust, anchor)?;
        (Some(verdict), known)
    } else {
        if !there.is_empty() || anchor.is_some() {
            find(Kind::LedgerMissing, "the ledger of these logs is not there".to_owned());
        }
        (None, BTreeMap::new())
    };
    let mut verdicts = Vec::new();
    for session in &there {
        let mut verdict = verify_log(&files_of(folder, session), Some(session), trust, known.get(session))?;
        if ledger.is_some() && !known.contains_key(session) {
            let text = "the ledger does not know this log".to_owned();
            verdict.findings.push(Finding { kind: Kind::NotEntered, line: 0, text });
            verdict.complete = false;
        }
        verdicts.push(verdict);
    }
    for (session, _) in known.iter().filter(|(session, known)| !known.pruned && there.binary_search(session).is_err()) {
        find(Kind::LogMissing, format!("the log of session {session}, which the ledger knows, is not there"));
    }
    Ok(FolderVerdict { ledger, sessions: verdicts, findings })
}

/// Verifies the ledger of a folder, and says what it knows of each log.
///
/// # Errors
/// If it cannot be read.
pub fn verify_ledger(
    folder: &Path,
    trust: &Trust,
    anchor: Option<&(u64, String)>,
) -> Result<(Verdict, BTreeMap<String, Known>), VerifyError> {
    let path = ledger::path(folder);
    let error = |source| VerifyError::Read { path: path.clone(), source };
    let file = File::open(&path).map_err(error)?;
    // Whoever enters something just now is done in a moment.
    file.lock_shared().map_err(error)?;
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    let mut buffer = Vec::new();
    let mut walk = Walk::new(LEDGER);
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    let mut keys: BTreeMap<String, Option<Key>> = BTreeMap::new();
    let mut reached = anchor.is_none();
    while let Some(line) = line::next(&mut reader, &mut buffer).map_err(error)? {
        walk.line += 1;
        let line = match line {
            Bytes::Whole(line) => line,
            Bytes::Torn(_) => {
                walk.find(Kind::Torn, "the last entry was never finished: its writer died, or the disk was full");
                continue;
            }
            Bytes::TooLong(_) => {
                walk.unreadable("a line is longer than any entry");
                continue;
            }
        };
        let (Ok(entry), Some((digest, mac))) = (serde_json::from_slice::<Entry>(line), parts(line, None)) else {
            // A writer died in the middle of this one, and the next went on without it.
            walk.find(
                if line.starts_with(b"{\"v\":") && !line.ends_with(b"\"}") { Kind::Torn } else { Kind::Unreadable },
                "this line is no entry",
            );
            continue;
        };
        let first = walk.head().0 == 0;
        let key = keys.entry(entry.key.clone()).or_insert_with(|| trust.keys.as_ref().and_then(|keys| keys.get(&entry.key).ok()));
        if let (true, Some(key)) = (first, &key) {
            walk.sealed_by(LEDGER, &key.seal);
        }
        if walk.head().1 != entry.previous && !walk.broken() {
            walk.find(Kind::HeadDiffers, format!("entry {} follows another head than those before it come to", entry.seq));
        }
        walk.step(key.as_ref().map(|key| &key.seal), entry.seq, &digest, mac);
        reached |= anchor.is_some_and(|anchor| *anchor == walk.head());
        enter(&mut known, entry.event);
    }
    if !reached {
        walk.line = 0;
        walk.find(Kind::AnchorMissing, "the ledger does not come to the head that was kept elsewhere: it was cut off, or is another");
    }
    let proven = keys.values().all(Option::is_some) && !keys.is_empty();
    if !proven {
        walk.line = 0;
        walk.find(Kind::UnknownKey, "a key that seals entries of the ledger is not at hand");
    }
    let key = keys.keys().next_back().cloned();
    Ok((Verdict { key, ..Verdict::of(LEDGER.to_owned(), vec![path], walk, proven) }, known))
}

fn enter(known: &mut BTreeMap<String, Known>, event: LedgerEvent) {
    match event {
        LedgerEvent::Opened { session } => drop(known.entry(session).or_default()),
        LedgerEvent::Head { session, records, head, .. } => {
            let log = known.entry(session).or_default();
            (log.records, log.head) = (records, Some(head));
        }
        LedgerEvent::Pruned { session, .. } => known.entry(session).or_default().pruned = true,
        LedgerEvent::Erased { session, records } => known.entry(session).or_default().erased.extend(records),
        LedgerEvent::KeyRotated { .. } | LedgerEvent::DeliveryFailed { .. } | LedgerEvent::Held { .. } | LedgerEvent::Released { .. } => {}
    }
}
