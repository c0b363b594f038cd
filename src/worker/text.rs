//! Text on its way to the model: caps, and names made visible.

use std::borrow::Cow;

/// The most that one reply's text may hold, in bytes.
pub(crate) const REPLY_BYTES: usize = 256 * 1024;

/// Kept free in a reply for the lines that say what was left out.
const NOTE_BYTES: usize = 4 * 1024;

/// A reply's text in the making; it takes whole lines until it is full.
#[derive(Debug, Default)]
pub(crate) struct Body {
    text: String,
    notes: Vec<String>,
}

impl Body {
    /// Appends `line` and a line feed, or answers `false` and leaves the text as it was where the cap would be exceeded.
    pub(crate) fn push(&mut self, line: &str) -> bool {
        if self.text.len() + line.len() + 1 > REPLY_BYTES - NOTE_BYTES {
            return false;
        }
        self.text.push_str(line);
        self.text.push('\n');
        true
    }

    /// Adds a line for the end of the text, in brackets. Notes past the room that is kept for them are dropped.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        let used: usize = self.notes.iter().map(|earlier| earlier.len() + 3).sum();
        if used + note.len() + 3 <= NOTE_BYTES {
            self.notes.push(note);
        }
    }

    /// Whether no line was taken yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The text, followed by the notes.
    pub(crate) fn finish(mut self) -> String {
        for note in self.notes {
            self.text.push('[');
            self.text.push_str(&note);
            self.text.push_str("]\n");
        }
        self.text
    }
}

/// `text` with control characters escaped, so that a file's name cannot forge a line of the listing it stands in.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if character.is_control() { escaped.extend(character.escape_default()) } else { escaped.push(character) }
    }
    Cow::Owned(escaped)
}

/// The first `characters` characters of `text`, and how many follow them.
pub(crate) fn head(text: &str, characters: usize) -> (&str, usize) {
    match text.char_indices().nth(characters) {
        None => (text, 0),
        Some((end, _)) => (&text[..end], text[end..].chars().count()),
    }
}

/// `text` cut to `characters` characters, with a mark where it was cut: for quoting in messages.
pub(crate) fn quote(text: &str, characters: usize) -> String {
    let (start, more) = head(text, characters);
    if more == 0 { start.to_owned() } else { format!("{start}… [+{more} characters]") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_body_refuses_a_line_and_keeps_room_for_its_notes() {
        let mut body = Body::default();
        while body.push(&"x".repeat(1000)) {}
        for _ in 0..1000 {
            body.note("n".repeat(100));
        }
        let text = body.finish();
        assert!(text.len() <= REPLY_BYTES && text.ends_with("n]\n"), "{}", text.len());
    }

    #[test]
    fn control_characters_in_a_name_are_escaped() {
        assert_eq!(visible("a\nb\u{1b}[1m"), "a\\nb\\u{1b}[1m");
        assert!(matches!(visible("plain é"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_quotation_is_cut_between_characters() {
        assert_eq!(quote("äöü", 2), "äö… [+1 characters]");
        assert_eq!(quote("äöü", 3), "äöü");
    }
}
