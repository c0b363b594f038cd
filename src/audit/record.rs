//! One line of the log.
//!
//! A record is a JSON object on one line. `v` is the version of the schema; a reader ignores fields that it does not know. The last field of
//! each line is its `mac` ([`super::chain`]).

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    egress::{Connection, Ending, Protocol},
    policy::{Ask, Permission, Scope, Wider},
    sandbox::{Applied, RefusedCall, Undone},
};

/// The version of the schema that this program writes.
pub const SCHEMA: u32 = 2;

/// A record: the envelope, then what happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// The version of the schema: [`SCHEMA`].
    pub v: u32,
    /// Counts up from 0 without a gap within a session.
    pub seq: u64,
    /// The session, a UUID of version 7.
    pub session: String,
    /// Wall-clock time, RFC 3339 in UTC with milliseconds.
    pub time: String,
    /// Nanoseconds since the session began, by a clock that is never set back.
    pub monotonic_ns: u64,
    /// 16 bytes in hexadecimal that nobody without the key can foretell, so that the digest of an erased record gives no guess away.
    #[serde(default)]
    pub salt: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The log begins. Always its first record.
    LogOpened {
        /// The id of the key that seals and signs it.
        key: String,
        /// The public half of what signs it: Ed25519 (RFC 8032), 32 bytes in hexadecimal.
        public: String,
    },
    /// What the log came to so far, signed. Written every so many records, once in a while though nothing happens, and at the end.
    Checkpoint {
        /// Why now.
        cause: Cause,
        /// Records before this one.
        records: u64,
        /// The head of the public chain over them, 32 bytes in hexadecimal.
        head: String,
        /// The key that signed, by its id.
        key: String,
        /// Ed25519 over the text that [`super::chain::statement`] makes of these, 64 bytes in hexadecimal.
        signature: String,
    },
    /// Records were lost, because the log could not be written and the policy said to go on (`[audit] on_failure = "continue"`).
    LogTrouble {
        /// How many.
        lost: u64,
        /// What the system said, the last time.
        error: String,
    },
    /// The policy that is in force, whole.
    Policy {
        /// Its fingerprint: the SHA-256 of the next field.
        fingerprint: String,
        /// Its canonical form.
        canonical: String,
        /// What of its files does not count, and why.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        notes: Vec<String>,
    },
    /// That the statements of the policy were probed against this kernel, and what came of it.
    Certificate {
        /// As `portcullis policy verify --json` prints it.
        certificate: serde_json::Value,
    },
    /// A session began.
    SessionStart {
        /// The program's version.
        version: String,
        /// The user's number on the host.
        uid: u32,
        /// The agent's process id.
        pid: u32,
        /// The workspace.
        workspace: String,
        /// The policy's name.
        policy: String,
        /// Its fingerprint, SHA-256 in hexadecimal.
        fingerprint: String,
        /// The files that it was merged from, with the role of each.
        sources: Vec<(String, String)>,
        /// The endpoint's base URL.
        endpoint: String,
        /// The model's name.
        model: String,
    },
    /// The session goes on with the conversation of an earlier one.
    Resumed {
        /// The one whose conversation it is, a UUID of version 7. Not `session`, which the envelope has: a record with two of them is none.
        from: String,
    },
    /// The conversation was compacted: the prompt did not only grow here.
    Compaction {
        /// Bytes of it before.
        before_bytes: u64,
        /// Bytes of it now.
        after_bytes: u64,
        /// Why: `asked`, `full` or `too-long`.
        cause: String,
    },
    /// A call is about to run, or was refused. Written before anything starts.
    CallIntent {
        /// The call's id, as the model gave it.
        call: String,
        /// The tool's name, as the model gave it.
        tool: String,
        /// Its arguments, as the model gave them, redacted.
        arguments: String,
        /// `allow`, `refuse`.
        decision: String,
        /// Who decided: `policy`, `rule`, `arguments`, `grant`, `hook`; or who was asked: `person`, `approver`, `timeout`, `nobody`.
        decided_by: String,
        /// The rule that decided, as file and line, or the reason.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        rule: Option<String>,
        /// What of a shell command is not plainly understood, so that rules were only looked for among its words.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        opaque: Option<String>,
    },
    /// A question is put to somebody.
    Question {
        /// The call that it is about.
        call: String,
        /// SHA-256 over the lines that whoever is asked is shown, in hexadecimal.
        shown: String,
        /// Why it is asked: the rule, with file and line, or the mode.
        because: String,
        /// What an answer for longer than this call would allow.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        lasting: Option<Permission>,
    },
    /// What came of a question.
    Answer {
        /// The call.
        call: String,
        /// `once`, `always`, `edit`, `refuse`, `stop`.
        answer: String,
        /// Who answered: `person`, `approver`, `timeout`, `nobody`.
        by: String,
        /// Milliseconds from the question.
        waited_ms: u64,
        /// The word to the model, the changed command, or why nobody answered; redacted.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        text: Option<String>,
    },
    /// Something was allowed for longer than one call, or was found to be at the session's start.
    Granted {
        /// The grant's id.
        grant: String,
        /// What is allowed.
        permission: Permission,
        /// How far it reaches.
        scope: Scope,
    },
    /// A grant was taken back.
    Revoked {
        /// The grant's id.
        grant: String,
    },
    /// Other access is in force from here on.
    InForce {
        /// The fingerprint of the policy with what was granted.
        fingerprint: String,
        /// What was granted.
        wider: Vec<Wider>,
    },
    /// The session uses an MCP server.
    Server {
        /// Its name.
        server: String,
        /// SHA-256 of what was approved of it, in hexadecimal, as `portcullis mcp review` prints it.
        approved: String,
        /// The name of its policy.
        policy: String,
        /// The fingerprint of its policy with all bounds of the workspace, SHA-256 in hexadecimal.
        fingerprint: String,
    },
    /// Other calls ask from here on.
    AskMode {
        /// The mode, as a policy writes it.
        mode: Ask,
    },
    /// A program in the background ended.
    BackgroundEnd {
        /// The call that started it.
        call: String,
        /// How it ended.
        status: CallStatus,
        /// Its exit code, as a shell reports it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        exit_code: Option<i32>,
        /// Wall-clock milliseconds.
        duration_ms: u64,
        /// Bytes that it wrote.
        output_bytes: u64,
        /// Every system call that the filter refused.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        refused_calls: Vec<RefusedCall>,
        /// What it had made and must not stay.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        undone: Vec<Undone>,
    },
    /// What came of a call.
    CallOutcome {
        /// The call's id.
        call: String,
        /// How it ended.
        status: CallStatus,
        /// Its exit code, as a shell reports it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        exit_code: Option<i32>,
        /// Wall-clock milliseconds, launch included.
        duration_ms: u64,
        /// Bytes that it wrote.
        output_bytes: u64,
        /// Peak memory of its largest process, in bytes.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        peak_bytes: Option<u64>,
        /// What the kernel was really told to enforce.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        applied: Option<Applied>,
        /// What was refused on the way.
        denials: Vec<Denial>,
        /// Every system call that the filter refused, also those that programs try and do without.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        refused_calls: Vec<RefusedCall>,
        /// The image that the model was sent.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        image: Option<SentImage>,
    },
    /// A call connected to a host through the proxy, or was refused it. Stands before the call's outcome.
    Connection {
        /// The call.
        call: String,
        /// Host and port, as they were judged; else as the client wrote them, shortened.
        target: String,
        /// How the client asked.
        protocol: Protocol,
        /// The method of a plain request.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        method: Option<String>,
        /// The address that was connected to.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        address: Option<IpAddr>,
        /// What became of it.
        ending: Ending,
        /// The rule that decided, as it is written, with file and line.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        rule: Option<String>,
        /// Bytes to the host.
        sent: u64,
        /// Bytes from the host.
        received: u64,
        /// Milliseconds from its beginning to its end.
        duration_ms: u64,
    },
    /// There were more connections of a call than are recorded one by one.
    ConnectionsMore {
        /// The call.
        call: String,
        /// How many.
        more: u64,
    },
    /// A hook of the person's ran. Before a call it stands before the call's intent, after a call before its outcome.
    Hook {
        /// The hook, as file and line.
        hook: String,
        /// When it runs, as the file says it: `before-call`, `after-call`, `session-start` or `session-stop`.
        on: String,
        /// The call that it is about.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        call: Option<String>,
        /// How it ended. What gave no answer that counts has not succeeded.
        status: CallStatus,
        /// Wall-clock milliseconds, launch included.
        duration_ms: u64,
        /// What it decided: `allow`, `ask`, `refuse`; none where it had nothing to decide.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        decision: Option<String>,
        /// Its reason, or why its answer does not count; redacted.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reason: Option<String>,
    },
    /// A turn ended.
    TurnEnd {
        /// `answered`, `interrupted` or `failed`.
        outcome: String,
        /// Requests made.
        requests: u64,
        /// Input tokens, of which `cached_tokens` came from the provider's cache.
        input_tokens: u64,
        /// See `input_tokens`.
        cached_tokens: u64,
        /// Output tokens.
        output_tokens: u64,
    },
    /// The session ended in order.
    SessionEnd,
}

