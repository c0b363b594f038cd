//! A plain table: columns as wide as their widest cell, the last one folded between words.

use super::{
    sanitize::visible_line,
    style::{Paint, Tone},
};

/// Spaces between two columns.
const GAP: usize = 2;
/// The last column is not folded into less than this.
const NARROWEST: usize = 24;

/// One cell. Its text is made visible, so a cell may hold anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell with a colour.
    pub fn new(tone: Tone, text: &str) -> Self {
        Self { text: visible_line(text), tone }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(Tone::Plain, text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(Tone::Plain, &text)
    }
}

/// Rows of cells. The width of text is taken to be its number of characters.
#[derive(Debug, Clone, Default)]
pub struct Table {
    indent: usize,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table that stands `indent` columns from the left.
    pub const fn new(indent: usize) -> Self {
        Self { indent, rows: Vec::new() }
    }

    /// Adds a row. Where it has fewer cells than others, its last one reaches to the right edge.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines, each ended by a line feed, none with spaces at its end.
    pub fn render(&self, width: usize, paint: Paint) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            // The last cell of a row sets no width: nothing stands to the right of it.
            for (column, cell) in row.iter().enumerate().take(row.len().saturating_sub(1)) {
                let wide = cell.text.chars().count();
                match widths.get_mut(column) {
                    Some(widest) => *widest = wide.max(*widest),
                    None => widths.push(wide),
                }
            }
        }
        self.rows.iter().map(|row| self.lines(row, &widths, width, paint)).collect()
    }

    fn lines(&self, row: &[Cell], widths: &[usize], width: usize, paint: Paint) -> String {
        let Some((last, before)) = row.split_last() else { return "\n".to_owned() };
        let mut line = " ".repeat(self.indent);
        let mut edge = self.indent;
        for (cell, wide) in before.iter().zip(widths) {
            line.push_str(&paint.text(cell.tone, &cell.text));
            line.push_str(&" ".repeat((wide + GAP).saturating_sub(cell.text.chars().count())));
            edge += wide + GAP;
        }
        let folded = fold(&last.text, width.saturating_sub(edge).max(NARROWEST));
        let folded: Vec<String> = folded.iter().map(|part| paint.text(last.tone, part)).collect();
        line.push_str(&folded.join(&format!("\n{}", " ".repeat(edge))));
        line.truncate(line.trim_end().len());
        line + "\n"
    }
}

/// `text` in lines of at most `width` characters. A word that is longer stays whole, so that a path can be copied.
pub fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let wide = word.chars().count();
        if used > 0 && used + 1 + wide > width {
            lines.push(String::new());
            used = 0;
        }
        let Some(line) = lines.last_mut() else { continue };
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        line.push_str(word);
        used += wide;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(2);
        table.row(["name".into(), "why it is there".into()]);
        table.row([Cell::new(Tone::Good, "a longer name"), "one two three four five six seven".into()]);
        table.row(["x".into(), "".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_the_last_one_is_folded() {
        let expected = "  name           why it is there\n  a longer name  one two three four five\n                 six seven\n  x\n";
        assert_eq!(table().render(41, Paint::PLAIN), expected);
    }

    #[test]
    fn colours_do_not_move_columns() {
        let painted = table().render(41, Paint::new(true, |_| None));
        let plain = painted.replace("\u{1b}[32m", "").replace("\u{1b}[0m", "");
        assert_ne!(painted, plain);
        assert_eq!(plain, table().render(41, Paint::PLAIN));
    }

    #[test]
    fn a_cell_cannot_break_out_of_its_row() {
        let mut table = Table::new(0);
        table.row(["a\nforged".into(), "\u{1b}[2J\u{202e}".into()]);
        assert_eq!(table.render(80, Paint::PLAIN), "a^Jforged  ^[[2J\\u{202e}\n");
    }

    #[test]
    fn a_word_longer_than_the_line_stays_whole() {
        assert_eq!(fold("see /a/very/long/path now", 8), ["see", "/a/very/long/path", "now"]);
    }
}
