//! The part of a git configuration that can make git run nothing.
//!
//! Dozens of keys name programs (`core.fsmonitor`, `core.sshCommand`, `filter.*.clean`, `diff.external`, `alias.*` …), and each release of
//! git may bring a further one. So a list of what is harmless is kept here and not one of what is dangerous. Lines that are not written
//! in the plainest form are dropped as well: what git reads must be what is read here.

/// The longest configuration that is looked at, in bytes. A longer one is kept in no part.
pub const LONGEST: u64 = 1024 * 1024;

/// Sections (git-config(1), in lower case) and their keys that name no program, no further file and no address to turn to instead of
/// another; `*` stands for every key.
const HARMLESS: &[(&str, &[&str])] = &[
    ("advice", &["*"]),
    ("branch", &["autosetupmerge", "autosetuprebase", "merge", "pushremote", "rebase", "remote"]),
    ("color", &["*"]),
    ("column", &["*"]),
    ("commit", &["gpgsign", "status", "verbose"]),
    (
        "core",
        &[
            "abbrev",
            "autocrlf",
            "bare",
            "bigfilethreshold",
            "checkstat",
            "commitgraph",
            "compression",
            "eol",
            "filemode",
            "ignorecase",
            "logallrefupdates",
            "longpaths",
            "multipackindex",
            "precomposeunicode",
            "preloadindex",
            "protecthfs",
            "protectntfs",
            "quotepath",
            "repositoryformatversion",
            "safecrlf",
            "sharedrepository",
            "sparsecheckout",
            "sparsecheckoutcone",
            "symlinks",
            "trustctime",
            "untrackedcache",
            "whitespace",
        ],
    ),
    ("diff", &["algorithm", "colormoved", "mnemonicprefix", "noprefix", "renamelimit", "renames"]),
    ("extensions", &["*"]),
    ("feature", &["*"]),
    ("fetch", &["fsckobjects", "parallel", "prune", "prunetags", "writecommitgraph"]),
    ("gc", &["aggressivedepth", "aggressivewindow", "auto", "autodetach", "autopacklimit", "cruftpacks", "pruneexpire", "reflogexpire"]),
    ("i18n", &["*"]),
    ("index", &["skiphash", "sparse", "threads", "version"]),
    ("init", &["defaultbranch"]),
    ("lfs", &["repositoryformatversion"]),
    ("log", &["abbrevcommit", "date", "decorate", "follow"]),
    ("maintenance", &["auto", "strategy"]),
    ("merge", &["conflictstyle", "ff", "renamelimit", "renames"]),
    ("pack", &["threads", "usebitmaps", "windowmemory", "writebitmaphashcache"]),
    ("pull", &["ff", "rebase"]),
    ("push", &["autosetupremote", "default", "followtags"]),
    ("rebase", &["autosquash", "autostash", "updaterefs"]),
    ("receive", &["denycurrentbranch", "denydeletes", "denynonfastforwards", "fsckobjects"]),
    ("remote", &["fetch", "mirror", "partialclonefilter", "promisor", "prune", "push", "pushurl", "tagopt", "url"]),
    ("rerere", &["autoupdate", "enabled"]),
    ("status", &["*"]),
    ("submodule", &["active", "branch", "fetchrecursesubmodules", "ignore", "url"]),
    ("tag", &["sort"]),
    ("transfer", &["fsckobjects"]),
    ("user", &["email", "name"]),
];

/// A configuration without what could make git run something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Harmless {
    /// The lines that were kept, as they were.
    pub text: String,
    /// The keys with their values, or lines, that were not.
    pub dropped: Vec<String>,
}

/// Keeps what is harmless of a configuration. `worktree` says whether a work tree named by `core.worktree` lies where it may.
pub fn harmless(bytes: &[u8], worktree: &dyn Fn(&str) -> bool) -> Harmless {
    let mut kept = Harmless { text: String::new(), dropped: Vec::new() };
    if bytes.len() as u64 > LONGEST {
        kept.dropped.push("all of it, because it is too long".to_owned());
        return kept;
    }
    let text = String::from_utf8_lossy(bytes);
    let mut section: Option<&str> = None;
    let mut continues = false;
    for line in text.split('\n') {
        // A line that ends with a backslash goes on in the next one, which then is no line of its own.
        let continued = std::mem::replace(&mut continues, line.trim_end_matches('\r').ends_with('\\'));
        let trimmed = line.trim();
        if !continued && (trimmed.is_empty() || trimmed.starts_with(['#', ';'])) && !continues {
            continue;
        }
        let plain =
            !continued && !continues && trimmed.chars().all(|c| (' '..='~').contains(&c) || c == '\t' || !c.is_ascii() && !c.is_control());
        if plain && trimmed.starts_with('[') {
            section = header(trimmed);
            match section {
                Some(_) => kept.push(line),
                None => kept.drop(trimmed),
            }
            continue;
        }
        match (plain.then_some(trimmed).and_then(entry), section) {
            (Some((key, value)), Some(section)) if is_harmless(section, key, value, worktree) => kept.push(line),
            (Some((key, value)), Some(section)) => {
                kept.dropped.push(format!("{}.{}={value}", section.to_ascii_lowercase(), key.to_ascii_lowercase()));
            }
            // Below a header that was dropped its lines go with it.
            _ => kept.drop(trimmed),
        }
    }
    kept
}

