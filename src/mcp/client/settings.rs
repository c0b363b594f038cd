//! `mcp.toml`: the servers that a person has added. Pure: whoever reads the file hands its text in. No repository can add one.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::Deserialize;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, value};

use crate::{
    mcp::remote::{Remote, RemoteError},
    policy::Decision,
};

/// The longest file in bytes.
pub const SETTINGS_CAP: u64 = 256 * 1024;
/// How long a call may take where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The longest name of a server, so that there is room for that of a tool behind it.
const LONGEST_NAME: usize = 24;
/// In `decisions`, all tools that it does not name.
const EVERY: &str = "*";

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// A program with its arguments, which speaks on its standard input and output.
    Command(Vec<String>),
    /// Streamable HTTP.
    Remote(Remote),
}

/// What is said of one server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct ServerSettings {
    /// How it is reached.
    pub way: Way,
    /// The names of variables that it is given, without those of headers.
    pub env: Vec<String>,
    /// A preset or a file.
    pub policy: Option<String>,
    /// What it may read besides, such as the folder that it is installed in.
    pub read: Vec<PathBuf>,
    /// The tools that are offered; all unless given.
    pub tools: Option<Vec<String>>,
    /// What holds for a call of each tool, or of `*`.
    pub decisions: BTreeMap<String, Decision>,
    /// How long a call may take.
    pub timeout: Option<Duration>,
}

/// The same as it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    command: Vec<String>,
    url: Option<String>,
    bearer: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    env: Vec<String>,
    policy: Option<String>,
    #[serde(default)]
    read: Vec<PathBuf>,
    tools: Option<Vec<String>>,
    #[serde(default)]
    decisions: BTreeMap<String, Decision>,
    #[serde(default, deserialize_with = "duration")]
    timeout: Option<Duration>,
}

/// Why a server cannot be reached as it is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WayError {
    /// There is nothing to start or to connect to.
    #[error("a server has a `command`, or a `url`")]
    None,
    /// There are two ways.
    #[error("a server has a `command` or a `url`, and not both")]
    Both,
    /// Headers of nothing.
    #[error("`bearer` and `headers` belong to a server with a `url`; a program is given variables by `env`")]
    NoUrl,
    /// The address makes no sense.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

impl TryFrom<Written> for ServerSettings {
    type Error = WayError;

    fn try_from(written: Written) -> Result<Self, WayError> {
        let Written { command, url, bearer, headers, env, policy, read, tools, decisions, timeout } = written;
        let is_command = command.first().is_some_and(|program| !program.is_empty());
        let way = match url {
            Some(_) if is_command => return Err(WayError::Both),
            Some(url) => Way::Remote(Remote::new(&url, bearer, headers)?),
            None if !is_command => return Err(WayError::None),
            None if bearer.is_some() || !headers.is_empty() => return Err(WayError::NoUrl),
            None => Way::Command(command),
        };
        Ok(Self { way, env, policy, read, tools, decisions, timeout })
    }
}

impl ServerSettings {
    /// How long a call may take.
    pub fn patience(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT)
    }

    /// The names of all variables that it is given, sorted.
    pub fn environment(&self) -> Vec<String> {
        let mut names = self.env.clone();
        if let Way::Remote(remote) = &self.way {
            names.extend(remote.variables().cloned());
        }
        names.sort();
        names.dedup();
        names
    }

    /// Whether a tool is offered.
    pub fn offers(&self, tool: &str) -> bool {
        self.tools.as_ref().is_none_or(|tools| tools.iter().any(|name| name == tool))
    }

    /// What holds for a call. That a server calls its tool destructive makes this stricter, unless the person named the tool.
    pub fn decision(&self, tool: &str, destructive: bool) -> Decision {
        match (self.decisions.get(tool), self.decisions.get(EVERY)) {
            (Some(decision), _) => *decision,
            (None, Some(Decision::Allow)) if destructive => Decision::Ask,
            (None, Some(decision)) => *decision,
            (None, None) => Decision::Ask,
        }
    }
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let length =
        humantime::parse_duration(&text).map_err(|_| serde::de::Error::custom("a time is a number and a unit, such as 90s or 10m"))?;
    if length.is_zero() || length > Duration::from_secs(3600) {
        return Err(serde::de::Error::custom("a time is more than nothing and at most an hour"));
    }
    Ok(Some(length))
}

/// The servers by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Sorted.
    #[serde(default, rename = "server")]
    pub servers: BTreeMap<String, ServerSettings>,
}

