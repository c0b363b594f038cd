//! What a server writes, read only as far as it may write: a message that is too long, or too many of them, end the connection.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

/// The longest message in bytes.
pub(super) const MESSAGE_CAP: u64 = 16 * 1024 * 1024;
/// The most messages between two requests of ours.
const MESSAGES: u64 = 20_000;
/// The most bytes between two requests of ours.
const BYTES: u64 = 4 * MESSAGE_CAP;

/// What may still be written, shared between a reader and whoever sends requests.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    bytes: AtomicU64,
    messages: AtomicU64,
    exceeded: AtomicBool,
}

impl Allowance {
    /// Begins anew, with a request.
    pub(super) fn renew(&self) {
        self.bytes.store(0, Ordering::Relaxed);
        self.messages.store(0, Ordering::Relaxed);
    }

    /// Whether more was written than may be.
    pub(super) fn is_exceeded(&self) -> bool {
        self.exceeded.load(Ordering::Relaxed)
    }
}

/// A reader that fails where more comes than may.
#[derive(Debug)]
pub(super) struct Bounded<R> {
    inner: R,
    allowance: Arc<Allowance>,
    /// Bytes of the message that has begun.
    begun: u64,
}

impl<R> Bounded<R> {
    pub(super) fn new(inner: R, allowance: Arc<Allowance>) -> Self {
        Self { inner, allowance, begun: 0 }
    }

    fn count(&mut self, bytes: &[u8]) -> bool {
        let length = bytes.len() as u64;
        let ends = memchr::memchr_iter(b'\n', bytes).count() as u64;
        self.begun = match memchr::memrchr(b'\n', bytes) {
            Some(last) => (bytes.len() - last - 1) as u64,
            None => self.begun + length,
        };
        let all = self.allowance.bytes.fetch_add(length, Ordering::Relaxed) + length;
        let messages = self.allowance.messages.fetch_add(ends, Ordering::Relaxed) + ends;
        self.begun <= MESSAGE_CAP && all <= BYTES && messages <= MESSAGES
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Bounded<R> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.allowance.is_exceeded() {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        if !self.count(&buffer.filled()[before..]) {
            self.allowance.exceeded.store(true, Ordering::Relaxed);
            // A read that fails has read nothing.
            buffer.set_filled(before);
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn messages_within_the_limits_pass_and_one_beyond_ends_the_reading() {
        let allowance = Arc::<Allowance>::default();
        let fine = b"{}\n".repeat(1000);
        let mut out = Vec::new();
        Bounded::new(fine.as_slice(), Arc::clone(&allowance)).read_to_end(&mut out).await.unwrap();
        assert_eq!(out, fine);
        let long = vec![b'x'; usize::try_from(MESSAGE_CAP).unwrap() + 1];
        assert!(Bounded::new(long.as_slice(), Arc::clone(&allowance)).read_to_end(&mut Vec::new()).await.is_err());
        assert!(allowance.is_exceeded());
        let allowance = Arc::<Allowance>::default();
        let many = b"{}\n".repeat(usize::try_from(MESSAGES).unwrap());
        let mut reader = Bounded::new(many.as_slice(), Arc::clone(&allowance));
        reader.read_to_end(&mut Vec::new()).await.unwrap();
        allowance.renew();
        let mut reader = Bounded::new(many.as_slice(), Arc::clone(&allowance));
        reader.read_to_end(&mut Vec::new()).await.unwrap();
        assert!(Bounded::new(&b"{}\n"[..], allowance).read_to_end(&mut Vec::new()).await.is_err());
    }
}
