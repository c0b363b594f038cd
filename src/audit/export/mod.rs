//! Records in the forms that other programs read. Each form takes one record at a time, so that memory stays flat.

mod csv;
pub mod deliver;
mod ocsf;
mod otlp;

use super::reading::Entry;

pub use csv::Csv;
pub use ocsf::{Tools, ocsf};
pub use otlp::{Otlp, Signal};

/// The record as it is.
pub fn jsonl(entry: &Entry) -> String {
    serde_json::to_string(&entry.fields).unwrap_or_default() + "\n"
}
