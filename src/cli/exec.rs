//! `portcullis exec`: one task, from the prompt to the answer, without questions.

use std::{
    io::{self, IsTerminal, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    endpoint::{Provider, ProviderError},
    exit::Exit,
    gate, mcp, report,
    resolve::{self, Folders},
    stop::stop_signal,
};
use crate::{
    agent::{
        Event, Interrupt, Observer, Prompt, Session, SessionError, TurnError, TurnSummary,
        rollout::{Reopened, Rollout, RolloutError, list},
        turn,
    },
    approval::{Approver, NoProgram},
    model::{Endpoint, ModelError},
    policy::Ask,
    sandbox::LaunchError,
    tools::{AttachError, Gate},
    ui::screen::{JsonLines, Screen},
};

/// The longest prompt in bytes.
const PROMPT_CAP: u64 = 1024 * 1024;
/// The longest schema in bytes.
const SCHEMA_CAP: u64 = 256 * 1024;

/// What was typed, resolved as far as the arguments alone go.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) prompt: Option<String>,
    pub(super) images: Vec<PathBuf>,
    pub(super) policy: Option<String>,
    pub(super) workspace: Option<PathBuf>,
    pub(super) provider: Provider,
    pub(super) ask: Option<Ask>,
    pub(super) approver: ApproverChoice,
    pub(super) json: bool,
    pub(super) output_schema: Option<PathBuf>,
    pub(super) resume: Option<String>,
}

/// The program that answers instead of a person, if one was named.
#[derive(Debug)]
pub(super) struct ApproverChoice {
    pub(super) command: Option<String>,
    pub(super) timeout: Duration,
}

impl ApproverChoice {
    /// The approver itself, which is kept from the model's key.
    pub(super) fn start(&self, folders: &Folders, key_variable: &str, key: Option<&str>) -> Result<Option<Approver>, NoProgram> {
        let Some(command) = &self.command else { return Ok(None) };
        let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        Approver::new(command, &folders.environment, key_variable, key, self.timeout, &here).map(Some)
    }
}

/// Runs a task to its end.
pub(super) fn run(task: &Task) -> Exit {
    match try_run(task) {
        Ok(Exit::Signal(number)) => {
            report(&"interrupted; all that the turn had started was ended");
            Exit::Signal(number)
        }
        Ok(exit) => exit,
        Err(error) => {
            report(&error);
            error.exit()
        }
    }
}

