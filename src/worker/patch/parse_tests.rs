use proptest::prelude::*;

use super::*;

fn patch(body: &str) -> String {
    format!("*** Begin Patch\n{body}*** End Patch\n")
}

fn one(body: &str) -> Operation {
    let mut sections = parse(&patch(body)).unwrap();
    assert_eq!(sections.len(), 1);
    sections.remove(0).operation
}

fn hunks(body: &str) -> Vec<Hunk> {
    match one(&format!("*** Update File: f\n{body}")) {
        Operation::Update { move_to: None, hunks } => hunks,
        other => panic!("{other:?}"),
    }
}

fn context(text: &str) -> HunkLine {
    HunkLine::Context(text.to_owned())
}
fn remove(text: &str) -> HunkLine {
    HunkLine::Remove(text.to_owned())
}
fn add(text: &str) -> HunkLine {
    HunkLine::Add(text.to_owned())
}

#[test]
fn each_kind_of_section_is_parsed() {
    let sections = parse(&patch(
        "*** Add File: new dir/a.txt\n+one\n+\n++plus\n*** Delete File: /abs/b\n*** Update File: ../c\n*** Move to: d\n@@ fn main\n same\n-old\n+new\n*** End of File\n",
    ))
    .unwrap();
    let lines = ["one", "", "+plus"].map(str::to_owned).to_vec();
    assert_eq!(sections[0], Section { path: "new dir/a.txt".into(), operation: Operation::Add { lines } });
    assert_eq!(sections[1], Section { path: "/abs/b".into(), operation: Operation::Delete });
    let hunk =
        Hunk { headers: vec!["fn main".into()], lines: vec![context("same"), remove("old"), add("new")], at_end: true, patch_line: 9 };
    let operation = Operation::Update { move_to: Some("d".into()), hunks: vec![hunk] };
    assert_eq!(sections[2], Section { path: "../c".into(), operation });
}

#[test]
fn what_cannot_be_misunderstood_is_taken_as_meant() {
    let plain = parse(&patch("*** Update File: f\n@@\n-a\n+b\n")).unwrap();
    let inner = "*** Begin Patch\n*** Update File: f\n@@\n-a\n+b\n*** End Patch";
    for wrapped in [
        format!("\n\n{inner}\n\n"),
        format!("apply_patch <<'EOF'\n{inner}\nEOF\n"),
        format!("<<\"PATCH\"\n{inner}\nPATCH"),
        format!("<<EOF\n\n{inner}\n\nEOF\n"),
        format!("```patch\n{inner}\n```\n"),
        inner.replace('\n', "\r\n"),
        "  *** Begin Patch\n\n *** Update File:   f  \n\n@@ -1,2 +3 @@\n-a\n+b\n\n  *** End Patch ".to_owned(),
        "*** Begin Patch\n*** Update File: f\n-a\n+b\n*** End Patch".to_owned(),
        "*** Begin Patch\n*** Update File: f\n*** Move to: ./f\n@@ @@\n-a\n+b\n\\ No newline at end of file\n*** End Patch".to_owned(),
    ] {
        let mut parsed = parse(&wrapped).unwrap_or_else(|error| panic!("{error} in {wrapped:?}"));
        if let Operation::Update { hunks, .. } = &mut parsed[0].operation {
            hunks[0].patch_line = 3;
        }
        assert_eq!(parsed, plain, "{wrapped:?}");
    }
}

#[test]
fn headers_in_a_row_belong_to_one_hunk() {
    let hunks = hunks("@@ class A\n@@     def f(self):\n-a\n@@ -3,1 +3,1 @@ fn tail\n+b\n");
    assert_eq!(hunks[0].headers, ["class A", "def f(self):"]);
    assert_eq!(hunks[1].headers, ["fn tail"]);
}

#[test]
fn an_empty_line_is_empty_context_inside_a_hunk_and_a_separator_after_it() {
    let hunks = hunks("@@\n a\n\n+b\n\n\n@@\n c\n\n");
    assert_eq!(hunks[0].lines, [context("a"), context(""), add("b")]);
    assert_eq!(hunks[1].lines, [context("c")]);
}

#[test]
fn a_forgotten_plus_on_an_empty_line_of_a_new_file_is_forgiven() {
    assert_eq!(one("*** Add File: f\n+a\n\n+b\n\n"), Operation::Add { lines: vec!["a".into(), String::new(), "b".into()] });
    assert_eq!(one("*** Add File: f\n"), Operation::Add { lines: vec![] });
}

#[test]
fn section_marks_inside_a_hunk_are_text_when_they_have_a_prefix() {
    let hunks = hunks("@@\n *** End Patch\n-*** Add File: x\n+@@\n");
    assert_eq!(hunks[0].lines, [context("*** End Patch"), remove("*** Add File: x"), add("@@")]);
}

