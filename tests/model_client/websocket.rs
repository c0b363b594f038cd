//! The same conversation over a WebSocket: less is sent, and nothing else is different.

use std::time::Duration;

use portcullis::model::{
    Client, Conversation, End, ItemKind, ModelError, Transport,
    scripted::{Fault, Malformed, Script, ScriptItem, ScriptedModel, Turn},
};
use tokio::sync::mpsc::unbounded_channel;

use super::{CALL, Outcome, endpoint, head, hello, send};

fn client(model: &ScriptedModel) -> Client {
    let mut endpoint = endpoint(model);
    endpoint.transport = Transport::WebSocket;
    Client::new(endpoint).unwrap()
}

fn offered(turns: impl IntoIterator<Item = Turn>) -> ScriptedModel {
    ScriptedModel::start(Script::new(turns).over_websocket()).unwrap()
}

/// Takes what a response said into the conversation, and answers its calls.
fn take(conversation: &mut Conversation, outcome: &Outcome) {
    let items = outcome.items();
    items.iter().for_each(|item| conversation.push_raw(&item.raw));
    for item in items {
        if let ItemKind::FunctionCall { call_id, .. } = &item.kind {
            conversation.push_output(call_id, "ok");
        }
    }
}

#[tokio::test]
async fn only_what_is_new_is_sent_and_the_model_sees_what_it_sees_over_http() {
    let turns = || (0..50).map(|_| Turn::items([ScriptItem::reasoning("hm"), ScriptItem::call("shell", CALL)]));
    let (over_http, over_socket) = (ScriptedModel::start(Script::new(turns())).unwrap(), offered(turns()));
    let mut bodies = Vec::new();
    for (model, client) in [(&over_http, Client::new(endpoint(&over_http)).unwrap()), (&over_socket, client(&over_socket))] {
        let mut conversation = hello();
        for _ in 0..50 {
            let outcome = send(&client, &conversation).await;
            assert!(matches!(&outcome.result, Ok(reply) if reply.end == End::Completed), "{outcome:?}");
            take(&mut conversation, &outcome);
        }
        let inputs = model
            .requests()
            .into_iter()
            .map(|request| serde_json::from_slice::<serde_json::Value>(&request.body).unwrap()["input"].clone());
        bodies.push(inputs.collect::<Vec<_>>());
    }
    assert_eq!(bodies[0], bodies[1]);
    let requests = over_socket.requests();
    let frames: Vec<usize> = requests.iter().map(|request| request.frame.as_ref().unwrap().len()).collect();
    // The number of a response has one digit more after a while.
    assert!(frames[1..].iter().all(|length| length.abs_diff(frames[1]) < 16), "{frames:?}");
    assert!(requests.iter().skip(1).all(|request| request.usage.cached_tokens > 0));
    assert_eq!(over_socket.connections(), 1);
    assert_eq!(requests[0].header("authorization"), Some("Bearer sk-test-0123456789"));
    let frame: serde_json::Value = serde_json::from_slice(requests[1].frame.as_ref().unwrap()).unwrap();
    assert_eq!((&frame["type"], &frame["store"], frame.get("stream")), (&"response.create".into(), &false.into(), None));
    assert_eq!(frame["previous_response_id"], "resp_0");
}

#[tokio::test]
async fn where_none_is_offered_http_is_used_at_once_and_for_good() {
    let model = ScriptedModel::start(Script::new([Turn::message("one"), Turn::message("two")])).unwrap();
    let client = client(&model);
    send(&client, &hello()).await.says("one");
    send(&client, &hello()).await.says("two");
    let requests = model.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.frame.is_none()));
    // One that is closed before it has said anything is none.
    let model = offered([Turn::message("").with_fault(Fault::CutAfter { events: 0 }), Turn::message("two"), Turn::message("three")]);
    let client = self::client(&model);
    send(&client, &hello()).await.says("two");
    send(&client, &hello()).await.says("three");
    assert!(model.requests()[1..].iter().all(|request| request.frame.is_none()));
}

