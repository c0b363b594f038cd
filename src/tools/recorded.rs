//! What the gate writes to the log: the first and the last records of a session, and those of each call.

use std::time::Duration;

use super::{
    deciding::Settled,
    gate::{Gate, GateError},
    outcome::Done,
};
use crate::audit::{Event, LogError};
#[cfg(target_os = "linux")]
use crate::certificate;

impl Gate {
    /// Writes down that the session begins: what confines it, and who makes the calls.
    ///
    /// # Errors
    /// If it cannot be recorded.
    pub fn record_session(&self, endpoint: &str, model: &str) -> Result<(), GateError> {
        let fingerprint = self.policy.fingerprint();
        self.log.append(Event::SessionStart {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uid: nix::unistd::getuid().as_raw(),
            pid: std::process::id(),
            workspace: self.session.workspace.display().to_string(),
            policy: self.policy.name.clone(),
            fingerprint: fingerprint.clone(),
            sources: self.policy.sources.clone(),
            endpoint: endpoint.to_owned(),
            model: model.to_owned(),
        })?;
        self.log.append(Event::Policy {
            fingerprint: fingerprint.clone(),
            canonical: self.policy.canonical(),
            notes: self.policy.notes.clone(),
        })?;
        #[cfg(target_os = "linux")]
        if let Some(certificate) = certificate::document::kept(&self.session.state, &fingerprint) {
            self.log.append(Event::Certificate { certificate })?;
        }
        self.record_beginning()
    }

    /// Records what was decided on a call, before any of it is done.
    pub(super) fn record_intent(&self, id: &str, name: &str, arguments: &str, settled: &Settled) -> Result<(), LogError> {
        let (decision, rule) = match &settled.invocation {
            Ok(_) => ("allow", settled.rule.clone()),
            Err(reason) => ("refuse", Some(reason.clone())),
        };
        self.log.append(Event::CallIntent {
            call: id.to_owned(),
            tool: self.redact(name),
            arguments: self.redact(settled.arguments.as_deref().unwrap_or(arguments)),
            decision: decision.to_owned(),
            decided_by: settled.decided_by.to_owned(),
            rule: rule.map(|rule| self.redact(&rule)),
            opaque: settled.opaque.as_ref().map(|what| self.redact(what)),
        })
    }

    /// Records a call that the person makes for themselves, and gives its id.
    pub(super) fn record_own_call(&self, tool: &str, arguments: String) -> Result<String, LogError> {
        let call = format!("person_{}", uuid::Uuid::now_v7().simple());
        self.log.append(Event::CallIntent {
            call: call.clone(),
            tool: tool.to_owned(),
            arguments,
            decision: "allow".to_owned(),
            decided_by: "person".to_owned(),
            rule: None,
            opaque: None,
        })?;
        Ok(call)
    }

    /// Records what came of a call.
    pub(super) fn record_outcome(&self, id: &str, duration_ms: u64, done: &Done) -> Result<(), LogError> {
        self.log.append(Event::CallOutcome {
            call: id.to_owned(),
            status: done.status,
            exit_code: done.exit_code,
            duration_ms,
            output_bytes: done.output_bytes,
            peak_bytes: done.peak_bytes,
            applied: done.applied.clone(),
            denials: done.denials.clone(),
            refused_calls: done.refused.clone(),
            image: done.image.as_ref().map(|decoded| decoded.record.clone()),
        })
    }

    /// Writes the end of the session. What runs in the background ends with it, and logs that are old go.
    ///
    /// # Errors
    /// If it cannot be recorded.
    pub fn close(&self) -> Result<(), LogError> {
        self.record_ends()?;
        self.log.prune();
        self.log.close()
    }
}

/// A time as records have it.
pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
