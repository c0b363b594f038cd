//! Output items of a response, kept byte for byte beside what portcullis needs to know of them.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Characters of arguments that are no JSON that are sent back.
const MALFORMED_KEPT: usize = 4096;

/// One finished output item.
#[derive(Debug, Clone)]
pub struct Item {
    /// The item exactly as received, to be sent back as it came ([`super::Conversation::push_raw`]).
    pub raw: Box<RawValue>,
    /// What the item says.
    pub kind: ItemKind,
}

/// What an item says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemKind {
    /// Text for the person.
    Message {
        /// All text parts, joined.
        text: String,
        /// The refusal, if the model refused.
        refusal: Option<String>,
    },
    /// A call that the model wants made.
    FunctionCall {
        /// Pairs the call with its output.
        call_id: String,
        /// The tool's name; not checked here.
        name: String,
        /// JSON text as the model wrote it; not checked here.
        arguments: String,
    },
    /// The model's reasoning; the encrypted part is only in `raw`.
    Reasoning {
        /// The readable summary; often empty.
        summary: String,
    },
    /// An item of a type that portcullis does not know; it is still sent back.
    Unknown {
        /// The item's `type`.
        type_name: String,
    },
}

/// Token counts of one response, as the server reports them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the whole prompt, cached ones included.
    pub input_tokens: u64,
    /// How many of `input_tokens` came from the provider's prompt cache.
    pub cached_tokens: u64,
    /// Tokens that the model wrote, reasoning included.
    pub output_tokens: u64,
    /// How many of `output_tokens` were reasoning.
    pub reasoning_tokens: u64,
}

/// An item that lacks what its type must have.
#[derive(Debug, thiserror::Error)]
#[error("an output item of type {type_name:?} has the wrong shape: {source}")]
pub struct MalformedItem {
    /// The item's `type`, empty if it has none.
    pub type_name: String,
    #[source]
    source: serde_json::Error,
}

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow, rename = "type")]
    type_name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct MessageShape {
    #[serde(default)]
    content: Vec<Part>,
}

#[derive(Deserialize)]
struct FunctionCallShape {
    call_id: String,
    name: String,
    arguments: String,
}

#[derive(Deserialize)]
struct ReasoningShape {
    #[serde(default)]
    summary: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
    refusal: Option<String>,
}

impl Item {
    /// Reads one item.
    ///
    /// # Errors
    /// If it has no `type`, or lacks what a message, function call or reasoning item must have.
    pub fn parse(raw: &RawValue) -> Result<Self, MalformedItem> {
        let text = raw.get();
        let malformed = |type_name: &str| {
            let type_name = type_name.to_owned();
            move |source| MalformedItem { type_name, source }
        };
        let tag: Tag<'_> = serde_json::from_str(text).map_err(malformed(""))?;
        let kind = match tag.type_name.as_ref() {
            "message" => {
                let shape: MessageShape = serde_json::from_str(text).map_err(malformed("message"))?;
                let refusal = shape.content.iter().find_map(|part| part.refusal.clone());
                ItemKind::Message { text: join(shape.content, ""), refusal }
            }
            "function_call" => {
                let shape: FunctionCallShape = serde_json::from_str(text).map_err(malformed("function_call"))?;
                ItemKind::FunctionCall { call_id: shape.call_id, name: shape.name, arguments: shape.arguments }
            }
            "reasoning" => {
                let shape: ReasoningShape = serde_json::from_str(text).map_err(malformed("reasoning"))?;
                ItemKind::Reasoning { summary: join(shape.summary, "\n\n") }
            }
            other => ItemKind::Unknown { type_name: other.to_owned() },
        };
        Ok(Self { raw: raw.to_owned(), kind })
    }

    /// Whether it stands for items that were left out.
    pub fn is_compaction(&self) -> bool {
        matches!(&self.kind, ItemKind::Unknown { type_name } if super::compaction::is_compaction(type_name))
    }

