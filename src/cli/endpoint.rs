//! The model's endpoint, with the key from the variable that is named for it.

use super::{exec::ExecError, resolve::Folders};
use crate::model::{CompactionMethod, Endpoint, Prices, Secret, Style, Transport};

/// Which endpoint, model and key are meant.
#[derive(Debug, Clone)]
pub(super) struct Provider {
    pub(super) url: String,
    pub(super) model: String,
    pub(super) key_variable: String,
    pub(super) context: Context,
    pub(super) style: Style,
    pub(super) transport: Option<Transport>,
    pub(super) compress: bool,
}

/// What is said of the model's window and of tokens; what is not said is as the endpoint's own settings have it.
#[derive(Debug, Clone, Default)]
pub(super) struct Context {
    /// Tokens that the model takes.
    pub(super) window: Option<u64>,
    /// Percent of them at which the conversation is compacted.
    pub(super) compact_at: Option<u8>,
    pub(super) compaction: Option<CompactionMethod>,
    pub(super) prices: Option<Prices>,
}

impl Context {
    fn apply(&self, endpoint: &mut Endpoint) {
        endpoint.context_window = self.window.or(endpoint.context_window);
        endpoint.compact_at = self.compact_at.unwrap_or(endpoint.compact_at);
        endpoint.compaction = self.compaction.unwrap_or(endpoint.compaction);
        endpoint.prices = self.prices.or(endpoint.prices);
    }
}

impl Provider {
    /// The arguments that say the same.
    pub(super) fn arguments(&self) -> Vec<String> {
        let Self { url, model, key_variable, context, style, transport, compress } = self;
        let Context { window, compact_at, compaction, prices } = context;
        let how = compaction.map(|how| match how {
            CompactionMethod::Summary => "summary",
            CompactionMethod::Call => "call",
            CompactionMethod::Trigger => "trigger",
        });
        let transport = transport.and_then(|transport| match transport {
            Transport::Auto => None,
            Transport::Http => Some("http"),
            Transport::WebSocket => Some("websocket"),
        });
        let all = [
            ("--provider-url", Some(url.clone())),
            ("--model", Some(model.clone())),
            ("--key-env", Some(key_variable.clone())),
            ("--context-window", window.map(|window| window.to_string())),
            ("--compact-at", compact_at.map(|percent| percent.to_string())),
            ("--compaction", how.map(str::to_owned)),
            ("--reasoning-effort", style.reasoning_effort.clone()),
            ("--verbosity", style.verbosity.clone()),
            ("--transport", transport.map(str::to_owned)),
            ("--prices", prices.map(|prices| prices.to_string())),
        ];
        let mut words: Vec<String> =
            all.into_iter().filter_map(|(name, value)| value.map(|value| [name.to_owned(), value])).flatten().collect();
        words.extend(compress.then(|| "--compress".to_owned()));
        words
    }

    /// The endpoint, and the key by itself, to be kept out of everything else.
    pub(super) fn endpoint(&self, folders: &Folders) -> Result<(Endpoint, Option<String>), ExecError> {
        let mut endpoint = Endpoint::new(&self.url, &self.model)?;
        endpoint.key_variable.clone_from(&self.key_variable);
        self.context.apply(&mut endpoint);
        endpoint.style.clone_from(&self.style);
        endpoint.transport = self.transport.unwrap_or(endpoint.transport);
        endpoint.compress |= self.compress;
        let key = folders.environment.get(&self.key_variable).map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
        match &key {
            Some(key) => endpoint = endpoint.with_key(Secret::new(key)),
            None if endpoint.is_local() => {}
            None => return Err(ExecError::NoKey { variable: self.key_variable.clone(), url: endpoint.base_url().to_owned() }),
        }
        Ok((endpoint, key))
    }
}
