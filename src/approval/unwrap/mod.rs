//! Programs that run other programs: which words of a command are the command that it runs.
//!
//! A wrapper is opened only as far as its options are known, from its manual page (coreutils 9.5, util-linux 2.40, findutils 4.10, sudo 1.9,
//! OpenSSH 9, Docker 27). An option that is not in the table, or a word among them that is not known before it runs, makes the command opaque.

mod table;

use std::ops::Range;

use super::shell::{Assignment, Dialect, Shape, Word};
use crate::policy::command::file_name;
use table::{CONTAINER_GLOBAL, CONTAINER_RUN, LOADER, PLAIN, RUNNERS, SSH, WATCH, WRAPPERS, Wrapper, XARGS};

/// What a command runs besides itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// Nothing that this table knows.
    Program,
    /// The commands that these words are.
    Commands {
        /// The words of each; only `find` runs more than one.
        commands: Vec<Vec<Word>>,
        /// The name to show, such as `timeout` or `find -exec`.
        by: String,
        /// Variables that are set for them.
        assignments: Vec<Assignment>,
        /// Whether the wrapper changes nothing of what the command does, so that who allows the command allows it wrapped.
        transparent: bool,
    },
    /// A text that a shell runs.
    Text {
        /// The text.
        text: String,
        /// The shell's grammar; `None` where it is one that is not read here.
        dialect: Option<Dialect>,
        /// The name to show, such as `sh -c`.
        by: String,
        /// Where the text stands.
        span: Range<usize>,
    },
    /// Something that is not known before it runs.
    Opaque(String),
}

fn describe(why: &str, name: &str) -> Opened {
    Opened::Opaque(format!("{why} of `{name}`"))
}

/// Passes over the options of a wrapper: the place of the first word that is none.
fn skip_options(wrapper: &Wrapper, words: &[Word], mut at: usize) -> Result<usize, Opened> {
    while let Some(word) = words.get(at) {
        let Some(text) = word.literal() else {
            if word.shape == Shape::Any || word.may_be_option() {
                return Err(describe("a word that is not known before it runs stands among the options", wrapper.name));
            }
            break;
        };
        if text == "--" {
            return Ok(at + 1);
        }
        let with_value = if let Some(long) = text.strip_prefix("--") {
            let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            let takes = wrapper.long_values.contains(&name);
            if !takes && !wrapper.long_flags.contains(&name) {
                return Err(describe("an option that is not known", wrapper.name));
            }
            takes && value.is_none()
        } else if let Some(letters) = text.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            match letters.char_indices().find(|(_, letter)| !wrapper.flags.contains(*letter)) {
                None => false,
                Some((place, letter)) if wrapper.values.contains(letter) => place + letter.len_utf8() == letters.len(),
                Some(_) => return Err(describe("an option that is not known", wrapper.name)),
            }
        } else {
            break;
        };
        at += 1;
        if with_value {
            if words.get(at).is_none_or(|value| value.shape == Shape::Any) {
                return Err(describe("a value that is not known", wrapper.name));
            }
            at += 1;
        }
    }
    Ok(at)
}

