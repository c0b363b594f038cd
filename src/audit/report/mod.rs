//! What an auditor asks of sessions, answered from their logs: who did what, who allowed it, what was refused, and by what. Lists are capped, and
//! say how much more there is; what is counted is counted whole.

mod collect;
pub mod escape;
pub mod html;

use serde::Serialize;

use super::verify::Verdict;
use crate::approval::Grant;

pub use collect::Collector;

/// The version of the JSON form. A reader ignores fields that it does not know.
pub const VERSION: u32 = 1;
/// The most calls, moments and other entries of one list.
pub const LIST_CAP: usize = 2_000;

/// See the module.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`VERSION`].
    pub v: u32,
    /// When it was made, RFC 3339 in UTC.
    pub made: String,
    /// The sessions, oldest first.
    pub sessions: Vec<Session>,
    /// What is granted beyond policies, on this machine, at the time of the report.
    pub grants: Vec<LiveGrant>,
}

/// A list that may be cut.
#[derive(Debug, Clone, Serialize)]
pub struct List<T> {
    /// Its beginning.
    pub items: Vec<T>,
    /// How many there are in all.
    pub total: u64,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { items: Vec::new(), total: 0 }
    }
}

impl<T> List<T> {
    /// Adds one.
    pub fn push(&mut self, item: T) {
        self.total += 1;
        if self.items.len() < LIST_CAP {
            self.items.push(item);
        }
    }

    /// How many are not in it.
    pub fn left_out(&self) -> u64 {
        self.total - self.items.len() as u64
    }
}

/// One session.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Session {
    /// Its id.
    pub session: String,
    /// When its log begins, RFC 3339.
    pub began: String,
    /// When it ends.
    pub ended: String,
    /// Whether it was ended in order.
    pub in_order: bool,
    /// Milliseconds from its first record to its last, by the clock that is never set back.
    pub duration_ms: u64,
    /// The program's version.
    pub version: String,
    /// The user's number.
    pub uid: Option<u32>,
    /// The workspace.
    pub workspace: String,
    /// The endpoint's base URL.
    pub endpoint: String,
    /// The model.
    pub model: String,
    /// What was in force.
    pub policy: InForce,
    /// How much there was.
    pub counts: Counts,
    /// What ran, and what was refused.
    pub calls: List<Call>,
    /// What else happened.
    pub moments: List<Moment>,
    /// What was granted, and used.
    pub grants: List<SessionGrant>,
    /// Refusals, the most frequent rule first.
    pub denials: Vec<Denials>,
    /// Rules that many calls ran into, which looks like somebody trying doors.
    pub probing: Vec<Probing>,
    /// What could reach a network.
    pub network: Network,
    /// What the probes of the policy came to, as it was recorded.
    pub certificate: Option<serde_json::Value>,
    /// Whether the log is what was written, and all of it; none where it was not verified.
    pub verdict: Option<Verdict>,
}

/// The policy in force.
#[derive(Debug, Clone, Default, Serialize)]
pub struct InForce {
    /// Its name.
    pub name: String,
    /// SHA-256 of its canonical form, in hexadecimal.
    pub fingerprint: String,
    /// Its files, with the role of each.
    pub sources: Vec<(String, String)>,
    /// Its canonical form, where the log has it.
    pub canonical: Option<String>,
    /// What of its files did not count, and why.
    pub notes: Vec<String>,
}

/// How much there was of what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Lines of the log.
    pub lines: u64,
    /// Lines that are no record.
    pub unreadable: u64,
    /// Records whose content was taken out.
    pub erased: u64,
    /// Records of events that this program does not know.
    pub unknown: u64,
    /// Records that could not be written.
    pub lost: u64,
    /// Calls that ran to a good end.
    pub ok: u64,
    /// Calls that failed by their own account.
    pub failed: u64,
    /// Calls that did not run.
    pub refused: u64,
    /// Calls that a limit, a person or a broken sandbox ended.
    pub cut_short: u64,
    /// Refusals by the sandbox.
    pub denials: u64,
    /// Questions that were put.
    pub questions: u64,
    /// Turns.
    pub turns: u64,
    /// Requests to the model.
    pub requests: u64,
    /// Input tokens.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
}

impl Counts {
    /// Whether something of the log could not be taken into the report.
    pub fn is_partial(&self) -> bool {
        [self.lost, self.unreadable, self.erased, self.unknown].iter().any(|count| *count > 0)
    }
}

/// One call.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Call {
    /// Its id.
    pub call: String,
    /// Wall-clock time of the intent.
    pub time: String,
    /// Milliseconds after the session's first record.
    pub at_ms: u64,
    /// The tool.
    pub tool: String,
    /// What it is about, capped at [`TEXT_CAP`](super::sentence::TEXT_CAP) bytes.
    pub action: String,
    /// Bytes of its arguments.
    pub argument_bytes: u64,
    /// `allow` or `refuse`.
    pub decision: String,
    /// Who decided.
    pub decided_by: String,
    /// By which rule, or why.
    pub rule: Option<String>,
    /// What of it was not plainly understood.
    pub opaque: Option<String>,
    /// What was asked about it.
    pub question: Option<Question>,
    /// How it ended; none where the log does not say.
    pub status: Option<&'static str>,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// Milliseconds.
    pub duration_ms: u64,
    /// Bytes that it wrote.
    pub output_bytes: u64,
    /// What the kernel was told to enforce, in words.
    pub enforced: Option<String>,
    /// What it was refused.
    pub denials: Vec<String>,
}

