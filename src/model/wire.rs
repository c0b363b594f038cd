//! The request body, built so that it only ever grows.
//!
//! `input` is the last key of the object and items are encoded once, when they are appended. A request is therefore a copy of the
//! head, a copy of the items and a two-byte tail: apart from that tail, request N is an exact byte prefix of request N+1, which
//! is what a provider's prompt cache rewards.

use super::Features;
use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::image::Image;

/// Closes the `input` array and the object.
const TAIL: &[u8] = b"]}";

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
    pub(super) fn frame_fields(&self) -> &[u8] {
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

/// The items of a conversation as the bytes that are sent. Items can be appended, never changed or removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conversation {
    encoded: Vec<u8>,
    /// Where each item begins.
    starts: Vec<usize>,
    /// A digest of all items up to and with each one.
    links: Vec<Link>,
    /// Items with images in them, and the bytes and number of these.
    images: Vec<(usize, usize, usize)>,
}

/// What an image counts as in [`Conversation::weight`], in bytes: about 1 500 tokens of text. What it costs depends on the model and on its size in pixels,
/// not on its bytes.
const IMAGE_WEIGHT: usize = 6_000;
/// What an image begins with in an item.
const IMAGE_BEGINS: &[u8] = b"\"data:image/";

/// Bytes of images in an item, and how many there are.
fn images_in(item: &[u8]) -> (usize, usize) {
    let (mut bytes, mut count, mut rest) = (0, 0, item);
    while let Some(begin) = memchr::memmem::find(rest, IMAGE_BEGINS) {
        rest = &rest[begin + 1..];
        let end = memchr::memchr(b'"', rest).unwrap_or(rest.len());
        (bytes, count, rest) = (bytes + end, count + 1, &rest[end..]);
    }
    (bytes, count)
}

/// A digest of a conversation so far. Two conversations with the same link have the same items before it, byte for byte.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link([u8; 16]);

impl Link {
    /// The link after one more item.
    #[must_use]
    pub fn then(self, item: &RawValue) -> Self {
        self.after(&one_line(item).collect::<Vec<u8>>())
    }

    fn after(self, item: &[u8]) -> Self {
        let digest = Sha256::new().chain_update(self.0).chain_update(item).finalize();
        let mut link = [0; 16];
        link.copy_from_slice(&digest[..16]);
        Self(link)
    }
}

/// An item without line feeds. Within its strings there can be none, so nothing but white space changes; and an item is one line wherever it is kept.
fn one_line(item: &RawValue) -> impl Iterator<Item = u8> + '_ {
    item.get().bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte })
}

#[derive(Serialize)]
struct Message<'a> {
    r#type: &'a str,
    role: &'a str,
    content: Vec<Part<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    InputText { text: &'a str },
    InputImage { image_url: &'a str },
}

#[derive(Serialize)]
struct Output<'a, T> {
    r#type: &'a str,
    call_id: &'a str,
    output: T,
}

#[derive(serde::Deserialize)]
struct OwnedOutput {
    r#type: String,
    call_id: String,
    output: serde_json::Value,
}

/// The beginning and the end of a text that is longer than so many bytes.
pub fn clip(text: &str, cap: usize) -> String {
    if text.len() <= cap {
        return text.to_owned();
    }
    let (mut head, mut tail) = (cap / 2, text.len() - cap / 2);
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    format!("{}\n[... {} bytes left out ...]\n{}", &text[..head], tail - head, &text[tail..])
}

impl Conversation {
    /// An empty conversation.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an item exactly as the model sent it, but for line feeds between its parts, which become blanks.
    pub fn push_raw(&mut self, item: &RawValue) {
        self.separate();
        self.encoded.extend(one_line(item));
        self.link_last();
    }

    /// The digest of the first `items` items.
    pub fn link(&self, items: usize) -> Link {
        items.checked_sub(1).and_then(|last| self.links.get(last)).copied().unwrap_or_default()
    }

