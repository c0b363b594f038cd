//! `portcullis mcp`: the Model Context Protocol: servers of other people as guests of sessions, and this program as a server.

mod add;
pub(super) mod again;
pub(super) mod guests;
mod list;
mod remove;
mod review;
mod serve;

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clap::Subcommand;

use super::{
    exit::Exit,
    report,
    resolve::{Folders, ResolveError},
};
use crate::{
    agent::SessionError,
    mcp::client::{GuestError, LockError, Settings, settings::SettingsError},
    policy::PolicyError,
    sandbox::{LaunchError, PlanError},
};

/// What is done with them.
#[derive(Debug, Subcommand)]
pub(super) enum McpCommand {
    /// Add a server to your mcp.toml. Nothing is started.
    #[command(after_help = add::EXAMPLES)]
    Add(add::Arguments),
    /// List your servers, and whether sessions use them.
    #[command(after_help = "Examples:\n  portcullis mcp list")]
    List,
    /// Start a server in its sandbox, show all that it is and says, and approve that.
    #[command(after_help = review::EXAMPLES)]
    Review(review::Arguments),
    /// Take a server away, with what was approved of it.
    #[command(after_help = "Examples:\n  portcullis mcp remove time")]
    Remove {
        /// Its name.
        name: String,
    },
    /// Offer the tools to another agent over standard input and output, under a policy that it cannot change.
    #[command(after_help = serve::EXAMPLES)]
    Serve(serve::Arguments),
}

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  portcullis mcp add time -- /usr/bin/python3 -m mcp_server_time
  portcullis mcp review time
  portcullis mcp list
  portcullis mcp remove time
  portcullis mcp serve --policy read-only --workspace ~/src/project

Your servers are in mcp.toml in the configuration folder (~/.config/portcullis, or $PORTCULLIS_HOME):
  [server.time]
  command = [\"/usr/bin/python3\", \"-m\", \"mcp_server_time\"]
  env = []                                  # names of variables that it is given; it has no others
  policy = \"mcp-server\"                     # a preset or a file; this one where none is named
  read = [\"/opt/servers\"]                   # what it may read besides; all of this is what `mcp review` shows
  tools = [\"get_current_time\"]              # all unless given
  decisions = { get_current_time = \"allow\" } # allow, ask or forbid; \"*\" is all others, which ask unless given
  timeout = \"60s\"                           # of one call

A server that is reached over HTTP has an address instead of a command, and is reached through the proxy, by rules for that host and port alone:
  [server.board]
  url = \"https://mcp.example.org/mcp\"
  bearer = \"BOARD_TOKEN\"                    # the variable that holds a token; secrets do not stand in this file
  headers = { X-Team = \"BOARD_TEAM\" }       # likewise

A session uses a server only as it was approved by `portcullis mcp review`. No repository can add one.";

/// Does it.
pub(super) fn run(command: McpCommand) -> Exit {
    let folders = Folders::from_environment();
    let done = match command {
        McpCommand::Add(arguments) => add::run(&arguments, &folders),
        McpCommand::List => list::run(&folders),
        McpCommand::Review(arguments) => review::run(&arguments, &folders),
        McpCommand::Remove { name } => remove::run(&name, &folders),
        McpCommand::Serve(arguments) => return serve::run(arguments),
    };
    done.unwrap_or_else(|error| {
        report(&error);
        error.exit()
    })
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum McpError {
    /// The settings make no sense.
    #[error("{path}: {error}", path = path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: SettingsError,
    },
    /// They cannot be read or written.
    #[error("{path} cannot be {doing}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        doing: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// What was approved cannot be read or kept.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Its policy has an error.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Its policy cannot be carried out here.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// There is no workspace, or no state folder.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// It cannot be started as it is set.
    #[error("{0}")]
    Command(String),
    /// There is no launcher.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// It did not answer as a server does.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// The event loop could not be made.
    #[error("the event loop could not be started: {0}")]
    Runtime(#[source] io::Error),
    /// Nobody said yes.
    #[error("{0}")]
    NotApproved(String),
    /// The result could not be written.
    #[error("standard output could not be written")]
    Output,
}

impl McpError {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Settings { .. } | Self::Command(_) => Exit::Usage,
            Self::File { doing: "read", .. } => Exit::Usage,
            Self::File { .. } | Self::Lock(_) | Self::Output => Exit::Output,
            Self::Policy(_) | Self::Plan(_) => Exit::Policy,
            Self::Resolve(error) => error.exit(),
            Self::Launch(_) | Self::Guest(GuestError::Launch(_)) | Self::Runtime(_) => Exit::Sandbox,
            Self::Guest(_) | Self::NotApproved(_) => Exit::Failure,
        }
    }
}

impl From<McpError> for SessionError {
    fn from(error: McpError) -> Self {
        Self::Servers { reason: error.to_string() }
    }
}

/// The text of the person's file; none is empty.
fn text(folders: &Folders) -> Result<String, McpError> {
    let error = |source| McpError::File { path: folders.mcp.clone(), doing: "read", source };
    // A FIFO in its place must not hang a start.
    let file = match fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(&folders.mcp) {
        Ok(file) => file,
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(problem) => return Err(error(problem)),
    };
    let cap = crate::mcp::client::settings::SETTINGS_CAP;
    let mut text = String::new();
    file.take(cap + 1).read_to_string(&mut text).map_err(error)?;
    if text.len() as u64 > cap { Err(error(io::ErrorKind::FileTooLarge.into())) } else { Ok(text) }
}

/// The person's servers.
fn settings(folders: &Folders) -> Result<Settings, McpError> {
    Settings::parse(&text(folders)?).map_err(|error| bad(folders, error))
}

fn bad(folders: &Folders, error: SettingsError) -> McpError {
    McpError::Settings { path: folders.mcp.clone(), error }
}

/// Writes the person's file, which is whole before and after.
fn write(folders: &Folders, text: &str) -> Result<(), McpError> {
    let error = |source| McpError::File { path: folders.mcp.clone(), doing: "written", source };
    // Where it is a link, what it leads to is written.
    let path = fs::canonicalize(&folders.mcp).unwrap_or_else(|_| folders.mcp.clone());
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(error)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(error)?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_data()).map_err(error)?;
    file.persist(&path).map_err(|problem| error(problem.error)).map(drop)
}
