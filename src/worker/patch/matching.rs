//! Where a hunk belongs in a file. Pure.
//!
//! Hunks are found in order, each from the end of the one before. A hunk's old lines (context and removed) are looked for four times,
//! each time more forgiving: exactly; with trailing white space ignored; with leading white space ignored as well; with common
//! Unicode punctuation taken for its ASCII look-alike. The first pass that finds anything decides.
//!
//! Where a pass finds several places, the first at or after the end of the previous hunk (and after the `@@` headers) is taken. That
//! is what the format means by giving hunks in order; a patch that wants another place says so with an `@@` header or more context.
//! The exception: a hunk without header that is found only with leading white space ignored, and at several places, is refused,
//! since indentation is often the very thing that tells such places apart.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use similar::{
    DiffOp,
    algorithms::{Capture, Replace, myers},
    diff_ratio,
};

use super::parse::{Hunk, HunkLine};
use crate::worker::text::{head, quote};

const MESSAGE_BYTES: usize = 2 * 1024;
const QUOTED_CHARACTERS: usize = 160;
const QUOTED_LINES: usize = 6;
/// For the search for the nearest place, which only serves the message: no more lines than this are compared letter by letter.
const COMPARED_LINES: usize = 2000;
const COMPARED_CHARACTERS: usize = 200;

/// The lines of the file that a hunk's old lines were found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The first line, counted from 0.
    pub start: usize,
    /// How many there are; 0 for a pure insertion. May be fewer than the hunk's, see [`locate`].
    pub old_lines: usize,
    /// How forgiving the match had to be.
    pub tolerance: Tolerance,
}

/// How far a line of the patch and a line of the file may differ and count as equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tolerance {
    /// Not at all.
    Exact,
    /// In white space at the end.
    TrailingSpace,
    /// In white space at either end.
    Indentation,
    /// In white space at either end, and in dashes, quotes and spaces beyond ASCII.
    Punctuation,
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "exactly",
            Self::TrailingSpace => "with trailing white space ignored",
            Self::Indentation => "with indentation ignored",
            Self::Punctuation => "with indentation and Unicode punctuation ignored",
        })
    }
}

/// The passes, the strictest first. They are declared in this order, so that the number of each is its place here.
const PASSES: [Tolerance; 4] = [Tolerance::Exact, Tolerance::TrailingSpace, Tolerance::Indentation, Tolerance::Punctuation];

/// A hunk that has no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatchError {
    /// An `@@` header is not a line of the file.
    #[error("hunk {hunk} (patch line {patch_line}): no line of the file from line {from} on matches `@@ {header}`")]
    Header {
        /// The hunk's number within the file, counted from 1.
        hunk: usize,
        /// Where it begins in the patch.
        patch_line: usize,
        /// The header.
        header: String,
        /// Where the search began.
        from: usize,
    },
    /// The old lines are nowhere.
    #[error("hunk {hunk} (patch line {patch_line}) does not match the file {}:\n{explanation}", place(*from, *at_end))]
    Lines {
        /// The hunk's number within the file, counted from 1.
        hunk: usize,
        /// Where it begins in the patch.
        patch_line: usize,
        /// The line of the file where the search began, counted from 1.
        from: usize,
        /// Whether the hunk had to match at the end of the file.
        at_end: bool,
        /// The lines that were looked for and the nearest that there are, at most 2 KB.
        explanation: String,
    },
    /// The old lines are in several places, none of them exactly.
    #[error(
        "hunk {hunk} (patch line {patch_line}) matches only {tolerance}, and then at several places (lines {}): give its lines exactly, or an `@@` header",
        numbers(places)
    )]
    Ambiguous {
        /// The hunk's number within the file, counted from 1.
        hunk: usize,
        /// Where it begins in the patch.
        patch_line: usize,
        /// How forgiving the match was.
        tolerance: Tolerance,
        /// The first few places, lines counted from 1.
        places: Vec<usize>,
    },
}

fn place(from: usize, at_end: bool) -> String {
    if at_end { "at its end".to_owned() } else { format!("from line {from} on") }
}

