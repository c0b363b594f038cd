//! What a profile lets, by the evaluator; what it does not depend on; and what is refused.

use std::path::{Path, PathBuf};

use portcullis::{
    policy::{NetworkMode, preset},
    sandbox::{
        Applied, Plan, Session,
        macos::{
            arguments::{SANDBOX_EXEC, arguments, environment, lies, links},
            places::Places,
            profile::{Facts, Profile, render},
            refusal::Refusal,
            services::{DEVELOPER_TOOLS, LOADER, NETWORK_SERVICES, SERVICES, SHARED_NAMES, VALUE_PREFIXES, VALUES},
        },
    },
};
use proptest::prelude::*;

use crate::{
    evaluator::About,
    world::{Asked, PRIVATE, WORKSPACE, linked, plan, policy, profile, refusal, session},
};

fn everyday() -> Asked {
    Asked::plan(&plan("workspace-write", ""))
}

#[test]
fn what_is_granted_is_open_and_nothing_else_is() {
    let asked = everyday();
    for path in [
        "/usr/bin/git",
        "/private/etc/hosts",
        "/Users/me/.cargo/bin/cargo",
        "/System/Library/Frameworks/x",
        "/opt/homebrew/bin/python3",
        "/Users/me/project/src/main.rs",
    ] {
        assert!(asked.reads(path), "{path}");
    }
    for path in [
        "/Users/me/notes",
        "/Users/me/.ssh/id_ed25519",
        "/Users/you/x",
        "/private/tmp/x",
        "/private/var/folders/ab/cd/T/other",
        "/Users/me/.local/state/portcullis/audit",
        "/System/Volumes/Data/Users/me/project/x",
        "/Volumes/x",
        "/private/etc/sudoers",
        "/Users/me/.cargo/credentials.toml",
    ] {
        assert!(!asked.reads(path) && !asked.makes(path) && !asked.runs(path), "{path}");
    }
    for path in ["/usr/local/bin/x", "/Users/me/.cargo/bin/cargo", "/private/etc/hosts", "/Users/me/.cargo/registry/x", "/System/Library/x"]
    {
        assert!(!asked.writes(path) && !asked.makes(path) && !asked.removes(path), "{path}");
    }
    for folder in
        ["/Users/me/project/src", "/private/var/folders/ab/cd/T/portcullis-x/tmp/x", "/private/var/folders/ab/cd/T/portcullis-x/home/x"]
    {
        assert!(asked.makes(folder) && asked.removes(folder) && asked.runs(folder), "{folder}");
    }
    assert!(
        asked.reads(&format!("{PRIVATE}/outputs/1"))
            && !asked.makes(&format!("{PRIVATE}/outputs/1"))
            && !asked.reads(&format!("{PRIVATE}/log"))
    );
    // A hard link would be another name for what a path keeps.
    assert!(!asked.asks("file-link", About::File(Path::new("/Users/me/project/x"))));
    assert!(!asked.asks("file-clone", About::File(Path::new("/Users/me/project/x"))));
}

#[test]
fn a_private_folder_closes_the_real_one_however_they_lie_in_one_another() {
    let wide = plan("workspace-write", "[filesystem]\nread = [\"/Users\", \"/usr\", \"@workspace\", \"@toolchains\"]");
    let asked = Asked::plan(&wide);
    assert!(asked.reads("/Users/you/x") && asked.reads("/Users/me/.cargo/bin/cargo") && asked.writes(&format!("{WORKSPACE}/x")));
    assert!(!asked.reads("/Users/me/notes") && !asked.reads("/Users/me/.cargo/other"));
    // The workspace in the real temporary folder, and the home in the workspace's parent.
    let session = Session { workspace: "/tmp/a/project".into(), home: "/tmp/a/me".into(), ..session() };
    let rules = "[filesystem]\nread = [\"/tmp/a\", \"/usr\", \"@toolchains\"]";
    let asked = Asked::plan(&Plan::new(&policy("workspace-write", rules), &session).unwrap());
    assert!(asked.writes("/private/tmp/a/project/x") && asked.reads("/private/tmp/a/x") && asked.reads("/private/tmp/a/me/.cargo/bin/x"));
    assert!(!asked.reads("/private/tmp/x") && !asked.reads("/private/tmp/a/me/notes") && !asked.writes("/private/tmp/a/x"));
}

#[test]
fn every_folder_on_the_way_can_be_looked_at() {
    let asked = everyday();
    for granted in [WORKSPACE, PRIVATE, "/Users/me/.cargo/bin"] {
        for folder in Path::new(granted).ancestors().skip(1) {
            assert!(asked.asks("file-read-metadata", About::File(folder)), "{}", folder.display());
            assert!(folder == Path::new("/") || !asked.asks("file-read-data", About::File(folder)), "{}", folder.display());
        }
    }
}

