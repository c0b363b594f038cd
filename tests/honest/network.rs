//! Servers and clients on the loopback of one call.

use crate::{
    job::{finished, job, lacks, python},
    support::Host,
};

#[test]
fn a_server_and_a_client_meet_on_both_loopback_addresses() {
    let host = Host::without_git();
    let program = r#"
import socket, threading
for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
    server = socket.create_server((address, 0), family=family, backlog=50)
    port = server.getsockname()[1]
    def serve():
        for _ in range(20):
            peer, _ = server.accept()
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.sendall(peer.recv(100).upper())
            peer.shutdown(socket.SHUT_RDWR)
    thread = threading.Thread(target=serve)
    thread.start()
    for _ in range(20):
        client = socket.create_connection(("127.0.0.1" if family == socket.AF_INET else "::1", port), timeout=20)
        client.sendall(b"hello")
        assert client.recv(100) == b"HELLO"
    thread.join()
    receiver, sender = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
    sender.sendto(b"datagram", receiver.getsockname())
    assert receiver.recv(100) == b"datagram"
    print(address)
"#;
    assert_eq!(python(&host, program), "127.0.0.1\n::1\n0.0.0.0\n::\n");
}

#[test]
fn files_are_served_and_fetched() {
    let host = Host::without_git();
    host.write("page", "served\n");
    let script = "python3 -m http.server --bind 127.0.0.1 8000 > log 2>&1 & \
                  curl -sS --retry 20 --retry-connrefused --retry-delay 1 -o fetched http://127.0.0.1:8000/page; \
                  curl -sS http://localhost:8000/page; ! curl -s -m 5 http://127.0.0.1:8001/; exec 3<> /dev/tcp/127.0.0.1/8000; \
                  printf 'GET /page HTTP/1.0\\r\\n\\r\\n' >&3; tail -1 <&3; kill %1";
    assert_eq!(job(&host, script), "served\nserved\n");
    assert_eq!(host.read("fetched").as_deref(), Some("served\n"));
}

#[test]
fn a_node_server_answers_and_lists_its_interfaces() {
    let host = Host::without_git();
    if lacks("honest::network::a_node_server_answers_and_lists_its_interfaces", &["node"]) {
        return;
    }
    host.write("server.js", include_str!("jobs/server.js"));
    assert_eq!(finished(host.sandbox(&["node", "server.js"])), "answered\nlo\n");
}

#[test]
fn a_shell_of_java_talks_to_the_machine_that_it_starts() {
    let host = Host::without_git();
    if lacks("honest::network::a_shell_of_java_talks_to_the_machine_that_it_starts", &["jshell"]) {
        return;
    }
    assert!(job(&host, "echo 'System.out.println(6 + 1);' | jshell -s -").contains('7'));
}

#[test]
fn a_port_that_a_call_uses_is_free_in_the_next() {
    let host = Host::without_git();
    for _ in 0..2 {
        python(
            &host,
            "import socket; s = socket.socket(); s.bind(('127.0.0.1', 8080)); s.listen(); socket.create_connection(('127.0.0.1', 8080))",
        );
    }
}
