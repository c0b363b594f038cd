//! Servers of other people as guests of a session: each in a sandbox of its own, with the tools that a person has approved and no others.
//!
//! Nothing that a server says is trusted. Its list of tools is shown to a person once ([`lock`]), and what was approved then is what the model is told,
//! in that order and in those words, whatever the server says later. A server is started when it is first called, and ends with the session.

mod connection;
pub mod guest;
mod guests;
pub mod identity;
pub mod lock;
mod process;
mod progress;
mod reading;
pub mod settings;
pub mod tool;

pub use connection::Connection;
pub use guest::{Guest, GuestError, Reply};
pub use guests::{GuestCall, Guests};
pub use lock::{Approved, Lock, LockError, Reached};
pub use settings::{ServerSettings, Settings, Way};
