//! `audit show`, `audit report` and `audit export`, on a log whose every text is hostile.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests may fail as tests do")]
#![allow(clippy::disallowed_methods, reason = "a test of the program starts the program")]

#[allow(dead_code, reason = "shared with suites that need more of it")]
mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};
use support::{eventually, program, skip};
use tempfile::TempDir;

const SESSION: &str = "01a21e82-a06c-774f-9e13-70f61d7a3e60";
/// Bytes of the longest argument.
const LONG: usize = 10 * 1024 * 1024;

/// What would happen if any of it were taken for markup, a control sequence, or a formula.
fn hostile(port: u16) -> String {
    format!(
        "</style></title></pre><script>document.title='OWNED';fetch('http://127.0.0.1:{port}/s')</script>\
         <img src='http://127.0.0.1:{port}/i' onerror=\"document.title='OWNED'\">\" onmouseover=alert(1) x=\"' autofocus onfocus='document.title=1' \
         <iframe src=http://127.0.0.1:{port}/f></iframe><meta http-equiv=refresh content=\"0;url=http://127.0.0.1:{port}/r\">\
         <link rel=stylesheet href=http://127.0.0.1:{port}/c>&lt;/x&gt;\u{1b}[2J\u{1b}]0;OWNED\u{7}\u{202e}\u{9b}31m\r\n{{\"event\":\"session_end\"}}"
    )
}

struct Place {
    state: TempDir,
}

impl Place {
    /// A state folder with one log.
    fn new(port: u16) -> Self {
        let state = tempfile::tempdir().unwrap();
        fs::create_dir(state.path().join("log")).unwrap();
        let log = state.path().join(format!("log/{SESSION}.jsonl"));
        let mut file = fs::File::create(log).unwrap();
        for (seq, (ms, event)) in events(&hostile(port)).into_iter().enumerate() {
            let mut record = json!({"v": 2, "seq": seq, "session": SESSION, "time": format!("2026-11-27T19:00:{:02}.{:03}Z", ms / 1000, ms % 1000),
                "monotonic_ns": ms * 1_000_000 + 7, "salt": "00"});
            record.as_object_mut().unwrap().extend(event.as_object().unwrap().clone());
            record["mac"] = json!("00");
            writeln!(file, "{record}").unwrap();
        }
        writeln!(file, "this is no record \u{1b}[2J").unwrap();
        writeln!(file, "{{\"v\":2,\"seq\":99,\"session\":\"{SESSION}\",\"time\":\"\",\"erased\":true,\"digest\":\"00\",\"mac\":\"00\"}}")
            .unwrap();
        write!(file, "{{\"v\":2,\"seq\":100,\"sess").unwrap();
        Self { state }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.program(&[&["audit"], arguments].concat())
    }

    fn program(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program());
        command.args(arguments).env_clear().env("HOME", self.state.path()).env("PORTCULLIS_HOME", self.state.path());
        command.env("PATH", "/usr/bin:/bin").current_dir(self.state.path()).stdin(Stdio::null()).output().unwrap()
    }

    fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn denial(resource: &str, rule: &str) -> Value {
    json!({"resource": resource, "access": "write", "layer": "landlock", "rule": rule, "certainty": "kernel", "grant": resource})
}

