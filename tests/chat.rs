//! The interactive session in a real terminal (tmux), with a scripted model behind a real socket: what a person types, sees and is asked.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests stand outside of the functions that clippy takes for tests"
)]

#[allow(dead_code, reason = "shared with suites that need more of it")]
mod support;

#[path = "chat/driven.rs"]
mod driven;

#[path = "chat/commands.rs"]
mod commands;
#[path = "chat/endings.rs"]
mod endings;
#[path = "chat/hooks.rs"]
mod hooks;
#[path = "chat/images.rs"]
mod images;
#[path = "chat/kept.rs"]
mod kept;
#[path = "chat/questions.rs"]
mod questions;
#[path = "chat/servers.rs"]
mod servers;
#[path = "chat/trust.rs"]
mod trust;
#[path = "chat/turns.rs"]
mod turns;
