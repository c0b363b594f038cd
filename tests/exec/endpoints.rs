//! Which endpoint is meant, what is known of it, what it turns out to take, and what is contacted besides: nothing.

use portcullis::model::{
    Usage,
    scripted::{Fault, RecordedRequest, Script, ScriptItem, ScriptedModel, Turn},
};
use serde_json::{Value, json};

use super::support::{World, finish, one, shell, start};

fn body(request: &RecordedRequest) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn settings(world: &World, model: &ScriptedModel, more: &str) {
    world.write("state/providers.toml", format!("default = \"mine\"\n[provider.mine]\nurl = \"{}\"\n{more}", model.base_url()));
}

#[test]
fn a_persons_file_names_an_endpoint_and_what_it_lacks() {
    let world = World::new();
    let model = start([Turn::items([ScriptItem::reasoning("hm"), shell("true")]), Turn::message("fine")]);
    settings(
        &world,
        &model,
        "like = \"llama.cpp\"\nmodel = \"small\"\ncache_key = false\ninstructions = \"developer\"\nparallel_calls = false\n",
    );
    let ended = finish(&mut world.command(&["exec", "--workspace", &world.workspace().display().to_string(), "--json", "Do it."]));
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let requests = model.requests();
    let (first, second) = (body(&requests[0]), body(&requests[1]));
    assert_eq!((&first["model"], &first["store"], &first["parallel_tool_calls"]), (&json!("small"), &json!(false), &json!(false)));
    for absent in ["include", "prompt_cache_key", "instructions"] {
        assert!(first.get(absent).is_none(), "{absent}");
    }
    assert!(first["tools"].as_array().unwrap().iter().all(|tool| tool["strict"] == false));
    assert!(first["input"][0]["content"][0]["text"].as_str().unwrap().starts_with("You are portcullis"));
    // Reasoning that it could not read again is not sent back, and the prompt still only grows.
    assert!(!second["input"].to_string().contains("\"reasoning\""));
    assert!(requests[1].body.starts_with(requests[0].body.strip_suffix(b"]}").unwrap()));
    // Flags say otherwise.
    let flagged = start([Turn::message("fine")]);
    let ended = finish(&mut world.exec(&flagged, &["Do it."]));
    assert_eq!((ended.code(), flagged.requests().len(), model.requests().len()), (Some(0), 1, 2));
    assert!(body(&flagged.requests()[0]).get("prompt_cache_key").is_some(), "an address of its own has nothing of another's settings");
}

#[test]
fn a_mistake_in_the_file_stops_everything_and_a_repository_has_no_say() {
    let world = World::new();
    let model = start([Turn::message("fine")]);
    settings(&world, &model, "modell = \"m\"\n");
    let ended = finish(&mut world.command(&["exec", "--workspace", &world.workspace().display().to_string(), "Do it."]));
    assert_eq!((ended.code(), model.requests().len()), (Some(2), 0), "{ended:?}");
    assert!(ended.stderr.contains("providers.toml") && ended.stderr.contains("line 4") && ended.stderr.contains("modell"), "{ended:?}");
    // The same file in the workspace is a file like any other.
    std::fs::remove_file(world.path("state/providers.toml")).unwrap();
    for place in ["ws/providers.toml", "ws/.portcullis/providers.toml"] {
        world.write(place, format!("default = \"mine\"\n[provider.mine]\nurl = \"{}\"\nmodel = \"m\"\n", model.base_url()));
    }
    let ended = finish(&mut world.command(&["exec", "--workspace", &world.workspace().display().to_string(), "Do it."]));
    assert_eq!((ended.code(), model.requests().len()), (Some(2), 0), "{ended:?}");
    assert!(ended.complaint().contains("OPENAI_API_KEY"), "{ended:?}");
}