/// What happened at which millisecond.
fn events(evil: &str) -> Vec<(u64, Value)> {
    let applied = json!({"landlock_abi": 7, "seccomp_allowed": 287, "namespaces": ["user", "network"], "hidden": 7, "protected": 29,
        "process_limit": "cgroup", "memory_limit": "cgroup"});
    let mut all = vec![
        (
            0,
            json!({"event": "session_start", "version": evil, "uid": 1000, "pid": 7, "workspace": evil, "policy": evil, "fingerprint": evil,
            "sources": [[evil, evil]], "endpoint": evil, "model": evil}),
        ),
        (
            1,
            json!({"event": "policy", "fingerprint": "f0", "canonical": format!("portcullis policy 1\nnetwork.mode none\n{evil}"), "notes": [evil]}),
        ),
        (2, json!({"event": "granted", "grant": "aaaa1111", "permission": {"words": {"words": ["git", evil]}}, "scope": "repository"})),
        (3, json!({"event": "granted", "grant": "bbbb2222", "permission": {"wider": {"write": format!("/{evil}")}}, "scope": "user"})),
        (
            900,
            json!({"event": "question", "call": "q", "shown": "5a".repeat(32), "because": evil, "lasting": {"words": {"words": [evil]}}}),
        ),
        (3400, json!({"event": "answer", "call": "q", "answer": "once", "by": "person", "waited_ms": 2500, "text": evil})),
        (
            3401,
            json!({"event": "call_intent", "call": "q", "tool": "shell", "arguments": json!({"command": evil}).to_string(), "decision": "allow",
            "decided_by": "person", "rule": evil, "opaque": evil}),
        ),
        (
            4000,
            json!({"event": "call_outcome", "call": "q", "status": "ok", "exit_code": 0, "duration_ms": 599, "output_bytes": 9, "applied": applied,
            "denials": []}),
        ),
        (
            4001,
            json!({"event": "call_intent", "call": "g", "tool": "shell", "arguments": json!({"command": "git push"}).to_string(),
            "decision": "allow", "decided_by": "grant", "rule": "grant aaaa1111"}),
        ),
        (
            4500,
            json!({"event": "call_outcome", "call": "g", "status": "ok", "duration_ms": 499, "output_bytes": 9, "applied": applied, "denials": []}),
        ),
        (
            4600,
            json!({"event": "call_intent", "call": evil, "tool": evil, "arguments": "x".repeat(LONG), "decision": "refuse", "decided_by": "rule",
            "rule": evil}),
        ),
        (4601, json!({"event": "call_outcome", "call": evil, "status": "refused", "duration_ms": 0, "output_bytes": 0, "denials": []})),
        (4700, json!({"event": evil, "of": evil})),
    ];
    for at in 0..5_u64 {
        let call = format!("p{at}");
        let begin = 5000 + at * 700;
        all.push((begin, json!({"event": "call_intent", "call": call, "tool": "shell", "arguments": json!({"command": format!("tee /etc/{at}")}).to_string(),
            "decision": "allow", "decided_by": "policy"})));
        all.push((
            begin + 300,
            json!({"event": "call_outcome", "call": call, "status": "failed", "exit_code": 1, "duration_ms": 300, "output_bytes": 9,
            "applied": applied, "denials": [denial(&format!("/etc/{at}"), "policy.toml:7"), denial(evil, evil)]}),
        ));
    }
    all.push((
        9000,
        json!({"event": "turn_end", "outcome": "answered", "requests": 4, "input_tokens": 1000, "cached_tokens": 900, "output_tokens": 50}),
    ));
    all
}

/// Nothing in it acts on a terminal.
fn assert_inert(text: &str) {
    let acting = text.chars().find(|c| (c.is_control() && *c != '\n') || matches!(c, '\u{202e}' | '\u{2066}'));
    assert_eq!(acting, None, "{:?}", acting.map(|c| text.split(c).next().map(|before| before.len())));
}

#[test]
fn what_is_shown_is_inert_capped_and_counted() {
    let place = Place::new(9);
    let output = place.run(&["show"]);
    let (text, said) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success());
    assert_inert(&text);
    assert!(text.contains(&format!("({LONG} bytes in all)")) && text.len() < LONG / 10, "{}", text.len());
    assert!(text.contains("what record 99 said was taken out") && text.contains("it breaks off"), "{text}");
    assert!(said.contains("2 lines are no records"), "{said}");
    // A line that a text forges does not begin where records begin.
    assert!(text.lines().filter(|line| line.contains("{\"event\":\"session_end\"}")).all(|line| !line.starts_with("19:")));
}

#[test]
fn what_is_asked_for_is_shown_and_nothing_else() {
    let place = Place::new(9);
    let numbers = |arguments: &[&str]| -> Vec<u64> {
        let text = place.text(&[&["show", "--json"], arguments].concat());
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers(&["--path", "/etc/3"]), [19, 20]);
    assert_eq!(numbers(&["--decision", "refuse"]), [10, 11]);
    assert_eq!(numbers(&["--event", "question", "--event", "answer"]), [4, 5]);
    assert_eq!(numbers(&["--denied", "--since", "2026-11-27T19:00:07Z"]), [20, 22]);
    assert_eq!(numbers(&["--until", "2026-11-27T19:00:00.002Z"]), [0, 1, 2]);
    assert_eq!(numbers(&["--tool", "nothing"]), [] as [u64; 0]);
    assert_eq!(place.run(&["show", "0000000000"]).status.code(), Some(2));
    assert_eq!(place.run(&["show", "--since", "yesterday-ish"]).status.code(), Some(2));
}

