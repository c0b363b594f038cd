//! A proposal as the text of a policy file.

use std::fmt::Write as _;

use super::{
    super::{
        error::{is_hidden, value, visible},
        file::SCHEMA,
        model::{PathRule, Place},
    },
    Base, Entry, Proposal, Uses,
};

/// Programs that a comment names; of more it says how many.
const NAMED: usize = 3;
/// Characters of a command that a comment shows.
const COMMAND: usize = 200;
/// The same of a path, and of a reason that may hold one.
const PATH: usize = 1000;

/// The file. It extends the base, and repeats what a list of the base says, because a list replaces the one that it extends.
pub fn render(base: &Base<'_>, proposal: &Proposal, command: &str) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    let name = name(base);
    line(format!("# Proposed by `portcullis policy learn` after one run of: {}", visible(command, COMMAND)));
    line("# It lists what the command was seen to use. Take out what it does not need.".to_owned());
    line(format!("schema  = {SCHEMA}"));
    line(format!("name    = {}", quoted(&name)));
    line(format!("extends = {}", quoted(base.extends)));
    line(format!("why     = {}", quoted(&why(base, command))));
    let files = &base.policy.filesystem;
    if !proposal.read.is_empty() || !proposal.write.is_empty() {
        line("\n[filesystem]".to_owned());
    }
    for (key, own, entries) in [("read", &files.read, &proposal.read), ("write", &files.write, &proposal.write)] {
        if !entries.is_empty() {
            line(format!("{key} = ["));
            let own = own.first().map(|list| list_text(list)).unwrap_or_default();
            let own: Vec<String> = own.iter().map(|entry| quoted(entry)).collect();
            if !own.is_empty() {
                line(format!("    {}, # as {} has it", own.join(", "), value(&base.policy.name)));
            }
            for entry in entries {
                line(format!("    {}, # {}", quoted(&entry.text), said(entry)));
            }
            line("]".to_owned());
        }
    }
    if let Some(uses) = &proposal.loopback {
        line("\n[network]".to_owned());
        line(format!("mode = \"loopback\" # {}", by(uses)));
    }
    let mut notes = Vec::new();
    for one in &proposal.withheld {
        let what = if one.write { "write " } else { "" };
        notes.push(format!("# not proposed: {what}{} ({}; {})", visible(&one.what, PATH), visible(&one.reason, PATH), by(&one.uses)));
    }
    for (path, uses) in &proposal.sockets {
        notes.push(format!("# not proposed: unix socket {} ({})", visible(&path.display().to_string(), PATH), by(uses)));
    }
    for (address, uses) in &proposal.addresses {
        notes.push(format!("# not proposed: {address} ({})", by(uses)));
    }
    if !proposal.addresses.is_empty() {
        notes.push("# which host an address is of cannot be told; to reach any host, all of them: [network] mode = \"open\"".to_owned());
    }
    if !notes.is_empty() {
        text.push('\n');
        text.push_str(&notes.join("\n"));
        text.push('\n');
    }
    text
}

/// The entries of a list as its policy wrote them, with groups by their names.
fn list_text(rules: &[PathRule]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for rule in rules {
        let text = match (&rule.origin.group, &rule.place) {
            (Some(group), _) => format!("@{group}"),
            (None, Place::Workspace(path)) if path.to_string_lossy().starts_with(['@', '~', '!']) => format!("./{}", path.display()),
            (None, place) => place.to_string(),
        };
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all
}

fn name(base: &Base<'_>) -> String {
    const SUFFIX: &str = "-learned";
    let stem = base.policy.name.trim_end_matches(SUFFIX);
    format!("{}{SUFFIX}", stem.chars().take(64 - SUFFIX.len()).collect::<String>())
}

fn why(base: &Base<'_>, command: &str) -> String {
    format!("As {}, with what one run of this used: {}", base.policy.name, visible(command, COMMAND))
}

fn said(entry: &Entry) -> String {
    match entry.covers.len() {
        0 | 1 => by(&entry.uses),
        number => format!("{number} paths, {}", by(&entry.uses)),
    }
}

/// Who and how often, in words.
pub(super) fn by(uses: &Uses) -> String {
    let mut who: Vec<String> = uses.programs.iter().take(NAMED).map(|program| value(program)).collect();
    if uses.programs.len() > NAMED {
        who.push(format!("{} more", uses.programs.len() - NAMED));
    }
    let times = match uses.times {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        times => format!("{times} times"),
    };
    format!("{}, {times}", who.join(" and "))
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            // What cannot be seen is written out, so that nobody is shown another entry than the one that is there.
            c if c.is_control() || is_hidden(c) => {
                let _infallible = write!(out, "\\U{:08x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
