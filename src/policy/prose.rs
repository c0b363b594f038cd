//! What the model is told of a policy. Each [`Claim`] is a promise that a test probes against a real sandbox (invariant I10).
//!
//! The text is symbolic and the same on every machine: no temporary path, no home folder, no clock. It shows values from a
//! repository's file only quoted, shortened and counted, so that a list of paths cannot pose as instructions.

mod platform;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

pub use self::platform::Platform;
use super::{
    command::{DEEPEST, LONGEST, MOST_COMMANDS},
    error::visible,
    groups,
    host::PROXY_VARIABLES,
    judge,
    model::{Ask, Decision, GitAccess, NetworkMode, OnMissing, Origin, PathRule, Place, Policy},
    units::{show_duration, show_size},
};

/// Members of a group that stand beside its name.
const EXAMPLES: usize = 3;
/// Entries of one list that are shown; the rest is counted.
const SHOWN: usize = 12;
/// Characters of one entry that are shown.
const SHOWN_ENTRY: usize = 60;

/// What a claim promises. One variant per promise that can be probed for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClaimKind {
    /// Every call runs confined.
    Confined,
    /// What can be read.
    Reads,
    /// What can be written.
    Writes,
    /// What can be neither.
    Deny,
    /// What can never be written.
    Protect,
    /// `/tmp` is the session's own.
    PrivateTemporary,
    /// The home folder is the session's own.
    PrivateHome,
    /// `.git` is read-only.
    GitReadOnly,
    /// Commits work, hooks and settings stay.
    GitCommit,
    /// Repositories can be made.
    GitFull,
    /// There is no network.
    NetworkNone,
    /// There is a private loopback.
    NetworkLoopback,
    /// The listed hosts can be reached.
    NetworkAllowlist,
    /// The host's network can be reached.
    NetworkOpen,
    /// The variables that a call sees.
    Environment,
    /// Wall-clock time of a call.
    WallLimit,
    /// Memory of a call.
    MemoryLimit,
    /// Processes of a call.
    ProcessLimit,
    /// Open files of a process.
    OpenFilesLimit,
    /// Size of a file.
    FileSizeLimit,
    /// Disk space of a call.
    DiskLimit,
    /// Output that is kept.
    OutputLimit,
    /// Background processes end with their call.
    LifetimeEndsWithCall,
    /// Commands that ask or do not run.
    Commands,
    /// When a person is asked.
    AskMode,
    /// The host may lack a layer.
    Degrades,
    /// Nothing turns the sandbox off.
    NoEscalation,
    /// How a refusal looks, and what to do then.
    Refusal,
}

/// One promise to the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What it promises.
    pub kind: ClaimKind,
    /// One or two sentences.
    pub text: String,
}

/// Everything that the model is told, in the order in which it is told.
pub fn claims(policy: &Policy) -> Vec<Claim> {
    claims_on(policy, Platform::here())
}

/// The same as on a certain system.
pub fn claims_on(policy: &Policy, platform: Platform) -> Vec<Claim> {
    let mut out = Vec::new();
    let mut say = |kind, text: String| out.push(Claim { kind, text });
    say(ClaimKind::Confined, "Every tool call runs in a process that the kernel confines to what is said here.".to_owned());
    let files = &policy.filesystem;
    say(ClaimKind::Reads, format!("Readable: {}.", layers(&files.read)));
    say(ClaimKind::Writes, format!("Writable, and readable too: {}. {}", layers(&files.write), platform.besides()));
    if !files.deny.is_empty() {
        say(ClaimKind::Deny, platform.denied(&places(&files.deny)));
    }
    if !files.protect.is_empty() {
        say(ClaimKind::Protect, platform.protected(&places(&files.protect)));
    }
    if judge::hides(policy, &Place::Temporary) {
        say(ClaimKind::PrivateTemporary, platform.private_temporary());
    }
    if judge::hides(policy, &Place::PrivateHome) {
        say(ClaimKind::PrivateHome, platform.private_home(policy));
    }
    let (kind, text) = git(policy, platform);
    say(kind, text);
    let (kind, text) = network(policy, platform);
    say(kind, text);
    say(ClaimKind::Environment, environment(policy));
    limits(policy, platform, &mut say);
    say(ClaimKind::LifetimeEndsWithCall, platform.lifetime());
    if let Some(text) = commands(policy) {
        say(ClaimKind::Commands, text);
    }
    say(ClaimKind::AskMode, ask(policy));
    if policy.enforcement.on_missing == OnMissing::Degrade {
        say(ClaimKind::Degrades, platform.degrades(policy).to_owned());
    }
    say(ClaimKind::NoEscalation, "Nothing turns the sandbox off, and no argument of a call widens it.".to_owned());
    let text = "A refusal shows as \"Permission denied\", \"Operation not permitted\", \"Read-only file system\", \"Device or resource busy\", a \
                network error or a note that names the rule; a place that is not readable may look absent. Do not try to get round it: say what \
                you need and why.";
    say(ClaimKind::Refusal, text.to_owned());
    out
}

