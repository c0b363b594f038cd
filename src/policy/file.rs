//! The shape of a policy file, and the step from its text to that shape. What the values mean is `compile`'s business.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use toml::Spanned;

use super::{
    error::{PolicyError, Problem, Source, nearest, value},
    model::{Ask, Decision, Detail, GitAccess, Layer, NetworkMode, OnFailure, OnMissing},
    schema,
};

/// The schema version that this program reads and writes.
pub const SCHEMA: i64 = 1;
/// Largest policy file, in bytes.
pub const LARGEST_FILE: u64 = 256 * 1024;
/// Longest list in a policy file, in entries.
pub const LONGEST_LIST: usize = 4096;

/// A list of strings, each with its place in the file.
pub(super) type Strings = Spanned<Vec<Spanned<String>>>;

/// A policy of portcullis: what the calls of a coding agent may read, write and reach.
// Each key that is absent is `None`: a bound does not bound what it does not name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "portcullis policy")]
pub(super) struct PolicyFile {
    /// The version of the format.
    #[schemars(with = "i64", extend("const" = SCHEMA))]
    pub(super) schema: Option<Spanned<i64>>,
    /// The policy's name: letters, digits, `-`, `_` and `.`, at most 64 of them.
    #[schemars(with = "schema::Name")]
    pub(super) name: Option<Spanned<String>>,
    /// What this policy is put on top of: a preset, or a file by its path. What is said here replaces what is said there; `deny`, `protect` and `[[command]]` add up, and `environment.set` merges by name.
    #[serde(default)]
    #[schemars(with = "schema::Extends")]
    pub(super) extends: Option<Spanned<String>>,
    /// One sentence on what the policy is for.
    #[serde(default)]
    #[schemars(with = "schema::Sentence")]
    pub(super) why: Option<Spanned<String>>,
    /// Which files can be read and written. What no list names can be neither.
    #[serde(default)]
    pub(super) filesystem: FilesystemShape,
    /// What calls may do to git's own folder.
    #[serde(default)]
    pub(super) git: GitShape,
    /// What calls can reach over a network.
    #[serde(default)]
    pub(super) network: NetworkShape,
    /// The environment that calls are given; it is built from nothing.
    #[serde(default)]
    pub(super) environment: EnvironmentShape,
    /// Ceilings for one call.
    #[serde(default)]
    pub(super) limits: LimitsShape,
    /// When a person is asked.
    #[serde(default)]
    pub(super) approval: ApprovalShape,
    /// Rules over commands. `forbid` beats `ask`, and `ask` beats `allow`. They are for convenience; the sandbox is the boundary.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub(super) command: Vec<CommandShape>,
    /// What the policy demands of the host.
    #[serde(default)]
    pub(super) enforcement: EnforcementShape,
    /// How sessions are recorded.
    #[serde(default)]
    pub(super) audit: AuditShape,
}

/// Which files can be read and written. What no list names can be neither.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FilesystemShape {
    /// What can be read and run, with all that is below it.
    #[serde(default)]
    #[schemars(with = "schema::Readable")]
    pub(super) read: Option<Strings>,
    /// What can be written, with all that is below it. It can be read as well.
    #[serde(default)]
    #[schemars(with = "schema::Writable")]
    pub(super) write: Option<Strings>,
    /// What can be neither read nor written, whatever `read` and `write` say.
    #[serde(default)]
    #[schemars(with = "schema::Taken")]
    pub(super) deny: Option<Strings>,
    /// What can never be written, also while it does not exist yet.
    #[serde(default)]
    #[schemars(with = "schema::Taken")]
    pub(super) protect: Option<Strings>,
}

/// What calls may do to git's own folder.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GitShape {
    /// How much of `.git` a call may change.
    #[serde(default)]
    #[schemars(with = "GitAccess")]
    pub(super) allow: Option<Spanned<String>>,
}

/// What calls can reach over a network.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkShape {
    /// How much of a network there is.
    #[serde(default)]
    #[schemars(with = "NetworkMode")]
    pub(super) mode: Option<Spanned<String>>,
    /// The hosts of an allow list, such as `packages.example.org`, `*.example.org` or `packages.example.org:443`.
    #[serde(default)]
    #[schemars(with = "schema::Hosts")]
    pub(super) allow: Option<Strings>,
    /// Hosts that are refused whatever is allowed. Adds up over all files.
    #[serde(default)]
    #[schemars(with = "schema::Hosts")]
    pub(super) deny: Option<Strings>,
    /// Unix sockets of the host, by exact path. Each is a service that acts outside of the sandbox, some of them with root's rights.
    #[serde(default)]
    #[schemars(with = "schema::Sockets")]
    pub(super) sockets: Option<Strings>,
}

/// The environment that calls are given; it is built from nothing.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EnvironmentShape {
    /// Variables that are copied from where portcullis was started, if they are set there.
    #[serde(default)]
    #[schemars(with = "schema::Variables")]
    pub(super) inherit: Option<Strings>,
    /// Variables with a fixed value.
    #[serde(default)]
    #[schemars(with = "schema::Settings")]
    pub(super) set: Option<Spanned<BTreeMap<Spanned<String>, Spanned<String>>>>,
}

