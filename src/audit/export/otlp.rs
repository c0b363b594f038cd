//! Records as OpenTelemetry logs and traces, in the JSON encoding of OTLP 1.x.
//!
//! The trace id is the session's UUID. The session is the root span (`invoke_agent`), each turn a span below it, each call one below its turn
//! (`execute_tool`), named by the GenAI semantic conventions. Times are the wall clock of the first record plus the clock that is never set back, so
//! that durations are exact. What was refused is an event of the call's span. Each record is a log record besides, tied to its span.

use std::{collections::HashMap, time::UNIX_EPOCH};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::audit::{
    filter::is_denied,
    reading::Entry,
    record::{CallStatus, Denial, Event},
    sentence::{Mood, action, clipped, sentence, status as status_word},
};

/// Logs or traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// For `/v1/logs`.
    Logs,
    /// For `/v1/traces`.
    Traces,
}

impl Signal {
    /// Where it is posted, behind the collector's URL.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Logs => "/v1/logs",
            Self::Traces => "/v1/traces",
        }
    }
}

/// Records of one request.
const BATCH: usize = 256;
/// Bytes of one request, about.
const BATCH_BYTES: usize = 1024 * 1024;
/// Calls that may be open at the same time; one more is only logged, without a span.
const OPEN: usize = 4_096;

#[derive(Debug)]
struct OpenCall {
    turn: u64,
    begin: u64,
    attributes: Vec<Value>,
    tool: String,
}

/// One session on its way out.
#[derive(Debug, Default)]
pub struct Otlp {
    session: String,
    /// Unix time and monotonic time of the first record, in nanoseconds.
    origin: Option<(u64, u64)>,
    last: u64,
    began: u64,
    turn: u64,
    turn_began: Option<u64>,
    about: Vec<Value>,
    open: HashMap<String, OpenCall>,
    spans: Vec<Value>,
    logs: Vec<Value>,
    bytes: usize,
}

impl Otlp {
    /// Takes a record; `logged` says whether it is to be a log record. Gives what is to be sent now.
    pub fn add(&mut self, entry: &Entry, logged: bool) -> Vec<(Signal, String)> {
        let time = self.time(entry);
        if self.session.is_empty() {
            self.session.clone_from(&entry.session);
            self.began = time;
        }
        self.last = self.last.max(time);
        let span = self.span(entry, time, logged);
        if logged {
            let record = self.log(entry, time, &span);
            self.bytes += record.to_string().len();
            self.logs.push(record);
        }
        if self.logs.len() >= BATCH || self.spans.len() >= BATCH || self.bytes >= BATCH_BYTES { self.flush() } else { Vec::new() }
    }

    /// The last of it: calls and the turn that never ended, and the session.
    pub fn finish(&mut self) -> Vec<(Signal, String)> {
        if self.session.is_empty() {
            return Vec::new();
        }
        let mut open: Vec<(String, OpenCall)> = self.open.drain().collect();
        open.sort_by(|one, other| one.0.cmp(&other.0));
        for (call, held) in open {
            let status = json!({"code": 2, "message": "the log has no outcome"});
            let span = self.call_span(&call, held, self.last, Vec::new(), status);
            self.spans.push(span);
        }
        self.end_turn(self.last, Vec::new());
        let mut attributes = vec![text("gen_ai.operation.name", "invoke_agent"), text("gen_ai.agent.name", "portcullis")];
        attributes.append(&mut self.about);
        attributes.push(text("gen_ai.conversation.id", &self.session));
        let root = json!({
            "traceId": self.trace(), "spanId": self.id("session", ""), "name": "invoke_agent portcullis", "kind": 1,
            "startTimeUnixNano": self.began.to_string(), "endTimeUnixNano": self.last.max(self.began).to_string(), "attributes": attributes,
        });
        self.spans.push(root);
        self.flush()
    }

