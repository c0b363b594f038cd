//! Which names lead out, and where to.

use super::stage::{OTHER, PUBLIC, Ran, Stage};

const LISTED: &str = "allow = [\"allowed.test\", \"*.www.allowed.test:80\", \"bücher.test\", \"private.test\", \"metadata.test\", \"loop.test\", \"mixed.test\"]\n\
                      deny = [\"deep.www.allowed.test\"]";

/// What inside.py's helpers look like: each way to ask, with the bytes as they are given.
const ASK: &str = r#"
import socket, struct, sys

def proxy():
    return socket.create_connection(("127.0.0.1", 3128), 10)

def connect(authority, then=b"GET /hello HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n"):
    with proxy() as stream:
        stream.sendall(b"CONNECT " + authority + b" HTTP/1.1\r\nHost: " + authority + b"\r\n\r\n")
        return talk(stream, then, b" 200")

def talk(stream, then, good):
    answer = stream.recv(4096)
    if good not in answer.split(b"\r\n")[0]:
        return answer[:60]
    stream.sendall(then)
    text = b""
    while True:
        part = stream.recv(4096)
        if not part:
            return answer + text
        text += part

def plain(target, host=b"allowed.test"):
    with proxy() as stream:
        stream.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
        text = b""
        while True:
            part = stream.recv(4096)
            if not part:
                return text
            text += part

def socks(name, port=80, then=b"GET /hello HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n", kind=3):
    with proxy() as stream:
        stream.sendall(b"\x05\x01\x00")
        assert stream.recv(2) == b"\x05\x00"
        address = bytes([len(name)]) + name if kind == 3 else name
        stream.sendall(b"\x05\x01\x00" + bytes([kind]) + address + struct.pack(">H", port))
        reply = stream.recv(10)
        if reply[1] != 0:
            return b"reply %d" % reply[1]
        stream.sendall(then)
        text = b""
        while True:
            part = stream.recv(4096)
            if not part:
                return text
            text += part

def tell(what, *arguments):
    try:
        print(what, what.__name__ if callable(what) else "", repr(arguments), (what(*arguments) or b"")[-6:])
    except OSError as error:
        print(repr(arguments), "error", error)
"#;

fn ask(stage: &mut Stage, calls: &str) -> Ran {
    stage.python(LISTED, &format!("{ASK}\n{calls}"))
}

#[test]
fn a_listed_name_is_reached_however_it_is_written() {
    let Some(mut stage) = Stage::new("a_listed_name_is_reached_however_it_is_written") else { return };
    for call in [
        "plain(b'http://allowed.test/hello')",
        "plain(b'http://ALLOWED.Test/hello')",
        "plain(b'http://allowed.test./hello')",
        "plain(b'http://allowed.test:80/hello')",
        "plain(b'http://any.www.allowed.test/hello')",
        "connect(b'allowed.test:80')",
        "connect(b'Allowed.test.:80')",
        "socks(b'allowed.test')",
        "socks(b'ALLOWED.test.')",
        "plain(b'http://xn--bcher-kva.test/hello')",
        "socks('bücher.test'.encode(), 80, b'GET /hello HTTP/1.1\\r\\nHost: xn--bcher-kva.test\\r\\nConnection: close\\r\\n\\r\\n')",
    ] {
        // A name that the servers' hosts file does not have is allowed all the same, and not found.
        let found = !call.contains("any.www");
        let ran = ask(&mut stage, &format!("print({call})"));
        assert_eq!(ran.served(PUBLIC, "/hello"), found, "{call}: {ran:#?}");
        assert!(ran.strays().is_empty(), "{call}: {ran:#?}");
        assert_eq!(ran.out.contains("hello\\n"), found, "{call}: {ran:#?}");
        assert_eq!(ran.out.contains("portcullis:"), !found, "{call}: {ran:#?}");
    }
}

