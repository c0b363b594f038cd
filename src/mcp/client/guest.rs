//! One server in a session: started when it is first called, held to what was approved, and started again when it crashed.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rmcp::model::{CallToolResult, JsonObject};
use tokio::{
    sync::{Mutex, mpsc::UnboundedSender},
    time::{sleep, timeout},
};

use super::{
    connection::Connection,
    identity::Identity,
    lock::{Approved, Reached},
    settings::{ServerSettings, Way},
};
use crate::{
    egress,
    policy::Policy,
    sandbox::{Applied, LaunchError, Launcher, Plan, Program, message::Launch},
};

/// How often a server that crashed is started again.
const RESTARTS: u32 = 3;
/// How long the first restart waits; each later one twice as long.
const BACKOFF: Duration = Duration::from_millis(250);
/// How long a server has to end a call that was cancelled, before it is ended itself.
const CANCEL_PATIENCE: Duration = Duration::from_secs(2);

/// Why a call of a server's tool came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// No sandbox could be made for it.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// It did not become ready.
    #[error("the server did not start: {why}")]
    Start {
        /// Why.
        why: String,
    },
    /// It is not what was approved.
    #[error("the server is not used: {why}; the person can look at it with `portcullis mcp review`")]
    Changed {
        /// What changed.
        why: String,
    },
    /// It lists the tool no more.
    #[error("the server does not have this tool any more")]
    NoTool,
    /// It answered with an error.
    #[error("the server answered with an error: {why}")]
    Answer {
        /// Its words.
        why: String,
    },
    /// It wrote too much.
    #[error("the server wrote more than is read of it (16 MiB in one message); it was ended")]
    Flooded,
    /// It ended while it was called.
    #[error("the server ended before it answered: {how}")]
    Gone {
        /// How.
        how: String,
    },
    /// It took too long.
    #[error("the server did not answer within {} s; the call was cancelled, and the server is ended", patience.as_secs_f32())]
    TimedOut {
        /// The limit.
        patience: Duration,
    },
    /// It crashed too often.
    #[error("the server failed {failures} times in this session and is not started again")]
    Exhausted {
        /// How often.
        failures: u32,
    },
}

/// A result with what is on record of its server.
#[derive(Debug)]
pub struct Reply {
    /// What the server answered, or why there is nothing.
    pub result: Result<CallToolResult, GuestError>,
    /// What the kernel was told for the server, where it runs.
    pub applied: Option<Applied>,
    /// What it connected to since the last call.
    pub connections: Vec<egress::Connection>,
    /// How many connections more there were.
    pub connections_more: u64,
}

/// A server of a session.
#[derive(Debug)]
pub struct Guest {
    /// What the person set.
    pub settings: ServerSettings,
    /// What the person approved.
    pub approved: Approved,
    /// What confines it, with all bounds of this workspace.
    pub policy: Policy,
    place: Arc<Place>,
    state: Mutex<State>,
    /// Servers that have a moment left to end a call.
    cancelling: Arc<AtomicUsize>,
}

/// Where and how a server runs.
#[derive(Debug)]
pub struct Place {
    /// What the kernel is told.
    pub plan: Plan,
    /// Its whole environment.
    pub environment: Vec<(String, String)>,
    /// Where it starts.
    pub cwd: PathBuf,
    /// What it sees as its `/tmp` and home; gone when this is dropped.
    pub private: tempfile::TempDir,
}

impl Place {
    /// What the names of programs are looked up on.
    fn search_path(&self) -> &str {
        self.environment.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.as_str()).unwrap_or_default()
    }

    /// How a server is reached now, with the files that its command starts.
    ///
    /// # Errors
    /// In words, if there is no such program, or it cannot be read.
    pub fn look(&self, way: &Way) -> Result<Reached, String> {
        Ok(match way {
            Way::Command(command) => Reached::Command { command: command.clone(), identity: Identity::of(command, self.search_path())? },
            Way::Remote(remote) => Reached::Remote(remote.clone()),
        })
    }

    /// The launch of a server; of a command, by the file that was looked at.
    pub fn launch(&self, plan: u32, reached: &Reached) -> Launch {
        let program = match reached {
            Reached::Command { command, identity } => {
                let program = identity.program.path.display().to_string();
                Program::Exec([program].into_iter().chain(command.iter().skip(1).cloned()).collect())
            }
            Reached::Remote(_) => Program::Remote,
        };
        Launch {
            plan,
            program,
            environment: self.environment.clone(),
            cwd: self.cwd.clone(),
            wall_ms: None,
            terminal: None,
            terminal_streams: [false; 3],
        }
    }
}

#[derive(Debug, Default)]
struct State {
    plan: Option<u32>,
    connection: Option<Connection>,
    /// The tools that it has, as far as they were approved.
    has: Vec<String>,
    failures: u32,
    /// Why it is not used any more.
    changed: Option<String>,
    last_failure: Option<Instant>,
}

/// A connection while a call of it runs. When it is dropped half-way, the server is told that the call is cancelled, and is ended a moment later.
struct Flight(Option<Connection>, Arc<AtomicUsize>);