/// Ceilings for one call.
// A value is a number or a string with a unit.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsShape {
    /// Wall-clock time, from `1s` to `24h`.
    #[serde(default)]
    #[schemars(with = "schema::Time")]
    pub(super) wall: Option<Spanned<toml::Value>>,
    /// Memory of all processes together, at least `16MiB`.
    #[serde(default)]
    #[schemars(with = "schema::Size", extend("minimum" = 16 << 20))]
    pub(super) memory: Option<Spanned<toml::Value>>,
    /// Processes and threads.
    #[serde(default)]
    #[schemars(with = "u32", range(min = 1, max = 65_536))]
    pub(super) processes: Option<Spanned<toml::Value>>,
    /// Open descriptors of one process.
    #[serde(default)]
    #[schemars(with = "u32", range(min = 16, max = 1_048_576))]
    pub(super) open_files: Option<Spanned<toml::Value>>,
    /// The largest file that can be written, at least `4KiB`.
    #[serde(default)]
    #[schemars(with = "schema::Size", extend("minimum" = 4 << 10))]
    pub(super) file_size: Option<Spanned<toml::Value>>,
    /// How much a file system may fill up while the call runs, at least `1MiB`.
    #[serde(default)]
    #[schemars(with = "schema::Size", extend("minimum" = 1 << 20))]
    pub(super) disk: Option<Spanned<toml::Value>>,
    /// How much of its output is kept, from `1KiB` to `64MiB`.
    #[serde(default)]
    #[schemars(with = "schema::Size", extend("minimum" = 1 << 10, "maximum" = 64 << 20))]
    pub(super) output: Option<Spanned<toml::Value>>,
}

/// When a person is asked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApprovalShape {
    /// Before which calls a person is asked.
    #[serde(default)]
    #[schemars(with = "Ask")]
    pub(super) ask: Option<Spanned<String>>,
}

/// A rule over one simple command.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CommandShape {
    /// The words that a command begins with, one each: `["git", "push"]`.
    #[schemars(with = "schema::Prefix")]
    pub(super) prefix: Strings,
    /// What then holds.
    #[schemars(with = "Decision")]
    pub(super) decision: Spanned<String>,
    /// One sentence for the person who is asked and the model that is refused.
    #[serde(default)]
    #[schemars(with = "schema::Sentence")]
    pub(super) why: Option<Spanned<String>>,
    /// Commands that the rule must match, checked whenever the policy is loaded.
    #[serde(rename = "match", default)]
    #[schemars(with = "Vec<schema::Example>")]
    pub(super) examples_match: Vec<Spanned<String>>,
    /// Commands that the rule must not match, checked whenever the policy is loaded.
    #[serde(default, rename = "not_match")]
    #[schemars(with = "Vec<schema::Example>")]
    pub(super) examples_not_match: Vec<Spanned<String>>,
}

/// What the policy demands of the host.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EnforcementShape {
    /// The layers that have to be there.
    #[serde(default)]
    #[schemars(with = "Vec<Layer>")]
    pub(super) require: Option<Strings>,
    /// What happens where one of them is not.
    #[serde(default)]
    #[schemars(with = "OnMissing")]
    pub(super) on_missing: Option<Spanned<String>>,
}

/// How sessions are recorded.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditShape {
    /// What happens where a record cannot be written.
    #[serde(default)]
    #[schemars(with = "OnFailure")]
    pub(super) on_failure: Option<Spanned<String>>,
    /// Whether each record reaches the disk before what it records happens.
    #[serde(default)]
    #[schemars(with = "schema::Sync")]
    pub(super) sync: Option<Spanned<String>>,
    /// How much a record says.
    #[serde(default)]
    #[schemars(with = "Detail")]
    pub(super) detail: Option<Spanned<String>>,
    /// How long logs are kept, from `1d` to `3650d`; for ever if this is left out.
    #[serde(default)]
    #[schemars(with = "schema::Time")]
    pub(super) keep: Option<Spanned<toml::Value>>,
}

/// Reads the text of a policy file, or of another file of the same style.
pub(crate) fn parse<T: DeserializeOwned>(source: &Source) -> Result<T, PolicyError> {
    if source.text.len() as u64 > LARGEST_FILE {
        return Err(PolicyError::whole(&source.file, Problem::TooLarge(LARGEST_FILE), None));
    }
    // `from_str` would describe a fault of types by its own line numbers; parsing first tells syntax from shape.
    let syntax =
        |e: &toml::de::Error| source.error(&e.span().unwrap_or(0..0), Problem::Syntax(value(&e.message().replace('\n', "; "))), None);
    let reader = toml::Deserializer::parse(&source.text).map_err(|e| syntax(&e))?;
    T::deserialize(reader).map_err(|e| shape_error(source, &e))
}

/// Refuses a file that names no schema, or one that this program does not read.
pub(crate) fn check_schema(source: &Source, schema: Option<&Spanned<i64>>) -> Result<(), PolicyError> {
    match schema {
        None => Err(source.error(&(0..0), Problem::MissingKey("schema"), Some(format!("begin with `schema = {SCHEMA}`")))),
        Some(schema) if *schema.get_ref() != SCHEMA => {
            Err(source.error(&schema.span(), Problem::Schema(*schema.get_ref()), Some(format!("this program reads schema {SCHEMA}"))))
        }
        Some(_) => Ok(()),
    }
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
            Some(&"on") => ("on", "every [[hook]] needs on and command"),
            Some(&"command") => ("command", "every [[hook]] needs on and command"),
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
