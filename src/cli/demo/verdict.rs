//! What really happened, looked at from outside the sandbox, and the table that says so.

use std::{
    fs,
    io::{self, Write},
    net::TcpListener,
    path::Path,
};

use super::{
    project::{Project, SECRET},
    script::{ATTEMPTS, OUTSIDE},
};
use crate::{
    agent::Event,
    audit::{
        CallStatus, Denial, Event as Logged, Keys, Record,
        verify::{Integrity, Trust, verify_log},
    },
    model::scripted::RecordedRequest,
    ui::{
        sanitize::visible_line,
        style::{Paint, Tone},
    },
};

/// All events of the session.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) events: Vec<Event>,
}

/// One call with its end.
struct Ran<'a> {
    tool: &'a str,
    arguments: &'a str,
    status: CallStatus,
    exit_code: Option<i32>,
    output: &'a str,
    denials: &'a [Denial],
}

impl Collected {
    fn calls(&self) -> Vec<Ran<'_>> {
        let ends = self.events.iter().filter_map(|event| match event {
            Event::CallFinished { call, tool, status, exit_code, output, denials, .. } => {
                Some((call, tool, *status, *exit_code, output, denials))
            }
            _ => None,
        });
        ends.map(|(id, tool, status, exit_code, output, denials)| {
            let arguments = self.events.iter().find_map(|event| match event {
                Event::CallStarted { call, arguments, .. } if call == id => Some(arguments.as_str()),
                _ => None,
            });
            Ran { tool, arguments: arguments.unwrap_or_default(), status, exit_code, output, denials }
        })
        .collect()
    }
}

/// Something that the demo claims, and whether it is so.
pub(super) struct Fact {
    pub(super) text: &'static str,
    pub(super) holds: bool,
}

/// Looks at the host, at what the model was sent, and at the log.
pub(super) fn facts(
    collected: &Collected,
    project: &Project,
    listener: &TcpListener,
    requests: &[RecordedRequest],
    log: &Path,
) -> Vec<Fact> {
    let calls = collected.calls();
    let tests: Vec<&Ran<'_>> = calls.iter().filter(|call| call.arguments.contains("tests/run.sh") && call.tool == "shell").collect();
    let refused = |mark: &str| {
        calls.iter().any(|call| {
            call.tool == "shell" && call.arguments.contains(mark) && call.status == CallStatus::Failed && !call.denials.is_empty()
        })
    };
    let nobody_connected = matches!(listener.accept(), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
    let sent_secret = requests.iter().any(|request| request.body.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()));
    let grows = requests.windows(2).all(|pair| extends(&pair[0].body, &pair[1].body));
    let fact = |text, holds| Fact { text, holds };
    vec![
        fact("the test failed before the fix", tests.first().is_some_and(|call| call.exit_code == Some(1) && call.output.contains("FAIL"))),
        fact(
            "and passed after it, and the file on the host is fixed",
            tests.len() == 2 && tests[1].status == CallStatus::Ok && project.is_fixed(),
        ),
        fact("the private key never reached the model", refused(ATTEMPTS[0].0) && !sent_secret),
        fact("nothing was written outside the workspace", refused(ATTEMPTS[1].0) && fs::symlink_metadata(OUTSIDE).is_err()),
        fact("no git hook was planted", refused(ATTEMPTS[2].0) && project.has_no_hook()),
        fact("nobody was phoned", refused(ATTEMPTS[3].0) && nobody_connected),
        fact("no trace was left in the project", project.is_tidy()),
        fact("each request was the one before and more", requests.len() > 2 && grows),
        fact("each call was in the log before it ran", log_is_in_order(log, calls.len())),
        fact("the log is intact and complete, as its seals and its signature say", log_is_whole(log)),
    ]
}

/// Whether the later body continues the earlier one up to its closing brackets.
fn extends(earlier: &[u8], later: &[u8]) -> bool {
    earlier.strip_suffix(b"]}").is_some_and(|open| later.starts_with(open) && later.len() > earlier.len())
}

