//! At the beginning of an interactive session: servers that are not as they were approved are shown again, and asked about.

use super::{
    super::{report, resolve::Folders},
    McpError,
    guests::{place, standing},
    review::examine,
    settings,
};
use crate::{
    approval::question::{Line, LineKind},
    mcp::client::{Approved, Lock, Reached, ServerSettings},
    sandbox::Session,
    ui::choice::choose,
};

/// Asks about each server that changed since it was approved. One that nobody ever approved is not started for that.
pub(in crate::cli) fn ask(session: &Session, folders: &Folders) -> Result<(), McpError> {
    let lock = Lock::new(&session.state);
    let settings = settings(folders)?;
    if settings.servers.is_empty() {
        return Ok(());
    }
    let approved = lock.load()?;
    for (name, server) in &settings.servers {
        let Some(before) = approved.get(name) else { continue };
        let changed = match standing(name, server, &approved, folders) {
            Ok(_) => files_changed(before, server, session, folders),
            Err(why) => Some(why),
        };
        let Some(why) = changed else { continue };
        let (now, text) = match examine(name, server, Some(before), session, folders) {
            Ok(examined) => examined,
            Err(error) => {
                report(&format!("the MCP server {name} changed since it was approved, and cannot be shown: {error}"));
                continue;
            }
        };
        let mut lines = vec![Line { kind: LineKind::Warning, text: why }];
        lines.extend(text.lines().map(|line| Line { kind: LineKind::Text, text: line.to_owned() }));
        let title = format!("The MCP server {name} is not as you approved it. May sessions use it as shown?");
        let answer = choose(&title, &lines, &[('y', "use it, and remember"), ('n', "not in this session")], &['y']);
        if answer.map_err(|_| McpError::Output)? == Some('y') {
            lock.set(name, Some(now))?;
        }
    }
    Ok(())
}

fn files_changed(before: &Approved, server: &ServerSettings, session: &Session, folders: &Folders) -> Option<String> {
    let (_, place) = place(server, session, folders).ok()?;
    match place.look(&server.way) {
        Ok(Reached::Command { identity, .. }) => before.files_changed(&identity),
        Ok(Reached::Remote(_)) => None,
        Err(why) => Some(why),
    }
}
