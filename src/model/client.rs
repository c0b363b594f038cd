//! One request after another to a Responses endpoint, over one kept connection.

use super::{
    Conversation, EncodedHead, Endpoint, EventStream, Item, ModelError, Secret, Usage,
    error::causes,
    event::Fault,
    follow::{Follower, report},
    retry::{self, MAX_ASKED_WAIT},
    text, transport,
    websocket::Way,
};
use bytes::Bytes;
use reqwest::{
    Response, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER},
};
use serde::Deserialize;
use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
    time::Duration,
};
use tokio::{
    sync::{Mutex, mpsc::UnboundedSender},
    time::{sleep, timeout},
};

/// Of zstd: as fast as it can be and still small.
const COMPRESSION_LEVEL: i32 = 3;
/// Longest time spent on reading a failed request's message.
const MAX_ERROR_READ: Duration = Duration::from_secs(5);

/// What happens while a response streams.
#[derive(Debug, Clone)]
pub enum Progress {
    /// A try was sent, of so many bytes: a body, or over a WebSocket a frame.
    Sent(usize),
    /// More text of a message, for the screen. The finished item holds it all.
    TextDelta(String),
    /// More readable reasoning, for the screen.
    ReasoningDelta(String),
    /// An item is finished: a call in it may start now. Items come in the order of the response. A reasoning item is held back
    /// until the item that it led to is finished, because a server refuses reasoning that leads to nothing.
    ItemDone(Item),
    /// The request failed and will be sent again; deltas since the last finished item are void.
    Retry {
        /// Which retry comes next, from 1.
        attempt: u32,
        /// How many retries there can be.
        of: u32,
        /// How long is waited before it.
        wait: Duration,
        /// What failed.
        why: String,
    },
    /// Something odd that did no harm.
    Warning(String),
}

/// How a response ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The model said all that it wanted to.
    Completed,
    /// The response ended early, on purpose.
    Incomplete {
        /// `max_output_tokens`, `content_filter` or another word of the server's.
        reason: String,
    },
    /// The response broke off after at least one finished item. The finished items count: the caller keeps them, runs their
    /// calls, waits, and sends the longer conversation. How often to put up with this is for the caller to bound.
    Cut {
        /// What happened.
        why: String,
        /// How long to wait before the next request; at most 120 s.
        wait: Duration,
    },
}

/// The end of a response; its items were reported as [`Progress::ItemDone`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Token counts, if the server gave any.
    pub usage: Option<Usage>,
    /// How the response ended.
    pub end: End,
}

/// A failed try.
pub(super) struct Failure {
    pub(super) error: ModelError,
    /// Whether asking again can help.
    pub(super) transient: bool,
    /// The wait that the server asked for.
    pub(super) asked: Option<Duration>,
    /// Whether the server has forgotten what the request built on.
    pub(super) forgotten: bool,
}

impl Failure {
    pub(super) fn last(error: ModelError) -> Self {
        Self { error, transient: false, asked: None, forgotten: false }
    }

    pub(super) fn passing(error: ModelError) -> Self {
        Self { error, transient: true, asked: None, forgotten: false }
    }
}

/// Sends requests to one endpoint. Requests are made one after another and share one connection.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
    url: Url,
    headers: HeaderMap,
    pub(super) way: Mutex<Way>,
    /// Whether the endpoint has ever sent an event.
    pub(super) spoke: Cell<bool>,
    /// Whether bodies are compressed, as far as the endpoint takes that.
    compresses: Cell<bool>,
}

