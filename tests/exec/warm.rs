//! Sandboxes that are made ahead of their calls: they are used, each once, carry nothing from one call to the next, and never show the workspace as it
//! was when the person has changed it since.

use std::{fs, os::unix::fs::symlink, thread, time::Duration};

use portcullis::model::scripted::{Pace, ScriptedModel, Turn};

use super::support::{Running, World, one, processes_with, shell, start, unique_sleep, wait_until};

/// How long the model thinks: time enough for a sandbox to be made.
const THINKS: Duration = Duration::from_millis(1500);
/// Time enough for one to be made, within that.
const IS_MADE: Duration = Duration::from_millis(700);

fn after_thought(command: &str) -> Turn {
    one(shell(command)).with_pace(Pace { delay: THINKS, drip: Duration::ZERO })
}

/// Runs turns, and does something while the model thinks about the second.
fn meanwhile(world: &World, turns: Vec<Turn>, change: impl FnOnce()) -> Vec<String> {
    let model = start(turns);
    let running = Running::start(world.exec(&model, &["--json"]).arg("Do it."), "");
    wait_until("the model is asked for its second turn", || model.requests().len() == 2);
    thread::sleep(IS_MADE);
    change();
    let ended = running.end();
    assert_eq!(ended.code(), Some(0), "{ended:#?}");
    outputs(&model)
}

fn outputs(model: &ScriptedModel) -> Vec<String> {
    model.requests().last().unwrap().outputs().into_iter().map(|(_, output)| output).collect()
}

/// Seconds since the sandbox's first process was made.
const AGE: &str = "awk '{print $1}' /proc/uptime; awk '{print $22 / 100}' /proc/1/stat";

fn age(output: &str) -> f64 {
    let numbers: Vec<f64> = output.lines().filter_map(|line| line.trim().parse().ok()).collect();
    assert_eq!(numbers.len(), 2, "{output}");
    numbers[0] - numbers[1]
}

#[test]
fn a_call_finds_a_sandbox_that_was_made_while_the_model_thought() {
    let world = World::new();
    let outputs = meanwhile(&world, vec![one(shell("true")), after_thought(AGE)], || {});
    assert!(age(&outputs[1]) > 0.5, "it was made for the call: {outputs:?}");
    // And one that changes nothing of the workspace leaves the next one as good.
    let outputs = meanwhile(&World::new(), vec![after_thought("true"), after_thought(AGE), after_thought(AGE)], || {});
    assert!(age(&outputs[1]) > 0.5 && age(&outputs[2]) > 0.5, "{outputs:?}");
}

#[test]
fn what_the_person_changes_meanwhile_holds_for_the_next_call() {
    let world = World::new();
    let (ws, secret) = (world.workspace(), "the-secret-5d1e");
    fs::create_dir(ws.join("folder")).unwrap();
    fs::write(ws.join("folder/note"), "a note").unwrap();
    world.write("ws/.vscode/settings.json", "theirs");
    let script = "cat .env folder/.env moved/.env; echo x > .envrc; echo x >> .vscode/settings.json; cat folder/note; ls; echo ran >> ran";
    let outputs = meanwhile(&world, vec![one(shell("ls")), after_thought(script)], || {
        world.write("ws/.env", secret);
        world.write("ws/folder/.env", secret);
        world.write("elsewhere/.env", secret);
        fs::rename(world.path("elsewhere"), ws.join("moved")).unwrap();
        world.write("ws/.vscode/settings.json", "mine");
        fs::write(ws.join("folder/note"), "another note").unwrap();
    });
    assert!(!outputs[1].contains(secret), "{outputs:?}");
    assert!(outputs[1].contains("another note") && outputs[1].contains("moved"), "{outputs:?}");
    assert_eq!(world.read("ws/.vscode/settings.json"), "mine");
    assert!(!ws.join(".envrc").exists());
    // The one that was stale had the call by then, and nothing of that began in it.
    assert_eq!(world.read("ws/ran"), "ran\n");
    // What the person made is no doing of the call's: it stays where it is.
    assert_eq!(world.read("ws/.env"), secret);
    assert!(!world.tree().iter().any(|line| line.contains(".refused")), "{:?}", world.tree());
}

#[test]
fn a_protected_file_that_the_person_makes_meanwhile_is_neither_taken_away_nor_blamed_on_a_call() {
    let world = World::new();
    let outputs = meanwhile(&world, vec![one(shell("ls")), after_thought("ls -a; cat mine.code-workspace")], || {
        world.write("ws/mine.code-workspace", "{}");
    });
    assert_eq!(world.read("ws/mine.code-workspace"), "{}");
    assert!(!outputs[1].contains("taken out of effect") && outputs[1].contains("{}"), "{outputs:?}");
}

