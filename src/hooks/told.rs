//! What a hook is told: one JSON object on standard input.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::file::When;
use crate::{
    audit::{CallStatus, Denial},
    policy::Policy,
};

/// The version of the object.
const VERSION: u32 = 1;
/// The most of a call's output that a hook is told, in bytes.
pub const OUTPUT_CAP: usize = 64 * 1024;

/// What it is about.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum About<'a> {
    /// A call that is about to run.
    Call {
        /// Its id.
        call: &'a str,
        /// The tool.
        tool: &'a str,
        /// Its arguments.
        arguments: &'a Value,
    },
    /// A call that has run.
    Ran {
        /// Its id.
        call: &'a str,
        /// The tool.
        tool: &'a str,
        /// Its arguments.
        arguments: &'a Value,
        /// How it ended.
        status: CallStatus,
        /// The exit code of a program.
        exit_code: Option<i32>,
        /// What the model is told of it, up to [`OUTPUT_CAP`].
        output: &'a str,
        /// What was refused.
        denials: &'a [Denial],
    },
    /// The session.
    Session {
        /// The workspace.
        workspace: &'a Path,
    },
}

#[derive(Debug, Serialize)]
struct Named {
    name: String,
    fingerprint: String,
}

/// See the module.
#[derive(Debug, Serialize)]
pub struct Told<'a> {
    v: u32,
    hook: When,
    session: &'a str,
    #[serde(flatten)]
    about: About<'a>,
    cwd: &'a Path,
    policy: Named,
}

impl<'a> Told<'a> {
    /// What a hook is told in a session that works under a policy.
    pub fn new(hook: When, session: &'a str, about: About<'a>, cwd: &'a Path, policy: &Policy) -> Self {
        let policy = Named { name: policy.name.clone(), fingerprint: policy.fingerprint() };
        Self { v: VERSION, hook, session, about, cwd, policy }
    }

    /// As it is written to the hook.
    ///
    /// # Errors
    /// Where a path is not UTF-8, which no JSON can hold.
    pub fn bytes(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// As much of a text as a hook is told.
pub fn output(text: &str) -> &str {
    let end = (OUTPUT_CAP.saturating_sub(3)..=OUTPUT_CAP).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or(text)
}