    fn time(&mut self, entry: &Entry) -> u64 {
        let wall = entry.at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).and_then(|at| u64::try_from(at.as_nanos()).ok());
        match (self.origin, entry.monotonic_ns) {
            (Some((unix, began)), Some(now)) if now >= began => unix.saturating_add(now - began),
            (None, Some(now)) => {
                let unix = wall.unwrap_or_default();
                self.origin = Some((unix, now));
                unix
            }
            _ => wall.unwrap_or(self.last),
        }
    }

    fn trace(&self) -> String {
        match uuid::Uuid::try_parse(&self.session) {
            Ok(id) => id.simple().to_string(),
            Err(_) => hex(&Sha256::digest(&self.session), 16),
        }
    }

    fn id(&self, kind: &str, name: &str) -> String {
        hex(&Sha256::digest(format!("{}\0{kind}\0{name}", self.session)), 8)
    }

    /// Keeps spans, and gives the id of the one that a record belongs to.
    fn span(&mut self, entry: &Entry, time: u64, logged: bool) -> String {
        match &entry.event {
            Some(Event::SessionStart { workspace, policy, fingerprint, endpoint, model, .. }) => {
                self.about = vec![
                    text("gen_ai.request.model", model),
                    text("server.address", endpoint),
                    text("portcullis.workspace", workspace),
                    text("portcullis.policy", policy),
                    text("portcullis.policy.fingerprint", fingerprint),
                ];
                self.id("session", "")
            }
            Some(Event::CallIntent { call, tool, arguments, decision, decided_by, rule, .. }) => {
                self.turn_began.get_or_insert(time);
                let mut attributes = vec![
                    text("gen_ai.operation.name", "execute_tool"),
                    text("gen_ai.tool.name", tool),
                    text("gen_ai.tool.call.id", call),
                    text("gen_ai.tool.call.arguments", &action(tool, arguments)),
                    text("portcullis.decision", decision),
                    text("portcullis.decided_by", decided_by),
                ];
                attributes.extend(rule.as_ref().map(|rule| text("portcullis.rule", rule)));
                if logged && self.open.len() < OPEN {
                    let held = OpenCall { turn: self.turn, begin: time, attributes, tool: clipped(tool) };
                    self.open.insert(call.clone(), held);
                }
                self.id("call", call)
            }
            Some(Event::CallOutcome { call, status, exit_code, output_bytes, denials, .. }) => {
                if let Some(mut held) = self.open.remove(call) {
                    held.attributes.extend(exit_code.map(|code| number("process.exit.code", code.into())));
                    held.attributes.push(number("portcullis.output_bytes", i64::try_from(*output_bytes).unwrap_or(i64::MAX)));
                    let nanoseconds = time.to_string();
                    let refusal = |denial: &Denial| {
                        let attributes = [
                            text("portcullis.denial.resource", &denial.resource),
                            text("portcullis.denial.access", &denial.access),
                            text("portcullis.denial.layer", &denial.layer),
                            text("portcullis.denial.rule", &denial.rule),
                            text("portcullis.denial.certainty", &denial.certainty),
                        ];
                        json!({"timeUnixNano": nanoseconds, "name": "portcullis.denial", "attributes": attributes})
                    };
                    let events = denials.iter().map(refusal).collect();
                    let ended = match status {
                        CallStatus::Ok => json!({"code": 1}),
                        other => json!({"code": 2, "message": status_word(*other).1}),
                    };
                    let span = self.call_span(call, held, time, events, ended);
                    self.bytes += span.to_string().len();
                    self.spans.push(span);
                }
                self.id("call", call)
            }
            Some(
                Event::Question { call, .. }
                | Event::Answer { call, .. }
                | Event::BackgroundEnd { call, .. }
                | Event::Hook { call: Some(call), .. },
            ) => {
                self.turn_began.get_or_insert(time);
                self.id("call", call)
            }
            Some(Event::TurnEnd { input_tokens, output_tokens, .. }) => {
                let id = self.id("turn", &self.turn.to_string());
                let count = |name: &str, count: u64| number(name, i64::try_from(count).unwrap_or(i64::MAX));
                self.turn_began.get_or_insert(time);
                self.end_turn(
                    time,
                    vec![count("gen_ai.usage.input_tokens", *input_tokens), count("gen_ai.usage.output_tokens", *output_tokens)],
                );
                id
            }
            _ => self.id("session", ""),
        }
    }

    fn call_span(&self, call: &str, held: OpenCall, end: u64, events: Vec<Value>, status: Value) -> Value {
        json!({
            "traceId": self.trace(), "spanId": self.id("call", call), "parentSpanId": self.id("turn", &held.turn.to_string()),
            "name": format!("execute_tool {}", held.tool), "kind": 1,
            "startTimeUnixNano": held.begin.to_string(), "endTimeUnixNano": end.max(held.begin).to_string(),
            "attributes": held.attributes, "events": events, "status": status,
        })
    }

    fn end_turn(&mut self, end: u64, attributes: Vec<Value>) {
        let Some(begin) = self.turn_began.take() else { return };
        let span = json!({
            "traceId": self.trace(), "spanId": self.id("turn", &self.turn.to_string()), "parentSpanId": self.id("session", ""),
            "name": "turn", "kind": 1, "startTimeUnixNano": begin.to_string(), "endTimeUnixNano": end.max(begin).to_string(),
            "attributes": attributes,
        });
        self.spans.push(span);
        self.turn += 1;
    }

    fn log(&self, entry: &Entry, time: u64, span: &str) -> Value {
        let said = sentence(entry);
        let denied = is_denied(entry);
        let (severity, word) = match said.mood {
            Mood::Bad => (17, "ERROR"),
            Mood::Caution => (13, "WARN"),
            _ if denied => (13, "WARN"),
            _ => (9, "INFO"),
        };
        let attributes: Vec<Value> = entry
            .fields
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "v" | "time" | "monotonic_ns" | "salt" | "mac" | "event"))
            .map(|(name, value)| match value {
                Value::String(held) => text(&format!("portcullis.{name}"), held),
                Value::Number(held) if held.is_i64() => number(&format!("portcullis.{name}"), held.as_i64().unwrap_or_default()),
                other => text(&format!("portcullis.{name}"), &other.to_string()),
            })
            .collect();
        json!({
            "timeUnixNano": time.to_string(), "observedTimeUnixNano": time.to_string(), "severityNumber": severity, "severityText": word,
            "eventName": format!("portcullis.{}", clipped(&entry.name)), "body": {"stringValue": format!("{}: {}", said.what, said.text)},
            "attributes": attributes, "traceId": self.trace(), "spanId": span,
        })
    }

    fn flush(&mut self) -> Vec<(Signal, String)> {
        self.bytes = 0;
        let resource = json!({"attributes": [
            text("service.name", "portcullis"), text("service.version", env!("CARGO_PKG_VERSION")), text("service.instance.id", &self.session),
        ]});
        let scope = json!({"name": "portcullis.audit", "version": env!("CARGO_PKG_VERSION")});
        let mut out = Vec::new();
        if !self.logs.is_empty() {
            let logs = std::mem::take(&mut self.logs);
            let request = json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": logs}]}]});
            out.push((Signal::Logs, request.to_string()));
        }
        if !self.spans.is_empty() {
            let spans = std::mem::take(&mut self.spans);
            let request = json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}]});
            out.push((Signal::Traces, request.to_string()));
        }
        out
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": clipped(key), "value": {"stringValue": clipped(value)}})
}

/// 64-bit integers are strings in the JSON encoding of Protocol Buffers.
fn number(key: &str, value: i64) -> Value {
    json!({"key": clipped(key), "value": {"intValue": value.to_string()}})
}

fn hex(bytes: &[u8], count: usize) -> String {
    crate::audit::chain::hex(bytes.get(..count).unwrap_or(bytes))
}
