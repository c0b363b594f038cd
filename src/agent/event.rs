//! What observers of a session see: the screen, and `--json`.
//!
//! As JSON each event is one object on one line: `{"v":1,"type":"…",…}`. `v` changes when a field changes its meaning or goes; new
//! fields and types may come without it.

use std::{collections::BTreeMap, io};

use serde::Serialize;

use super::cache::Report;
use crate::{
    audit::{CallStatus, Denial},
    model::Usage,
};

/// The version of the events as JSON.
pub const VERSION: u32 = 1;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type")]
pub enum Event {
    /// A session began.
    #[serde(rename = "session.started")]
    SessionStarted {
        /// Its id.
        session: String,
        /// The model's name.
        model: String,
        /// The endpoint's base URL.
        endpoint: String,
        /// The workspace.
        workspace: String,
        /// The policy's name.
        policy: String,
        /// The policy's fingerprint.
        fingerprint: String,
        /// The log.
        log: String,
    },
    /// A request is sent.
    #[serde(rename = "request.sent")]
    RequestSent {
        /// Counts from 1 within the session.
        number: u64,
        /// Bytes of its body.
        bytes: usize,
    },
    /// A request failed and is sent again. Text since the last finished item is void.
    #[serde(rename = "request.retried")]
    RequestRetried {
        /// Which retry, from 1.
        attempt: u32,
        /// How many there can be.
        of: u32,
        /// Milliseconds until then.
        wait_ms: u64,
        /// Why.
        why: String,
    },
    /// A part of a message, as it streams. Not part of `--json`.
    #[serde(skip)]
    TextDelta {
        /// The part.
        text: String,
    },
    /// A whole message of the model's.
    #[serde(rename = "message")]
    Message {
        /// Its text.
        text: String,
    },
    /// A readable summary of the model's reasoning.
    #[serde(rename = "reasoning")]
    Reasoning {
        /// The summary.
        text: String,
    },
    /// A call begins.
    #[serde(rename = "call.started")]
    CallStarted {
        /// Its id.
        call: String,
        /// The tool.
        tool: String,
        /// Its arguments as the model gave them, redacted.
        arguments: String,
    },
    /// A call ended.
    #[serde(rename = "call.finished")]
    CallFinished {
        /// Its id.
        call: String,
        /// The tool.
        tool: String,
        /// How it ended.
        status: CallStatus,
        /// A program's exit code.
        exit_code: Option<i32>,
        /// Wall-clock milliseconds.
        duration_ms: u64,
        /// What the model is told.
        output: String,
        /// What was refused.
        denials: Vec<Denial>,
    },
    /// Something odd that did no harm.
    #[serde(rename = "warning")]
    Warning {
        /// What.
        text: String,
    },
    /// A response's token counts.
    #[serde(rename = "usage")]
    Usage {
        /// Input tokens, cached ones included.
        input_tokens: u64,
        /// How many of them came from the provider's cache.
        cached_tokens: u64,
        /// Output tokens.
        output_tokens: u64,
        /// How many of the input tokens the cache should have known, where that can be told.
        #[serde(skip_serializing_if = "Option::is_none")]
        expected_tokens: Option<u64>,
        /// Why it knew less, if it did: the first segment that is another than before, or `evicted by the provider`.
        #[serde(skip_serializing_if = "Option::is_none")]
        miss: Option<String>,
    },
    /// The conversation was compacted.
    #[serde(rename = "compacted")]
    Compacted {
        /// Why: `asked`, `full` or `too-long`.
        cause: String,
        /// Bytes of it before.
        before_bytes: usize,
        /// Bytes of it now.
        after_bytes: usize,
    },
    /// The turn ended with an answer.
    #[serde(rename = "turn.finished")]
    TurnFinished {
        /// Requests made.
        requests: u64,
        /// Input tokens in all.
        input_tokens: u64,
        /// Cached ones among them.
        cached_tokens: u64,
        /// Output tokens in all.
        output_tokens: u64,
        /// What they cost in millionths of a dollar, where prices were given.
        #[serde(skip_serializing_if = "Option::is_none")]
        cost_millionths: Option<u64>,
        /// How often the provider's cache knew less than it should have, by reason, in the session so far.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        misses: BTreeMap<String, u64>,
    },
    /// The turn ended without one.
    #[serde(rename = "turn.failed")]
    TurnFailed {
        /// Why.
        error: String,
    },
}

impl Event {
    /// A response's token counts and what the cache made of them.
    pub fn usage(usage: &Usage, report: &Report) -> Self {
        let Usage { input_tokens, cached_tokens, output_tokens, .. } = *usage;
        Self::Usage { input_tokens, cached_tokens, output_tokens, expected_tokens: report.expected, miss: report.miss.clone() }
    }
}

/// Sees events as they happen. An error (a standard output that is gone, say) ends the turn.
pub trait Observer {
    /// One event.
    fn event(&mut self, event: &Event) -> io::Result<()>;
}
