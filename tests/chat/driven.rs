//! A session in a terminal that a test types into and reads.

use std::{
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use portcullis::model::scripted::{RecordedRequest, Script, ScriptedModel, Turn};
use serde_json::Value;

use crate::support::{Host, installed, program, skip};

/// Longer than anything that is waited for takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);
/// What the shell says when the session has ended, before the exit code.
const ENDED: &str = "SESSION-ENDED";

/// See the module.
pub struct Driven {
    pub host: Host,
    pub model: ScriptedModel,
    tmux: PathBuf,
}

/// How a session is begun.
pub struct Setting {
    pub host: Host,
    pub size: (u16, u16),
    pub arguments: Vec<String>,
    pub environment: Vec<(&'static str, String)>,
    pub trusts: bool,
    pub websocket: bool,
}

impl Setting {
    pub fn new() -> Self {
        Self { host: Host::new(), size: (80, 24), arguments: Vec::new(), environment: Vec::new(), trusts: true, websocket: false }
    }

    pub fn sized(mut self, columns: u16, rows: u16) -> Self {
        self.size = (columns, rows);
        self
    }

    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    pub fn environment(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// The model offers a WebSocket.
    pub fn over_websocket(mut self) -> Self {
        self.websocket = true;
        self.with(&["--transport", "websocket"])
    }

    /// The folder is as new to the person: nobody has said that it is trusted.
    pub fn untrusting(mut self) -> Self {
        self.trusts = false;
        self
    }

    /// Begins it; none, with the reason printed, where there is no tmux.
    pub fn begin(self, test: &str, turns: impl IntoIterator<Item = Turn>) -> Option<Driven> {
        if !installed("tmux") {
            skip(test, "tmux is not installed");
            return None;
        }
        let script = Script::new(turns);
        let script = if self.websocket { script.over_websocket() } else { script };
        let model = ScriptedModel::start(script).unwrap();
        let tmux = self.host.root.join("tmux.socket");
        let driven = Driven { host: self.host, model, tmux };
        driven.start(self.size, &self.arguments, &self.environment);
        if self.trusts {
            driven.wait("Do you trust this folder?");
            driven.press("y", "›");
        }
        Some(driven)
    }
}

impl Driven {
    fn start(&self, (columns, rows): (u16, u16), arguments: &[String], environment: &[(&str, String)]) {
        let quote = |text: &str| shlex::try_quote(text).unwrap().into_owned();
        let mut words = vec!["env".to_owned()];
        words.extend(environment.iter().map(|(name, value)| format!("{name}={value}")));
        words.push(program().display().to_string());
        words.extend(["--model", "scripted", "--provider-url", &self.model.base_url()].map(str::to_owned));
        words.extend(arguments.iter().cloned());
        let session = words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ");
        let script = format!(
            "cd {}; stty -a > ../before; {session}; echo {ENDED} $?; stty -a > ../after; exec sh",
            quote(&self.host.workspace.display().to_string())
        );
        let size = [columns.to_string(), rows.to_string()];
        let started = self.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &size[0], "-y", &size[1], &script]).status().unwrap();
        assert!(started.success());
    }

    /// Runs the program in the same terminal, with a subcommand or none.
    pub fn run(&self, arguments: &[&str]) {
        let url = self.model.base_url();
        let program = program().display().to_string();
        let words = [program.as_str()].into_iter().chain(arguments.iter().copied()).chain(["--model", "scripted", "--provider-url", &url]);
        self.line(&format!("clear; {}; echo {ENDED} $?", shlex::try_join(words).unwrap()));
        self.wait_until("a clear screen", |screen| !screen.contains("clear;") && !screen.contains(ENDED));
    }

    /// The processes that the session has started.
    pub fn children(&self) -> Vec<String> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid());
        std::fs::read_to_string(path).unwrap().split_whitespace().map(str::to_owned).collect()
    }

    fn tmux(&self, arguments: &[&str]) -> Command {
        let mut command = self.host.clean("tmux");
        command.env("SHELL", "/bin/sh").arg("-u").arg("-S").arg(&self.tmux).args(arguments);
        command
    }

    /// Presses keys, as tmux names them.
    pub fn keys(&self, keys: &[&str]) {
        let mut all = vec!["send-keys"];
        all.extend(keys);
        assert!(self.tmux(&all).status().unwrap().success());
    }

    /// Types a text, one key after another.
    pub fn text(&self, text: &str) {
        assert!(self.tmux(&["send-keys", "-l", "--", text]).status().unwrap().success());
    }

    /// Types a line.
    pub fn line(&self, text: &str) {
        self.text(text);
        self.keys(&["Enter"]);
    }

    /// Pastes a text as a terminal does it: bracketed, where the program has asked for that.
    pub fn paste(&self, text: &str) {
        assert!(self.tmux(&["set-buffer", "--", text]).status().unwrap().success());
        assert!(self.tmux(&["paste-buffer", "-p"]).status().unwrap().success());
    }

    /// Makes the terminal another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = [columns.to_string(), rows.to_string()];
        assert!(self.tmux(&["resize-window", "-x", &size[0], "-y", &size[1]]).status().unwrap().success());
    }

    /// What stands on the screen.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p"]).output().unwrap().stdout).into_owned()
    }

    /// What stands on the screen and went by above it, folded lines put together again.
    pub fn all(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p", "-J", "-S", "-"]).output().unwrap().stdout).into_owned()
    }

    /// The same with the escape sequences of colours.
    pub fn coloured(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p", "-e", "-S", "-"]).output().unwrap().stdout).into_owned()
    }

    /// Waits until the screen shows a text.
    #[track_caller]
    pub fn wait(&self, text: &str) -> String {
        self.wait_until(&format!("{text:?} on the screen"), |screen| screen.contains(text))
    }

    #[track_caller]
    pub fn wait_until(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if holds(&screen) {
                return screen;
            }
            assert!(Instant::now() < end, "{what} never came:\n{screen}");
            thread::sleep(Duration::from_millis(30));
        }
    }

    /// Waits until a turn has shown a text and is over.
    #[track_caller]
    pub fn turn(&self, text: &str) -> String {
        self.wait_until(&format!("{text:?} and a prompt"), |screen| {
            screen.contains(text) && screen.trim_end().lines().last().is_some_and(|last| last.trim_end() == "›")
        })
    }

    /// Presses a key, and again if it had no effect for long: a question takes no answer in its first moment, nor one that comes on another's heels.
    #[track_caller]
    pub fn press(&self, key: &str, effect: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            // A person reads before they press.
            thread::sleep(Duration::from_millis(800));
            self.keys(&[key]);
            let soon = Instant::now() + Duration::from_secs(8);
            while Instant::now() < soon {
                let screen = self.screen();
                if screen.contains(effect) {
                    return screen;
                }
                thread::sleep(Duration::from_millis(30));
            }
            assert!(Instant::now() < end, "{key} never led to {effect:?}:\n{}", self.screen());
        }
    }

    /// Waits until the session is over, and gives its exit code.
    #[track_caller]
    pub fn ended(&self) -> i32 {
        let screen = self.wait(ENDED);
        let line = screen.lines().rev().find(|line| line.starts_with(ENDED)).unwrap().to_owned();
        line.trim_start_matches(ENDED).trim().parse().unwrap_or_else(|_| panic!("no code:\n{screen}"))
    }

    /// Whether the terminal has the settings that it had before the session.
    #[track_caller]
    pub fn assert_terminal_as_before(&self) {
        self.line("echo settled");
        // The terminal echoes what is typed as soon as it comes; only the shell's own line says that what stood before it is done.
        self.wait_until("the shell's answer", |screen| screen.lines().any(|line| line.trim_end() == "settled"));
        let read = |name: &str| std::fs::read_to_string(self.host.root.join(name)).unwrap();
        assert_eq!(read("after"), read("before"));
        let modes = "#{alternate_on} #{cursor_flag} #{bracket_paste_flag}";
        let modes = self.tmux(&["display-message", "-p", modes]).output().unwrap().stdout;
        let modes = String::from_utf8_lossy(&modes).into_owned();
        // Older versions do not know the last one, and leave it empty.
        assert!(matches!(modes.trim(), "0 1" | "0 1 0"), "{modes}");
    }

    /// The process of the session, by its arguments.
    pub fn pid(&self) -> i32 {
        let url = self.model.base_url();
        let found = std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            let is = words.first().is_some_and(|word| word.ends_with(b"portcullis")) && words.contains(&url.as_bytes());
            is.then_some(pid)
        });
        found.expect("the session runs")
    }

    /// The requests that the model got.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.model.requests()
    }

    /// All records of all sessions, in order.
    pub fn records(&self) -> Vec<Value> {
        let mut logs: Vec<PathBuf> = std::fs::read_dir(self.host.state.join("log")).unwrap().map(|entry| entry.unwrap().path()).collect();
        logs.retain(|path| !path.ends_with("ledger.jsonl"));
        logs.sort();
        let text: String = logs.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The records of one kind.
    pub fn events(&self, event: &str) -> Vec<Value> {
        self.records().into_iter().filter(|record| record["event"] == event).collect()
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]).status();
    }
}

/// A turn in which the model runs a shell command.
pub fn shell(command: &str) -> Turn {
    Turn::call("shell", &serde_json::json!({ "command": command }).to_string())
}
