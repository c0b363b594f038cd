//! The command line. Nothing past this folder knows clap.

mod args;
pub mod exit;
mod resolve;
mod sandbox;

use std::{fmt::Display, io::Write, process::ExitCode};

use clap::Parser;

use self::{args::Arguments, exit::Exit};

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    match Arguments::try_parse() {
        Ok(arguments) => run(arguments).into(),
        Err(error) => {
            let _ = error.print();
            if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS }
        }
    }
}

fn run(arguments: Arguments) -> Exit {
    use args::Command;
    match arguments.command {
        Command::Sandbox { common, command } => sandbox::run(common.workspace.as_deref(), common.policy.as_deref(), &command),
    }
}

/// Says on standard error what went wrong. That it cannot be said is not worth a second failure.
fn report(error: &dyn Display) {
    let _ = writeln!(std::io::stderr(), "portcullis: {error}");
}
