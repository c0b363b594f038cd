//! Questions that a program answers, and the gate behind them: what each answer allows, for how long, and that nothing else is allowed.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use portcullis::model::scripted::Turn;
use serde_json::{Value, json};

use super::support::{Played, World, call, finish, one, processes_with, read_file, shell, start, unique_sleep};

pub(super) const ONCE: &str = r#"{"answer":"once"}"#;
pub(super) const REFUSE: &str = r#"{"answer":"refuse"}"#;

/// A world with a program that answers from a list and keeps what it was asked.
pub(super) struct Asked {
    pub(super) world: World,
    pub(super) place: PathBuf,
}

/// A policy under which `touch` asks.
pub(super) const TOUCH_ASKS: &str = "[[command]]\nprefix = [\"touch\"]\ndecision = \"ask\"\nwhy = \"It makes files.\"\n";

impl Asked {
    pub(super) fn new() -> Self {
        let world = World::new();
        let script = "cat >> \"$1/questions\"; echo >> \"$1/questions\"; env > \"$1/environment\"\n\
                      n=$(cat \"$1/n\" 2>/dev/null || echo 1); echo $((n + 1)) > \"$1/n\"; eval \"$(sed -n \"${n}p\" \"$1/answers\")\"\n";
        let place = world.write("approver/run.sh", script).parent().unwrap().to_path_buf();
        Self { world, place }
    }

    /// The next answers, as JSON.
    pub(super) fn answers(&self, answers: &[&str]) {
        self.commands(&answers.iter().map(|answer| format!("echo '{answer}'")).collect::<Vec<_>>());
    }

    /// What the program does for each of the next questions.
    pub(super) fn commands(&self, commands: &[String]) {
        let _ = fs::remove_file(self.place.join("n"));
        let _ = fs::remove_file(self.place.join("questions"));
        fs::write(self.place.join("answers"), commands.join("\n")).unwrap();
    }

    pub(super) fn play(&self, policy: &str, turns: impl IntoIterator<Item = Turn>) -> Played {
        self.play_with(policy, &[], turns)
    }

    pub(super) fn play_with(&self, policy: &str, more: &[&str], turns: impl IntoIterator<Item = Turn>) -> Played {
        let approver = format!("sh {0}/run.sh {0}", self.place.display());
        let policy = if policy.is_empty() { "workspace-write".to_owned() } else { self.world.policy(policy) };
        let mut arguments = vec!["--policy", policy.as_str(), "--approver", approver.as_str()];
        arguments.extend(more);
        self.world.play_with(&arguments, turns)
    }

    /// What was asked since the answers were given.
    pub(super) fn questions(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.place.join("questions")).unwrap_or_default();
        text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(super) fn has(&self, file: &str) -> bool {
        self.world.workspace().join(file).exists()
    }

    pub(super) fn events(&self, event: &str) -> Vec<Value> {
        let mut logs = self.world.logs();
        logs.sort();
        logs.iter().flat_map(|log| super::support::records_of(log)).filter(|record| record["event"] == event).collect()
    }
}

fn always(scope: &str, words: &[&str]) -> String {
    json!({"answer": "always", "scope": scope, "permission": {"words": {"words": words}}}).to_string()
}

