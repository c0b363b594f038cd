//! A session's file read line by line, so that it takes no more memory than the conversation itself.

use std::{
    io::{self, BufRead, BufReader, Read as _, Seek, Write},
    path::Path,
};

use super::{Header, Line, RolloutError, VERSION};
use crate::model::Conversation;

/// The longest file that is taken up again, in bytes.
const CAP: u64 = 4 * 1024 * 1024 * 1024;
/// The longest line in bytes: an item with a few images.
const LINE_CAP: u64 = 64 * 1024 * 1024;

/// What was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) header: Header,
    pub(super) conversation: Conversation,
    /// Bytes of the whole lines. What broke off at the end is not among them.
    pub(super) length: u64,
}

/// Why a file cannot be read.
#[derive(Debug)]
pub(super) enum Unreadable {
    System(io::Error),
    Malformed(String),
}

impl Unreadable {
    pub(super) fn of(self, path: &Path) -> RolloutError {
        let path = path.to_path_buf();
        match self {
            Self::System(source) => RolloutError::System { path, doing: "read", source },
            Self::Malformed(why) => RolloutError::Malformed { path, why },
        }
    }
}

/// Reads whole lines to the end. The error names the line.
pub(super) fn read(file: &mut impl io::Read) -> Result<Read, Unreadable> {
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    let mut line = Vec::new();
    let (mut header, mut conversation, mut length, mut number) = (None, Conversation::new(), 0, 0_u64);
    while whole_line(&mut reader, &mut line, number + 1)? {
        number += 1;
        length += line.len() as u64;
        if length > CAP {
            return Err(Unreadable::Malformed(format!("it is longer than {CAP} bytes")));
        }
        let malformed = |error: serde_json::Error| Unreadable::Malformed(format!("line {number}: {error}"));
        if header.is_none() {
            let read: Header = serde_json::from_slice(&line).map_err(malformed)?;
            if read.v != VERSION {
                let why = format!("line 1: it is of version {}, and this program knows {VERSION}", read.v);
                return Err(Unreadable::Malformed(why));
            }
            header = Some(read);
            continue;
        }
        match serde_json::from_slice(&line).map_err(malformed)? {
            Line::Item(raw) => conversation.push_raw(raw),
            Line::Forget(count) | Line::Compact(count) => conversation.take_back(count),
            Line::Turn(_) => {}
        }
    }
    let none = || Unreadable::Malformed("line 1: it is empty, or broke off in its first line; nothing was said in it yet".to_owned());
    Ok(Read { header: header.ok_or_else(none)?, conversation, length })
}

/// The next line with its end; false where there is no whole one any more.
fn whole_line(reader: &mut impl BufRead, line: &mut Vec<u8>, number: u64) -> Result<bool, Unreadable> {
    line.clear();
    let mut limited = reader.take(LINE_CAP + 1);
    limited.read_until(b'\n', line).map_err(Unreadable::System)?;
    if line.len() as u64 > LINE_CAP {
        return Err(Unreadable::Malformed(format!("line {number}: it is longer than {LINE_CAP} bytes")));
    }
    Ok(line.last() == Some(&b'\n'))
}

/// Copies all lines but the first, up to so many bytes from the beginning.
pub(super) fn copy_lines(from: &mut (impl io::Read + Seek), length: u64, to: &mut impl Write) -> Result<(), Unreadable> {
    from.rewind().map_err(Unreadable::System)?;
    let mut reader = BufReader::new(from).take(length);
    let mut first = Vec::new();
    reader.read_until(b'\n', &mut first).map_err(Unreadable::System)?;
    io::copy(&mut reader, to).map(drop).map_err(Unreadable::System)
}
