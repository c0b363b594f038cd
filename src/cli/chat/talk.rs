//! The session itself: read a line, do what it says, until there is no more.

use std::{cell::RefCell, io, path::PathBuf, rc::Rc};

use futures_util::FutureExt;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::UnboundedReceiver,
    time::{Duration, MissedTickBehavior, interval},
};

use crate::{
    agent::{Event, Interrupt, Observer, Prompt, Session, TurnError, compact, turn},
    cli::{
        exec::{ExecError, HOOKS_GRACE},
        exit::Exit,
    },
    tools::{Attachment, Live},
    ui::{
        line_editor::{LineEditor, Typed},
        quiet::Quiet,
        sanitize::{visible, visible_line},
        session_screen::SessionScreen,
        style::Tone,
    },
};

/// The screen, which the loop, the questions and the turn share.
pub(super) type Screen = Rc<RefCell<SessionScreen<io::Stdout>>>;

/// How often the rows below are drawn anew while a turn runs.
const TICK: Duration = Duration::from_millis(250);

/// What the terminal and others say by signals.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Becomes ready when the session is to end.
    pub(super) async fn end(&mut self) -> i32 {
        tokio::select! {
            _ = self.terminate.recv() => libc::SIGTERM,
            _ = self.hangup.recv() => libc::SIGHUP,
        }
    }
}

/// A session, and all that it talks through.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) session: Session,
    pub(super) screen: Screen,
    pub(super) output: UnboundedReceiver<Live>,
    pub(super) editor: LineEditor,
    pub(super) signals: Signals,
    /// Images for the next prompt.
    pub(super) attached: Vec<Attachment>,
}

/// Shows the events of a turn on the shared screen.
struct Shown(Screen);

impl Observer for Shown {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.0.borrow_mut().event(event)
    }
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// With this code.
    Exit(Exit),
    /// For another one.
    Resume,
}

/// What takes its time.
#[derive(Clone, Copy)]
pub(super) enum Doing<'a> {
    /// A turn, with what the person said.
    Turn(&'a Prompt),
    /// A compaction.
    Compact,
}

/// Whether the session goes on.
pub(super) enum Next {
    Goes,
    Ends(Ended),
}

impl Talk {
    /// Runs it to its end. `images` go along with the first prompt.
    pub(super) async fn run(mut self, images: &[PathBuf]) -> Result<Ended, ExecError> {
        // For all of the session: what is typed between two prompts arrives at the next one as it was typed.
        let _quiet = Quiet::begin().map_err(shown)?;
        self.greet().map_err(shown)?;
        // Before the prompt is known, and while the person may be typing it already.
        self.session.warm().await;
        let mut images = images.iter();
        let ended = loop {
            let next = match images.next() {
                Some(file) => self.attach(file).await.map(|()| Next::Goes),
                None => self.step().await,
            };
            match next {
                Ok(Next::Goes) => {}
                Ok(Next::Ends(ended)) => break Ok(ended),
                Err(error) => break Err(error),
            }
        };
        let hurried = matches!(ended, Ok(Ended::Exit(Exit::Signal(_))));
        self.stop_hooks(hurried).await;
        // A log that is gone is what ended it, or will be found by whoever reads it.
        let closed = self.session.end();
        if let Some(lost) = self.session.gate().log().told_loss() {
            self.say(Tone::Bad, &lost)?;
        }
        match (ended, closed) {
            (Ok(_), Err(error)) => Err(TurnError::from(error).into()),
            (ended, _) => ended,
        }
    }

    /// Runs the hooks at the session's end. The person can go without waiting for them.
    async fn stop_hooks(&mut self, hurried: bool) {
        let patience = if hurried { HOOKS_GRACE } else { Duration::MAX };
        let failed = tokio::select! {
            failed = tokio::time::timeout(patience, self.session.gate().session_stop()) => failed,
            _ = self.signals.interrupt.recv() => return,
            _ = self.signals.terminate.recv() => return,
            _ = self.signals.hangup.recv() => return,
        };
        let failed = failed.map(|failed| failed.unwrap_or_else(|error| vec![error.to_string()]));
        for why in failed.unwrap_or_default() {
            // Where the screen is gone as well, nobody is left to be told.
            let _ = self.say(Tone::Bad, &visible_line(&why));
        }
    }

    async fn step(&mut self) -> Result<Next, ExecError> {
        let running = self.session.gate().background_list().iter().filter(|program| program.ended.is_none()).count();
        {
            let mut screen = self.screen.borrow_mut();
            screen.status().background = running;
            screen.status().ask = self.session.gate().ask_mode();
            screen.say(Tone::Plain, "\n").and_then(|()| screen.say_status()).map_err(shown)?;
        }
        let typed = tokio::select! {
            typed = self.editor.read("› ") => typed,
            number = self.signals.end() => {
                // The prompt stands in a line that has no end yet.
                self.say(Tone::Plain, "\n")?;
                return Ok(Next::Ends(Ended::Exit(Exit::Signal(number))));
            }
        };
        let text = match typed {
            Typed::Text(text) => text,
            Typed::Interrupted => {
                self.say(Tone::Faint, "Ctrl-D, or /quit, ends the session.")?;
                return Ok(Next::Goes);
            }
            Typed::End => {
                self.say(Tone::Plain, "\n")?;
                return Ok(Next::Ends(Ended::Exit(Exit::Success)));
            }
            Typed::Failed(why) => return Err(TurnError::Output(io::Error::other(why)).into()),
        };
        // A backslash only said that the line goes on.
        let text = text.replace("\\\n", "\n");
        match text.trim() {
            "" => Ok(Next::Goes),
            line if line.starts_with('/') => self.obey(line).await,
            _ => {
                let prompt = Prompt { text, images: std::mem::take(&mut self.attached) };
                self.watched(Doing::Turn(&prompt)).await
            }
        }
    }