impl Drop for Flight {
    fn drop(&mut self) {
        if let (Some(connection), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            let cancelling = Arc::clone(&self.1);
            cancelling.fetch_add(1, Ordering::Relaxed);
            runtime.spawn(async move {
                sleep(CANCEL_PATIENCE).await;
                connection.close().await;
                cancelling.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }
}

impl Guest {
    /// One that is not started.
    pub fn new(settings: ServerSettings, approved: Approved, policy: Policy, place: Place) -> Self {
        Self { settings, approved, policy, place: Arc::new(place), state: Mutex::default(), cancelling: Arc::default() }
    }

    /// Whether a call of it was dropped just now.
    pub fn is_cancelling(&self) -> bool {
        self.cancelling.load(Ordering::Relaxed) > 0
    }

    /// Calls a tool, after starting the server if it does not run. What the server says of its progress goes to `watch`.
    pub async fn call(&self, launcher: &Arc<Launcher>, tool: &str, arguments: JsonObject, watch: Option<UnboundedSender<String>>) -> Reply {
        let mut state = self.state.lock().await;
        let result = self.try_call(&mut state, launcher, tool, arguments, watch).await;
        let (connections, connections_more) = state.connection.as_ref().map(Connection::take_connections).unwrap_or_default();
        Reply { result, applied: state.connection.as_ref().and_then(Connection::applied), connections, connections_more }
    }

    async fn try_call(
        &self,
        state: &mut State,
        launcher: &Arc<Launcher>,
        tool: &str,
        arguments: JsonObject,
        watch: Option<UnboundedSender<String>>,
    ) -> Result<CallToolResult, GuestError> {
        if let Some(why) = &state.changed {
            return Err(GuestError::Changed { why: why.clone() });
        }
        if state.connection.as_ref().is_some_and(Connection::is_closed) {
            state.connection = None;
            state.fail();
        }
        if state.connection.is_none() {
            match self.start(state, launcher).await {
                Ok(connection) => state.connection = Some(connection),
                Err(error) => {
                    state.take_error(&error);
                    return Err(error);
                }
            }
        } else if state.connection.as_ref().is_some_and(Connection::is_changed) {
            self.look_again(state).await?;
        }
        if !state.has.iter().any(|name| name == tool) {
            return Err(GuestError::NoTool);
        }
        let mut flight = Flight(state.connection.take(), Arc::clone(&self.cancelling));
        let Some(connection) = &flight.0 else { return Err(GuestError::NoTool) };
        let patience = self.settings.patience();
        let called = timeout(patience, connection.call(tool, arguments, watch)).await;
        let result = called.unwrap_or(Err(GuestError::TimedOut { patience }));
        match &result {
            Ok(_) | Err(GuestError::Answer { .. }) => state.connection = flight.0.take(),
            // It is told that the call is cancelled, and has a moment to obey.
            Err(GuestError::TimedOut { .. }) => state.fail(),
            Err(_) => {
                if let Some(connection) = flight.0.take() {
                    connection.close().await;
                }
                state.fail();
            }
        }
        result
    }

    async fn start(&self, state: &mut State, launcher: &Arc<Launcher>) -> Result<Connection, GuestError> {
        if state.failures > RESTARTS {
            return Err(GuestError::Exhausted { failures: state.failures });
        }
        if let Some(since) = state.last_failure {
            let wait = BACKOFF * 2u32.saturating_pow(state.failures.saturating_sub(1));
            sleep(wait.saturating_sub(since.elapsed())).await;
        }
        let (place, way) = (Arc::clone(&self.place), self.settings.way.clone());
        let looked = tokio::task::spawn_blocking(move || place.look(&way)).await;
        let reached = looked.unwrap_or_else(|error| Err(error.to_string())).map_err(|why| GuestError::Start { why })?;
        if let Reached::Command { identity, .. } = &reached
            && let Some(why) = self.approved.files_changed(identity)
        {
            return Err(GuestError::Changed { why });
        }
        let plan = match state.plan {
            Some(plan) => plan,
            None => launcher.register(self.place.plan.without_clock())?,
        };
        state.plan = Some(plan);
        let connection = Connection::open(launcher, self.place.launch(plan, &reached), &reached).await?;
        state.has = self.compared(&connection).await?;
        Ok(connection)
    }

    /// The approved tools that it has now.
    async fn compared(&self, connection: &Connection) -> Result<Vec<String>, GuestError> {
        let (tools, _) = connection.tools().await?;
        match self.approved.tools_changed(&tools) {
            Some(why) => Err(GuestError::Changed { why }),
            None => Ok(tools.into_iter().map(|tool| tool.name).collect()),
        }
    }

    /// Compares its tools anew, after it has said that they changed.
    async fn look_again(&self, state: &mut State) -> Result<(), GuestError> {
        let Some(connection) = state.connection.take() else { return Ok(()) };
        match self.compared(&connection).await {
            Ok(has) => {
                state.has = has;
                state.connection = Some(connection);
                Ok(())
            }
            Err(error) => {
                connection.close().await;
                state.take_error(&error);
                Err(error)
            }
        }
    }
}

impl State {
    fn fail(&mut self) {
        self.failures += 1;
        self.last_failure = Some(Instant::now());
    }

    fn take_error(&mut self, error: &GuestError) {
        match error {
            GuestError::Changed { why } => self.changed = Some(why.clone()),
            GuestError::Exhausted { .. } => {}
            _ => self.fail(),
        }
    }
}
