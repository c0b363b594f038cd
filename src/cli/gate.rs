//! The gate of a session that is about to begin, the same for whoever makes the calls.

use super::{exit::Exit, resolve::Resolved};
use crate::{
    agent::SessionError,
    approval::Store,
    audit::Log,
    policy::Ask,
    sandbox::Launcher,
    tools::{Gate, GateError, redact::Redactor},
};

/// Starts the launcher, opens the log, and takes over what was granted before. The id is the session's.
pub(super) fn open(
    resolved: &Resolved,
    secrets: impl IntoIterator<Item = String>,
    ask: Option<Ask>,
) -> Result<(String, Gate), SessionError> {
    let Resolved { policy, plan, session, cwd, .. } = resolved;
    // Before any event loop and its threads: the launcher must start small.
    let launcher = Launcher::start()?;
    let id = uuid::Uuid::now_v7().to_string();
    let log = Log::create(&session.state, &id, &policy.recording)?;
    let gate = Gate::new(launcher, log, policy.clone(), plan, session.clone(), cwd.clone(), Redactor::new(secrets))?
        .with_grants(Store::new(&session.state))?;
    let gate = match ask {
        Some(ask) => gate.in_mode(ask),
        None => gate,
    };
    Ok((id, gate))
}

/// The exit code for a call that could not even be answered.
pub(super) fn exit(error: &GateError) -> Exit {
    match error {
        GateError::Log(_) | GateError::Grants(_) => Exit::Output,
        GateError::Launch(_) => Exit::Sandbox,
        GateError::Stopped => Exit::Failure,
        GateError::ApproverInReach { .. } => Exit::Usage,
        GateError::HookInReach { .. } => Exit::Policy,
    }
}
