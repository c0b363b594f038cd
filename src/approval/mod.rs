//! What a person has to decide.
//!
//! The text of a shell command is read into simple commands ([`shell`]), programs that run other programs are opened ([`unwrap`]), what is worth knowing
//! of each is noted ([`facts`]), and the policy's rules are held against all of it ([`decision`]). Nothing in here opens or runs anything: the
//! binaries that names stand for are looked up beforehand ([`binding`]).
//!
//! How a rule matches words is the policy's own function ([`crate::policy::command::reach`]), which also checks a rule's examples when a policy is
//! loaded; this module adds the shell around the words. So an example cannot say one thing and a call another.
//!
//! This version has no question to put: where a rule or a mode asks, the call is refused with the reason (as where there is no
//! terminal). What is here is the judgement that comes before, with all that a question has to show.

pub mod binding;
pub mod builtin;
pub mod decision;
pub mod facts;
pub mod shell;
pub mod unwrap;

pub use binding::Binaries;
pub use decision::{Judged, JudgedCommand, Judgement, Level, Rules, judge};
