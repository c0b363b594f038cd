//! The real client against a scripted model over real sockets: every way in which an endpoint fails, and what must hold when it
//! does not.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test")]

#[path = "model_client/websocket.rs"]
mod websocket;

use portcullis::model::{
    Backoff, Client, Conversation, EncodedHead, End, Endpoint, Features, Head, Item, ItemKind, ModelError, Progress, Reply, Secret, Style,
    Tool, Usage,
    scripted::{Chunking, Fault, Malformed, Pace, Script, ScriptItem, ScriptedModel, Turn, WhenExhausted},
};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const KEY: &str = "sk-test-0123456789";
const CALL: &str = r#"{"command":"ls"}"#;

fn head() -> EncodedHead {
    let parameters = serde_json::json!({
        "type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"], "additionalProperties": false,
    });
    let head = Head {
        model: "scripted".into(),
        instructions: "You are being tested. ".repeat(400),
        tools: vec![Tool { name: "shell".into(), description: "Runs a command.".into(), parameters, strict: true }],
        prompt_cache_key: "session-1".into(),
        parallel_tool_calls: true,
        style: Style { reasoning_effort: Some("low".into()), ..Style::default() },
        features: Features::default(),
        max_output_tokens: None,
    };
    head.encode()
}

fn hello() -> Conversation {
    let mut conversation = Conversation::new();
    conversation.push_developer("Today is a good day.");
    conversation.push_user("hello");
    conversation
}

/// Waits are 1 ms, so that a test of five retries takes milliseconds.
fn endpoint(model: &ScriptedModel) -> Endpoint {
    let mut endpoint = Endpoint::new(&model.base_url(), "scripted").unwrap().with_key(Secret::new(KEY));
    endpoint.backoff = Backoff { base: Duration::from_millis(1), ..Backoff::default() };
    endpoint.limits.idle = Duration::from_secs(10);
    endpoint
}

/// All that came of one request.
#[derive(Debug)]
struct Outcome {
    result: Result<Reply, ModelError>,
    progress: Vec<Progress>,
}

impl Outcome {
    fn items(&self) -> Vec<&Item> {
        self.progress.iter().filter_map(|progress| if let Progress::ItemDone(item) = progress { Some(item) } else { None }).collect()
    }

    fn kinds(&self) -> Vec<&ItemKind> {
        self.items().into_iter().map(|item| &item.kind).collect()
    }

    fn retries(&self) -> Vec<(Duration, &str)> {
        let retry = |progress| if let &Progress::Retry { wait, ref why, .. } = progress { Some((wait, why.as_str())) } else { None };
        self.progress.iter().filter_map(retry).collect()
    }

    fn warnings(&self) -> usize {
        self.progress.iter().filter(|progress| matches!(progress, Progress::Warning(_))).count()
    }

    fn end(&self) -> &End {
        &self.result.as_ref().unwrap().end
    }

    fn error(&self) -> &ModelError {
        self.result.as_ref().unwrap_err()
    }

    #[track_caller]
    fn says(&self, text: &str) {
        assert_eq!(*self.end(), End::Completed, "{self:?}");
        assert_eq!(self.kinds(), [&ItemKind::Message { text: text.into(), refusal: None }], "{self:?}");
    }
}

fn collect(mut receiver: UnboundedReceiver<Progress>) -> Vec<Progress> {
    let mut progress = Vec::new();
    while let Ok(next) = receiver.try_recv() {
        progress.push(next);
    }
    progress
}

async fn send(client: &Client, conversation: &Conversation) -> Outcome {
    let (sender, receiver) = unbounded_channel();
    let result = client.respond(&head(), conversation, &sender).await;
    let outcome = Outcome { result, progress: collect(receiver) };
    assert!(!format!("{outcome:?} {client:?}").contains(KEY), "the key leaked into {outcome:?}");
    if let Err(error) = &outcome.result {
        assert!(!error.to_string().contains(KEY), "the key leaked into {error}");
    }
    outcome
}

