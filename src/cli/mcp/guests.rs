//! From the person's settings, and what was approved, to the servers of a session.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{
    super::{
        report,
        resolve::{self, Folders},
    },
    McpError, settings,
};
use crate::{
    mcp::client::{Approved, Guest, Guests, Lock, ServerSettings, Way, guest::Place},
    policy::{NetworkMode, Origin, Policy, load},
    sandbox::{Plan, Session, private},
};

/// The policy that a server's settings name, as `load` takes it. A relative path starts where the settings lie.
fn chosen(server: &ServerSettings, folders: &Folders) -> String {
    let Some(policy) = &server.policy else {
        return if matches!(server.way, Way::Remote(_)) { load::REMOTE_PRESET } else { load::SERVER_PRESET }.to_owned();
    };
    let folder = folders.mcp.parent().map(Path::to_path_buf).unwrap_or_default();
    if load::is_path(policy) { folder.join(policy).display().to_string() } else { policy.clone() }
}

/// The policy of a server by itself, by which it is approved: what a workspace takes away on top of that needs no approval.
pub(super) fn own_policy(server: &ServerSettings, folders: &Folders) -> Result<Policy, McpError> {
    widened(load::alone(&chosen(server, folders))?, server, folders)
}

/// A policy with what the person lets a server read besides, and with the host of its address.
fn widened(policy: Policy, server: &ServerSettings, folders: &Folders) -> Result<Policy, McpError> {
    let origin = Origin { file: folders.mcp.display().to_string(), line: 1, group: None };
    let policy = server.read.iter().fold(policy, |policy, path| policy.with_path(path, false, origin.clone()));
    let Way::Remote(remote) = &server.way else { return Ok(policy) };
    let host = remote.host().map_err(|error| McpError::Command(error.to_string()))?;
    let policy = policy.with_host(&host, origin);
    // The proxy is the one way out that it knows.
    if policy.network.mode == NetworkMode::Allowlist {
        return Ok(policy);
    }
    let why = match (policy.network.mode, &policy.network.bound) {
        (NetworkMode::Open, _) => {
            "has an open network; a server with a `url` needs one with mode = \"allowlist\", to which its host is added".to_owned()
        }
        (_, Some((_, Some(bound)))) => {
            format!("is bound to a network without hosts by {bound}, so that a server with a `url` cannot be reached")
        }
        _ => "is bound to a network without hosts, so that a server with a `url` cannot be reached".to_owned(),
    };
    Err(McpError::Command(format!("the policy {} {why}", policy.name)))
}

/// What was approved of a server, or why sessions do not use it.
pub(super) fn standing<'a>(
    name: &str,
    server: &ServerSettings,
    approved: &'a BTreeMap<String, Approved>,
    folders: &Folders,
) -> Result<&'a Approved, String> {
    let approved = approved.get(name).ok_or("nobody has approved it")?;
    let policy = own_policy(server, folders).map_err(|error| error.to_string())?;
    match approved.settings_changed(&server.way, &server.environment(), &policy.fingerprint()) {
        Some(why) => Err(why),
        None => Ok(approved),
    }
}

/// Where and how a server runs in a workspace, under its policy with all bounds of that.
pub(super) fn place(server: &ServerSettings, session: &Session, folders: &Folders) -> Result<(Policy, Place), McpError> {
    let policy = resolve::load_policy(Some(&chosen(server, folders)), &session.workspace, folders)?;
    let policy = widened(policy, server, folders)?;
    let error = |source| resolve::ResolveError::Private { path: session.private.clone(), source };
    let private = private::make_in(&session.private).map_err(error)?;
    let session = &Session { private: fs::canonicalize(private.path()).map_err(error)?, ..session.clone() };
    let plan = Plan::new(&policy, session)?;
    resolve::settings_out_of_reach(&policy, session, folders)?;
    let mut environment = plan.environment(&policy, session);
    for name in server.environment() {
        if let Some(value) = session.environment.get(&name) {
            environment.retain(|(other, _)| *other != name);
            environment.push((name, value.clone()));
        }
    }
    environment.sort();
    // What passes messages on sees no workspace.
    let cwd = if matches!(server.way, Way::Remote(_)) { "/".into() } else { session.workspace.clone() };
    Ok((policy, Place { plan, environment, cwd, private }))
}

/// The servers that a session uses. What is said of the others goes to standard error.
pub(in crate::cli) fn guests(session: &Session, folders: &Folders) -> Result<Guests, McpError> {
    let settings = settings(folders)?;
    if settings.servers.is_empty() {
        return Ok(Guests::default());
    }
    let approved = Lock::new(&session.state).load()?;
    let mut guests = BTreeMap::new();
    for (name, server) in settings.servers {
        let guest = standing(&name, &server, &approved, folders)
            .and_then(|approved| Ok((approved, place(&server, session, folders).map_err(|error| error.to_string())?)));
        match guest {
            Ok((approved, (policy, place))) => drop(guests.insert(name, Guest::new(server, approved.clone(), policy, place))),
            Err(why) => report(&format!("the MCP server {name} is not used: {why}; `portcullis mcp review {name}` shows it")),
        }
    }
    Ok(Guests::new(guests))
}

/// The person's servers.
pub(in crate::cli) fn servers(folders: &Folders) -> BTreeMap<String, ServerSettings> {
    settings(folders).map(|settings| settings.servers).unwrap_or_default()
}

/// The values that servers are given and nobody else is to see: those that the session's own calls do not see anyway.
pub(in crate::cli) fn secrets(policy: &Policy, folders: &Folders) -> Vec<String> {
    let named = servers(folders).into_values();
    let named = named.flat_map(|server| server.environment());
    let hidden = named.filter(|name| !policy.environment.inherit.contains(name));
    hidden.filter_map(|name| folders.environment.get(&name).cloned()).collect()
}

/// Where a person's state lies, and the workspace around the current folder, for a server that is only looked at.
pub(super) fn session(workspace: Option<&PathBuf>, folders: &Folders) -> Result<Session, McpError> {
    let (workspace, _) = resolve::find_workspace(workspace.map(PathBuf::as_path), &folders.home)?;
    let state = resolve::make_state(&folders.state)?;
    Ok(Session {
        linked: crate::sandbox::linked_repository(&workspace),
        workspace,
        home: folders.home.clone(),
        private: std::env::temp_dir(),
        state,
        environment: folders.environment.clone(),
    })
}
