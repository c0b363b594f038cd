//! What came of a call, before it is told and recorded.

use super::{attach::Decoded, gate::GateError, plan::PlanStep};
use crate::{
    audit::{CallStatus, Denial},
    sandbox::{Applied, LaunchError, RefusedCall, message::MessageError},
};

/// What is said of a call whose view was changed from outside.
pub const VIEW_CHANGED: &str = "ended, because somebody outside replaced or removed a protected or denied place while it ran; run it again";

/// What came of a call.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) text: String,
    pub(super) status: CallStatus,
    pub(super) exit_code: Option<i32>,
    pub(super) denials: Vec<Denial>,
    pub(super) output_bytes: u64,
    pub(super) peak_bytes: Option<u64>,
    pub(super) applied: Option<Applied>,
    pub(super) refused: Vec<RefusedCall>,
    pub(super) plan: Option<Vec<PlanStep>>,
    pub(super) image: Option<Decoded>,
}

impl Done {
    pub(super) fn ok(text: String) -> Self {
        Self {
            text,
            status: CallStatus::Ok,
            exit_code: None,
            denials: Vec::new(),
            output_bytes: 0,
            peak_bytes: None,
            applied: None,
            refused: Vec::new(),
            plan: None,
            image: None,
        }
    }

    pub(super) fn refused(text: String) -> Self {
        Self { status: CallStatus::Refused, ..Self::ok(text) }
    }

    pub(super) fn failed(text: String) -> Self {
        Self { status: CallStatus::Failed, ..Self::ok(text) }
    }
}

/// A sandbox that could not be made is an answer: a session's first one was made, or there would be no session, so it is this call, or what
/// an earlier one left behind, that stands in the way. A launcher that is gone ends the run.
pub(super) fn broken(error: LaunchError) -> Result<Done, GateError> {
    let status = match &error {
        LaunchError::Refused { .. } | LaunchError::Message(MessageError::TooLong { .. }) => CallStatus::Failed,
        LaunchError::Died => CallStatus::Broken,
        _ => return Err(error.into()),
    };
    Ok(Done { status, ..Done::ok(format!("Error: {error}")) })
}
