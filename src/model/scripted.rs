//! A model that follows a script, behind a real HTTP server on the loopback interface.
//!
//! `portcullis demo` shows the real loop with it, and the tests run the real client and the real program against it. It speaks the
//! streaming Responses API, simulates a prompt cache, and can fail in every way that a model endpoint fails.

mod cache;
mod events;
mod script;
mod server;
mod websocket;

pub use script::{Chunking, Fault, Malformed, Pace, Script, ScriptItem, Turn, WhenExhausted};

use super::Usage;
use server::State;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, mpsc},
    thread,
    time::Instant,
};
use tokio::{net::TcpListener, sync::oneshot};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct RecordedRequest {
    /// The path that it was for.
    pub path: String,
    /// The body's bytes, decompressed. Of a request over a WebSocket, what would have said the same over HTTP.
    pub body: Vec<u8>,
    /// What was really sent over a WebSocket.
    pub frame: Option<Vec<u8>>,
    /// Header names in lower case, and values; bytes that are not text are replaced.
    pub headers: Vec<(String, String)>,
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// When its body was complete.
    pub at: Instant,
    /// The token counts that the simulated prompt cache gave it.
    pub usage: Usage,
}

impl RecordedRequest {
    /// The first value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The outputs in the request's input, in order: call id and output; where there is an image besides, its text.
    pub fn outputs(&self) -> Vec<(String, String)> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = |item: &serde_json::Value, key: &str| item[key].as_str().unwrap_or_default().to_owned();
        let items = body["input"].as_array().map(Vec::as_slice).unwrap_or_default();
        let outputs = items.iter().filter(|item| item["type"] == "function_call_output");
        let output =
            |item: &serde_json::Value| if item["output"].is_array() { text(&item["output"][0], "text") } else { text(item, "output") };
        outputs.map(|item| (text(item, "call_id"), output(item))).collect()
    }
}

/// A running scripted model. Dropping it closes its connections and ends its thread.
#[derive(Debug)]
pub struct ScriptedModel {
    address: SocketAddr,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl ScriptedModel {
    /// Listens on a free port of 127.0.0.1 and answers there, on a thread with a runtime of its own, until it is dropped.
    ///
    /// # Errors
    /// If no port, runtime or thread can be had.
    pub fn start(script: Script) -> io::Result<Self> {
        let state = Arc::new(State::new(script));
        let shared = Arc::clone(&state);
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = mpsc::channel();
        let thread = thread::Builder::new().name("scripted-model".to_owned()).spawn(move || run(shared, stopped, &ready))?;
        let ended = || io::Error::other("the scripted model's thread ended before it listened");
        let address = started.recv().map_err(|_| ended())??;
        Ok(Self { address, state, stop: Some(stop), thread: Some(thread) })
    }

    /// What to give to [`super::Endpoint::new`].
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The requests that arrived so far, in order.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.state.requests()
    }

    /// How many connections were ever made.
    pub fn connections(&self) -> usize {
        self.state.connections()
    }

    /// How many warm-ups arrived over WebSockets.
    pub fn warm_ups(&self) -> usize {
        self.state.warm_ups()
    }

    /// How many connections are open now.
    pub fn open_connections(&self) -> usize {
        self.state.open_connections()
    }
}

impl Drop for ScriptedModel {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was already reported by it.
            let _ = thread.join();
        }
    }
}

fn run(state: Arc<State>, stopped: oneshot::Receiver<()>, ready: &mpsc::Sender<io::Result<SocketAddr>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error))),
    };
    runtime.block_on(async {
        let listener = match TcpListener::bind(("127.0.0.1", 0)).await {
            Ok(listener) => listener,
            Err(error) => return drop(ready.send(Err(error))),
        };
        // The one who waits for this is gone only if it panicked.
        let _ = ready.send(listener.local_addr());
        tokio::select! {
            () = server::accept(listener, state) => {}
            _ = stopped => {}
        }
    });
    // Dropping the runtime drops the connections' tasks.
}
