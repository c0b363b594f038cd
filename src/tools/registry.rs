//! Each tool's name, description and schema, and the step from its arguments to something that can be carried out.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    invocation::{AccessRequest, BackgroundAction, Invocation},
    plan::{PlanStep, StepStatus},
};
use crate::{model::Tool, worker::Request};

/// The longest arguments of one call in bytes.
const ARGUMENTS_CAP: usize = 8 * 1024 * 1024;
/// The longest text of a shell command in bytes: the kernel takes no longer argument (`MAX_ARG_STRLEN`, execve(2)), with room for the message.
pub const COMMAND_CAP: usize = 100 * 1024;
/// The longest reason for wider access in bytes: a person has to read it.
const REASON_CAP: usize = 2000;

/// The definitions of all tools, sorted by name, so that the prefix is the same in every run.
///
/// All schemas forbid unknown arguments, and [`parse`] holds the model to that whatever the endpoint does. The service's own strict mode is asked
/// for where it can be: it knows no optional arguments, and small models and servers get on better with an argument that may be left out
/// than with one that must be given as null.
pub fn definitions() -> Vec<Tool> {
    let text = |description: &str| json!({"type": "string", "description": description});
    let optional = |kind: &str, description: &str| json!({"type": [kind, "null"], "description": description});
    let tool = |name: &str, description: &str, properties: Value| {
        let all: Vec<&String> = properties.as_object().map(|map| map.keys().collect()).unwrap_or_default();
        let required: Vec<&String> = all.iter().filter(|key| properties[key.as_str()]["type"].is_string()).copied().collect();
        let strict = required.len() == all.len();
        let parameters = json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
        Tool { name: name.to_owned(), description: description.to_owned(), parameters, strict }
    };
    vec![
        tool("apply_patch", APPLY_PATCH, json!({"patch": text("The patch, from `*** Begin Patch` to `*** End Patch`.")})),
        tool(
            "background",
            "Look at programs that shell started in the background, or stop one.",
            json!({
                "action": {"type": "string", "enum": ["list", "output", "stop"], "description": "output gives what it wrote since the last look."},
                "number": optional("integer", "Which one, for output and stop."),
            }),
        ),
        tool(
            "list_dir",
            "List a directory, sorted, with sizes. Links are shown and not followed.",
            json!({
                "path": text("The directory, relative to the working directory or absolute."),
                "depth": optional("integer", "Levels to show, 1 to 5; 1 unless given."),
            }),
        ),
        tool(
            "read_file",
            "Read a text file with line numbers.",
            json!({
                "path": text("The file, relative to the working directory or absolute."),
                "offset": optional("integer", "The first line to show, from 1; the first unless given."),
                "limit": optional("integer", "How many lines to show; 2000 unless given."),
            }),
        ),
        tool(
            "request_access",
            "Ask the person for access that the policy does not give: one path, host or socket. Ask for the least that will do. What is denied or protected \
             cannot be granted. Do not ask before a call has shown that it is needed.",
            json!({
                "access": {"type": "string", "enum": ["read", "write", "host", "socket"]},
                "what": text("The file or directory (absolute, or relative to the working directory), the host as name:port, or the path of the socket."),
                "reason": text("Why, in one sentence, for the person."),
            }),
        ),
        tool(
            "search",
            "Search the lines of files for a regular expression (Rust syntax). Ignored, hidden and binary files are skipped.",
            json!({
                "pattern": text("The regular expression."),
                "path": optional("string", "The file or directory to search; the working directory unless given."),
                "glob": optional("string", "Only files that match this glob, such as `*.rs`; all unless given."),
                "case_insensitive": optional("boolean", "Take upper and lower case as equal; false unless given."),
                "context": optional("integer", "Lines to show around each match, 0 to 20; 0 unless given."),
                "files_only": optional("boolean", "Show only the names of files that match; false unless given."),
            }),
        ),
        tool(
            "shell",
            "Run a command with bash (sh where there is none). Standard input is empty; standard output and error come back together. \
             Everything that it starts ends with it.",
            json!({
                "background": optional("boolean", "Let it go on while you do other things, such as a server; it returns at once. false unless given."),
                "command": text("The text of the command."),
                "workdir": optional("string", "The directory to run in, relative to the working directory or absolute; the working directory unless given."),
                "timeout_ms": optional("integer", "Milliseconds after which it is ended; the policy's limit unless given."),
            }),
        ),
        tool(
            "update_plan",
            "Record the plan for a task of several steps, or a change in it. The whole plan is given each time; at most one step is in progress.",
            json!({
                "plan": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "status": {"type": "string", "enum": ["pending", "in_progress", "completed"]},
                            "step": {"type": "string"},
                        },
                        "required": ["status", "step"],
                        "additionalProperties": false,
                    },
                },
            }),
        ),
        tool(
            "view_image",
            "Look at an image: PNG, JPEG, GIF (its first frame) or WebP. A large one is scaled down.",
            json!({"path": text("The file, relative to the working directory or absolute.")}),
        ),
    ]
}

