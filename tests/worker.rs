//! The built-in file tools through their one entry, `worker::serve`, on real files.
//!
//! Nothing here relies on permission bits to make a call fail, so that the tests mean the same for root and for anybody else.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use portcullis::worker::{Access, Change, ChangeKind, ErrorKind, Reply, Request, serve};
use proptest::prelude::*;
use tempfile::TempDir;

fn tree(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

fn ok(dir: &TempDir, request: &Request) -> (String, bool) {
    match serve(request, dir.path()) {
        Reply::Ok { text, truncated, changes } => {
            assert!(changes.is_empty() || matches!(request, Request::ApplyPatch { .. }));
            assert!(text.len() <= 256 * 1024, "{}", text.len());
            (text, truncated)
        }
        refused => panic!("{request:?}: {refused:?}"),
    }
}

fn refused(dir: &TempDir, request: &Request) -> (ErrorKind, String) {
    match serve(request, dir.path()) {
        Reply::Refused { kind, message, .. } => (kind, message),
        reply => panic!("{request:?}: {reply:?}"),
    }
}

fn read(path: &str, offset: Option<u64>, limit: Option<u64>) -> Request {
    Request::ReadFile { path: path.to_owned(), offset, limit }
}

fn list(path: &str, depth: Option<u32>, limit: Option<u64>) -> Request {
    Request::ListDir { path: path.to_owned(), depth, limit }
}

fn patch(body: &str) -> Request {
    Request::ApplyPatch { patch: format!("*** Begin Patch\n{body}*** End Patch\n") }
}

#[derive(Default)]
struct Search<'a> {
    path: Option<&'a str>,
    glob: Option<&'a str>,
    case_insensitive: bool,
    context: Option<u32>,
    limit: Option<u64>,
    files_only: bool,
}

impl Search<'_> {
    fn request(&self, pattern: &str) -> Request {
        Request::Search {
            pattern: pattern.to_owned(),
            path: self.path.map(str::to_owned),
            glob: self.glob.map(str::to_owned),
            case_insensitive: self.case_insensitive,
            context: self.context,
            limit: self.limit,
            files_only: self.files_only,
        }
    }
}

fn make_fifo(path: &Path) {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
}

/// Every name under a directory with its kind, mode, inode, and content.
fn snapshot(root: &Path) -> BTreeMap<String, String> {
    fn visit(root: &Path, directory: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let content = if metadata.is_file() { format!("{:?}", fs::read(&path).unwrap()) } else { String::new() };
            found.insert(name, format!("{:o} inode {} links {} {content}", metadata.mode(), metadata.ino(), metadata.nlink()));
            if metadata.is_dir() {
                visit(root, &path, found);
            }
        }
    }
    let mut found = BTreeMap::new();
    visit(root, root, &mut found);
    found
}

// The messages

#[test]
fn requests_and_replies_survive_json() {
    let requests = [
        read("a", Some(3), None),
        list(".", None, Some(4)),
        Search::default().request("x"),
        patch("*** Delete File: a\n"),
        Request::ReadInstructions { files: vec!["AGENTS.md".into()] },
    ];
    for request in requests {
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), request, "{json}");
    }
    let minimal: Request = serde_json::from_str(r#"{"tool":"search","pattern":"x"}"#).unwrap();
    assert_eq!(minimal, Search::default().request("x"));
    let moved = ChangeKind::Moved { from: "a".into() };
    let reply = Reply::Ok {
        text: String::new(),
        changes: vec![Change { path: "b".into(), kind: moved, added_lines: 1, removed_lines: 0 }],
        truncated: false,
    };
    assert_eq!(serde_json::from_str::<Reply>(&serde_json::to_string(&reply).unwrap()).unwrap(), reply);
}

// read_file

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

// list_dir

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

// search

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

// read_instructions

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

// apply_patch

