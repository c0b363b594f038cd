//! `portcullis audit head | key | erase | prune`: the keys of the logs, and what of the logs is kept.

use std::{collections::BTreeSet, fmt::Display, time::Duration};

use clap::Subcommand;

use super::{log, log_folder};
use crate::{
    audit::{
        Keys,
        ledger::{LedgerEvent, enter, held},
        reading::SessionFiles,
        retention,
        verify::{Trust, verify_ledger},
    },
    cli::{
        exit::Exit,
        output, report,
        resolve::{Folders, make_state},
    },
    ui::sanitize::visible_line,
};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum KeyCommand {
    /// Print the public half of each key, and which is used now; auditors verify with it.
    #[command(after_help = "Examples:\n  portcullis audit key show")]
    Show,
    /// Begin a new key. Those before it stay, to verify what they sealed.
    #[command(after_help = "Examples:\n  portcullis audit key rotate")]
    Rotate,
}

fn failed(error: &impl Display) -> Exit {
    report(error);
    Exit::Output
}

fn print(text: Result<String, Exit>) -> Exit {
    text.and_then(|text| output::print(&text)).err().unwrap_or(Exit::Success)
}

pub(super) fn key(command: &KeyCommand, folders: &Folders) -> Exit {
    let keys = Keys::of(&folders.state);
    print(match command {
        KeyCommand::Show => show(&keys),
        KeyCommand::Rotate => rotate(&keys, folders),
    })
}

fn show(keys: &Keys) -> Result<String, Exit> {
    let current = keys.current_id().map_err(|error| failed(&error))?;
    let mut text = String::new();
    for id in keys.ids() {
        let key = keys.get(&id).map_err(|error| failed(&error))?;
        let mark = if current.as_ref() == Some(&id) { "used now" } else { "before" };
        text.push_str(&format!("{id}  {mark:<8}  {}\n", key.public()));
    }
    Ok(if text.is_empty() { "There is no key yet; the first session makes one.\n".to_owned() } else { text })
}

fn rotate(keys: &Keys, folders: &Folders) -> Result<String, Exit> {
    make_state(&folders.state).map_err(|error| failed(&error))?;
    let before = keys.current_id().map_err(|error| failed(&error))?;
    let key = keys.rotate().map_err(|error| failed(&error))?;
    let event = LedgerEvent::KeyRotated { before, public: key.public() };
    enter(&log_folder(folders), &key, event).map_err(|error| failed(&error))?;
    Ok(format!("{}  used now  {}\n", key.id, key.public()))
}

pub(super) fn head(folders: &Folders) -> Exit {
    let folder = log_folder(folders);
    if !crate::audit::ledger::exists(&folder) {
        report(&"there is no ledger yet; the first session begins one");
        return Exit::Usage;
    }
    let verdict = verify_ledger(&folder, &Trust::default(), None).map_err(|error| failed(&error));
    print(verdict.map(|(ledger, _)| format!("{}:{}\n", ledger.records, ledger.head)))
}

pub(super) fn erase(named: &str, records: &[u64], folders: &Folders) -> Exit {
    let erased = log(named, folders).and_then(|log: SessionFiles| {
        if log.is_named_by_path() {
            report(&"records are erased by the session's id: the ledger of a file elsewhere is not this one");
            return Err(Exit::Usage);
        }
        let session = log.name;
        let key = Keys::of(&folders.state).current().map_err(|error| failed(&error))?;
        let records: BTreeSet<u64> = records.iter().copied().collect();
        retention::erase(&log_folder(folders), &key, &session, &records).map_err(|error| failed(&error))?;
        let what = if records.len() == 1 { "one record".to_owned() } else { format!("{} records", records.len()) };
        Ok(format!("{what} of session {session} erased; the ledger says so\n"))
    });
    print(erased)
}

/// The most characters of a reason: an entry of the ledger is short.
const REASON: usize = 400;

pub(super) fn hold(what: Option<(&str, &str)>, folders: &Folders) -> Exit {
    let folder = log_folder(folders);
    let Some((named, reason)) = what else {
        return print(held(&folder).map_err(|error| failed(&error)).map(|held| match held.is_empty() {
            true => "No log is held.\n".to_owned(),
            false => held.iter().map(|(session, reason)| format!("{session}  {}\n", visible_line(reason))).collect(),
        }));
    };
    let reason: String = reason.chars().take(REASON).collect();
    let event = |session| LedgerEvent::Held { session, reason: reason.clone() };
    print(enter_about(named, folders, event).map(|session| format!("session {session} is held: {}\n", visible_line(&reason))))
}

pub(super) fn release(named: &str, folders: &Folders) -> Exit {
    print(
        enter_about(named, folders, |session| LedgerEvent::Released { session })
            .map(|session| format!("session {session} is held no more\n")),
    )
}

/// Enters something about a log of the state folder.
fn enter_about(named: &str, folders: &Folders, event: impl FnOnce(String) -> LedgerEvent) -> Result<String, Exit> {
    let log = log(named, folders)?;
    if log.is_named_by_path() {
        report(&"logs are held by the session's id: the ledger of a file elsewhere is not this one");
        return Err(Exit::Usage);
    }
    let key = Keys::of(&folders.state).current().map_err(|error| failed(&error))?;
    enter(&log_folder(folders), &key, event(log.name.clone())).map_err(|error| failed(&error))?;
    Ok(log.name)
}

pub(super) fn prune(older_than: Duration, dry: bool, folders: &Folders) -> Exit {
    let folder = log_folder(folders);
    let pruned = Keys::of(&folders.state).current().map_err(|error| failed(&error));
    let pruned = pruned.and_then(|key| retention::prune(&folder, &key, older_than, dry).map_err(|error| failed(&error)));
    let verb = if dry { "would go" } else { "went" };
    print(pruned.map(|gone| {
        let names: String = gone.iter().map(|session| format!("{session}\n")).collect();
        format!("{names}{} logs {verb}\n", gone.len())
    }))
}
