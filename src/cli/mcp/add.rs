//! `portcullis mcp add`: one more server in the person's own file.

use std::path::PathBuf;

use super::{
    super::{exit::Exit, output, resolve::Folders},
    McpError, bad, text, write,
};
use crate::{
    mcp::client::settings::{NewServer, added},
    policy::load,
    ui::sanitize::visible_line,
};

/// What is added.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Its name, which stands before those of its tools.
    name: String,
    /// The address of a server that is reached over HTTP, instead of a command.
    #[arg(long, value_name = "URL", conflicts_with = "command")]
    url: Option<String>,
    /// The variable that holds the bearer token which that is sent.
    #[arg(long, value_name = "VAR", requires = "url")]
    bearer: Option<String>,
    /// A header that it is sent, with the variable that holds its value. Can be given several times.
    #[arg(long, value_name = "NAME=VAR", requires = "url", value_parser = header)]
    header: Vec<(String, String)>,
    /// A variable that it is given, by name. Can be given several times.
    #[arg(long, value_name = "VAR")]
    env: Vec<String>,
    /// Its policy: a preset's name, or a file [default: mcp-server, or mcp-remote with --url].
    #[arg(long, value_name = "NAME|FILE")]
    policy: Option<String>,
    /// A folder or file that it may read besides, such as the one that it is installed in. Can be given several times.
    #[arg(long, value_name = "PATH")]
    read: Vec<PathBuf>,
    /// The command that starts it and speaks MCP on its standard input and output.
    #[arg(required_unless_present = "url", last = true, value_name = "CMD")]
    command: Vec<String>,
}

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  portcullis mcp add time -- /usr/bin/python3 -m mcp_server_time
  portcullis mcp add time --read /opt/servers -- /opt/servers/bin/mcp-server-time
  portcullis mcp add tickets --env TICKETS_TOKEN --policy ./tickets.toml -- node /opt/tickets/server.js
  portcullis mcp add board --url https://mcp.example.org/mcp --bearer BOARD_TOKEN
  portcullis mcp add local --url http://127.0.0.1:8000/mcp --header X-Api-Key=LOCAL_KEY

Ends with 0, with 2 if the name is taken or makes no sense, and with 3 if the policy has an error.";

/// A header with its variable.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, variable) = text.split_once('=').ok_or("a header is written NAME=VAR, where VAR is the variable that holds its value")?;
    Ok((name.to_owned(), variable.to_owned()))
}

pub(super) fn run(arguments: &Arguments, folders: &Folders) -> Result<Exit, McpError> {
    let Arguments { name, url, bearer, header, env, policy, read, command } = arguments;
    // The file is read from anywhere, so a relative path would lead elsewhere.
    let policy = policy.as_ref().map(|policy| {
        let absolute = std::path::absolute(policy).ok().filter(|_| load::is_path(policy));
        absolute.map_or_else(|| policy.clone(), |path| path.display().to_string())
    });
    load::alone(policy.as_deref().unwrap_or(if url.is_some() { load::REMOTE_PRESET } else { load::SERVER_PRESET }))?;
    let mut env = env.clone();
    env.sort();
    env.dedup();
    let read: Vec<String> = super::super::exec::absolute(read).iter().map(|path| path.display().to_string()).collect();
    let new = NewServer {
        command,
        url: url.as_deref(),
        bearer: bearer.as_deref(),
        headers: header,
        env: &env,
        policy: policy.as_deref(),
        read: &read,
    };
    let text = added(&text(folders)?, name, &new).map_err(|error| bad(folders, error))?;
    write(folders, &text)?;
    let (name, path) = (visible_line(name), visible_line(&folders.mcp.display().to_string()));
    output::print(&format!("{name} was added to {path}; sessions use it once you have approved it: portcullis mcp review {name}\n"))
        .map_or(Err(McpError::Output), |()| Ok(Exit::Success))
}