/// What is wrong with settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file makes no sense; the message names the line.
    #[error("{0}")]
    Malformed(String),
    /// A name that cannot stand before that of a tool.
    #[error("{name} cannot be the name of a server: it is 1 to {LONGEST_NAME} letters, digits and single hyphens", name = name.escape_debug())]
    Name {
        /// The name.
        name: String,
    },
    /// It could lead anywhere.
    #[error("the server {name} is to read {path}, which is no absolute path", path = path.display())]
    Relative {
        /// The server's name.
        name: String,
        /// The path.
        path: PathBuf,
    },
    /// There is one of that name.
    #[error("there is a server {name} already; `portcullis mcp remove {name}` takes it away")]
    Taken {
        /// The name.
        name: String,
    },
    /// There is none of that name.
    #[error("there is no server {name}; `portcullis mcp list` lists them", name = name.escape_debug())]
    Unknown {
        /// The name.
        name: String,
    },
}

impl Settings {
    /// Reads the file's text.
    ///
    /// # Errors
    /// If it makes no sense.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let settings: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text.get(..span.start).map_or(1, |before| before.matches('\n').count() + 1));
            SettingsError::Malformed(format!("line {line}: {}", error.message()))
        })?;
        for (name, server) in &settings.servers {
            if !is_name(name) {
                return Err(SettingsError::Name { name: name.clone() });
            }
            if let Some(path) = server.read.iter().find(|path| !path.is_absolute()) {
                return Err(SettingsError::Relative { name: name.clone(), path: path.clone() });
            }
        }
        Ok(settings)
    }

    /// The server of that name.
    ///
    /// # Errors
    /// If there is none.
    pub fn get(&self, name: &str) -> Result<&ServerSettings, SettingsError> {
        self.servers.get(name).ok_or_else(|| SettingsError::Unknown { name: name.to_owned() })
    }
}

/// Whether a name can stand before that of a tool.
fn is_name(name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    plain && !name.is_empty() && name.len() <= LONGEST_NAME && !name.starts_with('-')
}

/// What is written of a server that is added.
#[derive(Debug, Clone, Copy, Default)]
pub struct NewServer<'a> {
    /// The program and its arguments; none for one with an address.
    pub command: &'a [String],
    /// The address.
    pub url: Option<&'a str>,
    /// The variable that holds a bearer token for that.
    pub bearer: Option<&'a str>,
    /// The headers that are sent there, each with the variable that holds its value.
    pub headers: &'a [(String, String)],
    /// The names of variables that it is given.
    pub env: &'a [String],
    /// A preset or a file.
    pub policy: Option<&'a str>,
    /// What it may read besides.
    pub read: &'a [String],
}

/// The file's text with one more server, and everything else as it was.
///
/// # Errors
/// If there is one of that name, or the result would make no sense.
pub fn added(text: &str, name: &str, new: &NewServer<'_>) -> Result<String, SettingsError> {
    let NewServer { command, url, bearer, headers, env, policy, read } = *new;
    if Settings::parse(text)?.servers.contains_key(name) {
        return Err(SettingsError::Taken { name: name.to_owned() });
    }
    let mut document = document(text)?;
    let servers = document.entry("server").or_insert_with(|| {
        let mut servers = Table::new();
        servers.set_implicit(true);
        Item::Table(servers)
    });
    let mut server = Table::new();
    let list = |words: &[String]| value(words.iter().map(String::as_str).collect::<Array>());
    if !command.is_empty() {
        server.insert("command", list(command));
    }
    for (key, text) in [("url", url), ("bearer", bearer)] {
        if let Some(text) = text {
            server.insert(key, value(text));
        }
    }
    if !headers.is_empty() {
        server.insert("headers", value(headers.iter().map(|(name, variable)| (name, variable)).collect::<InlineTable>()));
    }
    if !env.is_empty() {
        server.insert("env", list(env));
    }
    if let Some(policy) = policy {
        server.insert("policy", value(policy));
    }
    if !read.is_empty() {
        server.insert("read", list(read));
    }
    let Some(servers) = servers.as_table_like_mut() else {
        return Err(SettingsError::Malformed("`server` is no table".to_owned()));
    };
    servers.insert(name, Item::Table(server));
    let text = document.to_string();
    Settings::parse(&text).map(|_| text)
}

