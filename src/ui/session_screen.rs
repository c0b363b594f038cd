//! An interactive session on the screen: what goes by, and below it what happens just now.

use std::{
    collections::VecDeque,
    io::{self, Write},
    time::Instant,
};

use super::{
    columns::cut,
    footer::{Footer, Row},
    sanitize::{visible, visible_line},
    screen::Screen,
    status::Status,
    style::{Paint, Tone},
};
use crate::agent::{Event, Observer};

/// Rows for the last lines of a program that runs.
const TAIL: usize = 5;

/// See the module.
pub struct SessionScreen<W: Write> {
    screen: Screen<Footer<W>>,
    paint: Paint,
    width: fn() -> usize,
    /// The message that streams, as it came.
    streamed: String,
    /// Its last line, as far as it is no whole one.
    line: String,
    /// The last lines of the program that runs.
    tail: VecDeque<String>,
    /// The call that runs, and since when.
    running: Option<(String, Instant)>,
    /// Since when the turn runs.
    turn: Option<Instant>,
    status: Status,
}

impl<W: Write> std::fmt::Debug for SessionScreen<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionScreen").field("status", &self.status).finish_non_exhaustive()
    }
}

impl<W: Write> SessionScreen<W> {
    /// On a terminal that is so many columns wide.
    pub fn new(out: W, paint: Paint, width: fn() -> usize, status: Status) -> Self {
        Self {
            screen: Screen::new(Footer::new(out, paint, width), paint),
            paint,
            width,
            streamed: String::new(),
            line: String::new(),
            tail: VecDeque::new(),
            running: None,
            turn: None,
            status,
        }
    }

    /// What the status line says.
    pub fn status(&mut self) -> &mut Status {
        &mut self.status
    }

    /// Text of portcullis' own, in whole lines; whatever in it comes from elsewhere was made visible.
    pub fn say(&mut self, tone: Tone, text: &str) -> io::Result<()> {
        for line in text.lines() {
            self.fold(tone, line)?;
        }
        self.screen.out().flush()
    }

    /// A line that is not folded, so that it can be copied.
    pub fn say_whole(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.screen.out(), "{line}")?;
        self.screen.out().flush()
    }

    /// The status line as a line of its own, for when nothing runs.
    pub fn say_status(&mut self) -> io::Result<()> {
        let line = self.status.line((self.width)().saturating_sub(1), None, "");
        self.say(Tone::Faint, &line)
    }

    /// A turn begins.
    pub fn begin(&mut self) -> io::Result<()> {
        self.turn = Some(Instant::now());
        self.refresh()
    }

    /// The turn is over: nothing is left below.
    pub fn end(&mut self) -> io::Result<()> {
        self.turn = None;
        self.running = None;
        self.tail.clear();
        self.finish_line()?;
        self.streamed.clear();
        self.refresh()
    }

    /// Output of a program that runs.
    pub fn live(&mut self, text: &str) -> io::Result<()> {
        for line in text.lines() {
            if self.tail.len() == TAIL {
                self.tail.pop_front();
            }
            self.tail.push_back(visible_line(line));
        }
        self.refresh()
    }

    /// Keeps everything back while something else has the screen.
    pub fn hold(&mut self) -> io::Result<()> {
        self.screen.out().hold()
    }

    /// Shows what was kept back.
    pub fn release(&mut self) -> io::Result<()> {
        self.screen.out().release()?;
        self.refresh()
    }

    /// Draws the rows below anew, as time goes by.
    pub fn refresh(&mut self) -> io::Result<()> {
        let width = (self.width)().saturating_sub(1);
        let Some(turn) = self.turn else { return self.screen.out().set(Vec::new()) };
        let faint = |text: String| Row { tone: Tone::Faint, text };
        let mut rows: Vec<Row> = self.tail.iter().map(|line| faint(format!("  │ {line}"))).collect();
        if !self.line.is_empty() {
            rows.push(Row { tone: Tone::Plain, text: self.line.clone() });
        }
        let what = match &self.running {
            Some((what, since)) => format!("{what} {} s", since.elapsed().as_secs()),
            None if self.line.is_empty() => "thinking".to_owned(),
            None => "answering".to_owned(),
        };
        rows.push(faint(self.status.line(width, Some(turn.elapsed()), &what)));
        self.screen.out().set(rows)
    }

    fn stream(&mut self, text: &str) -> io::Result<()> {
        if self.streamed.is_empty() {
            writeln!(self.screen.out())?;
        }
        self.streamed.push_str(text);
        self.line.push_str(&visible(text).replace('\t', "    "));
        while let Some((whole, rest)) = self.line.split_once('\n') {
            let (whole, rest) = (whole.to_owned(), rest.to_owned());
            self.fold(Tone::Plain, &whole)?;
            self.line = rest;
        }
        // What is too long for a row is a line of its own already, so that no more than one row is drawn again.
        let width = (self.width)().saturating_sub(1);
        while let Some((first, rest)) = cut(&self.line, width) {
            let (first, rest) = (first.to_owned(), rest.to_owned());
            writeln!(self.screen.out(), "{first}")?;
            self.line = rest;
        }
        self.refresh()
    }

    /// A line, or as many as the width of the screen makes of it.
    fn fold(&mut self, tone: Tone, text: &str) -> io::Result<()> {
        let width = (self.width)().saturating_sub(1);
        let mut rest = text;
        while let Some((first, more)) = cut(rest, width) {
            writeln!(self.screen.out(), "{}", self.paint.text(tone, first))?;
            rest = more;
        }
        writeln!(self.screen.out(), "{}", self.paint.text(tone, rest))
    }

    fn finish_line(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() { Ok(()) } else { self.fold(Tone::Plain, &line) }
    }
}

