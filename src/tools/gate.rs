//! The one way by which a call of the model's is carried out: classify → decide → record → launch → record → redact.

use std::{cell::Cell, os::unix::fs::OpenOptionsExt, path::PathBuf, time::Instant};

use super::{
    capture::shorten,
    denial::Explainer,
    redact::Redactor,
    registry::{Invocation, PlanStep, StepStatus, parse},
    run::{FLOOD, Finished, run},
};
use crate::{
    approval::{Judgement, judge},
    audit::{CallStatus, Denial, Event, Log, LogError},
    policy::Policy,
    sandbox::{
        Applied, EndedBy, LaunchError, Launcher, Plan, Program, Session,
        message::{Launch, MessageError},
        plan::INSIDE_OUTPUTS,
    },
    worker::{Reply, Request},
};

/// Why a call could not even be answered. All of these end the run.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The record of it could not be written, so it was not carried out.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The launcher is gone or refuses to make any sandbox.
    #[error(transparent)]
    Launch(#[from] LaunchError),
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What the model is told.
    pub text: String,
    /// How it ended.
    pub status: CallStatus,
    /// The exit code of a program.
    pub exit_code: Option<i32>,
    /// What was refused.
    pub denials: Vec<Denial>,
    /// Wall-clock milliseconds.
    pub duration_ms: u64,
    /// The plan, where the call changed it.
    pub plan: Option<Vec<PlanStep>>,
}

/// The gate of a session.
#[derive(Debug)]
pub struct Gate {
    launcher: Launcher,
    log: Log,
    policy: Policy,
    session: Session,
    cwd: PathBuf,
    shell: &'static str,
    environment: Vec<(String, String)>,
    plan: u32,
    read_only: u32,
    explainer: Explainer,
    redactor: Redactor,
    outputs: Cell<u32>,
}

/// What is said of a call whose view was changed from outside.
pub const VIEW_CHANGED: &str = "ended, because somebody outside replaced or removed a protected or denied place while it ran; run it again";
/// Wall-clock limit of a built-in file tool, within the policy's.
const WORKER_WALL_MS: u64 = 60_000;
/// What is kept of a worker's reply: more than it may ever be.
const REPLY_CAP: u64 = 8 * 1024 * 1024;

impl Gate {
    /// Registers the plan with the launcher.
    pub fn new(
        launcher: Launcher,
        log: Log,
        policy: Policy,
        plan: &Plan,
        session: Session,
        cwd: PathBuf,
        redactor: Redactor,
    ) -> Result<Self, GateError> {
        let full = launcher.register(plan.clone())?;
        let read_only = launcher.register(plan.read_only())?;
        let environment = plan.environment(&policy, &session);
        let explainer = Explainer::new(&policy, &session);
        let shell = if ["/bin/bash", "/usr/bin/bash"].iter().any(|path| std::path::Path::new(path).exists()) { "bash" } else { "sh" };
        Ok(Self {
            launcher,
            log,
            policy,
            session,
            cwd,
            shell,
            environment,
            plan: full,
            read_only,
            explainer,
            redactor,
            outputs: Cell::new(0),
        })
    }

    /// The log that the gate writes.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The session's facts.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Where calls start.
    pub fn cwd(&self) -> &std::path::Path {
        &self.cwd
    }

    /// A text without the secrets that this session knows.
    pub fn redact(&self, text: &str) -> String {
        self.redactor.redact(text)
    }

    /// Whether a call may run beside others: it makes sense, and only reads.
    pub fn only_reads(name: &str, arguments: &str) -> bool {
        parse(name, arguments).is_ok_and(|invocation| invocation.only_reads())
    }

    /// Carries out one call and says what the model is to be told. Only what ends the run is an error.
    pub async fn call(&self, id: &str, name: &str, arguments: &str) -> Result<Outcome, GateError> {
        let began = Instant::now();
        let decided = self.decide(name, arguments);
        let (decision, decided_by, rule) = match &decided {
            Ok((_, rule)) => ("allow", if rule.is_some() { "rule" } else { "policy" }, rule.clone()),
            Err(refusal) => ("refuse", refusal.decided_by, Some(refusal.reason.clone())),
        };
        self.log.append(Event::CallIntent {
            call: id.to_owned(),
            tool: name.to_owned(),
            arguments: self.redactor.redact(arguments),
            decision: decision.to_owned(),
            decided_by: decided_by.to_owned(),
            rule,
        })?;
        let done = match decided {
            Err(refusal) => Done::refused(refusal.text()),
            Ok((Invocation::UpdatePlan(plan), _)) => Done { plan: Some(plan.clone()), ..Done::ok(show_plan(&plan)) },
            Ok((Invocation::Shell { command, workdir, timeout_ms }, _)) => self.shell(&command, workdir.as_deref(), timeout_ms).await?,
            Ok((Invocation::File(request), _)) => self.file(&request).await?,
        };
        let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut text = self.redactor.redact(&done.text);
        for denial in &done.denials {
            text.push_str(&format!("\n[portcullis] {}", denial.sentence()));
        }
        self.log.append(Event::CallOutcome {
            call: id.to_owned(),
            status: done.status,
            exit_code: done.exit_code,
            duration_ms,
            output_bytes: done.output_bytes,
            peak_bytes: done.peak_bytes,
            applied: done.applied,
            denials: done.denials.clone(),
        })?;
        Ok(Outcome { text, status: done.status, exit_code: done.exit_code, denials: done.denials, duration_ms, plan: done.plan })
    }

