//! `portcullis mcp review`: all that a server is and says, and a person's yes to that.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::PathBuf,
    sync::Arc,
};

use super::{
    super::{exit::Exit, output, resolve::Folders},
    McpError, bad,
    guests::{own_policy, place, session},
    settings,
};
use crate::{
    mcp::client::{Approved, Connection, Lock, Reached, ServerSettings, Way, identity::Measured},
    policy::summary,
    sandbox::{Launcher, Session},
    ui::sanitize::{visible, visible_line},
};

/// Which server, and how it is approved.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The server's name.
    name: String,
    /// Approve it without a question, if it is what --expect says.
    #[arg(long, requires = "expect")]
    yes: bool,
    /// The SHA-256 that a review printed.
    #[arg(long, value_name = "HASH", requires = "yes")]
    expect: Option<String>,
    /// The folder that it is looked at in [default: the repository around the current folder, else that folder].
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
}

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  portcullis mcp review time
  portcullis mcp review time < /dev/null                        # show it, and approve nothing
  portcullis mcp review time --yes --expect 3f2a…               # as a review has printed it

Ends with 0 if it was approved, with 1 if it was not, or is not what --expect says, and with 2 if there is no such server.";

pub(super) fn run(arguments: &Arguments, folders: &Folders) -> Result<Exit, McpError> {
    let name = &arguments.name;
    let settings = settings(folders)?;
    let server = settings.get(name).map_err(|error| bad(folders, error))?;
    let session = session(arguments.workspace.as_ref(), folders)?;
    let lock = Lock::new(&session.state);
    let before = lock.load()?.remove(name);
    let (approved, text) = examine(name, server, before.as_ref(), &session, folders)?;
    let hash = approved.hash();
    output::print(&text).map_err(|_| McpError::Output)?;
    match &arguments.expect {
        Some(expected) if expected.trim_start_matches("sha256:") == hash => {}
        Some(_) => return Err(McpError::NotApproved(format!("{name} was not approved: it is not what --expect says"))),
        None if !(io::stdin().is_terminal() && io::stdout().is_terminal()) => {
            let how = format!("portcullis mcp review {name} --yes --expect {hash}");
            return Err(McpError::NotApproved(format!("nothing was approved: there is nobody to ask; {how} approves what was shown")));
        }
        None if !yes(name)? => return Err(McpError::NotApproved(format!("{name} was not approved"))),
        None => {}
    }
    lock.set(name, Some(approved))?;
    output::print(&format!("{} is approved as it was shown\n", visible_line(name))).map_or(Err(McpError::Output), |()| Ok(Exit::Success))
}

/// Starts a server in its sandbox and asks it what it has: what could be approved, and all of it in words.
pub(super) fn examine(
    name: &str,
    server: &ServerSettings,
    before: Option<&Approved>,
    session: &Session,
    folders: &Folders,
) -> Result<(Approved, String), McpError> {
    let own = own_policy(server, folders)?;
    let (policy, place) = place(server, session, folders)?;
    let reached = place.look(&server.way).map_err(McpError::Command)?;
    // Before the event loop and its threads: the launcher must start small.
    let launcher = Arc::new(Launcher::start()?);
    let plan = launcher.register(place.plan.without_clock())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(McpError::Runtime)?;
    let launch = place.launch(plan, &reached);
    let (tools, refused) = runtime.block_on(async {
        let connection = Connection::open(&launcher, launch, &reached).await?;
        let tools = connection.tools().await;
        connection.close().await;
        tools
    })?;
    let approved = Approved { reached, environment: server.environment(), policy: own.name.clone(), fingerprint: own.fingerprint(), tools };
    let text = shown(name, server, &approved, &refused, &summary(&policy, true, true), before);
    Ok((approved, text))
}

fn yes(name: &str) -> Result<bool, McpError> {
    let mut out = io::stdout();
    let asked = write!(out, "Type yes to let sessions use {} as shown: ", visible_line(name)).and_then(|()| out.flush());
    asked.map_err(|_| McpError::Output)?;
    let mut answer = String::new();
    // No answer is no yes.
    let _ = io::stdin().lock().read_line(&mut answer);
    Ok(answer.trim() == "yes")
}

