//! The one way by which a call of the model's is carried out: classify → decide → ask → record → launch → record → redact.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    path::{Path, PathBuf},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tokio::sync::mpsc::UnboundedSender;

use super::{
    background::Background,
    capture::{Capture, shorten},
    confinement::Confinement,
    deciding::Settled,
    file,
    granted::Granted,
    hooks::{Call, RegisteredHook},
    invocation::{BackgroundAction, Invocation},
    outcome::Done,
    outputs::Outputs,
    plan::{PlanStep, show_plan},
    recorded::milliseconds,
    redact::Redactor,
    registry::parse,
    run::{Finished, Output, run},
    shell, verdict,
};
use crate::{
    approval::{Approver, Asker, Binaries, Nobody, Rules, StoreError},
    audit::{CallStatus, Denial, Log, LogError},
    mcp::client::Guests,
    model::Image,
    policy::{Access, Anchors, Ask, Judge, Policy},
    sandbox::{
        LaunchError, Launcher, Plan, Program, Session,
        message::{Launch, MessageError},
    },
    worker::{Reply, Request},
};

/// Why a call could not even be answered. All of these end the turn.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The record of it could not be written, so it was not carried out.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The launcher is gone or refuses to make any sandbox.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The grants could not be read or kept.
    #[error(transparent)]
    Grants(#[from] StoreError),
    /// Calls could answer for themselves.
    #[error("{path}, which the approver needs, can be written by the calls that it is asked about; move it to where the policy lets nothing be written", path = path.display())]
    ApproverInReach {
        /// The file.
        path: PathBuf,
    },
    /// Calls could change what decides about them.
    #[error("{path}, which the hook {hook} runs, can be written by the calls that it is about; move it to where the policy lets nothing be written", path = path.display())]
    HookInReach {
        /// The hook, as file and line.
        hook: String,
        /// The file.
        path: PathBuf,
    },
    /// The person ended the turn instead of answering.
    #[error("the turn was stopped where it asked")]
    Stopped,
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
    /// Wall-clock milliseconds, without those that it waited for an answer.
    pub duration_ms: u64,
    /// The plan, where the call changed it.
    pub plan: Option<Vec<PlanStep>>,
    /// The image that the model is shown besides; `text` names it.
    pub image: Option<Image>,
}

impl Outcome {
    /// An outcome that is all in a sentence.
    pub fn of(status: CallStatus, text: &str) -> Self {
        Self { text: text.to_owned(), status, exit_code: None, denials: Vec::new(), duration_ms: 0, plan: None, image: None }
    }
}

/// Output of a call as it comes: its id, and some whole lines without the secrets that the session knows.
pub type Live = (String, String);

/// The gate of a session.
#[derive(Debug)]
pub struct Gate {
    pub(super) launcher: Arc<Launcher>,
    pub(super) log: Arc<Log>,
    /// As the person chose it, without what was granted.
    pub(super) policy: Policy,
    pub(super) session: Session,
    pub(super) cwd: PathBuf,
    pub(super) shell: &'static str,
    pub(super) redactor: Arc<Redactor>,
    pub(super) asker: Rc<dyn Asker>,
    /// Files on which its answers depend.
    pub(super) answering: Vec<PathBuf>,
    pub(super) hooks: Vec<RegisteredHook>,
    pub(super) ask: Cell<Ask>,
    pub(super) granted: RefCell<Granted>,
    confinement: RefCell<Rc<Confinement>>,
    /// Put together when the first call is judged: it takes milliseconds, and a session is not to begin later for it.
    rules: RefCell<Option<Rc<Rules>>>,
    /// Questions are put one at a time.
    pub(super) asking: tokio::sync::Mutex<()>,
    pub(super) live: RefCell<Option<UnboundedSender<Live>>>,
    pub(super) background: Background,
    pub(super) guests: Guests,
    /// What the model has to be told before it is asked again.
    notes: RefCell<Vec<String>>,
    outputs: RefCell<Outputs>,
    /// What shell commands that run have written so far.
    pub(super) written: RefCell<HashMap<String, Arc<Mutex<Capture>>>>,
    /// Calls that were refused because nobody could be asked.
    pub(super) unasked: Cell<u32>,
}

/// Wall-clock limit of a built-in file tool, within the policy's.
const WORKER_WALL_MS: u64 = 60_000;
/// What is kept of a worker's reply: more than it may ever be.
const REPLY_CAP: u64 = 8 * 1024 * 1024;

