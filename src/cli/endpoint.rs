//! The model's endpoint, with the key from the variable that is named for it.

use std::{
    io::{self, Read},
    path::PathBuf,
};

use super::{exec::ExecError, resolve::Folders};
use crate::model::{CompactionMethod, Endpoint, Prices, Providers, SETTINGS_CAP, Secret, Settings, SettingsError, Style, Transport};

/// Which endpoint, model and key are meant. What is not said is as the settings of the named provider have it.
#[derive(Debug, Clone, Default)]
pub(super) struct Provider {
    pub(super) name: Option<String>,
    pub(super) url: Option<String>,
    pub(super) model: Option<String>,
    pub(super) key_variable: Option<String>,
    pub(super) context: Context,
    pub(super) style: Style,
    pub(super) transport: Option<Transport>,
    pub(super) compress: bool,
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProviderError {
    /// The person's file cannot be read.
    #[error("{path} cannot be read: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The person's file makes no sense.
    #[error("{path}: {error}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        error: SettingsError,
    },
    /// What was named is not there.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// All providers that have a name: those that are known and those of the person's own file, which no repository can stand in for.
pub(super) fn providers(folders: &Folders) -> Result<Providers, ProviderError> {
    let path = &folders.providers;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(SETTINGS_CAP as u64 + 1).read_to_end(&mut bytes));
    let text = match read {
        Ok(_) => Some(String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => None,
        Err(error) => Some(Err(error)),
    };
    let text = text.transpose().map_err(|source| ProviderError::Unreadable { path: path.clone(), source })?;
    Providers::new(text.as_deref()).map_err(|error| ProviderError::File { path: path.clone(), error })
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

impl Provider {
    /// The arguments that say the same.
    pub(super) fn arguments(&self) -> Vec<String> {
        let Self { name, url, model, key_variable, context, style, transport, compress } = self;
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
            ("--provider", name.clone()),
            ("--provider-url", url.clone()),
            ("--model", model.clone()),
            ("--key-env", key_variable.clone()),
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

    /// The name and the settings that count: what was typed, then the person's file, then what is known. An address alone stands for itself, with nothing of
    /// another provider's but the names of OpenAI's model and key.
    fn settings(&self, folders: &Folders) -> Result<(String, Settings), ProviderError> {
        let providers = providers(folders)?;
        let name = match (&self.name, &self.url) {
            (Some(name), _) => name.as_str(),
            (None, Some(_)) => "openai",
            (None, None) => providers.default_name(),
        };
        let base = if self.name.is_none() && self.url.is_some() { Providers::new(None)?.get(name)? } else { providers.get(name)? };
        let typed = Settings {
            url: self.url.clone(),
            model: self.model.clone(),
            key_env: self.key_variable.clone(),
            context_window: self.context.window,
            compact_at: self.context.compact_at,
            compaction: self.context.compaction,
            prices: self.context.prices,
            transport: self.transport,
            compress: self.compress.then_some(true),
            reasoning_effort: self.style.reasoning_effort.clone(),
            verbosity: self.style.verbosity.clone(),
            ..Settings::default()
        };
        Ok((name.to_owned(), typed.over(base)))
    }

    /// The endpoint, without a key.
    pub(super) fn described(&self, folders: &Folders) -> Result<Endpoint, ExecError> {
        let (name, settings) = self.settings(folders)?;
        let mut endpoint = settings.endpoint(&name).map_err(ProviderError::from)??;
        endpoint.style.output_schema.clone_from(&self.style.output_schema);
        Ok(endpoint)
    }

    /// The endpoint, and the key by itself, to be kept out of everything else.
    pub(super) fn endpoint(&self, folders: &Folders) -> Result<(Endpoint, Option<String>), ExecError> {
        let mut endpoint = self.described(folders)?;
        let key = folders.environment.get(&endpoint.key_variable).map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
        match &key {
            Some(key) => endpoint = endpoint.with_key(Secret::new(key)),
            None if endpoint.is_local() => {}
            None => return Err(ExecError::NoKey { variable: endpoint.key_variable.clone(), url: endpoint.base_url().to_owned() }),
        }
        Ok((endpoint, key))
    }
}
