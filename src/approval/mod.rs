//! What a person has to decide.
//!
//! This version has no question to put: where a rule or a mode asks, the call is refused with the reason (as where there is no
//! terminal). What is here is the judgement that comes before.

pub mod command;

pub use command::{Judgement, judge};
