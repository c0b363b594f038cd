//! A caller that writes its messages by hand.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::fd::AsFd,
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, poll};
use serde_json::{Value, json};

use super::support::{Ended, Host, PATIENCE};

/// A server that runs, with the caller's ends of its streams.
pub struct Caller {
    child: Child,
    input: Option<ChildStdin>,
    messages: Receiver<Value>,
    errors: Option<JoinHandle<String>>,
    number: i64,
    stopped: Arc<AtomicBool>,
}

impl Caller {
    /// A server for the workspace that was greeted, with more arguments.
    pub fn new(host: &Host, arguments: &[&str]) -> Self {
        let mut caller = Self::unintroduced(command(host, arguments));
        caller.introduce("by-hand", "1.2.3");
        caller
    }

    /// A server that was told nothing yet.
    pub fn unintroduced(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (sender, messages) = channel();
        let stopped = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&stopped);
        thread::spawn(move || {
            loop {
                // Looked at without a wait in the read, which nothing would end.
                let mut waits = [PollFd::new(output.get_ref().as_fd(), PollFlags::POLLIN)];
                if output.buffer().is_empty() && poll(&mut waits, 20_u16) == Ok(0) {
                    if stops.load(Ordering::Relaxed) {
                        return;
                    }
                    continue;
                }
                let mut line = String::new();
                if output.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                // Standard output is the protocol's alone.
                let message: Value =
                    serde_json::from_str(&line).unwrap_or_else(|error| json!({"no message": line, "error": error.to_string()}));
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut stderr = child.stderr.take().unwrap();
        let errors = thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        Self { input: child.stdin.take(), child, messages, errors: Some(errors), number: 0, stopped }
    }

    /// The handshake, and what the server says of itself.
    pub fn introduce(&mut self, name: &str, version: &str) -> Value {
        let said = self.request(
            "initialize",
            json!({"protocolVersion": "2025-06-18", "capabilities": {"elicitation": {}}, "clientInfo": {"name": name, "version": version}}),
        );
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        said["result"].clone()
    }

    pub fn write(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().unwrap();
        input.write_all(bytes).unwrap();
        input.flush().unwrap();
    }

    pub fn send(&mut self, message: &Value) {
        self.write(format!("{message}\n").as_bytes());
    }

    /// The next message.
    #[track_caller]
    pub fn receive(&mut self) -> Value {
        let message = self.messages.recv_timeout(PATIENCE).unwrap();
        assert_eq!(message["jsonrpc"], "2.0", "{message}");
        // The caller is never asked anything.
        assert!(message.get("method").is_none(), "{message}");
        message
    }

    /// Whether nothing comes for a while.
    pub fn is_silent(&mut self) -> bool {
        matches!(self.messages.recv_timeout(Duration::from_millis(300)), Err(RecvTimeoutError::Timeout))
    }

    /// Begins a request, and says by which id.
    pub fn begin(&mut self, method: &str, parameters: Value) -> i64 {
        self.number += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": self.number, "method": method, "params": parameters}));
        self.number
    }

    /// A request and what comes back.
    #[track_caller]
    pub fn request(&mut self, method: &str, parameters: Value) -> Value {
        let id = self.begin(method, parameters);
        let answer = self.receive();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    /// Begins a call.
    pub fn begin_call(&mut self, tool: &str, arguments: Value) -> i64 {
        self.begin("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// A call and its result.
    #[track_caller]
    pub fn call(&mut self, tool: &str, arguments: Value) -> Called {
        let answer = self.request("tools/call", json!({"name": tool, "arguments": arguments}));
        Called::of(&answer)
    }

    /// A shell command and its result.
    #[track_caller]
    pub fn sh(&mut self, command: &str) -> Called {
        self.call("run_sandboxed", json!({"command": command}))
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Takes no more answers: the pipe has nobody at its other end.
    pub fn stop_reading(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        while self.messages.recv_timeout(PATIENCE).is_ok() {}
    }

    /// Whether the server has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Closes the caller's end.
    pub fn close(&mut self) {
        self.input = None;
    }

    /// Closes the caller's end and waits for the server's.
    pub fn end(mut self) -> Ended {
        self.close();
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "the server does not end");
            thread::sleep(Duration::from_millis(10));
        };
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        let stdout = self.messages.iter().map(|message| format!("{message}\n")).collect();
        Ended { code, stdout, stderr: self.errors.take().unwrap().join().unwrap() }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came of a call.
#[derive(Debug)]
pub struct Called {
    pub text: String,
    pub is_error: bool,
    pub told: Value,
}

impl Called {
    #[track_caller]
    pub fn of(answer: &Value) -> Self {
        let result = &answer["result"];
        let text = result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no result: {answer}")).to_owned();
        Self { text, is_error: result["isError"] == true, told: result["structuredContent"].clone() }
    }

    pub fn status(&self) -> &str {
        self.told["status"].as_str().unwrap()
    }
}

/// The command for a server, still to be started.
pub fn command(host: &Host, arguments: &[&str]) -> Command {
    let mut command = host.bare(&["mcp", "serve", "--workspace"]);
    command.arg(&host.workspace).args(arguments);
    command
}

/// The records of the only session.
pub fn records(host: &Host) -> Vec<Value> {
    let logs: Vec<_> = fs::read_dir(host.state.join("log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let logs: Vec<_> = logs.into_iter().filter(|path| !path.ends_with("ledger.jsonl")).collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    fs::read_to_string(&logs[0]).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Those records that say this.
pub fn events(host: &Host, event: &str) -> Vec<Value> {
    records(host).into_iter().filter(|record| record["event"] == event).collect()
}

/// Fails unless the log of the last session is whole.
#[track_caller]
pub fn assert_whole(host: &Host) {
    let ended = Ended::from(host.bare(&["audit", "verify", "last"]).output().unwrap());
    assert!(ended.code == 0 && ended.stdout.contains("intact, complete"), "{ended:?}");
    assert_eq!(records(host).iter().rev().map(|record| record["event"].clone()).take(2).collect::<Vec<_>>(), ["checkpoint", "session_end"]);
}

/// An argument for `sleep` that no other process has.
pub fn unique_time() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}.{}", 10_000 + std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed) + 1)
}
