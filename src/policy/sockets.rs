//! What the well-known unix sockets of a host are, for people who decide about them.

/// Ends of paths, and what whoever connects can do.
const KNOWN: [(&str, &str); 22] = [
    ("docker.sock", ROOT),
    ("podman/podman.sock", "runs containers with your rights, or root's where it is the system's"),
    ("containerd/containerd.sock", ROOT),
    ("crio/crio.sock", ROOT),
    ("buildkit/buildkitd.sock", ROOT),
    ("libvirt/libvirt-sock", ROOT),
    ("lxd/unix.socket", ROOT),
    ("incus/unix.socket", ROOT),
    ("snapd.socket", ROOT),
    ("systemd/private", "starts programs outside of the sandbox: equals its user, root for the system's"),
    ("dbus/system_bus_socket", "asks services that run as root"),
    ("/bus", "starts programs outside of the sandbox, with your rights"),
    ("keyring/ssh", SIGNS),
    ("S.gpg-agent", SIGNS),
    ("S.gpg-agent.ssh", SIGNS),
    ("1password/agent.sock", SIGNS),
    ("agent.sock", SIGNS),
    ("ssh-agent.socket", SIGNS),
    (".X11-unix/X0", "sees and types everything on your screen"),
    ("wayland-0", "opens windows and reads the clipboard"),
    ("pipewire-0", "hears your microphone and sees your camera"),
    ("tmux-", "types into your terminals"),
];
const ROOT: &str = "equals root on this host";
const SIGNS: &str = "signs with your keys";

/// What whoever connects to a socket can do, as far as its name tells.
pub fn meaning(path: &str) -> &'static str {
    let known = |end: &str| {
        let (folder, name) = end.rsplit_once('/').unwrap_or(("", end));
        let mut parts = path.rsplit('/');
        let same = if end.ends_with('-') { path.contains(end) } else { parts.next() == Some(name) };
        same && (folder.is_empty() || parts.next().is_some_and(|part| part == folder))
    };
    // `ssh-XXXXXX/agent.PID` is where ssh-agent(1) makes its own.
    if path.contains("/ssh-") && path.rsplit('/').next().is_some_and(|name| name.starts_with("agent.")) {
        return SIGNS;
    }
    KNOWN.iter().find(|(end, _)| known(end)).map_or("what listens there acts outside of the sandbox", |(_, meaning)| meaning)
}

/// Whether what listens there, as far as its name tells, does as root what it is asked.
pub fn may_be_root(path: &str) -> bool {
    meaning(path).contains("root")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_called_what_it_is() {
        for (path, said) in [
            ("/var/run/docker.sock", ROOT),
            ("/home/a/.docker/run/docker.sock", ROOT),
            ("/run/containerd/containerd.sock", ROOT),
            ("/tmp/ssh-XXabc/agent.123", SIGNS),
            ("/run/user/1000/gnupg/S.gpg-agent", SIGNS),
            ("/home/a/.1password/agent.sock", SIGNS),
        ] {
            assert_eq!(meaning(path), said, "{path}");
        }
        assert!(meaning("/srv/app/web.sock").contains("acts outside") && meaning("/srv/notdocker.sock").contains("acts outside"));
        assert!(
            may_be_root("/run/docker.sock") && may_be_root("/run/dbus/system_bus_socket") && !may_be_root("/home/a/.1password/agent.sock")
        );
        assert!(meaning("/run/user/1000/bus").contains("with your rights"));
    }
}
