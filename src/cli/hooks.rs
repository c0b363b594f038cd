//! `portcullis hooks`: the person's programs that have a say before and after calls, and a try of each.

use std::io;

use clap::{Subcommand, ValueEnum};
use serde_json::Value;

use super::{
    args::Common,
    exit::Exit,
    output, report,
    resolve::{self, Folders, ResolveError, Resolved},
};
use crate::{
    audit::CallStatus,
    hooks::{self, About, Hook, Told, When},
    policy::units::show_duration,
    sandbox::{LaunchError, Launcher},
    tools::hooks::{Prepared, Ran, run_once},
    ui::{
        self,
        sanitize::{visible, visible_line},
        style::{Paint, Tone},
        table::{Cell, Table},
    },
};

/// For `--help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  portcullis hooks list
  portcullis hooks test --tool shell --arguments '{\"command\":\"git push --force\"}'
  portcullis hooks test --on session-start

Hooks are in hooks.toml in the configuration folder (~/.config/portcullis, or $PORTCULLIS_HOME); no repository can add one:
  schema = 1
  [[hook]]
  on      = \"before-call\"                       # or after-call, session-start, session-stop
  tools   = [\"shell\", \"apply_patch\"]            # whose calls; without this all of them
  command = [\"/home/me/bin/check\", \"--strict\"]
  policy  = \"read-only\"                         # the sandbox that the hook itself runs in; this is the default
  timeout = \"10s\"                               # from 1s to 10m; 30s is the default

A hook is given one JSON object on standard input and answers with one on standard output:
  before-call    {\"decision\":\"allow\"}, or \"ask\" or \"refuse\" with a \"reason\"
  after-call     {} or {\"note\":\"for the model\"}
  session-start  {} or {\"context\":\"for the model\"}, or {\"decision\":\"refuse\",\"reason\":\"why\"}
  session-stop   {}
It can make a decision stricter, never laxer. One that fails, is late or answers anything else has refused.

Ends with 0 if each hook gave an answer that counts, whatever it says; with 1 if one did not; with 3 if there is an error in hooks.toml or
in a policy, or a program is missing; and with 4 if no sandbox can be made.";

#[derive(Debug, Subcommand)]
pub(super) enum HooksCommand {
    /// List them, in the order in which they run.
    #[command(after_help = EXAMPLES)]
    List,
    /// Run those that match once, in their sandboxes, and show what they answer. No session begins, and nothing is recorded.
    #[command(after_help = EXAMPLES)]
    Test {
        #[command(flatten)]
        common: Common,
        /// When.
        #[arg(long, value_name = "WHEN", default_value = "before-call")]
        on: Moment,
        /// The tool whose call it is about.
        #[arg(long, value_name = "NAME", default_value = "shell")]
        tool: String,
        /// The arguments of the call.
        #[arg(long, value_name = "JSON", default_value = "{\"command\":\"true\"}", value_parser = json)]
        arguments: Value,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Moment {
    BeforeCall,
    AfterCall,
    SessionStart,
    SessionStop,
}

impl From<Moment> for When {
    fn from(moment: Moment) -> Self {
        match moment {
            Moment::BeforeCall => Self::BeforeCall,
            Moment::AfterCall => Self::AfterCall,
            Moment::SessionStart => Self::SessionStart,
            Moment::SessionStop => Self::SessionStop,
        }
    }
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("this is no JSON: {error}"))
}

/// Why no hook was tried.
#[derive(Debug, thiserror::Error)]
enum HooksError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error("the event loop could not be started: {0}")]
    Runtime(#[source] io::Error),
}

/// Does what was typed.
pub(super) fn run(command: &HooksCommand) -> Exit {
    let folders = Folders::from_environment();
    let shown = match command {
        HooksCommand::List => resolve::written_hooks(&folders)
            .map(|hooks| (list(&hooks, &folders), Exit::Success))
            .map_err(|error| HooksError::Resolve(error.into())),
        HooksCommand::Test { common, on, tool, arguments } => {
            let on = When::from(*on);
            test(common, &folders, on, tool, arguments)
        }
    };
    match shown {
        Ok((text, exit)) => output::print(&text).err().unwrap_or(exit),
        Err(error) => {
            report(&error);
            match error {
                HooksError::Resolve(error) => error.exit(),
                HooksError::Launch(_) | HooksError::Runtime(_) => Exit::Sandbox,
            }
        }
    }
}

fn list(hooks: &[Hook], folders: &Folders) -> String {
    if hooks.is_empty() {
        return format!("there are no hooks; they would be in {}\n", visible_line(&folders.hooks.display().to_string()));
    }
    let mut table = Table::new(0);
    for hook in hooks {
        let tools =
            hook.tools.as_ref().map_or_else(|| if hook.on.is_of_call() { "every tool" } else { "" }.to_owned(), |tools| tools.join(", "));
        table.row([
            Cell::new(Tone::Strong, &hook.origin),
            hook.on.word().into(),
            tools.into(),
            format!("policy {}", hook.policy).into(),
            show_duration(hook.timeout).into(),
            words(&hook.command).into(),
        ]);
    }
    table.render(ui::width(), Paint::of(&io::stdout()))
}

fn words(command: &[String]) -> String {
    shlex::try_join(command.iter().map(String::as_str)).unwrap_or_else(|_| command.join(" "))
}

fn test(common: &Common, folders: &Folders, on: When, tool: &str, arguments: &Value) -> Result<(String, Exit), HooksError> {
    let resolved = resolve::resolve(common.workspace.as_deref(), common.policy.as_deref(), folders)?;
    let of_call = on.is_of_call().then_some(tool);
    let matching: Vec<Prepared> =
        resolve::hooks(&resolved, folders)?.into_iter().filter(|prepared| prepared.hook.matches(on, of_call)).collect();
    if matching.is_empty() {
        return Ok(("no hook runs then\n".to_owned(), Exit::Success));
    }
    // Before the event loop: the launcher must start small.
    let launcher = Launcher::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(HooksError::Runtime)?;
    let (mut text, mut exit) = (String::new(), Exit::Success);
    for prepared in matching {
        let origin = prepared.hook.origin.clone();
        let told = Told::new(on, "test", about(on, tool, arguments, &resolved), &resolved.cwd, &resolved.policy);
        let ran = runtime.block_on(run_once(&launcher, prepared, &resolved.cwd, &told))?;
        let said = said(on, &ran);
        if said.is_err() {
            exit = Exit::Failure;
        }
        let (Ok(said) | Err(said)) = said;
        text.push_str(&format!("{} {}: {} ({} ms)\n", visible_line(&origin), on.word(), visible_line(&said), ran.duration_ms));
        for line in ran.errors.lines() {
            text.push_str(&format!("  standard error: {}\n", visible(line)));
        }
    }
    Ok((text, exit))
}

fn about<'a>(on: When, tool: &'a str, arguments: &'a Value, resolved: &'a Resolved) -> About<'a> {
    match on {
        When::BeforeCall => About::Call { call: "test", tool, arguments },
        When::AfterCall => {
            About::Ran { call: "test", tool, arguments, status: CallStatus::Ok, exit_code: Some(0), output: "", denials: &[] }
        }
        When::SessionStart | When::SessionStop => About::Session { workspace: &resolved.session.workspace },
    }
}

/// Its answer in words, or why it does not count.
fn said(on: When, ran: &Ran) -> Result<String, String> {
    let answer = ran.answer.as_ref().map_err(|why| format!("failed: {why}"))?;
    let counts = match on {
        When::BeforeCall => hooks::before_call(answer).map(|answer| match answer {
            hooks::BeforeCall::Allow => "allow".to_owned(),
            hooks::BeforeCall::Ask(reason) => format!("ask: {reason}"),
            hooks::BeforeCall::Refuse(reason) => format!("refuse: {reason}"),
        }),
        When::AfterCall => {
            hooks::after_call(answer).map(|answer| answer.note.map_or_else(|| "nothing to say".to_owned(), |note| format!("note: {note}")))
        }
        When::SessionStart => hooks::session_start(answer).map(|answer| match answer {
            hooks::Start::Goes(None) => "nothing to say".to_owned(),
            hooks::Start::Goes(Some(context)) => format!("context: {context}"),
            hooks::Start::Refuse(reason) => format!("refuse: {reason}"),
        }),
        When::SessionStop => hooks::session_stop(answer).map(|()| "nothing to say".to_owned()),
    };
    counts.map_err(|why| format!("failed: its answer {why}"))
}
