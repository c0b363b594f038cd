//! Why a worker call fails, and how that reads in a [`Reply`].

use std::io;

use nix::errno::Errno;

use super::patch::{matching::MatchError, parse::ParseError};
use super::request::{Access, ErrorKind, Reply};
use super::text::visible;

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The operating system refused or failed.
    #[error("{}: cannot {doing}: {}", visible(path), reason(source))]
    System {
        /// The path as the caller named it.
        path: String,
        /// What was attempted, as an infinitive.
        doing: &'static str,
        /// Whether that was reading or writing.
        access: Access,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The path is not of the kind that the call needs.
    #[error("{}: {found}; {hint}", visible(path))]
    WrongKind {
        /// The path as the caller named it.
        path: String,
        /// What it is.
        found: String,
        /// What to do instead.
        hint: &'static str,
        /// What was attempted.
        access: Access,
    },
    /// An argument cannot be used.
    #[error("{argument}: {problem}")]
    Argument {
        /// The argument's name.
        argument: &'static str,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// A cap was exceeded.
    #[error("{}: {size} bytes, over the limit of {cap} bytes; {hint}", visible(path))]
    TooLarge {
        /// The path as the caller named it.
        path: String,
        /// Its size in bytes.
        size: u64,
        /// The cap in bytes.
        cap: u64,
        /// What to do instead.
        hint: &'static str,
        /// What was attempted.
        access: Access,
    },
    /// The file is no image that can be shown.
    #[error("{}: {problem}", visible(path))]
    Image {
        /// The path as the caller named it.
        path: String,
        /// What is wrong with it.
        problem: String,
        /// The class of the error.
        kind: ErrorKind,
    },
    /// The patch does not parse.
    #[error("the patch was not applied: {0}")]
    Parse(#[from] ParseError),
    /// A hunk does not fit its file.
    #[error("the patch was not applied: {}: {source}", visible(path))]
    Match {
        /// The path as the patch names it.
        path: String,
        /// Which hunk, and what is there instead.
        source: Box<MatchError>,
    },
    /// A file is not in the state that the patch needs.
    #[error("the patch was not applied: {}: {problem}", visible(path))]
    Conflict {
        /// The path as the patch names it.
        path: String,
        /// What is in the way.
        problem: String,
    },
    /// A failed patch could not be taken back completely.
    #[error("{failure}; and taking the patch back failed as well: {remains}")]
    Rollback {
        /// What made the patch fail.
        failure: Box<WorkerError>,
        /// What is left to be put right by hand.
        remains: String,
    },
}

impl WorkerError {
    /// A failure to read `path`.
    pub(crate) fn reading(path: &str, doing: &'static str, source: io::Error) -> Self {
        Self::System { path: path.to_owned(), doing, access: Access::Read, source }
    }

    /// A failure to create, change or delete `path`.
    pub(crate) fn writing(path: &str, doing: &'static str, source: io::Error) -> Self {
        Self::System { path: path.to_owned(), doing, access: Access::Write, source }
    }

    /// The class of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::System { source, .. } => system_kind(source),
            Self::WrongKind { .. } => ErrorKind::WrongKind,
            Self::Argument { .. } | Self::Parse(_) => ErrorKind::Invalid,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Image { kind, .. } => *kind,
            Self::Match { .. } | Self::Conflict { .. } => ErrorKind::Conflict,
            Self::Rollback { failure, .. } => failure.kind(),
        }
    }

    fn path(&self) -> Option<&str> {
        match self {
            Self::System { path, .. }
            | Self::WrongKind { path, .. }
            | Self::TooLarge { path, .. }
            | Self::Image { path, .. }
            | Self::Match { path, .. }
            | Self::Conflict { path, .. } => Some(path),
            Self::Rollback { failure, .. } => failure.path(),
            Self::Argument { .. } | Self::Parse(_) => None,
        }
    }

    fn errno(&self) -> Option<i32> {
        match self {
            Self::System { source, .. } => source.raw_os_error(),
            Self::Rollback { failure, .. } => failure.errno(),
            _ => None,
        }
    }

    fn access(&self) -> Access {
        match self {
            Self::System { access, .. } | Self::WrongKind { access, .. } | Self::TooLarge { access, .. } => *access,
            Self::Argument { .. } | Self::Image { .. } => Access::Read,
            Self::Parse(_) | Self::Match { .. } | Self::Conflict { .. } | Self::Rollback { .. } => Access::Write,
        }
    }
}

impl From<WorkerError> for Reply {
    fn from(error: WorkerError) -> Self {
        Self::Refused {
            kind: error.kind(),
            path: error.path().map(str::to_owned),
            errno: error.errno(),
            access: error.access(),
            message: error.to_string(),
        }
    }
}

fn system_kind(error: &io::Error) -> ErrorKind {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => ErrorKind::NotFound,
        Some(Errno::EACCES | Errno::EPERM | Errno::EROFS | Errno::EBUSY) => ErrorKind::Denied,
        Some(Errno::ENOTDIR | Errno::EISDIR | Errno::ELOOP | Errno::ENXIO) => ErrorKind::WrongKind,
        Some(Errno::ENOSPC | Errno::EDQUOT) => ErrorKind::NoSpace,
        Some(Errno::ENAMETOOLONG | Errno::EINVAL) => ErrorKind::Invalid,
        Some(Errno::EFBIG) => ErrorKind::TooLarge,
        Some(Errno::EEXIST) => ErrorKind::Conflict,
        Some(_) => ErrorKind::Io,
        // No number: the standard library itself refused the path, for a NUL byte in it.
        None if error.kind() == io::ErrorKind::InvalidInput => ErrorKind::Invalid,
        None => ErrorKind::Io,
    }
}

/// The operating system's words without Rust's "(os error N)", which the number in the reply already says.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_lowercase(),
        None => error.to_string(),
    }
}
