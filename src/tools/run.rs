//! Runs one program in a sandbox from the agent's event loop: streams, messages, and the end.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::socket::{Shutdown, shutdown},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixDatagram, unix::pipe},
    sync::Notify,
    time::timeout,
};

use super::capture::Capture;
use crate::{
    egress::{Connection, proxied::Proxied},
    sandbox::{
        Applied, Call, Exit, FromSandbox, LaunchError, Launcher,
        follow::next,
        message::{Launch, MessageError},
    },
};

/// A call is ended when it has written this many times what is kept of its output.
pub(super) const FLOOD: u64 = 64;
/// How long output is still awaited once the sandbox is gone. Nobody is left to write, so this is for a stuck system only.
const LAST_BYTES: Duration = Duration::from_secs(2);

/// What came of a program.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub exit: Exit,
    /// What the kernel was told.
    pub applied: Applied,
    /// What it wrote, standard output and error together.
    pub output: Capture,
    /// Whether it was ended because it wrote too much.
    pub flooded: bool,
    /// What it connected to, where its policy lists hosts.
    pub connections: Vec<Connection>,
    /// How many connections more there were.
    pub connections_more: u64,
}

/// Sees output as it comes, in pieces as they were read.
pub type Watch<'a> = &'a mut (dyn FnMut(&[u8]) + Send);

/// What becomes of a program's output.
pub struct Output<'a> {
    /// The most bytes that are kept.
    pub keep: u64,
    /// Whether a program that writes many times as much is ended.
    pub ends_floods: bool,
    /// Who sees it as it comes.
    pub watch: Option<Watch<'a>>,
    /// Takes standard error, where that is not to be mixed with standard output.
    pub errors: Option<&'a mut Capture>,
    /// Ends the program in order when it is notified: its end is still awaited and told.
    pub stop: Option<&'a Notify>,
}

impl Output<'_> {
    /// Kept up to so many bytes and seen by nobody; a flood ends the program.
    pub fn kept(keep: u64) -> Self {
        Self { keep, ends_floods: true, watch: None, errors: None, stop: None }
    }
}

impl std::fmt::Debug for Output<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("keep", &self.keep).field("ends_floods", &self.ends_floods).finish_non_exhaustive()
    }
}

/// What was taken of a program's output so far.
struct Taken<'a> {
    output: Capture,
    errors: Option<&'a mut Capture>,
    watch: Option<Watch<'a>>,
    flooded: bool,
}

impl Taken<'_> {
    /// Takes more of standard output. After a flood it is only emptied, so that nothing waits for a reader.
    fn output(&mut self, bytes: &[u8]) {
        if !self.flooded {
            self.output.push(bytes);
            if let Some(watch) = &mut self.watch {
                watch(bytes);
            }
        }
    }

    /// The same of standard error, where that is apart.
    fn errors(&mut self, bytes: &[u8]) {
        if let Some(errors) = self.errors.as_mut().filter(|_| !self.flooded) {
            errors.push(bytes);
        }
    }

    /// Whether one of them was more than so many bytes just now, for the first time.
    fn floods(&mut self, most: u64) -> bool {
        let errors = self.errors.as_ref().map_or(0, |errors| errors.total());
        let begins = !self.flooded && self.output.total().max(errors) > most;
        self.flooded |= begins;
        begins
    }
}

/// A call that was launched, and our ends of its standard streams.
struct Launched {
    call: Call,
    /// A second descriptor of the call's socket, for its readiness alone.
    socket: UnixDatagram,
    input: Option<pipe::Sender>,
    output: pipe::Receiver,
    /// Where standard error is apart.
    errors: Option<pipe::Receiver>,
}

/// Launches with pipes; without `has_input`, standard input is empty.
fn start(launcher: &Launcher, launch: Launch, has_input: bool, errors_apart: bool) -> Result<Launched, LaunchError> {
    let system = |error: io::Error| LaunchError::Message(MessageError::System(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)));
    let (output, output_end) = io::pipe().map_err(system)?;
    let (input_end, input): (OwnedFd, _) = if has_input {
        let (end, input) = io::pipe().map_err(system)?;
        (end.into(), Some(pipe::Sender::from_owned_fd(input.into()).map_err(system)?))
    } else {
        (std::fs::File::open("/dev/null").map_err(system)?.into(), None)
    };
    let (errors, errors_end) = if errors_apart {
        let (errors, end) = io::pipe().map_err(system)?;
        (Some(pipe::Receiver::from_owned_fd(errors.into()).map_err(system)?), Some(end))
    } else {
        (None, None)
    };
    let errors_into = errors_end.as_ref().map_or(output_end.as_fd(), AsFd::as_fd);
    let call = launcher.launch(launch, [input_end.as_fd(), output_end.as_fd(), errors_into])?;
    drop((input_end, output_end, errors_end));
    let output = pipe::Receiver::from_owned_fd(output.into()).map_err(system)?;
    call.set_nonblocking().map_err(MessageError::from)?;
    let socket = call.as_fd().try_clone_to_owned().and_then(|socket| UnixDatagram::from_std(socket.into())).map_err(system)?;
    Ok(Launched { call, socket, input, output, errors })
}

