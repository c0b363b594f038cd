//! A session as it goes by: in words for a person who watches, or as lines of JSON for a program.

use std::io::{self, Write};

use super::{
    sanitize::{visible, visible_line},
    style::{Paint, Tone},
};
use crate::{
    agent::{Event, Observer},
    audit::{CallStatus, Denial},
};

/// Lines of a call's output that are shown.
const SHOWN_LINES: usize = 8;
/// Characters of one shown line.
const SHOWN_CHARACTERS: usize = 160;

/// Writes progress to one stream.
#[derive(Debug)]
pub struct Screen<W> {
    out: W,
    paint: Paint,
    /// Calls that have begun: id, tool, arguments.
    running: Vec<(String, String, String)>,
    /// The one whose head is on the screen already.
    shown: Option<String>,
}

impl Screen<io::Stderr> {
    /// On standard error, in colour where that is wanted.
    pub fn stderr() -> Self {
        Self::new(io::stderr(), Paint::of(&io::stderr()))
    }
}

impl<W: Write> Screen<W> {
    /// On any stream.
    pub fn new(out: W, paint: Paint) -> Self {
        Self { out, paint, running: Vec::new(), shown: None }
    }

    /// Where it writes.
    pub(super) fn out(&mut self) -> &mut W {
        &mut self.out
    }

    fn line(&mut self, tone: Tone, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", self.paint.text(tone, text))
    }

    fn call(&mut self, tool: &str, arguments: &str) -> io::Result<()> {
        let shown = summary(tool, arguments);
        let mut lines = shown.lines();
        let (mark, tool) = (self.paint.text(Tone::Accent, "▸"), self.paint.text(Tone::Strong, &visible_line(tool)));
        writeln!(self.out, "\n{mark} {tool}  {}", clip(lines.next().unwrap_or("")))?;
        for line in lines.by_ref().take(SHOWN_LINES) {
            writeln!(self.out, "  {}", clip(line))?;
        }
        match lines.count() {
            0 => Ok(()),
            more => self.line(Tone::Caution, &format!("  … {more} more lines of this call")),
        }
    }

    fn result(&mut self, status: CallStatus, exit_code: Option<i32>, duration_ms: u64, output: &str, denials: &[Denial]) -> io::Result<()> {
        let (tone, word) = match status {
            CallStatus::Ok => (Tone::Good, "ok".to_owned()),
            CallStatus::Failed => (Tone::Bad, exit_code.map_or_else(|| "failed".to_owned(), |code| format!("exit {code}"))),
            CallStatus::Refused => (Tone::Bad, "refused".to_owned()),
            CallStatus::Limit => (Tone::Bad, "ended by a limit".to_owned()),
            CallStatus::Broken => (Tone::Bad, "broken".to_owned()),
            CallStatus::Interrupted => (Tone::Caution, "interrupted".to_owned()),
        };
        // The refusals follow below, and a plain exit code stands in the last line; everything else is shown, whatever it looks like.
        let mut lines: Vec<&str> = output.lines().collect();
        lines.truncate(lines.len().saturating_sub(denials.len()));
        let heads = lines.iter().take(2).take_while(|line| line.starts_with("Exit code: ") || **line == "Output:").count();
        let lines = &lines[heads..];
        let end = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
        for line in &lines[..end.min(SHOWN_LINES)] {
            self.line(Tone::Faint, &format!("  │ {}", clip(line)))?;
        }
        if end > SHOWN_LINES {
            self.line(Tone::Faint, &format!("  │ … {} more lines", end - SHOWN_LINES))?;
        }
        for denial in denials {
            self.line(Tone::Bad, &format!("  ✗ {}", visible_line(&denial.sentence())))?;
        }
        let time = self.paint.text(Tone::Faint, &format!("· {duration_ms} ms"));
        writeln!(self.out, "  {} {time}", self.paint.text(tone, &word))
    }
}

