//! Which sockets in the workspace belong to servers of the host that are running.

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    fs,
    io::Read,
    os::unix::ffi::OsStrExt,
    path::Path,
};

use super::sweep;

/// The host's sockets, as its kernel lists them (`/proc/net/unix`, proc(5)). Opened while the host's `/proc` is still in view.
#[derive(Debug)]
pub struct HostSockets {
    table: Option<fs::File>,
    names: Option<HashSet<OsString>>,
}

impl HostSockets {
    /// Of the network namespace that process `launcher` of the host is in.
    pub fn of(launcher: u32) -> Self {
        Self { table: fs::File::open(format!("/proc/{launcher}/net/unix")).ok(), names: None }
    }

    /// Whether somebody may be listening on the socket at `path`. Only one that the list does not know is asked, so that no server of the
    /// host sees a connection that means nothing: it is an abandoned one, or one of another network namespace.
    pub fn lives(&mut self, path: &Path) -> bool {
        let table = &mut self.table;
        let names = self.names.get_or_insert_with(|| {
            let mut bytes = Vec::new();
            let _ = table.as_mut().map(|table| table.read_to_end(&mut bytes));
            // Seven columns stand before the name, which is as its server gave it, relative perhaps.
            let named = |line: &[u8]| {
                let mut rest = line.trim_ascii_start();
                for _ in 0..7 {
                    let end = rest.iter().position(u8::is_ascii_whitespace)?;
                    rest = rest[end..].trim_ascii_start();
                }
                Path::new(OsStr::from_bytes(rest)).file_name().map(OsStr::to_owned)
            };
            bytes.split(|byte| *byte == b'\n').filter_map(named).collect()
        });
        path.file_name().is_some_and(|name| names.contains(name)) || !sweep::refuses_connections(path)
    }
}
