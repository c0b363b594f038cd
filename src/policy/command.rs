//! Which rule holds for one simple command. Taking shell text apart is not done here: the words are those that run.
//!
//! A rule that allows is exact: the command begins with its very words. A rule that asks or forbids is wide, because a person who wrote
//! `git push` means every way of writing it: a path to the program is the program, options between its words are passed over, and an option in
//! the rule is found wherever it stands, also abbreviated, with a value, or in a bundle of letters.
//!
//! The examples of a rule are checked with the same function, [`reach`], when a policy is loaded.

use super::model::{CommandRule, Decision, Policy};

/// Longest shell text that rules judge, in bytes.
pub const LONGEST: usize = 16 * 1024;
/// Most simple commands in one text that rules judge, those in substitutions and in `sh -c` texts included.
pub const MOST_COMMANDS: usize = 50;
/// Deepest nesting of compounds, substitutions, wrappers and texts in texts that rules judge.
pub const DEEPEST: usize = 16;

/// What the rules of a policy say of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandVerdict {
    /// The strictest decision of all rules that match; `None` if none does, so that `[approval]` decides.
    pub decision: Option<Decision>,
    /// The rule that decided; of several equally strict ones that with the longest prefix.
    pub rule: Option<CommandRule>,
}

/// One word of a command, as far as it is known before it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given<'a> {
    /// It is this word.
    Known(&'a str),
    /// It is one word.
    One,
    /// It becomes any number of words, none included.
    Any,
}

/// Whether a rule matches a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// It does not, whatever the words that are not known turn out to be.
    No,
    /// It does if words that are not known turn out to be those of the rule.
    Maybe,
    /// It does.
    Yes,
}

/// Options of git before its subcommand whose value is the next word (git 2.47, `git.c`).
pub const GIT_WITH_VALUE: [&str; 8] =
    ["-C", "-c", "--git-dir", "--work-tree", "--namespace", "--config-env", "--super-prefix", "--attr-source"];

