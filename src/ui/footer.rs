//! Rows below everything else on the screen that are drawn anew again and again, while whole lines go by above them.

use std::io::{self, Write};

/// Writes whole lines above, and keeps its rows below. Rows are as wide as they are: who sets them keeps them within the screen.
#[derive(Debug)]
pub struct Footer<W: Write> {
    out: W,
    /// What was written and is no whole line yet.
    pending: Vec<u8>,
    rows: Vec<String>,
    /// How many rows stand on the screen.
    drawn: usize,
    /// Whether the terminal can move its cursor; where not, there are no rows.
    movable: bool,
    /// Whether everything is kept back.
    held: bool,
}

impl<W: Write> Footer<W> {
    /// On a terminal. `movable` says whether it can move its cursor.
    pub fn new(out: W, movable: bool) -> Self {
        Self { out, pending: Vec::new(), rows: Vec::new(), drawn: 0, movable, held: false }
    }

    /// Replaces the rows. None takes them away.
    pub fn set(&mut self, rows: Vec<String>) -> io::Result<()> {
        if !self.movable || self.held || (rows == self.rows && rows.len() == self.drawn) {
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
    pub(super) fn rows(&self) -> &[String] {
        &self.rows
    }

    fn erase(&mut self) -> io::Result<()> {
        if self.drawn > 0 {
            self.out.write_all(b"\r")?;
            if self.drawn > 1 {
                write!(self.out, "\x1b[{}A", self.drawn - 1)?;
            }
            // From here to the end of the screen.
            self.out.write_all(b"\x1b[J")?;
            self.drawn = 0;
        }
        Ok(())
    }

    fn draw(&mut self) -> io::Result<()> {
        self.out.write_all(self.rows.join("\r\n").as_bytes())?;
        self.drawn = self.rows.len();
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

    #[test]
    fn lines_go_by_above_the_rows() {
        let mut footer = Footer::new(Vec::new(), true);
        footer.set(vec!["a".to_owned(), "b".to_owned()]).unwrap();
        write!(footer, "one\ntw").unwrap();
        footer.set(vec!["c".to_owned()]).unwrap();
        writeln!(footer, "o").unwrap();
        footer.set(Vec::new()).unwrap();
        let text = String::from_utf8(footer.out).unwrap();
        assert_eq!(text, "a\r\nb\r\x1b[1A\x1b[Jone\na\r\nb\r\x1b[1A\x1b[Jc\r\x1b[Jtwo\nc\r\x1b[J");
    }

    #[test]
    fn what_is_held_comes_when_it_is_released() {
        let mut footer = Footer::new(Vec::new(), true);
        footer.set(vec!["a".to_owned()]).unwrap();
        footer.hold().unwrap();
        footer.set(vec!["b".to_owned()]).unwrap();
        writeln!(footer, "one").unwrap();
        assert_eq!(footer.out, b"a\r\x1b[J");
        footer.release().unwrap();
        assert!(footer.out.ends_with(b"one\na"));
    }

    #[test]
    fn a_terminal_that_cannot_move_its_cursor_gets_lines_alone() {
        let mut footer = Footer::new(Vec::new(), false);
        footer.set(vec!["a".to_owned()]).unwrap();
        writeln!(footer, "one").unwrap();
        assert_eq!(footer.out, b"one\n");
    }
}