const APPLY_PATCH: &str = "\
Change files: all of the patch or none of it. The format:
*** Begin Patch
*** Add File: path
+each line of the new file
*** Update File: path
*** Move to: new/path          (optional)
@@ a line above the change, such as a function's first   (optional)
 a line that stays
-a line that goes
+a line that comes
*** End of File                (optional: the hunk is at the end)
*** Delete File: path
*** End Patch
Give three lines that stay around each change.";

/// Turns a call of the model's into something that can be carried out, or says to the model what is wrong with it.
pub fn parse(name: &str, arguments: &str) -> Result<Invocation, String> {
    if arguments.len() > ARGUMENTS_CAP {
        return Err(format!("the arguments are {} bytes long; the limit is {ARGUMENTS_CAP}", arguments.len()));
    }
    match name {
        "apply_patch" => arguments_of::<Patch>(name, arguments).map(|Patch { patch }| Invocation::File(Request::ApplyPatch { patch })),
        "background" => {
            let BackgroundArguments { action, number } = arguments_of(name, arguments)?;
            match (action.as_str(), number) {
                ("list", _) => Ok(Invocation::Background(BackgroundAction::List)),
                ("output", Some(number)) => Ok(Invocation::Background(BackgroundAction::Output(number))),
                ("stop", Some(number)) => Ok(Invocation::Background(BackgroundAction::Stop(number))),
                ("output" | "stop", None) => Err("the number of the program is missing; action list gives them".to_owned()),
                _ => Err("the action is none of list, output and stop".to_owned()),
            }
        }
        "request_access" => {
            let request: AccessRequest = arguments_of(name, arguments)?;
            if request.what.trim().is_empty() || request.what.contains('\0') || request.what.len() > 4096 {
                return Err("what is asked for is empty, longer than 4096 bytes, or holds a NUL character".to_owned());
            }
            if request.reason.len() > REASON_CAP {
                return Err(format!("the reason is longer than {REASON_CAP} bytes; one sentence will do"));
            }
            Ok(Invocation::RequestAccess(request))
        }
        "list_dir" => arguments_of::<ListDir>(name, arguments)
            .map(|ListDir { path, depth }| Invocation::File(Request::ListDir { path, depth, limit: None })),
        "read_file" => arguments_of::<ReadFile>(name, arguments)
            .map(|ReadFile { path, offset, limit }| Invocation::File(Request::ReadFile { path, offset, limit })),
        "search" => arguments_of::<Search>(name, arguments).map(|search| {
            Invocation::File(Request::Search {
                pattern: search.pattern,
                path: search.path,
                glob: search.glob,
                case_insensitive: search.case_insensitive.unwrap_or(false),
                context: search.context,
                limit: None,
                files_only: search.files_only.unwrap_or(false),
            })
        }),
        "shell" => {
            let Shell { command, workdir, timeout_ms, background } = arguments_of(name, arguments)?;
            if command.len() > COMMAND_CAP {
                let length = command.len();
                return Err(format!(
                    "the command is {length} bytes long; the limit is {COMMAND_CAP}. Write it to a file with apply_patch and run that."
                ));
            }
            if command.contains('\0') {
                return Err("the command contains a NUL character, which no program can be given".to_owned());
            }
            let background = background.unwrap_or(false);
            if background && timeout_ms.is_some() {
                return Err("a program in the background has no timeout_ms; stop it with the tool background".to_owned());
            }
            Ok(Invocation::Shell { command, workdir, timeout_ms, background })
        }
        "update_plan" => {
            let UpdatePlan { plan } = arguments_of(name, arguments)?;
            if plan.iter().filter(|step| step.status == StepStatus::InProgress).count() > 1 {
                return Err("more than one step is in progress; at most one can be".to_owned());
            }
            Ok(Invocation::UpdatePlan(plan))
        }
        "view_image" => arguments_of::<ViewImage>(name, arguments).map(|ViewImage { path }| Invocation::File(Request::ViewImage { path })),
        unknown => {
            let names: Vec<String> = definitions().into_iter().map(|tool| tool.name).collect();
            let unknown: String = unknown.chars().take(64).collect();
            Err(format!("there is no tool `{}`; the tools are {}", unknown.escape_debug(), names.join(", ")))
        }
    }
}

