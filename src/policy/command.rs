//! Which rule holds for one simple command. Taking shell text apart is not done here: the words are those that run.

use super::model::{CommandRule, Decision, Policy};

/// What the rules of a policy say of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandVerdict {
    /// The strictest decision of all rules that match; `None` if none does, so that `[approval]` decides.
    pub decision: Option<Decision>,
    /// The rule that decided; of several equally strict ones that with the longest prefix.
    pub rule: Option<CommandRule>,
}

/// Whether `argv` begins with the words of the rule's prefix. Words are compared whole and exactly: `git` matches neither
/// `/usr/bin/git` nor `gitk`.
pub fn matches(rule: &CommandRule, argv: &[String]) -> bool {
    !rule.prefix.is_empty() && argv.starts_with(&rule.prefix)
}

/// Judges one simple command: `forbid` beats `ask`, `ask` beats `allow`.
pub fn judge_command(policy: &Policy, argv: &[String]) -> CommandVerdict {
    let rule = policy.commands.iter().filter(|rule| matches(rule, argv)).max_by_key(|rule| (rule.decision, rule.prefix.len()));
    CommandVerdict { decision: rule.map(|rule| rule.decision), rule: rule.cloned() }
}
