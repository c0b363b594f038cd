//! The list of published escapes of coding agents and their sandboxes, and what stands for each of them here.
//!
//! Collected from CVE records, issue trackers and pages until November 2026; the numbers are the list's own and stay. A number whose escape lies
//! in prompts and command words alone has no case: nothing depends on them here ([`Standing::Elsewhere`]).

use super::case::Case;

/// What stands for a published escape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The cases that carry its number.
    Cases,
    /// The cases that carry its number, for what has an effect; the rest is a decision, which tests of their own cover.
    CasesAnd(&'static str),
    /// Tests of their own; why there is no case.
    Elsewhere(&'static str),
    /// Nothing: why it cannot happen here.
    DoesNotApply(&'static str),
}

/// One published escape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Its number in the list.
    pub number: u8,
    /// What it was.
    pub title: &'static str,
    /// What stands for it.
    pub standing: Standing,
}

/// The cases that carry a number.
pub fn cases_of(number: u8, cases: &[Case]) -> Vec<&'static str> {
    cases.iter().filter(|case| case.list.contains(&number)).map(|case| case.id).collect()
}

const WORDS: &str = "what a command's words are taken for: see the tests of `approval`";
const NO_HELPER: &str = "that portcullis itself starts no git, package manager or helper at all is kept by a lint (`disallowed-methods`)";
const NO_HOSTS: &str = "a policy that names hosts is refused where no egress proxy can hold it to them; host rules have tests of their own";