#[test]
fn processes_terminals_and_services_are_its_own() {
    let asked = everyday();
    for operation in ["signal", "process-info-pidinfo"] {
        assert!(asked.asks(operation, About::Process(true)) && !asked.asks(operation, About::Process(false)), "{operation}");
    }
    let terminal = Path::new("/dev/ttys003");
    for operation in ["file-read-data", "file-write-data", "file-ioctl"] {
        assert!(
            asked.asks(operation, About::Terminal(terminal, true)) && !asked.asks(operation, About::Terminal(terminal, false)),
            "{operation}"
        );
        let own = Asked::of(&profile(&plan("workspace-write", ""), &Facts { terminal: Some(terminal), ..Facts::default() }));
        assert!(own.asks(operation, About::Terminal(terminal, false)), "{operation}");
        assert!(!own.asks(operation, About::Terminal(Path::new("/dev/ttys004"), false)), "{operation}");
    }
    assert!(asked.named("mach-lookup", "com.apple.system.opendirectoryd.libinfo"));
    for service in [
        "com.apple.securityd.xpc",
        "com.apple.SecurityServer",
        "com.apple.coreservices.launchservicesd",
        "com.apple.pasteboard.1",
        "com.apple.tccd",
        "com.apple.windowserver.active",
        "com.apple.cfprefsd.agent",
        "com.apple.trustd.agent",
        "com.apple.lsd.mapdb",
    ] {
        assert!(!asked.named("mach-lookup", service), "{service}");
    }
    assert!(asked.named("sysctl-read", "hw.ncpu") && asked.named("sysctl-read", "kern.osrelease"));
    assert!(!asked.named("sysctl-read", "kern.procargs2.1") && !asked.named("sysctl-read", "kern.proc.all"));
    assert!(asked.named("ipc-posix-sem", "/mp-abc") && !asked.named("ipc-posix-shm", "apple.cfprefs.501v1"));
}

#[test]
fn everything_that_is_named_has_its_reason_and_is_named_once() {
    let lists = [SERVICES.as_slice(), &NETWORK_SERVICES, &VALUE_PREFIXES, &VALUES, &SHARED_NAMES, &LOADER, &DEVELOPER_TOOLS];
    let mut names = std::collections::BTreeSet::new();
    for need in lists.concat() {
        assert!(need.why.len() > 4 && need.why.chars().all(|c| c.is_ascii() && c != '"' && c != '\n'), "{need:?}");
        assert!(need.name.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c)), "{need:?}");
        assert!(names.insert(need.name), "{need:?}");
    }
}

#[test]
fn the_network_is_what_the_mode_says() {
    let of = |mode: &str, proxy| {
        let rules = format!("[network]\nmode = \"{mode}\"\nallow = [\"example.org\"]\nsockets = [\"/var/run/docker.sock\"]");
        let rules = if mode == "allowlist" { rules } else { rules.replace("allow = [\"example.org\"]\n", "") };
        Asked::of(&profile(&plan("workspace-write", &rules), &Facts { proxy, ..Facts::default() }))
    };
    let reaches = |asked: &Asked, loopback, port| asked.asks("network-outbound", About::Address { loopback, port });
    let listens = |asked: &Asked| {
        ["network-bind", "network-inbound"].iter().all(|operation| asked.asks(operation, About::Address { loopback: true, port: 8080 }))
    };
    let none = of("none", None);
    assert!(!reaches(&none, true, 80) && !reaches(&none, false, 80) && !listens(&none));
    let loopback = of("loopback", None);
    assert!(reaches(&loopback, true, 80) && !reaches(&loopback, false, 80) && listens(&loopback));
    let listed = of("allowlist", Some(50_000));
    assert!(reaches(&listed, true, 50_000) && !reaches(&listed, true, 50_001) && !reaches(&listed, false, 50_000) && !listens(&listed));
    let open = of("open", None);
    assert!(reaches(&open, true, 80) && reaches(&open, false, 443) && listens(&open));
    for (asked, resolver) in [(none, false), (loopback, false), (listed, false), (open, true)] {
        let connects = |path: &str| asked.asks("network-outbound", About::Socket(Path::new(path)));
        assert!(connects("/private/var/run/docker.sock") && !connects("/private/var/run/other.sock"));
        assert_eq!(connects("/private/var/run/mDNSResponder"), resolver);
        assert!(asked.asks("system-socket", About::Family("AF_UNIX")));
        let own = format!("{PRIVATE}/tmp/socket");
        assert!(connects(&own) && asked.asks("network-bind", About::Socket(Path::new(&own))));
        // A server of the host's could be listening there.
        assert!(!connects(&format!("{WORKSPACE}/socket")));
    }
}

