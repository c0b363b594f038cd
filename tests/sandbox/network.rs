//! The network and the host's unix sockets: reached under `open`, out of reach under `none` and `loopback`, as their other end sees it.

use std::{
    io::Read,
    net::{TcpListener, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram, UnixListener},
    },
    time::Duration,
};

use crate::support::{Host, installed, skip};

const OPEN: &str = "[network]\nmode = \"open\"";
/// Presets with network mode `none` and `loopback`.
const CLOSED: [&str; 2] = ["read-only", "workspace-write"];

fn python(name: &str) -> bool {
    let there = installed("python3");
    if !there {
        skip(name, "python3 is not installed");
    }
    there
}

#[test]
fn a_connection_is_accepted_under_open_and_never_arrives_without_a_network() {
    if !python("a_connection_is_accepted_under_open_and_never_arrives_without_a_network") {
        return;
    }
    let host = Host::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = format!("import socket; socket.create_connection(('127.0.0.1', {port}), 3).sendall(b'hello')");
    let script = ["python3", "-c", connect.as_str()];
    for policy in CLOSED {
        let ended = host.sandbox_under(policy, &script).output().unwrap();
        assert!(!ended.status.success());
        assert!(listener.accept().is_err(), "a connection arrived under {policy}");
    }

    let policy = host.policy("open", OPEN);
    let ended = host.sandbox_under(&policy, &script).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(false).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
}

#[test]
fn no_way_of_opening_a_connection_works_without_a_network() {
    if !python("no_way_of_opening_a_connection_works_without_a_network") {
        return;
    }
    let host = Host::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    tcp.set_nonblocking(true).unwrap();
    let port = tcp.local_addr().unwrap().port();
    let program = format!(
        "
import socket
def attempt(family, kind, protocol, act):
    try:
        s = socket.socket(family, kind, protocol)
        s.settimeout(1)
        act(s)
        print('SENT', family, kind, protocol)
    except OSError:
        pass
to = ('127.0.0.1', {port})
attempt(socket.AF_INET, socket.SOCK_STREAM, 0, lambda s: s.connect(to))
attempt(socket.AF_INET, socket.SOCK_STREAM, 0, lambda s: s.sendto(b'x', 0x20000000, to))
attempt(socket.AF_INET, socket.SOCK_STREAM, 262, lambda s: s.connect(to))
attempt(socket.AF_INET6, socket.SOCK_STREAM, 0, lambda s: s.connect(('::ffff:127.0.0.1', {port})))
attempt(socket.AF_INET, socket.SOCK_RAW, 1, lambda s: s.sendto(b'x', to))
attempt(17, socket.SOCK_RAW, 0, lambda s: None)
attempt(16, socket.SOCK_RAW, 12, lambda s: None)
attempt(40, socket.SOCK_STREAM, 0, lambda s: None)
attempt(38, socket.SOCK_SEQPACKET, 0, lambda s: None)
"
    );
    for policy in CLOSED {
        let ended: crate::support::Ended = host.sandbox_under(policy, &["python3", "-c", &program]).output().unwrap().into();
        assert_eq!((ended.stdout.as_str(), ended.code), ("", 0), "{policy}: {ended:#?}");
        assert!(tcp.accept().is_err(), "a connection arrived under {policy}");
    }
}

#[test]
fn a_datagram_arrives_under_open_and_never_without_a_network() {
    if !python("a_datagram_arrives_under_open_and_never_without_a_network") {
        return;
    }
    let host = Host::new();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let port = socket.local_addr().unwrap().port();
    let send = format!("import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'hello', ('127.0.0.1', {port}))");
    let script = ["python3", "-c", send.as_str()];
    let mut bytes = [0; 16];
    for policy in CLOSED {
        host.sandbox_under(policy, &script).output().unwrap();
        assert!(socket.recv(&mut bytes).is_err(), "a datagram arrived under {policy}");
    }
    let policy = host.policy("open", OPEN);
    host.sandbox_under(&policy, &script).output().unwrap();
    assert_eq!(socket.recv(&mut bytes).unwrap(), 5);
}

