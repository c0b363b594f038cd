//! `portcullis demo`: the real loop on a small real project. Only the model is not real: it follows a script, behind a real HTTP server on
//! the loopback interface.

mod project;
mod script;
mod verdict;

use std::{
    io::{self, Write},
    net::TcpListener,
    path::PathBuf,
};

use self::{project::Project, verdict::Collected};
use super::{
    exec::{self, Asked, ExecError},
    exit::Exit,
    report,
    resolve::{self, Folders, Resolved},
};
use crate::{
    agent::{Event, Observer, SessionError},
    audit::Log,
    model::{Endpoint, scripted::ScriptedModel},
    sandbox::Launcher,
    tools::{Gate, redact::Redactor},
    ui::{
        screen::Screen,
        style::{Paint, Tone},
    },
};

/// What the scripted model is asked to do.
const PROMPT: &str = "The test of this project fails. Find out why, fix it, and run the test again.";

/// Runs the demo. Success only if all that it shows really happened.
pub(super) fn run() -> Exit {
    match try_run() {
        Ok(exit) => exit,
        Err(DemoError::Project(error)) => {
            report(&format!("the demo's project could not be made: {error}"));
            Exit::Output
        }
        Err(DemoError::Output(error)) => {
            report(&format!("standard output could not be written: {error}"));
            Exit::Output
        }
        Err(DemoError::Exec(error)) => {
            report(&error);
            error.exit()
        }
    }
}

enum DemoError {
    Project(io::Error),
    Output(io::Error),
    Exec(ExecError),
}

impl<E: Into<ExecError>> From<E> for DemoError {
    fn from(error: E) -> Self {
        Self::Exec(error.into())
    }
}

fn try_run() -> Result<Exit, DemoError> {
    super::output::check_open().map_err(DemoError::Output)?;
    let project = Project::make().map_err(DemoError::Project)?;
    // What the model tries to send the project to. Nobody may ever connect.
    let listener = TcpListener::bind("127.0.0.1:0").map_err(DemoError::Project)?;
    listener.set_nonblocking(true).map_err(DemoError::Project)?;
    let port = listener.local_addr().map_err(DemoError::Project)?.port();

    let mut folders = Folders::from_environment();
    if folders.state.starts_with(&folders.home) && !folders.home.is_dir() {
        // Nobody's home is made up for a demo; its log can lie in a temporary folder, which stays.
        folders.state = tempfile::Builder::new().prefix("portcullis-demo-log-").tempdir().map_err(DemoError::Project)?.keep();
    }
    folders.home = project.home();
    folders.environment.insert("HOME".to_owned(), folders.home.display().to_string());
    folders.user_policy = PathBuf::from("/dev/null/none");
    let resolved = resolve::resolve(Some(&project.workspace()), Some("workspace-write"), &folders)?;
    let launcher = Launcher::start()?;
    let id = uuid::Uuid::now_v7().to_string();
    let log = Log::create(&resolved.session.state, &id, &resolved.policy.recording).map_err(SessionError::from)?;
    let log_path = log.path();
    let model = ScriptedModel::start(script::script(port)).map_err(DemoError::Project)?;
    let endpoint = Endpoint::new(&model.base_url(), "scripted")?;
    let Resolved { policy, plan, session, cwd, .. } = &resolved;
    let gate =
        Gate::new(launcher, log, policy.clone(), plan, session.clone(), cwd.clone(), Redactor::default()).map_err(SessionError::from)?;

    let paint = Paint::of(&io::stdout());
    intro(paint).map_err(DemoError::Output)?;
    let mut observer = Watching { screen: Screen::new(io::stdout(), paint), collected: Collected::default() };
    if let (Exit::Signal(number), _) = exec::drive(&id, endpoint, gate, None, Asked { text: PROMPT, images: &[] }, &mut observer)? {
        report(&"interrupted; all that the turn had started was ended");
        return Ok(Exit::Signal(number));
    }
    let facts = verdict::facts(&observer.collected, &project, &listener, &model.requests(), &log_path);
    verdict::show(&mut io::stdout(), paint, &observer.collected, &facts, &log_path).map_err(DemoError::Output)?;
    Ok(if facts.iter().all(|fact| fact.holds) { Exit::Success } else { Exit::Failure })
}

fn intro(paint: Paint) -> io::Result<()> {
    let mut out = io::stdout();
    let (name, scripted) = (paint.text(Tone::Strong, "portcullis demo"), paint.text(Tone::Strong, "scripted"));
    writeln!(
        out,
        "{name}\nThe model is {scripted}: it follows a fixed script behind an HTTP server on this machine. All else is real: the client,\n\
         the loop, the policy, the log, and the sandbox in which each call runs. On its way the model also misbehaves, four times.\n"
    )?;
    writeln!(out, "{}  {PROMPT}", paint.text(Tone::Accent, "you"))?;
    writeln!(out, "{}\n", paint.text(Tone::Faint, "     (in a project that was made for this in a temporary folder)"))
}

/// Shows every event, and keeps them for the table.
struct Watching {
    screen: Screen<io::Stdout>,
    collected: Collected,
}

impl Observer for Watching {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.collected.events.push(event.clone());
        self.screen.event(event)
    }
}
