//! [`PolicyError`]: what is wrong with a policy, and where, shown as a compiler would show it.

use std::{fmt, ops::Range};

use thiserror::Error;

/// Longest piece of a file, in characters, that an error repeats.
const SHOWN_LINE: usize = 120;
/// Longest value, in characters, that a message repeats.
const SHOWN_VALUE: usize = 80;

/// What is wrong. Values that stand in a message come from a file that nobody may have reviewed, so they are kept short and
/// made visible before they are put in here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file is not TOML.
    #[error("not valid TOML: {0}")]
    Syntax(String),
    /// A key holds a value of another type.
    #[error("wrong type: {0}")]
    WrongType(String),
    /// A key that no policy has.
    #[error("unknown key `{0}`")]
    UnknownKey(String),
    /// A key that every policy needs.
    #[error("missing key `{0}`")]
    MissingKey(&'static str),
    /// `schema` names a version that this program does not know.
    #[error("schema version {0} is not supported")]
    Schema(i64),
    /// `@name`, where no such group exists.
    #[error("unknown group `@{0}`")]
    UnknownGroup(String),
    /// `extends` or a flag names a preset that does not exist.
    #[error("unknown preset `{0}`")]
    UnknownPreset(String),
    /// A repository's file extends something other than a preset.
    #[error("a repository's policy may extend a preset only, not `{0}`")]
    ExtendsPath(String),
    /// `extends` leads back to where it came from.
    #[error("`extends` goes round in a circle: {0}")]
    Cycle(String),
    /// `extends` leads further than any sensible policy does.
    #[error("`extends` leads through more than {0} files")]
    TooDeep(usize),
    /// A key with a fixed set of values holds another.
    #[error("`{value}` is not a value of `{key}`")]
    NotAChoice {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
    },
    /// A list of hosts beside a mode that does not go by it.
    #[error("`{key}` does nothing under mode = \"{mode}\"")]
    Inert {
        /// The list.
        key: &'static str,
        /// The mode.
        mode: &'static str,
    },
    /// A string that has to say something is empty.
    #[error("`{0}` is empty")]
    Empty(&'static str),
    /// A string holds characters that have no place in it.
    #[error("`{value}` is not a valid {what}")]
    Malformed {
        /// What it should be.
        what: &'static str,
        /// What it is.
        value: String,
    },
    /// A path with `..` in it.
    #[error("`{0}` leads upwards")]
    Upwards(String),
    /// A root that would open everything.
    #[error("`{0}` as a place to write would make everything writable")]
    WritesEverything(String),
    /// The home folder itself, which holds keys, and programs that the person will start.
    #[error("`{0}` alone is the whole home folder")]
    WholeHome(String),
    /// A root that is too wide for the list that it stands in.
    #[error("`{place}` is too wide for `{list}`")]
    TooWide {
        /// The root.
        place: String,
        /// The list.
        list: &'static str,
    },
    /// A private folder in a list that takes access away.
    #[error("`{place}` cannot stand in `{list}`")]
    PrivateInList {
        /// The private folder.
        place: String,
        /// The list.
        list: &'static str,
    },
    /// A glob in a list that takes plain paths.
    #[error("`{glob}` is a glob, and `{list}` takes none")]
    GlobNotAllowed {
        /// The glob.
        glob: String,
        /// The list.
        list: &'static str,
    },
    /// A glob that is anchored outside the workspace.
    #[error("`{0}` is a glob outside the workspace")]
    GlobOutside(String),
    /// A glob that does not compile.
    #[error("`{glob}` is not a valid glob: {reason}")]
    BadGlob {
        /// The glob.
        glob: String,
        /// What the glob compiler says.
        reason: String,
    },
    /// A size or a duration with a unit that there is not.
    #[error("`{value}` is not a {what}")]
    WrongUnit {
        /// `size` or `duration`.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// A number outside its range.
    #[error("`{key}` = {value} is out of range")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// The value as written.
        value: String,
    },
    /// More entries than a list may have.
    #[error("`{list}` has {found} entries; at most {limit} are read")]
    TooMany {
        /// The list.
        list: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A `match` example that the rule does not match.
    #[error("the rule does not match its own example `{0}`")]
    ExampleMissed(String),
    /// A `not_match` example that the rule matches.
    #[error("the rule matches `{0}`, which it lists under `not_match`")]
    ExampleCaught(String),
    /// An example that is not one plain command.
    #[error("the example `{0}` cannot be split into words")]
    ExampleUnreadable(String),
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// Something other than a regular file.
    #[error("is not a regular file")]
    NotAFile,
    /// The file is longer than a policy may be.
    #[error("is larger than {0} bytes")]
    TooLarge(u64),
    /// The file is not UTF-8.
    #[error("is not UTF-8 from byte {0} on")]
    NotUtf8(usize),
}

/// A place in a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted in characters from 1.
    pub column: u32,
    /// The line itself, with what cannot be seen made visible and, where it is long, only the part around the column.
    pub text: String,
    /// How far the caret stands from the start of `text`, in characters.
    indent: usize,
    /// How many characters are marked, at least one.
    width: usize,
}

/// What is wrong with a policy and where. `Display` renders the line, a caret and a hint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct PolicyError {
    /// The file as a person would name it.
    pub file: String,
    /// Where in it; `None` if the file as a whole is wrong.
    pub mark: Option<Box<Mark>>,
    /// What is wrong.
    pub problem: Problem,
    /// What would be right.
    pub hint: Option<String>,
}

