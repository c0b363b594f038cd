//! The WebSocket mode of the Responses API: one connection, on which a request carries only what the endpoint does not have yet.
//!
//! With `store: false` nothing is kept by the provider but in the connection's memory: the response that came last can be continued by its id. What the endpoint
//! has then is what was sent and what it answered; a request may build on it only if the conversation begins with exactly that, which the chained digests of
//! [`Conversation`] tell without looking at all of it again. In any other case everything is sent, which is always right.
//!
//! Where the mode is not offered, the client goes over to HTTP, once and for its lifetime. (<https://platform.openai.com/docs/guides/websocket-mode>)

use futures_util::{SinkExt, StreamExt};
use reqwest::{
    StatusCode, Upgraded,
    header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use tokio::{
    sync::{MutexGuard, mpsc::UnboundedSender},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        error::CapacityError,
        handshake::{client::generate_key, derive_accept_key},
        protocol::{Role, WebSocketConfig},
    },
};

use super::{
    Client, Conversation, EncodedHead, End, Limits, Progress, Reply, StreamEvent, StreamFault,
    client::Failure,
    follow::{EventSource, Follower, report},
    wire::Link,
};

/// Says which form of the mode is meant.
const BETA: (&str, &str) = ("openai-beta", "responses_websockets=2026-02-06");

/// Pings without an event between them; an endpoint that lets its model think for an hour sends fewer.
const MOST_PINGS: usize = 10_000;

/// How requests are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Over a WebSocket where the endpoint is known to offer one, else over HTTP.
    #[default]
    Auto,
    /// Over HTTP.
    Http,
    /// Over a WebSocket, if the endpoint turns out to offer one.
    WebSocket,
}

/// What there is of a WebSocket.
#[derive(Debug, Default)]
pub(super) enum Way {
    /// None, but there may be one.
    #[default]
    Closed,
    /// One that is idle.
    Open(Box<Socket>),
    /// None is offered.
    Refused,
}

/// A connection, and what the endpoint has in its memory.
#[derive(Debug)]
pub(super) struct Socket {
    stream: WebSocketStream<Upgraded>,
    has: Option<Has>,
    /// Whether the answer to a warm-up is still to come.
    warming: Option<Has>,
}

/// What the endpoint has: so many items, up to this link, known by this response.
#[derive(Debug, Clone)]
struct Has {
    response: String,
    items: usize,
    link: Link,
}

/// Why there is no connection.
enum NoSocket {
    /// The endpoint does not offer the mode.
    NotOffered,
    /// Something that HTTP will meet as well.
    Unreachable,
}

impl Client {
    /// Connects and sends what is known before the prompt is, so that the first answer comes sooner. Does nothing over HTTP, and no harm if it fails.
    pub async fn warm(&self, head: &EncodedHead, conversation: &Conversation) {
        if !self.uses_websocket() {
            return;
        }
        let mut way = self.way.lock().await;
        if !matches!(*way, Way::Closed) {
            return;
        }
        match self.connect().await {
            Ok(mut socket) => {
                if socket.send(frame(head, None, conversation.as_bytes(), false)).await.is_ok() {
                    socket.warming =
                        Some(Has { response: String::new(), items: conversation.len(), link: conversation.link(conversation.len()) });
                    *way = Way::Open(Box::new(socket));
                }
            }
            Err(NoSocket::NotOffered) => *way = Way::Refused,
            Err(NoSocket::Unreachable) => {}
        }
    }

    /// Whether a WebSocket is open at this moment.
    pub async fn has_websocket(&self) -> bool {
        matches!(*self.way.lock().await, Way::Open(_))
    }

    fn uses_websocket(&self) -> bool {
        match self.endpoint().transport {
            Transport::Auto => self.endpoint().base_url().starts_with("https://api.openai.com/"),
            Transport::Http => false,
            Transport::WebSocket => true,
        }
    }

