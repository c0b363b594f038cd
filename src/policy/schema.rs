//! The JSON Schema of a policy file, from the very types that one is read into, so that an editor can check and explain each key.
//!
//! It refuses nothing that the reader takes. What no schema can say is left to the reader: whether an example matches its rule, whether a time with its
//! unit is within its range, whether a file that is extended exists.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema, transform::RecursiveTransform};
use serde_json::{Value, json};

use super::{
    file::{LONGEST_LIST, PolicyFile},
    groups, load,
    model::Place,
};

/// The name of the schema of policy files, version 1.
pub const POLICY_ID: &str = "https://portcullis-agent.github.io/schema/policy-1.json";

/// The schema of a policy file (JSON Schema 2020-12).
pub fn policy() -> Value {
    named::<PolicyFile>(POLICY_ID, SchemaSettings::draft2020_12().for_deserialize())
}

/// The schema of a type, with a name that it can be told by and descriptions that are for people.
pub fn named<T: JsonSchema>(id: &str, settings: SchemaSettings) -> Value {
    let generator = settings.with_transform(RecursiveTransform(plain)).into_generator();
    let mut schema = generator.into_root_schema_for::<T>();
    schema.insert("$id".to_owned(), id.into());
    schema.to_value()
}

/// Takes out what says something of Rust alone.
fn plain(schema: &mut Schema) {
    schema.remove("default");
    schema.remove("format");
    let Some(Value::String(description)) = schema.get("description") else { return };
    // Links to other items become their names, and folded lines become one line.
    let text =
        description.replace("[`", "`").replace("`]", "`").replace("super::", "").split('\n').map(str::trim).collect::<Vec<_>>().join(" ");
    schema.insert("description".to_owned(), text.into());
}

/// A type that stands for the shape of one value.
macro_rules! value {
    ($(#[$doc:meta])* $name:ident $schema:expr) => {
        $(#[$doc])*
        pub(super) struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

/// No control characters, as `char::is_control` has it.
const VISIBLE: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$";
/// The name of an environment variable.
const VARIABLE: &str = "^[A-Za-z_][A-Za-z0-9_]{0,255}$";

value!(
    /// `name`.
    Name json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$" })
);
value!(
    /// One line of text.
    Sentence json_schema!({ "type": "string", "allOf": [{ "pattern": "\\S" }, { "pattern": "^\\s*[^\\u0000-\\u001f\\u007f-\\u009f]*\\s*$" }] })
);
value!(
    /// A preset or a path.
    Extends json_schema!({ "type": "string", "anyOf": presets().chain([json!({ "pattern": "/|\\.toml$" })]).collect::<Vec<_>>() })
);
value!(
    /// A duration with its unit.
    Time json_schema!({ "type": "string", "pattern": "^[0-9]+ *(s|m|h|d)$", "examples": ["90s", "10m", "2h"] })
);
value!(
    /// Bytes, with a unit or without.
    Size json_schema!({ "type": ["string", "integer"], "pattern": "^[0-9]+ *(B|KiB|MiB|GiB|TiB)$", "examples": ["512MiB", "4GiB"] })
);
value!(
    /// Hosts.
    Hosts list(json!({ "type": "string", "pattern": "^([A-Z]+(,[A-Z]+)*\\s+)?((\\*\\.)?([^\\s@/%?#*:\\[\\]]+|\\[[0-9A-Fa-f:.]+\\])(:0*[1-9][0-9]*)?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f.]*)$" }))
);
value!(
    /// Paths of sockets.
    Sockets list(json!({ "type": "string", "pattern": "^(/|~/)" }))
);
value!(
    /// Names of variables.
    Variables list(json!({ "type": "string", "pattern": VARIABLE }))
);
value!(
    /// Variables with their values.
    Settings json_schema!({
        "type": "object",
        "maxProperties": LONGEST_LIST,
        "propertyNames": { "pattern": VARIABLE },
        "additionalProperties": { "type": "string", "pattern": VISIBLE },
    })
);
value!(
    /// The words of a rule.
    Prefix json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": LONGEST_LIST,
        "prefixItems": [{ "pattern": "^[^ ]+$|/" }],
        "items": { "type": "string", "pattern": "\\S" },
        "examples": [["git", "push"]],
    })
);
value!(
    /// An example of a command.
    Example json_schema!({ "type": "string", "pattern": "\\S" })
);
value!(
    /// `[audit] sync`.
    Sync json_schema!({ "oneOf": [
        { "const": "each", "description": "Each record has reached the disk before what it records happens." },
        { "const": "none", "description": "Records reach the disk as the system writes them." },
    ] })
);
value!(
    /// What `read` holds.
    Readable list(place(plain_place, &[GLOB]))
);
value!(
    /// What `write` holds.
    Writable list(place(plain_place, &[GLOB, WHOLE]))
);
value!(
    /// What `deny` and `protect` hold.
    Taken list(place(|place| !matches!(place, Place::Temporary | Place::PrivateHome), &[WHOLE]))
);

/// A path that leads upwards.
const UPWARDS: &str = "(^|/)\\.\\.(/|$)";
/// A glob that is not below the workspace.
const GLOB_OUTSIDE: &str = "^[/~].*[*?\\[{]";
/// Any glob.
const GLOB: &str = "[*?\\[{]";
/// The whole file system.
const WHOLE: &str = "^/+(\\./+)*\\.?$";
/// The workspace itself, under another name than its own.
const ITSELF: &str = "^\\.(/+\\.)*/*$";
/// The whole home folder.
const HOME: &str = "^~(/+\\.)*/*$";

fn plain_place(place: &Place) -> bool {
    !matches!(place, Place::WorkspaceGlob(_))
}

/// An entry of a list of paths: a group all of whose places fit, or a path that has none of the forms that are refused.
fn place(fits: impl Fn(&Place) -> bool, refused: &[&str]) -> Value {
    let groups = groups().unwrap_or_default().iter();
    let groups = groups.filter(|group| group.rules.iter().all(|rule| fits(&rule.place)));
    let mut choices: Vec<Value> = groups.map(|group| json!({ "const": format!("@{}", group.name), "description": group.why })).collect();
    let wrong: Vec<Value> =
        [UPWARDS, GLOB_OUTSIDE, ITSELF, HOME].iter().chain(refused).map(|pattern| json!({ "pattern": pattern })).collect();
    choices.push(json!({
        "description": "A path: absolute, below the home folder as ~/…, or below the workspace.",
        "pattern": "^([^@!~]|~/)",
        "not": { "anyOf": wrong },
    }));
    json!({ "type": "string", "allOf": [{ "pattern": VISIBLE }, { "pattern": "\\S" }], "anyOf": choices })
}

fn list(items: Value) -> Schema {
    json_schema!({ "type": "array", "maxItems": LONGEST_LIST, "items": items })
}

fn presets() -> impl Iterator<Item = Value> {
    load::presets().iter().map(|(name, _)| {
        let why = load::preset(name).map(|preset| preset.why).unwrap_or_default();
        json!({ "const": name, "description": why })
    })
}