/// One request against a script whose first turn goes wrong and whose next says "fine".
async fn after(fault: Fault) -> (Outcome, ScriptedModel) {
    let model = ScriptedModel::start(Script::new([Turn::message("lost").with_fault(fault), Turn::message("fine")])).unwrap();
    let client = Client::new(endpoint(&model)).unwrap();
    (send(&client, &hello()).await, model)
}

#[track_caller]
fn assert_retried_identically(outcome: &Outcome, model: &ScriptedModel) {
    outcome.says("fine");
    let requests = model.requests();
    assert_eq!(requests.len(), 2, "{outcome:?}");
    assert_eq!(requests[0].body, requests[1].body, "a retry must send the identical body");
    assert_eq!(outcome.retries().len(), 1);
}

#[track_caller]
fn assert_not_retried(outcome: &Outcome, model: &ScriptedModel) {
    assert_eq!(model.requests().len(), 1, "{outcome:?}");
    assert!(outcome.retries().is_empty(), "{outcome:?}");
}

#[tokio::test]
async fn text_streams_as_deltas_and_arrives_as_one_item_with_usage() {
    let text = "A longer answer, streamed in several pieces: ä, 漢字, 🦀.";
    let usage = Usage { input_tokens: 7, cached_tokens: 3, output_tokens: 5, reasoning_tokens: 2 };
    let model = ScriptedModel::start(Script::new([Turn::message(text).with_usage(usage)])).unwrap();
    let outcome = send(&Client::new(endpoint(&model)).unwrap(), &hello()).await;
    outcome.says(text);
    assert_eq!(outcome.result.as_ref().unwrap().usage, Some(usage));
    let deltas: Vec<&str> = outcome
        .progress
        .iter()
        .filter_map(|progress| if let Progress::TextDelta(text) = progress { Some(text.as_str()) } else { None })
        .collect();
    assert!(deltas.len() > 1);
    assert_eq!(deltas.concat(), text);
}

#[tokio::test]
async fn the_request_carries_the_key_and_the_content_type_and_goes_to_responses() {
    let model = ScriptedModel::start(Script::default()).unwrap();
    send(&Client::new(endpoint(&model)).unwrap(), &hello()).await.says("done");
    let request = &model.requests()[0];
    assert_eq!(request.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("accept"), Some("text/event-stream"));
    assert_eq!(request.body, hello().body(&head()));
}

#[tokio::test]
async fn without_a_key_there_is_no_authorization_header() {
    let model = ScriptedModel::start(Script::default()).unwrap();
    let mut endpoint = endpoint(&model);
    endpoint.key = None;
    send(&Client::new(endpoint).unwrap(), &hello()).await.says("done");
    assert_eq!(model.requests()[0].header("authorization"), None);
}

#[tokio::test]
async fn twenty_calls_use_one_connection_echo_every_byte_and_only_extend_the_prompt() {
    let turns = (0..20).map(|_| Turn::items([ScriptItem::reasoning("thinking"), ScriptItem::call("shell", CALL)]));
    let model = ScriptedModel::start(Script::new(turns)).unwrap();
    let client = Client::new(endpoint(&model)).unwrap();
    let mut conversation = hello();
    for turn in 0..20 {
        let outcome = send(&client, &conversation).await;
        assert_eq!(*outcome.end(), End::Completed);
        let usage = outcome.result.as_ref().unwrap().usage.unwrap();
        assert_eq!(usage.cached_tokens > 0, turn > 0, "turn {turn}: {usage:?}");
        let items = outcome.items();
        assert_eq!(items.len(), 2);
        assert_eq!(items[0].kind, ItemKind::Reasoning { summary: "thinking".into() });
        let ItemKind::FunctionCall { call_id, arguments, .. } = &items[1].kind else { panic!("{:?}", items[1]) };
        assert_eq!(arguments, CALL);
        for item in &items {
            conversation.push_raw(&item.raw);
        }
        conversation.push_output(call_id, &format!("output {turn}"));
        let sent = conversation.body(&head());
        let raw = items[0].raw.get();
        assert!(raw.contains("encrypted_content") && String::from_utf8(sent.to_vec()).unwrap().contains(raw));
    }
    send(&client, &conversation).await.says("done");
    let requests = model.requests();
    for pair in requests.windows(2) {
        let visible = &pair[0].body[..pair[0].body.len() - 2];
        assert!(pair[1].body.starts_with(visible), "a request must extend the one before it");
    }
    let last: serde_json::Value = serde_json::from_slice(&requests[20].body).unwrap();
    assert_eq!(last["input"].as_array().unwrap().len(), 2 + 20 * 3);
    assert_eq!(requests[20].outputs()[3], ("call_3_1".to_owned(), "output 3".to_owned()));
    assert_eq!(model.connections(), 1, "the connection must be kept");
}