impl PolicyError {
    /// An error about a file as a whole.
    pub(crate) fn whole(file: &str, problem: Problem, hint: Option<String>) -> Self {
        Self { file: visible(file, SHOWN_LINE), mark: None, problem, hint }
    }

    /// An error at a place.
    pub(super) fn at(file: &str, mark: Mark, problem: Problem, hint: impl Into<Option<String>>) -> Self {
        Self { file: visible(file, SHOWN_LINE), mark: Some(Box::new(mark)), problem, hint: hint.into() }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(mark) = &self.mark else {
            write!(f, "{}: {}", self.file, self.problem)?;
            return self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\n      | {hint}"));
        };
        writeln!(f, "{}:{}:{}: {}", self.file, mark.line, mark.column, self.problem)?;
        writeln!(f, "{:>5} | {}", mark.line, mark.text)?;
        write!(f, "      | {:indent$}{:^<width$}", "", "", indent = mark.indent, width = mark.width)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " {hint}"))
    }
}

/// A policy file's text with its name and an index of its lines.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file as a person would name it.
    pub file: String,
    /// What it holds.
    pub text: String,
    starts: Vec<usize>,
}

impl Source {
    /// Indexes `text`.
    pub fn new(file: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file: file.into(), text, starts }
    }

    /// The line, counted from 1, in which the byte at `offset` stands.
    pub fn line(&self, offset: usize) -> u32 {
        u32::try_from(self.starts.partition_point(|start| *start <= offset)).unwrap_or(u32::MAX)
    }

    /// The text at `span`; empty where the span is not one of this file's.
    pub(super) fn slice(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// Describes the place `span` for an error.
    pub(super) fn mark(&self, span: &Range<usize>) -> Mark {
        let mut at = span.start.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let line = self.line(at);
        let start = self.starts.get(line as usize - 1).copied().unwrap_or(0);
        let rest = self.text.get(start..).unwrap_or_default();
        let whole = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let before = self.text.get(start..at).unwrap_or_default().chars().count();
        let marked = self.slice(&(at..span.end.max(at))).split('\n').next().unwrap_or_default().trim_end_matches('\r').chars().count();
        let skipped = if whole.chars().count() > SHOWN_LINE { before.saturating_sub(SHOWN_LINE / 4) } else { 0 };
        let text: String = whole.chars().skip(skipped).take(SHOWN_LINE).map(shown).collect();
        let indent = before - skipped;
        let width = marked.min(text.chars().count().saturating_sub(indent)).max(1);
        Mark { line, column: u32::try_from(before + 1).unwrap_or(u32::MAX), text, indent, width }
    }

    /// An error at `span`.
    pub(crate) fn error(&self, span: &Range<usize>, problem: Problem, hint: impl Into<Option<String>>) -> PolicyError {
        PolicyError::at(&self.file, self.mark(span), problem, hint)
    }
}

/// One character for one, so that carets stay where they belong: a file may hold escape sequences, or marks that turn the
/// direction of writing around, and an error must not carry them to a terminal.
fn shown(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() || is_hidden(c) => '\u{fffd}',
        c => c,
    }
}

/// Whether `c` cannot be seen, or makes other text look like what it is not: bidirectional and zero-width characters, fillers, line
/// separators, and the characters of tags, variations and annotations in which text can be hidden. Control characters are not counted.
///
/// The plain variation selectors (U+FE00 to U+FE0F) are left alone, because emoji need them.
pub const fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// `text` without anything that a terminal would act on, at most `limit` characters of it.
pub(crate) fn visible(text: &str, limit: usize) -> String {
    let mut out: String = text.chars().take(limit).map(shown).collect();
    if text.chars().nth(limit).is_some() {
        out.push('…');
    }
    out
}

/// A value as a message repeats it.
pub(crate) fn value(text: &str) -> String {
    visible(text, SHOWN_VALUE)
}

/// The hint for a misspelt word: the nearest of `known`, or all of them where none is near.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>, sigil: &str) -> Option<String> {
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_unstable();
    let word: String = word.chars().take(SHOWN_VALUE).collect::<String>().to_lowercase();
    let near = known.iter().map(|candidate| (strsim::damerau_levenshtein(&word, candidate), *candidate)).min();
    match near {
        Some((distance, candidate)) if distance <= (candidate.chars().count() / 3).max(1) => {
            Some(format!("did you mean `{sigil}{candidate}`?"))
        }
        Some(_) => Some(format!("one of: {}", known.iter().map(|k| format!("{sigil}{k}")).collect::<Vec<_>>().join(", "))),
        None => None,
    }
}