fn numbers(places: &[usize]) -> String {
    places.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

/// Finds every hunk in `lines`. Placements ascend and do not overlap.
///
/// Empty context lines at the end of a hunk are often only the space before the patch's next section: where a hunk is nowhere with
/// them, it is looked for without.
///
/// # Errors
/// [`MatchError`] for the first hunk without a place.
pub fn locate(hunks: &[Hunk], lines: &[Cow<'_, str>]) -> Result<Vec<Placement>, MatchError> {
    let mut haystack = Haystack { passes: Default::default(), lines };
    let mut cursor = 0;
    let mut placements = Vec::with_capacity(hunks.len());
    for (index, hunk) in hunks.iter().enumerate() {
        let placement = haystack.locate(index + 1, hunk, cursor)?;
        cursor = placement.start + placement.old_lines;
        placements.push(placement);
    }
    Ok(placements)
}

/// A line as a tolerance sees it: two lines are equal to it where these are equal.
fn seen<'a>(line: &'a str, tolerance: Tolerance) -> Cow<'a, str> {
    match tolerance {
        Tolerance::Exact => Cow::Borrowed(line),
        Tolerance::TrailingSpace => Cow::Borrowed(line.trim_end()),
        Tolerance::Indentation => Cow::Borrowed(line.trim()),
        Tolerance::Punctuation => fold(line.trim()),
    }
}

fn fold(line: &str) -> Cow<'_, str> {
    if line.is_ascii() {
        return Cow::Borrowed(line);
    }
    let folded: String = line
        .chars()
        .map(|character| match character {
            '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
            '\u{2018}'..='\u{201b}' | '\u{2032}' => '\'',
            '\u{201c}'..='\u{201f}' | '\u{2033}' | '\u{ab}' | '\u{bb}' => '"',
            '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => ' ',
            other => other,
        })
        .collect();
    Cow::Owned(folded.trim().to_owned())
}

struct Haystack<'a> {
    lines: &'a [Cow<'a, str>],
    /// The lines as each pass sees them, made when first needed.
    passes: [Option<Vec<Cow<'a, str>>>; PASSES.len()],
}

impl<'a> Haystack<'a> {
    fn seen(&mut self, tolerance: Tolerance) -> &[Cow<'a, str>] {
        let lines = self.lines;
        self.passes[tolerance as usize].get_or_insert_with(|| lines.iter().map(|line| seen(line, tolerance)).collect())
    }

    fn locate(&mut self, number: usize, hunk: &Hunk, cursor: usize) -> Result<Placement, MatchError> {
        let (from, after_header) = self.narrow(number, hunk, cursor)?;
        let old: Vec<&str> = hunk
            .lines
            .iter()
            .filter_map(|line| match line {
                HunkLine::Context(text) | HunkLine::Remove(text) => Some(text.as_str()),
                HunkLine::Add(_) => None,
            })
            .collect();
        let blank_tail = hunk.lines.iter().rev().take_while(|line| matches!(line, HunkLine::Context(text) if text.is_empty())).count();
        let end = self.lines.len();
        let without_tail = &old[..old.len() - blank_tail];
        for wanted in [&old[..], without_tail] {
            if wanted.is_empty() {
                continue;
            }
            if let Some(placement) = self.search(number, hunk, wanted, from)? {
                return Ok(placement);
            }
        }
        if without_tail.is_empty() && hunk.lines.iter().any(|line| matches!(line, HunkLine::Add(_))) {
            // Nothing to find: a pure insertion goes below its header, and without one to the end of the file.
            let start = if hunk.headers.is_empty() || hunk.at_end { end } else { after_header };
            return Ok(Placement { start, old_lines: 0, tolerance: Tolerance::Exact });
        }
        Err(MatchError::Lines {
            hunk: number,
            patch_line: hunk.patch_line,
            from: from + 1,
            at_end: hunk.at_end,
            explanation: self.explain(&old),
        })
    }

    /// Follows a hunk's headers. Answers where its lines may begin (the last header's own line, which some patches repeat as
    /// context) and the line below that header.
    fn narrow(&mut self, number: usize, hunk: &Hunk, cursor: usize) -> Result<(usize, usize), MatchError> {
        let (mut from, mut below) = (cursor, cursor);
        for header in &hunk.headers {
            // A later hunk of the same function repeats its header, which then lies before the previous hunk's end.
            let found = self.find_header(header, below, self.lines.len()).or_else(|| self.find_header(header, 0, cursor));
            let Some(found) = found else {
                return Err(MatchError::Header {
                    hunk: number,
                    patch_line: hunk.patch_line,
                    header: quote(header, QUOTED_CHARACTERS),
                    from: below + 1,
                });
            };
            from = found.max(cursor);
            below = (found + 1).max(cursor);
        }
        Ok((from, below))
    }

    fn find_header(&mut self, header: &str, from: usize, to: usize) -> Option<usize> {
        for tolerance in PASSES {
            let wanted = seen(header, tolerance);
            let found = self.seen(tolerance).iter().enumerate().take(to).skip(from).find(|(_, line)| **line == wanted);
            if let Some((index, _)) = found {
                return Some(index);
            }
        }
        // A header is often only the telling part of its line.
        self.lines.iter().enumerate().take(to).skip(from).find(|(_, line)| line.contains(header.trim())).map(|(index, _)| index)
    }

