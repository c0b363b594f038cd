//! Settings of endpoints: what is known of each kind, and what a person says of their own. Pure: whoever reads the file hands its text in.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use super::{CompactionMethod, Endpoint, ModelError, Prices, Transport};

/// The kinds that portcullis knows.
const KNOWN: &str = include_str!("providers.toml");
/// The longest file in bytes.
pub const SETTINGS_CAP: usize = 256 * 1024;

/// What an endpoint takes beyond the least, or lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Features {
    /// Whether reasoning is asked for in its encrypted form, and sent back.
    pub encrypted_reasoning: bool,
    /// Whether requests of a session are grouped by `prompt_cache_key`.
    pub cache_key: bool,
    /// Whether the model may ask for several calls at once.
    pub parallel_calls: bool,
    /// Whether the endpoint is asked to hold the model to the schema of a tool.
    pub strict_tools: bool,
    /// Whether the base instructions are a field of the request; else they are its first message.
    pub instructions_field: bool,
}

impl Default for Features {
    /// All of it, as OpenAI's own service has it.
    fn default() -> Self {
        Self { encrypted_reasoning: true, cache_key: true, parallel_calls: true, strict_tools: true, instructions_field: true }
    }
}

/// Where the base instructions stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Instructions {
    /// In the field `instructions`.
    Field,
    /// In a developer message before all others.
    Developer,
}

/// What a file says of one endpoint. What it does not say is as with the one that it is like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the keys of the file, which the README lists")]
pub struct Settings {
    pub like: Option<String>,
    pub url: Option<String>,
    pub model: Option<String>,
    pub key_env: Option<String>,
    pub key_header: Option<String>,
    pub api_version: Option<String>,
    pub context_window: Option<u64>,
    pub compact_at: Option<u8>,
    pub compaction: Option<CompactionMethod>,
    #[serde(default, deserialize_with = "parsed")]
    pub prices: Option<Prices>,
    pub encrypted_reasoning: Option<bool>,
    pub cache_key: Option<bool>,
    pub parallel_calls: Option<bool>,
    pub strict_tools: Option<bool>,
    pub instructions: Option<Instructions>,
    pub transport: Option<Transport>,
    pub compress: Option<bool>,
    pub reasoning_effort: Option<String>,
    pub verbosity: Option<String>,
    pub retries: Option<u32>,
    #[serde(default, deserialize_with = "duration")]
    pub response_timeout: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    pub idle_timeout: Option<Duration>,
}

fn parsed<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let length =
        humantime::parse_duration(&text).map_err(|_| serde::de::Error::custom("a time is a number and a unit, such as 90s or 10m"))?;
    if length.is_zero() || length > Duration::from_secs(24 * 3600) {
        return Err(serde::de::Error::custom("a time is more than nothing and at most a day"));
    }
    Ok(Some(length))
}

/// All endpoints that have a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Providers {
    default: Option<String>,
    own: BTreeMap<String, Settings>,
    known: BTreeMap<String, Settings>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    default: Option<String>,
    #[serde(default)]
    provider: BTreeMap<String, Settings>,
}

/// What is wrong with settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file makes no sense; the message names the line.
    #[error("{0}")]
    Malformed(String),
    /// There is no such endpoint.
    #[error("there is no provider `{name}`; known are {known}")]
    Unknown {
        /// As it was named.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// One that needs an address has none.
    #[error("provider `{name}` has no address of its own; --provider-url, or `url` in providers.toml, names it")]
    NoUrl {
        /// The provider.
        name: String,
    },
    /// One that needs a model has none.
    #[error("provider `{name}` has no model of its own; --model, or `model` in providers.toml, names it")]
    NoModel {
        /// The provider.
        name: String,
    },
}

