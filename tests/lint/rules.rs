//! Each rule, with a policy that it fires on and a twin that it does not.

use portcullis::policy::{lint::RULES, presets};
use proptest::prelude::*;

use super::{Imagined, found, linted};

/// What stands before the body: lines 1 to 3.
const HEAD: &str = "schema = 1\nname = \"p\"\nwhy = \"A test.\"\n";

/// The rule, the body that it fires on with the line of the finding, and a body that it has nothing to say of.
const TABLE: &[(&str, &str, u32, &str)] = &[
    ("shadowed-rule", "filesystem.read = [\"/srv/a\",\n\"/srv/a/b\"]", 5, "filesystem.read = [\"/srv/a\",\n\"/srv/b\"]"),
    (
        "shadowed-rule",
        "filesystem.read = [\"/srv/a\"]\nfilesystem.deny = [\"/srv\"]",
        4,
        "filesystem.read = [\"/srv/a\"]\nfilesystem.deny = [\"/srv/a/b\"]",
    ),
    (
        "shadowed-rule",
        "filesystem.write = [\"src/x\"]\nfilesystem.protect = [\"src\"]",
        4,
        "filesystem.write = [\"src\"]\nfilesystem.protect = [\"src/x\"]",
    ),
    ("shadowed-rule", "filesystem.write = [\".git/objects\"]", 4, "filesystem.write = [\".git/objects\"]\ngit.allow = \"commit\""),
    // A private home hides what lies below it, but for what is named there.
    (
        "shadowed-rule",
        "filesystem.read = [\"/home\", \"~/x\"]",
        4,
        "filesystem.read = [\"/home\", \"~/x\"]\nfilesystem.write = [\"@home\"]",
    ),
    (
        "duplicate-entry",
        "filesystem.read = [\"@system\"]\nfilesystem.deny = [\"/usr/x\",\n\"/usr/x\"]",
        6,
        "filesystem.read = [\"@system\"]\nfilesystem.deny = [\"/usr/x\",\n\"/usr/y\"]",
    ),
    ("duplicate-entry", "filesystem.read = [\"@rust\",\n\"@toolchains\"]", 4, "filesystem.read = [\"@rust\",\n\"@system\"]"),
    ("duplicate-entry", "filesystem.read = [\"@rust\", \"@rust\"]", 4, "filesystem.read = [\"@rust\"]"),
    ("missing-path", "filesystem.read = [\"/srv/absent\"]", 4, "filesystem.read = [\"/srv/there\"]"),
    (
        "protect-not-writable",
        "filesystem.protect = [\"src\"]",
        4,
        "filesystem.write = [\"@workspace\"]\nfilesystem.protect = [\"src\", \"@agent-config\", \"@git-exec\", \"@editor-exec\"]",
    ),
    ("deny-uncovered", "filesystem.deny = [\"/srv/x\"]", 4, "filesystem.deny = [\"/srv/x\"]\nfilesystem.read = [\"/srv/x/y\"]"),
    (
        "deny-uncovered",
        "filesystem.deny = [\"**/*.key\"]",
        4,
        "filesystem.deny = [\"**/*.key\", \"@credentials\"]\nfilesystem.read = [\"@workspace\"]",
    ),
    (
        "glob-never-matches",
        "filesystem.read = [\"@workspace\"]\nfilesystem.deny = [\"**/node_modules/*/.env\"]",
        5,
        "filesystem.read = [\"@workspace\"]\nfilesystem.deny = [\"**/node_modules\"]",
    ),
    ("symlink-out", "filesystem.read = [\"linked\"]", 4, "filesystem.read = [\"plain\"]"),
    ("over-wide-read", "filesystem.read = [\"/home/bob\"]", 4, "filesystem.read = [\"/home/bob/shared\"]"),
    (
        "over-wide-read",
        "filesystem.read = [\"/\"]\nfilesystem.deny = [\"@credentials\"]",
        4,
        "filesystem.read = [\"@system\"]\nfilesystem.deny = [\"@credentials\"]",
    ),
    (
        "over-wide-read",
        "filesystem.read = [\"~/.config\"]\nfilesystem.deny = [\"@credentials\"]",
        4,
        "filesystem.read = [\"~/.config/tool\"]",
    ),
    ("over-wide-write", "filesystem.write = [\"/etc/tool\"]", 4, "filesystem.write = [\"/var/lib/tool\"]"),
    ("over-wide-write", "filesystem.write = [\"/opt\"]", 4, "filesystem.write = [\"/opt/tool\"]"),
    ("writable-on-path", "filesystem.write = [\"~/tools\"]", 4, "filesystem.write = [\"~/things\"]"),
    (
        "writable-on-path",
        "filesystem.write = [\"~/tools/one\"]",
        4,
        "filesystem.write = [\"~/tools/one\"]\nfilesystem.protect = [\"~/tools\"]",
    ),
    (
        "writable-on-path",
        "filesystem.write = [\"~/.local/bin\"]",
        4,
        "filesystem.write = [\"~/.local/bin\"]\nfilesystem.deny = [\"~/.local\"]",
    ),
    ("writable-startup-file", "filesystem.write = [\"~/.bashrc\"]", 4, "filesystem.write = [\"~/.bashrc.d.notes\"]"),
    (
        "writable-startup-file",
        "filesystem.write = [\"@workspace\"]",
        4,
        "filesystem.write = [\"@workspace\"]\nfilesystem.protect = [\"@agent-config\", \"@git-exec\", \"@editor-exec\"]",
    ),
    ("writable-toolchain", "filesystem.write = [\"~/.rustup\"]", 4, "filesystem.write = [\"~/.cargo/registry\"]"),
    ("credential-store-readable", "filesystem.read = [\"~/.ssh\"]", 4, "filesystem.read = [\"~/.sshd-notes\"]"),
    (
        "credential-store-readable",
        "filesystem.read = [\"@system\"]",
        4,
        "filesystem.read = [\"@system\"]\nfilesystem.deny = [\"@credentials\"]",
    ),
    ("root-equivalent-socket", "network.sockets = [\"/run/docker.sock\"]", 4, "network.sockets = [\"/srv/web.sock\"]"),
    ("socket-in-reach", "filesystem.read = [\"/run/docker.sock\"]", 4, "filesystem.read = [\"/run/docker.pid\"]"),
    (
        "socket-in-reach",
        "filesystem.read = [\"/run/dbus\"]",
        4,
        "filesystem.read = [\"/run/dbus\"]\nfilesystem.deny = [\"/run/dbus/system_bus_socket\"]",
    ),
    ("socket-in-reach", "filesystem.read = [\"/srv/service.sock\"]", 4, "filesystem.read = [\"/srv/service.pid\"]"),
    ("write-without-private-tmp", "filesystem.write = [\"/tmp\"]", 4, "filesystem.write = [\"@tmp\"]"),
    (
        "never-matches",
        "command = [{ prefix = [\"git\", \"push\"], decision = \"forbid\", why = \"No.\" },\n{ prefix = [\"git\", \"push\", \"-f\"], decision = \"ask\", why = \"No.\" }]",
        5,
        "command = [{ prefix = [\"git\", \"push\", \"-f\"], decision = \"forbid\", why = \"No.\" },\n{ prefix = [\"git\", \"push\"], decision = \"ask\", why = \"No.\" }]",
    ),
    (
        "redundant-rule",
        "command = [{ prefix = [\"git\", \"push\"], decision = \"ask\", why = \"No.\" },\n{ prefix = [\"git\", \"push\", \"-f\"], decision = \"ask\" }]",
        5,
        "command = [{ prefix = [\"git\", \"push\"], decision = \"ask\", why = \"No.\" },\n{ prefix = [\"git\", \"push\", \"-f\"], decision = \"ask\", why = \"It overwrites.\" }]",
    ),
    (
        "redundant-rule",
        "command = [{ prefix = [\"ls\"], decision = \"allow\" },\n{ prefix = [\"ls\"], decision = \"allow\" }]",
        5,
        "command = [{ prefix = [\"ls\"], decision = \"allow\" },\n{ prefix = [\"rg\"], decision = \"allow\" }]",
    ),
    (
        "interpreter-allowed",
        "command = [{ prefix = [\"python3\"], decision = \"allow\" }]",
        4,
        "command = [{ prefix = [\"python3\"], decision = \"ask\" }]",
    ),
    (
        "interpreter-allowed",
        "command = [{ prefix = [\"npm\", \"run\"], decision = \"allow\" }]",
        4,
        "command = [{ prefix = [\"npm\", \"ls\"], decision = \"allow\" }]",
    ),
    (
        "no-examples",
        "command = [{ prefix = [\"ls\"], decision = \"allow\" }]",
        4,
        "command = [{ prefix = [\"ls\"], decision = \"allow\", match = [\"ls -l\"] }]",
    ),
    ("no-why", "command = [{ prefix = [\"ls\"], decision = \"forbid\" }]", 4, "command = [{ prefix = [\"ls\"], decision = \"allow\" }]"),
    (
        "relative-program",
        "command = [{ prefix = [\"tools/x\"], decision = \"ask\" }]",
        4,
        "command = [{ prefix = [\"/usr/bin/x\"], decision = \"ask\" }]",
    ),
    (
        "relative-program",
        "command = [{ prefix = [\"/home/ann/work/x\"], decision = \"ask\" }]",
        4,
        "command = [{ prefix = [\"/home/ann/x\"], decision = \"ask\" }]",
    ),
    (
        "missing-program",
        "command = [{ prefix = [\"gti\"], decision = \"ask\" }]",
        4,
        "command = [{ prefix = [\"cd\"], decision = \"ask\" }]",
    ),
    (
        "wrapper-forbidden",
        "command = [{ prefix = [\"env\"], decision = \"forbid\" }]",
        4,
        "command = [{ prefix = [\"sudo\"], decision = \"forbid\" }]",
    ),
    ("open-network", "network.mode = \"open\"", 4, "network.mode = \"loopback\""),
    ("secret-inherited", "environment.inherit = [\"PATH\",\n\"OPENAI_API_KEY\"]", 5, "environment.inherit = [\"PATH\",\n\"AWS_REGION\"]"),
    ("secret-set", "[environment.set]\nA = \"b\"\nB = \"ghp_x\"", 6, "[environment.set]\nA = \"b\"\nB = \"c\""),
    ("secret-set", "environment.set = { API_TOKEN = \"a1b2c3d4e5f6a7b8c9\" }", 4, "environment.set = { API_TOKEN = \"dummy\" }"),
    ("loader-variable", "environment.inherit = [\"LD_PRELOAD\"]", 4, "environment.inherit = [\"LANG\"]"),
    (
        "loader-variable",
        "environment.set = { GIT_CONFIG_KEY_0 = \"core.hooksPath\" }",
        4,
        "environment.set = { GIT_CONFIG_KEY_0 = \"user.name\" }",
    ),
    ("degrade", "enforcement.on_missing = \"degrade\"", 4, "enforcement.on_missing = \"refuse\""),
    ("missing-layers", "enforcement.require = [\"landlock\"]", 4, "enforcement.require = [\"landlock\", \"seccomp\", \"namespaces\"]"),
    ("lax-limits", "limits.memory = \"7GiB\"", 4, "limits.memory = \"6GiB\""),
    ("lax-limits", "limits.wall = \"3h\"", 4, "limits.wall = \"2h\""),
    ("lax-limits", "limits.processes = 20000", 4, "limits.processes = 16384"),
    ("on-failure-continue", "audit.on_failure = \"continue\"", 4, "audit.on_failure = \"stop\""),
    ("metadata-detail", "audit.detail = \"metadata\"", 4, "audit.detail = \"full\""),
    ("full-git", "git.allow = \"full\"", 4, "git.allow = \"commit\""),
    (
        "never-asks-and-forbids-nothing",
        "approval.ask = \"never\"",
        4,
        "approval.ask = \"never\"\ncommand = [{ prefix = [\"ls\"], decision = \"forbid\" }]",
    ),
    (
        "accept-without-reason",
        "git.allow = \"full\" # lint: allow full-git",
        4,
        "git.allow = \"full\" # lint: allow full-git because a test needs it",
    ),
    (
        "accept-unknown",
        "git.allow = \"full\" # lint: allow ful-git because I say so",
        4,
        "git.allow = \"full\" # lint: allow full-git because I say so",
    ),
];

