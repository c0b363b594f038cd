//! Patterns as expressions: never less than what the policy's own matcher takes.

use globset::GlobBuilder;
use portcullis::sandbox::macos::{
    expression::{in_any_case, pattern, quoted},
    refusal::Refusal,
};
use proptest::prelude::*;
use regex::bytes::Regex;

fn expression(glob: &str) -> Regex {
    Regex::new(&format!("(?-u)^/w/{}", pattern(glob).unwrap().whole)).unwrap()
}

fn matches(glob: &str, path: &str) -> bool {
    expression(glob).is_match(format!("/w/{path}").as_bytes())
}

#[test]
fn a_pattern_takes_what_it_says_in_any_case_and_what_lies_in_that() {
    for (glob, taken, left) in [
        ("**/.env", &[".env", "a/.env", "a/b/.ENV", ".env/x", "a\nb/.env"][..], &["x.env", ".envx", "a/.env.example"][..]),
        ("*.pem", &["a.pem", ".pem", "A.PEM", "a.pem/x"], &["a/b.pem", "a.pemx"]),
        ("**/*.code-workspace", &["a.code-workspace", "x/y.Code-Workspace"], &["code-workspace"]),
        ("secrets/**", &["secrets/a", "secrets/a/b", "Secrets/a"], &["secrets", "secretsx/a", "x/secrets/a"]),
        ("**/key?.txt", &["key1.txt", "a/keyA.txt", "key\u{e9}.txt"], &["key.txt", "key12.txt", "key/.txt"]),
        ("key[0-9a-c].txt", &["key1.txt", "keyB.txt", "KEYb.txt"], &["keyd.txt", "key.txt"]),
        ("key[!0-9].txt", &["keya.txt", "key-.txt", "key\u{e9}.txt"], &["key1.txt", "key.txt"]),
        ("**/{a,bc}.[ch]", &["a.c", "x/BC.H"], &["b.c", "a.x"]),
        ("**/a b(1)+$^.txt", &["a b(1)+$^.txt"], &["a b1.txt"]),
        ("x/y/*.c", &["x/y/a.c", "X/y/a.C"], &["x/z/a.c"]),
    ] {
        for path in taken {
            assert!(matches(glob, path), "{glob} takes {path:?}: {}", expression(glob));
        }
        for path in left {
            assert!(!matches(glob, path), "{glob} leaves {path:?}: {}", expression(glob));
        }
    }
    assert_eq!(pattern("**/.vim/x.json").unwrap().folders, ["([^/]*/)*\\.[vV][iI][mM]"]);
    assert_eq!(pattern("a/b/*.c").unwrap().folders, ["[aA]", "[aA]/[bB]"]);
    assert_eq!(pattern("**/.env").unwrap().folders, [""; 0]);
}

#[test]
fn what_no_expression_could_hold_is_refused_with_the_reason() {
    for glob in ["src/**/x", "*/x", "**/x*/y", "**/a/**/b", "a?/b", "[ab]/c", "{a,b}/c", "x*/**"] {
        assert_eq!(pattern(glob), Err(Refusal::GlobFolder { glob: glob.to_owned() }), "{glob}");
    }
    for glob in ["**/\u{e9}", "*\u{df}"] {
        assert_eq!(pattern(glob), Err(Refusal::GlobCharacters { glob: glob.to_owned() }));
    }
    for glob in ["**", "**/", "**/**"] {
        assert!(matches!(pattern(glob), Err(Refusal::Glob { .. })), "{glob}");
    }
    assert_eq!(in_any_case("a\u{e9}"), None);
}

fn part() -> impl Strategy<Value = String> {
    "[a-cA-C.+() $^|-]{1,4}"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_path_that_the_policy_takes_is_left(
        anywhere in any::<bool>(),
        folders in prop::collection::vec(part(), 0..3),
        last in "[a-cA-C.+(|-]{0,2}(\\*|\\?|\\[a-b\\]|\\[!a\\]|\\{a,bc\\})?[a-c.]{0,2}",
        path in prop::collection::vec("[a-cA-C.+() $^|\u{e9}\n-]{1,5}", 1..5),
    ) {
        let mut parts = folders;
        parts.push(last);
        let glob = format!("{}{}", if anywhere { "**/" } else { "" }, parts.join("/"));
        let Ok(built) = GlobBuilder::new(&glob).literal_separator(true).backslash_escape(true).build() else { return Ok(()) };
        let Ok(found) = pattern(&glob) else { return Ok(()) };
        let matcher = built.compile_matcher();
        let expression = Regex::new(&format!("(?-u)^/w/{}", found.whole)).unwrap();
        let path = path.join("/");
        let taken = std::path::Path::new(&path).ancestors().any(|part| !part.as_os_str().is_empty() && matcher.is_match(part));
        if taken {
            for path in [path.clone(), path.to_ascii_uppercase(), path.to_ascii_lowercase()] {
                prop_assert!(expression.is_match(format!("/w/{path}").as_bytes()), "{glob} takes {path:?}: {}", found.whole);
            }
        }
    }

    #[test]
    fn a_quoted_path_is_itself_and_nothing_else(text in "\\PC{0,12}", other in "\\PC{0,12}") {
        let expression = Regex::new(&format!("(?-u)^{}$", quoted(&text))).unwrap();
        prop_assert!(expression.is_match(text.as_bytes()));
        prop_assert_eq!(expression.is_match(other.as_bytes()), text == other);
    }
}
