//! Policies: what a session may touch, written once.
//!
//! A policy file ([`mod@file`]) is checked value by value (`compile`), put on top of what it extends and merged with the machine's
//! and the repository's bounds ([`layers`]) into one [`Policy`]. That value is judged ([`judge`], [`command`]), told to the model
//! ([`prose`]), searched for probable mistakes ([`lint`]) and fingerprinted ([`canonical`]). All of it is pure data without a clock; [`mod@load`] alone reads files.

pub mod canonical;
pub mod case_file;
pub mod command;
mod compile;
pub mod error;
pub mod file;
pub mod grant;
pub mod groups;
pub mod host;
pub mod judge;
pub mod layers;
pub mod learn;
pub mod lint;
pub mod load;
pub mod model;
pub mod partial;
pub mod place;
pub mod prose;
pub mod schema;
pub mod sockets;
mod summary;
pub mod units;
pub mod wider;

pub use command::{CommandVerdict, Given, Reach, judge_command, reach};
pub use error::{Mark, PolicyError, Problem, is_hidden};
pub use grant::{Permission, Scope};
pub use groups::{Group, group, groups};
pub use judge::{Access, Anchors, Because, Judge, PathVerdict, Reason, hides, judge_path};
pub use load::{Search, check, load, preset, presets};
pub use model::{
    Ask, CommandRule, Decision, Detail, Enforcement, Environment, Filesystem, GitAccess, Layer, Limits, Network, NetworkMode, OnFailure,
    OnMissing, Origin, PathRule, Place, Policy, Recording,
};
pub use prose::{Claim, ClaimKind, Platform, claims, claims_on, render, render_in_mode, render_on};
pub use summary::summary;
pub use wider::{GRANTED, Wider};
