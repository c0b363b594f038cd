//! Places of a machine that are known to matter. A leading `~` is the home folder.

/// Files and folders whose contents something outside of the sandbox runs.
pub(super) const STARTUP: &[&str] = &[
    // Shells, by their manual pages.
    "~/.bashrc",
    "~/.bash_profile",
    "~/.bash_login",
    "~/.bash_logout",
    "~/.bash_aliases",
    "~/.profile",
    "~/.zshrc",
    "~/.zshenv",
    "~/.zprofile",
    "~/.zlogin",
    "~/.zlogout",
    "~/.kshrc",
    "~/.config/fish",
    "~/.config/nushell",
    "~/.inputrc",
    // Desktops, sessions and services.
    "~/.config/autostart",
    "~/.config/environment.d",
    "~/.config/systemd/user",
    "~/.local/share/systemd/user",
    "~/.local/share/applications",
    "~/.pam_environment",
    "~/.xinitrc",
    "~/.xprofile",
    "~/.xsession",
    "~/.xsessionrc",
    "~/Library/LaunchAgents",
    // Programs that run what their settings say.
    "~/.config/git",
    "~/.gitconfig",
    "~/.ssh/authorized_keys",
    "~/.ssh/config",
    "~/.ssh/rc",
    "~/.config/nvim",
    "~/.vim",
    "~/.vimrc",
    "~/.emacs",
    "~/.emacs.d",
    "~/.tmux.conf",
    "~/.config/tmux",
    "~/.gdbinit",
    "~/.cargo/config.toml",
    "~/.cargo/env",
    // The machine's.
    "/etc/bash.bashrc",
    "/etc/cron.d",
    "/etc/cron.daily",
    "/etc/cron.hourly",
    "/etc/crontab",
    "/etc/environment",
    "/etc/init.d",
    "/etc/ld.so.preload",
    "/etc/profile",
    "/etc/profile.d",
    "/etc/systemd",
    "/etc/udev/rules.d",
    "/etc/xdg/autostart",
    "/usr/lib/systemd",
    "/var/spool/at",
    "/var/spool/cron",
];

/// Sockets through which the host does what it is told, and what each is of.
pub(super) const SOCKETS: &[(&str, &str)] = &[
    ("/run/docker.sock", "Docker"),
    ("/var/run/docker.sock", "Docker"),
    ("~/.docker/run/docker.sock", "Docker"),
    ("~/.docker/desktop/docker.sock", "Docker"),
    ("/run/podman/podman.sock", "Podman"),
    ("/var/run/podman/podman.sock", "Podman"),
    ("/run/containerd/containerd.sock", "containerd"),
    ("/var/run/containerd/containerd.sock", "containerd"),
    ("/run/crio/crio.sock", "CRI-O"),
    ("/var/run/crio/crio.sock", "CRI-O"),
    ("/run/libvirt/libvirt-sock", "libvirt"),
    ("/var/run/libvirt/libvirt-sock", "libvirt"),
    ("/var/lib/lxd/unix.socket", "LXD"),
    ("/var/snap/lxd/common/lxd/unix.socket", "LXD"),
    ("/var/lib/incus/unix.socket", "Incus"),
    ("/run/snapd.socket", "snapd"),
    ("/run/dbus/system_bus_socket", "the system's D-Bus"),
    ("/var/run/dbus/system_bus_socket", "the system's D-Bus"),
    ("/run/systemd/private", "systemd"),
];

/// Folders below each of which a name is a person's home.
pub(super) const HOMES: &[&str] = &["/home", "/Users", "/export/home", "/var/home"];

/// Folders that are too wide to read as a whole.
pub(super) const WIDE_TO_READ: &[&str] = &[
    "/",
    "/home",
    "/root",
    "/Users",
    "/export",
    "/var",
    "/var/lib",
    "/var/home",
    "/run",
    "/run/user",
    "/proc",
    "/dev",
    "/sys",
    "/mnt",
    "/media",
    "/srv",
    "~/.config",
    "~/.local",
    "~/.local/share",
    "~/.local/state",
    "~/.cache",
    "~/Library",
    "~/Documents",
];

/// Folders that are too wide to write as a whole, besides those that are too wide to read.
pub(super) const WIDE_TO_WRITE: &[&str] =
    &["/opt", "/boot", "/nix", "/nix/store", "/snap", "/usr", "/etc", "/bin", "/sbin", "/lib", "/var/log"];

/// Folders of which every part is the system's own.
pub(super) const SYSTEM: &[&str] = &["/usr", "/etc", "/boot", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store"];

/// Temporary folders that all programs of a machine share.
pub(super) const SHARED_TEMPORARY: &[&str] = &["/tmp", "/var/tmp", "/dev/shm"];

/// Folders in a home in which shells find programs, whether or not the PATH at hand has them.
pub(super) const PROGRAM_FOLDERS: &[&str] = &[
    "~/bin",
    "~/.local/bin",
    "~/.cargo/bin",
    "~/go/bin",
    "~/.bun/bin",
    "~/.deno/bin",
    "~/.npm-global/bin",
    "~/.local/share/pnpm",
    "~/.local/share/mise/shims",
    "~/.asdf/shims",
    "~/.pyenv/shims",
    "~/.rbenv/shims",
    "~/.volta/bin",
];
