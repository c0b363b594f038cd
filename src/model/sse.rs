//! Bytes of a response to events, with limits on size and silence.
//!
//! `sse-stream` parses the event-stream format (<https://html.spec.whatwg.org/multipage/server-sent-events.html>): any line
//! ending, comments, a byte order mark, characters split over chunks. It buffers an event without a limit, so bytes are counted
//! here before they reach it.

use super::{error::causes, event::StreamEvent};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStream};
use sse_stream::SseByteStream;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

/// What one response may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes since the last event. One chunk more than this may be held, since a chunk can begin with the end of an event.
    pub event_bytes: u64,
    /// Bytes of the whole response, comments included.
    pub response_bytes: u64,
    /// Longest silence between two chunks.
    pub idle: Duration,
}

impl Default for Limits {
    /// 16 MiB for an event, 256 MiB for a response, 120 s of silence.
    fn default() -> Self {
        Self { event_bytes: 16 << 20, response_bytes: 256 << 20, idle: Duration::from_secs(120) }
    }
}

/// Why a stream of events cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamFault {
    /// One event is larger than [`Limits::event_bytes`].
    #[error("one event is larger than {limit} bytes")]
    EventTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The response is larger than [`Limits::response_bytes`].
    #[error("the response is larger than {limit} bytes")]
    ResponseTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// Nothing came for [`Limits::idle`].
    #[error("nothing was received for {after:?}")]
    Idle {
        /// How long was waited.
        after: Duration,
    },
    /// The connection broke.
    #[error("the connection broke: {why}")]
    Broken {
        /// What the transport said.
        why: String,
    },
    /// A field is not UTF-8.
    #[error("the stream is not UTF-8: {why}")]
    NotUtf8 {
        /// Where it is not.
        why: String,
    },
    /// The parser refused the stream for another reason.
    #[error("the stream cannot be read: {why}")]
    Unreadable {
        /// What the parser said.
        why: String,
    },
}

/// Events read from a stream of bytes.
pub struct EventStream<S>
where
    Guarded<S>: TryStream,
{
    events: SseByteStream<Guarded<S>>,
    since_event: Arc<AtomicU64>,
}

impl<S> fmt::Debug for EventStream<S>
where
    Guarded<S>: TryStream,
{
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EventStream").field("since_event", &self.since_event).finish_non_exhaustive()
    }
}

impl<S, E> EventStream<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::error::Error,
{
    /// Reads events from `bytes`.
    pub fn new(bytes: S, limits: Limits) -> Self {
        let since_event = Arc::new(AtomicU64::new(0));
        let guarded = Guarded { bytes, limits, since_event: Arc::clone(&since_event), total: 0, silence: None };
        Self { events: SseByteStream::new(guarded), since_event }
    }

    /// The next event, or `None` at the end of the body. After an error the stream has ended. Dropping the future loses nothing.
    ///
    /// # Errors
    /// See [`StreamFault`].
    pub async fn next(&mut self) -> Option<Result<StreamEvent, StreamFault>> {
        loop {
            return match self.events.next().await? {
                Ok(event) => {
                    self.since_event.store(0, Ordering::Relaxed);
                    match event.data {
                        Some(data) => Some(Ok(StreamEvent::parse(&data))),
                        None => continue,
                    }
                }
                Err(error) => Some(Err(fault(error))),
            };
        }
    }
}

fn fault(error: sse_stream::Error) -> StreamFault {
    match error {
        sse_stream::Error::Body(inner) => match inner.downcast::<StreamFault>() {
            Ok(fault) => *fault,
            Err(other) => StreamFault::Broken { why: other.to_string() },
        },
        sse_stream::Error::Utf8Parse(error) => StreamFault::NotUtf8 { why: error.to_string() },
        other => StreamFault::Unreadable { why: other.to_string() },
    }
}

/// Passes bytes on, counting them and timing the silence between them.
pub struct Guarded<S> {
    bytes: S,
    limits: Limits,
    since_event: Arc<AtomicU64>,
    total: u64,
    silence: Option<Pin<Box<Sleep>>>,
}

impl<S> fmt::Debug for Guarded<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Guarded").field("limits", &self.limits).field("total", &self.total).finish_non_exhaustive()
    }
}

impl<S, E> Stream for Guarded<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::error::Error,
{
    type Item = Result<Bytes, StreamFault>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Poll::Ready(next) = this.bytes.poll_next_unpin(context) else {
            let idle = this.limits.idle;
            let silence = this.silence.get_or_insert_with(|| Box::pin(sleep(idle)));
            return silence.as_mut().poll(context).map(|()| Some(Err(StreamFault::Idle { after: idle })));
        };
        this.silence = None;
        Poll::Ready(next.map(|chunk| match chunk {
            Ok(chunk) => this.count(chunk),
            Err(error) => Err(StreamFault::Broken { why: causes(&error) }),
        }))
    }
}

