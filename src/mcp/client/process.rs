//! A server's process: one call of the launcher that goes on, with pipes to its standard streams.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, AsRawFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::sys::socket::{Shutdown, shutdown};
use tokio::{
    io::AsyncReadExt,
    net::{UnixDatagram, unix::pipe},
    sync::{Notify, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    egress::{Connection, proxied::Proxied},
    sandbox::{
        Applied, Call, EndedBy, Exit, FromSandbox, LaunchError, Launcher,
        follow::next,
        message::{Launch, MessageError},
    },
};

/// What is kept of a server's standard error: its end.
const ERRORS_KEPT: usize = 4 * 1024;
/// Connections that are kept until they are recorded.
const CONNECTIONS_KEPT: usize = 1000;
/// How long the last of its standard error is awaited once it is gone.
const LAST_BYTES: Duration = Duration::from_millis(200);
/// How long an end is awaited before it is left to itself.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// What is known of the process.
#[derive(Debug, Default)]
struct State {
    applied: Option<Applied>,
    refused: Option<LaunchError>,
    exit: Option<Exit>,
    errors: VecDeque<u8>,
    connections: Vec<Connection>,
    more: u64,
}

/// A running server. Dropping it ends the server and everything that it started.
#[derive(Debug)]
pub(super) struct Process {
    state: Arc<Mutex<State>>,
    stop: Arc<Notify>,
    ended: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // The call's socket goes with its task.
        self.task.abort();
    }
}

/// The ends of the pipes to its standard input and output.
pub(super) type Streams = (pipe::Sender, pipe::Receiver);

