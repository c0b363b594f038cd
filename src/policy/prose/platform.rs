//! What the model is told where the systems differ in what they do.

use super::{GitAccess, NetworkMode, Place, Policy, groups, with_examples};

/// A system that has a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// Namespaces, Landlock and seccomp.
    Linux,
    /// Seatbelt.
    MacOs,
}

/// What globs do not cover on Linux, see [`super::super::place::is_in_package_folder`].
const PACKAGES: &str = " Names with a * do not count inside node_modules and site-packages.";

impl Platform {
    /// The one that this program was built for. Where there is no sandbox nothing runs, and what is told does not matter.
    pub const fn here() -> Self {
        if cfg!(target_os = "macos") { Self::MacOs } else { Self::Linux }
    }

    pub(super) fn besides(self) -> &'static str {
        match self {
            Self::Linux => "No other file or folder is writable, but for a /dev/shm of each call's own and devices such as /dev/null.",
            Self::MacOs => {
                "No other file or folder is writable, but for devices such as /dev/null. Of package caches nothing is. Hard links cannot be made."
            }
        }
    }

    pub(super) fn denied(self, places: &str) -> String {
        match self {
            Self::Linux => format!("Where they exist, neither readable nor writable, even inside the above: {places}.{PACKAGES}"),
            Self::MacOs => format!(
                "Neither readable nor writable, nor to be made, in any case of their letters, even inside the above and inside the private folders: {places}."
            ),
        }
    }

    pub(super) fn protected(self, places: &str) -> String {
        match self {
            Self::Linux => format!(
                "Never writable: {places}. Those without a * cannot be created either: where one is absent, an empty read-only file or folder may \
                 stand in its place. One with a * that a call makes is renamed when the call ends: .refused is put behind its name.{PACKAGES}"
            ),
            Self::MacOs => format!(
                "Never writable, and cannot be created, in any case of their letters and inside the private folders too: {places}. The folders \
                 that such a name spells out can be neither made nor moved."
            ),
        }
    }

    pub(super) fn degrades(self, policy: &Policy) -> &'static str {
        match self {
            Self::Linux if policy.can_do_without_landlock() => {
                "Where this host has no Landlock, calls run without it, and the mounts, the namespaces and the system call filter alone keep what is said \
                 here. Where another layer of enforcement is missing, nothing runs."
            }
            Self::Linux => "Where this host lacks a layer of enforcement, nothing runs: this network needs all of them.",
            Self::MacOs => "Where this host lacks its sandbox, nothing runs.",
        }
    }

    pub(super) fn private_temporary(self) -> String {
        match self {
            Self::Linux => "/tmp is private to this session: empty at its start, gone at its end.",
            Self::MacOs => {
                "The private /tmp is the folder that TMPDIR names: empty at the session's start, gone at its end. /tmp itself is out of reach."
            }
        }
        .to_owned()
    }

    pub(super) fn private_home(self, policy: &Policy) -> String {
        if self == Self::MacOs {
            return "The private ~ is the folder that HOME names: it holds links to the places named above, and what is written there is gone at \
                    the end. The person's own home folder is out of reach but for those places."
                .to_owned();
        }
        let mut text =
            "~ is a private folder of this session: it holds only the places named above, and what is written there is gone at the end."
                .to_owned();
        if policy.filesystem.write.iter().all(|list| list.iter().any(|rule| rule.place == Place::PrivateHome))
            && let Ok(Some(caches)) = groups::group("caches")
        {
            let caches = with_examples(&caches.name, &caches.rules);
            text.push_str(&format!(" Of package caches that are named above ({caches}) it holds private copies, which can be written."));
        }
        text
    }

    /// What is said of git in its place, where that differs. `condition` is that `.git` can be written at all.
    pub(super) fn git(self, policy: &Policy, condition: &str) -> Option<String> {
        (self == Self::MacOs && policy.git != GitAccess::None).then(|| {
            format!(
                "git: commits and branches work{condition}, and in repositories inside the workspace too; hooks, configuration and attributes \
                 of each are read-only. No repository, submodule or worktree can be made, nothing be committed in a submodule, and no rebase be done."
            )
        })
    }

    /// What is said of the network, but for sockets, where that differs.
    pub(super) fn loopback(self, mode: NetworkMode) -> &'static str {
        match (self, mode) {
            (Self::Linux, NetworkMode::Allowlist) => "Each call has a loopback of its own;",
            (Self::Linux, _) => "There is no network but a loopback of each call's own;",
            (Self::MacOs, NetworkMode::Allowlist) => "There is no loopback but the proxy's port;",
            (Self::MacOs, _) => "There is no network but the machine's loopback: what listens on this machine can be reached;",
        }
    }

    pub(super) fn sockets(self, named: Option<&str>) -> String {
        match (self, named) {
            (Self::Linux, None) => "no unix socket on which the host listens when a call begins can be reached.".to_owned(),
            (Self::Linux, Some(names)) => {
                format!("of the unix sockets on which the host listens when a call begins, only these can be reached: {names}.")
            }
            (Self::MacOs, None) => "unix sockets can be used in the private folders alone.".to_owned(),
            (Self::MacOs, Some(names)) => format!("unix sockets can be used in the private folders alone, but for these: {names}."),
        }
    }

    /// Whether memory and disk space of a call have a ceiling.
    pub(super) const fn bounds_shares(self) -> bool {
        matches!(self, Self::Linux)
    }

    pub(super) fn lifetime(self) -> String {
        let but = if self == Self::MacOs { ", unless they have made a session of their own (setsid)" } else { "" };
        format!("Processes end with the call that started them{but}; what shell was told to run in the background ends with the session.")
    }
}