#[test]
fn once_is_one_call_and_a_question_holds_all_that_will_happen() {
    let asked = Asked::new();
    asked.answers(&[ONCE, REFUSE]);
    let played = asked.play(TOUCH_ASKS, [one(shell("touch one")), one(shell("touch two"))]).well();
    assert!(asked.has("one") && !asked.has("two"));
    assert!(played.outputs()[1].contains("the approver said no"), "{:?}", played.outputs());
    let questions = asked.questions();
    assert_eq!(questions.len(), 2);
    let first = &questions[0];
    assert_eq!((&first["v"], &first["subject"]["text"], &first["tool"]), (&json!(1), &json!("touch one"), &json!("shell")));
    assert!(first["because"].as_str().unwrap().contains("test.toml:"), "{first}");
    assert!(first["access"].as_array().unwrap().iter().any(|line| line.as_str().unwrap().starts_with("write")), "{first}");
    // What was shown, and what was answered, are on record.
    let on_record = asked.events("question");
    assert_eq!(on_record.iter().map(|record| &record["shown"]).collect::<Vec<_>>(), [&questions[0]["shown"], &questions[1]["shown"]]);
    let answers: Vec<_> = asked.events("answer").iter().map(|record| (record["answer"].clone(), record["by"].clone())).collect();
    assert_eq!(answers, [(json!("once"), json!("approver")), (json!("refuse"), json!("approver"))]);
    let intents: Vec<_> =
        asked.events("call_intent").iter().map(|record| (record["decision"].clone(), record["decided_by"].clone())).collect();
    assert_eq!(intents, [(json!("allow"), json!("approver")), (json!("refuse"), json!("approver"))]);
}

#[test]
fn a_session_a_repository_and_a_user_are_as_far_as_they_say() {
    // How often it is asked: in the call after, in the session after, in another repository.
    for (scope, later) in [("session", [0, 1, 1]), ("repository", [0, 0, 1]), ("user", [0, 0, 0])] {
        let asked = Asked::new();
        asked.answers(&[&always(scope, &["touch", "one"])]);
        asked.play(TOUCH_ASKS, [one(shell("touch one")), one(shell("touch one two"))]).well();
        assert!(asked.has("two"), "{scope}");
        assert_eq!(asked.questions().len(), 1 + later[0], "{scope}");
        asked.answers(&[REFUSE]);
        asked.play(TOUCH_ASKS, [one(shell("touch one three"))]).well();
        assert_eq!((asked.questions().len(), asked.has("three")), (later[1], later[1] == 0), "{scope}");
        // The same path, but another folder by now.
        let moved = asked.world.path("moved");
        fs::rename(asked.world.workspace(), moved).unwrap();
        fs::create_dir(asked.world.workspace()).unwrap();
        asked.answers(&[REFUSE]);
        asked.play(TOUCH_ASKS, [one(shell("touch one four"))]).well();
        assert_eq!((asked.questions().len(), asked.has("four")), (later[2], later[2] == 0), "{scope}");
        let kept = asked.world.path("state/grants.json");
        assert_eq!(kept.exists(), scope != "session");
        if kept.exists() {
            assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
            // Under another policy nothing of it holds.
            asked.answers(&[REFUSE]);
            asked.play(&format!("{TOUCH_ASKS}[limits]\nwall = \"9m\"\n"), [one(shell("touch one five"))]).well();
            assert_eq!((asked.questions().len(), asked.has("five")), (1, false), "{scope}");
        }
    }
}

#[test]
fn what_was_not_offered_is_no_answer() {
    let wrong = [
        always("repository", &["touch"]),
        always("repository", &[]),
        always("repository", &["touch", "other"]),
        json!({"answer": "always", "scope": "user", "permission": "patching"}).to_string(),
        json!({"answer": "always", "scope": "user", "permission": {"wider": {"write": "/"}}}).to_string(),
        json!({"answer": "yes"}).to_string(),
        format!("{ONCE}{ONCE}"),
        String::new(),
    ];
    let asked = Asked::new();
    asked.answers(&wrong.iter().map(String::as_str).collect::<Vec<_>>());
    let played = asked.play(TOUCH_ASKS, (0..wrong.len()).map(|_| one(shell("touch one")))).well();
    assert_eq!(asked.questions().len(), wrong.len());
    assert!(!asked.has("one") && !asked.world.path("state/grants.json").exists());
    assert!(played.outputs().iter().all(|output| output.contains("no answer that counts")), "{:?}", played.outputs());
}

