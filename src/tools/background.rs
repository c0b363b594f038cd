//! Programs that go on while the model does other things: started by `shell` with `background`, each in a sandbox of its own, ended by a stop or
//! with the session.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{
    capture::Capture,
    confinement::Confinement,
    gate::{Gate, GateError},
    outcome::Done,
    recorded::milliseconds,
    redact::Redactor,
    run::{Finished, Output, run},
    shell::{Command, ending, record_connections},
};
use crate::{
    audit::{CallStatus, Event, Log, LogError},
    policy::Limits,
    sandbox::{LaunchError, Launcher, RefusedCall, Undone, message::Launch},
};

/// Programs that may run in the background at once. The limits of the policy hold for each of them, so this bounds their sum.
pub const MOST: usize = 8;
/// Bytes of output that are kept between two looks at it.
const KEPT: u64 = 256 * 1024;
/// How long a start waits for the first output, or for an early end.
const FIRST_LOOK: Duration = Duration::from_millis(500);
/// How long a stop waits for the end.
const STOP_PATIENCE: Duration = Duration::from_secs(25);

/// A program in the background, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackgroundProgram {
    /// By which it is named.
    pub number: u32,
    /// Its shell text.
    pub command: String,
    /// How long it ran, or runs.
    pub elapsed: Duration,
    /// How it ended; none while it runs.
    pub ended: Option<String>,
    /// Bytes that it wrote so far.
    pub written: u64,
}

/// What the program's task and everybody else share.
#[derive(Debug)]
struct Shared {
    /// Output since the model looked last.
    fresh: Capture,
    /// The last of all output, for a person.
    last: Capture,
    ended: Option<(String, Duration)>,
}

#[derive(Debug)]
struct Running {
    call: String,
    command: String,
    began: Instant,
    shared: Arc<Mutex<Shared>>,
    ended: watch::Receiver<bool>,
    stop: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Running {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The call's socket goes with its task, and with that everything that the program started.
        self.task.abort();
    }
}

/// The programs of a session.
#[derive(Debug, Default)]
pub(super) struct Background {
    programs: RefCell<BTreeMap<u32, Rc<Running>>>,
    last: Cell<u32>,
}

/// All that a program's task needs.
struct Task {
    launcher: Arc<Launcher>,
    log: Arc<Log>,
    redactor: Arc<Redactor>,
    launch: Launch,
    limits: Limits,
    call: String,
    shared: Arc<Mutex<Shared>>,
    began: Instant,
    stop: Arc<Notify>,
    ended: watch::Sender<bool>,
}

impl Task {
    async fn run(self) {
        let Self { launcher, log, redactor, launch, limits, call, shared, began, stop, ended } = self;
        let seen = Arc::clone(&shared);
        let mut watch = move |bytes: &[u8]| {
            let mut shared = seen.lock().unwrap_or_else(PoisonError::into_inner);
            shared.fresh.push(bytes);
            shared.last.push(bytes);
        };
        let output = Output { keep: 0, ends_floods: false, watch: Some(&mut watch), errors: None, stop: Some(&stop) };
        let mut finished = run(&launcher, launch, None, output).await;
        let elapsed = began.elapsed();
        let connections = finished.as_mut().map_or_else(|_| Vec::new(), |finished| std::mem::take(&mut finished.connections));
        let more = finished.as_ref().map_or(0, |finished| finished.connections_more);
        let told = record_connections(&log, &redactor, &call, connections, more);
        let (status, sentence, (exit_code, refused_calls, undone)) = describe(finished, &limits);
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let written = shared.last.total();
        let mut text = redactor.redact(&sentence);
        let record = Event::BackgroundEnd {
            call,
            status,
            exit_code,
            duration_ms: milliseconds(elapsed),
            output_bytes: written,
            refused_calls,
            undone,
        };
        if let Err(error) = told.and_then(|()| log.append(record)) {
            text.push_str(&format!(" ({error})"));
        }
        shared.ended = Some((text, elapsed));
        drop(shared);
        let _ = ended.send(true);
    }
}

/// Of an end, for the record: the exit code, the calls that were refused, and what was undone.
type Ends = (Option<i32>, Vec<RefusedCall>, Vec<Undone>);

fn describe(finished: Result<Finished, LaunchError>, limits: &Limits) -> (CallStatus, String, Ends) {
    match finished {
        Ok(finished) => {
            let (status, mut sentence) = ending(&finished, limits, None);
            for undone in &finished.exit.undone {
                sentence.push_str(&format!(" {} ({}) was taken out of effect.", undone.path.display(), undone.kind.words()));
            }
            (status, sentence, (Some(finished.exit.shell_code()), finished.exit.refused, finished.exit.undone))
        }
        Err(error) => (CallStatus::Broken, format!("Error: {error}"), (None, Vec::new(), Vec::new())),
    }
}