/// The file's text without a server.
///
/// # Errors
/// If there is none of that name.
pub fn removed(text: &str, name: &str) -> Result<String, SettingsError> {
    Settings::parse(text)?.get(name)?;
    let mut document = document(text)?;
    if let Some(servers) = document.get_mut("server").and_then(Item::as_table_like_mut) {
        servers.remove(name);
    }
    Ok(document.to_string())
}

fn document(text: &str) -> Result<DocumentMut, SettingsError> {
    text.parse().map_err(|error: toml_edit::TomlError| SettingsError::Malformed(error.message().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_added_and_removed_and_the_rest_of_the_file_stays() {
        let before = "# mine\n[server.one]\ncommand = [\"/bin/one\"] # the first\n";
        let words = ["python3".to_owned(), "a b.py".to_owned()];
        let env = ["TOKEN".to_owned()];
        let new = NewServer { command: &words, env: &env, policy: Some("/etc/p.toml"), ..NewServer::default() };
        let with = added(before, "two", &new).unwrap();
        assert!(with.starts_with(before), "{with}");
        let server = Settings::parse(&with).unwrap().servers["two"].clone();
        assert_eq!(server.way, Way::Command(words.to_vec()));
        assert_eq!((server.env, server.policy.as_deref()), (vec!["TOKEN".to_owned()], Some("/etc/p.toml")));
        assert_eq!(removed(&with, "two").unwrap(), before);
        assert!(matches!(added(before, "one", &new), Err(SettingsError::Taken { .. })));
        assert!(matches!(removed(before, "two"), Err(SettingsError::Unknown { .. })));
        assert!(Settings::parse(&added("", "x", &new).unwrap()).unwrap().servers.contains_key("x"));
    }

    #[test]
    fn a_name_or_a_key_that_makes_no_sense_is_an_error_with_its_line() {
        let words = ["x".to_owned()];
        let new = NewServer { command: &words, ..NewServer::default() };
        for name in ["", "a__b", "a.b", "-a", "ä", &"x".repeat(LONGEST_NAME + 1)] {
            assert!(added("", name, &new).is_err(), "{name}");
        }
        let error = Settings::parse("[server.a]\ncommand = [\"x\"]\ncomand = 1\n").unwrap_err();
        assert!(error.to_string().contains("line 3"), "{error}");
        let none = Settings::parse("# none\n[server.a]\ncommand = []\n").unwrap_err().to_string();
        assert!(none.contains("line 2") && none.contains(&WayError::None.to_string()), "{none}");
    }

    #[test]
    fn a_server_has_an_address_or_a_command_and_its_variables_are_all_named() {
        let headers = [("X-Key".to_owned(), "KEY".to_owned())];
        let new = NewServer { url: Some("https://example.org/mcp"), bearer: Some("TOKEN"), headers: &headers, ..NewServer::default() };
        let server = Settings::parse(&added("", "far", &new).unwrap()).unwrap().servers["far"].clone();
        assert!(matches!(&server.way, Way::Remote(remote) if remote.url == "https://example.org/mcp"), "{server:?}");
        assert_eq!(server.environment(), ["KEY", "TOKEN"]);
        let wrong = |lines: &str| Settings::parse(&format!("[server.a]\n{lines}\n")).unwrap_err().to_string();
        assert!(wrong("url = \"https://example.org\"\ncommand = [\"x\"]").contains(&WayError::Both.to_string()));
        assert!(wrong("command = [\"x\"]\nbearer = \"T\"").contains(&WayError::NoUrl.to_string()));
        assert!(wrong("url = \"http://localhost/\"").contains("127.0.0.1"));
        assert!(wrong("url = \"https://u:p@example.org/\"").contains("bearer"));
    }

    #[test]
    fn a_hint_makes_a_decision_stricter_and_never_laxer() {
        let text = "[server.a]\ncommand = [\"x\"]\ndecisions = { \"*\" = \"allow\", sure = \"allow\", never = \"forbid\" }\n[server.b]\ncommand = [\"x\"]";
        let settings = Settings::parse(text).unwrap();
        let (a, b) = (&settings.servers["a"], &settings.servers["b"]);
        assert_eq!((a.decision("other", false), a.decision("other", true)), (Decision::Allow, Decision::Ask));
        assert_eq!((a.decision("sure", true), a.decision("never", false)), (Decision::Allow, Decision::Forbid));
        assert_eq!((b.decision("any", false), b.decision("any", true)), (Decision::Ask, Decision::Ask));
    }
}
