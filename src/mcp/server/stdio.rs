//! Lines in and out: one message a line, none longer than [`MESSAGE_CAP`], and an answer to what is no message.
//!
//! Reading and writing happen on threads of their own, because neither a caller that says nothing nor one that reads nothing may keep this process from
//! ending. Nothing is read while many answers wait to be taken, so that a caller that takes none fills no memory.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    thread,
};

use rmcp::{
    RoleServer,
    model::{ClientJsonRpcMessage, ErrorCode, ErrorData, RequestId, ServerJsonRpcMessage},
    transport::Transport,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The longest message in bytes.
const MESSAGE_CAP: usize = 8 * 1024 * 1024;
/// Answers that wait to be written.
const WAITING: usize = 32;

/// What was read.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Whole(Vec<u8>),
    TooLong,
}

/// The two ends.
#[derive(Debug)]
pub(super) struct Stdio {
    lines: Receiver<Line>,
    /// Gone once it was closed.
    output: Option<Sender<Vec<u8>>>,
    written: CancellationToken,
}

impl Stdio {
    /// Begins to read and to write. `closed` is fired when there is nothing more to read, or nobody who takes what is written.
    pub(super) fn start(input: impl Read + Send + 'static, output: impl Write + Send + 'static, closed: &CancellationToken) -> Self {
        let (line_sender, lines) = mpsc::channel(1);
        let (output_sender, answers) = mpsc::channel(WAITING);
        let written = CancellationToken::new();
        let guards = [closed.clone().drop_guard(), written.clone().drop_guard()];
        spawn("mcp-output", move || write(output, answers, guards));
        let guard = closed.clone().drop_guard();
        spawn("mcp-input", move || read(input, &line_sender, guard));
        Self { lines, output: Some(output_sender), written }
    }

    /// Fired when everything is written, or nothing more can be.
    pub(super) fn written(&self) -> CancellationToken {
        self.written.clone()
    }
}

/// A thread that cannot be made drops its work, and with it the guards.
fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    let _ = thread::Builder::new().name(name.to_owned()).spawn(work);
}

/// Until nothing more can be written. The guards say so when they are dropped.
fn write(mut output: impl Write, mut answers: Receiver<Vec<u8>>, _guards: [DropGuard; 2]) {
    while let Some(bytes) = answers.blocking_recv() {
        if output.write_all(&bytes).and_then(|()| output.flush()).is_err() {
            return;
        }
    }
}

fn read(input: impl Read, lines: &Sender<Line>, _guard: DropGuard) {
    let mut input = BufReader::new(input);
    while let Ok(Some(line)) = next_line(&mut input) {
        if lines.blocking_send(line).is_err() {
            return;
        }
    }
}

/// The next line, if one ends here: what is left without an end at the end of the input is no message.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    let mut too_long = false;
    loop {
        let (used, ends) = {
            let available = match input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                return Ok(None);
            }
            let end = memchr::memchr(b'\n', available);
            let part = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
            too_long |= line.len() + part.len() > MESSAGE_CAP;
            if too_long {
                line = Vec::new();
            } else {
                line.extend_from_slice(part);
            }
            (part.len() + usize::from(end.is_some()), end.is_some())
        };
        input.consume(used);
        if ends {
            return Ok(Some(if too_long { Line::TooLong } else { Line::Whole(line) }));
        }
    }
}

