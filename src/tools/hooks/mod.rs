//! Hooks where a session runs them: what each answers counts at its place, and each run of one is on record.

mod prepare;
mod run;

use std::{path::Path, sync::Arc};

use super::{
    gate::{Gate, GateError},
    outcome::Done,
};
use crate::{
    audit::{CallStatus, Event, Log},
    hooks::{self, About, Start, Told, When},
};

pub use prepare::{PrepareError, Prepared, prepare};
pub(super) use run::RegisteredHook;
pub use run::{Ran, run_once};

/// A call that hooks are about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) id: &'a str,
    pub(super) tool: &'a str,
    pub(super) arguments: &'a str,
}

/// What the hooks before a call come to.
#[derive(Debug)]
pub(super) enum Before {
    /// They have nothing against it.
    Goes,
    /// One of them wants the person to be asked.
    Asks { hook: String, because: String },
    /// One of them refuses it, or failed; in words that follow "Refused: ".
    Refuses(String),
}

/// What the hooks at a session's start come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Began {
    /// The session begins, and the model is told these texts.
    Goes(Vec<String>),
    /// It does not, and this is why.
    Refused(String),
}

/// Records the run of a hook, as interrupted if it is dropped before its end.
struct Recording {
    log: Arc<Log>,
    hook: String,
    on: When,
    call: Option<String>,
    done: bool,
}

impl Recording {
    fn end(mut self, status: CallStatus, duration_ms: u64, decision: Option<&str>, reason: Option<String>) -> Result<(), GateError> {
        self.done = true;
        self.append(status, duration_ms, decision, reason)
    }

    fn append(&self, status: CallStatus, duration_ms: u64, decision: Option<&str>, reason: Option<String>) -> Result<(), GateError> {
        let (hook, on, call) = (self.hook.clone(), self.on.word().to_owned(), self.call.clone());
        let decision = decision.map(str::to_owned);
        Ok(self.log.append(Event::Hook { hook, on, call, status, duration_ms, decision, reason })?)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if !self.done {
            let _ = self.append(CallStatus::Interrupted, 0, None, None);
        }
    }
}

impl Gate {
    /// With hooks. Neither the policy nor what was granted so far may let a call write what they run, and nothing that is asked for later will.
    ///
    /// # Errors
    /// If a call could, or the launcher does not take their plans.
    pub fn with_hooks(mut self, hooks: Vec<Prepared>) -> Result<Self, GateError> {
        for prepared in hooks {
            if let Some(path) = self.in_reach(&prepared.files) {
                return Err(GateError::HookInReach { hook: prepared.hook.origin, path });
            }
            self.hooks.push(RegisteredHook::new(&self.launcher, prepared)?);
        }
        Ok(self)
    }

    /// Whether something that a hook's answers depend on lies there.
    pub(super) fn is_of_hooks(&self, folder: &Path) -> bool {
        self.hooks.iter().any(|registered| registered.prepared.files.iter().any(|file| file.starts_with(folder)))
    }

    fn hooks_for<'a>(&'a self, on: When, tool: Option<&'a str>) -> impl Iterator<Item = &'a RegisteredHook> {
        self.hooks.iter().filter(move |registered| registered.prepared.hook.matches(on, tool))
    }

