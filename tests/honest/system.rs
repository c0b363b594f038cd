//! What programs ask of the system that they run on.

use crate::{
    job::{job, lacks, python},
    support::Host,
};

#[test]
fn names_of_users_and_the_machine_resolve() {
    let host = Host::without_git();
    let user = host.clean("id").args(["-un"]).output().unwrap();
    let user = String::from_utf8(user.stdout).unwrap();
    assert_eq!(
        job(&host, "id -un; whoami; getent passwd $(id -u) | cut -d: -f3; getent passwd root | cut -d: -f1"),
        format!("{user}{user}{}\nroot\n", nix::unistd::getuid())
    );
    job(
        &host,
        "id; groups; uname -a; hostname; date; date -d '1 day ago'; TZ=Europe/Berlin date; locale; getent hosts localhost; stat -c '%U %G' /usr",
    );
}

#[test]
fn the_machines_own_name_leads_to_itself() {
    let host = Host::without_git();
    let program = "import socket; print(socket.gethostbyname(socket.gethostname()), socket.getfqdn() != '', socket.getaddrinfo('localhost', 80)[0][4][1])";
    let printed = python(&host, program);
    assert!(printed.starts_with("127.0.") && printed.ends_with(" True 80\n"), "{printed}");
}

#[test]
fn processes_memory_disks_and_limits_are_looked_at() {
    let host = Host::without_git();
    if lacks("honest::system::processes_memory_disks_and_limits_are_looked_at", &["ps", "top", "free", "pgrep"]) {
        return;
    }
    let script = "ps aux; ps -ef; top -bn1 | sed -n 1,5p; free; uptime; nproc; df -h . /tmp; du -sh .; findmnt . || true; lscpu | sed -n 1,3p; vmstat; getconf PATH_MAX .; \
                  cat /proc/self/status /proc/self/maps /proc/self/limits /proc/self/mountinfo /proc/cpuinfo /proc/meminfo /proc/loadavg /proc/stat > read; \
                  readlink /proc/self/exe /proc/$$/cwd; ls -l /proc/self/fd; cat /proc/sys/kernel/osrelease; ldd /bin/ls; file=$(command -v ls); stat $file; \
                  sleep 30 & until pgrep sleep; do true; done; pkill sleep; tty || true; stat -f .; ls / /usr/bin /etc > /dev/null";
    let printed = job(&host, script);
    assert!(printed.contains("ps aux") && printed.contains(host.workspace.to_str().unwrap()), "{printed}");
    assert!(host.read("read").unwrap().contains("MemTotal"));
}

#[test]
fn home_and_temporary_folders_can_be_used_and_last_for_the_call() {
    let host = Host::without_git();
    let script = "mkdir -p ~/.cache/tool ~/.config/tool ~/.local/share/tool; echo x > ~/.cache/tool/x; cat ~/.cache/tool/x; echo x > ${TMPDIR:-/tmp}/x; \
                  test -k /tmp || test -w /tmp; echo x > /var/tmp/y; cat /tmp/y; mktemp; mktemp -d; echo x > /dev/shm/x; umask; cd; pwd";
    let printed = job(&host, script);
    assert!(printed.trim_end().ends_with(host.home.to_str().unwrap()), "{printed}");
    assert!(!host.home.join(".cache").exists());
}

#[test]
fn tools_whose_settings_in_the_home_are_secret_go_on_without_them() {
    let host = Host::without_git();
    for name in [
        ".npmrc",
        ".pypirc",
        ".config/pip/pip.conf",
        ".docker/config.json",
        ".python_history",
        ".sqlite_history",
        ".lesshst",
        ".viminfo",
        ".pgpass",
        ".yarnrc",
    ] {
        let path = host.home.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "secret = true\n").unwrap();
    }
    let script = "echo 'print(1)' | python3 -i > out 2> /dev/null; curl -s file://$PWD/out > fetched; less /etc/passwd > /dev/null; bash -ic true 2> /dev/null; \
                  if command -v sqlite3; then echo 'select 1;' | sqlite3; fi; if command -v npm; then npm config get registry; fi";
    job(&host, script);
    assert_eq!(host.read("fetched").as_deref(), Some("1\n"));
}
