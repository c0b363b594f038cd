//! Programs that try what a newer or more privileged kernel call would give must find their way without it.

use crate::{
    job::{job, lacks, python},
    support::Host,
};

#[test]
fn what_is_not_there_is_answered_so_that_programs_fall_back() {
    let host = Host::without_git();
    // io_uring_setup, clone3, openat2: the numbers are the same on every architecture (Linux 5.1, 5.3, 5.6).
    let program = r#"
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
for name, number, arguments in (("io_uring_setup", 425, (8, 0)), ("clone3", 435, (0, 0)), ("openat2", 437, (-100, b".", 0, 0))):
    assert libc.syscall(number, *arguments) == -1
    assert ctypes.get_errno() in (errno.ENOSYS, errno.EPERM), name
# A filter of the program's own on top (prctl(2), PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP with one instruction that allows all).
class Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)]
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.POINTER(Instruction))]
allow = Program(1, ctypes.pointer(Instruction(0x06, 0, 0, 0x7FFF0000)))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(allow)) == 0, os.strerror(ctypes.get_errno())
assert libc.prctl(15, b"named", 0, 0, 0) == 0
print(open("/proc/self/comm").read().strip())
"#;
    assert_eq!(python(&host, program), "named\n");
}

#[test]
fn many_threads_and_many_open_files_are_had() {
    let host = Host::without_git();
    let program = r#"
import resource, threading, time
ready = threading.Barrier(201)
threads = [threading.Thread(target=ready.wait) for _ in range(200)]
[thread.start() for thread in threads]
ready.wait()
[thread.join() for thread in threads]
files = [open("many", "w") for _ in range(3000)]
print(len(threads), len(files))
"#;
    assert_eq!(python(&host, program), "200 3000\n");
}

#[test]
fn ones_own_priority_and_processors_are_set() {
    let host = Host::without_git();
    if lacks("honest::kernel::ones_own_priority_and_processors_are_set", &["renice", "ionice", "taskset", "chrt", "prlimit"]) {
        return;
    }
    let script = "before=$(nice); echo $(($(nice -n 5 nice) - before)); renice -n 7 -p $$ > /dev/null; nice; ionice -c3 true; ionice -c2 -n7 -p $$; taskset -c 0 nproc; taskset -p $$ > /dev/null; \
                  chrt -b 0 true; prlimit --nofile=100 sh -c 'ulimit -n'; setarch -R true";
    // The tests themselves may have been started with a priority of their own, below which nobody but root comes back.
    assert_eq!(job(&host, script), "5\n7\n1\n100\n");
}

#[test]
fn what_needs_another_namespace_or_identity_is_refused_with_a_message() {
    let host = Host::without_git();
    let script = "for flag in -r -n -m -p -i -u; do ! unshare $flag true 2> refusal; grep -q 'not permitted' refusal; done; \
                  ! mount -t tmpfs none . 2> refusal; test -s refusal; ! date -s now > /dev/null 2> refusal; test -s refusal; rm refusal";
    job(&host, script);
    assert_eq!(
        python(&host, "import os\ntry: os.chroot('.')\nexcept PermissionError as error: print(error.strerror)"),
        "Operation not permitted\n"
    );
    assert_eq!(std::fs::read_dir(&host.workspace).unwrap().count(), 0);
}
