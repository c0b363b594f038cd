//! What stays the same in the requests of a session, and its bytes.

use bytes::Bytes;
use serde::Serialize;

use super::write_json;
use crate::model::Features;

/// A function that the model may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// The name that the model calls, `[A-Za-z0-9_-]{1,64}` on OpenAI's service.
    pub name: String,
    /// What the tool does, for the model.
    pub description: String,
    /// A JSON schema of the arguments.
    pub parameters: serde_json::Value,
    /// Whether the service is to hold the model to the schema (`strict: true`). Every object in it must then list all its properties
    /// as required and forbid additional ones.
    pub strict: bool,
}

/// Everything in a request that stays the same for the whole session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The model's name as the endpoint knows it.
    pub model: String,
    /// The base instructions.
    pub instructions: String,
    /// The tools, sent in this order; callers sort them by name.
    pub tools: Vec<Tool>,
    /// Groups requests for the provider's prompt cache; one value per session.
    pub prompt_cache_key: String,
    /// Whether the model may ask for several calls in one response.
    pub parallel_tool_calls: bool,
    /// How the model is to think and to answer.
    pub style: Style,
    /// What the endpoint takes.
    pub features: Features,
    /// Upper bound of tokens for one response, reasoning included; `None` leaves the field out.
    pub max_output_tokens: Option<u64>,
}

/// How a model is to think and to answer. What is not said is left out of the request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Style {
    /// `minimal`, `low`, `medium`, `high` or whatever the endpoint knows.
    pub reasoning_effort: Option<String>,
    /// `low`, `medium`, `high` or whatever the endpoint knows: how much is said.
    pub verbosity: Option<String>,
    /// A JSON schema that the answer is to meet.
    pub output_schema: Option<serde_json::Value>,
}

/// A [`Head`] as bytes, ending just after the `[` that opens `input`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedHead {
    request: Bytes,
    compact: Bytes,
    frame: Bytes,
}

impl EncodedHead {
    /// The bytes that every request of the session starts with.
    pub fn as_bytes(&self) -> &[u8] {
        &self.request
    }

    /// The fields of a request over a WebSocket, without the brace before them and up to the bracket that opens `input`.
    pub(in crate::model) fn frame_fields(&self) -> &[u8] {
        &self.frame
    }

    /// The bytes that a call of the endpoint's own compaction starts with, which has fewer fields.
    pub(super) fn compact_bytes(&self) -> &[u8] {
        &self.compact
    }
}

#[derive(Serialize)]
struct CompactFields<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'a str>,
    instructions: &'a str,
}

// Field order is wire order. `input` follows these fields and is written by hand.
#[derive(Serialize)]
struct HeadFields<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
    store: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    include: Option<[&'a str; 1]>,
    parallel_tool_calls: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Reasoning<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Function<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    instructions: &'a str,
}

#[derive(Serialize)]
struct Reasoning<'a> {
    effort: &'a str,
}

#[derive(Serialize)]
struct Text<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbosity: Option<&'a str>,
}

#[derive(Serialize)]
struct Format<'a> {
    r#type: &'a str,
    name: &'a str,
    strict: bool,
    schema: &'a serde_json::Value,
}

impl Style {
    fn text(&self) -> Option<Text<'_>> {
        let format = self.output_schema.as_ref();
        let format = format.map(|schema| Format { r#type: "json_schema", name: "answer", strict: true, schema });
        let verbosity = self.verbosity.as_deref();
        (format.is_some() || verbosity.is_some()).then_some(Text { format, verbosity })
    }
}

#[derive(Serialize)]
struct Function<'a> {
    r#type: &'a str,
    name: &'a str,
    description: &'a str,
    strict: bool,
    parameters: &'a serde_json::Value,
}

impl Head {
    /// Its parts in the order in which a provider's cache sees them, by name. What is left out does not change what the model sees.
    pub fn parts(&self) -> Vec<(&'static str, String)> {
        let settings = format!("{} {} {:?} {:?}", self.model, self.parallel_tool_calls, self.style, self.features);
        let tools: Vec<_> =
            self.tools.iter().map(|tool| (&tool.name, &tool.description, tool.strict, tool.parameters.to_string())).collect();
        vec![("model and settings", settings), ("tools", format!("{tools:?}")), ("base instructions", self.instructions.clone())]
    }

    /// Encodes the head; done once a session. Equal heads give equal bytes. `tools` and `tool_choice` are left out where there
    /// are no tools, since some servers refuse a choice of nothing.
    pub fn encode(&self) -> EncodedHead {
        let features = &self.features;
        let tools: Vec<Function<'_>> = self
            .tools
            .iter()
            .map(|tool| Function {
                r#type: "function",
                name: &tool.name,
                description: &tool.description,
                strict: tool.strict && features.strict_tools,
                parameters: &tool.parameters,
            })
            .collect();
        let mut fields = HeadFields {
            model: &self.model,
            stream: Some(true),
            store: false,
            include: features.encrypted_reasoning.then_some(["reasoning.encrypted_content"]),
            parallel_tool_calls: self.parallel_tool_calls && features.parallel_calls,
            reasoning: self.style.reasoning_effort.as_deref().map(|effort| Reasoning { effort }),
            text: self.style.text(),
            max_output_tokens: self.max_output_tokens,
            prompt_cache_key: features.cache_key.then_some(self.prompt_cache_key.as_str()),
            tool_choice: (!tools.is_empty()).then_some("auto"),
            tools,
            instructions: &self.instructions,
        };
        let request = before_input(&fields);
        // A socket always streams, and does not know the field.
        fields.stream = None;
        let frame = before_input(&fields).slice(1..);
        let prompt_cache_key = fields.prompt_cache_key;
        let Self { model, instructions, .. } = self;
        EncodedHead { request, compact: before_input(&CompactFields { model, prompt_cache_key, instructions }), frame }
    }
}

/// An object that is not empty, up to and with the bracket that opens one more field, `input`.
fn before_input<T: Serialize>(fields: &T) -> Bytes {
    let mut out = Vec::with_capacity(16 * 1024);
    write_json(&mut out, fields);
    out.pop();
    out.extend_from_slice(b",\"input\":[");
    Bytes::from(out)
}