#[test]
fn a_patch_adds_changes_moves_and_deletes_in_one_go() {
    let dir = tree(&[("m", "a\nb\nc\n"), ("old", "x\ny\n"), ("gone", "1\n2\n3"), ("run.sh", "#!/bin/sh\nold\n")]);
    fs::set_permissions(dir.path().join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(dir.path().join("m"), fs::Permissions::from_mode(0o666)).unwrap();
    let request = patch(concat!(
        "*** Add File: new/dir/f\n+hello\n*** Update File: m\n@@\n a\n-b\n+B\n+BB\n*** Update File: old\n*** Move to: sub/new\n@@\n-x\n+X\n",
        "*** Delete File: gone\n*** Update File: run.sh\n@@\n-old\n+new\n*** Update File: ./run.sh/../same\n@@\n a\n"
    ));
    fs::write(dir.path().join("same"), "  a\n").unwrap();
    fs::remove_file(dir.path().join("same")).unwrap();
    let (kind, _) = refused(&dir, &request);
    assert_eq!(kind, ErrorKind::WrongKind, "run.sh is no directory to go up from");
    let Request::ApplyPatch { patch: text } = request else { panic!() };
    fs::write(dir.path().join("same"), "  a\n").unwrap();
    let Reply::Ok { text, changes, .. } = serve(&Request::ApplyPatch { patch: text.replace("./run.sh/../same", "same") }, dir.path())
    else {
        panic!()
    };
    assert_eq!(
        text,
        concat!(
            "A new/dir/f (+1)\nM m (+2 -1)\nR old -> sub/new (+1 -1)\nD gone (-3)\nM run.sh (+1 -1)\n",
            "= same (unchanged: the patch changes nothing in it)\n    line 1: found with indentation ignored (patch line 21)\n"
        )
    );
    assert_eq!(changes.len(), 5);
    assert_eq!(
        changes[2],
        Change { path: "sub/new".into(), kind: ChangeKind::Moved { from: "old".into() }, added_lines: 1, removed_lines: 1 }
    );
    let content = |path: &str| fs::read_to_string(dir.path().join(path)).unwrap();
    assert_eq!((content("new/dir/f"), content("m"), content("sub/new")), ("hello\n".into(), "a\nB\nBB\nc\n".into(), "X\ny\n".into()));
    let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().mode() & 0o777;
    assert_eq!((mode("run.sh"), mode("m")), (0o755, 0o666), "modes are kept, whatever the umask");
    assert_eq!(mode("new/dir/f") & !0o644, 0);
    let names: Vec<String> = snapshot(dir.path()).into_keys().collect();
    assert_eq!(names, ["m", "new", "new/dir", "new/dir/f", "run.sh", "same", "sub", "sub/new"], "no temporary file is left");
}

#[test]
fn line_endings_and_the_missing_last_one_are_kept() {
    for (before, body, after) in [
        ("a\r\nb\r\n", "@@\n a\n-b\n+c\n+d\n", "a\r\nc\r\nd\r\n"),
        ("a\r\nb\r\n", "@@\n-b\r\n+c\r\n", "a\r\nc\r\n"),
        ("a\nb", "@@\n-b\n+c\n", "a\nc"),
        ("a\nb", "@@\n b\n+c\n", "a\nb\nc"),
        ("a\r\nb", "@@\n b\n+c\n", "a\r\nb\nc"),
        ("a\r\nb\r\nc", "@@\n c\n+d\n", "a\r\nb\r\nc\r\nd"),
        ("a\r\nb\n", "@@\n-b\n+c\n", "a\r\nc\n"),
        ("", "@@\n+a\n", "a\n"),
        ("a\n", "@@\n-a\n", ""),
        ("  a \n", "@@\n a\n+b\n", "  a \nb\n"),
    ] {
        let dir = tree(&[("f", before)]);
        ok(&dir, &patch(&format!("*** Update File: f\n{body}")));
        assert_eq!(fs::read_to_string(dir.path().join("f")).unwrap(), after, "{before:?} {body:?}");
    }
    let dir = tree(&[]);
    fs::write(dir.path().join("f"), b"caf\xe9\nx\nna\xefve\n").unwrap();
    ok(&dir, &patch("*** Update File: f\n@@\n caf\u{fffd}\n-x\n+y\n"));
    assert_eq!(fs::read(dir.path().join("f")).unwrap(), b"caf\xe9\ny\nna\xefve\n", "bytes that are no UTF-8 stay as they are");
}

#[test]
fn a_file_with_other_names_is_replaced_under_the_one_that_was_given() {
    let dir = tree(&[("a", "old\n")]);
    fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
    ok(&dir, &patch("*** Update File: a\n@@\n-old\n+new\n"));
    assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "new\n");
    assert_eq!(fs::read_to_string(dir.path().join("b")).unwrap(), "old\n");
}

#[test]
fn adding_a_file_that_has_that_content_already_changes_nothing() {
    let dir = tree(&[("a", "x\n")]);
    let before = snapshot(dir.path());
    assert_eq!(ok(&dir, &patch("*** Add File: a\n+x\n")).0, "= a (unchanged: it has this content already)\n");
    assert_eq!(snapshot(dir.path()), before);
}

