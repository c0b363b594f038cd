//! `portcullis mcp serve` as other agents use it: over real pipes, with messages written by hand and with the official clients. What a call did is looked at from
//! outside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests may fail as tests do")]
#![allow(clippy::disallowed_methods, reason = "a test of the program starts the program")]

#[path = "mcp_serve/caller.rs"]
mod caller;
#[path = "mcp_serve/clients.rs"]
mod clients;
#[path = "mcp_serve/confined.rs"]
mod confined;
#[path = "mcp_serve/decided.rs"]
mod decided;
#[path = "mcp_serve/endings.rs"]
mod endings;
#[path = "mcp_serve/protocol.rs"]
mod protocol;
#[allow(dead_code, reason = "shared with suites that need more of it")]
mod support;