/// The list.
pub const PUBLISHED: [Published; 72] = {
    use Standing::{Cases, CasesAnd, DoesNotApply, Elsewhere};
    const fn row(number: u8, title: &'static str, standing: Standing) -> Published {
        Published { number, title, standing }
    }
    [
        row(1, "CVE-2025-59532 Codex: the model's working folder became the writable root", Cases),
        row(2, "CVE-2026-50548 Cursor: an agent-controlled working folder widened the write scope", Cases),
        row(3, "CVE-2026-50549 Cursor: a path that could not be made canonical was used as it was", Cases),
        row(4, "CVE-2025-55345 Codex: links in the repository were followed out of it", Cases),
        row(5, "CVE-2026-39861 Claude Code: a link made in the sandbox, followed by the editor tool outside", Cases),
        row(6, "CVE-2026-25724 Claude Code: a read-deny matched the literal path, not its target", Cases),
        row(7, "CVE-2025-54794 Claude Code: containment by the prefix of a string", Cases),
        row(8, "CVE-2026-25722 Claude Code: `cd .claude && write` got past protected paths", Cases),
        row(9, "CVE-2025-59944 Cursor: `.cUrSoR/mcp.json` on a file system that ignores case", Cases),
        row(
            10,
            "CVE-2026-40068 Claude Code: trust by a git commondir of the attacker's choosing",
            CasesAnd("no folder is trusted by what lies in it"),
        ),
        row(11, "CVE-2026-46406 Claude Code: a fixed, world-readable temporary file", Cases),
        row(12, "claude-code issue 17727: a deny glob was taken literally", Cases),
        row(13, "claude-code issues 86054, 32226: lists without effect although a namespace existed", Cases),
        row(14, "sandbox-runtime issue 79: `..` in a deny rule masked the parent", Cases),
        row(15, "CVE-2026-25725 Claude Code: settings were protected only where they existed", Cases),
        row(16, "CVE-2025-61260 Codex: the repository's .env set the home of the agent", CasesAnd("no .env file is ever read")),
        row(
            17,
            "CVE-2025-59536 Claude Code: the project's servers started before the trust dialog",
            CasesAnd("a repository's policy can name nothing that starts"),
        ),
        row(18, "CVE-2026-21852 Claude Code: the repository set the endpoint, and the key was sent there", Cases),
        row(19, "CVE-2026-33068 Claude Code: the repository's own mode skipped the trust dialog", Cases),
        row(20, "CVE-2025-65099, -59828 Claude Code: yarn at start-up loaded the repository's plugins", CasesAnd(NO_HELPER)),
        row(21, "CVE-2025-59041 Claude Code: git's user.email went through a shell at start-up", CasesAnd(NO_HELPER)),
        row(22, "CVE-2026-72718 goose: its own git diff honoured the repository's fsmonitor", CasesAnd(NO_HELPER)),
        row(23, "Codex pull requests 27025, 28714: an approved git status ran the repository's helper", CasesAnd(NO_HELPER)),
        row(24, "Codex pull request 26839: the project's configuration weakened the sandbox", Cases),
        row(25, "CVE-2026-26268 Cursor: hooks and configuration of git, written inside and run outside", Cases),
        row(26, "CVE-2025-54135, -54130 Cursor: the agent made settings that run by themselves", Cases),
        row(27, "CVE-2025-54136 Cursor: an approved MCP server was replaced", DoesNotApply("this version starts no MCP server")),
        row(28, "CVE-2025-53773 Copilot: the agent wrote its own permission to approve", Cases),
        row(
            29,
            "CVE-2026-12537 Gemini CLI: a headless run took the repository's .env into the launcher",
            CasesAnd("the launcher's environment is empty"),
        ),
        row(30, "Gemini CLI: a hook in settings of a pull request ran on the build machine", CasesAnd("there are no hooks")),
        row(31, "CVE-2025-68432, -68433 Zed: a project's settings started commands", Cases),
        row(32, "opencode issue 22292: a variable was merged after the managed configuration", Cases),
        row(33, "claude-code issue 36714: managed settings lost to the user's", Cases),
        row(34, "CVE-2025-54795 Claude Code: `echo` with another command inside", CasesAnd(WORDS)),
        row(
            35,
            "CVE-2025-58764 Claude Code: a safe tool with a flag that runs something (rg --pre)",
            Elsewhere("no tool is safe by its name: each runs in the sandbox, and `search` runs no program"),
        ),
        row(36, "CVE-2025-66032 Claude Code: IFS and bundled flags", CasesAnd(WORDS)),
        row(37, "CVE-2025-64755, CVE-2026-25723 Claude Code: sed that writes", CasesAnd(WORDS)),
        row(38, "CVE-2026-24887 Claude Code: find that runs and deletes", CasesAnd(WORDS)),
        row(39, "Claude Code: awk taken for a tool that only reads", CasesAnd(WORDS)),
        row(40, "CVE-2026-24053 Claude Code: a clobbering redirection was not seen", CasesAnd(WORDS)),
        row(41, "CVE-2026-29783 Copilot CLI: expansions that run", CasesAnd(WORDS)),
        row(
            42,
            "CVE-2026-22708 Cursor: builtins poisoned the environment of the next command",
            CasesAnd("each call gets a new environment"),
        ),
        row(43, "CVE-2025-54131, CVE-2025-62354, CVE-2026-31854 Cursor: backticks past an allow list", CasesAnd(WORDS)),
        row(44, "claude-code issues 4956, 28784: a grant for `cd` covered `cd && anything`", CasesAnd(WORDS)),
        row(45, "claude-code issues 36637, 31523: a deny rule looked at the first word only", CasesAnd(WORDS)),
        row(46, "Adversa: checks stopped after fifty subcommands", CasesAnd(WORDS)),
        row(47, "CVE-2026-53820 OpenClaw: a deny list saw the wrapper, not the program", CasesAnd(WORDS)),
        row(48, "Claude Code 2.1.289: assignments let deny rules miss", CasesAnd(WORDS)),
        row(49, "Claude Code 2.1.214: redirections, long commands, remote daemons, globs", CasesAnd(WORDS)),
        row(50, "CVE-2026-109560 Continue CLI: a prefix rule, plus ; && or a pipe", CasesAnd(WORDS)),
        row(51, "Gemini CLI issue 11510: only pipes were split", CasesAnd(WORDS)),
        row(52, "Codex pull requests 15796, 20085, 21381: git's options before the subcommand", CasesAnd(WORDS)),
        row(53, "claude-code issue 12690: allow beat deny", Cases),
        row(
            54,
            "Ona: /proc/self/root, a copied binary, the loader, then a request to leave the sandbox",
            CasesAnd("there is no such request"),
        ),
        row(55, "CVE-2026-42074 OpenClaude: an argument of the model's switched the sandbox off", Cases),
        row(56, "Codex issue 38318: the check and the executor disagreed", Cases),
        row(57, "CVE-2025-66479 sandbox-runtime: an empty allow list meant no rule", Cases),
        row(58, "Claude Code: a NUL in a host name got past the suffix check", Elsewhere(NO_HOSTS)),
        row(59, "CVE-2026-24052 Claude Code: trust by the beginning of a domain", Elsewhere(NO_HOSTS)),
        row(60, "claude-code issue 87381: a relayed CONNECT was allowed", Elsewhere(NO_HOSTS)),
        row(61, "CVE-2025-55284; sandbox-runtime issue 88: names carry data to a resolver", Cases),
        row(62, "claude-code issue 87163: network rules with the sandbox off, and no error", Cases),
        row(63, "CVE-2026-22812 opencode: a local server without authentication ran shells", CasesAnd("portcullis listens on nothing")),
        row(64, "landrun issue 43: unix sockets by path are not covered by Landlock", Cases),
        row(65, "AutoProver issue 73: no scopes, so the agent could be signalled", Cases),
        row(66, "birdcage issue 32: io_uring past filters of socket calls", Cases),
        row(67, "CVE-2017-5226: TIOCSTI types into the person's terminal", Cases),
        row(68, "Codex pull request 18050: the socket of Docker Desktop", Cases),
        row(
            69,
            "Gemini CLI pull request 28423: a Seatbelt profile that allows by default",
            Elsewhere("every profile denies by default, and the tests (`seatbelt`) read no other"),
        ),
        row(70, "claude-code issue 30731: secrets from /proc/PID/environ", Cases),
        row(71, "bounty-challenge issue 15204: writable folders on the PATH", Cases),
        row(72, "MCP servers outside of the sandbox", CasesAnd("this version starts no MCP server")),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selftest::cases;

    #[test]
    fn every_published_escape_has_a_case_or_a_reason_and_no_case_carries_a_number_that_says_otherwise() {
        let cases = cases::all();
        for (index, published) in PUBLISHED.iter().enumerate() {
            assert_eq!(usize::from(published.number), index + 1);
            let found = cases_of(published.number, &cases);
            match published.standing {
                Standing::Cases | Standing::CasesAnd(_) => assert!(!found.is_empty(), "{} has no case", published.number),
                Standing::Elsewhere(why) | Standing::DoesNotApply(why) => {
                    assert!(found.is_empty() && !why.is_empty(), "{}: {found:?}", published.number)
                }
            }
        }
        for case in &cases {
            assert!(case.list.iter().all(|number| (1..=72).contains(number)), "{}", case.id);
        }
    }

    #[test]
    fn each_case_has_a_name_of_its_own() {
        let cases = cases::all();
        let names: std::collections::BTreeSet<&str> = cases.iter().map(|case| case.id).collect();
        assert_eq!(names.len(), cases.len());
        for case in cases {
            assert!(case.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'), "{}", case.id);
        }
    }
}
