//! A connection to a host that counts what passes, and knows when anything last did.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection on which nothing passes for so long is ended.
pub(super) const IDLE: Duration = Duration::from_secs(300);

/// What passed so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passed {
    pub(super) sent: u64,
    pub(super) received: u64,
    last: Instant,
}

/// Shared by a connection and whoever reports on it.
#[derive(Debug, Clone)]
pub(super) struct Meter(Arc<Mutex<Passed>>);

impl Meter {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Passed { sent: 0, received: 0, last: Instant::now() })))
    }

    pub(super) fn passed(&self) -> Passed {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, sent: usize, received: usize) {
        let mut passed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        passed.sent += sent as u64;
        passed.received += received as u64;
        passed.last = Instant::now();
    }

    /// Returns once nothing has passed for [`IDLE`].
    pub(super) async fn idle(&self) {
        loop {
            let quiet = self.passed().last.elapsed();
            if quiet >= IDLE {
                return;
            }
            tokio::time::sleep(IDLE.saturating_sub(quiet)).await;
        }
    }
}

/// A stream to a host with its meter.
#[derive(Debug)]
pub(super) struct Metered<T> {
    inner: T,
    meter: Meter,
}

impl<T> Metered<T> {
    pub(super) const fn new(inner: T, meter: Meter) -> Self {
        Self { inner, meter }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Metered<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = read {
            self.meter.add(0, buffer.filled().len() - before);
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Metered<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        if let Poll::Ready(Ok(length)) = written {
            self.meter.add(length, 0);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