/// Opens one level of a command.
pub fn open(words: &[Word]) -> Opened {
    let Some(program) = words.first().and_then(Word::literal) else { return Opened::Program };
    let name = file_name(program);
    let opened = match name {
        "env" => open_env(words),
        "command" if words.get(1).and_then(Word::literal).is_some_and(|word| word.starts_with('-') && word.contains(['v', 'V'])) => {
            Ok(Opened::Program)
        }
        "sh" | "dash" | "ash" | "bash" | "rbash" | "zsh" | "ksh" | "ksh93" | "mksh" | "fish" | "csh" | "tcsh" | "yash" => {
            open_shell(name, words)
        }
        "su" | "runuser"
            if words.iter().any(|word| word.literal().is_some_and(|text| text.starts_with("-c") || text.starts_with("--command"))) =>
        {
            Ok(text_behind(words, name, &["-c", "--command"]))
        }
        "su" => Ok(describe("a login shell", "su")),
        "sudo" if words.iter().skip(1).map_while(Word::literal).take_while(|word| word.starts_with('-')).any(asks_for_shell) => {
            Ok(describe("a shell or an editor", "sudo"))
        }
        "xargs" => open_xargs(words),
        "find" => open_find(words),
        "fd" | "fdfind" => open_fd(words),
        "parallel" | "sem" | "rush" => Ok(describe("the templates", name)),
        "flock" => open_flock(words),
        "watch" => open_watch(words),
        "script"
            if words.iter().any(|word| {
                word.literal().is_some_and(|text| text.ends_with('c') && text.starts_with('-') || text.starts_with("--command"))
            }) =>
        {
            Ok(text_behind(words, name, &["-c", "--command"]))
        }
        "script" => Ok(describe("a shell", "script")),
        "ssh" => open_ssh(words),
        "docker" | "podman" | "nerdctl" => open_container(words),
        "gdb" | "lldb" => Ok(open_debugger(name, words)),
        "busybox" | "toybox" => Ok(match words.get(1) {
            Some(applet) if applet.literal().is_some_and(|applet| !applet.starts_with('-')) => inner(words, 1, name, Vec::new(), true),
            Some(applet) if applet.literal().is_none() => describe("an applet that is not known", name),
            _ => Opened::Program,
        }),
        "npx" | "bunx" | "pnpx" | "uvx" | "direnv" => Ok(runner(words, 1, name)),
        "systemd-run" | "at" | "batch" | "crontab" | "machinectl" => Ok(describe("what runs later or elsewhere is the work", name)),
        "valgrind" | "perf" | "rr" | "bwrap" | "firejail" | "proxychains" | "proxychains4" | "torsocks" | "faketime" | "prlimit"
        | "numactl" => Ok(runner(words, if matches!(name, "perf" | "rr" | "faketime") { 2 } else { 1 }, name)),
        _ if name.starts_with("ld-linux") || name.starts_with("ld-musl") || name == "ld.so" => {
            skip_options(&LOADER, words, 1).map(|at| inner(words, at, name, Vec::new(), false))
        }
        _ => match (WRAPPERS.iter().find(|wrapper| wrapper.name == name), RUNNERS.iter().find(|(program, _)| *program == name)) {
            (Some(wrapper), _) => open_wrapper(wrapper, words),
            (None, Some((_, subcommand))) if words.get(1).and_then(Word::literal) == Some(subcommand) => Ok(runner(words, 2, name)),
            _ => Ok(Opened::Program),
        },
    };
    opened.unwrap_or_else(|opaque| opaque)
}

/// The command from a word on, if there is one.
fn inner(words: &[Word], at: usize, by: &str, assignments: Vec<Assignment>, transparent: bool) -> Opened {
    match words.get(at..) {
        Some(rest) if !rest.is_empty() => Opened::Commands { commands: vec![rest.to_vec()], by: by.to_owned(), assignments, transparent },
        _ => Opened::Program,
    }
}

fn open_wrapper(wrapper: &Wrapper, words: &[Word]) -> Result<Opened, Opened> {
    let mut at = skip_options(wrapper, words, 1)?;
    for _ in 0..wrapper.skip {
        if words.get(at).is_some_and(|word| word.shape == Shape::Any) {
            return Err(describe("a word that is not known before it runs stands before the command", wrapper.name));
        }
        at += 1;
    }
    let assignments = if wrapper.assigns { assignments(words, &mut at) } else { Vec::new() };
    Ok(inner(words, at, wrapper.name, assignments, wrapper.transparent))
}

fn assignments(words: &[Word], at: &mut usize) -> Vec<Assignment> {
    let mut found = Vec::new();
    while let Some((name, _)) = words.get(*at).filter(|word| word.shape != Shape::Any).and_then(|word| word.lead.split_once('=')) {
        if let Some(value) = words.get(*at) {
            found.push(Assignment { name: name.to_owned(), value: value.clone() });
        }
        *at += 1;
    }
    found
}

