//! The one way by which a call of the model's is carried out: classify → decide → record → launch → record → redact.

use std::{
    cell::Cell,
    fs,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    capture::shorten,
    denial::Explainer,
    limit,
    redact::Redactor,
    registry::{Invocation, PlanStep, StepStatus, parse},
    run::{FLOOD, Finished, Output, run},
};
use crate::{
    approval::{
        Binaries, Judged, Judgement, Rules,
        shell::{Dialect, Opaque},
    },
    audit::{CallStatus, Denial, Event, Log, LogError},
    policy::{Access, Anchors, Judge, Policy},
    sandbox::{
        Applied, EndedBy, LaunchError, Launcher, Plan, Program, RefusedCall, Session,
        message::{Launch, MessageError},
        plan::{INSIDE_OUTPUTS, INSIDE_TMP},
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
    rules: Rules,
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
        let bash = ["/bin/bash", "/usr/bin/bash"].iter().any(|path| Path::new(path).exists());
        let (shell, dialect) = if bash { ("bash", Dialect::Bash) } else { ("sh", Dialect::Posix) };
        let rules = Rules::new(&policy, binaries(&policy, &session, &environment), dialect);
        Ok(Self {
            launcher,
            log,
            policy,
            rules,
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
    pub fn cwd(&self) -> &Path {
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
        let Decided { call: decided, opaque } = self.decide(name, arguments);
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
            opaque: opaque.map(|opaque| self.redactor.redact(&opaque.what)),
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
            refused_calls: done.refused,
        })?;
        Ok(Outcome { text, status: done.status, exit_code: done.exit_code, denials: done.denials, duration_ms, plan: done.plan })
    }

    fn decide(&self, name: &str, arguments: &str) -> Decided {
        let invocation = match parse(name, arguments) {
            Ok(invocation) => invocation,
            Err(reason) => return Decided { call: Err(Refusal { decided_by: "arguments", reason }), opaque: None },
        };
        let (judgement, opaque) = match &invocation {
            Invocation::Shell { command, .. } => {
                let Judged { judgement, opaque, .. } = self.rules.judge(command);
                (judgement, opaque)
            }
            // A plan is a note; it touches nothing.
            Invocation::UpdatePlan(_) => (Judgement::Allow { rule: None }, None),
            Invocation::File(_) => (self.rules.judge_other(), None),
        };
        let call = match judgement {
            Judgement::Allow { rule } => Ok((invocation, rule.map(|rule| rule.origin.to_string()))),
            Judgement::Forbid { reason } => {
                Err(Refusal { decided_by: "rule", reason: format!("the policy forbids this command: {reason}") })
            }
            Judgement::Ask { reason } => Err(Refusal {
                decided_by: "rule",
                reason: format!("a person would have to approve this, and none can be asked here: {reason}"),
            }),
        };
        Decided { call, opaque }
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
        let finished = match run(&self.launcher, launch, None, Output::kept(self.policy.limits.output)).await {
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
        } else if exit.ended_by == Some(EndedBy::Memory) {
            let limit = crate::policy::units::show_size(self.policy.limits.memory);
            (CallStatus::Limit, format!("Ended, because its processes took more than {limit} of memory: [limits] memory."))
        } else if exit.ended_by == Some(EndedBy::HostMemory) {
            (CallStatus::Limit, "Ended by the machine, which had no more memory for it; the policy's limit was not reached.".to_owned())
        } else if exit.ended_by == Some(EndedBy::Disk) {
            let limit = crate::policy::units::show_size(self.policy.limits.disk);
            (CallStatus::Limit, format!("Ended, because it took more than {limit} of disk space: [limits] disk."))
        } else if exit.ended_by == Some(EndedBy::ViewChanged) {
            (CallStatus::Limit, format!("It was {VIEW_CHANGED}."))
        } else if let Some(signal) = exit.signal {
            (CallStatus::Failed, format!("Ended by signal {signal}."))
        } else {
            (if code == 0 { CallStatus::Ok } else { CallStatus::Failed }, format!("Exit code: {code}"))
        };
        let mut denials = self.explainer.of_program(command, &text, &cwd, &exit.refused, status != CallStatus::Ok);
        denials.extend(exit.undone.iter().map(|undone| self.explainer.of_undone(undone)));
        let limits: String = limit::met(&self.policy.limits, &exit, &text).iter().map(|note| format!("\n[portcullis] {note}")).collect();
        let shown = self.shown(text, output.gap());
        Ok(Done {
            text: if shown.is_empty() { format!("{head}\n(no output){limits}") } else { format!("{head}\nOutput:\n{shown}{limits}") },
            status,
            exit_code: Some(code),
            denials,
            output_bytes: output.total(),
            peak_bytes: Some(exit.peak_bytes),
            applied: Some(applied),
            refused: exit.refused,
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
                (Some(EndedBy::Memory), _) => "it took too much memory".to_owned(),
                (Some(EndedBy::HostMemory), _) => "the machine had no more memory for it".to_owned(),
                (Some(EndedBy::Disk), _) => "it took too much disk space".to_owned(),
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
        let mut denials = self.explainer.of_worker(&reply, &self.cwd);
        denials.extend(finished.exit.undone.iter().map(|undone| self.explainer.of_undone(undone)));
        let (text, status) = match reply {
            Reply::Ok { text, .. } => (text, CallStatus::Ok),
            Reply::Refused { message, .. } => (format!("Error: {message}"), CallStatus::Failed),
        };
        let output_bytes = text.len() as u64;
        Ok(Done {
            text: self.shown(text, 0),
            status,
            exit_code: None,
            denials,
            output_bytes,
            peak_bytes,
            applied,
            refused: Vec::new(),
            plan: None,
        })
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
        let finished = run(&self.launcher, launch, Some(&input), Output::kept(REPLY_CAP)).await?;
        Ok((serde_json::from_str(&finished.output.text()).ok(), finished))
    }

    /// Shortens a long output and keeps all of it, but for a `gap` of so many bytes, where the model's tools can read it.
    fn shown(&self, text: String, gap: u64) -> String {
        if text.len() <= super::capture::SHOWN {
            return text;
        }
        let name = format!("{}.txt", self.outputs.get());
        self.outputs.set(self.outputs.get() + 1);
        let kept = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.session.private.join("outputs").join(&name))
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
        let whole = kept.is_ok().then(|| format!("{INSIDE_OUTPUTS}/{name}"));
        shorten(&text, whole.as_deref(), gap).unwrap_or(text)
    }
}

/// The binaries that the policy's rules mean. Only names that the policy holds are looked for, once, before the first call.
fn binaries(policy: &Policy, session: &Session, environment: &[(String, String)]) -> Binaries {
    let anchors = Anchors { workspace: session.workspace.clone(), home: session.home.clone(), temporary: PathBuf::from(INSIDE_TMP) };
    let judge = Judge::new(policy, &anchors);
    // A link counts by where it lies and by where it leads.
    let out_of_reach = |path: &Path| {
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        [path, &real].iter().all(|path| !path.starts_with(&session.workspace) && !judge.judge(path, Access::Write).allowed)
    };
    let is_program = |path: &Path| fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    let path = environment.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_str()).unwrap_or_default();
    let folders: Vec<PathBuf> = path.split(':').map(PathBuf::from).collect();
    let names = policy.commands.iter().filter_map(|rule| rule.prefix.first()).map(String::as_str);
    Binaries::find(names, &folders, &out_of_reach, &is_program)
}

/// What was decided of a call.
struct Decided {
    /// The call, with the rule that allows it, or why it does not run.
    call: Result<(Invocation, Option<String>), Refusal>,
    /// What of a shell command is not plainly understood.
    opaque: Option<Opaque>,
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
    refused: Vec<RefusedCall>,
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
            refused: Vec::new(),
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
