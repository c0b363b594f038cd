//! One streamed response, from its first event to its last.

use super::{
    Client, End, EventStream, Item, ItemKind, ModelError, Progress, Reply, StreamEvent, StreamFault, Usage, client::Failure,
    retry::MAX_ASKED_WAIT,
};
use bytes::Bytes;
use futures_util::Stream;
use serde_json::value::RawValue;
use std::time::Duration;
use tokio::{sync::mpsc::UnboundedSender, time::timeout};

/// How long to wait for the end of the body after the response's last event.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// How many skipped events are reported one by one for each request.
const MAX_EVENT_WARNINGS: u64 = 3;

/// Where the events of one response come from.
pub(super) trait EventSource {
    /// The next one; `None` at the end.
    async fn next(&mut self) -> Option<Result<StreamEvent, StreamFault>>;

    /// Reads what is left, where the connection cannot be used again without.
    async fn drain(&mut self);
}

impl<S> EventSource for EventStream<S>
where
    S: Stream<Item = reqwest::Result<Bytes>> + Unpin,
{
    async fn next(&mut self) -> Option<Result<StreamEvent, StreamFault>> {
        Self::next(self).await
    }

    /// Reads the body to its end, without which an HTTP/1.1 connection cannot be used again.
    async fn drain(&mut self) {
        let rest = async { while let Some(Ok(_)) = Self::next(self).await {} };
        // A server that keeps the body open costs a new connection, no more.
        let _ = timeout(DRAIN_TIMEOUT, rest).await;
    }
}

/// Follows the events of one response.
pub(super) struct Follower<'a> {
    client: &'a Client,
    progress: &'a UnboundedSender<Progress>,
    // Reasoning that waits for the item it led to.
    held: Vec<Item>,
    delivered: usize,
    /// Events that could not be read.
    pub(super) malformed: u64,
    /// The items that were reported, as they came.
    pub(super) said: Vec<Box<RawValue>>,
    /// The id of the response, once it is complete.
    pub(super) response_id: Option<String>,
}

impl<'a> Follower<'a> {
    pub(super) fn new(client: &'a Client, progress: &'a UnboundedSender<Progress>) -> Self {
        Self { client, progress, held: Vec::new(), delivered: 0, malformed: 0, said: Vec::new(), response_id: None }
    }

    /// Reads to the end of the response. A failure after a delivered item that could pass by itself is a reply, [`End::Cut`].
    pub(super) async fn follow(&mut self, events: &mut impl EventSource) -> Result<Reply, Failure> {
        let failure = loop {
            let event = match events.next().await {
                Some(Ok(event)) => {
                    self.client.spoke.set(true);
                    event
                }
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
                StreamEvent::Completed { usage, response_id } => {
                    self.release();
                    self.response_id = response_id;
                    events.drain().await;
                    return Ok(self.reply(usage, End::Completed));
                }
                StreamEvent::Incomplete { reason, usage } => {
                    events.drain().await;
                    return Ok(self.reply(usage, End::Incomplete { reason: self.client.shown(&reason) }));
                }
                StreamEvent::Failed { code, message } => {
                    events.drain().await;
                    break self.client.failed(None, code, &message);
                }
                StreamEvent::Error { status, code, message, asked } => {
                    events.drain().await;
                    let failure = self.client.failed(status, code, &message);
                    break Failure { asked: asked.or(failure.asked), ..failure };
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
            self.said.push(item.raw.clone());
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
