//! `# lint: allow RULE-ID because …`: a comment that accepts a finding where it stands.
//!
//! Behind a value the comment speaks of its own line. On a line of its own it speaks of the next line that is no comment, and above a `[[command]]`
//! of the whole rule. At `extends` it speaks of what the files say that are extended, which may be presets that nobody can edit.

use toml_parser::{Source as Text, lexer::TokenKind};

use super::{
    super::{
        error::Source,
        file::{self, PolicyFile},
        model::Origin,
    },
    Finding, RULES, Report, Subject, rules,
};

/// What begins such a comment, behind its `#`.
const MARK: &str = "lint: allow";

/// A comment that accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Acceptance {
    /// The rule's id, as it is written.
    rule: String,
    /// Why; empty if it does not say.
    reason: String,
    /// Its own line.
    line: u32,
    /// The lines that it speaks of, the last one included.
    lines: (u32, u32),
}

impl Acceptance {
    fn covers(&self, line: u32) -> bool {
        (self.lines.0..=self.lines.1).contains(&line)
    }
}

/// The line in which a file says what it extends.
fn extends(source: &Source) -> Option<u32> {
    file::parse::<PolicyFile>(source).ok()?.extends.map(|target| source.line(target.span().start))
}

/// Takes out what is accepted, and adds what is wrong with the comments themselves.
pub(super) fn split(findings: Vec<Finding>, subject: &Subject<'_>) -> Report {
    let sources = subject.sources;
    let all: Vec<(&Source, Acceptance)> =
        sources.iter().flat_map(|source| acceptances(source).into_iter().map(move |acceptance| (source, acceptance))).collect();
    let mut report = Report::default();
    for finding in findings {
        let accepts = |(source, acceptance): &&(&Source, Acceptance)| {
            acceptance.rule == finding.rule.id
                && !acceptance.reason.is_empty()
                && (source.file == finding.origin.file && acceptance.covers(finding.origin.line)
                    || extends(source).is_some_and(|line| acceptance.covers(line)) && subject.is_under(&finding.origin, source))
        };
        match all.iter().find(accepts) {
            Some((_, acceptance)) => report.accepted.push((finding, acceptance.reason.clone())),
            None => report.findings.push(finding),
        }
    }
    for (source, acceptance) in &all {
        let origin = Origin { file: source.file.clone(), line: acceptance.line, group: None };
        if RULES.iter().all(|rule| rule.id != acceptance.rule) {
            let shown = super::super::error::value(&acceptance.rule);
            let near = super::super::error::nearest(&acceptance.rule, RULES.iter().map(|rule| rule.id), "");
            let near = near
                .filter(|hint| hint.starts_with("did you mean"))
                .unwrap_or_else(|| "`portcullis policy lint --help` lists them".to_owned());
            report.findings.push(Finding::new(&rules::ACCEPT_UNKNOWN, &origin, format!("there is no rule `{shown}`"), near));
        } else if acceptance.reason.is_empty() {
            report.findings.push(Finding::new(
                &rules::ACCEPT_WITHOUT_REASON,
                &origin,
                format!("`{}` is accepted without a reason, which accepts nothing", acceptance.rule),
                format!("write # {MARK} {} because …", acceptance.rule),
            ));
        }
    }
    report
}

/// What stands on one line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Held {
    content: bool,
    header: bool,
    list_of_tables: bool,
}

fn acceptances(source: &Source) -> Vec<Acceptance> {
    let text = Text::new(&source.text);
    let mut lines: Vec<Held> = vec![Held::default(); source.text.lines().count() + 2];
    let mut comments = Vec::new();
    let mut depth = 0_usize;
    for token in text.lex() {
        let (start, end) = (token.span().start(), token.span().end());
        let (line, last) = (source.line(start), source.line(end.saturating_sub(1).max(start)));
        match token.kind() {
            TokenKind::Whitespace | TokenKind::Newline | TokenKind::Eof => continue,
            TokenKind::Comment => {
                comments.push((line, source.slice(&(start..end)).trim_start_matches('#').trim().to_owned()));
                continue;
            }
            TokenKind::LeftSquareBracket => {
                // One that begins a line outside of any value begins a table, and two of them one of a list of tables.
                if depth == 0
                    && let Some(held) = held(&mut lines, line).filter(|held| !held.content)
                {
                    held.header = true;
                    held.list_of_tables = source.slice(&(start..source.text.len())).starts_with("[[");
                }
                depth += 1;
            }
            TokenKind::RightSquareBracket => depth = depth.saturating_sub(1),
            _ => {}
        }
        for line in line..=last {
            if let Some(held) = held(&mut lines, line) {
                held.content = true;
            }
        }
    }
    comments.into_iter().filter_map(|(line, comment)| acceptance(line, &comment, &lines)).collect()
}

fn held(lines: &mut [Held], line: u32) -> Option<&mut Held> {
    lines.get_mut(line as usize)
}

fn acceptance(line: u32, comment: &str, lines: &[Held]) -> Option<Acceptance> {
    let rest = comment.strip_prefix(MARK)?;
    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return None;
    }
    let rest = rest.trim();
    let (rule, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let reason = rest.trim().strip_prefix("because").filter(|reason| reason.starts_with(char::is_whitespace)).unwrap_or_default().trim();
    let at = |line: u32| lines.get(line as usize).copied().unwrap_or_default();
    let own = at(line).content;
    let first = if own {
        line
    } else {
        (line + 1..).take_while(|line| (*line as usize) < lines.len()).find(|line| at(*line).content).unwrap_or(line)
    };
    let last = if !own && at(first).list_of_tables {
        (first + 1..).take_while(|line| (*line as usize) < lines.len() && !at(*line).header).last().unwrap_or(first)
    } else {
        first
    };
    Some(Acceptance { rule: rule.to_owned(), reason: reason.to_owned(), line, lines: (first, last) })
}
