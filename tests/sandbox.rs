//! `portcullis sandbox` against the kernel that the tests run on. Most tests are pairs: what must work and what must not, each seen from
//! outside the sandbox.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests stand outside of the functions that clippy takes for tests"
)]

mod support;

#[path = "sandbox/concurrent.rs"]
mod concurrent;
#[path = "sandbox/files.rs"]
mod files;
#[path = "sandbox/git.rs"]
mod git;
#[path = "sandbox/grants.rs"]
mod grants;
#[path = "sandbox/host.rs"]
mod host;
#[path = "sandbox/limits.rs"]
mod limits;
#[path = "sandbox/network.rs"]
mod network;
#[path = "sandbox/processes.rs"]
mod processes;
#[path = "sandbox/protected.rs"]
mod protected;
#[path = "sandbox/relay.rs"]
mod relay;
#[path = "sandbox/surface.rs"]
mod surface;
#[path = "sandbox/sweep.rs"]
mod sweep;
#[path = "sandbox/terminal.rs"]
mod terminal;
#[path = "sandbox/worktrees.rs"]
mod worktrees;
