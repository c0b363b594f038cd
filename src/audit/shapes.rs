//! Secrets that nobody told of: what has the shape of a key or token is taken out of a record before it is sealed.

use std::{borrow::Cow, sync::LazyLock};

use regex::Regex;

/// What stands in place of one.
const MARK: &str = "[redacted]";

/// Shapes that issuers chose so that they can be told: their prefixes are documented by each, and nothing else begins so and goes on for so long. All of them are
/// letters, digits and marks that JSON writes as they are, so that they can be taken out of a record's text.
static SHAPES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let shapes = [
        r"(?-u:\b)sk-[A-Za-z0-9_-]{20,}",
        r"gh[pousr]_[A-Za-z0-9]{30,}",
        r"github_pat_[A-Za-z0-9_]{40,}",
        r"glpat-[A-Za-z0-9_-]{20,}",
        r"xox[abposr]-[A-Za-z0-9-]{10,}",
        r"(?:AKIA|ASIA)[A-Z0-9]{16}",
        r"AIza[A-Za-z0-9_-]{35}",
        r"(?-u:\b)npm_[A-Za-z0-9]{36}",
        r"pypi-[A-Za-z0-9_-]{50,}",
        r"(?-u:\b)hf_[A-Za-z0-9]{30,}",
        r"[rs]k_live_[A-Za-z0-9]{20,}",
        r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:\\[nrt]|[A-Za-z0-9+/= ])*(?:-----END [A-Z ]*PRIVATE KEY-----)?",
        r"(?i-u:authorization: ?(?:bearer|basic) )[A-Za-z0-9._~+/=-]{8,}",
        r#"://[^/[:space:]:@"\\]+:[^/[:space:]:@"\\]+@"#,
    ];
    Regex::new(&shapes.join("|")).ok()
});

/// The text of a record without them.
pub fn redact(text: &str) -> Cow<'_, str> {
    match &*SHAPES {
        Some(shapes) => shapes.replace_all(text, MARK),
        // That the pattern compiles is what a test is for.
        None => Cow::Borrowed(text),
    }
}

/// Whether some part of a text is one.
pub fn looks_secret(text: &str) -> bool {
    redact(text) != text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever a call says, its record stays JSON, and what is not text of it stays as it is.
        #[test]
        fn a_record_stays_a_record(words in prop::collection::vec(r#"(://|:|@|"|\\\\|-----BEGIN PRIVATE KEY-----|-----END PRIVATE KEY-----|sk-[a-z]{20}|[ -~\n]{0,9})"#, 0..12)) {
            let record = serde_json::json!({"seq": 7, "arguments": words.concat(), "more": "a@b", "last": words.concat()});
            let redacted: serde_json::Value = serde_json::from_str(&redact(&record.to_string())).unwrap();
            prop_assert_eq!((&redacted["seq"], &redacted["more"]), (&record["seq"], &record["more"]));
            prop_assert_eq!(redacted["arguments"].clone(), redacted["last"].clone());
        }
    }

    #[test]
    fn tokens_go_and_what_only_looks_a_little_like_one_stays() {
        assert!(SHAPES.is_some());
        for secret in [
            "sk-proj-abcdefghijklmnopqrstuvwx",
            "ghp_0123456789012345678901234567890123456789",
            "AKIAIOSFODNN7EXAMPLE",
            "xoxb-1234567890-abcdef",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0aaaa.SflKxwRJSMeKKF2QT4fwpM",
            "-----BEGIN OPENSSH PRIVATE KEY-----\\nabc+/=\\n-----END OPENSSH PRIVATE KEY-----",
            "Authorization: Bearer abcdefgh12345678",
        ] {
            assert_eq!(redact(&format!("\"a {secret} b\"")), format!("\"a {MARK} b\""), "{secret}");
        }
        assert_eq!(redact("\"git clone https://me:secret@host/x\""), "\"git clone https[redacted]host/x\"");
        for plain in [
            "sk-short",
            "task-runner-of-a-very-long-name",
            "a@b.example",
            "https://host:8080/x@y",
            "AKIA",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        ] {
            assert_eq!(redact(plain), plain);
        }
    }
}
