//! One pass over the lines of a log or of the ledger: order, seals and the public head, with what is wrong called by its name.

use std::collections::BTreeSet;

use ring::hmac;

use super::chain::{self, Bytes32, Chain, hex, sha256};

/// How many missing records are remembered by number, so that one that stands elsewhere is called moved.
const REMEMBERED: u64 = 10_000;
/// The most findings that are kept of one log; how many more there were is said.
pub const MOST_FINDINGS: usize = 100;

/// What is wrong, or worth knowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A record does not match its seal: it was changed, or written by somebody without the key.
    Edited,
    /// Records are missing between others.
    Missing,
    /// A record stands in another place than it was written to.
    Moved,
    /// A record stands there again.
    Doubled,
    /// A line is no record.
    Unreadable,
    /// A record is of another session.
    Foreign,
    /// The first record is not the one with which a log begins.
    NoBeginning,
    /// A checkpoint's signature is not by the log's key.
    BadSignature,
    /// A checkpoint, or the ledger, signs another head than the records before it come to.
    HeadDiffers,
    /// Something follows behind the closing checkpoint.
    AfterClose,
    /// The key that it names is not at hand.
    UnknownKey,
    /// The last line was never finished: its writer died.
    Torn,
    /// The log was never closed: its writer was ended, or its end was cut off.
    NotClosed,
    /// The ledger knows of more records: the end was cut off.
    CutOff,
    /// The ledger knows of a log that is not there.
    LogMissing,
    /// A log is there that the ledger does not know.
    NotEntered,
    /// The ledger itself is gone.
    LedgerMissing,
    /// The ledger does not reach the head that was kept elsewhere.
    AnchorMissing,
    /// Records could not be written.
    Lost,
    /// What a record said was erased, without the ledger saying so.
    Erased,
    /// A newer program wrote it: that it is whole can be told, and not what it means.
    Newer,
    /// The clock on the wall was set back.
    ClockBack,
    /// The writer said nothing for longer than it should.
    Silence,
    /// It is being written.
    Running,
}

impl Kind {
    /// Whether it says that something was changed.
    pub const fn breaks_integrity(self) -> bool {
        matches!(
            self,
            Self::Edited
                | Self::Missing
                | Self::Moved
                | Self::Doubled
                | Self::Unreadable
                | Self::Foreign
                | Self::NoBeginning
                | Self::BadSignature
                | Self::HeadDiffers
                | Self::AfterClose
        )
    }

    /// Whether it says that something is not there which was, or should be.
    pub const fn breaks_completeness(self) -> bool {
        matches!(
            self,
            Self::Missing
                | Self::Torn
                | Self::NotClosed
                | Self::CutOff
                | Self::LogMissing
                | Self::NotEntered
                | Self::LedgerMissing
                | Self::AnchorMissing
                | Self::Lost
                | Self::Erased
        )
    }
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// The line of the file, counted from 1; 0 where it is about no line.
    pub line: u64,
    /// In words.
    pub text: String,
}

/// A pass.
#[derive(Debug)]
pub struct Walk {
    chain: Chain,
    /// The MAC of the line before.
    mac: Option<Bytes32>,
    next: u64,
    missing: BTreeSet<u64>,
    /// The line before was not in its place, so that the seal of this one rests on another.
    adrift: bool,
    /// Lines so far.
    pub line: u64,
    /// What was found.
    pub findings: Vec<Finding>,
    /// How much more was found.
    pub more: u64,
}

impl Walk {
    /// Before the first line of `name`.
    pub fn new(name: &str) -> Self {
        let chain = Chain::new(name, None);
        Self { chain, mac: None, next: 0, missing: BTreeSet::new(), adrift: false, line: 0, findings: Vec::new(), more: 0 }
    }

    /// Takes the name from the first record. To be called before the first step.
    pub fn named(&mut self, name: &str) {
        self.chain = Chain::new(name, None);
    }

    /// Checks seals with the key that the first line names. To be called before the first step.
    pub fn sealed_by(&mut self, name: &str, seal: &hmac::Key) {
        self.mac = Chain::new(name, Some(seal)).mac;
    }

    /// Notes something about the line that was read last.
    pub fn find(&mut self, kind: Kind, text: impl Into<String>) {
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(Finding { kind, line: self.line, text: text.into() });
        } else {
            self.more += 1;
        }
    }

    /// Whether anything so far says that it was changed.
    pub fn broken(&self) -> bool {
        self.findings.iter().any(|finding| finding.kind.breaks_integrity())
    }

    /// A line that is no record takes the place of one.
    pub fn unreadable(&mut self, text: impl Into<String>) {
        self.find(Kind::Unreadable, text);
        self.next = self.next.saturating_add(1);
        self.adrift = true;
    }

    /// Goes on by a record.
    pub fn step(&mut self, seal: Option<&hmac::Key>, seq: u64, digest: &Bytes32, mac: Bytes32) {
        let sealed = match (seal, &self.mac) {
            (Some(seal), Some(previous)) => Chain::mac_of(seal, previous, digest) == mac,
            _ => true,
        };
        let in_place = seq == self.next;
        if seq < self.next {
            if self.missing.remove(&seq) {
                self.find(Kind::Moved, format!("record {seq} stands here, behind record {}", self.next.saturating_sub(1)));
            } else {
                self.find(Kind::Doubled, format!("record {seq} stands here again"));
            }
        } else if seq > self.next {
            let gap = self.next..seq;
            let what = if gap.end - gap.start == 1 {
                format!("record {} is", gap.start)
            } else {
                format!("records {} to {} are", gap.start, seq - 1)
            };
            self.find(Kind::Missing, format!("{what} missing before record {seq}"));
            self.missing.extend(gap.take(usize::try_from(REMEMBERED).unwrap_or_default()));
        }
        if in_place && !sealed && !self.adrift {
            self.find(Kind::Edited, format!("record {seq} does not match its seal: it was changed, or written without the key"));
        }
        self.adrift = !in_place;
        self.next = self.next.max(seq.saturating_add(1));
        self.mac = Some(mac);
        self.chain.advance(None, digest);
    }

    /// Records so far, and the public head behind them.
    pub fn head(&self) -> (u64, String) {
        (self.chain.records, hex(&self.chain.head))
    }
}

/// The digest and the MAC of a line; of an erased record the digest that it has kept.
pub fn parts(line: &[u8], kept: Option<&str>) -> Option<(Bytes32, Bytes32)> {
    let (body, mac) = chain::open(line)?;
    match kept {
        Some(kept) => Some((chain::unhex(kept.as_bytes())?, mac)),
        None => Some((sha256(body), mac)),
    }
}
