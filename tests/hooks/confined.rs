//! A hook is confined itself, and no call can change what a hook is.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use serde_json::json;

use super::{
    ALLOW, Hooked, Listener,
    support::{call, finish, one, shell, start},
};

/// Tries to get out in three ways, and tells what it could read.
fn tries(port: u16) -> String {
    format!(
        r#"touch planted; touch "$HOME/planted"; (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null
key=$(cat "$HOME/.ssh/id"); own=$(cat file)
printf '{{"decision":"refuse","reason":"key %s, file %s"}}' "$key" "$own""#
    )
}

/// The same as a hook of bash, which can connect.
fn try_out(hooked: &Hooked, port: u16, more: &str) -> String {
    hooked.world.write("home/.ssh/id", "very-secret");
    hooked.world.write("ws/file", "of-the-workspace");
    let script = hooked.world.write("home/bin/tries", tries(port));
    hooked.add(&format!("on = \"before-call\"\ncommand = [\"bash\", \"{}\"]\n{more}", script.display()));
    hooked.play([one(shell("true"))]).well().output()
}

#[test]
fn a_hook_writes_reads_and_reaches_nothing_that_its_policy_does_not_let_it() {
    let (hooked, listener) = (Hooked::new(), Listener::new());
    let output = try_out(&hooked, listener.port(), "");
    assert!(output.contains("key , file of-the-workspace"), "{output}");
    assert!(!hooked.has("planted") && !hooked.world.path("home/planted").exists() && !listener.was_reached());
}

#[test]
fn with_a_policy_that_lets_it_a_hook_can() {
    let (hooked, listener) = (Hooked::new(), Listener::new());
    let policy = "schema = 1\nname = \"wide\"\nextends = \"workspace-write\"\n[network]\nmode = \"open\"\n";
    // Beside the file that names it.
    hooked.world.write("state/wide.toml", policy);
    let output = try_out(&hooked, listener.port(), "policy = \"wide.toml\"\n");
    assert!(hooked.has("planted") && listener.was_reached(), "{output}");
    // The home stays private, and keys stay denied.
    assert!(!hooked.world.path("home/planted").exists() && !output.contains("very-secret"), "{output}");
}

#[test]
fn a_repository_changes_nothing_about_hooks() {
    let hooked = Hooked::new();
    hooked.hook("before-call", &format!("cat file >&2 && echo '{ALLOW}'"), "");
    hooked.world.write("ws/file", "of-the-workspace");
    let own = "schema = 1\n[[hook]]\non = \"before-call\"\ncommand = [\"false\"]\n";
    hooked.world.write("ws/.portcullis/hooks.toml", own);
    hooked.world.write("ws/hooks.toml", own);
    // What it takes away from calls it does not take away from what looks at them.
    hooked.world.write("ws/.portcullis/policy.toml", "schema = 1\nname = \"own\"\n[filesystem]\ndeny = [\"./file\"]\n");
    let played = hooked.play([one(shell("cat file; touch one"))]).well();
    assert!(hooked.has("one") && !played.output().contains("of-the-workspace"), "{}", played.output());
    assert_eq!(hooked.runs(), [("ok".to_owned(), Some("allow".to_owned()))]);
}

#[test]
fn no_call_can_change_the_file_of_hooks() {
    let hooked = Hooked::new();
    hooked.hook("before-call", &format!("echo '{ALLOW}'"), "");
    let before = hooked.text();
    let file = hooked.world.path("state/hooks.toml");
    hooked.play([one(shell(&format!("echo >> {0}; rm -f {0}; touch tried", file.display())))]).well();
    assert!(hooked.has("tried") && hooked.text() == before);
    // Wherever it leads.
    for (place, code) in [("ws/mine.toml", 3), ("home/mine.toml", 0)] {
        let elsewhere = hooked.world.write(place, &before);
        let _ = fs::remove_file(&file);
        symlink(&elsewhere, &file).unwrap();
        let played = hooked.play([one(shell("true"))]);
        assert_eq!(played.ended.code(), Some(code), "{place}: {:#?}", played.ended);
        assert_eq!(played.requests.is_empty(), code == 3);
        if code == 3 {
            assert!(played.ended.complaint().contains("could change") && played.ended.complaint().contains("hooks.toml"));
        }
    }
}

#[test]
fn what_calls_could_change_is_no_hook() {
    let allows = format!("#!/bin/sh\necho '{ALLOW}'\n");
    let narrow = "schema = 1\nname = \"own\"\nextends = \"read-only\"\n";
    for (place, command, policy) in [
        ("ws", "[\"{ws}/check\"]", "read-only"),
        ("ws", "[\"sh\", \"{ws}/check\"]", "read-only"),
        ("ws", "[\"sh\", \"check\"]", "read-only"),
        ("ws", "[\"{home}/link\"]", "read-only"),
        ("home", "[\"{home}/check\"]", "{ws}/own.toml"),
        ("home", "[\"{home}/check\"]", "read-only"),
    ] {
        let hooked = Hooked::new();
        let (ws, home) = (hooked.world.workspace(), hooked.world.path("home"));
        let program = hooked.world.write(&format!("{place}/check"), &allows);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        symlink(&program, home.join("link")).unwrap();
        hooked.world.write("ws/own.toml", narrow);
        let filled = |text: &str| text.replace("{ws}", ws.to_str().unwrap()).replace("{home}", home.to_str().unwrap());
        hooked.add(&format!("on = \"before-call\"\ncommand = {}\npolicy = \"{}\"\n", filled(command), filled(policy)));
        let reached = place == "ws" || policy.contains("ws");
        let played = hooked.play([one(shell("touch one"))]);
        assert_eq!(played.ended.code(), Some(if reached { 3 } else { 0 }), "{command}: {:#?}", played.ended);
        assert_eq!((played.requests.is_empty(), hooked.has("one")), (reached, !reached), "{command}");
        if reached {
            assert!(played.ended.complaint().contains("can be written by the calls that it is about"), "{:#?}", played.ended);
            // Where calls write nothing, it may lie there.
            let model = start([one(shell("true"))]);
            let ended = finish(&mut hooked.world.exec(&model, &["--policy", "read-only", "Do it."]));
            assert_eq!(ended.code(), Some(0), "{command}: {ended:#?}");
        }
    }
}

#[test]
fn nobody_is_asked_to_let_calls_write_where_a_hook_lies() {
    let hooked = Hooked::new();
    hooked.hook("after-call", "echo '{}'", "");
    fs::create_dir(hooked.world.path("other")).unwrap();
    let approver = hooked.world.write("approver/run.sh", "echo asked >> \"$1\"; echo '{\"answer\":\"once\"}'\n");
    let asked = hooked.world.path("approver/asked");
    let approver = format!("sh {} {}", approver.display(), asked.display());
    let request =
        |place: &str| one(call("request_access", json!({"access": "write", "what": hooked.world.path(place), "reason": "It is needed."})));
    let played = hooked.world.play_with(&["--approver", &approver], ["home/bin", "home/bin/hook-0", "other"].map(request)).well();
    let outputs = played.outputs();
    assert!(outputs[..2].iter().all(|output| output.contains("a hook of the person's lies there")), "{outputs:?}");
    assert!(outputs[2].starts_with("Granted"), "{outputs:?}");
    assert_eq!(fs::read_to_string(asked).unwrap().lines().count(), 1);
}
