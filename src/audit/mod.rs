//! The record of what was asked for, what was decided, and what came of it.

pub mod chain;
pub mod export;
pub mod filter;
pub mod keys;
pub mod ledger;
pub mod line;
pub mod log;
mod metadata;
pub mod questions;
pub mod reading;
pub mod record;
mod remembered;
pub mod report;
pub mod retention;
pub mod schema;
pub mod sentence;
mod shapes;
pub mod verify;
pub mod walk;

pub use keys::{Key, KeyError, Keys};
pub use log::{Log, LogError};
pub use record::{CallStatus, Cause, Denial, Event, Record, SCHEMA, SentImage};
pub use shapes::looks_secret;
