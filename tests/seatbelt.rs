//! The macOS backend as far as it can be held to its word without a Mac: the profiles, word for word; and what they allow, by a reading of their
//! language that knows nothing of how they were written.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests stand outside of the functions that clippy takes for tests"
)]

#[path = "seatbelt/evaluator.rs"]
mod evaluator;
#[path = "seatbelt/golden.rs"]
mod golden;
#[path = "seatbelt/moves.rs"]
mod moves;
#[path = "seatbelt/patterns.rs"]
mod patterns;
#[path = "seatbelt/profile.rs"]
mod profile;
#[path = "seatbelt/proxy.rs"]
mod proxy;
#[path = "seatbelt/reading.rs"]
mod reading;
#[path = "seatbelt/said.rs"]
mod said;
#[path = "seatbelt/settle.rs"]
mod settle;
#[path = "seatbelt/world.rs"]
mod world;
