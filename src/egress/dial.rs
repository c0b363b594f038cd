//! From a target to a connection: judged by its name, looked up, judged by its addresses, connected to one that was judged.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::message::Ending;
use crate::policy::{
    Origin,
    host::{Host, HostRules, HostVerdict, Target},
};

/// How long a name may take to be looked up.
const LOOKUP: Duration = Duration::from_secs(20);
/// How long one address may take to answer.
const CONNECT: Duration = Duration::from_secs(10);
/// The most addresses of a name that are tried.
const ADDRESSES: usize = 4;

/// A connection that may be used.
#[derive(Debug)]
pub(super) struct Dialled {
    pub(super) stream: TcpStream,
    pub(super) address: IpAddr,
    pub(super) rule: Option<(String, Origin)>,
}

/// Why there is none.
#[derive(Debug, Clone)]
pub(super) struct NotDialled {
    pub(super) ending: Ending,
    pub(super) rule: Option<(String, Origin)>,
}

impl From<HostVerdict> for NotDialled {
    fn from(verdict: HostVerdict) -> Self {
        Self { ending: Ending::Refused(verdict.reason), rule: verdict.rule }
    }
}

/// Connects to a target for a plain request with `method`, or for a tunnel.
pub(super) async fn dial(rules: &HostRules, target: &Target, method: Option<&str>) -> Result<Dialled, NotDialled> {
    let verdict = rules.judge(target, method);
    if !verdict.allowed() {
        return Err(verdict.into());
    }
    let rule = verdict.rule;
    let unreachable = |why: String| NotDialled { ending: Ending::Unreachable(why), rule: rule.clone() };
    let addresses: Vec<SocketAddr> = match &target.host {
        // A rule names this very address.
        Host::Address(address) => vec![SocketAddr::new(*address, target.port)],
        Host::Name(name) => {
            let found = timeout(LOOKUP, lookup_host((name.as_str(), target.port))).await;
            let found: Vec<SocketAddr> = found
                .map_err(|_| unreachable("looking the name up took too long".to_owned()))?
                .map_err(|error| unreachable(format!("the name could not be looked up: {error}")))?
                .collect();
            // One address that nobody may be led to spoils the name: whoever answers for it is not to choose among them.
            if let Some(refused) =
                found.iter().map(|found| rules.judge_address(found.ip(), target.port, method)).find(|verdict| !verdict.allowed())
            {
                return Err(refused.into());
            }
            found
        }
    };
    let mut last = "the name has no address".to_owned();
    for address in addresses.into_iter().take(ADDRESSES) {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok(Dialled { stream, address: address.ip(), rule });
            }
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = "it did not answer in time".to_owned(),
        }
    }
    Err(unreachable(last))
}
