//! The official clients: the Python SDK and the inspector.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
};

use serde_json::Value;

use super::{
    caller::{assert_whole, events},
    support::{Ended, Host, SECRET, program, skip},
};

/// What a variable names, or a skip.
fn named(variable: &str, test: &str, what: &str) -> Option<String> {
    let named = std::env::var(variable).ok();
    if named.is_none() {
        skip(test, &format!("{variable} names no {what}"));
    }
    named
}

#[test]
fn the_python_sdk_lists_calls_is_refused_and_takes_back() {
    let Some(python) = named("PORTCULLIS_MCP_PYTHON", "the_python_sdk_lists_calls_is_refused_and_takes_back", "Python with the SDK") else {
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mcp_serve/client.py");
    // An ordinary user may have a copy elsewhere.
    let script = fs::canonicalize(&script).or_else(|_| fs::canonicalize("tests/mcp_serve/client.py")).unwrap();
    for mode in ["handshake", "inline"] {
        let host = Host::new();
        let mut command = host.bare_program(&python);
        command.arg(&script).arg(mode).arg(program()).arg(&host.workspace).arg(&host.home).arg(host.root.join("outside"));
        let ended = Ended::from(command.output().unwrap()).done();
        assert!(ended.stdout.contains("all held"), "{mode}: {ended:?}");
        assert_eq!(host.read("made").as_deref(), Some("by python\n"));
        assert!(!host.root.join("outside/made").exists());
        assert_eq!(events(&host, "session_start")[0]["model"], "python-test 4.5.6", "{mode}");
        let statuses: Vec<Value> = events(&host, "call_outcome").iter().map(|record| record["status"].clone()).collect();
        assert_eq!(statuses[statuses.len() - 2..], ["interrupted", "ok"], "{mode}");
        assert_whole(&host);
    }
}

#[test]
fn the_inspector_lists_and_calls() {
    let Some(inspector) = named("PORTCULLIS_MCP_INSPECTOR", "the_inspector_lists_and_calls", "inspector") else { return };
    let host = Host::new();
    let run = |arguments: &[&str]| -> Value {
        let mut command = host.bare_program(&inspector);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.arg("--cli").arg(program()).args(["mcp", "serve", "--workspace"]).arg(&host.workspace).args(arguments);
        command.env("PORTCULLIS_HOME", &host.state);
        let ended = Ended::from(command.output().unwrap());
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
    };
    let listed = run(&["--method", "tools/list"]);
    assert_eq!(listed["tools"].as_array().unwrap().len(), 5, "{listed}");
    let called = run(&["--method", "tools/call", "--tool-name", "run_sandboxed", "--tool-arg", "command=echo inspected > made; cat made"]);
    assert!(called["isError"] == false && called["structuredContent"]["exit_code"] == 0, "{called}");
    assert_eq!(host.read("made").as_deref(), Some("inspected\n"));
    let refused = run(&["--method", "tools/call", "--tool-name", "run_sandboxed", "--tool-arg", "command=cat ~/.ssh/id_ed25519"]);
    assert!(refused["isError"] == true && !refused.to_string().contains(SECRET), "{refused}");
}

/// The conformance tool speaks HTTP, so somebody else's proxy (`mcp-proxy`) stands before this program. Its scenarios that are about tools, prompts and
/// resources of a server made for it are not for this one.
#[test]
fn the_conformance_tool_finds_nothing_wrong() {
    let test = "the_conformance_tool_finds_nothing_wrong";
    let Some(folder) = named("PORTCULLIS_MCP_CONFORMANCE", test, "folder with the conformance tool") else { return };
    let Some(proxy) = named("PORTCULLIS_MCP_PROXY", test, "proxy from HTTP to standard input and output") else { return };
    let host = Host::new();
    let mut command = host.bare_program(&proxy);
    command.args(["--port", "0", "--"]).arg(program()).args(["mcp", "serve", "--workspace"]).arg(&host.workspace);
    let mut running = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let url = BufReader::new(running.stderr.take().unwrap()).lines().map_while(Result::ok).find_map(|line| {
        said.push_str(&line);
        let from = line.find("http://127.0.0.1:").filter(|_| line.contains("running on"))?;
        Some(format!("{}/mcp", line[from..].split_whitespace().next()?))
    });
    let results: Vec<(&str, Ended)> = ["server-initialize", "ping", "tools-list"]
        .into_iter()
        .map(|scenario| {
            let mut command = host.bare_program(&format!("{folder}/node_modules/node/bin/node"));
            command.arg(format!("{folder}/node_modules/@modelcontextprotocol/conformance/dist/index.js"));
            command.args(["server", "--scenario", scenario, "--url", url.as_deref().unwrap_or_else(|| panic!("{said}"))]);
            (scenario, Ended::from(command.output().unwrap()))
        })
        .collect();
    running.kill().unwrap();
    running.wait().unwrap();
    for (scenario, ended) in results {
        assert!(ended.stdout.contains("Passed: 1/1, 0 failed, 0 warnings"), "{scenario}: {ended:?}");
    }
}
