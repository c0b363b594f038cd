//! Names and patterns as expressions of Seatbelt's, which are a subset of POSIX' extended ones: classes, `.`, `*`, `+`, `?`, `|` and brackets, and
//! no case folding.
//!
//! A Mac's usual file system takes `.ENV` and `.env` for one name, while Seatbelt compares the name as it was given. So every letter becomes a
//! class of both its cases, which only ever takes more away. For the same reason what cannot be matched in all its spellings is refused.

use globset::GlobBuilder;
use regex_syntax::{
    ParserBuilder,
    hir::{Class, ClassBytes, Hir, HirKind},
};

use super::refusal::Refusal;

/// Any folders, or none. A dot might not stand for every character: a name may hold the end of a line.
pub const ANYWHERE: &str = "([^/]*/)*";
/// The end of a name, or what lies in the folder of that name.
pub const END: &str = "(/|$)";

/// What a path begins with, exactly.
pub fn quoted(text: &str) -> String {
    let mut out = String::new();
    text.chars().for_each(|character| push_quoted(&mut out, character));
    out
}

/// A relative path in any case; `None` where it has characters beyond ASCII.
pub fn in_any_case(text: &str) -> Option<String> {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            'a'..='z' | 'A'..='Z' => out.extend(['[', character.to_ascii_lowercase(), character.to_ascii_uppercase(), ']']),
            ' '..='~' => push_quoted(&mut out, character),
            _ => return None,
        }
    }
    Some(out)
}

fn push_quoted(out: &mut String, character: char) {
    if matches!(character, '\\' | '.' | '^' | '$' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|') {
        out.push('\\');
    }
    out.push(character);
}

/// A pattern of a policy's, as expressions for what it matches relative to a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// What it matches, and what lies in that. It says itself where it ends.
    pub whole: String,
    /// The folders that it spells out on the way; to move one would carry what is in it past the pattern.
    pub folders: Vec<String>,
}

/// Reads a pattern. The last part alone may hold wildcards, after a leading `**/`: see [`Refusal::GlobFolder`].
///
/// # Errors
/// Where Seatbelt could not hold it in every case.
pub fn pattern(glob: &str) -> Result<Pattern, Refusal> {
    if !glob.chars().all(|character| matches!(character, ' '..='~')) {
        return Err(Refusal::GlobCharacters { glob: glob.to_owned() });
    }
    let (anywhere, rest) = match glob.strip_prefix("**/") {
        Some(rest) => (true, rest),
        None => (false, glob),
    };
    if rest.is_empty() || rest == "**" {
        return Err(Refusal::Glob { glob: glob.to_owned(), reason: "it takes everything".to_owned() });
    }
    let (rest, below_only) = match rest.strip_suffix("/**") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let folders: Vec<&str> = rest.split('/').collect();
    let spelled = if below_only { folders.as_slice() } else { &folders[..folders.len().saturating_sub(1)] };
    let wild = |part: &&&str| part.contains(['*', '?', '[', ']', '{', '}', '\\', '!']);
    if spelled.iter().any(|part| wild(&part)) || rest.contains("**") {
        return Err(Refusal::GlobFolder { glob: glob.to_owned() });
    }
    let before = if anywhere { ANYWHERE } else { "" };
    let characters = || Refusal::GlobCharacters { glob: glob.to_owned() };
    let mut on_the_way = Vec::new();
    for end in 1..=spelled.len() {
        on_the_way.push(format!("{before}{}", in_any_case(&spelled[..end].join("/")).ok_or_else(characters)?));
    }
    let whole = if below_only {
        format!("{before}{}/[^/]", in_any_case(rest).ok_or_else(characters)?)
    } else {
        format!("{before}{}{END}", converted(glob, rest)?)
    };
    Ok(Pattern { whole, folders: on_the_way })
}

/// What stands behind a leading `**/`, by way of the expression that the policy's own matcher uses.
fn converted(glob: &str, rest: &str) -> Result<String, Refusal> {
    let refuse = |reason: String| Refusal::Glob { glob: glob.to_owned(), reason };
    let built = GlobBuilder::new(rest).literal_separator(true).backslash_escape(true).case_insensitive(true).build();
    let built = built.map_err(|error| refuse(error.kind().to_string()))?;
    let parsed = ParserBuilder::new().utf8(false).unicode(false).dot_matches_new_line(true).build().parse(built.regex());
    let mut out = String::new();
    push(&mut out, &parsed.map_err(|_| refuse("it is too long".to_owned()))?, false).map_err(|reason| refuse(reason.to_owned()))?;
    Ok(out)
}