#[test]
fn a_program_that_fails_floods_or_is_late_has_refused() {
    let asked = Asked::new();
    let sleep = unique_sleep();
    let commands = [
        format!("echo '{ONCE}'; exit 3"),
        "head -c 200000 /dev/zero".to_owned(),
        format!("sleep {sleep}; echo '{ONCE}'"),
        format!("echo '{ONCE}'"),
    ];
    asked.commands(&commands);
    let turns = (0..4).map(|number| one(shell(&format!("touch {number}"))));
    let played = asked.play_with(TOUCH_ASKS, &["--approver-timeout", "1s"], turns);
    // Nobody answered in time, which is told from a no.
    assert_eq!(played.ended.code(), Some(7), "{:#?}", played.ended);
    assert_eq!(asked.world.tree().iter().filter(|line| line.ends_with(": \"\"")).count(), 1, "{:?}", asked.world.tree());
    assert!(asked.has("3"));
    assert!(processes_with(&format!("sleep\0{sleep}")).is_empty());
    let by: Vec<_> = asked.events("answer").iter().map(|record| record["by"].clone()).collect();
    assert_eq!(by, [json!("approver"), json!("approver"), json!("timeout"), json!("approver")]);
    let played = asked
        .world
        .play_with(&["--policy", &asked.world.policy(TOUCH_ASKS), "--approver", "/no/such/program"], [one(shell("touch 9"))])
        .well();
    assert!(played.outputs()[0].contains("could not be run") && !asked.has("9"), "{:?}", played.outputs());
}

#[test]
fn the_key_is_not_in_the_environment_of_the_approver() {
    let asked = Asked::new();
    asked.answers(&[ONCE]);
    let model = start([one(shell("touch one")), Turn::message("done")]);
    let approver = format!("sh {0}/run.sh {0}", asked.place.display());
    let policy = asked.world.policy(TOUCH_ASKS);
    let mut command = asked.world.exec(&model, &["--policy", &policy, "--approver", &approver, "--key-env", "MY_KEY", "x"]);
    command.env("MY_KEY", "sk-very-secret").env("COPY_OF_IT", "sk-very-secret").env("ANOTHER", "kept");
    assert_eq!(finish(&mut command).code(), Some(0));
    let seen = fs::read_to_string(asked.place.join("environment")).unwrap();
    assert!(seen.contains("ANOTHER=kept") && !seen.contains("sk-very-secret"), "{seen}");
}

#[test]
fn an_edit_runs_instead_and_is_judged_again_and_a_word_reaches_the_model() {
    let asked = Asked::new();
    let edit = |command: &str| json!({"answer": "edit", "command": command}).to_string();
    let word = json!({"answer": "refuse", "say": "use make"}).to_string();
    asked.answers(&[&edit("touch edited"), ONCE, &edit("sudo true"), &edit("ls > listed"), &word]);
    let turns = (0..4).map(|number| one(shell(&format!("touch {number}"))));
    let played = asked.play(TOUCH_ASKS, turns).well();
    let outputs = played.outputs();
    assert!(asked.has("edited") && asked.has("listed") && (0..4).all(|number| !asked.has(&number.to_string())));
    assert!(outputs[0].contains("this was run instead: touch edited"), "{outputs:?}");
    assert!(outputs[1].contains("forbids") && outputs[1].contains("did not run") && !outputs[1].contains("was run instead"), "{outputs:?}");
    assert!(outputs[3].contains("the approver said no, and: use make"), "{outputs:?}");
}

