//! One streamed response, from its first event to its last.

use super::{
    Client, End, EventStream, Item, ItemKind, ModelError, Progress, Reply, StreamEvent, StreamFault, Usage, client::Failure,
    retry::MAX_ASKED_WAIT,
};
use bytes::Bytes;
use futures_util::Stream;
use std::time::Duration;
use tokio::{sync::mpsc::UnboundedSender, time::timeout};

/// How long to wait for the end of the body after the response's last event.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// How many skipped events are reported one by one for each request.
const MAX_EVENT_WARNINGS: u64 = 3;

/// Follows the events of one response.
pub(super) struct Follower<'a> {
    client: &'a Client,
    progress: &'a UnboundedSender<Progress>,
    // Reasoning that waits for the item it led to.
    held: Vec<Item>,
    delivered: usize,
    malformed: u64,
}

impl<'a> Follower<'a> {
    pub(super) fn new(client: &'a Client, progress: &'a UnboundedSender<Progress>) -> Self {
        Self { client, progress, held: Vec::new(), delivered: 0, malformed: 0 }
    }

    /// Reads to the end of the response. A failure after a delivered item that could pass by itself is a reply, [`End::Cut`].
    pub(super) async fn follow<S>(&mut self, events: &mut EventStream<S>) -> Result<Reply, Failure>
    where
        S: Stream<Item = reqwest::Result<Bytes>> + Unpin,
    {
        let failure = loop {
            let event = match events.next().await {
                Some(Ok(event)) => event,
                Some(Err(fault)) => break self.unreadable(&fault),
                None => {
                    break Failure::passing(ModelError::Interrupted { why: "the stream ended before the response was complete".into() });
                }
            };
            match event {
                StreamEvent::Created | StreamEvent::Ignored => {}
                StreamEvent::TextDelta(delta) => report(self.progress, Progress::TextDelta(delta)),
                StreamEvent::ReasoningDelta(delta) => report(self.progress, Progress::ReasoningDelta(delta)),
                StreamEvent::ItemDone(item) => self.keep(item),
                StreamEvent::Malformed(why) => self.warn(&why),
                StreamEvent::Completed { usage, .. } => {
                    self.release();
                    drain(events).await;
                    return Ok(self.reply(usage, End::Completed));
                }
                StreamEvent::Incomplete { reason, usage } => {
                    drain(events).await;
                    return Ok(self.reply(usage, End::Incomplete { reason: self.client.shown(&reason) }));
                }
                StreamEvent::Failed { code, message } | StreamEvent::Error { code, message } => {
                    drain(events).await;
                    break self.client.failed(code, &message);
                }
            }
        };
        if self.delivered == 0 || !failure.transient {
            return Err(failure);
        }
        let wait = self.client.wait(1, failure.asked).min(MAX_ASKED_WAIT);
        Ok(self.reply(None, End::Cut { why: failure.error.to_string(), wait }))
    }

    fn keep(&mut self, item: Item) {
        let leads_on = matches!(item.kind, ItemKind::Reasoning { .. });
        self.held.push(item);
        if !leads_on {
            self.release();
        }
    }

    fn release(&mut self) {
        self.delivered += self.held.len();
        for item in self.held.drain(..) {
            report(self.progress, Progress::ItemDone(item));
        }
    }

    fn warn(&mut self, why: &str) {
        self.malformed += 1;
        if self.malformed <= MAX_EVENT_WARNINGS {
            let why = self.client.shown(why);
            report(self.progress, Progress::Warning(format!("skipped an event of the response that cannot be read: {why}")));
        }
    }

    fn reply(&self, usage: Option<Usage>, end: End) -> Reply {
        if self.malformed > MAX_EVENT_WARNINGS {
            report(self.progress, Progress::Warning(format!("{} events of the response could not be read", self.malformed)));
        }
        Reply { usage, end }
    }

    fn unreadable(&self, fault: &StreamFault) -> Failure {
        let why = self.client.shown(&fault.to_string());
        match fault {
            StreamFault::EventTooLarge { .. } | StreamFault::ResponseTooLarge { .. } => Failure::last(ModelError::TooLarge { why }),
            _ => Failure::passing(ModelError::Interrupted { why }),
        }
    }
}

// The receiver may be gone: cancelling is done by dropping the future, not by closing the channel.
pub(super) fn report(progress: &UnboundedSender<Progress>, what: Progress) {
    let _ = progress.send(what);
}

/// Reads the body to its end, without which an HTTP/1.1 connection cannot be used again.
async fn drain<S>(events: &mut EventStream<S>)
where
    S: Stream<Item = reqwest::Result<Bytes>> + Unpin,
{
    let rest = async { while let Some(Ok(_)) = events.next().await {} };
    // A server that keeps the body open costs a new connection, no more.
    let _ = timeout(DRAIN_TIMEOUT, rest).await;
}
