//! Whether a log is what was written, and whether it is all of it: two verdicts, of one pass with flat memory.

mod ledger_pass;
mod log_pass;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    keys::Keys,
    ledger::{self, LEDGER},
    log::part_path,
    walk::{Finding, Kind, Walk},
};

pub use self::{ledger_pass::verify_ledger, log_pass::verify_log};

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