fn push(out: &mut String, expression: &Hir, repeated: bool) -> Result<(), &'static str> {
    match expression.kind() {
        // The whole is anchored where it is put together.
        HirKind::Look(_) => {}
        HirKind::Empty => return Err("one of its choices is empty"),
        HirKind::Literal(literal) => {
            for byte in literal.0.iter() {
                match byte {
                    b' '..=b'~' => push_quoted(out, char::from(*byte)),
                    _ => return Err("it has characters beyond ASCII"),
                }
            }
        }
        HirKind::Class(Class::Bytes(class)) => push_class(out, class, repeated),
        HirKind::Class(Class::Unicode(class)) => {
            push_class(out, &class.to_byte_class().ok_or("it has characters beyond ASCII")?, repeated);
        }
        HirKind::Repetition(repetition) => {
            out.push('(');
            push(out, &repetition.sub, true)?;
            out.push(')');
            out.push(match (repetition.min, repetition.max) {
                (0, None) => '*',
                (1, None) => '+',
                (0, Some(1)) => '?',
                _ => return Err("it counts"),
            });
        }
        HirKind::Capture(capture) => push(out, &capture.sub, repeated)?,
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| push(out, part, false))?,
        HirKind::Alternation(choices) => {
            out.push('(');
            for (number, choice) in choices.iter().enumerate() {
                if number > 0 {
                    out.push('|');
                }
                push(out, choice, false)?;
            }
            out.push(')');
        }
    }
    Ok(())
}

/// A class by the printable characters in it. A character beyond ASCII is several bytes, and whether an expression sees the one or the others
/// is nowhere written down: so a class that has such bytes takes any run of them.
fn push_class(out: &mut String, class: &ClassBytes, repeated: bool) {
    let has = |byte: u8| class.ranges().iter().any(|range| range.start() <= byte && byte <= range.end());
    let printable: Vec<u8> = (b' '..=b'~').filter(|byte| has(*byte)).collect();
    let beyond = (0..=u8::MAX).any(|byte| !matches!(byte, b' '..=b'~') && has(byte));
    let lacking: Vec<u8> = (b' '..=b'~').filter(|byte| !has(*byte)).collect();
    match (beyond, repeated, lacking.as_slice()) {
        (true, true, []) => out.push_str("[^/]|/"),
        (true, true, [b'/']) => out.push_str("[^/]"),
        (true, ..) if printable.is_empty() => out.push_str("[^ -~]+"),
        (true, ..) => {
            out.push('(');
            push_members(out, &printable);
            out.push_str("|[^ -~]+)");
        }
        (false, ..) => push_members(out, &printable),
    }
}

/// Members in runs. Within brackets nothing can be escaped in POSIX' expressions, so the special ones stand where they are plain.
fn push_members(out: &mut String, members: &[u8]) {
    if let [byte] = members {
        return push_quoted(out, char::from(*byte));
    }
    let (special, plain): (Vec<u8>, Vec<u8>) = members.iter().partition(|byte| matches!(**byte, b']' | b'^' | b'-' | b'[' | b'\\'));
    let mut parts: Vec<String> = special.iter().map(|byte| format!("\\{}", char::from(*byte))).collect();
    if !plain.is_empty() {
        let mut class = String::from("[");
        let mut at = 0;
        while let Some(first) = plain.get(at) {
            let mut last = at;
            while plain.get(last + 1).is_some_and(|next| *next == plain[last] + 1) {
                last += 1;
            }
            class.push(char::from(*first));
            if last > at + 1 {
                class.push('-');
            }
            if last > at {
                class.push(char::from(plain[last]));
            }
            at = last + 1;
        }
        class.push(']');
        parts.push(class);
    }
    if let [part] = parts.as_slice() {
        out.push_str(part);
    } else {
        out.push('(');
        out.push_str(&parts.join("|"));
        out.push(')');
    }
}
