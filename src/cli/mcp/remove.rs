//! `portcullis mcp remove`: a server that is not wanted any more, with what was approved of it.

use super::{
    super::{exit::Exit, output, resolve::Folders},
    McpError, bad, text, write,
};
use crate::{
    mcp::client::{Lock, settings::removed},
    ui::sanitize::visible_line,
};

pub(super) fn run(name: &str, folders: &Folders) -> Result<Exit, McpError> {
    let text = removed(&text(folders)?, name).map_err(|error| bad(folders, error))?;
    // First what would let sessions start it.
    let lock = Lock::new(&folders.state);
    if lock.load()?.contains_key(name) {
        lock.set(name, None)?;
    }
    write(folders, &text)?;
    output::print(&format!("{} was removed\n", visible_line(name))).map_or(Err(McpError::Output), |()| Ok(Exit::Success))
}
