//! The WebSocket mode, as the scripted model offers it: the connection remembers what each response was answered to.

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json, value::RawValue};
use tokio::time::sleep;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, protocol::Role},
};

use super::{
    RecordedRequest,
    events::Writer,
    script::{Fault, Malformed, Pace, Turn},
    server::{State, model_of, write_events},
};

/// Serves one connection to its end.
pub(super) async fn serve(upgraded: Upgraded, state: &State, connection: usize, headers: Vec<(String, String)>) {
    let stream = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    // A client that takes nothing more is as good as gone.
    let _ = answer_all(stream, state, connection, &headers).await;
}

type Stream = WebSocketStream<TokioIo<Upgraded>>;

async fn answer_all(mut stream: Stream, state: &State, connection: usize, headers: &[(String, String)]) -> Result<(), Error> {
    let mut memory: HashMap<String, Vec<Box<RawValue>>> = HashMap::new();
    while let Some(Ok(message)) = stream.next().await {
        let Message::Text(text) = message else { continue };
        let Ok(mut fields) = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(&text) else { return Ok(()) };
        let field = |name: &str| fields.get(name).map(|value| serde_json::from_str::<Value>(value.get()).unwrap_or_default());
        let (previous, generate) = (field("previous_response_id"), field("generate"));
        let new: Vec<Box<RawValue>> = fields.get("input").and_then(|input| serde_json::from_str(input.get()).ok()).unwrap_or_default();
        let mut input = match previous.as_ref().and_then(Value::as_str) {
            None => Vec::new(),
            Some(id) => match memory.get(id) {
                Some(input) => input.clone(),
                None => {
                    let error = json!({"code": "previous_response_not_found", "message": "there is no such response", "type": "invalid_request_error"});
                    stream.send(Message::text(json!({"type": "error", "status": 400, "error": error}).to_string())).await?;
                    continue;
                }
            },
        };
        input.extend(new);
        for field in ["type", "previous_response_id", "generate", "input"] {
            fields.remove(field);
        }
        let body = whole(&fields, &input);
        if generate == Some(Value::Bool(false)) {
            let id = format!("resp_warm_{connection}");
            let response = json!({"id": id, "object": "response", "status": "completed", "output": [], "usage": null});
            memory.insert(id, input);
            state.warmed();
            for kind in ["response.created", "response.completed"] {
                stream.send(Message::text(json!({"type": kind, "response": response}).to_string())).await?;
            }
            continue;
        }
        let request = RecordedRequest {
            path: "websocket".to_owned(),
            body,
            frame: Some(text.as_bytes().to_vec()),
            headers: headers.to_vec(),
            connection,
            at: Instant::now(),
            usage: Default::default(),
        };
        let (number, turn, request) = state.record(request);
        let Some(Turn { items, fault, pace, usage, .. }) = turn else { return Ok(()) };
        sleep(pace.delay).await;
        if let Some(Fault::Status { status, body, headers }) = &fault {
            let mut error: Value = serde_json::from_str(body).unwrap_or_else(|_| json!({"error": {"message": body}}));
            error["type"] = "error".into();
            error["status"] = (*status).into();
            error["headers"] =
                headers.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect::<serde_json::Map<_, _>>().into();
            stream.send(Message::text(error.to_string())).await?;
            continue;
        }
        let items = items.resolve(&request);
        let mut writer = Writer::new(number, &model_of(&request.body), request.usage);
        let done = write_events(&mut writer, &items, fault.as_ref(), usage);
        if !send_events(&mut stream, writer.finish(), fault.as_ref(), pace).await? {
            return Ok(());
        }
        input.extend(done.iter().filter_map(|item| serde_json::value::to_raw_value(item).ok()));
        memory.insert(format!("resp_{number}"), input);
    }
    Ok(())
}

/// Sends the events of a response, as far as a fault lets it. Whether the connection goes on.
async fn send_events(stream: &mut Stream, events: Vec<String>, fault: Option<&Fault>, pace: Pace) -> Result<bool, Error> {
    for (place, event) in events.into_iter().enumerate() {
        match fault {
            Some(Fault::CutAfter { events } | Fault::ResetAfter { events }) if *events == place => return Ok(false),
            Some(Fault::StallAfter { events, length }) if *events == place => sleep(*length).await,
            _ => {}
        }
        sleep(pace.drip).await;
        if place == 1 && fault == Some(&Fault::Malformed(Malformed::BadJson)) {
            stream.send(Message::text("{\"type\":\"response.output_item.done\",\"item\":{")).await?;
        }
        stream.send(Message::text(event)).await?;
    }
    match fault {
        Some(Fault::Malformed(Malformed::Garbage(bytes))) => stream.send(Message::binary(bytes.clone())).await?,
        Some(Fault::Malformed(Malformed::HugeEvent(length))) => stream.send(Message::text("x".repeat(*length))).await?,
        Some(Fault::Malformed(Malformed::NoCompleted)) => return Ok(false),
        _ => {}
    }
    Ok(true)
}

/// The body that would have said the same over HTTP.
fn whole(fields: &BTreeMap<String, Box<RawValue>>, input: &[Box<RawValue>]) -> Vec<u8> {
    let mut body = serde_json::to_string(fields).unwrap_or_default();
    body.pop();
    let items: Vec<&str> = input.iter().map(|item| item.get()).collect();
    body.push_str(&format!(",\"input\":[{}]}}", items.join(",")));
    body.into_bytes()
}
