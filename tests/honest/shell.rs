//! What shells do themselves.

use crate::{job::job, support::Host};

#[test]
fn redirections_substitutions_and_here_documents_work() {
    let host = Host::without_git();
    let script = r#"
diff <(echo same) <(echo same)
cat > made <<END
here, $((1 + 1))
END
cat <<< 'a string' >> made
echo by descriptor | cat /dev/stdin - >> made
exec 7>> made; echo by seven >&7; exec 7>&-
echo to the error stream > /dev/stderr
echo tee | tee /dev/fd/2 >> made
echo process | tee >(tr a-z A-Z >> made) > /dev/null
wait; for i in $(seq 100); do grep -q PROCESS made && break; sleep 0.05; done
head -c 8 /dev/urandom | wc -c
head -c 8 /dev/zero | od -An -tx1
! echo full 2> /dev/null > /dev/full
printf '%s\n' "${PWD##*/}" *
"#;
    assert_eq!(job(&host, script), "8\n 00 00 00 00 00 00 00 00\nworkspace\nmade\n");
    assert_eq!(host.read("made").as_deref(), Some("here, 2\na string\nby descriptor\nby seven\ntee\nPROCESS\n"));
}

#[test]
fn jobs_are_started_stopped_waited_for_and_timed() {
    let host = Host::without_git();
    let script = r#"
trap 'echo trapped >> log' USR1; kill -USR1 $$
(trap 'echo at the end >> log' EXIT)
sleep 30 & kill -STOP $!; kill -CONT $!; kill $!; wait $! || echo ended with $?
code=0; timeout 0.2 sleep 30 || code=$?; echo $code
timeout 20 true
nohup sh -c 'echo survived >> log' > /dev/null 2>&1 &
wait
set -m; sleep 0.05 & fg > /dev/null; set +m
seq 20 | xargs -P 4 -n 1 sh -c 'echo $0' | wc -l
time true 2> /dev/null
ulimit -n 256; ulimit -n; ulimit -a > /dev/null
setsid sh -c 'echo new session >> log'; wait
coproc cat; echo to it >&${COPROC[1]}; read -r back <&${COPROC[0]}; echo $back
env -i /bin/sh -c 'echo bare'
stdbuf -oL echo line | sed -u s/l/L/
"#;
    assert_eq!(job(&host, script), "ended with 143\n124\n20\n256\nto it\nbare\nLine\n");
    let mut log: Vec<_> = host.read("log").unwrap().lines().map(str::to_owned).collect();
    log.sort();
    assert_eq!(log, ["at the end", "new session", "survived", "trapped"]);
}

#[test]
fn make_runs_jobs_in_parallel() {
    let host = Host::without_git();
    host.write(
        "Makefile",
        "all: a b c d\n\t@cat $^ > all\na b c d:\n\t@sleep 0.1; echo $@ > $@\n.PHONY: clean\nclean:\n\trm -f a b c d all\n",
    );
    assert_eq!(job(&host, "make -j4 --no-print-directory; make -s -q; make -n clean"), "rm -f a b c d all\n");
    assert_eq!(host.read("all").as_deref(), Some("a\nb\nc\nd\n"));
}
