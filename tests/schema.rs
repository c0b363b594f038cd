//! The JSON Schemas against the readers whose formats they describe.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests may fail as tests do")]
#![allow(clippy::disallowed_methods, reason = "a test of the program starts the program")]

use std::process::Command;

use jsonschema::Validator;
use portcullis::{
    audit::{CallStatus, Event, Record},
    policy::{Ask, Permission, Scope, Wider, error::Source, load::check_text, presets, schema},
    sandbox::{RefusedCall, Undone, UndoneKind},
};
use proptest::prelude::*;
use serde_json::Value;

fn validator() -> Validator {
    jsonschema::draft202012::new(&schema::policy()).unwrap()
}

fn as_json(text: &str) -> Value {
    serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap_or_else(|error| panic!("{error}\n{text}"))).unwrap()
}

fn faults(validator: &Validator, text: &str) -> Vec<String> {
    validator.iter_errors(&as_json(text)).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn printed(arguments: &[&str]) -> Value {
    let program = std::env::var_os("PORTCULLIS_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_portcullis").into());
    let output = Command::new(program).args(arguments).env_clear().output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn presets_and_the_policies_of_the_readme_are_valid() {
    let validator = validator();
    let readme = include_str!("../README.md");
    let examples: Vec<&str> = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let whole = |text: &&&str| text.contains("schema") && text.contains("\nname");
    // A table by itself, as it stands in a policy.
    let part = |text: &&&str| !text.contains("schema") && text.starts_with('[') && !text.starts_with("[[");
    let parts: Vec<String> = examples.iter().filter(part).map(|text| format!("schema = 1\nname = \"p\"\n{text}")).collect();
    assert!(examples.iter().any(|text| whole(&text)) && !parts.is_empty(), "the README has no policy");
    let examples = examples.iter().filter(whole).copied().chain(parts.iter().map(String::as_str));
    for text in presets().iter().map(|(_, text)| *text).chain(examples) {
        assert_eq!(faults(&validator, text), Vec::<String>::new(), "{text}");
        check_text("p.toml", text).unwrap();
    }
    // Other files that the README shows are read by whoever reads them.
    let hooks = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).filter(|text| text.contains("[[hook]]"));
    let known = ["shell".to_owned()];
    assert_eq!(hooks.map(|text| portcullis::hooks::read(&Source::new("hooks.toml", text), &known).unwrap().len()).sum::<usize>(), 1);
}

#[test]
fn the_schemas_are_schemas_with_their_names_and_are_what_the_program_prints() {
    for (arguments, id) in [(["policy", "schema"], "policy-1"), (["audit", "schema"], "record-2")] {
        let schema = printed(&arguments);
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["$id"], format!("https://portcullis-agent.github.io/schema/{id}.json"));
        jsonschema::draft202012::meta::validate(&schema).unwrap();
    }
    assert_eq!(printed(&["policy", "schema"]), schema::policy());
}

