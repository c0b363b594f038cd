//! `read_file`: a text file with line numbers, streamed.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::error::WorkerError;
use super::request::Access;
use super::text::{Body, head};
use super::{Served, path};

const DEFAULT_LINES: u64 = 2000;
const LINE_CHARACTERS: usize = 2000;
/// Enough bytes for `LINE_CHARACTERS` characters of UTF-8 and the start of one more.
const LINE_BYTES: usize = LINE_CHARACTERS * 4 + 3;
/// A NUL byte in this many bytes from the start makes a file binary.
const SNIFF_BYTES: usize = 8 * 1024;
/// After the last line that is shown, lines are still counted where no more than this many bytes may follow.
const COUNT_BYTES: u64 = 16 * 1024 * 1024;
/// The most that is read to reach `offset`.
const SCAN_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// Shows `limit` lines of the file from line `offset` (counted from 1) on.
///
/// # Errors
/// What cannot be opened, is no regular file, or is binary; a `limit` of 0.
pub(crate) fn read_file(cwd: &Path, shown: &str, offset: Option<u64>, limit: Option<u64>) -> Result<Served, WorkerError> {
    let first = offset.unwrap_or(1).max(1);
    let limit = limit.unwrap_or(DEFAULT_LINES);
    if limit == 0 {
        return Err(WorkerError::Argument { argument: "limit", problem: "it must be at least 1".to_owned() });
    }
    let (file, metadata) = path::open_regular(&path::resolve(cwd, shown)?, shown, true)?;
    let failed = |source| WorkerError::reading(shown, "read it", source);

    let mut start = Vec::with_capacity(SNIFF_BYTES);
    (&file).take(SNIFF_BYTES as u64).read_to_end(&mut start).map_err(failed)?;
    if start.contains(&0) {
        return Err(binary(shown, metadata.len(), &start));
    }
    if start.is_empty() {
        return Ok(Served { text: "[the file is empty]\n".to_owned(), changes: Vec::new(), truncated: false });
    }

    let mut lines = Lines { input: BufReader::with_capacity(64 * 1024, start.as_slice().chain(&file)), bytes: 0, number: 0 };
    while lines.number + 1 < first {
        if lines.bytes > SCAN_BYTES {
            let problem = format!("line {first} lies beyond the first 2 GiB of the file");
            return Err(WorkerError::Argument { argument: "offset", problem });
        }
        if !lines.skip().map_err(failed)? {
            let text = format!("[the file has {} lines; there is no line {first}]\n", lines.number);
            return Ok(Served { text, changes: Vec::new(), truncated: false });
        }
    }
    show(lines, first, limit, metadata.len()).map_err(failed)
}

fn show<R: BufRead>(mut lines: Lines<R>, first: u64, limit: u64, size: u64) -> std::io::Result<Served> {
    let mut body = Body::default();
    let (mut invalid, mut cut, mut carriage_returns) = (false, false, false);
    let mut more = false;
    let last = loop {
        let before = lines.number;
        if before - (first - 1) == limit {
            more = lines.input.fill_buf().map(|rest| !rest.is_empty())?;
            break before;
        }
        let Some(line) = lines.next()? else { break before };
        invalid |= line.invalid;
        carriage_returns |= line.carriage_return;
        let mut numbered = format!("{:>6}\t{}", lines.number, line.text);
        if line.cut > 0 {
            numbered.push_str(&format!("… [+{} characters]", line.cut));
        }
        if !body.push(&numbered) {
            more = true;
            break before;
        }
        cut |= line.cut > 0;
    };

    if lines.number < first {
        body.note(format!("the file has {} lines; there is no line {first}", lines.number));
        return Ok(Served { text: body.finish(), changes: Vec::new(), truncated: false });
    }
    if more {
        let next = last + 1;
        if size.saturating_sub(lines.bytes) <= COUNT_BYTES {
            let counted_to = lines.bytes + COUNT_BYTES;
            let mut ended = false;
            while !ended && lines.bytes <= counted_to {
                ended = !lines.skip()?;
            }
            if ended {
                body.note(format!("lines {first} to {last} of {}; more follow: offset {next}", lines.number));
            } else {
                body.note(format!("lines {first} to {last}; more follow: offset {next}"));
            }
        } else {
            body.note(format!("lines {first} to {last}; more follow in {size} bytes: offset {next}"));
        }
    } else {
        body.note(format!("end of file, {last} lines"));
    }
    if invalid {
        body.note("not all of this is valid UTF-8; what is not is shown as \u{fffd}");
    }
    if carriage_returns {
        body.note("lines end in CRLF");
    }
    Ok(Served { text: body.finish(), changes: Vec::new(), truncated: more || cut })
}

