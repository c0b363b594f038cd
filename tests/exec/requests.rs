//! What is sent: a prefix that never changes, a conversation that only grows, and nothing of this machine or this moment in it.

use std::fs;

use portcullis::model::scripted::{ScriptItem, Turn};
use serde_json::Value;

use super::support::{Played, World, apply_patch, call, finish, one, read_file, shell};

fn long_task(world: &World) -> Played {
    world
        .play([
            Turn::items([
                ScriptItem::reasoning("Thinking \"hard\" – ä."),
                ScriptItem::message("First."),
                read_file("a.txt"),
                shell("date; false"),
            ]),
            Turn::items([ScriptItem::reasoning(""), apply_patch("*** Add File: b.txt\n+b\n")]),
            one(call("nosuch", serde_json::json!({}))),
            Turn::items([ScriptItem::call("shell", "{ \"command\" :  \"echo \\u00e4\", \"workdir\":null,\"timeout_ms\":null }")]),
        ])
        .well()
}

#[test]
fn each_request_continues_the_one_before_byte_for_byte() {
    let world = World::new();
    world.write("ws/a.txt", "a\n");
    let played = long_task(&world);
    let bodies = played.bodies();
    assert_eq!(bodies.len(), 5);
    for pair in bodies.windows(2) {
        let open = pair[0].strip_suffix("]}").expect("a body ends with its input");
        assert!(pair[1].starts_with(open) && pair[1].len() > open.len());
    }
    assert_eq!(played.connections, 1, "each request opened a connection");
    assert!(played.requests.iter().skip(2).all(|request| request.usage.cached_tokens > 0), "the simulated cache was missed");
}

#[test]
fn items_of_the_model_are_sent_back_as_they_came() {
    let world = World::new();
    world.write("ws/a.txt", "a\n");
    let played = long_task(&world);
    let last: Value = serde_json::from_slice(&played.requests[4].body).unwrap();
    let of = |kind: &str| -> Vec<Value> { last["input"].as_array().unwrap().iter().filter(|item| item["type"] == kind).cloned().collect() };
    let reasoning = of("reasoning");
    assert_eq!(reasoning.len(), 2);
    assert_eq!(reasoning[0]["summary"][0]["text"], "Thinking \"hard\" – ä.");
    assert!(reasoning.iter().all(|item| item["encrypted_content"].as_str().unwrap().len() == 600));
    // Arguments keep the model's own spacing and escapes.
    assert_eq!(of("function_call")[4]["arguments"], "{ \"command\" :  \"echo \\u00e4\", \"workdir\":null,\"timeout_ms\":null }");
    let calls: Vec<Value> = of("function_call").iter().map(|item| item["call_id"].clone()).collect();
    let outputs: Vec<Value> = of("function_call_output").iter().map(|item| item["call_id"].clone()).collect();
    assert_eq!(calls, outputs);
    // The item's own text, as the server wrote it: keys in its order, nothing added.
    let body = &played.bodies()[4];
    let item = r#"{"encrypted_content":""#;
    let raw = r#""id":"rs_0_0","summary":[{"text":"Thinking \"hard\" – ä.","type":"summary_text"}],"type":"reasoning"}"#;
    assert!(body.contains(item) && body.contains(raw), "{body}");
}

#[test]
fn the_fields_of_a_request_are_those_of_a_stateless_client() {
    let world = World::new();
    world.write("ws/a.txt", "a\n");
    let played = long_task(&world);
    let mut keys = Vec::new();
    for request in &played.requests {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!((&body["store"], &body["stream"]), (&Value::Bool(false), &Value::Bool(true)));
        assert_eq!(body["include"], serde_json::json!(["reasoning.encrypted_content"]));
        assert!(body.get("previous_response_id").is_none());
        keys.push(body["prompt_cache_key"].as_str().unwrap().to_owned());
        let names: Vec<&str> = body["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        assert_eq!(
            names,
            ["apply_patch", "background", "list_dir", "read_file", "request_access", "search", "shell", "update_plan", "view_image"]
        );
        assert!(
            body["tools"]
                .as_array()
                .unwrap()
                .iter()
                .all(|tool| tool["type"] == "function" && tool["parameters"]["additionalProperties"] == false)
        );
    }
    keys.dedup();
    assert_eq!(keys.len(), 1, "the cache key changed within a session");
}

#[test]
fn two_runs_send_the_same_first_request_but_for_the_session() {
    let world = World::new();
    world.write("ws/AGENTS.md", "Be brief.\n");
    let bodies: Vec<String> = (0..2)
        .map(|_| {
            let played = world.play([]).well();
            let body: Value = serde_json::from_slice(&played.requests[0].body).unwrap();
            let session = body["prompt_cache_key"].as_str().unwrap().to_owned();
            assert!(world.path(&format!("state/log/{session}.jsonl")).exists());
            played.bodies()[0].replace(&session, "SESSION")
        })
        .collect();
    assert_eq!(bodies[0], bodies[1]);
    for place in [world.path("tmp"), world.path("state"), world.path("home")] {
        assert!(!bodies[0].contains(place.to_str().unwrap()), "{place:?} is in the request");
    }
    assert_eq!(bodies[0].matches(world.workspace().to_str().unwrap()).count(), 1, "the workspace is named once, in the environment");
}