    /// The digests of all beginnings, the shortest first.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The items from a place on, with commas between them.
    pub(super) fn bytes_from(&self, place: usize) -> &[u8] {
        self.starts.get(place).and_then(|start| self.encoded.get(*start..)).unwrap_or_default()
    }

    fn link_last(&mut self) {
        let Some(start) = self.starts.last() else { return };
        let item = &self.encoded[*start..];
        let link = self.link(self.links.len()).after(item);
        let (bytes, count) = images_in(item);
        if count > 0 {
            self.images.push((self.links.len(), bytes, count));
        }
        self.links.push(link);
    }

    /// The last item.
    pub fn last(&self) -> Option<&RawValue> {
        self.item(self.starts.len().checked_sub(1)?)
    }

    /// All items in order.
    pub fn items(&self) -> impl Iterator<Item = &RawValue> {
        (0..self.starts.len()).filter_map(|place| self.item(place))
    }

    /// One item.
    pub fn item(&self, place: usize) -> Option<&RawValue> {
        serde_json::from_slice(self.item_bytes(place)?).ok()
    }

    /// The bytes of one item, without the commas around it.
    pub fn item_bytes(&self, place: usize) -> Option<&[u8]> {
        let end = self.starts.get(place + 1).map_or(self.encoded.len(), |next| next - 1);
        self.encoded.get(*self.starts.get(place)?..end)
    }

