//! `portcullis` without a command: an interactive session. A person types, the model works, and what needs a yes is asked about.

mod command;
mod curtain;
mod kept;
mod obey;
mod talk;
mod trust;

use std::{
    cell::RefCell,
    io::{self, IsTerminal},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::Command,
    rc::Rc,
};

use tokio::sync::mpsc::unbounded_channel;

use self::{
    curtain::ScreenCurtain,
    talk::{Ended, Screen, Signals, Talk},
};
use super::{
    endpoint::Provider,
    exec::{ExecError, absolute},
    exit::Exit,
    mcp, report,
    resolve::{self, Folders, ResolveError, Resolved},
};
use crate::{
    agent::{Session, SessionError},
    policy::{Ask, canonical},
    sandbox::launcher::own_program,
    ui::{self, asker::TerminalAsker, line_editor::LineEditor, session_screen::SessionScreen, status::Status, style::Paint, terminal},
};

/// What was typed to begin a session.
#[derive(Debug)]
pub(super) struct Chat {
    pub(super) policy: Option<String>,
    pub(super) workspace: Option<PathBuf>,
    pub(super) provider: Provider,
    /// Files of images for the first prompt.
    pub(super) images: Vec<PathBuf>,
    pub(super) ask: Option<Ask>,
    pub(super) kept: Option<Kept>,
}

/// The earlier session that is gone on with.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) which: Which,
    /// Whether it stays as it is, and another one begins with what it holds.
    pub(super) fork: bool,
}

/// Which one.
#[derive(Debug)]
pub(super) enum Which {
    /// This one.
    Session(String),
    /// The one that was worked in last.
    Last,
    /// The one that the person chooses from a list.
    Chosen,
}

/// Why a session did not begin, or broke.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChatError {
    /// There is nobody to talk to.
    #[error("an interactive session needs a terminal for its input and output; `portcullis exec` works without one")]
    NoTerminal,
    /// There is one that cannot show a question.
    #[error(
        "the terminal cannot move its cursor (TERM is {term}), so that no question could be shown on it; `portcullis exec` works without"
    )]
    DumbTerminal {
        /// What it says it is.
        term: String,
    },
    /// The terminal does not do what it must.
    #[error("the terminal cannot be used: {0}")]
    Terminal(#[source] io::Error),
    /// The folder is not to be worked in.
    #[error(transparent)]
    Trust(#[from] trust::TrustError),
    /// What ends a task ends a session.
    #[error(transparent)]
    Exec(#[from] ExecError),
}

impl ChatError {
    fn exit(&self) -> Exit {
        match self {
            Self::NoTerminal | Self::DumbTerminal { .. } => Exit::Usage,
            Self::Terminal(_) => Exit::Output,
            Self::Trust(_) => Exit::Failure,
            Self::Exec(error) => error.exit(),
        }
    }
}

impl From<ResolveError> for ChatError {
    fn from(error: ResolveError) -> Self {
        Self::Exec(error.into())
    }
}

impl From<SessionError> for ChatError {
    fn from(error: SessionError) -> Self {
        Self::Exec(error.into())
    }
}

/// Runs a session to its end.
pub(super) fn run(chat: &Chat) -> Exit {
    match try_run(chat) {
        Ok(exit) => exit,
        Err(error) => {
            report(&error);
            error.exit()
        }
    }
}

fn try_run(chat: &Chat) -> Result<Exit, ChatError> {
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return Err(ChatError::NoTerminal);
    }
    let term = std::env::var("TERM").unwrap_or_default();
    if term.is_empty() || term == "dumb" {
        return Err(ChatError::DumbTerminal { term: if term.is_empty() { "not set".to_owned() } else { term } });
    }
    // From here on the terminal is given back as it was, whatever happens.
    terminal::guard().map_err(ChatError::Terminal)?;
    let folders = Folders::from_environment();
    let (endpoint, key) = chat.provider.endpoint(&folders)?;
    let (workspace, cwd) = resolve::find_workspace(chat.workspace.as_deref(), &folders.home)?;
    let state = resolve::make_state(&folders.state)?;
    let trusted = trust::ask(&workspace, &cwd, &state)?;

    let kept = match &chat.kept {
        None => None,
        Some(kept) => match kept::find(kept, &state, &workspace)? {
            Some(kept) => Some(kept),
            None => return Ok(Exit::Success),
        },
    };
    let resolved = resolve::resolve(chat.workspace.as_deref(), chat.policy.as_deref(), &folders)?;
    mcp::again::ask(&resolved.session, &folders).map_err(SessionError::from)?;
    let secrets = key.into_iter().chain(mcp::guests::secrets(&resolved.policy, &folders));
    let (id, mut gate) = super::gate::open(&resolved, secrets, chat.ask)?;
    let Resolved { policy, session, cwd, .. } = &resolved;
    gate = gate.with_guests(mcp::guests::guests(session, &folders).map_err(SessionError::from)?);

    gate = gate.with_hooks(resolve::hooks(&resolved, &folders)?).map_err(SessionError::from)?;
    let paint = Paint::of(&io::stdout());
    let status = Status::new(&policy.name, policy.network.mode, gate.ask_mode());
    let screen: Screen = Rc::new(RefCell::new(SessionScreen::new(io::stdout(), paint, ui::screen_width, status)));
    let gate = gate.with_asker(Rc::new(TerminalAsker::new(paint, Rc::new(ScreenCurtain(Rc::clone(&screen))))));
    let (live, output) = unbounded_channel();
    gate.watch(live);
    let commands = command::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    let editor = LineEditor::start(state.join("history"), cwd.clone(), commands).map_err(ChatError::Terminal)?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ExecError::Runtime)?;
    let exit = runtime.block_on(async {
        let mut signals = Signals::new().map_err(ExecError::Runtime)?;
        let session = tokio::select! {
            session = Session::begin(&id, endpoint, gate, kept) => session?,
            number = signals.end() => return Ok(Ended::Exit(Exit::Signal(number))),
        };
        trusted.still()?;
        Talk { session, screen, output, editor, signals, attached: Vec::new() }.run(&absolute(&chat.images)).await.map_err(ChatError::from)
    });
    terminal::restore();
    match exit? {
        Ended::Exit(exit) => Ok(exit),
        Ended::Resume => Err(again(chat)),
    }
}

/// Becomes the same program with another session. Returns only with the reason why not.
#[allow(clippy::disallowed_methods, reason = "the program itself, in its own place")]
fn again(chat: &Chat) -> ChatError {
    let mut command = match own_program() {
        Ok(program) => Command::new(program),
        Err(error) => return ChatError::Terminal(error),
    };
    command.arg0("portcullis").arg("resume");
    command.args(chat.provider.arguments());
    if let Some(policy) = &chat.policy {
        command.args(["--policy", policy]);
    }
    if let Some(ask) = chat.ask {
        command.args(["--ask", canonical::ask(ask)]);
    }
    if let Some(workspace) = &chat.workspace {
        command.arg("--workspace").arg(workspace);
    }
    ChatError::Terminal(command.exec())
}

/// Prints the sessions of a workspace.
pub(super) fn list(chat: &Chat, every: bool) -> Exit {
    let folders = Folders::from_environment();
    match resolve::find_workspace(chat.workspace.as_deref(), &folders.home) {
        Ok((workspace, _)) => super::output::print(&kept::table(&folders.state, &workspace, every)).err().unwrap_or(Exit::Success),
        Err(error) => {
            report(&error);
            error.exit()
        }
    }
}
