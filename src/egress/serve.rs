//! One call: its connections are accepted, told apart by their first byte, served, and told to the agent.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use nix::errno::Errno;
use tokio::{
    io::Interest,
    net::{TcpListener, TcpStream, UnixDatagram},
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::timeout,
};

use super::{
    dial::{Dialled, NotDialled},
    http,
    message::{Connection, Ending, FromProxy, LONGEST_NAMED, Protocol},
    meter::Meter,
    socks,
};
use crate::{
    policy::{
        Origin,
        host::{HostLists, HostRules},
    },
    sandbox::message::{MessageError, send},
};

/// Connections of one call at a time; more wait to be accepted.
const AT_ONCE: usize = 256;
/// Connections that are told one by one; more are counted.
const TOLD: u64 = 4096;
/// How long a client may take to say anything.
const FIRST_BYTE: Duration = Duration::from_secs(60);
/// The first byte of SOCKS5 (RFC 1928).
const SOCKS5: u8 = 5;

/// What all connections of a call share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) rules: HostRules,
    told: mpsc::UnboundedSender<Connection>,
    count: Arc<AtomicU64>,
    /// Becomes true when the call ends.
    ends: watch::Receiver<bool>,
}

impl Context {
    /// Returns when the call ends.
    pub(super) async fn ended(&self) {
        let mut ends = self.ends.clone();
        let _ = ends.wait_for(|ended| *ended).await;
    }

    /// Tells of one connection.
    fn tell(&self, connection: Connection) {
        if self.count.fetch_add(1, Ordering::Relaxed) < TOLD {
            let _ = self.told.send(connection);
        }
    }
}

/// A connection that is under way, told when it is dropped, however it ends.
#[derive(Debug)]
pub(super) struct Report {
    context: Arc<Context>,
    began: Instant,
    connection: Option<Connection>,
    pub(super) meter: Meter,
}

impl Report {
    /// Begins with what was asked for.
    pub(super) fn new(context: &Arc<Context>, target: &str, protocol: Protocol, method: Option<&str>) -> Self {
        let connection = Connection {
            target: target.chars().take(LONGEST_NAMED).collect(),
            protocol,
            method: method.map(str::to_owned),
            address: None,
            ending: Ending::Served,
            rule: None,
            sent: 0,
            received: 0,
            duration_ms: 0,
        };
        Self { context: Arc::clone(context), began: Instant::now(), connection: Some(connection), meter: Meter::new() }
    }

    pub(super) fn dialled(&mut self, dialled: &Dialled) {
        self.decided(dialled.rule.clone());
        if let Some(connection) = &mut self.connection {
            connection.address = Some(dialled.address);
        }
    }

    pub(super) fn not_dialled(&mut self, not: &NotDialled) {
        self.decided(not.rule.clone());
        self.ended(not.ending.clone());
    }

    fn decided(&mut self, rule: Option<(String, Origin)>) {
        if let Some(connection) = &mut self.connection {
            connection.rule = rule;
        }
    }

    pub(super) fn ended(&mut self, ending: Ending) {
        if let Some(connection) = &mut self.connection {
            connection.ending = ending;
        }
    }

    /// Tells nothing of this connection: each request in it is told by itself.
    pub(super) fn forget(mut self) {
        self.connection = None;
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let passed = self.meter.passed();
        (connection.sent, connection.received) = (passed.sent, passed.received);
        connection.duration_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.context.tell(connection);
    }
}

/// Serves a call until its agent says that it ended.
pub(super) async fn call(hosts: &HostLists, listener: OwnedFd, socket: OwnedFd) -> io::Result<()> {
    let listener = std::net::TcpListener::from(listener);
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let (told, connections) = mpsc::unbounded_channel();
    let (end, ends) = watch::channel(false);
    let socket = std::os::unix::net::UnixDatagram::from(socket);
    socket.set_nonblocking(true)?;
    let count = Arc::new(AtomicU64::new(0));
    let context = Arc::new(Context { rules: HostRules::new(hosts), told, count: Arc::clone(&count), ends });
    // The reporter ends last: when the call has ended and every connection, each of which holds the context, has been told.
    let ((), told) = tokio::join!(accept(listener, context), report(UnixDatagram::from_std(socket)?, connections, end, &count));
    told
}

async fn accept(listener: TcpListener, context: Arc<Context>) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut serving = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = context.ended() => break,
        };
        let Ok((stream, _)) = accepted else {
            // Descriptors have run out; those of connections that end come back.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let context = Arc::clone(&context);
        serving.spawn(async move {
            tokio::select! {
                () = connection(stream, &context) => {}
                () = context.ended() => {}
            }
            drop(permit);
        });
        while serving.try_join_next().is_some() {}
    }
    drop(listener);
    while serving.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, context: &Arc<Context>) {
    let _ = stream.set_nodelay(true);
    let mut first = [0];
    match timeout(FIRST_BYTE, stream.peek(&mut first)).await {
        Ok(Ok(1)) if first == [SOCKS5] => socks::serve(stream, context).await,
        Ok(Ok(1)) => http::serve(stream, context, None).await,
        _ => {}
    }
}

/// Passes on what is told, and watches for the agent's end of the call.
async fn report(
    socket: UnixDatagram,
    mut connections: mpsc::UnboundedReceiver<Connection>,
    end: watch::Sender<bool>,
    count: &AtomicU64,
) -> io::Result<()> {
    let mut ended = false;
    loop {
        let told = tokio::select! {
            told = connections.recv() => told,
            // The agent sends nothing: what can be read is that it has closed its side.
            ready = socket.readable(), if !ended => {
                ready?;
                ended = true;
                let _ = end.send(true);
                continue;
            }
        };
        let Some(connection) = told else { break };
        pass(&socket, &FromProxy::Connection(Box::new(connection))).await?;
    }
    let total = count.load(Ordering::Relaxed);
    if total > TOLD {
        pass(&socket, &FromProxy::More(total - TOLD)).await?;
    }
    Ok(())
}

async fn pass(socket: &UnixDatagram, message: &FromProxy) -> io::Result<()> {
    loop {
        socket.writable().await?;
        let sent = socket.try_io(Interest::WRITABLE, || match send(socket.as_fd(), message, &[]) {
            Err(MessageError::System(Errno::EAGAIN)) => Err(io::ErrorKind::WouldBlock.into()),
            other => other.map_err(io::Error::other),
        });
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
}