#[test]
fn a_file_tool_runs_nothing_but_itself() {
    let worker = Path::new("/Users/me/bin/portcullis");
    let plan = plan("workspace-write", "[network]\nmode = \"open\"");
    let asked = Asked::of(&profile(&plan, &Facts { worker: Some(worker), ..Facts::default() }));
    assert!(asked.runs("/Users/me/bin/portcullis"));
    for path in ["/bin/sh", "/usr/bin/git", "/Users/me/project/x", "/Library/Developer/CommandLineTools/usr/bin/git"] {
        assert!(asked.reads(path) && !asked.runs(path), "{path}");
    }
    assert!(!asked.asks("network-outbound", About::Address { loopback: false, port: 443 }));
}

#[test]
fn a_linked_worktree_can_be_committed_in_and_no_other_be_touched() {
    let asked = Asked::plan(&Plan::new(&preset("workspace-write").unwrap(), &linked()).unwrap());
    let common = "/Users/me/main/.git";
    for name in ["objects/ab/cd", "refs/heads/x", "worktrees/project/index", "worktrees/project/HEAD"] {
        assert!(asked.makes(&format!("{common}/{name}")), "{name}");
    }
    for name in [
        "config",
        "hooks/pre-commit",
        "HOOKS/pre-commit",
        "info/attributes",
        "worktrees/other/HEAD",
        "worktrees/project/gitdir",
        "worktrees/project/commondir",
        "worktrees/project/config.worktree",
        "modules/x/config",
    ] {
        assert!(!asked.makes(&format!("{common}/{name}")) && !asked.writes(&format!("{common}/{name}")), "{name}");
    }
    assert!(
        !asked.writes(&format!("{WORKSPACE}/.git")) && !asked.removes(common) && !asked.removes(&format!("{common}/worktrees/project"))
    );
    let closed = Asked::plan(&Plan::new(&policy("workspace-write", "[git]\nallow = \"none\""), &linked()).unwrap());
    assert!(closed.reads(&format!("{common}/HEAD")) && !closed.makes(&format!("{common}/objects/ab/cd")));
}

#[test]
fn what_cannot_be_held_is_refused_with_the_reason() {
    let lists = plan("workspace-write", "[network]\nmode = \"allowlist\"\nallow = [\"example.org\"]");
    assert_eq!(refusal(&lists), Refusal::NoProxy);
    for (rules, wanted) in [
        ("deny = [\"src/**/x\"]", "only the last part"),
        ("protect = [\"*/x\"]", "only the last part"),
        ("protect = [\"**/\u{e9}\"]", "beyond ASCII"),
        ("protect = [\"caf\u{e9}\"]", "beyond ASCII"),
    ] {
        let refusal = refusal(&plan("workspace-write", &format!("[filesystem]\n{rules}"))).to_string();
        assert!(refusal.contains(wanted), "{refusal}");
    }
    let observing = plan("workspace-write", "").observing(&[], true);
    assert_eq!(refusal(&observing), Refusal::Copy { target: "/Users/me".into() });
    let mut moved = plan("workspace-write", "");
    moved.roots[0].source = "/elsewhere".into();
    assert!(matches!(refusal(&moved), Refusal::OtherContent { .. }));
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let mut odd = plan("workspace-write", "");
        odd.deny.push(Path::new(WORKSPACE).join(std::ffi::OsStr::from_bytes(b"\xff")));
        assert!(matches!(refusal(&odd), Refusal::NotText { .. }));
    }
}

#[test]
fn a_name_of_any_sort_can_be_denied_while_it_exists() {
    let asked = Asked::plan(&plan("workspace-write", "[filesystem]\ndeny = [\"caf\u{e9}\"]"));
    assert!(!asked.reads(&format!("{WORKSPACE}/caf\u{e9}/x")));
}

#[test]
fn the_program_is_named_by_its_absolute_path_and_no_argument_can_be_another() {
    let profile = Profile { text: "(version 1)".to_owned(), parameters: vec![("A_0".to_owned(), "-D x=\"y\" (allow default)".to_owned())] };
    let program = ["-x".to_owned(), "a b".to_owned()];
    let expected = ["-p", "(version 1)", "-D", "A_0=-D x=\"y\" (allow default)", "--", "-x", "a b"];
    assert_eq!(arguments(&profile, &program), expected);
    assert_eq!(SANDBOX_EXEC, "/usr/bin/sandbox-exec");
}

