//! The lines of a log as bytes, read one at a time, whatever is in them and however long they are.

use std::io::{self, BufRead, Read};

/// The longest line that is read, in bytes, its line feed left out.
pub const LONGEST: u64 = 16 * 1024 * 1024;

/// What stands on a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Bytes<'a> {
    /// All of it, without its line feed.
    Whole(&'a [u8]),
    /// The last of a file, which has no line feed.
    Torn(&'a [u8]),
    /// It is longer than any record: so many bytes. They were passed over.
    TooLong(u64),
}

/// Reads the next line into `buffer`; `None` at the end.
///
/// # Errors
/// What the system says.
pub fn next<'a>(reader: &mut impl BufRead, buffer: &'a mut Vec<u8>) -> io::Result<Option<Bytes<'a>>> {
    buffer.clear();
    let read = reader.by_ref().take(LONGEST + 1).read_until(b'\n', buffer)? as u64;
    if read == 0 {
        return Ok(None);
    }
    if buffer.last() == Some(&b'\n') {
        buffer.pop();
        return Ok(Some(Bytes::Whole(buffer)));
    }
    if read <= LONGEST {
        return Ok(Some(Bytes::Torn(buffer)));
    }
    Ok(Some(Bytes::TooLong(read.saturating_add(skip(reader)?))))
}

/// Passes over what is left of a line; gives its bytes, the line feed left out.
fn skip(reader: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped: u64 = 0;
    loop {
        let buffer = reader.fill_buf()?;
        let end = memchr::memchr(b'\n', buffer);
        let (used, bytes) = end.map_or((buffer.len(), buffer.len()), |at| (at + 1, at));
        skipped = skipped.saturating_add(bytes as u64);
        reader.consume(used);
        if end.is_some() || used == 0 {
            return Ok(skipped);
        }
    }
}
