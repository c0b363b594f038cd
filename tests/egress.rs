//! The way out: what reaches a host that is listed, and what does not, seen from the servers' side.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests may fail as tests do")]
#![allow(clippy::disallowed_methods, reason = "a test of the program starts the program")]

#[path = "egress/clients.rs"]
mod clients;
#[path = "egress/names.rs"]
mod names;
#[path = "egress/proxy.rs"]
mod proxy;
#[path = "egress/stage.rs"]
mod stage;
#[allow(dead_code, reason = "shared with suites that need more of it")]
mod support;
#[path = "egress/tunnels.rs"]
mod tunnels;
#[path = "egress/without.rs"]
mod without;