#[test]
fn each_rule_fires_where_it_should_and_not_on_the_twin() {
    for (rule, body, line, twin) in TABLE {
        let fires = found(&format!("{HEAD}{body}"));
        assert!(fires.contains(&(*rule, *line)), "{rule} does not fire at line {line} on:\n{body}\nbut {fires:?}");
        let twin = format!("{HEAD}{twin}");
        let silent = linted(&twin);
        let of_rule: Vec<_> = silent.findings.iter().filter(|finding| finding.rule.id == *rule).collect();
        assert!(of_rule.is_empty(), "{rule} fires on the twin:\n{twin}\n{of_rule:?}");
    }
}

#[test]
fn the_table_leaves_no_rule_out() {
    for rule in RULES {
        assert!(TABLE.iter().any(|(id, ..)| *id == rule.id), "{} is not tested", rule.id);
        assert!(rule.help.ends_with('.'), "{}", rule.id);
    }
}

#[test]
fn presets_are_clean_but_for_the_network_that_one_of_them_opens() {
    for (name, text) in presets() {
        let expected: &[(&str, u32)] = if *name == "networked" { &[("open-network", 7)] } else { &[] };
        // By its own name, so that it is known for a preset.
        let policy = portcullis::policy::preset(name).unwrap();
        let sources = portcullis::policy::load::written(name).unwrap();
        let report = portcullis::policy::lint::lint(&policy, &sources, &Imagined::new());
        let found: Vec<_> = report.findings.iter().map(|finding| (finding.rule.id, finding.origin.line)).collect();
        assert_eq!(found, expected, "{name}");
        assert!(!text.contains("lint: allow"), "{name} accepts findings");
    }
}

