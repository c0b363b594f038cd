//! What the model can call, and the one way by which a call is carried out.

mod access;
pub mod capture;
mod confinement;
pub mod denial;
pub mod gate;
mod limit;
pub mod redact;
pub mod registry;
pub mod run;

pub use gate::{Gate, GateError, Outcome};
pub use registry::{Invocation, definitions};