#[test]
fn settings_that_calls_could_write_are_not_gone_by() {
    for (link, target) in [("ws/mine.toml", None), ("ws/on", Some("away/mine.toml"))] {
        let world = World::new();
        let model = start([Turn::message("fine")]);
        let text = format!("default = \"mine\"\n[provider.mine]\nurl = \"{}\"\nmodel = \"m\"\n", model.base_url());
        world.write("away/mine.toml", text.clone());
        match target {
            // A link into the workspace, and one that only leads through it.
            None => drop(world.write(link, text)),
            Some(target) => std::os::unix::fs::symlink(world.path(target), world.path(link)).unwrap(),
        }
        std::fs::create_dir_all(world.path("state")).unwrap();
        std::os::unix::fs::symlink(world.path(link), world.path("state/providers.toml")).unwrap();
        let run = |policy: &str| {
            let workspace = world.workspace().display().to_string();
            finish(&mut world.command(&["exec", "--policy", policy, "--workspace", &workspace, "Do it."]))
        };
        let ended = run("workspace-write");
        assert_eq!((ended.code(), model.requests().len()), (Some(3), 0), "{link}: {ended:?}");
        assert!(ended.stderr.contains("providers.toml") && ended.stderr.contains(link), "{ended:?}");
        // Where nothing can be written there, it is a file like any other of the person's.
        assert_eq!(run("read-only").code(), Some(0), "{link}");
    }
}

#[test]
fn a_key_that_was_written_into_the_file_is_not_shown() {
    for line in [
        "key = \"sk-secret-of-mine\"",
        "context_window = \"sk-secret-of-mine\"",
        "compaction = \"sk-secret-of-mine\"",
        "url = sk-secret-of-mine",
    ] {
        let world = World::new();
        world.write("state/providers.toml", format!("default = \"mine\"\n[provider.mine]\n{line}\n"));
        let ended = finish(&mut world.command(&["providers", "list"]));
        assert_eq!(ended.code(), Some(2), "{ended:?}");
        assert!(ended.stderr.contains("line 3") && !ended.stderr.contains("secret"), "{line}: {ended:?}");
    }
}

#[test]
fn providers_are_listed_and_shown() {
    let world = World::new();
    let listed = finish(&mut world.command(&["providers", "list"]));
    assert!(listed.stdout.contains("* openai") && listed.stdout.contains("llama.cpp"), "{listed:?}");
    let shown = finish(&mut world.command(&["providers", "show", "ollama"]));
    assert_eq!(shown.code(), Some(2), "{shown:?}");
    assert!(shown.complaint().contains("--model"), "{shown:?}");
    world.write("state/providers.toml", "[provider.ollama]\nmodel = \"q\"\n");
    let shown = finish(&mut world.command(&["providers", "show", "ollama"]));
    assert!(shown.stdout.contains("127.0.0.1:11434") && shown.stdout.contains("encrypted reasoning  no"), "{shown:?}");
    let unknown = finish(&mut world.command(&["providers", "show", "nosuch"]));
    assert!(unknown.complaint().contains("no provider `nosuch`") && unknown.complaint().contains("vllm"), "{unknown:?}");
}

fn doctor(world: &World, model: &ScriptedModel) -> (Option<i32>, Value) {
    let ended = finish(&mut world.command(&["doctor", "--provider", "--provider-url", &model.base_url(), "--model", "scripted", "--json"]));
    (ended.code(), serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}")))
}

fn works(report: &Value, what: &str) -> bool {
    let finding = report["findings"].as_array().unwrap().iter().find(|finding| finding["what"] == what);
    finding.unwrap_or_else(|| panic!("{what} in {report:#}"))["works"] == true
}

fn lines(report: &Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().filter_map(|finding| finding["setting"].as_str()).collect()
}

