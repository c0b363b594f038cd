//! A tool as a server describes it, checked and made fit to be shown to a person and to the model.

use rmcp::model::Tool as Described;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::policy::is_hidden;

/// The longest schema of a tool in bytes.
const SCHEMA_CAP: usize = 64 * 1024;
/// The deepest schema.
const DEPTH_CAP: usize = 32;
/// The longest description in bytes.
const DESCRIPTION_CAP: usize = 2 * 1024;
/// The longest name of a tool.
const NAME_CAP: usize = 128;
/// The longest name that an endpoint takes.
const OFFERED_CAP: usize = 64;

/// A tool that can be approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckedTool {
    /// Its name at the server.
    pub name: String,
    /// What it does, shortened, with everything in it visible.
    pub description: String,
    /// The schema of its arguments.
    pub parameters: Value,
    /// Whether the server says that it can destroy something.
    pub destructive: bool,
    /// SHA-256 in hexadecimal over all that the server says of it.
    pub sha256: String,
}

impl CheckedTool {
    /// Checks what a server says of a tool.
    ///
    /// # Errors
    /// In words, if it cannot be offered to any model.
    pub fn new(described: &Described) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
        if described.name.is_empty() || described.name.len() > NAME_CAP || !described.name.chars().all(plain) {
            return Err(format!("its name is not 1 to {NAME_CAP} letters, digits, `_`, `-`, `.` and `/`"));
        }
        let mut parameters = Value::Object(described.input_schema.as_ref().clone());
        let length = parameters.to_string().len();
        if length > SCHEMA_CAP {
            return Err(format!("its schema is {length} bytes long; the limit is {SCHEMA_CAP}"));
        }
        if depth(&parameters) > DEPTH_CAP {
            return Err(format!("its schema is nested deeper than {DEPTH_CAP} levels"));
        }
        if parameters["type"] != "object" {
            return Err("its schema is none of an object".to_owned());
        }
        show(&mut parameters)?;
        let whole = serde_json::to_vec(described).map_err(|error| error.to_string())?;
        let hints = described.annotations.as_ref();
        Ok(Self {
            name: described.name.to_string(),
            description: capped(described.description.as_deref().unwrap_or_default()),
            parameters,
            destructive: hints.is_some_and(|hints| hints.destructive_hint == Some(true) && hints.read_only_hint != Some(true)),
            sha256: hexadecimal(&whole),
        })
    }

    /// The name by which the model calls it; none where no endpoint would take that.
    pub fn offered_name(&self, server: &str) -> Option<String> {
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
        let name = format!("{server}__{}", self.name.chars().map(plain).collect::<String>());
        (name.len() <= OFFERED_CAP).then_some(name)
    }
}

/// SHA-256 in hexadecimal.
pub fn hexadecimal(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Text of a server's with everything written out that could not be seen, or that a terminal would act on.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\n' | '\t') || !(c.is_control() || is_hidden(c)) { out.push(c) } else { out.extend(c.escape_unicode()) }
    }
    out
}

fn capped(text: &str) -> String {
    let mut text = visible(text);
    if text.len() > DESCRIPTION_CAP {
        let end = (0..=DESCRIPTION_CAP).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str(" [cut here]");
    }
    text
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Makes what is text for a reader visible; anything else that hides something is refused, because a change of it would change its meaning.
fn show(value: &mut Value) -> Result<(), String> {
    const FOR_READERS: [&str; 3] = ["description", "title", "$comment"];
    let hides = |text: &str| text.chars().any(|c| is_hidden(c) || c.is_control() && !matches!(c, '\n' | '\t'));
    match value {
        Value::String(text) if hides(text) => Err("its schema holds characters that cannot be seen".to_owned()),
        Value::Array(list) => list.iter_mut().try_for_each(show),
        Value::Object(map) => map.iter_mut().try_for_each(|(key, value)| match value {
            _ if hides(key) => Err("its schema holds characters that cannot be seen".to_owned()),
            Value::String(text) if FOR_READERS.contains(&key.as_str()) => {
                *text = capped(text);
                Ok(())
            }
            value => show(value),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn described(name: &str, description: &str, schema: Value) -> Described {
        serde_json::from_value(json!({"name": name, "description": description, "inputSchema": schema})).unwrap()
    }

    #[test]
    fn hidden_characters_are_written_out_and_a_long_description_is_cut() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string", "description": "x\u{200b}y"}}});
        let tool = CheckedTool::new(&described("t", "do\u{202e}this\u{e0041}\u{1b}[2J", schema)).unwrap();
        assert_eq!(tool.description, "do\\u{202e}this\\u{e0041}\\u{1b}[2J");
        assert_eq!(tool.parameters["properties"]["a"]["description"], "x\\u{200b}y");
        let long = CheckedTool::new(&described("t", &"ä".repeat(5000), json!({"type": "object"}))).unwrap();
        assert!(long.description.len() <= DESCRIPTION_CAP + 11 && long.description.ends_with("ä [cut here]"));
    }

    #[test]
    fn what_no_endpoint_could_be_sent_is_refused_with_the_reason() {
        let deep = (0..40).fold(json!({}), |inner, _| json!({ "not": inner }));
        let cases = [
            ("t", json!({"type": "string"}), "none of an object"),
            ("t", json!({"type": "object", "x": "y".repeat(SCHEMA_CAP)}), "bytes long"),
            ("t", json!({"type": "object", "not": deep}), "deeper"),
            ("t", json!({"type": "object", "properties": {"a\u{200b}": {}}}), "cannot be seen"),
            ("t", json!({"type": "object", "properties": {"a": {"enum": ["b\u{200b}"]}}}), "cannot be seen"),
            ("a tool", json!({"type": "object"}), "name"),
            ("", json!({"type": "object"}), "name"),
        ];
        for (name, schema, expected) in cases {
            let error = CheckedTool::new(&described(name, "", schema)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_name_is_one_that_endpoints_take_or_none() {
        let tool = |name: &str| CheckedTool::new(&described(name, "", json!({"type": "object"}))).unwrap();
        assert_eq!(tool("files.read/all").offered_name("s").as_deref(), Some("s__files_read_all"));
        assert_eq!(tool(&"x".repeat(64)).offered_name("s"), None);
    }

    #[test]
    fn any_change_of_what_is_said_changes_the_digest_and_the_order_of_keys_does_not() {
        let one = described("t", "d", json!({"type": "object", "properties": {"a": {}, "b": {}}}));
        let other: Described =
            serde_json::from_str(r#"{"inputSchema":{"properties":{"b":{},"a":{}},"type":"object"},"description":"d","name":"t"}"#).unwrap();
        let sha = |tool: &Described| CheckedTool::new(tool).unwrap().sha256;
        assert_eq!(sha(&one), sha(&other));
        let long = "d".repeat(DESCRIPTION_CAP);
        let beyond = |end: &str| sha(&described("t", &format!("{long}{end}"), json!({"type": "object"})));
        assert_ne!(beyond("a"), beyond("b"));
    }
}
