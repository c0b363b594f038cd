//! The messages of a running sandbox, awaited in an event loop.

use std::{io, os::fd::OwnedFd};

use nix::errno::Errno;
use tokio::{io::Interest, net::UnixDatagram};

use super::{
    launcher::Call,
    message::{FromSandbox, MessageError},
};

/// The next message of a call that does not block. `socket` is a second descriptor of the call's own, for its readiness alone.
pub(crate) async fn next(call: &Call, socket: &UnixDatagram) -> Result<(FromSandbox, Option<OwnedFd>), MessageError> {
    loop {
        socket.readable().await.map_err(|_| MessageError::Closed)?;
        let received = socket.try_io(Interest::READABLE, || match call.next() {
            Err(MessageError::System(Errno::EAGAIN)) => Err(io::ErrorKind::WouldBlock.into()),
            other => Ok(other),
        });
        match received {
            Ok(message) => return message,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(MessageError::Closed),
        }
    }
}
