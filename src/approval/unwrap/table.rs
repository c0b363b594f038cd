//! The options of programs that run other programs, from their manual pages.

/// A program that runs the command which its remaining words are.
pub(super) struct Wrapper {
    pub(super) name: &'static str,
    /// Letters of options without and with a value.
    pub(super) flags: &'static str,
    pub(super) values: &'static str,
    /// Long options without and with a value.
    pub(super) long_flags: &'static [&'static str],
    pub(super) long_values: &'static [&'static str],
    /// Words between the options and the command.
    pub(super) skip: usize,
    /// Whether `NAME=value` may stand before the command.
    pub(super) assigns: bool,
    pub(super) transparent: bool,
}

pub(super) const PLAIN: Wrapper =
    Wrapper { name: "", flags: "", values: "", long_flags: &[], long_values: &[], skip: 0, assigns: false, transparent: false };

pub(super) const WRAPPERS: &[Wrapper] = &[
    Wrapper {
        name: "env",
        flags: "i0v",
        values: "uC",
        long_flags: &["ignore-environment", "null", "debug"],
        long_values: &["unset", "chdir"],
        assigns: true,
        transparent: true,
        ..PLAIN
    },
    Wrapper { name: "nice", flags: "0123456789", values: "n", long_values: &["adjustment"], transparent: true, ..PLAIN },
    Wrapper {
        name: "ionice",
        flags: "t",
        values: "cn",
        long_flags: &["ignore"],
        long_values: &["class", "classdata"],
        transparent: true,
        ..PLAIN
    },
    Wrapper {
        name: "timeout",
        flags: "vfp",
        values: "ks",
        long_flags: &["preserve-status", "foreground", "verbose"],
        long_values: &["kill-after", "signal"],
        skip: 1,
        transparent: true,
        ..PLAIN
    },
    Wrapper { name: "nohup", transparent: true, ..PLAIN },
    Wrapper { name: "setsid", flags: "cfw", long_flags: &["ctty", "fork", "wait"], transparent: true, ..PLAIN },
    Wrapper { name: "stdbuf", values: "ioe", long_values: &["input", "output", "error"], transparent: true, ..PLAIN },
    // As a reserved word of bash, and as a program.
    Wrapper {
        name: "time",
        flags: "pvqa",
        values: "fo",
        long_flags: &["portability", "verbose", "quiet", "append"],
        long_values: &["format", "output"],
        ..PLAIN
    },
    Wrapper { name: "command", flags: "p", ..PLAIN },
    Wrapper { name: "builtin", ..PLAIN },
    Wrapper { name: "exec", flags: "cl", values: "a", ..PLAIN },
    Wrapper {
        name: "sudo",
        flags: "AbBEHnPSkN",
        values: "ugpChrtTDR",
        long_flags: &[
            "askpass",
            "background",
            "bell",
            "preserve-env",
            "set-home",
            "non-interactive",
            "preserve-groups",
            "stdin",
            "reset-timestamp",
        ],
        long_values: &["user", "group", "prompt", "close-from", "host", "role", "type", "command-timeout", "chdir", "chroot"],
        assigns: true,
        ..PLAIN
    },
    Wrapper { name: "doas", flags: "n", values: "uCa", ..PLAIN },
    Wrapper { name: "pkexec", long_flags: &["disable-internal-agent", "keep-cwd"], long_values: &["user"], ..PLAIN },
    Wrapper { name: "runuser", values: "ugG", long_values: &["user", "group", "supp-group"], ..PLAIN },
    Wrapper { name: "chroot", long_flags: &["skip-chdir"], long_values: &["userspec", "groups"], skip: 1, ..PLAIN },
    Wrapper {
        name: "unshare",
        flags: "muinpUCTfrc",
        values: "RwSGl",
        long_flags: &[
            "fork",
            "map-root-user",
            "map-current-user",
            "map-auto",
            "mount",
            "uts",
            "ipc",
            "net",
            "pid",
            "user",
            "cgroup",
            "time",
            "mount-proc",
            "kill-child",
            "keep-caps",
        ],
        long_values: &["root", "wd", "setuid", "setgid", "propagation", "setgroups", "map-user", "map-group", "map-users", "map-groups"],
        ..PLAIN
    },
    Wrapper {
        name: "nsenter",
        flags: "muinpUCTFZea",
        values: "tSGW",
        long_flags: &["all", "mount", "uts", "ipc", "net", "pid", "user", "cgroup", "time", "no-fork", "preserve-credentials", "env"],
        long_values: &["target", "setuid", "setgid", "wdns"],
        ..PLAIN
    },
    Wrapper {
        name: "setpriv",
        long_flags: &["clear-groups", "keep-groups", "init-groups", "no-new-privs", "reset-env"],
        long_values: &[
            "reuid",
            "regid",
            "ruid",
            "rgid",
            "euid",
            "egid",
            "groups",
            "inh-caps",
            "ambient-caps",
            "bounding-set",
            "securebits",
            "pdeathsig",
        ],
        ..PLAIN
    },
    Wrapper { name: "taskset", flags: "ac", long_flags: &["all-tasks", "cpu-list"], skip: 1, ..PLAIN },
    Wrapper { name: "chrt", flags: "abfiorRv", values: "TPD", skip: 1, ..PLAIN },
    Wrapper { name: "strace", flags: "cCdDfFhikqrtTvVwxyYzZ", values: "abeEIoOpPsSuUX", ..PLAIN },
    Wrapper { name: "ltrace", flags: "bcCfhiLrStTV", values: "aAeDFlnopsuwx", ..PLAIN },
    Wrapper { name: "xvfb-run", flags: "a", values: "efnpsw", long_flags: &["auto-servernum"], ..PLAIN },
    Wrapper { name: "fakeroot", flags: "u", values: "lsib", ..PLAIN },
    Wrapper { name: "unbuffer", flags: "p", ..PLAIN },
    Wrapper { name: "caffeinate", flags: "dimsu", values: "tw", ..PLAIN },
    Wrapper { name: "chpst", flags: "vP012", values: "uUbe/nlLmdofcrt", ..PLAIN },
];

