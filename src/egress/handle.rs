//! The agent's side of the proxy.

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    process::Child,
};

use nix::sys::socket::{Shutdown, shutdown};

use super::message::{Connection, FromProxy, ToProxy};
use crate::{
    policy::host::HostLists,
    sandbox::{
        LaunchError,
        launcher::{pair, start_stage},
        message::{MessageError, receive, send},
    },
};

/// The first argument that makes this binary a proxy.
pub const STAGE: &str = "__egress";

/// The handle to a running proxy. Dropping it ends the proxy and waits for that.
#[derive(Debug)]
pub struct Egress {
    control: Option<OwnedFd>,
    process: Child,
}

impl Egress {
    /// Starts the proxy.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start() -> Result<Self, LaunchError> {
        let (control, process) = start_stage(STAGE)?;
        Ok(Self { control: Some(control), process })
    }

    /// Has a call served on its listening socket, by these rules.
    ///
    /// # Errors
    /// If the proxy is gone.
    pub fn serve(&self, listener: BorrowedFd<'_>, hosts: &HostLists) -> Result<Connections, LaunchError> {
        let control = self.control.as_ref().ok_or(MessageError::Closed)?;
        let (ours, theirs) = pair().map_err(MessageError::from)?;
        send(control.as_fd(), &ToProxy::Serve { hosts: hosts.clone() }, &[listener, theirs.as_fd()])?;
        Ok(Connections { socket: ours })
    }
}

impl Drop for Egress {
    fn drop(&mut self) {
        self.control = None;
        let _ = self.process.wait();
    }
}

/// What the proxy tells of one call. Dropping it ends the call's connections.
#[derive(Debug)]
pub struct Connections {
    socket: OwnedFd,
}

/// What was told.
#[derive(Debug)]
pub enum Told {
    /// A connection ended, or was refused.
    Connection(Box<Connection>),
    /// So many more did.
    More(u64),
}

impl Connections {
    /// The next that is told. Blocks until there is one, unless the socket has been made one that does not block: then there is an error, `EAGAIN`.
    ///
    /// # Errors
    /// [`MessageError::Closed`] once all is told.
    pub fn next(&self) -> Result<Told, MessageError> {
        Ok(match receive::<FromProxy>(self.socket.as_fd())?.0 {
            FromProxy::Connection(connection) => Told::Connection(connection),
            FromProxy::More(more) => Told::More(more),
        })
    }

    /// Ends what still runs; [`Self::next`] tells of it until it is closed.
    pub fn end(&self) {
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Write);
    }
}

impl AsFd for Connections {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
