//! What can be reached outside of a sandbox: servers, datagram sockets, shared memory, a message queue. All of this run's own.

use std::{
    fs, io,
    io::Write as _,
    net::{TcpListener, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::OpenOptionsExt,
            net::{SocketAddr, UnixDatagram, UnixListener},
        },
    },
    path::{Path, PathBuf},
};

use crate::sandbox::sys::{self, Argument};

/// Sockets on which somebody may arrive. All are non-blocking.
#[derive(Debug)]
pub struct Sockets {
    tcp: TcpListener,
    tcp6: Option<TcpListener>,
    udp: UdpSocket,
    streams: Vec<(&'static str, UnixListener)>,
    datagrams: Vec<(&'static str, UnixDatagram)>,
}

/// Where the sockets are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// Port on 127.0.0.1.
    pub tcp: u16,
    /// Port on `::1`.
    pub tcp6: Option<u16>,
    /// Port on 127.0.0.1.
    pub udp: u16,
}

impl Sockets {
    /// Opens all of them; paths are of the outside folder, of the workspace and of abstract names, a stream's and a datagram's each.
    pub fn open(outside: [&Path; 2], inside: [&Path; 2], names: [&str; 2]) -> io::Result<Self> {
        let abstract_name = |name: &str| SocketAddr::from_abstract_name(name);
        let sockets = Self {
            tcp: TcpListener::bind("127.0.0.1:0")?,
            tcp6: TcpListener::bind("[::1]:0").ok(),
            udp: UdpSocket::bind("127.0.0.1:0")?,
            streams: vec![
                ("a server's socket outside of the workspace", UnixListener::bind(outside[0])?),
                ("a server's socket in the workspace", UnixListener::bind(inside[0])?),
                ("an abstract server's socket", UnixListener::bind_addr(&abstract_name(names[0])?)?),
            ],
            datagrams: vec![
                ("a datagram socket outside of the workspace", UnixDatagram::bind(outside[1])?),
                ("a datagram socket in the workspace", UnixDatagram::bind(inside[1])?),
                ("an abstract datagram socket", UnixDatagram::bind_addr(&abstract_name(names[1])?)?),
            ],
        };
        sockets.tcp.set_nonblocking(true)?;
        sockets.tcp6.iter().try_for_each(|socket| socket.set_nonblocking(true))?;
        sockets.udp.set_nonblocking(true)?;
        sockets.streams.iter().try_for_each(|(_, socket)| socket.set_nonblocking(true))?;
        sockets.datagrams.iter().try_for_each(|(_, socket)| socket.set_nonblocking(true))?;
        Ok(sockets)
    }

    /// The ports.
    pub fn addresses(&self) -> io::Result<Addresses> {
        Ok(Addresses {
            tcp: self.tcp.local_addr()?.port(),
            tcp6: self.tcp6.as_ref().and_then(|socket| socket.local_addr().ok()).map(|address| address.port()),
            udp: self.udp.local_addr()?.port(),
        })
    }

    /// Who arrived since the last look.
    pub fn reached(&self) -> Vec<String> {
        let mut reached = Vec::new();
        let mut bytes = [0; 64];
        if self.tcp.accept().is_ok() {
            reached.push("a connection arrived on 127.0.0.1".to_owned());
        }
        if self.tcp6.as_ref().is_some_and(|socket| socket.accept().is_ok()) {
            reached.push("a connection arrived on ::1".to_owned());
        }
        if self.udp.recv(&mut bytes).is_ok() {
            reached.push("a datagram arrived on 127.0.0.1".to_owned());
        }
        for (name, socket) in &self.streams {
            if socket.accept().is_ok() {
                reached.push(format!("{name} was connected to"));
            }
        }
        for (name, socket) in &self.datagrams {
            if socket.recv(&mut bytes).is_ok() {
                reached.push(format!("{name} was sent to"));
            }
        }
        // What else is in the queues belongs to the same case.
        while self.tcp.accept().is_ok() || self.udp.recv(&mut bytes).is_ok() {}
        for (_, socket) in &self.streams {
            while socket.accept().is_ok() {}
        }
        for (_, socket) in &self.datagrams {
            while socket.recv(&mut bytes).is_ok() {}
        }
        reached
    }
}

/// Memory and messages that the host's processes share, each holding a secret. Removed when dropped, or at the end of this process.
#[derive(Debug, Default)]
pub struct Shared {
    /// A System V shared memory segment.
    pub segment: Option<i32>,
    /// A POSIX message queue.
    pub queue: Option<String>,
    /// A file in `/dev/shm`.
    pub file: Option<PathBuf>,
}

impl Shared {
    /// Makes what this machine has; the secrets are for the segment, the queue and the file, in this order.
    pub fn make(name: &str, [segment, queue, file]: [&str; 3]) -> Self {
        Self {
            segment: sys::shared_memory_make(segment.as_bytes()).ok(),
            queue: make_queue(name, queue).ok().map(|()| name.to_owned()),
            file: make_file(&Path::new("/dev/shm").join(name), file).ok(),
        }
    }
}

fn make_file(path: &Path, secret: &str) -> io::Result<PathBuf> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret.as_bytes())?;
    Ok(path.to_path_buf())
}

fn make_queue(name: &str, secret: &str) -> io::Result<()> {
    let flags = i64::from(libc::O_CREAT | libc::O_EXCL | libc::O_RDWR | libc::O_CLOEXEC | libc::O_NONBLOCK);
    // struct mq_attr: flags, the most messages, the longest message, messages now.
    let mut attributes: Vec<u8> = [0 as libc::c_long, 1, 256, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let arguments = vec![Argument::Text(name), Argument::Number(flags), Argument::Number(0o600), Argument::Bytes(&mut attributes)];
    let descriptor = sys::attempt(libc::SYS_mq_open, arguments)?;
    let queue = sys::own(i32::try_from(descriptor).unwrap_or(-1))?;
    let length = i64::try_from(secret.len()).unwrap_or(0);
    let sent = sys::attempt(
        libc::SYS_mq_timedsend,
        vec![Argument::Number(descriptor), Argument::Text(secret), Argument::Number(length), Argument::Number(0), Argument::Null],
    );
    drop(queue);
    sent.map(drop)
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            let _ = sys::attempt(libc::SYS_mq_unlink, vec![Argument::Text(queue)]);
        }
        if let Some(file) = &self.file {
            let _ = fs::remove_file(file);
        }
    }
}
