//! `portcullis sessions`: what becomes of sessions that nobody goes on with.

use std::time::Duration;

use clap::Subcommand;

use super::{exit::Exit, output, report, resolve::Folders};
use crate::{
    agent::rollout::{Pruning, prune},
    policy::units::{parse_size, show_size},
};

/// For `--help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  portcullis sessions prune --dry-run
  portcullis sessions prune --older-than 30d --keep 1GiB

At the end of a session what is older than 90 days goes by itself, and the oldest where all together are more than 4 GiB. What is
open, or younger than a day, always stays. `portcullis resume --list` lists the sessions of a workspace.";

#[derive(Debug, Subcommand)]
pub(super) enum SessionsCommand {
    /// Take away the sessions of all workspaces that nobody has gone on with for long.
    #[command(after_help = EXAMPLES)]
    Prune {
        /// How long after the last word.
        #[arg(long, value_name = "TIME", default_value = "90d", value_parser = humantime::parse_duration)]
        older_than: Duration,
        /// How much all that stays may be together; the oldest go first.
        #[arg(long, value_name = "SIZE", default_value = "4GiB")]
        keep: String,
        /// Only say what would go.
        #[arg(long)]
        dry_run: bool,
    },
}

pub(super) fn run(command: &SessionsCommand) -> Exit {
    let SessionsCommand::Prune { older_than, keep, dry_run } = command;
    let Some(bytes) = parse_size(keep) else {
        report(&format!("--keep is a size such as 500MiB or 4GiB, not `{keep}`"));
        return Exit::Usage;
    };
    let pruned = prune(&Folders::from_environment().state, &Pruning { age: *older_than, bytes, dry: *dry_run });
    let verb = if *dry_run { "would go" } else { "went" };
    let text = format!(
        "{} sessions {verb} ({}), {} stay ({})\n",
        pruned.sessions,
        show_size(pruned.bytes),
        pruned.kept,
        show_size(pruned.kept_bytes)
    );
    output::print(&text).err().unwrap_or(Exit::Success)
}