/// Sections that must fail, each with the class of its error and a part of its message.
const FAILING: &[(&str, ErrorKind, &str)] = &[
    ("*** Update File: none\n@@\n-a\n+b\n", ErrorKind::NotFound, "none: cannot change it: no such file or directory"),
    ("*** Delete File: none\n", ErrorKind::NotFound, "cannot delete it"),
    ("*** Delete File: dir\n", ErrorKind::WrongKind, "dir: this is a directory"),
    ("*** Update File: dir\n@@\n-a\n", ErrorKind::WrongKind, "dir: this is a directory"),
    ("*** Add File: dir\n+x\n", ErrorKind::WrongKind, "dir: this is a directory"),
    ("*** Add File: taken\n+other\n", ErrorKind::Conflict, "it exists already, with other content"),
    ("*** Add File: taken/below\n+x\n", ErrorKind::WrongKind, "taken/below: cannot create it: not a directory"),
    ("*** Add File: no/../x\n+x\n", ErrorKind::NotFound, "no/../x: cannot create its directory"),
    ("*** Add File: fresh\n+x\n*** Add File: fresh/below\n+x\n", ErrorKind::Conflict, "fresh: cannot create it: file exists"),
    ("*** Update File: taken\n*** Move to: dir/in\n", ErrorKind::Conflict, "dir/in: it exists already, so nothing can be moved there"),
    ("*** Update File: taken\n@@\n-absent\n+b\n", ErrorKind::Conflict, "hunk 1"),
    ("*** Update File: link\n@@\n-taken\n+b\n", ErrorKind::WrongKind, "link: this is a symbolic link; name the file"),
    ("*** Delete File: link\n", ErrorKind::WrongKind, "this is a symbolic link"),
    ("*** Add File: dangling\n+x\n", ErrorKind::WrongKind, "this is a symbolic link"),
    ("*** Update File: fifo\n@@\n-a\n", ErrorKind::WrongKind, "this is a FIFO"),
    ("*** Update File: taken\n@@\n-taken\n+b\n*** Update File: linkdir/../taken\n@@\n-taken\n+c\n", ErrorKind::Invalid, "named again"),
    ("*** Update File: dir/in\n@@\n-in\n+b\n*** Update File: linkdir/in\n@@\n-in\n+c\n", ErrorKind::Conflict, "the same file as dir/in"),
    ("*** Add File: large\n+x\n*** Delete File: huge\n", ErrorKind::TooLarge, "huge: 16777217 bytes"),
    ("*** Add File: ~/x\n+x\n", ErrorKind::Invalid, "use an absolute path"),
];

fn battlefield() -> TempDir {
    let dir = tree(&[("taken", "taken\n"), ("dir/in", "in\n"), ("m1", "a\nb\n"), ("m2", "a\nb\n"), ("d", "d\n"), ("mv", "mv\n")]);
    symlink("taken", dir.path().join("link")).unwrap();
    symlink("nowhere", dir.path().join("dangling")).unwrap();
    symlink("dir", dir.path().join("linkdir")).unwrap();
    make_fifo(&dir.path().join("fifo"));
    fs::File::create(dir.path().join("huge")).unwrap().set_len(16 * 1024 * 1024 + 1).unwrap();
    dir
}

/// Sections that succeed alone.
const WORKING: &[&str] = &[
    "*** Update File: m1\n@@\n-a\n+A\n",
    "*** Add File: deep/er/new\n+x\n",
    "*** Delete File: d\n",
    "*** Update File: mv\n*** Move to: other/mv\n@@\n-mv\n+MV\n",
    "*** Update File: m2\n@@\n-b\n+B\n",
];