impl Gate {
    /// Starts a program and looks at it for a moment.
    pub(super) async fn start_background(
        &self,
        id: &str,
        command: &str,
        workdir: Option<&str>,
        confinement: &Rc<Confinement>,
    ) -> Result<Done, GateError> {
        let running = self.background.programs.borrow().values().filter(|program| program.shared().ended.is_none()).count();
        if running >= MOST {
            return Ok(Done::failed(format!("Error: {MOST} programs run in the background already; stop one of them first.")));
        }
        let what = Command { id, command, workdir, timeout_ms: None };
        let shared = Arc::new(Mutex::new(Shared { fresh: Capture::new(KEPT), last: Capture::new(KEPT), ended: None }));
        let (ending, mut ended) = watch::channel(false);
        let stop = Arc::new(Notify::new());
        let began = Instant::now();
        let task = Task {
            launcher: Arc::clone(&self.launcher),
            log: Arc::clone(&self.log),
            redactor: Arc::clone(&self.redactor),
            launch: self.shell_launch(confinement.lasting, &what, confinement),
            limits: self.policy.limits.clone(),
            call: id.to_owned(),
            shared: Arc::clone(&shared),
            began,
            stop: Arc::clone(&stop),
            ended: ending,
        };
        let number = self.background.last.get() + 1;
        self.background.last.set(number);
        let program = Running {
            call: id.to_owned(),
            command: command.to_owned(),
            began,
            shared,
            ended: ended.clone(),
            stop,
            task: tokio::spawn(task.run()),
        };
        self.background.programs.borrow_mut().insert(number, Rc::new(program));
        let _ = timeout(FIRST_LOOK, ended.wait_for(|ended| *ended)).await;
        let text = self.background_look(number).unwrap_or_default();
        Ok(Done::ok(format!("It runs in the background as number {number}; it ends with the session, or with background stop.\n{text}")))
    }

    /// All of them, also those that have ended.
    pub fn background_list(&self) -> Vec<BackgroundProgram> {
        let programs = self.background.programs.borrow();
        let listed = programs.iter().map(|(number, program)| {
            let shared = program.shared();
            let (ended, elapsed) = match &shared.ended {
                Some((how, elapsed)) => (Some(how.clone()), *elapsed),
                None => (None, program.began.elapsed()),
            };
            BackgroundProgram { number: *number, command: program.command.clone(), elapsed, ended, written: shared.last.total() }
        });
        listed.collect()
    }

    /// The last of what one of them wrote, redacted. None if there is none of that number.
    pub fn background_output(&self, number: u32) -> Option<String> {
        let program = self.background.programs.borrow().get(&number).cloned()?;
        let text = program.shared().last.redacted(&self.redactor);
        Some(text)
    }

    /// Stops one of them, with everything that it started. Says whether it ran.
    pub async fn background_stop(&self, number: u32) -> bool {
        let Some(program) = self.background.programs.borrow().get(&number).cloned() else { return false };
        if program.shared().ended.is_some() {
            return false;
        }
        program.stop.notify_one();
        let mut ended = program.ended.clone();
        let _ = timeout(STOP_PATIENCE, ended.wait_for(|ended| *ended)).await;
        true
    }

    /// Records of everything that still runs that it ends with the session. Dropping the gate ends it.
    ///
    /// # Errors
    /// If that cannot be recorded.
    pub fn record_ends(&self) -> Result<(), LogError> {
        for program in self.background.programs.borrow().values() {
            let shared = program.shared();
            if shared.ended.is_none() {
                self.log.append(Event::BackgroundEnd {
                    call: program.call.clone(),
                    status: CallStatus::Interrupted,
                    exit_code: None,
                    duration_ms: milliseconds(program.began.elapsed()),
                    output_bytes: shared.last.total(),
                    refused_calls: Vec::new(),
                    undone: Vec::new(),
                })?;
                program.task.abort();
            }
        }
        Ok(())
    }

    /// All of them in words.
    pub fn background_text(&self) -> String {
        let programs = self.background_list();
        if programs.is_empty() {
            return "Nothing runs in the background.".to_owned();
        }
        let line = |program: &BackgroundProgram| {
            let state = program.ended.clone().unwrap_or_else(|| "runs".to_owned());
            let command = self.redact(&program.command);
            format!("{}: {command}\n   {state}, {} s, {} bytes written", program.number, program.elapsed.as_secs(), program.written)
        };
        programs.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// What one of them wrote since the model looked last.
    pub(super) fn background_new_output(&self, number: u32) -> Done {
        match self.background_look(number) {
            Some(text) => Done::ok(text),
            None => Done::failed(format!("Error: nothing in the background has the number {number}.")),
        }
    }

    fn background_look(&self, number: u32) -> Option<String> {
        let program = self.background.programs.borrow().get(&number).cloned()?;
        let (fresh, ended) = {
            let mut shared = program.shared();
            (std::mem::replace(&mut shared.fresh, Capture::new(KEPT)), shared.ended.clone())
        };
        let text = self.shown(fresh.redacted(&self.redactor), fresh.gap());
        let state = ended.map_or_else(|| "It runs.".to_owned(), |(how, _)| format!("It has ended. {how}"));
        Some(if text.is_empty() { format!("{state}\n(no new output)") } else { format!("{state}\nNew output:\n{text}") })
    }

    pub(super) async fn stop_background(&self, number: u32) -> Done {
        if self.background_stop(number).await {
            let text = self.background_look(number).unwrap_or_default();
            Done::ok(format!("Stopped.\n{text}"))
        } else {
            Done::failed(format!("Error: nothing that runs in the background has the number {number}."))
        }
    }
}
