//! The jobs of the examples for GitHub Actions and GitLab, step by step, as a runner runs them.

use std::fs;

use portcullis::model::scripted::Turn;
use serde_json::Value;

use super::{
    collector::Sink,
    schemas::{GITHUB, GITLAB},
    site::{Site, TASK},
    support::{World, finish, one, shell, start},
};

/// The only part that needs the network and another machine: it names the files that `.packaging/build` makes of this version.
fn is_installation(script: &str) -> bool {
    let version = env!("CARGO_PKG_VERSION");
    let names = [format!("/releases/download/v{version}"), format!("/portcullis_{version}-1_amd64.deb"), "/SHA256SUMS".to_owned()];
    script.contains("dpkg --install") && names.iter().all(|name| script.contains(name))
}

/// What came of a job, and where its log went.
fn came_of_it(site: &Site, results: &str, sink: &Sink) {
    site.worked(TASK, "mark");
    let read = |name: &str| fs::read_to_string(site.world.path(results).join(name)).unwrap();
    let events: Vec<Value> = read("events.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.last().unwrap()["type"], "turn.finished", "{events:?}");
    assert!(events.iter().any(|event| event["type"] == "session.started" && event["policy"] == "ci"), "{events:?}");
    assert!(read("agent.patch").contains("\n+mark\n"), "{}", read("agent.patch"));
    assert!(read("report.html").contains("<html"), "{}", read("report.html"));
    let (logs, traces) = (sink.taken("/v1/logs").concat(), sink.taken("/v1/traces").concat());
    assert!(logs.contains("call_intent") && traces.contains("execute_tool shell"), "{logs}\n{traces}");
}

#[test]
fn the_steps_of_the_github_workflow_confine_an_agent_and_hand_over_what_it_did() {
    let (site, sink) = (Site::new("mark"), Sink::new());
    let workflow: Value = serde_saphyr::from_str(GITHUB).unwrap();
    let job = &workflow["jobs"]["agent"];
    assert_eq!(workflow["permissions"], serde_json::json!({"contents": "read"}));
    let value = |expression: &str| match expression {
        "${{ secrets.OPENAI_API_KEY }}" => "test-key".to_owned(),
        "${{ matrix.task }}" => TASK.to_owned(),
        "${{ vars.OTLP_ENDPOINT }}" => sink.url.clone(),
        "${{ secrets.OTLP_HEADERS }}" => "x-tenant=agents".to_owned(),
        other => panic!("{other} is not known here"),
    };
    let (mut installed, mut ran) = (0, 0);
    for step in job["steps"].as_array().unwrap() {
        let Some(script) = step["run"].as_str() else { continue };
        // What an event holds is never part of a script's text.
        assert!(!script.contains("${{"), "{script}");
        if is_installation(script) {
            installed += 1;
            continue;
        }
        let mut command = site.program("bash");
        // As a runner starts the default shell.
        command.args(["-e", "-c", script]).env_remove("OPENAI_API_KEY").env("RUNNER_TEMP", site.world.path("results"));
        for (name, expression) in step["env"].as_object().into_iter().flatten() {
            command.env(name, value(expression.as_str().unwrap()));
        }
        let ended = finish(&mut command);
        assert_eq!(ended.code(), Some(0), "{script}\n{ended:#?}");
        ran += 1;
    }
    assert_eq!((installed, ran), (1, 4));
    came_of_it(&site, "results", &sink);
}

#[test]
fn the_job_for_gitlab_confines_an_agent_and_hands_over_what_it_did() {
    let (site, sink) = (Site::new("mark"), Sink::new());
    let file: Value = serde_saphyr::from_str(GITLAB).unwrap();
    let job = &file["agent"];
    let script = |part: &str| job[part].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join("\n");
    assert!(is_installation(&script("before_script")));
    // The agent leaves something under the name of the artifacts: it has to go, and what it leads to has to stay.
    std::os::unix::fs::symlink(site.world.path("home"), site.workspace().join("agent-results")).unwrap();
    for part in ["script", "after_script"] {
        let mut command = site.program("bash");
        command.args(["-e", "-o", "pipefail", "-c", &script(part)]).env("RESULTS", site.world.path("results"));
        command.env("TASK", TASK).env("OTLP_ENDPOINT", &sink.url);
        let ended = finish(&mut command);
        assert_eq!(ended.code(), Some(0), "{part}\n{ended:#?}");
    }
    came_of_it(&site, "results", &sink);
    came_of_it(&site, "ws/agent-results", &sink);
    assert!(!site.world.path("home/results").exists() && !site.world.path("home/agent.patch").exists());
}

#[test]
fn what_the_policy_would_ask_about_is_refused_and_the_log_says_so() {
    let (world, model) = (World::new(), start([one(shell("git push origin main")), Turn::message("Done.")]));
    let ended = finish(world.exec(&model, &["--policy", "ci", "--json"]).arg("--").arg(TASK));
    assert_eq!(ended.events_of("call.finished")[0]["status"], "refused", "{ended:#?}");
    let shown = finish(&mut world.command(&["audit", "show", "last", "--denied"])).stdout;
    assert!(shown.contains("git push") && shown.contains("asks nobody"), "{shown}");
}