#[test]
fn a_record_names_the_profile_by_all_that_it_is() {
    let of =
        |text: &str, value: &str| Profile { text: text.to_owned(), parameters: vec![("A_0".to_owned(), value.to_owned())] }.fingerprint();
    let one = of("(version 1)", "/a");
    assert!(one.len() == 64 && one == of("(version 1)", "/a") && one != of("(version 1)", "/b") && one != of("(version 2)", "/a"));
    let applied = Applied { process_limit: "rlimit".to_owned(), profile: Some(one.clone()), ..Applied::default() };
    assert_eq!(applied.sentence(), format!("Seatbelt, profile sha256:{one}, processes kept by rlimit"));
    let record = serde_json::to_value(&applied).unwrap();
    assert_eq!(record["profile"], one.as_str());
    assert!(serde_json::to_value(Applied::default()).unwrap().get("profile").is_none(), "on Linux there is none");
}

#[test]
fn variables_name_private_folders_where_they_lie() {
    let plan = plan("workspace-write", "[network]\nmode = \"allowlist\"\nallow = [\"example.org\"]");
    let places = Places::of(&plan).unwrap();
    let given = [
        ("HOME", "/Users/me"),
        ("TMPDIR", "/tmp"),
        ("CARGO_HOME", "/Users/me/.cargo"),
        ("RUSTUP_HOME", "/Users/me/.rustup"),
        ("PATH", "/usr/bin:/bin"),
        ("HTTPS_PROXY", "http://127.0.0.1:3128"),
        ("LANG", "C"),
    ];
    let given = given.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let found: Vec<String> = environment(&places, given, Some(50_000)).into_iter().map(|(_, value)| value).collect();
    let home = format!("{PRIVATE}/home");
    assert_eq!(
        found,
        [
            home.clone(),
            format!("{PRIVATE}/tmp"),
            format!("{home}/.cargo"),
            "/Users/me/.rustup".to_owned(),
            "/usr/bin:/bin".to_owned(),
            "http://127.0.0.1:50000".to_owned(),
            "C".to_owned()
        ]
    );
    assert_eq!(lies(&places, Path::new("/tmp/x")), PathBuf::from(format!("{PRIVATE}/tmp/x")));
    assert_eq!(lies(&places, Path::new("/run/portcullis/outputs/1")), PathBuf::from(format!("{PRIVATE}/outputs/1")));
    assert_eq!(lies(&places, Path::new("/etc/hosts")), PathBuf::from("/etc/hosts"));
    let links = links(&places);
    assert!(links.contains(&(format!("{home}/.cargo/bin").into(), "/Users/me/.cargo/bin".into())), "{links:?}");
    assert!(links.iter().all(|(link, target)| link.starts_with(&home) && target.starts_with("/Users/me")), "{links:?}");
    assert!(!links.iter().any(|(_, target)| target.starts_with("/Users/me/.ssh")));
}

fn odd() -> impl Strategy<Value = String> {
    "[a-z\"\\\\();#'\n .*\u{e9}]{1,10}".prop_filter("a name", |name| !matches!(name.as_str(), "." | ".."))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the folders are called, the text is the same: no name can be a part of it.
    #[test]
    fn no_path_is_part_of_the_text(workspace in odd(), home in odd(), private in odd(), socket in odd(), denied in odd(), mode in 0..3usize) {
        let make = |workspace: &str, home: &str, private: &str, socket: &str, denied: &str| {
            let home = Path::new("/Users").join(format!("h{home}"));
            let session = Session {
                workspace: home.join(format!("w{workspace}")),
                private: Path::new("/private/var/folders").join(format!("p{private}")),
                state: "/state".into(),
                home,
                ..session()
            };
            let mut plan = Plan::new(&preset("workspace-write").unwrap(), &session).unwrap();
            plan.network = [NetworkMode::None, NetworkMode::Loopback, NetworkMode::Open][mode];
            plan.sockets.push(Path::new("/sockets").join(format!("s{socket}")));
            plan.deny.push(plan.workspace.join(format!("d{denied}")));
            render(&plan, &Facts::default()).unwrap()
        };
        let (plain, found) = (make("", "", "", "", ""), make(&workspace, &home, &private, &socket, &denied));
        prop_assert_eq!(&found.text, &plain.text);
        let asked = Asked::of(&found);
        let at = |rest: &str| format!("/Users/h{home}/w{workspace}/{rest}");
        let (file, configuration, nested, denied) = (at("x"), at(".git/config"), at("a/.envrc"), at(&format!("d{denied}")));
        let beside = format!("/Users/h{home}/x");
        prop_assert!(asked.writes(&file) && !asked.writes(&configuration) && !asked.makes(&nested));
        prop_assert!(!asked.reads(&denied) && !asked.reads(&beside) && !asked.writes("/etc/x"));
    }
}
