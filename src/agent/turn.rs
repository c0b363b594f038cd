//! One turn: from what a person asks to the model's answer.

use std::{io, time::Duration};

use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::{
    calls::Calls,
    compact::{self, Cause},
    event::{Event, Observer},
    history::History,
    interrupt::Interrupt,
    prompt::Prompt,
    repeats::Repeats,
    rollout::RolloutError,
    session::Session,
};
use crate::{
    audit::{Event as Record, LogError},
    model::{End, Item, ItemKind, ModelError, Progress, Usage},
    tools::GateError,
};

/// How many responses in a row may break off; one more and the turn is given up.
const CUTS: u32 = 5;

/// Why a turn ended without an answer.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// The endpoint refused, or could not be reached.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The endpoint answered the session before, and fails for good since.
    #[error(
        "{error}; it answered earlier requests of this session, so it may be unable to take what came since: `/compact`, or a new session, leaves that out"
    )]
    Unhealed {
        /// What it says.
        error: ModelError,
    },
    /// A call could not be recorded or launched.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// The conversation could not be kept, so it was not sent.
    #[error(transparent)]
    Kept(#[from] RolloutError),
    /// What happened could not be shown.
    #[error("standard output could not be written: {0}")]
    Output(#[source] io::Error),
    /// The model's answer was broken off on purpose.
    #[error("the model stopped early: {reason}")]
    Incomplete {
        /// The server's word for it.
        reason: String,
    },
    /// The person interrupted it, or ended it instead of answering a question. The session can go on.
    #[error("interrupted; all that the turn had started was ended")]
    Interrupted,
    /// The conversation does not fit, and compacting it does not help any more.
    #[error("the conversation is too long for the model and compacting it did not help twice in a row: about {tokens} tokens are left, {}; \
             take a model with a larger window (--context-window says how large), begin a new session, or ask for less at once",
            limit.map_or_else(|| "and the endpoint takes fewer".to_owned(), |limit| format!("and at most {limit} are sent")))]
    Crowded {
        /// Tokens that are left, as far as that can be told.
        tokens: u64,
        /// Tokens at which the conversation is compacted.
        limit: Option<u64>,
    },
    /// The model makes the same failing call again and again.
    #[error("the model called {tool} {times} times with the same arguments and the same failure; the turn was ended")]
    Repeats {
        /// The tool.
        tool: String,
        /// How often.
        times: u32,
    },
    /// The response broke off again and again.
    #[error("the response broke off {times} times in a row: {why}")]
    Cut {
        /// How often.
        times: u32,
        /// What happened the last time.
        why: String,
    },
}

impl From<LogError> for TurnError {
    fn from(error: LogError) -> Self {
        Self::Gate(error.into())
    }
}

/// What a turn came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TurnSummary {
    /// The answer.
    pub answer: String,
    /// Requests made.
    pub requests: u64,
    /// Token counts, added up.
    pub usage: Usage,
}

/// Runs one turn. It ends when the model calls no more tools, or when it is interrupted: then its calls and everything that they started end too.
/// However it ends, the conversation holds what was done, so that another turn can follow.
pub async fn run(
    session: &mut Session,
    prompt: &Prompt,
    interrupt: &Interrupt,
    observer: &mut dyn Observer,
) -> Result<TurnSummary, TurnError> {
    session.history.prompt(prompt)?;
    session.turn = TurnSummary::default();
    session.repeats = Repeats::default();
    let mut cuts = 0;
    loop {
        for note in session.gate.take_notes() {
            session.history.developer(&note)?;
        }
        while session.is_full() {
            shorten(session, Cause::Full, interrupt, observer).await?;
        }
        session.turn.requests += 1;
        let response = match respond(session, interrupt, observer).await {
            Err(TurnError::Model(ModelError::ContextLength { .. })) => {
                session.overflowed();
                shorten(session, Cause::TooLong, interrupt, observer).await?;
                continue;
            }
            Err(TurnError::Model(error)) if session.answered && fails_for_good(&error) => return Err(TurnError::Unhealed { error }),
            response => response?,
        };
        session.answered = true;
        session.turn.add(&response);
        let calls = response.calls;
        match response.end {
            End::Cut { why, .. } if cuts == CUTS => return Err(TurnError::Cut { times: cuts + 1, why }),
            End::Cut { why, wait } => {
                cuts += 1;
                observe(observer, Event::RequestRetried { attempt: cuts, of: CUTS, wait_ms: millis(wait), why })?;
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = interrupt.fired() => return Err(interrupted(&mut session.history)),
                }
            }
            End::Incomplete { reason } if !calls => return Err(TurnError::Incomplete { reason }),
            End::Completed if !calls => {
                record(session, "answered")?;
                observe(observer, session.turn_finished())?;
                return Ok(session.turn.clone());
            }
            End::Completed | End::Incomplete { .. } => cuts = 0,
        }
    }
}

