//! Text from a server, made fit to be shown.

/// Longest text from a server that is repeated in an error, in bytes.
const MAX_SERVER_TEXT: usize = 2048;

/// Escapes what a terminal would act on or what would make text look like other text (control characters, bidirectional and
/// zero-width ones), replaces `key`, and cuts at [`MAX_SERVER_TEXT`] bytes.
pub(super) fn shown(text: &str, key: Option<&str>) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_SERVER_TEXT));
    let without_key = match key {
        Some(key) if !key.is_empty() && text.contains(key) => text.replace(key, "[key]"),
        _ => text.to_owned(),
    };
    for character in without_key.trim().chars() {
        if out.len() >= MAX_SERVER_TEXT {
            out.push('…');
            break;
        }
        if character.is_control() || is_hidden(character) { out.extend(character.escape_default()) } else { out.push(character) }
    }
    out
}

/// Whether a character cannot be seen or makes other text look like what it is not. The same table as that of policies, which this module
/// may not import; a test where both are used compares them.
pub(crate) const fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_and_direction_marks_are_escaped_and_the_key_is_replaced() {
        assert_eq!(shown("a\u{1b}[2J\u{202e}b sk-1 ", Some("sk-1")), "a\\u{1b}[2J\\u{202e}b [key]");
    }

    #[test]
    fn long_text_is_cut() {
        let out = shown(&"ä".repeat(5000), None);
        assert!(out.len() <= MAX_SERVER_TEXT + "…".len() + 1 && out.ends_with('…'));
    }
}
