//! What a hook answers: one JSON object, read strictly, because what cannot be understood may have meant no.

use serde::{Deserialize, de::DeserializeOwned};

use crate::policy::error::visible;

/// The longest answer in bytes.
pub const ANSWER_CAP: u64 = 64 * 1024;
/// The longest reason in characters.
const REASON_CAP: usize = 1000;
/// The longest note after a call in bytes.
const NOTE_CAP: usize = 4 * 1024;
/// The longest context of a session in bytes.
const CONTEXT_CAP: usize = 8 * 1024;

/// The answer to a call that is about to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BeforeCall {
    /// The hook has nothing against it.
    Allow,
    /// The person is to be asked.
    Ask(String),
    /// It does not run.
    Refuse(String),
}

/// The answer to a call that has run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AfterCall {
    /// What the model is told besides.
    pub note: Option<String>,
}

/// The answer to a session that is about to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// It begins; the model is told this besides.
    Goes(Option<String>),
    /// It does not begin.
    Refuse(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Decision {
    Allow,
    Ask,
    Refuse,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BeforeShape {
    decision: Decision,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AfterShape {
    note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StartShape {
    context: Option<String>,
    decision: Option<Decision>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StopShape {}

/// Reads the answer of a `before-call` hook.
///
/// # Errors
/// Says what is wrong with it, in words that can follow "its answer"; so for all that follow.
pub fn before_call(output: &[u8]) -> Result<BeforeCall, String> {
    let BeforeShape { decision, reason } = object(output)?;
    match (decision, reason) {
        (Decision::Allow, None) => Ok(BeforeCall::Allow),
        (Decision::Allow, Some(_)) => Err("allows, and yet gives a reason".to_owned()),
        (Decision::Ask, reason) => reason_of(reason).map(BeforeCall::Ask),
        (Decision::Refuse, reason) => reason_of(reason).map(BeforeCall::Refuse),
    }
}

/// Reads the answer of an `after-call` hook.
///
/// # Errors
/// As for [`before_call`].
pub fn after_call(output: &[u8]) -> Result<AfterCall, String> {
    let AfterShape { note } = object(output)?;
    Ok(AfterCall { note: said(note, NOTE_CAP) })
}

/// Reads the answer of a `session-start` hook.
///
/// # Errors
/// As for [`before_call`].
pub fn session_start(output: &[u8]) -> Result<Start, String> {
    match object(output)? {
        StartShape { context, decision: None, reason: None } => Ok(Start::Goes(said(context, CONTEXT_CAP))),
        StartShape { context: None, decision: Some(Decision::Refuse), reason } => reason_of(reason).map(Start::Refuse),
        _ => Err("is neither a context nor a refusal".to_owned()),
    }
}

/// Reads the answer of a `session-stop` hook, which has nothing to say.
///
/// # Errors
/// As for [`before_call`].
pub fn session_stop(output: &[u8]) -> Result<(), String> {
    object::<StopShape>(output).map(drop)
}

fn object<T: DeserializeOwned>(output: &[u8]) -> Result<T, String> {
    let output = output.trim_ascii();
    if output.is_empty() {
        return Err("is empty".to_owned());
    }
    // A list would do for serde as well.
    if output.first() != Some(&b'{') {
        return Err("is no JSON object".to_owned());
    }
    serde_json::from_slice(output).map_err(|error| format!("could not be understood ({})", visible(&error.to_string(), REASON_CAP)))
}

fn reason_of(reason: Option<String>) -> Result<String, String> {
    let reason = reason.map(|reason| visible(reason.trim(), REASON_CAP)).filter(|reason| !reason.is_empty());
    reason.ok_or_else(|| "gives no reason".to_owned())
}

/// A text within so many bytes; nothing for one that says nothing.
fn said(text: Option<String>, cap: usize) -> Option<String> {
    let mut text = text.filter(|text| !text.trim().is_empty())?;
    if text.len() > cap {
        let mut end = cap;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let left_out = text.len() - end;
        text.truncate(end);
        text.push_str(&format!("\n[... {left_out} bytes left out ...]"));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_are_read() {
        let ask = BeforeCall::Ask("why".to_owned());
        let cases = [
            ("{\"decision\":\"allow\"}", BeforeCall::Allow),
            (" {\"decision\" : \"allow\"}\n", BeforeCall::Allow),
            ("{\"decision\":\"ask\",\"reason\":\" why\\n\"}", ask),
            ("{\"decision\":\"refuse\",\"reason\":\"a\\u001b[2Jb\"}", BeforeCall::Refuse("a\u{fffd}[2Jb".to_owned())),
        ];
        for (text, expected) in cases {
            assert_eq!(before_call(text.as_bytes()), Ok(expected), "{text}");
        }
        assert_eq!(after_call(b"{}"), Ok(AfterCall { note: None }));
        assert_eq!(after_call(b"{\"note\":\"n\"}"), Ok(AfterCall { note: Some("n".to_owned()) }));
        assert_eq!(session_start(b"{}"), Ok(Start::Goes(None)));
        assert_eq!(session_start(b"{\"context\":\"c\"}"), Ok(Start::Goes(Some("c".to_owned()))));
        assert_eq!(session_start(b"{\"decision\":\"refuse\",\"reason\":\"r\"}"), Ok(Start::Refuse("r".to_owned())));
        assert_eq!(session_stop(b"{}"), Ok(()));
    }

    #[test]
    fn everything_else_is_none() {
        let texts = [
            "",
            "\n",
            "allow",
            "\"allow\"",
            "{}",
            "[\"allow\",null]",
            "{\"decision\":\"yes\"}",
            "{\"decision\":\"Allow\"}",
            "{\"decision\":\"allow\"} trailing",
            "{\"decision\":\"allow\"}{\"decision\":\"allow\"}",
            "{\"decision\":\"refuse\",\"reason\":\"r\",\"decision\":\"allow\"}",
            "{\"decision\":\"allow\",\"more\":1}",
            "{\"decision\":\"allow\",\"reason\":\"r\"}",
            "{\"decision\":\"ask\"}",
            "{\"decision\":\"refuse\",\"reason\":\" \"}",
            "{\"decision\":\"allow\"",
        ];
        for text in texts {
            assert!(before_call(text.as_bytes()).is_err(), "{text}");
        }
        assert!(before_call(b"{\"decision\":\"ask\",\"reason\":\"\xff\"}").is_err());
        for text in ["", "null", "[]", "[null]", "{\"note\":1}", "{\"decision\":\"refuse\",\"reason\":\"r\"}"] {
            assert!(after_call(text.as_bytes()).is_err(), "{text}");
        }
        let both = "{\"context\":\"c\",\"decision\":\"refuse\",\"reason\":\"r\"}";
        for text in ["", "[]", both, "{\"decision\":\"ask\",\"reason\":\"r\"}", "{\"reason\":\"r\"}", "{\"decision\":\"refuse\"}"] {
            assert!(session_start(text.as_bytes()).is_err(), "{text}");
        }
        assert!(session_stop(b"[]").is_err() && session_stop(b"{\"note\":\"n\"}").is_err());
    }

    #[test]
    fn long_texts_are_cut_and_say_so() {
        let note = after_call(format!("{{\"note\":\"{}\"}}", "ä".repeat(3000)).as_bytes()).unwrap().note.unwrap();
        assert!(note.len() < NOTE_CAP + 100 && note.ends_with("[... 1904 bytes left out ...]"), "{note}");
        let Ok(Start::Goes(Some(context))) = session_start(format!("{{\"context\":\"{}\"}}", "x".repeat(9000)).as_bytes()) else {
            panic!("no context")
        };
        assert!(context.len() < CONTEXT_CAP + 100 && context.contains("left out"));
    }

    proptest! {
        #[test]
        fn only_the_three_objects_are_decisions(output in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,60}", key in "[a-z]{1,8}") {
            for bytes in [output, text.clone().into_bytes(), format!("{{\"decision\":{text}").into_bytes()] {
                let read = before_call(&bytes);
                // What is read as allowed has to say so and nothing besides.
                if read == Ok(BeforeCall::Allow) {
                    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
                    prop_assert_eq!(value, serde_json::json!({"decision": "allow"}));
                }
                let _ = (after_call(&bytes), session_start(&bytes), session_stop(&bytes));
            }
            if key != "decision" && key != "reason" {
                let more = format!("{{\"decision\":\"allow\",\"{key}\":1}}");
                prop_assert!(before_call(more.as_bytes()).is_err());
            }
            let reason = serde_json::Value::from(text.clone());
            let read = before_call(format!("{{\"decision\":\"refuse\",\"reason\":{reason}}}").as_bytes());
            prop_assert_eq!(read.is_ok(), !text.trim().is_empty());
        }
    }
}
