//! Text in the columns of a terminal, of which a character may take none, one or two.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The columns that a text takes, at most: terminals do not agree on clusters (emoji with a modifier, a variation selector), and a row that is wider than it was
/// taken for would push others off the screen.
pub fn columns(text: &str) -> usize {
    text.graphemes(true).map(cluster_columns).sum()
}

/// The same of one cluster.
pub fn cluster_columns(cluster: &str) -> usize {
    cluster.width().max(cluster.chars().map(|c| c.width().unwrap_or(0) + usize::from(('\u{fe00}'..='\u{fe0f}').contains(&c))).sum())
}

/// As much of the beginning of a line as fits, with a mark where something is left out.
pub fn fit(line: &str, columns: usize) -> String {
    if self::columns(line) <= columns {
        return line.to_owned();
    }
    let mut fitted = String::new();
    let mut used = 0;
    for cluster in line.graphemes(true) {
        used += cluster_columns(cluster);
        // One for the mark.
        if used + 1 > columns {
            break;
        }
        fitted.push_str(cluster);
    }
    if columns > 0 {
        fitted.push('…');
    }
    fitted
}

/// Cuts a line that is too long: at the last blank that lets the rest begin a line of its own, else where it must. The second part is what is left.
pub fn cut(line: &str, columns: usize) -> Option<(&str, &str)> {
    if self::columns(line) <= columns {
        return None;
    }
    let (mut used, mut blank) = (0, None);
    for (place, cluster) in line.grapheme_indices(true) {
        used += cluster_columns(cluster);
        if used > columns {
            return Some(match blank {
                Some(blank) => (&line[..blank], line[blank..].trim_start_matches(' ')),
                // Always at least one, or nothing would ever be left.
                None if place == 0 => line.split_at(cluster.len()),
                None => line.split_at(place),
            });
        }
        if cluster == " " && place > 0 {
            blank = Some(place);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_cut_at_blanks() {
        assert_eq!(cut("one two three", 8), Some(("one two", "three")));
        assert_eq!(cut("onetwothree", 4), Some(("onet", "wothree")));
        assert_eq!(cut("short", 8), None);
        assert_eq!(fit("漢字漢字", 5), "漢字…");
        assert_eq!(fit("plain", 5), "plain");
    }

    proptest! {
        #[test]
        fn nothing_is_wider_than_it_may_be_and_nothing_is_lost(text in "[a-z 漢字é\u{301}👩\u{200d}🔬]{0,60}", width in 0usize..30) {
            prop_assert!(fit(&text, width).width() <= width);
            let (mut rest, mut all) = (text.as_str(), String::new());
            while let Some((line, more)) = cut(rest, width) {
                prop_assert!(more.len() < rest.len());
                prop_assert!(line.width() <= width.max(2) || line.graphemes(true).count() == 1);
                all.push_str(line);
                rest = more;
            }
            all.push_str(rest);
            prop_assert_eq!(all.replace(' ', ""), text.replace(' ', ""));
        }
    }
}
