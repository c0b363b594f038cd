//! The calls in their order, on the gate: those that only read run side by side, any other runs alone, and none overtakes one that came before it and may
//! change something.

use std::{collections::VecDeque, pin::Pin};

use futures_util::{StreamExt, stream::FuturesUnordered};
use rmcp::model::{CallToolResult, ErrorData, JsonObject};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{
    answer,
    offer::{self, Task},
};
use crate::{
    audit::CallStatus,
    tools::{Gate, GateError, Outcome},
};

/// Characters of the caller's own name and version that are recorded.
const CLIENT_SHOWN: usize = 64;

/// What the protocol's side asks for.
#[derive(Debug)]
pub(super) enum Message {
    /// The caller says who it is.
    Client(String),
    /// It calls a tool.
    Call(Request),
}

impl Message {
    /// Who says it.
    pub(super) fn client(&self) -> &str {
        match self {
            Self::Client(client) => client,
            Self::Call(request) => &request.client,
        }
    }
}

/// A call that is asked for.
#[derive(Debug)]
pub(super) struct Request {
    /// Who the caller says that it is.
    pub(super) client: String,
    pub(super) name: String,
    pub(super) arguments: JsonObject,
    /// Fired when the caller takes it back.
    pub(super) cancelled: CancellationToken,
    /// Where the answer goes. Nobody waits there for that of a call that was taken back.
    pub(super) answer: oneshot::Sender<Result<CallToolResult, ErrorData>>,
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<(), GateError>> + 'a>>;

/// See the module.
pub(super) struct Calls<'a> {
    gate: &'a Gate,
    /// Fired when all of them are to end.
    closed: CancellationToken,
    waiting: VecDeque<(Request, Task)>,
    running: FuturesUnordered<Running<'a>>,
    alone: bool,
    /// How many there were.
    number: u64,
    begun: bool,
}

impl<'a> Calls<'a> {
    pub(super) fn new(gate: &'a Gate, closed: CancellationToken) -> Self {
        Self { gate, closed, waiting: VecDeque::new(), running: FuturesUnordered::new(), alone: false, number: 0, begun: false }
    }

    /// Whether none runs.
    pub(super) fn idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Whether the session has begun.
    pub(super) const fn begun(&self) -> bool {
        self.begun
    }

    /// Takes what the protocol's side asks for, once the session has begun.
    pub(super) fn take(&mut self, message: Message) {
        if let Message::Call(request) = message {
            let task = offer::task(&request.name, request.arguments.clone());
            self.waiting.push_back((request, task));
            self.start();
        }
    }

    /// Waits until one of those that run has ended.
    pub(super) async fn next(&mut self) -> Result<(), GateError> {
        let ended = self.running.next().await.unwrap_or(Ok(()));
        self.start();
        ended
    }

    /// Waits until all of those that run have ended. If nobody has called yet, the beginning of the session is recorded now, with an unknown caller.
    pub(super) async fn end(mut self) -> Result<(), GateError> {
        self.waiting.clear();
        let mut ended = self.begin("unknown").map(drop);
        while let Some(one) = self.running.next().await {
            ended = ended.and(one);
        }
        ended
    }

    /// The session's beginning is recorded when it is known who calls, and before the first call. Whether this was it.
    pub(super) fn begin(&mut self, client: &str) -> Result<bool, GateError> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(false);
        }
        // Redacted before it is clipped, so that no part of a secret is left.
        let client: String = self.gate.redact(client).chars().take(CLIENT_SHOWN).collect();
        self.gate.record_session("mcp", &client)?;
        Ok(true)
    }

    fn start(&mut self) {
        // All of them, so that calls that are made and taken back again behind a long one do not pile up.
        self.waiting.retain(|(request, _)| !request.cancelled.is_cancelled());
        while let Some((_, task)) = self.waiting.front() {
            let only_reads = match task {
                Task::Tool { name, arguments } => Gate::only_reads(name, arguments),
                Task::Explain { .. } | Task::Refused { .. } | Task::Unknown { .. } => true,
            };
            if !self.running.is_empty() && (self.alone || !only_reads) {
                return;
            }
            self.alone = !only_reads;
            self.number += 1;
            let id = format!("mcp-{}", self.number);
            let Some((request, task)) = self.waiting.pop_front() else { return };
            self.running.push(Box::pin(carry_out(self.gate, id, request, task, self.closed.clone())));
        }
    }
}

/// Carries out one call, unless it is taken back or everything ends: then it is dropped, which ends its processes.
async fn carry_out(gate: &Gate, id: String, request: Request, task: Task, closed: CancellationToken) -> Result<(), GateError> {
    let Request { cancelled, answer, .. } = request;
    let done = tokio::select! {
        done = run(gate, &id, &task) => Some(done),
        () = cancelled.cancelled() => None,
        () = closed.cancelled() => None,
    };
    let told = match done {
        Some(Ok(told)) => told,
        Some(Err(error)) => {
            let _ = answer.send(Err(ErrorData::internal_error(error.to_string(), None)));
            return Err(error);
        }
        None => {
            gate.interrupted(&id)?;
            let text =
                "Ended before it was done, because the caller took it back or closed its end. What it had done until then is not undone.";
            Ok(answer::result(Outcome::of(CallStatus::Interrupted, text), None))
        }
    };
    let _ = answer.send(told);
    Ok(())
}

async fn run(gate: &Gate, id: &str, task: &Task) -> Result<Result<CallToolResult, ErrorData>, GateError> {
    let (mut outcome, explanation) = match task {
        Task::Tool { name, arguments } => match gate.call(id, name, arguments).await {
            // There is no turn to stop; the call was refused, and is on record so.
            Err(GateError::Stopped) => (Outcome::of(CallStatus::Refused, "Refused: the approver stopped the call."), None),
            outcome => (outcome?, None),
        },
        Task::Explain { arguments, question } => {
            let (outcome, explanation) = gate.explain(id, "policy_explain", arguments, question)?;
            (outcome, Some(explanation))
        }
        Task::Refused { name, arguments, reason } => (gate.refuse(id, name, arguments, reason)?, None),
        Task::Unknown { name, arguments } => {
            let text = format!("there is no tool `{}`; the tools are {}", name.escape_debug(), offer::names());
            gate.refuse(id, name, arguments, &text)?;
            return Ok(Err(ErrorData::invalid_params(text, None)));
        }
    };
    for note in gate.take_notes() {
        outcome.text.push_str(&format!("\n[portcullis] {note}"));
    }
    Ok(Ok(answer::result(outcome, explanation)))
}
