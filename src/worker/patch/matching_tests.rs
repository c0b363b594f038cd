use proptest::prelude::*;

use super::*;
use crate::worker::patch::parse::{Operation, parse};

fn hunks(body: &str) -> Vec<Hunk> {
    let sections = parse(&format!("*** Begin Patch\n*** Update File: f\n{body}*** End Patch\n")).unwrap();
    match sections.into_iter().next().unwrap().operation {
        Operation::Update { hunks, .. } => hunks,
        other => panic!("{other:?}"),
    }
}

fn find(file: &str, body: &str) -> Result<Vec<(usize, usize, Tolerance)>, MatchError> {
    let lines: Vec<Cow<'_, str>> = file.lines().map(Cow::Borrowed).collect();
    let placements = locate(&hunks(body), &lines)?;
    Ok(placements.into_iter().map(|place| (place.start, place.old_lines, place.tolerance)).collect())
}

#[test]
fn hunks_are_found_where_the_table_says() {
    use Tolerance::{Exact, Indentation, Punctuation, TrailingSpace};
    let twice = "class A:\n  def f():\n    x\nclass B:\n  def f():\n    x\n";
    for (file, body, places) in [
        ("a\nb\nc\n", "@@\n b\n", vec![(1, 1, Exact)]),
        ("a \nb\t\n", "@@\n a\n-b\n", vec![(0, 2, TrailingSpace)]),
        ("  a\n\tb\n", "@@\n a\n-b\n", vec![(0, 2, Indentation)]),
        ("x = \u{201c}a\u{201d} \u{2013}\u{a0}b\n", "@@\n-x = \"a\" - b\n", vec![(0, 1, Punctuation)]),
        // Exactly, wherever it is, comes before loosely, even where that is earlier.
        ("a \nb\na\n", "@@\n-a\n", vec![(2, 1, Exact)]),
        // In order, each from the end of the one before.
        ("a\na\na\n", "@@\n-a\n@@\n-a\n", vec![(0, 1, Exact), (1, 1, Exact)]),
        // Several exact places and no header: the first.
        (twice, "@@\n     x\n", vec![(2, 1, Exact)]),
        (twice, "@@ class B\n     x\n", vec![(5, 1, Exact)]),
        (twice, "@@ class B:\n@@ def f():\n-    x\n", vec![(5, 1, Exact)]),
        // The header repeated as context, and a header shared by two hunks.
        (twice, "@@ def f():\n   def f():\n-    x\n", vec![(1, 2, Exact)]),
        ("f\na\nb\nc\n", "@@ f\n-a\n@@ f\n-c\n", vec![(1, 1, Exact), (3, 1, Exact)]),
        // The end of the file.
        ("a\nb\na\n", "@@\n-a\n*** End of File\n", vec![(2, 1, Exact)]),
        // Pure insertions.
        ("a\nb\n", "@@\n+x\n", vec![(2, 0, Exact)]),
        ("a\nb\n", "@@ a\n+x\n", vec![(1, 0, Exact)]),
        ("a\nb\n", "@@ a\n+x\n*** End of File\n", vec![(2, 0, Exact)]),
        ("", "@@\n+x\n", vec![(0, 0, Exact)]),
        // A blank context line at the end that is not in the file.
        ("a\nb\n", "@@\n a\n+x\n \n", vec![(0, 1, Exact)]),
        ("a\n\nb\n", "@@\n a\n+x\n \n", vec![(0, 2, Exact)]),
    ] {
        assert_eq!(find(file, body), Ok(places), "{body:?} in {file:?}");
    }
}

#[test]
fn a_hunk_found_only_by_ignoring_indentation_must_be_found_once() {
    let error = find("  a\n    a\n\ta\n", "@@\n-a\n").unwrap_err();
    assert!(matches!(&error, MatchError::Ambiguous { places, .. } if *places == [1, 2, 3]), "{error}");
    assert_eq!(find("  h\n  a\n    a\n", "@@ h\n-a\n").unwrap()[0].0, 1);
}

#[test]
fn a_hunk_that_is_nowhere_is_refused_with_the_nearest_place() {
    let file = "fn one() {\n    let x = 1;\n    let y = 2;\n}\nfn two() {}\n";
    let error = find(file, "@@\n fn one() {\n-    let x = 3;\n     let y = 2;\n").unwrap_err().to_string();
    assert!(error.contains("hunk 1 (patch line 3) does not match the file from line 1 on"), "{error}");
    assert!(error.contains("nearest place, line 1"), "{error}");
    assert!(error.contains("  -    let x = 1;\n  +    let x = 3;\n"), "{error}");
    // No line in common, but one alike.
    let error = find(file, "@@\n-fn twoo() {}\n").unwrap_err().to_string();
    assert!(error.contains("nearest place, line 5"), "{error}");
    let error = find(file, "@@\n-0123456789\n").unwrap_err().to_string();
    assert!(error.contains("nothing in the file is like it"), "{error}");
}

#[test]
fn each_other_reason_names_itself() {
    let error = find("a\nb\n", "@@ nowhere\n-a\n").unwrap_err().to_string();
    assert!(error.contains("no line of the file from line 1 on matches `@@ nowhere`"), "{error}");
    let error = find("a\nb\n", "@@\n-a\n*** End of File\n").unwrap_err().to_string();
    assert!(error.contains("does not match the file at its end"), "{error}");
    let error = find("a\nb\n", "@@\n-b\n@@\n-a\n").unwrap_err().to_string();
    assert!(error.contains("hunk 2") && error.contains("from line 3 on"), "{error}");
}

#[test]
fn the_explanation_of_a_large_hunk_stays_small() {
    let body: String = (0..3000).map(|n| format!(" {n} {}\n", "ä".repeat(300))).collect();
    let file: String = (0..3000).map(|n| format!("{n} {}\n", "ö".repeat(300))).collect();
    let error = find(&file, &format!("@@\n{body}")).unwrap_err().to_string();
    assert!(error.len() < MESSAGE_BYTES + 200, "{}", error.len());
}

proptest! {
    #[test]
    fn placements_ascend_stay_within_the_file_and_hold_the_hunks_lines(
        file in prop::collection::vec("[ab]? ?", 0..12),
        body in prop::collection::vec(("[ab]?", 0..3_u8), 1..6),
        at_end in any::<bool>(),
        header in prop::option::of("[ab]"),
    ) {
        let lines: Vec<HunkLine> = body
            .into_iter()
            .map(|(text, kind)| match kind { 0 => HunkLine::Context(text), 1 => HunkLine::Remove(text), _ => HunkLine::Add(text) })
            .collect();
        let hunk = Hunk { headers: header.into_iter().collect(), lines, at_end, patch_line: 1 };
        let file: Vec<Cow<'_, str>> = file.into_iter().map(Cow::Owned).collect();
        let hunks = [hunk.clone(), hunk];
        if let Ok(placements) = locate(&hunks, &file) {
            let mut cursor = 0;
            for (hunk, place) in hunks.iter().zip(placements) {
                prop_assert!(place.start >= cursor);
                cursor = place.start + place.old_lines;
                prop_assert!(cursor <= file.len());
                let old = hunk.lines.iter().filter_map(|line| match line {
                    HunkLine::Context(text) | HunkLine::Remove(text) => Some(text),
                    HunkLine::Add(_) => None,
                });
                for (wanted, there) in old.zip(&file[place.start..cursor]) {
                    prop_assert_eq!(wanted.trim(), there.trim());
                }
            }
        }
    }
}
