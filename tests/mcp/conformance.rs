//! The conformance tool of the Model Context Protocol against this program as a client over HTTP. `PORTCULLIS_MCP_CONFORMANCE` names the folder where
//! npm installed it, and a Node that it starts on (22 or newer).
//!
//! Its other scenarios for clients are about OAuth, which this program leaves to whoever sets the token's variable, and about elicitation, which it
//! refuses.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::support::{World, call, finish, one, skip, start};

const VARIABLE: &str = "PORTCULLIS_MCP_CONFORMANCE";

/// Runs one scenario; `tool` is called with these arguments. The checks that the tool writes down.
fn scenario(test: &str, name: &str, tool: &str, arguments: Value) -> Option<Vec<Value>> {
    let Some(folder) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        skip(test, &format!("{VARIABLE} names no folder with the conformance tool"));
        return None;
    };
    let world = World::new();
    let model = start([one(call(&format!("c__{tool}"), arguments))]);
    let program = super::support::binary().display().to_string();
    // It says localhost, which means the sandbox itself in one; `mcp add` says so.
    let script = format!(
        "#!/bin/sh\nset -eu\nurl=$(echo \"$1\" | sed s/localhost/127.0.0.1/)\n{program} mcp add c --url \"$url\"\n\
         printf 'decisions = {{ \"*\" = \"allow\" }}\\n' >> \"$PORTCULLIS_HOME/mcp.toml\"\n\
         hash=$({program} mcp review c < /dev/null | sed -n 's/^hash  *//p')\n{program} mcp review c --yes --expect \"$hash\" > /dev/null\n\
         {program} exec --model scripted --provider-url {} 'Do it.'\n",
        model.base_url()
    );
    let script = world.write("client.sh", script);
    let mut command = world.program(folder.join("node_modules/node/bin/node"));
    command.arg(folder.join("node_modules/@modelcontextprotocol/conformance/dist/index.js"));
    command.args(["client", "--scenario", name, "--command", &format!("sh {}", script.display()), "-o"]).arg(world.path("results"));
    let ended = finish(&mut command);
    // One folder for each run.
    let written = fs::read_dir(world.path("results")).unwrap().next().unwrap_or_else(|| panic!("{ended:#?}")).unwrap().path();
    let checks: Vec<Value> = serde_json::from_str(&fs::read_to_string(written.join("checks.json")).unwrap()).unwrap();
    assert!(!checks.is_empty(), "{ended:#?}");
    for check in &checks {
        assert!(!["FAILURE", "WARNING"].contains(&check["status"].as_str().unwrap()), "{check:#}\n{ended:#?}");
    }
    Some(checks)
}

fn succeeded(checks: &[Value], id: &str) -> bool {
    checks.iter().any(|check| check["id"] == id && check["status"] == "SUCCESS")
}

#[test]
fn it_initializes_as_the_specification_says() {
    let Some(checks) = scenario("it_initializes_as_the_specification_says", "initialize", "none", json!({})) else { return };
    assert!(succeeded(&checks, "mcp-client-initialization"), "{checks:#?}");
}

#[test]
fn it_calls_a_tool() {
    let Some(checks) = scenario("it_calls_a_tool", "tools_call", "add_numbers", json!({"a": 5, "b": 3})) else { return };
    assert!(succeeded(&checks, "tool-add-numbers"), "{checks:#?}");
}

#[test]
fn it_goes_on_with_a_stream_that_was_closed() {
    let test = "it_goes_on_with_a_stream_that_was_closed";
    let Some(checks) = scenario(test, "sse-retry", "test_reconnection", json!({})) else { return };
    for id in ["client-sse-graceful-reconnect", "client-sse-retry-timing", "client-sse-last-event-id"] {
        assert!(succeeded(&checks, id), "{id}: {checks:#?}");
    }
}