/// The dynamic loader, which runs the program that it is given (`ld.so(8)`).
pub(super) const LOADER: Wrapper = Wrapper {
    name: "ld.so",
    long_flags: &["inhibit-cache", "list", "verify"],
    long_values: &["library-path", "preload", "argv0", "audit", "inhibit-rpath", "glibc-hwcaps-prepend", "glibc-hwcaps-mask"],
    ..PLAIN
};

pub(super) const SSH: Wrapper =
    Wrapper { name: "ssh", flags: "46AaCfGgKkMNnqsTtVvXxYy", values: "BbcDEeFIiJLlmOopPQRSWw", skip: 1, ..PLAIN };

pub(super) const XARGS: Wrapper = Wrapper {
    name: "xargs",
    flags: "0rtpxo",
    values: "aEdILnPsJR",
    long_flags: &["null", "no-run-if-empty", "verbose", "interactive", "exit", "open-tty", "show-limits"],
    long_values: &["arg-file", "delimiter", "max-args", "max-procs", "max-chars", "process-slot-var"],
    ..PLAIN
};

pub(super) const WATCH: Wrapper = Wrapper {
    name: "watch",
    flags: "bcdeghtwxC",
    values: "nq",
    long_flags: &["beep", "color", "differences", "errexit", "chgexit", "no-title", "no-wrap", "exec", "precise"],
    long_values: &["interval", "equexit"],
    ..PLAIN
};

pub(super) const CONTAINER_GLOBAL: Wrapper = Wrapper {
    name: "docker",
    flags: "D",
    values: "Hcl",
    long_flags: &["debug", "tls", "tlsverify", "remote"],
    long_values: &["host", "context", "config", "log-level", "tlscacert", "tlscert", "tlskey", "url", "connection", "identity"],
    ..PLAIN
};

pub(super) const CONTAINER_RUN: Wrapper = Wrapper {
    name: "docker run",
    flags: "ditPq",
    values: "evpwulmhca",
    long_flags: &[
        "detach",
        "interactive",
        "tty",
        "rm",
        "init",
        "privileged",
        "read-only",
        "publish-all",
        "quiet",
        "no-healthcheck",
        "replace",
    ],
    long_values: &[
        "env",
        "env-file",
        "volume",
        "publish",
        "workdir",
        "user",
        "name",
        "network",
        "net",
        "entrypoint",
        "mount",
        "platform",
        "label",
        "memory",
        "cpus",
        "add-host",
        "device",
        "ipc",
        "pid",
        "cap-add",
        "cap-drop",
        "security-opt",
        "hostname",
        "restart",
        "gpus",
        "shm-size",
        "tmpfs",
        "ulimit",
        "pull",
        "dns",
        "link",
        "volumes-from",
        "cidfile",
        "expose",
        "runtime",
        "userns",
        "uts",
        "attach",
        "detach-keys",
        "group-add",
    ],
    skip: 1,
    ..PLAIN
};

/// A program and subcommand whose next word is a program.
pub(super) const RUNNERS: [(&str, &str); 10] = [
    ("uv", "run"),
    ("poetry", "run"),
    ("pipenv", "run"),
    ("bundle", "exec"),
    ("pnpm", "exec"),
    ("npm", "exec"),
    ("yarn", "exec"),
    ("mise", "exec"),
    ("rustup", "run"),
    ("opam", "exec"),
];
