//! The built-in file tools: the code that runs inside a sandbox process.
//!
//! A worker reads one [`Request`], serves it and answers one [`Reply`]. It is a single thread, makes no network connection, runs no
//! program, and decides nothing about what may be touched: the kernel has confined the process before this code runs, so a path is
//! opened as the caller named it, and a refusal by the kernel is passed on with its number. What this module does owe is to be
//! total (no request and no file makes it panic or block) and bounded (every input and every reply has a cap).
//!
//! | file | what it holds |
//! |---|---|
//! | `request` | the request and reply |
//! | `error` | why a call fails |
//! | `path`, `text` | opening what was named; caps on what is shown |
//! | `read_file`, `list_dir`, `search`, `view_image`, `instructions` | the tools that read |
//! | `patch` | the tool that writes |

mod error;
mod instructions;
mod list_dir;
pub mod patch;
mod path;
mod read_file;
mod request;
mod search;
mod text;
mod view_image;

use std::path::Path;

pub use error::WorkerError;
pub(crate) use path::normalize;
pub use request::{Access, Change, ChangeKind, Encoding, ErrorKind, Reply, Request, View};
pub(crate) use text::visible;

/// Serves one request. Relative paths are taken from `cwd`.
///
/// Every failure is a [`Reply::Refused`]; a refused request has changed nothing, or its message says what remains.
pub fn serve(request: &Request, cwd: &Path) -> Reply {
    let served = match request {
        Request::ReadFile { path, offset, limit } => read_file::read_file(cwd, path, *offset, *limit),
        Request::ListDir { path, depth, limit } => list_dir::list_dir(cwd, path, *depth, *limit),
        Request::Search { pattern, path, glob, case_insensitive, context, limit, files_only } => search::search(
            cwd,
            &search::Query {
                pattern,
                path: path.as_deref(),
                glob: glob.as_deref(),
                case_insensitive: *case_insensitive,
                context: *context,
                limit: *limit,
                files_only: *files_only,
            },
        ),
        Request::ApplyPatch { patch } => patch::apply::apply(cwd, patch),
        Request::ViewImage { path } => {
            return view_image::view_image(cwd, path).map_or_else(Reply::from, Reply::Image);
        }
        Request::ReadInstructions { files } => instructions::read_instructions(cwd, files),
    };
    match served {
        Ok(Served { text, changes, truncated }) => Reply::Ok { text, changes, truncated },
        Err(error) => error.into(),
    }
}

/// The outcome of a call that was carried out.
#[derive(Debug)]
pub(crate) struct Served {
    text: String,
    changes: Vec<Change>,
    truncated: bool,
}