fn arguments_of<T: DeserializeOwned>(name: &str, arguments: &str) -> Result<T, String> {
    serde_json::from_str(arguments).map_err(|error| format!("the arguments of {name} could not be understood: {error}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    patch: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListDir {
    path: String,
    depth: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadFile {
    path: String,
    offset: Option<u64>,
    limit: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    pattern: String,
    path: Option<String>,
    glob: Option<String>,
    case_insensitive: Option<bool>,
    context: Option<u32>,
    files_only: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shell {
    #[serde(alias = "cmd")]
    command: String,
    workdir: Option<String>,
    timeout_ms: Option<u64>,
    background: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackgroundArguments {
    action: String,
    number: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ViewImage {
    path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdatePlan {
    plan: Vec<PlanStep>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_sorted_and_their_schemas_strict_at_every_depth() {
        fn strict(schema: &Value) {
            if schema["type"] == "object" {
                assert_eq!(schema["additionalProperties"], false, "{schema}");
                let properties = schema["properties"].as_object().unwrap();
                let required: Vec<_> = schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
                // What is not required can be null, and the other way round.
                for (name, property) in properties {
                    assert_eq!(required.contains(&name.as_str()), property["type"].is_string(), "{name}");
                }
                properties.values().for_each(strict);
            }
            if let Some(items) = schema.get("items") {
                strict(items);
            }
        }
        let tools = definitions();
        assert!(tools.windows(2).all(|pair| pair[0].name < pair[1].name));
        for tool in &tools {
            strict(&tool.parameters);
            let all = tool.parameters["properties"].as_object().unwrap().len();
            assert_eq!(tool.strict, tool.parameters["required"].as_array().unwrap().len() == all, "{}", tool.name);
        }
    }

    #[test]
    fn no_argument_that_a_model_can_write_widens_anything() {
        let names: Vec<String> = definitions()
            .iter()
            .flat_map(|tool| tool.parameters["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>())
            .collect();
        let harmless = [
            "patch",
            "path",
            "depth",
            "offset",
            "limit",
            "pattern",
            "glob",
            "case_insensitive",
            "context",
            "files_only",
            "command",
            "workdir",
            "timeout_ms",
            "plan",
            // A place among a session's own programs, and whether a call goes on under the same confinement.
            "action",
            "number",
            "background",
            // These only put a question to a person.
            "access",
            "what",
            "reason",
        ];
        assert!(names.iter().all(|name| harmless.contains(&name.as_str())), "{names:?}");
    }

    #[test]
    fn bad_arguments_are_answered_with_what_is_wrong() {
        let cases = [
            ("shell", "{", "could not be understood"),
            ("shell", "[]", "could not be understood"),
            ("shell", r#"{"command": 1}"#, "could not be understood"),
            ("shell", r#"{"command":"a","sandbox":"off"}"#, "unknown field `sandbox`"),
            ("shell", r#"{"command":"a\u0000b"}"#, "NUL"),
            ("read_file", "{}", "missing field `path`"),
            ("nosuch", "{}", "there is no tool `nosuch`"),
            ("request_access", r#"{"access":"read","what":" ","reason":"x"}"#, "is empty"),
            ("update_plan", r#"{"plan":[{"step":"a","status":"in_progress"},{"step":"b","status":"in_progress"}]}"#, "more than one"),
        ];
        for (name, arguments, expected) in cases {
            let error = parse(name, arguments).unwrap_err();
            assert!(error.contains(expected), "{name} {arguments}: {error}");
        }
        assert!(parse("shell", &format!(r#"{{"command":"{}"}}"#, "a".repeat(COMMAND_CAP + 1))).unwrap_err().contains("limit"));
    }

    proptest::proptest! {
        #[test]
        fn any_arguments_are_parsed_or_answered(name in "[a-z_]{0,12}", arguments in ".{0,200}") {
            let _ = parse(&name, &arguments);
            for tool in definitions() {
                let _ = parse(&tool.name, &arguments);
            }
        }
    }
}