fn hash(world: &World, below: &str) -> String {
    let mut command = world.command(&["prompt", "hash"]);
    let ended = finish(command.current_dir(world.workspace().join(below)));
    assert_eq!(ended.code(), Some(0), "{ended:#?}");
    assert!(ended.stdout.len() == 65 && ended.stdout.trim_end().chars().all(|c| c.is_ascii_hexdigit()), "{ended:#?}");
    assert!(world.left_nothing_temporary());
    ended.stdout
}

#[test]
fn the_hash_of_the_prefix_is_the_same_in_every_run_and_place() {
    let (one, other) = (World::new(), World::new());
    for world in [&one, &other] {
        fs::create_dir_all(world.path("ws/.git")).unwrap();
        fs::create_dir_all(world.path("ws/a/b")).unwrap();
    }
    let first = hash(&one, ".");
    for (world, below) in [(&one, "."), (&one, "a/b"), (&other, "a")] {
        assert_eq!(hash(world, below), first, "{below}");
    }
    other.write("ws/AGENTS.md", "Be brief.\n");
    assert_ne!(hash(&other, "."), first);
}

#[test]
fn instruction_files_are_sent_root_first_from_the_repository_down_to_the_folder() {
    let world = World::new();
    fs::create_dir_all(world.path("ws/.git")).unwrap();
    world.write("AGENTS.md", "ABOVE the repository\n");
    world.write("ws/AGENTS.md", "ROOT rule\n");
    world.write("ws/a/AGENTS.md", "INNER rule\n");
    world.write("ws/a/b/keep", "");
    world.write("ws/other/AGENTS.md", "ELSEWHERE\n");
    let model = super::support::start([]);
    let mut command = world.command(&["exec", "--provider-url", &model.base_url(), "x"]);
    let ended = finish(command.current_dir(world.path("ws/a/b")));
    assert_eq!(ended.code(), Some(0), "{ended:#?}");
    let body = String::from_utf8(model.requests()[0].body.clone()).unwrap();
    let at = |text: &str| body.find(text).unwrap_or_else(|| panic!("{text} is missing"));
    assert!(at("ROOT rule") < at("INNER rule"));
    assert!(!body.contains("ELSEWHERE") && !body.contains("ABOVE"));
    assert!(body.contains("a/b in it"), "the working directory is not told");
}

#[test]
fn an_instruction_file_that_leads_to_a_secret_leaks_nothing() {
    let secret = "PRIVATE-KEY-c81e728d";
    for target in ["home/.ssh/id_ed25519", "home/notes.txt", "outside.txt"] {
        let world = World::new();
        let path = world.write(target, secret);
        std::os::unix::fs::symlink(&path, world.path("ws/AGENTS.md")).unwrap();
        let played = world.play([]).well();
        assert!(!played.bodies().concat().contains(secret), "{target} was read");
        assert!(!played.ended.stdout.contains(secret));
        let shown = finish(&mut world.command(&["prompt", "show"]));
        assert!(shown.code() == Some(0) && !shown.stdout.contains(secret), "{target}: {shown:#?}");
    }
}

#[test]
fn prompt_show_prints_what_is_sent() {
    let world = World::new();
    world.write("ws/AGENTS.md", "Be brief, please.\n");
    let shown = finish(&mut world.command(&["prompt", "show"]));
    assert_eq!(shown.code(), Some(0), "{shown:#?}");
    let played = world.play([]).well();
    let body: Value = serde_json::from_slice(&played.requests[0].body).unwrap();
    assert!(shown.stdout.contains(body["instructions"].as_str().unwrap().trim_end()));
    let input = body["input"].as_array().unwrap();
    for item in &input[..input.len() - 1] {
        let text = item["content"][0]["text"].as_str().unwrap();
        assert!(shown.stdout.contains(text.trim_end()), "{text} is not shown");
    }
    assert_eq!(input[0]["role"], "developer", "{input:?}");
}

#[test]
fn effort_verbosity_and_a_schema_are_asked_for_and_an_answer_that_is_no_json_is_a_failure() {
    let world = World::new();
    let schema = world
        .write("schema.json", r#"{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false}"#);
    let schema = schema.display().to_string();
    let arguments = ["--reasoning-effort", "high", "--verbosity", "low", "--output-schema", &schema];
    let played = world.play_with(&arguments, [one(shell("true")), Turn::message(r#"{"a":1}"#)]).well();
    for request in &played.requests {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["reasoning"]["effort"], "high");
        assert_eq!(body["text"]["verbosity"], "low");
        let format = &body["text"]["format"];
        assert_eq!(
            (&format["type"], &format["strict"], &format["schema"]["required"][0]),
            (&"json_schema".into(), &true.into(), &"a".into())
        );
    }
    let played = world.play_with(&arguments, [Turn::message("the answer is 1")]);
    assert_eq!(played.ended.code(), Some(1));
    assert!(played.ended.complaint().contains("--output-schema"), "{:?}", played.ended);
    for (name, text) in [("none.json", None), ("list.json", Some("[]")), ("cut.json", Some("{"))] {
        let path = text.map_or_else(|| world.path(name), |text| world.write(name, text)).display().to_string();
        let played = world.play_with(&["--output-schema", &path], [Turn::message("{}")]);
        assert_eq!((played.ended.code(), played.requests.len()), (Some(2), 0), "{:?}", played.ended);
        assert!(played.ended.complaint().contains(name));
    }
}
