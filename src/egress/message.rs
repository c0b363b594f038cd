//! What crosses the boundary between the agent and the proxy.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::{
    Origin,
    host::{HostLists, HostReason},
};

/// The longest text of a client's that a record repeats, in characters.
pub(super) const LONGEST_NAMED: usize = 260;

/// From the agent to the proxy. With it come the listening socket and the end of a pair on which [`FromProxy`] is told; closing the agent's side for
/// writing ends the service.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToProxy {
    /// Serve one call.
    Serve {
        /// By these rules.
        hosts: HostLists,
    },
}

/// From the proxy to the agent, about one call.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromProxy {
    /// A connection or a request ended, or was refused.
    Connection(Box<Connection>),
    /// There were more than are told one by one.
    More(u64),
}

/// How a client asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// A plain HTTP request.
    Http,
    /// `CONNECT`.
    Connect,
    /// SOCKS5.
    Socks,
}

/// What became of a connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It was made, and ended.
    Served,
    /// A rule, or the lack of one.
    Refused(HostReason),
    /// What was asked for is no host, or no request of these protocols: why.
    NoHost(String),
    /// In a tunnel to the host another was named, in a TLS handshake or a request: which.
    OtherName(String),
    /// The host could not be looked up, or not be reached: why.
    Unreachable(String),
}

/// One connection or plain request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Host and port, as they were judged; else as the client wrote them, shortened.
    pub target: String,
    /// How it asked.
    pub protocol: Protocol,
    /// The method of a plain request.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub method: Option<String>,
    /// The address that was connected to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub address: Option<IpAddr>,
    /// What became of it.
    pub ending: Ending,
    /// The rule that decided and where it stands.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rule: Option<(String, Origin)>,
    /// Bytes to the host.
    pub sent: u64,
    /// Bytes from the host.
    pub received: u64,
    /// Milliseconds from its beginning to its end.
    pub duration_ms: u64,
}

impl Connection {
    /// The rule that decided, with where it stands. Of a list that lacks the host it is the list: none of its entries is about it.
    pub fn decided_by(&self) -> Option<String> {
        let (rule, origin) = self.rule.as_ref()?;
        Some(match self.ending {
            Ending::Refused(HostReason::NotCovered | HostReason::NotPublic) => format!("no entry of the list at {origin}"),
            _ => format!("{rule}, {origin}"),
        })
    }
}
