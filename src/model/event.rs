//! The events of a streamed response, each read into a typed shape without building a tree of it.

use super::{
    item::{Item, Usage, UsageShape},
    retry,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeMap, time::Duration};

/// What one server-sent event means.
#[derive(Debug, Clone)]
pub enum StreamEvent {
    /// The response has begun.
    Created,
    /// More text of a message.
    TextDelta(String),
    /// More readable reasoning.
    ReasoningDelta(String),
    /// An output item is finished. This copy of the item is the one that counts.
    ItemDone(Item),
    /// The response is complete.
    Completed {
        /// Token counts, if the server gave any.
        usage: Option<Usage>,
        /// The server's name for the response.
        response_id: Option<String>,
    },
    /// The response ended early, on purpose.
    Incomplete {
        /// `max_output_tokens`, `content_filter` or another word of the server's.
        reason: String,
        /// Token counts, if the server gave any.
        usage: Option<Usage>,
    },
    /// The response failed (`response.failed`).
    Failed {
        /// The server's code, such as `server_error`.
        code: Option<String>,
        /// The server's sentence, as it came.
        message: String,
    },
    /// The stream failed (an `error` event).
    Error {
        /// The HTTP status that it would have had, which is said over a WebSocket.
        status: Option<u16>,
        /// The server's code, such as `rate_limit_exceeded`.
        code: Option<String>,
        /// The server's sentence, as it came.
        message: String,
        /// The wait that it asks for, in a header that it would have had.
        asked: Option<Duration>,
    },
    /// An event that means nothing to portcullis.
    Ignored,
    /// An event that is not JSON, or not of the shape that its type has. It is skipped.
    Malformed(String),
}

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow, rename = "type")]
    type_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    status: Option<serde_json::Value>,
    headers: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Deserialize)]
struct Delta {
    delta: String,
}

#[derive(Deserialize)]
struct WithItem<'a> {
    #[serde(borrow)]
    item: &'a RawValue,
}

#[derive(Deserialize)]
struct WithResponse<'a> {
    #[serde(borrow)]
    response: Response<'a>,
}

#[derive(Deserialize)]
struct Response<'a> {
    id: Option<String>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    incomplete_details: Option<IncompleteDetails>,
    error: Option<Fault>,
}

#[derive(Deserialize)]
struct IncompleteDetails {
    reason: Option<String>,
}

/// An error as it stands in `response.error`, in an `error` event and in the JSON body of a failed request.
#[derive(Deserialize, Default)]
pub(super) struct Fault {
    // Some servers put the HTTP status here as a number.
    code: Option<serde_json::Value>,
    #[serde(rename = "type")]
    type_name: Option<String>,
    message: Option<String>,
}

impl Fault {
    pub(super) fn from_message(message: String) -> Self {
        Self { message: Some(message), ..Self::default() }
    }

    pub(super) fn code(&self) -> Option<String> {
        match &self.code {
            Some(serde_json::Value::String(code)) => Some(code.clone()),
            _ => self.type_name.clone().filter(|name| name != "error"),
        }
    }

    pub(super) fn message(&self) -> String {
        match (&self.message, self.code()) {
            (Some(message), _) if !message.trim().is_empty() => message.clone(),
            (_, Some(code)) => code,
            _ => "the server gave no reason".to_owned(),
        }
    }
}

impl StreamEvent {
    /// Reads the `data` of one server-sent event. Never fails: what cannot be read is [`StreamEvent::Malformed`].
    pub fn parse(data: &str) -> Self {
        // `[DONE]` is how chat-completion servers end a stream; some send it here as well.
        if data.trim() == "[DONE]" {
            return Self::Ignored;
        }
        match Self::parse_typed(data) {
            Ok(event) => event,
            Err(error) => Self::Malformed(error.to_string()),
        }
    }

