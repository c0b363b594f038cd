//! `portcullis policy learn`: one run of a command, observed, and the smallest policy that would let it do what it tried.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde_json::json;

use super::super::{
    exit::Exit,
    output, report, resolve,
    sandbox::{Heard, Passed, not_started, pass_through},
};
use crate::{
    policy::{
        self, Anchors, NetworkMode,
        learn::{self, Base, Floor, Observation, Outcome, Proposal, Reach},
        load::{DEFAULT_PRESET, is_path},
    },
    sandbox::{Launcher, Program, observing::OBSERVING_FOLDERS},
    ui::sanitize::visible_line,
};

/// What was asked for.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The policy to add to: a preset's name, or a file (a path with a slash, or ending in .toml) [default: the one in force here].
    #[arg(long, value_name = "NAME|FILE")]
    policy: Option<String>,
    /// The folder that the command works in [default: the repository around the current folder, else that folder].
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Print one JSON object instead of the policy file: the file's text, each entry and all that is not proposed.
    #[arg(long)]
    json: bool,
    /// Write to a new file instead of standard output, on which the command writes too. One that is there is never overwritten.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<String>,
}

pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  portcullis policy learn --output mine.toml -- make test
  portcullis policy learn --policy ./mine.toml --output mine-too.toml -- make test
  portcullis policy learn --policy locked --json --output seen.json -- python3 script.py

The command runs confined: it can read what you can, except what the policy denies, credentials and the sockets of services; what it may write and reach is what the policy says. What is denied or protected is never proposed.
Ends with 0 if the command ran, whatever its own code was, with 2 if the output file is there already, with 3 if the policy has an error, with 6 if the proposal could not be written, and with 125 to 127 as `portcullis sandbox` if the command did not run.";

/// Runs the command and prints the proposal.
pub(super) fn run(arguments: &Arguments) -> Exit {
    if let Some(exit) = nowhere_to_write(arguments) {
        return exit;
    }
    let folders = resolve::Folders::from_environment();
    let resolved = match resolve::resolve_or_report(arguments.workspace.as_deref(), arguments.policy.as_deref(), &folders) {
        Ok(resolved) => resolved,
        Err(exit) => return exit,
    };
    let (policy, session) = (&resolved.policy, &resolved.session);
    for folder in OBSERVING_FOLDERS {
        if let Err(error) = fs::create_dir(session.private.join(folder)) {
            report(&format!("the session's private folder could not be prepared: {error}"));
            return Exit::Output;
        }
    }
    let anchors = session.anchors();
    let floor = with_targets(learn::floor(policy, &anchors, &session.state), policy, &anchors);
    let places: Vec<PathBuf> = floor.iter().map(|floor| floor.path.clone()).collect();
    let plan = resolved.plan.observing(&places, session.home.is_dir());
    if policy.network.mode == NetworkMode::Open {
        report(&"this policy opens the network: while it is observed, the command can send what it reads anywhere");
    }
    let what = Passed {
        plan: &plan,
        environment: plan.observing_environment().environment(policy, session),
        program: Program::Observed(arguments.command.clone()),
    };
    let mut heard = Heard::default();
    let ended = match Launcher::start().and_then(|launcher| pass_through(&launcher, &resolved, what, &mut heard)) {
        Ok(ended) => ended,
        Err(error) => return not_started(&error),
    };
    let extends = extended(arguments.policy.as_deref(), &folders.user_policy);
    let made = made(&heard.observations);
    let base = Base { policy, extends: &extends, anchors: &anchors, floor: &floor, private: &session.private, made: &made };
    let proposal = learn::propose(&base, &heard.observations);
    let words = shlex::try_join(arguments.command.iter().map(String::as_str)).unwrap_or_else(|_| arguments.command.join(" "));
    let text = learn::render(&base, &proposal, &words);
    if let Err(error) = try_out(&text) {
        report(&format!("no policy can be made of what was seen: {error}"));
        return Exit::Failure;
    }
    if let Err(exit) = publish(arguments, &proposal, ended, &text) {
        return exit;
    }
    summarise(arguments, &proposal, ended, &heard);
    Exit::Success
}

/// The floor, with what it and the policy's own denials lead to by way of links: a key is no less one where it really lies.
fn with_targets(mut floor: Vec<Floor>, policy: &policy::Policy, anchors: &Anchors) -> Vec<Floor> {
    let denied = policy.filesystem.deny.iter();
    let denied = denied.filter_map(|rule| Some(Floor { path: anchors.path(&rule.place)?, reason: rule.origin.to_string() }));
    let named: Vec<Floor> = floor.iter().cloned().chain(denied).collect();
    let targets = named.into_iter().filter_map(|Floor { path, reason }| {
        let real = fs::canonicalize(&path).ok().filter(|real| *real != path)?;
        Some(Floor { path: real, reason })
    });
    floor.extend(targets);
    floor
}

