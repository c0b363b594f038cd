//! The protocol: what is offered, what is no message, what comes at the same time, and how much of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    caller::{Called, Caller, command, events, unique_time},
    support::{Host, eventually, processes_with},
};

#[test]
fn the_server_says_what_holds_and_offers_tools_and_nothing_else() {
    let host = Host::new();
    let mut caller = Caller::unintroduced(command(&host, &["--policy", "read-only"]));
    let said = caller.introduce("by-hand", "1");
    assert_eq!(said["capabilities"], json!({"tools": {}}));
    assert_eq!(said["serverInfo"], json!({"name": "portcullis", "version": env!("CARGO_PKG_VERSION")}));
    let instructions = said["instructions"].as_str().unwrap();
    assert!(instructions.contains("Policy: read-only, fingerprint sha256:") && instructions.contains("Nothing turns the sandbox off"));
    let listed = caller.request("tools/list", json!({}));
    let tools = listed["result"]["tools"].as_array().unwrap();
    let told: Vec<(&str, &Value, &Value)> = tools
        .iter()
        .map(|tool| (tool["name"].as_str().unwrap(), &tool["annotations"]["readOnlyHint"], &tool["annotations"]["destructiveHint"]))
        .collect();
    let (yes, no) = (&json!(true), &json!(false));
    let expected =
        [("apply_patch", no, yes), ("policy_explain", yes, no), ("read_file", yes, no), ("run_sandboxed", no, yes), ("search", yes, no)];
    assert_eq!(told, expected);
    for method in ["resources/list", "prompts/list", "no/such", "elicitation/create"] {
        assert_eq!(caller.request(method, json!({}))["error"]["code"], -32601, "{method}");
    }
}

#[test]
fn results_are_of_the_schema_that_is_told() {
    let host = Host::new();
    let mut caller = Caller::new(&host, &[]);
    let listed = caller.request("tools/list", json!({}));
    let schema = jsonschema::validator_for(&listed["result"]["tools"][0]["outputSchema"]).unwrap();
    for (tool, arguments) in [
        ("run_sandboxed", json!({"command": "cat ~/.ssh/id_ed25519; touch /usr/x; exit 3"})),
        ("run_sandboxed", json!({"command": "sudo true"})),
        ("read_file", json!({"path": "file"})),
        ("policy_explain", json!({"kind": "read", "what": "file"})),
    ] {
        let called = caller.call(tool, arguments);
        assert!(schema.is_valid(&called.told), "{called:?}");
    }
    assert!(!schema.is_valid(&json!({"status": "well"})));
}

#[test]
fn what_is_no_message_is_answered_and_the_session_goes_on() {
    let host = Host::new();
    let mut caller = Caller::new(&host, &[]);
    for (line, code, id) in [
        ("{", -32700, Value::Null),
        ("\u{0}\u{1}", -32700, Value::Null),
        ("null", -32600, Value::Null),
        ("[]", -32600, Value::Null),
        ("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]", -32600, Value::Null),
        ("{\"id\":41,\"method\":\"ping\"}", -32600, json!(41)),
        ("{\"jsonrpc\":\"1.0\",\"id\":\"a\",\"method\":\"ping\"}", -32600, json!("a")),
        ("{\"jsonrpc\":\"2.0\",\"id\":42,\"method\":7}", -32600, json!(42)),
        ("{\"jsonrpc\":\"2.0\",\"id\":43,\"method\":\"tools/call\",\"params\":{\"name\":7}}", -32602, json!(43)),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":44,\"method\":\"tools/call\",\"params\":{\"name\":\"read_file\",\"arguments\":[]}}",
            -32602,
            json!(44),
        ),
        ("{\"jsonrpc\":\"2.0\",\"id\":45,\"method\":\"tools/call\"}", -32602, json!(45)),
        ("{\"jsonrpc\":\"2.0\",\"id\":46,\"method\":\"tools/call\",\"params\":{\"name\":\"shell\",\"arguments\":{}}}", -32602, json!(46)),
    ] {
        caller.write(format!("{line}\n").as_bytes());
        let answer = caller.receive();
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), &id), "{line}: {answer}");
    }
    let deep = format!("{{\"jsonrpc\":\"2.0\",\"id\":47,\"method\":\"ping\",\"params\":{}{}}}\n", "[".repeat(5000), "]".repeat(5000));
    caller.write(deep.as_bytes());
    assert_eq!(caller.receive()["error"]["code"], -32700);
    // What is not asked is not answered.
    caller.write(b"\n{\"jsonrpc\":\"2.0\",\"method\":\"notifications/none\"}\n{\"jsonrpc\":\"2.0\",\"id\":9,\"result\":{}}\n{\"id\":9,\"error\":1}\n");
    assert!(caller.is_silent());
    assert_eq!(caller.request("ping", json!({}))["result"], json!({}));
    let refused = caller.call("read_file", json!({"path": "file", "policy": "x"}));
    assert!(refused.is_error && refused.status() == "refused", "{refused:?}");
    caller.end();
    let unknown = &events(&host, "call_intent")[0];
    assert_eq!((&unknown["tool"], &unknown["decision"], &unknown["call"]), (&json!("shell"), &json!("refuse"), &json!("mcp-1")));
}

