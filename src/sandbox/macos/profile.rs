//! From a plan to a profile in Seatbelt's language (SBPL): pure.
//!
//! Of several rules that match an operation the last one holds. So the order is: nothing; what every program needs; what the policy grants; and
//! then what is protected and denied, which nothing after it gives back, with one exception that is named where it stands.
//!
//! No path and no pattern of a policy's is ever part of the text: each is a parameter, and the text names it by a kind and a number. A path can
//! hold what it likes and stays a path.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    expression::{ANYWHERE, END, in_any_case, pattern, quoted},
    places::{Grant, Places, git_folders, protected, real},
    refusal::Refusal,
    services::{DEVELOPER_TOOLS, LOADER, Need, SHARED_NAMES, VALUE_PREFIXES, VALUES, services},
    writer::{Filters, Writer, text},
};
use crate::{
    policy::{GitAccess, NetworkMode},
    sandbox::plan::{Access, Plan},
};

/// What `sandbox-exec` is handed: a text, and the values of the parameters that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The rules.
    pub text: String,
    /// Names and values, in the order in which they were first named.
    pub parameters: Vec<(String, String)>,
}

impl Profile {
    /// SHA-256 of the text and each parameter, in hexadecimal digits: what a record says was enforced.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.text.as_bytes());
        for (name, value) in &self.parameters {
            // Neither holds a NUL.
            hash.update([&b"\0"[..], name.as_bytes(), b"=", value.as_bytes()].concat());
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What a profile depends on besides the plan: the facts of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts<'a> {
    /// The device of the call's own terminal, if it has one.
    pub terminal: Option<&'a Path>,
    /// The port of the loopback on which the proxy serves this call, if one does.
    pub proxy: Option<u16>,
    /// This program, where a file tool runs: then it is all that can be run.
    pub worker: Option<&'a Path>,
}

/// Renders a plan.
///
/// # Errors
/// Where Seatbelt cannot hold what the plan says: nothing may start then.
pub fn render(plan: &Plan, facts: &Facts<'_>) -> Result<Profile, Refusal> {
    let places = Places::of(plan)?;
    let mut writer = Writer::new();
    processes(&mut writer);
    system(&mut writer, plan, &places, facts);
    files(&mut writer, &places, facts)?;
    terminal(&mut writer, facts)?;
    network(&mut writer, plan, facts, &places)?;
    if places.changes_anything() {
        protect(&mut writer, plan, &places)?;
    }
    deny(&mut writer, plan, &places)?;
    Ok(writer.finish())
}

/// Operations on a file that is read.
pub(super) const READ: &str = "file-read* file-test-existence file-map-executable";
/// The same for one that is run as well.
const READ_AND_RUN: &str = "file-read* file-test-existence file-map-executable process-exec*";
/// All there are.
const EVERYTHING: &str = "file-read* file-test-existence file-map-executable process-exec* file-write*";

/// What is readable can be run, unless a file tool runs.
fn readable(facts: &Facts<'_>) -> &'static str {
    if facts.worker.is_some() { READ } else { READ_AND_RUN }
}

fn processes(writer: &mut Writer) {
    writer.section("Processes: its own, and nobody else's");
    writer.rule("allow", "process-fork", &[]);
    writer.rule("allow", "process-info* signal", &["(target same-sandbox)".to_owned()]);
}

/// The tools that `/usr/bin` leads to, where a policy grants that.
fn tools(plan: &Plan, places: &Places) -> Vec<Need> {
    let granted = places.grants.iter().any(|grant| Path::new("/usr/bin").starts_with(&grant.folder)) && !plan.deny.contains(&"/usr".into());
    if granted { DEVELOPER_TOOLS.to_vec() } else { Vec::new() }
}

fn needs(list: &[Need], filter: &str) -> Vec<String> {
    list.iter().map(|need| format!("({filter} \"{}\") ; {}", need.name, need.why)).collect()
}

fn system(writer: &mut Writer, plan: &Plan, places: &Places, facts: &Facts<'_>) {
    writer.section("Services of the system");
    let found: Vec<Need> = services(plan.network).copied().collect();
    writer.rule("allow", "mach-lookup", &needs(&found, "global-name"));
    let mut values = needs(&VALUE_PREFIXES, "sysctl-name-prefix");
    values.extend(needs(&VALUES, "sysctl-name"));
    writer.rule("allow", "sysctl-read", &values);
    writer.rule("allow", "ipc-posix-sem ipc-posix-shm", &needs(&SHARED_NAMES, "ipc-posix-name-prefix"));
    writer.section("Places of the system");
    writer.rule("allow", "file-read-metadata file-test-existence", &["/etc", "/tmp", "/var"].map(|path| format!("(literal \"{path}\")")));
    writer.rule("allow", "file-read* file-test-existence", &["(literal \"/\")".to_owned()]);
    writer.rule("allow", READ, &needs(&LOADER, "subpath"));
    writer.rule("allow", readable(facts), &needs(&tools(plan, places), "subpath"));
    let devices = ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/tty"].map(|path| format!("(literal \"{path}\")"));
    writer.rule("allow", "file-read* file-test-existence file-write-data file-ioctl", &devices);
    writer.rule("allow", "file-read* file-test-existence file-write-data", &["(subpath \"/dev/fd\")".to_owned()]);
    let streams = ["/dev", "/dev/stdin", "/dev/stdout", "/dev/stderr"].map(|path| format!("(literal \"{path}\")"));
    writer.rule("allow", "file-read-metadata file-test-existence", &streams);
}

/// What is granted. A folder that a private one stands in for is closed before what lies in it is opened; the private ones come last.
fn files(writer: &mut Writer, places: &Places, facts: &Facts<'_>) -> Result<(), Refusal> {
    writer.section("What the policy grants");
    let mut steps: Vec<(&Path, Option<&Grant>)> = places.hidden.iter().map(|folder| (folder.as_path(), None)).collect();
    steps.extend(places.grants.iter().filter(|grant| !grant.private).map(|grant| (grant.folder.as_path(), Some(grant))));
    steps.sort_by_key(|(folder, grant)| (*folder, grant.is_some()));
    steps.extend(places.grants.iter().filter(|grant| grant.private).map(|grant| (grant.folder.as_path(), Some(grant))));
    let (mut read, mut written) = (Vec::new(), Vec::new());
    for (folder, grant) in steps {
        if let Some(grant) = grant {
            let filter = writer.subpath("GRANT", folder)?;
            written.extend(Some(filter.clone()).filter(|_| grant.access == Access::Write));
            read.push(filter);
            continue;
        }
        writer.rule("allow", readable(facts), &std::mem::take(&mut read));
        writer.rule("allow", "file-write*", &std::mem::take(&mut written));
        let hidden = writer.subpath("HIDDEN", folder)?;
        writer.rule("deny", EVERYTHING, &[hidden]);
    }
    writer.rule("allow", readable(facts), &read);
    writer.rule("allow", "file-write*", &written);
    let mut around: Vec<&Path> = places.grants.iter().map(|grant| grant.folder.as_path()).collect();
    let worker = facts.worker.map(real);
    if let Some(worker) = &worker {
        let own = writer.literal("WORKER", worker)?;
        writer.rule("allow", READ_AND_RUN, &[own]);
        around.push(worker);
    }
    // To find a file takes looking at the folders on the way; it says no more than that they exist.
    let mut ancestors = Filters::default();
    for path in around {
        ancestors.push(format!(
            "(path-ancestors (param \"{}\"))",
            writer.name(if Some(path) == worker.as_deref() { "WORKER" } else { "GRANT" }, path)?
        ));
    }
    writer.rule("allow", "file-read-metadata file-test-existence", &ancestors.0);
    Ok(())
}

fn terminal(writer: &mut Writer, facts: &Facts<'_>) -> Result<(), Refusal> {
    writer.section("Terminals: those that it makes, and its own; never the person's, which are devices beside them");
    writer.rule("allow", "pseudo-tty", &[]);
    let operations = "file-read* file-test-existence file-write* file-ioctl";
    writer.rule("allow", operations, &["(literal \"/dev/ptmx\")".to_owned()]);
    let made = "(require-all (regex #\"^/dev/ttys[0-9]+$\") (extension \"com.apple.sandbox.pty\"))";
    writer.rule("allow", operations, &[made.to_owned()]);
    if let Some(terminal) = facts.terminal {
        let own = writer.literal("TERMINAL", terminal)?;
        writer.rule("allow", operations, &[own]);
    }
    Ok(())
}

fn network(writer: &mut Writer, plan: &Plan, facts: &Facts<'_>, places: &Places) -> Result<(), Refusal> {
    writer.section("Network");
    // Sockets of its own, in its own folders. In the workspace a server of the host's could be listening.
    let own: Vec<&Grant> = places.writable().filter(|grant| grant.private).collect();
    let sockets: Vec<PathBuf> =
        plan.sockets.iter().filter(|path| !plan.deny.iter().any(|deny| path.starts_with(deny))).map(|path| real(path)).collect();
    if !own.is_empty() || !sockets.is_empty() {
        writer.rule("allow", "system-socket", &["(socket-domain AF_UNIX)".to_owned()]);
    }
    for grant in own {
        let filter = writer.subpath("GRANT", &grant.folder)?;
        writer.rule("allow", "network-bind network-inbound", &[format!("(local unix-socket {filter})")]);
        writer.rule("allow", "network-outbound", &[format!("(remote unix-socket {filter})")]);
    }
    for socket in &sockets {
        let filter = writer.subpath("SOCKET", socket)?;
        writer.rule("allow", "network-outbound", &[format!("(remote unix-socket {filter})")]);
    }
    if facts.worker.is_some() {
        return Ok(());
    }
    let ip = |which: &str, host: &str| [format!("({which} ip \"{host}\")")];
    match plan.network {
        NetworkMode::None => {}
        // There is one loopback, the machine's.
        NetworkMode::Loopback => {
            writer.rule("allow", "network-bind network-inbound", &ip("local", "localhost:*"));
            writer.rule("allow", "network-outbound", &ip("remote", "localhost:*"));
        }
        NetworkMode::Allowlist => {
            let port = facts.proxy.ok_or(Refusal::NoProxy)?;
            writer.rule("allow", "network-outbound", &ip("remote", &format!("localhost:{port}")));
        }
        NetworkMode::Open => {
            writer.rule("allow", "network-bind network-inbound", &ip("local", "*:*"));
            writer.rule("allow", "network-outbound", &ip("remote", "*:*"));
            // Names are looked up by a socket of the system's.
            writer.rule("allow", "network-outbound", &["(literal \"/private/var/run/mDNSResponder\")".to_owned()]);
            writer.rule("allow", "system-socket", &[]);
        }
    }
    Ok(())
}

/// What makes git run something, or look elsewhere for what does, in the folder of a repository. `modules` and `worktrees` hold such folders
/// again; what a rebase has yet to do may be commands.
const GIT_EXECUTING: &str = "(commondir|config|config\\.worktree|hooks|info/attributes|gitdir|modules|rebase-merge|worktrees)";

/// What is never written, also while it is absent, and in any case of its letters.
///
/// Seatbelt judges the name of what is moved and not what is in it. So the folders around a protected place can neither be moved nor made, the
/// patterns hold in every writable folder, and the folder of a repository can be made nowhere.
fn protect(writer: &mut Writer, plan: &Plan, places: &Places) -> Result<(), Refusal> {
    writer.section("Protected: never written, also while absent");
    let (mut whole, mut pinned) = (Filters::default(), Filters::default());
    for grant in places.writable() {
        pinned.push(writer.literal("GRANT", &grant.folder)?);
    }
    let base = any_of(places.writable().map(|grant| grant.folder.as_path()))?;
    patterns(writer, &base, &plan.protect_globs, &mut whole, &mut pinned)?;
    let git = format!("^{base}/{ANYWHERE}{}", in_any_case(".git").unwrap_or_default());
    if plan.git == GitAccess::None {
        whole.push(writer.regex("GIT", format!("{git}{END}")));
    } else {
        // A file of this name leads to another repository.
        whole.push(writer.regex("GIT", format!("{git}$")));
        whole.push(writer.regex("GIT", format!("{git}/{}{END}", executing_in_any_case())));
        pinned.push(writer.regex("GIT", format!("{git}/[iI][nN][fF][oO]$")));
    }
    for path in protected(plan) {
        let path = places.lies(&path);
        for grant in places.writable().filter(|grant| path.starts_with(&grant.folder)) {
            let base = quoted(text(&grant.folder)?);
            let below = path.strip_prefix(&grant.folder).unwrap_or(Path::new(""));
            whole.push(writer.subpath("PROTECTED", &path)?);
            for (number, part) in below.ancestors().filter(|part| !part.as_os_str().is_empty()).enumerate() {
                let any = in_any_case(text(part)?).ok_or_else(|| Refusal::NameCharacters { path: path.clone() })?;
                match number {
                    0 => whole.push(writer.regex("NAME", format!("^{base}/{any}{END}"))),
                    _ => pinned.push(writer.regex("NAME", format!("^{base}/{any}$"))),
                }
            }
        }
    }
    writer.rule("deny", "file-write*", &whole.0);
    writer.rule("deny", "file-write-create file-write-unlink", &pinned.0);
    linked(writer, plan, places)
}

/// The repository that the workspace is linked to. Its own part lies among what was just closed, and is opened again: the one exception.
fn linked(writer: &mut Writer, plan: &Plan, places: &Places) -> Result<(), Refusal> {
    let folders: Vec<PathBuf> = git_folders(plan).into_iter().skip(1).collect();
    let writable = |path: &PathBuf| places.writable().any(|grant| path.starts_with(&grant.folder));
    if plan.git == GitAccess::None || !folders.iter().all(writable) {
        return Ok(());
    }
    let [common, own] = folders.as_slice() else { return Ok(()) };
    let executing = executing_in_any_case();
    let closed = [writer.regex("GIT", format!("^{}/{executing}{END}", quoted(text(common)?)))];
    writer.rule("deny", "file-write*", &closed);
    if own != common {
        let opened = writer.subpath("LINKED", own)?;
        writer.rule("allow", "file-write*", &[opened]);
        let closed = [writer.regex("GIT", format!("^{}/{executing}{END}", quoted(text(own)?)))];
        writer.rule("deny", "file-write*", &closed);
    }
    let kept = [writer.literal("LINKED", common)?, writer.literal("LINKED", own)?];
    writer.rule("deny", "file-write-create file-write-unlink", &kept);
    Ok(())
}

/// As they are, with letters in any case: the signs of the expression are no letters.
fn executing_in_any_case() -> String {
    GIT_EXECUTING.chars().fold(String::new(), |mut out, character| {
        match character {
            'a'..='z' => out.extend(['[', character, character.to_ascii_uppercase(), ']']),
            other => out.push(other),
        }
        out
    })
}

/// What is neither read nor written, whatever else is said.
fn deny(writer: &mut Writer, plan: &Plan, places: &Places) -> Result<(), Refusal> {
    writer.section("Denied: neither read nor written, whatever else is said");
    let (mut whole, mut pinned) = (Filters::default(), Filters::default());
    let of_system = |path: &PathBuf| {
        LOADER.iter().chain(&DEVELOPER_TOOLS).any(|need| path.starts_with(need.name) || Path::new(need.name).starts_with(path))
    };
    for path in plan.deny.iter().map(|path| real(path)).filter(|path| places.touches(path) || of_system(path)) {
        whole.push(writer.subpath("DENIED", &path)?);
        for grant in places.writable().filter(|grant| path.starts_with(&grant.folder) && path != grant.folder) {
            for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(&grant.folder)) {
                pinned.push(writer.literal("PIN", folder)?);
            }
        }
    }
    // Where nothing but private folders can be written, a denied file can be moved nowhere, and the patterns are about the workspace alone.
    let everywhere = places.changes_anything();
    let workspace = real(&plan.workspace);
    let mut bases: BTreeSet<&Path> = BTreeSet::from([workspace.as_path()]);
    bases.extend(places.writable().filter(|_| everywhere).map(|grant| grant.folder.as_path()));
    patterns(writer, &any_of(bases.into_iter())?, &plan.deny_globs, &mut whole, &mut pinned)?;
    // The same files by their other path (firmlinks), if the kernel should ever tell that one.
    whole.push("(subpath \"/System/Volumes/Data\")".to_owned());
    writer.rule("deny", EVERYTHING, &whole.0);
    writer.rule("deny", "file-write-unlink", &pinned.0);
    Ok(())
}

/// What patterns match below any of the folders that `base` matches, and the folders that they spell out.
fn patterns(writer: &mut Writer, base: &str, globs: &[String], whole: &mut Filters, pinned: &mut Filters) -> Result<(), Refusal> {
    for glob in globs {
        let pattern = pattern(glob)?;
        whole.push(writer.regex("PATTERN", format!("^{base}/{}", pattern.whole)));
        for folder in pattern.folders {
            pinned.push(writer.regex("PATTERN", format!("^{base}/{folder}$")));
        }
    }
    Ok(())
}

/// An expression for one of several folders.
fn any_of<'a>(folders: impl Iterator<Item = &'a Path>) -> Result<String, Refusal> {
    let quoted = folders.map(|folder| text(folder).map(quoted)).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("({})", quoted.join("|")))
}
