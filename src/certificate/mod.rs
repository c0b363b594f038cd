//! Each statement of a policy, tried against the kernel of this machine in real sandboxes, as a certificate.
//!
//! Statements are tried twice where they can be: on the places themselves, which nothing changes (`host`), and on a workspace and home folder of
//! the same shape that are made for the run and in which everything the policy names is planted (`scratch`). The person's workspace is only
//! looked at for its shape.
//!
//! | file | what it holds |
//! |---|---|
//! | `step`, `inside` | what runs inside a sandbox |
//! | `scratch` | what is made for the run |
//! | `files`, `process` | from a policy to what is tried, and what that shows |
//! | `run` | the sandboxes of a run |
//! | `document`, `canonical` | the certificate |

pub mod canonical;
pub mod document;
mod files;
pub mod inside;
mod process;
mod run;
pub mod scratch;
pub mod step;

pub use document::{Statement, Subject, Verdict};
pub use run::{Options, VerifyError, run};
pub use step::{Answer, Step};
