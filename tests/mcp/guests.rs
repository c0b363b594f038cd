//! A world with servers in it.

use std::fs;

use portcullis::model::scripted::ScriptItem;
use serde_json::{Value, json};

use super::support::{Ended, World, call, finish};

/// The server that means harm.
pub const HOSTILE: &str = include_str!("hostile.py");
/// Every call is allowed, but for what a server says can destroy something.
pub const ALLOW: &str = "decisions = { \"*\" = \"allow\" }\n";

/// A world with the hostile server in its workspace, added and approved as `h`, with these lines in its settings.
pub fn hostile(settings: &str) -> World {
    let world = World::new();
    add_hostile(&world, "h", settings);
    approve(&world, "h");
    world
}

/// Adds the hostile server under a name.
pub fn add_hostile(world: &World, name: &str, settings: &str) {
    let script = world.write(&format!("ws/{name}.py"), HOSTILE).display().to_string();
    let added = finish(&mut world.command(&["mcp", "add", name, "--", "/usr/bin/python3", &script]));
    assert_eq!(added.code(), Some(0), "{added:#?}");
    let file = world.path("state/mcp.toml");
    let text = fs::read_to_string(&file).unwrap();
    // Its table is the last of the file.
    fs::write(&file, format!("{text}{settings}")).unwrap();
}

/// What a review prints when there is nobody to ask.
pub fn review(world: &World, name: &str) -> Ended {
    finish(&mut world.command(&["mcp", "review", name]))
}

/// The hash that a review printed.
pub fn hash(review: &Ended) -> String {
    let line = review.stdout.lines().find_map(|line| line.strip_prefix("hash         "));
    line.unwrap_or_else(|| panic!("no hash: {review:#?}")).to_owned()
}

pub fn approve(world: &World, name: &str) -> Ended {
    let hash = hash(&review(world, name));
    let approved = finish(&mut world.command(&["mcp", "review", name, "--yes", "--expect", &hash]));
    assert_eq!(approved.code(), Some(0), "{approved:#?}");
    approved
}

/// A call of a tool of the server `h`.
pub fn tool(name: &str, arguments: Value) -> ScriptItem {
    call(&format!("h__{name}"), arguments)
}

pub fn echo(text: &str) -> ScriptItem {
    tool("echo", json!({ "text": text }))
}

/// The names of the tools in a request.
pub fn names(body: &str) -> Vec<String> {
    let body: Value = serde_json::from_str(body).unwrap();
    body["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}
