//! A tunnel to one host is no tunnel to another.

use super::stage::{OTHER, PUBLIC, Stage};

const LISTED: &str = "allow = [\"allowed.test\", \"allowed.test:22\", \"POST,GET api.allowed.test:80\", \"GET allowed.test:8080\"]";

const TLS: &str = r#"
import socket, ssl, sys

def tls(name, port=443, through="allowed.test:443"):
    stream = socket.create_connection(("127.0.0.1", 3128), 10)
    stream.sendall(f"CONNECT {through} HTTP/1.1\r\nHost: {through}\r\n\r\n".encode())
    assert b" 200" in stream.recv(4096)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    wrapped = context.wrap_socket(stream, server_hostname=name)
    wrapped.sendall(b"GET /hello HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n")
    return wrapped.recv(4096)

try:
    print(tls(sys.argv[1] or None))
except OSError as error:
    print("refused", error)
"#;

fn tls(stage: &mut Stage, name: &str) -> super::stage::Ran {
    stage.sandbox(LISTED, &["/usr/bin/python3", "-c", TLS, name])
}

#[test]
fn a_tls_handshake_has_to_name_the_host_of_its_tunnel() {
    let Some(mut stage) = Stage::new("a_tls_handshake_has_to_name_the_host_of_its_tunnel") else { return };
    let named = |ran: &super::stage::Ran| ran.noted.iter().any(|note| note["tls"] == "named");
    let good = tls(&mut stage, "Allowed.Test");
    assert!(named(&good) && good.out.contains("200"), "{good:#?}");
    for other in ["other.test", "allowed.test.other.test", ""] {
        let ran = tls(&mut stage, other);
        assert!(ran.out.starts_with("refused") && !named(&ran), "{other}: {ran:#?}");
        assert!(ran.err.contains("another host was named in it"), "{other}: {ran:#?}");
    }
}

#[test]
fn what_is_no_handshake_does_not_pass_on_port_443_and_does_on_others_that_are_listed() {
    let Some(mut stage) = Stage::new("what_is_no_handshake_does_not_pass_on_port_443_and_does_on_others_that_are_listed") else { return };
    let text = |port: u16| {
        format!(
            "import socket\ns = socket.create_connection(('127.0.0.1', 3128))\n\
             s.sendall(b'CONNECT allowed.test:{port} HTTP/1.1\\r\\n\\r\\n')\ntext = b''\nwhile b'\\r\\n\\r\\n' not in text:\n    text += s.recv(99)\n\
             s.sendall(b'words of another protocol')\nwhile part := s.recv(99):\n    text += part\nprint(text)"
        )
    };
    let ssh = stage.python(LISTED, &text(22));
    assert!(ssh.out.contains("GREETING"), "{ssh:#?}");
    assert!(ssh.noted.iter().any(|note| note["tcp"] == "words of another protocol" && note["at"] == PUBLIC), "{ssh:#?}");
    let web = stage.python(LISTED, &text(443));
    assert!(web.err.contains("TLS handshake") && !web.noted.iter().any(|note| note["tls"] == "named"), "{web:#?}");
}

#[test]
fn each_request_of_a_connection_that_is_used_again_is_judged_for_itself() {
    let Some(mut stage) = Stage::new("each_request_of_a_connection_that_is_used_again_is_judged_for_itself") else { return };
    let ran = stage.python(
        LISTED,
        "import socket\ns = socket.create_connection(('127.0.0.1', 3128))\n\
         for url in ('http://allowed.test/hello', 'http://other.test/hello', 'http://allowed.test/hello'):\n\
         \x20   s.sendall(f'GET {url} HTTP/1.1\\r\\nHost: other.test\\r\\n\\r\\n'.encode())\n\
         \x20   text = s.recv(9999)\n    text += b'' if b'hello\\n' in text or b'403' in text else s.recv(9999)\n    print(text[:13])",
    );
    let codes: Vec<&str> = ran.out.lines().map(|line| line.get(11..14).unwrap_or_default()).collect();
    assert_eq!(codes, ["200", "403", "200"], "{ran:#?}");
    assert!(ran.strays().is_empty() && ran.noted.len() == 2, "{ran:#?}");
    // The host is told the name that was judged, whatever the client wrote beside it.
    assert!(ran.noted.iter().all(|note| note["host"] == "allowed.test"), "{ran:#?}");
}

