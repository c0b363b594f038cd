//! What holds for every text.

use portcullis::{
    approval::{
        Binaries, Judgement, Rules,
        shell::{Dialect, read},
    },
    policy::preset,
};
use proptest::prelude::*;

fn rules() -> Rules {
    Rules::new(&preset("workspace-write").unwrap(), Binaries::unknown(), Dialect::Bash)
}

/// Every span lies in the text, at the borders of characters.
fn spans_hold(text: &str) {
    let judged = rules().judge(text);
    for command in &judged.commands {
        assert!(text.get(command.span.clone()).is_some(), "{:?} of {text:?}", command.span);
    }
    if let Some(opaque) = &judged.opaque {
        assert!(text.get(opaque.span.clone()).is_some(), "{:?} of {text:?}", opaque.span);
    }
}

/// Pieces that shells and people read differently.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("git push".to_owned()),
        prop::sample::select(vec![
            "'",
            "\"",
            "`",
            "$(",
            ")",
            "(",
            "{",
            "}",
            "${",
            "<<EOF",
            "\nEOF\n",
            "<<<",
            "<(",
            ">",
            ">|",
            "&>",
            "2>&1",
            ";",
            ";;",
            "&&",
            "||",
            "|",
            "|&",
            "&",
            "\n",
            " ",
            "\\",
            "\\\n",
            "#",
            "!",
            "if ",
            "then ",
            "fi",
            "for i in ",
            "do ",
            "done",
            "case x in ",
            "esac",
            "function f",
            "()",
            "[[ ",
            " ]]",
            "((",
            "))",
            "$((",
            "$'",
            "$\"",
            "$x",
            "${x}",
            "time ",
            "coproc ",
            "env ",
            "sh -c ",
            "xargs ",
            "A=1 ",
            "A=(",
            "a[0]=",
            "=",
            "~",
            "*",
            "é",
            "\u{202e}",
            "\r",
            "\0",
            "\u{a0}",
            "EOF",
            "-",
            "--",
        ])
        .prop_map(str::to_owned),
        "[a-z]{1,4}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        spans_hold(&text);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        spans_hold(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_mixture_of_the_shells_marks_makes_the_reader_panic(pieces in prop::collection::vec(piece(), 0..30)) {
        spans_hold(&pieces.concat());
    }

    #[test]
    fn words_that_were_quoted_are_read_as_they_were(words in prop::collection::vec("[^\\p{C}\\p{Z}]{0,12}|[ -~]{0,12}|[a-z \n\t'\"$`\\\\;&|<>(){}*?#!~=]{0,10}", 1..6)) {
        let words: Vec<String> = words.into_iter().filter(|word| !word.chars().any(portcullis::policy::is_hidden)).collect();
        prop_assume!(words.first().is_some_and(|word| !word.is_empty()));
        let text = shlex::try_join(words.iter().map(String::as_str)).unwrap();
        let script = read(&text, Dialect::Bash, 0, 0);
        // A program's name may happen to be a reserved word or an assignment; then it may be anything but another command.
        let plain = words[0].chars().all(|c| c.is_ascii_alphanumeric());
        if let Some(opaque) = &script.opaque {
            prop_assert!(!plain || script.commands.is_empty(), "{text}: {opaque:?}");
        } else {
            prop_assert_eq!(script.commands.len(), 1, "{}", text);
            let read: Vec<&str> = script.commands[0].words.iter().filter_map(|word| word.literal()).collect();
            if script.commands[0].assignments.is_empty() {
                prop_assert_eq!(read, words.iter().map(String::as_str).collect::<Vec<_>>(), "{}", text);
            }
        }
    }

    #[test]
    fn a_command_that_is_hidden_in_quotes_is_not_taken_for_one_that_runs(word in "[ -~]{0,30}") {
        let quoted = shlex::try_quote(&word).unwrap();
        let script = read(&format!("echo {quoted}"), Dialect::Bash, 0, 0);
        if script.opaque.is_none() {
            prop_assert_eq!(script.commands.len(), 1, "{}", quoted);
        }
    }
}

#[test]
fn quoted_words_are_mostly_understood() {
    // Otherwise the round trip above would prove nothing.
    for word in ["plain", "two words", "it's", "$(x)", "`x`", "a;b", "a\nb", "#", "*", "~", "{a,b}", "\\", "\"", "!", "-x", "täst", ""] {
        let text = shlex::try_join(["program", word]).unwrap();
        let script = read(&text, Dialect::Bash, 0, 0);
        assert!(script.opaque.is_none(), "{text}: {:?}", script.opaque);
        assert_eq!(script.commands[0].words[1].literal(), Some(word), "{text}");
    }
}

#[test]
fn long_and_deep_texts_return() {
    let rules = rules();
    let deep = |open: &str, close: &str, count: usize| format!("{}git push{}", open.repeat(count), close.repeat(count));
    for text in [
        vec!["true"; 10_000].join(";"),
        vec!["true"; 3_000].join("|"),
        deep("(", ")", 8_000),
        deep("( ", " )", 4_000),
        deep("$(", ")", 5_000),
        deep("\"$(", ")\"", 3_000),
        deep("{ ", "; }", 3_000),
        deep("if ", "; then a; fi", 1_000),
        deep("${x:-", "}", 2_000),
        deep("$((", "))", 2_000),
        deep("`", "`", 5_000),
        deep("case x in x) ", ";; esac", 700),
        deep("f() { ", "; }", 1_500),
        deep("[[ (", ") ]]", 1_500),
        deep("! ", "", 5_000),
        deep("env ", "", 4_000),
        deep("sh -c '", "'", 2_000),
        "<<A ".repeat(4_000),
        "}|".repeat(8_000),
        "|!".repeat(8_000),
        ")a[".repeat(5_000),
        "\"|".repeat(8_000),
        "(".repeat(16_000),
        "\"".repeat(15_999),
        "\\".repeat(16_000),
        "$".repeat(16_000),
        "<(".repeat(8_000),
        "git -x ".repeat(2_000),
        "git $x ".repeat(2_000),
        format!("git {}", "$x -a ".repeat(2_500)),
    ] {
        // No time is asserted: what is exponential in these, or recurses on them, would not return at all.
        let judged = rules.judge(&text);
        assert!(!matches!(judged.judgement, Judgement::Allow { rule: Some(_) }));
    }
}
