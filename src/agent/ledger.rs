//! What was done in a session, as the harness saw it and not as the model remembers it. It survives a compaction word for word.

use std::collections::{HashMap, VecDeque};

use serde::Deserialize;

use crate::{
    audit::CallStatus,
    model::Conversation,
    tools::{Gate, Invocation, PlanStep, parse, read_plan, show_plan},
    worker::Request,
};

/// Calls that are kept; older ones are counted.
const KEPT: usize = 100;
/// Characters of one call that are kept.
const LINE: usize = 200;

/// What it begins with.
const HEAD: &str = "What portcullis itself has on record of this session:\n";
/// Over the calls.
const CALLS: &str = "Calls that may have changed something, in order:";
/// After the count of those that are not kept.
const EARLIER: &str = " earlier ones)";

/// As much of an item as the ledger reads.
#[derive(Deserialize)]
struct Kept {
    r#type: String,
    role: Option<String>,
    content: Option<serde_json::Value>,
    call_id: Option<String>,
    name: Option<String>,
    arguments: Option<String>,
    output: Option<serde_json::Value>,
}

/// How a call ended, from what the model was told of it.
fn told(output: &str) -> (CallStatus, Option<i32>) {
    let code = output.lines().take(8).find_map(|line| line.strip_prefix("Exit code: ")?.parse().ok());
    let begins = |words: &[&str]| words.iter().any(|word| output.starts_with(word));
    let status = match code {
        Some(0) => CallStatus::Ok,
        Some(_) => CallStatus::Failed,
        None if begins(&["Refused", "Stopped", "It was not begun"]) => CallStatus::Refused,
        None if begins(&["Aborted", "Interrupted"]) => CallStatus::Interrupted,
        None if begins(&["Ended"]) => CallStatus::Limit,
        None if begins(&["Error"]) => CallStatus::Failed,
        None => CallStatus::Ok,
    };
    (status, code)
}

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger {
    calls: VecDeque<String>,
    forgotten: usize,
    plan: Option<Vec<PlanStep>>,
}

impl Ledger {
    /// What can be told of a session that goes on: what its last ledger said, and the calls since then, with the outcomes that the model was told.
    pub fn of(conversation: &Conversation) -> Self {
        let mut ledger = Self::default();
        let mut open: HashMap<String, (String, String)> = HashMap::new();
        for item in conversation.items() {
            let Ok(item) = serde_json::from_str::<Kept>(item.get()) else { continue };
            match item {
                Kept { r#type, call_id: Some(call), name: Some(name), arguments: Some(arguments), .. } if r#type == "function_call" => {
                    open.insert(call, (name, arguments));
                }
                Kept { r#type, call_id: Some(call), output: Some(output), .. } if r#type == "function_call_output" => {
                    let Some((tool, arguments)) = open.remove(&call) else { continue };
                    let (status, code) = told(output.as_str().unwrap_or_default());
                    if let (CallStatus::Ok, Ok(Invocation::UpdatePlan(plan))) = (status, parse(&tool, &arguments)) {
                        ledger.plan(plan);
                    }
                    ledger.call(&tool, &arguments, status, code);
                }
                Kept { role: Some(role), content: Some(content), .. } if role == "developer" => {
                    let text = content[0]["text"].as_str().unwrap_or_default();
                    if let Some(text) = text.strip_prefix(HEAD) {
                        ledger = Self::read(text);
                    }
                }
                _ => {}
            }
        }
        ledger
    }

    /// The ledger that was written as this text.
    fn read(text: &str) -> Self {
        let mut ledger = Self::default();
        let mut lines = text.lines().skip_while(|line| *line != CALLS);
        for line in lines.by_ref().skip(1).map_while(|line| line.strip_prefix("- ")) {
            match line.strip_prefix('(').and_then(|line| line.strip_suffix(EARLIER)) {
                Some(count) => ledger.forgotten = count.parse().unwrap_or(0),
                None => ledger.calls.push_back(line.to_owned()),
            }
        }
        ledger.plan = read_plan(text);
        ledger
    }

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
        let mut text = HEAD.to_owned();
        if !self.calls.is_empty() {
            text.push_str(&format!("\n{CALLS}\n"));
            if self.forgotten > 0 {
                text.push_str(&format!("- ({}{EARLIER}\n", self.forgotten));
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

    #[test]
    fn a_session_that_goes_on_has_its_ledger_again() {
        let mut conversation = Conversation::new();
        let raw = |value: serde_json::Value| serde_json::value::to_raw_value(&value).unwrap();
        let call = |id: &str, name: &str, arguments: serde_json::Value| {
            raw(serde_json::json!({"type": "function_call", "call_id": id, "name": name, "arguments": arguments.to_string()}))
        };
        conversation.push_raw(&call("0", "shell", serde_json::json!({"command": "lost"})));
        conversation.push_output("0", "Exit code: 0\n(no output)");
        let earlier =
            format!("{HEAD}\n{CALLS}\n- (7{EARLIER}\n- shell: make → exit 2\n\nPlan recorded:\n[x] one\n[>] two\n\nWhat else\n- x\n");
        conversation.push_developer(&earlier);
        conversation.push_raw(&call("1", "shell", serde_json::json!({"command": "touch a"})));
        conversation.push_raw(&call("2", "read_file", serde_json::json!({"path": "a"})));
        conversation.push_output("1", "[portcullis] a note\nExit code: 3\nOutput:\nx");
        conversation.push_output("2", "1 x");
        conversation.push_raw(&call("3", "shell", serde_json::json!({"command": "sleep 9"})));
        conversation.push_output("3", "Aborted: the session ended while this ran.");
        let ledger = Ledger::of(&conversation);
        assert_eq!(ledger.forgotten, 7);
        assert_eq!(ledger.calls, ["shell: make → exit 2", "shell: touch a → exit 3", "shell: sleep 9 → interrupted"]);
        assert_eq!(ledger.plan.unwrap().iter().map(|step| step.step.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_as_a_ledger(text in "(\n|Calls that may have changed something, in order:|Plan recorded:|- \\PC{0,9}|\\[x\\] \\PC{0,9}){0,12}") {
            let _ = Ledger::read(&text);
        }
    }
}
