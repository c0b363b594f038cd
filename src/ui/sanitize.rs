//! Hostile text made harmless for a terminal.

/// `text` with everything that a terminal would act on, or that would hide or reorder what is read, shown instead as an escape. Line
/// ends and tabs stay.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            '\r' => {}
            '\u{0}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}' => shown.extend(character.escape_unicode()),
            _ => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_direction_marks_are_shown() {
        assert_eq!(visible("a\x1b[31mb\u{202e}c\r\nd\te"), "a\\u{1b}[31mb\\u{202e}c\nd\te");
    }

    proptest::proptest! {
        #[test]
        fn no_control_or_direction_mark_survives(text in ".*") {
            assert!(visible(&text).chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
            assert!(!visible(&text).contains(['\u{202a}', '\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}']));
        }
    }
}