/// What is wrong and on which line, without what stands there: a key that was written into the file by mistake is not to be shown.
fn without_values(error: &toml::de::Error, text: &str) -> String {
    let line = error.span().map_or(1, |span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
    let message = error.message().lines().next().unwrap_or_default();
    let (what, expected) = message.split_once(", expected ").map_or((message, None), |(what, expected)| (what, Some(expected)));
    let what = match (what.starts_with("unknown field"), what.find(['"', '`'])) {
        // The name of a key is none of its values, and who mistyped it wants to see it.
        (false, Some(at)) => what.get(..at).unwrap_or_default().trim_end(),
        _ => what,
    };
    match expected {
        Some(expected) => format!("line {line}: {what}, expected {expected}"),
        None => format!("line {line}: {what}"),
    }
}

impl Providers {
    /// Those that are known, and what a person's file says, if there is one.
    ///
    /// # Errors
    /// If the file makes no sense: then none of it counts.
    pub fn new(file: Option<&str>) -> Result<Self, SettingsError> {
        let malformed = |error: toml::de::Error| SettingsError::Malformed(without_values(&error, file.unwrap_or_default()));
        let known = toml::from_str(KNOWN).map_err(malformed)?;
        let File { default, provider: own } = match file {
            Some(text) if text.len() > SETTINGS_CAP => {
                return Err(SettingsError::Malformed(format!("it is longer than {SETTINGS_CAP} bytes")));
            }
            Some(text) => toml::from_str(text).map_err(malformed)?,
            None => File { default: None, provider: BTreeMap::new() },
        };
        let all = Self { default, own, known };
        for name in all.default.iter().chain(all.own.values().filter_map(|settings| settings.like.as_ref())) {
            all.get(name)?;
        }
        Ok(all)
    }

    /// The names, and whether the person's file says something of each.
    pub fn names(&self) -> Vec<(&str, bool)> {
        let mut names: Vec<&str> = self.known.keys().chain(self.own.keys()).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| (name, self.own.contains_key(name))).collect()
    }

    /// The one that is meant where none is named.
    pub fn default_name(&self) -> &str {
        self.default.as_deref().unwrap_or("openai")
    }

    /// All that is said of one.
    ///
    /// # Errors
    /// If there is none of this name, or it is like one that there is not.
    pub fn get(&self, name: &str) -> Result<Settings, SettingsError> {
        let unknown = || SettingsError::Unknown {
            name: name.chars().take(64).collect(),
            known: self.names().iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
        };
        match (self.own.get(name), self.known.get(name)) {
            (None, None) => Err(unknown()),
            (None, Some(known)) => Ok(known.clone()),
            (Some(own), known) => {
                let base = match &own.like {
                    Some(like) => Some(self.known.get(like).ok_or_else(unknown)?),
                    None => known,
                };
                Ok(base.map_or_else(|| own.clone(), |base| own.clone().over(base.clone())))
            }
        }
    }
}

impl Settings {
    /// These, and where they say nothing, the others.
    #[must_use]
    pub fn over(self, base: Self) -> Self {
        Self {
            like: self.like,
            url: self.url.or(base.url),
            model: self.model.or(base.model),
            key_env: self.key_env.or(base.key_env),
            key_header: self.key_header.or(base.key_header),
            api_version: self.api_version.or(base.api_version),
            context_window: self.context_window.or(base.context_window),
            compact_at: self.compact_at.or(base.compact_at),
            compaction: self.compaction.or(base.compaction),
            prices: self.prices.or(base.prices),
            encrypted_reasoning: self.encrypted_reasoning.or(base.encrypted_reasoning),
            cache_key: self.cache_key.or(base.cache_key),
            parallel_calls: self.parallel_calls.or(base.parallel_calls),
            strict_tools: self.strict_tools.or(base.strict_tools),
            instructions: self.instructions.or(base.instructions),
            transport: self.transport.or(base.transport),
            compress: self.compress.or(base.compress),
            reasoning_effort: self.reasoning_effort.or(base.reasoning_effort),
            verbosity: self.verbosity.or(base.verbosity),
            retries: self.retries.or(base.retries),
            response_timeout: self.response_timeout.or(base.response_timeout),
            idle_timeout: self.idle_timeout.or(base.idle_timeout),
        }
    }

    /// The endpoint that they describe, without a key. `name` is for messages.
    ///
    /// # Errors
    /// If they name no address or no model, or the address is none.
    pub fn endpoint(&self, name: &str) -> Result<Result<Endpoint, ModelError>, SettingsError> {
        let name = || name.to_owned();
        let url = self.url.as_deref().ok_or_else(|| SettingsError::NoUrl { name: name() })?;
        let model = self.model.as_deref().ok_or_else(|| SettingsError::NoModel { name: name() })?;
        Ok(Endpoint::new(url, model).map(|endpoint| self.apply(endpoint)))
    }

