//! Names of programs that are known to run others.

/// Programs that run whatever they are given.
const INTERPRETERS: &[&str] = &[
    "ash",
    "awk",
    "bash",
    "bun",
    "busybox",
    "chroot",
    "csh",
    "dash",
    "deno",
    "docker",
    "doas",
    "emacs",
    "env",
    "expect",
    "find",
    "fish",
    "flock",
    "gawk",
    "gdb",
    "ionice",
    "java",
    "jshell",
    "julia",
    "just",
    "ksh",
    "kubectl",
    "lua",
    "make",
    "mawk",
    "nc",
    "nice",
    "node",
    "nohup",
    "npx",
    "nsenter",
    "osascript",
    "parallel",
    "perl",
    "php",
    "pkexec",
    "podman",
    "pwsh",
    "python",
    "ruby",
    "rscript",
    "runuser",
    "script",
    "setsid",
    "sh",
    "socat",
    "ssh",
    "stdbuf",
    "strace",
    "su",
    "sudo",
    "systemd-run",
    "task",
    "tclsh",
    "time",
    "timeout",
    "tmux",
    "unshare",
    "vim",
    "watch",
    "xargs",
    "zsh",
];

/// Words by which a program that is otherwise harmless runs something else.
const RUNNING: &[(&str, &[&str])] = &[
    ("npm", &["run", "run-script", "exec", "x", "start", "test"]),
    ("pnpm", &["run", "exec", "dlx", "start", "test"]),
    ("yarn", &["run", "exec", "dlx", "start", "test"]),
    ("git", &["-c", "--config-env", "--exec-path", "submodule", "bisect", "rebase", "filter-branch"]),
    ("cargo", &["run"]),
    ("go", &["run", "generate"]),
    ("uv", &["run"]),
    ("poetry", &["run"]),
    ("rustup", &["run"]),
];

/// Whether a rule that allows commands which begin so allows a program that runs what it is given.
pub(super) fn runs_anything(prefix: &[String]) -> bool {
    let Some((program, rest)) = prefix.split_first() else { return false };
    let program = program.rsplit('/').next().unwrap_or_default();
    // What only says which program it is runs nothing.
    if matches!(rest, [only] if matches!(only.as_str(), "--version" | "-V" | "--help")) {
        return false;
    }
    // `python3.12` is python.
    let bare = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    INTERPRETERS.contains(&bare)
        || RUNNING.iter().any(|(name, words)| {
            // The program alone allows each of its words.
            *name == program && (rest.is_empty() || rest.iter().any(|word| words.contains(&word.as_str())))
        })
}

/// Whether a program only runs another one, as the same user.
pub(super) fn is_wrapper(program: &str) -> bool {
    let wrappers =
        ["chrt", "command", "env", "flock", "ionice", "nice", "nohup", "setsid", "stdbuf", "taskset", "time", "timeout", "xargs"];
    wrappers.contains(&program.rsplit('/').next().unwrap_or_default())
}

/// Commands that shells have built in, so that no folder holds them.
pub(super) fn is_builtin(program: &str) -> bool {
    let builtins = [
        ".",
        ":",
        "alias",
        "bg",
        "bind",
        "builtin",
        "cd",
        "command",
        "declare",
        "dirs",
        "disown",
        "enable",
        "eval",
        "exec",
        "exit",
        "export",
        "fc",
        "fg",
        "hash",
        "history",
        "jobs",
        "let",
        "local",
        "mapfile",
        "popd",
        "pushd",
        "read",
        "readarray",
        "readonly",
        "return",
        "set",
        "shift",
        "shopt",
        "source",
        "time",
        "trap",
        "type",
        "typeset",
        "ulimit",
        "umask",
        "unalias",
        "unset",
        "wait",
    ];
    builtins.contains(&program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_anything_is_told_from_what_runs_itself() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for prefix in ["python3.12", "/usr/bin/python", "sh -c", "npm run", "npm", "git -c", "find", "env"] {
            assert!(runs_anything(&words(prefix)), "{prefix}");
        }
        for prefix in ["ls", "git status", "npm ls", "cargo build", "python3 --version", "rg"] {
            assert!(!runs_anything(&words(prefix)), "{prefix}");
        }
    }
}