#[test]
fn a_report_answers_what_an_auditor_asks() {
    let place = Place::new(9);
    let report: Value = serde_json::from_str(&place.text(&["report", "--json"])).unwrap();
    let session = &report["sessions"][0];
    assert_eq!(report["v"], 1);
    assert_eq!(session["calls"]["total"], 8);
    assert_eq!(session["counts"]["refused"], 1);
    assert_eq!(
        (&session["counts"]["unreadable"], &session["counts"]["erased"], &session["counts"]["unknown"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!(session["in_order"], false);
    let question = &session["calls"]["items"][0]["question"];
    assert_eq!((&question["by"], &question["waited_ms"], &question["shown"]), (&json!("person"), &json!(2500), &json!("5a".repeat(32))));
    let grants = session["grants"]["items"].as_array().unwrap();
    assert_eq!((&grants[0]["uses"], &grants[1]["uses"], &grants[1]["last_used"]), (&json!(1), &json!(0), &Value::Null));
    let rules: Vec<&str> = session["denials"].as_array().unwrap().iter().map(|group| group["rule"].as_str().unwrap()).collect();
    assert!(rules.contains(&"policy.toml:7"));
    assert_eq!(session["probing"][1]["calls"], 5);
    assert_eq!(
        (&session["network"]["mode"], &session["network"]["isolated"], &session["network"]["open"]),
        (&json!("none"), &json!(7), &json!(0))
    );
    assert_eq!(session["calls"]["items"][2]["argument_bytes"], LONG);
    // A log that no key has sealed is not called whole.
    assert_ne!(session["verdict"]["integrity"], "intact");
    let text = place.text(&["report"]);
    assert_inert(&text);
    assert!(text.contains("No call could reach a network") && text.contains("looks like probing"), "{text}");
}

/// A page without its text, in which hostile words may stand: only what is between `<` and `>`.
fn as_markup(dom: &str) -> String {
    dom.split('<').skip(1).filter_map(|tag| tag.split_once('>')).map(|(tag, _)| format!("<{tag}>")).collect()
}

/// A port that counts who connects to it, and closes at once.
fn counting() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(connection);
        }
    });
    (port, count)
}

/// What a browser makes of a page; none where there is no browser.
fn dom(page: &Path, folder: &Path) -> Option<String> {
    let browser =
        ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].into_iter().find(|path| Path::new(path).exists())?;
    let mut command = Command::new(browser);
    command.args([
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--virtual-time-budget=3000",
        "--timeout=20000",
        "--dump-dom",
    ]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    command.arg(format!("--user-data-dir={}", folder.join("browser").display())).arg(format!("file://{}", page.display()));
    let output = command.env("HOME", folder).stdin(Stdio::null()).output().unwrap();
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn in_a_browser_nothing_of_a_log_runs_and_nothing_is_requested() {
    let (port, requests) = counting();
    let place = Place::new(port);
    let folder = place.state.path();
    let page = folder.join("report.html");
    place.text(&["report", "--html", page.to_str().unwrap()]);
    let written = fs::read_to_string(&page).unwrap();
    assert!(!written.contains("<script") && written.len() < 1024 * 1024, "{}", written.len());
    assert!(written.contains(&format!("{LONG} bytes of arguments")) && written.contains(&format!("({LONG} bytes in all)")));
    let Some(dom) = dom(&page, folder) else {
        return skip("in_a_browser_nothing_of_a_log_runs_and_nothing_is_requested", "no Chromium is installed");
    };
    assert!(dom.contains("<title>Audit report</title>"), "{}", dom.get(..2000).unwrap_or(&dom));
    for element in ["<script", "<img", "<iframe", "<link", "http-equiv=\"refresh", "onmouseover=\"", "onfocus=\"", "autofocus=\""] {
        assert!(!as_markup(&dom).contains(element), "{element}");
    }
    assert_eq!(requests.load(Ordering::SeqCst), 0, "something was requested");
    // The same content, not escaped and without the page's policy, does run and does request: otherwise this test would show nothing.
    fs::write(&page, format!("<!doctype html><title>Audit report</title><style>{}", hostile(port).replace("http-equiv=refresh", "")))
        .unwrap();
    let control = self::dom(&page, folder).unwrap();
    assert!(control.contains("OWNED</title>") || !control.contains("<title>Audit report</title>"), "{control}");
    assert!(requests.load(Ordering::SeqCst) > 0);
}

#[test]
fn csv_and_ocsf_hold_what_the_log_holds() {
    let place = Place::new(9);
    let csv = place.text(&["export", "--format", "csv"]);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), events("").len() + 1);
    let ocsf = place.text(&["export", "--format", "ocsf"]);
    let events: Vec<Value> = ocsf.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for event in &events {
        let number = |name: &str| event[name].as_u64().unwrap();
        assert_eq!(number("type_uid"), number("class_uid") * 100 + number("activity_id"));
        assert!(
            number("severity_id") >= 1 && event["metadata"]["version"] == "1.3.0" && event["metadata"]["product"]["name"] == "portcullis"
        );
        assert_eq!(
            number("category_uid"),
            match number("class_uid") {
                0 => 0,
                1007 => 1,
                2004 => 2,
                3004 => 3,
                6002 | 6003 => 6,
                other => panic!("{other}"),
            }
        );
    }
    assert_eq!(events.iter().filter(|event| event["class_uid"] == 2004).count(), 11);
    let launched = events.iter().find(|event| event["class_uid"] == 1007 && event["process"]["uid"] == "g").unwrap();
    assert_eq!(launched["process"]["cmd_line"], "git push");
    // An outcome is known to be of the shell although its intent is not asked for.
    let denied = place.text(&["export", "--format", "ocsf", "--denied", "--event", "call_outcome"]);
    assert!(denied.lines().any(|line| line.contains("\"class_uid\":1007")), "{denied}");
    // What a session did is nobody else's to read.
    place.text(&["export", "--format", "jsonl", "--to", "out.jsonl"]);
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(place.state.path().join("out.jsonl")).unwrap().permissions().mode() & 0o777, 0o600);
}

