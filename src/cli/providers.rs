//! `portcullis providers`: the endpoints that have a name, and what is set for each.

use clap::Subcommand;

use super::{
    endpoint::{Provider, providers},
    exit::Exit,
    output, report,
    resolve::Folders,
};
use crate::model::Endpoint;

/// For `--help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  portcullis providers list
  portcullis providers show llama.cpp

Your own are in providers.toml in the configuration folder (~/.config/portcullis, or $PORTCULLIS_HOME):
  default = \"local\"
  [provider.local]
  like = \"llama.cpp\"
  url = \"http://127.0.0.1:8080/v1\"
  context_window = 32768

Keys: like, url, model, key_env, key_header, api_version, context_window, compact_at, compaction (summary, call, trigger),
prices, encrypted_reasoning, cache_key, parallel_calls, strict_tools, instructions (field, developer), transport (auto, http,
websocket), compress, reasoning_effort, verbosity, retries, response_timeout, idle_timeout. No repository can set any of them.";

#[derive(Debug, Subcommand)]
pub(super) enum ProvidersCommand {
    /// List them.
    #[command(after_help = "Examples:\n  portcullis providers list")]
    List,
    /// Show what counts for one.
    #[command(after_help = "Examples:\n  portcullis providers show\n  portcullis providers show llama.cpp")]
    Show {
        /// Its name [default: the one that is used where none is named].
        name: Option<String>,
    },
}

pub(super) fn run(command: &ProvidersCommand) -> Exit {
    let folders = Folders::from_environment();
    let text = match command {
        ProvidersCommand::List => list(&folders),
        ProvidersCommand::Show { name } => {
            let provider = Provider { name: name.clone(), ..Provider::default() };
            provider.described(&folders).map(|endpoint| show(&endpoint)).map_err(|error| (error.exit(), error.to_string()))
        }
    };
    match text {
        Ok(text) => output::print(&text).err().unwrap_or(Exit::Success),
        Err((exit, error)) => {
            report(&error);
            exit
        }
    }
}

fn list(folders: &Folders) -> Result<String, (Exit, String)> {
    let all = providers(folders).map_err(|error| (Exit::Usage, error.to_string()))?;
    let mut text = String::new();
    for (name, own) in all.names() {
        let settings = all.get(name).map_err(|error| (Exit::Usage, error.to_string()))?;
        let mark = if name == all.default_name() { "*" } else { " " };
        let whose = if own { "yours" } else { "known" };
        let url = settings.url.as_deref().unwrap_or("(needs an address)");
        let model = settings.model.as_deref().unwrap_or("(needs a model)");
        text.push_str(&format!("{mark} {name:<12} {whose}  {url}  {model}\n"));
    }
    Ok(text)
}

/// All that counts for an endpoint, as lines of `key: value`.
pub(super) fn show(endpoint: &Endpoint) -> String {
    let words = |value: bool| if value { "yes" } else { "no" };
    let features = &endpoint.features;
    let lines = [
        ("address", endpoint.base_url().to_owned()),
        ("model", endpoint.model.clone()),
        ("key from", endpoint.key_variable.clone()),
        ("key goes in", endpoint.key_header.clone().unwrap_or_else(|| "Authorization: Bearer".to_owned())),
        ("window", endpoint.context_window.map_or_else(|| "learned when it is too small".to_owned(), |tokens| format!("{tokens} tokens"))),
        ("compacted at", format!("{} % of it", endpoint.compact_at)),
        ("compaction", format!("{:?}", endpoint.compaction).to_lowercase()),
        ("transport", format!("{:?}", endpoint.transport).to_lowercase()),
        ("compressed", words(endpoint.compress).to_owned()),
        ("encrypted reasoning", words(features.encrypted_reasoning).to_owned()),
        ("cache key", words(features.cache_key).to_owned()),
        ("parallel calls", words(features.parallel_calls).to_owned()),
        ("strict tools", words(features.strict_tools).to_owned()),
        ("instructions", if features.instructions_field { "a field" } else { "the first message" }.to_owned()),
        ("retries", endpoint.backoff.retries.to_string()),
        ("patience", format!("{:?} for an answer, {:?} of silence", endpoint.response_timeout, endpoint.limits.idle)),
    ];
    lines.iter().map(|(key, value)| format!("{key:<20} {value}\n")).collect()
}
