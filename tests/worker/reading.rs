//! `read_file`, `list_dir` and `read_instructions`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use portcullis::worker::{Access, ErrorKind, Reply, Request, serve};

use crate::{list, make_fifo, ok, read, refused, tree};

#[test]
fn a_file_is_shown_with_line_numbers_and_its_length() {
    let dir = tree(&[("a", "one\n\n\tthree"), ("crlf", "x\r\ny\r\n"), ("empty", "")]);
    assert_eq!(ok(&dir, &read("a", None, None)), ("     1\tone\n     2\t\n     3\t\tthree\n[end of file, 3 lines]\n".into(), false));
    assert_eq!(ok(&dir, &read("crlf", None, None)).0, "     1\tx\n     2\ty\n[end of file, 2 lines]\n[lines end in CRLF]\n");
    assert_eq!(ok(&dir, &read("empty", Some(7), None)).0, "[the file is empty]\n");
    let absolute = dir.path().join("a").display().to_string();
    assert_eq!(ok(&dir, &read(&absolute, Some(3), None)).0, "     3\t\tthree\n[end of file, 3 lines]\n");
}

#[test]
fn a_part_of_a_file_says_what_follows() {
    let lines: String = (1..=5000).map(|n| format!("{n}\n")).collect();
    let dir = tree(&[("a", &lines)]);
    let (text, truncated) = ok(&dir, &read("a", None, None));
    assert!(truncated && text.ends_with("  2000\t2000\n[lines 1 to 2000 of 5000; more follow: offset 2001]\n"));
    let (text, _) = ok(&dir, &read("a", Some(4999), Some(1)));
    assert_eq!(text, "  4999\t4999\n[lines 4999 to 4999 of 5000; more follow: offset 5000]\n");
    assert_eq!(ok(&dir, &read("a", Some(5000), Some(1))), ("  5000\t5000\n[end of file, 5000 lines]\n".into(), false));
    for beyond in [5001, 6000, u64::MAX] {
        assert_eq!(ok(&dir, &read("a", Some(beyond), None)).0, format!("[the file has 5000 lines; there is no line {beyond}]\n"));
    }
    assert_eq!(refused(&dir, &read("a", None, Some(0))).0, ErrorKind::Invalid);
}

#[test]
fn long_lines_and_long_files_are_cut_at_their_caps() {
    let dir = tree(&[
        ("line", &format!("{}\n{}", "é".repeat(2001), "x".repeat(100_000))),
        ("file", &format!("{}\n", "y".repeat(1000)).repeat(1900)),
    ]);
    let (text, truncated) = ok(&dir, &read("line", None, None));
    assert!(truncated);
    let expected = format!(
        "     1\t{}… [+1 characters]\n     2\t{}… [+98000 characters]\n[end of file, 2 lines]\n",
        "é".repeat(2000),
        "x".repeat(2000)
    );
    assert!(text == expected, "{} bytes", text.len());
    let (text, truncated) = ok(&dir, &read("file", None, None));
    let shown = text.lines().count() - 1;
    assert!(truncated && shown > 240 && text.ends_with(&format!("[lines 1 to {shown} of 1900; more follow: offset {}]\n", shown + 1)));
    let (next, _) = ok(&dir, &read("file", Some(shown as u64 + 1), Some(1)));
    assert!(next.starts_with(&format!("{:>6}\ty", shown + 1)));
}

#[test]
fn a_sparse_file_of_ten_gigabytes_costs_neither_memory_nor_time() {
    let dir = tree(&[("big", &"line\n".repeat(3000))]);
    fs::File::options().write(true).open(dir.path().join("big")).unwrap().set_len(10_000_000_000).unwrap();
    let (text, _) = ok(&dir, &read("big", None, Some(2)));
    assert!(text.contains("[lines 1 to 2; more follow in 10000000000 bytes: offset 3]"), "{text}");
}

#[test]
fn invalid_utf8_is_shown_and_said_and_binary_is_refused_with_its_size() {
    let dir = tree(&[]);
    fs::write(dir.path().join("latin"), b"caf\xe9\n").unwrap();
    fs::write(dir.path().join("bin"), b"ELF\0\x01").unwrap();
    fs::write(dir.path().join("wide"), b"\xff\xfea\0").unwrap();
    assert!(ok(&dir, &read("latin", None, None)).0.contains("caf\u{fffd}\n[end of file, 1 lines]\n[not all of this is valid UTF-8"));
    let (kind, message) = refused(&dir, &read("bin", None, None));
    assert!(kind == ErrorKind::WrongKind && message.contains("a binary file of 5 bytes"), "{message}");
    assert!(refused(&dir, &read("wide", None, None)).1.contains("UTF-16"));
}

#[test]
fn what_is_no_regular_file_is_refused_without_blocking() {
    let dir = tree(&[("sub/x", "")]);
    make_fifo(&dir.path().join("fifo"));
    symlink("fifo", dir.path().join("to-fifo")).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    symlink("nowhere", dir.path().join("dangling")).unwrap();
    for (path, kind, part) in [
        ("fifo", ErrorKind::WrongKind, "this is a FIFO"),
        ("to-fifo", ErrorKind::WrongKind, "this is a FIFO"),
        ("socket", ErrorKind::WrongKind, "this is a socket"),
        ("/dev/zero", ErrorKind::WrongKind, "this is a device"),
        ("sub", ErrorKind::WrongKind, "use list_dir"),
        ("dangling", ErrorKind::NotFound, "dangling: cannot read it: no such file"),
        ("sub/x/y", ErrorKind::WrongKind, "not a directory"),
        ("~/x", ErrorKind::Invalid, "use an absolute path"),
        ("", ErrorKind::Invalid, "empty"),
        ("a\0b", ErrorKind::Invalid, "NUL"),
    ] {
        let (found, message) = refused(&dir, &read(path, None, None));
        assert!(found == kind && message.contains(part), "{path:?}: {found:?} {message}");
    }
    let Reply::Refused { errno, access, path, .. } = serve(&read("none", None, None), dir.path()) else { panic!() };
    assert_eq!((errno, access, path.as_deref()), (Some(libc::ENOENT), Access::Read, Some("none")));
}