    fn search(&mut self, number: usize, hunk: &Hunk, wanted: &[&str], from: usize) -> Result<Option<Placement>, MatchError> {
        for tolerance in PASSES {
            let wanted: Vec<Cow<'_, str>> = wanted.iter().map(|line| seen(line, tolerance)).collect();
            let lines = self.seen(tolerance);
            let Some(last) = lines.len().checked_sub(wanted.len()) else { return Ok(None) };
            let first = if hunk.at_end { from.max(last) } else { from };
            let mut places = (first..=last).filter(|&start| lines[start..].starts_with(&wanted));
            let Some(start) = places.next() else { continue };
            if tolerance >= Tolerance::Indentation && hunk.headers.is_empty() {
                let others: Vec<usize> = std::iter::once(start).chain(places.take(4)).map(|place| place + 1).collect();
                if others.len() > 1 {
                    return Err(MatchError::Ambiguous { hunk: number, patch_line: hunk.patch_line, tolerance, places: others });
                }
            }
            return Ok(Some(Placement { start, old_lines: wanted.len(), tolerance }));
        }
        Ok(None)
    }

    /// What was looked for, and the place in the file that comes nearest, as a diff from the file to the patch.
    fn explain(&mut self, old: &[&str]) -> String {
        let mut text = String::from("looked for:\n");
        for line in old.iter().take(QUOTED_LINES) {
            text.push_str(&format!("  |{}\n", quote(line, QUOTED_CHARACTERS)));
        }
        if old.len() > QUOTED_LINES {
            text.push_str(&format!("  … {} more lines\n", old.len() - QUOTED_LINES));
        }
        match self.nearest(old) {
            None => text.push_str("nothing in the file is like it; read the file again\n"),
            Some(start) => {
                let end = (start + old.len()).min(self.lines.len());
                let there: Vec<&str> = self.lines[start..end].iter().map(AsRef::as_ref).collect();
                text.push_str(&format!("nearest place, line {} (`-` the file has, `+` the hunk says):\n", start + 1));
                for change in compared(&there, old).iter().flat_map(|operation| operation.iter_changes(there.as_slice(), old)) {
                    let sign = change.tag();
                    text.push_str(&format!("  {sign}{}\n", quote(change.value(), QUOTED_CHARACTERS)));
                    if text.len() > MESSAGE_BYTES {
                        break;
                    }
                }
            }
        }
        let mut end = text.len().min(MESSAGE_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text
    }

    /// The start of the window with the most lines in common; where no line is, the line most like the first that is not blank.
    fn nearest(&mut self, old: &[&str]) -> Option<usize> {
        let mut wanted: HashMap<Cow<'_, str>, Vec<usize>> = HashMap::new();
        for (offset, line) in old.iter().enumerate() {
            if !line.trim().is_empty() {
                // A line that stands in the hunk very often tells nothing about where the hunk begins.
                let offsets = wanted.entry(seen(line, Tolerance::Punctuation)).or_default();
                if offsets.len() < 16 {
                    offsets.push(offset);
                }
            }
        }
        let mut votes = vec![0_usize; self.lines.len()];
        for (index, line) in self.seen(Tolerance::Punctuation).iter().enumerate() {
            for offset in wanted.get(line).into_iter().flatten() {
                if let Some(vote) = index.checked_sub(*offset).and_then(|start| votes.get_mut(start)) {
                    *vote += 1;
                }
            }
        }
        let most = votes.iter().copied().max()?;
        if most > 0 {
            return votes.iter().position(|&vote| vote == most);
        }
        let (offset, line) = old.iter().enumerate().find(|(_, line)| !line.trim().is_empty())?;
        let line: Vec<char> = head(line.trim(), COMPARED_CHARACTERS).0.chars().collect();
        let mut best = (0.6, None);
        for (index, candidate) in self.lines.iter().take(COMPARED_LINES).enumerate() {
            let candidate: Vec<char> = head(candidate.trim(), COMPARED_CHARACTERS).0.chars().collect();
            let ratio = diff_ratio(&compared(&candidate, &line), candidate.len(), line.len());
            if ratio > best.0 {
                best = (ratio, Some(index.saturating_sub(offset)));
            }
        }
        best.1
    }
}

/// What has to be done to the old for it to be the new. By the one algorithm that is needed: all that the library has are a megabyte of code.
fn compared<T: PartialEq>(old: &[T], new: &[T]) -> Vec<DiffOp> {
    let mut found = Replace::new(Capture::new());
    let Ok(()) = myers::diff_deadline_raw(&mut found, old, 0..old.len(), new, 0..new.len(), None);
    found.into_inner().into_ops()
}

#[cfg(test)]
#[path = "matching_tests.rs"]
mod tests;
