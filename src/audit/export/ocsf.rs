//! Records as events of the Open Cybersecurity Schema Framework 1.3.0 (schema.ocsf.io), one JSON object a line.
//!
//! | record | class | activity |
//! |---|---|---|
//! | `call_intent`, `call_outcome`, `background_end` of the shell | Process Activity (1007) | Launch (1), Terminate (2) |
//! | the same of other tools | API Activity (6003) | Other (99) |
//! | each denial of an outcome, a call that was refused | Detection Finding (2004), action Denied, disposition Blocked | Create (1) |
//! | `session_start`, `session_end` | Application Lifecycle (6002) | Start (3), Stop (4) |
//! | `question`, `answer` | API Activity (6003) | Other (99) |
//! | `granted`, `revoked`, `in_force`, `ask_mode`, `policy` | Entity Management (3004) | Create (1), Delete (4), Update (3) |
//! | everything else | Base Event (0) | Other (99) |
//!
//! What has no attribute of its own stands under `unmapped`, under the record's own names.

use serde_json::{Map, Value, json};

use crate::audit::{
    filter::is_denied,
    reading::Entry,
    record::{CallStatus, Denial, Event},
    remembered::{Remembered, call_of},
    sentence::{action, clipped, sentence},
};

/// The version of the schema that is written.
const VERSION: &str = "1.3.0";

/// Tools of calls, as outcomes do not name them.
#[derive(Debug, Default)]
pub struct Tools(Remembered<String>);

impl Tools {
    /// Takes note of a call, and says which tool a record is about.
    pub fn note(&mut self, entry: &Entry) -> Option<String> {
        let call = call_of(entry)?;
        if let Some(tool) = entry.text("tool") {
            self.0.insert(call.clone(), clipped(tool));
        }
        self.0.get(&call).cloned()
    }
}

/// The lines for one record; one more for each denial.
pub fn ocsf(entry: &Entry, tools: &mut Tools) -> String {
    let tool = tools.note(entry);
    let mut out = line(event(entry, tool.as_deref()));
    match &entry.event {
        Some(Event::CallOutcome { denials, .. }) => {
            for (at, denial) in denials.iter().enumerate() {
                out.push_str(&line(finding(entry, at, &denied(denial))));
            }
        }
        Some(Event::CallIntent { rule, decided_by, .. }) if is_denied(entry) => {
            let rule = rule.as_ref().map(|rule| clipped(rule)).unwrap_or_default();
            out.push_str(&line(finding(entry, 0, &("call refused".to_owned(), format!("refused by {decided_by}: {rule}"), rule))));
        }
        _ => {}
    }
    out
}

fn line(event: Map<String, Value>) -> String {
    Value::Object(event).to_string() + "\n"
}

fn denied(denial: &Denial) -> (String, String, String) {
    (format!("{} {}", denial.access, clipped(&denial.resource)), clipped(&denial.sentence()), clipped(&denial.rule))
}

/// Class, category and activity.
const fn class(event: Option<&Event>, shell: bool) -> (u64, u64, u64) {
    match event {
        Some(Event::CallIntent { .. }) if shell => (1007, 1, 1),
        Some(Event::CallOutcome { .. } | Event::BackgroundEnd { .. }) if shell => (1007, 1, 2),
        Some(Event::CallIntent { .. } | Event::CallOutcome { .. } | Event::BackgroundEnd { .. }) => (6003, 6, 99),
        Some(Event::Question { .. } | Event::Answer { .. } | Event::Hook { .. }) => (6003, 6, 99),
        Some(Event::SessionStart { .. }) => (6002, 6, 3),
        Some(Event::SessionEnd) => (6002, 6, 4),
        Some(Event::Granted { .. } | Event::Policy { .. }) => (3004, 3, 1),
        Some(Event::Revoked { .. }) => (3004, 3, 4),
        Some(Event::InForce { .. } | Event::AskMode { .. } | Event::Server { .. }) => (3004, 3, 3),
        _ => (0, 0, 99),
    }
}

