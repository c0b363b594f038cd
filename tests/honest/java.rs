//! Java: the compiler and a program with threads.

use crate::{
    job::{job, lacks},
    support::Host,
};

#[test]
fn a_program_is_compiled_and_run_with_threads_and_files_and_processes() {
    let host = Host::without_git();
    if lacks("honest::java::a_program_is_compiled_and_run_with_threads_and_files_and_processes", &["java", "javac"]) {
        return;
    }
    host.write("Work.java", include_str!("jobs/Work.java"));
    let script = "javac -d classes Work.java; java -cp classes Work; jar cfe work.jar Work -C classes .; java -XX:+UseSerialGC -Xmx256m -jar work.jar > second; \
                  java -cp classes Work wait & until jps | grep -q Work; do sleep 0.1; done; jstack $! | grep -c main > stack; kill $!; wait || true; \
                  keytool -genkeypair -alias x -storepass secret -dname CN=x -keystore keys -keyalg EC 2> /dev/null";
    assert_eq!(job(&host, script), "4950\nchild 0\nwatched\nlocal\n");
    assert_eq!(host.read("second").unwrap().lines().next(), Some("4950"));
    assert!(host.has("classes/Work.class") && host.has("keys") && host.has("stack"));
}