/// Whether `rule` matches the command that these words are.
pub fn reach(rule: &CommandRule, words: &[Given<'_>]) -> Reach {
    let (Some((name, rest)), Some(Given::Known(program))) = (rule.prefix.split_first(), words.first()) else { return Reach::No };
    if rule.decision == Decision::Allow {
        let exact = name == program
            && words.len() > rest.len()
            && rest.iter().zip(words.iter().skip(1)).all(|(wanted, word)| *word == Given::Known(wanted));
        return if exact { Reach::Yes } else { Reach::No };
    }
    let same = if name.contains('/') {
        name == program || (!program.contains('/') && file_name(name) == *program)
    } else {
        name == file_name(program)
    };
    if !same {
        return Reach::No;
    }
    // How surely the words of the rule so far can end before each place.
    let mut ends = vec![Reach::No; words.len() + 1];
    if let Some(first) = ends.get_mut(1) {
        *first = Reach::Yes;
    }
    for (number, wanted) in rest.iter().enumerate() {
        ends = step(file_name(program), number == 0, wanted, words, &ends);
    }
    ends.into_iter().max().unwrap_or(Reach::No)
}

/// The last part of a path.
pub fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_option(word: &str) -> bool {
    word.len() > 1 && word.starts_with(['-', '+']) && word != "--"
}

/// From where the words so far end to where they end with `wanted` behind them.
fn step(program: &str, first: bool, wanted: &str, words: &[Given<'_>], ends: &[Reach]) -> Vec<Reach> {
    let mut next = vec![Reach::No; ends.len()];
    if is_option(wanted) {
        // It counts behind the first place where the words so far can end; other words of the rule may stand before or behind it.
        let first = ends.iter().position(|sure| *sure > Reach::No).unwrap_or(ends.len());
        let found = option_stands_in(wanted, words.get(first..).unwrap_or_default());
        for (end, sure) in next.iter_mut().zip(ends) {
            *end = found.min(*sure);
        }
        return next;
    }
    let mut starts = ends.to_vec();
    let mut open = None;
    for (place, word) in words.iter().enumerate().skip(1) {
        let sure = starts.get(place).copied().unwrap_or(Reach::No);
        if sure == Reach::No {
            continue;
        }
        let raise = |list: &mut Vec<Reach>, at: usize, to: Reach| {
            if let Some(end) = list.get_mut(at) {
                *end = to.max(*end);
            }
        };
        match word {
            Given::Known(word) if *word == wanted => raise(&mut next, place + 1, sure),
            Given::Known("--") => raise(&mut starts, place + 1, sure),
            // Of git it is known which options take the next word, of others only which could.
            Given::Known(word) if is_option(word) && program == "git" && first => {
                let behind = if GIT_WITH_VALUE.contains(word) { place + 2 } else { place + 1 };
                raise(&mut starts, behind, sure);
            }
            Given::Known(word) if is_option(word) => {
                raise(&mut starts, place + 1, sure);
                if !word.contains('=') && (word.starts_with("--") || word.len() == 2) {
                    raise(&mut starts, place + 2, sure);
                }
            }
            Given::Known(_) => {}
            Given::One => {
                raise(&mut next, place + 1, Reach::Maybe);
                raise(&mut starts, place + 1, Reach::Maybe);
            }
            Given::Any => {
                raise(&mut starts, place + 1, Reach::Maybe);
                open.get_or_insert(place);
            }
        }
    }
    // What becomes any number of words may hold this one and more, so that all that follows may be the next one's place.
    for end in next.iter_mut().skip(open.unwrap_or(usize::MAX)) {
        *end = Reach::Maybe.max(*end);
    }
    next
}

/// Whether an option of a rule is among words: itself, abbreviated, with `=value`, or its letters in bundles.
fn option_stands_in(wanted: &str, words: &[Given<'_>]) -> Reach {
    let before_end = words.iter().take_while(|word| **word != Given::Known("--"));
    let mut unknown = false;
    let mut letters: Vec<char> = wanted.strip_prefix('-').filter(|rest| !rest.starts_with('-')).unwrap_or_default().chars().collect();
    let bundle = !letters.is_empty();
    for word in before_end {
        let Given::Known(word) = word else {
            unknown = true;
            continue;
        };
        if *word == wanted || word.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('=')) {
            return Reach::Yes;
        }
        if bundle && word.starts_with('-') && !word.starts_with("--") {
            letters.retain(|letter| !word.contains(*letter));
            if letters.is_empty() {
                return Reach::Yes;
            }
        }
        let name = word.split('=').next().unwrap_or(word);
        if wanted.starts_with("--") && name.len() > 2 && wanted.starts_with(name) {
            return Reach::Yes;
        }
    }
    if unknown { Reach::Maybe } else { Reach::No }
}

/// Whether the rule matches a command all of whose words are known.
pub fn matches(rule: &CommandRule, argv: &[String]) -> bool {
    let words: Vec<Given<'_>> = argv.iter().map(|word| Given::Known(word)).collect();
    reach(rule, &words) == Reach::Yes
}

/// Judges one simple command: `forbid` beats `ask`, `ask` beats `allow`.
pub fn judge_command(policy: &Policy, argv: &[String]) -> CommandVerdict {
    let rule = policy.commands.iter().filter(|rule| matches(rule, argv)).max_by_key(|rule| (rule.decision, rule.prefix.len()));
    CommandVerdict { decision: rule.map(|rule| rule.decision), rule: rule.cloned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Origin;

    fn rule(prefix: &str, decision: Decision) -> CommandRule {
        CommandRule {
            prefix: prefix.split(' ').map(str::to_owned).collect(),
            decision,
            why: String::new(),
            examples_match: Vec::new(),
            examples_not_match: Vec::new(),
            origin: Origin { file: String::new(), line: 1, group: None },
        }
    }

    /// `?` is one word that is not known, `*` any number.
    fn reached(prefix: &str, decision: Decision, command: &str) -> Reach {
        let words: Vec<Given<'_>> = command
            .split(' ')
            .map(|word| match word {
                "?" => Given::One,
                "*" => Given::Any,
                word => Given::Known(word),
            })
            .collect();
        reach(&rule(prefix, decision), &words)
    }

    #[test]
    fn a_rule_that_asks_is_reached_by_every_way_of_writing_its_words() {
        for (prefix, command) in [
            ("git push", "git push"),
            ("git push", "/usr/bin/git push origin"),
            ("git push", "git -C x push"),
            ("git push", "git --no-pager -c a=b --git-dir=x push"),
            ("git reset --hard", "git reset -q HEAD --hard"),
            ("git reset --hard", "git reset --har"),
            ("rm -rf", "rm -r -v -f x"),
            ("rm -rf", "rm -vfr x"),
            ("tool --force", "tool --force=yes"),
            ("cargo publish", "cargo +nightly --config x publish"),
            ("/usr/bin/git push", "git push"),
        ] {
            assert_eq!(reached(prefix, Decision::Ask, command), Reach::Yes, "{prefix}: {command}");
        }
        for (prefix, command) in [
            ("git push", "git pushx"),
            ("git push", "git stash push"),
            ("git push", "gitk push"),
            ("git push", "git -C push status"),
            ("git push", "git"),
            ("git reset --hard", "git reset -- --hard"),
            ("rm -rf", "rm -r x"),
            ("/usr/bin/git push", "/opt/git push"),
        ] {
            assert_eq!(reached(prefix, Decision::Ask, command), Reach::No, "{prefix}: {command}");
        }
        for command in ["git ?", "git * push", "git -C ? ?", "git *"] {
            assert_eq!(reached("git push", Decision::Forbid, command), Reach::Maybe, "{command}");
        }
        assert_eq!(reached("git reset --hard", Decision::Ask, "git reset ?"), Reach::Maybe);
        assert_eq!(reached("git push", Decision::Ask, "git status ?"), Reach::No);
    }

    #[test]
    fn a_rule_that_allows_is_reached_by_its_very_words_alone() {
        assert_eq!(reached("git status", Decision::Allow, "git status -s"), Reach::Yes);
        for command in ["git -C x status", "/usr/bin/git status", "git ?", "git * status", "git", "git -p status"] {
            assert_eq!(reached("git status", Decision::Allow, command), Reach::No, "{command}");
        }
    }
}
