//! Reaching the network and the host's services, by every kind of socket.

use std::{
    io,
    io::Write as _,
    net::{Ipv4Addr, TcpStream, ToSocketAddrs, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram, UnixStream},
    },
    path::Path,
    time::Duration,
};

use crate::{
    sandbox::sys::{
        self,
        Argument::{Bytes, Number},
    },
    selftest::{
        case::{Area::Network, Case, Control},
        facts::Facts,
        scene::Scene,
        tries::Tries,
    },
};

fn network_is_open(scene: &Scene<'_>) -> Option<String> {
    (!scene.network_is_closed()).then(|| "the policy opens the network".to_owned())
}

/// The cases.
pub fn cases() -> Vec<Case> {
    let closed = |id, title, attempt: fn(&Facts, &mut Tries)| Case::inside(id, Network, title, attempt).unless(network_is_open);
    let always = |id, title, attempt: fn(&Facts, &mut Tries)| Case::inside(id, Network, title, attempt);
    vec![
        closed("network-tcp", "connect to a server on this machine: IPv4, IPv6, mapped and unspecified addresses", tcp).list(&[13, 57, 63]),
        closed("network-udp", "send a datagram, connected and not", udp).list(&[57]),
        closed("network-fast-open", "send with the connection itself: MSG_FASTOPEN", fast_open).also("landlock-lsm/linux issue 41"),
        closed("network-mptcp", "connect by multipath TCP", |facts, tries| {
            connect_by(facts, tries, libc::SOCK_STREAM, libc::IPPROTO_MPTCP)
        })
        .also("landlock-lsm/linux issue 54")
        .unless(|scene| network_is_open(scene).or_else(|| no_protocol(libc::IPPROTO_MPTCP, "multipath TCP"))),
        closed("network-names", "look a name up: DNS carries data", names)
            .list(&[61])
            .control(Control::Not("it needs a resolver that answers, which not every machine has")),
        closed("network-shell", "reach out by the shell and usual tools", |facts, tries| {
            let port = facts.tcp;
            tries.shell(facts, &format!("bash -c 'echo x > /dev/tcp/127.0.0.1/{port}'"));
            tries.shell(
                facts,
                &format!(
                    "curl -s -m 2 http://127.0.0.1:{port}/; wget -q -T 2 -t 1 http://127.0.0.1:{port}/; nc -w 1 127.0.0.1 {port} </dev/null"
                ),
            );
        })
        .list(&[13, 45])
        .control(Control::Not("it needs bash, curl, wget or nc, which not every machine has")),
        closed("network-tables", "read the host's interfaces, routes and connections", |_, tries| {
            for name in ["tcp", "tcp6", "udp", "route", "arp", "dev", "unix"] {
                let text = std::fs::read_to_string(format!("/proc/self/net/{name}")).unwrap_or_default();
                let foreign =
                    text.lines().skip(1).filter(|line| !line.trim_start().starts_with("lo:") && !line.contains("face |bytes")).count();
                let seen = if foreign == 0 { Err(io::Error::other("empty")) } else { Ok(format!("{foreign} entries")) };
                tries.report(name, seen);
            }
        })
        .by_answer(),
        always("network-raw", "raw, packet and ICMP sockets", |_, tries| {
            families(
                tries,
                &[
                    (libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
                    (libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW),
                    (libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6),
                    (libc::AF_PACKET, libc::SOCK_RAW, 0),
                    (libc::AF_PACKET, libc::SOCK_DGRAM, 0),
                ],
            );
        })
        .by_answer()
        .control(Control::LeaksForRoot("it needs CAP_NET_RAW")),
        always("network-netlink", "netlink sockets other than for reading routes", |_, tries| {
            // SOCK_DIAG, NETFILTER, AUDIT, KOBJECT_UEVENT, GENERIC, CRYPTO, XFRM.
            let protocols = [4, 12, 9, 15, 16, 21, 6];
            families(tries, &protocols.map(|protocol| (libc::AF_NETLINK, libc::SOCK_RAW, protocol)));
        })
        .by_answer(),
        always("network-vsock", "sockets to the hypervisor", |_, tries| {
            families(
                tries,
                &[(libc::AF_VSOCK, libc::SOCK_STREAM, 0), (libc::AF_VSOCK, libc::SOCK_DGRAM, 0), (libc::AF_VSOCK, libc::SOCK_SEQPACKET, 0)],
            );
        })
        .by_answer()
        .also("vsock(7) is not in a namespace")
        .control(Control::Not("not every kernel has them")),
        always(
            "network-families",
            "sockets of families that no program needs: AF_ALG, Bluetooth, CAN, XDP, TIPC, key management and more",
            |_, tries| {
                // AF_AX25, AF_KEY, AF_RDS, AF_LLC, AF_CAN, AF_TIPC, AF_BLUETOOTH, AF_ALG, AF_NFC, AF_KCM, AF_QIPCRTR, AF_SMC, AF_XDP, AF_MCTP.
                let families_of = [3, 15, 21, 26, 29, 30, 31, 38, 39, 41, 42, 43, 44, 45];
                families(tries, &families_of.map(|family| (family, libc::SOCK_DGRAM, 0)));
                families(tries, &families_of.map(|family| (family, libc::SOCK_SEQPACKET, 0)));
                families(tries, &families_of.map(|family| (family, libc::SOCK_RAW, 0)));
            },
        )
        .by_answer()
        .control(Control::Not("not every kernel has any of them")),
        always("network-unix-outside", "connect to a server's unix socket outside of the workspace", |facts, tries| {
            unix(tries, &facts.stream, &facts.datagram);
            unix(tries, &facts.workspace.join("link-out/stream"), &facts.workspace.join("link-out/datagram"));
            unix(tries, &facts.workspace.join("../outside/stream"), &facts.workspace.join("../outside/datagram"));
        })
        .list(&[64, 68]),
        always("network-unix-pair", "send from one end of a pair of sockets to a socket outside", |facts, tries| {
            let pair = UnixDatagram::pair();
            tries.act("send", pair.and_then(|(one, _)| one.send_to(b"x", &facts.datagram)));
        })
        .list(&[64])
        .also("n.unix_pair: filters that forbid socket() forget socketpair()"),
        always("network-unix-inside", "connect to a unix socket of a server in the workspace that was there before", |facts, tries| {
            unix(tries, &facts.inner_stream, &facts.inner_datagram);
            let moved = facts.workspace.join("moved");
            tries.act("move it", std::fs::rename(&facts.inner_stream, &moved));
            tries.act("connect to what was moved", UnixStream::connect(&moved));
        })
        .list(&[64]),
        always("network-unix-abstract", "connect to abstract sockets of the host", |facts, tries| {
            let stream = SocketAddr::from_abstract_name(&facts.abstract_stream).and_then(|address| UnixStream::connect_addr(&address));
            tries.act("connect", stream);
            let datagram = SocketAddr::from_abstract_name(&facts.abstract_datagram);
            let sent = datagram.and_then(|address| UnixDatagram::unbound()?.send_to_addr(b"x", &address));
            tries.act("send", sent);
            let pair = SocketAddr::from_abstract_name(&facts.abstract_datagram);
            tries.act("send from a pair", pair.and_then(|address| UnixDatagram::pair()?.0.send_to_addr(b"x", &address)));
        })
        .list(&[65]),
        always("network-known-services", "connect to docker, D-Bus, systemd, the ssh agent, X11, Wayland and the like", known_services)
            .by_answer()
            .list(&[64, 68])
            .control(Control::Not("which of them there are differs by machine")),
        closed("network-listen", "be reached from outside: listen on every address", |_, tries| {
            // What listens in there listens in a network of its own; that nobody outside is on it shows by its having no other interface.
            let interfaces = std::fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
            let others: Vec<&str> =
                interfaces.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).filter(|name| *name != "lo").collect();
            tries.report("interfaces besides lo", if others.is_empty() { Err(io::Error::other("none")) } else { Ok(others.join(" ")) });
            let arp = ["127.0.0.1:0", "0.0.0.0:0"].map(std::net::TcpListener::bind);
            drop(arp);
        })
        .by_answer(),
    ]
}

