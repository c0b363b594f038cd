//! What a policy permits in a few short lines, for a person who decides in a hurry. The whole of it is [`super::prose`].

use std::collections::BTreeSet;

use super::model::{NetworkMode, PathRule, Place, Policy};

/// Entries of one list that are named; the rest is counted.
const NAMED: usize = 6;

/// The lines: what can be read, what can be written if the call `writes`, what is denied, and what can be reached if it runs `programs`.
pub fn summary(policy: &Policy, writes: bool, programs: bool) -> Vec<String> {
    let files = &policy.filesystem;
    let mut lines = vec![format!("read   {}", within(&files.read))];
    if writes {
        lines.push(format!("write  {}", within(&files.write)));
    }
    if !files.deny.is_empty() {
        lines.push(format!("never  {}", names(&files.deny)));
    }
    if programs {
        let hosts = || {
            let listed: BTreeSet<&str> = policy.network.allow.iter().flatten().map(|(host, _)| host.as_str()).collect();
            if listed.is_empty() { "no host".to_owned() } else { shown(listed.into_iter().map(str::to_owned).collect()) }
        };
        let reach = match policy.network.mode {
            NetworkMode::None => "nothing".to_owned(),
            NetworkMode::Loopback => "a loopback of its own".to_owned(),
            NetworkMode::Allowlist => hosts(),
            NetworkMode::Open => "every host on the network".to_owned(),
        };
        lines.push(format!("reach  {reach}"));
    }
    lines
}

/// What the first layer lists, and what each further layer leaves of it.
fn within(layers: &[Vec<PathRule>]) -> String {
    let mut lists: Vec<String> = layers.iter().map(|layer| names(layer)).collect();
    lists.dedup();
    if lists.is_empty() { "nothing".to_owned() } else { lists.join("; of that only ") }
}

fn names(rules: &[PathRule]) -> String {
    let mut names: Vec<String> = Vec::new();
    for rule in rules {
        let name = match (&rule.origin.group, &rule.place) {
            (_, Place::Temporary) => "a /tmp of the session's own".to_owned(),
            (_, Place::PrivateHome) => "a home of the session's own".to_owned(),
            (_, Place::Workspace(path)) if path.as_os_str().is_empty() => "the workspace".to_owned(),
            (Some(group), _) => format!("@{group}"),
            (None, place) => place.to_string(),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        return "nothing".to_owned();
    }
    shown(names)
}

/// The first of them, and how many there are besides.
fn shown(mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let list = names.join(", ");
    if more > 0 { format!("{list}, and {more} more") } else { list }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy;

    #[test]
    fn the_presets_are_a_few_short_lines() {
        for name in ["read-only", "workspace-write", "networked", "ci", "locked"] {
            let policy = policy::preset(name).unwrap();
            let lines = summary(&policy, true, true);
            assert!(lines.len() <= 4 && lines.iter().all(|line| line.len() < 160), "{name}: {lines:#?}");
            assert!(lines.iter().any(|line| line.starts_with("reach  ")));
        }
        let lines = summary(&policy::preset("workspace-write").unwrap(), true, true);
        assert_eq!(lines[1], "write  the workspace, a /tmp of the session's own, a home of the session's own");
        assert!(lines[2].starts_with("never  @credentials"), "{lines:?}");
        assert_eq!(summary(&policy::preset("read-only").unwrap(), false, false).len(), 2);
    }

    #[test]
    fn what_was_granted_stands_in_it() {
        let policy = policy::preset("workspace-write").unwrap();
        let origin = policy::Origin { file: "granted".to_owned(), line: 1, group: None };
        let wide = policy.with_path(std::path::Path::new("/srv/data"), false, origin);
        assert!(summary(&wide, true, true)[0].contains("/srv/data"));
    }
}