/// Why a task was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExecError {
    /// There is nothing to do.
    #[error("there is no prompt; give it as an argument, or on standard input")]
    NoPrompt,
    /// The prompt cannot be read.
    #[error("the prompt could not be read from standard input: {0}")]
    Prompt(#[source] io::Error),
    /// The endpoint needs a key and there is none.
    #[error("{variable} holds no key for {url}; set it, or name another variable with --key-env")]
    NoKey {
        /// The variable that was looked at.
        variable: String,
        /// The endpoint.
        url: String,
    },
    /// The endpoint that is meant cannot be told.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The schema cannot be read, or is none.
    #[error("the schema {path} for the answer cannot be used: {why}", path = path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The answer was to be JSON.
    #[error("the answer is no JSON, which --output-schema asks for: {0}; the endpoint may not hold its model to a schema")]
    NoJson(#[source] serde_json::Error),
    /// The program that is to answer is none.
    #[error(transparent)]
    Approver(#[from] NoProgram),
    /// The environment or the policy is not as it must be.
    #[error(transparent)]
    Resolve(#[from] resolve::ResolveError),
    /// The session could not begin.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// An image cannot be sent along.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The turn ended without an answer.
    #[error(transparent)]
    Turn(#[from] TurnError),
    /// The event loop could not be made.
    #[error("the event loop could not be started: {0}")]
    Runtime(#[source] io::Error),
}

impl From<ModelError> for ExecError {
    fn from(error: ModelError) -> Self {
        Self::Session(error.into())
    }
}

impl From<LaunchError> for ExecError {
    fn from(error: LaunchError) -> Self {
        Self::Session(error.into())
    }
}

impl ExecError {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::NoPrompt
            | Self::Prompt(_)
            | Self::NoKey { .. }
            | Self::Schema { .. }
            | Self::Provider(_)
            | Self::Approver(_)
            | Self::Attach(AttachError::Refused(_))
            | Self::Session(SessionError::Rollout(RolloutError::NoSuch { .. } | RolloutError::Open { .. }))
            | Self::Session(SessionError::Model(ModelError::BadEndpoint { .. })) => Exit::Usage,
            Self::Resolve(error) => error.exit(),
            Self::Session(SessionError::Model(_))
            | Self::Turn(TurnError::Model(_) | TurnError::Unhealed { .. } | TurnError::Cut { .. }) => Exit::Provider,
            Self::Session(SessionError::Log(_) | SessionError::Rollout(_)) | Self::Turn(TurnError::Output(_) | TurnError::Kept(_)) => {
                Exit::Output
            }
            Self::Session(SessionError::Launch(_) | SessionError::Instructions { .. }) | Self::Runtime(_) => Exit::Sandbox,
            Self::Session(SessionError::Servers { .. }) => Exit::Usage,
            Self::Session(SessionError::Gate(error)) | Self::Attach(AttachError::Gate(error)) | Self::Turn(TurnError::Gate(error)) => {
                gate::exit(error)
            }
            Self::NoJson(_) | Self::Session(SessionError::Hook { .. }) => Exit::Failure,
            Self::Turn(TurnError::Incomplete { .. } | TurnError::Interrupted | TurnError::Crowded { .. } | TurnError::Repeats { .. }) => {
                Exit::Failure
            }
        }
    }
}

fn try_run(task: &Task) -> Result<Exit, ExecError> {
    // At the start, because an answer that nobody will get should not be paid for.
    super::output::check_open().map_err(TurnError::Output)?;
    let prompt = read_prompt(task.prompt.as_deref())?;
    let folders = Folders::from_environment();
    let (mut endpoint, key) = task.provider.endpoint(&folders)?;
    endpoint.style.output_schema = task.output_schema.as_deref().map(read_schema).transpose()?;
    let approver = task.approver.start(&folders, &endpoint.key_variable, key.as_deref())?;
    let resolved = resolve::resolve(task.workspace.as_deref(), task.policy.as_deref(), &folders)?;
    let kept = match &task.resume {
        Some(which) => Some(reopen(which, &resolved.session.state, &resolved.session.workspace)?),
        None => None,
    };
    let secrets = key.into_iter().chain(mcp::guests::secrets(&resolved.policy, &folders));
    let (id, mut gate) = gate::open(&resolved, secrets, task.ask)?;
    gate = gate.with_hooks(resolve::hooks(&resolved, &folders)?).map_err(SessionError::from)?;
    gate = gate.with_guests(mcp::guests::guests(&resolved.session, &folders).map_err(SessionError::from)?);
    if let Some(approver) = approver {
        gate = gate.with_approver(approver).map_err(SessionError::from)?;
    }
    let images = absolute(&task.images);
    let asked = Asked { text: &prompt, images: &images };
    let mut observer: Box<dyn Observer> = if task.json { Box::new(JsonLines(io::stdout())) } else { Box::new(Progress(Screen::stderr())) };
    let (exit, summary) = drive(&id, endpoint, gate, kept, asked, &mut *observer)?;
    check_answer(task, summary.as_ref())?;
    // Among the lines of JSON, or on a terminal, the answer has just been seen.
    let seen = task.json || (io::stdout().is_terminal() && io::stderr().is_terminal());
    if let Some(TurnSummary { answer, .. }) = summary.filter(|_| !seen) {
        writeln!(io::stdout(), "{answer}").map_err(TurnError::Output)?;
    }
    Ok(exit)
}

/// Progress on standard error. That it cannot be shown is no reason to go without the answer.
struct Progress(Screen<io::Stderr>);

impl Observer for Progress {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let _ = self.0.event(event);
        Ok(())
    }
}

/// What is asked, with images that nobody has read yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) text: &'a str,
    pub(super) images: &'a [PathBuf],
}

/// Paths as the person's shell meant them, which need not be where calls start.
pub(super) fn absolute(paths: &[PathBuf]) -> Vec<PathBuf> {
    paths.iter().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone())).collect()
}

/// Has each image decoded in a sandbox.
pub(super) async fn attach(gate: &Gate, asked: Asked<'_>) -> Result<Prompt, AttachError> {
    let mut prompt = Prompt::from(asked.text);
    for path in asked.images {
        prompt.images.push(gate.attach(path).await?);
    }
    Ok(prompt)
}