impl Gate {
    /// Registers the plan with the launcher. Nobody can be asked, and nothing is granted.
    pub fn new(
        launcher: Launcher,
        log: Log,
        policy: Policy,
        plan: &Plan,
        session: Session,
        cwd: PathBuf,
        redactor: Redactor,
    ) -> Result<Self, GateError> {
        let confinement = Confinement::register(&launcher, policy.clone(), plan, &session)?;
        let (shell, _) = verdict::shell();
        let outputs = RefCell::new(Outputs::new(session.private.join("outputs")));
        Ok(Self {
            launcher: Arc::new(launcher),
            log: Arc::new(log),
            rules: RefCell::new(None),
            ask: Cell::new(policy.ask),
            granted: RefCell::new(Granted::none(&session)),
            policy,
            session,
            cwd,
            shell,
            redactor: Arc::new(redactor),
            asker: Rc::new(Nobody),
            answering: Vec::new(),
            hooks: Vec::new(),
            confinement: RefCell::new(confinement),
            asking: tokio::sync::Mutex::new(()),
            live: RefCell::new(None),
            background: Background::default(),
            guests: Guests::default(),
            notes: RefCell::new(Vec::new()),
            outputs,
            written: RefCell::default(),
            unasked: Cell::new(0),
        })
    }

    /// With somebody to ask.
    #[must_use]
    pub fn with_asker(mut self, asker: Rc<dyn Asker>) -> Self {
        self.asker = asker;
        self
    }

    /// With a program to ask. Neither the policy nor what was granted so far may let a call write what its answers depend on, and nothing that is
    /// asked for later will.
    ///
    /// # Errors
    /// If a call could.
    pub fn with_approver(mut self, approver: Approver) -> Result<Self, GateError> {
        let files = approver.files();
        if let Some(path) = self.in_reach(&files) {
            return Err(GateError::ApproverInReach { path });
        }
        self.answering.extend(files);
        Ok(self.with_asker(Rc::new(approver)))
    }

    /// The first of these files that a call could write.
    pub(super) fn in_reach(&self, files: &[PathBuf]) -> Option<PathBuf> {
        let judge = Judge::new(&self.confinement().policy, &self.anchors());
        // What is private to a session lies elsewhere on the host.
        let written = |path: &&PathBuf| {
            let verdict = judge.judge(path, Access::Write);
            verdict.allowed && !super::access::is_private(verdict.because.rule.as_ref())
        };
        files.iter().find(written).cloned()
    }

    pub(super) fn anchors(&self) -> Anchors {
        self.session.anchors()
    }