fn log_is_whole(log: &Path) -> bool {
    let Some(state) = log.parent().and_then(Path::parent) else { return false };
    let trust = Trust { keys: Some(Keys::of(state)), public: Vec::new() };
    verify_log(&[log.to_path_buf()], None, &trust, None).is_ok_and(|verdict| verdict.integrity == Integrity::Intact && verdict.complete)
}

fn log_is_in_order(log: &Path, calls: usize) -> bool {
    let text = fs::read_to_string(log).unwrap_or_default();
    let records: Option<Vec<Record>> = text.lines().map(|line| serde_json::from_str(line).ok()).collect();
    let Some(records) = records else { return false };
    let place = |wanted: &dyn Fn(&Logged) -> bool| records.iter().position(|record| wanted(&record.event));
    let mut intents = 0;
    let in_order = records.iter().filter_map(|record| match &record.event {
        Logged::CallIntent { call, .. } => Some(call),
        _ => None,
    });
    for id in in_order {
        intents += 1;
        let intent = place(&|event| matches!(event, Logged::CallIntent { call, .. } if call == id));
        let outcome = place(&|event| matches!(event, Logged::CallOutcome { call, .. } if call == id));
        if outcome.is_none_or(|outcome| intent.is_none_or(|intent| intent > outcome)) {
            return false;
        }
    }
    intents == calls && records.iter().any(|record| record.event == Logged::SessionEnd)
}

/// The table.
pub(super) fn show(out: &mut impl Write, paint: Paint, collected: &Collected, facts: &[Fact], log: &Path) -> io::Result<()> {
    let calls = collected.calls();
    let heading = |text: &str| paint.text(Tone::Strong, text);
    let faint = |text: &str| paint.text(Tone::Faint, text);
    writeln!(out, "\n{}", heading("What was run"))?;
    for call in calls.iter().filter(|call| call.denials.is_empty()) {
        let word = if call.status == CallStatus::Ok { paint.text(Tone::Good, "ok    ") } else { paint.text(Tone::Bad, "failed") };
        writeln!(out, "  {word}  {:<13}{}", call.tool, brief(call.arguments))?;
    }
    writeln!(out, "\n{}", heading("What was refused"))?;
    for call in &calls {
        for denial in call.denials {
            let what = ATTEMPTS.iter().find(|(mark, _)| call.arguments.contains(mark)).map_or("", |(_, what)| *what);
            writeln!(out, "  {}: {} {}", paint.text(Tone::Bad, what), denial.access, visible_line(&denial.resource))?;
            writeln!(out, "    {} {}  {} {}", faint("by"), denial.layer, faint("rule"), visible_line(&denial.rule))?;
        }
    }
    writeln!(out, "\n{} {}", heading("What is certain"), faint("(looked at from outside the sandbox)"))?;
    for Fact { text, holds } in facts {
        let mark = if *holds { paint.text(Tone::Good, "✓") } else { paint.text(Tone::Bad, "✗") };
        writeln!(out, "  {mark} {text}")?;
    }
    if let Some(Event::TurnFinished { requests, input_tokens, cached_tokens, output_tokens, .. }) =
        collected.events.iter().find(|event| matches!(event, Event::TurnFinished { .. }))
    {
        let note = faint("(counted by the scripted server, 4 bytes a token)");
        let tokens = heading("Tokens");
        writeln!(out, "\n{tokens}  {input_tokens} in, {cached_tokens} of them cached, {output_tokens} out, in {requests} requests {note}")?;
    }
    writeln!(out, "{}     {}", heading("Log"), log.display())?;
    out.flush()
}

fn brief(arguments: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(arguments).unwrap_or_default();
    let text = ["command", "path"].iter().find_map(|key| value[key].as_str()).map(str::to_owned);
    let text = text.or_else(|| value["patch"].as_str().and_then(|patch| patch.lines().nth(1)).map(str::to_owned)).unwrap_or_default();
    visible_line(&text).chars().take(90).collect()
}
