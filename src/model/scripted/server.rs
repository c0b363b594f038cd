//! Connections, and the bytes that answer a request.

use super::{
    RecordedRequest,
    cache::PromptCache,
    events::Writer,
    script::{Chunking, Fault, Malformed, Pace, Script, ScriptItem, Turn, WhenExhausted},
    websocket,
};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{
        CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE,
    },
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Largest request that is taken, in bytes.
const MAX_REQUEST: usize = 512 << 20;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What the connections share.
#[derive(Debug)]
pub(super) struct State {
    inner: Mutex<Inner>,
    connections: AtomicUsize,
    open: AtomicUsize,
    warm_ups: AtomicUsize,
    can_reset: bool,
    websocket: bool,
}

#[derive(Debug)]
struct Inner {
    script: Script,
    cache: PromptCache,
    requests: Vec<RecordedRequest>,
}

impl State {
    pub(super) fn new(script: Script) -> Self {
        let can_reset = script.turns.iter().any(|turn| matches!(turn.fault, Some(Fault::ResetAfter { .. })));
        let websocket = script.websocket;
        let inner = Inner { script, cache: PromptCache::default(), requests: Vec::new() };
        Self {
            inner: Mutex::new(inner),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            warm_ups: AtomicUsize::new(0),
            can_reset,
            websocket,
        }
    }

    pub(super) fn requests(&self) -> Vec<RecordedRequest> {
        self.lock().requests.clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn warmed(&self) {
        self.warm_ups.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn warm_ups(&self) -> usize {
        self.warm_ups.load(Ordering::Relaxed)
    }

    pub(super) fn open_connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    // A panic of a computed turn must not hide what was recorded.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn record(&self, request: RecordedRequest) -> (usize, Option<Turn>, RecordedRequest) {
        let mut inner = self.lock();
        let usage = inner.cache.look_up(&request.body);
        let request = RecordedRequest { usage, ..request };
        inner.requests.push(request.clone());
        let turn = inner.script.turns.pop_front().or_else(|| match inner.script.when_exhausted {
            WhenExhausted::Message => Some(Turn::message("done")),
            WhenExhausted::Http500 => None,
        });
        (inner.requests.len() - 1, turn, request)
    }
}

pub(super) async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection(stream, Arc::clone(&state)))),
            // Out of descriptors, or a connection that is already gone: the next one may do better.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Counts a connection as open for as long as it lives.
struct Open(Arc<State>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn connection(stream: TcpStream, state: Arc<State>) {
    let number = state.connections.fetch_add(1, Ordering::Relaxed);
    state.open.fetch_add(1, Ordering::Relaxed);
    let _open = Open(Arc::clone(&state));
    // Small writes must go out at once; a failure only costs time.
    let _ = stream.set_nodelay(true);
    let Ok((stream, spare)) = with_spare(stream, state.can_reset) else { return };
    let service = service_fn(|request| {
        let state = Arc::clone(&state);
        let spare = spare.clone();
        async move { Ok::<_, Infallible>(answer(request, state, number, spare).await) }
    });
    // Errors here are connections that the client or a scripted fault broke.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

type Spare = Option<Arc<TcpStream>>;

/// With `can_reset`, a second descriptor of the socket, through which it can be told to end with a reset.
fn with_spare(stream: TcpStream, can_reset: bool) -> io::Result<(TcpStream, Spare)> {
    if !can_reset {
        return Ok((stream, None));
    }
    let stream = stream.into_std()?;
    let spare = TcpStream::from_std(stream.try_clone()?)?;
    Ok((TcpStream::from_std(stream)?, Some(Arc::new(spare))))
}

async fn answer(mut request: Request<Incoming>, state: Arc<State>, connection: usize, spare: Spare) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let compact = path.ends_with("/responses/compact");
    if request.method() == Method::GET && path.ends_with("/responses") {
        return upgrade(&mut request, state, connection);
    }
    if request.method() != Method::POST || !(compact || path.ends_with("/responses")) {
        return plain(StatusCode::NOT_FOUND, r#"{"error":{"message":"only POST …/responses is here","code":"not_found"}}"#);
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_REQUEST).collect().await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, r#"{"error":{"message":"the request could not be read"}}"#);
    };
    let mut body = body.to_bytes().to_vec();
    if parts.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding == "zstd") {
        body = zstd::stream::decode_all(body.as_slice()).unwrap_or_default();
    }
    let headers = texts(&parts.headers);
    let (number, turn, request) =
        state.record(RecordedRequest { path, body, frame: None, headers, connection, at: Instant::now(), usage: super::Usage::default() });
    let Some(turn) = turn else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, r#"{"error":{"message":"the script is used up","code":"server_error"}}"#);
    };
    let Turn { items, fault, pace, chunking, usage } = turn;
    sleep(pace.delay).await;
    if let Some(Fault::Status { status, headers, body }) = &fault {
        return status_response(*status, headers, body);
    }
    let items = items.resolve(&request);
    let mut writer = Writer::new(number, &model_of(&request.body), request.usage);
    if compact {
        return plain(StatusCode::OK, &writer.compaction(&items).to_string());
    }
    write_events(&mut writer, &items, fault.as_ref(), usage);
    stream_response(steps(writer.finish(), fault.as_ref(), pace, chunking), spare)
}

fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
}

/// Goes over to a WebSocket, if the script offers one.
fn upgrade(request: &mut Request<Incoming>, state: Arc<State>, connection: usize) -> Response<Body> {
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY).filter(|_| state.websocket) else {
        return plain(StatusCode::UPGRADE_REQUIRED, r#"{"error":{"message":"there is no WebSocket here","code":"not_found"}}"#);
    };
    let accept = derive_accept_key(key.as_bytes());
    let headers = texts(request.headers());
    let upgraded = hyper::upgrade::on(request);
    drop(tokio::spawn(async move {
        if let Ok(upgraded) = upgraded.await {
            websocket::serve(upgraded, &state, connection, headers).await;
        }
    }));
    let mut response = Response::new(Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::try_from(accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// Writes the events of a response, and gives the finished items.
pub(super) fn write_events(
    writer: &mut Writer,
    items: &[ScriptItem],
    fault: Option<&Fault>,
    usage: Option<super::Usage>,
) -> Vec<serde_json::Value> {
    match fault {
        Some(Fault::FailedEvent { code, message, after_items }) => {
            let done = if *after_items { writer.items(items) } else { Vec::new() };
            writer.failed(code, message);
            done
        }
        Some(Fault::ErrorEvent { code, message }) => {
            writer.push(json!({"type": "error", "code": code, "message": message}));
            Vec::new()
        }
        Some(Fault::Malformed(Malformed::Garbage(_) | Malformed::HugeEvent(_))) => Vec::new(),
        Some(Fault::Malformed(Malformed::NoCompleted)) => writer.items(items),
        Some(Fault::Incomplete { reason }) => {
            let done = writer.items(items);
            writer.incomplete(&done, reason);
            done
        }
        _ => {
            let done = writer.items(items);
            writer.completed(&done, usage);
            done
        }
    }
}

/// One thing that the body does.
enum Step {
    Send(Bytes),
    Wait(Duration),
    Cut,
    Reset,
}

fn steps(events: Vec<String>, fault: Option<&Fault>, pace: Pace, chunking: Chunking) -> VecDeque<Step> {
    let malformed = if let Some(Fault::Malformed(how)) = fault { Some(how) } else { None };
    let line = if malformed == Some(&Malformed::Crlf) { "\r\n" } else { "\n" };
    let mut chunks: Vec<Vec<u8>> = Vec::new();
    for (place, event) in events.iter().enumerate() {
        let kind = serde_json::from_str::<serde_json::Value>(event)
            .map_or_else(|_| String::new(), |event| event["type"].as_str().unwrap_or_default().to_owned());
        let mut text = format!("event: {kind}{line}data: {event}{line}{line}");
        match malformed {
            Some(Malformed::BadJson) if place == 1 => text += "event: x\ndata: {\"type\":\"response.output_item.done\",\"item\":{\n\n",
            Some(Malformed::UnknownEvent) if place == 1 => text += "event: new\ndata: {\"type\":\"response.new\",\"delta\":{\"a\":1}}\n\n",
            Some(Malformed::Comments) => text = format!(": keep-alive{line}{line}{text}:{line}"),
            _ => {}
        }
        chunks.push(text.into_bytes());
    }
    match malformed {
        Some(Malformed::Garbage(bytes)) => chunks.push(bytes.clone()),
        Some(Malformed::HugeEvent(length)) => {
            chunks.push(b"data: ".to_vec());
            let block = vec![b'x'; 64 << 10];
            chunks.extend(std::iter::repeat_n(block, length.div_ceil(64 << 10)));
        }
        _ => {}
    }
    let chunking = if malformed == Some(&Malformed::SplitUtf8) { Chunking::Bytes(1) } else { chunking };
    let mut steps = VecDeque::new();
    match chunking {
        Chunking::Whole => steps.push_back(Step::Send(chunks.concat().into())),
        Chunking::Bytes(size) => {
            // A pause of nothing lets each piece be written by itself.
            for piece in chunks.concat().chunks(size.max(1)) {
                steps.extend([Step::Send(Bytes::copy_from_slice(piece)), Step::Wait(Duration::ZERO)]);
            }
        }
        Chunking::PerEvent => per_event(chunks, fault, pace, &mut steps),
    }
    steps
}

fn per_event(chunks: Vec<Vec<u8>>, fault: Option<&Fault>, pace: Pace, steps: &mut VecDeque<Step>) {
    // The head and what is before a break must have left before the connection ends.
    const SETTLE: Duration = Duration::from_millis(5);
    let count = chunks.len();
    for (place, chunk) in chunks.into_iter().map(Some).chain([None]).enumerate() {
        match fault {
            Some(Fault::CutAfter { events }) if place == (*events).min(count) => return steps.extend([Step::Wait(SETTLE), Step::Cut]),
            Some(Fault::ResetAfter { events }) if place == (*events).min(count) => return steps.extend([Step::Wait(SETTLE), Step::Reset]),
            Some(Fault::StallAfter { events, length }) if place == (*events).min(count) => steps.push_back(Step::Wait(*length)),
            _ => {}
        }
        let Some(chunk) = chunk else { return };
        if place > 0 && !pace.drip.is_zero() {
            steps.push_back(Step::Wait(pace.drip));
        }
        steps.push_back(Step::Send(chunk.into()));
    }
}

fn stream_response(steps: VecDeque<Step>, spare: Spare) -> Response<Body> {
    let frames = stream::unfold((steps, spare), |(mut steps, spare)| async move {
        loop {
            let frame = match steps.pop_front()? {
                Step::Wait(length) if length.is_zero() => {
                    tokio::task::yield_now().await;
                    continue;
                }
                Step::Wait(length) => {
                    sleep(length).await;
                    continue;
                }
                Step::Send(bytes) => Ok(Frame::data(bytes)),
                Step::Cut => Err(io::Error::other("a scripted cut")),
                Step::Reset => {
                    if let Some(socket) = &spare {
                        // Where the option cannot be set, the connection ends in order, which tests notice.
                        let _ = socket.set_zero_linger();
                    }
                    Err(io::Error::other("a scripted reset"))
                }
            };
            return Some((frame, (steps, spare)));
        }
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    response
}

fn status_response(status: u16, headers: &[(String, String)], body: &str) -> Response<Body> {
    let mut response = plain(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str())) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn plain(status: StatusCode, body: &str) -> Response<Body> {
    let full = Full::new(Bytes::copy_from_slice(body.as_bytes())).map_err(|never| match never {});
    let mut response = Response::new(full.boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(super) fn model_of(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Named {
        model: String,
    }
    serde_json::from_slice::<Named>(body).map_or_else(|_| "scripted".to_owned(), |named| named.model)
}
