//! What a person should know of one simple command before it runs, and what an `allow` rule therefore does not cover.
//!
//! The tables name what everyday tools do beyond what they are known for: options that run a program or write a file (GTFOBins lists
//! most of them), variables that change what a program loads, languages whose argument is a program. They are for prompts and for
//! keeping an `allow` rule to what its author can have meant; nothing is held safe because it is absent from them.

mod table;

use std::fmt;

use super::shell::{Assignment, Redirect, Word};
use crate::policy::command::{GIT_WITH_VALUE, file_name};
use table::{HARMLESS, LANGUAGES, POISONING, RUNNING_OPTIONS, WRITING_OPTIONS};

/// Something about a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// It runs a program that is in its arguments, its input or a file. The place is that of the word which makes it so; none where that is no
    /// word of the command.
    RunsCode {
        /// The word, counted from the program, which is 0.
        at: Option<usize>,
        /// The option or the language.
        what: String,
    },
    /// An option makes it write or delete files.
    WritesByOption {
        /// The word, counted from the program, which is 0.
        at: usize,
        /// The option.
        what: String,
    },
    /// A redirection writes a file.
    WritesTo {
        /// The file as it was written.
        path: String,
    },
    /// It sets a variable that changes which programs run, or what they load.
    SetsVariable {
        /// The variable.
        name: String,
    },
    /// Options before git's subcommand choose another repository or configuration.
    GitOptions {
        /// The last of them, counted from the program, which is 0.
        at: usize,
    },
    /// It speaks to a daemon that an option names.
    OtherDaemon {
        /// The word, counted from the program, which is 0.
        at: usize,
    },
    /// Commands after it run in another folder.
    ChangesFolder,
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RunsCode { what, .. } => write!(f, "runs code ({what})"),
            Self::WritesByOption { what, .. } => write!(f, "writes or deletes files ({what})"),
            Self::WritesTo { path } => write!(f, "writes {path}"),
            Self::SetsVariable { name } => write!(f, "sets {name}"),
            Self::GitOptions { .. } => f.write_str("chooses git's repository or configuration"),
            Self::OtherDaemon { .. } => f.write_str("speaks to another daemon"),
            Self::ChangesFolder => f.write_str("changes the folder"),
        }
    }
}

impl Fact {
    /// Whether an `allow` rule of so many words can have meant it: only if it spells out the word that makes the fact.
    pub fn is_covered_by(&self, words: usize) -> bool {
        match self {
            Self::RunsCode { at, .. } => at.is_some_and(|at| at < words),
            Self::WritesByOption { at, .. } | Self::GitOptions { at } | Self::OtherDaemon { at } => *at < words,
            Self::WritesTo { .. } | Self::SetsVariable { .. } => false,
            Self::ChangesFolder => true,
        }
    }
}

fn named_in(list: &[&str], name: &str) -> bool {
    list.iter().any(|entry| entry.strip_suffix('*').map_or(*entry == name, |start| name.starts_with(start)))
}

/// Whether a variable changes which programs run, what they load or how a shell reads.
pub fn poisons(name: &str) -> bool {
    named_in(POISONING, name)
}

/// Whether a variable that is put into a command's environment leaves an `allow` rule in force.
pub fn harmless(name: &str) -> bool {
    named_in(HARMLESS, name)
}

/// Whether a variable of the shell itself leaves an `allow` rule in force: by custom, environment variables are not lower case.
pub fn local(name: &str) -> bool {
    harmless(name) || (!poisons(name) && !name.contains(|c: char| c.is_ascii_uppercase()))
}

/// Whether `word` is this option, with or without a value, abbreviated, or in a bundle of letters.
fn is(word: &str, option: &str) -> bool {
    if option.starts_with("--") {
        let name = word.split('=').next().unwrap_or(word);
        return name == option || (name.len() > 3 && option.starts_with(name));
    }
    match option.strip_prefix('-') {
        Some(letter) if letter.len() == 1 => word.starts_with('-') && !word.starts_with("--") && word.contains(letter),
        Some(_) => word == option || word.strip_prefix(option).is_some_and(|rest| rest.starts_with('=')),
        None => word == option,
    }
}

/// A program's name without a version: `python3.12` is `python`.
fn unversioned(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-')
}