/// A question and its answer.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Question {
    /// Why it was asked.
    pub because: String,
    /// SHA-256 over what was shown.
    pub shown: String,
    /// What an answer for longer would have allowed.
    pub lasting: Option<String>,
    /// The answer.
    pub answer: Option<String>,
    /// Who gave it.
    pub by: Option<String>,
    /// How long it took: how long they looked.
    pub waited_ms: Option<u64>,
    /// What they said.
    pub text: Option<String>,
}

/// Something else that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Moment {
    /// Wall-clock time.
    pub time: String,
    /// Milliseconds after the session's first record.
    pub at_ms: u64,
    /// How it is to be seen.
    pub mood: super::sentence::Mood,
    /// The event in a word.
    pub what: String,
    /// In words.
    pub text: String,
}

/// A grant, as a session saw it.
#[derive(Debug, Clone, Serialize)]
pub struct SessionGrant {
    /// Its id.
    pub grant: String,
    /// What it allows.
    pub allows: String,
    /// How far it reaches.
    pub scope: String,
    /// When it was given, or was found at the start.
    pub time: String,
    /// Whether it was taken back in the session.
    pub revoked: bool,
    /// How many calls it decided.
    pub uses: u64,
    /// The last of them.
    pub last_used: Option<String>,
}

/// A grant on this machine.
#[derive(Debug, Clone, Serialize)]
pub struct LiveGrant {
    /// The grant.
    pub grant: Grant,
    /// Whether its time is over.
    pub expired: bool,
    /// How many calls of the sessions of this report it decided.
    pub uses: u64,
    /// The last of them.
    pub last_used: Option<String>,
}

/// Refusals by one rule.
#[derive(Debug, Clone, Serialize)]
pub struct Denials {
    /// The rule, as file and line.
    pub rule: String,
    /// The layer that refused.
    pub layer: String,
    /// How often.
    pub times: u64,
    /// In how many calls.
    pub calls: u64,
    /// What was refused, with how often: the first of them.
    pub resources: Vec<(String, u64)>,
    /// How certain the last was.
    pub certainty: String,
    /// The smallest change that would have allowed the last.
    pub grant: Option<String>,
}

/// One rule that several calls ran into.
#[derive(Debug, Clone, Serialize)]
pub struct Probing {
    /// What was tried.
    pub what: String,
    /// In how many calls.
    pub calls: u64,
    /// The first of them and the last.
    pub times: (String, String),
}

/// What could reach a network.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Network {
    /// The policy's mode, where the log has the policy.
    pub mode: Option<String>,
    /// Calls that had a network namespace of their own.
    pub isolated: u64,
    /// Calls that shared the host's.
    pub open: u64,
    /// Where calls connected to through the proxy, or would have: most bytes first.
    pub destinations: Vec<Destination>,
    /// Connections to more destinations than are told apart.
    pub elsewhere: u64,
}

/// A host and port, and what passed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Destination {
    /// Host and port.
    pub target: String,
    /// Connections and plain requests that were made.
    pub served: u64,
    /// Those that a rule, or the lack of one, did not let out.
    pub refused: u64,
    /// Those that could not be made.
    pub failed: u64,
    /// Bytes to it.
    pub sent: u64,
    /// Bytes from it.
    pub received: u64,
    /// The rule that decided on the last.
    pub rule: Option<String>,
}

impl Destination {
    /// In a line.
    pub fn sentence(&self) -> String {
        let Self { target, served, refused, failed, sent, received, rule } = self;
        let mut said = vec![format!("{served} served, {sent} bytes out, {received} in")];
        said.extend((*refused > 0).then(|| format!("{refused} refused")));
        said.extend((*failed > 0).then(|| format!("{failed} not reached")));
        let rule = rule.as_ref().map_or_else(String::new, |rule| format!(" ({rule})"));
        format!("{target}: {}{rule}", said.join(", "))
    }
}

impl Network {
    /// In a sentence.
    pub fn sentence(&self) -> String {
        let mode = self.mode.as_ref().map(|mode| format!(" (network mode {mode})")).unwrap_or_default();
        match (self.isolated, self.open) {
            (0, 0) => format!("No call ran{mode}."),
            (_, 0) if self.mode.as_deref() == Some("allowlist") || !self.destinations.is_empty() => {
                format!("Each call had a network namespace of its own, with no way out but the proxy{mode}.")
            }
            (_, 0) => format!("No call could reach a network: each had a network namespace of its own, as it was really applied{mode}."),
            (_, open) => {
                format!(
                    "The policy opened the network to {open} calls{mode}. Where they connected to is not recorded, nor how many bytes went."
                )
            }
        }
    }
}
