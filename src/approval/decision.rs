//! The rules of a policy over the text of a shell command.
//!
//! Rules are for convenience; the kernel is the boundary. `forbid` beats `ask`, and `ask` beats `allow`, over all simple commands of a text and all
//! levels of the wrappers around them.
//!
//! - A rule that **forbids or asks** matches anywhere: in any command of the text, at any level, by any path, with options between its words.
//!   Where a word that is not known before it runs could complete it, it matches if the word that is missing stands anywhere in the text.
//! - A rule that **allows** covers one simple command, and only where all of it is plainly understood: bound to the binary that the sandbox's
//!   `PATH` finds, with no variable set that changes what programs do, no file written by a redirection, and no option that makes the program run
//!   code or write files unless the rule itself spells that option out. A text is allowed by rules if each of its commands is.
//! - Of an **opaque** text, and of one that holds a program in another language, the rules that forbid or ask are looked for among its bare
//!   words, wherever those stand. Whatever else it may hold meets the sandbox.
//! - Where no rule decides, `[approval] ask` does. A text over the budget asks, if there is any rule that it could hide something from.

use std::collections::{BTreeSet, HashMap};

use super::{
    binding::Binaries,
    facts::Fact,
    reading::{JudgedCommand, Level, Reading, given},
    shell::{Dialect, Opaque, Shape, Word},
};
use crate::policy::{Ask, CommandRule, Decision, Given, Policy, Reach, command::file_name, reach};

/// What holds for a command, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It runs, confined.
    Allow {
        /// The rule that allows it; `None` where no rule decides.
        rule: Option<CommandRule>,
    },
    /// A person would have to be asked.
    Ask {
        /// Why, with the rule's file and line.
        reason: String,
    },
    /// It does not run.
    Forbid {
        /// Why, with the rule's file and line.
        reason: String,
    },
}

/// The judgement on a text, with all that a person would want to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What holds.
    pub judgement: Judgement,
    /// The simple commands, in the order of the text.
    pub commands: Vec<JudgedCommand>,
    /// The first thing that is not plainly understood.
    pub opaque: Option<Opaque>,
    /// The rule that was found among the bare words of a text that is opaque, or that holds a program in another language.
    pub found: Option<CommandRule>,
}

/// The rules of one policy, ready to judge texts.
#[derive(Debug, Clone)]
pub struct Rules {
    rules: Vec<CommandRule>,
    /// The rules by the name of their program, paths taken off.
    by_name: HashMap<String, Vec<usize>>,
    /// What a person has allowed besides: rules that allow, and that answer a rule which asks for no more than they spell out.
    granted: Vec<CommandRule>,
    ask: Ask,
    binaries: Binaries,
    dialect: Dialect,
}

/// Judges the text of a shell command as bash reads it, without a `PATH` to bind names to.
pub fn judge(policy: &Policy, text: &str) -> Judgement {
    Rules::new(policy, Binaries::unknown(), Dialect::Bash).judge(text).judgement
}

