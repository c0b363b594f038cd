//! MCP servers as guests of sessions: the real program, a scripted model, and servers that mean harm. What a server may not do is looked for from outside.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "helpers of tests stand outside of the functions that clippy takes for tests, and have to start the program"
)]

#[path = "exec/support.rs"]
#[allow(dead_code, reason = "it is shared with the tests of exec")]
mod support;

#[path = "mcp/approving.rs"]
mod approving;
#[path = "mcp/calling.rs"]
mod calling;
#[path = "mcp/conformance.rs"]
mod conformance;
#[path = "mcp/guests.rs"]
mod guests;
#[path = "mcp/harm.rs"]
mod harm;
#[path = "mcp/prefix.rs"]
mod prefix;
#[path = "mcp/published.rs"]
mod published;
#[path = "mcp/remote.rs"]
mod remote;
