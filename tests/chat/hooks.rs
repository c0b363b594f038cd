//! Hooks in a session that a person works in.

use std::fs;

use portcullis::model::scripted::Turn;

use crate::driven::{Setting, shell};

#[test]
fn hooks_ask_the_person_refuse_and_say_where_they_failed() {
    let setting = Setting::new();
    let script = setting.host.home.join("judges");
    let judges = r#"case "$(cat)" in
*bad*) echo '{"decision":"refuse","reason":"it is bad"}' ;;
*odd*) echo '{"decision":"ask","reason":"it is odd"}' ;;
*) echo '{"decision":"allow"}' ;;
esac"#;
    fs::write(&script, judges).unwrap();
    let hooks = format!(
        "schema = 1\n[[hook]]\non = \"before-call\"\ncommand = [\"sh\", \"{}\"]\n[[hook]]\non = \"session-stop\"\ncommand = [\"false\"]\n",
        script.display()
    );
    fs::write(setting.host.state.join("hooks.toml"), hooks).unwrap();
    let turns = [shell("touch odd"), shell("touch bad"), shell("touch good"), Turn::message("Done.")];
    let Some(session) = setting.begin("hooks_ask_the_person", turns) else { return };
    session.line("go");
    let screen = session.wait("May this run?");
    assert!(screen.contains("it is odd") && screen.contains("hooks.toml:2"), "{screen}");
    assert!(!session.host.has("odd"));
    session.press("y", "Done.");
    session.turn("Done.");
    assert!(session.host.has("odd") && !session.host.has("bad") && session.host.has("good"));
    let decided: Vec<_> = session.events("call_intent").iter().map(|record| record["decided_by"].as_str().unwrap().to_owned()).collect();
    assert_eq!(decided, ["person", "hook", "policy"]);
    session.keys(&["C-d"]);
    assert_eq!(session.ended(), 0);
    assert!(session.all().replace('\n', " ").contains("the hook hooks.toml:5 failed"), "{}", session.all());
    assert_eq!(session.events("hook").len(), 4);
}
