//! The canonical form of a [`Policy`] and its fingerprint.
//!
//! Only what is enforced counts: names, reasons, origins, sources and notes are left out, lists are sorted and freed of
//! duplicates, and values are written as JSON strings so that no value can look like another line.

use std::{collections::BTreeSet, fmt::Write as _};

use sha2::{Digest as _, Sha256};

use super::model::{Ask, Decision, Detail, GitAccess, Layer, NetworkMode, OnFailure, OnMissing, PathRule, Place, Policy, Recording};

/// First line of the form; a change of the form changes every fingerprint and therefore this number.
const HEADER: &str = "portcullis policy 1";

impl Policy {
    /// The policy as text that is equal for policies that mean the same: one line a fact, sorted.
    ///
    /// Equality is of what is written, not of what is covered: `/usr` and `/usr/bin` in one list differ from `/usr` alone.
    pub fn canonical(&self) -> String {
        let mut lines = BTreeSet::new();
        for (list, layers) in [("read", &self.filesystem.read), ("write", &self.filesystem.write)] {
            // Each layer is one line, because `[a], [b]` permits less than `[a, b]`; equal layers are one.
            for rules in layers {
                lines.insert(format!("filesystem.{list} all {}", places(rules)));
            }
        }
        lines.insert(format!("filesystem.deny {}", places(&self.filesystem.deny)));
        lines.insert(format!("filesystem.protect {}", places(&self.filesystem.protect)));
        lines.insert(format!("git {}", git(self.git)));
        lines.insert(format!("network.mode {}", mode(self.network.mode)));
        // Hosts mean something with an allow list only.
        if self.network.mode == NetworkMode::Allowlist {
            for hosts in &self.network.allow {
                let hosts: BTreeSet<&str> = hosts.iter().map(|(host, _)| host.as_str()).collect();
                lines.insert(format!("network.allow all {}", list(hosts)));
            }
            if self.network.allow.is_empty() {
                lines.insert("network.allow all []".to_owned());
            }
            for (host, _) in &self.network.deny {
                lines.insert(format!("network.deny {}", quoted(host)));
            }
        }
        if !self.network.sockets.is_empty() {
            lines.insert(format!("network.sockets {}", places(&self.network.sockets)));
        }
        lines.insert(format!("environment.inherit {}", list(self.environment.inherit.iter().map(String::as_str))));
        for (name, value) in &self.environment.set {
            lines.insert(format!("environment.set {}={}", quoted(name), quoted(value)));
        }
        let limits = &self.limits;
        lines.insert(format!("limits.wall {} ms", limits.wall.as_millis()));
        for (name, value) in [
            ("memory", limits.memory),
            ("processes", limits.processes),
            ("open_files", limits.open_files),
            ("file_size", limits.file_size),
            ("disk", limits.disk),
            ("output", limits.output),
        ] {
            lines.insert(format!("limits.{name} {value}"));
        }
        lines.insert(format!("approval.ask {}", ask(self.ask)));
        for rule in &self.commands {
            lines.insert(format!("command {} {}", decision(rule.decision), list(rule.prefix.iter().map(String::as_str))));
        }
        lines.insert(format!("enforcement.require {}", list(self.enforcement.require.iter().map(|required| layer(*required)))));
        lines.insert(format!("enforcement.on_missing {}", on_missing(self.enforcement.on_missing)));
        // What is said of recording only where it is not as usual, so that fingerprints from before there was anything to say still stand.
        let recording = &self.recording;
        if *recording != Recording::default() {
            let words = (on_failure(recording.on_failure), sync(recording.sync), detail(recording.detail));
            let keep = recording.keep.map_or_else(|| "for ever".to_owned(), |keep| format!("{} s", keep.as_secs()));
            lines.insert(format!("audit {} {} {} {keep}", words.0, words.1, words.2));
        }
        lines.into_iter().fold(HEADER.to_owned() + "\n", |text, line| text + &line + "\n")
    }

    /// SHA-256 (FIPS 180-4) of [`Policy::canonical`], as 64 lowercase hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        Sha256::digest(self.canonical()).iter().fold(String::with_capacity(64), |mut hex, byte| {
            let _infallible = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// The word that stands for `git` in files and in the canonical form.
pub const fn git(git: GitAccess) -> &'static str {
    match git {
        GitAccess::None => "none",
        GitAccess::Commit => "commit",
        GitAccess::Full => "full",
    }
}

/// The word that stands for a network mode in files and in the canonical form.
pub const fn mode(mode: NetworkMode) -> &'static str {
    match mode {
        NetworkMode::None => "none",
        NetworkMode::Loopback => "loopback",
        NetworkMode::Allowlist => "allowlist",
        NetworkMode::Open => "open",
    }
}

/// The word that stands for an approval mode in files and in the canonical form.
pub const fn ask(ask: Ask) -> &'static str {
    match ask {
        Ask::WhenNeeded => "when-needed",
        Ask::Always => "always",
        Ask::Never => "never",
    }
}

/// The word that stands for a decision in files and in the canonical form.
pub const fn decision(decision: Decision) -> &'static str {
    match decision {
        Decision::Allow => "allow",
        Decision::Ask => "ask",
        Decision::Forbid => "forbid",
    }
}

/// The word that stands for a layer of enforcement in files and in the canonical form.
pub const fn layer(layer: Layer) -> &'static str {
    match layer {
        Layer::Landlock => "landlock",
        Layer::Seccomp => "seccomp",
        Layer::Namespaces => "namespaces",
    }
}

/// The word that stands for what to do where a layer is missing, in files and in the canonical form.
pub const fn on_missing(what: OnMissing) -> &'static str {
    match what {
        OnMissing::Degrade => "degrade",
        OnMissing::Refuse => "refuse",
    }
}

/// The word that stands for what to do where a record cannot be written, in files and in the canonical form.
pub const fn on_failure(what: OnFailure) -> &'static str {
    match what {
        OnFailure::Continue => "continue",
        OnFailure::Stop => "stop",
    }
}

/// The word that stands for whether each record is to reach the disk before what it records happens, in files and in the canonical form.
pub const fn sync(each: bool) -> &'static str {
    if each { "each" } else { "none" }
}

/// The word that stands for how much a record says, in files and in the canonical form.
pub const fn detail(detail: Detail) -> &'static str {
    match detail {
        Detail::Full => "full",
        Detail::Metadata => "metadata",
    }
}

fn places(rules: &[PathRule]) -> String {
    let places: BTreeSet<String> = rules.iter().map(|rule| place(&rule.place)).collect();
    format!("[{}]", places.into_iter().collect::<Vec<_>>().join(", "))
}

/// A place with its kind, because a folder may be called `@tmp` and a path in the workspace may read like a glob.
fn place(place: &Place) -> String {
    match place {
        Place::Absolute(path) => format!("absolute {}", quoted(&path.to_string_lossy())),
        Place::Home(path) => format!("home {}", quoted(&path.to_string_lossy())),
        Place::Workspace(path) => format!("workspace {}", quoted(&path.to_string_lossy())),
        Place::WorkspaceGlob(glob) => format!("glob {}", quoted(glob)),
        Place::Temporary => "temporary".to_owned(),
        Place::PrivateHome => "private-home".to_owned(),
    }
}

fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    format!("[{}]", items.into_iter().map(quoted).collect::<Vec<_>>().join(", "))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