/// Why a kind of socket cannot be tried, if so: this kernel lacks it.
fn no_protocol(protocol: i32, name: &str) -> Option<String> {
    let made = sys::attempt(
        libc::SYS_socket,
        vec![Number(i64::from(libc::AF_INET)), Number(i64::from(libc::SOCK_STREAM)), Number(i64::from(protocol))],
    );
    match made {
        Ok(number) => {
            drop(i32::try_from(number).ok().and_then(|number| sys::own(number).ok()));
            None
        }
        Err(error) => Some(format!("this kernel has no {name} ({error})")),
    }
}

const PATIENCE: Duration = Duration::from_millis(500);

fn tcp(facts: &Facts, tries: &mut Tries) {
    let mut addresses = vec![
        format!("127.0.0.1:{}", facts.tcp),
        format!("[::ffff:127.0.0.1]:{}", facts.tcp),
        format!("0.0.0.0:{}", facts.tcp),
        format!("127.1.2.3:{}", facts.tcp),
    ];
    addresses.extend(facts.tcp6.map(|port| format!("[::1]:{port}")));
    for address in addresses {
        let address = address.to_socket_addrs().ok().and_then(|mut all| all.next());
        let connected =
            address.map_or(Err(io::ErrorKind::AddrNotAvailable.into()), |address| TcpStream::connect_timeout(&address, PATIENCE));
        tries.act("connect", connected.and_then(|mut stream| stream.write_all(b"x")));
    }
}

fn udp(facts: &Facts, tries: &mut Tries) {
    let socket = || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
    tries.act("send", socket().and_then(|socket| socket.send_to(b"x", (Ipv4Addr::LOCALHOST, facts.udp))));
    tries.act(
        "send connected",
        socket().and_then(|socket| socket.connect((Ipv4Addr::LOCALHOST, facts.udp)).and_then(|()| socket.send(b"x"))),
    );
    // UDP-Lite, to the same port: another protocol, for which nobody listens; that it can be sent counts for nothing by itself.
    families(tries, &[(libc::AF_INET, libc::SOCK_DGRAM, 136)]);
}

