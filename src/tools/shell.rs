//! A shell command in a sandbox, and what its end is called.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    capture::Capture,
    confinement::Confinement,
    gate::{Gate, GateError},
    limit,
    live::Lines,
    outcome::{Done, VIEW_CHANGED, broken},
    recorded::milliseconds,
    redact::Redactor,
    run::{FLOOD, Finished, Output, run},
};
use crate::{
    audit::{CallStatus, Denial, Event, Log, LogError},
    egress::Connection,
    policy::{Limits, units::show_size},
    sandbox::{EndedBy, Program, message::Launch},
};

/// A command as the model gave it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Command<'a> {
    /// The call's id.
    pub(super) id: &'a str,
    pub(super) command: &'a str,
    pub(super) workdir: Option<&'a str>,
    pub(super) timeout_ms: Option<u64>,
}

impl Gate {
    /// The folder that a call names, or the session's.
    pub(super) fn folder(&self, workdir: Option<&str>) -> PathBuf {
        workdir.map_or_else(|| self.cwd.clone(), |folder| self.cwd.join(folder))
    }

    /// The launch of a shell command.
    pub(super) fn shell_launch(&self, plan: u32, what: &Command<'_>, confinement: &Confinement) -> Launch {
        Launch {
            plan,
            program: Program::Exec([self.shell, "-c", what.command].map(str::to_owned).to_vec()),
            environment: confinement.environment.clone(),
            cwd: self.folder(what.workdir),
            wall_ms: what.timeout_ms,
            terminal: None,
            terminal_streams: [false; 3],
        }
    }

    /// Runs a shell command to its end.
    pub(super) async fn shell(&self, what: &Command<'_>, confinement: &Confinement) -> Result<Done, GateError> {
        let limits = &self.policy.limits;
        let launch = self.shell_launch(confinement.plan, what, confinement);
        let cwd = launch.cwd.clone();
        let live = self.live.borrow().clone();
        let mut lines = live.map(|live| Lines::new(what.id, live, self.redactor.clone()));
        // What it has written until then, should it be interrupted.
        let written = Arc::new(Mutex::new(Capture::new(limits.output)));
        self.written.borrow_mut().insert(what.id.to_owned(), Arc::clone(&written));
        let mut watch = |bytes: &[u8]| {
            written.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
            if let Some(lines) = &mut lines {
                lines.push(bytes);
            }
        };
        let output = Output { watch: Some(&mut watch), ..Output::kept(limits.output) };
        let finished = run(&self.launcher, launch, None, output).await;
        self.written.borrow_mut().remove(what.id);
        let finished = match finished {
            Ok(finished) => finished,
            Err(error) => return broken(error),
        };
        if let Some(lines) = &mut lines {
            lines.finish();
        }
        let text = finished.output.redacted(&self.redactor);
        let (status, head) = ending(&finished, limits, what.timeout_ms);
        let Finished { exit, applied, output, connections, connections_more, .. } = finished;
        let mut denials = confinement.explainer.of_program(&text, &cwd, &exit.refused, status != CallStatus::Ok);
        // A host that the proxy refused says all that the program's own words could.
        let refused: BTreeSet<Denial> =
            connections.iter().filter_map(|connection| confinement.explainer.of_connection(connection)).collect();
        if !refused.is_empty() {
            denials.retain(|denial| denial.resource != "network");
        }
        denials.extend(refused);
        record_connections(&self.log, &self.redactor, what.id, connections, connections_more)?;
        denials.extend(exit.undone.iter().map(|undone| confinement.explainer.of_undone(undone)));
        let notes: String = limit::met(limits, &exit, &text).iter().map(|note| format!("\n[portcullis] {note}")).collect();
        let shown = self.shown(text, output.gap());
        Ok(Done {
            text: if shown.is_empty() { format!("{head}\n(no output){notes}") } else { format!("{head}\nOutput:\n{shown}{notes}") },
            status,
            exit_code: Some(exit.shell_code()),
            denials,
            output_bytes: output.total(),
            peak_bytes: Some(exit.peak_bytes),
            applied: Some(applied),
            refused: exit.refused,
            plan: None,
            image: None,
        })
    }
}

/// Records what a call connected to.
pub(super) fn record_connections(
    log: &Log,
    redactor: &Redactor,
    call: &str,
    connections: Vec<Connection>,
    more: u64,
) -> Result<(), LogError> {
    for mut connection in connections {
        // A name can be made to carry what must not go out, and be refused; the record of that is not to hold it either.
        connection.target = redactor.redact(&connection.target);
        log.append(Event::connection(call, connection))?;
    }
    if more > 0 {
        log.append(Event::ConnectionsMore { call: call.to_owned(), more })?;
    }
    Ok(())
}

/// How a program ended, in a word and in a sentence.
pub(super) fn ending(finished: &Finished, limits: &Limits, timeout_ms: Option<u64>) -> (CallStatus, String) {
    let exit = &finished.exit;
    if finished.flooded {
        let text = format!("Ended: it wrote more than {FLOOD} times the policy's limit on output ({} bytes).", limits.output);
        return (CallStatus::Limit, text);
    }
    match (exit.ended_by, exit.signal) {
        (Some(EndedBy::Wall), _) => {
            let limit = timeout_ms.unwrap_or(u64::MAX).min(milliseconds(limits.wall));
            (CallStatus::Limit, format!("Ended after {limit} ms: the limit on time, timeout_ms or [limits] wall."))
        }
        (Some(EndedBy::Memory), _) => {
            let limit = show_size(limits.memory);
            (CallStatus::Limit, format!("Ended, because its processes took more than {limit} of memory: [limits] memory."))
        }
        (Some(EndedBy::HostMemory), _) => {
            (CallStatus::Limit, "Ended by the machine, which had no more memory for it; the policy's limit was not reached.".to_owned())
        }
        (Some(EndedBy::Disk), _) => {
            let limit = show_size(limits.disk);
            (CallStatus::Limit, format!("Ended, because it took more than {limit} of disk space: [limits] disk."))
        }
        (Some(EndedBy::ViewChanged), _) => (CallStatus::Limit, format!("It was {VIEW_CHANGED}.")),
        (None, Some(signal)) => (CallStatus::Failed, format!("Ended by signal {signal}.")),
        (None, None) => {
            let code = exit.shell_code();
            (if code == 0 { CallStatus::Ok } else { CallStatus::Failed }, format!("Exit code: {code}"))
        }
    }
}
