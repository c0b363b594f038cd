//! The first and the last records of a session.

use super::gate::{Gate, GateError};
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