impl<S> Guarded<S> {
    fn count(&mut self, chunk: Bytes) -> Result<Bytes, StreamFault> {
        let length = chunk.len() as u64;
        self.total = self.total.saturating_add(length);
        let since = self.since_event.fetch_add(length, Ordering::Relaxed).saturating_add(length);
        if since > self.limits.event_bytes {
            return Err(StreamFault::EventTooLarge { limit: self.limits.event_bytes });
        }
        if self.total > self.limits.response_bytes {
            return Err(StreamFault::ResponseTooLarge { limit: self.limits.response_bytes });
        }
        Ok(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use proptest::prelude::*;
    use std::convert::Infallible;

    const SMALL: Limits = Limits { event_bytes: 64, response_bytes: 256, idle: Duration::from_secs(1) };

    // Each event as its Debug text, then the fault, if there was one.
    fn read_all(chunks: Vec<Vec<u8>>, limits: Limits) -> (Vec<String>, Option<StreamFault>) {
        let chunks = stream::iter(chunks.into_iter().map(|chunk| Ok::<_, Infallible>(Bytes::from(chunk))));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut events = EventStream::new(chunks, limits);
            let mut seen = Vec::new();
            while let Some(next) = events.next().await {
                match next {
                    Ok(event) => seen.push(format!("{event:?}")),
                    Err(fault) => {
                        assert!(events.next().await.is_none(), "a fault must end the stream");
                        return (seen, Some(fault));
                    }
                }
            }
            (seen, None)
        })
    }

    fn cut(bytes: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        at.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect()
    }

    fn delta(text: &str) -> String {
        serde_json::json!({"type": "response.output_text.delta", "delta": text}).to_string()
    }

    #[test]
    fn every_line_ending_a_byte_order_mark_and_comments_are_read() {
        for end in ["\n", "\r\n", "\r"] {
            let text = format!("\u{feff}: hello{end}event: x{end}data: {}{end}{end}:{end}{end}data:{}{end}{end}", delta("ä"), delta("b"));
            for chunks in [vec![text.clone().into_bytes()], text.bytes().map(|byte| vec![byte]).collect()] {
                let (seen, fault) = read_all(chunks, Limits::default());
                assert_eq!(seen, ["TextDelta(\"ä\")", "TextDelta(\"b\")"], "{end:?}");
                assert_eq!(fault, None);
            }
        }
    }

    #[test]
    fn an_event_split_over_data_lines_is_one_event() {
        let (seen, _) = read_all(vec![b"data: {\"type\":\ndata: \"response.created\"}\n\n".to_vec()], Limits::default());
        assert_eq!(seen, ["Created"]);
    }

    #[test]
    fn an_endless_event_is_refused_before_it_is_buffered() {
        let chunks = std::iter::repeat_n(b"data: xxxxxxxxxx".to_vec(), 1000).collect();
        assert_eq!(read_all(chunks, SMALL), (vec![], Some(StreamFault::EventTooLarge { limit: 64 })));
    }

    #[test]
    fn endless_comments_and_endless_events_are_refused_too() {
        let comments = std::iter::repeat_n(b": ping\n\n".to_vec(), 1000).collect();
        assert_eq!(read_all(comments, SMALL).1, Some(StreamFault::EventTooLarge { limit: 64 }));
        let events = std::iter::repeat_n(b"data: {}\n\n".to_vec(), 1000).collect();
        assert_eq!(read_all(events, SMALL).1, Some(StreamFault::ResponseTooLarge { limit: 256 }));
    }

    #[test]
    fn many_small_events_in_one_response_do_not_count_as_one_large_event() {
        let limits = Limits { response_bytes: 1 << 20, ..SMALL };
        let events = std::iter::repeat_n(b"data: {\"type\":\"x\"}\n\n".to_vec(), 1000).collect();
        let (seen, fault) = read_all(events, limits);
        assert_eq!((seen.len(), fault), (1000, None));
    }

    #[test]
    fn silence_is_a_fault_and_a_slow_drip_is_not() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let limits = Limits { idle: Duration::from_millis(200), ..Limits::default() };
            let drip = stream::unfold(0, |step| async move {
                let wait = if step < 6 { 60 } else { 10_000 };
                sleep(Duration::from_millis(wait)).await;
                Some((Ok::<_, Infallible>(Bytes::from_static(b": ping\n")), step + 1))
            });
            let started = std::time::Instant::now();
            let mut events = EventStream::new(Box::pin(drip), limits);
            let fault = events.next().await.unwrap().unwrap_err();
            assert_eq!(fault, StreamFault::Idle { after: limits.idle });
            assert!(started.elapsed() >= Duration::from_millis(6 * 60 + 200), "the drip must have kept it alive");
        });
    }

    proptest! {
        #[test]
        fn random_bytes_in_random_chunks_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), cuts in prop::collection::vec(any::<usize>(), 0..12)) {
            read_all(cut(&bytes, &cuts), SMALL);
        }

        #[test]
        fn almost_valid_streams_never_panic(bytes in "(data|event|id|retry|:|\u{feff}|\\{|\\}|\"type\"|\"error\"|\"response.completed\"|\r|\n|\r\n| |ä|,|null){0,80}", cuts in prop::collection::vec(any::<usize>(), 0..12)) {
            read_all(cut(bytes.as_bytes(), &cuts), Limits::default());
        }

        #[test]
        fn a_valid_stream_gives_the_same_events_however_it_is_cut(
            texts in prop::collection::vec("\\PC{0,20}", 1..8),
            ends in prop::collection::vec(prop::sample::select(vec!["\n", "\r\n", "\r"]), 8),
            cuts in prop::collection::vec(any::<usize>(), 0..40),
        ) {
            let mut bytes = String::new();
            for (text, end) in texts.iter().zip(&ends) {
                bytes += &format!(": c{end}event: response.output_text.delta{end}data: {}{end}{end}", delta(text));
            }
            let expected: Vec<String> = texts.iter().map(|text| format!("{:?}", StreamEvent::TextDelta(text.clone()))).collect();
            prop_assert_eq!(read_all(cut(bytes.as_bytes(), &cuts), Limits::default()), (expected, None));
        }
    }
}
