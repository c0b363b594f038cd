//! Shell text → the simple commands in it, as far as it is plainly understood.
//!
//! **The grammar** is `tree-sitter-bash` (MIT, the tree-sitter organisation's own), read through `tree-sitter` (MIT). `brush-parser` 0.4 (MIT, pure
//! Rust, the grammar of a working shell) was weighed against it and is the closer match to bash, but it is no parser for hostile text:
//! `~99999999999999999999999` panics in it, which ends a program that is built with `panic = "abort"`; the time for `((((…` doubles with
//! each parenthesis (97 ms for 22 of them); it recurses without a bound; it keeps the last texts in a cache for the whole process; and it
//! brings some fifty crates along, a library for tests among them. tree-sitter never recurses on the text, never panics, marks what it cannot
//! read as an error, adds four crates, and builds in five seconds. Its price is C code (a generated table, a scanner of 1200 lines and the
//! runtime) that reads at most [`LONGEST`] bytes of text without control characters, and that it tries hard to repair a broken text, which can take
//! seconds. So it is stopped as soon as it begins to repair, and after 200 ms in any case: the one thing in here that depends on a clock.
//!
//! **Two readings.** That grammar is made for editors and guesses where bash would not (`time { ls; }`, two here-documents on a line). So its tree is
//! trusted with structure alone. Words, quotes, assignments and redirections are read a second time, from the text, by the shell's own
//! rules for tokens (`lex`), and the two readings must agree: each command must end where a command can end, and every byte of the text
//! must belong to exactly one thing that is understood, or be a blank or a comment. What is left over, or claimed twice, makes the text *opaque*.
//!
//! **Opaque** is whatever is not on the short list of what is understood. An opaque text may run, as the policy says; it is never taken
//! for less than it is. `tests/approval/differential.rs` compares what is understood with what a real bash executed.

mod lex;
mod walk;

use std::ops::Range;

pub use crate::policy::command::{DEEPEST, LONGEST, MOST_COMMANDS};

/// Which shell will run a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// bash 4 or 5, not interactive, as `bash -c` starts it.
    Bash,
    /// Some POSIX shell: what bash has beyond it is opaque.
    Posix,
}

/// How many words a word may become when it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Itself: all of it is known.
    Literal,
    /// One word that is not known before it runs.
    One,
    /// Any number of words, none included: it is split, or matched against files.
    Any,
}

/// One word of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The word without its quotes; what is not known stands as it was written.
    pub text: String,
    /// How much of it is known.
    pub shape: Shape,
    /// The known characters that it begins with, all of them if it is a literal.
    pub lead: String,
    /// Where it stands in the text, in bytes.
    pub span: Range<usize>,
    /// Whether it was written without any quote or expansion, so that it can be a reserved word.
    pub plain: bool,
}

impl Word {
    /// The word, if all of it is known.
    pub fn literal(&self) -> Option<&str> {
        (self.shape == Shape::Literal).then_some(self.text.as_str())
    }

    /// Whether it could turn out to be an option.
    pub fn may_be_option(&self) -> bool {
        match self.shape {
            Shape::Literal => self.text.starts_with('-') && self.text.len() > 1,
            Shape::One | Shape::Any => self.lead.is_empty() || self.lead.starts_with('-'),
        }
    }
}

/// `NAME=value`, before a command or alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The variable.
    pub name: String,
    /// Its value.
    pub value: Word,
}

/// What a redirection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectKind {
    /// `<`
    Read,
    /// `>`, `>>`, `>|`, `&>`, `&>>`, `<>`, and `>&` to a file.
    Write,
    /// `2>&1`, `<&3`, `>&-`: nothing is opened.
    Duplicate,
    /// `<<` and `<<-`.
    HereDocument,
    /// `<<<`
    HereString,
}

/// A redirection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// What it does.
    pub kind: RedirectKind,
    /// The file, descriptor, delimiter or string.
    pub target: Word,
    /// Where it stands in the text, in bytes.
    pub span: Range<usize>,
}

impl Redirect {
    /// Whether it opens a file for writing. The null device and the streams that are there already are no files.
    pub fn writes(&self) -> bool {
        let harmless = ["/dev/null", "/dev/stdout", "/dev/stderr"];
        self.kind == RedirectKind::Write && !self.target.literal().is_some_and(|path| harmless.contains(&path))
    }
}

/// One simple command. Without words it is a set of assignments, or the redirections of a compound command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Simple {
    /// The assignments before it.
    pub assignments: Vec<Assignment>,
    /// The program and its arguments.
    pub words: Vec<Word>,
    /// Its redirections.
    pub redirects: Vec<Redirect>,
    /// Where it stands in the text, in bytes.
    pub span: Range<usize>,
}

/// Why a text is not plainly understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opaque {
    /// In words that can follow "it holds".
    pub what: String,
    /// Where, in bytes of the text.
    pub span: Range<usize>,
    /// Whether the text was too long, too deep or had too many commands to be read at all.
    pub over_budget: bool,
}

impl Opaque {
    pub(super) fn new(what: impl Into<String>, span: Range<usize>) -> Self {
        Self { what: what.into(), span, over_budget: false }
    }

    pub(super) fn budget(what: impl Into<String>, span: Range<usize>) -> Self {
        Self { what: what.into(), span, over_budget: true }
    }
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// All simple commands in the order of the text, those of branches, functions and substitutions included. Where the text is opaque,
    /// those that were found all the same.
    pub commands: Vec<Simple>,
    /// The names of the functions that the text defines.
    pub functions: Vec<String>,
    /// The first thing that is not plainly understood; `None` if everything is.
    pub opaque: Option<Opaque>,
}

/// Reads a text. `depth` counts the texts around it and `commands` those already found in them.
pub fn read(text: &str, dialect: Dialect, depth: usize, commands: usize) -> Script {
    let refuse = |opaque| Script { opaque: Some(opaque), ..Script::default() };
    if text.len() > LONGEST {
        return refuse(Opaque::budget(format!("more than {} KiB of text", LONGEST / 1024), LONGEST..text.len()));
    }
    if depth > DEEPEST {
        return refuse(Opaque::budget(format!("more than {DEEPEST} levels of nesting"), 0..text.len()));
    }
    // What bash and a person who reads along could take for different things.
    let strange =
        |c: char| (c.is_control() && c != '\n' && c != '\t') || crate::policy::is_hidden(c) || (c.is_whitespace() && !c.is_ascii());
    if let Some((at, c)) = text.char_indices().find(|(_, c)| strange(*c)) {
        return refuse(Opaque::new(format!("the invisible character U+{:04X}", c as u32), at..at + c.len_utf8()));
    }
    walk::walk(text, dialect, depth, commands)
}
