//! What the kernel is told, and the processes that tell it.
//!
//! [`plan`] turns a policy into absolute paths and numbers; it is pure. [`launcher`] is the agent's handle to the launcher process,
//! [`stage`] is that process, [`linux`] holds the ritual that each sandbox goes through, and [`macos`] the profile that stands for it on a Mac. The crate's only `unsafe` is in [`sys`].

#[cfg(target_os = "linux")]
pub mod linux;

pub(crate) mod follow;
#[cfg(any(test, not(target_os = "linux")))]
mod frame;
pub mod launcher;
pub mod macos;
pub mod message;
pub mod observing;
pub mod plan;
pub mod private;
#[cfg(target_os = "linux")]
pub mod stage;
#[cfg(target_os = "macos")]
pub use macos::stage;
pub mod sys;

#[cfg(not(target_os = "linux"))]
/// Linked worktrees and submodules are looked up on Linux alone: elsewhere their repository stays out of reach.
pub fn linked_repository(_workspace: &std::path::Path) -> Option<Linked> {
    None
}

/// What a policy's calls run without here, because the kernel lacks it and the policy accepts that.
pub fn lost(policy: &crate::policy::Policy) -> Option<&'static str> {
    #[cfg(target_os = "linux")]
    if policy.can_do_without_landlock() && sys::landlock_abi().is_err() {
        return Some(
            "this host has no Landlock, and the policy's on_missing = \"degrade\" accepts that: calls run with mounts, namespaces and the system call \
             filter alone",
        );
    }
    let _ = policy;
    None
}

pub use launcher::{Call, LaunchError, Launcher};
#[cfg(target_os = "linux")]
pub use linux::repository::linked as linked_repository;
pub use message::{Applied, EndedBy, Exit, FromSandbox, Launch, Program, RefusedCall, ToSandbox, Undone, UndoneKind};
pub use plan::{Access, Linked, Plan, PlanError, Root, Session};
