//! Compaction: the one exception to a prompt that only grows. What was said is summed up, and the conversation goes on from the prefix, what the person said
//! last, the summary, and a ledger that the harness keeps.
//!
//! The endpoint's own means are used where it has them ([`CompactionMethod`]); an endpoint that turns out not to have them is asked for a summary from then on.
//! A summary is asked for behind the whole conversation with the same tools, so that all of that is a cache hit. Where even that is too long for the model, the
//! outputs of calls are clipped for this one request; where nothing helps, the ledger stands alone.

use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::{
    event::{Event, Observer},
    history::Shortened,
    interrupt::Interrupt,
    session::Session,
    turn::{TurnError, observe},
};
use crate::{
    audit::Event as Record,
    model::{CompactionMethod, Conversation, End, ItemKind, ModelError, Progress, Usage},
};

/// What the model is asked. It stands behind the whole conversation, so that all of that is a cache hit.
const REQUEST: &str = "Sum up this conversation for yourself, because everything but your summary will be taken away: the task and its constraints in the \
person's words, what was found, what was decided and why, which files were changed and how, what was tried and failed, what is left to do. Call no tool. \
Answer with the summary alone.";
/// What the endpoint is asked.
const TRIGGER: &str = r#"{"type":"compaction_trigger"}"#;
/// Characters of what the person said last that are kept word for word.
const KEPT: usize = 20_000;
/// The same where that was too much once.
const KEPT_TIGHT: usize = 2_000;
/// Bytes to which the outputs of calls are clipped, try by try, where the conversation is too long to be summed up as it is.
const CLIPS: [usize; 2] = [4096, 512];
/// How often a summary is asked for that breaks off.
const TRIES: u32 = 3;

/// Why a conversation is compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The person asked for it.
    Asked,
    /// The window is as full as it may be.
    Full,
    /// The endpoint has said that it is too long.
    TooLong,
}

impl Cause {
    /// A word for it, as the log and `--json` have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Full => "full",
            Self::TooLong => "too-long",
        }
    }
}

/// What a compaction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes of the conversation before.
    pub before: usize,
    /// Bytes of it now.
    pub after: usize,
}

/// What stands for the rest.
enum Summary {
    /// The model's words.
    Words(String),
    /// Items of the endpoint's, which only it can read.
    Items(Vec<Box<RawValue>>),
    /// Nothing, for this reason.
    None(String),
}

/// Compacts the conversation of a session. On an error it stays as it was.
///
/// # Errors
/// If the endpoint cannot be reached, the person interrupts, or nothing can be kept; and [`TurnError::Crowded`] where compaction does not help any more.
pub async fn run(session: &mut Session, cause: Cause, interrupt: &Interrupt, observer: &mut dyn Observer) -> Result<Compacted, TurnError> {
    if cause == Cause::Asked {
        session.budget.reset();
    }
    let summary = summarise(session, cause, interrupt, observer).await?;
    let (words, items) = match summary {
        Summary::Words(words) => {
            (Some(format!("The conversation was compacted here. Your summary of it:\n\n{}\n", words.trim())), Vec::new())
        }
        Summary::Items(items) => (None, items),
        Summary::None(why) => {
            let text = format!("the conversation was compacted without a summary, because {why}; the ledger of what was done stands alone");
            observe(observer, Event::Warning { text })?;
            (Some("The conversation was compacted here, and no summary could be made.".to_owned()), Vec::new())
        }
    };
    let before = session.history.bytes();
    let said = session.history.said(if session.budget.is_tight() { KEPT_TIGHT } else { KEPT });
    // By itself, so that nothing in the summary can pass for it.
    let ledger = session.ledger.text(&session.gate);
    session.history.compact(&Shortened { said, items, words, ledger })?;
    let compacted = Compacted { before, after: session.history.bytes() };
    session.cache.compacted();
    session.gate.log().append(Record::Compaction {
        before_bytes: before as u64,
        after_bytes: compacted.after as u64,
        cause: cause.word().to_owned(),
    })?;
    let event = Event::Compacted { cause: cause.word().to_owned(), before_bytes: compacted.before, after_bytes: compacted.after };
    observe(observer, event)?;
    let bytes = session.history.conversation().weight(&session.head);
    if !session.budget.compacted(bytes) {
        return Err(TurnError::Crowded { tokens: session.budget.estimate(bytes), limit: session.budget.limit() });
    }
    Ok(compacted)
}

