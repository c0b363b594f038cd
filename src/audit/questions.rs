//! What was asked, what was answered, and which rules would have saved questions: read from the records of sessions.

use std::collections::{BTreeMap, HashMap};

use super::record::{Event, Record};
use crate::policy::{Permission, Wider};

/// See the module.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Questions that were put.
    pub asked: usize,
    /// Those that were answered with a yes for one call.
    pub once: usize,
    /// Those that were answered with a yes for longer.
    pub longer: usize,
    /// Commands that were changed before they ran.
    pub edited: usize,
    /// Those that were answered with a no, or by ending the turn.
    pub refused: usize,
    /// Those to which nobody gave an answer.
    pub unanswered: usize,
    /// Milliseconds that half of the answers took less than.
    pub median_ms: Option<u64>,
    /// What would have saved questions, the most first.
    pub savings: Vec<Saving>,
}

/// A rule that was not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saving {
    /// What was approved again and again.
    pub permission: Permission,
    /// How many questions about it were answered with a yes for one call.
    pub approved: usize,
}

impl Saving {
    /// Questions that would not have been put: all but the first.
    pub fn questions(&self) -> usize {
        self.approved - 1
    }

    /// The rule as a policy file has it; none where no rule says this, and only an answer for longer would have helped.
    pub fn rule(&self) -> Option<String> {
        let quoted = |text: &String| toml::Value::String(text.clone()).to_string();
        match &self.permission {
            Permission::Words { words } => {
                let prefix: Vec<String> = words.iter().map(quoted).collect();
                Some(format!(
                    "[[command]]\nprefix   = [{}]\ndecision = \"allow\"\nwhy      = \"approved {} times\"\n",
                    prefix.join(", "),
                    self.approved
                ))
            }
            Permission::Wider(Wider::Read(path)) => Some(format!("[filesystem]\nread = [{}]\n", quoted(&path.display().to_string()))),
            Permission::Wider(Wider::Write(path)) => Some(format!("[filesystem]\nwrite = [{}]\n", quoted(&path.display().to_string()))),
            _ => None,
        }
    }
}

/// Counts the records of any number of sessions.
pub fn report<'a>(records: impl Iterator<Item = &'a Record>) -> Report {
    let mut report = Report::default();
    let mut open: HashMap<(&str, &str), Option<&Permission>> = HashMap::new();
    let mut approved: BTreeMap<&Permission, usize> = BTreeMap::new();
    let mut waits = Vec::new();
    for record in records {
        match &record.event {
            Event::Question { call, lasting, .. } => {
                report.asked += 1;
                open.insert((&record.session, call), lasting.as_ref());
            }
            Event::Answer { call, answer, by, waited_ms, .. } => {
                let lasting = open.remove(&(record.session.as_str(), call.as_str())).flatten();
                if matches!(by.as_str(), "timeout" | "nobody") {
                    report.unanswered += 1;
                    continue;
                }
                waits.push(*waited_ms);
                match answer.as_str() {
                    "once" => {
                        report.once += 1;
                        if let Some(permission) = lasting {
                            *approved.entry(permission).or_default() += 1;
                        }
                    }
                    "always" => report.longer += 1,
                    "edit" => report.edited += 1,
                    _ => report.refused += 1,
                }
            }
            _ => {}
        }
    }
    // A question that a killed session left open had no answer either.
    report.unanswered += open.len();
    waits.sort_unstable();
    report.median_ms = waits.get(waits.len() / 2).copied();
    let again = approved.into_iter().filter(|(_, approved)| *approved > 1);
    report.savings = again.map(|(permission, approved)| Saving { permission: permission.clone(), approved }).collect();
    report.savings.sort_by_key(|saving| std::cmp::Reverse(saving.approved));
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(session: &str, event: Event) -> Record {
        Record { v: 1, seq: 0, session: session.to_owned(), time: String::new(), monotonic_ns: 0, salt: String::new(), event }
    }

    fn asked(session: &str, call: &str, words: &[&str], answer: &str, by: &str) -> [Record; 2] {
        let lasting = Some(Permission::Words { words: words.iter().map(|word| (*word).to_owned()).collect() });
        let question = Event::Question { call: call.to_owned(), shown: String::new(), because: String::new(), lasting };
        let answer = Event::Answer { call: call.to_owned(), answer: answer.to_owned(), by: by.to_owned(), waited_ms: 1000, text: None };
        [record(session, question), record(session, answer)]
    }

    #[test]
    fn questions_are_counted_and_rules_are_proposed_for_what_was_approved_again() {
        let mut records = Vec::new();
        for (session, call, words, answer, by) in [
            ("a", "1", ["git", "push"], "once", "person"),
            ("a", "2", ["git", "push"], "once", "person"),
            ("b", "1", ["git", "push"], "once", "approver"),
            ("b", "2", ["make", "it"], "once", "person"),
            ("b", "3", ["rm", "x"], "refuse", "person"),
            ("b", "4", ["rm", "x"], "stop", "person"),
            ("b", "5", ["rm", "x"], "always", "person"),
            ("b", "6", ["rm", "x"], "refuse", "timeout"),
        ] {
            records.extend(asked(session, call, &words, answer, by));
        }
        records.push(asked("c", "9", &["left", "open"], "once", "person")[0].clone());
        let report = report(records.iter());
        assert_eq!((report.asked, report.once, report.longer, report.refused, report.unanswered), (9, 4, 1, 2, 2));
        assert_eq!(report.median_ms, Some(1000));
        assert_eq!(report.savings.len(), 1);
        assert_eq!(report.savings[0].questions(), 2);
        let rule = report.savings[0].rule().unwrap();
        assert!(rule.contains("prefix   = [\"git\", \"push\"]"), "{rule}");
        // What is proposed is a rule that a policy can hold.
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.toml");
        std::fs::write(&file, format!("schema = 1\nname = \"x\"\nextends = \"workspace-write\"\nwhy = \"x\"\n{rule}")).unwrap();
        crate::policy::check(&file).unwrap();
    }
}
