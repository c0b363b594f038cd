//! Programs of the person's that have a say before and after calls, and at a session's start and stop: what the file `hooks.toml` says of them, what
//! they are told, and how their answers are read.
//!
//! Pure: running them is the gate's ([`crate::tools`]), in a sandbox as everything else. A hook can make a decision stricter, never laxer.

mod answer;
mod file;
mod told;

pub use answer::{ANSWER_CAP, AfterCall, BeforeCall, Start, after_call, before_call, session_start, session_stop};
pub use file::{DEFAULT_POLICY, Hook, When, read};
pub use told::{About, OUTPUT_CAP, Told, output};
