//! Compaction: the one exception to a prompt that only grows. The model sums up what was said, and the conversation goes on from the prefix, that summary, what
//! the person said last, and a ledger that the harness keeps.

use tokio::sync::mpsc;

use super::{
    event::{Event, Observer},
    interrupt::Interrupt,
    session::Session,
    turn::TurnError,
};
use crate::{
    audit::Event as Record,
    model::{End, ItemKind, Progress},
};

/// What the model is asked. It stands behind the whole conversation, so that all of that is a cache hit.
const REQUEST: &str = "Sum up this conversation for yourself, because everything but your summary will be taken away: the task and its constraints in the \
person's words, what was found, what was decided and why, which files were changed and how, what was tried and failed, what is left to do. Call no tool. \
Answer with the summary alone.";
/// Characters of what the person said last that are kept word for word.
const KEPT: usize = 20_000;

/// What a compaction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes of the conversation before.
    pub before: usize,
    /// Bytes of it now.
    pub after: usize,
}

/// Compacts the conversation of a session. On an error it stays as it was.
pub async fn run(session: &mut Session, interrupt: &Interrupt, observer: &mut dyn Observer) -> Result<Compacted, TurnError> {
    let summary = ask(session, interrupt, observer).await?;
    let text = format!("The conversation was compacted here. Your summary of it:\n\n{}\n", summary.trim());
    // By itself, so that nothing in the summary can pass for it.
    let ledger = format!("What portcullis itself has on record of this session:\n{}", session.ledger.text(&session.gate));
    let before = session.history.len();
    let said = session.history.said(KEPT);
    session.history.compact(&[text, ledger], &said)?;
    let compacted = Compacted { before, after: session.history.len() };
    session.gate.log().append(Record::Compaction { before_bytes: before as u64, after_bytes: compacted.after as u64 })?;
    let event = Event::Compacted { before_bytes: compacted.before, after_bytes: compacted.after };
    observer.event(&event).map_err(TurnError::Output)?;
    Ok(compacted)
}

async fn ask(session: &mut Session, interrupt: &Interrupt, observer: &mut dyn Observer) -> Result<String, TurnError> {
    let mut conversation = session.history.conversation().clone();
    conversation.push_developer(REQUEST);
    session.requests += 1;
    let bytes = conversation.body_len(&session.head);
    observer.event(&Event::RequestSent { number: session.requests, bytes }).map_err(TurnError::Output)?;
    let (sender, mut progress) = mpsc::unbounded_channel();
    let reply = session.client.respond(&session.head, &conversation, &sender);
    tokio::pin!(reply);
    let reply = tokio::select! {
        reply = &mut reply => reply?,
        () = interrupt.fired() => return Err(TurnError::Interrupted),
    };
    let mut summary = String::new();
    while let Ok(what) = progress.try_recv() {
        if let Progress::ItemDone(item) = what
            && let ItemKind::Message { text, .. } = item.kind
        {
            summary = text;
        }
    }
    if let Some(usage) = reply.usage {
        let event =
            Event::Usage { input_tokens: usage.input_tokens, cached_tokens: usage.cached_tokens, output_tokens: usage.output_tokens };
        observer.event(&event).map_err(TurnError::Output)?;
    }
    match reply.end {
        End::Completed if !summary.trim().is_empty() => Ok(summary),
        End::Completed => Err(TurnError::Incomplete { reason: "it gave no summary".to_owned() }),
        End::Incomplete { reason } => Err(TurnError::Incomplete { reason }),
        End::Cut { why, .. } => Err(TurnError::Cut { times: 1, why }),
    }
}