impl Rules {
    /// Prepares a policy's rules for the shell that will run the texts.
    pub fn new(policy: &Policy, binaries: Binaries, dialect: Dialect) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, rule) in policy.commands.iter().enumerate() {
            if let Some(program) = rule.prefix.first() {
                by_name.entry(file_name(program).to_owned()).or_default().push(place);
            }
        }
        Self { rules: policy.commands.clone(), by_name, granted: Vec::new(), ask: policy.ask, binaries, dialect }
    }

    /// The same rules with what a person has allowed besides. A granted rule overrides one that asks, unless that one is more specific; it never
    /// overrides one that forbids.
    #[must_use]
    pub fn with_granted(mut self, granted: Vec<CommandRule>) -> Self {
        self.granted = granted;
        self
    }

    /// The same rules in another mode.
    #[must_use]
    pub fn in_mode(mut self, ask: Ask) -> Self {
        self.ask = ask;
        self
    }

    /// The words of a judged text that a person could allow for longer, and the fewest to which they may be shortened: those of its one command, if
    /// all of it is plainly understood. `None` where only the very text can be allowed. `bound` says of a program's name that it stands for a binary which no
    /// call can replace.
    pub fn words_to_grant(judged: &Judged, bound: &dyn Fn(&str) -> bool) -> Option<(Vec<String>, usize)> {
        let ([command], None) = (judged.commands.as_slice(), &judged.opaque) else { return None };
        let [level] = command.levels.as_slice() else { return None };
        let words: Vec<String> = level.words.iter().map(|word| word.literal().map(str::to_owned)).collect::<Option<_>>()?;
        let plain = command.simple.assignments.is_empty()
            && command.facts.is_empty()
            && level.facts.iter().all(|fact| fact.is_covered_by(words.len()));
        if !plain || !bound(words.first()?) {
            return None;
        }
        // The subcommand stays: `git` alone would be `git push` too. So does what makes a fact, and as much as the rule that asks spells out.
        let needed = (1..=words.len()).find(|count| level.facts.iter().all(|fact| fact.is_covered_by(*count))).unwrap_or(words.len());
        let known: Vec<Given<'_>> = words.iter().map(|word| Given::Known(word)).collect();
        let reached =
            |rule: &CommandRule| (1..=known.len()).find(|count| reach(rule, &known[..*count]) == Reach::Yes).unwrap_or(known.len());
        let asked = command.rule.as_ref().map_or(0, reached);
        let shortest = needed.max(asked).max(2).min(words.len());
        Some((words, shortest))
    }

    /// Judges a call that is no shell command: only the mode counts.
    pub fn judge_other(&self) -> Judgement {
        match self.ask {
            Ask::Always => Judgement::Ask { reason: ASKS_ALWAYS.to_owned() },
            Ask::WhenNeeded | Ask::Never => Judgement::Allow { rule: None },
        }
    }

    /// Judges a text.
    pub fn judge(&self, text: &str) -> Judged {
        let Reading { opaque, mut commands, functions, set, .. } = Reading::of(text, self.dialect);
        // What a rule may need to find elsewhere, split once and only if it is needed.
        let mut elsewhere: Option<BTreeSet<String>> = None;
        let undisturbed = opaque.is_none() && set.iter().all(|variable| variable.keeps_rules());
        for command in &mut commands {
            self.judge_strictly(command, &mut |word| {
                elsewhere.get_or_insert_with(|| bare_words(text).into_iter().flatten().collect()).contains(word)
            });
            if command.decision.is_none() && undisturbed {
                command.rule = self.allowing(command, &functions, Whose::Policy).cloned();
                command.decision = command.rule.as_ref().map(|rule| rule.decision);
            }
            if matches!(command.decision, None | Some(Decision::Ask))
                && undisturbed
                && let Some(granted) = self.allowing(command, &functions, Whose::Person)
                && self.answers(granted, command)
            {
                command.rule = Some(granted.clone());
                command.decision = Some(Decision::Allow);
            }
        }
        // A program in another language is no shell text, but its bare words are worth as much as those of an opaque one.
        let runs_code = |level: &Level| level.facts.iter().any(|fact| matches!(fact, Fact::RunsCode { .. }));
        let search = opaque.is_some() || commands.iter().flat_map(|command| &command.levels).any(runs_code);
        let found = search.then(|| self.among_bare_words(text)).flatten().cloned();
        let judgement = self.conclude(&commands, opaque.as_ref(), found.as_ref());
        Judged { judgement, commands, opaque, found }
    }

    /// Puts everything together: forbid > ask > allow, then the budget, then the mode.
    fn conclude(&self, commands: &[JudgedCommand], opaque: Option<&Opaque>, found: Option<&CommandRule>) -> Judgement {
        let deciding = commands.iter().filter_map(|command| command.rule.as_ref()).chain(found);
        let strictest = deciding.max_by_key(|rule| (rule.decision, rule.prefix.len()));
        match strictest {
            Some(rule) if rule.decision == Decision::Forbid => return Judgement::Forbid { reason: because(rule) },
            Some(rule) if rule.decision == Decision::Ask => return self.asks(because(rule)),
            _ => {}
        }
        if let Some(opaque) = opaque.filter(|opaque| opaque.over_budget)
            && self.rules.iter().any(|rule| rule.decision != Decision::Allow)
        {
            return self.asks(format!("it holds {}, more than is judged; split it into several commands", opaque.what));
        }
        // Redirections and assignments of their own need no rule as long as they change nothing.
        let needs_rule = |command: &&JudgedCommand| !command.levels.is_empty() || !command.facts.is_empty();
        let mut rules = commands.iter().filter(needs_rule).map(|command| command.rule.as_ref());
        let first = rules.next().flatten();
        if opaque.is_none()
            && let Some(rule) = first
            && rules.all(|rule| rule.is_some())
        {
            return Judgement::Allow { rule: Some(rule.clone()) };
        }
        self.judge_other()
    }

    fn asks(&self, reason: String) -> Judgement {
        match self.ask {
            Ask::WhenNeeded | Ask::Always => Judgement::Ask { reason },
            Ask::Never => Judgement::Forbid {
                reason: format!("it would have to ask, and the policy asks nobody ([approval] ask = \"never\"): {reason}"),
            },
        }
    }

    fn named(&self, program: &str) -> impl Iterator<Item = &CommandRule> {
        self.by_name.get(file_name(program)).into_iter().flatten().filter_map(|place| self.rules.get(*place))
    }

    /// Looks for rules that forbid or ask, at every level.
    fn judge_strictly(&self, command: &mut JudgedCommand, elsewhere: &mut dyn FnMut(&str) -> bool) {
        let mut best: Option<(&CommandRule, bool)> = None;
        let mut hit = |rule, perhaps: bool| {
            let rank = |rule: &CommandRule, perhaps: bool| (rule.decision, !perhaps, rule.prefix.len());
            if best.is_none_or(|(other, unsure)| rank(rule, perhaps) > rank(other, unsure)) {
                best = Some((rule, perhaps));
            }
        };
        for level in &command.levels {
            let mut given = given(&level.words);
            let Some(Given::Known(program)) = given.first().copied() else {
                // A program that is not known may be any that the text names.
                for rule in self.rules.iter().filter(|rule| rule.decision != Decision::Allow) {
                    if let (Some(first), Some(name)) = (given.first_mut(), rule.prefix.first()) {
                        *first = Given::Known(name);
                    }
                    if reach(rule, &given) > Reach::No && rule.prefix.iter().all(|word| elsewhere(file_name(word))) {
                        hit(rule, true);
                    }
                }
                continue;
            };
            for rule in self.named(program).filter(|rule| rule.decision != Decision::Allow) {
                match reach(rule, &given) {
                    Reach::No => {}
                    Reach::Maybe => {
                        if rule.prefix.iter().skip(1).all(|word| elsewhere(word)) {
                            hit(rule, true);
                        }
                    }
                    Reach::Yes => hit(rule, false),
                }
            }
        }
        if let Some((rule, perhaps)) = best {
            command.decision = Some(rule.decision);
            command.rule = Some(rule.clone());
            command.perhaps = perhaps;
        }
    }

    /// Whether a grant answers all rules that ask about a command: each of them has to be about the very words that were granted, and not about others
    /// of the command or about a wrapper around them.
    fn answers(&self, granted: &CommandRule, command: &JudgedCommand) -> bool {
        let words: Vec<Given<'_>> = granted.prefix.iter().map(|word| Given::Known(word)).collect();
        let asks = |rule: &&CommandRule| rule.decision == Decision::Ask && command.reached_by(rule) > Reach::No;
        self.rules.iter().filter(asks).all(|rule| reach(rule, &words) == Reach::Yes)
    }

    /// The rule that allows a command, all of its levels considered.
    fn allowing(&self, command: &JudgedCommand, functions: &BTreeSet<String>, whose: Whose) -> Option<&CommandRule> {
        let free = |facts: &[Fact]| facts.iter().all(|fact| *fact == Fact::ChangesFolder);
        if command.levels.is_empty() || !free(&command.facts) {
            return None;
        }
        let last = command.levels.len() - 1;
        let mut allowing = None;
        for (place, level) in command.levels.iter().enumerate() {
            if level.transparent && place < last && free(&level.facts) {
                let name = level.words.first()?.literal()?;
                // A wrapper that lies elsewhere under the same name is another program.
                if name.contains('/') || functions.contains(name) {
                    return None;
                }
                continue;
            }
            allowing = Some(self.allowing_level(level, functions, whose)?);
        }
        allowing
    }

    fn allowing_level(&self, level: &Level, functions: &BTreeSet<String>, whose: Whose) -> Option<&CommandRule> {
        let program = level.words.first()?.literal()?;
        // A word that is not known could be an option, or several.
        let plain = |word: &Word| word.shape == Shape::Literal || !word.may_be_option();
        if functions.contains(program) || !level.words.iter().all(plain) {
            return None;
        }
        let mut given = given(&level.words);
        let rules: Box<dyn Iterator<Item = &CommandRule>> = match whose {
            Whose::Policy => Box::new(self.named(program)),
            Whose::Person => Box::new(self.granted.iter()),
        };
        rules
            .filter(|rule| rule.decision == Decision::Allow)
            .filter(|rule| {
                let Some(name) = rule.prefix.first().filter(|name| self.binaries.binds(name, program)) else { return false };
                if let Some(first) = given.first_mut() {
                    *first = Given::Known(name);
                }
                reach(rule, &given) == Reach::Yes && level.facts.iter().all(|fact| fact.is_covered_by(rule.prefix.len()))
            })
            .max_by_key(|rule| rule.prefix.len())
    }

    /// The strictest rule whose words stand one behind the other among the bare words of a text.
    fn among_bare_words(&self, text: &str) -> Option<&CommandRule> {
        let mut best: Option<&CommandRule> = None;
        for words in bare_words(text) {
            let given: Vec<Given<'_>> = words.iter().map(|word| Given::Known(word)).collect();
            for (place, word) in words.iter().enumerate() {
                // Options may stand between the words, but not a whole text.
                let window = given.get(place..given.len().min(place + WINDOW)).unwrap_or_default();
                for rule in self.named(word).filter(|rule| rule.decision != Decision::Allow) {
                    let wider = best.is_none_or(|other| (rule.decision, rule.prefix.len()) > (other.decision, other.prefix.len()));
                    if wider && reach(rule, window) == Reach::Yes {
                        best = Some(rule);
                    }
                }
            }
        }
        best
    }
}

const ASKS_ALWAYS: &str = "the policy asks before each call ([approval] ask = \"always\")";
/// How many bare words behind a program's name are searched for the rest of a rule.
const WINDOW: usize = 24;

fn because(rule: &CommandRule) -> String {
    format!("{} (rule `{}`, {})", rule.why, rule.prefix.join(" "), rule.origin)
}

/// The words of a text with all of the shell's punctuation taken for blanks; once with quotes among it, and once with quotes taken away.
fn bare_words(text: &str) -> [Vec<String>; 2] {
    let text = text.replace("${IFS}", " ").replace("$IFS", " ");
    let split = |text: &str| -> Vec<String> {
        let mark = |c: char| c.is_whitespace() || c.is_control() || ";|&()<>$`{}\"'\\=,!".contains(c);
        text.split(mark).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let without = text.replace("\\\n", "").replace(['"', '\'', '\\'], "");
    [split(&text), split(&without)]
}

/// Whose rules are looked through for one that allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// The policy's.
    Policy,
    /// What a person has allowed besides.
    Person,
}
