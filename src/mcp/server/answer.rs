//! What the caller is told of a call.

use rmcp::model::{CallToolResult, ContentBlock};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    audit::{CallStatus, Denial},
    tools::{Outcome, explain},
};

/// What came of a call, for programs.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "result of a call")]
pub(super) struct Told {
    /// How it ended.
    status: CallStatus,
    /// The exit code of a program, as a shell reports it.
    exit_code: Option<i32>,
    /// What was refused.
    denials: Vec<Denial>,
    /// Wall-clock milliseconds.
    duration_ms: u64,
    /// The answer to a question about the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Explanation>,
}

/// The answer to a question about the policy.
#[derive(Debug, Serialize, JsonSchema)]
struct Explanation {
    /// `allow`, `ask`, `forbid`, `refuse`.
    word: String,
    /// File and line of the rule that decides.
    rule: Option<String>,
    /// What that rule is about.
    about: Option<String>,
    /// What else there is to say.
    lines: Vec<String>,
}

/// The result in the protocol's form: the text for a model, the rest for programs.
pub(super) fn result(outcome: Outcome, answer: Option<explain::Answer>) -> CallToolResult {
    let Outcome { text, status, exit_code, denials, duration_ms, .. } = outcome;
    let explanation = answer.map(|explain::Answer { word, rule, about, lines, .. }| Explanation {
        word: serde_json::to_value(word).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default(),
        rule,
        about,
        lines,
    });
    let told = Told { status, exit_code, denials, duration_ms, explanation };
    let content = vec![ContentBlock::text(text)];
    let mut result = if status == CallStatus::Ok { CallToolResult::success(content) } else { CallToolResult::error(content) };
    result.structured_content = serde_json::to_value(&told).ok();
    result
}
