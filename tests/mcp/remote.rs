//! Servers that are reached over HTTP: a real socket, a server that means harm behind it, what reaches it and what does not. The proofs are the
//! requests that the server's side has seen.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    guests::{ALLOW, approve, hash, review, tool},
    support::{Ended, Played, World, finish, one},
};

const SERVER: &str = include_str!("remote.py");

/// A server that runs outside of every sandbox, as somebody else's does.
struct Remote {
    child: Child,
    port: u16,
}

impl Remote {
    fn start(world: &World, mode: &str) -> Self {
        Self::start_with(world, mode, &[])
    }

    fn start_with(world: &World, mode: &str, more: &[&str]) -> Self {
        let mut command = Command::new("/usr/bin/python3");
        command.arg("-c").arg(SERVER).arg(world.path("seen")).arg(mode).args(more);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, port: line.trim().parse().unwrap() }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the server's side has seen.
fn seen(world: &World) -> Vec<Value> {
    let text = fs::read_to_string(world.path("seen")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn add(world: &World, url: &str, settings: &str) {
    let added = finish(&mut world.command(&["mcp", "add", "h", "--url", url]));
    assert_eq!(added.code(), Some(0), "{added:#?}");
    let text = world.read("state/mcp.toml") + settings;
    world.write("state/mcp.toml", text);
}

/// A world with an approved remote server.
fn with_server(mode: &str, settings: &str) -> (World, Remote) {
    let world = World::new();
    let remote = Remote::start(&world, mode);
    add(&world, &remote.url(), settings);
    approve(&world, "h");
    (world, remote)
}

#[test]
fn a_server_over_http_is_reviewed_and_called_through_the_proxy_and_every_connection_is_on_record() {
    let (world, remote) = with_server("plain", ALLOW);
    let shown = review(&world, "h").stdout;
    let host = format!("127.0.0.1:{}", remote.port);
    for part in [
        &format!("address      {}", remote.url()),
        "without encryption",
        "policy       mcp-remote",
        "write  nothing",
        &format!("reach  {host}"),
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let played = world.play([one(tool("echo", json!({"text": "hello"})))]).well();
    assert_eq!(played.output(), "echo: hello");
    let calls: Vec<Value> = seen(&world).into_iter().filter(|request| request["body"]["method"] == "tools/call").collect();
    assert_eq!(calls.len(), 1, "{calls:#?}");
    let records = world.records();
    let connection = records.iter().find(|record| record["event"] == "connection").unwrap_or_else(|| panic!("{records:#?}"));
    assert_eq!((&connection["target"], &connection["address"]), (&json!(host), &json!("127.0.0.1")), "{connection}");
    assert!(connection["rule"].as_str().unwrap_or_default().contains("mcp.toml"), "{connection}");
    let (_, outcome) = world.span("call_0_0");
    assert!(records[outcome]["applied"]["landlock_abi"].as_u64().unwrap() > 0, "{records:#?}");
    assert!(world.left_nothing_temporary());
}

#[test]
fn secrets_go_to_the_server_by_the_name_of_their_variable_and_nowhere_else() {
    let world = World::new();
    let remote = Remote::start(&world, "unauthorized");
    add(&world, &remote.url(), &format!("bearer = \"H_TOKEN\"\nheaders = {{ X-Team = \"H_TEAM\" }}\n{ALLOW}"));
    let with = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        command.env("H_TOKEN", "the-right-token").env("H_TEAM", "the-team-3dba1c").env("H_OTHER", "another-secret-77aa");
        command
    };
    // Without the variables there is nothing to send, and nothing is sent.
    let without = finish(&mut world.command(&["mcp", "review", "h"]));
    assert!(without.code() != Some(0) && without.stderr.contains("H_TOKEN is not set"), "{without:#?}");
    assert!(seen(&world).is_empty());
    let shown = finish(&mut with(&["mcp", "review", "h"]));
    assert!(shown.stdout.contains("header       Authorization: Bearer $H_TOKEN") && shown.stdout.contains("X-Team: $H_TEAM"), "{shown:#?}");
    let approved = finish(&mut with(&["mcp", "review", "h", "--yes", "--expect", &hash(&shown)]));
    assert_eq!(approved.code(), Some(0), "{approved:#?}");
    let model = super::support::start([one(tool("echo", json!({"text": "it says the-right-token"})))]);
    let mut command = world.exec(&model, &["--json", "Do it."]);
    command.env("H_TOKEN", "the-right-token").env("H_TEAM", "the-team-3dba1c").env("H_OTHER", "another-secret-77aa");
    let played = Played { ended: finish(&mut command), requests: model.requests(), connections: model.connections() }.well();
    assert_eq!(played.output(), "echo: it says [redacted]");
    let seen = seen(&world);
    let all = json!(seen).to_string();
    assert!(seen.iter().all(|request| request["headers"]["x-team"] == "the-team-3dba1c"), "{all}");
    assert!(!all.contains("another-secret-77aa") && !all.contains("/ws"), "{all}");
    let kept: String = world.logs().iter().map(|log| fs::read_to_string(log).unwrap()).collect();
    for text in [&kept, &played.bodies().concat(), &world.read("state/mcp.lock"), &shown.stdout] {
        assert!(!text.contains("the-right-token") || text.contains("it says the-right-token"), "{text}");
        assert!(!text.contains("the-team-3dba1c"), "{text}");
    }
}

#[test]
fn a_server_that_sends_elsewhere_is_not_followed() {
    // Somebody listens there, and is to hear nothing.
    let elsewhere = TcpListener::bind("127.0.0.2:9").or_else(|_| TcpListener::bind("127.0.0.2:0")).unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let world = World::new();
    let remote = Remote::start(&world, "elsewhere");
    add(&world, &remote.url(), ALLOW);
    let refused = review(&world, "h");
    assert!(refused.code() != Some(0) && refused.stderr.contains("did not start"), "{refused:#?}");
    let (world, _remote) = with_server("plain", ALLOW);
    let played = world.play([one(tool("redirect", json!({}))), one(tool("echo", json!({"text": "and then"})))]).well();
    assert!(played.outputs()[0].starts_with("Error"), "{:?}", played.outputs());
    assert_eq!(played.outputs()[1], "echo: and then");
    assert!(elsewhere.accept().is_err(), "somebody came");
}

#[test]
fn whatever_a_server_over_http_answers_the_call_ends_and_the_next_one_works() {
    let (world, _remote) = with_server("plain", &format!("timeout = \"3s\"\n{ALLOW}"));
    for (name, because) in
        [("flood", "Error"), ("refuse", "HTTP 500"), ("rubbish", "Error"), ("hang", "did not answer within 3 s"), ("endless", "Error")]
    {
        let _ = fs::remove_dir_all(world.path("state/log"));
        let begun = Instant::now();
        let played = world.play([one(tool(name, json!({}))), one(tool("echo", json!({"text": "alive"})))]).well();
        let outputs = played.outputs();
        assert!(outputs[0].starts_with("Error") && outputs[0].contains(because), "{name}: {outputs:?}");
        assert!(outputs[0].len() < 20_000, "{name}: {}", outputs[0].len());
        assert_eq!(outputs[1], "echo: alive", "{name}");
        assert!(begun.elapsed() < Duration::from_secs(60), "{name}: {:?}", begun.elapsed());
    }
    // A server that is gone is one whose calls fail, with the reason.
    let played = world.play_after_log([one(tool("die", json!({}))), one(tool("echo", json!({"text": "x"})))]);
    assert!(played.outputs().iter().all(|output| output.starts_with("Error")), "{:?}", played.outputs());
}

#[test]
fn a_deny_of_the_policy_holds_against_the_address_and_names_its_rule() {
    let (world, remote) = with_server("plain", ALLOW);
    let before = seen(&world).len();
    let policy = "schema = 1\nname = \"shut\"\nextends = \"mcp-remote\"\nwhy = \"A test.\"\n[network]\nmode = \"allowlist\"\nallow = []\n";
    let policy = format!("{policy}deny = [\"127.0.0.1:{}\"]\n", remote.port);
    world.write("state/shut.toml", policy);
    let text = world.read("state/mcp.toml").replace("[server.h]\n", "[server.h]\npolicy = \"./shut.toml\"\n");
    world.write("state/mcp.toml", text);
    let refused = review(&world, "h");
    assert!(refused.code() != Some(0) && refused.stderr.contains("shut.toml"), "{refused:#?}");
    assert_eq!(seen(&world).len(), before, "the server was reached");
    // One without a list of hosts is no policy for it.
    for (mode, because) in [("open", "open network"), ("none", "")] {
        let text = format!("schema = 1\nname = \"m\"\nextends = \"mcp-server\"\nwhy = \"A test.\"\n[network]\nmode = \"{mode}\"\n");
        world.write("state/shut.toml", text);
        let tried = review(&world, "h");
        assert_eq!(tried.stderr.contains("open network"), !because.is_empty(), "{mode}: {tried:#?}");
    }
}

#[test]
fn another_address_is_used_only_after_a_review() {
    let (world, remote) = with_server("plain", ALLOW);
    let other = World::new();
    let second = Remote::start(&other, "plain");
    let text = world.read("state/mcp.toml").replace(&remote.url(), &second.url());
    world.write("state/mcp.toml", text);
    let played = world.play([one(tool("echo", json!({"text": "hello"})))]);
    assert!(played.ended.stderr.contains("its address, or what is sent there, is not what was approved"), "{:#?}", played.ended);
    assert!(seen(&other).is_empty(), "{:?}", seen(&other));
    approve(&world, "h");
    let played = world.play_after_log([one(tool("echo", json!({"text": "hello"})))]).well();
    assert_eq!(played.output(), "echo: hello");
    assert!(!seen(&other).is_empty());
}

#[test]
fn an_encrypted_server_is_held_to_its_certificate() {
    let world = World::new();
    let pair = world.path("pair.pem");
    let made = finish(
        Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=h",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ])
            .arg("-keyout")
            .arg(world.path("key.pem"))
            .arg("-out")
            .arg(world.path("cert.pem")),
    );
    assert!(made.status.success(), "{made:#?}");
    fs::write(&pair, world.read("key.pem") + &world.read("cert.pem")).unwrap();
    let remote = Remote::start_with(&world, "plain", &[pair.to_str().unwrap()]);
    let url = remote.url().replace("http:", "https:");
    add(&world, &url, ALLOW);
    // Nobody who is trusted has signed it.
    let refused = review(&world, "h");
    assert!(refused.code() != Some(0) && refused.stderr.contains("certificate"), "{refused:#?}");
    assert!(seen(&world).is_empty());
    let certificate = world.path("cert.pem").display().to_string();
    let text = world
        .read("state/mcp.toml")
        .replace("[server.h]\n", &format!("[server.h]\nenv = [\"SSL_CERT_FILE\"]\nread = [\"{certificate}\"]\n"));
    world.write("state/mcp.toml", text);
    let with = |arguments: &[&str]| -> Ended { finish(world.command(arguments).env("SSL_CERT_FILE", &certificate)) };
    let shown = with(&["mcp", "review", "h"]);
    assert!(shown.stdout.contains("tool         echo") && !shown.stdout.contains("without encryption"), "{shown:#?}");
}