fn address(port: u16) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    bytes[2..4].copy_from_slice(&port.to_be_bytes());
    bytes[4..8].copy_from_slice(&[127, 0, 0, 1]);
    bytes
}

fn fast_open(facts: &Facts, tries: &mut Tries) {
    let socket = sys::attempt(libc::SYS_socket, vec![Number(i64::from(libc::AF_INET)), Number(i64::from(libc::SOCK_STREAM)), Number(0)]);
    let (mut bytes, mut to) = (*b"x", address(facts.tcp));
    let sent = socket.and_then(|socket| {
        let flags = Number(i64::from(libc::MSG_FASTOPEN));
        sys::attempt(libc::SYS_sendto, vec![Number(socket), Bytes(&mut bytes), Number(1), flags, Bytes(&mut to), Number(16)])
    });
    tries.report("send", sent);
}

fn connect_by(facts: &Facts, tries: &mut Tries, kind: i32, protocol: i32) {
    let socket =
        sys::attempt(libc::SYS_socket, vec![Number(i64::from(libc::AF_INET)), Number(i64::from(kind)), Number(i64::from(protocol))]);
    let mut to = address(facts.tcp);
    tries.report("connect", socket.and_then(|socket| sys::attempt(libc::SYS_connect, vec![Number(socket), Bytes(&mut to), Number(16)])));
}

fn families(tries: &mut Tries, all: &[(i32, i32, i32)]) {
    for (family, kind, protocol) in all {
        let arguments = [*family, *kind, *protocol].map(|number| Number(i64::from(number)));
        tries.call(&format!("socket({family}, {kind}, {protocol})"), libc::SYS_socket, arguments.into());
    }
}

fn unix(tries: &mut Tries, stream: &Path, datagram: &Path) {
    tries.act(&format!("connect to {}", stream.display()), UnixStream::connect(stream));
    tries.act(&format!("send to {}", datagram.display()), UnixDatagram::unbound().and_then(|socket| socket.send_to(b"x", datagram)));
}

fn names(facts: &Facts, tries: &mut Tries) {
    // A name below the one that the standard keeps for this (RFC 6761): it would be asked for, and carry what stands before the dot.
    tries.risky("getaddrinfo", || {
        let found: Vec<String> = "secret.portcullis.invalid:80".to_socket_addrs()?.map(|address| address.to_string()).collect();
        Ok(found.join(" "))
    });
    let resolver = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = resolver.lines().filter_map(|line| line.strip_prefix("nameserver")).map(str::trim);
    let sent: Vec<bool> = servers
        .map(|server| UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"\0\0\x01\0\0\0\0\0\0\0\0\0", (server, 53))).is_ok())
        .collect();
    let asked = if sent.contains(&true) { Ok("a server was asked") } else { Err(io::Error::other("no server was asked")) };
    if tries.report("ask a server", asked) {
        // What it was asked would be gone; the effect cannot be seen here, so it is shown by one that can.
        let _ = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"x", ("127.0.0.1", facts.udp)));
    }
}

fn known_services(facts: &Facts, tries: &mut Tries) {
    let user = nix::unistd::geteuid();
    let home = facts.home.display();
    for path in [
        "/var/run/docker.sock".to_owned(),
        "/run/docker.sock".to_owned(),
        "/run/podman/podman.sock".to_owned(),
        "/run/containerd/containerd.sock".to_owned(),
        "/run/crio/crio.sock".to_owned(),
        "/run/dbus/system_bus_socket".to_owned(),
        "/run/systemd/private".to_owned(),
        "/run/systemd/notify".to_owned(),
        "/run/systemd/journal/stdout".to_owned(),
        "/run/snapd.socket".to_owned(),
        "/run/libvirt/libvirt-sock".to_owned(),
        "/var/lib/lxd/unix.socket".to_owned(),
        "/dev/log".to_owned(),
        "/run/nscd/socket".to_owned(),
        "/tmp/.X11-unix/X0".to_owned(),
        format!("/run/user/{user}/bus"),
        format!("/run/user/{user}/systemd/private"),
        format!("/run/user/{user}/podman/podman.sock"),
        format!("/run/user/{user}/wayland-0"),
        format!("/run/user/{user}/gnupg/S.gpg-agent"),
        format!("/run/user/{user}/keyring/ssh"),
        format!("/run/user/{user}/pipewire-0"),
        format!("{home}/.docker/run/docker.sock"),
        format!("{home}/.gnupg/S.gpg-agent"),
    ] {
        tries.act(&path, UnixStream::connect(&path));
        tries.act(&path, UnixDatagram::unbound().and_then(|socket| socket.connect(&path)));
    }
    for name in ["/tmp/.X11-unix/X0", "/tmp/.ICE-unix/1", "/org/freedesktop/systemd1/notify"] {
        tries.act(name, SocketAddr::from_abstract_name(name).and_then(|address| UnixStream::connect_addr(&address)));
    }
}
