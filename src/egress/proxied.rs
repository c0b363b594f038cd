//! What the proxy tells of a call, taken in the agent's event loop.

use std::{io, os::fd::AsFd, time::Duration};

use nix::errno::Errno;
use tokio::{io::Interest, net::UnixDatagram, time::timeout};

use super::{Connection, Connections, handle::Told};
use crate::sandbox::message::MessageError;

/// How long the proxy may take to tell of what a call's end has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The connections of one call; none where its policy lists no hosts.
#[derive(Debug, Default)]
pub(crate) struct Proxied {
    told: Option<(Connections, UnixDatagram)>,
    connections: Vec<Connection>,
    more: u64,
}

impl Proxied {
    /// Begins to listen.
    pub(crate) fn begin(connections: Connections) -> Result<Self, MessageError> {
        let system = |error: io::Error| MessageError::System(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw));
        // A second descriptor of the same socket, for its readiness; not to block is a property of both.
        let socket = std::os::unix::net::UnixDatagram::from(connections.as_fd().try_clone_to_owned().map_err(system)?);
        socket.set_nonblocking(true).map_err(system)?;
        let socket = UnixDatagram::from_std(socket).map_err(system)?;
        Ok(Self { told: Some((connections, socket)), ..Self::default() })
    }

    /// Whether there is anything to wait for.
    pub(crate) const fn open(&self) -> bool {
        self.told.is_some()
    }

    /// The next that is told.
    pub(crate) async fn next(&self) -> Result<Told, MessageError> {
        let Some((connections, socket)) = &self.told else { return Err(MessageError::Closed) };
        loop {
            socket.readable().await.map_err(|_| MessageError::Closed)?;
            let received = socket.try_io(Interest::READABLE, || match connections.next() {
                Err(MessageError::System(Errno::EAGAIN)) => Err(io::ErrorKind::WouldBlock.into()),
                other => Ok(other),
            });
            match received {
                Ok(told) => return told,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(MessageError::Closed),
            }
        }
    }

    /// Keeps what was told.
    pub(crate) fn take(&mut self, told: Result<Told, MessageError>) {
        match told {
            Ok(Told::Connection(connection)) => self.connections.push(*connection),
            Ok(Told::More(more)) => self.more += more,
            Err(_) => self.told = None,
        }
    }

    /// What was told so far, and is not told again.
    pub(crate) fn drain(&mut self) -> (Vec<Connection>, u64) {
        (std::mem::take(&mut self.connections), std::mem::take(&mut self.more))
    }

    /// Ends what still runs, and takes what is told of that.
    pub(crate) async fn finish(mut self) -> (Vec<Connection>, u64) {
        if let Some((connections, _)) = &self.told {
            connections.end();
        }
        let rest = async {
            while self.open() {
                let told = self.next().await;
                self.take(told);
            }
        };
        // A proxy that says nothing any more has said what there is.
        let _ = timeout(LAST_WORDS, rest).await;
        (self.connections, self.more)
    }
}
