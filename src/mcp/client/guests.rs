//! The servers of a session, and their tools under the names by which the model calls them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rmcp::model::JsonObject;
use tokio::{sync::mpsc::UnboundedSender, time::sleep};

use super::{
    guest::{Guest, Reply},
    tool::CheckedTool,
};
use crate::{model::Tool, policy::Decision, sandbox::Launcher};

/// How long it takes to tell a server that a call is cancelled.
const TO_TELL: Duration = Duration::from_millis(200);

/// A call of a server's tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestCall {
    /// The server's name.
    pub server: String,
    /// The tool's name at the server.
    pub tool: String,
    /// Its arguments.
    pub arguments: JsonObject,
}

/// The servers of a session.
#[derive(Debug, Default)]
pub struct Guests {
    servers: BTreeMap<String, Guest>,
    /// Server and tool by the name that the model is told.
    names: BTreeMap<String, (String, CheckedTool)>,
    offered: Vec<Tool>,
}

impl Guests {
    /// Those that were approved. What is offered follows from that alone, so that it is the same in every request.
    pub fn new(servers: BTreeMap<String, Guest>) -> Self {
        let (mut names, mut offered) = (BTreeMap::new(), Vec::new());
        for (server, guest) in &servers {
            for tool in guest.approved.tools.iter().filter(|tool| guest.settings.offers(&tool.name)) {
                // Two tools whose names differ only in what endpoints do not take: the first is offered.
                let Some(name) = tool.offered_name(server).filter(|name| !names.contains_key(name)) else { continue };
                offered.push(Tool {
                    name: name.clone(),
                    description: tool.description.clone(),
                    parameters: tool.parameters.clone(),
                    strict: false,
                });
                names.insert(name, (server.clone(), tool.clone()));
            }
        }
        Self { servers, names, offered }
    }

    /// What the model is told, sorted by server and name.
    pub fn tools(&self) -> &[Tool] {
        &self.offered
    }

    /// The call that a name and arguments stand for; none if the name is no tool of a server's.
    ///
    /// # Errors
    /// In words for the model, if the arguments are no object.
    pub fn parse(&self, name: &str, arguments: &str) -> Option<Result<GuestCall, String>> {
        let (server, tool) = self.names.get(name)?;
        let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
        let parsed = serde_json::from_str(arguments).map_err(|error| format!("the arguments of {name} are no JSON object: {error}"));
        Some(parsed.map(|arguments| GuestCall { server: server.clone(), tool: tool.name.clone(), arguments }))
    }

    /// All of them by name.
    pub fn servers(&self) -> impl Iterator<Item = (&String, &Guest)> {
        self.servers.iter()
    }

    /// A server.
    pub fn get(&self, server: &str) -> Option<&Guest> {
        self.servers.get(server)
    }

    /// Waits for as long as it takes to tell servers of calls that were dropped; their ends are not awaited.
    pub async fn cancellations_sent(&self) {
        if self.servers.values().any(Guest::is_cancelling) {
            sleep(TO_TELL).await;
        }
    }

    /// What holds for a call.
    pub fn decision(&self, call: &GuestCall) -> Decision {
        let Some(guest) = self.servers.get(&call.server) else { return Decision::Forbid };
        let destructive = guest.approved.tools.iter().any(|tool| tool.name == call.tool && tool.destructive);
        guest.settings.decision(&call.tool, destructive)
    }

    /// Carries a call out; none if there is no such server. What the server says of its progress goes to `watch`.
    pub async fn call(&self, launcher: &Arc<Launcher>, call: &GuestCall, watch: Option<UnboundedSender<String>>) -> Option<Reply> {
        let guest = self.servers.get(&call.server)?;
        Some(guest.call(launcher, &call.tool, call.arguments.clone(), watch).await)
    }
}
