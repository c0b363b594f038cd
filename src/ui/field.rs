//! A text that is typed and changed within a view.

use unicode_width::UnicodeWidthStr;

use super::{keys::Key, sanitize::visible, scroller::pieces};

/// The longest text in bytes.
const CAP: usize = 64 * 1024;

/// See the module.
#[derive(Debug, Clone)]
pub struct Field {
    text: Vec<char>,
    cursor: usize,
    /// Whether it may have more than one line.
    lines: bool,
}

impl Field {
    /// Begins with a text, the cursor at its end.
    pub fn new(text: &str, lines: bool) -> Self {
        let text: Vec<char> = text.chars().collect();
        Self { cursor: text.len(), text, lines }
    }

    /// The text.
    pub fn text(&self) -> String {
        self.text.iter().collect()
    }

    /// Takes a key that changes it.
    pub fn key(&mut self, key: &Key) {
        match key {
            Key::Char(c) => self.insert(&c.to_string()),
            Key::Paste(text) => self.insert(&text.replace("\r\n", "\n").replace('\r', "\n")),
            Key::Ctrl('j') => self.insert("\n"),
            Key::Backspace if self.cursor > 0 => {
                self.cursor -= 1;
                self.text.remove(self.cursor);
            }
            Key::Delete if self.cursor < self.text.len() => drop(self.text.remove(self.cursor)),
            Key::Ctrl('u') => {
                let start = self.line_start();
                self.text.drain(start..self.cursor);
                self.cursor = start;
            }
            Key::Ctrl('k') => drop(self.text.drain(self.cursor..self.line_end())),
            Key::Left => self.cursor = self.cursor.saturating_sub(1),
            Key::Right => self.cursor = (self.cursor + 1).min(self.text.len()),
            Key::Home | Key::Ctrl('a') => self.cursor = self.line_start(),
            Key::End | Key::Ctrl('e') => self.cursor = self.line_end(),
            Key::Up => self.vertical(true),
            Key::Down => self.vertical(false),
            _ => {}
        }
    }

    fn insert(&mut self, text: &str) {
        for c in text.chars() {
            if self.text.len() * 4 >= CAP {
                return;
            }
            let c = if c == '\n' && !self.lines { ' ' } else { c };
            self.text.insert(self.cursor, c);
            self.cursor += 1;
        }
    }

    fn line_start(&self) -> usize {
        self.text[..self.cursor].iter().rposition(|c| *c == '\n').map_or(0, |end| end + 1)
    }

    fn line_end(&self) -> usize {
        self.text[self.cursor..].iter().position(|c| *c == '\n').map_or(self.text.len(), |end| self.cursor + end)
    }

    fn vertical(&mut self, up: bool) {
        let column = self.cursor - self.line_start();
        let to = if up { self.line_start().checked_sub(1) } else { Some(self.line_end() + 1).filter(|next| *next <= self.text.len()) };
        let Some(to) = to else { return };
        self.cursor = to;
        self.cursor = (self.line_start() + column).min(self.line_end());
    }

    /// Its rows in so many columns, as many as there is room for around the cursor, and where the cursor is in them.
    pub fn rows(&self, width: usize, height: usize) -> (Vec<String>, (usize, usize)) {
        let width = width.max(2);
        let show = |part: &[char]| -> Vec<String> {
            let text: String = part.iter().collect();
            let line =
                |line: &str| pieces(&visible(line).replace('\t', "    "), width, width).into_iter().map(str::to_owned).collect::<Vec<_>>();
            text.split('\n').flat_map(line).collect()
        };
        let rows = show(&self.text);
        let before = show(&self.text[..self.cursor]);
        let (mut row, mut column) = (before.len().saturating_sub(1), before.last().map_or(0, |last| last.width()));
        if column >= width {
            (row, column) = (row + 1, 0);
        }
        let top = (row + 1).saturating_sub(height);
        let shown: Vec<String> = rows.into_iter().chain(std::iter::repeat(String::new())).skip(top).take(height).collect();
        (shown, (row - top.min(row), column))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_can_be_changed_anywhere() {
        let mut field = Field::new("git psh", true);
        for key in [
            Key::Left,
            Key::Left,
            Key::Char('u'),
            Key::End,
            Key::Ctrl('j'),
            Key::Paste("ls\r\n-l".to_owned()),
            Key::Up,
            Key::Home,
            Key::Delete,
        ] {
            field.key(&key);
        }
        assert_eq!(field.text(), "git push\ns\n-l");
        field.key(&Key::Ctrl('k'));
        field.key(&Key::Backspace);
        assert_eq!(field.text(), "git push\n-l");
        let mut word = Field::new("", false);
        word.key(&Key::Paste("one\ntwo".to_owned()));
        assert_eq!(word.text(), "one two");
    }

    fn key() -> impl Strategy<Value = Key> {
        prop_oneof![
            any::<char>().prop_map(Key::Char),
            "\\PC{0,5}".prop_map(Key::Paste),
            proptest::sample::select(vec![
                Key::Left,
                Key::Right,
                Key::Up,
                Key::Down,
                Key::Home,
                Key::End,
                Key::Backspace,
                Key::Delete,
                Key::Ctrl('j'),
                Key::Ctrl('k'),
                Key::Ctrl('u'),
            ]),
        ]
    }

    proptest! {
        #[test]
        fn any_keys_leave_a_field_whose_rows_fit(text in ".{0,60}", keys in proptest::collection::vec(key(), 0..60), width in 0usize..40, height in 1usize..10) {
            let mut field = Field::new(&text, true);
            for key in &keys {
                field.key(key);
                prop_assert!(field.cursor <= field.text.len());
            }
            let (rows, (row, column)) = field.rows(width, height);
            prop_assert_eq!(rows.len(), height);
            prop_assert!(row < height && column <= width.max(8));
            prop_assert!(rows.iter().all(|row| !row.chars().any(char::is_control)));
        }
    }
}
