//! `hooks.toml`: which programs have a say, and when.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::policy::{
    PolicyError, Problem,
    error::{Source, nearest, value},
    file,
    units::{DURATION_HINT, parse_duration},
};

/// The most hooks that one file may hold.
const MOST_HOOKS: usize = 64;
/// The most words of one command.
const MOST_WORDS: usize = 256;
/// The policy of a hook that names none.
pub const DEFAULT_POLICY: &str = "read-only";
/// The time of a hook that names none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// The shortest and the longest time.
const TIMEOUTS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(600)];

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Before a call of the model's.
    BeforeCall,
    /// After it.
    AfterCall,
    /// Before anything is sent to the model.
    SessionStart,
    /// When the session ends.
    SessionStop,
}

impl When {
    /// All of them, in the order of a session.
    pub const ALL: [Self; 4] = [Self::SessionStart, Self::BeforeCall, Self::AfterCall, Self::SessionStop];

    /// The word that a file has for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::BeforeCall => "before-call",
            Self::AfterCall => "after-call",
            Self::SessionStart => "session-start",
            Self::SessionStop => "session-stop",
        }
    }

    /// The one of a word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|when| when.word() == word)
    }

    /// Whether it is about a call.
    pub const fn is_of_call(self) -> bool {
        matches!(self, Self::BeforeCall | Self::AfterCall)
    }
}

/// A hook as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// When it runs.
    pub on: When,
    /// The tools whose calls it is about; all of them where it names none.
    pub tools: Option<Vec<String>>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// A preset's name or a file, as it is written.
    pub policy: String,
    /// How long it may take.
    pub timeout: Duration,
    /// File and line, by which it is named: `hooks.toml:3`.
    pub origin: String,
}

