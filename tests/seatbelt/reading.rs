//! The evaluator itself: a reading that lets everything pass would prove nothing.

use std::path::Path;

use crate::evaluator::{About, Evaluator, Operation};

const HEAD: &str = "(version 1)(deny default)";

fn reads(rules: &str, path: &str) -> bool {
    let parameters = [("A".to_owned(), "/a".to_owned()), ("E".to_owned(), "^/a/([^/]*/)*\\.env(/|$)".to_owned())];
    let evaluator = Evaluator::new(&format!("{HEAD}{rules}"), &parameters).unwrap();
    evaluator.allows(&Operation { name: "file-read-data", about: About::File(Path::new(path)) })
}

#[test]
fn the_last_rule_that_matches_holds_and_nothing_is_allowed_without_one() {
    assert!(!reads("", "/a"));
    let open = "(allow file-read* (subpath (param \"A\")))";
    assert!(reads(open, "/a") && reads(open, "/a/b") && !reads(open, "/ab") && !reads(open, "/"));
    let closed = format!("{open}(deny file-read-data (regex (param \"E\")))");
    assert!(reads(&closed, "/a/x.env") && !reads(&closed, "/a/.env") && !reads(&closed, "/a/b/.env/c"));
    assert!(reads(&format!("{closed}{open}"), "/a/.env"), "a later rule outweighs an earlier one");
    assert!(reads("(allow file-read* (literal \"/a\"))", "/a") && !reads("(allow file-read* (literal \"/a\"))", "/a/b"));
    assert!(reads("(allow file-read* (path-ancestors \"/a/b\"))", "/a") && !reads("(allow file-read* (path-ancestors \"/a/b\"))", "/a/b"));
    assert!(!reads("(allow file-write* (subpath \"/a\"))", "/a"), "another operation");
    let both = "(allow file-read* (require-all (subpath \"/a\") (regex #\"b$\")))";
    assert!(reads(both, "/a/b") && !reads(both, "/a/c") && !reads(both, "/b"));
    assert!(
        reads("(allow file-read* (subpath \"/x\") (subpath \"/a\")) ; (deny file-read*)\n", "/a"),
        "any filter is enough; comments are none"
    );
}

#[test]
fn what_is_not_known_is_an_error() {
    for rules in [
        "(allow everything)",
        "(allow file-read* (nearby \"/a\"))",
        "(allow file-read* (subpath \"a\"))",
        "(allow file-read* (subpath (param \"B\")))",
        "(allow file-read* (subpath (string-append \"/a\" \"/b\")))",
        "(allow file-read* (regex #\"a{2}\"))",
        "(allow file-read* (regex #\"[\\]]\"))",
        "(allow file-read* (regex #\"(?i)a\"))",
        "(allow file-read* (global-name \"a\"))",
        "(allow mach-lookup (subpath \"/a\"))",
        "(allow network-outbound (remote ip \"127.0.0.1:80\"))",
        "(allow network-outbound (local ip \"localhost:80\"))",
        "(allow (subpath \"/a\"))",
        "(allow file-read* \"/a\")",
        "(import \"system.sb\")",
        "(allow file-read*",
        "(allow file-read*))",
        "(allow file-read* (subpath \"/a\\n\"))",
        "allow",
    ] {
        assert!(Evaluator::new(&format!("{HEAD}{rules}"), &[]).is_err(), "{rules}");
    }
    assert!(Evaluator::new("(version 1)(allow default)", &[]).is_err() && Evaluator::new("(deny default)", &[]).is_err());
    let twice = [("A".to_owned(), "/a".to_owned()), ("A".to_owned(), "/b".to_owned())];
    assert!(Evaluator::new(HEAD, &twice).is_err());
}