/// Runs `launch` with `input` as its standard input. Dropping the future ends the call.
///
/// # Errors
/// If no sandbox can be made, or it is gone without having said how it ended.
pub async fn run(launcher: &Launcher, launch: Launch, input: Option<&[u8]>, wanted: Output<'_>) -> Result<Finished, LaunchError> {
    let Output { keep, ends_floods, watch, errors: errors_kept, stop } = wanted;
    let plan = launch.plan;
    let Launched { call, socket, input: mut input_pipe, mut output, mut errors } =
        start(launcher, launch, input.is_some(), errors_kept.is_some())?;
    let feed = async {
        if let (Some(mut pipe), Some(bytes)) = (input_pipe.take(), input) {
            // A program that does not read all of its input is no failure.
            let _ = pipe.write_all(bytes).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::pin!(feed);
    let stop = async {
        match stop {
            Some(stop) => stop.notified().await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(stop);
    // For the sandbox this is as if the call were dropped, but its end can still be awaited: the next call must not begin beside what is left of this
    // one.
    let hang_up = || shutdown(call.as_raw_fd(), Shutdown::Write).map_err(MessageError::from);
    let most = if ends_floods { keep.saturating_mul(FLOOD) } else { u64::MAX };
    let mut taken = Taken { output: Capture::new(keep), errors: errors_kept, watch, flooded: false };
    let (mut applied, mut exit, mut refused) = (Applied::default(), None, None);
    let (mut open, mut stopped) = (true, false);
    let mut proxied = Proxied::default();
    let mut buffer = vec![0u8; 16 * 1024];
    let mut errors_buffer = vec![0u8; 4 * 1024];
    loop {
        tokio::select! {
            () = &mut feed => {}
            () = &mut stop, if !stopped => {
                stopped = true;
                hang_up()?;
            }
            read = output.read(&mut buffer), if open => match read {
                Ok(0) | Err(_) => open = false,
                Ok(length) => {
                    taken.output(&buffer[..length]);
                    if taken.floods(most) {
                        hang_up()?;
                    }
                }
            },
            read = next_errors(&mut errors, &mut errors_buffer) => match read {
                0 => errors = None,
                length => {
                    taken.errors(&errors_buffer[..length]);
                    if taken.floods(most) {
                        hang_up()?;
                    }
                }
            },
            told = proxied.next(), if proxied.open() => proxied.take(told),
            message = next(&call, &socket) => match message {
                Ok((FromSandbox::Started(what), _)) => applied = what,
                // Every process of it has ended and its sweep is done. What is left is to take its memory and namespaces apart, for which nobody waits.
                Ok((FromSandbox::Exited(how), _)) => {
                    exit = Some(how);
                    break;
                }
                // Nothing more is to come, and hanging up ends whatever there is.
                Ok((FromSandbox::Failed { step, reason, errno }, _)) => {
                    refused = Some(LaunchError::Refused { step, reason, errno });
                    break;
                }
                Ok((FromSandbox::Proxy, Some(listener))) => proxied = Proxied::begin(launcher.serve(plan, listener.as_fd())?)?,
                Ok((FromSandbox::Terminal | FromSandbox::Observed(_) | FromSandbox::Proxy, _)) => return Err(MessageError::Closed.into()),
                Err(MessageError::Closed) => break,
                Err(error) => return Err(error.into()),
            },
        }
    }
    while open {
        match timeout(LAST_BYTES, output.read(&mut buffer)).await {
            Ok(Ok(length)) if length > 0 => taken.output(&buffer[..length]),
            _ => open = false,
        }
    }
    while errors.is_some() {
        match timeout(LAST_BYTES, next_errors(&mut errors, &mut errors_buffer)).await {
            Ok(length) if length > 0 => taken.errors(&errors_buffer[..length]),
            _ => errors = None,
        }
    }
    let (connections, connections_more) = proxied.finish().await;
    match (refused, exit) {
        (Some(refused), _) => Err(refused),
        (None, Some(exit)) => {
            let Taken { output, flooded, .. } = taken;
            Ok(Finished { exit, applied, output, flooded, connections, connections_more })
        }
        (None, None) => Err(LaunchError::Died),
    }
}

/// More of standard error, where that is apart; nothing at its end.
async fn next_errors(errors: &mut Option<pipe::Receiver>, buffer: &mut [u8]) -> usize {
    match errors {
        Some(errors) => errors.read(buffer).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}