#[test]
fn a_message_that_is_too_long_is_dropped_and_one_that_is_just_not_is_taken() {
    let host = Host::new();
    let mut caller = Caller::new(&host, &[]);
    let ping = |bytes: usize| {
        let frame = "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"ping\",\"params\":{\"x\":\"\"}}";
        frame.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - frame.len()))) + "\n"
    };
    let cap = 8 * 1024 * 1024;
    caller.write(ping(cap).as_bytes());
    assert_eq!(caller.receive()["id"], 7);
    caller.write(ping(cap + 1).as_bytes());
    let refused = caller.receive();
    assert!(refused["error"]["message"].as_str().unwrap().contains("8388608 bytes") && refused.get("id").is_none(), "{refused}");
    caller.write(&[b'x'; 30 * 1024 * 1024]);
    caller.write(b"\n");
    assert_eq!(caller.receive()["error"]["code"], -32600);
    assert_eq!(caller.request("ping", json!({}))["result"], json!({}));
}

#[test]
fn calls_that_read_run_side_by_side_and_those_that_change_one_after_the_other() {
    let host = Host::new();
    let mut caller = Caller::new(&host, &[]);
    let mut begun: Vec<i64> =
        (0..10).map(|at| caller.begin_call("run_sandboxed", json!({"command": format!("sleep 0.05; echo {at} >> order")}))).collect();
    begun.extend((0..20).map(|_| caller.begin_call("read_file", json!({"path": "order"}))));
    let mut answered: Vec<i64> = Vec::new();
    for _ in 0..30 {
        let answer = caller.receive();
        let called = Called::of(&answer);
        assert!(!called.is_error, "{called:?}");
        let id = answer["id"].as_i64().unwrap();
        // A look behind the changes sees all of them.
        assert!(!begun[10..].contains(&id) || called.text.contains("10\t9"), "{called:?}");
        answered.push(id);
    }
    assert_eq!(host.read("order").unwrap(), "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    answered.sort_unstable();
    assert_eq!(answered, begun);
}

#[test]
fn a_call_that_runs_holds_up_no_ping_and_there_is_an_end_to_what_waits() {
    let host = Host::new();
    let mut caller = Caller::new(&host, &[]);
    let time = unique_time();
    let running = caller.begin_call("run_sandboxed", json!({"command": format!("sleep {time}")}));
    assert!(eventually(|| processes_with(&time) == 1));
    let began = Instant::now();
    assert_eq!(caller.request("ping", json!({}))["result"], json!({}));
    assert!(began.elapsed() < Duration::from_secs(5));
    for _ in 0..63 {
        caller.begin_call("run_sandboxed", json!({"command": "echo x >> ran"}));
    }
    let refused = caller.call("run_sandboxed", json!({"command": "echo x >> ran"}));
    assert!(refused.is_error && refused.text.contains("64 calls run or wait"), "{refused:?}");
    caller.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": running}}));
    for _ in 0..63 {
        assert!(!Called::of(&caller.receive()).is_error);
    }
    assert_eq!(host.read("ran").unwrap().lines().count(), 63);
}

#[test]
fn ids_of_calls_are_made_here_and_those_of_the_caller_are_given_back() {
    let host = Host::new();
    let mut caller = Caller::new(&host, &[]);
    for id in [json!("mcp-7"), json!("../../x"), json!(-3)] {
        caller.send(
            &json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "read_file", "arguments": {"path": "file"}}}),
        );
        assert_eq!(caller.receive()["id"], id);
    }
    caller.end();
    let calls: Vec<Value> = events(&host, "call_intent").iter().map(|record| record["call"].clone()).collect();
    assert_eq!(calls, ["mcp-1", "mcp-2", "mcp-3"]);
}

#[test]
fn a_command_has_nothing_on_its_input_and_its_output_is_not_the_protocols() {
    let host = Host::new();
    let mut caller = Caller::new(&host, &[]);
    let called = caller
        .sh("cat; echo '{\"jsonrpc\":\"2.0\",\"id\":99,\"result\":{}}'; for n in 0 1 2; do echo forged > /proc/1/fd/$n; done; echo done");
    assert!(called.text.contains("done"), "{called:?}");
    let long = caller.sh("yes | head -c 3000000");
    assert!(long.text.len() < 200_000, "{}", long.text.len());
    assert_eq!(caller.request("ping", json!({}))["result"], json!({}));
    assert!(caller.is_silent());
}

#[test]
fn who_does_not_speak_the_protocol_is_told_so() {
    let host = Host::new();
    let mut caller = Caller::unintroduced(command(&host, &[]));
    caller.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    let ended = caller.end();
    assert!(ended.code == 1 && ended.stderr.contains("does not speak"), "{ended:?}");
    // A call before the greeting does not run.
    let mut caller = Caller::unintroduced(command(&host, &[]));
    let answer = caller.request("tools/call", json!({"name": "run_sandboxed", "arguments": {"command": "touch early"}}));
    assert!(answer["error"]["code"].is_number(), "{answer}");
    caller.introduce("by-hand", "1");
    assert!(!caller.sh("true").is_error && !host.has("early"));
}
