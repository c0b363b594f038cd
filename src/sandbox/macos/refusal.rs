//! What a profile cannot say. Each refusal stops a call before anything starts (invariant I3).

use std::path::PathBuf;

/// Why a plan cannot be carried out by Seatbelt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A place shows what lies elsewhere, which takes a mount.
    #[error(
        "{target} would have to show what lies in {source_folder}, and macOS has no mounts of a process' own; leave it out of the policy",
        target = target.display(),
        source_folder = source_folder.display()
    )]
    OtherContent {
        /// Where it would be seen.
        target: PathBuf,
        /// What it would show.
        source_folder: PathBuf,
    },
    /// The whole home folder would take what is written and keep it apart, which takes an overlay.
    #[error("{target} would have to keep apart what is written there, and macOS has no overlays; this works on Linux only", target = target.display())]
    Copy {
        /// The folder.
        target: PathBuf,
    },
    /// A part of a pattern before the last has wildcards.
    #[error(
        "the pattern `{glob}` cannot be kept: Seatbelt judges the name of a folder that is moved and not what is in it, so that only the last \
         part of a pattern may hold wildcards, after a leading `**/`; spell the folders out"
    )]
    GlobFolder {
        /// The pattern.
        glob: String,
    },
    /// A pattern has characters whose other spellings cannot be told.
    #[error(
        "the pattern `{glob}` cannot be kept: it has characters beyond ASCII, and the file system of a Mac takes other spellings of them (case, \
         composition) for the same name; protect the folder around it instead"
    )]
    GlobCharacters {
        /// The pattern.
        glob: String,
    },
    /// A pattern uses something that Seatbelt's expressions lack.
    #[error("the pattern `{glob}` cannot be written as one of Seatbelt's expressions: {reason}; write simpler patterns")]
    Glob {
        /// The pattern.
        glob: String,
        /// What it uses.
        reason: String,
    },
    /// A protected name has such characters.
    #[error(
        "{path} cannot be protected while it is absent: its name has characters beyond ASCII, and the file system of a Mac takes other spellings \
         of them for the same name; protect the folder around it instead",
        path = path.display()
    )]
    NameCharacters {
        /// The protected place.
        path: PathBuf,
    },
    /// A path that no profile can hold.
    #[error("{path:?} is not UTF-8, and no path of a Mac is anything else")]
    NotText {
        /// The path.
        path: PathBuf,
    },
    /// The plan lists hosts, and no proxy listens.
    #[error("the policy lists hosts ([network] mode = \"allowlist\"), and no proxy serves this call; use mode = \"none\" or \"loopback\"")]
    NoProxy,
    /// A program that needs what only Linux has.
    #[error("{what} needs Linux: {reason}")]
    Program {
        /// What was to run.
        what: &'static str,
        /// What it needs.
        reason: &'static str,
    },
}