#[test]
fn a_patch_with_one_bad_section_changes_nothing_wherever_it_stands() {
    let dir = battlefield();
    // `huge` has no content to speak of, and reading 16 MiB for every comparison would be slow.
    let snapshot_without_huge = |dir: &TempDir| {
        let huge = dir.path().join("huge");
        fs::rename(&huge, dir.path().with_extension("huge")).unwrap();
        let snapshot = snapshot(dir.path());
        fs::rename(dir.path().with_extension("huge"), &huge).unwrap();
        snapshot
    };
    let before = snapshot_without_huge(&dir);
    for (bad, kind, part) in FAILING {
        for place in 0..=WORKING.len() {
            let body = format!("{}{bad}{}", WORKING[..place].concat(), WORKING[place..].concat());
            let reply = serve(&patch(&body), dir.path());
            let Reply::Refused { kind: found, message, access, .. } = reply else { panic!("{bad}: {reply:?}") };
            assert!(found == *kind && message.contains(part), "{bad}: {found:?} {message}");
            assert!(access == Access::Write || found == ErrorKind::Invalid, "{bad}");
            assert_eq!(snapshot_without_huge(&dir), before, "{bad} at {place}");
        }
    }
    ok(&dir, &patch(&WORKING.concat()));
    assert_ne!(snapshot_without_huge(&dir), before, "without the bad section the same patch works");
}

#[test]
fn a_file_in_a_linked_directory_can_be_patched() {
    let dir = battlefield();
    assert_eq!(ok(&dir, &patch("*** Update File: linkdir/in\n@@\n-in\n+out\n")).0, "M linkdir/in (+1 -1)\n");
    assert_eq!(fs::read_to_string(dir.path().join("dir/in")).unwrap(), "out\n");
    assert!(fs::symlink_metadata(dir.path().join("linkdir")).unwrap().is_symlink());
}

#[test]
fn a_full_disk_takes_the_patch_back() {
    let dir = tree(&[]);
    let flags = nix::mount::MsFlags::MS_NOSUID;
    if let Err(error) = nix::mount::mount(Some("tmpfs"), dir.path(), Some("tmpfs"), flags, Some("size=64k")) {
        println!("skipped: a small tmpfs cannot be mounted ({error})");
        return;
    }
    fs::write(dir.path().join("m"), "a\n").unwrap();
    let before = snapshot(dir.path());
    let body =
        format!("*** Update File: m\n@@\n-a\n+b\n*** Add File: x/y/fits\n+x\n*** Add File: z\n{}", "+xxxxxxxxxxxxxxx\n".repeat(8000));
    let reply = serve(&patch(&body), dir.path());
    let after = snapshot(dir.path());
    nix::mount::umount(dir.path()).unwrap();
    let Reply::Refused { kind, errno, path, .. } = reply else { panic!("{reply:?}") };
    assert_eq!((kind, errno, path.as_deref()), (ErrorKind::NoSpace, Some(libc::ENOSPC), Some("z")));
    assert_eq!(after, before);
}

#[test]
fn a_read_only_mount_below_the_tree_refuses_the_whole_patch() {
    use nix::mount::{MsFlags, mount, umount};
    let dir = tree(&[("a", "a\n"), ("guarded/g", "g\n"), ("pinned", "p\n")]);
    let (guarded, pinned) = (dir.path().join("guarded"), dir.path().join("pinned"));
    let bind = |path: &Path| mount(Some(path), path, None::<&str>, MsFlags::MS_BIND, None::<&str>);
    if let Err(error) = bind(&guarded) {
        println!("skipped: nothing can be mounted ({error})");
        return;
    }
    let again = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, &guarded, None::<&str>, again, None::<&str>).unwrap();
    bind(&pinned).unwrap();
    let before = snapshot(dir.path());
    let change_a = "*** Update File: a\n@@\n-a\n+b\n";
    let replies = [
        "*** Add File: guarded/new\n+x\n",
        "*** Update File: guarded/g\n@@\n-g\n+h\n",
        "*** Delete File: guarded/g\n",
        "*** Update File: pinned\n@@\n-p\n+q\n",
        "*** Delete File: pinned\n",
    ]
    .map(|section| serve(&patch(&format!("{change_a}{section}")), dir.path()));
    let after = snapshot(dir.path());
    umount(&pinned).unwrap();
    umount(&guarded).unwrap();
    let expected = [libc::EROFS, libc::EROFS, libc::EROFS, libc::EBUSY, libc::EBUSY];
    for (reply, expected) in replies.into_iter().zip(expected) {
        let Reply::Refused { kind, errno, access, message, .. } = reply else { panic!("{reply:?}") };
        assert_eq!((kind, errno, access), (ErrorKind::Denied, Some(expected), Access::Write), "{message}");
    }
    assert_eq!(after, before);
}

