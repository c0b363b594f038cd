//! The Model Context Protocol.

pub mod client;
pub mod server;