async fn summarise(session: &mut Session, cause: Cause, interrupt: &Interrupt, observer: &mut dyn Observer) -> Result<Summary, TurnError> {
    if session.compaction != CompactionMethod::Summary {
        match own_means(session, interrupt, observer).await {
            Ok(items) => return Ok(Summary::Items(items)),
            Err(TurnError::Model(error @ (ModelError::Status { .. } | ModelError::Protocol { .. } | ModelError::Failed { .. }))) => {
                session.compaction = CompactionMethod::Summary;
                let text = format!("the endpoint's own compaction cannot be used, a summary is asked for instead: {error}");
                observe(observer, Event::Warning { text })?;
            }
            // Too long for it as it stands: below it is made shorter.
            Err(TurnError::Model(ModelError::ContextLength { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    let whole = session.history.conversation().clone();
    let mut tries = vec![None];
    tries.extend(CLIPS.map(Some));
    if cause == Cause::TooLong {
        tries.remove(0);
    }
    let mut why = String::new();
    for clip in tries {
        let mut conversation = clip.map_or_else(|| whole.clone(), |clip| whole.with_clipped_outputs(clip));
        conversation.push_developer(REQUEST);
        match ask(session, &conversation, interrupt, observer).await {
            Ok(summary) => return Ok(Summary::Words(summary)),
            Err(TurnError::Model(ModelError::ContextLength { .. })) => {
                why = "even with clipped outputs it is too long for the model".to_owned();
            }
            Err(error @ TurnError::Incomplete { .. }) if cause == Cause::Asked => return Err(error),
            Err(error @ TurnError::Incomplete { .. }) => return Ok(Summary::None(error.to_string())),
            Err(error) => return Err(error),
        }
    }
    Ok(Summary::None(why))
}

/// By the endpoint's own means.
async fn own_means(session: &mut Session, interrupt: &Interrupt, observer: &mut dyn Observer) -> Result<Vec<Box<RawValue>>, TurnError> {
    let mut conversation = session.history.conversation().clone();
    if session.compaction == CompactionMethod::Trigger {
        let trigger: &RawValue = serde_json::from_str(TRIGGER).map_err(|error| TurnError::Output(error.into()))?;
        conversation.push_raw(trigger);
        let (progress, end) = exchange(session, &conversation, interrupt, observer).await?;
        let items = progress.into_iter().filter_map(|what| match what {
            Progress::ItemDone(item) if item.is_compaction() => Some(item.raw),
            _ => None,
        });
        let items: Vec<Box<RawValue>> = items.collect();
        return match end {
            End::Completed if !items.is_empty() => Ok(items),
            _ => Err(ModelError::Protocol { why: "it answered a compaction_trigger with no compaction item".to_owned() }.into()),
        };
    }
    sending(session, &conversation, observer)?;
    let compacted = tokio::select! {
        compacted = session.client.compact(&session.head, &conversation) => compacted?,
        () = interrupt.fired() => return Err(TurnError::Interrupted),
    };
    account(session, compacted.usage, observer)?;
    Ok(compacted.items)
}

/// Asks for a summary in words.
async fn ask(
    session: &mut Session,
    conversation: &Conversation,
    interrupt: &Interrupt,
    observer: &mut dyn Observer,
) -> Result<String, TurnError> {
    let mut tries = 0;
    loop {
        let (progress, end) = exchange(session, conversation, interrupt, observer).await?;
        let mut summary = progress.into_iter().filter_map(|what| match what {
            Progress::ItemDone(item) => match item.kind {
                ItemKind::Message { text, .. } => Some(text),
                _ => None,
            },
            _ => None,
        });
        let summary = summary.next_back().unwrap_or_default();
        tries += 1;
        match end {
            End::Completed if !summary.trim().is_empty() => return Ok(summary),
            End::Completed => return Err(TurnError::Incomplete { reason: "it gave no summary".to_owned() }),
            End::Incomplete { reason } => return Err(TurnError::Incomplete { reason }),
            End::Cut { why, .. } if tries == TRIES => return Err(TurnError::Cut { times: tries, why }),
            End::Cut { .. } => {}
        }
    }
}

/// One request and all that came of it, of which nothing enters the conversation.
async fn exchange(
    session: &mut Session,
    conversation: &Conversation,
    interrupt: &Interrupt,
    observer: &mut dyn Observer,
) -> Result<(Vec<Progress>, End), TurnError> {
    sending(session, conversation, observer)?;
    let (sender, mut progress) = mpsc::unbounded_channel();
    let reply = tokio::select! {
        reply = session.client.respond(&session.head, conversation, &sender) => reply?,
        () = interrupt.fired() => return Err(TurnError::Interrupted),
    };
    account(session, reply.usage, observer)?;
    let mut all = Vec::new();
    while let Ok(what) = progress.try_recv() {
        all.push(what);
    }
    Ok((all, reply.end))
}

fn sending(session: &mut Session, conversation: &Conversation, observer: &mut dyn Observer) -> Result<(), TurnError> {
    let bytes = conversation.body_len(&session.head);
    session.requests += 1;
    session.turn.requests += 1;
    observe(observer, Event::RequestSent { number: session.requests, bytes })
}

fn account(session: &mut Session, usage: Option<Usage>, observer: &mut dyn Observer) -> Result<(), TurnError> {
    let Some(usage) = usage else { return Ok(()) };
    session.turn.count(usage);
    let report = session.cache.report_aside(&usage);
    observe(observer, Event::usage(&usage, &report))
}
