//! Servers of other people as they are published, each in its sandbox. `PORTCULLIS_MCP_SERVERS` names the folder where they were installed:
//! `node_modules` by npm, and `venv` by pip.

use std::{path::PathBuf, process::Command};

use serde_json::{Value, json};

use super::{
    guests::{approve, names},
    support::{Running, World, call, finish, one, skip, wait_until},
};

const VARIABLE: &str = "PORTCULLIS_MCP_SERVERS";

/// A world with a published server in it; none where they are not installed.
fn published(test: &str, name: &str, command: &[&str]) -> Option<(World, PathBuf)> {
    let Some(folder) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        skip(test, &format!("{VARIABLE} names no folder with published servers"));
        return None;
    };
    let world = World::new();
    // Some of them want a repository from the start.
    assert!(finish(world.program("git").args(["init", "-q"])).status.success());
    let words: Vec<String> = command
        .iter()
        .map(|word| word.replace("SERVERS", folder.to_str().unwrap()).replace("WORKSPACE", world.workspace().to_str().unwrap()))
        .collect();
    let mut add = world.command(&["mcp", "add", name, "--read"]);
    add.arg(&folder).arg("--").args(&words);
    let added = finish(&mut add);
    assert_eq!(added.code(), Some(0), "{added:#?}");
    let text = world.read("state/mcp.toml") + "decisions = { \"*\" = \"allow\" }\n";
    world.write("state/mcp.toml", text);
    approve(&world, name);
    Some((world, folder))
}

const MODULES: &str = "SERVERS/node_modules/@modelcontextprotocol";

#[test]
fn the_server_everything_answers() {
    let script = format!("{MODULES}/server-everything/dist/index.js");
    let Some((world, _)) = published("the_server_everything_answers", "everything", &["/usr/bin/node", &script]) else { return };
    let turns = [
        one(call("everything__echo", json!({"message": "hello"}))),
        one(call("everything__get-sum", json!({"a": 20, "b": 22}))),
        one(call("everything__get-tiny-image", json!({}))),
        one(call("everything__get-structured-content", json!({"location": "Chicago"}))),
    ];
    let played = world.play(turns).well();
    let outputs = played.outputs();
    assert!(outputs[0].contains("hello") && outputs[1].contains("42"), "{outputs:?}");
    assert!(outputs[2].contains("[image ") && outputs[3].contains("temperature"), "{outputs:?}");
}

#[test]
fn the_server_filesystem_reads_and_writes_where_both_it_and_its_policy_allow() {
    let script = format!("{MODULES}/server-filesystem/dist/index.js");
    let test = "the_server_filesystem_reads_and_writes_where_both_it_and_its_policy_allow";
    let Some((world, _)) = published(test, "files", &["/usr/bin/node", &script, "WORKSPACE"]) else { return };
    let file = world.write("ws/note.txt", "note-d3d94468").display().to_string();
    let new = world.path("ws/new.txt").display().to_string();
    let turns = || {
        [
            one(call("files__read_text_file", json!({ "path": file }))),
            one(call("files__write_file", json!({"path": new, "content": "by the server"}))),
        ]
    };
    let played = world.play(turns());
    assert!(played.outputs()[0].contains("note-d3d94468"), "{:?}", played.outputs());
    // What it says can destroy something asks, and nobody is there.
    assert!(played.outputs()[1].starts_with("Refused") && !world.path("ws/new.txt").exists(), "{:?}", played.outputs());
    let text = world.read("state/mcp.toml").replace("\"*\" = \"allow\"", "\"*\" = \"allow\", write_file = \"allow\"");
    world.write("state/mcp.toml", text);
    std::fs::remove_dir_all(world.path("state/log")).unwrap();
    let played = world.play(turns()).well();
    assert!(played.outputs()[1].starts_with("Error") && !world.path("ws/new.txt").exists(), "{:?}", played.outputs());
    let text = world.read("state/mcp.toml").replace("[server.files]\n", "[server.files]\npolicy = \"workspace-write\"\n");
    world.write("state/mcp.toml", text);
    approve(&world, "files");
    std::fs::remove_dir_all(world.path("state/log")).unwrap();
    world.play(turns()).well();
    assert_eq!(world.read("ws/new.txt"), "by the server");
}

#[test]
fn the_server_git_tells_of_the_repository() {
    let words = ["SERVERS/venv/bin/mcp-server-git", "--repository", "WORKSPACE"];
    let Some((world, _)) = published("the_server_git_tells_of_the_repository", "git", &words) else { return };
    let git = |arguments: &[&str]| {
        let mut command: Command = world.program("git");
        assert!(finish(command.args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(arguments)).status.success());
    };
    git(&["commit", "-q", "--allow-empty", "-m", "the-subject-9bf31c7f"]);
    let played = world.play([one(call("git__git_log", json!({"repo_path": world.workspace()})))]).well();
    assert!(played.output().contains("the-subject-9bf31c7f"), "{}", played.output());
}

#[test]
fn the_server_time_tells_the_time() {
    let words = ["SERVERS/venv/bin/mcp-server-time", "--local-timezone", "UTC"];
    let Some((world, _)) = published("the_server_time_tells_the_time", "time", &words) else { return };
    let played = world.play([one(call("time__get_current_time", json!({"timezone": "UTC"})))]).well();
    let told: Value = serde_json::from_str(&played.output()).unwrap();
    assert!(told["datetime"].as_str().unwrap().starts_with("20"), "{told}");
    assert!(names(&played.bodies()[0]).contains(&"time__convert_time".to_owned()));
}

#[test]
fn the_server_everything_answers_over_http_and_says_how_far_it_is() {
    let test = "the_server_everything_answers_over_http_and_says_how_far_it_is";
    let Some(folder) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        return skip(test, &format!("{VARIABLE} names no folder with published servers"));
    };
    let world = World::new();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = world.program("/usr/bin/node");
    server.arg(folder.join("node_modules/@modelcontextprotocol/server-everything/dist/index.js")).arg("streamableHttp");
    let server = Running::start(server.env("PORT", port.to_string()), "");
    wait_until("the server listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let added = finish(&mut world.command(&["mcp", "add", "everything", "--url", &format!("http://127.0.0.1:{port}/mcp")]));
    assert_eq!(added.code(), Some(0), "{added:#?}");
    let text = world.read("state/mcp.toml") + "decisions = { \"*\" = \"allow\" }\n";
    world.write("state/mcp.toml", text);
    approve(&world, "everything");
    let turns = [
        one(call("everything__echo", json!({"message": "hello"}))),
        one(call("everything__get-tiny-image", json!({}))),
        one(call("everything__trigger-long-running-operation", json!({"duration": 1, "steps": 2}))),
    ];
    let played = world.play(turns).well();
    let outputs = played.outputs();
    assert!(outputs[0].contains("hello") && outputs[1].contains("[image ") && outputs[2].contains("completed"), "{outputs:?}");
    server.signal(15);
    server.end();
}