    /// One try over a WebSocket; `None` if HTTP has to be used. While it runs there is no socket in the client: dropping the future closes it.
    pub(super) async fn over_websocket(
        &self,
        head: &EncodedHead,
        conversation: &Conversation,
        progress: &UnboundedSender<Progress>,
    ) -> Option<Result<Reply, Failure>> {
        if !self.uses_websocket() {
            return None;
        }
        let mut way = self.way.lock().await;
        let mut kept = match std::mem::take(&mut *way) {
            Way::Refused => {
                *way = Way::Refused;
                return None;
            }
            Way::Open(socket) => Some(*socket),
            Way::Closed => None,
        };
        loop {
            let (mut socket, reused) = match kept.take() {
                Some(socket) => (socket, true),
                None => match self.connect().await {
                    Ok(socket) => (socket, false),
                    Err(NoSocket::NotOffered) => return refused(&mut way),
                    Err(NoSocket::Unreachable) => return None,
                },
            };
            if reused && socket.finish_warming(self.endpoint().limits).await.is_err() {
                continue;
            }
            let (previous, from) = socket.builds_on(conversation);
            let frame = frame(head, previous, conversation.bytes_from(from), true);
            let sent = frame.len();
            // A socket that takes nothing more is as good as closed.
            let patience = self.endpoint().response_timeout;
            if !matches!(timeout(patience, socket.send(frame)).await, Ok(Ok(()))) {
                if reused {
                    continue;
                }
                return refused(&mut way);
            }
            report(progress, Progress::Sent(sent));
            let mut follower = Follower::new(self, progress);
            let mut events = SocketEvents { stream: &mut socket.stream, limits: self.endpoint().limits, total: 0, any: false };
            let followed = follower.follow(&mut events).await;
            let any = events.any;
            return match followed {
                Ok(reply) => {
                    if reply.end == End::Completed {
                        // The endpoint may have said something that could not be read and is in no conversation.
                        let readable = follower.malformed == 0;
                        socket.has = follower.response_id.take().filter(|_| readable).map(|response| {
                            let link = follower.said.iter().fold(conversation.link(conversation.len()), |link, item| link.then(item));
                            Has { response, items: conversation.len() + follower.said.len(), link }
                        });
                        *way = Way::Open(Box::new(socket));
                    }
                    Some(Ok(reply))
                }
                // The endpoint has closed it or forgotten what it had, as it does after an hour.
                Err(failure) if reused && (!any || failure.forgotten) => continue,
                Err(_) if !any && !self.spoke.get() => refused(&mut way),
                Err(failure) => Some(Err(failure)),
            };
        }
    }

    async fn connect(&self) -> Result<Socket, NoSocket> {
        let key = generate_key();
        let request = self
            .get()
            .header(CONNECTION, HeaderValue::from_static("Upgrade"))
            .header(UPGRADE, HeaderValue::from_static("websocket"))
            .header(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
            .header(SEC_WEBSOCKET_KEY, &key)
            .header(BETA.0, BETA.1)
            .send();
        // An endpoint that says nothing to this may still answer a request.
        let response = match timeout(self.endpoint().connect_timeout, request).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_connect() => return Err(NoSocket::Unreachable),
            Ok(Err(_)) | Err(_) => return Err(NoSocket::NotOffered),
        };
        let accepted = response
            .headers()
            .get(SEC_WEBSOCKET_ACCEPT)
            .is_some_and(|accept| accept.as_bytes() == derive_accept_key(key.as_bytes()).as_bytes());
        // Not now is not never.
        if matches!(response.status().as_u16(), 408 | 429 | 500..) {
            return Err(NoSocket::Unreachable);
        }
        if response.status() != StatusCode::SWITCHING_PROTOCOLS || !accepted {
            return Err(NoSocket::NotOffered);
        }
        let Ok(upgraded) = response.upgrade().await else { return Err(NoSocket::NotOffered) };
        let cap = usize::try_from(self.endpoint().limits.event_bytes).ok();
        let config = WebSocketConfig::default().max_message_size(cap).max_frame_size(cap);
        let stream = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
        Ok(Socket { stream, has: None, warming: None })
    }
}