    fn parse_typed(data: &str) -> Result<Self, serde_json::Error> {
        let tag: Tag<'_> = serde_json::from_str(data)?;
        let Some(type_name) = tag.type_name else {
            return match tag.error {
                Some(error) => Ok(Self::from_error(None, serde_json::from_str(error.get())?, None)),
                None => Ok(Self::Malformed("the event has no type".to_owned())),
            };
        };
        Ok(match type_name.as_ref() {
            "response.created" => Self::Created,
            "response.output_text.delta" => Self::TextDelta(serde_json::from_str::<Delta>(data)?.delta),
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                Self::ReasoningDelta(serde_json::from_str::<Delta>(data)?.delta)
            }
            "response.output_item.done" => match Item::parse(serde_json::from_str::<WithItem<'_>>(data)?.item) {
                Ok(item) => Self::ItemDone(item),
                Err(error) => Self::Malformed(error.to_string()),
            },
            "response.completed" => {
                let response = serde_json::from_str::<WithResponse<'_>>(data)?.response;
                let usage = response.usage();
                match response.incomplete_details {
                    Some(details) => Self::Incomplete { reason: details.reason(), usage },
                    None => Self::Completed { usage, response_id: response.id },
                }
            }
            "response.incomplete" => {
                let response = serde_json::from_str::<WithResponse<'_>>(data)?.response;
                let usage = response.usage();
                Self::Incomplete { reason: response.incomplete_details.map_or_else(unknown, IncompleteDetails::reason), usage }
            }
            "response.failed" => {
                let fault = serde_json::from_str::<WithResponse<'_>>(data)?.response.error.unwrap_or_default();
                Self::Failed { code: fault.code(), message: fault.message() }
            }
            "error" => {
                let status = tag.status.and_then(|status| u16::try_from(status.as_u64()?).ok());
                let fault = match tag.error {
                    Some(error) => serde_json::from_str(error.get())?,
                    None => serde_json::from_str(data)?,
                };
                let headers = tag.headers.unwrap_or_default();
                let header = |name: &str| {
                    let found = headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name))?.1;
                    found.as_str().map_or_else(|| found.as_u64().map(|number| number.to_string()), |text| Some(text.to_owned()))
                };
                let asked = retry::asked_in_headers(header("retry-after-ms").as_deref(), header("retry-after").as_deref());
                Self::from_error(status, fault, asked)
            }
            _ => Self::Ignored,
        })
    }

    fn from_error(status: Option<u16>, fault: Fault, asked: Option<Duration>) -> Self {
        Self::Error { status, code: fault.code(), message: fault.message(), asked }
    }
}

impl Response<'_> {
    // A usage of an unknown shape is no reason to lose the response.
    fn usage(&self) -> Option<Usage> {
        let shape: UsageShape = serde_json::from_str(self.usage?.get()).ok()?;
        Some(shape.into())
    }
}

impl IncompleteDetails {
    fn reason(self) -> String {
        self.reason.unwrap_or_else(unknown)
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_with_its_details() {
        let data = r#"{"type":"response.completed","response":{"id":"r","incomplete_details":null,"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":3,"output_tokens_details":{"reasoning_tokens":1}}}}"#;
        let StreamEvent::Completed { usage, response_id } = StreamEvent::parse(data) else { panic!("not completed") };
        assert_eq!(usage, Some(Usage { input_tokens: 9, cached_tokens: 4, output_tokens: 3, reasoning_tokens: 1 }));
        assert_eq!(response_id.as_deref(), Some("r"));
    }

    #[test]
    fn usage_of_a_strange_shape_does_not_lose_the_response() {
        let event = StreamEvent::parse(r#"{"type":"response.completed","response":{"usage":{"input_tokens":-1}}}"#);
        assert!(matches!(event, StreamEvent::Completed { usage: None, .. }), "{event:?}");
    }

    #[test]
    fn both_shapes_of_an_error_event_are_read() {
        for data in [
            r#"{"type":"error","code":"server_error","message":"m"}"#,
            r#"{"type":"error","error":{"type":"server_error","code":null,"message":"m"}}"#,
            r#"{"error":{"code":500,"type":"server_error","message":"m"}}"#,
        ] {
            let StreamEvent::Error { code, message, .. } = StreamEvent::parse(data) else { panic!("{data}") };
            assert_eq!((code.as_deref(), message.as_str()), (Some("server_error"), "m"), "{data}");
        }
    }

    #[test]
    fn a_completed_event_that_says_it_is_incomplete_is_incomplete() {
        let event = StreamEvent::parse(r#"{"type":"response.completed","response":{"incomplete_details":{"reason":"max_output_tokens"}}}"#);
        assert!(matches!(&event, StreamEvent::Incomplete { reason, .. } if reason == "max_output_tokens"), "{event:?}");
    }

    #[test]
    fn nonsense_is_malformed_and_the_unknown_is_ignored() {
        for data in ["", "{", "[]", "{}", r#"{"type":"response.output_item.done"}"#, r#"{"type":7}"#] {
            assert!(matches!(StreamEvent::parse(data), StreamEvent::Malformed(_)), "{data}");
        }
        assert!(matches!(StreamEvent::parse(r#"{"type":"response.new","delta":{"x":1}}"#), StreamEvent::Ignored));
        assert!(matches!(StreamEvent::parse(" [DONE]"), StreamEvent::Ignored));
    }
}
