//! `portcullis policy explain`: what holds for one command, path or host, and why.

use std::{io, path::PathBuf};

use clap::{Args, Subcommand};

use crate::{
    cli::{
        exit::Exit,
        output,
        resolve::{self, Folders},
    },
    tools::explain::{Asked, Question, Word},
    ui::{
        sanitize::visible_line,
        style::{Paint, Tone},
    },
};

/// For `--help`.
pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  portcullis policy explain command 'git push origin main'
  portcullis policy explain read ~/.ssh/id_ed25519
  portcullis policy explain --policy read-only write src/main.rs
  portcullis policy explain host example.org:443
  portcullis policy explain --json command 'make deploy' | jq .matched

Ends with 0 if it is allowed, and with 1 if it is asked about or refused.";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The policy: a preset's name, or a file [default: the one in force here].
    #[arg(long, value_name = "NAME|FILE")]
    policy: Option<String>,
    /// The workspace [default: the repository around the current folder, else that folder].
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The text of a shell command.
    #[command(after_help = "Examples:\n  portcullis policy explain command 'git push origin main'")]
    Command {
        /// The text, in quotes.
        #[arg(allow_hyphen_values = true)]
        text: String,
    },
    /// Reading a path.
    #[command(after_help = "Examples:\n  portcullis policy explain read ~/.ssh/id_ed25519")]
    Read {
        /// The path.
        path: String,
    },
    /// Writing a path.
    #[command(after_help = "Examples:\n  portcullis policy explain write src/main.rs")]
    Write {
        /// The path.
        path: String,
    },
    /// Reaching a host.
    #[command(after_help = "Examples:\n  portcullis policy explain host example.org:443")]
    Host {
        /// The host, with or without a port.
        host: String,
    },
}

impl From<&What> for Question {
    fn from(what: &What) -> Self {
        match what {
            What::Command { text } => Self::Command(text.clone()),
            What::Read { path } => Self::Read(path.clone()),
            What::Write { path } => Self::Write(path.clone()),
            What::Host { host } => Self::Host(host.clone()),
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let folders = Folders::from_environment();
    let resolved = match resolve::resolve_or_report(arguments.workspace.as_deref(), arguments.policy.as_deref(), &folders) {
        Ok(resolved) => resolved,
        Err(exit) => return exit,
    };
    let (policy, session) = (&resolved.policy, &resolved.session);
    let answer = Asked::new(policy, session, &resolved.search_path(), &resolved.cwd).answer(&(&arguments.what).into());
    let text = if arguments.json {
        let mut object = serde_json::json!({"v": 1, "policy": policy.name, "fingerprint": policy.fingerprint()});
        if let (Some(object), Ok(serde_json::Value::Object(answer))) = (object.as_object_mut(), serde_json::to_value(&answer)) {
            object.extend(answer);
        }
        format!("{object}\n")
    } else {
        let paint = Paint::of(&io::stdout());
        let (tone, word) = match answer.word {
            Word::Allow => (Tone::Good, "allowed"),
            Word::Ask => (Tone::Bad, "asked"),
            Word::Forbid => (Tone::Bad, "forbidden"),
            Word::Refuse => (Tone::Bad, "refused"),
        };
        let head = format!("{}  ({}, sha256:{})\n", paint.text(tone, word), visible_line(&policy.name), policy.fingerprint());
        answer.lines.iter().fold(head, |text, line| text + &format!("  {}\n", visible_line(line)))
    };
    match output::print(&text) {
        Err(exit) => exit,
        Ok(()) if answer.word == Word::Allow => Exit::Success,
        Ok(()) => Exit::Failure,
    }
}