#[test]
fn a_directory_is_listed_sorted_with_kinds_sizes_and_targets() {
    let dir = tree(&[("b/deep/er/x", "12345"), ("a.txt", "123"), (".git/config", ""), (".hidden", "")]);
    symlink("b", dir.path().join("link")).unwrap();
    make_fifo(&dir.path().join("pipe"));
    fs::write(dir.path().join("new\nline"), "").unwrap();
    let (text, truncated) = ok(&dir, &list(".", None, None));
    assert_eq!(text, ".git/\n.hidden  0 bytes\na.txt  3 bytes\nb/\nlink@ -> b\nnew\\nline  0 bytes\npipe  (FIFO)\n");
    assert!(!truncated);
    let (text, _) = ok(&dir, &list(".", Some(3), None));
    assert!(text.contains("b/\nb/deep/\nb/deep/er/\nlink@") && !text.contains(".git/config") && !text.contains("link/"), "{text}");
    assert_eq!(ok(&dir, &list("b/deep", Some(5), None)).0, "er/\ner/x  5 bytes\n");
    fs::create_dir(dir.path().join("none")).unwrap();
    assert_eq!(ok(&dir, &list("none", None, None)).0, "[the directory is empty]\n");
}

#[test]
fn a_large_directory_shows_the_nearest_entries_and_counts_the_rest() {
    let dir = tree(&[]);
    for n in 0..1200 {
        fs::write(dir.path().join(format!("{n:04}")), "").unwrap();
    }
    let (text, truncated) = ok(&dir, &list(".", None, None));
    assert!(truncated && text.ends_with("0999  0 bytes\n[1000 entries shown; 200 more were left out]\n"), "{text}");
    let dir = tree(&[("a/1", ""), ("a/2", ""), ("b", ""), ("c", "")]);
    assert_eq!(ok(&dir, &list(".", Some(2), Some(3))).0, "a/\nb  0 bytes\nc  0 bytes\n[3 entries shown; 2 more were left out]\n");
}

#[test]
fn a_listing_that_makes_no_sense_is_refused() {
    let dir = tree(&[("f", "")]);
    for (request, kind) in [
        (list("f", None, None), ErrorKind::WrongKind),
        (list("none", None, None), ErrorKind::NotFound),
        (list(".", Some(0), None), ErrorKind::Invalid),
        (list(".", Some(6), None), ErrorKind::Invalid),
        (list(".", None, Some(1001)), ErrorKind::Invalid),
    ] {
        assert_eq!(refused(&dir, &request).0, kind, "{request:?}");
    }
}

#[test]
fn a_subdirectory_that_cannot_be_read_is_listed_as_such() {
    let dir = tree(&[("shut/x", ""), ("open/y", "")]);
    fs::set_permissions(dir.path().join("shut"), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read_dir(dir.path().join("shut")).is_ok() {
        println!("skipped: permission bits do not bind this user");
        return;
    }
    let (text, _) = ok(&dir, &list(".", Some(2), None));
    assert_eq!(text, "open/\nopen/y  0 bytes\nshut/  (cannot be read: permission denied)\n");
    fs::set_permissions(dir.path().join("shut"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn instructions_are_read_in_order_and_missing_files_skipped() {
    let dir = tree(&[("AGENTS.md", "root"), ("sub/AGENTS.md", "sub\n"), ("file", "")]);
    make_fifo(&dir.path().join("fifo"));
    let files = ["AGENTS.md", "none/AGENTS.md", "file/AGENTS.md", "sub/AGENTS.md"].map(str::to_owned).to_vec();
    let (text, truncated) = ok(&dir, &Request::ReadInstructions { files });
    assert_eq!(text, "## AGENTS.md\n\nroot\n\n## sub/AGENTS.md\n\nsub\n\n");
    assert!(!truncated);
    let (text, _) = ok(&dir, &Request::ReadInstructions { files: vec!["fifo".into(), "AGENTS.md".into()] });
    assert_eq!(text, "## fifo\n\n[fifo: this is a FIFO; only regular files can be used]\n\n## AGENTS.md\n\nroot\n\n");
    assert_eq!(ok(&dir, &Request::ReadInstructions { files: vec![] }).0, "");
}

#[test]
fn instructions_are_cut_at_their_caps_between_characters() {
    let dir = tree(&[("a", &format!("x{}", "é".repeat(40_000))), ("b", &"b".repeat(64 * 1024)), ("c", "cut to almost nothing")]);
    let files = ["a", "b", "c"].map(str::to_owned).to_vec();
    let (text, truncated) = ok(&dir, &Request::ReadInstructions { files });
    assert!(truncated && !text.contains('\u{fffd}'));
    assert!(text.contains("é\n[a is cut here: 65535 bytes of it were read]\n"));
    assert!(text.contains("b\n\n## c\n\nc\n[c is cut here: 1 bytes"), "{}", &text[text.len() - 200..]);
}
