//! Differences in which commands run, ask or are forbidden.

use std::collections::BTreeSet;

use super::{Difference, Direction, Said, Side, Topic};
use crate::{
    approval::{Judgement, Rules},
    policy::CommandRule,
    tools::explain::deciding,
};

/// A command that no rule is about.
const UNNAMED: &str = "any-other-program";

/// How free a command is; more is freer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Freedom {
    Forbidden,
    Asked,
    Runs,
}

impl Freedom {
    const fn word(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::Asked => "asked",
            Self::Runs => "runs",
        }
    }
}

struct Verdict {
    freedom: Freedom,
    rule: Option<CommandRule>,
}

impl Verdict {
    fn of(rules: &Rules, text: &str) -> Self {
        let judged = rules.judge(text);
        let freedom = match judged.judgement {
            Judgement::Allow { .. } => Freedom::Runs,
            Judgement::Ask { .. } => Freedom::Asked,
            Judgement::Forbid { .. } => Freedom::Forbidden,
        };
        Self { freedom, rule: deciding(&judged).cloned() }
    }

    fn said(&self) -> Said {
        let by = self.rule.as_ref().map_or_else(|| "[approval] ask".to_owned(), |rule| rule.origin.to_string());
        Said { word: self.freedom.word().to_owned(), by: Some(by) }
    }
}

/// The differences: one for all commands that no rule is about, and one for each text that a rule of either policy is about.
pub(super) fn differences(before: Side<'_>, after: Side<'_>) -> Vec<Difference> {
    let judge = |text: &str| (Verdict::of(before.rules, text), Verdict::of(after.rules, text));
    let difference = |topic, what: String, text: &str, (before, after): &(Verdict, Verdict)| Difference {
        direction: Direction::of(after.freedom > before.freedom),
        topic,
        what,
        witness: Some(text.to_owned()),
        before: before.said(),
        after: after.said(),
        count: 1,
    };
    let mut differences = Vec::new();
    let unnamed = judge(UNNAMED);
    let usual = (unnamed.0.freedom, unnamed.1.freedom);
    if usual.0 != usual.1 {
        differences.push(difference(Topic::Approval, "commands that no rule is about".to_owned(), UNNAMED, &unnamed));
    }
    let rules = before.policy.commands.iter().chain(&after.policy.commands);
    let texts: BTreeSet<(String, String)> = rules.map(|rule| (rule.prefix.join(" "), witness(rule))).collect();
    let mut told = BTreeSet::new();
    for (words, text) in texts {
        let verdicts = judge(&text);
        let freedoms = (verdicts.0.freedom, verdicts.1.freedom);
        // What no rule decides on either side goes with the mode.
        let by_mode = freedoms == usual && verdicts.0.rule.is_none() && verdicts.1.rule.is_none();
        if freedoms.0 != freedoms.1 && !by_mode && told.insert(text.clone()) {
            differences.push(difference(Topic::Command, format!("`{words}`"), &text, &verdicts));
        }
    }
    differences
}

/// A command that a rule is about: an example of its own, else its words.
fn witness(rule: &CommandRule) -> String {
    let words = || shlex::try_join(rule.prefix.iter().map(String::as_str)).unwrap_or_else(|_| rule.prefix.join(" "));
    rule.examples_match.first().cloned().unwrap_or_else(words)
}
