//! Text of a model, a tool or a file, made fit for a terminal: nothing in it moves the cursor, changes a colour, turns the direction of
//! writing around or stays unseen.

use std::fmt::Write as _;

use crate::policy::error::is_hidden;

/// `text` with everything that a terminal would act on, or that could not be seen, written out: `^[` for escape, `^M` for a carriage
/// return, `\u{202e}` for a character that turns writing around. Line feeds and tabs stay.
///
/// The writing is not reversible (a text may hold `^[` as two characters); it is for eyes, not for programs.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            // The caret notation of terminals and of cat -v: the control character with bit 6 flipped.
            '\0'..='\u{1f}' | '\u{7f}' => {
                out.push('^');
                out.push(char::from_u32(u32::from(c) ^ 0x40).unwrap_or('?'));
            }
            c if c.is_control() || is_hidden(c) => {
                let _infallible = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// As [`visible`], on one line: line feeds are written out as `^J`, tabs are spaces.
pub fn visible_line(text: &str) -> String {
    visible(text).replace('\n', "^J").replace('\t', " ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_written_out() {
        let cases = [
            ("\u{1b}[2J\u{1b}]0;title\u{7}", "^[[2J^[]0;title^G"),
            ("safe\rrm -rf", "safe^Mrm -rf"),
            ("\u{9b}31m\u{7f}\0", "\\u{9b}31m^?^@"),
            ("a\u{202e}txt.exe\u{2066}", "a\\u{202e}txt.exe\\u{2066}"),
            ("zero\u{200b}width\u{feff}", "zero\\u{200b}width\\u{feff}"),
            ("\u{e0041}", "\\u{e0041}"),
            ("two\n\tlines, Grüße, 漢字, ❤\u{fe0f}", "two\n\tlines, Grüße, 漢字, ❤\u{fe0f}"),
        ];
        for (given, expected) in cases {
            assert_eq!(visible(given), expected);
        }
        assert_eq!(visible_line("a\nb\tc\u{1b}"), "a^Jb c^[");
    }

    #[test]
    fn every_table_of_hidden_characters_is_the_same() {
        for c in '\0'..=char::MAX {
            assert_eq!(is_hidden(c), crate::model::is_hidden(c), "{:x}", u32::from(c));
        }
    }

    /// Unicode's Bidi_Control property and the zero-width characters, written down apart from the table that is tested.
    const DIRECTIONS: [char; 18] = [
        '\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}',
        '\u{2069}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}', '\u{2028}',
    ];

    fn hostile() -> impl Strategy<Value = char> {
        prop_oneof![
            any::<char>(),
            (0u32..0xa0).prop_map(|number| char::from_u32(number).unwrap_or('?')),
            proptest::sample::select(DIRECTIONS.to_vec()),
        ]
    }

    proptest! {
        #[test]
        fn no_control_or_bidirectional_character_survives(text in proptest::collection::vec(hostile(), 0..200)) {
            let text: String = text.into_iter().collect();
            for c in visible(&text).chars() {
                let number = u32::from(c);
                prop_assert!(number >= 0x20 || c == '\n' || c == '\t', "{number:x}");
                prop_assert!(!(0x7f..0xa0).contains(&number), "{number:x}");
                prop_assert!(!DIRECTIONS.contains(&c), "{number:x}");
            }
            prop_assert!(visible_line(&text).chars().all(|c| !c.is_control()));
        }

        #[test]
        fn plain_text_is_left_alone(text in "[ -~äß漢\n\t]{0,80}") {
            prop_assert_eq!(visible(&text), text);
        }
    }
}
