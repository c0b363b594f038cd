//! The command line. Nothing past this folder knows clap.

mod args;
mod audit;
mod chat;
mod completion;
mod demo;
mod doctor;
mod endpoint;
#[cfg(test)]
mod examples;
mod exec;
pub mod exit;
mod gate;
mod grants;
mod hooks;
mod man;
mod mcp;
mod output;
mod policy;
mod privacy;
mod prompt;
mod providers;
mod resolve;
mod sandbox;
#[cfg(target_os = "linux")]
mod selftest;
mod sessions;
mod show;
mod signals;
mod stop;

use std::{fmt::Display, io::Write, process::ExitCode};

use clap::Parser;

use self::{args::Arguments, exit::Exit};
use crate::ui::{sanitize::visible, style::Paint};

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    match Arguments::try_parse() {
        Ok(arguments) => run(arguments).into(),
        Err(error) if error.use_stderr() => {
            let _ = error.print();
            Exit::Usage.into()
        }
        // --help and --version are results like any other.
        Err(error) => {
            let text = error.render();
            let text = if Paint::of(&std::io::stdout()).is_on() { text.ansi().to_string() } else { text.to_string() };
            output::print(&text).err().unwrap_or(Exit::Success).into()
        }
    }
}

fn run(arguments: Arguments) -> Exit {
    use args::{Command, PromptCommand};
    let Some(command) = arguments.command else { return chat::run(&arguments.chat.into()) };
    match command {
        Command::Exec(exec) => exec::run(&exec.into()),
        Command::Resume(arguments) | Command::Fork(arguments) if arguments.list => {
            let every = arguments.all;
            chat::list(&arguments.chat(false), every)
        }
        Command::Sessions(command) => sessions::run(&command),
        Command::Resume(arguments) => chat::run(&arguments.chat(false)),
        Command::Fork(arguments) => chat::run(&arguments.chat(true)),
        Command::Grants(command) => grants::run(&command),
        Command::Doctor { json, provider: None, .. } => doctor::run(json),
        Command::Doctor { json, provider: Some(name), endpoint } => doctor::provider::run(&endpoint.named(name), json),
        Command::Providers(command) => providers::run(&command),
        Command::Privacy { json, provider } => privacy::run(&provider.into(), json),
        Command::Audit(command) => audit::run(&command),
        Command::Policy(command) => policy::run(&command),
        Command::Sandbox { common, command } => sandbox::run(common.workspace.as_deref(), common.policy.as_deref(), &command),
        Command::Prompt(PromptCommand::Show(common)) => prompt::run(common.workspace.as_deref(), common.policy.as_deref(), false),
        Command::Prompt(PromptCommand::Hash(common)) => prompt::run(common.workspace.as_deref(), common.policy.as_deref(), true),
        #[cfg(target_os = "linux")]
        Command::Selftest(arguments) => selftest::run(&arguments),
        Command::Mcp(command) => mcp::run(command),
        Command::Hooks(command) => hooks::run(&command),
        Command::Demo => demo::run(),
        Command::Completion(arguments) => completion::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
    }
}

/// Says on standard error what went wrong. That it cannot be said is not worth a second failure.
fn report(error: &dyn Display) {
    let _ = writeln!(std::io::stderr(), "portcullis: {}", visible(&error.to_string()));
}
