//! The model's side of the loop: what is sent to a Responses endpoint, what comes back, and what happens when that fails.
//!
//! The module knows nothing of policies, tools or sandboxes. It turns a [`Head`] and a [`Conversation`] into the bytes of a
//! request, sends them with a [`Client`], and reports each finished item while the response still streams, so that a tool call can
//! start before the response has ended. [`scripted`] is a model that follows a script behind a real loopback server; `portcullis
//! demo` and the tests talk to it through the same client.
//!
//! Wire format: the streaming Responses API (<https://platform.openai.com/docs/api-reference/responses-streaming>), used
//! statelessly: nothing is stored by the provider, and reasoning comes back encrypted and is sent back byte for byte.

mod client;
mod compaction;
mod endpoint;
mod error;
mod event;
mod follow;
mod image;
mod item;
mod prices;
mod retry;
pub mod scripted;
mod settings;
mod sse;
mod text;
mod transport;
mod websocket;
mod wire;

pub use client::{Client, End, Progress, Reply};
pub use compaction::{Compacted, Method as CompactionMethod};
pub use endpoint::{Endpoint, Secret};
pub use error::ModelError;
#[cfg(target_os = "linux")]
pub(crate) use error::causes;
pub use event::StreamEvent;
pub use image::{Image, MediaType};
pub use item::{Item, ItemKind, MalformedItem, Usage};
pub use prices::{BadPrices, Prices};
pub use retry::Backoff;
pub use settings::{Features, Instructions, Providers, SETTINGS_CAP, Settings, SettingsError};
pub use sse::{EventStream, Limits, StreamFault};
#[cfg(test)]
pub(crate) use text::is_hidden;
pub use websocket::Transport;
pub use wire::{Conversation, EncodedHead, Head, Link, Style, Tool, clip};
