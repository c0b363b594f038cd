//! The patch format: text to a list of file operations. Pure.
//!
//! ```text
//! *** Begin Patch
//! *** Add File: path            then lines that start with `+`
//! *** Delete File: path
//! *** Update File: path         then, optionally, `*** Move to: path`, then hunks
//! @@ class Parser               zero or more lines that must be found, in order, before the hunk
//!  context
//! -old
//! +new
//! *** End of File               this hunk ends where the file ends
//! *** End Patch
//! ```
//!
//! Slips that cannot be misunderstood are taken as meant: blank lines around sections, white space around section lines, a heredoc or
//! code fence around the patch, CRLF line endings, an empty line for an empty context line, a line range after `@@`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::worker::path::{PATH_BYTES, normalize};
use crate::worker::text::quote;

/// The largest patch, in bytes.
pub const PATCH_BYTES: usize = 4 * 1024 * 1024;
/// The most file sections in one patch.
pub const FILES: usize = 1000;
/// The most hunks in one patch.
pub const HUNKS: usize = 10_000;
const QUOTED_CHARACTERS: usize = 120;

const BEGIN: &str = "*** Begin Patch";
const END: &str = "*** End Patch";
const ADD: &str = "*** Add File:";
const DELETE: &str = "*** Delete File:";
const UPDATE: &str = "*** Update File:";
const MOVE: &str = "*** Move to:";
const END_OF_FILE: &str = "*** End of File";
const SECTION: &str = "`*** Add File: path`, `*** Delete File: path`, `*** Update File: path` or `*** End Patch`";

/// One file's section of a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The path, as written; neither empty nor with a NUL byte, at most 4096 bytes.
    pub path: String,
    /// What is to be done with it.
    pub operation: Operation,
}

/// What a section does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Create the file with these lines.
    Add {
        /// Its lines, without line endings.
        lines: Vec<String>,
    },
    /// Delete the file.
    Delete,
    /// Change the file, move it, or both.
    Update {
        /// The new path, where it is moved.
        move_to: Option<String>,
        /// The changes, in the order of the file.
        hunks: Vec<Hunk>,
    },
}

/// One place to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunk {
    /// Lines of the file that come before the hunk, from the outermost in: each narrows where the next is looked for.
    pub headers: Vec<String>,
    /// The lines of the hunk, at least one.
    pub lines: Vec<HunkLine>,
    /// Whether the hunk must end where the file ends.
    pub at_end: bool,
    /// Where the hunk begins in the patch, counted from 1.
    pub patch_line: usize,
}

/// A line of a hunk, without its prefix and without its line ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HunkLine {
    /// Is in the file and stays.
    Context(String),
    /// Is in the file and goes.
    Remove(String),
    /// Comes.
    Add(String),
}

/// A patch that does not follow the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The patch has more bytes than [`PATCH_BYTES`].
    #[error("the patch has {size} bytes; at most {PATCH_BYTES} are taken")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// There are more sections than [`FILES`].
    #[error("patch line {line}: more than {FILES} files in one patch")]
    TooManyFiles {
        /// The line, counted from 1.
        line: usize,
    },
    /// There are more hunks than [`HUNKS`].
    #[error("patch line {line}: more than {HUNKS} hunks in one patch")]
    TooManyHunks {
        /// The line, counted from 1.
        line: usize,
    },
    /// Something else stands where the format wants one of a few things.
    #[error("patch line {line}: expected {expected}, found {found}")]
    Unexpected {
        /// The line, counted from 1.
        line: usize,
        /// What the format wants there.
        expected: &'static str,
        /// The line as it is, cut, or where the patch ends.
        found: String,
    },
    /// A path that names nothing.
    #[error("patch line {line}: {problem}")]
    BadPath {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A path that an earlier section has named.
    #[error("patch line {line}: {path} is named again (first in line {first}); one section per file, with all of its hunks")]
    Repeated {
        /// The line, counted from 1.
        line: usize,
        /// The path, as written the second time.
        path: String,
        /// Where it was named first.
        first: usize,
    },
}

/// Parses a patch. A patch without any section is an error.
///
/// # Errors
/// [`ParseError`], with the line of the patch.
pub fn parse(patch: &str) -> Result<Vec<Section>, ParseError> {
    if patch.len() > PATCH_BYTES {
        return Err(ParseError::TooLarge { size: patch.len() });
    }
    let mut parser = Parser { lines: lines(patch), next: 0, hunks: 0, seen: HashMap::new() };
    parser.open()?;
    let mut sections = Vec::new();
    loop {
        let Some((number, line)) = parser.section_line() else {
            return Err(parser.unexpected(SECTION));
        };
        if line == END {
            break;
        }
        if sections.len() == FILES {
            return Err(ParseError::TooManyFiles { line: number });
        }
        sections.push(parser.section(number, line)?);
    }
    if parser.section_line().is_some() {
        parser.next -= 1;
        return Err(parser.unexpected("nothing after `*** End Patch`"));
    }
    if sections.is_empty() {
        parser.next -= 1;
        return Err(parser.unexpected("a file section before `*** End Patch`"));
    }
    Ok(sections)
}