#[test]
fn the_doctor_finds_out_what_an_endpoint_takes() {
    let world = World::new();
    let cached = |cached_tokens| Turn::message("yes").with_usage(Usage { input_tokens: 2000, cached_tokens, ..Usage::default() });
    let turns = [
        Turn::message("hello"),
        Turn::items([ScriptItem::reasoning("hm"), ScriptItem::call("note", r#"{"text":"portcullis"}"#)]),
        Turn::message("noted"),
        cached(0),
        cached(1920),
        Turn::message("hello"),
        Turn::items([ScriptItem::Raw(json!({"type": "compaction", "id": "c", "encrypted_content": "x"}))]),
    ];
    let (code, report) = doctor(&world, &ScriptedModel::start(Script::new(turns).over_websocket()).unwrap());
    assert_eq!((code, &report["usable"], &report["requests"]), (Some(0), &json!(true), &json!(7)), "{report:#}");
    for what in [
        "answers",
        "calls tools",
        "takes the output of a call",
        "counts tokens",
        "caches what it has seen",
        "offers a WebSocket",
        "compacts conversations itself",
    ] {
        assert!(works(&report, what), "{what}");
    }
    assert_eq!(lines(&report), ["transport = \"websocket\"", "compaction = \"call\""]);
}

#[test]
fn the_doctor_names_what_is_in_the_way() {
    let world = World::new();
    // One that refuses a field it does not know.
    let refuses = || Turn::message("").with_fault(Fault::status(400, "unknown_parameter", "unknown field"));
    let turns = [refuses(), refuses(), Turn::message("hello"), Turn::message("I call nothing"), Turn::message("yes"), Turn::message("yes")];
    let (code, report) = doctor(&world, &start(turns));
    assert_eq!(code, Some(5), "{report:#}");
    assert!(works(&report, "answers") && !works(&report, "calls tools") && !works(&report, "offers a WebSocket"));
    assert_eq!(lines(&report)[0], "cache_key = false");
    // One that wants a key.
    let (code, report) = doctor(&world, &start([Turn::message("").with_fault(Fault::status(401, "invalid_api_key", "no key"))]));
    assert_eq!((code, &report["usable"]), (Some(5), &json!(false)));
    assert!(report.to_string().contains("no key"));
}

#[test]
fn privacy_says_what_is_contacted_and_a_traced_run_contacts_nothing_else() {
    let world = World::new();
    let model = start([one(shell("echo x > ran")), Turn::message("fine")]);
    settings(&world, &model, "model = \"m\"\nkey_env = \"MY_KEY\"\n");
    let ended = finish(world.command(&["privacy", "--json"]).env("MY_KEY", "sk-very-secret"));
    let privacy: Value = serde_json::from_str(&ended.stdout).unwrap();
    let contact = &privacy["contacts"][0];
    assert_eq!(
        (&contact["url"], &contact["key_variable"], &contact["key_is_set"]),
        (&json!(model.base_url()), &json!("MY_KEY"), &json!(true))
    );
    assert_eq!((privacy["contacts"].as_array().unwrap().len(), &contact["asks_to_store"]), (1, &json!(false)));
    assert!(!ended.stdout.contains("very-secret"));
    let text = finish(&mut world.command(&["privacy"])).stdout;
    assert!(text.contains("no telemetry") && text.contains("MY_KEY, which is not set"), "{text}");
    assert_eq!(model.requests().len(), 0);

    if super::support::can_trace() {
        let trace = world.path("trace");
        let mut traced = world.program("strace");
        traced.args(["-f", "-qq", "-e", "trace=connect,sendto", "-o"]).arg(&trace).arg(super::support::binary());
        traced.args(["exec", "--workspace"]).arg(world.workspace()).arg("Do it.");
        let ended = finish(&mut traced);
        assert_eq!((ended.code(), world.read("ws/ran").as_str()), (Some(0), "x\n"), "{ended:?}");
        let calls = world.read("trace");
        let connects: Vec<&str> = calls.lines().filter(|line| line.contains("sa_family=AF_INET")).collect();
        let port = model.base_url().trim_end_matches("/v1").rsplit(':').next().unwrap().to_owned();
        assert!(!connects.is_empty());
        for line in connects {
            assert!(line.contains(&format!("htons({port})")) && line.contains("127.0.0.1"), "{line}");
        }
    } else {
        super::support::skip("privacy_says_what_is_contacted_and_a_traced_run_contacts_nothing_else", "strace cannot trace here");
    }
}