impl Harmless {
    fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn drop(&mut self, line: &str) {
        self.dropped.push(line.to_owned());
    }
}

/// The section's name of a header that stands alone on its line in the form `[name]` or `[name "subsection"]`.
fn header(line: &str) -> Option<&str> {
    let inner = line.strip_prefix('[')?.strip_suffix(']')?;
    let (name, subsection) = inner.split_once(' ').map_or((inner, None), |(name, rest)| (name, Some(rest)));
    let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let quoted = subsection.is_none_or(|text| {
        text.len() > 1
            && text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).is_some_and(|text| !text.contains(['"', '\\', ']']))
    });
    (named && quoted).then_some(name)
}

/// A key and its value, written without escapes, comments or quotes but for one pair around the whole value.
fn entry(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=').map_or((line, "true"), |(key, value)| (key.trim(), value.trim()));
    let named = key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    (named && !inner.contains(['"', '\\', '#', ';'])).then_some((key, inner))
}

/// Whether a key with this value can make git run nothing.
pub fn is_harmless(section: &str, key: &str, value: &str, worktree: &dyn Fn(&str) -> bool) -> bool {
    let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
    match (section.as_str(), key.as_str()) {
        ("core", "worktree") => worktree(value),
        // A transport helper is a program (gitremote-helpers(7)), and a leading dash an option.
        ("remote" | "submodule", "url" | "pushurl") if value.contains("::") || value.starts_with('-') => false,
        // A branch's remote may be an address as well.
        ("branch", "remote" | "pushremote") if value.contains("::") || value.starts_with('-') => false,
        ("submodule", "update") => ["checkout", "rebase", "merge", "none"].contains(&value),
        _ => HARMLESS.iter().any(|(name, keys)| *name == section && (keys.contains(&"*") || keys.contains(&key.as_str()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Harmless {
        harmless(text.as_bytes(), &|value| value == "../../../sub")
    }

    #[test]
    fn what_git_itself_writes_is_kept_to_the_letter() {
        let text = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n\
                    \tworktree = ../../../sub\n[remote \"origin\"]\n\turl = https://example.org/x.git\n\
                    \tfetch = +refs/heads/*:refs/remotes/origin/*\n[branch \"main\"]\n\tremote = origin\n\tmerge = refs/heads/main\n\
                    [submodule \"libs/a\"]\n\tactive = true\n\tupdate = rebase\n[user]\n\tname = Zo\u{eb} X\n";
        assert_eq!(of(text), Harmless { text: text.to_owned(), dropped: Vec::new() });
    }

    #[test]
    fn what_could_run_something_is_dropped_however_it_is_written() {
        for text in [
            "[core]\n fsmonitor = touch /x",
            "[CORE]\n\tFsMonitor=/x",
            "[core] fsmonitor = /x",
            "[core]\n bare = false \\\n fsmonitor = /x",
            "[core]\n bare = \"false\\\nfsmonitor = /x\"",
            "[alias]\n st = !touch /x",
            "[include]\n path = ../evil",
            "[includeIf \"gitdir:/\"]\n path = ../evil",
            "[filter \"x\"]\n clean = touch /x",
            "[diff \"x\"]\n textconv = touch /x",
            "[remote \"x\"]\n url = ext::touch /x",
            "[remote \"x\"]\n uploadpack = touch /x",
            "[submodule \"x\"]\n update = !touch /x",
            "[core]\n worktree = /",
            "[url \"ext::x\"]\n insteadOf = evil",
            "[gpg]\n program = /x",
            "[core]\r fsmonitor = /x",
            "[core.x]\n bare = false",
            "[core \"a\\\"b\"]\n fsmonitor = x",
        ] {
            let found = of(text);
            assert!(!found.dropped.is_empty(), "{text:?}");
            for word in ["touch", "/x", "evil", "= /"] {
                assert!(!found.text.contains(word), "{text:?}: {found:?}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_kept_of_anything_is_kept_again_and_whole(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            let once = harmless(&bytes, &|_| false);
            proptest::prop_assert_eq!(harmless(once.text.as_bytes(), &|_| false), Harmless { text: once.text.clone(), dropped: Vec::new() });
        }

        #[test]
        fn git_reads_nothing_else_out_of_what_is_kept(lines in proptest::collection::vec("(\\[(core|alias|remote \"a\"|x.y)\\]?|(bare|fsmonitor|url|st)) ?(=|;|#|\\\\|\"|!| ){0,3}(true|x|\\\\|\")?", 0..12)) {
            let kept = harmless(lines.join("\n").as_bytes(), &|_| false);
            proptest::prop_assert!(!kept.text.contains("fsmonitor") && !kept.text.contains("st ="), "{:?}", kept);
        }
    }
}