fn open_env(words: &[Word]) -> Result<Opened, Opened> {
    let split = |text: &str| text.starts_with("--split-string") || (text.starts_with('-') && !text.starts_with("--") && text.contains('S'));
    let options = words.iter().skip(1).map_while(Word::literal).take_while(|word| word.starts_with('-')).any(split);
    if options {
        return Err(describe("words that it splits itself are the arguments", "env"));
    }
    let wrapper = WRAPPERS.iter().find(|wrapper| wrapper.name == "env").unwrap_or(&PLAIN);
    let mut at = skip_options(wrapper, words, 1)?;
    // `-` alone is the old way to write `-i`.
    if words.get(at).and_then(Word::literal) == Some("-") {
        at += 1;
    }
    let set = assignments(words, &mut at);
    if words.get(at).is_some_and(|word| word.literal().is_none()) {
        return Err(describe("a word that is not known before it runs stands before the command", "env"));
    }
    Ok(inner(words, at, "env", set, true))
}

fn asks_for_shell(option: &str) -> bool {
    ["--shell", "--login", "--edit"].contains(&option) || (!option.starts_with("--") && option.contains(['s', 'i', 'e']))
}

fn open_shell(name: &str, words: &[Word]) -> Result<Opened, Opened> {
    let mut at = 1;
    let mut text = false;
    while let Some(word) = words.get(at) {
        let Some(option) = word.literal() else {
            if word.may_be_option() {
                return Err(describe("a word that is not known before it runs stands among the options", name));
            }
            break;
        };
        if option == "--" || option == "-" {
            at += 1;
            break;
        }
        let Some(letters) = option.strip_prefix(['-', '+']).filter(|letters| !letters.is_empty()) else { break };
        if option.starts_with("--") {
            if !["--norc", "--noprofile", "--posix"].contains(&option) {
                return Err(describe("an option that is not known", name));
            }
        } else if !letters.bytes().all(|letter| b"cefunvx".contains(&letter)) {
            if letters != "o" || words.get(at + 1).and_then(Word::literal) != Some("pipefail") {
                return Err(describe("an option that reads more than the text", name));
            }
            at += 1;
        }
        text |= option.starts_with('-') && !option.starts_with("--") && letters.contains('c');
        at += 1;
    }
    let Some(word) = words.get(at) else {
        return Err(describe("what it reads from its input is the work", name));
    };
    if !text {
        return Ok(Opened::Program);
    }
    let Some(literal) = word.literal() else { return Err(describe("a text that is not known before it runs is the work", name)) };
    let dialect = match name {
        "bash" | "rbash" => Some(Dialect::Bash),
        "sh" | "dash" | "ash" => Some(Dialect::Posix),
        _ => None,
    };
    Ok(Opened::Text { text: literal.to_owned(), dialect, by: format!("{name} -c"), span: word.span.clone() })
}

/// The text behind one of these options, which a shell of the system's runs.
fn text_behind(words: &[Word], name: &str, options: &[&str]) -> Opened {
    let mut found = None;
    for (place, word) in words.iter().enumerate().skip(1) {
        let Some(text) = word.literal() else {
            return describe("a word that is not known before it runs stands among the options", name);
        };
        let ends = |option: &&str| {
            text == *option || (option.len() == 2 && text.starts_with('-') && !text.starts_with("--") && text.ends_with('c'))
        };
        if options.iter().any(ends) && found.is_none() {
            found = words.get(place + 1);
        } else if (text.starts_with("-c") || text.starts_with("--command=")) && found.is_none() {
            return describe("an attached text", name);
        }
    }
    match found.map(|word| (word.literal(), word)) {
        Some((Some(text), word)) => {
            Opened::Text { text: text.to_owned(), dialect: Some(Dialect::Posix), by: format!("{name} -c"), span: word.span.clone() }
        }
        _ => describe("a text that is not known before it runs is the work", name),
    }
}

/// A word that stands for what a wrapper puts there.
fn filled(word: &Word, mark: &str) -> Word {
    if word.text.contains(mark) {
        Word {
            shape: if word.shape == Shape::Any { Shape::Any } else { Shape::One },
            lead: word.text.split(mark).next().unwrap_or_default().to_owned(),
            ..word.clone()
        }
    } else {
        word.clone()
    }
}

