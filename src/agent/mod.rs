//! The loop: assemble, infer, invoke, respond, until the model calls no more tools.

pub mod budget;
pub mod cache;
mod calls;
pub mod compact;
pub mod event;
pub mod history;
pub mod interrupt;
pub mod ledger;
pub mod prefix;
pub mod prompt;
pub mod repeats;
pub mod rollout;
pub mod session;
pub mod turn;

pub use event::{Event, Observer};
pub use history::History;
pub use interrupt::Interrupt;
pub use prefix::Prefix;
pub use prompt::Prompt;
pub use session::{Session, SessionError};
pub use turn::{TurnError, TurnSummary};
