//! Processes that share a file keep out of one another's way.

use crate::{
    job::{job, lacks, python},
    support::Host,
};

#[test]
fn locks_of_every_kind_exclude_another_process() {
    let host = Host::without_git();
    // flock(2), fcntl(2) record locks, and open file description locks (F_OFD_SETLK is 37).
    let program = r#"
import fcntl, os, struct
whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
kinds = {
    "flock": lambda file: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB),
    "lockf": lambda file: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB),
    "open file": lambda file: fcntl.fcntl(file, 37, whole),
}
for name, take in kinds.items():
    held, done = os.pipe(), os.pipe()
    if os.fork() == 0:
        file = open("shared", "w")
        take(file)
        os.write(held[1], b"x")
        os.read(done[0], 1)
        os._exit(0)
    os.close(held[1])
    assert os.read(held[0], 1), f"{name} was not had at all"
    file = open("shared", "w")
    try:
        take(file)
        raise SystemExit(f"{name} did not exclude")
    except OSError:
        pass
    os.write(done[1], b"x")
    os.wait()
    take(file)
    file.close()
    print(name)
"#;
    assert_eq!(python(&host, program), "flock\nlockf\nopen file\n");
    let script = "exec 9> shared; flock 9; ! flock -n shared true; flock -u 9; flock shared sh -c 'echo once >> log'; \
                  for i in $(seq 8); do flock shared sh -c 'n=$(cat count 2>/dev/null || echo 0); echo $((n + 1)) > count' & done; wait";
    job(&host, script);
    assert_eq!(host.read("count").as_deref(), Some("8\n"));
}

#[test]
fn the_workspace_folder_itself_is_locked() {
    let host = Host::without_git();
    // As `flock . make` does, to keep two runs of it apart.
    let script =
        "timeout 20 flock . sh -c 'echo once >> log'; flock -s . true; (flock . sleep 30) & until ! flock -n . true; do sleep 0.05; done";
    job(&host, script);
    job(&host, script);
    assert_eq!(host.read("log").as_deref(), Some("once\nonce\n"));
}

#[test]
fn a_database_is_written_by_two_processes_at_once() {
    let host = Host::without_git();
    if lacks("honest::locks::a_database_is_written_by_two_processes_at_once", &["sqlite3"]) {
        return;
    }
    // The write-ahead log shares memory between its users by a mapped file beside the database (sqlite.org/wal.html).
    let script = "sqlite3 d.db 'pragma journal_mode=wal; create table t(x)'; \
                  for p in 1 2; do (for i in $(seq 20); do sqlite3 -cmd '.timeout 20000' d.db \"insert into t values($p)\"; done) & done; wait; \
                  sqlite3 d.db '.backup copy.db'; sqlite3 d.db 'select count(*) from t; vacuum; pragma integrity_check'";
    assert_eq!(job(&host, script), "wal\n40\nok\n");
    let mut command = host.clean("sqlite3");
    let output = command.arg(host.workspace.join("copy.db")).arg("select count(*), sum(x) from t").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "40|60\n");
}

#[test]
fn a_database_is_opened_twice_by_pythons_own_library() {
    let host = Host::without_git();
    let program = r#"
import sqlite3, threading
one = sqlite3.connect("d.db")
assert one.execute("pragma journal_mode=wal").fetchone() == ("wal",)
one.execute("create table t(x)")
one.commit()
def fill():
    other = sqlite3.connect("d.db", timeout=20)
    for number in range(50):
        with other:
            other.execute("insert into t values(?)", (number,))
threads = [threading.Thread(target=fill) for _ in range(4)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
print(one.execute("select count(*) from t").fetchone()[0])
"#;
    assert_eq!(python(&host, program), "200\n");
}
