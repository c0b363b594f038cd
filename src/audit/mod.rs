//! The record of what was asked for, what was decided, and what came of it.

pub mod filter;
pub mod log;
pub mod reading;
pub mod record;

pub use log::{Log, LogError};
pub use record::{CallStatus, Denial, Event, Record, SCHEMA, SentImage};
