//! The demo, everywhere that a person may try it.

use std::{fs, process::Command};

use super::support::{Ended, World, binary, can_unshare, finish, records_of, skip};

fn assert_shown(ended: &Ended) {
    assert_eq!(ended.code(), Some(0), "{ended:#?}");
    for part in ["scripted", "What was run", "What was refused", "What is certain", "read a private key", "plant a git hook", "phone home"]
    {
        assert!(ended.stdout.contains(part), "{part:?} is missing in {}", ended.stdout);
    }
    assert!(!ended.stdout.contains('✗') || !ended.stdout.contains("  ✗ the "), "{}", ended.stdout);
    assert_eq!(ended.stdout.matches("  ✓ ").count(), 10, "{}", ended.stdout);
    assert!(ended.stderr.is_empty(), "{}", ended.stderr);
}

#[test]
fn the_demo_shows_its_table_leaves_its_log_and_no_folder() {
    let world = World::new();
    let ended = finish(&mut world.command(&["demo"]));
    assert_shown(&ended);
    assert!(world.left_nothing_temporary());
    assert!(world.tree().is_empty() && fs::read_dir(world.path("home/.ssh")).unwrap().next().is_none());
    let shown = ended.stdout.lines().find_map(|line| line.strip_prefix("Log")).unwrap().trim();
    let log = &world.logs()[0];
    assert_eq!(shown, log.display().to_string());
    let records = records_of(log);
    assert_eq!(records.last().unwrap()["event"], "session_end");
}

#[test]
fn the_demo_does_not_need_a_home() {
    let world = World::new();
    let mut command = world.command(&["demo"]);
    assert_shown(&finish(command.env_remove("HOME")));
    let mut command = world.command(&["demo"]);
    let ended = finish(command.env_remove("HOME").env_remove("PORTCULLIS_HOME").env("XDG_STATE_HOME", world.path("xdg")));
    assert_shown(&ended);
    assert!(world.path("xdg/portcullis/log").is_dir());
}

#[test]
fn a_home_that_does_not_exist_is_not_made_for_the_demo() {
    let world = World::new();
    let home = format!("/nowhere-{}", std::process::id());
    let mut command = world.command(&["demo"]);
    let ended = finish(command.env_remove("PORTCULLIS_HOME").env("HOME", &home));
    assert_shown(&ended);
    assert!(!std::path::Path::new(&home).exists(), "a home was made for nobody");
    let log = ended.stdout.lines().find_map(|line| line.strip_prefix("Log")).unwrap().trim();
    assert!(log.starts_with(world.path("tmp").to_str().unwrap()), "{log}");
    assert_eq!(records_of(std::path::Path::new(log)).last().unwrap()["event"], "session_end");
}

#[test]
fn the_demo_needs_no_network() {
    const NAME: &str = "the_demo_needs_no_network";
    if !can_unshare("-rn") {
        return skip(NAME, "no network namespace can be made here");
    }
    let world = World::new();
    let up = "ip link set lo up 2>/dev/null || ifconfig lo up 2>/dev/null || exit 77; exec \"$0\" demo";
    let mut command = world.program("unshare");
    let ended = finish(command.args(["-rn", "sh", "-c", up]).arg(binary()));
    if ended.status.code() == Some(77) {
        return skip(NAME, "neither ip nor ifconfig is here to bring up the loopback interface");
    }
    assert_shown(&ended);
}

#[test]
fn the_demo_ignores_a_policy_of_the_persons_own() {
    let world = World::new();
    world.write("state/policy.toml", "this is no policy");
    assert_shown(&finish(&mut world.command(&["demo"])));
}

#[test]
fn two_demos_at_once_do_not_meet() {
    let world = World::new();
    let start = |mut command: Command| super::support::Running::start(&mut command, "");
    let both = [start(world.command(&["demo"])), start(world.command(&["demo"]))];
    for running in both {
        assert_shown(&running.end());
    }
    assert_eq!(world.logs().len(), 2);
    assert!(world.left_nothing_temporary());
}