impl Client {
    /// Makes a client. Nothing is sent yet. Redirects are not followed and proxy variables are not read, so that the key and the
    /// conversation go to the endpoint and nowhere else. Root certificates are loaded for `https` only.
    ///
    /// # Errors
    /// [`ModelError::BadEndpoint`] if a key would go unencrypted to another machine or cannot be sent in a header;
    /// [`ModelError::Setup`] if the system has no usable root certificates.
    pub fn new(endpoint: Endpoint) -> Result<Self, ModelError> {
        endpoint.check_key_is_safe()?;
        let url = endpoint.responses_url()?;
        let http = transport::http_client(&endpoint)?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(key) = &endpoint.key {
            let bad = |what: &str| ModelError::BadEndpoint { why: what.to_owned() };
            let (name, text) = match &endpoint.key_header {
                None => (AUTHORIZATION, format!("Bearer {}", key.reveal())),
                Some(name) => {
                    let name = HeaderName::try_from(name.as_str()).map_err(|_| bad("its key_header is not the name of a header"))?;
                    (name, key.reveal().to_owned())
                }
            };
            let mut value = HeaderValue::from_str(&text)
                .map_err(|_| bad(&format!("the key in {} contains characters that cannot be sent", endpoint.key_variable)))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let compresses = Cell::new(endpoint.compress);
        Ok(Self { http, endpoint, url, headers, way: Mutex::default(), spoke: Cell::new(false), compresses })
    }

    /// The endpoint that requests go to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends the conversation and follows the response to its end, reporting on `progress` as it goes.
    ///
    /// Poll the future and the channel's receiver together (`tokio::select!`), so that a call starts while later items still
    /// stream. When the future is ready, what is left in the channel still counts. Dropping the future cancels the request and
    /// closes its connection; a closed receiver does not.
    ///
    /// A failure that can pass by itself is retried with the identical body as long as no item is finished; once one is,
    /// [`End::Cut`] is returned instead.
    ///
    /// # Errors
    /// See [`ModelError`]; [`ModelError::Exhausted`] when all retries failed. An error can follow finished items.
    pub async fn respond(
        &self,
        head: &EncodedHead,
        conversation: &Conversation,
        progress: &UnboundedSender<Progress>,
    ) -> Result<Reply, ModelError> {
        // Made when it is needed, and once: over a WebSocket it may never be.
        let mut body = None;
        let backoff = self.endpoint.backoff;
        let mut retry = 0;
        loop {
            let tried = match self.over_websocket(head, conversation, progress).await {
                Some(tried) => tried,
                None => self.attempt(body.get_or_insert_with(|| conversation.body(head)).clone(), progress).await,
            };
            let failure = match tried {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            if !failure.transient {
                return Err(failure.error);
            }
            if let Some(asked) = failure.asked.filter(|asked| *asked > MAX_ASKED_WAIT) {
                return Err(ModelError::WaitTooLong { asked, message: failure.error.to_string() });
            }
            if retry >= backoff.retries {
                return Err(ModelError::Exhausted { attempts: retry.saturating_add(1), last: Box::new(failure.error) });
            }
            retry += 1;
            let wait = self.wait(retry, failure.asked);
            report(progress, Progress::Retry { attempt: retry, of: backoff.retries, wait, why: failure.error.to_string() });
            sleep(wait).await;
        }
    }

    // Never less than the server asks for, and never less than the back-off: many sessions may be told the same short wait.
    pub(super) fn wait(&self, retry: u32, asked: Option<Duration>) -> Duration {
        self.endpoint.backoff.wait(retry, RandomState::new().hash_one(retry)).max(asked.unwrap_or_default())
    }

    /// A request to ask for an upgrade with.
    pub(super) fn get(&self) -> reqwest::RequestBuilder {
        let mut headers = self.headers.clone();
        headers.remove(CONTENT_TYPE);
        headers.remove(ACCEPT);
        self.http.get(self.url.clone()).headers(headers)
    }

    async fn attempt(&self, body: Bytes, progress: &UnboundedSender<Progress>) -> Result<Reply, Failure> {
        let compressed = if self.compresses.get() { zstd::bulk::compress(&body, COMPRESSION_LEVEL).ok() } else { None };
        let is_compressed = compressed.is_some();
        let sent = compressed.map_or_else(|| body.clone(), Bytes::from);
        report(progress, Progress::Sent(sent.len()));
        let mut request = self.post("", sent);
        if is_compressed {
            request = request.header(CONTENT_ENCODING, HeaderValue::from_static("zstd"));
        }
        let request = request.send();
        let response = match timeout(self.endpoint.response_timeout, request).await {
            Ok(sent) => sent.map_err(|error| self.not_sent(&error))?,
            Err(_) => {
                let error = ModelError::NoAnswer { host: self.endpoint.host(), after: self.endpoint.response_timeout };
                return Err(Failure::passing(error));
            }
        };
        if is_compressed && matches!(response.status().as_u16(), 400 | 415) {
            // It may be the encoding that it does not take, or the request: without the one it will tell.
            self.compresses.set(false);
            let plain = Box::pin(self.attempt(body, progress)).await;
            self.compresses.set(plain.as_ref().is_err_and(|failure| !failure.transient));
            return plain;
        }
        if response.status() != 200 {
            return Err(self.refused(response).await);
        }
        if let Some(why) = transport::not_events(response.headers()) {
            return Err(Failure::last(ModelError::Protocol { why: self.shown(&why) }));
        }
        let mut follower = Follower::new(self, progress);
        let mut events = EventStream::new(Box::pin(response.bytes_stream()), self.endpoint.limits);
        follower.follow(&mut events).await
    }

    /// A request to the endpoint's address with something behind it.
    pub(super) fn post(&self, behind: &str, body: Bytes) -> reqwest::RequestBuilder {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{behind}", self.url.path()));
        self.http.post(url).headers(self.headers.clone()).body(body)
    }

    pub(super) fn not_sent(&self, error: &reqwest::Error) -> Failure {
        let host = self.endpoint.host();
        // The two outermost errors only say that a request failed, and repeat the URL.
        let inner = std::error::Error::source(error).map(|wrapper| wrapper.source().unwrap_or(wrapper));
        let why = self.shown(&inner.map_or_else(|| "unknown".to_owned(), causes));
        if transport::is_tls(error) {
            Failure::last(ModelError::Tls { host, why })
        } else if error.is_connect() || error.is_timeout() {
            Failure::passing(ModelError::Connect { host, why })
        } else {
            Failure::passing(ModelError::Interrupted { why })
        }
    }

    pub(super) async fn refused(&self, response: Response) -> Failure {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let header = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let body = transport::read_some(response, self.endpoint.limits.idle.min(MAX_ERROR_READ)).await;
        let fault = serde_json::from_slice::<ErrorBody>(&body).ok().map(ErrorBody::fault);
        let code = fault.as_ref().and_then(Fault::code);
        let message = match (&fault, header(LOCATION)) {
            (Some(fault), _) => fault.message(),
            (None, Some(location)) if (300..400).contains(&status) => format!("a redirect to {location}, which is not followed"),
            _ if body.is_empty() => "no message".to_owned(),
            _ => String::from_utf8_lossy(&body).into_owned(),
        };
        let asked = retry::asked_in_headers(header(HeaderName::from_static("retry-after-ms")), header(RETRY_AFTER))
            .or_else(|| retry::asked_in_message(&message));
        let message = self.shown(&message);
        let transient = retry::is_transient(status, code.as_deref());
        let error = if !transient && retry::is_context_length(code.as_deref(), &message) {
            ModelError::ContextLength { message }
        } else if matches!(status, 401 | 403) && self.endpoint.key.is_none() {
            ModelError::Status { status, message: format!("{message} (no key: set {})", self.endpoint.key_variable) }
        } else {
            ModelError::Status { status, message }
        };
        Failure { error, transient, asked, forgotten: false }
    }

    /// A failure that came as an event, over a WebSocket with the status that it would have had.
    pub(super) fn failed(&self, status: Option<u16>, code: Option<String>, message: &str) -> Failure {
        let asked = retry::asked_in_message(message);
        let shown = self.shown(message);
        let too_long = retry::is_context_length(code.as_deref(), message);
        let forgotten = matches!(code.as_deref(), Some("previous_response_not_found" | "websocket_connection_limit_reached"));
        let transient = !too_long
            && match status {
                Some(status) => retry::is_transient(status, code.as_deref()) || forgotten,
                None => !code.as_deref().is_some_and(retry::is_final_code),
            };
        let error = if too_long {
            ModelError::ContextLength { message: shown }
        } else if let Some(status) = status {
            ModelError::Status { status, message: shown }
        } else {
            ModelError::Failed { code: self.shown(&code.unwrap_or_else(|| "unknown".to_owned())), message: shown }
        };
        Failure { error, transient, asked, forgotten }
    }

    pub(super) fn shown(&self, server_text: &str) -> String {
        text::shown(server_text, self.endpoint.key.as_ref().map(Secret::reveal))
    }
}

/// The shapes in which servers put an error: `{"error":{..}}`, `{"error":".."}`, `{"message":".."}`, `{"detail":".."}`.
#[derive(Deserialize)]
#[serde(untagged)]
enum ErrorBody {
    Nested { error: Fault },
    Word { error: String },
    Detail { detail: String },
    Flat { message: String },
}

impl ErrorBody {
    fn fault(self) -> Fault {
        match self {
            Self::Nested { error } => error,
            Self::Word { error: message } | Self::Detail { detail: message } | Self::Flat { message } => Fault::from_message(message),
        }
    }
}
