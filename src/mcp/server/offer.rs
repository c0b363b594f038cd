//! The tools with their schemas, and the step from a request to a call of the gate.

use std::sync::Arc;

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::{Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::Told;
use crate::tools::{definitions, explain::Question};

/// What a caller is offered: the name here, the built-in tool behind it, and its title.
const OFFERED: [(&str, &str, &str); 4] = [
    ("apply_patch", "apply_patch", "Change files"),
    ("read_file", "read_file", "Read a file"),
    ("run_sandboxed", "shell", "Run a command in the sandbox"),
    ("search", "search", "Search files"),
];
/// The tool that asks about the policy.
const EXPLAIN: &str = "policy_explain";
/// Arguments of the built-in tool that a caller is not offered: it has no means to look after what goes on.
const WITHHELD: [(&str, &str); 1] = [("shell", "background")];
/// Characters of an unknown tool's name that are recorded.
const NAME_SHOWN: usize = 64;

/// What a request comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// A built-in tool.
    Tool { name: &'static str, arguments: String },
    /// A question about the policy.
    Explain { arguments: String, question: Question },
    /// Nothing that can be done.
    Refused { name: String, arguments: String, reason: String },
    /// Nothing that there is.
    Unknown { name: String, arguments: String },
}

/// The tools, sorted by name.
pub(super) fn tools() -> Vec<Tool> {
    let built_in = definitions();
    let result = object(result_schema().to_value());
    let mut tools: Vec<Tool> = OFFERED
        .iter()
        .filter_map(|(name, behind, title)| {
            let tool = built_in.iter().find(|tool| tool.name == *behind)?;
            let mut schema = object(tool.parameters.clone());
            if let Some(Value::Object(properties)) = schema.get_mut("properties") {
                properties.retain(|property, _| !is_withheld(behind, property));
            }
            let reads = matches!(*behind, "read_file" | "search");
            Some(made(name, title, tool.description.clone(), schema, &result, reads))
        })
        .collect();
    let schema = json!({
        "type": "object",
        "properties": {
            "kind": {"type": "string", "enum": ["command", "read", "write", "host"], "description": "What is asked about: running a command, reading or writing a path, reaching a host."},
            "what": {"type": "string", "description": "The text of the command, the path, or the host with or without a port."},
        },
        "required": ["kind", "what"],
        "additionalProperties": false,
    });
    let description = "Say whether the policy allows something, by which rule, and what would change that. Nothing is run.";
    tools.push(made(EXPLAIN, "Ask the policy", description.to_owned(), object(schema), &result, true));
    tools.sort_by(|one, other| one.name.cmp(&other.name));
    tools
}

/// Without the widths of numbers, which are no formats that clients know.
fn result_schema() -> Schema {
    let formats = RecursiveTransform(|schema: &mut Schema| drop(schema.remove("format")));
    SchemaSettings::draft2020_12().with_transform(formats).into_generator().into_root_schema_for::<Told>()
}

fn made(name: &'static str, title: &str, description: String, schema: JsonObject, result: &JsonObject, reads: bool) -> Tool {
    let annotations = ToolAnnotations::new().read_only(reads).destructive(!reads).open_world(name == "run_sandboxed");
    Tool::new(name, description, schema).with_title(title).with_raw_output_schema(Arc::new(result.clone())).with_annotations(annotations)
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}

fn is_withheld(tool: &str, argument: &str) -> bool {
    WITHHELD.contains(&(tool, argument))
}

/// What a request comes to. Only the name and the arguments have a say in it.
pub(super) fn task(name: &str, arguments: JsonObject) -> Task {
    let text = Value::Object(arguments.clone()).to_string();
    if let Some((_, behind, _)) = OFFERED.iter().find(|(offered, ..)| *offered == name) {
        return match arguments.keys().find(|argument| is_withheld(behind, argument)) {
            Some(withheld) => {
                let reason = format!("the arguments of {name} could not be understood: unknown field `{withheld}`");
                Task::Refused { name: name.to_owned(), arguments: text, reason }
            }
            None => Task::Tool { name: behind, arguments: text },
        };
    }
    if name != EXPLAIN {
        return Task::Unknown { name: name.chars().take(NAME_SHOWN).collect(), arguments: text };
    }
    match serde_json::from_value::<Explain>(Value::Object(arguments)) {
        Ok(Explain { kind, what }) => Task::Explain { arguments: text, question: kind.about(what) },
        Err(error) => {
            let reason = format!("the arguments of {name} could not be understood: {error}");
            Task::Refused { name: name.to_owned(), arguments: text, reason }
        }
    }
}

/// The names of all tools, for whoever named another.
pub(super) fn names() -> String {
    tools().iter().map(|tool| tool.name.as_ref()).collect::<Vec<_>>().join(", ")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Explain {
    kind: Kind,
    what: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Command,
    Read,
    Write,
    Host,
}

impl Kind {
    fn about(&self, what: String) -> Question {
        match self {
            Self::Command => Question::Command(what),
            Self::Read => Question::Read(what),
            Self::Write => Question::Write(what),
            Self::Host => Question::Host(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_five_tools_are_offered_sorted_and_say_what_they_do_to_files() {
        let tools = tools();
        let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
        assert_eq!(names, ["apply_patch", "policy_explain", "read_file", "run_sandboxed", "search"]);
        for tool in &tools {
            let annotations = tool.annotations.as_ref().unwrap();
            let reads = ["policy_explain", "read_file", "search"].contains(&tool.name.as_ref());
            assert_eq!((annotations.read_only_hint, annotations.destructive_hint), (Some(reads), Some(!reads)), "{}", tool.name);
            assert_eq!(tool.input_schema["additionalProperties"], false, "{}", tool.name);
            assert_eq!(tool.output_schema.as_ref().unwrap()["type"], "object", "{}", tool.name);
        }
    }

    #[test]
    fn no_argument_that_a_caller_can_write_widens_anything() {
        let harmless = [
            ("apply_patch", vec!["patch"]),
            ("policy_explain", vec!["kind", "what"]),
            ("read_file", vec!["limit", "offset", "path"]),
            ("run_sandboxed", vec!["command", "timeout_ms", "workdir"]),
            ("search", vec!["case_insensitive", "context", "files_only", "glob", "path", "pattern"]),
        ];
        for (tool, (name, arguments)) in tools().iter().zip(harmless) {
            let mut has: Vec<&String> = tool.input_schema["properties"].as_object().unwrap().keys().collect();
            has.sort();
            assert_eq!(
                (tool.name.as_ref(), has),
                (name, arguments.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>().iter().collect())
            );
        }
    }

    #[test]
    fn a_request_is_a_call_of_the_gate_or_says_why_not() {
        let task = |name: &str, arguments: Value| task(name, object(arguments));
        assert!(matches!(task("run_sandboxed", json!({"command": "ls"})), Task::Tool { name: "shell", .. }));
        assert!(matches!(task("run_sandboxed", json!({"command": "ls", "background": true})), Task::Refused { .. }));
        assert!(matches!(task("shell", json!({"command": "ls"})), Task::Unknown { .. }));
        assert!(matches!(task("request_access", json!({})), Task::Unknown { .. }));
        assert!(matches!(task(&"x".repeat(9000), json!({})), Task::Unknown { name, .. } if name.len() == NAME_SHOWN));
        let asked = task("policy_explain", json!({"kind": "write", "what": "a"}));
        assert!(matches!(asked, Task::Explain { question: Question::Write(what), .. } if what == "a"));
        for wrong in [json!({"kind": "write"}), json!({"kind": "run", "what": "a"}), json!({"kind": "read", "what": "a", "policy": "b"})] {
            assert!(matches!(task("policy_explain", wrong), Task::Refused { .. }));
        }
    }
}