impl Event {
    /// A connection of a call's.
    pub fn connection(call: &str, connection: Connection) -> Self {
        let rule = connection.decided_by();
        let Connection { target, protocol, method, address, ending, sent, received, duration_ms, .. } = connection;
        Self::Connection { call: call.to_owned(), target, protocol, method, address, ending, rule, sent, received, duration_ms }
    }
}

/// Why a checkpoint was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// So many records were written since the last.
    Count,
    /// So much time has gone by: the writer lives.
    Heartbeat,
    /// The log is closed.
    Close,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallStatus {
    /// It ran and succeeded.
    Ok,
    /// It ran and failed by its own account.
    Failed,
    /// It did not run: policy, rule or arguments.
    Refused,
    /// A limit ended it.
    Limit,
    /// The sandbox could not be made, or broke.
    Broken,
    /// The person ended it.
    Interrupted,
}

/// An image that the model was sent, without its pixels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SentImage {
    /// SHA-256 over the encoded image, in hexadecimal.
    pub sha256: String,
    /// Bytes of the encoded image.
    pub bytes: u64,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// A refusal by the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Denial {
    /// What was refused: a path, `network`, or a system call.
    pub resource: String,
    /// `read`, `write`, `connect` or `call`.
    pub access: String,
    /// The layer that refused, in words: the mount namespace, Landlock, seccomp, the network namespace, the sweep.
    pub layer: String,
    /// The rule: policy file and line.
    pub rule: String,
    /// `kernel` where the kernel reported this very access, `observed` where its effect was found and undone, `inferred` where it follows
    /// from the policy and the program's words.
    pub certainty: String,
    /// The smallest change of policy that would have allowed it; none where no policy can.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub grant: Option<String>,
    /// What a person could grant so that it is not refused.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub wider: Option<Wider>,
}

impl Denial {
    /// In one line, for the model and for people.
    pub fn sentence(&self) -> String {
        let Self { resource, access, layer, rule, certainty, grant, wider: _ } = self;
        let grant = grant.as_ref().map_or_else(|| "no policy can allow it".to_owned(), |grant| format!("smallest grant: {grant}"));
        format!("refused: {access} {resource} ({layer}; rule {rule}; {certainty}; {grant})")
    }
}
