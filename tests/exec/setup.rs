//! The prompt, the workspace, the policy and the key: what is wrong is said before anything is sent.

use std::fs;

use portcullis::model::scripted::Turn;
use serde_json::{Value, json};

use super::support::{Ended, Running, World, finish, finish_with_input, one, processes_with, shell, start, unique_sleep, wait_until};

const KEY: &str = "sk-test-5d1f7ac09b2e4c33";

fn prompt_of(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap();
    let last = body["input"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["role"], "user");
    last["content"][0]["text"].as_str().unwrap().to_owned()
}

#[test]
fn the_prompt_comes_from_the_argument_or_from_standard_input() {
    let text = "Do – \"this\"\nand that.";
    for (arguments, input) in [(vec![text], ""), (vec!["-"], text), (vec![], text), (vec!["--", "-"], text)] {
        let world = World::new();
        let model = start([]);
        let ended = finish_with_input(&mut world.exec(&model, &arguments), input);
        assert_eq!((ended.code(), ended.stdout.as_str()), (Some(0), "done\n"), "{arguments:?}: {ended:#?}");
        assert_eq!(prompt_of(&model.requests()[0].body), text, "{arguments:?}");
    }
}

#[test]
fn without_a_prompt_nothing_is_sent_and_the_command_line_is_to_blame() {
    let too_long = "x".repeat(1024 * 1024 + 1);
    for (arguments, input) in [(vec![], ""), (vec!["-"], " \n\t"), (vec![""], ""), (vec!["  "], "ignored"), (vec!["-"], too_long.as_str())]
    {
        let world = World::new();
        let model = start([]);
        let ended = finish_with_input(&mut world.exec(&model, &arguments), input);
        assert_eq!(ended.code(), Some(2), "{arguments:?}: {ended:#?}");
        assert!(ended.complaint().contains("prompt"), "{ended:#?}");
        assert!(model.requests().is_empty() && world.logs().is_empty());
    }
}

/// Runs `exec` with these arguments; nothing may be sent.
fn refused(world: &World, arguments: &[&str]) -> Ended {
    let model = start([]);
    let ended = finish(world.command(&["exec", "--provider-url", &model.base_url()]).args(arguments).arg("x"));
    assert_eq!(model.connections(), 0, "{ended:#?}");
    assert!(ended.stdout.is_empty(), "{ended:#?}");
    assert!(world.left_nothing_temporary());
    ended
}

#[test]
fn a_workspace_that_is_not_there_or_is_no_folder_is_named() {
    let world = World::new();
    world.write("ws/file", "");
    for wrong in ["nowhere", "file", "file/below"] {
        let ended = refused(&world, &["--workspace", wrong]);
        assert_eq!(ended.code(), Some(2), "{ended:#?}");
        assert!(ended.complaint().contains(&format!("the workspace {wrong} ")), "{ended:#?}");
    }
}

#[test]
fn an_error_in_a_policy_is_shown_with_its_place() {
    let world = World::new();
    let policy = world.policy("[network]\nmode = \"opne\"\n");
    let ended = refused(&world, &["--policy", &policy]);
    assert_eq!(ended.code(), Some(3), "{ended:#?}");
    for part in ["test.toml:6", "mode = \"opne\"", "^^^^^^", "open"] {
        assert!(ended.stderr.contains(part), "{part:?} is missing in\n{}", ended.stderr);
    }
    let at = |text: &str| ended.stderr.lines().find_map(|line| line.find(text)).unwrap();
    assert_eq!(at("^^^^^^"), at("\"opne\""), "the caret points beside the value:\n{}", ended.stderr);
}

#[test]
fn an_unknown_preset_is_answered_with_the_nearest_one() {
    let ended = refused(&World::new(), &["--policy", "workspace-wirte"]);
    // Nothing is wrong with a policy that was never found: the command line is to blame.
    assert_eq!(ended.code(), Some(2), "{ended:#?}");
    assert!(ended.stderr.contains("workspace-wirte") && ended.stderr.contains("workspace-write"), "{ended:#?}");
}

