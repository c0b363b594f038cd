//! Rows below everything else on the screen that are drawn anew again and again, while whole lines go by above them.

use std::io::{self, Write};

use super::{
    columns::{columns, fit},
    style::{Paint, Tone},
};

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its colour.
    pub tone: Tone,
    /// Its text; what is wider than the screen is left out.
    pub text: String,
}

/// Writes whole lines above, and keeps its rows below.
#[derive(Debug)]
pub struct Footer<W: Write> {
    out: W,
    paint: Paint,
    /// The columns of the screen.
    width: fn() -> usize,
    /// What was written and is no whole line yet.
    pending: Vec<u8>,
    rows: Vec<Row>,
    /// The columns of each row that stands on the screen.
    drawn: Vec<usize>,
    /// Whether everything is kept back.
    held: bool,
}

impl<W: Write> Footer<W> {
    /// On a terminal that can move its cursor.
    pub fn new(out: W, paint: Paint, width: fn() -> usize) -> Self {
        Self { out, paint, width, pending: Vec::new(), rows: Vec::new(), drawn: Vec::new(), held: false }
    }

    /// Replaces the rows. None takes them away.
    pub fn set(&mut self, rows: Vec<Row>) -> io::Result<()> {
        if self.held || (rows == self.rows && rows.len() == self.drawn.len()) {
            return Ok(());
        }
        self.erase()?;
        self.rows = rows;
        self.draw()?;
        self.out.flush()
    }

    /// Takes the rows away and keeps everything back from here on.
    pub fn hold(&mut self) -> io::Result<()> {
        self.erase()?;
        self.held = true;
        self.out.flush()
    }

    /// Writes what was kept back.
    pub fn release(&mut self) -> io::Result<()> {
        self.held = false;
        let _ = self.write(b"")?;
        self.flush()
    }

    #[cfg(test)]
    pub(super) fn inner(&self) -> &W {
        &self.out
    }

    #[cfg(test)]
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    fn erase(&mut self) -> io::Result<()> {
        if self.drawn.is_empty() {
            return Ok(());
        }
        // A terminal that was made narrower has folded the rows.
        let width = (self.width)().max(1);
        let rows: usize = self.drawn.iter().map(|columns| columns.div_ceil(width).max(1)).sum();
        self.out.write_all(b"\r")?;
        if rows > 1 {
            write!(self.out, "\x1b[{}A", rows - 1)?;
        }
        // From here to the end of the screen.
        self.out.write_all(b"\x1b[J")?;
        self.drawn.clear();
        Ok(())
    }

    fn draw(&mut self) -> io::Result<()> {
        // The last column stays free: some terminals go to the next row when it is filled.
        let width = (self.width)().saturating_sub(1);
        for (number, row) in self.rows.iter().enumerate() {
            let text = fit(&row.text, width);
            let between = if number > 0 { "\r\n" } else { "" };
            write!(self.out, "{between}{}", self.paint.text(row.tone, &text))?;
            self.drawn.push(columns(&text));
        }
        Ok(())
    }
}

impl<W: Write> Write for Footer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        let whole = self.pending.iter().rposition(|byte| *byte == b'\n');
        if let Some(end) = whole.filter(|_| !self.held) {
            let rest = self.pending.split_off(end + 1);
            let lines = std::mem::replace(&mut self.pending, rest);
            self.erase()?;
            self.out.write_all(&lines)?;
            self.draw()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(texts: &[&str]) -> Vec<Row> {
        texts.iter().map(|text| Row { tone: Tone::Plain, text: (*text).to_owned() }).collect()
    }

    fn footer() -> Footer<Vec<u8>> {
        Footer::new(Vec::new(), Paint::PLAIN, || 80)
    }

    #[test]
    fn lines_go_by_above_the_rows() {
        let mut footer = footer();
        footer.set(rows(&["a", "b"])).unwrap();
        write!(footer, "one\ntw").unwrap();
        footer.set(rows(&["c"])).unwrap();
        writeln!(footer, "o").unwrap();
        footer.set(Vec::new()).unwrap();
        let text = String::from_utf8(footer.out).unwrap();
        assert_eq!(text, "a\r\nb\r\x1b[1A\x1b[Jone\na\r\nb\r\x1b[1A\x1b[Jc\r\x1b[Jtwo\nc\r\x1b[J");
    }

    #[test]
    fn what_is_held_comes_when_it_is_released() {
        let mut footer = footer();
        footer.set(rows(&["a"])).unwrap();
        footer.hold().unwrap();
        footer.set(rows(&["b"])).unwrap();
        writeln!(footer, "one").unwrap();
        assert_eq!(footer.out, b"a\r\x1b[J");
        footer.release().unwrap();
        assert!(footer.out.ends_with(b"one\na"));
    }

    #[test]
    fn rows_that_a_narrower_screen_has_folded_are_all_taken_away() {
        let mut footer = footer();
        footer.set(rows(&[&"x".repeat(79), "short"])).unwrap();
        footer.width = || 30;
        footer.set(Vec::new()).unwrap();
        assert!(footer.out.ends_with(b"\r\x1b[3A\x1b[J"));
    }
}
