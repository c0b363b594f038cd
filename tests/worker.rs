//! The built-in file tools through their one entry, `worker::serve`, on real files.
//!
//! Nothing here relies on permission bits to make a call fail, so that the tests mean the same for root and for anybody else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests stand outside of the functions that clippy takes for tests")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use portcullis::worker::{Change, ChangeKind, ErrorKind, Reply, Request, serve};
use proptest::prelude::*;
use tempfile::TempDir;

#[path = "worker/patching.rs"]
mod patching;
#[path = "worker/reading.rs"]
mod reading;
#[path = "worker/searching.rs"]
mod searching;
#[path = "worker/viewing.rs"]
mod viewing;

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

#[test]
fn requests_and_replies_survive_json() {
    let requests = [
        read("a", Some(3), None),
        list(".", None, Some(4)),
        Search::default().request("x"),
        patch("*** Delete File: a\n"),
        Request::ViewImage { path: "a".into() },
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

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
            Request::ViewImage { path: path.clone() },
            Request::ReadInstructions { files: vec![path.clone(), text.clone()] },
        ] {
            let reply = serve(&request, dir.path());
            prop_assert!(serde_json::to_string(&reply).is_ok());
        }
    }
}
