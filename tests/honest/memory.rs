//! Memory that processes share, and queues and semaphores between them: POSIX and System V.

use std::process::Command;

use crate::{
    job::{finished, python},
    support::Host,
};

#[test]
fn memory_is_mapped_and_shared() {
    let host = Host::without_git();
    let program = r#"
import ctypes, mmap, os
anonymous = mmap.mmap(-1, 4096)
with open("mapped", "wb+") as file:
    file.truncate(4096)
    shared = mmap.mmap(file.fileno(), 4096)
sealed = os.memfd_create("name", os.MFD_ALLOW_SEALING)
os.truncate(sealed, 4096)
nameless = mmap.mmap(sealed, 4096)
if os.fork() == 0:
    anonymous[:5] = shared[:5] = nameless[:5] = b"child"
    os._exit(0)
os.wait()
assert anonymous[:5] == shared[:5] == nameless[:5] == b"child"
shared.flush()
# What a just-in-time compiler does: write a return instruction, then run it.
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(b"\xc3" if os.uname().machine == "x86_64" else b"\xc0\x03\x5f\xd6")
ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
"#;
    python(&host, program);
    assert!(host.read("mapped").unwrap().starts_with("child"));
}

#[test]
fn shared_memory_and_semaphores_of_both_kinds_work() {
    let host = Host::without_git();
    let program = r#"
import ctypes, os, time
from multiprocessing import shared_memory
memory = shared_memory.SharedMemory(create=True, size=1 << 20)
other = shared_memory.SharedMemory(memory.name)
memory.buf[7] = 42
assert other.buf[7] == 42
other.close(), memory.close(), memory.unlink()

libc = ctypes.CDLL(None, use_errno=True)
def must(result):
    assert result not in (-1, None), os.strerror(ctypes.get_errno())
    return result
libc.sem_open.restype = ctypes.c_void_p
semaphore = ctypes.c_void_p(must(libc.sem_open(b"/honest", os.O_CREAT, 0o600, 0)))
if os.fork() == 0:
    os._exit(libc.sem_post(semaphore))
must(libc.sem_wait(semaphore))
must(libc.sem_unlink(b"/honest"))
os.wait()

identifier = must(libc.shmget(0, 4096, 0o1600))
libc.shmat.restype = ctypes.c_void_p
address = must(libc.shmat(identifier, None, 0))
ctypes.memset(address, 7, 4096)
must(libc.shmctl(identifier, 0, None))
must(libc.semget(0, 1, 0o600))
queue = must(libc.msgget(0, 0o600))
message = ctypes.create_string_buffer((1).to_bytes(8, "little") + b"hello")
must(libc.msgsnd(queue, message, 5, 0))
assert must(libc.msgrcv(queue, message, 5, 0, 0)) == 5
print("done")
"#;
    assert_eq!(python(&host, program), "done\n");
}

#[test]
fn a_message_queue_passes_messages() {
    let host = Host::without_git();
    let program = r#"
import ctypes, os
libc = ctypes.CDLL("librt.so.1", use_errno=True)
queue = libc.mq_open(b"/honest", os.O_CREAT | os.O_RDWR, 0o600, None)
assert queue >= 0, os.strerror(ctypes.get_errno())
if os.fork() == 0:
    os._exit(libc.mq_send(queue, b"hello", 5, 0))
buffer = ctypes.create_string_buffer(8192)
assert libc.mq_receive(queue, buffer, 8192, None) == 5
print(buffer.value.decode())
"#;
    assert_eq!(python(&host, program), "hello\n");
}

#[test]
fn worker_processes_are_started_in_every_way_that_python_knows() {
    let host = Host::without_git();
    host.write("work.py", include_str!("jobs/multiprocessing.py"));
    let command: Command = host.sandbox(&["python3", "work.py"]);
    assert_eq!(finished(command), "fork\nspawn\nforkserver\n");
}
