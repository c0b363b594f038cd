//! The rules of a policy over the text of a shell command.
//!
//! Rules are for convenience; the kernel is the boundary. Until the text is parsed by a shell's grammar, a rule is matched in the
//! one way that cannot miss what is written plainly: its words are looked for at *every* position of the text, with all of the shell's
//! punctuation taken as separators. So a rule matches too often (`echo git push`), never too seldom for plain text. A command that builds
//! its words (`g""it`) gets past a rule, and meets the sandbox.

use crate::policy::{Ask, CommandRule, Decision, Policy};

/// What holds for a command, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It runs, confined.
    Allow {
        /// The rule that allows it; `None` where no rule matches.
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

/// Judges the text of a shell command: forbid > ask > allow, and where no rule matches the policy's `[approval]` holds.
pub fn judge(policy: &Policy, text: &str) -> Judgement {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || ";|&()<>$`{}\"'\\=".contains(c)).filter(|word| !word.is_empty()).collect();
    let strictest = policy.commands.iter().filter(|rule| appears(&rule.prefix, &words)).max_by_key(|rule| rule.decision);
    let because = |rule: &CommandRule| format!("{} (rule `{}`, {})", rule.why, rule.prefix.join(" "), rule.origin);
    match strictest {
        Some(rule) if rule.decision == Decision::Forbid => Judgement::Forbid { reason: because(rule) },
        Some(rule) if rule.decision == Decision::Ask => Judgement::Ask { reason: because(rule) },
        _ if policy.ask == Ask::Always => {
            Judgement::Ask { reason: "the policy asks before each call ([approval] ask = \"always\")".to_owned() }
        }
        rule => Judgement::Allow { rule: rule.cloned() },
    }
}

fn appears(prefix: &[String], words: &[&str]) -> bool {
    // A path to the program is the program: `/usr/bin/git push` is `git push`.
    let same = |(wanted, word): (&String, &&str)| wanted == word || (!wanted.contains('/') && word.rsplit('/').next() == Some(wanted));
    words.windows(prefix.len().max(1)).any(|window| prefix.iter().zip(window).all(same))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_matches_wherever_its_words_stand_and_the_strictest_wins() {
        let policy = crate::policy::preset("workspace-write").unwrap();
        let asks =
            ["git push", "cd x && git push origin main", "env A=1 git push", "echo `git push`", "/usr/bin/git push", "sh -c 'git push'"];
        for text in asks {
            assert!(matches!(judge(&policy, text), Judgement::Ask { .. }), "{text}");
        }
        assert!(matches!(judge(&policy, "git push; sudo ls"), Judgement::Forbid { .. }));
        for text in ["git status", "git pushx", "ls; pwd", ""] {
            assert_eq!(judge(&policy, text), Judgement::Allow { rule: None }, "{text}");
        }
    }
}