#[test]
fn the_hosts_unix_sockets_are_out_of_reach() {
    if !python("the_hosts_unix_sockets_are_out_of_reach") {
        return;
    }
    let host = Host::new();
    let path = host.root.join("outside/socket");
    let named = UnixListener::bind(&path).unwrap();
    named.set_nonblocking(true).unwrap();
    let datagram = host.root.join("outside/datagram");
    let receiver = UnixDatagram::bind(&datagram).unwrap();
    receiver.set_nonblocking(true).unwrap();
    let name = format!("portcullis-test-{}", std::process::id());
    let hidden = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    hidden.set_nonblocking(true).unwrap();
    let program = format!(
        "
import socket
def attempt(act):
    try:
        act()
        print('REACHED')
    except OSError:
        pass
attempt(lambda: socket.socket(socket.AF_UNIX).connect('{0}'))
attempt(lambda: socket.socket(socket.AF_UNIX).connect('\\0{name}'))
attempt(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', '{1}'))
attempt(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b'x', '{1}'))
own = socket.socket(socket.AF_UNIX); own.bind('/tmp/own'); own.listen(1)
socket.socket(socket.AF_UNIX).connect('/tmp/own')
print('own')
",
        path.display(),
        datagram.display()
    );
    let policy = host.policy("open", OPEN);
    for policy in ["workspace-write", &policy] {
        let ended: crate::support::Ended = host.sandbox_under(policy, &["python3", "-c", &program]).output().unwrap().into();
        assert_eq!((ended.stdout.as_str(), ended.code), ("own\n", 0), "{policy}: {ended:#?}");
        assert!(named.accept().is_err() && hidden.accept().is_err(), "{policy}");
        assert!(receiver.recv(&mut [0; 8]).is_err(), "{policy}");
    }
}

/// In a readable folder, and as an entry to read: what the host listens on is reached only where the policy names it as a socket.
#[test]
fn a_socket_of_the_host_is_reached_where_it_is_named_and_nowhere_else() {
    if !python("a_socket_of_the_host_is_reached_where_it_is_named_and_nowhere_else") {
        return;
    }
    let host = Host::new();
    let folder = host.root.join("outside/services");
    std::fs::create_dir_all(&folder).unwrap();
    let listen = |name: &str| {
        let listener = UnixListener::bind(folder.join(name)).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    };
    let (agent, engine) = (listen("agent.sock"), listen("docker.sock"));
    std::os::unix::fs::symlink(folder.join("agent.sock"), folder.join("link")).unwrap();
    std::fs::write(folder.join("file"), "text").unwrap();
    let at = |name: &str| folder.join(name).display().to_string();
    let program = format!(
        "import socket\nfor path in ('{}', '{}', '{}'):\n    try:\n        socket.socket(socket.AF_UNIX).connect(path)\n        print('reached')\n    \
         except OSError:\n        print('refused')\nprint(open('{}').read())",
        at("agent.sock"),
        at("docker.sock"),
        at("link"),
        at("file")
    );
    let read =
        |more: &str| format!("[filesystem]\nread = [\"@system\", \"@toolchains\", \"@workspace\", \"{}\"{more}]\n", folder.display());
    let sockets = |names: &str| format!("[network]\nmode = \"none\"\nsockets = [{names}]\n");
    let agent_named = format!("\"{}\"", at("agent.sock"));
    for (name, text, expected, heard) in [
        ("folder", read(""), "refused\nrefused\nrefused\ntext\n", [false, false]),
        ("entry", read(&format!(", \"{}\"", at("docker.sock"))), "refused\nrefused\nrefused\ntext\n", [false, false]),
        ("one", read("") + &sockets(&agent_named), "reached\nrefused\nreached\ntext\n", [true, false]),
        ("link", read("") + &sockets(&format!("\"{}\"", at("link"))), "reached\nrefused\nreached\ntext\n", [true, false]),
        (
            "denied",
            read("") + &format!("deny = [\"{}\"]\n", at("agent.sock")) + &sockets(&agent_named),
            "refused\nrefused\nrefused\ntext\n",
            [false, false],
        ),
    ] {
        let policy = host.policy(name, &text);
        let ended: crate::support::Ended = host.sandbox_under(&policy, &["python3", "-c", &program]).output().unwrap().into();
        assert_eq!((ended.stdout.as_str(), ended.code), (expected, 0), "{name}: {ended:#?}");
        let mut seen = [false, false];
        for (place, listener) in [&agent, &engine].into_iter().enumerate() {
            while listener.accept().is_ok() {
                seen[place] = true;
            }
        }
        assert_eq!(seen, heard, "{name}");
    }
    // By itself, without a readable folder around it.
    let policy = host.policy("alone", &sockets(&agent_named));
    let connect = format!("import socket; socket.socket(socket.AF_UNIX).connect('{}')", at("agent.sock"));
    let ended: crate::support::Ended = host.sandbox_under(&policy, &["python3", "-c", &connect]).output().unwrap().into();
    assert!(ended.code == 0 && agent.accept().is_ok(), "{ended:#?}");
}
