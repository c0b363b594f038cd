//! `search`.

use std::fs;
use std::os::unix::fs::symlink;

use portcullis::worker::{ErrorKind, Reply, serve};

use crate::{Search, make_fifo, ok, refused, tree};

#[test]
fn matches_are_shown_with_path_and_line_sorted_by_path() {
    let dir = tree(&[("b/two.rs", "x\nneedle 2\n"), ("a.rs", "needle 1\nNeedle\nlast needle"), ("c.txt", "nothing")]);
    let all = Search::default();
    assert_eq!(ok(&dir, &all.request("needle")).0, "a.rs:1:needle 1\na.rs:3:last needle\nb/two.rs:2:needle 2\n");
    assert_eq!(ok(&dir, &all.request("absent")), ("no matches\n".into(), false));
    let named = Search { path: Some("b"), ..all };
    assert_eq!(ok(&dir, &named.request("needle")).0, "b/two.rs:2:needle 2\n");
    let file = Search { path: Some("./a.rs"), case_insensitive: true, ..Search::default() };
    assert_eq!(ok(&dir, &file.request("^NEEDLE$")).0, "./a.rs:2:Needle\n");
    let only = Search { files_only: true, glob: Some("*.rs"), ..Search::default() };
    assert_eq!(ok(&dir, &only.request("e")).0, "a.rs\nb/two.rs\n");
    let not = Search { glob: Some("!b"), ..Search::default() };
    assert_eq!(ok(&dir, &not.request("needle 2")).0, "no matches\n");
    let around = Search { context: Some(1), ..Search::default() };
    assert_eq!(ok(&dir, &around.request("last|needle 2")).0, "a.rs-2-Needle\na.rs:3:last needle\n--\nb/two.rs-1-x\nb/two.rs:2:needle 2\n");
}

#[test]
fn ignored_hidden_binary_and_git_files_are_skipped_and_links_not_followed() {
    let dir = tree(&[
        (".gitignore", "ignored/\n*.log\n!kept.log\n"),
        ("ignored/a", "needle"),
        ("b.log", "needle"),
        ("kept.log", "needle"),
        (".ignore", "c\n"),
        ("c", "needle"),
        (".hidden/d", "needle"),
        (".git/e", "needle"),
        ("sub/.git/f", "needle"),
        ("bin", "needle\n\0\n"),
    ]);
    fs::write(dir.path().join("late-bin"), format!("needle\n{}\0", "x\n".repeat(100_000))).unwrap();
    let outside = tree(&[("g", "needle")]);
    symlink(outside.path(), dir.path().join("link")).unwrap();
    symlink(outside.path().join("g"), dir.path().join("link-file")).unwrap();
    make_fifo(&dir.path().join("fifo"));
    assert_eq!(
        ok(&dir, &Search { path: Some("link"), ..Search::default() }.request("needle")).0,
        "link/g:1:needle\n",
        "but one that is named is"
    );
    let search = |path, glob| ok(&dir, &Search { path, glob, ..Search::default() }.request("needle")).0;
    for _ in 0..2 {
        assert_eq!(search(None, None), "kept.log:1:needle\n");
        assert_eq!(search(None, Some("*.log")), "kept.log:1:needle\n", "a glob brings no ignored file back");
        assert_eq!(search(Some(".hidden"), None), ".hidden/d:1:needle\n");
        assert_eq!(search(Some("b.log"), None), "b.log:1:needle\n", "a file that is named is searched");
        assert_eq!(search(Some("sub"), None), "no matches\n");
        // The same outside of a repository.
        fs::remove_dir_all(dir.path().join(".git")).unwrap_or_default();
    }
}

#[test]
fn a_subdirectory_is_under_the_ignore_files_above_it() {
    for repository in [true, false] {
        let dir = tree(&[("w/.gitignore", "*.log\n"), ("w/sub/a.log", "needle"), ("w/sub/b", "needle"), (".gitignore", "b\n")]);
        if repository {
            fs::create_dir(dir.path().join("w/.git")).unwrap();
        }
        let request = Search { path: Some("sub"), ..Search::default() }.request("needle");
        let Reply::Ok { text, .. } = serve(&request, &dir.path().join("w")) else { panic!() };
        assert_eq!(text, "sub/b:1:needle\n", "the directory above the workspace does not count");
    }
}

