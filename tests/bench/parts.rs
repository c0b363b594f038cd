//! `cargo bench --bench parts`: what the inner parts cost, each by itself: reading and merging a policy, its sentences for the model, the plan, the system call
//! filter, a decision, a request's body, a response's events, a record of the log. (`launch` has the sandbox, `verify` the check of a log.)

#![allow(clippy::unwrap_used, missing_docs)]

use std::{collections::BTreeMap, convert::Infallible, fs, hint::black_box};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::stream;
use portcullis::{
    approval::{Binaries, Rules, shell::Dialect},
    audit::{Event, Log},
    model::{Conversation, EventStream, Features, Head, Limits, Style},
    policy::{Ask, Policy, Search, load, prose},
    sandbox::{
        Plan, Session,
        linux::seccomp::{Audience, compile},
    },
    tools::definitions,
};

const COMMAND: &str =
    "cd src && git status --short | grep -v '^??' > /tmp/out.txt; for f in a b c; do echo \"$f: $(wc -l < \"$f\")\"; done";
const ITEMS: usize = 1000;

fn policy() -> Policy {
    load(&Search { chosen: Some("workspace-write".to_owned()), ..Search::default() }).unwrap()
}

fn policies(criterion: &mut Criterion) {
    criterion.bench_function("policy: read and merge", |bencher| bencher.iter(policy));
    let policy = policy();
    criterion.bench_function("policy: sentences for the model", |bencher| bencher.iter(|| prose::render(black_box(&policy))));
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        fs::create_dir_all(folder.path().join(name)).unwrap();
        fs::canonicalize(folder.path().join(name)).unwrap()
    };
    let session = Session {
        workspace: at("workspace"),
        home: at("home"),
        private: at("private"),
        state: at("state"),
        linked: None,
        environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
    };
    criterion.bench_function("plan", |bencher| bencher.iter(|| Plan::new(black_box(&policy), &session).unwrap()));
    criterion
        .bench_function("system call filter: compile", |bencher| bencher.iter(|| compile(policy.network.mode, Audience::Program).unwrap()));
    let rules = Rules::new(&policy, Binaries::unknown(), Dialect::Bash);
    criterion.bench_function("decision", |bencher| bencher.iter(|| rules.judge(black_box(COMMAND))));
}

fn requests(criterion: &mut Criterion) {
    let head = Head {
        model: "model".to_owned(),
        instructions: prose::render(&policy()),
        tools: definitions(),
        prompt_cache_key: "key".to_owned(),
        parallel_tool_calls: true,
        style: Style::default(),
        features: Features::default(),
        max_output_tokens: None,
    };
    criterion.bench_function("request: head", |bencher| bencher.iter(|| black_box(&head).encode()));
    let head = head.encode();
    let mut conversation = Conversation::new();
    for number in 0..ITEMS {
        conversation.push_output(&format!("call_{number}"), &"a line of output\n".repeat(20));
    }
    let mut group = criterion.benchmark_group("request");
    group.throughput(Throughput::Bytes(conversation.body(&head).len() as u64));
    group.bench_function(format!("body of {ITEMS} items"), |bencher| bencher.iter(|| black_box(&conversation).body(&head)));
    group.finish();
}

fn responses(criterion: &mut Criterion) {
    let delta = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"item_id\":\"msg\",\"delta\":\"some words \"}\n\n";
    let body = Bytes::from(delta.repeat(ITEMS));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut group = criterion.benchmark_group("response");
    group.throughput(Throughput::Elements(ITEMS as u64));
    group.bench_function(format!("{ITEMS} events"), |bencher| {
        bencher.iter(|| {
            let chunks: Vec<_> = body.chunks(4096).map(|chunk| Ok::<_, Infallible>(Bytes::copy_from_slice(chunk))).collect();
            let mut events = EventStream::new(stream::iter(chunks), Limits::default());
            runtime.block_on(async { while black_box(events.next().await).transpose().unwrap().is_some() {} });
        });
    });
    group.finish();
}

fn records(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::passing(folder.path(), "session").unwrap();
    criterion.bench_function("log: one record", |bencher| bencher.iter(|| log.append(Event::AskMode { mode: Ask::Always }).unwrap()));
}

criterion_group!(parts, policies, requests, responses, records);
criterion_main!(parts);
