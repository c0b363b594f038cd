//! The real program from end to end: its arguments, a scripted model behind a real socket, the kernel's sandbox, its log and its exit codes.
//!
//! `PORTCULLIS_BIN` names another binary to be tested. Nothing here needs root, and nothing means something else to root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "helpers of tests stand outside of the functions that clippy takes for tests, and have to start the program"
)]

#[path = "exec/approver.rs"]
mod approver;
#[path = "exec/audit.rs"]
mod audit;
#[path = "exec/calls.rs"]
mod calls;
#[path = "exec/compaction.rs"]
mod compaction;
#[path = "exec/compared.rs"]
mod compared;
#[path = "exec/decisions.rs"]
mod decisions;
#[path = "exec/demo.rs"]
mod demo;
#[path = "exec/denials.rs"]
mod denials;
#[path = "exec/endings.rs"]
mod endings;
#[path = "exec/endpoints.rs"]
mod endpoints;
#[path = "exec/hosts.rs"]
mod hosts;
#[path = "exec/images.rs"]
mod images;
#[path = "exec/llama.rs"]
mod llama;
#[path = "exec/output.rs"]
mod output;
#[path = "exec/provider.rs"]
mod provider;
#[path = "exec/reach.rs"]
mod reach;
#[path = "exec/requests.rs"]
mod requests;
#[path = "exec/resuming.rs"]
mod resuming;
#[path = "exec/setup.rs"]
mod setup;
#[allow(dead_code, reason = "shared with suites that need more of it")]
#[path = "exec/support.rs"]
mod support;
#[path = "exec/task.rs"]
mod task;
#[path = "exec/warm.rs"]
mod warm;