#[test]
fn a_search_stops_at_its_limit_and_says_so() {
    let dir = tree(&[("a", &"needle\n".repeat(150)), ("b", &"needle\n".repeat(150))]);
    let (text, truncated) = ok(&dir, &Search::default().request("needle"));
    assert!(truncated && text.lines().count() == 201 && text.contains("b:50:needle\n[stopped after 200 matches; there are more"), "{text}");
    let exact = Search { limit: Some(300), ..Search::default() };
    let (text, truncated) = ok(&dir, &exact.request("needle"));
    assert!(!truncated && text.lines().count() == 300);
    let files = Search { limit: Some(1), files_only: true, ..Search::default() };
    assert_eq!(
        ok(&dir, &files.request("needle")),
        ("a\n[stopped after 1 files; there are more: narrow the pattern or raise the limit]\n".into(), true)
    );
    let wide = tree(&[("w", &format!("{}needle\n", "ß".repeat(300)).repeat(2000))]);
    let (text, truncated) = ok(&wide, &Search { limit: Some(2000), ..Search::default() }.request("needle"));
    assert!(truncated && text.contains("[stopped at the size cap"));
}

#[test]
fn a_long_line_is_cut_around_its_match() {
    let dir = tree(&[("a", &format!("{}needle{}\n", "ä".repeat(1000), "x".repeat(1000))), ("b", &format!("needle{}\n", "x".repeat(500)))]);
    let (text, _) = ok(&dir, &Search::default().request("needle"));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], format!("a:1:[920 characters] …{}needle{}… [+686 characters]", "ä".repeat(80), "x".repeat(314)));
    assert_eq!(lines[1], format!("b:1:needle{}… [+106 characters]", "x".repeat(394)));
}

#[test]
fn a_search_stops_after_reading_two_hundred_megabytes() {
    let dir = tree(&[("a", "")]);
    let line = format!("{}\n", "x".repeat(1023));
    fs::write(dir.path().join("a"), line.repeat(210_000)).unwrap();
    fs::write(dir.path().join("b"), "needle\n").unwrap();
    let (text, truncated) = ok(&dir, &Search::default().request("needle"));
    assert!(truncated && text.starts_with("no matches\n[stopped after reading 200 MB"), "{text}");
}

#[test]
fn a_bad_search_is_refused_with_the_place_of_the_mistake() {
    let dir = tree(&[("a", "x")]);
    let (kind, message) = refused(&dir, &Search::default().request("ab**[z-a]"));
    assert_eq!(
        (kind, message.as_str()),
        (
            ErrorKind::Invalid,
            "pattern: regex parse error:\n    ab**[z-a]\n         ^^^\nerror: invalid character class range, the start must be <= the end"
        )
    );
    let (_, message) = refused(&dir, &Search::default().request("ab(c"));
    assert_eq!(message, "pattern: regex parse error:\n    ab(c\nerror: unclosed group");
    assert!(refused(&dir, &Search::default().request("a\\nb")).1.contains("cannot span lines"));
    assert!(refused(&dir, &Search::default().request(&"a".repeat(5000))).1.contains("at most 4096"));
    assert!(refused(&dir, &Search::default().request("((a{1000}){1000}){1000}")).1.contains("size limit"));
    assert_eq!(refused(&dir, &Search { path: Some("none"), ..Search::default() }.request("x")).0, ErrorKind::NotFound);
    assert_eq!(refused(&dir, &Search { path: Some("/dev/zero"), ..Search::default() }.request("x")).0, ErrorKind::WrongKind);
    assert_eq!(refused(&dir, &Search { glob: Some("[a"), ..Search::default() }.request("x")).0, ErrorKind::Invalid);
    assert_eq!(refused(&dir, &Search { limit: Some(2001), ..Search::default() }.request("x")).0, ErrorKind::Invalid);
    assert_eq!(refused(&dir, &Search { context: Some(21), ..Search::default() }.request("x")).0, ErrorKind::Invalid);
}
