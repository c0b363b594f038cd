//! A world of its own for each test (workspace, home, state, temporary folder), the program run in it, and what is left afterwards.

use std::{
    fs,
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use portcullis::model::scripted::{RecordedRequest, Script, ScriptItem, ScriptedModel, Turn};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than anything takes on a busy machine; a run that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program under test.
pub fn binary() -> PathBuf {
    std::env::var_os("PORTCULLIS_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_portcullis")), PathBuf::from)
}

/// Says why a test does not run here.
pub fn skip(name: &str, reason: &str) {
    // Not by `eprintln`, which the test harness keeps to itself.
    std::io::stderr().write_all(format!("SKIP {name}: {reason}\n").as_bytes()).unwrap();
}

/// Whether namespaces of one's own can be made with unshare(1); the flags are passed on.
pub fn can_unshare(flags: &str) -> bool {
    let tried = Command::new("unshare").args([flags, "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

/// Whether system calls can be traced.
pub fn can_trace() -> bool {
    let tried = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).stdin(Stdio::null()).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

/// The folders of one test.
pub struct World {
    root: TempDir,
}

impl World {
    pub fn new() -> Self {
        let world = Self { root: tempfile::Builder::new().prefix("exec-test-").tempdir().unwrap() };
        for folder in ["ws", "home/.ssh", "tmp"] {
            fs::create_dir_all(world.path(folder)).unwrap();
        }
        world
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        fs::canonicalize(self.root.path()).unwrap().join(relative)
    }

    pub fn workspace(&self) -> PathBuf {
        self.path("ws")
    }

    /// Writes a file below the root, with the folders that it needs.
    pub fn write(&self, relative: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub fn read(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).unwrap()
    }

    /// A policy file that extends `workspace-write`; outside of the workspace.
    pub fn policy(&self, text: &str) -> String {
        let text = format!("schema = 1\nname = \"test\"\nextends = \"workspace-write\"\nwhy = \"A test.\"\n{text}");
        self.write("policy/test.toml", text).display().to_string()
    }

    /// Any program in the world's environment, which holds nothing else.
    pub fn program(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(self.workspace()).stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()));
        command.env("HOME", self.path("home")).env("PORTCULLIS_HOME", self.path("state")).env("TMPDIR", self.path("tmp"));
        command.env("LANG", "C.UTF-8");
        command
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(binary());
        command.args(arguments);
        command
    }

    /// `portcullis exec` in the workspace with a scripted model.
    pub fn exec(&self, model: &ScriptedModel, arguments: &[&str]) -> Command {
        let mut command = self.command(&["exec", "--model", "scripted", "--provider-url", &model.base_url()]);
        command.arg("--workspace").arg(self.workspace()).args(arguments);
        command
    }

    /// Runs a task with `--json` against turns; after them the model says "done".
    pub fn play(&self, turns: impl IntoIterator<Item = Turn>) -> Played {
        self.play_with(&[], turns)
    }

    pub fn play_with(&self, arguments: &[&str], turns: impl IntoIterator<Item = Turn>) -> Played {
        let model = start(turns);
        let mut command = self.exec(&model, &["--json"]);
        let ended = finish(command.args(arguments).arg("Do it."));
        Played { ended, requests: model.requests(), connections: model.connections() }
    }

    /// The same without the log of what was played before, so that there is one.
    pub fn play_after_log(&self, turns: impl IntoIterator<Item = Turn>) -> Played {
        let _ = fs::remove_dir_all(self.path("state/log"));
        self.play(turns)
    }

    /// The logs, one for each session.
    pub fn logs(&self) -> Vec<PathBuf> {
        let all = fs::read_dir(self.path("state/log")).into_iter().flatten().map(|entry| entry.unwrap().path());
        all.filter(|path| !path.ends_with("ledger.jsonl")).collect()
    }

    /// The records of the only session. Each line has to be whole, numbered, and of the one session.
    pub fn records(&self) -> Vec<Value> {
        let logs = self.logs();
        assert_eq!(logs.len(), 1, "{logs:?}");
        records_of(&logs[0])
    }

    /// Places in the log of the intent and the outcome of a call.
    pub fn span(&self, call: &str) -> (usize, usize) {
        let records = self.records();
        let place = |event: &str| {
            let mut found = records.iter().enumerate().filter(|(_, record)| record["event"] == event && record["call"] == call);
            let place = found.next().unwrap_or_else(|| panic!("no {event} of {call} in {records:#?}")).0;
            assert!(found.next().is_none(), "{event} of {call} stands twice in {records:#?}");
            place
        };
        (place("call_intent"), place("call_outcome"))
    }

    /// The workspace as sorted lines of path, kind and content.
    pub fn tree(&self) -> Vec<String> {
        fn walk(folder: &Path, root: &Path, lines: &mut Vec<String>) {
            // A placeholder can go while this looks.
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let Ok(kind) = fs::symlink_metadata(&path).map(|metadata| metadata.file_type()) else { continue };
                let shown = path.strip_prefix(root).unwrap().display().to_string();
                if kind.is_dir() {
                    lines.push(format!("{shown}/"));
                    walk(&path, root, lines);
                } else if kind.is_symlink() {
                    lines.push(format!("{shown} -> {}", fs::read_link(&path).unwrap().display()));
                } else {
                    lines.push(format!("{shown}: {:?}", String::from_utf8_lossy(&fs::read(&path).unwrap_or_default())));
                }
            }
        }
        let mut lines = Vec::new();
        walk(&self.workspace(), &self.workspace(), &mut lines);
        lines.sort();
        lines
    }

    /// Whether the session's private folder is gone.
    pub fn left_nothing_temporary(&self) -> bool {
        fs::read_dir(self.path("tmp")).unwrap().next().is_none()
    }
}

