//! `portcullis privacy`: every endpoint that this configuration can contact, what is sent there, and what stays on this machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::mcp::client::Way;

use super::{
    endpoint::Provider,
    exec::ExecError,
    exit::Exit,
    output, report,
    resolve::{self, Folders, ResolveError},
};

/// For `--help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  portcullis privacy
  portcullis privacy --provider llama.cpp
  portcullis privacy --json | jq '.contacts[].url'";

/// What is sent to the model's endpoint with each request.
const SENT: [&str; 5] = [
    "the base instructions, the tools, and the policy in words",
    "AGENTS.md files of the workspace, the workspace's path, the name of the operating system",
    "what you type, what the model answered, and the output of its calls, without the secrets that the session knows",
    "an id that is made for each session and groups its requests for the endpoint's cache",
    "the key, in a header",
];

#[derive(Serialize)]
struct Privacy {
    version: u32,
    contacts: Vec<Contact>,
    /// What portcullis contacts besides.
    otherwise: Vec<String>,
    kept: Vec<Kept>,
}

#[derive(Serialize)]
struct Contact {
    url: String,
    what_for: &'static str,
    key_variable: String,
    /// Whether that variable holds something now.
    key_is_set: bool,
    /// The endpoint is asked to keep nothing: `store: false` in each request.
    asks_to_store: bool,
    transport: String,
    sent: Vec<&'static str>,
}

#[derive(Serialize)]
struct Kept {
    what: &'static str,
    path: PathBuf,
    files: u64,
    bytes: u64,
}

pub(super) fn run(provider: &Provider, json: bool) -> Exit {
    let text = match look(provider) {
        Ok(privacy) if json => serde_json::to_string(&privacy).unwrap_or_default() + "\n",
        Ok(privacy) => show(&privacy),
        Err(error) => {
            report(&error);
            return error.exit();
        }
    };
    output::print(&text).err().unwrap_or(Exit::Success)
}

fn look(provider: &Provider) -> Result<Privacy, ExecError> {
    let folders = Folders::from_environment();
    let endpoint = provider.described(&folders)?;
    let key_is_set = folders.environment.get(&endpoint.key_variable).is_some_and(|key| !key.trim().is_empty());
    let contact = Contact {
        url: endpoint.base_url().to_owned(),
        what_for: "the model",
        key_variable: endpoint.key_variable.clone(),
        key_is_set,
        asks_to_store: false,
        transport: format!("{:?}", endpoint.transport).to_lowercase(),
        sent: SENT.iter().copied().filter(|what| key_is_set || !what.starts_with("the key")).collect(),
    };
    let state = &folders.state;
    let kept = [
        ("the log of what was done", state.join("log")),
        ("sessions, to go on with", state.join("sessions")),
        ("everything else", state.clone()),
    ];
    let mut kept: Vec<Kept> = kept.into_iter().map(|(what, path)| measure(what, path)).collect();
    let parts = (kept[0].files + kept[1].files, kept[0].bytes + kept[1].bytes);
    if let Some(rest) = kept.last_mut() {
        (rest.files, rest.bytes) = (rest.files.saturating_sub(parts.0), rest.bytes.saturating_sub(parts.1));
    }
    let otherwise = [
        "nothing: no telemetry, no search for updates, no list of models, no report of crashes",
        "commands of the model's reach what the policy lets them reach; `portcullis policy show` says what that is",
    ];
    let mut otherwise = otherwise.map(str::to_owned).to_vec();
    let servers = super::mcp::guests::servers(&folders);
    let remote = servers.iter().filter_map(|(name, server)| match &server.way {
        Way::Remote(remote) => Some(format!("the MCP server {name} at {} is sent what the model calls it with", remote.url)),
        Way::Command(_) => None,
    });
    otherwise.extend(remote);
    let servers = servers.into_keys().collect::<Vec<_>>().join(", ");
    if !servers.is_empty() {
        otherwise.push(format!(
            "the MCP servers {servers} are given what the model calls them with, and reach what their own policies let them reach; `portcullis mcp \
             review` says what that is"
        ));
    }
    if !resolve::written_hooks(&folders).map_err(ResolveError::from)?.is_empty() {
        otherwise.push("hooks of yours reach what their own policies let them reach; `portcullis hooks list` lists them".to_owned());
    }
    Ok(Privacy { version: 1, contacts: vec![contact], otherwise, kept })
}

fn measure(what: &'static str, path: PathBuf) -> Kept {
    let (mut files, mut bytes) = (0, 0);
    walk(&path, 0, &mut |length| {
        files += 1;
        bytes += length;
    });
    Kept { what, path, files, bytes }
}

/// Links are not followed, and nothing that portcullis makes lies deeper.
fn walk(folder: &Path, depth: u8, found: &mut dyn FnMut(u64)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() && depth < 8 => walk(&entry.path(), depth + 1, found),
            Ok(metadata) if metadata.is_file() => found(metadata.len()),
            _ => {}
        }
    }
}

fn show(privacy: &Privacy) -> String {
    let mut text = "What portcullis contacts:\n".to_owned();
    for contact in &privacy.contacts {
        let key = if contact.key_is_set { "is set" } else { "is not set" };
        text.push_str(&format!("- {} ({}; key from {}, which {key})\n", contact.url, contact.what_for, contact.key_variable));
        text.push_str("  It is asked to store nothing (store: false) with each request. Sent there:\n");
        contact.sent.iter().for_each(|what| text.push_str(&format!("  - {what}\n")));
    }
    text.push_str("Besides:\n");
    privacy.otherwise.iter().for_each(|what| text.push_str(&format!("- {what}\n")));
    text.push_str("What stays on this machine, readable by you alone:\n");
    for kept in &privacy.kept {
        text.push_str(&format!("- {}: {} ({} files, {} bytes)\n", kept.what, kept.path.display(), kept.files, kept.bytes));
    }
    text
}
