//! Unix sockets between a call's own processes, and the descriptors that event loops wait on.

use crate::{job::python, support::Host};

#[test]
fn unix_sockets_of_every_kind_and_place_connect() {
    let host = Host::without_git();
    let program = r#"
import os, socket, tempfile
for place in ("workspace.socket", os.path.join(tempfile.mkdtemp(), "socket"), "\0abstract", os.path.expanduser("~/socket")):
    server = socket.socket(socket.AF_UNIX)
    server.bind(place)
    server.listen()
    if os.fork() == 0:
        client = socket.socket(socket.AF_UNIX)
        client.connect(place)
        socket.send_fds(client, [b"take it"], [os.open("passed", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)])
        client.shutdown(socket.SHUT_WR)
        assert client.recv(10) == b"thanks"
        os._exit(0)
    peer, _ = server.accept()
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    assert int.from_bytes(credentials[4:8], "little") == os.getuid()
    message, descriptors, _, _ = socket.recv_fds(peer, 100, 1)
    assert message == b"take it"
    os.write(descriptors[0], b"written by way of a passed descriptor\n")
    assert peer.recv(1) == b""
    peer.sendall(b"thanks")
    assert os.wait()[1] == 0
datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
datagrams.bind("datagrams")
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"x", "datagrams")
assert datagrams.recv(1) == b"x"
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
    one, other = socket.socketpair(socket.AF_UNIX, kind)
    one.send(b"y")
    assert other.recv(1) == b"y"
"#;
    python(&host, program);
    assert_eq!(host.read("passed").unwrap().lines().count(), 4);
}

#[test]
fn event_loops_find_what_they_wait_on() {
    let host = Host::without_git();
    let program = r#"
import asyncio, ctypes, os, select, signal, struct
libc = ctypes.CDLL(None, use_errno=True)
loop = select.epoll()
event, timer = libc.eventfd(0, 0), libc.timerfd_create(1, 0)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
signals = libc.signalfd(-1, (ctypes.c_ulong * 16)(1 << (signal.SIGUSR1 - 1)), 0)
child = os.fork()
if child == 0:
    os._exit(0)
process = os.pidfd_open(child)
ends = os.pipe()
waited = {event: "event", timer: "timer", signals: "signal", process: "process", ends[0]: "pipe"}
for descriptor in waited:
    assert descriptor >= 0, waited[descriptor]
    loop.register(descriptor, select.EPOLLIN)
os.write(event, struct.pack("Q", 1))
os.write(ends[1], b"x")
assert libc.timerfd_settime(timer, 0, struct.pack("4l", 0, 0, 0, 1000), None) == 0
os.kill(os.getpid(), signal.SIGUSR1)
seen = set()
while len(seen) < 5:
    seen |= {waited[descriptor] for descriptor, _ in loop.poll(20)}
print(*sorted(seen))

async def main():
    process = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    print((await process.communicate(b"by exec"))[0].decode())
    process = await asyncio.create_subprocess_shell("echo by shell; exit 3", stdout=asyncio.subprocess.PIPE)
    print((await process.communicate())[0].decode().strip(), process.returncode)
    server = await asyncio.start_unix_server(lambda reader, writer: (writer.write(b"served"), writer.close()), "asyncio.socket")
    reader, _ = await asyncio.open_unix_connection("asyncio.socket")
    print((await reader.read()).decode())
    server.close()
asyncio.run(main())
"#;
    assert_eq!(python(&host, program), "event pipe process signal timer\nby exec\nby shell 3\nserved\n");
}