fn refused(way: &mut MutexGuard<'_, Way>) -> Option<Result<Reply, Failure>> {
    **way = Way::Refused;
    None
}

impl Socket {
    async fn send(&mut self, text: String) -> Result<(), Error> {
        self.stream.send(Message::text(text)).await
    }

    /// Awaits the answer to the warm-up, if there was one.
    async fn finish_warming(&mut self, limits: Limits) -> Result<(), ()> {
        let Some(has) = self.warming.take() else { return Ok(()) };
        let mut events = SocketEvents { stream: &mut self.stream, limits, total: 0, any: false };
        loop {
            match events.next().await {
                Some(Ok(StreamEvent::Completed { response_id: Some(response), .. })) => {
                    self.has = Some(Has { response, ..has });
                    return Ok(());
                }
                Some(Ok(StreamEvent::Created | StreamEvent::Ignored)) => {}
                _ => return Err(()),
            }
        }
    }

    /// The response that the conversation continues, if the endpoint has one, and the first item that it does not have.
    fn builds_on(&self, conversation: &Conversation) -> (Option<&str>, usize) {
        match &self.has {
            Some(has) if has.items < conversation.len() && conversation.link(has.items) == has.link => (Some(&has.response), has.items),
            _ => (None, 0),
        }
    }
}

/// The text of a request. `items` are items with commas between them.
fn frame(head: &EncodedHead, previous: Option<&str>, items: &[u8], generate: bool) -> String {
    let mut text = String::with_capacity(head.frame_fields().len() + items.len() + 128);
    text.push_str("{\"type\":\"response.create\",");
    if let Some(previous) = previous {
        text.push_str(&format!("\"previous_response_id\":{},", serde_json::Value::from(previous)));
    }
    if !generate {
        text.push_str("\"generate\":false,");
    }
    // Both are JSON that was written here, or was read as JSON before.
    text.push_str(&String::from_utf8_lossy(head.frame_fields()));
    text.push_str(&String::from_utf8_lossy(items));
    text.push_str("]}");
    text
}

/// The events of one response.
struct SocketEvents<'a> {
    stream: &'a mut WebSocketStream<Upgraded>,
    limits: Limits,
    total: u64,
    any: bool,
}

impl EventSource for SocketEvents<'_> {
    async fn next(&mut self) -> Option<Result<StreamEvent, StreamFault>> {
        for _ in 0..MOST_PINGS {
            let message = match timeout(self.limits.idle, self.stream.next()).await {
                Err(_) => return Some(Err(StreamFault::Idle { after: self.limits.idle })),
                Ok(None) => return None,
                Ok(Some(Err(error))) => return Some(Err(self.fault(&error))),
                Ok(Some(Ok(message))) => message,
            };
            self.total += message.len() as u64 + 1;
            if self.total > self.limits.response_bytes {
                return Some(Err(StreamFault::ResponseTooLarge { limit: self.limits.response_bytes }));
            }
            match message {
                Message::Text(text) => {
                    self.any = true;
                    return Some(Ok(StreamEvent::parse(&text)));
                }
                Message::Binary(_) => return Some(Err(StreamFault::Unreadable { why: "a binary frame".to_owned() })),
                Message::Close(_) => return None,
                // A ping is answered by the library.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
        Some(Err(StreamFault::Unreadable { why: format!("{MOST_PINGS} pings and no event") }))
    }

    /// The next response comes on the same connection; there is nothing to read between them.
    async fn drain(&mut self) {}
}

impl SocketEvents<'_> {
    fn fault(&self, error: &Error) -> StreamFault {
        match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => StreamFault::EventTooLarge { limit: self.limits.event_bytes },
            Error::Utf8(_) => StreamFault::NotUtf8 { why: error.to_string() },
            _ => StreamFault::Broken { why: error.to_string() },
        }
    }
}
