//! The decision on shell commands: what is understood of a text, what the rules make of it, and what a real bash then runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests may fail as tests do")]

#[allow(dead_code, reason = "it serves the tests of the real program too")]
mod support;

#[path = "approval/cases.rs"]
mod cases;
#[path = "approval/differential.rs"]
mod differential;
#[path = "approval/golden.rs"]
mod golden;
#[path = "approval/properties.rs"]
mod properties;
#[path = "approval/rules.rs"]
mod rules;