pub fn records_of(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is not whole: {text}");
    let records: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    for (number, record) in records.iter().enumerate() {
        assert_eq!((&record["v"], &record["seq"]), (&json!(portcullis::audit::SCHEMA), &json!(number)), "{record}");
        assert_eq!(record["session"].as_str(), log.file_stem().and_then(|stem| stem.to_str()), "{record}");
    }
    // What the log says of itself, and of the policy, has tests of its own.
    records.into_iter().filter(|record| !matches!(record["event"].as_str(), Some("log_opened" | "checkpoint" | "policy"))).collect()
}

/// A scripted model with these turns.
pub fn start(turns: impl IntoIterator<Item = Turn>) -> ScriptedModel {
    ScriptedModel::start(Script::new(turns)).unwrap()
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// The exit code; none if a signal ended it.
    pub fn code(&self) -> Option<i32> {
        assert!(self.status.signal().is_none(), "{self:#?}");
        self.status.code()
    }

    /// The events of `--json`.
    pub fn events(&self) -> Vec<Value> {
        let line = |line: &str| -> Value { serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")) };
        self.stdout.lines().map(line).collect()
    }

    pub fn events_of(&self, kind: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["type"] == kind).collect()
    }

    /// The one line that says what went wrong.
    pub fn complaint(&self) -> &str {
        let mut lines = self.stderr.lines().filter(|line| line.starts_with("portcullis: "));
        let complaint = lines.next().unwrap_or_else(|| panic!("no complaint: {self:#?}"));
        assert!(lines.next().is_none(), "more than one complaint: {self:#?}");
        complaint
    }
}

/// A run against a script.
#[derive(Debug)]
pub struct Played {
    pub ended: Ended,
    pub requests: Vec<RecordedRequest>,
    pub connections: usize,
}

impl Played {
    /// The run, which has to have ended with an answer.
    pub fn well(self) -> Self {
        assert_eq!(self.ended.code(), Some(0), "{:#?}", self.ended);
        self
    }

    /// The outputs of all calls, in the order in which the model was given them.
    pub fn outputs(&self) -> Vec<String> {
        self.requests.last().map(RecordedRequest::outputs).unwrap_or_default().into_iter().map(|(_, output)| output).collect()
    }

