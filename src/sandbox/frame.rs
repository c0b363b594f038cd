//! Messages over a stream, for systems whose unix sockets keep no boundaries between them (macOS has no `SOCK_SEQPACKET`): each is its length in
//! four bytes, then itself. Descriptors come with the first byte.
//!
//! A message that has begun is waited for to its end, also on a socket that does not block: whoever sends one sends all of it.

use std::{
    io::{IoSlice, IoSliceMut},
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use nix::{
    cmsg_space,
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg},
};

use super::sys;

/// The length of the length.
const HEAD: usize = 4;
/// More than any message of ours carries, so that too many can be counted and closed.
const DESCRIPTORS: usize = 64;

/// Why there is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoFrame {
    /// The other side has closed the stream.
    Closed,
    /// It would be longer than what is taken.
    TooLong(usize),
    /// The system refused; `EAGAIN` where none has begun and the socket does not block.
    System(Errno),
}

impl From<Errno> for NoFrame {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::EPIPE | Errno::ECONNRESET => Self::Closed,
            errno => Self::System(errno),
        }
    }
}

/// Sends one message with its descriptors.
pub(super) fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[RawFd]) -> Result<(), NoFrame> {
    let head = u32::try_from(bytes.len()).map_err(|_| NoFrame::TooLong(bytes.len()))?.to_be_bytes();
    let rights = [ControlMessage::ScmRights(descriptors)];
    let mut sent = 0;
    while sent < HEAD + bytes.len() {
        let control: &[ControlMessage<'_>] = if sent > 0 || descriptors.is_empty() { &[] } else { &rights };
        let parts = [IoSlice::new(&head[sent.min(HEAD)..]), IoSlice::new(&bytes[sent.saturating_sub(HEAD)..])];
        match sendmsg::<UnixAddr>(socket.as_raw_fd(), &parts, control, MsgFlags::empty(), None) {
            Ok(more) => sent += more,
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => wait(socket, PollFlags::POLLOUT)?,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Receives one message of at most `cap` bytes with its descriptors, which are close-on-exec.
pub(super) fn receive(socket: BorrowedFd<'_>, cap: usize) -> Result<(Vec<u8>, Vec<OwnedFd>), NoFrame> {
    let mut head = [0; HEAD];
    let mut descriptors = Vec::new();
    fill(socket, &mut head, &mut descriptors, true)?;
    let length = u32::from_be_bytes(head) as usize;
    if length > cap {
        return Err(NoFrame::TooLong(length));
    }
    let mut bytes = vec![0; length];
    fill(socket, &mut bytes, &mut descriptors, false)?;
    Ok((bytes, descriptors))
}

/// Fills `bytes`. `first` says that nothing of the message has come yet.
fn fill(socket: BorrowedFd<'_>, bytes: &mut [u8], descriptors: &mut Vec<OwnedFd>, first: bool) -> Result<(), NoFrame> {
    let mut filled = 0;
    while filled < bytes.len() {
        let mut control = cmsg_space!([RawFd; DESCRIPTORS]);
        let mut parts = [IoSliceMut::new(&mut bytes[filled..])];
        match recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty()) {
            Ok(received) => {
                for part in received.cmsgs()? {
                    if let ControlMessageOwned::ScmRights(numbers) = part {
                        descriptors.extend(numbers.into_iter().filter_map(|number| sys::own(number).ok()));
                    }
                }
                descriptors.iter().try_for_each(sys::close_on_exec)?;
                match received.bytes {
                    0 => return Err(NoFrame::Closed),
                    more => filled += more,
                }
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if first && filled == 0 => return Err(NoFrame::System(Errno::EAGAIN)),
            Err(Errno::EAGAIN) => wait(socket, PollFlags::POLLIN)?,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn wait(socket: BorrowedFd<'_>, flags: PollFlags) -> Result<(), Errno> {
    match poll(&mut [PollFd::new(socket, flags)], PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::fd::AsFd, os::unix::net::UnixStream};

    use super::*;

    #[test]
    fn messages_keep_their_boundaries_and_their_descriptors() {
        let (one, other) = UnixStream::pair().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        send(one.as_fd(), b"first", &[reader.as_raw_fd()]).unwrap();
        send(one.as_fd(), b"", &[]).unwrap();
        send(one.as_fd(), b"third", &[]).unwrap();
        let (bytes, descriptors) = receive(other.as_fd(), 10).unwrap();
        assert_eq!((bytes.as_slice(), descriptors.len()), (b"first".as_slice(), 1));
        writer.write_all(b"x").unwrap();
        let mut seen = [0; 1];
        nix::unistd::read(&descriptors[0], &mut seen).unwrap();
        assert_eq!(&seen, b"x");
        let flags = nix::fcntl::fcntl(&descriptors[0], nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags, libc::FD_CLOEXEC);
        assert_eq!(receive(other.as_fd(), 10).unwrap().0, b"");
        assert_eq!(receive(other.as_fd(), 10).unwrap().0, b"third");
        drop(one);
        assert_eq!(receive(other.as_fd(), 10).unwrap_err(), NoFrame::Closed);
    }

    #[test]
    fn a_long_message_comes_whole_on_sockets_that_do_not_block_too() {
        let (one, other) = UnixStream::pair().unwrap();
        one.set_nonblocking(true).unwrap();
        other.set_nonblocking(true).unwrap();
        assert_eq!(receive(other.as_fd(), 10).unwrap_err(), NoFrame::System(Errno::EAGAIN));
        let long = vec![7; 2_000_000];
        let sender = std::thread::spawn({
            let long = long.clone();
            move || send(one.as_fd(), &long, &[])
        });
        let received = loop {
            match receive(other.as_fd(), 3_000_000) {
                Err(NoFrame::System(Errno::EAGAIN)) => std::thread::yield_now(),
                other => break other,
            }
        };
        assert!(received.unwrap().0 == long);
        sender.join().unwrap().unwrap();
    }

    #[test]
    fn a_message_that_is_too_long_or_cut_is_none() {
        let (mut one, other) = UnixStream::pair().unwrap();
        one.write_all(&[0, 0, 1, 0, 1]).unwrap();
        assert_eq!(receive(other.as_fd(), 10).unwrap_err(), NoFrame::TooLong(256));
        let (mut one, other) = UnixStream::pair().unwrap();
        one.write_all(&[0, 0, 0, 9, 1]).unwrap();
        drop(one);
        assert_eq!(receive(other.as_fd(), 10).unwrap_err(), NoFrame::Closed);
    }
}