/// The section of the prompt that describes the sandbox, ending with the policy's name and fingerprint.
pub fn render(policy: &Policy) -> String {
    render_in_mode(policy, policy.ask)
}

/// The same for a session that asks more often than the policy does. The fingerprint is that of the policy as it was chosen, to which grants are bound.
pub fn render_in_mode(policy: &Policy, ask: Ask) -> String {
    render_on(policy, ask, Platform::here())
}

/// The same as on a certain system.
pub fn render_on(policy: &Policy, ask: Ask, platform: Platform) -> String {
    let mut text = String::from("# Sandbox\n");
    for claim in claims_on(&Policy { ask, ..policy.clone() }, platform) {
        text.push_str("- ");
        text.push_str(&claim.text);
        text.push('\n');
    }
    text.push_str(&format!("Policy: {}, fingerprint sha256:{}\n", visible(&policy.name, SHOWN_ENTRY), policy.fingerprint()));
    text
}

fn layers(lists: &[Vec<PathRule>]) -> String {
    let texts: BTreeSet<String> = lists.iter().map(|list| places(list)).collect();
    match texts.len() {
        0 => "nothing".to_owned(),
        1 => texts.into_iter().collect(),
        _ => {
            let numbered: Vec<String> = texts.iter().enumerate().map(|(n, text)| format!("({}) {text}", n + 1)).collect();
            format!("only what each of these lists covers: {}", numbered.join("; "))
        }
    }
}

/// Groups by name with a few of their members, then single places.
fn places(rules: &[PathRule]) -> String {
    let mut by_group: BTreeMap<&str, BTreeSet<&Place>> = BTreeMap::new();
    let mut single: BTreeSet<&Place> = BTreeSet::new();
    for rule in rules {
        match (&rule.origin.group, &rule.place) {
            (_, Place::Temporary | Place::PrivateHome) => _ = single.insert(&rule.place),
            (_, Place::Workspace(path)) if path.as_os_str().is_empty() => _ = single.insert(&rule.place),
            (Some(group), _) => _ = by_group.entry(group).or_default().insert(&rule.place),
            (None, _) => _ = single.insert(&rule.place),
        }
    }
    // A grant that was made from one member of a group names that member, not the group.
    let mut shown: Vec<String> = Vec::new();
    for (name, members) in by_group {
        let whole = groups::group(name).ok().flatten().filter(|group| group.rules.iter().all(|rule| members.contains(&rule.place)));
        match whole {
            Some(group) => shown.push(with_examples(name, &group.rules)),
            None => single.extend(members),
        }
    }
    let mut names: Vec<String> = single.into_iter().map(entry).collect();
    names.sort();
    shown.splice(0..0, shortened(names));
    if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") }
}

fn with_examples(name: &str, rules: &[PathRule]) -> String {
    let examples: Vec<String> = rules.iter().take(EXAMPLES).map(|rule| rule.place.to_string()).collect();
    match rules.len().checked_sub(EXAMPLES) {
        None | Some(0) => format!("@{name} ({})", examples.join(", ")),
        Some(more) => format!("@{name} ({} and {more} more)", examples.join(", ")),
    }
}

fn entry(place: &Place) -> String {
    match place {
        Place::Temporary => "the private /tmp".to_owned(),
        Place::PrivateHome => "the private ~".to_owned(),
        Place::Workspace(path) if path.as_os_str().is_empty() => "the workspace".to_owned(),
        other => quoted(&other.to_string()),
    }
}

