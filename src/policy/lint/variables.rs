//! Names of environment variables that are known to matter.

/// Variables that hold no secret although their names look as if they did.
const PLAIN: &[&str] = &["AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PAGER"];

/// Variables that hold a secret, or lead to what gives one out, although their names do not say so.
const SECRET: &[&str] =
    &["DATABASE_URL", "DOCKER_AUTH_CONFIG", "GPG_AGENT_INFO", "KUBECONFIG", "NETRC", "PGPASSFILE", "SSH_AUTH_SOCK", "VAULT_ADDR"];

/// Whether a variable of this name probably holds a secret.
pub(super) fn is_secret(name: &str) -> bool {
    if PLAIN.contains(&name) {
        return false;
    }
    let name = name.to_ascii_uppercase();
    let words: Vec<&str> = name.split('_').collect();
    SECRET.contains(&name.as_str())
        || name.starts_with("AWS_")
        || ["SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "PASSPHRASE"].iter().any(|part| name.contains(part))
        || words.len() > 1 && words.last().is_some_and(|last| ["TOKEN", "TOKENS", "KEY", "APIKEY", "PAT", "PASS", "DSN"].contains(last))
        || name.ends_with("TOKEN")
        || name.ends_with("APIKEY")
}

/// Variables that make a program load or run something.
const LOADERS: &[&str] = &[
    "BASH_ENV",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CLASSPATH",
    "EDITOR",
    "ENV",
    "GCONV_PATH",
    "IFS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "LESSOPEN",
    "LUA_INIT",
    "LUA_PATH",
    "NODE_OPTIONS",
    "NODE_PATH",
    "PAGER",
    "PERL5DB",
    "PERL5LIB",
    "PERL5OPT",
    "PROMPT_COMMAND",
    "PS0",
    "PS4",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "RUBYLIB",
    "RUBYOPT",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "VISUAL",
    "ZDOTDIR",
    "_JAVA_OPTIONS",
];

/// Variables of git that only say who somebody is, when something was, or how to print it (git(1), "Environment Variables").
const GIT_PLAIN: &[&str] = &[
    "GIT_ADVICE",
    "GIT_AUTHOR_DATE",
    "GIT_AUTHOR_EMAIL",
    "GIT_AUTHOR_NAME",
    "GIT_CEILING_DIRECTORIES",
    "GIT_COMMITTER_DATE",
    "GIT_COMMITTER_EMAIL",
    "GIT_COMMITTER_NAME",
    "GIT_DEFAULT_HASH",
    "GIT_FLUSH",
    "GIT_MERGE_AUTOEDIT",
    "GIT_OPTIONAL_LOCKS",
    "GIT_PRINT_SHA1_ELLIPSIS",
    "GIT_PROTOCOL_FROM_USER",
    "GIT_REFLOG_ACTION",
    "GIT_TERMINAL_PROMPT",
];

/// Whether a variable of this name makes programs load or run something. `value` is what it is set to, where the policy sets it.
pub(super) fn is_loader(name: &str, value: Option<&str>) -> bool {
    if LOADERS.contains(&name) || name.starts_with("LD_") || name.starts_with("DYLD_") {
        return true;
    }
    let Some(rest) = name.strip_prefix("GIT_") else { return false };
    if GIT_PLAIN.contains(&name) || rest.starts_with("TRACE") {
        return false;
    }
    match (rest.strip_prefix("CONFIG_"), value) {
        // Settings one by one: it is the keys that tell what they can do.
        (Some(rest), Some(value)) if rest.starts_with("KEY_") => git_setting_runs(value),
        (Some(rest), Some(_)) if rest == "COUNT" || rest == "NOSYSTEM" || rest.starts_with("VALUE_") => false,
        _ => true,
    }
}

/// Whether git runs what a setting of this key holds, or reads more settings from there (git-config(1)).
fn git_setting_runs(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let (section, last) = (key.split('.').next().unwrap_or_default(), key.rsplit('.').next().unwrap_or_default());
    matches!(section, "alias" | "pager" | "include" | "includeif" | "filter" | "mergetool" | "difftool" | "man" | "browser")
        || matches!(
            last,
            "hookspath"
                | "fsmonitor"
                | "sshcommand"
                | "editor"
                | "pager"
                | "gitproxy"
                | "askpass"
                | "attributesfile"
                | "alternaterefscommand"
                | "command"
                | "textconv"
                | "external"
                | "driver"
                | "helper"
                | "program"
                | "templatedir"
                | "difffilter"
                | "packobjectshook"
                | "receivepack"
                | "uploadpack"
                | "proxycommand"
                | "defaultkeycommand"
                | "tocmd"
                | "cccmd"
                | "sendmailcmd"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_told_from_others() {
        for name in [
            "GITHUB_TOKEN",
            "OPENAI_API_KEY",
            "DB_PASSWORD",
            "AWS_SESSION_TOKEN",
            "AWS_PROFILE",
            "SSH_AUTH_SOCK",
            "CLIENT_SECRET_FILE",
            "NPM_PAT",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["PATH", "HOME", "AWS_REGION", "KEYBOARD", "MONKEY", "CARGO_HOME", "GOFLAGS", "COMPASS"] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn settings_of_git_count_by_what_they_can_do() {
        for (name, value) in [
            ("LD_PRELOAD", None),
            ("GIT_SSH_COMMAND", Some("ssh")),
            ("GIT_CONFIG_COUNT", None),
            ("GIT_CONFIG_KEY_0", Some("core.hooksPath")),
            ("GIT_CONFIG_KEY_1", Some("alias.x")),
            ("GIT_CONFIG_GLOBAL", Some("x")),
        ] {
            assert!(is_loader(name, value), "{name}");
        }
        for (name, value) in [
            ("GIT_CONFIG_COUNT", Some("1")),
            ("GIT_CONFIG_KEY_0", Some("gc.autoDetach")),
            ("GIT_CONFIG_VALUE_0", Some("false")),
            ("GIT_AUTHOR_NAME", None),
            ("PATH", None),
        ] {
            assert!(!is_loader(name, value), "{name}");
        }
    }
}
