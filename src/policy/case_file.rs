//! Case files: what a policy is expected to say, written down to be checked again and again.

use serde::Deserialize;
use toml::Spanned;

use super::{
    error::{PolicyError, Problem, Source, value},
    file,
};

/// The most cases that one file may hold.
const MOST_CASES: usize = 4096;

/// What a case asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The text of a shell command.
    Command,
    /// Reading a path.
    Read,
    /// Writing a path.
    Write,
    /// Reaching a host.
    Host,
}

impl Subject {
    /// The key that names it in a file.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Read => "read",
            Self::Write => "write",
            Self::Host => "host",
        }
    }
}

/// What is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expected {
    /// It is allowed.
    Allow,
    /// A person is asked; of commands only.
    Ask,
    /// It is forbidden or refused.
    Refuse,
}

/// One case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What is asked about.
    pub subject: Subject,
    /// The command, path or host.
    pub text: String,
    /// What is expected.
    pub expected: Expected,
    /// What the rule that decides is about (`git push`, `~/.ssh`), or a part of where it stands (`@credentials`, `mine.toml:7`).
    pub rule: Option<String>,
    /// The line in the file.
    pub line: u32,
}

/// A file of cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseFile {
    /// The policy that they are about: a preset's name or a path, as it is written.
    pub policy: Option<String>,
    /// The cases, in order.
    pub cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileShape {
    schema: Option<Spanned<i64>>,
    policy: Option<Spanned<String>>,
    #[serde(default)]
    case: Vec<Spanned<CaseShape>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseShape {
    command: Option<Spanned<String>>,
    read: Option<Spanned<String>>,
    write: Option<Spanned<String>>,
    host: Option<Spanned<String>>,
    expect: Spanned<String>,
    rule: Option<Spanned<String>>,
    /// For people.
    #[serde(rename = "why")]
    _why: Option<String>,
}

/// Reads a file of cases. `name` is what errors call it.
///
/// # Errors
/// Where it is no such file, with the line.
pub fn read(name: &str, text: &str) -> Result<CaseFile, PolicyError> {
    let source = Source::new(name, text);
    let file: FileShape = file::parse(&source)?;
    file::check_schema(&source, file.schema.as_ref())?;
    if file.case.is_empty() {
        return Err(source.error(&(0..0), Problem::MissingKey("case"), Some("a file without a [[case]] checks nothing".to_owned())));
    }
    if file.case.len() > MOST_CASES {
        return Err(source.error(&(0..0), Problem::TooMany { list: "case", found: file.case.len(), limit: MOST_CASES }, None));
    }
    let cases = file.case.iter().map(|shape| case(&source, shape)).collect::<Result<_, _>>()?;
    Ok(CaseFile { policy: file.policy.map(Spanned::into_inner), cases })
}

fn case(source: &Source, shape: &Spanned<CaseShape>) -> Result<Case, PolicyError> {
    let CaseShape { command, read, write, host, expect, rule, .. } = shape.get_ref();
    let subjects = [(Subject::Command, command), (Subject::Read, read), (Subject::Write, write), (Subject::Host, host)];
    let mut given = subjects.into_iter().filter_map(|(subject, text)| Some((subject, text.as_ref()?)));
    let (Some((subject, text)), None) = (given.next(), given.next()) else {
        let hint = "a [[case]] has exactly one of: command, read, write, host".to_owned();
        return Err(source.error(&shape.span(), Problem::MissingKey("command"), hint));
    };
    if text.get_ref().trim().is_empty() {
        return Err(source.error(&text.span(), Problem::Empty(subject.key()), None));
    }
    let expected = match (expect.get_ref().as_str(), subject) {
        ("allow", _) => Expected::Allow,
        ("ask", Subject::Command) => Expected::Ask,
        ("forbid", Subject::Command) | ("refuse", Subject::Read | Subject::Write | Subject::Host) => Expected::Refuse,
        (other, _) => {
            let words = if subject == Subject::Command { "allow, ask, forbid" } else { "allow, refuse" };
            let problem = Problem::NotAChoice { key: "expect", value: value(other) };
            return Err(source.error(&expect.span(), problem, format!("for `{}` one of: {words}", subject.key())));
        }
    };
    Ok(Case {
        subject,
        text: text.get_ref().clone(),
        expected,
        rule: rule.as_ref().map(|rule| rule.get_ref().clone()),
        line: source.line(text.span().start),
    })
}