impl Process {
    /// Starts it. That it could not be started may come out only later.
    pub(super) fn start(launcher: &Arc<Launcher>, launch: Launch) -> Result<(Self, Streams), LaunchError> {
        let system = |error: io::Error| {
            LaunchError::Message(MessageError::System(error.raw_os_error().map_or(nix::errno::Errno::EIO, nix::errno::Errno::from_raw)))
        };
        let (input_end, input) = io::pipe().map_err(system)?;
        let (output, output_end) = io::pipe().map_err(system)?;
        let (errors, errors_end) = io::pipe().map_err(system)?;
        let plan = launch.plan;
        let call = launcher.launch(launch, [input_end.as_fd(), output_end.as_fd(), errors_end.as_fd()])?;
        drop((input_end, output_end, errors_end));
        let input = pipe::Sender::from_owned_fd(input.into()).map_err(system)?;
        let output = pipe::Receiver::from_owned_fd(output.into()).map_err(system)?;
        let errors = pipe::Receiver::from_owned_fd(errors.into()).map_err(system)?;
        call.set_nonblocking().map_err(MessageError::from)?;
        let socket = call.as_fd().try_clone_to_owned().and_then(|socket| UnixDatagram::from_std(socket.into())).map_err(system)?;
        let (ending, ended) = watch::channel(false);
        let (state, stop) = (Arc::<Mutex<State>>::default(), Arc::new(Notify::new()));
        let following =
            Following { launcher: Arc::clone(launcher), plan, call, socket, errors, state: Arc::clone(&state), stop: Arc::clone(&stop) };
        let task = tokio::spawn(async move {
            following.run().await;
            let _ = ending.send(true);
        });
        Ok((Self { state, stop, ended, task }, (input, output)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the kernel was told, once it is known.
    pub(super) fn applied(&self) -> Option<Applied> {
        self.state().applied.clone()
    }

    /// What it connected to since this was asked last, where its policy lists hosts.
    pub(super) fn take_connections(&self) -> (Vec<Connection>, u64) {
        let mut state = self.state();
        (std::mem::take(&mut state.connections), std::mem::take(&mut state.more))
    }

    /// Ends it and waits for that.
    pub(super) async fn stop(self) {
        self.stop.notify_one();
        let mut ended = self.ended.clone();
        let _ = timeout(END_PATIENCE, ended.wait_for(|ended| *ended)).await;
    }

    /// Waits for an end that is near, and says how it was.
    pub(super) async fn obituary(&self) -> Result<String, LaunchError> {
        let mut ended = self.ended.clone();
        let _ = timeout(Duration::from_millis(500), ended.wait_for(|ended| *ended)).await;
        let mut state = self.state();
        if let Some(refused) = state.refused.take() {
            return Err(refused);
        }
        let how = match state.exit.as_ref().map(|exit| (exit.ended_by, exit.signal, exit.shell_code())) {
            None => "it closed its output".to_owned(),
            Some((Some(EndedBy::Memory), ..)) => "it took more memory than its policy allows".to_owned(),
            Some((Some(EndedBy::HostMemory), ..)) => "the machine had no more memory for it".to_owned(),
            Some((Some(EndedBy::Disk), ..)) => "it took more disk space than its policy allows".to_owned(),
            Some((Some(EndedBy::Wall), ..)) => "it ran for a day".to_owned(),
            Some((Some(EndedBy::ViewChanged), ..)) => "somebody outside replaced a protected place in its view".to_owned(),
            Some((None, Some(signal), _)) => format!("it was ended by signal {signal}"),
            Some((None, None, code)) => format!("it ended with exit code {code}"),
        };
        drop(state);
        Ok(how + &self.last_words())
    }

    /// The end of what it wrote to its standard error.
    pub(super) fn last_words(&self) -> String {
        let bytes: Vec<u8> = self.state().errors.iter().copied().collect();
        let text = super::tool::visible(&String::from_utf8_lossy(&bytes));
        if text.trim().is_empty() { String::new() } else { format!("\nIts standard error ends:\n{}", text.trim_end()) }
    }
}

/// All that the process' task needs.
struct Following {
    launcher: Arc<Launcher>,
    plan: u32,
    call: Call,
    socket: UnixDatagram,
    errors: pipe::Receiver,
    state: Arc<Mutex<State>>,
    stop: Arc<Notify>,
}

impl Following {
    /// Takes what it says until it is gone.
    async fn run(mut self) {
        let mut proxied = Proxied::default();
        let (mut open, mut stopped) = (true, false);
        let mut buffer = vec![0u8; 4 * 1024];
        loop {
            tokio::select! {
                () = self.stop.notified(), if !stopped => {
                    stopped = true;
                    let _ = shutdown(self.call.as_raw_fd(), Shutdown::Write);
                }
                read = self.errors.read(&mut buffer), if open => match read {
                    Ok(0) | Err(_) => open = false,
                    Ok(length) => self.keep_errors(&buffer[..length]),
                },
                told = proxied.next(), if proxied.open() => {
                    proxied.take(told);
                    let (connections, more) = proxied.drain();
                    let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                    state.more += more;
                    for connection in connections {
                        if state.connections.len() < CONNECTIONS_KEPT { state.connections.push(connection) } else { state.more += 1 }
                    }
                }
                message = next(&self.call, &self.socket) => {
                    let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                    match message {
                        Ok((FromSandbox::Started(applied), _)) => state.applied = Some(applied),
                        Ok((FromSandbox::Exited(exit), _)) => state.exit = Some(exit),
                        Ok((FromSandbox::Failed { step, reason, errno }, _)) => {
                            state.refused = Some(LaunchError::Refused { step, reason, errno });
                        }
                        Ok((FromSandbox::Proxy, Some(listener))) => {
                            match self.launcher.serve(self.plan, listener.as_fd()).and_then(|served| Ok(Proxied::begin(served)?)) {
                                Ok(served) => proxied = served,
                                Err(error) => state.refused = Some(error),
                            }
                        }
                        Ok(_) | Err(_) => break,
                    }
                }
            }
        }
        // Nobody is left to write.
        while open {
            match timeout(LAST_BYTES, self.errors.read(&mut buffer)).await {
                Ok(Ok(length)) if length > 0 => self.keep_errors(&buffer[..length]),
                _ => open = false,
            }
        }
    }

    fn keep_errors(&self, bytes: &[u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.errors.extend(bytes);
        let over = state.errors.len().saturating_sub(ERRORS_KEPT);
        state.errors.drain(..over);
    }
}
