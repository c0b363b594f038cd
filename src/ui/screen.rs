//! A session as a person watches it: progress on standard error, the answer on standard output.

use std::io::{self, IsTerminal, Write};

use super::{sanitize::visible, style::Palette};
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
    palette: Palette,
    /// Calls that have begun: id, tool, arguments.
    running: Vec<(String, String, String)>,
    /// The one whose head is on the screen already.
    shown: Option<String>,
}

impl Screen<io::Stderr> {
    /// On standard error, in colour where that is wanted.
    pub fn stderr() -> Self {
        Self::new(io::stderr(), Palette::for_stream(io::stderr().is_terminal()))
    }
}

impl<W: Write> Screen<W> {
    /// On any stream.
    pub fn new(out: W, palette: Palette) -> Self {
        Self { out, palette, running: Vec::new(), shown: None }
    }

    fn call(&mut self, tool: &str, arguments: &str) -> io::Result<()> {
        let Palette { accent, strong, reset, .. } = self.palette;
        let shown = summary(tool, arguments);
        let mut lines = shown.lines();
        writeln!(self.out)?;
        writeln!(self.out, "{accent}▸{reset} {strong}{}{reset}  {}", visible(tool), clip(lines.next().unwrap_or("")))?;
        for line in lines.take(SHOWN_LINES) {
            writeln!(self.out, "  {}", clip(line))?;
        }
        Ok(())
    }

    fn result(&mut self, status: CallStatus, exit_code: Option<i32>, duration_ms: u64, output: &str, denials: &[Denial]) -> io::Result<()> {
        let Palette { good, bad, dim, reset, .. } = self.palette;
        let (colour, word) = match status {
            CallStatus::Ok => (good, "ok".to_owned()),
            CallStatus::Failed => (bad, exit_code.map_or_else(|| "failed".to_owned(), |code| format!("exit {code}"))),
            CallStatus::Refused => (bad, "refused".to_owned()),
            CallStatus::Limit => (bad, "ended by a limit".to_owned()),
            CallStatus::Broken => (bad, "broken".to_owned()),
        };
        let body = output.split_once("\nOutput:\n").map_or(output, |(_, body)| body);
        let lines: Vec<&str> =
            body.trim_end().lines().filter(|line| !line.starts_with("[portcullis] ") && !line.starts_with("Exit code: ")).collect();
        let lines = match lines.iter().rposition(|line| !line.is_empty()) {
            Some(last) => &lines[..=last],
            None => &[],
        };
        for line in lines.iter().take(SHOWN_LINES) {
            writeln!(self.out, "  {dim}│ {}{reset}", clip(line))?;
        }
        if lines.len() > SHOWN_LINES {
            writeln!(self.out, "  {dim}│ … {} more lines{reset}", lines.len() - SHOWN_LINES)?;
        }
        for denial in denials {
            writeln!(self.out, "  {bad}✗ {}{reset}", visible(&denial.sentence()))?;
        }
        writeln!(self.out, "  {colour}{word}{reset} {dim}· {duration_ms} ms{reset}")
    }
}

impl<W: Write> Observer for Screen<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let Palette { bad, dim, reset, .. } = self.palette;
        match event {
            Event::SessionStarted { model, endpoint, workspace, policy, fingerprint, .. } => {
                writeln!(self.out, "{dim}model      {} at {}{reset}", visible(model), visible(endpoint))?;
                writeln!(self.out, "{dim}workspace  {}{reset}", visible(workspace))?;
                writeln!(self.out, "{dim}policy     {} ({}){reset}", visible(policy), &fingerprint[..fingerprint.len().min(12)])?;
            }
            Event::Message { text } => {
                writeln!(self.out)?;
                writeln!(self.out, "{}", visible(text.trim_end()))?;
            }
            Event::Reasoning { text } => writeln!(self.out, "{dim}{}{reset}", visible(text.trim_end()))?,
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
                writeln!(self.out, "{bad}retry {attempt} of {of} in {wait_ms} ms:{reset} {}", visible(why))?;
            }
            Event::Warning { text } => writeln!(self.out, "{dim}note: {}{reset}", visible(text))?,
            Event::TurnFinished { requests, input_tokens, cached_tokens, output_tokens } => {
                writeln!(self.out)?;
                writeln!(
                    self.out,
                    "{dim}{requests} requests, {input_tokens} tokens in ({cached_tokens} cached), {output_tokens} out{reset}"
                )?;
            }
            Event::RequestSent { .. } | Event::TextDelta { .. } | Event::Usage { .. } | Event::TurnFailed { .. } => {}
        }
        self.out.flush()
    }
}

fn clip(line: &str) -> String {
    let shown = visible(line);
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
        "shell" => text("command"),
        "apply_patch" => {
            text("patch").lines().filter(|line| *line != "*** Begin Patch" && *line != "*** End Patch").collect::<Vec<_>>().join("\n")
        }
        "search" => format!("{} {}", text("pattern"), text("path")),
        "read_file" | "list_dir" => text("path"),
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
