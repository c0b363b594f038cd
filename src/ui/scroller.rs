//! Lines that are more than the screen holds: folded, never cut off, and shown a part at a time.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::{
    columns::cluster_columns,
    keys::Key,
    sanitize::visible_line,
    style::{Paint, Tone},
};
use crate::approval::question::{Line, LineKind};

/// See the module.
#[derive(Debug)]
pub struct Scroller {
    lines: Vec<Line>,
    width: usize,
    height: usize,
    rows: Vec<(Tone, String)>,
    top: usize,
    /// Whether the last row has been on the screen.
    reached: bool,
}

impl Scroller {
    /// Of lines whose text may hold anything. Nothing has been on the screen yet.
    pub fn new(lines: Vec<Line>) -> Self {
        Self { lines, width: 0, height: 0, rows: Vec::new(), top: 0, reached: false }
    }

    /// Folds the lines for a screen of another size.
    pub fn resize(&mut self, width: usize, height: usize) {
        if (self.width, self.height) != (width, height) {
            (self.width, self.height) = (width, height);
            self.rows = self.lines.iter().flat_map(|line| fold(line, width)).collect();
            self.scroll(0);
        }
    }

    /// Goes down by so many rows, or up.
    pub fn scroll(&mut self, by: isize) {
        self.top = self.top.saturating_add_signed(by).min(self.rows.len().saturating_sub(self.height));
        // On a screen without room nothing is seen.
        self.reached |= self.height > 0 && self.width > 0 && self.left() == 0;
    }

    /// Rows of one page, less one that stays in sight.
    fn page(&self) -> isize {
        isize::try_from(self.height.saturating_sub(1).max(1)).unwrap_or(1)
    }

    /// To the beginning, or to the end.
    fn jump(&mut self, end: bool) {
        self.top = 0;
        self.scroll(if end { isize::MAX } else { 0 });
    }

    /// Moves by a key; says whether it was one that moves.
    pub fn key(&mut self, key: &Key) -> bool {
        match key {
            Key::Down | Key::Char('j') => self.scroll(1),
            Key::Up | Key::Char('k') => self.scroll(-1),
            Key::PageDown | Key::Char(' ') | Key::Ctrl('f') => self.scroll(self.page()),
            Key::PageUp | Key::Ctrl('b') => self.scroll(-self.page()),
            Key::Home | Key::Char('g') => self.jump(false),
            Key::End | Key::Char('G') => self.jump(true),
            _ => return false,
        }
        true
    }

    /// Rows below those on the screen.
    pub fn left(&self) -> usize {
        self.rows.len().saturating_sub(self.top + self.height)
    }

    /// Whether the end has been on the screen.
    pub fn reached(&self) -> bool {
        self.reached
    }

    /// How many rows are below, in words. If a yes `waits` for the end, it says so until the end has been on the screen.
    pub fn rest(&self, waits: bool) -> String {
        match self.left() {
            0 => String::new(),
            left if self.reached || !waits => format!("{left} more rows below"),
            left => format!("{left} more rows below; a yes is taken at the end: space goes on"),
        }
    }

    /// The rows on the screen: as many as there is room for.
    pub fn shown(&self, paint: Paint) -> Vec<String> {
        let rows = self.rows.iter().skip(self.top).take(self.height).map(|(tone, text)| paint.text(*tone, text));
        rows.chain(std::iter::repeat(String::new())).take(self.height).collect()
    }
}

/// What stands before a row, and its colour.
const fn look(kind: LineKind) -> (&'static str, Tone) {
    match kind {
        LineKind::Title => ("", Tone::Strong),
        LineKind::Text => ("  ", Tone::Plain),
        LineKind::Added => ("  ", Tone::Good),
        LineKind::Removed => ("  ", Tone::Bad),
        LineKind::Place => ("  ", Tone::Accent),
        LineKind::Note => ("  ", Tone::Faint),
        LineKind::Warning => ("! ", Tone::Caution),
    }
}

/// Marks a row that goes on with the line above it.
const MARK: char = '┊';
/// What stands before such a row.
const GOES_ON: &str = "  ┊ ";

fn fold(line: &Line, width: usize) -> Vec<(Tone, String)> {
    let (mark, tone) = look(line.kind);
    let mut text = visible_line(&line.text);
    // No line may pass for the rest of the one above it.
    if text.starts_with(MARK) {
        text = text.replacen(MARK, &MARK.escape_unicode().to_string(), 1);
    }
    let mut rows = Vec::new();
    for piece in pieces(&text, width.saturating_sub(mark.width()), width.saturating_sub(GOES_ON.width())) {
        let mark = if rows.is_empty() { mark } else { GOES_ON };
        rows.push((tone, format!("{mark}{piece}")));
    }
    rows
}

/// Cuts a text into pieces of so many columns, the first and all others, and loses nothing of it.
pub fn pieces(text: &str, first: usize, others: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut used) = (0, 0);
    for (place, cluster) in text.grapheme_indices(true) {
        let width = if pieces.is_empty() { first } else { others };
        if used + cluster_columns(cluster) > width && place > start {
            pieces.push(&text[start..place]);
            (start, used) = (place, 0);
        }
        used += cluster_columns(cluster);
    }
    pieces.push(&text[start..]);
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(text: &str) -> Line {
        Line { kind: LineKind::Text, text: text.to_owned() }
    }

    #[test]
    fn the_end_has_to_be_on_the_screen() {
        let mut scroller = Scroller::new((0..30).map(|number| line(&number.to_string())).collect());
        scroller.resize(40, 10);
        assert!(!scroller.reached() && scroller.left() == 20);
        scroller.scroll(19);
        assert!(!scroller.reached());
        scroller.scroll(1);
        assert!(scroller.reached() && scroller.left() == 0);
        scroller.jump(false);
        assert!(scroller.reached() && scroller.left() == 20);
        let mut short = Scroller::new(vec![line("x")]);
        short.resize(40, 0);
        assert!(!short.reached());
        short.resize(40, 10);
        assert!(short.reached());
    }

    #[test]
    fn no_line_passes_for_the_rest_of_the_one_above_it() {
        let rows = fold(&line("┊ rm -rf x"), 40);
        assert_eq!(rows[0].1, "  \\u{250a} rm -rf x");
    }

    proptest! {
        #[test]
        fn all_of_a_text_is_in_rows_that_fit(text in "[a-z \u{202e}\u{1b}漢é\u{301}👩]{0,200}", width in 8usize..60) {
            let rows = fold(&line(&text), width);
            let mut all = String::new();
            for (place, (_, row)) in rows.iter().enumerate() {
                prop_assert!(row.width() <= width, "{row:?}");
                all.push_str(row.strip_prefix(if place == 0 { "  " } else { GOES_ON }).unwrap());
            }
            prop_assert_eq!(all, visible_line(&text));
        }
    }
}