fn base(entry: &Entry, (class, category, activity): (u64, u64, u64), part: Option<usize>) -> Map<String, Value> {
    let number = entry.seq.unwrap_or_default();
    let uid = part.map_or_else(|| format!("{}/{number}", entry.session), |part| format!("{}/{number}/{part}", entry.session));
    let milliseconds = entry.at.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok()).map_or(0, |at| at.as_millis());
    let mut event = Map::new();
    event.insert("class_uid".to_owned(), class.into());
    event.insert("category_uid".to_owned(), category.into());
    event.insert("activity_id".to_owned(), activity.into());
    event.insert("type_uid".to_owned(), (class * 100 + activity).into());
    event.insert("time".to_owned(), u64::try_from(milliseconds).unwrap_or_default().into());
    event.insert("severity_id".to_owned(), 1.into());
    let product = json!({"name": "portcullis", "vendor_name": "portcullis", "version": env!("CARGO_PKG_VERSION")});
    event.insert("metadata".to_owned(), json!({"version": VERSION, "product": product, "uid": uid, "correlation_uid": entry.session}));
    let said = sentence(entry);
    event.insert("message".to_owned(), format!("{}: {}", said.what, said.text).into());
    event
}

fn event(entry: &Entry, tool: Option<&str>) -> Map<String, Value> {
    let shell = tool == Some("shell");
    let kind = class(entry.event.as_ref(), shell);
    let mut event = base(entry, kind, None);
    let mut put = |name: &str, value: Value| drop(event.insert(name.to_owned(), value));
    let actor = json!({"app_name": "portcullis", "session": {"uid": entry.session}});
    if kind.0 != 0 {
        put("actor", actor);
    }
    match kind.0 {
        1007 => {
            put("device", json!({"type_id": 0, "hostname": "unknown"}));
            let mut process = json!({"name": "shell", "uid": entry.text("call").unwrap_or_default()});
            if let (Some(Event::CallIntent { arguments, .. }), Some(process)) = (&entry.event, process.as_object_mut()) {
                process.insert("cmd_line".to_owned(), action("shell", arguments).trim_start_matches("$ ").into());
            }
            put("process", process);
        }
        6003 => {
            put("api", json!({"operation": tool.unwrap_or(&entry.name), "request": {"uid": entry.text("call").unwrap_or_default()}}));
            put("src_endpoint", json!({"uid": entry.session, "name": "portcullis"}));
        }
        6002 => put("app", json!({"name": "portcullis", "vendor_name": "portcullis", "type_id": 99, "type": "agent"})),
        3004 => {
            let uid = entry.text("grant").or(entry.text("fingerprint")).unwrap_or_default();
            put("entity", json!({"name": entry.name, "uid": uid, "type": "policy"}));
        }
        _ => {}
    }
    if let Some(Event::CallOutcome { status, exit_code, duration_ms, .. } | Event::BackgroundEnd { status, exit_code, duration_ms, .. }) =
        &entry.event
    {
        put("status_id", if *status == CallStatus::Ok { 1 } else { 2 }.into());
        put("duration", (*duration_ms).into());
        if let (Some(code), 1007) = (exit_code, kind.0) {
            put("exit_code", (*code).into());
        }
    }
    let known = ["v", "session", "time", "salt", "mac"];
    let rest = entry.fields.iter().filter(|(name, _)| !known.contains(&name.as_str()));
    let rest: Map<String, Value> = rest.map(|(name, value)| (name.clone(), short(value))).collect();
    put("unmapped", Value::Object(rest));
    event
}

fn short(value: &Value) -> Value {
    match value {
        Value::String(text) => clipped(text).into(),
        other => other.clone(),
    }
}

fn finding(entry: &Entry, part: usize, (title, text, rule): &(String, String, String)) -> Map<String, Value> {
    let mut event = base(entry, (2004, 2, 1), Some(part));
    let uid = format!("{}/{}/{part}", entry.session, entry.seq.unwrap_or_default());
    if let Some(metadata) = event.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("profiles".to_owned(), json!(["security_control"]));
    }
    for (name, value) in [
        ("severity_id", json!(3)),
        ("status_id", json!(1)),
        ("action_id", json!(2)),
        ("disposition_id", json!(2)),
        ("finding_info", json!({"uid": uid, "title": title, "desc": text, "types": ["policy"]})),
        ("firewall_rule", json!({"name": rule})),
        ("message", json!(text)),
        ("unmapped", json!({"call": entry.text("call")})),
    ] {
        event.insert(name.to_owned(), value);
    }
    event
}