    /// The only call's output.
    pub fn output(&self) -> String {
        let outputs = self.outputs();
        assert_eq!(outputs.len(), 1, "{outputs:?}");
        outputs.into_iter().next().unwrap()
    }

    pub fn bodies(&self) -> Vec<String> {
        self.requests.iter().map(|request| String::from_utf8(request.body.clone()).unwrap()).collect()
    }

    /// The denials of a call, from its event.
    pub fn denials(&self, call: &str) -> Vec<Value> {
        let finished = self.ended.events_of("call.finished");
        let event = finished.iter().find(|event| event["call"] == call).unwrap_or_else(|| panic!("{finished:#?}"));
        event["denials"].as_array().unwrap().clone()
    }
}

/// Runs a command to its end and collects what it says.
pub fn finish(command: &mut Command) -> Ended {
    Running::start(command, "").end()
}

pub fn finish_with_input(command: &mut Command, input: &str) -> Ended {
    command.stdin(Stdio::piped());
    Running::start(command, input).end()
}

/// A run under way.
pub struct Running {
    pub child: Child,
    stdout: Option<thread::JoinHandle<String>>,
    stderr: thread::JoinHandle<String>,
}

impl Running {
    /// Starts with standard error piped, and standard output too, unless the command was given another.
    pub fn start(command: &mut Command, input: &str) -> Self {
        Self::start_to(command.stdout(Stdio::piped()), input)
    }

    /// Starts with standard output where the command sends it.
    pub fn start_to(command: &mut Command, input: &str) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        if let Some(mut stdin) = child.stdin.take() {
            // A program that refuses its arguments need not read.
            let _ = stdin.write_all(input.as_bytes());
        }
        let stdout = child.stdout.take().map(read_all);
        let stderr = read_all(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    pub fn signal(&self, signal: i32) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::try_from(signal).unwrap()).unwrap();
    }

    pub fn end(self) -> Ended {
        self.end_within(PATIENCE)
    }

    /// The same for what takes its time without hanging.
    pub fn end_within(mut self, patience: Duration) -> Ended {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > patience {
                self.child.kill().unwrap();
                panic!("it hangs; it said: {}", self.stderr.join().unwrap());
            }
            thread::sleep(Duration::from_millis(5));
        };
        let stdout = self.stdout.map(|thread| thread.join().unwrap()).unwrap_or_default();
        Ended { status, stdout, stderr: self.stderr.join().unwrap() }
    }
}

fn read_all(mut stream: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).expect("the program writes UTF-8")
    })
}

/// Waits until something holds; panics when it never does.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A length of sleep that no other process on this machine sleeps: about an hour.
pub fn unique_sleep() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("36{:02}.{}", COUNT.fetch_add(1, Ordering::Relaxed), std::process::id())
}

/// The processes on this machine with this text among their arguments.
pub fn processes_with(mark: &str) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let has = |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(mark));
    pids.filter(has).collect()
}

/// Waits until no process has this text among its arguments.
pub fn assert_none_left(mark: &str) {
    wait_until(&format!("no process with {mark} is left"), || processes_with(mark).is_empty());
}

pub fn call(name: &str, arguments: Value) -> ScriptItem {
    ScriptItem::call(name, &arguments.to_string())
}

pub fn shell(command: &str) -> ScriptItem {
    call("shell", json!({"command": command, "workdir": null, "timeout_ms": null}))
}

pub fn read_file(path: &str) -> ScriptItem {
    call("read_file", json!({"path": path, "offset": null, "limit": null}))
}

pub fn search(pattern: &str) -> ScriptItem {
    call("search", json!({"pattern": pattern, "path": null, "glob": null, "case_insensitive": null, "context": null, "files_only": null}))
}

pub fn apply_patch(body: &str) -> ScriptItem {
    call("apply_patch", json!({"patch": format!("*** Begin Patch\n{body}*** End Patch\n")}))
}

pub fn one(item: ScriptItem) -> Turn {
    Turn::items([item])
}