    /// The item as it can be sent back. Arguments of a call that are no JSON object (a model of few tokens was cut off, say) go back inside one: some servers
    /// answer them with an error for ever, llama.cpp with status 500.
    pub fn sendable(&self) -> Cow<'_, RawValue> {
        let ItemKind::FunctionCall { arguments, .. } = &self.kind else { return Cow::Borrowed(&self.raw) };
        if serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(arguments).is_ok() {
            return Cow::Borrowed(&self.raw);
        }
        let Ok(mut item) = serde_json::from_str::<serde_json::Value>(self.raw.get()) else { return Cow::Borrowed(&self.raw) };
        let clipped: String = arguments.chars().take(MALFORMED_KEPT).collect();
        item["arguments"] = serde_json::json!({ "malformed": clipped }).to_string().into();
        serde_json::value::to_raw_value(&item).map_or(Cow::Borrowed(&self.raw), Cow::Owned)
    }
}

fn join(parts: Vec<Part>, separator: &str) -> String {
    let texts: Vec<String> = parts.into_iter().filter_map(|part| part.text).collect();
    texts.join(separator)
}

#[derive(Deserialize)]
pub(super) struct UsageShape {
    #[serde(default)]
    input_tokens: u64,
    input_tokens_details: Option<InputDetails>,
    #[serde(default)]
    output_tokens: u64,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Deserialize)]
struct InputDetails {
    #[serde(default)]
    cached_tokens: u64,
}

#[derive(Deserialize)]
struct OutputDetails {
    #[serde(default)]
    reasoning_tokens: u64,
}

impl From<UsageShape> for Usage {
    fn from(shape: UsageShape) -> Self {
        Self {
            input_tokens: shape.input_tokens,
            cached_tokens: shape.input_tokens_details.map_or(0, |details| details.cached_tokens),
            output_tokens: shape.output_tokens,
            reasoning_tokens: shape.output_tokens_details.map_or(0, |details| details.reasoning_tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Item, MalformedItem> {
        Item::parse(&RawValue::from_string(text.to_owned()).unwrap())
    }

    #[test]
    fn a_message_joins_its_text_and_keeps_its_refusal() {
        let item =
            parse(r#"{"type":"message","content":[{"type":"output_text","text":"a"},{"type":"refusal","refusal":"no"},{"text":"b"}]}"#);
        assert_eq!(item.unwrap().kind, ItemKind::Message { text: "ab".into(), refusal: Some("no".into()) });
    }

    #[test]
    fn an_unknown_item_may_have_any_shape_and_keeps_its_bytes() {
        let text = r#"{"content" : 5, "type":"n\u0065w", "summary":{}}"#;
        let item = parse(text).unwrap();
        assert_eq!(item.raw.get(), text);
        assert_eq!(item.kind, ItemKind::Unknown { type_name: "new".into() });
    }

    #[test]
    fn arguments_that_are_no_object_go_back_inside_one_and_others_as_they_came() {
        let good = parse(r#"{"type":"function_call", "call_id":"c","name":"x","arguments":"{ \"a\":1}"}"#).unwrap();
        assert_eq!(good.sendable().get(), good.raw.get());
        for arguments in ["{\"a\": \"cut", "", "[1]", "7"] {
            let raw = serde_json::json!({"type": "function_call", "call_id": "c", "name": "x", "arguments": arguments}).to_string();
            let item = parse(&raw).unwrap();
            let sent = parse(item.sendable().get()).unwrap();
            let ItemKind::FunctionCall { call_id, arguments: repaired, .. } = sent.kind else { panic!("no call") };
            let repaired: serde_json::Value = serde_json::from_str(&repaired).unwrap();
            assert_eq!((call_id.as_str(), repaired["malformed"].as_str()), ("c", Some(arguments)));
        }
    }

    #[test]
    fn a_call_without_an_id_is_refused_by_name() {
        let error = parse(r#"{"type":"function_call","name":"x","arguments":"{}"}"#).unwrap_err();
        assert!(error.to_string().contains("function_call") && error.to_string().contains("call_id"), "{error}");
    }
}