#[test]
fn what_is_no_listed_name_reaches_nothing() {
    let Some(mut stage) = Stage::new("what_is_no_listed_name_reaches_nothing") else { return };
    for call in [
        // Names that only begin or end like a listed one.
        "plain(b'http://other.test/hello')",
        "plain(b'http://allowed.test.other.test/hello')",
        "plain(b'http://otherallowed.test/hello')",
        "connect(b'other.test:80')",
        "socks(b'other.test')",
        // A denied name under a listed one.
        "plain(b'http://deep.www.allowed.test/hello')",
        "connect(b'deep.www.allowed.test:80')",
        // Ports that no rule names.
        "connect(b'allowed.test:22')",
        "socks(b'allowed.test', 22)",
        // What cuts or turns a name for one program and not for another.
        "socks(b'other.test\\0.allowed.test')",
        "socks(b'allowed.test\\0')",
        "socks(b'allowed.test\\r\\nHost: other.test')",
        "plain(b'http://other.test%00.allowed.test/hello')",
        "plain(b'http://other.test%2fallowed.test/hello')",
        "plain(b'http://allowed.test@other.test/hello')",
        "plain(b'http://other.test#@allowed.test/hello')",
        "plain(b'http://other.test\\\\@allowed.test/hello')",
        "connect(b'allowed.test@other.test:80')",
        "connect(b'allowed.test:80@other.test:80')",
        "connect(b'other.test:80 allowed.test:80')",
        "socks(b'allowed.test ')",
        // Addresses that no rule names, in each way to write them.
        "plain(b'http://93.184.215.15/hello')",
        "plain(b'http://1572394767/hello')",
        "plain(b'http://0x5db8d70f/hello')",
        "plain(b'http://0135.0270.0327.017/hello')",
        "plain(b'http://93.12113679/hello')",
        "plain(b'http://[::ffff:93.184.215.15]/hello')",
        "socks(bytes([93, 184, 215, 15]), 80, b'GET /hello HTTP/1.1\\r\\nHost: allowed.test\\r\\n\\r\\n', 1)",
        "socks(socket.inet_pton(socket.AF_INET6, '::ffff:93.184.215.15'), 80, b'GET /hello HTTP/1.1\\r\\nHost: allowed.test\\r\\n\\r\\n', 4)",
        "socks(bytes([127, 0, 0, 1]), 80, b'GET /hello HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n', 1)",
        // Other things than a request to a proxy.
        "plain(b'/hello')",
        "plain(b'https://allowed.test/hello')",
        "plain(b'ftp://allowed.test/hello')",
        "plain(b'gopher://other.test/hello', b'other.test')",
    ] {
        let ran = ask(&mut stage, &format!("try:\n    print({call})\nexcept OSError as error:\n    print(error)"));
        assert!(ran.noted.is_empty(), "{call}: {ran:#?}");
        assert!(!ran.out.contains("hello\\n"), "{call}: {ran:#?}");
    }
}

#[test]
fn a_name_that_leads_to_a_private_address_reaches_nothing_unless_a_rule_names_the_address() {
    let Some(mut stage) = Stage::new("a_name_that_leads_to_a_private_address_reaches_nothing_unless_a_rule_names_the_address") else {
        return;
    };
    for name in ["private.test", "metadata.test", "loop.test", "mixed.test"] {
        for call in [format!("plain(b'http://{name}/hello', b'{name}')"), format!("connect(b'{name}:80')"), format!("socks(b'{name}')")] {
            let ran = ask(&mut stage, &format!("print({call})"));
            assert!(ran.noted.is_empty(), "{call}: {ran:#?}");
            assert!(ran.err.contains("not public"), "{call}: {ran:#?}");
        }
    }
    let named = "allow = [\"private.test\", \"10.1.2.3\"]";
    let ran = stage.sh(named, "curl -sS http://private.test/hello && curl -sS http://10.1.2.3/hello");
    assert_eq!((ran.code, ran.out.as_str()), (0, "hello\nhello\n"), "{ran:#?}");
    assert!(ran.served("10.1.2.3", "/hello"), "{ran:#?}");
    // An address that is denied is denied by whatever name.
    let denied = format!("allow = [\"allowed.test\"]\ndeny = [\"{PUBLIC}\"]");
    let ran = stage.sh(&denied, "curl -sS http://allowed.test/hello");
    assert!(ran.noted.is_empty() && ran.out.contains("denies"), "{ran:#?}");
}

#[test]
fn empty_means_nothing_and_a_bound_can_only_take_away() {
    let Some(mut stage) = Stage::new("empty_means_nothing_and_a_bound_can_only_take_away") else { return };
    for network in ["", "allow = []"] {
        let ran = stage.sh(network, "curl -sS http://allowed.test/hello; curl -sS http://other.test/hello");
        assert!(ran.noted.is_empty() && ran.err.contains("allow under [network], which is empty"), "{ran:#?}");
    }
    stage.write("ws/.portcullis/policy.toml", "schema = 1\nname = \"ours\"\n[network]\nallow = [\"allowed.test\"]\n");
    let wide = "allow = [\"allowed.test\", \"other.test\"]";
    let ran = stage.sh(wide, "curl -sS http://allowed.test/hello; curl -sS http://other.test/hello");
    assert!(ran.served(PUBLIC, "/hello") && !ran.served(OTHER, "/hello"), "{ran:#?}");
    assert!(ran.err.contains(".portcullis/policy.toml:4") && ran.err.contains("which bounds every policy here"), "{ran:#?}");
}