/// What was used and is not on the host.
fn made(observations: &[Observation]) -> BTreeSet<PathBuf> {
    let paths = observations.iter().flat_map(|seen| match &seen.reach {
        Reach::Path { named, path, .. } => vec![named.clone(), path.clone()],
        Reach::Address { .. } | Reach::Socket { .. } => Vec::new(),
    });
    paths.filter(|path| fs::symlink_metadata(path).is_err()).collect()
}

/// What is proposed is a policy that loads, or it is not printed.
fn try_out(text: &str) -> Result<(), String> {
    let mut file = tempfile::NamedTempFile::with_suffix(".toml").map_err(|error| error.to_string())?;
    file.write_all(text.as_bytes()).map_err(|error| error.to_string())?;
    policy::check(file.path()).map(drop).map_err(|error| error.to_string())
}

fn nowhere_to_write(arguments: &Arguments) -> Option<Exit> {
    match &arguments.output {
        None => output::check_open().err().map(|error| {
            report(&error);
            Exit::Output
        }),
        Some(path) => fs::symlink_metadata(path).is_ok().then(|| {
            report(&format!("{} is there already, and is not overwritten", path.display()));
            Exit::Usage
        }),
    }
}

/// By what name a policy extends the chosen one: a preset's, or the absolute path of a file, so that the proposal may lie anywhere.
fn extended(chosen: Option<&str>, user: &Path) -> String {
    let file = match chosen {
        Some(name) if is_path(name) => Path::new(name),
        Some(name) => return name.to_owned(),
        None if fs::symlink_metadata(user).is_ok() => user,
        None => return DEFAULT_PRESET.to_owned(),
    };
    fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf()).display().to_string()
}

/// Prints the proposal, or writes it to a file of its own. An empty one is a policy that nobody needs.
fn publish(arguments: &Arguments, proposal: &Proposal, ended: Exit, text: &str) -> Result<(), Exit> {
    let text = if arguments.json {
        let policy = (!proposal.is_empty()).then_some(text);
        json!({ "command": arguments.command, "code": ended.code(), "policy": policy, "proposal": proposal }).to_string() + "\n"
    } else if proposal.is_empty() {
        return Ok(());
    } else {
        text.to_owned()
    };
    let Some(path) = &arguments.output else { return output::print(&text) };
    write_new(path, &text).map_err(|error| {
        report(&format!("{} cannot be written: {error}", path.display()));
        Exit::Output
    })
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}

fn summarise(arguments: &Arguments, proposal: &Proposal, ended: Exit, heard: &Heard) {
    let file = arguments.output.as_ref().filter(|_| !arguments.json).map(|path| visible_line(&path.display().to_string()));
    if proposal.is_empty() {
        let but = if proposal.withheld.is_empty() { "" } else { ", except what no proposal may give" };
        report(&format!("the policy already covers all that the command reached for{but}"));
    } else {
        let network = if proposal.loopback.is_some() { ", and a loopback" } else { "" };
        report(&format!("proposed: {} to read, {} to write{network}", entries(proposal.read.len()), entries(proposal.write.len())));
    }
    for one in &proposal.withheld {
        let what = if one.write { "write " } else { "" };
        report(&format!("not proposed: {what}{} ({})", visible_line(&one.what), visible_line(&one.reason)));
    }
    if let Some((first, _)) = proposal.addresses.first() {
        let more = match proposal.addresses.len() {
            1 => String::new(),
            number => format!(" and {} more", number - 1),
        };
        report(&format!("not proposed: the network ({first}{more}); [network] mode = \"open\" would open all of it"));
    }
    if heard.refused.iter().any(|call| call.call == "socket" && call.detail.as_deref() == Some("AF_UNIX")) {
        report(&"the command asked for unix sockets, which it does not get while it is observed; which ones is not known");
    }
    let refused = heard.observations.iter().any(|seen| matches!(&seen.reach, Reach::Path { outcome: Outcome::Refused, .. }));
    if ended.code() != 0 || (refused && !proposal.is_empty()) {
        let file = file.unwrap_or_else(|| "that file".to_owned());
        report(&format!(
            "the command ended with {}; what it would have done after its first refusal is not known: run learn again with --policy {file}",
            ended.code()
        ));
    }
}

fn entries(number: usize) -> String {
    match number {
        1 => "1 entry".to_owned(),
        number => format!("{number} entries"),
    }
}
