//! The JSON Schema of a record, from the very types that one is written from, for whoever reads logs with a program of their own.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Serialize;
use serde_json::Value;

use super::record::Record;
use crate::policy::schema::named;

/// The name of the schema of records, version 2.
pub const RECORD_ID: &str = "https://portcullis-agent.github.io/schema/record-2.json";

/// One line of a session's log. A reader ignores fields that it does not know.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "portcullis record")]
#[allow(dead_code, reason = "it stands for lines, of which none is made from it")]
enum Line {
    /// A record as it was written.
    Written(Box<Sealed>),
    /// A record whose content was erased: its digest stays.
    Erased(Erased),
}

/// A record with its seal.
#[derive(Serialize, JsonSchema)]
#[allow(dead_code, reason = "as above")]
struct Sealed {
    #[serde(flatten)]
    record: Record,
    /// HMAC-SHA-256 over the record and the `mac` of the line before, 32 bytes in hexadecimal.
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    mac: String,
}

/// What is left of an erased record.
#[derive(Serialize, JsonSchema)]
#[allow(dead_code, reason = "as above")]
struct Erased {
    /// The version of the schema.
    v: u32,
    /// Counts up from 0 without a gap within a session.
    seq: u64,
    /// The session, a UUID of version 7.
    session: String,
    /// Wall-clock time, RFC 3339 in UTC with milliseconds.
    time: String,
    /// Nanoseconds since the session began.
    monotonic_ns: u64,
    /// Always true.
    #[schemars(extend("const" = true))]
    erased: bool,
    /// SHA-256 over the record as it was written, 32 bytes in hexadecimal.
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    digest: String,
    /// The `mac` that the record was written with.
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    mac: String,
}

/// The schema of a record (JSON Schema 2020-12).
pub fn record() -> Value {
    named::<Line>(RECORD_ID, SchemaSettings::draft2020_12().for_serialize())
}
