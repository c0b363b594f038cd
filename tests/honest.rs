//! Honest work: jobs that developers do every day, done by the real programs under `workspace-write`. Whatever fails here would make
//! a person turn the sandbox off. Each result is looked at from outside.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests stand outside of the functions that clippy takes for tests")]

#[allow(dead_code, reason = "shared with suites that need more of it")]
mod support;

#[path = "honest/files.rs"]
mod files;
#[path = "honest/git.rs"]
mod git;
#[path = "honest/go.rs"]
mod go;
#[path = "honest/java.rs"]
mod java;
#[path = "honest/job.rs"]
mod job;
#[path = "honest/kernel.rs"]
mod kernel;
#[path = "honest/keys.rs"]
mod keys;
#[path = "honest/locks.rs"]
mod locks;
#[path = "honest/memory.rs"]
mod memory;
#[path = "honest/native.rs"]
mod native;
#[path = "honest/network.rs"]
mod network;
#[path = "honest/node.rs"]
mod node;
#[path = "honest/python.rs"]
mod python;
#[path = "honest/rust.rs"]
mod rust;
#[path = "honest/shell.rs"]
mod shell;
#[path = "honest/sockets.rs"]
mod sockets;
#[path = "honest/submodules.rs"]
mod submodules;
#[path = "honest/system.rs"]
mod system;
#[path = "honest/terminals.rs"]
mod terminals;
#[path = "honest/worktrees.rs"]
mod worktrees;
