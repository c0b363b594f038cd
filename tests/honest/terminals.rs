//! Terminals that programs make for themselves.

use crate::{
    job::{job, lacks, python},
    support::Host,
};

#[test]
fn a_program_runs_on_a_terminal_that_another_made() {
    let host = Host::without_git();
    let program = r#"
import os, pty, sys
status = pty.spawn(["sh", "-c", "test -t 0 && test -t 1 && stty size > size && tty > name && echo on a terminal"])
sys.exit(os.waitstatus_to_exitcode(status))
"#;
    assert_eq!(python(&host, program).trim_end(), "on a terminal");
    assert!(host.read("name").unwrap().starts_with("/dev/pts/"));
    let script = "script -qec 'tty; stty -a > settings' typescript < /dev/null; TERM=xterm tput cols; infocmp xterm | sed -n 1p; less /etc/passwd | sed -n 1p";
    job(&host, script);
    assert!(host.read("typescript").unwrap().contains("/dev/pts/"));
    assert!(host.read("settings").unwrap().contains("speed"));
}

#[test]
fn a_terminal_multiplexer_runs_a_session() {
    let host = Host::without_git();
    if lacks("honest::terminals::a_terminal_multiplexer_runs_a_session", &["tmux"]) {
        return;
    }
    // A person whose entry in /etc/passwd has no usable shell would get no session.
    host.write("tmux.conf", "set -g default-shell /bin/sh\n");
    let script = "tmux -f tmux.conf new-session -d -s work 'echo inside > made; tmux wait-for -S made; sleep 30'; tmux wait-for made; \
                  tmux list-sessions -F '#{session_name}'; tmux send-keys -t work C-c; tmux kill-server || true";
    assert_eq!(job(&host, script), "work\n");
    assert_eq!(host.read("made").as_deref(), Some("inside\n"));
}
