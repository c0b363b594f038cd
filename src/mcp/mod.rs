//! The Model Context Protocol.

pub mod client;
#[cfg(target_os = "linux")]
pub(crate) mod inside;
pub mod remote;
pub mod server;
