//! An answer as the events of a streamed response.

use super::script::ScriptItem;
use crate::model::Usage;
use serde_json::{Value, json};

/// How many characters one delta carries.
const DELTA: usize = 24;

/// Which response is written, and by which model.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    /// The request's number, from 0; makes ids that are the same in every run.
    pub(super) request: usize,
    /// The model named in the request.
    pub(super) model: String,
    /// What the prompt cost.
    pub(super) usage: Usage,
    sequence: u64,
    events: Vec<String>,
}

impl Writer {
    pub(super) fn new(request: usize, model: &str, usage: Usage) -> Self {
        let mut writer = Self { request, model: model.to_owned(), usage, sequence: 0, events: Vec::new() };
        for kind in ["response.created", "response.in_progress"] {
            let response = writer.response("in_progress", &[]);
            writer.push(json!({"type": kind, "response": response}));
        }
        writer
    }

    /// The events, each as its JSON text.
    pub(super) fn finish(self) -> Vec<String> {
        self.events
    }

    /// All events of these items; the finished items are returned.
    pub(super) fn items(&mut self, items: &[ScriptItem]) -> Vec<Value> {
        items.iter().enumerate().map(|(place, item)| self.item(place, item)).collect()
    }

    pub(super) fn completed(&mut self, items: &[Value], exact: Option<Usage>) {
        let output_tokens = items.iter().map(|item| item.to_string().len() as u64).sum::<u64>() / 4;
        let usage = exact.unwrap_or(Usage { output_tokens, ..self.usage });
        let mut response = self.response("completed", items);
        response["usage"] = usage_json(usage);
        self.push(json!({"type": "response.completed", "response": response}));
    }

    /// What the endpoint's own compaction answers, which is no stream.
    pub(super) fn compaction(&mut self, items: &[ScriptItem]) -> Value {
        let output = self.items(items);
        json!({"id": format!("resp_{}", self.request), "object": "response.compaction", "created_at": 0, "output": output, "usage": usage_json(self.usage)})
    }

    pub(super) fn incomplete(&mut self, items: &[Value], reason: &str) {
        let mut response = self.response("incomplete", items);
        response["incomplete_details"] = json!({"reason": reason});
        response["usage"] = usage_json(self.usage);
        self.push(json!({"type": "response.incomplete", "response": response}));
    }

    pub(super) fn failed(&mut self, code: &str, message: &str) {
        let mut response = self.response("failed", &[]);
        response["error"] = json!({"code": code, "message": message});
        self.push(json!({"type": "response.failed", "response": response}));
    }

    pub(super) fn push(&mut self, mut event: Value) {
        event["sequence_number"] = json!(self.sequence);
        self.sequence += 1;
        self.events.push(event.to_string());
    }

    fn response(&self, status: &str, items: &[Value]) -> Value {
        json!({
            "id": format!("resp_{}", self.request), "object": "response", "created_at": 0, "status": status, "model": self.model,
            "error": null, "incomplete_details": null, "output": items, "store": false, "usage": null,
        })
    }

    fn item(&mut self, place: usize, item: &ScriptItem) -> Value {
        match item {
            ScriptItem::Message { text } => self.message(place, text),
            ScriptItem::Reasoning { summary, encrypted_bytes } => self.reasoning(place, summary, *encrypted_bytes),
            ScriptItem::FunctionCall { name, arguments } => self.call(place, name, arguments),
            ScriptItem::Raw(item) => {
                self.push(json!({"type": "response.output_item.added", "output_index": place, "item": item}));
                self.done(place, item.clone())
            }
        }
    }

    fn message(&mut self, place: usize, text: &str) -> Value {
        let id = format!("msg_{}_{place}", self.request);
        let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
        let mut item = json!({"id": id, "type": "message", "role": "assistant", "status": "in_progress", "content": []});
        self.push(json!({"type": "response.output_item.added", "output_index": place, "item": item}));
        let at = json!({"item_id": id, "output_index": place, "content_index": 0});
        self.push(with(&at, json!({"type": "response.content_part.added", "part": part("")})));
        self.deltas("response.output_text.delta", &at, text);
        self.push(with(&at, json!({"type": "response.output_text.done", "text": text})));
        self.push(with(&at, json!({"type": "response.content_part.done", "part": part(text)})));
        item["status"] = json!("completed");
        item["content"] = json!([part(text)]);
        self.done(place, item)
    }

    fn reasoning(&mut self, place: usize, summary: &str, encrypted_bytes: usize) -> Value {
        let id = format!("rs_{}_{place}", self.request);
        let mut item = json!({"id": id, "type": "reasoning", "summary": []});
        self.push(json!({"type": "response.output_item.added", "output_index": place, "item": item}));
        let at = json!({"item_id": id, "output_index": place, "summary_index": 0});
        if !summary.is_empty() {
            let part = |text: &str| json!({"type": "summary_text", "text": text});
            self.push(with(&at, json!({"type": "response.reasoning_summary_part.added", "part": part("")})));
            self.deltas("response.reasoning_summary_text.delta", &at, summary);
            self.push(with(&at, json!({"type": "response.reasoning_summary_text.done", "text": summary})));
            self.push(with(&at, json!({"type": "response.reasoning_summary_part.done", "part": part(summary)})));
            item["summary"] = json!([part(summary)]);
        }
        item["encrypted_content"] = json!(sealed(self.request, place, encrypted_bytes));
        self.done(place, item)
    }

    fn call(&mut self, place: usize, name: &str, arguments: &str) -> Value {
        let id = format!("fc_{}_{place}", self.request);
        let call_id = format!("call_{}_{place}", self.request);
        let mut item =
            json!({"id": id, "type": "function_call", "status": "in_progress", "call_id": call_id, "name": name, "arguments": ""});
        self.push(json!({"type": "response.output_item.added", "output_index": place, "item": item}));
        let at = json!({"item_id": id, "output_index": place});
        self.deltas("response.function_call_arguments.delta", &at, arguments);
        self.push(with(&at, json!({"type": "response.function_call_arguments.done", "arguments": arguments})));
        item["status"] = json!("completed");
        item["arguments"] = json!(arguments);
        self.done(place, item)
    }

    fn deltas(&mut self, kind: &str, at: &Value, text: &str) {
        let characters: Vec<char> = text.chars().collect();
        for piece in characters.chunks(DELTA) {
            self.push(with(at, json!({"type": kind, "delta": piece.iter().collect::<String>()})));
        }
    }

    fn done(&mut self, place: usize, item: Value) -> Value {
        self.push(json!({"type": "response.output_item.done", "output_index": place, "item": item}));
        item
    }
}

fn with(base: &Value, more: Value) -> Value {
    let mut out = more;
    if let (Some(out), Some(base)) = (out.as_object_mut(), base.as_object()) {
        out.extend(base.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    out
}

fn usage_json(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input_tokens, "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.output_tokens, "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    })
}

/// Letters that stand for encrypted reasoning: different for each item, the same in every run.
fn sealed(request: usize, place: usize, length: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // A linear congruential generator (Knuth's MMIX constants) is enough for letters that mean nothing.
    let mut state = (request as u64) << 32 | place as u64;
    let letters = (0..length).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(LETTERS[(state >> 58) as usize])
    });
    letters.collect()
}