#[test]
fn a_bound_may_say_again_what_the_chosen_policy_says() {
    use portcullis::policy::{error::Source, layers, load::check_text};
    let text = "schema = 1\nname = \"b\"\n[filesystem]\nread = [\"/srv/a\"]\ndeny = [\"/srv/a/x\"]\n[[command]]\nprefix = [\"ls\"]\ndecision = \"ask\"\nwhy = \"x\"\nmatch = [\"ls\"]\n";
    let part = |name: &str| check_text(name, text).unwrap();
    let merged = layers::merge(layers::Layers { chosen: part("a.toml"), system: Some(part("b.toml")), ..layers::Layers::default() });
    let sources = [Source::new("a.toml", text), Source::new("b.toml", text)];
    let report = portcullis::policy::lint::lint(&merged, &sources, &Imagined::new());
    assert_eq!(report.findings, []);
    // The same twice in one file is one.
    let twice = text.replace("[\"/srv/a/x\"]", "[\"/srv/a/x\", \"/srv/a/x\"]");
    assert_eq!(found(&twice), [("duplicate-entry", 5)]);
}

fn list(values: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(values), 0..5).prop_map(|list| format!("{list:?}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a policy says, linting ends, each finding stands in a line of a file, and the same policy has the same findings.
    #[test]
    fn every_policy_can_be_linted(
        read in list(&["/", "/usr", "/home", "~/.ssh", "~/x", "src", ".git", "@workspace", "@tmp", "@home", "@toolchains", "@credentials"]),
        write in list(&["/usr", "/tmp", "/home/ann", "~/.cargo", "~/.local/bin/x", "src", ".git/hooks", "@workspace", "@tmp", "@home", "@caches"]),
        deny in list(&["/usr", "src", "**/node_modules/**", "**/.env", "{a,b}/c", "a?/[x]", "@credentials", "@secret-files"]),
        protect in list(&["/usr", "src", "**/x", "@git-exec"]),
        inherit in list(&["PATH", "GIT_DIR", "X_TOKEN", "LD_PRELOAD"]),
        prefix in prop::collection::vec("[a-z/.-]{1,6}|git|push|sh|-c|env", 1..4),
        decision in prop::sample::select(&["allow", "ask", "forbid"][..]),
        comment in "[ -~]{0,40}|lint: allow[ -~]{0,30}",
    ) {
        let text = format!(
            "{HEAD}[filesystem]\nread = {read} # {comment}\nwrite = {write}\ndeny = {deny}\nprotect = {protect}\n[environment]\ninherit = {inherit}\n# {comment}\n[[command]]\nprefix = {prefix:?}\ndecision = \"{decision}\"\n[[command]]\nprefix = [\"git\"]\ndecision = \"ask\"\n"
        );
        prop_assume!(portcullis::policy::load::check_text("p.toml", &text).is_ok());
        let report = linted(&text);
        let lines = u32::try_from(text.lines().count()).unwrap();
        for finding in report.findings.iter().chain(report.accepted.iter().map(|(finding, _)| finding)) {
            prop_assert!(finding.origin.file == "p.toml" && (1..=lines).contains(&finding.origin.line), "{finding:?}");
            prop_assert!(!finding.problem.is_empty() && !finding.advice.is_empty());
        }
        prop_assert_eq!(report, linted(&text));
    }
}
