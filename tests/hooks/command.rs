//! `portcullis hooks`.

use super::{Hooked, support::finish};

#[test]
fn hooks_are_listed_in_order_or_said_to_be_none() {
    let hooked = Hooked::new();
    let ended = finish(&mut hooked.world.command(&["hooks", "list"]));
    assert_eq!(ended.code(), Some(0));
    assert!(ended.stdout.contains("there are no hooks") && ended.stdout.contains("hooks.toml"), "{ended:#?}");
    hooked.add("on = \"before-call\"\ntools = [\"shell\"]\ncommand = [\"sh\", \"-c\", \"a b\\u001b[2J\"]\ntimeout = \"10s\"\n");
    hooked.add("on = \"session-stop\"\ncommand = [\"true\"]\npolicy = \"locked\"\n");
    let ended = finish(&mut hooked.world.command(&["hooks", "list"]));
    assert_eq!(ended.code(), Some(0), "{ended:#?}");
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert!(
        lines[0].starts_with("hooks.toml:2") && ["before-call", "shell", "read-only", "10s"].iter().all(|part| lines[0].contains(part))
    );
    assert!(ended.stdout.contains("session-stop") && ended.stdout.contains("locked") && !ended.stdout.contains('\u{1b}'), "{ended:#?}");
    hooked.add("on = \"never\"\ncommand = [\"true\"]\n");
    assert_eq!(finish(&mut hooked.world.command(&["hooks", "list"])).code(), Some(3));
}

#[test]
fn a_try_shows_what_each_hook_answers_and_begins_no_session() {
    let hooked = Hooked::new();
    let judges = r#"case "$told" in *bad*) echo '{"decision":"refuse","reason":"it is bad"}'; echo 'a word' >&2 ;; *) echo '{"decision":"allow"}' ;; esac"#;
    hooked.hook("before-call", judges, "tools = [\"shell\"]").hook("session-start", "echo '{\"context\":\"c\"}'", "");
    hooked.hook("after-call", "echo '{\"note\":\"n\"}'", "tools = [\"apply_patch\"]").hook("session-stop", "exit 2", "");
    let cases: [(&[&str], i32, &str); 7] = [
        (&[], 0, "hooks.toml:2 before-call: allow ("),
        (&["--arguments", "{\"command\":\"bad\"}"], 0, "hooks.toml:2 before-call: refuse: it is bad ("),
        (&["--tool", "read_file"], 0, "no hook runs then"),
        (&["--on", "session-start"], 0, "hooks.toml:6 session-start: context: c ("),
        (&["--on", "after-call", "--tool", "apply_patch"], 0, "hooks.toml:10 after-call: note: n ("),
        (&["--on", "session-stop"], 1, "hooks.toml:14 session-stop: failed: it ended with 2 ("),
        (&["--arguments", "{"], 2, ""),
    ];
    for (arguments, code, said) in cases {
        let ended = finish(hooked.world.command(&["hooks", "test"]).args(arguments));
        assert_eq!(ended.code(), Some(code), "{arguments:?}: {ended:#?}");
        assert!(ended.stdout.contains(said), "{arguments:?}: {ended:#?}");
        assert_eq!(ended.stdout.contains("standard error: a word"), said.contains("bad"), "{ended:#?}");
    }
    assert!(hooked.world.logs().is_empty() && hooked.world.left_nothing_temporary());
}

#[test]
fn what_can_be_contacted_names_hooks_where_there_are_some() {
    let hooked = Hooked::new();
    let says = |hooked: &Hooked| {
        let ended = finish(&mut hooked.world.command(&["privacy", "--model", "m", "--provider-url", "http://127.0.0.1:9/v1"]));
        assert_eq!(ended.code(), Some(0), "{ended:#?}");
        ended.stdout.contains("hooks of yours")
    };
    assert!(!says(&hooked));
    hooked.hook("session-stop", "echo '{}'", "");
    assert!(says(&hooked));
}

#[test]
fn the_help_has_examples_and_the_codes() {
    let hooked = Hooked::new();
    for arguments in [&["hooks", "--help"][..], &["hooks", "test", "--help"], &["hooks", "list", "--help"]] {
        let ended = finish(&mut hooked.world.command(arguments));
        assert!(ended.stdout.contains("Examples:") && ended.stdout.contains("Ends with 0"), "{ended:#?}");
    }
}
