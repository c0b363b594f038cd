//! `portcullis selftest`: the published escapes, tried on this machine under a policy.
//!
//! It ends with 0 if nothing got out, with 1 if something did or could not be tried, and with 4 if no sandbox can be made.

mod show;

use std::path::PathBuf;

use super::{
    exit::Exit,
    output, report,
    resolve::{Folders, SYSTEM_POLICY},
};
use crate::{
    policy::{self, Policy, PolicyError, Problem},
    selftest::{self, Matching, Options, SelftestError},
    ui::{self, style::Paint},
};

/// What was asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The policy: a preset's name, or a file (a path with a slash, or ending in .toml).
    #[arg(long, value_name = "NAME|FILE")]
    policy: Option<String>,
    /// Only cases whose name, area or title contains this text.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// List the cases, and what stands for each published escape; try nothing.
    #[arg(long)]
    list: bool,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  portcullis selftest
  portcullis selftest --policy locked
  portcullis selftest --only git --policy ./mine.toml
  portcullis selftest --json | jq '.findings[] | select(.verdict == \"leaked\")'

Ends with 0 if nothing got out, with 1 if something did or could not be tried, and with 4 if no sandbox can be made.
All that is attacked is made for the run in a temporary folder, and removed afterwards.";

/// Runs the cases and says what came of them.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let wanted = Matching(arguments.only.clone());
    let paint = Paint::of(&std::io::stdout());
    if arguments.list {
        let text = if arguments.json { show::list_json(&wanted) } else { show::list(&wanted, ui::width(), paint) };
        return output::print(&text).err().unwrap_or(Exit::Success);
    }
    if let Err(error) = output::check_open() {
        report(&error);
        return Exit::Output;
    }
    let folders = Folders::from_environment();
    let policy = match load(arguments.policy.as_deref(), &folders) {
        Ok(policy) => policy,
        Err(error) => {
            report(&error);
            let unknown = error.mark.is_none() && matches!(error.problem, Problem::UnknownPreset(_));
            return if unknown { Exit::Usage } else { Exit::Policy };
        }
    };
    let options = Options { policy: &policy, environment: &folders.environment, wanted: &wanted, layers: None };
    let findings = match selftest::run(&options, |_| {}) {
        Ok(findings) => findings,
        Err(error) => {
            report(&error);
            return match error {
                SelftestError::World(_) => Exit::Output,
                SelftestError::Plan(_) => Exit::Policy,
                SelftestError::Interrupted(signal) => Exit::Signal(signal),
                SelftestError::Launch(_) | SelftestError::NoSandbox(_) => Exit::Sandbox,
            };
        }
    };
    if findings.is_empty() {
        report(&"no case has a name, an area or a title with that text; `portcullis selftest --list` shows all");
        return Exit::Usage;
    }
    let text = if arguments.json { show::json(&policy, &findings) } else { show::text(&policy, &findings, ui::width(), paint) };
    match output::print(&text) {
        Err(exit) => exit,
        Ok(()) if show::is_clean(&findings) => Exit::Success,
        Ok(()) => Exit::Failure,
    }
}

/// The policy with what bounds it on this machine. There is no repository in it: the workspace is one that is made for the run.
fn load(chosen: Option<&str>, folders: &Folders) -> Result<Policy, PolicyError> {
    let user: Option<PathBuf> = Some(folders.user_policy.clone());
    let chosen = chosen.map(str::to_owned);
    policy::load(&policy::Search { chosen, system: Some(SYSTEM_POLICY.into()), user, project: None })
}