/// Whether an endpoint failed in its own fault each time that it was asked.
fn fails_for_good(error: &ModelError) -> bool {
    matches!(error, ModelError::Exhausted { last, .. } if matches!(**last, ModelError::Status { status: 500.., .. } | ModelError::Failed { .. }))
}

async fn shorten(session: &mut Session, cause: Cause, interrupt: &Interrupt, observer: &mut dyn Observer) -> Result<(), TurnError> {
    match compact::run(session, cause, interrupt, observer).await {
        Err(TurnError::Interrupted) => Err(interrupted(&mut session.history)),
        compacted => compacted.map(drop),
    }
}

/// Writes the end of the session's turn to the log.
pub fn record(session: &Session, outcome: &str) -> Result<(), LogError> {
    let summary = &session.turn;
    session.gate.log().append(Record::TurnEnd {
        outcome: outcome.to_owned(),
        requests: summary.requests,
        input_tokens: summary.usage.input_tokens,
        cached_tokens: summary.usage.cached_tokens,
        output_tokens: summary.usage.output_tokens,
    })
}

/// What the model is told of a turn that was interrupted.
const INTERRUPTED: &str = "The person interrupted the turn here. What was running was ended; what it had done until then is not undone.";

fn interrupted(history: &mut History) -> TurnError {
    history.developer(INTERRUPTED).map_or_else(TurnError::from, |()| TurnError::Interrupted)
}

/// One response, which the conversation already holds with the outputs of its calls.
struct Response {
    answer: String,
    calls: bool,
    usage: Option<Usage>,
    end: End,
}

/// Sends the conversation and follows the answer. A call starts when its item is finished, while later ones still stream.
async fn respond(session: &mut Session, interrupt: &Interrupt, observer: &mut dyn Observer) -> Result<Response, TurnError> {
    let conversation = session.history.conversation().clone();
    session.requests += 1;
    let sent = conversation.weight(&session.head);
    session.cache.sending(&conversation);
    let (sender, mut progress) = mpsc::unbounded_channel();
    let reply = session.client.respond(&session.head, &conversation, &sender);
    tokio::pin!(reply);
    let mut intake = Intake {
        unsent: Some(session.requests),
        sends_reasoning: session.client.endpoint().features.encrypted_reasoning,
        items: Vec::new(),
        answer: String::new(),
    };
    let mut replied = None;
    let mut calls = Calls::new(&session.gate, &mut session.ledger, &mut session.repeats);
    let history = &mut session.history;
    while !calls.stopped && (replied.is_none() || !calls.idle()) {
        tokio::select! {
            // Finished items before anything else, so that they are seen in order and none is left when the reply is.
            biased;
            () = interrupt.fired() => calls.stopped = true,
            Some(what) = progress.recv() => take(what, &mut intake, history, &mut calls, observer)?,
            Some((place, outcome)) = calls.running.next(), if !calls.running.is_empty() => calls.finish(place, outcome, observer)?,
            result = &mut reply, if replied.is_none() => {
                while let Ok(what) = progress.try_recv() {
                    take(what, &mut intake, history, &mut calls, observer)?;
                }
                replied = Some(result);
            }
        }
    }
    let stopped = calls.stopped;
    if stopped {
        calls.end(observer)?;
    }
    // Only now: what had been started has its outcome on record, and the conversation is told of it, be the reply a failure.
    let repeated = calls.repeated.take();
    let outputs = calls.outputs();
    let whole = matches!(&replied, Some(Ok(reply)) if !matches!(reply.end, End::Cut { .. }));
    if !whole {
        history.forget_reasoning(&intake.items)?;
    }
    let written = history.conversation().weight(&session.head);
    for (call, text, image) in &outputs {
        history.output_with_image(call, text, image.as_ref())?;
    }
    if stopped {
        return Err(interrupted(history));
    }
    let Some(reply) = replied else { unreachable!("the loop above ends only with a reply, or stopped") };
    let reply = reply?;
    session.budget.responded(reply.usage, sent, written);
    if let Some(usage) = reply.usage {
        let report = session.cache.report(&usage, &conversation);
        observe(observer, Event::usage(&usage, &report))?;
    }
    if let Some((tool, times)) = repeated {
        return Err(TurnError::Repeats { tool, times });
    }
    Ok(Response { answer: intake.answer, calls: !outputs.is_empty(), usage: reply.usage, end: reply.end })
}

