//! What the well-known unix sockets of a host are, for people who decide about them.

/// Ends of paths, what listens there, and what whoever connects can do.
const KNOWN: [(&str, &str, &str); 22] = [
    ("docker.sock", "Docker", ROOT),
    ("podman/podman.sock", "Podman", "runs containers with your rights, or root's where it is the system's"),
    ("containerd/containerd.sock", "containerd", ROOT),
    ("crio/crio.sock", "CRI-O", ROOT),
    ("buildkit/buildkitd.sock", "BuildKit", ROOT),
    ("libvirt/libvirt-sock", "libvirt", ROOT),
    ("lxd/unix.socket", "LXD", ROOT),
    ("incus/unix.socket", "Incus", ROOT),
    ("snapd.socket", "snapd", ROOT),
    ("systemd/private", "systemd", "starts programs outside of the sandbox: equals its user, root for the system's"),
    ("dbus/system_bus_socket", "the system's D-Bus", "asks services that run as root"),
    ("/bus", "the session's D-Bus", "starts programs outside of the sandbox, with your rights"),
    ("keyring/ssh", "the keyring's SSH agent", SIGNS),
    ("S.gpg-agent", "GnuPG's agent", SIGNS),
    ("S.gpg-agent.ssh", "GnuPG's SSH agent", SIGNS),
    ("1password/agent.sock", "1Password's SSH agent", SIGNS),
    ("agent.sock", "an SSH agent", SIGNS),
    ("ssh-agent.socket", "an SSH agent", SIGNS),
    (".X11-unix/X0", "the X server", "sees and types everything on your screen"),
    ("wayland-0", "Wayland", "opens windows and reads the clipboard"),
    ("pipewire-0", "PipeWire", "hears your microphone and sees your camera"),
    ("tmux-", "tmux", "types into your terminals"),
];
const ROOT: &str = "equals root on this host";
const SIGNS: &str = "signs with your keys";

/// What listens on a socket, and what whoever connects can do, as far as its name tells.
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
    KNOWN.iter().find(|(end, ..)| known(end)).map_or("what listens there acts outside of the sandbox", |(_, _, meaning)| meaning)
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
        assert!(meaning("/run/user/1000/bus").contains("with your rights"));
    }
}
