//! What was done in a session, as the harness saw it and not as the model remembers it. It survives a compaction word for word.

use std::collections::VecDeque;

use crate::{
    audit::CallStatus,
    tools::{Gate, Invocation, PlanStep, parse, show_plan},
    worker::Request,
};

/// Calls that are kept; older ones are counted.
const KEPT: usize = 100;
/// Characters of one call that are kept.
const LINE: usize = 200;

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger {
    calls: VecDeque<String>,
    forgotten: usize,
    plan: Option<Vec<PlanStep>>,
}

impl Ledger {
    /// Takes down a call that may have changed something, with what came of it.
    pub fn call(&mut self, tool: &str, arguments: &str, status: CallStatus, exit_code: Option<i32>) {
        let what = match parse(tool, arguments) {
            Ok(Invocation::Shell { command, background, .. }) => {
                format!("shell{}: {command}", if background { " (background)" } else { "" })
            }
            Ok(Invocation::File(Request::ApplyPatch { patch })) => {
                let files = patch.lines().filter(|line| line.starts_with("*** ") && line.contains(" File: "));
                format!("apply_patch: {}", files.map(|line| line.trim_start_matches("*** ")).collect::<Vec<_>>().join(", "))
            }
            _ => return,
        };
        let end = match (status, exit_code) {
            (CallStatus::Ok, _) => "ok".to_owned(),
            (_, Some(code)) => format!("exit {code}"),
            (status, None) => format!("{status:?}").to_lowercase(),
        };
        let what: String = what.replace('\n', "; ").chars().take(LINE).collect();
        if self.calls.len() == KEPT {
            self.calls.pop_front();
            self.forgotten += 1;
        }
        self.calls.push_back(format!("{what} → {end}"));
    }

    /// Takes down the plan.
    pub fn plan(&mut self, plan: Vec<PlanStep>) {
        self.plan = Some(plan);
    }

    /// All of it, with what is granted and what runs.
    pub fn text(&self, gate: &Gate) -> String {
        let mut text = String::new();
        if !self.calls.is_empty() {
            text.push_str("\nCalls that may have changed something, in order:\n");
            if self.forgotten > 0 {
                text.push_str(&format!("- ({} earlier ones)\n", self.forgotten));
            }
            self.calls.iter().for_each(|call| text.push_str(&format!("- {call}\n")));
        }
        if let Some(plan) = &self.plan {
            text.push_str(&format!("\n{}\n", show_plan(plan)));
        }
        let grants = gate.grants();
        if !grants.is_empty() {
            text.push_str("\nWhat the person has allowed:\n");
            grants.iter().for_each(|grant| text.push_str(&format!("- {} ({})\n", grant.permission.sentence(), grant.scope.words())));
        }
        if !gate.background_list().is_empty() {
            text.push_str(&format!("\nIn the background:\n{}\n", gate.background_text()));
        }
        gate.redact(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_changed_something_is_kept_and_old_entries_are_counted() {
        let mut ledger = Ledger::default();
        ledger.call("read_file", r#"{"path":"x"}"#, CallStatus::Ok, None);
        assert!(ledger.calls.is_empty());
        for number in 0..KEPT + 3 {
            ledger.call("shell", &serde_json::json!({"command": format!("make {number}\nls")}).to_string(), CallStatus::Failed, Some(2));
        }
        let patch = serde_json::json!({"patch": "*** Begin Patch\n*** Add File: a.txt\n+x\n*** End Patch"}).to_string();
        ledger.call("apply_patch", &patch, CallStatus::Ok, None);
        assert_eq!((ledger.calls.len(), ledger.forgotten), (KEPT, 4));
        assert_eq!(ledger.calls[0], "shell: make 4; ls → exit 2");
        assert_eq!(ledger.calls.back().unwrap(), "apply_patch: Add File: a.txt → ok");
    }
}
