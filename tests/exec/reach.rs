//! What answers questions and what was granted, against calls that would widen either: nothing that a call can write decides what a call may do.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    },
    path::Path,
};

use portcullis::model::scripted::Turn;
use serde_json::{Value, json};

use super::{
    approver::{Asked, ONCE, REFUSE, TOUCH_ASKS, elsewhere, request},
    support::{World, call, finish, one, shell, start},
};

const KEY: &str = "sk-test-5d1f7ac09b2e4c33";

#[test]
fn a_program_that_a_call_could_write_answers_no_question() {
    let script = format!("#!/bin/sh\necho '{ONCE}'\n");
    let world = World::new();
    for place in ["ws/answer", "ws/.portcullis/answer", "outside/answer"] {
        let path = world.write(place, &script);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    symlink(world.path("outside/answer"), world.path("ws/link")).unwrap();
    symlink(world.path("ws/answer"), world.path("outside/inward")).unwrap();
    symlink(world.path("ws/link"), world.path("outside/over")).unwrap();
    let policy = world.policy(TOUCH_ASKS);
    let run = |approver: &str| {
        let model = start([one(shell("touch one")), Turn::message("done")]);
        let ended = finish(world.exec(&model, &["--policy", &policy, "--approver", approver, "x"]).current_dir(world.workspace()));
        (ended, model.requests().len())
    };
    let outside = |name: &str| world.path("outside").join(name).display().to_string();
    for approver in ["./answer", "sh answer", "sh -e ./answer", "./link", &outside("inward"), &outside("over")] {
        let (ended, requests) = run(approver);
        assert_eq!((ended.code(), requests), (Some(2), 0), "{approver}: {ended:#?}");
        assert!(ended.complaint().contains("can be written"), "{ended:#?}");
    }
    // Outside of the workspace, and where the policy protects it, it is as good as any.
    for approver in [outside("answer"), "./.portcullis/answer".to_owned(), "sh .portcullis/answer".to_owned()] {
        let _ = fs::remove_file(world.path("ws/one"));
        let (ended, _) = run(&approver);
        assert_eq!(ended.code(), Some(0), "{approver}: {ended:#?}");
        assert!(world.path("ws/one").exists(), "{approver}");
    }
}

#[test]
fn nobody_is_asked_to_grant_writing_to_the_program_that_answers() {
    let asked = Asked::new();
    fs::create_dir(asked.world.path("other")).unwrap();
    asked.answers(&[ONCE; 4]);
    let program = asked.place.join("run.sh").display().to_string();
    let places = [asked.place.display().to_string(), program, asked.world.path("other").display().to_string()];
    let outputs = asked.play("", places.map(|place| one(request("write", &place)))).well().outputs();
    assert!(outputs[..2].iter().all(|output| output.contains("the program that answers questions lies there")), "{outputs:?}");
    assert!(outputs[2].starts_with("Granted"), "{outputs:?}");
    assert_eq!(asked.questions().len(), 1);
}

#[test]
fn a_link_that_a_call_puts_on_the_way_to_what_was_granted_leads_nowhere() {
    let (place, secret) = (elsewhere(), elsewhere());
    let at = |folder: &Path, below: &str| folder.join(below).display().to_string();
    fs::create_dir_all(place.path().join("way/folder")).unwrap();
    fs::write(place.path().join("way/folder/precious"), "granted\n").unwrap();
    let wanted = at(place.path(), "way/folder");
    let asked = Asked::new();
    let for_session = json!({"answer": "always", "scope": "session", "permission": {"wider": {"read": wanted}}}).to_string();
    asked.answers(&[&for_session, ONCE, REFUSE, REFUSE, REFUSE]);
    // With what is granted for one call the way is changed, so that the same name leads to a folder of the same name elsewhere.
    let swap = format!("mv {0} {0}.gone && ln -s {1} {0} && echo swapped", at(place.path(), "way"), secret.path().display());
    let turns = [
        request("read", &wanted),
        shell(&format!("cat {wanted}/precious")),
        request("write", &place.path().display().to_string()),
        shell(&swap),
        shell(&format!("cat {wanted}/precious")),
        super::support::read_file(&format!("{wanted}/precious")),
    ];
    let outputs = asked.play("", turns.map(one)).outputs();
    assert!(outputs[1].contains("granted\n") && outputs[3].contains("swapped\n"), "{outputs:?}");
    assert!(!outputs.concat().contains("precious\n"), "{outputs:?}");
    assert!(outputs[4].contains("not what was granted any more"), "{outputs:?}");
}

#[test]
fn a_socket_of_the_host_is_not_granted_as_a_file_and_a_folder_with_one_says_so() {
    let place = elsewhere();
    let socket = place.path().join("folder/socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let asked = Asked::new();
    asked.answers(&[REFUSE; 4]);
    let wanted = [
        ("read", socket.display().to_string()),
        ("write", socket.display().to_string()),
        ("read", "/run".to_owned()),
        ("read", place.path().display().to_string()),
        ("read", place.path().join("other").display().to_string()),
    ];
    let outputs = asked.play("", wanted.map(|(access, what)| one(request(access, &what)))).well().outputs();
    assert!(outputs[..3].iter().all(|output| output.contains("cannot be granted")), "{outputs:?}");
    let questions = asked.questions();
    assert_eq!(questions.len(), 2, "{questions:#?}");
    let warned = |question: &Value| question["subject"]["warnings"].to_string().contains("unix sockets");
    assert!(warned(&questions[0]) && !warned(&questions[1]), "{questions:#?}");
}

#[test]
fn a_secret_is_in_no_question_no_record_and_no_grant() {
    let asked = Asked::new();
    asked.answers(&[ONCE, ONCE, REFUSE]);
    let with_key = [shell(&format!("touch {KEY} one")), request("read", &format!("/srv/{KEY}")), shell("touch two")];
    let model = start(with_key.map(one));
    let approver = format!("sh {0}/run.sh {0}", asked.place.display());
    let policy = asked.world.policy(TOUCH_ASKS);
    let mut command = asked.world.exec(&model, &["--policy", &policy, "--approver", &approver, "--key-env", "MY_KEY", "x"]);
    assert_eq!(finish(command.env("MY_KEY", KEY)).code(), Some(0));
    assert!(asked.has("one"));
    let questions = asked.questions();
    assert_eq!((questions.len(), &questions[0]["lasting"]), (2, &Value::Null), "{questions:#?}");
    assert_eq!(questions[0]["subject"]["text"], "touch [redacted] one");
    assert!(!questions[1]["lasting"].is_null(), "what holds none can be allowed for longer");
    let log = fs::read_to_string(&asked.world.logs()[0]).unwrap();
    assert!(!log.contains(KEY) && !fs::read_to_string(asked.place.join("questions")).unwrap().contains(KEY), "{log}");
}

#[test]
fn a_text_is_allowed_in_one_folder_and_a_program_of_the_workspace_only_as_a_text() {
    let asked = Asked::new();
    let policy = "[[command]]\nprefix = [\"tool\"]\ndecision = \"ask\"\nwhy = \"It is new.\"\n";
    for folder in ["ws", "ws/sub"] {
        let path = asked.world.write(&format!("{folder}/tool"), "#!/bin/sh\necho \"$PWD $1\" >> ran\n");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let exactly = json!({"exactly": {"command": "./tool x", "cwd": asked.world.workspace()}});
    let always = json!({"answer": "always", "scope": "repository", "permission": exactly}).to_string();
    let words = json!({"answer": "always", "scope": "repository", "permission": {"words": {"words": ["./tool", "x"]}}}).to_string();
    asked.answers(&[&words, &always, REFUSE, REFUSE, REFUSE]);
    let elsewhere = call("shell", json!({"command": "./tool x", "workdir": "sub"}));
    let background = call("shell", json!({"command": "./tool x", "background": true}));
    let turns = [shell("./tool x"), shell("./tool x"), shell("./tool x"), elsewhere, background, shell("./tool y")];
    asked.play(policy, turns.map(one)).well();
    let questions = asked.questions();
    assert_eq!(questions.len(), 5, "{questions:#?}");
    assert_eq!(questions[0]["lasting"]["permission"], exactly);
    assert_eq!(questions[0]["lasting"]["scopes"], json!(["session", "repository"]));
    assert_eq!(fs::read_to_string(asked.world.path("ws/ran")).unwrap().lines().count(), 2);
    assert!(!asked.has("sub/ran"));
    // The next session knows it too.
    asked.answers(&[REFUSE]);
    asked.play(policy, [one(shell("./tool x"))]).well();
    assert!(asked.questions().is_empty());
}

#[test]
fn a_call_gets_at_the_grants_in_no_way() {
    let asked = Asked::new();
    let file = asked.world.path("state/grants.json").display().to_string();
    let always = json!({"answer": "always", "scope": "repository", "permission": {"words": {"words": ["touch", "one"]}}}).to_string();
    asked.answers(&[&always, REFUSE, REFUSE, REFUSE]);
    let state = asked.world.path("state").display().to_string();
    let turns = [
        shell("touch one"),
        shell(&format!("cat {file}; echo '{{\"v\":1,\"grants\":[]}}' > {file}; mv {state} {state}.gone")),
        request("write", &file),
        request("write", &asked.world.path("").display().to_string()),
    ];
    let outputs = asked.play(TOUCH_ASKS, turns.map(one)).well().outputs();
    assert!(!outputs[1].contains("fingerprint") && outputs[2..].iter().all(|output| output.starts_with("Refused: ")), "{outputs:?}");
    assert!(fs::read_to_string(&file).unwrap().contains("\"touch\""));
    assert_eq!(asked.questions().len(), 1, "{:#?}", asked.questions());
}

#[test]
fn the_mode_and_the_grants_of_a_session_stand_behind_its_start_and_change_no_fingerprint() {
    let place = elsewhere();
    let folder = place.path().join("folder").display().to_string();
    let asked = Asked::new();
    let always = json!({"answer": "always", "scope": "repository", "permission": {"wider": {"read": folder}}}).to_string();
    asked.answers(&[&always]);
    asked.play("", [one(request("read", &folder))]).well();
    asked.answers(&[ONCE]);
    let played = asked.play_with("", &["--ask", "always"], [one(shell(&format!("cat {folder}/precious")))]).well();
    assert!(played.output().contains("precious\n"), "{}", played.output());
    let mut logs = asked.world.logs();
    logs.sort();
    let records = super::support::records_of(&logs[1]);
    let begun: Vec<&str> = records.iter().take(4).map(|record| record["event"].as_str().unwrap()).collect();
    assert_eq!(begun, ["session_start", "ask_mode", "granted", "in_force"]);
    let told = &played.bodies()[0];
    let fingerprint = records[0]["fingerprint"].as_str().unwrap();
    assert!(told.contains(&format!("fingerprint sha256:{fingerprint}")) && told.contains("asked before every call"), "{told}");
}