/// Every key of every table, with the schema of each.
fn properties(schema: &Value) -> Vec<(String, Value)> {
    let tables = schema["$defs"].as_object().unwrap().values().chain([schema]);
    let of_table = tables.filter_map(|table| table["properties"].as_object());
    of_table.flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[test]
fn an_editor_can_explain_every_key_and_every_word() {
    let schema = schema::policy();
    let properties = properties(&schema);
    assert!(properties.len() > 40, "{}", properties.len());
    for (key, value) in &properties {
        let description = value["description"].as_str().unwrap_or_else(|| panic!("{key} has no description"));
        assert!(description.ends_with('.') && !description.contains("[`") && !description.contains('\n'), "{key}: {description}");
    }
    for word in ["GitAccess", "NetworkMode", "Ask", "Decision", "Layer", "OnMissing", "OnFailure", "Detail"] {
        let choices = schema["$defs"][word]["oneOf"].as_array().unwrap_or_else(|| panic!("{word} has no choices"));
        assert!(choices.iter().all(|choice| choice["const"].is_string() && choice["description"].is_string()), "{word}");
    }
}

/// What both refuse, below `schema` and `name`.
const WRONG: &[&str] = &[
    "filesystm = {}",
    "filesystem.raed = []",
    "filesystem.read = \"/usr\"",
    "filesystem.read = [\"@sytem\"]",
    "filesystem.read = [\"../x\"]",
    "filesystem.read = [\"a/../../b\"]",
    "filesystem.read = [\"~\"]",
    "filesystem.read = [\"~/\"]",
    "filesystem.read = [\"~bob/x\"]",
    "filesystem.read = [\"src/*.rs\"]",
    "filesystem.read = [\"@secret-files\"]",
    "filesystem.read = [\"\"]",
    "filesystem.read = [\"!x\"]",
    "filesystem.read = [\".\"]",
    "filesystem.read = [\"a\\nb\"]",
    "filesystem.write = [\"/\"]",
    "filesystem.write = [\"/./\"]",
    "filesystem.deny = [\"/etc/*.key\"]",
    "filesystem.deny = [\"@tmp\"]",
    "filesystem.protect = [\"@home\"]",
    "filesystem.protect = [\"/\"]",
    "git.allow = \"comit\"",
    "network.mode = \"closed\"",
    "network.allow = [\"https://example.org\"]",
    "network.allow = [\"*\"]",
    "network.allow = [\"example.org:0\"]",
    "environment.inherit = [\"A*\"]",
    "environment.set = { \"A-B\" = \"x\" }",
    "environment.set = { A = 1 }",
    "limits.memory = \"4GB\"",
    "limits.memory = -1",
    "limits.memory = 1000",
    "limits.memory = 1.5",
    "limits.wall = \"10min\"",
    "limits.wall = 10",
    "limits.processes = 0",
    "limits.processes = 65537",
    "limits.processes = \"5\"",
    "limits.open_files = 15",
    "limits.output = 99999999999",
    "limits.cpu = 1",
    "approval.ask = \"sometimes\"",
    "command = [{ prefix = [\"a\"] }]",
    "command = [{ decision = \"ask\" }]",
    "command = [{ prefix = [], decision = \"ask\" }]",
    "command = [{ prefix = [\"git push\"], decision = \"ask\" }]",
    "command = [{ prefix = [\"\"], decision = \"ask\" }]",
    "command = [{ prefix = [\"a\"], decision = \"deny\" }]",
    "command = [{ prefix = [\"a\"], decision = \"ask\", why = \" \" }]",
    "command = [{ prefix = [\"a\"], decision = \"ask\", matches = [] }]",
    "enforcement.require = [\"selinux\"]",
    "enforcement.on_missing = \"warn\"",
    "audit.on_failure = \"ignore\"",
    "audit.sync = \"all\"",
    "audit.detail = \"none\"",
    "audit.keep = \"1y\"",
    "extends = \"workspace-wirte\"",
    "why = \"\"",
];

#[test]
fn what_is_wrong_is_refused_by_both() {
    let validator = validator();
    for text in ["name = \"p\"", "schema = 1", "schema = 2\nname = \"p\"", "schema = 1\nname = \"a b\"", "schema = \"1\"\nname = \"p\""] {
        assert!(check_text("p.toml", text).is_err() && !faults(&validator, text).is_empty(), "{text}");
    }
    for body in WRONG {
        let text = format!("schema = 1\nname = \"p\"\n{body}\n");
        assert!(check_text("p.toml", &text).is_err(), "the reader takes {body}");
        assert!(!faults(&validator, &text).is_empty(), "the schema takes {body}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// An editor that marks what portcullis takes would be ignored soon.
    #[test]
    fn what_the_reader_takes_the_schema_takes(values in prop::collection::vec(("[a/.~@!*{}\\[ :0-]{1,7}|@[a-z]{2,6}|[0-9]{1,9}(B|KiB|MiB|s|m| h)", 0..10_usize), 60)) {
        let validator = validator();
        for (value, key) in values {
            let quoted = toml::Value::String(value).to_string();
            let body = match key {
                0..=3 => format!("filesystem.{} = [{quoted}]", ["read", "write", "deny", "protect"][key]),
                4 => format!("network.allow = [{quoted}]"),
                5 => format!("limits.memory = {quoted}"),
                6 => format!("limits.wall = {quoted}"),
                7 => format!("command = [{{ prefix = [{quoted}], decision = \"ask\" }}]"),
                8 => format!("environment.set = {{ a = {quoted} }}"),
                _ => format!("why = {quoted}"),
            };
            let text = format!("schema = 1\nname = \"p\"\n{body}\n");
            if check_text("p.toml", &text).is_ok() {
                prop_assert_eq!(faults(&validator, &text), Vec::<String>::new(), "{}", body);
            }
        }
    }
}

#[test]
fn the_records_of_a_published_log_are_valid_and_others_are_not() {
    let validator = jsonschema::draft202012::new(&portcullis::audit::schema::record()).unwrap();
    let records: Vec<Value> = include_str!("audit/vector.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!records.is_empty());
    for record in &records {
        let faults: Vec<String> = validator.iter_errors(record).map(|error| error.to_string()).collect();
        assert_eq!(faults, Vec::<String>::new(), "{record}");
        let without = |field: &str| {
            let mut changed = record.clone();
            changed.as_object_mut().unwrap().remove(field);
            changed
        };
        for field in ["v", "seq", "session", "time", "event", "mac"] {
            assert!(!validator.is_valid(&without(field)), "{field} may be left out of {record}");
        }
        let with = |field: &str, value: Value| {
            let mut changed = record.clone();
            changed[field] = value;
            changed
        };
        assert!(!validator.is_valid(&with("event", "no_such_event".into())));
        assert!(!validator.is_valid(&with("mac", "00".into())));
        assert!(!validator.is_valid(&with("seq", "1".into())));
        assert!(validator.is_valid(&with("field_of_tomorrow", 1.into())), "a reader ignores fields that it does not know");
    }
}

/// What happens too seldom to be met in a session that a test plays.
fn seldom() -> Vec<Event> {
    let wider = || [Wider::Read("/a".into()), Wider::Write("/a".into()), Wider::Host("a:1".into()), Wider::Socket("/a".into())];
    let permissions = [
        Permission::Exactly { command: "a".into(), cwd: "/a".into() },
        Permission::Words { words: vec!["a".into()] },
        Permission::Reading,
        Permission::Patching,
        Permission::ServerTool { server: "s".into(), tool: "t".into() },
    ];
    let mut events = vec![
        Event::LogTrouble { lost: 1, error: "full".into() },
        Event::Resumed { from: "s".into() },
        Event::Compaction { before_bytes: 2, after_bytes: 1, cause: "asked".into() },
        Event::Question { call: "c".into(), shown: "00".into(), because: "b".into(), lasting: None },
        Event::Answer { call: "c".into(), answer: "once".into(), by: "person".into(), waited_ms: 1, text: None },
        Event::Answer { call: "c".into(), answer: "refuse".into(), by: "person".into(), waited_ms: 1, text: Some("no".into()) },
        Event::Revoked { grant: "g".into() },
        Event::InForce { fingerprint: "00".into(), wider: wider().into() },
        Event::AskMode { mode: Ask::WhenNeeded },
        Event::Hook {
            hook: "hooks.toml:3".into(),
            on: "before-call".into(),
            call: Some("c".into()),
            status: CallStatus::Ok,
            duration_ms: 1,
            decision: Some("refuse".into()),
            reason: Some("r".into()),
        },
        Event::Server { server: "s".into(), approved: "00".into(), policy: "p".into(), fingerprint: "00".into() },
        Event::BackgroundEnd {
            call: "c".into(),
            status: CallStatus::Limit,
            exit_code: Some(1),
            duration_ms: 1,
            output_bytes: 1,
            refused_calls: vec![RefusedCall { call: "a".into(), detail: Some("b".into()), times: 1 }],
            undone: vec![Undone { path: "/a".into(), became: None, kind: UndoneKind::ProtectedName, failed: Some("x".into()) }],
        },
    ];
    for permission in permissions.into_iter().chain(wider().map(Permission::Wider)) {
        events.push(Event::Question { call: "c".into(), shown: "00".into(), because: "b".into(), lasting: Some(permission.clone()) });
        for scope in [Scope::Session, Scope::Repository, Scope::User] {
            events.push(Event::Granted { grant: "g".into(), permission: permission.clone(), scope });
        }
    }
    events
}

#[test]
fn what_happens_seldom_is_valid_as_well() {
    let validator = jsonschema::draft202012::new(&portcullis::audit::schema::record()).unwrap();
    for event in seldom() {
        let record =
            Record { v: 2, seq: 1, session: "s".into(), time: "t".into(), monotonic_ns: 1, salt: String::new(), event: event.clone() };
        // No field of an event has the name of one of the envelope's.
        let line = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record, "{line}");
        let mut record = serde_json::to_value(record).unwrap();
        assert!(!validator.is_valid(&record), "without its mac");
        record["mac"] = "0".repeat(64).into();
        let faults: Vec<String> = validator.iter_errors(&record).map(|error| error.to_string()).collect();
        assert_eq!(faults, Vec::<String>::new(), "{record}");
        // Each field of an event counts.
        for field in serde_json::to_value(&event).unwrap().as_object().unwrap().keys() {
            let mut wrong = record.clone();
            wrong[field] = serde_json::json!({ "no": ["such"] });
            assert!(!validator.is_valid(&wrong), "{field} of {record} can be anything");
        }
    }
}
