//! `portcullis mcp list`: the person's servers, and whether sessions use them.

use super::{
    super::{exit::Exit, output, resolve::Folders},
    McpError,
    guests::standing,
    settings,
};
use crate::{
    mcp::client::{Lock, Way},
    ui::sanitize::visible_line,
};

pub(super) fn run(folders: &Folders) -> Result<Exit, McpError> {
    let settings = settings(folders)?;
    let approved = Lock::new(&folders.state).load()?;
    let mut text = String::new();
    for (name, server) in &settings.servers {
        let command = match &server.way {
            Way::Command(command) => command.iter().map(|word| visible_line(word)).collect::<Vec<_>>().join(" "),
            Way::Remote(remote) => visible_line(&remote.url),
        };
        let state = match standing(name, server, &approved, folders) {
            Ok(approved) => {
                let tools = approved.tools.iter().filter(|tool| server.offers(&tool.name)).count();
                let tools = if tools == 1 { "1 tool".to_owned() } else { format!("{tools} tools") };
                format!("approved, {tools}, sha256:{}", approved.hash())
            }
            Err(why) => format!("not used: {}", visible_line(&why)),
        };
        text.push_str(&format!("{name}\n  {command}\n  {state}\n"));
    }
    if text.is_empty() {
        text.push_str("there are no servers; `portcullis mcp add` adds one\n");
    }
    output::print(&text).map_or(Err(McpError::Output), |()| Ok(Exit::Success))
}
