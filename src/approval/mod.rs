//! What a person has to decide.
//!
//! The text of a shell command is read into simple commands ([`shell`]), programs that run other programs are opened ([`unwrap`]), what is worth knowing
//! of each is noted ([`facts`]), and the policy's rules are held against all of it ([`decision`]). Nothing in here opens or runs anything: the
//! binaries that names stand for are looked up beforehand ([`binding`]).
//!
//! How a rule matches words is the policy's own function ([`crate::policy::command::reach`]), which also checks a rule's examples when a policy is
//! loaded; this module adds the shell around the words. So an example cannot say one thing and a call another.
//!
//! Where a rule or a mode asks, a [`question`] is put to whoever can answer it; what is answered for longer than one call is a [`Grant`].

pub mod approver;
pub mod binding;
pub mod builtin;
pub mod decision;
pub mod facts;
pub mod program;
pub mod question;
mod reading;
pub mod shell;
pub mod store;
pub mod trust;
pub mod unwrap;

pub use approver::{Approver, NoProgram};
pub use binding::Binaries;
pub use decision::{Judged, Judgement, Rules, judge};
pub use question::{Answer, Answered, Asker, By, Nobody, Question};
pub use reading::{JudgedCommand, Level};
pub use store::{Grant, Repository, Store, StoreError};

pub use crate::policy::{Permission, Scope, Wider};