#[test]
fn without_a_key_nothing_is_sent_to_another_machine() {
    let world = World::new();
    for (url, key) in [("https://model.invalid/v1", None), ("http://model.invalid/v1", None), ("https://model.invalid/v1", Some("  "))] {
        let mut command = world.command(&["exec", "--provider-url", url, "--key-env", "SOME_KEY", "x"]);
        key.map(|key| command.env("SOME_KEY", key));
        let ended = finish(&mut command);
        assert_eq!(ended.code(), Some(2), "{ended:#?}");
        assert!(ended.complaint().contains("SOME_KEY") && ended.complaint().contains("--key-env"), "{ended:#?}");
        assert!(world.logs().is_empty());
    }
    let ended = finish(world.command(&["exec", "--provider-url", "http://model.invalid/v1", "x"]).env("OPENAI_API_KEY", KEY));
    assert_eq!(ended.code(), Some(2), "{ended:#?}");
    assert!(ended.complaint().contains("unencrypted") && !ended.stderr.contains(KEY), "{ended:#?}");
}

#[test]
fn the_key_reaches_the_authorization_header_and_nothing_else() {
    let world = World::new();
    let mark = unique_sleep();
    let look = "env; echo; cat /proc/*/environ /proc/*/cmdline /proc/self/status 2>/dev/null | tr '\\0' '\\n'";
    let model = start([one(shell(look)), one(shell(&format!("sleep {mark}"))), Turn::message("done")]);
    // The other variables show that secrets of any name stay outside, also where nobody knows them as secrets.
    let mut command = world.exec(&model, &["--json", "--key-env", "MY_KEY", "x"]);
    let running = Running::start(command.env("MY_KEY", KEY).env("AWS_SECRET_ACCESS_KEY", "aws-7e1c"), "");
    wait_until("the second call runs", || !processes_with(&format!("sleep\0{mark}")).is_empty());
    let inside: Vec<u32> = processes_with(&mark).into_iter().chain(processes_with("__launcher")).collect();
    for pid in inside {
        for file in ["environ", "cmdline"] {
            // What another user's process holds cannot be read, and is nobody's whom this test is about.
            let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&text).contains(KEY), "the {file} of process {pid} holds the key");
        }
    }
    let own = fs::read(format!("/proc/{}/cmdline", running.child.id())).unwrap();
    assert!(!String::from_utf8_lossy(&own).contains(KEY));
    running.signal(libc::SIGINT);
    let ended = running.end();
    assert_eq!(ended.code(), Some(130), "{ended:#?}");

    let requests = model.requests();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert_eq!(request.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
        assert!(!String::from_utf8_lossy(&request.body).contains(KEY));
    }
    let (_, seen) = &requests[1].outputs()[0];
    assert!(seen.contains("HOME=") && seen.contains("TMPDIR=/tmp"), "{seen}");
    // The redactor would have hidden it; it must not even have been there.
    for secret in [KEY, "[redacted]", "MY_KEY", "AWS_SECRET", "aws-7e1c", "PORTCULLIS_HOME"] {
        assert!(!seen.replace(look, "").contains(secret), "{secret} is in the sandbox: {seen}");
    }
    assert!(!ended.stdout.contains(KEY) && !ended.stderr.contains(KEY));
    assert!(!fs::read_to_string(&world.logs()[0]).unwrap().contains(KEY));
}

#[test]
fn a_key_that_a_program_prints_is_redacted_everywhere() {
    let world = World::new();
    world.write("ws/.config-with-key", format!("token={KEY}\n"));
    let model = start([one(shell("cat .config-with-key")), Turn::message("done")]);
    let ended = finish(world.exec(&model, &["--json", "x"]).env("OPENAI_API_KEY", KEY));
    assert_eq!(ended.code(), Some(0), "{ended:#?}");
    assert!(model.requests()[1].outputs()[0].1.contains("token=[redacted]"), "{:?}", model.requests()[1].outputs());
    assert!(!ended.stdout.contains(KEY) && !fs::read_to_string(&world.logs()[0]).unwrap().contains(KEY));
}

#[test]
fn a_local_model_needs_no_key() {
    let world = World::new();
    let played = world.play([]).well();
    assert_eq!(played.requests[0].header("authorization"), None);
    assert_eq!(played.ended.events_of("message")[0]["text"], json!("done"));
}
