//! Access beyond a policy, one path, host or socket at a time: what a person grants in addition.
//!
//! A grant is added to what the person chose, never to a bound: what the system's file or a repository's own leaves out stays out, and what
//! is denied or protected stays so (invariants I5 and I6).

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::{NetworkMode, Origin, PathRule, Place, Policy};

/// The file that refusals, lists and plans name as the origin of what a person has granted.
pub const GRANTED: &str = "granted";

/// Access beyond what the policy gives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Wider {
    /// Reading a file, or a folder and what is below it.
    Read(PathBuf),
    /// Reading and writing it.
    Write(PathBuf),
    /// Connecting to a host, as a policy writes it (`example.org:443`).
    Host(String),
    /// Connecting to a unix socket.
    Socket(PathBuf),
}

impl Wider {
    /// What it is, in words.
    pub fn sentence(&self) -> String {
        match self {
            Self::Read(path) => format!("read {} and what is below it", path.display()),
            Self::Write(path) => format!("read and write {} and what is below it", path.display()),
            Self::Host(host) => format!("connect to {host}"),
            Self::Socket(path) => format!("connect to the unix socket {}", path.display()),
        }
    }
}

impl Policy {
    /// This policy with one host more, in the list of whoever chose it. Where it had no way out, that host is the only one. What a bound leaves out stays out:
    /// its lists have to agree, and where it states a narrower mode nothing changes.
    #[must_use]
    pub fn with_host(&self, host: &str, origin: Origin) -> Self {
        let mut policy = self.clone();
        if policy.network.bound.as_ref().is_some_and(|(mode, _)| *mode < NetworkMode::Allowlist) {
            return policy;
        }
        if matches!(policy.network.mode, NetworkMode::None | NetworkMode::Loopback) {
            policy.network.mode = NetworkMode::Allowlist;
            policy.network.mode_origin = Some(origin.clone());
            // What lists there are belong to bounds.
            policy.network.allow.insert(0, Vec::new());
        }
        if policy.network.mode == NetworkMode::Allowlist {
            match policy.network.allow.first_mut() {
                Some(chosen) => chosen.push((host.to_owned(), origin)),
                None => policy.network.allow.push(vec![(host.to_owned(), origin)]),
            }
        }
        policy
    }

    /// This policy with one socket of the host's more. A bound that lists sockets and not this one leaves it out.
    #[must_use]
    pub fn with_socket(&self, path: &Path, origin: Origin) -> Self {
        let mut policy = self.clone();
        let place = Place::Absolute(path.to_path_buf());
        if policy.network.socket_bounds.iter().all(|bound| bound.iter().any(|rule| rule.place == place)) {
            policy.network.sockets.push(PathRule { place, origin });
        }
        policy
    }

    /// This policy with one path more. `origin` names the grant in refusals and lists. What all layers have to agree on is still the others' to say.
    #[must_use]
    pub fn with_path(&self, path: &Path, write: bool, origin: Origin) -> Self {
        let mut policy = self.clone();
        let rule = PathRule { place: Place::Absolute(path.to_path_buf()), origin };
        let lists = if write { &mut policy.filesystem.write } else { &mut policy.filesystem.read };
        match lists.first_mut() {
            Some(chosen) => chosen.push(rule),
            None => lists.push(vec![rule]),
        }
        policy
    }
}
