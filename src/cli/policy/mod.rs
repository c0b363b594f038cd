//! `portcullis policy`: what policies there are, what one says and what it means.

pub(super) mod diff;
pub(super) mod explain;
#[cfg(target_os = "linux")]
pub(super) mod learn;
pub(super) mod lint;
mod machine;
pub(super) mod replay;
mod sarif;
pub(super) mod test;
#[cfg(target_os = "linux")]
pub(super) mod verify;

use std::{fs, io, path::Path};

use super::{args::PolicyCommand, exit::Exit, output, report, resolve, show};
use crate::{
    policy::{self, PolicyError, Problem, load},
    ui::{
        self,
        sanitize::{visible, visible_line},
        style::{Paint, Tone},
        table::{Cell, Table},
    },
};

/// For `--help`.
pub(super) const SCHEMA_EXAMPLES: &str = "\
Examples:
  portcullis policy schema > ~/.config/portcullis/policy.schema.json
  portcullis policy schema | jq '.\"$defs\".FilesystemShape.properties | keys'

With `#:schema ./policy.schema.json` as its first line, a policy file is checked by editors that know Taplo or Even Better TOML.

Ends with 0.";

/// Does what was typed.
pub(super) fn run(command: &PolicyCommand) -> Exit {
    let text = match command {
        PolicyCommand::List => list(),
        PolicyCommand::Show { policy: None, workspace, .. } => effective(workspace.as_deref()),
        PolicyCommand::Show { policy: Some(name), expanded: true, .. } => {
            load::alone(name).map(|policy| page(&policy)).map_err(|error| refuse(&error, Path::new(name)))
        }
        PolicyCommand::Show { policy: Some(name), .. } => as_written(name),
        PolicyCommand::Check { file } => check(file),
        PolicyCommand::Diff(arguments) => return diff::run(arguments),
        PolicyCommand::Test(arguments) => return test::run(arguments),
        PolicyCommand::Schema => Ok(format!("{:#}\n", policy::schema::policy())),
        PolicyCommand::Explain(arguments) => return explain::run(arguments),
        PolicyCommand::Replay(arguments) => return replay::run(arguments),
        PolicyCommand::Lint(arguments) => return lint::run(arguments),
        #[cfg(target_os = "linux")]
        PolicyCommand::Verify(arguments) => return verify::run(arguments),
        #[cfg(target_os = "linux")]
        PolicyCommand::Learn(arguments) => return learn::run(arguments),
    };
    match text.and_then(|text| output::print(&text)) {
        Ok(()) => Exit::Success,
        Err(exit) => exit,
    }
}

fn list() -> Result<String, Exit> {
    let mut table = Table::new(0);
    for (name, _) in policy::presets() {
        let preset = policy::preset(name).map_err(|error| refuse(&error, Path::new(name)))?;
        let shown = if *name == load::DEFAULT_PRESET { format!("{name} (default)") } else { (*name).to_owned() };
        table.row([Cell::new(Tone::Strong, &shown), preset.why.into()]);
    }
    Ok(table.render(ui::width(), Paint::of(&io::stdout())))
}

/// The policy in force for a workspace, as `portcullis` would start with it.
fn effective(workspace: Option<&Path>) -> Result<String, Exit> {
    let folders = resolve::Folders::from_environment();
    let merged =
        resolve::find_workspace(workspace, &folders.home).and_then(|(workspace, _)| Ok(resolve::load_policy(None, &workspace, &folders)?));
    merged.map(|policy| page(&policy)).map_err(|error| {
        report(&error);
        error.exit()
    })
}

fn page(policy: &policy::Policy) -> String {
    show::text(policy, ui::width(), Paint::of(&io::stdout()))
}

/// The file's own bytes, so that they can be copied to a file; made visible only where they go to a terminal.
fn as_written(name: &str) -> Result<String, Exit> {
    let sources = load::written(name).map_err(|error| refuse(&error, Path::new(name)))?;
    let Some((own, extended)) = sources.split_first() else { return Ok(String::new()) };
    let terminal = io::IsTerminal::is_terminal(&io::stdout());
    let mut text = if terminal { visible(&own.text) } else { own.text.clone() };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    if !extended.is_empty() {
        let names: Vec<String> = extended.iter().map(|source| visible_line(&source.file)).collect();
        text.push_str(&format!("\n# It extends, in this order: {}. `--expanded` shows what all of it means.\n", names.join(", ")));
    }
    Ok(text)
}

fn check(file: &Path) -> Result<String, Exit> {
    let policy = policy::check(file).map_err(|error| refuse(&error, file))?;
    let name = visible_line(&file.display().to_string());
    Ok(format!("{name}: OK: {}, fingerprint sha256:{}\n", policy.name, policy.fingerprint()))
}

/// Says what is wrong. What does not exist is a slip of the command line; anything else is the policy's fault.
fn refuse(error: &PolicyError, named: &Path) -> Exit {
    report(error);
    let absent = match &error.problem {
        Problem::UnknownPreset(_) => true,
        Problem::Unreadable(_) => fs::metadata(named).is_err_and(|error| error.kind() == io::ErrorKind::NotFound),
        _ => false,
    };
    if absent && error.mark.is_none() { Exit::Usage } else { Exit::Policy }
}
