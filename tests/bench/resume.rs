//! `cargo bench --bench resume`: how long it takes to take up a session of 5,000 items, and to list the last of 10,000 sessions. It prints; it asserts nothing
//! but that all of it was read.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::{path::Path, time::Instant};

use portcullis::{
    agent::{
        History,
        rollout::{Header, Rollout, list},
    },
    model::Conversation,
};

const ITEMS: usize = 5_000;
const SESSIONS: usize = 10_000;
const RUNS: usize = 11;

fn main() {
    let state = tempfile::tempdir().unwrap();
    let workspace = Path::new("/work");
    let id = uuid::Uuid::now_v7().to_string();
    {
        let header = Header::new(&id, workspace, workspace, "model", "fingerprint".to_owned(), 0);
        let mut history = History::begin(Conversation::new(), Rollout::create(state.path(), &header).unwrap()).unwrap();
        for number in 0..ITEMS {
            history.developer(&format!("item {number} {}", "x".repeat(1000))).unwrap();
        }
    }
    let resume = median(|| {
        let read = Rollout::open(state.path(), workspace, &id).unwrap();
        let history = History::resume(read.conversation, 0, read.rollout).unwrap();
        assert_eq!(history.conversation().len(), ITEMS);
    });
    println!("resume of {ITEMS} items of 1 KB: median {resume:.1} ms ({RUNS} runs)");

    let other = Path::new("/other");
    for number in 0..SESSIONS {
        let id = uuid::Uuid::now_v7().to_string();
        let header = Header::new(&id, other, other, "model", "fingerprint".to_owned(), 0);
        Rollout::create(state.path(), &header).unwrap().turn(&format!("task {number}")).unwrap();
    }
    let listing = median(|| assert_eq!(list(state.path(), other, 20).len(), 20));
    println!("list of the last 20 of {SESSIONS} sessions: median {listing:.1} ms ({RUNS} runs)");
}

fn median(mut run: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[RUNS / 2]
}
