//! The built-in file tools, each served by a worker in a sandbox of its own.

use super::{
    attach::accept,
    confinement::Confinement,
    gate::{Gate, GateError},
    outcome::{Done, VIEW_CHANGED, broken},
};
use crate::{
    audit::CallStatus,
    sandbox::EndedBy,
    worker::{Reply, Request},
};

/// Serves a file tool.
pub(super) async fn serve(gate: &Gate, request: &Request, confinement: &Confinement) -> Result<Done, GateError> {
    let (reply, finished) = match gate.serve_confined(request, confinement).await {
        Ok(served) => served,
        Err(error) => return broken(error),
    };
    let (applied, peak_bytes) = (Some(finished.applied), Some(finished.exit.peak_bytes));
    let Some(reply) = reply else {
        let how = match (finished.exit.ended_by, finished.exit.signal) {
            (Some(EndedBy::Wall), _) => "it took too long".to_owned(),
            (Some(EndedBy::Memory), _) => "it took too much memory".to_owned(),
            (Some(EndedBy::HostMemory), _) => "the machine had no more memory for it".to_owned(),
            (Some(EndedBy::Disk), _) => "it took too much disk space".to_owned(),
            (Some(EndedBy::ViewChanged), _) => format!("it was {VIEW_CHANGED}"),
            (None, Some(signal)) => format!("it was ended by signal {signal}"),
            (None, None) => "it ended without an answer".to_owned(),
        };
        return Ok(Done { status: CallStatus::Broken, applied, peak_bytes, ..Done::ok(format!("Error: the tool did not answer: {how}.")) });
    };
    let mut denials = confinement.explainer.of_worker(&reply, gate.cwd());
    denials.extend(finished.exit.undone.iter().map(|undone| confinement.explainer.of_undone(undone)));
    let (text, status, image) = match (reply, request) {
        (Reply::Ok { text, .. }, _) => (text, CallStatus::Ok, None),
        (Reply::Refused { message, .. }, _) => (format!("Error: {message}"), CallStatus::Failed, None),
        (Reply::Image(view), Request::ViewImage { path }) => match accept(&view, path) {
            Ok((image, label)) => (label, CallStatus::Ok, Some(image)),
            Err(why) => (format!("Error: {why}"), CallStatus::Broken, None),
        },
        (Reply::Image(_), _) => ("Error: the tool answered with an image that nobody asked for.".to_owned(), CallStatus::Broken, None),
    };
    let output_bytes = text.len() as u64;
    Ok(Done { status, denials, output_bytes, peak_bytes, applied, image, ..Done::ok(gate.shown(text, 0)) })
}