    /// Runs one, and records what came of it. `read` makes of its answer what counts, a word for the record, and a reason.
    async fn hook<T>(
        &self,
        registered: &RegisteredHook,
        about: About<'_>,
        call: Option<&str>,
        read: impl FnOnce(&[u8]) -> Result<(T, Option<&'static str>, Option<String>), String>,
    ) -> Result<Result<T, String>, GateError> {
        let hook = &registered.prepared.hook;
        let (name, call) = (hook.origin.clone(), call.map(str::to_owned));
        let recording = Recording { log: Arc::clone(&self.log), hook: name, on: hook.on, call: call.clone(), done: false };
        let told = Told::new(hook.on, self.log.session(), about, &self.cwd, &self.confinement().policy);
        let ran = match registered.run(&self.launcher, &self.cwd, &told).await {
            Ok(ran) => ran,
            Err(error) => {
                recording.end(CallStatus::Broken, 0, None, Some(self.redact(&error.to_string())))?;
                return Err(error.into());
            }
        };
        let Ran { status, duration_ms, answer, connections, connections_more, .. } = ran;
        let of_whom = call.as_deref().unwrap_or(&hook.origin);
        super::shell::record_connections(&self.log, &self.redactor, of_whom, connections, connections_more)?;
        let read = answer.and_then(|answer| read(&answer).map_err(|why| format!("its answer {why}")));
        match read {
            Ok((counts, decision, reason)) => {
                recording.end(status, duration_ms, decision, reason.map(|reason| self.redact(&reason)))?;
                Ok(Ok(counts))
            }
            Err(why) => {
                let status = if status == CallStatus::Ok { CallStatus::Failed } else { status };
                let why = self.redact(&why);
                recording.end(status, duration_ms, None, Some(why.clone()))?;
                Ok(Err(why))
            }
        }
    }

    /// Runs the hooks before a call, in order. The first that refuses, or fails, ends them.
    pub(super) async fn before_call(&self, call: &Call<'_>) -> Result<Before, GateError> {
        let mut before = Before::Goes;
        for registered in self.hooks_for(When::BeforeCall, Some(call.tool)) {
            let arguments = self.told_arguments(call.arguments);
            let about = About::Call { call: call.id, tool: call.tool, arguments: &arguments };
            let read = |output: &[u8]| {
                let answer = hooks::before_call(output)?;
                let (word, reason) = match &answer {
                    hooks::BeforeCall::Allow => ("allow", None),
                    hooks::BeforeCall::Ask(reason) => ("ask", Some(reason.clone())),
                    hooks::BeforeCall::Refuse(reason) => ("refuse", Some(reason.clone())),
                };
                Ok((answer, Some(word), reason))
            };
            let name = &registered.prepared.hook.origin;
            match self.hook(registered, about, Some(call.id), read).await? {
                Ok(hooks::BeforeCall::Allow) => {}
                Ok(hooks::BeforeCall::Ask(reason)) => {
                    if matches!(before, Before::Goes) {
                        let because = format!("the hook {name} asks: {}", self.redact(&reason));
                        before = Before::Asks { hook: name.clone(), because };
                    }
                }
                Ok(hooks::BeforeCall::Refuse(reason)) => {
                    return Ok(Before::Refuses(format!("the hook {name} says no: {}", self.redact(&reason))));
                }
                Err(why) => return Ok(Before::Refuses(format!("the hook {name}, which decides about it, failed: {why}"))),
            }
        }
        Ok(before)
    }

    /// Runs the hooks after a call, all of them. What they say is added to what the model is told; one that fails makes it a failure.
    pub(super) async fn after_call(&self, call: &Call<'_>, mut done: Done, text: &mut String) -> Result<Done, GateError> {
        let told = if self.hooks.is_empty() { String::new() } else { text.clone() };
        for registered in self.hooks_for(When::AfterCall, Some(call.tool)) {
            let arguments = self.told_arguments(call.arguments);
            let about = About::Ran {
                call: call.id,
                tool: call.tool,
                arguments: &arguments,
                status: done.status,
                exit_code: done.exit_code,
                output: hooks::output(&told),
                denials: &done.denials,
            };
            let name = &registered.prepared.hook.origin;
            match self.hook(registered, about, Some(call.id), |output| Ok((hooks::after_call(output)?, None, None))).await? {
                Ok(hooks::AfterCall { note: Some(note) }) => {
                    text.push_str(&format!("\n[portcullis] a note of the hook {name}: {}", self.redact(&note)));
                }
                Ok(hooks::AfterCall { note: None }) => {}
                Err(why) => {
                    if done.status == CallStatus::Ok {
                        done.status = CallStatus::Failed;
                    }
                    text.push_str(&format!(
                        "\n[portcullis] the call has run, and what it did is not undone, but it counts as failed: the hook {name}, which looks at \
                         what it did, failed: {why}"
                    ));
                }
            }
        }
        Ok(done)
    }

    /// Runs the hooks at a session's start, in order. The first that refuses, or fails, ends the session.
    ///
    /// # Errors
    /// If one cannot be recorded, or no sandbox can be made any more.
    pub async fn session_start(&self) -> Result<Began, GateError> {
        let mut contexts = Vec::new();
        for registered in self.hooks_for(When::SessionStart, None) {
            let read = |output: &[u8]| {
                let answer = hooks::session_start(output)?;
                let (word, reason) = match &answer {
                    Start::Goes(_) => (None, None),
                    Start::Refuse(reason) => (Some("refuse"), Some(reason.clone())),
                };
                Ok((answer, word, reason))
            };
            let name = &registered.prepared.hook.origin;
            match self.hook(registered, About::Session { workspace: &self.session.workspace }, None, read).await? {
                Ok(Start::Goes(None)) => {}
                Ok(Start::Goes(Some(context))) => contexts.push(self.redact(&context)),
                Ok(Start::Refuse(reason)) => return Ok(Began::Refused(format!("the hook {name} says no: {}", self.redact(&reason)))),
                Err(why) => return Ok(Began::Refused(format!("the hook {name} failed: {why}"))),
            }
        }
        Ok(Began::Goes(contexts))
    }

    /// Runs the hooks at a session's end, all of them, and says of those that failed why.
    ///
    /// # Errors
    /// As for [`Self::session_start`].
    pub async fn session_stop(&self) -> Result<Vec<String>, GateError> {
        let mut failed = Vec::new();
        for registered in self.hooks_for(When::SessionStop, None) {
            let about = About::Session { workspace: &self.session.workspace };
            let read = |output: &[u8]| Ok((hooks::session_stop(output)?, None, None));
            if let Err(why) = self.hook(registered, about, None, read).await? {
                failed.push(format!("at the end of the session the hook {} failed: {why}", registered.prepared.hook.origin));
            }
        }
        Ok(failed)
    }

    /// The arguments as they are told: without the secrets that the session knows.
    fn told_arguments(&self, arguments: &str) -> serde_json::Value {
        let arguments = self.redact(arguments);
        serde_json::from_str(&arguments).unwrap_or(serde_json::Value::String(arguments))
    }
}
