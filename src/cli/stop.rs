//! The signals that ask a run without a screen to stop.

use std::{io, time::Duration};

use crate::sandbox::sys;

/// How long an orderly end may take after a signal. Then the process ends at once; the launcher sees that and cleans up.
const GRACE: Duration = Duration::from_secs(3);

/// Becomes ready with the number of the first signal that asks this process to stop.
///
/// Signals are awaited on a thread of their own, because the turn may be stuck in a write to somebody who does not read.
pub(super) fn stop_signal() -> io::Result<impl Future<Output = i32>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let number = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => libc::SIGINT,
                _ = terminate.recv() => libc::SIGTERM,
                _ = hangup.recv() => libc::SIGHUP,
            }
        });
        let _ = sender.send(number);
        std::thread::sleep(GRACE);
        sys::exit_now(128 + number);
    })?;
    Ok(async move {
        match receiver.await {
            Ok(number) => number,
            Err(_) => std::future::pending().await,
        }
    })
}