    fn apply(&self, mut endpoint: Endpoint) -> Endpoint {
        let set = |target: &mut bool, value: Option<bool>| *target = value.unwrap_or(*target);
        let features = &mut endpoint.features;
        set(&mut features.encrypted_reasoning, self.encrypted_reasoning);
        set(&mut features.cache_key, self.cache_key);
        set(&mut features.parallel_calls, self.parallel_calls);
        set(&mut features.strict_tools, self.strict_tools);
        set(&mut features.instructions_field, self.instructions.map(|place| place == Instructions::Field));
        set(&mut endpoint.compress, self.compress);
        if let Some(variable) = &self.key_env {
            endpoint.key_variable.clone_from(variable);
        }
        endpoint.key_header.clone_from(&self.key_header);
        endpoint.api_version.clone_from(&self.api_version);
        endpoint.context_window = self.context_window.or(endpoint.context_window);
        endpoint.compact_at = self.compact_at.map_or(endpoint.compact_at, |percent| percent.clamp(1, 100));
        endpoint.compaction = self.compaction.unwrap_or(endpoint.compaction);
        endpoint.prices = self.prices;
        endpoint.transport = self.transport.unwrap_or(endpoint.transport);
        endpoint.style.reasoning_effort.clone_from(&self.reasoning_effort);
        endpoint.style.verbosity.clone_from(&self.verbosity);
        endpoint.backoff.retries = self.retries.unwrap_or(endpoint.backoff.retries);
        endpoint.response_timeout = self.response_timeout.unwrap_or(endpoint.response_timeout);
        endpoint.limits.idle = self.idle_timeout.unwrap_or(endpoint.limits.idle);
        endpoint
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_adds_to_what_is_known_and_says_otherwise() {
        let text = "default = \"mine\"\n[provider.mine]\nlike = \"llama.cpp\"\nurl = \"http://127.0.0.1:9/v1\"\ncontext_window = 8192\nprices = \"1/0.1/2\"\n\
                    response_timeout = \"90s\"\ninstructions = \"developer\"\ntransport = \"websocket\"\n[provider.vllm]\nmodel = \"q\"\n";
        let all = Providers::new(Some(text)).unwrap();
        assert_eq!(all.default_name(), "mine");
        let mine = all.get("mine").unwrap().endpoint("mine").unwrap().unwrap();
        assert_eq!((mine.base_url(), mine.model.as_str(), mine.context_window), ("http://127.0.0.1:9/v1", "default", Some(8192)));
        assert!(!mine.features.encrypted_reasoning && !mine.features.instructions_field && mine.features.cache_key);
        assert_eq!((mine.response_timeout, mine.transport), (Duration::from_secs(90), Transport::WebSocket));
        assert!(mine.prices.is_some());
        assert_eq!(all.get("vllm").unwrap().endpoint("vllm").unwrap().unwrap().model, "q");
        assert!(matches!(all.get("azure").unwrap().endpoint("azure"), Err(SettingsError::NoUrl { .. })));
        assert!(matches!(all.get("ollama").unwrap().endpoint("ollama"), Err(SettingsError::NoModel { .. })));
        assert!(all.get("nosuch").unwrap_err().to_string().contains("llama.cpp"));
    }

    #[test]
    fn a_mistake_is_shown_with_its_line_and_none_of_the_file_counts() {
        for (text, expected) in [
            ("[provider.x]\nurll = \"u\"\n", "url"),
            ("[provider.x]\nlike = \"nosuch\"\n", "nosuch"),
            ("default = \"nosuch\"\n", "nosuch"),
            ("[provider.x]\nresponse_timeout = \"soon\"\n", "such as"),
            ("[provider.x]\nprices = \"cheap\"\n", "three numbers"),
            ("[provider.x]\nkey = \"sk-secret\"\n", "unknown field"),
            ("[[provider", "line 1"),
        ] {
            let error = Providers::new(Some(text)).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(Providers::new(Some(&"#".repeat(SETTINGS_CAP + 1))).is_err());
    }

    #[test]
    fn what_is_known_describes_endpoints() {
        let all = Providers::new(None).unwrap();
        for (name, own) in all.names() {
            assert!(!own);
            let settings = Settings { model: Some("m".into()), url: Some("http://localhost".into()), ..Settings::default() };
            settings.over(all.get(name).unwrap()).endpoint(name).unwrap().unwrap();
        }
        let openai = all.get(all.default_name()).unwrap().endpoint("openai").unwrap().unwrap();
        assert_eq!((openai.base_url(), &openai.features), ("https://api.openai.com/v1", &Features::default()));
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_refused(text in "(\\[provider\\.[a-z]{1,3}\\]\n|[a-z_]{1,20} = (\"\\PC{0,9}\"|[0-9]{1,9}|true)\n|\\PC{0,20}\n){0,8}") {
            let _ = Providers::new(Some(&text)).map(|all| all.names().len());
        }
    }
}
