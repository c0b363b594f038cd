//! What is decided about calls, who is asked, and what is on record.

use std::fs;

use serde_json::{Value, json};

use super::{
    caller::{Caller, assert_whole, events},
    support::Host,
};

/// A policy under which `touch` asks.
const TOUCH_ASKS: &str = "[[command]]\nprefix = [\"touch\"]\ndecision = \"ask\"\nwhy = \"It makes files.\"\n";

/// The intent of a call, by what it is about.
fn intent(host: &Host, part: &str) -> Value {
    let found = events(host, "call_intent").into_iter().find(|record| record["arguments"].as_str().unwrap().contains(part));
    found.unwrap_or_else(|| panic!("no call about {part}"))
}

#[test]
fn what_would_ask_is_refused_because_nobody_can_be_asked_and_that_is_on_record() {
    let host = Host::new();
    let policy = host.policy("asks", TOUCH_ASKS);
    let mut caller = Caller::new(&host, &["--policy", &policy]);
    let refused = caller.sh("touch asked");
    assert!(refused.is_error && refused.status() == "refused", "{refused:?}");
    assert!(refused.text.contains("none can be asked here") && refused.text.contains("It makes files."), "{refused:?}");
    let allowed = caller.sh("echo > not-asked");
    assert!(!allowed.is_error, "{allowed:?}");
    let forbidden = caller.sh("sudo true");
    assert_eq!(forbidden.status(), "refused", "{forbidden:?}");
    let ended = caller.end();
    assert!(ended.code == 0 && ended.stdout.is_empty(), "{ended:?}");
    assert!(!host.has("asked") && host.has("not-asked"));
    let asked = intent(&host, "touch asked");
    assert_eq!((&asked["decision"], &asked["decided_by"], &asked["call"]), (&json!("refuse"), &json!("nobody"), &json!("mcp-1")));
    assert_eq!(intent(&host, "not-asked")["decision"], "allow");
    assert_eq!(intent(&host, "sudo")["decided_by"], "rule");
    let outcomes = events(&host, "call_outcome");
    let of = |call: &str| outcomes.iter().find(|record| record["call"] == call).unwrap()["status"].clone();
    assert_eq!([of("mcp-1"), of("mcp-2"), of("mcp-3")], ["refused", "ok", "refused"]);
    assert_whole(&host);
}

#[test]
fn the_mode_of_the_command_line_asks_more_often_and_is_on_record() {
    let host = Host::new();
    let mut caller = Caller::new(&host, &["--ask", "always"]);
    assert_eq!(caller.sh("touch made").status(), "refused");
    assert_eq!(caller.call("policy_explain", json!({"kind": "command", "what": "touch made"})).told["explanation"]["word"], "ask");
    caller.end();
    assert!(!host.has("made"));
    assert_eq!(events(&host, "ask_mode")[0]["mode"], "always");
}

#[test]
fn an_approver_answers_instead_and_only_its_yes_lets_a_call_run() {
    let host = Host::new();
    let policy = host.policy("asks", TOUCH_ASKS);
    let script = host.root.join("approve.sh");
    fs::write(&script, "jq=$(cat); case $jq in *yes*) echo '{\"answer\":\"once\"}';; *stop*) echo '{\"answer\":\"stop\"}';; *) echo '{\"answer\":\"refuse\",\"say\":\"not that\"}';; esac\n")
        .unwrap();
    let approver = format!("sh {}", script.display());
    let mut caller = Caller::new(&host, &["--policy", &policy, "--approver", &approver]);
    let yes = caller.sh("touch yes");
    assert!(!yes.is_error && host.has("yes"), "{yes:?}");
    let no = caller.sh("touch no");
    assert!(no.is_error && no.text.contains("not that") && !host.has("no"), "{no:?}");
    // There is no turn to stop: the call is refused and the rest goes on.
    assert_eq!(caller.sh("touch stop").status(), "refused");
    assert!(!caller.sh("touch yes-again").is_error && host.has("yes-again"));
    caller.end();
    assert_eq!(intent(&host, "touch yes")["decided_by"], "approver");
    assert_whole(&host);

    // One that a call could write is none.
    let own = host.workspace.join("approve.sh");
    fs::copy(&script, &own).unwrap();
    let ended = Caller::unintroduced(super::caller::command(&host, &["--approver", &format!("sh {}", own.display())])).end();
    assert!(ended.code == 2 && ended.stdout.is_empty() && ended.stderr.contains("the approver"), "{ended:?}");
}

#[test]
fn the_policy_explains_what_then_happens_and_tells_nothing_of_the_disk() {
    let host = Host::new();
    std::os::unix::fs::symlink(host.root.join("outside/precious"), host.home.join(".ssh/link")).unwrap();
    let mut caller = Caller::new(&host, &[]);
    let mut word = |kind: &str, what: &str| {
        let called = caller.call("policy_explain", json!({"kind": kind, "what": what}));
        assert!(!called.is_error, "{called:?}");
        assert!(!called.text.contains("precious"), "{called:?}");
        called.told["explanation"]["word"].as_str().unwrap().to_owned()
    };
    let cases = [
        ("read", "file", "allow"),
        ("read", "~/.ssh/id_ed25519", "refuse"),
        ("read", "~/.ssh/link", "refuse"),
        ("write", "file", "allow"),
        ("write", ".git/hooks/pre-commit", "refuse"),
        ("command", "ls", "allow"),
        ("command", "git push", "ask"),
        ("command", "sudo ls", "forbid"),
        ("host", "example.org:443", "refuse"),
    ];
    for (kind, what, expected) in cases {
        assert_eq!(word(kind, what), expected, "{kind} {what}");
    }
    let wrong = caller.call("policy_explain", json!({"kind": "delete", "what": "file"}));
    assert!(wrong.is_error && wrong.status() == "refused", "{wrong:?}");
    caller.end();
    let asked = intent(&host, "git push");
    assert_eq!((&asked["tool"], &asked["decision"]), (&json!("policy_explain"), &json!("allow")));
    assert_eq!(intent(&host, "delete")["decision"], "refuse");
}

#[test]
fn the_persons_hooks_have_their_say_at_the_beginning_and_the_end() {
    let host = Host::new();
    let hook = |on: &str, answer: &str| {
        format!("[[hook]]\non = \"{on}\"\ncommand = [\"/bin/sh\", \"-c\", \"cat > {on}; {answer}\"]\npolicy = \"workspace-write\"\n")
    };
    let settings = host.state.join("hooks.toml");
    fs::create_dir_all(&host.state).unwrap();
    fs::write(&settings, format!("schema = 1\n{}{}", hook("session-start", "echo '{}'"), hook("session-stop", "echo '{}'"))).unwrap();
    let mut caller = Caller::new(&host, &[]);
    let ran = caller.sh("ls").text;
    assert!(ran.contains("session-start") && !ran.contains("session-stop"), "{ran}");
    caller.end().done();
    assert!(host.has("session-stop"));
    fs::write(&settings, format!("schema = 1\n{}", hook("session-start", "echo '{\\\"decision\\\":\\\"refuse\\\"}'"))).unwrap();
    let mut refused = Caller::new(&host, &[]);
    while !refused.has_ended() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let refused = refused.end();
    assert!(refused.code == 1 && refused.stderr.contains("there is no session: the hook"), "{refused:?}");
}
