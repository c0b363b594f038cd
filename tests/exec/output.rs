//! What a program writes: shortened for the model with exact counts, kept whole, and ended where it never ends.

use serde_json::json;

use super::support::{World, call, one, shell};

fn part(path: &str, offset: u64, limit: u64) -> portcullis::model::scripted::ScriptItem {
    call("read_file", json!({"path": path, "offset": offset, "limit": limit}))
}

#[test]
fn a_long_output_is_shortened_with_exact_counts_and_can_be_read_whole() {
    let world = World::new();
    let all: Vec<String> = (1..=9000).map(|number| format!("line {number:05}")).collect();
    let command = "for n in $(seq -f '%05g' 1 9000); do if [ $n = 04500 ]; then echo 'error: in the middle'; else echo line $n; fi; done";
    let kept = "/run/portcullis/outputs/0.txt";
    let mut turns = vec![one(shell(command))];
    turns.extend((0..9).map(|page| one(part(kept, page * 1000 + 1, 1000))));
    turns.push(one(shell(&format!("wc -c < {kept}; echo x >> {kept}; rm {kept}"))));
    let played = world.play(turns).well();
    let outputs = played.outputs();

    let (short, whole) = (&outputs[0], &outputs[1..10]);
    assert!(short.len() < 42 * 1024, "{}", short.len());
    assert!(short.starts_with("Exit code: 0\nOutput:\nline 00001\n") && short.ends_with("line 09000\n"), "{}", &short[..100]);
    assert!(short.contains("error: in the middle"), "the error in the middle is lost");
    let note = short.lines().find(|line| line.starts_with("[...") && line.contains("left out")).unwrap();
    assert!(note.contains(kept), "{note}");
    let number = |before: &str| note.split(before).next().unwrap().rsplit(' ').next().unwrap().parse::<usize>().unwrap();
    // A line is eleven bytes with its end, but for the error, which is ten bytes longer.
    let size = 9000 * 11 + 10;
    let body = short.strip_prefix("Exit code: 0\nOutput:\n").unwrap();
    let (head, rest) = body.split_once("\n[... ").unwrap();
    let tail = rest.split_once("[... end of these ...]\n").unwrap().1;
    assert_eq!(number(" bytes"), size - head.len() - tail.len(), "{note}");

    let mut lines: Vec<String> = Vec::new();
    for page in whole {
        let numbered =
            page.lines().filter_map(|line| line.split_once(|c: char| !c.is_ascii_digit() && c != ' ')).map(|(_, text)| text.trim());
        lines.extend(numbered.filter(|text| text.starts_with("line ") || text.starts_with("error: ")).map(str::to_owned));
    }
    let expected: Vec<String> =
        all.iter().map(|line| if line == "line 04500" { "error: in the middle".to_owned() } else { line.clone() }).collect();
    assert_eq!(lines.len(), 9000, "{}", whole[0].chars().take(300).collect::<String>());
    assert!(lines == expected, "the pages are not the output");
    let last = &outputs[10];
    assert!(last.contains(&format!("{size}\n")) && !last.contains("Exit code: 0"), "the kept output could be changed: {last}");
}

#[test]
fn an_output_of_forty_kilobytes_is_shown_as_it_is() {
    let world = World::new();
    let played =
        world.play([one(shell("head -c 40960 /dev/zero | tr '\\0' x")), one(shell("head -c 40961 /dev/zero | tr '\\0' x"))]).well();
    let outputs = played.outputs();
    assert!(outputs[0] == format!("Exit code: 0\nOutput:\n{}", "x".repeat(40_960)));
    assert!(outputs[1].contains("left out"));
}

#[test]
fn bytes_that_are_no_text_do_no_harm() {
    let world = World::new();
    let played = world.play([one(shell("printf 'a\\000b\\377\\303\\050c\\r\\033[31m\\n'"))]).well();
    let output = played.output();
    assert!(output.contains("a\0b\u{fffd}\u{fffd}(c\r\u{1b}[31m"), "{output:?}");
}

#[test]
fn a_flood_of_output_is_ended() {
    let world = World::new();
    let policy = world.policy("[limits]\noutput = \"64KiB\"\n");
    let mark = super::support::unique_sleep();
    let played = world.play_with(&["--policy", &policy], [one(shell(&format!("yes flood-{mark}"))), one(shell("echo next"))]).well();
    let outputs = played.outputs();
    assert!(outputs[0].starts_with("Ended: it wrote more than"), "{}", outputs[0].chars().take(300).collect::<String>());
    assert!(outputs[0].len() < 42 * 1024 && outputs[0].contains(&format!("flood-{mark}")));
    assert_eq!(outputs[1], "Exit code: 0\nOutput:\nnext\n");
    super::support::assert_none_left(&mark);
    assert_eq!(played.ended.events_of("call.finished")[0]["status"], "limit");
}

#[test]
fn nothing_of_a_flooding_call_outlives_its_outcome() {
    let world = World::new();
    let policy = world.policy("[limits]\noutput = \"64KiB\"\n");
    // Beside the flood something counts up in the workspace; when the next call begins it has to have stopped.
    let flood = "(i=0; while :; do i=$((i+1)); echo $i > count; done) & until [ -s count ]; do :; done; yes";
    let look = "a=$(cat count); sleep 0.3; b=$(cat count); [ \"$a\" = \"$b\" ] && echo stopped";
    let items = [shell(flood), shell(look)];
    let turn = portcullis::model::scripted::Turn::items(items);
    let played = world.play_with(&["--policy", &policy], [turn]).well();
    assert_eq!(played.outputs()[1], "Exit code: 0\nOutput:\nstopped\n");
}

#[test]
fn a_program_in_the_background_ends_with_its_call() {
    let world = World::new();
    let mark = super::support::unique_sleep();
    let command = format!("setsid -f sleep {mark}; nohup sleep {mark} >/dev/null 2>&1 & echo started");
    let played = world.play([one(shell(&command))]).well();
    assert_eq!(played.output(), "Exit code: 0\nOutput:\nstarted\n");
    assert!(super::support::processes_with(&format!("sleep\0{mark}")).is_empty());
}

#[test]
fn of_an_output_beyond_the_policys_limit_the_model_is_told_what_is_lost() {
    let world = World::new();
    let policy = world.policy("[limits]\noutput = \"128KiB\"\n");
    let command = "seq -f '%09.0f' 1 100000";
    let played =
        world.play_with(&["--policy", &policy], [one(shell(command)), one(shell("cat /run/portcullis/outputs/0.txt | wc -c"))]).well();
    let outputs = played.outputs();
    let body = outputs[0].strip_prefix("Exit code: 0\nOutput:\n").unwrap();
    let note = body.lines().find(|line| line.starts_with("[...")).unwrap();
    let (head, rest) = body.split_once("\n[... ").unwrap();
    let tail = rest.split_once("...]\n").unwrap().1;
    let left_out = 1_000_000 - head.len() - tail.len();
    assert!(note.contains(&format!("{left_out} bytes left out")), "{left_out}: {note}");
    assert!(note.contains(&format!("{} bytes were not kept", 1_000_000 - 128 * 1024)), "{note}");
    assert!(!note.contains("all of it"), "{note}");
}
