//! From the text of a shell command to all that it would run: its simple commands, those of the texts in it, and for each the levels of what wrappers run.

use std::{collections::BTreeSet, ops::Range};

use super::{
    builtin,
    facts::{self, Fact},
    shell::{self, Dialect, MOST_COMMANDS, Opaque, Shape, Simple, Word},
    unwrap::{Opened, open},
};
use crate::policy::{CommandRule, Decision, Given, Reach, reach};

/// One level of a command: what was written, or what a wrapper runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// The program and its arguments.
    pub words: Vec<Word>,
    /// What there is to know of it.
    pub facts: Vec<Fact>,
    /// Whether who allows the next level allows this one.
    pub(super) transparent: bool,
}

/// One simple command of a text, with what its wrappers run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedCommand {
    /// The simple command as it was read.
    pub simple: Simple,
    /// What it stands in, outermost first, such as `sh -c` or `find -exec`.
    pub within: Vec<String>,
    /// The command, then what it runs, what that runs, and so on.
    pub levels: Vec<Level>,
    /// What there is to know of its assignments and redirections.
    pub facts: Vec<Fact>,
    /// What the rules say of it; `None` where no rule matches, so that `[approval]` decides.
    pub decision: Option<Decision>,
    /// The rule that decided, with its file and line.
    pub rule: Option<CommandRule>,
    /// Whether the rule matches only if a word that is not known turns out to be the rule's.
    pub perhaps: bool,
    /// Where it stands in the text, in bytes; for a command in a text in the text, where that stands.
    pub span: Range<usize>,
}

impl JudgedCommand {
    /// Whether a rule matches it, at any of its levels, whether or not the rule decided.
    pub fn reached_by(&self, rule: &CommandRule) -> Reach {
        self.levels.iter().map(|level| reach(rule, &given(&level.words))).max().unwrap_or(Reach::No)
    }
}

/// The words of a command as rules are held against them.
pub(super) fn given(words: &[Word]) -> Vec<Given<'_>> {
    let given = |word| match (Word::literal(word), word.shape) {
        (Some(text), _) => Given::Known(text),
        (None, Shape::Any) => Given::Any,
        (None, _) => Given::One,
    };
    words.iter().map(given).collect()
}

/// A variable that a text sets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Variable {
    name: String,
    /// Whether it goes into the environment of a command.
    exported: bool,
}

impl Variable {
    /// Whether rules that allow stay in force when it is set.
    pub(super) fn keeps_rules(&self) -> bool {
        if self.exported { facts::harmless(&self.name) } else { facts::local(&self.name) }
    }
}

/// What was read so far of a text and the texts in it.
#[derive(Default)]
pub(super) struct Reading {
    /// The first thing that is not plainly understood; a budget that is exceeded outweighs it.
    pub(super) opaque: Option<Opaque>,
    pub(super) commands: Vec<JudgedCommand>,
    /// The functions that are defined.
    pub(super) functions: BTreeSet<String>,
    /// The variables that are set.
    pub(super) set: BTreeSet<Variable>,
    /// Commands found so far, those that are no longer kept included.
    found: usize,
}

impl Reading {
    /// Reads a text as a shell would.
    pub(super) fn of(text: &str, dialect: Dialect) -> Self {
        let mut reading = Self::default();
        reading.text(text, dialect, &[], None, 0);
        reading
    }

    fn note(&mut self, opaque: Opaque) {
        if self.opaque.as_ref().is_none_or(|first| opaque.over_budget && !first.over_budget) {
            self.opaque = Some(opaque);
        }
    }

    fn full(&self) -> bool {
        self.opaque.as_ref().is_some_and(|opaque| opaque.over_budget)
    }

    /// Reads a text; one in a text has the `place` of the word that holds it.
    fn text(&mut self, text: &str, dialect: Dialect, within: &[String], place: Option<&Range<usize>>, depth: usize) {
        let script = shell::read(text, dialect, depth, self.found);
        self.found += script.commands.len();
        self.functions.extend(script.functions);
        if let Some(mut opaque) = script.opaque {
            if let Some(place) = place {
                opaque.span = place.clone();
            }
            self.note(opaque);
        }
        for simple in script.commands {
            if self.full() {
                return;
            }
            let span = place.cloned().unwrap_or_else(|| simple.span.clone());
            self.simple(simple, within, span, depth);
        }
    }

