//! Which sockets belong to servers of the host that are running.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs,
    io::Read,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::sweep;

/// The most sockets that are looked at by their paths. A desktop has a few hundred.
const MOST: usize = 4096;

/// The host's sockets, as its kernel lists them (`/proc/net/unix`, proc(5)). Opened while the host's `/proc` is still in view.
#[derive(Debug)]
pub struct HostSockets {
    table: Option<fs::File>,
    names: Option<Vec<OsString>>,
}

impl HostSockets {
    /// Of the network namespace that process `launcher` of the host is in.
    pub fn of(launcher: u32) -> Self {
        Self { table: fs::File::open(format!("/proc/{launcher}/net/unix")).ok(), names: None }
    }

    /// The names as their servers gave them, relative perhaps.
    fn names(&mut self) -> &[OsString] {
        let table = &mut self.table;
        self.names.get_or_insert_with(|| {
            let mut bytes = Vec::with_capacity(16 * 1024);
            let _ = table.as_mut().map(|table| table.read_to_end(&mut bytes));
            // Seven columns stand before the name.
            let named = |line: &[u8]| {
                let mut rest = line.trim_ascii_start();
                for _ in 0..7 {
                    let end = rest.iter().position(u8::is_ascii_whitespace)?;
                    rest = rest[end..].trim_ascii_start();
                }
                (!rest.is_empty()).then(|| OsStr::from_bytes(rest).to_owned())
            };
            bytes.split(|byte| *byte == b'\n').filter_map(named).collect()
        })
    }

    /// The absolute paths of those that have one, each once.
    pub fn paths(&mut self) -> BTreeSet<PathBuf> {
        self.names().iter().map(PathBuf::from).filter(|path| path.is_absolute()).take(MOST).collect()
    }

    /// Those below `shown` and not below `workspace`, whose own are seen otherwise: which sockets there would be covered.
    pub fn in_reach(&mut self, shown: &[PathBuf], workspace: &Path) -> BTreeSet<PathBuf> {
        let reached = |path: &PathBuf| !path.starts_with(workspace) && shown.iter().any(|shown| path.starts_with(shown));
        self.paths().into_iter().filter(reached).collect()
    }

    /// Whether somebody may be listening on the socket at `path`. Only one that the list does not know is asked, so that no server of the
    /// host sees a connection that means nothing: it is an abandoned one, or one of another network namespace.
    pub fn lives(&mut self, path: &Path) -> bool {
        let known = |name: &OsStr| self.names().iter().any(|known| Path::new(known).file_name() == Some(name));
        path.file_name().is_some_and(known) || !sweep::refuses_connections(path)
    }
}
