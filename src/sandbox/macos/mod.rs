//! Enforcement on macOS: the same plan as a profile of Seatbelt's, for `sandbox-exec`(1).
//!
//! Everything but `stage` and `call` is compiled and tested on every system: what a plan comes to on a Mac can be read, and held against what it comes to
//! on Linux, without one. None of it has been run on a Mac.
//!
//! | module | what it holds |
//! |---|---|
//! | [`places`] | where the places of a plan lie without mounts |
//! | [`expression`] | names and patterns as expressions |
//! | [`services`] | what every program needs, each with its reason |
//! | [`profile`] | the profile |
//! | [`proxy`] | that of the proxy itself |
//! | [`settle`] | what links lead to |
//! | [`refusal`] | what cannot be said, with the reason |
//! | [`arguments`] | the arguments of `sandbox-exec`, and the environment |
//! | [`limits`] | ceilings by `setrlimit(2)` |
//! | `stage`, `call` | the launcher's side, and one call; on macOS alone |
//!
//! # What differs from Linux
//! *Stricter:* caches are read and not written; nothing is hard-linked or cloned; no repository, submodule or linked worktree is made, and no
//! rebase that stops in its middle; `[git] allow = "full"` is `commit`; patterns hold inside `node_modules` and in the private folders too, and
//! the folders that they spell out cannot be made; sockets are bound in private folders only; under an allow list there is no loopback but the
//! proxy's port. *Looser:* a loopback is the machine's; memory and disk space of a call are not bounded; a process that makes a session of its own
//! (setsid(2)) outlives its call; what a bare repository or a link in the workspace leads to is not looked for. `SECURITY.md` says what each
//! means.
//!
//! The layers that `[enforcement] require` names are those of Linux. Here Seatbelt takes the place of all three, it is always required, and
//! where `sandbox-exec` is missing nothing runs.

pub mod arguments;
#[cfg(target_os = "macos")]
mod call;
pub mod expression;
pub mod limits;
pub mod places;
pub mod profile;
pub mod proxy;
pub mod refusal;
pub mod services;
pub mod settle;
#[cfg(target_os = "macos")]
pub mod stage;
mod writer;
