//! The shape of a policy file, and the step from its text to that shape. What the values mean is `compile`'s business.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use toml::Spanned;

use super::error::{PolicyError, Problem, Source, nearest, value};

/// The schema version that this program reads and writes.
pub const SCHEMA: i64 = 1;
/// Largest policy file, in bytes.
pub const LARGEST_FILE: u64 = 256 * 1024;
/// Longest list in a policy file, in entries.
pub const LONGEST_LIST: usize = 4096;

/// A list of strings, each with its place in the file.
pub(super) type Strings = Spanned<Vec<Spanned<String>>>;

/// A policy file as written. Each key that is absent is `None`: a bound does not bound what it does not name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyFile {
    pub(super) schema: Option<Spanned<i64>>,
    pub(super) name: Option<Spanned<String>>,
    pub(super) extends: Option<Spanned<String>>,
    pub(super) why: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) filesystem: FilesystemShape,
    #[serde(default)]
    pub(super) git: GitShape,
    #[serde(default)]
    pub(super) network: NetworkShape,
    #[serde(default)]
    pub(super) environment: EnvironmentShape,
    #[serde(default)]
    pub(super) limits: LimitsShape,
    #[serde(default)]
    pub(super) approval: ApprovalShape,
    #[serde(default)]
    pub(super) command: Vec<CommandShape>,
    #[serde(default)]
    pub(super) enforcement: EnforcementShape,
    #[serde(default)]
    pub(super) audit: AuditShape,
}

/// `[filesystem]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilesystemShape {
    pub(super) read: Option<Strings>,
    pub(super) write: Option<Strings>,
    pub(super) deny: Option<Strings>,
    pub(super) protect: Option<Strings>,
}

/// `[git]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GitShape {
    pub(super) allow: Option<Spanned<String>>,
}

/// `[network]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkShape {
    pub(super) mode: Option<Spanned<String>>,
    pub(super) allow: Option<Strings>,
    pub(super) deny: Option<Strings>,
}

/// `[environment]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnvironmentShape {
    pub(super) inherit: Option<Strings>,
    pub(super) set: Option<Spanned<BTreeMap<Spanned<String>, Spanned<String>>>>,
}

/// `[limits]`. A value is a number or a string with a unit.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsShape {
    pub(super) wall: Option<Spanned<toml::Value>>,
    pub(super) memory: Option<Spanned<toml::Value>>,
    pub(super) processes: Option<Spanned<toml::Value>>,
    pub(super) open_files: Option<Spanned<toml::Value>>,
    pub(super) file_size: Option<Spanned<toml::Value>>,
    pub(super) disk: Option<Spanned<toml::Value>>,
    pub(super) output: Option<Spanned<toml::Value>>,
}

/// `[approval]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApprovalShape {
    pub(super) ask: Option<Spanned<String>>,
}

/// `[[command]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommandShape {
    pub(super) prefix: Strings,
    pub(super) decision: Spanned<String>,
    pub(super) why: Option<Spanned<String>>,
    #[serde(rename = "match", default)]
    pub(super) examples_match: Vec<Spanned<String>>,
    #[serde(default, rename = "not_match")]
    pub(super) examples_not_match: Vec<Spanned<String>>,
}

/// `[enforcement]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnforcementShape {
    pub(super) require: Option<Strings>,
    pub(super) on_missing: Option<Spanned<String>>,
}

/// `[audit]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditShape {
    pub(super) on_failure: Option<Spanned<String>>,
    pub(super) sync: Option<Spanned<String>>,
    pub(super) detail: Option<Spanned<String>>,
    pub(super) keep: Option<Spanned<toml::Value>>,
}

/// Reads the text of a policy file, or of another file of the same style.
pub(super) fn parse<T: DeserializeOwned>(source: &Source) -> Result<T, PolicyError> {
    if source.text.len() as u64 > LARGEST_FILE {
        return Err(PolicyError::whole(&source.file, Problem::TooLarge(LARGEST_FILE), None));
    }
    // `from_str` would describe a fault of types by its own line numbers; parsing first tells syntax from shape.
    let syntax =
        |e: &toml::de::Error| source.error(&e.span().unwrap_or(0..0), Problem::Syntax(value(&e.message().replace('\n', "; "))), None);
    let reader = toml::Deserializer::parse(&source.text).map_err(|e| syntax(&e))?;
    T::deserialize(reader).map_err(|e| shape_error(source, &e))
}

/// serde says what it met and what it expected in one sentence only. The sentence is data enough for a hint; where it should
/// ever read otherwise, the error stands without one.
fn shape_error(source: &Source, e: &toml::de::Error) -> PolicyError {
    let span = e.span().unwrap_or(0..0);
    let quoted: Vec<&str> = e.message().split('`').skip(1).step_by(2).collect();
    if e.message().starts_with("unknown field") {
        let found = source.slice(&span).trim_matches(['"', '\'']);
        // The name itself may hold backquotes; what was expected comes after the last "expected".
        let (_, expected) = e.message().rsplit_once(", expected").unwrap_or_default();
        let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        return source.error(&span, Problem::UnknownKey(value(found)), nearest(found, known, ""));
    }
    if e.message().starts_with("missing field") {
        let (name, hint) = match quoted.first() {
            Some(&"prefix") => ("prefix", "every [[command]] needs prefix and decision"),
            Some(&"expect") => ("expect", "every [[case]] says what is expected"),
            _ => ("decision", "every [[command]] needs prefix and decision"),
        };
        return source.error(&span, Problem::MissingKey(name), Some(hint.to_owned()));
    }
    source.error(&span, Problem::WrongType(value(&plain(e.message()))), None)
}

/// serde names Rust's types; a person who writes a policy knows TOML's.
fn plain(message: &str) -> String {
    let (found, expected) = message.rsplit_once(", expected ").unwrap_or((message, ""));
    let found = found.trim_start_matches("invalid type: ").trim_end_matches(" as i128").trim_end_matches(" as u128");
    match expected {
        "" => found.to_owned(),
        "i64" => format!("{found}, expected a whole number"),
        "a sequence" => format!("{found}, expected a list"),
        "a map" => format!("{found}, expected a table"),
        other if other.starts_with("struct ") => format!("{found}, expected a table"),
        other => format!("{found}, expected {other}"),
    }
}
