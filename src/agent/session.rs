//! A session: the model, the gate, and the conversation between them, which only grows.

use crate::{
    audit::{Event as Record, LogError},
    model::{Client, Conversation, EncodedHead, Endpoint, ModelError},
    sandbox::LaunchError,
    tools::{Gate, GateError},
    worker::{Reply, Request},
};

use super::{
    event::Event,
    prefix::{Prefix, instruction_candidates},
    turn::TurnSummary,
};

/// Why a session could not begin.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The endpoint cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// No sandbox can be made.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The gate could not be set up.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// An instruction file is there and cannot be read.
    #[error("an instruction file could not be read: {reason}")]
    Instructions {
        /// What the worker says.
        reason: String,
    },
}

/// A session.
#[derive(Debug)]
pub struct Session {
    pub(super) id: String,
    pub(super) client: Client,
    pub(super) gate: Gate,
    pub(super) head: EncodedHead,
    pub(super) conversation: Conversation,
    pub(super) requests: u64,
    /// What the turn has come to so far; it outlives a turn that was interrupted.
    pub(super) turn: TurnSummary,
}

impl Session {
    /// Begins a session: proves that a sandbox can be made, by reading the instruction files in one, and assembles the prefix.
    pub async fn begin(id: &str, endpoint: Endpoint, gate: Gate) -> Result<Self, SessionError> {
        let started = Record::SessionStart {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uid: nix::unistd::getuid().as_raw(),
            pid: std::process::id(),
            workspace: gate.session().workspace.display().to_string(),
            policy: gate.policy().name.clone(),
            fingerprint: gate.policy().fingerprint(),
            sources: gate.policy().sources.clone(),
            endpoint: endpoint.base_url().to_owned(),
            model: endpoint.model.clone(),
        };
        gate.log().append(started)?;
        let model = endpoint.model.clone();
        let assembled = async { Ok((Client::new(endpoint)?, read_prefix(&gate).await?)) }.await;
        let (client, prefix) = match assembled {
            Ok(both) => both,
            Err(error) => {
                gate.log().append(Record::SessionEnd)?;
                return Err(error);
            }
        };
        let (head, conversation) = prefix.begin(&model, id);
        Ok(Self { id: id.to_owned(), client, gate, head: head.encode(), conversation, requests: 0, turn: TurnSummary::default() })
    }

    /// How it presents itself.
    pub fn started(&self) -> Event {
        Event::SessionStarted {
            session: self.id.clone(),
            model: self.client.endpoint().model.clone(),
            endpoint: self.client.endpoint().base_url().to_owned(),
            workspace: self.gate.session().workspace.display().to_string(),
            policy: self.gate.policy().name.clone(),
            fingerprint: self.gate.policy().fingerprint(),
            log: self.gate.log().path().display().to_string(),
        }
    }

    /// The gate, for its log.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }
}

/// The prefix for a gate's policy and place, with the instruction files read in a sandbox.
pub async fn read_prefix(gate: &Gate) -> Result<Prefix, SessionError> {
    let workspace = &gate.session().workspace;
    let files = instruction_candidates(workspace, gate.cwd());
    let (reply, _) = gate.serve(&Request::ReadInstructions { files }).await?;
    let text = match reply {
        Some(Reply::Ok { text, .. }) => Some(text).filter(|text| !text.trim().is_empty()),
        Some(Reply::Refused { message, .. }) => return Err(SessionError::Instructions { reason: message }),
        None => return Err(LaunchError::Died.into()),
    };
    let text = text.map(|text| format!("Instructions of this project, from its AGENTS.md files:\n\n{text}"));
    Ok(Prefix::new(gate.policy(), text, workspace, gate.cwd()))
}