fn quoted(text: &str) -> String {
    format!("`{}`", visible(text, SHOWN_ENTRY).replace('`', "'"))
}

fn shortened(mut entries: Vec<String>) -> Vec<String> {
    if let Some(more) = entries.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        entries.truncate(SHOWN);
        entries.push(format!("{more} more"));
    }
    entries
}

fn git(policy: &Policy, platform: Platform) -> (ClaimKind, String) {
    // Whether a path outside of the workspace's own terms covers `.git` is known only in a session.
    let covers = |rule: &PathRule| matches!(&rule.place, Place::Workspace(path) if Path::new(".git").starts_with(path));
    let lists = &policy.filesystem.write;
    let writable = !lists.is_empty() && lists.iter().all(|list| list.iter().any(covers));
    let condition = if writable { "" } else { " where the above makes .git writable" };
    if let Some(text) = platform.git(policy, condition) {
        // There is no difference between the two.
        return (if policy.git == GitAccess::Full { ClaimKind::GitFull } else { ClaimKind::GitCommit }, text);
    }
    match policy.git {
        GitAccess::None => (ClaimKind::GitReadOnly, "git: .git is read-only; status, log and diff work, commits do not.".to_owned()),
        GitAccess::Commit => (
            ClaimKind::GitCommit,
            format!(
                "git: commits and branches work{condition}, in submodules, worktrees and repositories inside the workspace too; hooks, \
                 configuration and attributes of each are read-only, and what a call makes of them in a new one is taken out of effect \
                 when it ends."
            ),
        ),
        GitAccess::Full => (
            ClaimKind::GitFull,
            format!(
                "git: commits work{condition}, and init and clone in writable folders of the workspace; hooks, configuration and \
                 attributes of each repository are read-only, and what a call makes of them in a new one is taken out of effect when \
                 it ends."
            ),
        ),
    }
}

fn network(policy: &Policy, platform: Platform) -> (ClaimKind, String) {
    let mode = policy.network.mode;
    match mode {
        NetworkMode::None => (ClaimKind::NetworkNone, format!("There is no network, not even a loopback; {}", sockets(policy, platform))),
        NetworkMode::Loopback => (ClaimKind::NetworkLoopback, format!("{} {}", platform.loopback(mode), sockets(policy, platform))),
        NetworkMode::Allowlist => (ClaimKind::NetworkAllowlist, allow_list(policy, platform)),
        NetworkMode::Open => (ClaimKind::NetworkOpen, format!("The host's network can be reached; {}", sockets(policy, platform))),
    }
}

/// The end of a sentence. What begins to listen in a readable folder while a call runs is not covered.
fn sockets(policy: &Policy, platform: Platform) -> String {
    let names = (!policy.network.sockets.is_empty()).then(|| places(&policy.network.sockets));
    platform.sockets(names.as_deref())
}

fn allow_list(policy: &Policy, platform: Platform) -> String {
    let names = |hosts: &[(String, Origin)]| {
        let hosts: BTreeSet<&str> = hosts.iter().map(|(host, _)| host.as_str()).collect();
        if hosts.is_empty() { "none".to_owned() } else { shortened(hosts.into_iter().map(quoted).collect()).join(", ") }
    };
    let lists: BTreeSet<String> = policy.network.allow.iter().map(|hosts| names(hosts)).collect();
    let way = "through the proxy that HTTP_PROXY, HTTPS_PROXY and ALL_PROXY name";
    let hosts = match lists.len() {
        0 => "No host can be reached: the allow list is empty.".to_owned(),
        1 => format!("Only these hosts can be reached, {way}: {}.", lists.into_iter().collect::<String>()),
        _ => format!(
            "Only hosts that each of these lists names can be reached, {way}: {}.",
            lists.into_iter().collect::<Vec<_>>().join("; ")
        ),
    };
    let never = if policy.network.deny.is_empty() { String::new() } else { format!(" Never: {}.", names(&policy.network.deny)) };
    format!(
        "{hosts}{never} A host without a port means its ports 80 and 443, and *.NAME what is below NAME. Nothing else gets out: no name is resolved inside, \
         and names that lead to private addresses are refused. {} {}",
        platform.loopback(NetworkMode::Allowlist),
        sockets(policy, platform)
    )
}