impl<W: Write> Observer for Screen<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::SessionStarted { model, endpoint, workspace, policy, fingerprint, .. } => {
                let fingerprint: String = fingerprint.chars().take(12).collect();
                self.line(Tone::Faint, &format!("model      {} at {}", visible_line(model), visible_line(endpoint)))?;
                self.line(Tone::Faint, &format!("workspace  {}", visible_line(workspace)))?;
                self.line(Tone::Faint, &format!("policy     {} ({fingerprint})", visible_line(policy)))?;
            }
            Event::Message { text } => writeln!(self.out, "\n{}", visible(text.trim_end()))?,
            Event::Reasoning { text } => self.line(Tone::Faint, &visible(text.trim_end()))?,
            Event::CallStarted { call, tool, arguments } => {
                // Only a program can take long enough for its head to be worth showing before its end.
                if tool == "shell" && self.running.is_empty() {
                    self.call(tool, arguments)?;
                    self.shown = Some(call.clone());
                }
                self.running.push((call.clone(), tool.clone(), arguments.clone()));
            }
            Event::CallFinished { call, status, exit_code, duration_ms, output, denials, .. } => {
                // Of calls that ran side by side, each end is shown under its own head.
                if let Some(place) = self.running.iter().position(|(id, ..)| id == call) {
                    let (id, tool, arguments) = self.running.remove(place);
                    if self.shown.as_ref() != Some(&id) {
                        self.call(&tool, &arguments)?;
                    }
                    self.shown = None;
                }
                self.result(*status, *exit_code, *duration_ms, output, denials)?;
            }
            Event::RequestRetried { attempt, of, wait_ms, why } => {
                self.line(Tone::Caution, &format!("retry {attempt} of {of} in {wait_ms} ms: {}", visible_line(why)))?;
            }
            Event::Warning { text } => self.line(Tone::Caution, &format!("note: {}", visible_line(text)))?,
            Event::Compacted { cause, before_bytes, after_bytes } => {
                let why = match cause.as_str() {
                    "full" => ", because the model's window was nearly full",
                    "too-long" => ", because the endpoint found it too long",
                    _ => "",
                };
                self.line(Tone::Caution, &format!("the conversation was compacted{why}: {before_bytes} bytes before, {after_bytes} now"))?;
            }
            Event::TurnFinished { requests, input_tokens, cached_tokens, output_tokens, cost_millionths, misses } => {
                let cost = cost_millionths.map_or_else(String::new, |cost| format!(", {}", dollars(cost)));
                let text = format!("\n{requests} requests, {input_tokens} tokens in ({cached_tokens} cached), {output_tokens} out{cost}");
                self.line(Tone::Faint, &text)?;
                for (reason, times) in misses {
                    self.line(Tone::Faint, &format!("cache missed {times}×: {}", visible_line(reason)))?;
                }
            }
            Event::RequestSent { .. } | Event::TextDelta { .. } | Event::Usage { .. } | Event::TurnFailed { .. } => {}
        }
        self.out.flush()
    }
}

/// An amount in millionths, as people write it.
pub fn dollars(millionths: u64) -> String {
    format!("${}.{:04}", millionths / 1_000_000, millionths % 1_000_000 / 100)
}

fn clip(line: &str) -> String {
    let shown = visible_line(line);
    match shown.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown,
    }
}

/// What a call is about, without the JSON around it.
fn summary(tool: &str, arguments: &str) -> String {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(arguments) else { return arguments.to_owned() };
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    match tool {
        // Some models call it otherwise, and it runs all the same.
        "shell" => {
            let command = if value["command"].is_string() { text("command") } else { text("cmd") };
            let place = if value["workdir"].is_string() { format!("  (in {})", text("workdir")) } else { String::new() };
            let how = if value["background"] == true { "  (in the background)" } else { "" };
            format!("{command}{place}{how}")
        }
        "apply_patch" => {
            text("patch").lines().filter(|line| *line != "*** Begin Patch" && *line != "*** End Patch").collect::<Vec<_>>().join("\n")
        }
        "search" => format!("{} {}", text("pattern"), text("path")),
        "read_file" | "list_dir" | "view_image" => text("path"),
        _ => arguments.to_owned(),
    }
}

/// One event a line on standard output, as JSON.
#[derive(Debug)]
pub struct JsonLines<W>(pub W);

impl<W: Write> Observer for JsonLines<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        if matches!(event, Event::TextDelta { .. }) {
            return Ok(());
        }
        #[derive(serde::Serialize)]
        struct Line<'a> {
            v: u32,
            #[serde(flatten)]
            event: &'a Event,
        }
        let mut line = serde_json::to_vec(&Line { v: crate::agent::event::VERSION, event })?;
        line.push(b'\n');
        self.0.write_all(&line)?;
        self.0.flush()
    }
}