fn open_xargs(words: &[Word]) -> Result<Opened, Opened> {
    // The old forms `-i`, `-l` and `-e` take their value only where it is attached.
    let at = skip_options(&XARGS, words, 1)?;
    let options: Vec<&str> = words.get(1..at).unwrap_or_default().iter().filter_map(Word::literal).collect();
    let mut mark = None;
    for (place, option) in options.iter().enumerate() {
        if let Some(attached) = option.strip_prefix("-I").or_else(|| option.strip_prefix("-J")) {
            mark = Some(if attached.is_empty() { options.get(place + 1).copied().unwrap_or("{}") } else { attached });
        } else if !option.starts_with("--") && option.starts_with('-') && option.contains(['I', 'J']) {
            return Err(describe("an option in a bundle", "xargs"));
        }
    }
    let Some(rest) = words.get(at..).filter(|rest| !rest.is_empty()) else { return Ok(Opened::Program) };
    let mut command: Vec<Word> = match mark {
        Some("") => return Err(describe("an empty mark", "xargs")),
        Some(mark) => rest.iter().map(|word| filled(word, mark)).collect(),
        None => rest.to_vec(),
    };
    if mark.is_none()
        && let Some(last) = rest.last()
    {
        command.push(Word { text: "…".to_owned(), shape: Shape::Any, lead: String::new(), span: last.span.clone(), plain: false });
    }
    if command.first().is_some_and(|word| word.literal().is_none()) {
        return Err(describe("a program that is not known before it runs is the work", "xargs"));
    }
    Ok(Opened::Commands { commands: vec![command], by: "xargs".to_owned(), assignments: Vec::new(), transparent: false })
}

fn open_find(words: &[Word]) -> Result<Opened, Opened> {
    const TESTS: [&str; 14] = [
        "-name",
        "-iname",
        "-path",
        "-ipath",
        "-wholename",
        "-regex",
        "-iregex",
        "-newer",
        "-type",
        "-maxdepth",
        "-mindepth",
        "-size",
        "-mtime",
        "-user",
    ];
    let mut commands = Vec::new();
    let mut at = 1;
    while let Some(word) = words.get(at) {
        let Some(text) = word.literal() else {
            let behind_test = words.get(at - 1).and_then(Word::literal).is_some_and(|test| TESTS.contains(&test));
            let path = !word.may_be_option() && !word.lead.starts_with(['(', '!', ')', ',']);
            let value = behind_test && word.shape == Shape::One;
            if !(path || value) {
                return Err(describe("a word that is not known before it runs stands among the tests", "find"));
            }
            at += 1;
            continue;
        };
        if !["-exec", "-execdir", "-ok", "-okdir"].contains(&text) {
            at += 1;
            continue;
        }
        let rest = words.get(at + 1..).unwrap_or_default();
        let end = rest.iter().enumerate().find(|(place, word)| {
            let before = place.checked_sub(1).and_then(|before| rest.get(before)).and_then(Word::literal);
            word.literal() == Some(";") || (word.literal() == Some("+") && before == Some("{}"))
        });
        let Some((length, _)) = end else { return Err(describe("a command without an end", "find")) };
        let command: Vec<Word> = rest.iter().take(length).map(|word| filled(word, "{}")).collect();
        if command.iter().any(|word| word.shape == Shape::Any) || command.first().is_some_and(|word| word.literal().is_none()) {
            return Err(describe("a command that is not known before it runs is the work", "find"));
        }
        commands.push(command);
        at += length + 2;
    }
    if commands.is_empty() {
        return Ok(Opened::Program);
    }
    Ok(Opened::Commands { commands, by: "find -exec".to_owned(), assignments: Vec::new(), transparent: false })
}

fn open_fd(words: &[Word]) -> Result<Opened, Opened> {
    let executes = |word: &Word| {
        word.literal().is_some_and(|text| {
            text.starts_with("--exec") || (text.starts_with('-') && !text.starts_with("--") && text.contains(['x', 'X']))
        })
    };
    if words.iter().skip(1).any(|word| word.literal().is_none() && word.may_be_option()) {
        return Err(describe("a word that is not known before it runs stands among the options", "fd"));
    }
    let Some(place) = words.iter().position(executes) else { return Ok(Opened::Program) };
    let command: Vec<Word> = words.get(place + 1..).unwrap_or_default().iter().map(|word| filled(word, "{")).collect();
    let plain = words.get(place).and_then(Word::literal).is_some_and(|text| ["-x", "-X", "--exec", "--exec-batch"].contains(&text));
    if !plain || command.first().is_none_or(|word| word.literal().is_none()) {
        return Err(describe("a command that is not plain", "fd"));
    }
    Ok(Opened::Commands { commands: vec![command], by: "fd --exec".to_owned(), assignments: Vec::new(), transparent: false })
}