/// A receiver that takes only what the published types of OTLP take.
struct Receiver {
    child: Child,
    lines: BufReader<ChildStdout>,
    url: String,
}

impl Receiver {
    fn start(flags: &[&str]) -> Option<Self> {
        let python = std::env::var_os("PORTCULLIS_OTLP_PYTHON")?;
        let mut command = Command::new(python);
        command.args(["-c", include_str!("audit_reports/receiver.py")]).args(flags).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        lines.read_line(&mut port).unwrap();
        Some(Self { child, lines, url: format!("http://127.0.0.1:{}", port.trim()) })
    }

    fn received(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.lines().map(Result::unwrap).collect()
    }
}

#[test]
fn a_strict_receiver_of_otlp_takes_logs_and_spans_that_hang_together() {
    let name = "a_strict_receiver_of_otlp_takes_logs_and_spans_that_hang_together";
    let place = Place::new(9);
    let Some(receiver) = Receiver::start(&["--fail"]) else {
        return skip(name, "PORTCULLIS_OTLP_PYTHON names no Python with opentelemetry-proto");
    };
    place.text(&["export", "--format", "otlp", "--to", &receiver.url]);
    let lines = receiver.received();
    assert!(lines.iter().all(|line| !line.starts_with("REFUSED")), "{lines:#?}");
    let logs: usize = lines.iter().filter_map(|line| line.strip_prefix("logs ")?.parse::<usize>().ok()).sum();
    assert_eq!(logs, events("").len() + 1);
    let spans: Vec<Vec<&str>> = lines.iter().filter(|line| line.starts_with("span ")).map(|line| line.splitn(7, ' ').collect()).collect();
    assert_eq!(spans.len(), 8 + 1 + 1, "{spans:#?}");
    assert!(spans.iter().all(|span| span[1] == SESSION.replace('-', "")));
    let of = |name: &str| spans.iter().find(|span| span[6].starts_with(name)).unwrap();
    let (root, turn) = (of("invoke_agent"), of("turn"));
    assert_eq!((root[3], turn[3]), ("-", root[2]));
    let calls: Vec<_> = spans.iter().filter(|span| span[6].starts_with("execute_tool")).collect();
    assert!(calls.len() == 8 && calls.iter().all(|call| call[3] == turn[2]));
    // What was refused is an event, and the time from intent to outcome is exact.
    assert_eq!(calls.iter().filter(|call| call[4] == "2" && call[5] == "300000000").count(), 5, "{calls:#?}");
}