    fn greet(&mut self) -> io::Result<()> {
        let Event::SessionStarted { model, endpoint, workspace, policy, fingerprint, .. } = self.session.started() else { return Ok(()) };
        let short: String = fingerprint.chars().take(12).collect();
        let mut screen = self.screen.borrow_mut();
        screen.say(Tone::Strong, &format!("portcullis {}", env!("CARGO_PKG_VERSION")))?;
        screen.say(Tone::Faint, &format!("model      {} at {}", visible_line(&model), visible_line(&endpoint)))?;
        screen.say(Tone::Faint, &format!("workspace  {}", visible_line(&workspace)))?;
        screen.say(Tone::Faint, &format!("policy     {} ({short})", visible_line(&policy)))?;
        if let Some(count) = self.session.resumed() {
            screen.say(Tone::Faint, &format!("session    an earlier one goes on, of {count} items"))?;
        }
        let grants = self.session.gate().grants().len();
        if grants > 0 {
            screen.say(Tone::Faint, &format!("grants     {grants} of yours hold here; /grants lists them"))?;
        }
        screen.say(
            Tone::Faint,
            "Type a task. /help lists commands, @ completes files, Ctrl-J begins another line, Ctrl-C interrupts, Ctrl-D ends.",
        )
    }

    pub(super) fn say(&self, tone: Tone, text: &str) -> Result<(), ExecError> {
        self.screen.borrow_mut().say(tone, text).map_err(shown)
    }

    /// Something that takes its time, and that the person can interrupt.
    pub(super) async fn watched(&mut self, doing: Doing<'_>) -> Result<Next, ExecError> {
        let interrupt = Interrupt::default();
        let mut observer = Shown(Rc::clone(&self.screen));
        // A Ctrl-C from before is not meant for this.
        while self.signals.interrupt.recv().now_or_never().is_some() {}
        self.screen.borrow_mut().begin().map_err(shown)?;
        let mut end = None;
        let ended = {
            let Self { session, output, signals, screen, .. } = self;
            let turn = async {
                match doing {
                    Doing::Turn(prompt) => turn::run(session, prompt, &interrupt, &mut observer).await.map(drop),
                    Doing::Compact => compact::run(session, compact::Cause::Asked, &interrupt, &mut observer).await.map(drop),
                }
            };
            tokio::pin!(turn);
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                tokio::select! {
                    ended = &mut turn => break ended,
                    _ = signals.interrupt.recv() => interrupt.fire(),
                    _ = signals.terminate.recv() => { end = Some(libc::SIGTERM); interrupt.fire(); }
                    _ = signals.hangup.recv() => { end = Some(libc::SIGHUP); interrupt.fire(); }
                    Some((_, text)) = output.recv() => screen.borrow_mut().live(&text).map_err(shown)?,
                    _ = ticks.tick() => screen.borrow_mut().refresh().map_err(shown)?,
                }
            }
        };
        // What is left of a program's output was in its result.
        while self.output.try_recv().is_ok() {}
        self.screen.borrow_mut().end().map_err(shown)?;
        let goes_on = self.conclude(ended);
        match end {
            Some(number) => Ok(Next::Ends(Ended::Exit(Exit::Signal(number)))),
            None => goes_on,
        }
    }

    fn conclude(&mut self, ended: Result<(), TurnError>) -> Result<Next, ExecError> {
        let error = match ended {
            Ok(_) => return Ok(Next::Goes),
            Err(TurnError::Interrupted) => {
                turn::record(&self.session, "interrupted").map_err(TurnError::from)?;
                self.say(Tone::Caution, "Interrupted. The session goes on.")?;
                return Ok(Next::Goes);
            }
            Err(error) => error,
        };
        turn::record(&self.session, "failed").map_err(TurnError::from)?;
        match error {
            // The endpoint may be back for the next turn.
            TurnError::Model(_)
            | TurnError::Unhealed { .. }
            | TurnError::Incomplete { .. }
            | TurnError::Cut { .. }
            | TurnError::Crowded { .. }
            | TurnError::Repeats { .. } => {
                self.say(Tone::Bad, &visible(&error.to_string()))?;
                Ok(Next::Goes)
            }
            error => Err(error.into()),
        }
    }
}

/// What ends a session whose screen is gone.
pub(super) fn shown(error: io::Error) -> ExecError {
    TurnError::Output(error).into()
}