/// The patch that turns `old` into `new`, as a model would write it.
fn patch_between(old: &[String], new: &[String], radius: usize) -> String {
    let old: Vec<&str> = old.iter().map(String::as_str).collect();
    let new: Vec<&str> = new.iter().map(String::as_str).collect();
    let diff = similar::TextDiff::from_slices(&old, &new);
    let mut text = String::from("*** Update File: f\n");
    for group in diff.grouped_ops(radius) {
        text.push_str("@@\n");
        for change in group.iter().flat_map(|operation| diff.iter_changes(operation)) {
            writeln!(text, "{}{}", change.tag(), change.value()).unwrap();
        }
    }
    text
}

#[derive(Debug, Clone)]
enum Edit {
    Keep,
    Remove,
    Replace(String),
    InsertBefore(String),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        6 => Just(Edit::Keep),
        1 => Just(Edit::Remove),
        1 => "[ +*@\\-\u{e4}a-c]{0,6}".prop_map(Edit::Replace),
        1 => "[ +*@\\-\u{e4}a-c]{0,6}".prop_map(Edit::InsertBefore),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_patch_made_from_random_edits_gives_exactly_the_edited_file(
        lines in prop::collection::vec(("[ +*@\\-\u{e4}a-c]{0,4}", edit()), 1..40),
        radius in 1..4_usize,
        crlf in any::<bool>(),
        final_newline in any::<bool>(),
    ) {
        // The number makes every old line unique: with equal lines a hunk may rightly go to an earlier place.
        let old: Vec<String> = lines.iter().enumerate().map(|(n, (text, _))| format!("{text}{n}.")).collect();
        let mut new = Vec::new();
        for (line, (_, edit)) in old.iter().zip(&lines) {
            match edit {
                Edit::Keep => new.push(line.clone()),
                Edit::Remove => {}
                Edit::Replace(text) => new.push(text.clone()),
                Edit::InsertBefore(text) => new.extend([text.clone(), line.clone()]),
            }
        }
        let join = |lines: &[String]| {
            let ending = if crlf { "\r\n" } else { "\n" };
            let mut text = lines.join(ending);
            if final_newline && !lines.is_empty() {
                text.push_str(ending);
            }
            text
        };
        // A file of one line without line feed shows no ending to go by.
        prop_assume!(final_newline || !crlf || old.len() > 2);
        let dir = tree(&[("f", &join(&old))]);
        let body = patch_between(&old, &new, radius);
        if old == new {
            prop_assert_eq!(refused(&dir, &patch(&body)).0, ErrorKind::Invalid);
        } else {
            ok(&dir, &patch(&body));
        }
        prop_assert_eq!(fs::read_to_string(dir.path().join("f")).unwrap(), join(&new));
    }

    #[test]
    fn a_random_patch_is_applied_or_refused_and_never_half_applied(
        sections in prop::collection::vec(prop::sample::select(
            WORKING.iter().copied().chain(FAILING.iter().map(|(text, ..)| *text)).filter(|text| !text.contains("huge")).collect::<Vec<_>>()
        ), 1..6),
    ) {
        let dir = battlefield();
        fs::remove_file(dir.path().join("huge")).unwrap();
        let before = snapshot(dir.path());
        match serve(&patch(&sections.concat()), dir.path()) {
            Reply::Refused { .. } => prop_assert_eq!(snapshot(dir.path()), before),
            Reply::Ok { changes, .. } => {
                prop_assert_eq!(changes.len(), sections.len());
                let left = snapshot(dir.path()).into_keys().filter(|name| name.contains(".portcullis")).count();
                prop_assert_eq!(left, 0);
            }
        }
    }

    #[test]
    fn no_request_panics(
        text in "\\PC{0,12}",
        path in "[a-c./~]{0,8}",
        number in prop::option::of(any::<u64>()),
        small in prop::option::of(0..30_u32),
        flag in any::<bool>(),
    ) {
        let dir = tree(&[("a", "x\ny\n"), ("b/c", "z")]);
        // Not above the test's own directory, where a listing or search could be vast.
        prop_assume!(!path.contains("..") && !path.starts_with('/'));
        for request in [
            read(&path, number, number),
            list(&path, small, number),
            Search { path: Some(&path), glob: Some(&text), context: small, limit: number, files_only: flag, case_insensitive: flag }.request(&text),
            patch(&format!("*** Update File: {path}\n@@ {text}\n-{text}\n+{text}\n")),
            patch(&text),
            Request::ReadInstructions { files: vec![path.clone(), text.clone()] },
        ] {
            let reply = serve(&request, dir.path());
            prop_assert!(serde_json::to_string(&reply).is_ok());
        }
    }
}
