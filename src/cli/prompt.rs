//! `portcullis prompt`: what the model is told before a person says anything.

use std::path::Path;

use super::{exec::ExecError, exit::Exit, mcp, output, report, resolve};
use crate::{
    agent::{Prefix, SessionError, session::read_prefix},
    audit::Log,
    sandbox::Launcher,
    tools::{Gate, redact::Redactor},
};

/// Prints the whole prefix, or its hash alone.
pub(super) fn run(workspace: Option<&Path>, policy: Option<&str>, hash_only: bool) -> Exit {
    let prefix = match assemble(workspace, policy) {
        Ok(prefix) => prefix,
        Err(error) => {
            report(&error);
            return error.exit();
        }
    };
    let text = if hash_only {
        format!("{}\n", prefix.hash())
    } else {
        let mut text = String::new();
        for segment in prefix.constant().into_iter().chain([prefix.environment()]) {
            text.push_str(&format!("=== {} ({} bytes)\n{}\n\n", segment.name, segment.text.len(), segment.text.trim_end()));
        }
        text.push_str(&format!("=== hash of all but the environment\n{}\n", prefix.hash()));
        text
    };
    output::print(&text).map_or_else(|exit| exit, |()| Exit::Success)
}

/// As a session does it: instruction files are read in a sandbox. The log of the reading lies in the session's private folder.
fn assemble(workspace: Option<&Path>, policy: Option<&str>) -> Result<Prefix, ExecError> {
    let folders = resolve::Folders::from_environment();
    let resolved = resolve::resolve(workspace, policy, &folders)?;
    let launcher = Launcher::start()?;
    let log = Log::passing(&resolved.session.private.join("log"), "prompt").map_err(SessionError::from)?;
    let gate = Gate::new(
        launcher,
        log,
        resolved.policy.clone(),
        &resolved.plan,
        resolved.session.clone(),
        resolved.cwd.clone(),
        Redactor::default(),
    )
    .map_err(SessionError::from)?
    .with_guests(mcp::guests::guests(&resolved.session, &folders).map_err(SessionError::from)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ExecError::Runtime)?;
    Ok(runtime.block_on(read_prefix(&gate))?)
}
