//! A session: the model, the gate, and the conversation between them, which only grows.

use std::collections::BTreeMap;

use crate::{
    audit::{Event as Record, LogError},
    model::{Client, CompactionMethod, EncodedHead, Endpoint, Head, ModelError, Usage},
    policy::render,
    sandbox::LaunchError,
    tools::{Began, Gate, GateError, told_of_mode},
    worker::{Reply, Request},
};

use super::{
    budget::Budget,
    cache::{CacheWatch, HeadSegment},
    event::Event,
    history::History,
    ledger::Ledger,
    prefix::{Prefix, instruction_candidates},
    repeats::Repeats,
    rollout::{Header, Pruning, Reopened, Rollout, RolloutError, prune},
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
    /// The session cannot be kept, or taken up again.
    #[error(transparent)]
    Rollout(#[from] RolloutError),
    /// The MCP servers of the session cannot be told.
    #[error("{reason}")]
    Servers {
        /// Why.
        reason: String,
    },
    /// A hook at the start said no, or failed.
    #[error("the session does not begin: {reason}")]
    Hook {
        /// Which one, and why.
        reason: String,
    },
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
    pub(super) history: History,
    pub(super) ledger: Ledger,
    pub(super) cache: CacheWatch,
    pub(super) budget: Budget,
    pub(super) repeats: Repeats,
    /// By what means it is compacted; an endpoint may turn out not to have what it is said to have.
    pub(super) compaction: CompactionMethod,
    pub(super) requests: u64,
    /// Whether the endpoint has ever answered.
    pub(super) answered: bool,
    /// Items of the session that it goes on with.
    resumed: Option<usize>,
    /// What the turn has come to so far; it outlives a turn that was interrupted.
    pub(super) turn: TurnSummary,
}

impl Session {
    /// Begins a session: proves that a sandbox can be made, by reading the instruction files in one, and assembles the prefix. `id` names its log.
    /// With a session that was kept, its conversation goes on where it ended.
    pub async fn begin(id: &str, endpoint: Endpoint, gate: Gate, kept: Option<Reopened>) -> Result<Self, SessionError> {
        gate.record_session(endpoint.base_url(), &endpoint.model)?;
        let assembled = async {
            let (client, prefix) = (Client::new(endpoint)?, read_prefix(&gate).await?);
            let contexts = match gate.session_start().await? {
                Began::Goes(contexts) => contexts,
                Began::Refused(reason) => return Err(SessionError::Hook { reason }),
            };
            let resumed = kept.as_ref().map(|kept| kept.conversation.len());
            let mut begun = match kept {
                None => fresh(id, &client, &gate, &prefix)?,
                Some(kept) => go_on(kept, &client, &gate, &prefix)?,
            };
            // After the prefix, which is the same in every session.
            contexts.iter().try_for_each(|context| begun.1.developer(context))?;
            Ok((client, begun, resumed))
        };
        match assembled.await {
            Ok((client, (head, history, cache), resumed)) => Ok(Self {
                id: id.to_owned(),
                budget: Budget::new(client.endpoint().context_window, client.endpoint().compact_at),
                compaction: client.endpoint().compaction,
                client,
                gate,
                head,
                ledger: if resumed.is_some() { Ledger::of(history.conversation()) } else { Ledger::default() },
                history,
                cache,
                repeats: Repeats::default(),
                requests: 0,
                answered: false,
                resumed,
                turn: TurnSummary::default(),
            }),
            Err(error) => {
                gate.log().close()?;
                Err(error)
            }
        }
    }

    /// Sends what is known before anything was asked, where the endpoint has a use for that. No harm if it fails; it takes no longer than a connection.
    pub async fn warm(&self) {
        self.client.warm(&self.head, self.history.conversation()).await;
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

    /// Writes its end to the log. What runs in the background ends with it. Sessions that are old go then, and not when somebody waits for a beginning.
    ///
    /// # Errors
    /// If it cannot be recorded.
    pub fn end(&self) -> Result<(), LogError> {
        prune(&self.gate.session().state, &Pruning::default());
        self.gate.close()
    }

    /// How many items it began with, if it goes on with an earlier one.
    pub fn resumed(&self) -> Option<usize> {
        self.resumed
    }

    /// Whether the next request had better be shorter.
    pub(super) fn is_full(&self) -> bool {
        self.budget.is_full(self.history.conversation().weight(&self.head))
    }

    /// Takes note that the last request was too long.
    pub(super) fn overflowed(&mut self) {
        self.budget.overflowed(self.history.conversation().weight(&self.head));
    }

    /// The turn that has just ended, with what it cost.
    pub(super) fn turn_finished(&self) -> Event {
        let TurnSummary { requests, usage, .. } = &self.turn;
        Event::TurnFinished {
            requests: *requests,
            input_tokens: usage.input_tokens,
            cached_tokens: usage.cached_tokens,
            output_tokens: usage.output_tokens,
            cost_millionths: self.cost(usage),
            misses: self.cache.misses().clone(),
        }
    }

    /// What so many tokens cost in millionths of a dollar, if prices were given.
    pub fn cost(&self, usage: &Usage) -> Option<u64> {
        self.client.endpoint().prices.map(|prices| prices.cost(usage))
    }

    /// How often the provider's cache knew less than it should have, by reason.
    pub fn misses(&self) -> &BTreeMap<String, u64> {
        self.cache.misses()
    }

    /// The gate, for its log.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }
}

/// What is sent first, the conversation, and the watch over what the cache should know.
type Begun = (EncodedHead, History, CacheWatch);

fn fresh(id: &str, client: &Client, gate: &Gate, prefix: &Prefix) -> Result<Begun, SessionError> {
    let model = &client.endpoint().model;
    let (head, conversation) = prefix.begin(client.endpoint(), id);
    let encoded = head.encode();
    let cache = watch(&head, &encoded, prefix.item_names(client.endpoint()));
    let mut header = Header::new(id, &gate.session().workspace, gate.cwd(), model, gate.policy().fingerprint(), conversation.len());
    header.head = cache.head().to_vec();
    let rollout = Rollout::create(&gate.session().state, &header)?;
    Ok((encoded, History::begin(conversation, rollout)?, cache))
}

/// What the model was told stays; what is otherwise by now is added.
fn go_on(kept: Reopened, client: &Client, gate: &Gate, prefix: &Prefix) -> Result<Begun, SessionError> {
    let Reopened { header, conversation, rollout } = kept;
    gate.log().append(Record::Resumed { from: header.session.clone() })?;
    let (head, _) = prefix.begin(client.endpoint(), &header.cache_key);
    let mut history = History::resume(conversation, header.prefix, rollout)?;
    if header.fingerprint != gate.policy().fingerprint() {
        history.developer(&format!("From here on another policy is in force, in place of the one before:\n\n{}", render(gate.policy())))?;
    }
    if gate.ask_mode() != gate.policy().ask {
        history.developer(&told_of_mode(gate.ask_mode()))?;
    }
    if header.cwd != gate.cwd() {
        history.developer(&format!("From here on the working directory is {}.", gate.cwd().display()))?;
    }
    let encoded = head.encode();
    let cache = watch(&head, &encoded, prefix.item_names(client.endpoint())).after(&header.head);
    Ok((encoded, history, cache))
}

fn watch(head: &Head, encoded: &EncodedHead, names: Vec<String>) -> CacheWatch {
    let parts = head.parts().into_iter().map(|(name, text)| HeadSegment::new(name, text.as_bytes()));
    CacheWatch::new(parts.collect(), encoded.as_bytes().len(), names)
}

/// The prefix for a gate's policy and place, with the instruction files read in a sandbox.
pub async fn read_prefix(gate: &Gate) -> Result<Prefix, SessionError> {
    let workspace = &gate.session().workspace;
    let files = instruction_candidates(workspace, gate.cwd());
    let (reply, _) = gate.serve(&Request::ReadInstructions { files }).await?;
    let text = match reply {
        Some(Reply::Ok { text, .. }) => Some(text).filter(|text| !text.trim().is_empty()),
        Some(Reply::Refused { message, .. }) => return Err(SessionError::Instructions { reason: message }),
        Some(Reply::Image(_)) | None => return Err(LaunchError::Died.into()),
    };
    let text = text.map(|text| format!("Instructions of this project, from its AGENTS.md files:\n\n{text}"));
    Ok(Prefix::new(gate.policy(), text, workspace, gate.cwd()).in_mode(gate.policy(), gate.ask_mode()).with_tools(gate.guest_tools()))
}