/// The message of a line; none where there is nothing to answer.
fn parse(line: Line) -> Result<Option<ClientJsonRpcMessage>, Box<ServerJsonRpcMessage>> {
    let refuse = |code, message: String, id| Err(Box::new(ServerJsonRpcMessage::error(ErrorData::new(code, message, None), id)));
    let line = match line {
        Line::Whole(line) => line,
        Line::TooLong => {
            let message = format!("a message may have {MESSAGE_CAP} bytes; this one was longer and was dropped");
            return refuse(ErrorCode::INVALID_REQUEST, message, None);
        }
    };
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let error = match serde_json::from_slice(&line) {
        Ok(message) => return Ok(Some(message)),
        Err(error) => error,
    };
    let Ok(value) = serde_json::from_slice::<Value>(&line) else {
        return refuse(ErrorCode::PARSE_ERROR, "this is not JSON".to_owned(), None);
    };
    // An answer to what looks like an answer could go back and forth for ever.
    if value.get("result").is_some() || value.get("error").is_some() {
        return Ok(None);
    }
    let id = value.get("id").and_then(|id| RequestId::deserialize(id).ok());
    // Nor is anybody waiting for one to a notification.
    if value.get("method").is_some() && value.get("id").is_none() {
        return Ok(None);
    }
    refuse(ErrorCode::INVALID_REQUEST, format!("this is no message: {error}"), id)
}

fn encode(message: &ServerJsonRpcMessage) -> Result<Vec<u8>, io::Error> {
    let mut bytes = serde_json::to_vec(message)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn closed() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl Transport<RoleServer> for Stdio {
    type Error = io::Error;

    fn send(&mut self, message: ServerJsonRpcMessage) -> impl Future<Output = Result<(), io::Error>> + Send + 'static {
        let output = self.output.clone();
        async move { output.ok_or_else(closed)?.send(encode(&message)?).await.map_err(|_| closed()) }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        let output = self.output.as_ref()?;
        loop {
            // Before a line is taken, so that nothing is lost where this future is dropped and asked for anew.
            let room = output.reserve().await.ok()?;
            match parse(self.lines.recv().await?) {
                Ok(Some(message)) => return Some(message),
                Ok(None) => {}
                Err(answer) => room.send(encode(&answer).ok()?),
            }
        }
    }

    async fn close(&mut self) -> Result<(), io::Error> {
        self.output = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<Line> {
        let mut input = BufReader::with_capacity(1000, input);
        std::iter::from_fn(|| next_line(&mut input).unwrap()).collect()
    }

    fn error_of(line: &str) -> Option<(i32, Option<RequestId>)> {
        match parse(Line::Whole(line.as_bytes().to_vec())) {
            Err(answer) => match *answer {
                ServerJsonRpcMessage::Error(error) => Some((error.error.code.0, error.id)),
                other => panic!("{other:?}"),
            },
            Ok(None) => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_end_where_they_end_and_a_long_one_is_dropped_to_its_end() {
        assert_eq!(lines(b"a\n\nbc\nrest"), [Line::Whole(b"a".to_vec()), Line::Whole(Vec::new()), Line::Whole(b"bc".to_vec())]);
        let just = vec![b'x'; MESSAGE_CAP];
        let long = [just.clone(), b"x\nnext\n".to_vec()].concat();
        assert_eq!(lines(&long), [Line::TooLong, Line::Whole(b"next".to_vec())]);
        assert_eq!(lines(&[just.clone(), b"\n".to_vec()].concat()), [Line::Whole(just)]);
    }

    #[test]
    fn what_is_no_message_is_answered_with_its_id_and_answers_never_are() {
        let number = |id| Some(RequestId::Number(id));
        assert_eq!(error_of("{"), Some((-32700, None)));
        assert_eq!(error_of("[]"), Some((-32600, None)));
        assert_eq!(error_of("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]"), Some((-32600, None)));
        assert_eq!(error_of("{\"jsonrpc\":\"1.0\",\"id\":7,\"method\":\"ping\"}"), Some((-32600, number(7))));
        assert_eq!(error_of("{\"jsonrpc\":\"2.0\",\"id\":7}"), Some((-32600, number(7))));
        assert_eq!(error_of("{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"ping\"}"), Some((-32600, None)));
        assert_eq!(error_of("{\"jsonrpc\":\"1.0\",\"method\":\"notifications/x\"}"), None);
        assert_eq!(error_of("{\"jsonrpc\":\"1.0\",\"id\":7,\"error\":{}}"), None);
        assert_eq!(error_of("  \r"), None);
        assert!(parse(Line::Whole(b"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"ping\"}\r".to_vec())).unwrap().is_some());
    }
}
