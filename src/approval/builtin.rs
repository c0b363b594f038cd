//! The builtins of the shell that change how the rest of a text reads, or that run what they are given.
//!
//! From bash's manual, chapter 4. A builtin that is not named here does neither.

use super::shell::{Shape, Word};

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Why a builtin makes a text opaque; `None` if it does not, or the command is none of them.
pub fn opaque(words: &[Word], redirects: bool) -> Option<String> {
    let name = words.first()?.literal()?;
    let arguments = words.get(1..).unwrap_or_default();
    let fail = |why: &str| Some(format!("`{name}`, {why}"));
    match name {
        "eval" | "source" | "." => fail("which runs a text that it is given"),
        "alias" | "enable" | "shopt" | "bind" | "complete" | "compgen" | "compopt" | "fc" | "let" | "trap" | "coproc" => {
            fail("which changes what words mean, or runs what it is given")
        }
        "unalias" if !arguments.is_empty() => fail("which changes what words mean"),
        "hash" if !arguments.iter().all(|word| word.literal() == Some("-r")) => fail("which can bind a name to another program"),
        "jobs" if !arguments.is_empty() => fail("which can run a command"),
        "exec" if arguments.is_empty() && redirects => fail("which redirects all that follows"),
        "exec" if arguments.first().is_some_and(|word| word.literal().is_none()) => fail("whose program is not known before it runs"),
        "set" => (!is_plain_set(arguments)).then(|| "`set` with an option that changes what words mean".to_owned()),
        "mapfile" | "readarray" if arguments.iter().any(|word| word.may_be_option() && word.literal() != Some("-t")) => {
            fail("which can run a command")
        }
        // An index in a variable's name is arithmetic, and arithmetic can run commands.
        "read" | "unset" | "getopts" | "mapfile" | "readarray" | "wait" | "export" | "readonly" | "declare" | "typeset" | "local"
        | "printf" | "test" | "[" => indexed(name, arguments),
        _ => None,
    }
}

/// Whether `set` only sets positional parameters, or options that change neither how words are read nor what runs.
fn is_plain_set(arguments: &[Word]) -> bool {
    let mut names = false;
    for word in arguments {
        let Some(text) = word.literal() else { return !names && !word.may_be_option() && !word.lead.starts_with('+') };
        if names {
            if !["pipefail", "errexit", "nounset", "noglob", "noclobber", "xtrace", "verbose"].contains(&text) {
                return false;
            }
            names = false;
        } else if matches!(text, "--" | "-") {
            return true;
        } else if let Some(letters) = text.strip_prefix(['-', '+']) {
            if !letters.bytes().all(|letter| b"euxvfCo".contains(&letter)) {
                return false;
            }
            names = letters.contains('o');
        } else {
            return true;
        }
    }
    true
}

fn indexed(name: &str, arguments: &[Word]) -> Option<String> {
    let declares = matches!(name, "export" | "readonly" | "declare" | "typeset" | "local");
    let why = || Some(format!("`{name}` with a variable that is not plain"));
    match name {
        "test" | "[" => {
            // `-v` takes a variable, and a word that is not known could be `-v`.
            let counts = |word: &Word| ["$#", "$?"].contains(&word.text.as_str());
            let dangerous = |(place, word): (usize, &Word)| {
                let next = arguments.get(place + 1);
                match word.literal() {
                    Some("-v" | "-R") => next.and_then(Word::literal).is_none_or(|variable| !is_name(variable)),
                    Some(_) => false,
                    None if word.shape == Shape::Any => !counts(word),
                    None => {
                        let index = |next: &Word| next.literal().map_or(!counts(next), |text| text.contains('[') && text.len() > 1);
                        word.may_be_option() && next.is_some_and(index)
                    }
                }
            };
            arguments.iter().enumerate().any(dangerous).then(why)?
        }
        "printf" => {
            let first = arguments.first()?;
            match first.literal() {
                Some("-v") => arguments.get(1).and_then(Word::literal).is_none_or(|variable| !is_name(variable)).then(why)?,
                Some(text) if text.starts_with("-v") => why(),
                Some(_) => None,
                None => {
                    let indexed = arguments.get(1).is_some_and(|word| word.literal().is_none_or(|text| text.contains('[')));
                    (first.may_be_option() && (first.shape == Shape::Any || indexed)).then(why)?
                }
            }
        }
        _ => {
            for argument in arguments {
                let known = argument.lead.split('=').next().unwrap_or_default().trim_end_matches('+');
                let complete = argument.shape == Shape::Literal || argument.lead.contains('=');
                let option = known.starts_with('-') && argument.shape == Shape::Literal;
                // Names that refer to others, arithmetic values, arrays.
                if option && declares && known.contains(['n', 'i', 'a', 'A']) {
                    return why();
                }
                if !option
                    && (!complete
                        || (argument.shape == Shape::Any && declares)
                        || argument.text.contains('[') && !argument.lead.contains('=')
                        || known.contains('['))
                {
                    return why();
                }
            }
            None
        }
    }
}

/// The variables that a builtin sets, where they are plain.
pub fn sets(words: &[Word]) -> Vec<String> {
    let Some(name) = words.first().and_then(Word::literal) else { return Vec::new() };
    let arguments = words.get(1..).unwrap_or_default();
    let names = |words: &[Word]| {
        let names = words.iter().map(|word| word.lead.split(['=', '+']).next().unwrap_or_default().to_owned());
        names.filter(|name| is_name(name)).collect()
    };
    match name {
        "export" | "readonly" | "declare" | "typeset" | "local" | "read" | "mapfile" | "readarray" | "getopts" | "unset" => {
            names(arguments)
        }
        "printf" if arguments.first().and_then(Word::literal) == Some("-v") => names(arguments.get(1..2).unwrap_or_default()),
        _ => Vec::new(),
    }
}
