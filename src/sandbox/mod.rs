//! What the kernel is told, and the processes that tell it.
//!
//! [`plan`] turns a policy into absolute paths and numbers; it is pure. [`launcher`] is the agent's handle to the launcher process,
//! [`stage`] is that process, and [`linux`] holds the ritual that each sandbox goes through. The crate's only `unsafe` is in [`sys`].

#[cfg(target_os = "linux")]
pub mod linux;

pub mod launcher;
pub mod message;
pub mod plan;
#[cfg(target_os = "linux")]
pub mod stage;
pub mod sys;

pub use launcher::{Call, LaunchError, Launcher};
pub use message::{Applied, EndedBy, Exit, FromSandbox, Launch, Program, ToSandbox};
pub use plan::{Access, Plan, PlanError, Root, Session};
