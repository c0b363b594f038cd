//! What was sent never changes: whatever servers do, each request begins with the one before it.

use std::fs;

use serde_json::json;

use super::{
    guests::{ALLOW, add_hostile, approve, echo, hostile, names, tool},
    support::{World, call, one},
};

/// The bytes of `tools` and of `input` as they stand in a request.
fn parts(body: &str) -> (String, String) {
    let raw: std::collections::BTreeMap<String, Box<serde_json::value::RawValue>> = serde_json::from_str(body).unwrap();
    (raw["tools"].get().to_owned(), raw["input"].get().to_owned())
}

#[test]
fn five_servers_with_shuffled_lists_leave_every_request_a_prefix_of_the_next() {
    let world = World::new();
    let servers = ["zeta", "alpha", "mid", "beta", "last"];
    for name in servers {
        add_hostile(&world, name, ALLOW);
        approve(&world, name);
    }
    let turns = servers.map(|name| one(call(&format!("{name}__echo"), json!({ "text": name }))));
    let played = world.play(turns).well();
    assert_eq!(played.outputs(), servers);
    let bodies = played.bodies();
    assert_eq!(bodies.len(), 6);
    for pair in bodies.windows(2) {
        let ((tools, input), (next_tools, next_input)) = (parts(&pair[0]), parts(&pair[1]));
        assert_eq!(tools, next_tools);
        assert!(next_input.starts_with(input.trim_end_matches(']')), "{input}\n{next_input}");
    }
    let offered: Vec<String> = names(&bodies[0]).into_iter().skip_while(|name| !name.contains("__")).collect();
    let mut sorted = offered.clone();
    sorted.sort();
    assert!(offered.len() == 5 * 17 && offered == sorted, "{offered:?}");
    // Another session is told the very same.
    fs::remove_dir_all(world.path("state/log")).unwrap();
    let again = world.play([]).well();
    assert_eq!(parts(&again.bodies()[0]).0, parts(&bodies[0]).0);
}

#[test]
fn a_server_that_is_slow_lists_more_or_lists_less_changes_nothing_that_is_sent() {
    let world = hostile(ALLOW);
    let before = world.play([one(echo("one"))]).well();
    fs::remove_dir_all(world.path("state/log")).unwrap();
    world.write("ws/mode", "late extra gone");
    let turns = [one(tool("structured", json!({}))), one(echo("two")), one(call("h__another", json!({})))];
    let played = world.play(turns).well();
    let outputs = played.outputs();
    assert_eq!(outputs[0], "{\"answer\":42}");
    assert!(outputs[1].contains("does not have this tool any more"), "{}", outputs[1]);
    assert!(outputs[2].contains("there is no tool"), "{}", outputs[2]);
    for body in played.bodies() {
        assert_eq!(parts(&body).0, parts(&before.bodies()[0]).0);
    }
}

#[test]
fn no_server_is_started_before_it_is_called() {
    let world = hostile(ALLOW);
    // Whoever starts it finds nothing to start.
    fs::remove_file(world.path("ws/h.py")).unwrap();
    let played = world.play([]).well();
    assert!(names(&played.bodies()[0]).contains(&"h__echo".to_owned()));
    let played = {
        fs::remove_dir_all(world.path("state/log")).unwrap();
        world.play([one(echo("hello"))]).well()
    };
    assert!(played.output().contains("not used") && played.output().contains("script"), "{}", played.output());
    let shown = super::support::finish(&mut world.command(&["prompt", "show"]));
    assert!(shown.stdout.contains("h__echo"), "{shown:#?}");
}