/// All of it, in lines that nothing in them can leave.
fn shown(
    name: &str,
    server: &ServerSettings,
    approved: &Approved,
    refused: &[String],
    access: &[String],
    before: Option<&Approved>,
) -> String {
    let mut out = format!("server       {}\n", visible_line(name));
    out.push_str(&shown_way(&approved.reached));
    let variables = if approved.environment.is_empty() { "none".to_owned() } else { approved.environment.join(" ") };
    out.push_str(&format!("variables    {}\n", visible_line(&variables)));
    out.push_str(&format!("policy       {} sha256:{}\n", visible_line(&approved.policy), approved.fingerprint));
    for line in access {
        out.push_str(&format!("             {}\n", visible_line(line)));
    }
    for tool in &approved.tools {
        let offered = match tool.offered_name(name) {
            _ if !server.offers(&tool.name) => "not offered: `tools` in mcp.toml leaves it out".to_owned(),
            None => "not offered: its name is too long for endpoints".to_owned(),
            Some(offered) => format!("{offered}, {}", decision(server, &tool.name, tool.destructive)),
        };
        out.push_str(&format!("\ntool         {} ({})\n", visible_line(&tool.name), visible_line(&offered)));
        if tool.destructive {
            out.push_str("             the server says that it can destroy something\n");
        }
        for line in tool.description.lines() {
            out.push_str(&format!("  | {}\n", visible_line(line)));
        }
        let schema = serde_json::to_string_pretty(&tool.parameters).unwrap_or_default();
        for line in visible(&schema).lines() {
            out.push_str(&format!("  : {line}\n"));
        }
    }
    for why in refused {
        out.push_str(&format!("\nnot offered  {}\n", visible_line(why)));
    }
    out.push_str("\nWhat stands behind | and : are the server's words. The model will be told them as if they were true.\n");
    if let Some(before) = before {
        out.push_str(&differences(before, approved));
    }
    out.push_str(&format!("hash         {}\n", approved.hash()));
    out
}

fn shown_way(reached: &Reached) -> String {
    let mut out = String::new();
    match reached {
        Reached::Command { command, identity } => {
            for (place, word) in command.iter().enumerate() {
                out.push_str(&format!("{}{}\n", if place == 0 { "command      " } else { "             " }, visible_line(word)));
            }
            let measured = |measured: &Measured| {
                format!("{}\n             sha256:{}", visible_line(&measured.path.display().to_string()), measured.sha256)
            };
            out.push_str(&format!("program      {}\n", measured(&identity.program)));
            if let Some(script) = &identity.script {
                out.push_str(&format!("script       {}\n", measured(script)));
            }
        }
        Reached::Remote(remote) => {
            out.push_str(&format!("address      {}\n", visible_line(&remote.url)));
            if !remote.is_encrypted() {
                out.push_str("             without encryption: whoever is on the way reads and changes what is said\n");
            }
            if let Some(variable) = &remote.bearer {
                out.push_str(&format!("header       Authorization: Bearer ${}\n", visible_line(variable)));
            }
            for (name, variable) in &remote.headers {
                out.push_str(&format!("header       {}: ${}\n", visible_line(name), visible_line(variable)));
            }
        }
    }
    out
}

fn decision(server: &ServerSettings, tool: &str, destructive: bool) -> &'static str {
    match server.decision(tool, destructive) {
        crate::policy::Decision::Allow => "runs without a question",
        crate::policy::Decision::Ask => "asks before each call",
        crate::policy::Decision::Forbid => "is forbidden",
    }
}

/// What is not as it was approved before.
fn differences(before: &Approved, now: &Approved) -> String {
    let added: Vec<&str> =
        now.tools.iter().filter(|tool| !before.tools.iter().any(|other| other.name == tool.name)).map(|tool| tool.name.as_str()).collect();
    let gone: Vec<&str> =
        before.tools.iter().filter(|tool| !now.tools.iter().any(|other| other.name == tool.name)).map(|tool| tool.name.as_str()).collect();
    let (way, files) = match &now.reached {
        Reached::Command { command, identity } => (Way::Command(command.clone()), before.files_changed(identity)),
        Reached::Remote(remote) => (Way::Remote(remote.clone()), None),
    };
    let changed = [
        before.settings_changed(&way, &now.environment, &now.fingerprint),
        files,
        before.tools_changed(&now.tools),
        (!added.is_empty()).then(|| format!("new tools: {}", added.join(", "))),
        (!gone.is_empty()).then(|| format!("tools that are gone: {}", gone.join(", "))),
    ];
    let lines: Vec<String> = changed.into_iter().flatten().map(|why| format!("changed      {}\n", visible_line(&why))).collect();
    if lines.is_empty() { "changed      nothing since it was approved\n".to_owned() } else { lines.concat() }
}