/// Runs one turn in an event loop of its own, until it is done or a signal says stop.
pub(super) fn drive(
    id: &str,
    endpoint: Endpoint,
    gate: Gate,
    kept: Option<Reopened>,
    asked: Asked<'_>,
    observer: &mut dyn Observer,
) -> Result<(Exit, Option<TurnSummary>), ExecError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ExecError::Runtime)?;
    runtime.block_on(async {
        let stop = stop_signal().map_err(ExecError::Runtime)?;
        tokio::pin!(stop);
        let mut session = tokio::select! {
            session = Session::begin(id, endpoint, gate, kept) => session?,
            signal = &mut stop => return Ok((Exit::Signal(signal), None)),
        };
        observer.event(&session.started()).map_err(TurnError::Output)?;
        let prompt = tokio::select! {
            prompt = attach(session.gate(), asked) => prompt,
            signal = &mut stop => {
                hurried(&session).await;
                end(&session)?;
                return Ok((Exit::Signal(signal), None));
            }
        };
        let prompt = match prompt {
            Ok(prompt) => prompt,
            Err(error) => {
                stop_hooks(&session).await;
                let _ = session.end();
                let _ = observer.event(&Event::TurnFailed { error: error.to_string() });
                return Err(error.into());
            }
        };
        let interrupt = Interrupt::default();
        let mut signal = None;
        let ended = {
            let turn = turn::run(&mut session, &prompt, &interrupt, observer);
            tokio::pin!(turn);
            loop {
                tokio::select! {
                    ended = &mut turn => break ended,
                    number = &mut stop, if signal.is_none() => {
                        signal = Some(number);
                        interrupt.fire();
                    }
                }
            }
        };
        if let Some(signal) = signal {
            session.gate().cancellations_sent().await;
            turn::record(&session, "interrupted").map_err(TurnError::from)?;
            let _ = observer.event(&Event::TurnFailed { error: "interrupted".to_owned() });
            hurried(&session).await;
            end(&session)?;
            return Ok((Exit::Signal(signal), None));
        }
        match ended {
            Ok(summary) => {
                stop_hooks(&session).await;
                end(&session)?;
                let unasked = session.gate().unasked();
                if unasked > 0 {
                    let what = if unasked == 1 { "one call was".to_owned() } else { format!("{unasked} calls were") };
                    report(&format!("{what} refused because nobody could be asked; --approver names a program that answers"));
                }
                Ok((if unasked == 0 { Exit::Success } else { Exit::Unasked }, Some(summary)))
            }
            Err(error) => {
                // Neither a log nor a screen that is gone may hide why.
                let _ = turn::record(&session, "failed");
                stop_hooks(&session).await;
                let _ = session.end();
                let _ = observer.event(&Event::TurnFailed { error: error.to_string() });
                Err(error.into())
            }
        }
    })
}

/// Runs the hooks at the session's end. That one fails takes nothing back, so it is said and no more.
async fn stop_hooks(session: &Session) {
    match session.gate().session_stop().await {
        Ok(failed) => failed.iter().for_each(|why| report(why)),
        Err(error) => report(&error),
    }
}

/// The same after a signal, when there is no time to wait for long.
async fn hurried(session: &Session) {
    let _ = tokio::time::timeout(HOOKS_GRACE, stop_hooks(session)).await;
}

fn end(session: &Session) -> Result<(), ExecError> {
    if let Some(lost) = session.gate().log().told_loss() {
        report(&lost);
    }
    Ok(session.end().map_err(TurnError::from)?)
}

/// How much of an orderly end the hooks at the session's end may take; what is left is for the log.
pub(super) const HOOKS_GRACE: Duration = Duration::from_secs(2);

/// An earlier session of the workspace, by its id or as the `last` one.
fn reopen(which: &str, state: &Path, workspace: &Path) -> Result<Reopened, ExecError> {
    let session = if which == "last" {
        let none = || RolloutError::NoSuch { what: format!("of {}", workspace.display()) };
        list(state, workspace, 1).into_iter().next().ok_or_else(none).map_err(SessionError::from)?.header.session
    } else {
        which.to_owned()
    };
    Ok(Rollout::open(state, workspace, &session).map_err(SessionError::from)?)
}

/// A schema of the person's, who names the file.
fn read_schema(path: &Path) -> Result<serde_json::Value, ExecError> {
    let bad = |why: String| ExecError::Schema { path: path.to_path_buf(), why };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| bad(error.to_string()))?;
    file.take(SCHEMA_CAP + 1).read_to_end(&mut bytes).map_err(|error| bad(error.to_string()))?;
    if bytes.len() as u64 > SCHEMA_CAP {
        return Err(bad(format!("it is longer than {SCHEMA_CAP} bytes")));
    }
    match serde_json::from_slice(&bytes) {
        Ok(schema @ serde_json::Value::Object(_)) => Ok(schema),
        Ok(_) => Err(bad("a schema is a JSON object".to_owned())),
        Err(error) => Err(bad(error.to_string())),
    }
}

/// An answer that somebody wants to read as JSON has to be some.
fn check_answer(task: &Task, summary: Option<&TurnSummary>) -> Result<(), ExecError> {
    match summary {
        Some(summary) if task.output_schema.is_some() => {
            serde_json::from_str::<serde::de::IgnoredAny>(&summary.answer).map(drop).map_err(ExecError::NoJson)
        }
        _ => Ok(()),
    }
}

fn read_prompt(argument: Option<&str>) -> Result<String, ExecError> {
    let prompt = match argument {
        Some(text) if text != "-" => text.to_owned(),
        None if io::stdin().is_terminal() => return Err(ExecError::NoPrompt),
        _ => {
            let mut bytes = Vec::new();
            io::stdin().lock().take(PROMPT_CAP + 1).read_to_end(&mut bytes).map_err(ExecError::Prompt)?;
            if bytes.len() as u64 > PROMPT_CAP {
                return Err(ExecError::Prompt(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    format!("it is longer than {PROMPT_CAP} bytes"),
                )));
            }
            String::from_utf8(bytes).map_err(|_| ExecError::Prompt(io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8")))?
        }
    };
    if prompt.trim().is_empty() { Err(ExecError::NoPrompt) } else { Ok(prompt) }
}