fn binary(shown: &str, size: u64, start: &[u8]) -> WorkerError {
    let found = match start {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16 text or binary",
        _ => "a binary file",
    };
    let found = format!("this is {found} of {size} bytes");
    WorkerError::WrongKind { path: shown.to_owned(), found, hint: "only UTF-8 text is shown", access: Access::Read }
}

/// One line, with as much of its text as can be shown.
struct Line {
    text: String,
    /// Characters of the line that are not shown.
    cut: u64,
    invalid: bool,
    carriage_return: bool,
}

/// Reads lines in constant memory, however long they are.
struct Lines<R> {
    input: R,
    /// Bytes read so far.
    bytes: u64,
    /// Lines read so far.
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// Passes over a line; `false` at the end of the file.
    fn skip(&mut self) -> std::io::Result<bool> {
        let read = self.input.skip_until(b'\n')?;
        self.bytes += read as u64;
        self.number += u64::from(read > 0);
        Ok(read > 0)
    }

    fn next(&mut self) -> std::io::Result<Option<Line>> {
        let mut kept = Vec::new();
        (&mut self.input).take(LINE_BYTES as u64 + 2).read_until(b'\n', &mut kept)?;
        if kept.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        self.bytes += kept.len() as u64;
        let mut carriage_return = false;
        let mut beyond = 0;
        let complete = kept.last() == Some(&b'\n');
        if complete {
            kept.pop();
            if kept.last() == Some(&b'\r') {
                kept.pop();
                carriage_return = true;
            }
        } else {
            beyond = self.pass_over_rest(&mut carriage_return)?;
        }
        let whole = beyond == 0;
        let (mut text, invalid) = match String::from_utf8(kept) {
            Ok(text) => (text, false),
            Err(error) => {
                // A character that was cut in two by the byte cap is no fault of the file.
                let cut_in_two = !whole && error.utf8_error().error_len().is_none();
                (String::from_utf8_lossy(error.as_bytes()).into_owned(), !cut_in_two)
            }
        };
        let (shown, more) = head(&text, LINE_CHARACTERS);
        let end = shown.len();
        text.truncate(end);
        Ok(Some(Line { cut: more as u64 + beyond, text, invalid, carriage_return }))
    }

    /// Reads to the end of a line that is too long to keep; answers how many characters began in that part.
    fn pass_over_rest(&mut self, carriage_return: &mut bool) -> std::io::Result<u64> {
        let mut characters = 0;
        loop {
            let buffer = self.input.fill_buf()?;
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            if let Some(&byte) = part.last() {
                *carriage_return = byte == b'\r';
            }
            characters += part.iter().filter(|&&byte| byte & 0xc0 != 0x80).count() as u64;
            let consumed = part.len() + usize::from(end.is_some());
            let finished = end.is_some() || consumed == 0;
            self.input.consume(consumed);
            self.bytes += consumed as u64;
            if finished {
                let ending = *carriage_return && end.is_some();
                *carriage_return = ending;
                return Ok(characters - u64::from(ending && characters > 0));
            }
        }
    }
}