/// What there is to know of the words of a command.
pub fn of_words(words: &[Word]) -> Vec<Fact> {
    let mut facts = Vec::new();
    let Some(name) = words.first().and_then(Word::literal).map(file_name) else { return facts };
    let arguments: Vec<(usize, &str)> = words.iter().enumerate().skip(1).map(|(at, word)| (at, word.lead.as_str())).collect();
    for (list, runs) in [(RUNNING_OPTIONS, true), (WRITING_OPTIONS, false)] {
        let options = list.iter().filter(|(tool, _)| *tool == name).flat_map(|(_, options)| *options);
        for option in options {
            if let Some((at, word)) = arguments.iter().find(|(_, word)| is(word, option)) {
                let what = format!("{name} {}", word.split('=').next().unwrap_or(word));
                facts.push(if runs { Fact::RunsCode { at: Some(*at), what } } else { Fact::WritesByOption { at: *at, what } });
            }
        }
    }
    if let Some((language, options)) = LANGUAGES.iter().find(|(language, _)| *language == name || *language == unversioned(name)) {
        facts.extend(language_fact(language, options, &arguments));
    }
    match name {
        "git" => facts.extend(git(words)),
        "sed" | "gsed" => facts.extend(sed(words)),
        "docker" | "podman" | "nerdctl" => {
            let before = arguments.iter().take_while(|(_, word)| !matches!(*word, "run" | "exec" | "build" | "ps" | "compose"));
            let other =
                |word: &str| ["-H", "-c", "--host", "--context", "--url", "--connection", "--remote"].iter().any(|option| is(word, option));
            facts.extend(before.filter(|(_, word)| other(word)).last().map(|(at, _)| Fact::OtherDaemon { at: *at }));
        }
        "cd" | "pushd" | "popd" => facts.push(Fact::ChangesFolder),
        _ => {}
    }
    facts
}

fn language_fact(language: &str, options: &[&str], arguments: &[(usize, &str)]) -> Option<Fact> {
    if let [(_, only)] = arguments
        && matches!(*only, "--version" | "-V" | "-v" | "--help" | "-h")
    {
        return None;
    }
    let program = arguments.iter().find(|(_, word)| options.iter().any(|option| is(word, option))).map(|(at, word)| {
        // The program is attached, or it is the next word.
        let attached = word.contains('=') || (word.starts_with('-') && !word.starts_with("--") && word.len() > 2);
        if attached { *at } else { at + 1 }
    });
    let file = || arguments.iter().find(|(_, word)| !word.starts_with('-')).map(|(at, _)| *at);
    Some(Fact::RunsCode { at: program.or_else(file), what: language.to_owned() })
}

/// Options before git's subcommand, and subcommands that run what they are given.
fn git(words: &[Word]) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut at = 1;
    while let Some(word) = words.get(at).filter(|word| word.lead.starts_with('-')) {
        at += 1 + usize::from(GIT_WITH_VALUE.contains(&word.text.as_str()));
    }
    facts.extend((at > 1).then(|| Fact::GitOptions { at: at - 1 }));
    let text = |at: usize| words.get(at).and_then(Word::literal).unwrap_or_default();
    let what = format!("git {}", text(at));
    match (text(at), text(at + 1)) {
        ("difftool" | "mergetool" | "filter-branch" | "config" | "send-email" | "daemon" | "instaweb", _) => {
            facts.push(Fact::RunsCode { at: Some(at), what });
        }
        ("bisect", "run") | ("submodule", "foreach") => facts.push(Fact::RunsCode { at: Some(at + 1), what }),
        ("rebase", _) => {
            let runs = |word: &Word| word.lead.starts_with("-x") || word.lead.starts_with("-i") || word.lead.starts_with("--interactive");
            facts.extend(words.iter().position(runs).map(|at| Fact::RunsCode { at: Some(at), what }));
        }
        ("clone" | "fetch" | "pull" | "push" | "ls-remote", _) => {
            let runs = |word: &Word| {
                word.lead.starts_with("ext::") || (text(at) != "push" && word.lead.starts_with("-u")) || word.lead.starts_with("-c")
            };
            facts.extend(words.iter().skip(at).position(runs).map(|place| Fact::RunsCode { at: Some(at + place), what }));
        }
        _ => {}
    }
    facts
}

