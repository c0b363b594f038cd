//! portcullis as a server of the Model Context Protocol, over standard input and output: other agents call tools, and each call goes through the gate
//! of a session of portcullis' own.
//!
//! The caller is who is confined. So nothing that it sends has a say in what confines it: the policy, the workspace and the mode are settled before its
//! first byte is read, the ids of calls are made here, and the protocol's elicitation is not used: a question that the caller passes on is one that it can
//! answer. What would ask goes to the approver that the person named, or is refused because nobody can be asked.
//!
//! | file | what it does |
//! |---|---|
//! | `stdio` | lines in and out, and what is no message |
//! | `handler` | the protocol's requests, by the official SDK |
//! | `offer` | the tools with their schemas, and the step from a request to a call of the gate |
//! | `calls` | the calls in their order, on the gate |
//! | `answer` | what the caller is told of a call |

mod answer;
mod calls;
mod handler;
mod offer;
mod stdio;

use std::{
    io::{Read, Write},
    time::Duration,
};

use rmcp::{ServiceExt, service::ServerInitializeError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::{calls::Calls, handler::Handler, stdio::Stdio};
use crate::{
    audit::LogError,
    policy::render_in_mode,
    sandbox::LaunchError,
    tools::{Began, Gate, GateError},
    worker::{Reply, Request},
};

/// Why nothing is served any more, or was from the start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No sandbox can be made.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// A call could not even be answered.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// The end could not be recorded.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A hook of the person's wants no session.
    #[error("there is no session: {reason}")]
    Hook {
        /// Which one, and why.
        reason: String,
    },
    /// What came first was no request of the protocol's.
    #[error("the caller does not speak the Model Context Protocol: what came first was no request")]
    Protocol,
}

/// How the serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The caller closed its end.
    Closed,
    /// A signal.
    Signal(i32),
}

/// How long the last answers may take to be taken by the caller. Nothing runs by then.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Proves that a sandbox can be made.
///
/// # Errors
/// If none can.
pub async fn prove(gate: &Gate) -> Result<(), ServeError> {
    match gate.serve(&Request::ReadInstructions { files: Vec::new() }).await? {
        (Some(Reply::Ok { .. }), _) => Ok(()),
        _ => Err(LaunchError::Died.into()),
    }
}

/// Serves until `input` ends or `stop` says so; what is worth a word at the end goes to `report`. Then every process of every call ends, and the log is closed.
///
/// # Errors
/// If a call could not be recorded, or no sandbox can be made any more.
pub async fn serve(
    gate: &Gate,
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    stop: impl Future<Output = i32>,
    report: impl Fn(&str),
) -> Result<Ended, ServeError> {
    let closed = CancellationToken::new();
    let (sender, mut asked) = mpsc::unbounded_channel();
    let stdio = Stdio::start(input, output, &closed);
    let written = stdio.written();
    let handler = Handler::new(instructions(gate), sender);
    let mut service = tokio::spawn(async move {
        let running = handler.serve(stdio).await?;
        let _ = running.waiting().await;
        Ok::<(), ServerInitializeError>(())
    });
    let mut calls = Calls::new(gate, closed.clone());
    tokio::pin!(stop);
    let mut over = None;
    let ended: Result<Ended, ServeError> = loop {
        tokio::select! {
            biased;
            number = &mut stop => break Ok(Ended::Signal(number)),
            () = closed.cancelled() => break Ok(Ended::Closed),
            done = calls.next(), if !calls.idle() => if let Err(error) = done {
                break Err(error.into());
            },
            Some(message) = asked.recv() => {
                let begins = calls.begin(message.client());
                let started = async {
                    if begins? {
                        begin(gate).await?;
                    }
                    Ok::<(), ServeError>(())
                };
                tokio::select! {
                    biased;
                    number = &mut stop => break Ok(Ended::Signal(number)),
                    () = closed.cancelled() => break Ok(Ended::Closed),
                    started = started => if let Err(error) = started {
                        break Err(error);
                    },
                }
                calls.take(message);
            }
            result = &mut service => {
                over = Some(result);
                break Ok(Ended::Closed);
            }
        }
    };
    closed.cancel();
    let begun = calls.begun();
    let last = calls.end().await;
    let said = if begun { gate.session_stop().await } else { Ok(Vec::new()) };
    // The requests that are left have nobody to answer them any more.
    drop(asked);
    // Before the last answers, which a caller that takes none would hold up.
    let recorded = gate.close();
    if over.is_none() {
        over = tokio::time::timeout(LAST_WORDS, &mut service).await.ok();
    }
    service.abort();
    let _ = tokio::time::timeout(LAST_WORDS, written.cancelled()).await;
    let ended = ended?;
    last?;
    recorded?;
    said?.iter().for_each(|failed| report(failed));
    match over {
        Some(Ok(Err(ServerInitializeError::ExpectedInitializeRequest(Some(_))))) => Err(ServeError::Protocol),
        _ => Ok(ended),
    }
}

/// What the person's hooks say of the session's beginning.
async fn begin(gate: &Gate) -> Result<(), ServeError> {
    match gate.session_start().await? {
        // It comes too late for what a caller is told, which it has been.
        Began::Goes(_) => Ok(()),
        Began::Refused(reason) => Err(ServeError::Hook { reason }),
    }
}

/// What the caller's model is told before it calls anything.
fn instructions(gate: &Gate) -> String {
    format!(
        "Each call of these tools runs in a sandbox of its own, which the policy below confines and the kernel enforces. No argument changes the policy, the \
         workspace or the environment. When something is refused, do not try to get round it: go on without it, or tell the person what you need and why. \
         policy_explain says beforehand whether something is allowed.\n\n{}\nThe workspace is {}.\n",
        render_in_mode(gate.policy(), gate.ask_mode()),
        gate.session().workspace.display()
    )
}
