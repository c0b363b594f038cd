//! What the model can call, and the one way by which a call is carried out.

mod access;
mod attach;
mod background;
pub mod capture;
mod confinement;
mod deciding;
pub mod denial;
pub mod diff;
pub mod explain;
mod explained;
mod file;
pub mod gate;
mod granted;
mod guest;
pub mod hooks;
mod limit;
mod live;
mod look;
mod outcome;
mod outputs;
mod recorded;
pub mod redact;
pub mod registry;
pub mod replay;
pub mod run;
mod shell;
pub mod verdict;
mod widening;

pub use access::absolute;
pub use attach::{AttachError, Attachment};
pub use background::BackgroundProgram;
pub use gate::{Gate, GateError, Live, Outcome};
pub use gate::{show_plan, told_of_mode};
pub use hooks::Began;
pub use outcome::VIEW_CHANGED;
pub use registry::{Invocation, PlanStep, StepStatus, definitions, parse};
