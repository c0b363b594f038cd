//! What the scripted model says, turn by turn, and how it fails.

use super::RecordedRequest;
use crate::model::Usage;
use std::{collections::VecDeque, fmt, time::Duration};

/// Turns, each used up by one request.
#[derive(Debug, Default)]
pub struct Script {
    /// What is answered, in order.
    pub turns: VecDeque<Turn>,
    /// What is answered when no turn is left.
    pub when_exhausted: WhenExhausted,
    /// Whether a WebSocket is offered.
    pub websocket: bool,
}

impl Script {
    /// A script that answers with a short message when it is used up.
    pub fn new(turns: impl IntoIterator<Item = Turn>) -> Self {
        Self { turns: turns.into_iter().collect(), when_exhausted: WhenExhausted::Message, websocket: false }
    }

    /// The same over a WebSocket, if it is asked for one.
    #[must_use]
    pub fn over_websocket(mut self) -> Self {
        self.websocket = true;
        self
    }
}

/// What is answered when no turn is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenExhausted {
    /// The message "done".
    #[default]
    Message,
    /// HTTP status 500.
    Http500,
}

/// One answer.
#[derive(Debug)]
pub struct Turn {
    pub(super) items: Items,
    pub(super) fault: Option<Fault>,
    pub(super) pace: Pace,
    pub(super) chunking: Chunking,
    pub(super) usage: Option<Usage>,
}

impl Turn {
    /// Answers with these items.
    pub fn items(items: impl IntoIterator<Item = ScriptItem>) -> Self {
        Self::of(Items::Fixed(items.into_iter().collect()))
    }

    /// Answers with what `compute` makes of the request, for a model that reacts to what its tools said.
    pub fn computed(compute: impl Fn(&RecordedRequest) -> Vec<ScriptItem> + Send + Sync + 'static) -> Self {
        Self::of(Items::Computed(Box::new(compute)))
    }

    /// Answers with one message.
    pub fn message(text: &str) -> Self {
        Self::items([ScriptItem::message(text)])
    }

    /// Asks for one call. The call's id is `call_R_I`: the request's number (from 0) and the item's place in the answer.
    pub fn call(name: &str, arguments: &str) -> Self {
        Self::items([ScriptItem::call(name, arguments)])
    }

    /// The same turn, going wrong.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// The same turn, slower.
    #[must_use]
    pub fn with_pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// The same turn, with its bytes cut another way.
    #[must_use]
    pub fn with_chunking(mut self, chunking: Chunking) -> Self {
        self.chunking = chunking;
        self
    }

    /// The same turn, reporting these token counts instead of simulated ones.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }

    fn of(items: Items) -> Self {
        Self { items, fault: None, pace: Pace::default(), chunking: Chunking::default(), usage: None }
    }
}

type Compute = Box<dyn Fn(&RecordedRequest) -> Vec<ScriptItem> + Send + Sync>;

pub(super) enum Items {
    Fixed(Vec<ScriptItem>),
    Computed(Compute),
}

impl Items {
    pub(super) fn resolve(self, request: &RecordedRequest) -> Vec<ScriptItem> {
        match self {
            Self::Fixed(items) => items,
            Self::Computed(compute) => compute(request),
        }
    }
}

impl fmt::Debug for Items {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(items) => formatter.debug_tuple("Fixed").field(items).finish(),
            Self::Computed(_) => formatter.write_str("Computed"),
        }
    }
}

/// One output item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptItem {
    /// Text, streamed as several deltas.
    Message {
        /// The text.
        text: String,
    },
    /// Reasoning with a summary, and an encrypted part made of `encrypted_bytes` letters.
    Reasoning {
        /// The readable summary.
        summary: String,
        /// Length of the part that stands for the encrypted reasoning.
        encrypted_bytes: usize,
    },
    /// A call.
    FunctionCall {
        /// The tool's name.
        name: String,
        /// JSON text, sent as it is.
        arguments: String,
    },
    /// Any item, as it is.
    Raw(serde_json::Value),
}

impl ScriptItem {
    /// A message.
    pub fn message(text: &str) -> Self {
        Self::Message { text: text.to_owned() }
    }

    /// Reasoning with an encrypted part of 600 letters.
    pub fn reasoning(summary: &str) -> Self {
        Self::Reasoning { summary: summary.to_owned(), encrypted_bytes: 600 }
    }

    /// A call.
    pub fn call(name: &str, arguments: &str) -> Self {
        Self::FunctionCall { name: name.to_owned(), arguments: arguments.to_owned() }
    }
}

/// How fast an answer comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// Wait before the head of the response.
    pub delay: Duration,
    /// Wait before each event but the first.
    pub drip: Duration,
}

/// How an answer's bytes are cut into chunks of the body. The network may join chunks again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Chunking {
    /// A chunk for each event.
    #[default]
    PerEvent,
    /// Chunks of this many bytes (at least 1), whatever they cut through.
    Bytes(usize),
    /// One chunk.
    Whole,
}

/// How an answer goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Another HTTP status than 200.
    Status {
        /// The status.
        status: u16,
        /// Extra headers.
        headers: Vec<(String, String)>,
        /// The body, sent as JSON.
        body: String,
    },
    /// The connection ends in order (FIN) after this many events, in the middle of the body.
    CutAfter {
        /// How many events are sent.
        events: usize,
    },
    /// The connection is reset (RST) after this many events.
    ResetAfter {
        /// How many events are sent.
        events: usize,
    },
    /// Nothing is sent for a while after this many events; then the answer goes on.
    StallAfter {
        /// How many events are sent before.
        events: usize,
        /// How long.
        length: Duration,
    },
    /// `response.failed` in place of `response.completed`; with `after_items` after the items, else instead of them.
    FailedEvent {
        /// The code.
        code: String,
        /// The message.
        message: String,
        /// Whether the items come first.
        after_items: bool,
    },
    /// An `error` event in place of the items and `response.completed`.
    ErrorEvent {
        /// The code.
        code: String,
        /// The message.
        message: String,
    },
    /// `response.incomplete` in place of `response.completed`.
    Incomplete {
        /// The reason.
        reason: String,
    },
    /// The stream is odd or broken.
    Malformed(Malformed),
}

impl Fault {
    /// A status with a JSON body that has a code and a message, as OpenAI's service sends it.
    pub fn status(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({"error": {"code": code, "message": message, "type": code}}).to_string();
        Self::Status { status, headers: Vec::new(), body }
    }
}

/// How a stream is odd or broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Malformed {
    /// An event whose data is cut JSON, among good ones.
    BadJson,
    /// An event of an unknown type, among good ones.
    UnknownEvent,
    /// The stream ends in order, without `response.completed`.
    NoCompleted,
    /// These bytes in place of the items and `response.completed`.
    Garbage(Vec<u8>),
    /// Lines end in CR LF.
    Crlf,
    /// Comments between the events.
    Comments,
    /// Chunks of one byte, so that characters are cut.
    SplitUtf8,
    /// An event of this many bytes that never ends, in place of the items and `response.completed`.
    HugeEvent(usize),
}