/// A sed script can write files (`w`) and run commands (`e`). Only scripts that are seen to do neither are passed over.
fn sed(words: &[Word]) -> Vec<Fact> {
    let mut scripts: Vec<usize> = Vec::new();
    let mut at = 1;
    let mut first_operand = None;
    while let Some(word) = words.get(at) {
        let text = word.lead.as_str();
        if text == "-e" || text == "--expression" || text == "-f" || text == "--file" {
            scripts.push(at + 1);
            at += 1;
        } else if text.starts_with("-f")
            || text.starts_with("--file=")
            || text.starts_with("--expression=")
            || (text.starts_with("-e") && text.len() > 2)
        {
            scripts.push(at);
        } else if !text.starts_with('-') && first_operand.is_none() {
            first_operand = Some(at);
        }
        at += 1;
    }
    if scripts.is_empty() {
        scripts.extend(first_operand);
    }
    let plain = |at: &usize| words.get(*at).and_then(Word::literal).is_some_and(is_plain_sed);
    let bundled = words
        .iter()
        .skip(1)
        .any(|word| word.lead.starts_with('-') && !word.lead.starts_with("--") && word.lead.len() > 2 && word.lead.contains(['e', 'f']));
    match scripts.iter().find(|at| !plain(at)).copied() {
        Some(at) => vec![Fact::RunsCode { at: Some(at), what: "sed script".to_owned() }],
        None if bundled => vec![Fact::RunsCode { at: None, what: "sed script".to_owned() }],
        None => Vec::new(),
    }
}

/// Whether a sed script only prints, deletes, quits or substitutes.
fn is_plain_sed(script: &str) -> bool {
    let address = |c: char| c.is_ascii_digit() || matches!(c, ',' | '$' | ' ' | '!' | '~' | '+');
    let rest = script.trim_start_matches(address);
    if matches!(rest, "p" | "d" | "q" | "=" | "P" | "D" | "n" | "N" | "g" | "G" | "h" | "H" | "x") {
        return true;
    }
    if let Some(pattern) = rest.strip_prefix('/') {
        let Some((held, command)) = pattern.split_once('/') else { return false };
        return !held.contains('\\') && matches!(command, "p" | "d" | "q" | "=" | "!d" | "!p");
    }
    let Some(substitution) = rest.strip_prefix('s') else { return false };
    let Some(delimiter) = substitution.chars().next().filter(|c| c.is_ascii_punctuation() && *c != '\\') else { return false };
    // An escaped delimiter would move the end.
    if substitution.contains(['\n', ';']) || substitution.contains(&format!("\\{delimiter}")) || substitution.contains('[') {
        return false;
    }
    let parts: Vec<&str> = substitution.split(delimiter).collect();
    matches!(parts.as_slice(), [_, _, _, flags] if flags.chars().all(|c| matches!(c, 'g' | 'p' | 'i' | 'I') || c.is_ascii_digit()))
}

/// What there is to know of assignments and redirections.
pub fn of_surroundings(assignments: &[Assignment], redirects: &[Redirect]) -> Vec<Fact> {
    let sets =
        assignments.iter().filter(|assignment| poisons(&assignment.name)).map(|found| Fact::SetsVariable { name: found.name.clone() });
    let writes = redirects.iter().filter(|redirect| redirect.writes()).map(|found| Fact::WritesTo { path: found.target.text.clone() });
    sets.chain(writes).collect()
}

/// Whether git is told to use an alias or configuration that only its value could explain.
pub fn hides_command(words: &[Word]) -> Option<String> {
    if words.first().and_then(Word::literal).map(file_name) != Some("git") {
        return None;
    }
    let mut at = 1;
    while let Some(word) = words.get(at) {
        let text = word.literal()?;
        if !text.starts_with('-') {
            return None;
        }
        if text.starts_with("-c") || text.starts_with("--config-env") {
            let value = if text == "-c" || text == "--config-env" { words.get(at + 1) } else { Some(word) };
            let plain =
                value.and_then(Word::literal).is_some_and(|value| !value.to_ascii_lowercase().contains("alias.") && text.starts_with("-c"));
            if !plain {
                return Some("an alias that git is given".to_owned());
            }
        }
        at += 1 + usize::from(GIT_WITH_VALUE.contains(&text));
    }
    None
}
