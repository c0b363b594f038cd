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
    mcp::client::{Approved, Guest, Guests, Lock, ServerSettings, guest::Place},
    policy::{Origin, Policy, load},
    sandbox::{Plan, Session, private},
};

/// The policy that a server's settings name, as `load` takes it. A relative path starts where the settings lie.
fn chosen(server: &ServerSettings, folders: &Folders) -> String {
    let Some(policy) = &server.policy else { return load::SERVER_PRESET.to_owned() };
    let is_path = policy.contains('/') || Path::new(policy).extension().is_some_and(|extension| extension == "toml");
    let folder = folders.mcp.parent().map(Path::to_path_buf).unwrap_or_default();
    if is_path { folder.join(policy).display().to_string() } else { policy.clone() }
}

/// The names of variables that a server is given, sorted.
pub(super) fn environment(server: &ServerSettings) -> Vec<String> {
    let mut names = server.env.clone();
    names.sort();
    names.dedup();
    names
}

/// The policy of a server by itself, by which it is approved: what a workspace takes away on top of that needs no approval.
pub(super) fn own_policy(server: &ServerSettings, folders: &Folders) -> Result<Policy, McpError> {
    Ok(reading(load::alone(&chosen(server, folders))?, server, folders))
}

/// A policy with what the person lets a server read besides.
fn reading(policy: Policy, server: &ServerSettings, folders: &Folders) -> Policy {
    let origin = Origin { file: folders.mcp.display().to_string(), line: 1, group: None };
    server.read.iter().fold(policy, |policy, path| policy.with_path(path, false, origin.clone()))
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
    match approved.settings_changed(&server.command, &environment(server), &policy.fingerprint()) {
        Some(why) => Err(why),
        None => Ok(approved),
    }
}

/// Where and how a server runs in a workspace, under its policy with all bounds of that.
pub(super) fn place(server: &ServerSettings, session: &Session, folders: &Folders) -> Result<(Policy, Place), McpError> {
    let policy = resolve::load_policy(Some(&chosen(server, folders)), &session.workspace, folders)?;
    let policy = reading(policy, server, folders);
    let error = |source| resolve::ResolveError::Private { path: session.private.clone(), source };
    let private = private::make_in(&session.private).map_err(error)?;
    let session = &Session { private: fs::canonicalize(private.path()).map_err(error)?, ..session.clone() };
    let plan = Plan::new(&policy, session)?;
    resolve::settings_out_of_reach(&policy, session, folders)?;
    let mut environment = plan.environment(&policy, session);
    for name in &server.env {
        if let Some(value) = session.environment.get(name) {
            environment.retain(|(other, _)| other != name);
            environment.push((name.clone(), value.clone()));
        }
    }
    environment.sort();
    Ok((policy, Place { plan, environment, cwd: session.workspace.clone(), private }))
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

/// The names of the person's servers.
pub(in crate::cli) fn names(folders: &Folders) -> Vec<String> {
    settings(folders).map(|settings| settings.servers.into_keys().collect()).unwrap_or_default()
}

/// The values that servers are given and nobody else is to see: those that the session's own calls do not see anyway.
pub(in crate::cli) fn secrets(policy: &Policy, folders: &Folders) -> Vec<String> {
    let named = settings(folders).map(|settings| settings.servers).unwrap_or_default().into_values().flat_map(|server| server.env);
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
