//! A file's bytes as lines, and lines as a file's bytes again, with its own line endings.

use super::matching::Placement;
use super::parse::{Hunk, HunkLine};

/// A file's lines without their endings.
#[derive(Debug)]
pub(crate) struct Content<'a> {
    lines: Vec<&'a [u8]>,
    /// For each line, whether it ends in CRLF.
    crlf: Vec<bool>,
    /// Whether new lines get CRLF: whether most lines have it.
    mostly_crlf: bool,
    /// Whether the last line has an ending. A file without any line counts as one that has.
    final_newline: bool,
}

impl<'a> Content<'a> {
    /// Splits `bytes` at line feeds.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let final_newline = bytes.is_empty() || bytes.ends_with(b"\n");
        let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let mut lines = Vec::new();
        let mut crlf = Vec::new();
        if !bytes.is_empty() {
            let count = body.split(|&byte| byte == b'\n').count();
            for (index, line) in body.split(|&byte| byte == b'\n').enumerate() {
                let ended = final_newline || index + 1 < count;
                let carriage_return = ended && line.ends_with(b"\r");
                lines.push(if carriage_return { &line[..line.len() - 1] } else { line });
                crlf.push(carriage_return);
            }
        }
        let with = crlf.iter().filter(|&&crlf| crlf).count();
        Self { mostly_crlf: with * 2 > lines.len(), lines, crlf, final_newline }
    }

    /// The lines as text, for finding hunks; what is not UTF-8 reads as `read_file` shows it.
    pub(crate) fn text(&self) -> Vec<std::borrow::Cow<'a, str>> {
        self.lines.iter().map(|line| String::from_utf8_lossy(line)).collect()
    }

    /// The file's bytes after `hunks`, each of which replaces the lines at its placement; placements ascend.
    ///
    /// Context lines keep the bytes that the file has, also where they were found only with white space ignored. A file without a
    /// line feed at its end stays so.
    pub(crate) fn replace(&self, hunks: &[Hunk], placements: &[Placement]) -> Vec<u8> {
        let mut output = Output { bytes: Vec::new(), ending_of_last: 0 };
        let mut next = 0;
        for (hunk, place) in hunks.iter().zip(placements) {
            self.copy(&mut output, next, place.start);
            let end = place.start + place.old_lines;
            next = place.start;
            for line in &hunk.lines {
                match line {
                    HunkLine::Add(text) => {
                        // In a CRLF file the carriage return is the ending, whether or not the patch repeats it.
                        let text = if self.mostly_crlf { text.strip_suffix('\r').unwrap_or(text) } else { text };
                        output.line(text.as_bytes(), self.mostly_crlf);
                    }
                    HunkLine::Context(_) if next < end => {
                        self.copy(&mut output, next, next + 1);
                        next += 1;
                    }
                    HunkLine::Remove(_) if next < end => next += 1,
                    // A trailing empty context line that was left out of the match.
                    HunkLine::Context(_) | HunkLine::Remove(_) => {}
                }
            }
            next = end;
        }
        self.copy(&mut output, next, self.lines.len());
        if !self.final_newline {
            let keep = output.bytes.len() - output.ending_of_last;
            output.bytes.truncate(keep);
        }
        output.bytes
    }

    fn copy(&self, output: &mut Output, from: usize, to: usize) {
        let last = self.lines.len().saturating_sub(1);
        for index in from..to {
            let unended = index == last && !self.final_newline;
            if let (Some(line), Some(&crlf)) = (self.lines.get(index), self.crlf.get(index)) {
                output.line(line, if unended { self.mostly_crlf } else { crlf });
            }
        }
    }
}

struct Output {
    bytes: Vec<u8>,
    ending_of_last: usize,
}

impl Output {
    fn line(&mut self, line: &[u8], crlf: bool) {
        let ending: &[u8] = if crlf { b"\r\n" } else { b"\n" };
        self.bytes.extend_from_slice(line);
        self.bytes.extend_from_slice(ending);
        self.ending_of_last = ending.len();
    }
}