    /// The log that the gate writes.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The policy as it was chosen, without what was granted besides.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The policy with what was granted besides.
    pub fn policy_in_force(&self) -> Policy {
        self.confinement().policy.clone()
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

    /// Who is to see the output of programs as it comes.
    pub fn watch(&self, live: UnboundedSender<Live>) {
        *self.live.borrow_mut() = Some(live);
    }

    /// How many calls were refused because nobody could be asked, or nobody answered in time.
    pub fn unasked(&self) -> u32 {
        self.unasked.get()
    }

    /// What the model has to be told before it is asked again, such as another mode. Each is told once.
    pub fn take_notes(&self) -> Vec<String> {
        self.notes.take()
    }

    pub(super) fn note(&self, text: String) {
        self.notes.borrow_mut().push(text);
    }

    pub(super) fn confinement(&self) -> Rc<Confinement> {
        Rc::clone(&self.confinement.borrow())
    }

    pub(super) fn confine(&self, confinement: Rc<Confinement>) {
        *self.confinement.borrow_mut() = confinement;
    }

    pub(super) fn rules(&self) -> Rc<Rules> {
        if let Some(rules) = &*self.rules.borrow() {
            return Rc::clone(rules);
        }
        let granted = self.granted.borrow().rules();
        let confinement = self.confinement();
        let judge = Judge::new(&confinement.policy, &self.anchors());
        let rules = verdict::rules(&self.policy, &judge, &self.session.workspace, confinement.path(), granted, self.ask.get());
        let rules = Rc::new(rules);
        *self.rules.borrow_mut() = Some(Rc::clone(&rules));
        rules
    }

    /// Has the rules put together anew, after a grant or a change of mode.
    pub(super) fn renew_rules(&self) {
        *self.rules.borrow_mut() = None;
    }

    /// Whether a call may run beside others: it makes sense, and only reads.
    pub fn only_reads(name: &str, arguments: &str) -> bool {
        parse(name, arguments).is_ok_and(|invocation| invocation.only_reads())
    }

    /// Carries out one call and says what the model is to be told. Only what ends the turn is an error. Dropping the future ends the call, and
    /// takes back the question that it may be waiting on.
    pub async fn call(&self, id: &str, name: &str, arguments: &str) -> Result<Outcome, GateError> {
        let settled = self.settle(id, name, arguments).await?;
        let began = Instant::now();
        self.record_intent(id, name, arguments, &settled)?;
        if settled.stops {
            self.record_outcome(id, 0, &Done::refused("Refused: the person stopped the turn.".to_owned()))?;
            return Err(GateError::Stopped);
        }
        let Settled { invocation, arguments: changed, confinement, notes, .. } = settled;
        let runs = invocation.is_ok();
        let done = match invocation {
            Err(reason) => Done::refused(format!("Refused: {reason}")),
            Ok(Invocation::UpdatePlan(plan)) => Done { plan: Some(plan.clone()), ..Done::ok(show_plan(&plan)) },
            Ok(Invocation::Shell { command, workdir, background: true, .. }) => {
                self.start_background(id, &command, workdir.as_deref(), &confinement).await?
            }
            Ok(Invocation::Shell { command, workdir, timeout_ms, background: false }) => {
                let what = shell::Command { id, command: &command, workdir: workdir.as_deref(), timeout_ms };
                self.shell_or_widen(&what, &confinement).await?
            }
            Ok(Invocation::File(request)) => file::serve(self, &request, &confinement).await?,
            Ok(Invocation::Guest(call)) => self.guest(id, &call).await?,
            Ok(Invocation::RequestAccess(request)) => self.request_access(id, &request).await?,
            Ok(Invocation::Background(action)) => match action {
                BackgroundAction::List => Done::ok(self.background_text()),
                BackgroundAction::Output(number) => self.background_new_output(number),
                BackgroundAction::Stop(number) => self.stop_background(number).await,
            },
        };
        let duration_ms = milliseconds(began.elapsed());
        let mut text: String = notes.iter().map(|note| format!("[portcullis] {note}\n")).collect();
        text.push_str(&self.redact(&done.text));
        for denial in &done.denials {
            text.push_str(&format!("\n[portcullis] {}", denial.sentence()));
        }
        let done = if runs {
            let call = Call { id, tool: name, arguments: changed.as_deref().unwrap_or(arguments) };
            self.after_call(&call, done, &mut text).await?
        } else {
            done
        };
        self.record_outcome(id, duration_ms, &done)?;
        let Done { status, exit_code, denials, plan, image, .. } = done;
        Ok(Outcome { text, status, exit_code, denials, duration_ms, plan, image: image.map(|decoded| decoded.image) })
    }

    /// Records that a call was ended by dropping it, and says what the model is to be told.
    ///
    /// # Errors
    /// If it cannot be recorded.
    pub fn interrupted(&self, id: &str) -> Result<Outcome, GateError> {
        let mut text = "Interrupted by the person: it was ended, and what it had done until then is not undone.".to_owned();
        let written = self.written.borrow_mut().remove(id);
        let written =
            written.map(|written| std::mem::replace(&mut *written.lock().unwrap_or_else(PoisonError::into_inner), Capture::new(0)));
        let output_bytes = written.as_ref().map_or(0, Capture::total);
        if let Some(written) = written.filter(|written| written.total() > 0) {
            let output = self.shown(written.redacted(&self.redactor), written.gap());
            text.push_str(&format!("\nOutput until then:\n{output}"));
        }
        self.record_outcome(id, 0, &Done { status: CallStatus::Interrupted, output_bytes, ..Done::ok(String::new()) })?;
        Ok(Outcome::of(CallStatus::Interrupted, &text))
    }

    /// Sends a request to a worker in a sandbox; no answer at all is `None`. Also how the agent itself reads instruction files, whose
    /// names are relative to the workspace, so that they are the same wherever a session starts.
    pub async fn serve(&self, request: &Request) -> Result<(Option<Reply>, Finished), LaunchError> {
        self.serve_confined(request, &self.confinement()).await
    }

    pub(super) async fn serve_confined(
        &self,
        request: &Request,
        confinement: &Confinement,
    ) -> Result<(Option<Reply>, Finished), LaunchError> {
        let writes = matches!(request, Request::ApplyPatch { .. });
        let launch = Launch {
            plan: if writes { confinement.plan } else { confinement.read_only },
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
    pub(super) fn shown(&self, text: String, gap: u64) -> String {
        if text.len() <= super::capture::SHOWN {
            return text;
        }
        let whole = self.outputs.borrow_mut().keep(&text).map(|name| self.session.output(&name));
        shorten(&text, whole.as_deref(), gap).unwrap_or(text)
    }

    /// Keeps the bytes of an image where the model's tools can look at it, and gives its name.
    pub(super) fn keep_image(&self, bytes: &[u8]) -> Option<String> {
        self.outputs.borrow_mut().keep_bytes(bytes, "image")
    }

    /// The binaries that names stand for: those that the sandbox's `PATH` finds, and that no call can replace.
    pub(super) fn binaries<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Binaries {
        let confinement = self.confinement();
        let judge = Judge::new(&confinement.policy, &self.anchors());
        verdict::binaries(names, &judge, &self.session.workspace, confinement.path())
    }
}
