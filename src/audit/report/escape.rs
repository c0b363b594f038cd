//! Text of a log, made inert for a page: no tag, no attribute and no entity can begin in it, and nothing in it goes unseen or turns writing around.

use std::fmt::Write as _;

use crate::policy::error::is_hidden;

/// `text` for between tags and for quoted attributes. Control characters become their pictures (U+2400 and following), hidden and bidirectional
/// ones are written out; line feeds and tabs stay.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            '\0'..='\u{1f}' => out.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}')),
            '\u{7f}' => out.push('\u{2421}'),
            c if c.is_control() || is_hidden(c) => {
                let _infallible = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_begins_in_it_and_nothing_goes_unseen() {
        assert_eq!(escape("<script>\"'&</style>"), "&lt;script&gt;&quot;&#39;&amp;&lt;/style&gt;");
        assert_eq!(escape("a\u{1b}[31m\u{202e}b\0\r\n"), "a␛[31m\\u{202e}b␀␍\n");
    }

    proptest! {
        #[test]
        fn no_character_of_the_markup_survives(text in any::<String>()) {
            let out = escape(&text);
            prop_assert!(!out.contains(['<', '>', '"', '\'']));
            prop_assert!(out.chars().all(|c| matches!(c, '\n' | '\t') || !(c.is_control() || is_hidden(c))));
        }
    }
}