#[test]
fn plain_requests_in_a_tunnel_and_through_a_relay_have_the_same_verdict() {
    let Some(mut stage) = Stage::new("plain_requests_in_a_tunnel_and_through_a_relay_have_the_same_verdict") else { return };
    // A tunnel to port 80 in which another host is asked for.
    let ran = stage.sh(LISTED, "curl -sS -p http://allowed.test/hello -H 'Host: other.test'; curl -sS -p http://allowed.test/hello");
    assert_eq!(ran.noted.len(), 1, "{ran:#?}");
    assert!(ran.out.contains("another host was named in it: other.test") && ran.out.ends_with("hello\n"), "{ran:#?}");
    // A relay that runs in the sandbox changes nothing of it.
    let relay = "import socket, threading\n\
        def pump(a, b):\n    while True:\n        data = a.recv(4096)\n        if not data:\n            return\n        b.sendall(data)\n\
        def relay():\n    while True:\n        a, _ = listener.accept()\n        b = socket.create_connection(('127.0.0.1', 3128))\n\
        \x20       threading.Thread(target=pump, args=(a, b), daemon=True).start()\n        threading.Thread(target=pump, args=(b, a), daemon=True).start()\n\
        listener = socket.create_server(('127.0.0.1', 9000))\nthreading.Thread(target=relay, daemon=True).start()\n\
        import subprocess\n\
        for url in ('http://allowed.test/hello', 'http://other.test/hello', 'https://other.test/hello'):\n\
        \x20   print(subprocess.run(['curl', '-sSk', '--proxy', 'http://127.0.0.1:9000', url], capture_output=True, text=True, env={}).stdout)\n";
    let ran = stage.python(LISTED, relay);
    assert!(ran.strays().is_empty() && ran.served(PUBLIC, "/hello") && !ran.served(OTHER, "/hello"), "{ran:#?}");
    // HTTP/2 without a handshake is no way round either; with one it is what the handshake names.
    let ran = stage.sh(LISTED, "curl -sS --http2-prior-knowledge -p http://allowed.test/hello; curl -sSk --http2 https://allowed.test/hello; curl -sSk --http2 --connect-to other.test:443:allowed.test:443 https://other.test/hello");
    assert_eq!(ran.noted.iter().filter(|note| note["http"].is_string()).count(), 1, "{ran:#?}");
    assert!(ran.strays().is_empty(), "{ran:#?}");
}

#[test]
fn a_rule_with_methods_lets_these_and_no_tunnel_pass() {
    let Some(mut stage) = Stage::new("a_rule_with_methods_lets_these_and_no_tunnel_pass") else { return };
    let network = "allow = [\"GET,HEAD allowed.test:80\"]";
    let ran = stage.sh(network, "curl -sS http://allowed.test/hello; curl -sS -I http://allowed.test/hello | head -n 1; curl -sS -d secret http://allowed.test/hello; curl -sS -p http://allowed.test/hello");
    assert!(ran.out.starts_with("hello\nHTTP/1.1 200"), "{ran:#?}");
    assert_eq!(ran.noted.iter().map(|note| note["http"].as_str().unwrap()).collect::<Vec<_>>(), ["GET", "HEAD"], "{ran:#?}");
    assert!(ran.err.contains("(POST)"), "{ran:#?}");
    let post = stage.sh("allow = [\"POST allowed.test:80\"]", "curl -sS -d secret http://allowed.test/hello");
    assert_eq!(post.out, "posted", "{post:#?}");
}

#[test]
fn what_is_between_a_client_and_the_proxy_stays_there() {
    let Some(mut stage) = Stage::new("what_is_between_a_client_and_the_proxy_stays_there") else { return };
    let ran = stage.sh(
        LISTED,
        "curl -sS -H 'Proxy-Authorization: Basic c2VjcmV0' -H 'Connection: X-Hop' -H 'X-Hop: 1' -H 'Upgrade: websocket' -H 'X-Kept: 1' http://allowed.test/hello",
    );
    let headers: Vec<&str> = ran.noted[0]["headers"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(headers.contains(&"x-kept"), "{ran:#?}");
    for hop in ["proxy-authorization", "x-hop", "upgrade", "proxy-connection", "te", "keep-alive"] {
        assert!(!headers.contains(&hop), "{hop}: {ran:#?}");
    }
    // Two lengths, or a length and chunks, are one request to everybody or none.
    let smuggled = "import socket\n\
        for head in ('Content-Length: 4\\r\\nContent-Length: 60', 'Content-Length: 4\\r\\nTransfer-Encoding: chunked', 'Transfer-Encoding: xchunked\\r\\nContent-Length: 4'):\n\
        \x20   s = socket.create_connection(('127.0.0.1', 3128))\n    s.settimeout(3)\n\
        \x20   s.sendall(f'POST http://allowed.test/hello HTTP/1.1\\r\\nHost: allowed.test\\r\\n{head}\\r\\n\\r\\n0\\r\\n\\r\\nGET http://other.test/smuggled HTTP/1.1\\r\\nHost: other.test\\r\\n\\r\\n'.encode())\n\
        \x20   try:\n        print(s.recv(99)[:20])\n    except OSError as error:\n        print(error)";
    let ran = stage.python(LISTED, smuggled);
    assert!(ran.strays().is_empty() && !ran.noted.iter().any(|note| note["path"] == "/smuggled"), "{ran:#?}");
}