fn environment(policy: &Policy) -> String {
    let names = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let inherited = names(policy.environment.inherit.iter().map(String::as_str).collect());
    let set = policy.environment.set.keys().map(String::as_str).collect::<Vec<_>>();
    let fixed = if set.is_empty() { String::new() } else { format!(" Set to fixed values: {}.", set.join(", ")) };
    let proxy = match policy.network.mode {
        NetworkMode::Allowlist => format!(" For the proxy: {}.", PROXY_VARIABLES.join(", ")),
        _ => String::new(),
    };
    format!("Of the person's environment variables, calls see only: {inherited}.{fixed}{proxy}")
}

fn limits(policy: &Policy, platform: Platform, say: &mut impl FnMut(ClaimKind, String)) {
    let limits = &policy.limits;
    say(ClaimKind::WallLimit, format!("A call ends after {}.", show_duration(limits.wall)));
    if platform.bounds_shares() {
        say(ClaimKind::MemoryLimit, format!("A call has {} of memory; one that takes more is ended.", show_size(limits.memory)));
    }
    say(ClaimKind::ProcessLimit, format!("A call has room for about {} processes and threads.", limits.processes));
    say(ClaimKind::OpenFilesLimit, format!("A process has at most {} open files.", limits.open_files));
    say(ClaimKind::FileSizeLimit, format!("A written file has at most {}.", show_size(limits.file_size)));
    if platform.bounds_shares() {
        say(ClaimKind::DiskLimit, format!("A call that takes more than {} of disk space is ended.", show_size(limits.disk)));
    }
    say(ClaimKind::OutputLimit, format!("Of a call's output, {} is kept.", show_size(limits.output)));
}

fn commands(policy: &Policy) -> Option<String> {
    let of = |decision| {
        let rules = policy.commands.iter().filter(|rule| rule.decision == decision);
        let prefixes: BTreeSet<String> = rules.map(|rule| quoted(&rule.prefix.join(" "))).collect();
        (!prefixes.is_empty()).then(|| shortened(prefixes.into_iter().collect()).join(", "))
    };
    let asks = of(Decision::Ask).map(|list| match policy.ask {
        Ask::Never => format!("Refused, because they would have to ask: {list}."),
        Ask::WhenNeeded | Ask::Always => format!("A person is asked before, and where none can be asked it is refused: {list}."),
    });
    let forbids = of(Decision::Forbid).map(|list| format!("Never run: {list}."));
    let both: Vec<String> = asks.into_iter().chain(forbids).collect();
    (!both.is_empty()).then(|| both.join(" "))
}

fn ask(policy: &Policy) -> String {
    let beyond = || {
        let (size, most, deepest) = (show_size(LONGEST as u64), MOST_COMMANDS, DEEPEST);
        format!("a shell command of more than {size}, {most} simple commands or {deepest} levels of nesting")
    };
    let judges = policy.commands.iter().any(|rule| rule.decision != Decision::Allow);
    let allowed: BTreeSet<String> =
        policy.commands.iter().filter(|rule| rule.decision == Decision::Allow).map(|rule| quoted(&rule.prefix.join(" "))).collect();
    match policy.ask {
        Ask::WhenNeeded if judges => format!("Other calls run without asking, but {} asks.", beyond()),
        Ask::WhenNeeded => "Other calls run without asking.".to_owned(),
        Ask::Always if allowed.is_empty() => {
            "A person is asked before every call but update_plan; where none can be asked it is refused.".to_owned()
        }
        Ask::Always => format!(
            "A person is asked before every call but update_plan and plain shell commands (no redirection to a file, no variables, no expansions) that \
             begin with one of: {}; where none can be asked it is refused.",
            shortened(allowed.into_iter().collect()).join(", ")
        ),
        Ask::Never if judges => format!("Nobody can be asked: what would ask is refused with the reason, and so is {}.", beyond()),
        Ask::Never => "Nobody can be asked: what would ask is refused with the reason.".to_owned(),
    }
}
