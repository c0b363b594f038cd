//! The pass over the log of one session.

use std::{
    borrow::Cow,
    fs::{self, File},
    io::BufReader,
    path::PathBuf,
    time::Duration,
};

use serde::Deserialize;

use super::{
    super::{
        chain::statement,
        keys::{Key, is_signed},
        line::{self, Bytes},
        log::HEARTBEAT,
        record::{Cause, SCHEMA},
        walk::{Kind, Walk, parts},
    },
    Known, Trust, Verdict, VerifyError,
};

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