fn open_flock(words: &[Word]) -> Result<Opened, Opened> {
    let wrapper = Wrapper {
        name: "flock",
        flags: "sxeunoFv",
        values: "wE",
        long_flags: &["shared", "exclusive", "unlock", "nonblock", "close", "no-fork", "verbose"],
        long_values: &["timeout", "wait", "conflict-exit-code"],
        skip: 1,
        ..PLAIN
    };
    let at = skip_options(&wrapper, words, 1)? + 1;
    match words.get(at).and_then(Word::literal) {
        Some("-c" | "--command") => Ok(text_behind(words.get(at - 1..).unwrap_or_default(), "flock", &["-c", "--command"])),
        _ => open_wrapper(&wrapper, words),
    }
}

fn open_watch(words: &[Word]) -> Result<Opened, Opened> {
    let at = skip_options(&WATCH, words, 1)?;
    let options = words.get(1..at).unwrap_or_default();
    let direct =
        options.iter().filter_map(Word::literal).any(|option| option == "--exec" || (!option.starts_with("--") && option.contains('x')));
    if direct { Ok(inner(words, at, "watch", Vec::new(), false)) } else { joined(words, at, "watch") }
}

/// Words that are joined by blanks and handed to a shell.
fn joined(words: &[Word], at: usize, by: &str) -> Result<Opened, Opened> {
    let rest = words.get(at..).unwrap_or_default();
    let (Some(first), Some(last)) = (rest.first(), rest.last()) else { return Ok(Opened::Program) };
    let texts: Option<Vec<&str>> = rest.iter().map(Word::literal).collect();
    let Some(texts) = texts else { return Err(describe("a text that is not known before it runs is the work", by)) };
    Ok(Opened::Text { text: texts.join(" "), dialect: Some(Dialect::Posix), by: by.to_owned(), span: first.span.start..last.span.end })
}

fn open_ssh(words: &[Word]) -> Result<Opened, Opened> {
    let at = skip_options(&SSH, words, 1)?;
    // Options may follow the host as well.
    let at = skip_options(&SSH, words, at + 1)?;
    joined(words, at, "ssh")
}

fn open_container(words: &[Word]) -> Result<Opened, Opened> {
    let mut at = skip_options(&CONTAINER_GLOBAL, words, 1)?;
    if words.get(at).and_then(Word::literal) == Some("container") {
        at += 1;
    }
    let Some(subcommand) = words.get(at) else { return Ok(Opened::Program) };
    match subcommand.literal() {
        Some("run" | "exec" | "create") => {
            let image = skip_options(&CONTAINER_RUN, words, at + 1)?;
            if words.get(image).is_some_and(|word| word.shape == Shape::Any) {
                return Err(describe("an image that is not known", "docker"));
            }
            Ok(inner(words, image + 1, "docker", Vec::new(), false))
        }
        Some("compose") => Err(describe("what is run by a file is the work", "docker compose")),
        Some(_) => Ok(Opened::Program),
        None => Err(describe("a subcommand that is not known before it runs", "docker")),
    }
}

fn open_debugger(name: &str, words: &[Word]) -> Opened {
    match words.iter().position(|word| word.literal().is_some_and(|text| ["--args", "-args", "--"].contains(&text))) {
        Some(place) => inner(words, place + 1, name, Vec::new(), false),
        None => Opened::Program,
    }
}

/// The word at a place is a program, as long as no option stands before it, whose values are not known here.
fn runner(words: &[Word], at: usize, name: &str) -> Opened {
    match words.get(at) {
        Some(word) if word.literal() == Some("--") => inner(words, at + 1, name, Vec::new(), false),
        Some(word) if word.literal().is_none() || word.may_be_option() => describe("options that are not known here", name),
        _ => inner(words, at, name, Vec::new(), false),
    }
}