#[test]
fn a_bad_patch_is_refused_with_its_line_and_what_was_expected() {
    for (text, message) in [
        ("", "line 1: expected `*** Begin Patch`, found the end of the patch"),
        ("hello", "line 1: expected `*** Begin Patch`, found `hello`"),
        ("--- a/x\n+++ b/x\n", "a unified diff is another format"),
        ("*** Begin Patch\n", "line 1: expected `*** Add File: path`"),
        ("*** Begin Patch\n*** End Patch", "line 2: expected a file section"),
        ("*** Begin Patch\n*** Rename File: x\n*** End Patch", "line 2: expected `*** Add File"),
        ("*** Begin Patch\n*** Delete File: x\n*** End Patch\nmore", "line 4: expected nothing after"),
        ("*** Begin Patch\n*** Delete File:  \n*** End Patch", "line 2: the path is empty"),
        ("*** Begin Patch\n*** Delete File: a\0b\n*** End Patch", "line 2: the path contains a NUL"),
        ("*** Begin Patch\n*** Add File: x\nplain\n*** End Patch", "line 3: expected"),
        ("*** Begin Patch\n*** Update File: x\n*** End Patch", "line 3: expected a hunk"),
        ("*** Begin Patch\n*** Update File: x\n@@ head\n*** End Patch", "line 4: expected a line that starts with a space"),
        ("*** Begin Patch\n*** Update File: x\n@@\n*** End of File\n*** End Patch", "line 4: expected a line that starts with a space"),
        ("*** Begin Patch\n*** Update File: x\n@@\n a\nb\n*** End Patch", "line 5: expected a line that starts with"),
        ("*** Begin Patch\n*** Update File: x\n@@\n a\n*** End of File\n b\n*** End Patch", "line 6: expected `@@`"),
        ("*** Begin Patch\n*** Delete File: x\n*** Delete File: a/../x\n*** End Patch", "line 3: a/../x is named again (first in line 2)"),
        ("*** Begin Patch\n*** Delete File: x\n*** Update File: y\n*** Move to: ./x\n*** End Patch", "line 4: ./x is named again"),
    ] {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.contains(message), "{text:?}: {error}");
    }
}

#[test]
fn the_caps_on_size_files_and_hunks_hold() {
    assert!(matches!(parse(&"x".repeat(PATCH_BYTES + 1)), Err(ParseError::TooLarge { .. })));
    let files: String = (0..FILES).map(|n| format!("*** Delete File: {n}\n")).collect();
    assert_eq!(parse(&patch(&files)).unwrap().len(), FILES);
    assert!(matches!(parse(&patch(&format!("{files}*** Delete File: x\n"))), Err(ParseError::TooManyFiles { line: 1002 })));
    let hunks = format!("*** Update File: f\n{}", "@@\n+a\n".repeat(HUNKS));
    assert!(parse(&patch(&hunks)).is_ok());
    assert!(matches!(parse(&patch(&format!("{hunks}@@\n+a\n"))), Err(ParseError::TooManyHunks { .. })));
    assert!(matches!(parse(&patch(&format!("*** Delete File: {}\n", "x".repeat(5000)))), Err(ParseError::BadPath { .. })));
}

#[test]
fn a_patch_of_four_mebibytes_of_blank_lines_is_parsed_in_linear_time() {
    let started = std::time::Instant::now();
    let _ = parse(&patch(&format!("*** Update File: f\n@@\n a\n{}+b\n", "\n".repeat(PATCH_BYTES - 200))));
    let _ = parse(&patch(&format!("*** Add File: f\n{}", "\n".repeat(PATCH_BYTES - 200))));
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

/// Pieces that patches are made of, so that random text gets past the first line.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("*** Begin Patch".to_owned()),
        Just("*** End Patch".to_owned()),
        Just("*** Update File: a".to_owned()),
        Just("*** Add File: b".to_owned()),
        Just("*** Delete File: c".to_owned()),
        Just("*** Move to: d".to_owned()),
        Just("*** End of File".to_owned()),
        Just("@@".to_owned()),
        Just("@@ -1 @@ x".to_owned()),
        Just("<<EOF".to_owned()),
        Just(String::new()),
        "[ +-]\\PC{0,5}",
        "\\PC{0,8}",
    ]
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        let _ = parse(&text);
        let _ = parse(&patch(&text));
    }

    #[test]
    fn arbitrary_sequences_of_patch_pieces_never_panic(pieces in prop::collection::vec(piece(), 0..20), crlf in any::<bool>()) {
        let text = pieces.join(if crlf { "\r\n" } else { "\n" });
        let _ = parse(&text);
        let _ = parse(&patch(&format!("{text}\n")));
    }
}
