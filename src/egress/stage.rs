//! The proxy's process: it takes listening sockets from the agent, and serves each by the rules that come with it.

use std::os::fd::{AsFd, OwnedFd};

use tokio::sync::mpsc;

#[cfg(target_os = "linux")]
use super::confine;
use super::{message::ToProxy, serve};
use crate::{
    policy::host::HostLists,
    sandbox::{message::receive, stage::take_control},
};

/// A call to be served.
struct Service {
    hosts: HostLists,
    listener: OwnedFd,
    socket: OwnedFd,
}

/// Runs the proxy to its end on the control socket that the argument names. Returns its exit code: 0 when the agent hung up, 1 when it could not go on.
pub fn run(control: &str) -> i32 {
    let Some(control) = take_control(control) else { return 1 };
    // Nothing is served by a proxy that is not confined. On macOS `sandbox-exec` has started it, and done so.
    #[cfg(target_os = "linux")]
    if confine::restrict().is_err() {
        return 1;
    }
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return 1 };
    let (sender, mut services) = mpsc::unbounded_channel();
    let reader = std::thread::Builder::new().name("control".to_owned()).spawn(move || read(&control, &sender));
    if reader.is_err() {
        return 1;
    }
    runtime.block_on(async {
        while let Some(Service { hosts, listener, socket }) = services.recv().await {
            tokio::spawn(async move {
                // What cannot be served is not: its clients wait for an answer until their call ends.
                let _ = serve::call(&hosts, listener, socket).await;
            });
        }
    });
    // What still runs belongs to calls of an agent that is gone.
    runtime.shutdown_background();
    0
}

/// Reads what the agent says, until it hangs up or says what nobody expects.
fn read(control: &OwnedFd, services: &mpsc::UnboundedSender<Service>) {
    while let Ok((ToProxy::Serve { hosts }, descriptors)) = receive::<ToProxy>(control.as_fd()) {
        let Ok([listener, socket]) = <[OwnedFd; 2]>::try_from(descriptors) else { return };
        if services.send(Service { hosts, listener, socket }).is_err() {
            return;
        }
    }
}