    /// The same conversation, where no output of a call is longer than so many bytes. For a request of its own only: it does not extend what was sent.
    #[must_use]
    pub fn with_clipped_outputs(&self, cap: usize) -> Self {
        let mut clipped = Self::new();
        for item in self.items() {
            match serde_json::from_str::<OwnedOutput>(item.get()) {
                Ok(output) if output.r#type == "function_call_output" && item.get().len() > cap => {
                    let text = output.output.as_str().map_or_else(|| "(left out)".to_owned(), |text| clip(text, cap));
                    clipped.push_output(&output.call_id, &text);
                }
                _ => clipped.push_raw(item),
            }
        }
        clipped
    }

    /// Takes back the last items. Only for items that were never sent.
    pub fn take_back(&mut self, count: usize) {
        let kept = self.starts.len().saturating_sub(count);
        if let Some(start) = self.starts.get(kept).copied() {
            // Without the comma before it.
            self.encoded.truncate(start.saturating_sub(1));
            self.starts.truncate(kept);
            self.links.truncate(kept);
            self.images.retain(|(place, ..)| *place < kept);
        }
    }

    /// Appends what the person said.
    pub fn push_user(&mut self, text: &str) {
        self.push_message("user", text);
    }

    /// Appends what the person said, with images.
    pub fn push_user_with_images<'i>(&mut self, text: &str, images: impl IntoIterator<Item = &'i Image>) {
        self.push_parts("user", text, images);
    }

    /// Appends what the harness says: environment facts, a changed policy.
    pub fn push_developer(&mut self, text: &str) {
        self.push_message("developer", text);
    }

    /// Appends the output of the call that the model named `call_id`.
    pub fn push_output(&mut self, call_id: &str, output_text: &str) {
        self.separate();
        write_json(&mut self.encoded, &Output { r#type: "function_call_output", call_id, output: output_text });
        self.link_last();
    }

    /// Appends the output of a call that ends with an image.
    pub fn push_output_with_image(&mut self, call_id: &str, output_text: &str, image: &Image) {
        self.separate();
        let output = [Part::InputText { text: output_text }, Part::InputImage { image_url: image.url() }];
        write_json(&mut self.encoded, &Output { r#type: "function_call_output", call_id, output });
        self.link_last();
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether nothing was said yet.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The items as sent, separated by commas. A position taken from its length before an append marks where the new item's
    /// bytes begin (after the comma, if it is not the first).
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }

    /// The body of the next request: a copy of the head, the items and the tail.
    pub fn body(&self, head: &EncodedHead) -> Bytes {
        let mut out = BytesMut::with_capacity(head.request.len() + self.encoded.len() + TAIL.len());
        out.put_slice(&head.request);
        out.put_slice(&self.encoded);
        out.put_slice(TAIL);
        out.freeze()
    }

    /// How many bytes that body has, as far as they tell how many tokens it is: an image counts as a fixed number.
    pub fn weight(&self, head: &EncodedHead) -> usize {
        let images = self.images.iter().fold((0, 0), |(bytes, count), image| (bytes + image.1, count + image.2));
        self.body_len(head) - images.0 + images.1 * IMAGE_WEIGHT
    }

    /// How many bytes that body has.
    pub fn body_len(&self, head: &EncodedHead) -> usize {
        head.request.len() + self.encoded.len() + TAIL.len()
    }

    fn push_message(&mut self, role: &str, text: &str) {
        self.push_parts(role, text, []);
    }

    fn push_parts<'i>(&mut self, role: &str, text: &str, images: impl IntoIterator<Item = &'i Image>) {
        self.separate();
        let mut content = vec![Part::InputText { text }];
        content.extend(images.into_iter().map(|image| Part::InputImage { image_url: image.url() }));
        write_json(&mut self.encoded, &Message { r#type: "message", role, content });
        self.link_last();
    }

    fn separate(&mut self) {
        if !self.starts.is_empty() {
            self.encoded.push(b',');
        }
        self.starts.push(self.encoded.len());
    }
}

/// Strings, booleans, numbers and JSON values written to memory: there is nothing in them that can fail to encode.
fn write_json<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "plain data written to memory cannot fail: {written:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use crate::model::MediaType;

    fn head() -> Head {
        Head {
            model: "m".into(),
            instructions: "be \"good\"\n\u{2028}".into(),
            tools: vec![Tool {
                name: "shell".into(),
                description: "run".into(),
                parameters: json!({"type": "object", "b": 1, "a": 2}),
                strict: true,
            }],
            prompt_cache_key: "k".into(),
            parallel_tool_calls: true,
            style: Style { reasoning_effort: Some("high".into()), ..Style::default() },
            features: Features::default(),
            max_output_tokens: Some(9),
        }
    }

    #[test]
    fn the_head_carries_every_fixed_field_and_input_comes_last() {
        let mut conversation = Conversation::new();
        conversation.push_user("hi");
        let body = conversation.body(&head().encode());
        let value: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["stream"], json!(true));
        assert_eq!(value["store"], json!(false));
        assert_eq!(value["include"], json!(["reasoning.encrypted_content"]));
        assert_eq!(value["tool_choice"], json!("auto"));
        assert_eq!(value["reasoning"], json!({"effort": "high"}));
        assert_eq!(value["max_output_tokens"], json!(9));
        assert_eq!(value["tools"][0]["type"], json!("function"));
        assert_eq!(value["tools"][0]["strict"], json!(true));
        assert_eq!(value["input"][0]["content"][0], json!({"type": "input_text", "text": "hi"}));
        assert!(body.ends_with(b"]}"));
        let text = std::str::from_utf8(&body).unwrap();
        let input = text.find("\"input\":[").unwrap();
        for key in ["\"model\"", "\"tools\"", "\"instructions\"", "\"prompt_cache_key\""] {
            assert!(text.find(key).unwrap() < input, "{key} must come before input");
        }
    }

    #[test]
    fn absent_options_and_absent_tools_leave_no_trace() {
        let bare = Head { tools: Vec::new(), style: Style::default(), max_output_tokens: None, ..head() };
        let body = Conversation::new().body(&bare.encode());
        let value: Value = serde_json::from_slice(&body).unwrap();
        for key in ["tools", "tool_choice", "reasoning", "max_output_tokens"] {
            assert!(value.get(key).is_none(), "{key} should be absent");
        }
        assert_eq!(value["input"], json!([]));
    }

    #[derive(Debug, Clone)]
    enum Push {
        User(String),
        Developer(String),
        Output(String, String),
        Seen(String, Vec<u8>),
        Attached(String, Vec<u8>),
        Raw(String),
    }

    fn push() -> impl Strategy<Value = Push> {
        // `any::<char>()` reaches controls, lone combining marks, noncharacters and astral planes.
        let text = || prop::collection::vec(any::<char>(), 0..24).prop_map(|chars| chars.into_iter().collect::<String>());
        prop_oneof![
            text().prop_map(Push::User),
            text().prop_map(Push::Developer),
            (text(), text()).prop_map(|(id, out)| Push::Output(id, out)),
            (text(), prop::collection::vec(any::<u8>(), 0..24)).prop_map(|(text, bytes)| Push::Seen(text, bytes)),
            (text(), prop::collection::vec(any::<u8>(), 0..24)).prop_map(|(text, bytes)| Push::Attached(text, bytes)),
            text().prop_map(Push::Raw),
        ]
    }

    proptest! {
        #[test]
        fn any_history_is_valid_json_and_only_extends_what_was_sent(pushes in prop::collection::vec(push(), 0..20)) {
            let head = head().encode();
            let mut conversation = Conversation::new();
            let mut before = conversation.body(&head);
            for (done, push) in pushes.iter().enumerate() {
                match push {
                    Push::User(text) => conversation.push_user(text),
                    Push::Developer(text) => conversation.push_developer(text),
                    Push::Output(id, text) => conversation.push_output(id, text),
                    Push::Seen(text, bytes) => conversation.push_output_with_image("c", text, &Image::new(MediaType::Png, bytes)),
                    Push::Attached(text, bytes) => conversation.push_user_with_images(text, [&Image::new(MediaType::Jpeg, bytes)]),
                    Push::Raw(text) => {
                        let raw = format!("{{ \"type\" : \"reasoning\",\"x\":{} }}", Value::from(text.as_str()));
                        conversation.push_raw(&RawValue::from_string(raw).unwrap());
                    }
                }
                let body = conversation.body(&head);
                prop_assert_eq!(conversation.links().len(), done + 1);
                let has_images = pushes[..=done].iter().any(|push| matches!(push, Push::Seen(..) | Push::Attached(..)));
                prop_assert_eq!(conversation.weight(&head) == body.len(), !has_images);
                prop_assert!(body.starts_with(&before[..before.len() - TAIL.len()]));
                let value: Value = serde_json::from_slice(&body).unwrap();
                let items = value["input"].as_array().unwrap();
                prop_assert_eq!(items.len(), done + 1);
                prop_assert_eq!(conversation.len(), done + 1);
                let said = match push {
                    Push::User(_) | Push::Developer(_) | Push::Attached(..) => &items[done]["content"][0]["text"],
                    Push::Output(..) => &items[done]["output"],
                    Push::Seen(..) => &items[done]["output"][0]["text"],
                    Push::Raw(_) => &items[done]["x"],
                };
                let url = match push {
                    Push::Seen(..) => items[done]["output"][1]["image_url"].as_str(),
                    Push::Attached(..) => items[done]["content"][1]["image_url"].as_str(),
                    _ => None,
                };
                if let Push::Seen(_, bytes) | Push::Attached(_, bytes) = push {
                    prop_assert!(url.is_some_and(|url| url.starts_with("data:image/") && (bytes.is_empty() || !url.ends_with(','))));
                }
                let (Push::User(text)
                | Push::Developer(text)
                | Push::Output(_, text)
                | Push::Seen(text, _)
                | Push::Attached(text, _)
                | Push::Raw(text)) = push;
                prop_assert_eq!(said.as_str().unwrap(), text);
                before = body;
            }
        }
    }
}
