//! Calls of the tools of MCP servers, by the same way as any other: decided, asked about, recorded, and only then carried out.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};
use tokio::sync::mpsc::unbounded_channel;

use super::{
    capture::Capture,
    file,
    gate::{Gate, GateError},
    invocation::Invocation,
    live::Lines,
    outcome::{Done, broken},
    registry::parse,
    shell::record_connections,
};
use crate::{
    approval::Judgement,
    audit::CallStatus,
    mcp::client::{GuestCall, GuestError, Guests},
    model::Tool,
    policy::{Ask, Decision, Policy},
    worker::Request,
};

/// The largest image that is looked at, in bytes of its base64.
const IMAGE_CAP: usize = 12 * 1024 * 1024;

impl Gate {
    /// With the servers of a session.
    #[must_use]
    pub fn with_guests(mut self, guests: Guests) -> Self {
        self.guests = guests;
        self
    }

    /// What the model is told of the tools of servers.
    pub fn guest_tools(&self) -> &[Tool] {
        self.guests.tools()
    }

    /// Waits until servers whose calls were dropped have been told so.
    pub async fn cancellations_sent(&self) {
        self.guests.cancellations_sent().await;
    }

    /// A call that makes sense, of a server's tool or of one of our own.
    pub(super) fn understand(&self, name: &str, arguments: &str) -> Result<Invocation, String> {
        match self.guests.parse(name, arguments) {
            Some(call) => call.map(Invocation::Guest),
            None => parse(name, arguments),
        }
    }

    /// What holds for a call of a server's tool.
    pub(super) fn judge_guest(&self, call: &GuestCall) -> Judgement {
        let setting = format!("[server.{}] decisions in mcp.toml", call.server);
        match self.guests.decision(call) {
            Decision::Forbid => Judgement::Forbid { reason: format!("the person forbids the tool {} ({setting})", call.tool) },
            Decision::Ask if self.ask.get() == Ask::Never => {
                Judgement::Forbid { reason: "a person would have to approve this, and this mode asks nobody".to_owned() }
            }
            Decision::Ask => Judgement::Ask { reason: format!("nothing allows the tool {} without a question ({setting})", call.tool) },
            Decision::Allow => self.rules().judge_other(),
        }
    }

    /// The policy of a call's server.
    pub(super) fn guest_policy(&self, call: &GuestCall) -> Option<&Policy> {
        self.guests.get(&call.server).map(|guest| &guest.policy)
    }

    /// Carries out a call of a server's tool.
    pub(super) async fn guest(&self, id: &str, call: &GuestCall) -> Result<Done, GateError> {
        let live = self.live.borrow().clone();
        let (sender, mut told) = unbounded_channel::<String>();
        // Where nobody looks on, nobody is told.
        let watch = live.is_some().then_some(sender);
        let mut lines = live.map(|live| Lines::new(id, live, Arc::clone(&self.redactor)));
        let called = self.guests.call(&self.launcher, call, watch);
        let passed_on = async {
            while let (Some(line), Some(lines)) = (told.recv().await, &mut lines) {
                lines.push(line.as_bytes());
            }
        };
        let (reply, ()) = tokio::join!(called, passed_on);
        let Some(reply) = reply else {
            return Ok(Done::failed("Error: there is no such server.".to_owned()));
        };
        record_connections(&self.log, &self.redactor, id, reply.connections, reply.connections_more)?;
        let done = match reply.result {
            Ok(result) => self.guest_result(result).await?,
            Err(GuestError::Launch(error)) => broken(error)?,
            Err(error) => {
                let status = match error {
                    GuestError::Changed { .. } => CallStatus::Refused,
                    GuestError::TimedOut { .. } | GuestError::Flooded => CallStatus::Limit,
                    GuestError::Answer { .. } | GuestError::NoTool => CallStatus::Failed,
                    _ => CallStatus::Broken,
                };
                Done { status, ..Done::ok(format!("Error: {error}.")) }
            }
        };
        Ok(Done { applied: reply.applied, ..done })
    }

    async fn guest_result(&self, result: CallToolResult) -> Result<Done, GateError> {
        let failed = result.is_error == Some(true);
        let mut parts = Vec::new();
        let mut image = None;
        for block in result.content {
            match block {
                ContentBlock::Text(text) => parts.push(text.text),
                ContentBlock::Image(content) if image.is_none() && content.data.len() <= IMAGE_CAP => {
                    let (text, decoded) = self.guest_image(&content.data).await?;
                    image = decoded;
                    parts.push(text);
                }
                ContentBlock::Image(content) => parts.push(not_shown("an image", &content.mime_type, content.data.len())),
                ContentBlock::Audio(content) => parts.push(not_shown("audio", &content.mime_type, content.data.len())),
                ContentBlock::Resource(resource) => parts.push(match resource.resource {
                    ResourceContents::TextResourceContents { uri, text, .. } => format!("[resource {uri}]\n{text}"),
                    ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
                        not_shown(&format!("the resource {uri}"), mime_type.as_deref().unwrap_or("of no type"), blob.len())
                    }
                    _ => "[a resource of a kind that is not known]".to_owned(),
                }),
                ContentBlock::ResourceLink(link) => parts.push(format!("[link to the resource {}: {}]", link.uri, link.name)),
                _ => parts.push("[something of a kind that is not known]".to_owned()),
            }
        }
        if parts.is_empty()
            && let Some(structured) = result.structured_content
        {
            parts.push(structured.to_string());
        }
        let mut capture = Capture::new(self.policy.limits.output);
        capture.push(parts.join("\n").as_bytes());
        let shown = self.shown(capture.redacted(&self.redactor), capture.gap());
        let text = if shown.is_empty() { "(no output)".to_owned() } else { shown };
        let status = if failed { CallStatus::Failed } else { CallStatus::Ok };
        let text = if failed { format!("Error: the tool says that it failed.\n{text}") } else { text };
        Ok(Done { status, output_bytes: capture.total(), image, ..Done::ok(text) })
    }

    /// An image, decoded and encoded anew by a worker in a sandbox as any other.
    async fn guest_image(&self, data: &str) -> Result<(String, Option<super::attach::Decoded>), GateError> {
        let kept = STANDARD.decode(data).ok().and_then(|bytes| self.keep_image(&bytes));
        let Some(name) = kept else { return Ok(("[an image that cannot be read]".to_owned(), None)) };
        let request = Request::ViewImage { path: self.session.output(&name) };
        let done = file::serve(self, &request, &self.confinement()).await?;
        Ok((format!("[image {}]", done.text), done.image))
    }
}

fn not_shown(what: &str, kind: &str, length: usize) -> String {
    format!("[{what} ({kind}, {length} bytes in base64) is not shown]")
}
