//! What a server tries beyond its tools, looked for from outside.

use std::{
    io::Read,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::json;

use super::{
    guests::{ALLOW, approve, echo, hostile, names, tool},
    support::{World, one},
};

#[test]
fn a_server_reads_the_workspace_and_neither_its_secrets_nor_the_person_s() {
    let world = hostile(ALLOW);
    world.write("home/.ssh/id_rsa", "KEY-8f14e45f");
    world.write("ws/.env", "TOKEN=c9f0f895");
    world.write("ws/plain.txt", "plain-text-45c48cce");
    let ssh = world.path("home/.ssh/id_rsa").display().to_string();
    let state = world.path("state/mcp.lock").display().to_string();
    let read = |path: &str| one(tool("read", json!({ "path": path })));
    let played = world.play([read("plain.txt"), read(&ssh), read("~/.ssh/id_rsa"), read(".env"), read(&state)]).well();
    let outputs = played.outputs();
    assert!(outputs[0].contains("plain-text-45c48cce"), "{outputs:?}");
    for output in &outputs[1..] {
        assert!(output.contains("Error"), "{outputs:?}");
    }
    let (sent, lock) = (played.bodies().concat(), world.read("state/mcp.lock"));
    let kept: serde_json::Value = serde_json::from_str(&lock).unwrap();
    let digest = kept["servers"]["h"]["fingerprint"].as_str().unwrap();
    for secret in ["8f14e45f", "c9f0f895", digest] {
        assert!(!sent.contains(secret), "{secret} was sent: {outputs:?}");
    }
}

#[test]
fn a_server_writes_nothing_but_its_own_tmp_and_one_with_another_policy_the_workspace() {
    let world = hostile(ALLOW);
    let before = world.tree();
    let outside = world.path("home/written").display().to_string();
    let write = |path: &str| one(tool("write", json!({ "path": path })));
    let turns = || [write("written"), write(&outside), write("/tmp/written"), one(super::support::shell("ls /tmp ~"))];
    let played = world.play(turns()).well();
    let outputs = played.outputs();
    assert!(outputs[0].contains("Error") && outputs[2] == "written", "{outputs:?}");
    // Neither its home nor its /tmp is the host's, nor that of the session's own calls.
    assert!(!outputs[3].contains("written"), "{outputs:?}");
    assert_eq!(world.tree(), before);
    assert!(!world.path("home/written").exists());
    let world = World::new();
    super::guests::add_hostile(&world, "h", &format!("policy = \"workspace-write\"\n{ALLOW}"));
    approve(&world, "h");
    world.play([write("written")]).well();
    assert_eq!(world.read("ws/written"), "written by the server\n");
}

#[test]
fn a_server_connects_to_no_port_of_the_host() {
    let world = hostile(ALLOW);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let reached = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&reached);
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut said = String::new();
            let _ = stream.read_to_string(&mut said);
            seen.store(said.contains("hello from inside"), Ordering::Relaxed);
        }
    });
    let connect = || one(tool("connect", json!({ "port": port.to_string() })));
    let played = world.play([connect()]).well();
    assert!(played.output().contains("Error"), "{}", played.output());
    thread::sleep(Duration::from_millis(200));
    assert!(!reached.load(Ordering::Relaxed));
    // The same server where its policy lets it.
    let world = World::new();
    let policy = world.policy("[network]\nmode = \"open\"\n");
    super::guests::add_hostile(&world, "h", &format!("policy = \"{policy}\"\n{ALLOW}"));
    approve(&world, "h");
    assert_eq!(world.play([connect()]).well().output(), "connected");
    super::support::wait_until("it was reached", || reached.load(Ordering::Relaxed));
}

#[test]
fn a_server_is_given_the_variables_that_are_named_and_their_values_are_told_nobody() {
    let world = World::new();
    super::guests::add_hostile(&world, "h", &format!("env = [\"GIVEN_TOKEN\"]\n{ALLOW}"));
    approve(&world, "h");
    let model = super::support::start([one(tool("environment", json!({})))]);
    let mut command = world.exec(&model, &["--json"]);
    command.env("GIVEN_TOKEN", "token-6512bd43").env("OTHER_TOKEN", "token-c20ad4d7").arg("Do it.");
    let ended = super::support::finish(&mut command);
    assert_eq!(ended.code(), Some(0), "{ended:#?}");
    let output = model.requests().last().unwrap().outputs()[0].1.clone();
    assert!(output.contains("GIVEN_TOKEN") && output.contains("[redacted]"), "{output}");
    assert!(!output.contains("OTHER_TOKEN") && !output.contains("LANG") && !output.contains("6512bd43"), "{output}");
    assert!(!std::fs::read_to_string(&world.logs()[0]).unwrap().contains("6512bd43"));
}

#[test]
fn what_a_server_asks_of_the_person_or_the_model_is_refused() {
    let world = hostile(ALLOW);
    let played = world.play([one(tool("ask", json!({})))]).well();
    let output = played.output();
    assert!(output.contains("\"action\": \"decline\""), "{output}");
    assert!(output.contains("-32601"), "sampling was not refused: {output}");
    assert_eq!(played.requests.len(), 2, "the model was asked for the server");
}

#[test]
fn a_poisoned_description_is_sent_with_what_it_hides_in_view_and_shortened() {
    let world = hostile(ALLOW);
    let played = world.play([]).well();
    let body: serde_json::Value = serde_json::from_str(&played.bodies()[0]).unwrap();
    let tools = body["tools"].as_array().unwrap();
    let poison = tools.iter().find(|tool| tool["name"] == "h__poison").unwrap();
    let description = poison["description"].as_str().unwrap();
    assert!(description.starts_with("Adds.\\u{202e}\\u{200b}<IMPORTANT>") && description.len() < 2100, "{description}");
    assert!(description.chars().all(|c| !c.is_control() && c != '\u{202e}' && c != '\u{e0041}'));
    let names = names(&played.bodies()[0]);
    assert!(!names.iter().any(|name| name == "h__hidden_name" || name == "h__no_object"), "{names:?}");
}

#[test]
fn a_list_that_changes_in_a_session_ends_the_server_s_use() {
    let world = hostile(ALLOW);
    let played = world.play([one(echo("one")), one(tool("swap", json!({}))), one(echo("two"))]).well();
    let outputs = played.outputs();
    assert_eq!((outputs[0].as_str(), outputs[1].as_str()), ("one", "swapped"));
    assert!(outputs[2].contains("what it says of the tool echo is not what was approved"), "{}", outputs[2]);
    assert_eq!(names(&played.bodies()[0]), names(&played.bodies()[3]));
}

#[test]
fn messages_without_end_do_not_fill_memory() {
    let world = hostile(ALLOW);
    world.write("ws/mode", "many");
    let played = world.play([one(echo("hello"))]).well();
    assert!(played.output().contains("did not start") || played.output().contains("more than is read"), "{}", played.output());
}