/// A collector of somebody else's, with what it says on standard output.
fn collector(folder: &Path) -> Option<(Child, String, PathBuf)> {
    let program = std::env::var_os("PORTCULLIS_COLLECTOR")?;
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (http, grpc, said) = (free(), free(), folder.join("collector.out"));
    let mut command = Command::new(program);
    command.args(["start", "--exporter", "blackhole", "--debug-log", "logs", "--debug-log", "traces", "--debug-log-verbosity", "detailed"]);
    command.args(["--otlp-http-endpoint", &http.to_string(), "--otlp-grpc-endpoint", &grpc.to_string()]);
    command.env_clear().current_dir(folder).stdin(Stdio::null()).stdout(fs::File::create(&said).unwrap()).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    assert!(eventually(|| TcpStream::connect(http).is_ok()), "the collector does not listen");
    Some((child, format!("http://{http}"), said))
}

#[test]
fn a_collector_takes_every_record_and_every_span() {
    let name = "a_collector_takes_every_record_and_every_span";
    let place = Place::new(9);
    let folder = tempfile::tempdir().unwrap();
    let Some((mut child, url, said)) = collector(folder.path()) else {
        return skip(name, "PORTCULLIS_COLLECTOR names no collector (rotel)");
    };
    place.text(&["export", "--format", "otlp", "--to", &url]);
    let count = |what: &str| fs::read_to_string(&said).unwrap().matches(what).count();
    let all = eventually(|| count("LogRecord #") == events("").len() + 1 && count("Span #") == 8 + 1 + 1);
    child.kill().unwrap();
    child.wait().unwrap();
    let text = fs::read_to_string(&said).unwrap();
    assert!(all && text.contains("portcullis.audit") && text.contains("execute_tool shell"), "{text}");
    assert_eq!(text.matches(&format!("Trace ID       : {}", SESSION.replace('-', ""))).count(), events("").len() + 1 + 10, "{text}");
}

#[test]
fn what_does_not_arrive_is_an_error_and_a_record() {
    let place = Place::new(9);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{closed}");
    let output = place.run(&["export", "--format", "otlp", "--to", &url]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("took nothing after 4 tries"), "{said}");
    let ledger = fs::read_to_string(place.state.path().join("log/ledger.jsonl")).unwrap();
    assert!(ledger.contains("\"delivery_failed\"") && ledger.contains(&url), "{ledger}");
    assert_eq!(place.run(&["export", "--format", "csv", "--to", &url]).status.code(), Some(2));
    if let Some(receiver) = Receiver::start(&["--reject"]) {
        let output = place.run(&["export", "--format", "otlp", "--to", &receiver.url]);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8(output.stderr).unwrap().contains("rejected 3 of what was sent: too old"));
        receiver.received();
    }
}

#[test]
fn numbers_beyond_all_measure_end_no_command() {
    let place = Place::new(1);
    let most = u64::MAX;
    let events = [
        json!({"event": "log_trouble", "lost": most, "error": ""}),
        json!({"event": "call_intent", "call": "c", "tool": "shell", "arguments": "{}", "decision": "allow", "decided_by": "policy"}),
        json!({"event": "call_outcome", "call": "c", "status": "ok", "duration_ms": most, "output_bytes": most, "denials": []}),
        json!({"event": "turn_end", "outcome": "answered", "requests": most, "input_tokens": most, "cached_tokens": most, "output_tokens": most}),
    ];
    let mut text = String::new();
    for (at, event) in events.iter().cycle().take(9).enumerate() {
        let (seq, monotonic) = if at % 2 == 0 { (most, 0) } else { (0, most) };
        let mut record =
            json!({"v": 4_294_967_295_u32, "seq": seq, "session": SESSION, "time": "9999-12-31T23:59:59Z", "monotonic_ns": monotonic});
        record.as_object_mut().unwrap().extend(event.as_object().unwrap().clone());
        record["mac"] = json!("0".repeat(64));
        text.push_str(&format!("{record}\nno record\n"));
    }
    fs::write(place.state.path().join(format!("log/{SESSION}.jsonl")), text).unwrap();
    let page = place.state.path().join("page.html").display().to_string();
    for arguments in [
        &["audit", "verify"][..],
        &["audit", "show"],
        &["audit", "report"],
        &["audit", "report", "--json"],
        &["audit", "report", "--html", &page],
        &["audit", "export", "--format", "csv"],
        &["audit", "export", "--format", "ocsf"],
        &["audit", "export", "--format", "otlp"],
        &["audit", "export", "--format", "jsonl"],
        &["grants", "report"],
        &["policy", "replay", "last", "--with", "locked", "--workspace", &place.state.path().display().to_string()],
    ] {
        let output = place.program(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code().is_some_and(|code| code < 100) && !said.contains("panicked"), "{arguments:?}: {output:?}");
    }
}