/// The patch's lines with their numbers, without what is wrapped around it.
fn lines(patch: &str) -> Vec<(usize, &str)> {
    let mut lines: Vec<(usize, &str)> = patch.split('\n').enumerate().map(|(index, line)| (index + 1, line)).collect();
    trim_blank(&mut lines);
    // Where the frame of the patch is CRLF, the carriage returns come from the transport and not from what the lines say.
    if lines.first().is_some_and(|(_, line)| line.ends_with('\r')) {
        for (_, line) in &mut lines {
            *line = line.strip_suffix('\r').unwrap_or(line);
        }
    }
    if let Some(tag) = lines.first().and_then(|(_, line)| wrapper(line)) {
        lines.remove(0);
        trim_blank(&mut lines);
        if lines.last().is_some_and(|(_, line)| line.trim() == tag) {
            lines.pop();
            trim_blank(&mut lines);
        }
    }
    // Indented, it would read as a context line of the last hunk; but a patch has to end with it.
    if let Some((_, line)) = lines.last_mut()
        && line.trim() == END
    {
        *line = END;
    }
    lines
}

fn trim_blank(lines: &mut Vec<(usize, &str)>) {
    while lines.last().is_some_and(|(_, line)| line.trim().is_empty()) {
        lines.pop();
    }
    let blank = lines.iter().take_while(|(_, line)| line.trim().is_empty()).count();
    lines.drain(..blank);
}