#[test]
fn a_credential_that_the_person_gets_meanwhile_is_denied_by_whatever_way_it_lies_there() {
    let world = World::new();
    let secret = "the-token-77b0";
    let policy = world.policy(&format!(
        "[filesystem]\nread = [\"@system\", \"@workspace\", \"{0}\"]\ndeny = [\"{0}/token\", \"{0}/link/token\"]\n",
        world.path("config").display()
    ));
    fs::create_dir_all(world.path("config")).unwrap();
    fs::create_dir_all(world.path("real")).unwrap();
    symlink(world.path("real"), world.path("config/link")).unwrap();
    let config = world.path("config").display().to_string();
    let script = format!("cat {config}/token {config}/link/token; ls {config}");
    let model = start([one(shell("true")), after_thought(&script)]);
    let running = Running::start(world.exec(&model, &["--json", "--policy", &policy]).arg("Do it."), "");
    wait_until("the model is asked for its second turn", || model.requests().len() == 2);
    thread::sleep(IS_MADE);
    world.write("config/token", secret);
    world.write("real/token", secret);
    let ended = running.end();
    assert_eq!(ended.code(), Some(0), "{ended:#?}");
    let output = outputs(&model).pop().unwrap();
    assert!(!output.contains(secret) && output.contains("link"), "{output}");
}

#[test]
fn a_granted_folder_that_the_person_makes_anew_meanwhile_is_the_one_that_a_call_sees() {
    let world = World::new();
    let granted = world.path("granted");
    fs::create_dir_all(&granted).unwrap();
    let shown = granted.display();
    let policy = world.policy(&format!(
        "[filesystem]\nread = [\"@system\", \"@workspace\", \"{shown}\"]\nwrite = [\"@workspace\", \"@tmp\", \"{shown}\"]\n"
    ));
    let model = start([one(shell("true")), after_thought(&format!("cat {shown}/which; echo by the call > {shown}/made"))]);
    let running = Running::start(world.exec(&model, &["--json", "--policy", &policy]).arg("Do it."), "");
    wait_until("the model is asked for its second turn", || model.requests().len() == 2);
    thread::sleep(IS_MADE);
    fs::remove_dir(&granted).unwrap();
    world.write("granted/which", "made anew");
    let ended = running.end();
    assert_eq!(ended.code(), Some(0), "{ended:#?}");
    let output = outputs(&model).pop().unwrap();
    assert!(output.contains("made anew"), "{output}");
    assert_eq!(world.read("granted/made"), "by the call\n");
}

#[test]
fn a_call_finds_nothing_of_the_one_before() {
    let world = World::new();
    let mark = unique_sleep();
    let leave = format!(
        "export LEFT=1; umask 0; cd /; echo x > /dev/shm/left; mkdir /dev/mqueue/left 2> /dev/null; hostname left 2> /dev/null; ulimit -n 7; \
         (setsid {mark} &) ; readlink /proc/self/ns/*"
    );
    let look = "ls -A /dev/shm /dev/mqueue; echo \"LEFT=$LEFT pwd=$(pwd) umask=$(umask) files=$(ulimit -n) host=$(hostname)\"; ls /proc | grep -c '^[0-9]'; \
                ls -l /proc/self/fd | wc -l; readlink /proc/self/ns/*";
    let outputs = meanwhile(&world, vec![one(shell(&leave)), after_thought(look), after_thought(look)], || {
        assert!(processes_with(&mark).is_empty(), "{mark}");
    });
    let namespaces = |output: &str| output.lines().filter(|line| line.contains(":[")).map(str::to_owned).collect::<Vec<_>>();
    for later in &outputs[1..] {
        assert!(later.contains(&format!("LEFT= pwd={}", world.workspace().display())) && !later.contains("left"), "{later}");
        assert!(!later.contains("umask=0000") && !later.contains("files=7"), "{later}");
    }
    let private = |list: &[String]| {
        list.iter().filter(|name| !["time", "cgroup"].iter().any(|shared| name.starts_with(shared))).cloned().collect::<Vec<_>>()
    };
    let all: Vec<Vec<String>> = outputs.iter().map(|output| private(&namespaces(output))).collect();
    assert!(all.iter().all(|list| list.len() >= 6), "{all:?}");
    // Numbers of namespaces are given again once they are free; the host's are never.
    let hosts: Vec<String> =
        fs::read_dir("/proc/self/ns").unwrap().flatten().map(|entry| fs::read_link(entry.path()).unwrap().display().to_string()).collect();
    assert!(all.iter().flatten().all(|name| !hosts.contains(name)), "{all:?} {hosts:?}");
    // All that differs between the two that look is the namespaces themselves.
    let rest = |output: &str| output.lines().filter(|line| !line.contains(":[")).collect::<Vec<_>>().join("\n");
    assert_eq!(rest(&outputs[1]), rest(&outputs[2]));
}

