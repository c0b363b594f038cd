//! `portcullis grants`: what was allowed for longer than one call, taken back or looked back on.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Subcommand;

use super::{
    exit::Exit,
    output, report,
    resolve::{self, Folders},
};
use crate::{
    approval::{Grant, Repository, Store, store::Lapsed},
    audit::{
        Record,
        questions::{Report, report as look_back},
        reading::{Line, sessions},
    },
    ui::sanitize::visible_line,
};

/// Proposals that are shown.
const PROPOSALS: usize = 10;

/// What is done with them.
#[derive(Debug, Subcommand)]
pub(super) enum GrantsCommand {
    /// List what you allowed for longer than one call, and whether it holds here and now.
    #[command(after_help = "Examples:\n  portcullis grants list\n  portcullis grants list --json | jq '.[].id'")]
    List {
        /// Print one JSON array instead.
        #[arg(long)]
        json: bool,
    },
    /// Take grants back.
    #[command(after_help = "Examples:\n  portcullis grants revoke 1a2b3c4d\n  portcullis grants revoke --all")]
    Revoke {
        /// Their ids, as the list gives them.
        #[arg(value_name = "ID", required_unless_present = "all")]
        ids: Vec<String>,
        /// All of them.
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
    /// Say how often you were asked, what you answered, and which rules would have saved questions.
    #[command(after_help = "Examples:\n  portcullis grants report")]
    Report,
}

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  portcullis grants list
  portcullis grants revoke 1a2b3c4d
  portcullis grants report";

/// Does it.
pub(super) fn run(command: &GrantsCommand) -> Exit {
    let folders = Folders::from_environment();
    let store = Store::new(&folders.state);
    let result = match command {
        GrantsCommand::List { json } => store.load().map(|grants| list(&grants, &folders, *json)),
        GrantsCommand::Revoke { ids, all } => {
            let known = match store.load() {
                Ok(known) => known,
                Err(error) => {
                    report(&error);
                    return Exit::Output;
                }
            };
            // All or none of them: a mistyped id is no reason to take back only the others.
            if let Some(id) = ids.iter().find(|id| !known.iter().any(|grant| grant.id == **id)) {
                report(&format!("there is no grant {id}; `portcullis grants list` lists them"));
                return Exit::Usage;
            }
            store.remove(|grant| *all || ids.contains(&grant.id)).map(|gone| format!("{gone} taken back\n"))
        }
        GrantsCommand::Report => Ok(words(&look_back(records(&folders.state.join("log")).iter()))),
    };
    match result {
        Ok(text) => output::print(&text).err().unwrap_or(Exit::Success),
        Err(error) => {
            report(&error);
            Exit::Output
        }
    }
}

fn list(grants: &[Grant], folders: &Folders, json: bool) -> String {
    if json {
        return format!("{}\n", serde_json::to_string_pretty(grants).unwrap_or_default());
    }
    if grants.is_empty() {
        return "nothing is granted beyond the policies\n".to_owned();
    }
    // What holds is a question of the place; outside of any, only of the time.
    let here = resolve::find_workspace(None, &folders.home).ok().and_then(|(workspace, _)| {
        let fingerprint = resolve::load_policy(None, &workspace, folders).ok()?.fingerprint();
        Some((Repository::of(&workspace).ok()?, fingerprint))
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
    let line = |grant: &Grant| {
        let holds = match here.as_ref().map(|(repository, fingerprint)| grant.holds(repository, fingerprint, now)) {
            Some(Ok(())) => "holds here".to_owned(),
            Some(Err(lapsed)) => format!("does not hold here: {}", why(lapsed)),
            None => "no workspace here".to_owned(),
        };
        let ends = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(grant.ends.min(LAST_SECOND)));
        let place = visible_line(&grant.repository.path.display().to_string());
        format!(
            "{}  {}\n          {} (given in {place}, under policy {}), until {ends}\n          {holds}\n",
            visible_line(&grant.id),
            visible_line(&grant.permission.sentence()),
            grant.scope.words(),
            visible_line(&grant.policy),
        )
    };
    grants.iter().map(line).collect()
}

/// The end of the year 9999, the last that RFC 3339 can name.
const LAST_SECOND: u64 = 253_402_300_799;

const fn why(lapsed: Lapsed) -> &'static str {
    match lapsed {
        Lapsed::Expired => "its time is over",
        Lapsed::ElsewhereGiven => "it was given in another repository",
        Lapsed::PolicyChanged => "it was given under another policy, or that policy has changed since",
    }
}

/// All records in a folder of logs, oldest session first. Lines that are none, such as the last one of a session that was killed, are passed over.
fn records(folder: &Path) -> Vec<Record> {
    let mut records = Vec::new();
    for session in sessions(folder).iter().rev() {
        // What cannot be read says nothing of what was asked.
        let _ = session.read(|line| {
            if let Line::Entry(entry) = line {
                records.extend(serde_json::from_str::<Record>(&entry.line));
            }
            true
        });
    }
    records
}

fn words(report: &Report) -> String {
    let mut text = format!(
        "asked {} times: allowed {} for one call and {} for longer, {} changed and run, {} refused, {} without an answer\n",
        report.asked, report.once, report.longer, report.edited, report.refused, report.unanswered
    );
    if let Some(median) = report.median_ms {
        text.push_str(&format!("half of the answers took less than {} s\n", median.div_ceil(1000)));
    }
    let saved: usize = report.savings.iter().map(|saving| saving.questions()).sum();
    if saved == 0 {
        return text;
    }
    text.push_str(&format!(
        "\nthese rules would have saved {saved} questions; look at each before you take it into a policy of your own:\n"
    ));
    for saving in report.savings.iter().take(PROPOSALS) {
        text.push_str(&format!("\n# saves {}: {}\n", saving.questions(), visible_line(&saving.permission.sentence())));
        match saving.rule() {
            Some(rule) => text.push_str(&crate::ui::sanitize::visible(&rule)),
            None => text.push_str("# no rule says just this; answer with \"this session\" or \"this repository\" instead\n"),
        }
    }
    text
}