#[tokio::test]
async fn a_conversation_that_is_not_what_the_endpoint_has_is_sent_whole() {
    let model = offered((0..4).map(|number| Turn::message(&format!("answer {number}"))));
    let client = client(&model);
    let mut conversation = hello();
    let outcome = send(&client, &conversation).await;
    take(&mut conversation, &outcome);
    let kept = conversation.clone();
    conversation.push_user("and now?");
    send(&client, &conversation).await.says("answer 1");
    // What the endpoint said last is not in it.
    let mut other = kept;
    other.push_user("something else");
    send(&client, &other).await.says("answer 2");
    other.take_back(2);
    other.push_user("shorter");
    send(&client, &other).await.says("answer 3");
    let requests = model.requests();
    let built: Vec<bool> =
        requests.iter().map(|request| String::from_utf8_lossy(request.frame.as_ref().unwrap()).contains("previous_response_id")).collect();
    assert_eq!(built, [false, true, false, false]);
    let last: serde_json::Value = serde_json::from_slice(&requests[3].body).unwrap();
    assert_eq!(last["input"].as_array().unwrap().len(), other.len());
    assert_eq!(model.connections(), 1);
}

#[tokio::test]
async fn after_an_event_that_could_not_be_read_everything_is_sent() {
    let odd = Turn::message("one").with_fault(Fault::Malformed(Malformed::BadJson));
    let model = offered([odd, Turn::message("two")]);
    let client = client(&model);
    let mut conversation = hello();
    let outcome = send(&client, &conversation).await;
    outcome.says("one");
    assert_eq!(outcome.warnings(), 1);
    take(&mut conversation, &outcome);
    conversation.push_user("go on");
    send(&client, &conversation).await.says("two");
    assert!(!String::from_utf8_lossy(model.requests()[1].frame.as_ref().unwrap()).contains("previous_response_id"));
}

#[tokio::test]
async fn a_break_a_forgotten_response_and_an_interruption_cost_a_new_connection_and_nothing_else() {
    let model = offered([
        Turn::items([ScriptItem::call("shell", CALL), ScriptItem::message("later")]).with_fault(Fault::CutAfter { events: 8 }),
        Turn::message("two"),
        Turn::message("three").with_fault(Fault::CutAfter { events: 0 }),
        Turn::message("three"),
    ]);
    let client = client(&model);
    let mut conversation = hello();
    let outcome = send(&client, &conversation).await;
    assert!(matches!(&outcome.result, Ok(reply) if matches!(reply.end, End::Cut { .. })), "{outcome:?}");
    take(&mut conversation, &outcome);
    let outcome = send(&client, &conversation).await;
    outcome.says("two");
    take(&mut conversation, &outcome);
    conversation.push_user("go on");
    // The endpoint has closed the connection in the meantime.
    let outcome = send(&client, &conversation).await;
    outcome.says("three");
    assert!(outcome.retries().is_empty(), "{outcome:?}");
    let requests = model.requests();
    assert_eq!(requests.iter().map(|request| request.connection).collect::<Vec<_>>(), [0, 1, 1, 2]);
    assert_eq!(requests[2].body, requests[3].body);

    let model = offered([
        Turn::message("never").with_fault(Fault::StallAfter { events: 1, length: Duration::from_secs(60) }),
        Turn::message("two"),
    ]);
    let client = self::client(&model);
    let (sender, _receiver) = unbounded_channel();
    let (head, greeting) = (head(), hello());
    assert!(tokio::time::timeout(Duration::from_millis(300), client.respond(&head, &greeting, &sender)).await.is_err());
    send(&client, &hello()).await.says("two");
    assert_eq!(model.requests()[1].connection, 1);
}

#[tokio::test]
async fn a_warm_up_is_built_on_and_does_no_harm_where_there_is_none() {
    let model = offered([Turn::message("one")]);
    let client = client(&model);
    let mut conversation = hello();
    client.warm(&head(), &conversation).await;
    conversation.push_user("the prompt");
    send(&client, &conversation).await.says("one");
    let requests = model.requests();
    assert_eq!((model.warm_ups(), requests.len(), model.connections()), (1, 1, 1));
    let frame: serde_json::Value = serde_json::from_slice(requests[0].frame.as_ref().unwrap()).unwrap();
    assert_eq!(frame["input"].as_array().unwrap().len(), 1);
    assert!(String::from_utf8_lossy(&requests[0].body).contains("Today is a good day."));
    let model = ScriptedModel::start(Script::new([Turn::message("one")])).unwrap();
    let client = self::client(&model);
    client.warm(&head(), &conversation).await;
    send(&client, &conversation).await.says("one");
    assert_eq!(model.requests().len(), 1);
}