#[test]
fn what_keeps_absent_places_absent_meanwhile_is_in_no_listing_and_no_status() {
    let world = World::new();
    assert!(std::process::Command::new("git").args(["init", "-q"]).arg(world.workspace()).status().unwrap().success());
    world.write("ws/file.txt", "x");
    let listed = one(super::support::call("list_dir", serde_json::json!({"path": ".", "depth": null})))
        .with_pace(Pace { delay: THINKS, drip: Duration::ZERO });
    let outputs = meanwhile(&world, vec![one(shell("true")), listed, one(shell("git status --short"))], || {
        assert!(world.workspace().join(".envrc").exists(), "nothing is there to be left out");
    });
    assert!(outputs[1].contains("file.txt") && !outputs[1].contains("socket"), "{outputs:?}");
    assert!(outputs[2].contains("?? file.txt") && !outputs[2].contains(".envrc"), "{outputs:?}");
}

#[test]
fn one_that_is_not_used_goes_and_takes_what_it_needed_on_the_host_along() {
    let world = World::new();
    let before = world.tree();
    let long = one(shell("true")).with_pace(Pace { delay: Duration::from_secs(16), drip: Duration::ZERO });
    let model = start([one(shell("true")), long]);
    let running = Running::start(world.exec(&model, &["--json"]).arg("Do it."), "");
    wait_until("the model is asked for its second turn", || model.requests().len() == 2);
    // While the model thinks for long, the person's folder is as it was, and so it is at the end.
    wait_until("what waited for a call is gone", || world.tree() == before);
    assert_eq!(model.requests().len(), 2, "it went only with the next call");
    let ended = running.end();
    assert_eq!(ended.code(), Some(0), "{ended:#?}");
    assert_eq!(world.tree(), before);
    assert!(world.left_nothing_temporary());
}

#[test]
fn one_whose_init_is_killed_is_not_used_and_the_call_runs_once() {
    let world = World::new();
    let outputs = meanwhile(&world, vec![one(shell("true")), after_thought("echo once >> ran; cat ran")], || {
        // Every sandbox that waits: the first processes of their PID namespaces are children of launchers of this test's world.
        for pid in waiting(&world) {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        }
    });
    assert!(outputs[1].contains("once"), "{outputs:?}");
    assert_eq!(world.read("ws/ran"), "once\n");
}

#[test]
fn where_changes_could_not_be_told_none_is_made_ahead_and_none_is_tried_again_and_again() {
    let world = World::new();
    for number in 0..4200 {
        fs::create_dir(world.workspace().join(format!("folder-{number}"))).unwrap();
    }
    let outputs = meanwhile(&world, vec![one(shell("true")), after_thought(AGE)], || {
        for _ in 0..40 {
            assert_eq!(children_of_launchers(&world), Vec::<i32>::new());
            thread::sleep(Duration::from_millis(10));
        }
    });
    assert!(age(&outputs[1]) < 0.5, "{outputs:?}");
}

#[test]
fn after_a_kill_while_one_waits_the_next_run_cleans_up_and_takes_nothing_of_the_persons_for_a_calls() {
    let world = World::new();
    let model = start([one(shell("true")), after_thought("true")]);
    let running = Running::start(world.exec(&model, &["--json"]).arg("Do it."), "");
    wait_until("the model is asked for its second turn", || model.requests().len() == 2);
    thread::sleep(IS_MADE);
    let inits = waiting(&world);
    assert!(world.workspace().join(".envrc").exists(), "nothing keeps absent places absent");
    for pid in launchers(&world) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    running.signal(9);
    running.end();
    wait_until("the sandbox that waited is gone", || inits.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()));
    // The person goes on, and makes what no call could have made.
    fs::remove_file(world.workspace().join(".envrc")).unwrap();
    world.write("ws/.envrc", "mine");
    world.write("ws/own.code-workspace", "mine");
    world.play_after_log([one(shell("true"))]).well();
    assert_eq!((world.read("ws/.envrc"), world.read("ws/own.code-workspace")), ("mine".to_owned(), "mine".to_owned()));
    assert_eq!(world.tree(), [".envrc: \"mine\"", "own.code-workspace: \"mine\""]);
}

/// The sandboxes that wait.
fn waiting(world: &World) -> Vec<i32> {
    let found = children_of_launchers(world);
    assert!(!found.is_empty(), "no sandbox waits");
    found
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok())
}

fn processes() -> Vec<i32> {
    fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The launchers of this world's agents.
fn launchers(world: &World) -> Vec<i32> {
    let state = world.path("state").display().to_string();
    let is_agent = |pid: i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(&format!("PORTCULLIS_HOME={state}"))
    };
    let is_launcher = |pid: &i32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.windows(10).any(|part| part == b"__launcher") && parent(*pid).is_some_and(is_agent)
    };
    processes().into_iter().filter(is_launcher).collect()
}

fn children_of_launchers(world: &World) -> Vec<i32> {
    let launchers = launchers(world);
    processes().into_iter().filter(|pid| parent(*pid).is_some_and(|parent| launchers.contains(&parent))).collect()
}