#[tokio::test]
async fn a_connection_that_dies_after_a_response_costs_no_retry() {
    let model = ScriptedModel::start(Script::new([Turn::message("one").with_fault(Fault::CutAfter { events: usize::MAX })])).unwrap();
    let client = Client::new(endpoint(&model)).unwrap();
    send(&client, &hello()).await.says("one");
    let second = send(&client, &hello()).await;
    second.says("done");
    assert!(second.retries().is_empty(), "{second:?}");
    assert_eq!(model.connections(), 2);
}

#[tokio::test]
async fn a_body_that_stays_open_after_the_response_is_left_within_two_seconds() {
    // After its last event the server keeps the body open.
    let open = Fault::StallAfter { events: usize::MAX, length: Duration::from_secs(60) };
    let model = ScriptedModel::start(Script::new([Turn::message("one").with_fault(open)])).unwrap();
    let client = Client::new(endpoint(&model)).unwrap();
    let started = Instant::now();
    send(&client, &hello()).await.says("one");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    send(&client, &hello()).await.says("done");
}

#[tokio::test]
async fn a_computed_turn_reacts_to_tool_outputs() {
    let model = ScriptedModel::start(Script::new([
        Turn::call("shell", CALL),
        Turn::computed(|request| vec![ScriptItem::message(&format!("you said {}", request.outputs()[0].1))]),
    ]))
    .unwrap();
    let client = Client::new(endpoint(&model)).unwrap();
    let mut conversation = hello();
    for item in send(&client, &conversation).await.items() {
        conversation.push_raw(&item.raw);
    }
    conversation.push_output("call_0_0", "42");
    send(&client, &conversation).await.says("you said 42");
}

#[tokio::test]
async fn an_item_is_reported_while_the_response_still_streams() {
    let turn = Turn::items([ScriptItem::call("shell", CALL), ScriptItem::message("later")]);
    // Six events make up the call (two of them open the response): the stall is after them, and longer than the test waits.
    let fault = Fault::StallAfter { events: 6, length: Duration::from_secs(30) };
    let model = ScriptedModel::start(Script::new([turn.with_fault(fault)])).unwrap();
    let client = Client::new(endpoint(&model)).unwrap();
    let (sender, mut receiver) = unbounded_channel();
    let (head, greeting) = (head(), hello());
    let reply = client.respond(&head, &greeting, &sender);
    tokio::pin!(reply);
    let item = tokio::time::timeout(Duration::from_secs(5), async {
        loop {
            tokio::select! {
                done = &mut reply => panic!("the response ended first: {done:?}"),
                progress = receiver.recv() => if let Some(Progress::ItemDone(item)) = progress { break item },
            }
        }
    });
    let item = item.await.unwrap();
    assert!(matches!(item.kind, ItemKind::FunctionCall { .. }), "{item:?}");
}

