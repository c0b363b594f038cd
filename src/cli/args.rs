//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::exit::TABLE;

/// A coding agent in which nothing the model asks for runs in the agent's own process.
#[derive(Debug, Parser)]
#[command(version, about, after_help = TABLE, propagate_version = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Args)]
pub(super) struct Common {
    /// The policy: a preset's name, or a file (a path with a slash, or ending in .toml).
    #[arg(long, value_name = "NAME|FILE")]
    pub(super) policy: Option<String>,
    /// The folder to work in [default: the repository around the current folder, else that folder].
    #[arg(long, value_name = "DIR")]
    pub(super) workspace: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run any command under a policy; streams, terminal, signals and exit code are passed through.
    Sandbox {
        #[command(flatten)]
        common: Common,
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
        command: Vec<String>,
    },
}
