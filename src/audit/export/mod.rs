//! Records in the forms that other programs read. Each form takes one record at a time, so that memory stays flat.

mod csv;
pub mod deliver;
mod ocsf;
mod otlp;

use super::{reading::Entry, retention::erased};

pub use csv::Csv;
pub use ocsf::{Tools, ocsf};
pub use otlp::{Otlp, Signal};

/// The record as it was sealed, so that what is exported verifies. One that is not `wanted` is exported as if it had been erased, so that the chains
/// stay whole.
pub fn jsonl(entry: &Entry, wanted: bool) -> String {
    let mut this = entry.seq.into_iter().collect();
    let short = if wanted { None } else { erased(entry.line.as_bytes(), &mut this).and_then(|line| String::from_utf8(line).ok()) };
    short.unwrap_or_else(|| entry.line.clone()) + "\n"
}