impl Hook {
    /// Whether it runs then, about a call of this tool.
    pub fn matches(&self, on: When, tool: Option<&str>) -> bool {
        let of_tool = |tools: &Vec<String>| tool.is_some_and(|tool| tools.iter().any(|name| name == tool));
        self.on == on && self.tools.as_ref().is_none_or(of_tool)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileShape {
    schema: Option<Spanned<i64>>,
    #[serde(default)]
    hook: Vec<Spanned<HookShape>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HookShape {
    on: Spanned<String>,
    tools: Option<Spanned<Vec<Spanned<String>>>>,
    command: Spanned<Vec<Spanned<String>>>,
    policy: Option<Spanned<String>>,
    timeout: Option<Spanned<String>>,
}

/// Reads a file of hooks. A tool has to be one of `known`, or one of an MCP server (`SERVER__TOOL`): a hook about a misspelt one would never run.
///
/// # Errors
/// Where it is no such file, with the line.
pub fn read(source: &Source, known: &[String]) -> Result<Vec<Hook>, PolicyError> {
    let file: FileShape = file::parse(source)?;
    file::check_schema(source, file.schema.as_ref())?;
    if file.hook.len() > MOST_HOOKS {
        return Err(source.error(&(0..0), Problem::TooMany { list: "hook", found: file.hook.len(), limit: MOST_HOOKS }, None));
    }
    file.hook.iter().map(|shape| hook(source, shape, known)).collect()
}

fn hook(source: &Source, shape: &Spanned<HookShape>, known: &[String]) -> Result<Hook, PolicyError> {
    let HookShape { on, tools, command, policy, timeout } = shape.get_ref();
    let Some(when) = When::of(on.get_ref()) else {
        let words = When::ALL.map(When::word).join(", ");
        return Err(source.error(&on.span(), Problem::NotAChoice { key: "on", value: value(on.get_ref()) }, format!("one of: {words}")));
    };
    let tools = match tools {
        Some(tools) if !when.is_of_call() => {
            let hint = format!("a {} hook is about no tool; leave this out", when.word());
            return Err(source.error(&tools.span(), Problem::UnknownKey("tools".to_owned()), hint));
        }
        Some(tools) if tools.get_ref().is_empty() => {
            let hint = "without this key it is about every tool".to_owned();
            return Err(source.error(&tools.span(), Problem::Empty("tools"), hint));
        }
        Some(tools) => Some(tools.get_ref().iter().map(|tool| tool_name(source, tool, known)).collect::<Result<_, _>>()?),
        None => None,
    };
    if let Some(policy) = policy.as_ref().filter(|policy| policy.get_ref().trim().is_empty()) {
        return Err(source.error(&policy.span(), Problem::Empty("policy"), None));
    }
    Ok(Hook {
        on: when,
        tools,
        command: words(source, command)?,
        policy: policy.as_ref().map_or(DEFAULT_POLICY, |policy| policy.get_ref()).to_owned(),
        timeout: timeout.as_ref().map_or(Ok(DEFAULT_TIMEOUT), |timeout| time(source, timeout))?,
        origin: format!("{}:{}", short(&source.file), source.line(shape.span().start)),
    })
}

fn tool_name(source: &Source, tool: &Spanned<String>, known: &[String]) -> Result<String, PolicyError> {
    let name = tool.get_ref();
    if known.contains(name) || name.split_once("__").is_some_and(|(server, tool)| !server.is_empty() && !tool.is_empty()) {
        return Ok(name.clone());
    }
    let hint = nearest(name, known.iter().map(String::as_str), "");
    Err(source.error(&tool.span(), Problem::NotAChoice { key: "tools", value: value(name) }, hint))
}

fn words(source: &Source, command: &Spanned<Vec<Spanned<String>>>) -> Result<Vec<String>, PolicyError> {
    let list = command.get_ref();
    let Some(program) = list.first().filter(|program| !program.get_ref().is_empty()) else {
        let hint = "a list of words, such as [\"/home/me/bin/check\", \"--strict\"]".to_owned();
        return Err(source.error(&command.span(), Problem::Empty("command"), hint));
    };
    if list.len() > MOST_WORDS {
        return Err(source.error(&command.span(), Problem::TooMany { list: "command", found: list.len(), limit: MOST_WORDS }, None));
    }
    // What a path from somewhere names depends on where a session starts, and a workspace could bring the program along.
    if !program.get_ref().starts_with('/') && program.get_ref().contains('/') {
        let hint = "write the path in full, from / on, or a name that PATH finds".to_owned();
        return Err(source.error(&program.span(), Problem::Malformed { what: "program", value: value(program.get_ref()) }, hint));
    }
    if let Some(word) = list.iter().find(|word| word.get_ref().contains('\0')) {
        return Err(source.error(&word.span(), Problem::Malformed { what: "word", value: value(word.get_ref()) }, None));
    }
    Ok(list.iter().map(|word| word.get_ref().clone()).collect())
}

fn time(source: &Source, timeout: &Spanned<String>) -> Result<Duration, PolicyError> {
    let text = timeout.get_ref();
    let Some(time) = parse_duration(text) else {
        let problem = Problem::WrongUnit { what: "duration", value: value(text) };
        return Err(source.error(&timeout.span(), problem, DURATION_HINT.to_owned()));
    };
    let [shortest, longest] = TIMEOUTS;
    if time < shortest || time > longest {
        let problem = Problem::OutOfRange { key: "timeout", value: value(text) };
        return Err(source.error(&timeout.span(), problem, "from 1s to 10m".to_owned()));
    }
    Ok(time)
}

/// The name of a file without its folders: only one file can hold hooks.
fn short(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Hook>, PolicyError> {
        read(&Source::new("/home/me/hooks.toml", text), &["shell".to_owned(), "apply_patch".to_owned()])
    }

    #[test]
    fn a_hook_is_read_with_what_it_leaves_out() {
        let text = "schema = 1\n\n[[hook]]\non = \"before-call\"\ntools = [\"shell\", \"mcp__a__b\"]\ncommand = [\"/bin/check\", \"--strict\"]\n\
                    policy = \"locked\"\ntimeout = \"10s\"\n[[hook]]\non = \"session-stop\"\ncommand = [\"true\"]\n";
        let hooks = parse(text).unwrap();
        assert_eq!((hooks[0].origin.as_str(), hooks[1].origin.as_str()), ("hooks.toml:3", "hooks.toml:9"));
        assert_eq!((hooks[0].policy.as_str(), hooks[0].timeout), ("locked", Duration::from_secs(10)));
        assert_eq!((hooks[1].policy.as_str(), hooks[1].timeout, &hooks[1].tools), (DEFAULT_POLICY, DEFAULT_TIMEOUT, &None));
        assert!(hooks[0].matches(When::BeforeCall, Some("shell")) && hooks[0].matches(When::BeforeCall, Some("mcp__a__b")));
        assert!(!hooks[0].matches(When::AfterCall, Some("shell")) && !hooks[0].matches(When::BeforeCall, Some("read_file")));
        assert!(hooks[1].matches(When::SessionStop, None));
        assert_eq!(parse("schema = 1\n"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_wrong_is_shown_in_its_line() {
        let cases = [
            ("command = [\"true\"]", "missing key `on`"),
            ("on = \"before-call\"", "missing key `command`"),
            ("on = \"before\"\ncommand = [\"true\"]", "`before` is not a value of `on`"),
            ("on = \"session-start\"\ntools = [\"shell\"]\ncommand = [\"true\"]", "is about no tool"),
            ("on = \"before-call\"\ntools = [\"shel\"]\ncommand = [\"true\"]", "did you mean `shell`?"),
            ("on = \"before-call\"\ntools = []\ncommand = [\"true\"]", "`tools` is empty"),
            ("on = \"before-call\"\ncommand = []", "`command` is empty"),
            ("on = \"before-call\"\ncommand = [\"./check\"]", "`./check` is not a valid program"),
            ("on = \"before-call\"\ncommand = \"check\"", "wrong type"),
            ("on = \"before-call\"\ncommand = [\"a\\u0000\"]", "is not a valid word"),
            ("on = \"before-call\"\ncommand = [\"true\"]\npolicy = \" \"", "`policy` is empty"),
            ("on = \"before-call\"\ncommand = [\"true\"]\ntimeout = \"11m\"", "out of range"),
            ("on = \"before-call\"\ncommand = [\"true\"]\ntimeout = \"0s\"", "out of range"),
            ("on = \"before-call\"\ncommand = [\"true\"]\ntimeout = \"soon\"", "is not a duration"),
            ("on = \"before-call\"\ncommand = [\"true\"]\nenv = 1", "unknown key `env`"),
        ];
        for (body, expected) in cases {
            let error = parse(&format!("schema = 1\n[[hook]]\n{body}\n")).unwrap_err();
            assert!(error.to_string().contains(expected) && error.mark.is_some(), "{body}: {error}");
        }
        assert!(parse("").unwrap_err().to_string().contains("schema") && parse("schema = 2\n").is_err());
    }
}