/// The line that closes a wrapper, where `line` opens one: a heredoc (with or without the command before it) or a code fence.
fn wrapper(line: &str) -> Option<&str> {
    let line = line.trim();
    if line.starts_with("```") {
        return Some("```");
    }
    let (command, tag) = line.split_once("<<")?;
    if !matches!(command.trim(), "" | "apply_patch" | "applypatch") {
        return None;
    }
    let tag = tag.strip_prefix('-').unwrap_or(tag).trim().trim_matches(['\'', '"']);
    (!tag.is_empty() && tag.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')).then_some(tag)
}

struct Parser<'a> {
    lines: Vec<(usize, &'a str)>,
    next: usize,
    hunks: usize,
    /// Normalised paths, and the line that named each.
    seen: HashMap<PathBuf, usize>,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<(usize, &'a str)> {
        self.lines.get(self.next).copied()
    }

    /// The next line that is not blank, trimmed, which is taken.
    fn section_line(&mut self) -> Option<(usize, &'a str)> {
        loop {
            let (number, line) = self.peek()?;
            self.next += 1;
            if !line.trim().is_empty() {
                return Some((number, line.trim()));
            }
        }
    }

    /// The error that something else was expected where the parser stands.
    fn unexpected(&self, expected: &'static str) -> ParseError {
        match self.peek() {
            Some((line, text)) => ParseError::Unexpected { line, expected, found: format!("`{}`", quote(text, QUOTED_CHARACTERS)) },
            None => {
                let line = self.lines.last().map_or(1, |(line, _)| *line);
                ParseError::Unexpected { line, expected, found: "the end of the patch".to_owned() }
            }
        }
    }

    fn open(&mut self) -> Result<(), ParseError> {
        match self.peek() {
            Some((_, line)) if line.trim() == BEGIN => {
                self.next += 1;
                Ok(())
            }
            Some((_, line)) if ["diff --git ", "--- ", "Index: "].iter().any(|start| line.starts_with(start)) => {
                Err(self.unexpected("`*** Begin Patch` (a unified diff is another format)"))
            }
            _ => Err(self.unexpected("`*** Begin Patch`")),
        }
    }

    fn section(&mut self, number: usize, line: &str) -> Result<Section, ParseError> {
        if let Some(path) = line.strip_prefix(ADD) {
            let path = self.path(number, path)?;
            return Ok(Section { path, operation: Operation::Add { lines: self.added() } });
        }
        if let Some(path) = line.strip_prefix(DELETE) {
            return Ok(Section { path: self.path(number, path)?, operation: Operation::Delete });
        }
        let Some(path) = line.strip_prefix(UPDATE) else {
            self.next -= 1;
            return Err(self.unexpected(SECTION));
        };
        let path = self.path(number, path)?;
        let mut move_to = None;
        if let Some((number, line)) = self.peek()
            && let Some(target) = line.trim().strip_prefix(MOVE)
        {
            self.next += 1;
            // A move to where the file is already moves nothing.
            if normalize(Path::new(target.trim())) != normalize(Path::new(&path)) {
                move_to = Some(self.path(number, target)?);
            }
        }
        let hunks = self.hunks_of_file()?;
        if hunks.is_empty() && move_to.is_none() {
            return Err(self.unexpected("a hunk, which starts with `@@`"));
        }
        Ok(Section { path, operation: Operation::Update { move_to, hunks } })
    }

    fn path(&mut self, line: usize, path: &str) -> Result<String, ParseError> {
        let path = path.trim();
        let problem = match path {
            "" => Some("the path is empty"),
            _ if path.contains('\0') => Some("the path contains a NUL byte"),
            _ if path.len() > PATH_BYTES => Some("the path is longer than 4096 bytes"),
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(ParseError::BadPath { line, problem });
        }
        match self.seen.insert(normalize(Path::new(path)), line) {
            Some(first) => Err(ParseError::Repeated { line, path: quote(path, QUOTED_CHARACTERS), first }),
            None => Ok(path.to_owned()),
        }
    }

    /// The lines of a new file. An empty line between two `+` lines is an empty line of the file whose `+` was forgotten.
    fn added(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut blank = 0;
        let mut ahead = self.next;
        while let Some((_, line)) = self.lines.get(ahead) {
            ahead += 1;
            if let Some(text) = line.strip_prefix('+') {
                lines.extend(std::iter::repeat_n(String::new(), std::mem::take(&mut blank)));
                lines.push(text.to_owned());
                self.next = ahead;
            } else if line.trim().is_empty() {
                blank += 1;
            } else {
                break;
            }
        }
        lines
    }

    fn hunks_of_file(&mut self) -> Result<Vec<Hunk>, ParseError> {
        let mut hunks = Vec::new();
        loop {
            self.pass_over_separator();
            let Some((patch_line, line)) = self.peek() else { break };
            if is_section(line) {
                break;
            }
            // Only a file's first hunk may lack its `@@`.
            if !hunks.is_empty() && !line.trim_start().starts_with("@@") {
                return Err(self.unexpected("`@@`, a file section or `*** End Patch`"));
            }
            if self.hunks == HUNKS {
                return Err(ParseError::TooManyHunks { line: patch_line });
            }
            self.hunks += 1;
            hunks.push(self.hunk(patch_line)?);
        }
        Ok(hunks)
    }

    /// Passes over blank lines where a hunk header or a section follows them, so that they belong to no hunk.
    fn pass_over_separator(&mut self) {
        let rest = self.lines.get(self.next..).unwrap_or_default();
        let blank = rest.iter().take_while(|(_, line)| line.trim().is_empty()).count();
        if rest.get(blank).is_none_or(|(_, line)| is_section(line) || line.trim_start().starts_with("@@")) {
            self.next += blank;
        }
    }

    fn hunk(&mut self, patch_line: usize) -> Result<Hunk, ParseError> {
        let mut headers = Vec::new();
        while let Some((_, line)) = self.peek()
            && let Some(rest) = line.trim_start().strip_prefix("@@")
        {
            self.next += 1;
            let header = header(rest);
            if !header.is_empty() {
                headers.push(header.to_owned());
            }
        }
        let mut lines = Vec::new();
        // Lines without so much as a space after the last line that has a prefix: they separate sections.
        let mut empty_tail = 0;
        let mut at_end = false;
        while let Some((_, line)) = self.peek() {
            let text = line.get(1..).unwrap_or_default().to_owned();
            match line.as_bytes().first() {
                None => {
                    lines.push(HunkLine::Context(String::new()));
                    empty_tail += 1;
                    self.next += 1;
                    continue;
                }
                Some(b' ') => lines.push(HunkLine::Context(text)),
                Some(b'+') => lines.push(HunkLine::Add(text)),
                Some(b'-') => lines.push(HunkLine::Remove(text)),
                Some(b'\r') if line.len() == 1 => lines.push(HunkLine::Context(String::new())),
                // "\ No newline at end of file", out of habit: whether there is one is the file's own affair.
                Some(b'\\') if line.starts_with("\\ No newline") => {}
                Some(b'@') if line.starts_with("@@") => break,
                Some(b'*') if line.trim_end() == END_OF_FILE => {
                    at_end = true;
                    self.next += 1;
                    break;
                }
                Some(b'*') if is_section(line) => break,
                Some(_) => return Err(self.unexpected("a line that starts with a space, `+` or `-`, or `@@`, or `*** End of File`")),
            }
            self.next += 1;
            empty_tail = 0;
        }
        lines.truncate(lines.len() - empty_tail);
        if lines.is_empty() {
            if at_end {
                self.next -= 1;
            }
            return Err(self.unexpected("a line that starts with a space, `+` or `-`, since a hunk has at least one"));
        }
        Ok(Hunk { headers, lines, at_end, patch_line })
    }
}

fn is_section(line: &str) -> bool {
    let line = line.trim();
    line == END || [ADD, DELETE, UPDATE].iter().any(|start| line.starts_with(start))
}

/// What an `@@` line says besides its marks. A unified diff's line range says nothing here, since hunks are found by their text.
fn header(rest: &str) -> &str {
    let rest = rest.trim();
    let rest = match rest.split_once("@@") {
        Some((range, after)) if range.trim_start().starts_with('-') && range.chars().all(|c| c.is_ascii_digit() || "-+, ".contains(c)) => {
            after.trim()
        }
        _ => rest,
    };
    rest.strip_suffix("@@").unwrap_or(rest).trim_end()
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
