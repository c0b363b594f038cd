//! Every example that is shown is read by the parser that reads what people type.

use clap::{Command, CommandFactory as _, Parser as _, error::ErrorKind};

use super::args::Arguments;
use crate::approval::shell::{Dialect, read};

const README: &str = include_str!("../../README.md");

/// All commands, each with its whole name.
fn commands(command: &Command, name: &str, found: &mut Vec<(String, Command)>) {
    found.push((name.to_owned(), command.clone()));
    for below in command.get_subcommands() {
        commands(below, &format!("{name} {}", below.get_name()), found);
    }
}

/// The argument lists with which a line of shell runs portcullis.
fn calls(line: &str) -> Vec<Vec<String>> {
    let script = read(line, Dialect::Bash, 0, 0);
    assert!(script.opaque.is_none(), "{line}: {:?}", script.opaque);
    let words = script.commands.iter().map(|simple| simple.words.iter().map(|word| word.text.clone()).collect::<Vec<_>>());
    // Behind `--` another program's command line may hold one of portcullis'.
    let starts = |words: &[String]| (0..words.len()).find(|at| words[*at] == "portcullis" && (*at == 0 || words[at - 1] == "--"));
    words.filter_map(|words| starts(&words).map(|at| words[at..].to_vec())).collect()
}

/// Fails if a line does not run portcullis, or with arguments that it does not take.
fn check(line: &str, shown_by: &str) {
    let calls = calls(line);
    assert!(!calls.is_empty(), "{shown_by}: `{line}` does not run portcullis");
    for call in calls {
        let read = Arguments::try_parse_from(&call);
        assert!(read.is_ok(), "{shown_by}: `{line}`: {}", read.unwrap_err());
    }
}

/// Fails if words in a text are not the beginning of a command line.
fn mentioned(text: &str) {
    for call in calls(text) {
        let kind = Arguments::try_parse_from(&call).err().map(|error| error.kind());
        let is_part = matches!(kind, None | Some(ErrorKind::DisplayHelp | ErrorKind::MissingRequiredArgument));
        assert!(is_part, "README.md: `{text}`: {kind:?}");
    }
}

#[test]
fn every_command_has_examples_and_all_of_them_can_be_typed() {
    let mut all = Vec::new();
    commands(&Arguments::command(), "portcullis", &mut all);
    assert!(all.len() > 40, "{}", all.len());
    for (name, command) in all {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = help.lines().skip_while(|line| *line != "Examples:").skip(1).take_while(|line| !line.is_empty());
        let examples: Vec<&str> = examples.map(str::trim).collect();
        assert!(!examples.is_empty(), "`{name} --help` has no examples");
        assert!(examples.iter().any(|line| line.starts_with(&name)), "`{name} --help` has no example of {name} itself: {examples:?}");
        examples.iter().for_each(|line| check(line, &name));
    }
}

#[test]
fn every_command_line_of_the_readme_can_be_typed() {
    let (mut kind, mut checked) = (None, 0);
    for line in README.lines() {
        // In the text they stand between backquotes.
        for part in line.split('`').skip(1).step_by(2).filter(|part| kind.is_none() && part.starts_with("portcullis ")) {
            mentioned(part);
            checked += 1;
        }
        if let Some(after) = line.strip_prefix("```") {
            kind = kind.is_none().then_some(after);
            continue;
        }
        let typed = match kind {
            Some("sh") => line,
            Some("console") => line.strip_prefix("$ ").unwrap_or_default(),
            _ => continue,
        };
        if typed.split_whitespace().any(|word| word == "portcullis") && !typed.trim_start().starts_with('#') {
            check(typed, "README.md");
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked}");
}