#[tokio::test]
async fn dropping_the_future_closes_the_connection() {
    let fault = Fault::StallAfter { events: 2, length: Duration::from_secs(60) };
    let model = ScriptedModel::start(Script::new([Turn::message("never").with_fault(fault)])).unwrap();
    let client = Client::new(endpoint(&model)).unwrap();
    let (sender, _receiver) = unbounded_channel();
    let (head, greeting) = (head(), hello());
    let cancelled = tokio::time::timeout(Duration::from_millis(200), client.respond(&head, &greeting, &sender)).await;
    assert!(cancelled.is_err());
    assert_eq!(model.connections(), 1);
    let closed = tokio::time::timeout(Duration::from_secs(5), async {
        while model.open_connections() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    closed.await.expect("the server must see the connection close");
    send(&client, &hello()).await.says("done");
}

#[tokio::test]
async fn server_errors_and_rate_limits_are_retried_with_the_identical_body() {
    for status in [500, 502, 503, 504, 529, 429, 408] {
        let (outcome, model) = after(Fault::status(status, "server_error", "try later")).await;
        assert_retried_identically(&outcome, &model);
        assert!(outcome.retries()[0].1.contains(&status.to_string()), "{outcome:?}");
        assert_eq!(model.connections(), 1, "a failed request must not cost the connection");
    }
}

#[tokio::test]
async fn a_wait_in_a_header_or_a_sentence_is_obeyed() {
    let limited = |headers: &[(&str, &str)], message: &str| Fault::Status {
        status: 429,
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: serde_json::json!({"error": {"code": "rate_limit_exceeded", "message": message}}).to_string(),
    };
    let failed =
        Fault::FailedEvent { code: "rate_limit_exceeded".into(), message: "Please try again in 120ms.".into(), after_items: false };
    for fault in
        [limited(&[("retry-after", "0.12")], "x"), limited(&[("retry-after-ms", "120")], "x"), limited(&[], "try again in 120ms"), failed]
    {
        let started = Instant::now();
        let (outcome, model) = after(fault).await;
        assert_retried_identically(&outcome, &model);
        assert_eq!(outcome.retries()[0].0, Duration::from_millis(120));
        assert!(started.elapsed() >= Duration::from_millis(120));
    }
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_not_waited() {
    let fault = Fault::Status { status: 429, headers: vec![("retry-after".into(), "3600".into())], body: String::new() };
    let (outcome, model) = after(fault).await;
    assert_not_retried(&outcome, &model);
    assert!(matches!(outcome.error(), ModelError::WaitTooLong { asked, .. } if asked.as_secs() == 3600), "{outcome:?}");
}

#[tokio::test]
async fn what_cannot_pass_by_itself_ends_at_once_with_the_servers_message() {
    for (status, code) in [
        (400, "bad"),
        (401, "invalid_api_key"),
        (403, "x"),
        (404, "model_not_found"),
        (422, "x"),
        (429, "insufficient_quota"),
        (400, "invalid_prompt"),
    ] {
        let (outcome, model) = after(Fault::status(status, code, &format!("about\u{1b}[31m {KEY}"))).await;
        assert_not_retried(&outcome, &model);
        let expected = ModelError::Status { status, message: "about\\u{1b}[31m [key]".into() };
        assert_eq!(*outcome.error(), expected);
    }
}

#[tokio::test]
async fn an_error_body_that_is_not_json_is_shown_shortened() {
    let fault = Fault::Status { status: 400, headers: vec![], body: "x".repeat(1 << 20) };
    let (outcome, _) = after(fault).await;
    let ModelError::Status { message, .. } = outcome.error() else { panic!("{outcome:?}") };
    assert!(message.len() < 2100, "{}", message.len());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = ScriptedModel::start(Script::default()).unwrap();
    let location = format!("{}/responses", other.base_url());
    for status in [301, 302, 307, 308] {
        let (outcome, model) =
            after(Fault::Status { status, headers: vec![("location".into(), location.clone())], body: String::new() }).await;
        assert_not_retried(&outcome, &model);
        assert!(outcome.error().to_string().contains("redirect"), "{outcome:?}");
    }
    assert_eq!(other.connections(), 0, "the key must not follow a redirect");
}

#[tokio::test]
async fn a_prompt_that_is_too_long_has_its_own_error_wherever_the_server_says_so() {
    let message = "This model's maximum context length is 8192 tokens.";
    let failed = Fault::FailedEvent { code: "context_length_exceeded".into(), message: message.into(), after_items: false };
    for fault in [Fault::status(400, "context_length_exceeded", message), Fault::status(400, "invalid_request_error", message), failed] {
        let (outcome, model) = after(fault).await;
        assert_not_retried(&outcome, &model);
        assert_eq!(*outcome.error(), ModelError::ContextLength { message: message.into() });
    }
}

#[tokio::test]
async fn a_failed_response_and_an_error_event_are_retried() {
    let failed = Fault::FailedEvent { code: "server_error".into(), message: "oops".into(), after_items: false };
    for fault in [failed, Fault::ErrorEvent { code: "server_error".into(), message: "oops".into() }] {
        let (outcome, model) = after(fault).await;
        assert_retried_identically(&outcome, &model);
        assert!(outcome.retries()[0].1.contains("oops"), "{outcome:?}");
        assert_eq!(model.connections(), 1, "the failed stream must be read to its end");
    }
}

#[tokio::test]
async fn a_failed_response_that_cannot_pass_by_itself_is_not_retried() {
    for code in ["insufficient_quota", "invalid_prompt"] {
        let (outcome, model) = after(Fault::FailedEvent { code: code.into(), message: KEY.into(), after_items: false }).await;
        assert_not_retried(&outcome, &model);
        assert_eq!(*outcome.error(), ModelError::Failed { code: code.into(), message: "[key]".into() });
    }
}

#[tokio::test]
async fn a_stream_that_breaks_before_any_item_is_done_is_retried() {
    let garbage = Fault::Malformed(Malformed::Garbage(b"\xff\xfe\n\ndata: \xff\n\n".to_vec()));
    for fault in [
        Fault::CutAfter { events: 0 },
        Fault::CutAfter { events: 5 },
        Fault::ResetAfter { events: 0 },
        Fault::ResetAfter { events: 5 },
        garbage,
    ] {
        let (outcome, model) = after(fault.clone()).await;
        assert_retried_identically(&outcome, &model);
        let why = outcome.retries()[0].1.to_owned();
        if matches!(fault, Fault::ResetAfter { .. }) {
            assert!(why.contains("reset"), "a reset must really be one: {why}");
        }
    }
}

#[tokio::test]
async fn an_idle_stream_is_retried_and_a_slow_one_is_not() {
    let stall = Fault::StallAfter { events: 3, length: Duration::from_secs(60) };
    let slow = Pace { delay: Duration::from_millis(50), drip: Duration::from_millis(50) };
    let model =
        ScriptedModel::start(Script::new([Turn::message("lost").with_fault(stall), Turn::message("fine").with_pace(slow)])).unwrap();
    let mut endpoint = endpoint(&model);
    endpoint.limits.idle = Duration::from_millis(300);
    let started = Instant::now();
    let outcome = send(&Client::new(endpoint).unwrap(), &hello()).await;
    assert_retried_identically(&outcome, &model);
    assert!(outcome.retries()[0].1.contains("nothing was received"), "{outcome:?}");
    assert!(started.elapsed() > Duration::from_millis(300 + 9 * 50), "the slow answer takes longer than the idle limit");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let silent = || Turn::message("late").with_pace(Pace { delay: Duration::from_secs(60), drip: Duration::ZERO });
    let model = ScriptedModel::start(Script::new([silent(), silent()])).unwrap();
    let mut endpoint = endpoint(&model);
    endpoint.response_timeout = Duration::from_millis(100);
    endpoint.backoff.retries = 1;
    let outcome = send(&Client::new(endpoint).unwrap(), &hello()).await;
    let ModelError::Exhausted { attempts: 2, last } = outcome.error() else { panic!("{outcome:?}") };
    assert!(matches!(**last, ModelError::NoAnswer { .. }), "{last:?}");
}

#[tokio::test]
async fn a_stream_that_breaks_after_an_item_is_returned_cut_and_not_retried() {
    let items = || Turn::items([ScriptItem::call("shell", CALL), ScriptItem::message("and a text that is long enough for several deltas")]);
    let failed = Fault::FailedEvent { code: "server_error".into(), message: "oops".into(), after_items: true };
    for fault in [Fault::CutAfter { events: 8 }, Fault::ResetAfter { events: 8 }, Fault::Malformed(Malformed::NoCompleted), failed] {
        let model = ScriptedModel::start(Script::new([items().with_fault(fault.clone())])).unwrap();
        let outcome = send(&Client::new(endpoint(&model)).unwrap(), &hello()).await;
        assert!(matches!(outcome.end(), End::Cut { .. }), "{fault:?}: {outcome:?}");
        assert!(matches!(outcome.kinds()[0], ItemKind::FunctionCall { .. }), "{outcome:?}");
        assert_not_retried(&outcome, &model);
    }
}

#[tokio::test]
async fn reasoning_that_led_to_nothing_is_dropped_and_the_request_retried() {
    let turn = Turn::items([ScriptItem::reasoning(""), ScriptItem::message("lost")]);
    // Created, in progress, reasoning added and done: the cut comes between the reasoning and the message.
    let model = ScriptedModel::start(Script::new([turn.with_fault(Fault::CutAfter { events: 5 }), Turn::message("fine")])).unwrap();
    let outcome = send(&Client::new(endpoint(&model)).unwrap(), &hello()).await;
    assert_retried_identically(&outcome, &model);
}

#[tokio::test]
async fn a_stream_without_completed_and_without_items_is_retried() {
    let empty = Turn::items([]).with_fault(Fault::Malformed(Malformed::NoCompleted));
    let model = ScriptedModel::start(Script::new([empty, Turn::message("fine")])).unwrap();
    let outcome = send(&Client::new(endpoint(&model)).unwrap(), &hello()).await;
    assert_retried_identically(&outcome, &model);
}

#[tokio::test]
async fn an_incomplete_response_is_returned_as_such_and_not_retried() {
    for reason in ["max_output_tokens", "content_filter"] {
        let (outcome, model) = after(Fault::Incomplete { reason: reason.into() }).await;
        assert_not_retried(&outcome, &model);
        assert_eq!(*outcome.end(), End::Incomplete { reason: reason.into() });
        assert!(outcome.result.as_ref().unwrap().usage.is_some());
    }
}

#[tokio::test]
async fn odd_streams_are_read_as_if_they_were_plain() {
    let text = "ä 漢字 🦀 with\nlines";
    for (how, warnings) in
        [(Malformed::BadJson, 1), (Malformed::UnknownEvent, 0), (Malformed::Crlf, 0), (Malformed::Comments, 0), (Malformed::SplitUtf8, 0)]
    {
        let model = ScriptedModel::start(Script::new([Turn::message(text).with_fault(Fault::Malformed(how.clone()))])).unwrap();
        let client = Client::new(endpoint(&model)).unwrap();
        let outcome = send(&client, &hello()).await;
        outcome.says(text);
        assert_eq!(outcome.warnings(), warnings, "{how:?}");
        send(&client, &hello()).await.says("done");
        assert_eq!(model.connections(), 1, "{how:?}");
    }
    for chunking in [Chunking::Whole, Chunking::Bytes(3), Chunking::PerEvent] {
        let model = ScriptedModel::start(Script::new([Turn::message(text).with_chunking(chunking)])).unwrap();
        send(&Client::new(endpoint(&model)).unwrap(), &hello()).await.says(text);
    }
}

#[tokio::test]
async fn an_event_that_never_ends_is_refused_and_not_retried() {
    let (outcome, model) = after(Fault::Malformed(Malformed::HugeEvent(40 << 20))).await;
    assert_not_retried(&outcome, &model);
    assert!(matches!(outcome.error(), ModelError::TooLarge { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_server_that_always_fails_is_given_up_after_five_retries() {
    let model = ScriptedModel::start(Script { when_exhausted: WhenExhausted::Http500, ..Script::default() }).unwrap();
    let outcome = send(&Client::new(endpoint(&model)).unwrap(), &hello()).await;
    let ModelError::Exhausted { attempts: 6, last } = outcome.error() else { panic!("{outcome:?}") };
    assert_eq!(**last, ModelError::Status { status: 500, message: "the script is used up".into() });
    assert_eq!(model.requests().len(), 6);
    assert_eq!(outcome.retries().len(), 5);
}

#[tokio::test]
async fn an_endpoint_that_nobody_listens_on_is_named() {
    let gone = ScriptedModel::start(Script::default()).unwrap();
    let mut endpoint = endpoint(&gone);
    endpoint.backoff.retries = 2;
    let host = gone.base_url().trim_start_matches("http://").trim_end_matches("/v1").to_owned();
    drop(gone);
    let outcome = send(&Client::new(endpoint).unwrap(), &hello()).await;
    let ModelError::Exhausted { attempts: 3, last } = outcome.error() else { panic!("{outcome:?}") };
    assert!(matches!(&**last, ModelError::Connect { host: named, why } if *named == host && why.contains("refused")), "{last:?}");
}

#[tokio::test]
async fn an_answer_that_is_not_a_stream_is_a_protocol_error() {
    let (outcome, model) = after(Fault::Status { status: 200, headers: vec![], body: r#"{"object":"response"}"#.into() }).await;
    assert_not_retried(&outcome, &model);
    assert!(matches!(outcome.error(), ModelError::Protocol { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_server_that_is_not_speaking_tls_is_a_tls_error_and_not_retried() {
    let model = ScriptedModel::start(Script::default()).unwrap();
    let mut endpoint = Endpoint::new(&model.base_url().replace("http:", "https:"), "m").unwrap().with_key(Secret::new(KEY));
    endpoint.backoff.base = Duration::from_millis(1);
    // A machine without root certificates cannot make the client at all, and says so.
    match Client::new(endpoint) {
        Ok(client) => {
            let outcome = send(&client, &hello()).await;
            assert!(matches!(outcome.error(), ModelError::Tls { .. }), "{outcome:?}");
            assert!(outcome.retries().is_empty());
        }
        Err(error) => assert!(matches!(error, ModelError::Setup { .. }), "{error:?}"),
    }
    assert!(model.requests().is_empty());
}

#[test]
fn a_key_is_not_sent_unencrypted_and_is_never_shown() {
    let endpoint = Endpoint::new("http://model.example.com/v1", "m").unwrap().with_key(Secret::new(KEY));
    let error = Client::new(endpoint).unwrap_err();
    assert!(matches!(&error, ModelError::BadEndpoint { why } if why.contains("https")), "{error}");
    assert!(!format!("{error} {error:?}").contains(KEY));
    let endpoint = Endpoint::new("http://127.0.0.1:9/v1", "m").unwrap().with_key(Secret::new("sk-a\nb"));
    let error = Client::new(endpoint).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("sk-a"));
}

#[test]
fn a_client_for_plain_http_is_made_in_milliseconds() {
    let endpoint = || Endpoint::new("http://127.0.0.1:9/v1", "m").unwrap();
    // The best of five, since the machine may be busy.
    let best = (0..5).map(|_| {
        let started = Instant::now();
        Client::new(endpoint()).unwrap();
        started.elapsed()
    });
    let best = best.min().unwrap();
    assert!(best < Duration::from_millis(20), "making a client took {best:?}");
}
