//! The request body, built so that it only ever grows.
//!
//! `input` is the last key of the object and items are encoded once, when they are appended. A request is therefore a copy of the
//! head, a copy of the items and a two-byte tail: apart from that tail, request N is an exact byte prefix of request N+1, which
//! is what a provider's prompt cache rewards.

mod conversation;
mod head;
mod link;

use serde::Serialize;

pub use conversation::{Conversation, clip};
pub use head::{EncodedHead, Head, Style, Tool};
pub use link::Link;

/// Closes the `input` array and the object.
const TAIL: &[u8] = b"]}";

/// Strings, booleans, numbers and JSON values written to memory: there is nothing in them that can fail to encode.
fn write_json<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "plain data written to memory cannot fail: {written:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json, value::RawValue};

    use crate::model::{Features, Image, MediaType};

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
