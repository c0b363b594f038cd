//! The arguments of `/usr/bin/sandbox-exec`, and the environment of what it starts.

use std::path::{Path, PathBuf};

use super::{
    places::{Places, join, real},
    profile::Profile,
};
use crate::{egress, policy::host::PROXY_VARIABLES};

/// The only place where the program is looked for: a name on a `PATH` could be somebody else's.
pub const SANDBOX_EXEC: &str = "/usr/bin/sandbox-exec";

/// The arguments after the program's own name: the profile, a definition for each parameter, and what runs.
pub fn arguments(profile: &Profile, program: &[String]) -> Vec<String> {
    let mut all = vec!["-p".to_owned(), profile.text.clone()];
    for (name, value) in &profile.parameters {
        all.extend(["-D".to_owned(), format!("{name}={value}")]);
    }
    all.push("--".to_owned());
    all.extend_from_slice(program);
    all
}

/// The environment as it has to be where private folders lie elsewhere than the policy sees them: each variable that names one names where it
/// lies, and those of the proxy name its port.
pub fn environment(places: &Places, environment: Vec<(String, String)>, proxy: Option<u16>) -> Vec<(String, String)> {
    let moved = |(name, value): (String, String)| {
        let value = match proxy {
            Some(port) if PROXY_VARIABLES.contains(&name.as_str()) => value.replace(&egress::PORT.to_string(), &port.to_string()),
            _ if value.starts_with('/') && !value.contains(':') => lies(places, Path::new(&value)).display().to_string(),
            _ => value,
        };
        (name, value)
    };
    environment.into_iter().map(moved).collect()
}

/// Where a path that a call is handed lies: in a private folder, if it is in what that stands in for and nothing nearer is granted.
pub fn lies(places: &Places, path: &Path) -> PathBuf {
    let found = places.lies(path);
    if found == real(path) { path.to_path_buf() } else { found }
}

/// Links to make in a private home, so that what is granted in the person's own is found there: where, and what to. They are no more than a
/// convenience: what they lead to is granted, or not, by where it lies.
pub fn links(places: &Places) -> Vec<(PathBuf, PathBuf)> {
    let in_private = |grant: &super::places::Grant| {
        let private =
            places.grants.iter().find(|other| other.private && other.seen != other.folder && grant.folder.starts_with(&other.seen))?;
        let below = grant.folder.strip_prefix(&private.seen).ok().filter(|below| !below.as_os_str().is_empty())?;
        Some((join(&private.folder, below), grant.folder.clone()))
    };
    // One in another is found by way of that.
    let mut links: Vec<(PathBuf, PathBuf)> = Vec::new();
    for link in places.grants.iter().filter(|grant| !grant.private).filter_map(in_private) {
        if !links.iter().any(|(around, _)| link.0.starts_with(around)) {
            links.push(link);
        }
    }
    links
}