#[test]
fn stop_ends_the_turn() {
    let asked = Asked::new();
    asked.answers(&[r#"{"answer":"stop"}"#]);
    let played = asked.play(TOUCH_ASKS, [one(shell("touch one")), one(shell("echo two > two"))]);
    assert_eq!(played.ended.code(), Some(1), "{:#?}", played.ended);
    assert_eq!(played.requests.len(), 1);
    assert!(asked.world.tree().is_empty());
    assert_eq!(asked.events("answer")[0]["answer"], "stop");
}

/// A folder outside of everything, and not below `/tmp`, of which a call has its own.
pub(super) fn elsewhere() -> tempfile::TempDir {
    let place = tempfile::Builder::new().prefix("exec-test-").tempdir_in("/var/tmp").unwrap();
    fs::create_dir(place.path().join("folder")).unwrap();
    fs::write(place.path().join("folder/precious"), "precious\n").unwrap();
    fs::write(place.path().join("other"), "other\n").unwrap();
    place
}

pub(super) fn request(access: &str, what: &str) -> portcullis::model::scripted::ScriptItem {
    call("request_access", json!({"access": access, "what": what, "reason": "It is needed."}))
}

#[test]
fn access_is_granted_for_one_call_or_longer_and_for_one_place() {
    let place = elsewhere();
    let folder = place.path().join("folder").display().to_string();
    let look = format!("cat {folder}/precious; cat {}/other", place.path().display());
    let asked = Asked::new();
    let for_good = json!({"answer": "always", "scope": "repository", "permission": {"wider": {"read": folder}}}).to_string();
    // The third is what the second look lacks, offered by itself.
    asked.answers(&[ONCE, REFUSE, REFUSE, &for_good]);
    let turns = [request("read", &folder), shell(&look), shell(&look), request("read", &folder), shell(&look)].map(one);
    let outputs = asked.play("", turns).well().outputs();
    assert!(outputs[0].starts_with("Granted for the next call"), "{outputs:?}");
    assert!(outputs[1].contains("precious\n") && !outputs[1].contains("other\n"), "{outputs:?}");
    assert!(!outputs[2].contains("precious\n"), "{outputs:?}");
    assert!(outputs[3].starts_with("Granted in this repository"), "{outputs:?}");
    assert!(outputs[4].contains("precious\n") && !outputs[4].contains("other\n"), "{outputs:?}");
    // Writing is something else.
    asked.answers(&[REFUSE, REFUSE]);
    let write = shell(&format!("echo planted > {folder}/planted; cat {folder}/precious"));
    let outputs = asked.play("", [one(write)]).well().outputs();
    assert!(outputs[0].contains("precious\n") && !place.path().join("folder/planted").exists(), "{outputs:?}");
    // Under the policy with the grant everything else is as it was.
    assert!(!asked.events("in_force").is_empty());
}

#[test]
fn what_was_granted_once_is_not_for_a_program_that_goes_on() {
    let place = elsewhere();
    let folder = place.path().join("folder").display().to_string();
    let asked = Asked::new();
    asked.answers(&[ONCE]);
    let look = format!("cat {folder}/precious; echo looked");
    let background = call("shell", json!({"command": look, "background": true}));
    let outputs = asked.play("", [request("read", &folder), background, shell(&look)].map(one)).well().outputs();
    assert!(outputs[1].contains("looked") && !outputs[1].contains("precious\n"), "{outputs:?}");
    assert!(outputs[2].contains("precious\n"), "{outputs:?}");
}

#[test]
fn what_was_granted_once_stays_so_when_something_else_is_granted_for_longer() {
    let place = elsewhere();
    let (folder, other) = (place.path().join("folder").display().to_string(), place.path().join("more").display().to_string());
    fs::create_dir(&other).unwrap();
    let asked = Asked::new();
    let longer = json!({"answer": "always", "scope": "session", "permission": {"wider": {"read": other}}}).to_string();
    asked.answers(&[ONCE, &longer, REFUSE, REFUSE]);
    let look = || shell(&format!("cat {folder}/precious"));
    let outputs = asked.play("", [request("read", &folder), request("read", &other), look(), look()].map(one)).well().outputs();
    assert!(outputs[2].contains("precious\n") && !outputs[3].contains("precious\n"), "{outputs:?}");
}

#[test]
fn a_grant_answers_only_the_rule_that_asked_about_its_own_words() {
    let policy = "[[command]]\nprefix = [\"touch\", \"deploy\"]\ndecision = \"ask\"\nwhy = \"Deploys.\"\n\
                  [[command]]\nprefix = [\"nohup\"]\ndecision = \"ask\"\nwhy = \"Stays.\"\n";
    let asked = Asked::new();
    asked.answers(&[&always("session", &["touch", "-a", "one"]), REFUSE, REFUSE]);
    let turns = [shell("touch -a one"), shell("touch -a one deploy"), shell("nohup touch -a one"), shell("touch -a one two")].map(one);
    asked.play_with(policy, &["--ask", "always"], turns).well();
    assert_eq!(asked.questions().len(), 3, "{:?}", asked.questions());
    assert!(asked.has("one") && asked.has("two") && !asked.has("deploy"));
}

#[test]
fn a_refused_command_is_repeated_with_just_what_it_lacked() {
    let place = elsewhere();
    let folder = place.path().join("folder");
    let asked = Asked::new();
    asked.answers(&[ONCE, REFUSE]);
    let command = format!("cat {}/precious && {{ echo x > {}/planted; true; }}", folder.display(), folder.display());
    let outputs = asked.play("", [one(shell(&command)), one(shell(&command))]).well().outputs();
    assert!(outputs[0].contains("was run again") && outputs[0].contains("precious\n"), "{outputs:?}");
    assert!(!folder.join("planted").exists());
    assert!(!outputs[1].contains("precious\n"), "{outputs:?}");
    let question = &asked.questions()[0];
    assert_eq!(question["subject"]["wider"]["read"], json!(folder.join("precious")), "{question}");
}

#[test]
fn what_is_denied_or_protected_is_never_granted_whatever_is_answered() {
    let asked = Asked::new();
    let world = &asked.world;
    world.write("home/.ssh/id_ed25519", "TOP-SECRET");
    world.write("ws/.git/hooks/sample", "");
    let link = world.workspace().join("link");
    std::os::unix::fs::symlink(world.path("home/.ssh"), &link).unwrap();
    asked.answers(&[ONCE; 9]);
    let home = world.path("home").display().to_string();
    let ssh = world.path("home/.ssh").display().to_string();
    let state = world.path("state").display().to_string();
    let link = link.display().to_string();
    let wanted = [
        ("read", ssh.as_str()),
        ("read", link.as_str()),
        ("read", home.as_str()),
        ("read", "/"),
        ("read", state.as_str()),
        ("write", ".git/hooks"),
        ("write", "/usr/bin"),
        ("socket", "/run/docker.sock"),
        ("host", "0x7f.1:443"),
    ];
    let turns = wanted.map(|(access, what)| one(request(access, what)));
    let played = asked.play("", turns.into_iter().chain([one(shell("cat ~/.ssh/id_ed25519 link/id_ed25519"))])).well();
    let outputs = played.outputs();
    for (output, (access, what)) in outputs.iter().zip(wanted) {
        assert!(output.starts_with("Refused: "), "{access} {what}: {output}");
    }
    assert!(!outputs.concat().contains("TOP-SECRET"), "{outputs:?}");
    // Nobody was even asked.
    assert!(asked.questions().is_empty(), "{:?}", asked.questions());
}

#[test]
fn a_path_that_becomes_a_link_after_it_was_granted_does_not_lead_elsewhere() {
    let place = elsewhere();
    let folder = place.path().join("folder");
    let asked = Asked::new();
    let swap = format!("mv {0} {0}.gone; ln -s {1}/.ssh {0}", folder.display(), asked.world.path("home").display());
    asked.world.write("home/.ssh/id_ed25519", "TOP-SECRET");
    // The person's own program swaps it, as something on the host could, between the look and the mount.
    asked.commands(&[format!("{swap}; echo '{ONCE}'")]);
    let turns = [one(request("read", &folder.display().to_string())), one(shell(&format!("cat {}/id_ed25519", folder.display())))];
    let played = asked.play("", turns);
    assert!(!played.outputs().concat().contains("TOP-SECRET"), "{:?}", played.outputs());
}

#[test]
fn fifty_calls_are_asked_about_as_often_as_the_mode_says() {
    // A task as it comes: reading, searching, building, a patch, and now and then something that a rule asks about.
    let task = || {
        (0..50).map(|number| match number % 10 {
            0 => one(read_file("a.txt")),
            1 => one(super::support::search("a")),
            9 => one(shell("git clean -n")),
            5 => one(super::support::apply_patch(&format!("*** Add File: new{number}.txt\n+x\n"))),
            _ => one(shell(&format!("echo {number} >> a.txt"))),
        })
    };
    let mut counts = Vec::new();
    for mode in ["always", "when-needed", "never"] {
        let asked = Asked::new();
        asked.world.write("ws/a.txt", "a\n");
        asked.answers(&[ONCE; 60]);
        asked.play_with("", &["--ask", mode], task()).well();
        counts.push(asked.questions().len());
        assert_eq!(asked.events("question").len(), asked.questions().len());
    }
    println!("questions for 50 calls: always {}, when-needed {}, never {}", counts[0], counts[1], counts[2]);
    assert_eq!(counts, [50, 5, 0]);
}

#[test]
fn grants_are_listed_taken_back_and_looked_back_on() {
    let asked = Asked::new();
    asked.answers(&[ONCE, ONCE, ONCE, &always("repository", &["touch", "one"])]);
    asked.play(TOUCH_ASKS, (0..4).map(|_| one(shell("touch one")))).well();
    let run = |arguments: &[&str]| finish(asked.world.command(&[&["grants"], arguments].concat()).env("LC_ALL", "C"));
    let listed = run(&["list"]);
    assert!(listed.stdout.contains("begin with: touch one") && listed.stdout.contains("does not hold here"), "{listed:#?}");
    let json: Value = serde_json::from_str(&run(&["list", "--json"]).stdout).unwrap();
    let id = json[0]["id"].as_str().unwrap().to_owned();
    let looked = run(&["report"]);
    assert!(looked.stdout.contains("asked 4 times: allowed 3 for one call and 1 for longer"), "{looked:#?}");
    assert!(
        looked.stdout.contains("would have saved 2 questions") && looked.stdout.contains("prefix   = [\"touch\", \"one\"]"),
        "{looked:#?}"
    );
    assert_eq!(run(&["revoke", "00000000"]).code(), Some(2));
    assert_eq!(run(&["revoke", &id]).code(), Some(0));
    asked.answers(&[REFUSE]);
    fs::remove_file(asked.world.workspace().join("one")).unwrap();
    asked.play(TOUCH_ASKS, [one(shell("touch one"))]).well();
    assert_eq!((asked.questions().len(), asked.has("one")), (1, false));
}

#[test]
fn what_runs_in_the_background_is_confined_looked_at_and_ended() {
    let world = World::new();
    let sleep = unique_sleep();
    let outside = world.path("planted").display().to_string();
    let start = call("shell", json!({"command": format!("echo one; touch {outside}; echo two > two; sleep {sleep}"), "background": true}));
    let look = |action: &str, number: Option<u32>| call("background", json!({"action": action, "number": number}));
    let turns = [start.clone(), look("list", None), look("output", Some(1)), look("stop", Some(1)), look("stop", Some(1)), start].map(one);
    let outputs = world.play(turns).well().outputs();
    assert!(outputs[0].contains("number 1") && outputs[0].contains("one\n"), "{outputs:?}");
    assert!(outputs[1].contains("runs") && outputs[2].starts_with("It runs."), "{outputs:?}");
    assert!(outputs[3].starts_with("Stopped.") && outputs[4].starts_with("Error: "), "{outputs:?}");
    assert!(world.workspace().join("two").exists() && !world.path("planted").exists());
    // The second ended with the session.
    assert!(processes_with(&format!("sleep\0{sleep}")).is_empty());
    assert_eq!(world.records().iter().filter(|record| record["event"] == "background_end").count(), 2);
}