    fn decide(&self, name: &str, arguments: &str) -> Result<(Invocation, Option<String>), Refusal> {
        let invocation = parse(name, arguments).map_err(|reason| Refusal { decided_by: "arguments", reason })?;
        let judged = match &invocation {
            Invocation::Shell { command, .. } => judge(&self.policy, command),
            // A plan is a note; it touches nothing.
            Invocation::UpdatePlan(_) => Judgement::Allow { rule: None },
            Invocation::File(_) => judge(&self.policy, ""),
        };
        match judged {
            Judgement::Allow { rule } => Ok((invocation, rule.map(|rule| rule.origin.to_string()))),
            Judgement::Forbid { reason } => {
                Err(Refusal { decided_by: "rule", reason: format!("the policy forbids this command: {reason}") })
            }
            Judgement::Ask { reason } => Err(Refusal {
                decided_by: "rule",
                reason: format!("a person would have to approve this, and none can be asked here: {reason}"),
            }),
        }
    }

    async fn shell(&self, command: &str, workdir: Option<&str>, timeout_ms: Option<u64>) -> Result<Done, GateError> {
        let cwd = workdir.map_or_else(|| self.cwd.clone(), |folder| self.cwd.join(folder));
        let launch = Launch {
            plan: self.plan,
            program: Program::Exec([self.shell, "-c", command].map(str::to_owned).to_vec()),
            environment: self.environment.clone(),
            cwd: cwd.clone(),
            wall_ms: timeout_ms,
            terminal: None,
            terminal_streams: [false; 3],
        };
        let finished = match run(&self.launcher, launch, None, self.policy.limits.output).await {
            Ok(finished) => finished,
            Err(error) => return broken(error),
        };
        let Finished { exit, applied, output, flooded } = finished;
        let text = self.redactor.redact(&output.text());
        let code = exit.shell_code();
        let (status, head) = if flooded {
            (
                CallStatus::Limit,
                format!("Ended: it wrote more than {FLOOD} times the policy's limit on output ({} bytes).", self.policy.limits.output),
            )
        } else if exit.ended_by == Some(EndedBy::Wall) {
            let limit = timeout_ms.unwrap_or(u64::MAX).min(u64::try_from(self.policy.limits.wall.as_millis()).unwrap_or(u64::MAX));
            (CallStatus::Limit, format!("Ended after {limit} ms: the limit on time, timeout_ms or [limits] wall."))
        } else if exit.ended_by == Some(EndedBy::ViewChanged) {
            (CallStatus::Limit, format!("It was {VIEW_CHANGED}."))
        } else if let Some(signal) = exit.signal {
            (CallStatus::Failed, format!("Ended by signal {signal}."))
        } else {
            (if code == 0 { CallStatus::Ok } else { CallStatus::Failed }, format!("Exit code: {code}"))
        };
        let denials =
            if status == CallStatus::Ok && text.is_empty() { Vec::new() } else { self.explainer.of_program(command, &text, &cwd) };
        let shown = self.shown(text, output.gap());
        Ok(Done {
            text: if shown.is_empty() { format!("{head}\n(no output)") } else { format!("{head}\nOutput:\n{shown}") },
            status,
            exit_code: Some(code),
            denials,
            output_bytes: output.total(),
            peak_bytes: Some(exit.peak_bytes),
            applied: Some(applied),
            plan: None,
        })
    }

