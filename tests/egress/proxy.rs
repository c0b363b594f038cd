//! The proxy itself: what it is, what it has, what it does under load, and that it is gone afterwards.

use std::fs;

use super::{stage::Stage, support::eventually};

/// How many proxies there are in this network: other tests have others.
const HERE: &str = r#"
import os
def here(pid):
    try:
        return b"__egress" in open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0") and os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net")
    except OSError:
        return False
print(sum(here(pid) for pid in os.listdir("/proc") if pid.isdigit()))
"#;

/// Looks at the proxy from outside of the sandbox while a call goes on.
const LOOK: &str = r#"
import os, subprocess, sys, time
policy, workspace, program = sys.argv[1:4]
call = subprocess.Popen([program, "sandbox", "--policy", policy, "--workspace", workspace, "--", "sh", "-c", "curl -sS http://allowed.test/hello; sleep 2"], stdout=subprocess.PIPE)
found = None
for _ in range(100):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")
            # Not one of another test's.
            if b"__egress" in words and f"PPid:\t{call.pid}\n" in open(f"/proc/{pid}/status").read():
                found = pid
        except OSError:
            pass
    if found:
        break
    time.sleep(0.05)
time.sleep(0.5)
status = dict(line.split(":\t", 1) for line in open(f"/proc/{found}/status").read().splitlines() if ":\t" in line)
print("environment", len(open(f"/proc/{found}/environ", "rb").read().strip(b"\0")) if os.access(f"/proc/{found}/environ", os.R_OK) else "unreadable")
print("privileges", status["NoNewPrivs"], status["Seccomp"], status["CapEff"], status["CapBnd"])
print("network", os.readlink(f"/proc/{found}/ns/net") == os.readlink("/proc/self/ns/net"))
print("said", call.communicate()[0])
time.sleep(0.3)
print("gone", not os.path.exists(f"/proc/{found}"))
"#;

#[test]
fn the_proxy_is_confined_has_no_key_and_goes_with_its_session() {
    let Some(mut stage) = Stage::new("the_proxy_is_confined_has_no_key_and_goes_with_its_session") else { return };
    let policy = stage.policy("allow = [\"allowed.test\"]");
    let (program, workspace) = (super::support::program().display().to_string(), stage.path("ws").display().to_string());
    let ran = stage.run(&["/usr/bin/python3", "-c", LOOK, &policy, &workspace, &program]);
    assert!(ran.out.contains("said b'hello\\n'"), "{ran:#?}");
    assert!(ran.out.contains("environment 0") || ran.out.contains("environment unreadable"), "{ran:#?}");
    assert!(ran.out.contains("privileges 1 2 0000000000000000 0000000000000000"), "{ran:#?}");
    // It can be seen from here whether there is one, on which the next test relies.
    assert!(ran.out.contains("network True") && ran.out.contains("gone True"), "{ran:#?}");
}

/// Kills the proxy of a session between two calls.
const KILL: &str = r#"
import json, os, signal, subprocess, sys, time
policy, workspace, program = sys.argv[1:4]
served = subprocess.Popen([program, "mcp", "serve", "--policy", policy, "--workspace", workspace], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
def ask(number, method, params):
    served.stdin.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n")
    served.stdin.flush()
    while True:
        answer = json.loads(served.stdout.readline())
        if answer.get("id") == number:
            return json.dumps(answer)
def proxies():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if b"__egress" in open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0") and f"PPid:\t{served.pid}\n" in open(f"/proc/{pid}/status").read():
                found.append(int(pid))
        except OSError:
            pass
    return found
ask(1, "initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}})
call = {"name": "run_sandboxed", "arguments": {"command": "curl -sS http://allowed.test/hello; curl -sS http://other.test/"}}
print("first", ask(2, "tools/call", call))
before = proxies()
os.kill(before[0], signal.SIGKILL)
print("second", ask(3, "tools/call", call))
after = proxies()
print("another", len(before) == 1 and len([pid for pid in after if pid != before[0]]) == 1)
served.stdin.close()
print("code", served.wait())
"#;

#[test]
fn a_proxy_that_was_killed_is_started_anew_and_holds_to_the_same_rules() {
    let Some(mut stage) = Stage::new("a_proxy_that_was_killed_is_started_anew_and_holds_to_the_same_rules") else { return };
    let policy = stage.policy("allow = [\"allowed.test\"]");
    let (program, workspace) = (super::support::program().display().to_string(), stage.path("ws").display().to_string());
    let ran = stage.run(&["/usr/bin/python3", "-c", KILL, &policy, &workspace, &program]);
    for call in ["first", "second"] {
        let line = ran.out.lines().find(|line| line.starts_with(call)).unwrap_or_else(|| panic!("{ran:#?}"));
        assert!(line.contains("hello") && line.contains("other.test:80"), "{ran:#?}");
    }
    assert!(ran.out.contains("another True") && ran.out.contains("code 0"), "{ran:#?}");
}

#[test]
fn many_connections_long_heads_and_clients_that_say_nothing_are_borne() {
    let Some(mut stage) = Stage::new("many_connections_long_heads_and_clients_that_say_nothing_are_borne") else { return };
    let text = r#"
import socket, threading
idle = []
for _ in range(200):
    idle.append(socket.create_connection(("127.0.0.1", 3128)))
good = []
def get():
    s = socket.create_connection(("127.0.0.1", 3128))
    s.settimeout(60)
    s.sendall(b"GET http://allowed.test/hello HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n")
    text = b""
    while True:
        part = s.recv(4096)
        if not part:
            break
        text += part
    good.append(text.endswith(b"hello\n"))
threads = [threading.Thread(target=get) for _ in range(300)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(sum(good), len(good))
s = socket.create_connection(("127.0.0.1", 3128))
s.settimeout(20)
try:
    s.sendall(b"GET http://allowed.test/hello HTTP/1.1\r\nHost: allowed.test\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n")
    print(s.recv(20))
except OSError as error:
    print("cut off")
get()
print(good[-1])
"#;
    let ran = stage.python("allow = [\"allowed.test\"]", text);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!((lines[0], lines[2]), ("300 300", "True"), "{}", ran.err);
    assert!(lines[1].contains("431") || lines[1].contains("cut off") || lines[1].contains("400"), "{lines:?}");
}

#[test]
fn a_call_that_ends_takes_its_connections_along() {
    let Some(mut stage) = Stage::new("a_call_that_ends_takes_its_connections_along") else { return };
    let ran = stage.python(
        "allow = [\"allowed.test:22\"]",
        "import os, socket\ns = socket.create_connection(('127.0.0.1', 3128))\ns.sendall(b'CONNECT allowed.test:22 HTTP/1.1\\r\\n\\r\\n')\nprint(s.recv(99)[:12])\nos._exit(0)",
    );
    assert_eq!(ran.code, 0, "{ran:#?}");
    let mut here = || stage.run(&["/usr/bin/python3", "-c", HERE]).out;
    assert!(eventually(|| here() == "0\n"), "a proxy outlived its session");
    assert!(fs::read_dir(stage.path("tmp")).unwrap().next().is_none(), "something private was left");
}