    /// A variable that is set for what follows.
    fn set(&mut self, name: &str, exported: bool, span: &Range<usize>) {
        // The shell reads what follows by these, or runs what they hold.
        if matches!(name, "BASH_ENV" | "ENV" | "PS4" | "PS0" | "PROMPT_COMMAND" | "SHELLOPTS" | "BASHOPTS" | "POSIXLY_CORRECT") {
            self.note(Opaque::new(format!("a value for {name}, which the shell runs or reads by"), span.clone()));
        }
        self.set.insert(Variable { name: name.to_owned(), exported });
    }

    fn simple(&mut self, simple: Simple, within: &[String], span: Range<usize>, depth: usize) {
        let exported = !simple.words.is_empty();
        for assignment in &simple.assignments {
            self.set(&assignment.name, exported, &span);
        }
        let facts = facts::of_surroundings(&simple.assignments, &simple.redirects);
        let mut command = JudgedCommand {
            simple,
            within: within.to_vec(),
            levels: Vec::new(),
            facts,
            decision: None,
            rule: None,
            perhaps: false,
            span: span.clone(),
        };
        let last = self.levels(&mut command, depth);
        self.commands.push(command);
        match last {
            Opened::Text { text, dialect, by, span: place } => {
                let place = if within.is_empty() { place } else { span };
                if dialect.is_none() {
                    self.note(Opaque::new(format!("a text for `{by}`, whose grammar is not read here"), place.clone()));
                }
                self.text(&text, dialect.unwrap_or(Dialect::Bash), &inside(within, by), Some(&place), depth + 1);
            }
            Opened::Commands { commands, by, .. } => {
                let within = inside(within, by);
                for words in commands {
                    self.found += 1;
                    if self.found > MOST_COMMANDS {
                        return self.note(Opaque::budget(format!("more than {MOST_COMMANDS} commands"), span));
                    }
                    self.simple(Simple { words, span: span.clone(), ..Simple::default() }, &within, span.clone(), depth + 1);
                }
            }
            Opened::Program | Opened::Opaque(_) => {}
        }
    }

    /// Opens a command level by level, and returns what its last level runs besides: several commands, a text, or nothing.
    fn levels(&mut self, command: &mut JudgedCommand, depth: usize) -> Opened {
        let mut words = command.simple.words.clone();
        let redirects = !command.simple.redirects.is_empty();
        while !words.is_empty() {
            if depth + command.levels.len() > shell::DEEPEST {
                self.note(Opaque::budget(format!("more than {} levels of nesting", shell::DEEPEST), command.span.clone()));
                return Opened::Program;
            }
            if words.first().and_then(Word::literal).is_none() {
                self.note(Opaque::new("a program that is not known before it runs", command.span.clone()));
            }
            if let Some(what) = builtin::opaque(&words, redirects).or_else(|| facts::hides_command(&words)) {
                self.note(Opaque::new(what, command.span.clone()));
            }
            let mut facts = facts::of_words(&words);
            for name in builtin::sets(&words) {
                self.set(&name, true, &command.span);
                if facts::poisons(&name) {
                    facts.push(Fact::SetsVariable { name });
                }
            }
            let opened = open(&words);
            let transparent = matches!(opened, Opened::Commands { transparent: true, .. });
            command.levels.push(Level { words, facts, transparent });
            match opened {
                Opened::Commands { mut commands, assignments, .. } if commands.len() == 1 => {
                    for assignment in &assignments {
                        self.set(&assignment.name, true, &command.span);
                    }
                    command.facts.extend(facts::of_surroundings(&assignments, &[]));
                    words = commands.pop().unwrap_or_default();
                }
                Opened::Opaque(what) => {
                    self.note(Opaque::new(what, command.span.clone()));
                    return Opened::Program;
                }
                other => return other,
            }
        }
        Opened::Program
    }
}

fn inside(within: &[String], by: String) -> Vec<String> {
    within.iter().cloned().chain([by]).collect()
}
