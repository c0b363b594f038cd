//! What the agent asks of a worker and what the worker answers. Both are plain data, so that they can cross a process boundary.

use serde::{Deserialize, Serialize};

/// One call of a built-in file tool.
///
/// Paths are relative to the call's working directory unless they are absolute; `~` is never expanded.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(tag = "tool", rename_all = "snake_case")]
pub enum Request {
    /// Show a text file with line numbers.
    ReadFile {
        /// The file.
        path: String,
        /// The first line to show, counted from 1; the first line of the file unless given.
        #[serde(default)]
        offset: Option<u64>,
        /// How many lines to show at most; 2000 unless given.
        #[serde(default)]
        limit: Option<u64>,
    },
    /// List a directory.
    ListDir {
        /// The directory.
        path: String,
        /// How many levels to show, 1 to 5; 1 unless given.
        #[serde(default)]
        depth: Option<u32>,
        /// How many entries to show, 1 to 1000; 1000 unless given.
        #[serde(default)]
        limit: Option<u64>,
    },
    /// Search the lines of files for a regular expression.
    Search {
        /// A regular expression in the syntax of Rust's `regex` crate, at most 4096 bytes.
        pattern: String,
        /// The file or directory to search; the working directory unless given.
        #[serde(default)]
        path: Option<String>,
        /// Search only files that match this glob; a leading `!` excludes instead.
        #[serde(default)]
        glob: Option<String>,
        /// Take upper and lower case as equal.
        #[serde(default)]
        case_insensitive: bool,
        /// Lines to show before and after each match, 0 to 20; 0 unless given.
        #[serde(default)]
        context: Option<u32>,
        /// Matching lines (or files, with `files_only`) to show, 1 to 2000; 200 unless given.
        #[serde(default)]
        limit: Option<u64>,
        /// Show only the names of the files that match.
        #[serde(default)]
        files_only: bool,
    },
    /// Change files: all of the patch, or none of it.
    ApplyPatch {
        /// The patch, from `*** Begin Patch` to `*** End Patch`, at most 4 MiB.
        patch: String,
    },
    /// Show a PNG, JPEG, GIF or WebP image.
    ViewImage {
        /// The file.
        path: String,
    },
    /// Read a project's instruction files, in the order given.
    ReadInstructions {
        /// Candidates; one that does not exist is skipped.
        files: Vec<String>,
    },
}

impl Request {
    /// What is asked, in words for a person.
    pub fn sentence(&self) -> String {
        match self {
            Self::ReadFile { path, .. } => format!("read the file {path}"),
            Self::ListDir { path, .. } => format!("list the directory {path}"),
            Self::Search { pattern, path, .. } => format!("search {} for {pattern}", path.as_deref().unwrap_or("the working directory")),
            Self::ApplyPatch { patch } => format!("apply this patch:\n{patch}"),
            Self::ViewImage { path } => format!("show the image {path} to the model"),
            Self::ReadInstructions { files } => format!("read the instruction files {}", files.join(", ")),
        }
    }
}

/// What came of a [`Request`].
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Reply {
    /// The call was carried out.
    Ok {
        /// What the model reads, at most 256 KiB.
        text: String,
        /// What was changed, in the order of the patch; empty for every call that only reads.
        changes: Vec<Change>,
        /// Whether a cap left something out of `text`, which then says so.
        truncated: bool,
    },
    /// The image was decoded, and is here as new bytes.
    Image(View),
    /// The call was not carried out, and nothing was changed.
    Refused {
        /// The class of the reason.
        kind: ErrorKind,
        /// The reason, for the model and the person.
        message: String,
        /// The path concerned, as the caller named it.
        path: Option<String>,
        /// The kernel's error number, where the kernel refused.
        errno: Option<i32>,
        /// What was attempted on `path`.
        access: Access,
    },
}

/// An image as it was decoded, made small enough and encoded anew. Nothing else of the file is left in it.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Pixels across, as encoded here.
    pub width: u32,
    /// Pixels down, as encoded here.
    pub height: u32,
    /// Pixels across in the file, as it is meant to be seen.
    pub original_width: u32,
    /// Pixels down in the file, as it is meant to be seen.
    pub original_height: u32,
    /// How it is encoded here.
    pub encoding: Encoding,
    /// The encoded image in base64, at most 4 MiB before that.
    pub base64: String,
}

/// How an image is encoded.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Without loss.
    Png,
    /// With loss, as photographs are.
    Jpeg,
}

/// Why a call was refused.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The path does not exist.
    NotFound,
    /// The kernel does not permit it: `EACCES`, `EPERM`, `EROFS` or `EBUSY`.
    Denied,
    /// The path is of another kind than the call needs: a directory, a link, a device.
    WrongKind,
    /// An argument is not usable: a bad regular expression, a patch that does not parse.
    Invalid,
    /// The patch does not fit the files as they are.
    Conflict,
    /// A cap on bytes or pixels was exceeded.
    TooLarge,
    /// The disk or the quota is full.
    NoSpace,
    /// Any other error of the operating system.
    Io,
}

/// What a refused call attempted.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// To read.
    Read,
    /// To create, change or delete.
    Write,
}

/// One changed file.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The file, as the patch names it; where it was moved, its new path.
    pub path: String,
    /// What was done.
    pub kind: ChangeKind,
    /// Lines added.
    pub added_lines: u64,
    /// Lines removed.
    pub removed_lines: u64,
}

/// What was done to a file.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// Its content changed.
    Modified,
    /// It is gone.
    Deleted,
    /// It has a new path, and perhaps new content.
    Moved {
        /// Its path before.
        from: String,
    },
}
