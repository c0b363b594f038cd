//! The rules: their ids, how much each matters, and what each is about.

use super::Severity::{self, Error, Note, Warning};

/// A rule of the linter.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its id, by which a comment can accept what it finds.
    pub id: &'static str,
    /// How much its findings matter.
    pub severity: Severity,
    /// What it finds and why that matters.
    pub help: &'static str,
}

macro_rules! rules {
    ($($name:ident $id:literal $severity:ident $help:literal;)*) => {
        $(pub(super) static $name: Rule = Rule { id: $id, severity: $severity, help: $help };)*
        /// All rules, by theme.
        pub static RULES: &[&Rule] = &[$(&$name),*];
    };
}

rules! {
    // Entries of path lists.
    SHADOWED_RULE "shadowed-rule" Warning "An entry without effect: a wider one of the same list covers it, or a deny takes all of it away.";
    DUPLICATE_ENTRY "duplicate-entry" Warning "The same place stands twice in a list; one of the two was probably meant to be another.";
    MISSING_PATH "missing-path" Note "A place that is to be readable or writable does not exist on this machine.";
    PROTECT_NOT_WRITABLE "protect-not-writable" Note "What no entry makes writable needs no protection.";
    DENY_UNCOVERED "deny-uncovered" Note "What nothing lets be read need not be denied.";
    GLOB_NEVER_MATCHES "glob-never-matches" Warning "Globs do not count in folders that package managers fill, so that one which names such a folder on the way matches nothing.";
    SYMLINK_OUT "symlink-out" Note "An entry is a link, and what it leads to lies elsewhere: the place behind it is what the policy opens or closes.";
    // What places give away.
    OVER_WIDE_READ "over-wide-read" Warning "A place to read that holds whole homes, or everything that programs keep of a person.";
    OVER_WIDE_WRITE "over-wide-write" Error "A place to write that holds the system's own files, or whole homes.";
    WRITABLE_ON_PATH "writable-on-path" Error "What a call writes into a folder of the PATH, a person runs later, outside of the sandbox.";
    WRITABLE_STARTUP_FILE "writable-startup-file" Error "Shells, desktops, editors, cron and git run what such files say, outside of the sandbox.";
    WRITABLE_TOOLCHAIN "writable-toolchain" Warning "A changed compiler or interpreter runs outside of the sandbox the next time the person builds something.";
    CREDENTIAL_STORE_READABLE "credential-store-readable" Error "Keys, tokens and password stores can be read, and with a network be sent away.";
    ROOT_EQUIVALENT_SOCKET "root-equivalent-socket" Error "Whoever can connect to such a socket has a service of the host do what the sandbox forbids, mostly as root.";
    SOCKET_IN_REACH "socket-in-reach" Warning "The service behind a socket of the host acts outside of the sandbox for whoever connects. Sockets on which somebody listens when a call begins are covered; those that come later are not.";
    WRITE_WITHOUT_PRIVATE_TMP "write-without-private-tmp" Warning "A temporary folder that all programs of the machine share: files of others can be taken for one's own, and the other way round.";
    // Rules over commands.
    NEVER_MATCHES "never-matches" Warning "A rule without effect: a stricter one reaches every command that it does. Forbid beats ask, and ask beats allow.";
    REDUNDANT_RULE "redundant-rule" Warning "A rule that says again what another one says already.";
    INTERPRETER_ALLOWED "interpreter-allowed" Warning "A program that runs whatever it is given is allowed: nothing judges what it then runs.";
    NO_EXAMPLES "no-examples" Note "A rule with match examples is checked whenever the policy is loaded; one without is only hoped to match.";
    NO_WHY "no-why" Note "The person who is asked and the model that is refused are not told why.";
    RELATIVE_PROGRAM "relative-program" Warning "A program in the workspace is whatever the last call has made of it.";
    MISSING_PROGRAM "missing-program" Note "No folder of the PATH has a program of this name; it may be misspelt.";
    WRAPPER_FORBIDDEN "wrapper-forbidden" Note "A program that only runs another one is forbidden; the other one runs without it just as well.";
    // Everything else.
    OPEN_NETWORK "open-network" Warning "Every host can be reached, so that whatever is readable can be sent anywhere.";
    SECRET_INHERITED "secret-inherited" Warning "Every program of every call sees the variables that it is given.";
    SECRET_SET "secret-set" Error "A key or token stands in the policy, where it is read by whoever reads the file, and by every program of every call.";
    LOADER_VARIABLE "loader-variable" Warning "The variable makes programs load or run something that nobody named.";
    DEGRADE "degrade" Warning "Where the host lacks Landlock, calls run without it instead of not at all.";
    MISSING_LAYERS "missing-layers" Warning "Where the host lacks a layer that is not required, nobody hears of it.";
    LAX_LIMITS "lax-limits" Warning "A limit that a call reaches only after the machine has suffered.";
    ON_FAILURE_CONTINUE "on-failure-continue" Warning "Calls go on where nothing can be recorded: whoever fills the disk is not recorded.";
    METADATA_DETAIL "metadata-detail" Note "The log says that calls were made, and not what they did.";
    FULL_GIT "full-git" Warning "Calls may make repositories of their own, with hooks and settings that run programs outside of the sandbox for whoever enters them.";
    NEVER_ASKS_AND_FORBIDS_NOTHING "never-asks-and-forbids-nothing" Note "Every command runs, confined, without a question and without an exception.";
    // About comments that accept.
    ACCEPT_WITHOUT_REASON "accept-without-reason" Warning "A comment that accepts a finding says why, for whoever reads it later; without a reason it accepts nothing.";
    ACCEPT_UNKNOWN "accept-unknown" Warning "A comment accepts what no rule is called.";
}