/// What was taken of a response so far.
struct Intake {
    /// The number of the request, until it is said that it was sent.
    unsent: Option<u64>,
    /// Whether the endpoint takes its reasoning back.
    sends_reasoning: bool,
    items: Vec<Item>,
    answer: String,
}

fn take(
    what: Progress,
    intake: &mut Intake,
    history: &mut History,
    calls: &mut Calls<'_>,
    observer: &mut dyn Observer,
) -> Result<(), TurnError> {
    let event = match what {
        // Once a request, however often it is tried.
        Progress::Sent(bytes) => match intake.unsent.take() {
            Some(number) => Event::RequestSent { number, bytes },
            None => return Ok(()),
        },
        Progress::TextDelta(text) => Event::TextDelta { text },
        Progress::ReasoningDelta(_) => return Ok(()),
        Progress::Retry { attempt, of, wait, why } => Event::RequestRetried { attempt, of, wait_ms: millis(wait), why },
        Progress::Warning(text) => Event::Warning { text },
        Progress::ItemDone(item) => {
            let event = match &item.kind {
                ItemKind::Message { text, refusal } => {
                    intake.answer.clone_from(text);
                    if let Some(refusal) = refusal {
                        intake.answer.push_str(refusal);
                    }
                    Some(Event::Message { text: intake.answer.clone() })
                }
                ItemKind::Reasoning { summary } if !summary.is_empty() => Some(Event::Reasoning { text: summary.clone() }),
                ItemKind::FunctionCall { call_id, name, arguments } => {
                    calls.add(call_id, name, arguments);
                    None
                }
                ItemKind::Reasoning { .. } => None,
                ItemKind::Unknown { type_name } => {
                    Some(Event::Warning { text: format!("an item of unknown type {type_name} was passed on as it is") })
                }
            };
            // An endpoint that gives no encrypted reasoning refuses what it gives when that comes back.
            if intake.sends_reasoning || !matches!(item.kind, ItemKind::Reasoning { .. }) {
                history.item(&item)?;
                intake.items.push(item);
            }
            if let Some(event) = event {
                observe(observer, event)?;
            }
            return calls.start(observer);
        }
    };
    observe(observer, event)
}

impl TurnSummary {
    fn add(&mut self, response: &Response) {
        if !response.answer.is_empty() {
            self.answer.clone_from(&response.answer);
        }
        if let Some(usage) = response.usage {
            self.count(usage);
        }
    }

    /// Adds the tokens of a response.
    pub(super) fn count(&mut self, usage: Usage) {
        self.usage.input_tokens = self.usage.input_tokens.saturating_add(usage.input_tokens);
        self.usage.cached_tokens = self.usage.cached_tokens.saturating_add(usage.cached_tokens);
        self.usage.output_tokens = self.usage.output_tokens.saturating_add(usage.output_tokens);
        self.usage.reasoning_tokens = self.usage.reasoning_tokens.saturating_add(usage.reasoning_tokens);
    }
}

/// Shows an event; the turn ends where it cannot be shown.
pub(super) fn observe(observer: &mut dyn Observer, event: Event) -> Result<(), TurnError> {
    observer.event(&event).map_err(TurnError::Output)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
