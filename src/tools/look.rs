//! A look of the person's own at the workspace: in a sandbox, because a repository's settings can name programs, and on record as any call.

use std::time::Instant;

use super::{
    gate::{Gate, GateError},
    outcome::{Done, broken},
    recorded::milliseconds,
    run::{Output, run},
    shell,
};

impl Gate {
    /// Runs a look of the person's own at the workspace, confined and on record as any call, and gives what it wrote. The model sees nothing of it.
    ///
    /// # Errors
    /// If it cannot be recorded, or no sandbox can be made.
    pub async fn look(&self, name: &str, command: &str) -> Result<String, GateError> {
        let id = self.record_own_call(name, command.to_owned())?;
        let began = Instant::now();
        let what = shell::Command { id: &id, command, workdir: None, timeout_ms: None };
        let confinement = self.confinement();
        let launch = self.shell_launch(confinement.plan, &what, &confinement);
        let (text, done) = match run(&self.launcher, launch, None, Output::kept(self.policy.limits.output)).await {
            Ok(finished) => {
                let text = finished.output.redacted(&self.redactor);
                let (status, _) = shell::ending(&finished, &self.policy.limits, None);
                let (exit_code, output_bytes) = (Some(finished.exit.shell_code()), finished.output.total());
                let done = Done { status, exit_code, output_bytes, applied: Some(finished.applied), ..Done::ok(String::new()) };
                (text, done)
            }
            Err(error) => {
                let done = broken(error)?;
                (done.text.clone(), done)
            }
        };
        self.record_outcome(&id, milliseconds(began.elapsed()), &done)?;
        Ok(text)
    }
}