#[tokio::test]
async fn failures_are_the_same_as_over_http() {
    let slow = Fault::Status {
        status: 429,
        headers: Vec::new(),
        body: r#"{"error":{"code":"rate_limit_exceeded","message":"try again in 20ms"}}"#.to_owned(),
    };
    let model = offered([Turn::message("").with_fault(slow), Turn::message("fine")]);
    let outcome = send(&client(&model), &hello()).await;
    outcome.says("fine");
    assert_eq!(outcome.retries().len(), 1);
    let header = vec![("Retry-After".to_owned(), "0.3".to_owned())];
    let slow =
        Fault::Status { status: 429, headers: header, body: r#"{"error":{"code":"rate_limit_exceeded","message":"slow"}}"#.to_owned() };
    let model = offered([Turn::message("").with_fault(slow), Turn::message("fine")]);
    let outcome = send(&client(&model), &hello()).await;
    outcome.says("fine");
    assert_eq!(outcome.retries()[0].0, Duration::from_millis(300));
    let model = offered([Turn::message("").with_fault(Fault::status(400, "context_length_exceeded", "too long"))]);
    assert!(matches!(send(&client(&model), &hello()).await.result, Err(ModelError::ContextLength { .. })));
    let model = offered([Turn::message("").with_fault(Fault::status(401, "invalid_api_key", "no"))]);
    assert!(matches!(send(&client(&model), &hello()).await.result, Err(ModelError::Status { status: 401, .. })));
    assert_eq!(model.requests().len(), 1);
    let model = offered([Turn::message("partial").with_fault(Fault::Incomplete { reason: "max_output_tokens".into() })]);
    assert!(matches!(send(&client(&model), &hello()).await.result, Ok(reply) if matches!(reply.end, End::Incomplete { .. })));
    let model = offered([
        Turn::message("no end").with_fault(Fault::StallAfter { events: 1, length: Duration::from_secs(60) }),
        Turn::message("fine"),
    ]);
    let mut endpoint = endpoint(&model);
    (endpoint.transport, endpoint.limits.idle) = (Transport::WebSocket, Duration::from_millis(200));
    send(&Client::new(endpoint).unwrap(), &hello()).await.says("fine");
}

#[tokio::test]
async fn hostile_frames_end_in_a_clear_error() {
    for (how, expected) in [(Malformed::Garbage(b"\xff\xfe".to_vec()), "binary frame"), (Malformed::HugeEvent(20 << 20), "larger than")] {
        let model = offered((0..10).map(|_| Turn::message("").with_fault(Fault::Malformed(how.clone()))));
        let error = send(&client(&model), &hello()).await.result.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn bodies_are_compressed_where_that_is_taken() {
    let model = ScriptedModel::start(Script::new([Turn::message("one")])).unwrap();
    let mut squeezed = endpoint(&model);
    squeezed.compress = true;
    let outcome = send(&Client::new(squeezed).unwrap(), &hello()).await;
    outcome.says("one");
    let request = &model.requests()[0];
    assert_eq!(request.header("content-encoding"), Some("zstd"));
    assert_eq!(request.body, hello().body(&head()));
    let length: usize = request.header("content-length").unwrap().parse().unwrap();
    assert!(length * 4 < request.body.len(), "{length} of {}", request.body.len());
    // One that does not take it is sent the body as it is, from then on.
    let refuses = || Turn::message("").with_fault(Fault::status(415, "unsupported_media_type", "no zstd"));
    let model = ScriptedModel::start(Script::new([refuses(), Turn::message("one"), Turn::message("two")])).unwrap();
    let mut endpoint = endpoint(&model);
    endpoint.compress = true;
    let client = Client::new(endpoint).unwrap();
    send(&client, &hello()).await.says("one");
    send(&client, &hello()).await.says("two");
    let encodings: Vec<bool> = model.requests().iter().map(|request| request.header("content-encoding").is_some()).collect();
    assert_eq!(encodings, [true, false, false]);
}