    /// Serves a file tool in a sandbox of its own.
    async fn file(&self, request: &Request) -> Result<Done, GateError> {
        let (reply, finished) = match self.serve(request).await {
            Ok(served) => served,
            Err(error) => return broken(error),
        };
        let (applied, peak_bytes) = (Some(finished.applied), Some(finished.exit.peak_bytes));
        let Some(reply) = reply else {
            let how = match (finished.exit.ended_by, finished.exit.signal) {
                (Some(EndedBy::Wall), _) => "it took too long".to_owned(),
                (Some(EndedBy::ViewChanged), _) => format!("it was {VIEW_CHANGED}"),
                (None, Some(signal)) => format!("it was ended by signal {signal}"),
                (None, None) => "it ended without an answer".to_owned(),
            };
            return Ok(Done {
                status: CallStatus::Broken,
                applied,
                peak_bytes,
                ..Done::ok(format!("Error: the tool did not answer: {how}."))
            });
        };
        let denials = self.explainer.of_worker(&reply, &self.cwd);
        let (text, status) = match reply {
            Reply::Ok { text, .. } => (text, CallStatus::Ok),
            Reply::Refused { message, .. } => (format!("Error: {message}"), CallStatus::Failed),
        };
        let output_bytes = text.len() as u64;
        Ok(Done { text: self.shown(text, 0), status, exit_code: None, denials, output_bytes, peak_bytes, applied, plan: None })
    }

    /// Sends a request to a worker in a sandbox; no answer at all is `None`. Also how the agent itself reads instruction files, whose
    /// names are relative to the workspace, so that they are the same wherever a session starts.
    pub async fn serve(&self, request: &Request) -> Result<(Option<Reply>, Finished), LaunchError> {
        let writes = matches!(request, Request::ApplyPatch { .. });
        let launch = Launch {
            plan: if writes { self.plan } else { self.read_only },
            program: Program::Worker,
            environment: Vec::new(),
            cwd: if matches!(request, Request::ReadInstructions { .. }) { self.session.workspace.clone() } else { self.cwd.clone() },
            wall_ms: Some(WORKER_WALL_MS),
            terminal: None,
            terminal_streams: [false; 3],
        };
        let input = serde_json::to_vec(request).map_err(MessageError::from)?;
        let finished = run(&self.launcher, launch, Some(&input), REPLY_CAP).await?;
        Ok((serde_json::from_str(&finished.output.text()).ok(), finished))
    }

    /// Shortens a long output and keeps all of it, but for a `gap` of so many bytes, where the model's tools can read it.
    fn shown(&self, text: String, gap: u64) -> String {
        if text.len() <= super::capture::SHOWN {
            return text;
        }
        let name = format!("{}.txt", self.outputs.get());
        self.outputs.set(self.outputs.get() + 1);
        let kept = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.session.private.join("outputs").join(&name))
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
        let whole = kept.is_ok().then(|| format!("{INSIDE_OUTPUTS}/{name}"));
        shorten(&text, whole.as_deref(), gap).unwrap_or(text)
    }
}

struct Refusal {
    decided_by: &'static str,
    reason: String,
}

impl Refusal {
    fn text(&self) -> String {
        format!("Refused: {}", self.reason)
    }
}

struct Done {
    text: String,
    status: CallStatus,
    exit_code: Option<i32>,
    denials: Vec<Denial>,
    output_bytes: u64,
    peak_bytes: Option<u64>,
    applied: Option<Applied>,
    plan: Option<Vec<PlanStep>>,
}

impl Done {
    fn ok(text: String) -> Self {
        Self {
            text,
            status: CallStatus::Ok,
            exit_code: None,
            denials: Vec::new(),
            output_bytes: 0,
            peak_bytes: None,
            applied: None,
            plan: None,
        }
    }

    fn refused(text: String) -> Self {
        Self { status: CallStatus::Refused, ..Self::ok(text) }
    }
}

/// A sandbox that could not be made is an answer: a session's first one was made, or there would be no session, so it is this call, or what
/// an earlier one left behind, that stands in the way. A launcher that is gone ends the run.
fn broken(error: LaunchError) -> Result<Done, GateError> {
    let status = match &error {
        LaunchError::Refused { .. } | LaunchError::Message(MessageError::TooLong { .. }) => CallStatus::Failed,
        LaunchError::Died => CallStatus::Broken,
        _ => return Err(error.into()),
    };
    Ok(Done { status, ..Done::ok(format!("Error: {error}")) })
}

fn show_plan(plan: &[PlanStep]) -> String {
    let mut text = "Plan recorded:".to_owned();
    for PlanStep { step, status } in plan {
        let mark = match status {
            StepStatus::Pending => " ",
            StepStatus::InProgress => ">",
            StepStatus::Completed => "x",
        };
        text.push_str(&format!("\n[{mark}] {step}"));
    }
    text
}
