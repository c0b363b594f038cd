//! Hooks from end to end: the real program with a scripted model, hooks that are small shell scripts, and what they change, seen from outside.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "helpers of tests stand outside of the functions that clippy takes for tests, and have to start the program"
)]

#[path = "hooks/calls.rs"]
mod calls;
#[path = "hooks/command.rs"]
mod command;
#[path = "hooks/confined.rs"]
mod confined;
#[path = "hooks/failing.rs"]
mod failing;
#[path = "hooks/sessions.rs"]
mod sessions;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "exec/support.rs"]
mod support;

use std::{fs, net::TcpListener};

use portcullis::model::scripted::Turn;
use serde_json::Value;

use support::{Played, World, finish};

/// A world with hooks.
struct Hooked {
    world: World,
}

impl Hooked {
    fn new() -> Self {
        Self { world: World::new() }
    }

    /// Adds a hook that is a shell script in the person's home; `more` are lines of its table. The script finds what it is told in `$told`.
    fn hook(&self, on: &str, script: &str, more: &str) -> &Self {
        let number = self.text().matches("[[hook]]").count();
        let path = self.world.write(&format!("home/bin/hook-{number}"), format!("told=$(cat)\n{script}\n"));
        self.add(&format!("on = \"{on}\"\ncommand = [\"sh\", \"{}\"]\n{more}\n", path.display()))
    }

    /// Adds a hook as it is written.
    fn add(&self, table: &str) -> &Self {
        let before = if self.text().is_empty() { "schema = 1\n".to_owned() } else { self.text() };
        self.world.write("state/hooks.toml", format!("{before}[[hook]]\n{table}"));
        self
    }

    fn text(&self) -> String {
        fs::read_to_string(self.world.path("state/hooks.toml")).unwrap_or_default()
    }

    fn play(&self, turns: impl IntoIterator<Item = Turn>) -> Played {
        self.world.play(turns)
    }

    fn has(&self, file: &str) -> bool {
        self.world.workspace().join(file).exists()
    }

    /// The records of one kind, of the only session. Its log has to verify.
    fn records(&self, event: &str) -> Vec<Value> {
        let verified = finish(&mut self.world.command(&["audit", "verify"]));
        assert_eq!(verified.code(), Some(0), "{verified:#?}");
        self.world.records().into_iter().filter(|record| record["event"] == event).collect()
    }

    /// How each run of a hook ended and what it decided.
    fn runs(&self) -> Vec<(String, Option<String>)> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        self.records("hook").iter().map(|record| (text(&record["status"]).unwrap(), text(&record["decision"]))).collect()
    }
}

/// A listener of the host's, and whether anybody has connected.
struct Listener(TcpListener);

impl Listener {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    fn was_reached(&self) -> bool {
        self.0.accept().is_ok()
    }
}

const ALLOW: &str = r#"{"decision":"allow"}"#;