impl<W: Write> Observer for SessionScreen<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::TextDelta { text } => return self.stream(text),
            Event::Message { text } => {
                self.finish_line()?;
                let shown = std::mem::take(&mut self.streamed);
                // A message that came otherwise than it had streamed is shown as it is.
                if shown != *text {
                    self.screen.event(event)?;
                }
            }
            Event::RequestRetried { .. } => {
                self.finish_line()?;
                self.streamed.clear();
                self.screen.event(event)?;
            }
            Event::CallStarted { tool, .. } => {
                self.tail.clear();
                self.running = Some((visible_line(tool), Instant::now()));
                self.screen.event(event)?;
            }
            Event::CallFinished { .. } => {
                self.tail.clear();
                self.running = None;
                self.screen.event(event)?;
            }
            Event::Usage { input_tokens, cached_tokens, output_tokens, .. } => {
                self.status.count(*input_tokens, *cached_tokens, *output_tokens);
            }
            // The status line says it.
            Event::TurnFinished { .. } | Event::SessionStarted { .. } => {}
            _ => self.screen.event(event)?,
        }
        self.refresh()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen() -> SessionScreen<Vec<u8>> {
        SessionScreen::new(Vec::new(), Paint::PLAIN, || 20, Status::default())
    }

    fn text(mut screen: SessionScreen<Vec<u8>>) -> String {
        screen.end().unwrap();
        String::from_utf8(screen.screen.out().inner().clone()).unwrap()
    }

    fn delta(text: &str) -> Event {
        Event::TextDelta { text: text.to_owned() }
    }

    #[test]
    fn a_message_that_streams_is_shown_once_folded_and_without_controls() {
        let mut screen = screen();
        let parts = ["Hello \u{1b}[31mthere,", " this is a longer", " line.\nAnd another"];
        for part in parts {
            screen.event(&delta(part)).unwrap();
        }
        screen.event(&Event::Message { text: parts.concat() }).unwrap();
        assert_eq!(text(screen), "\nHello ^[[31mthere,\nthis is a longer\nline.\nAnd another\n");
    }

    #[test]
    fn a_message_that_comes_otherwise_than_it_streamed_is_shown_whole() {
        let mut screen = screen();
        screen.event(&delta("One")).unwrap();
        screen.event(&Event::Message { text: "Another".to_owned() }).unwrap();
        assert_eq!(text(screen), "\nOne\n\nAnother\n");
    }

    #[test]
    fn the_rows_below_are_never_wider_than_the_screen() {
        let mut screen = screen();
        screen.begin().unwrap();
        screen.event(&delta("a text without an end in sight 漢字漢字漢字漢字")).unwrap();
        screen.live("one line that is longer than the screen is wide\nand more\u{1b}[2J\n").unwrap();
        assert_eq!(screen.screen.out().rows().len(), 4);
        let written = String::from_utf8(screen.screen.out().inner().clone()).unwrap();
        let controls = ["\x1b[J", "\x1b[1A", "\x1b[2A", "\x1b[3A"];
        let text = controls.iter().fold(written, |text, control| text.replace(control, "\n"));
        assert!(text.contains("one line that"));
        for row in text.split(['\r', '\n']) {
            assert!(super::super::columns::columns(row) < 20 && !row.contains('\x1b'), "{row:?}");
        }
    }
}
