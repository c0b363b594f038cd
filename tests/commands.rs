//! `doctor` and `policy` as they are typed, with the streams that a shell may give them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail as tests do")]
#![allow(clippy::disallowed_methods, reason = "a test of the program starts the program")]

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_portcullis");
/// A user that exists nowhere and owns nothing.
const NOBODY: u32 = 64_123;

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Says that a test did not run, so that it cannot pass for one that did. Not by `println!`, which the test runner keeps to itself.
fn skip(name: &str, reason: &str) {
    std::io::stderr().write_all(format!("SKIP {name}: {reason}\n").as_bytes()).unwrap();
}

/// A folder to work in, with a home folder beside it, and nothing of the person who runs the tests.
struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["home", "work"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        Self { root }
    }

    fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    fn file(&self, path: &str, text: &str) -> PathBuf {
        let path = self.work().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.work()).env_clear().stdin(Stdio::null());
        command.env("HOME", self.root.path().join("home")).env("PATH", "/usr/bin:/bin");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Through a shell, for what only a shell does to streams. `$0` is the program.
    fn shell(&self, script: &str) -> Output {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, PROGRAM]).current_dir(self.work()).stdin(Stdio::null());
        command.env_clear().env("HOME", self.root.path().join("home")).output().unwrap()
    }
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn ends(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "stdout:\n{}\nstderr:\n{}", out(output), err(output));
}

#[track_caller]
fn holds(text: &str, part: &str) {
    // Where a line is folded depends on how long the temporary folder's name is.
    let unfolded = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let words = part.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains(part) || unfolded.contains(&words), "`{part}` is not in:\n{text}");
}

/// The verdict and the code belong together whatever this machine is.
#[track_caller]
fn is_a_report(output: &Output, user: &str) {
    let text = out(output);
    let last = text.lines().last().unwrap();
    let expected = if last.contains("in full") { 0 } else { 4 };
    ends(output, expected);
    assert!(last.starts_with("Verdict: "), "{last}");
    assert!(err(output).is_empty(), "{}", err(output));
    for part in
        ["ABI 7", "seccomp", "network namespace", "/proc", "limit on processes", "rlimits", "workspace-write (default)", "networked"]
    {
        holds(&text, part);
    }
    holds(&text, user);
}

#[test]
fn doctor_reports_on_this_machine_for_whoever_runs_it() {
    let output = Place::new().run(&["doctor"]);
    is_a_report(&output, if is_root() { "root (uid 0)" } else { "an ordinary user" });
}

#[test]
fn doctor_reports_for_an_ordinary_user_what_that_user_can_have() {
    if !is_root() {
        return skip("doctor_reports_for_an_ordinary_user_what_that_user_can_have", "only root can become another user");
    }
    let place = Place::new();
    // The build folder may be closed to others; a copy in a folder of its own is not.
    fs::set_permissions(place.root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = place.work().join("portcullis");
    fs::copy(PROGRAM, &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(arguments).current_dir("/").env_clear().stdin(Stdio::null()).uid(NOBODY).gid(NOBODY);
        command.output().unwrap()
    };
    is_a_report(&run(&["doctor"]), "an ordinary user");
    let json: serde_json::Value = serde_json::from_slice(&run(&["doctor", "--json"]).stdout).unwrap();
    assert_eq!((json["root"].as_bool(), json["processes"]["bound"].as_str()), (Some(false), Some("rlimit")));
}

#[test]
fn doctor_leaves_the_machine_as_it_was() {
    let read = || (fs::read_to_string("/proc/sys/kernel/pid_max").unwrap(), fs::read_to_string("/proc/self/mountinfo").unwrap());
    let before = read();
    Place::new().run(&["doctor"]);
    assert_eq!(read(), before);
}

#[test]
fn doctor_prints_one_json_object_that_agrees_with_the_text() {
    let place = Place::new();
    let (json, text) = (place.run(&["doctor", "--json"]), place.run(&["doctor"]));
    assert_eq!(json.status.code(), text.status.code());
    assert_eq!(out(&json).lines().count(), 1);
    let value: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(value["version"], 1);
    assert_eq!(value["presets"].as_array().unwrap().len(), 5);
    assert_eq!(format!("Verdict: {}.", value["verdict"]["text"].as_str().unwrap()), out(&text).lines().last().unwrap());
    assert_eq!(value["verdict"]["enforced"] == "full", json.status.success());
}

#[test]
fn policy_list_names_every_preset_and_what_it_is_for() {
    let output = Place::new().run(&["policy", "list"]);
    ends(&output, 0);
    let text = out(&output);
    let names: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["ci", "locked", "networked", "read-only", "workspace-write"]);
    holds(&text, "workspace-write (default)");
    holds(&text, "Runs without a person");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn policy_show_prints_the_file_itself_so_that_it_can_be_copied() {
    let place = Place::new();
    let output = place.run(&["policy", "show", "ci"]);
    ends(&output, 0);
    let text = out(&output);
    assert!(text.starts_with(include_str!("../policies/ci.toml")), "{text}");
    holds(&text, "# It extends, in this order: policies/workspace-write.toml, policies/read-only.toml.");
    let copy = place.file("copy.toml", &text);
    ends(&place.run(&["policy", "check", copy.to_str().unwrap()]), 0);
    assert_eq!(out(&place.run(&["policy", "show", "./copy.toml"])).matches("name    = \"ci\"").count(), 1);
}

#[test]
fn policy_show_expanded_names_the_line_of_every_entry_and_ends_with_what_the_model_is_told() {
    let output = Place::new().run(&["policy", "show", "workspace-write", "--expanded"]);
    ends(&output, 0);
    let text = out(&output);
    for part in [
        "  ~/.cargo/bin                  policies/read-only.toml:6 (@toolchains)",
        " policies/workspace-write.toml:8 (@git-exec)",
        "  .git/hooks ",
        "**/.env ",
        "from (chosen)  policies/read-only.toml",
        "  memory      4GiB",
        "  wall        10m",
        "git push",
        "It publishes work.",
        "on_missing  refuse",
        "Told to the model\n# Sandbox\n- Every tool call",
    ] {
        holds(&text, part);
    }
    let policy = portcullis::policy::preset("workspace-write").unwrap();
    holds(&text, &format!("  fingerprint    sha256:{}\n", policy.fingerprint()));
    assert!(text.ends_with(&portcullis::policy::render(&policy)), "{text}");
    // One line for each place of each list, the deny list's included.
    let places = policy.filesystem.deny.iter().filter(|rule| text.contains(&format!("  {} ", rule.place))).count();
    assert_eq!(places, policy.filesystem.deny.len());
}

#[test]
fn policy_show_without_a_name_is_the_policy_in_force_here() {
    let place = Place::new();
    let bound = "schema = 1\nname = \"bound\"\n[filesystem]\nread = [\"@system\", \"@workspace\"]\ndeny = [\"secret\"]\n\
                 [limits]\nwall = \"90s\"\n[[command]]\nprefix = [\"make\"]\ndecision = \"allow\"\n";
    place.file(".portcullis/policy.toml", bound);
    let output = place.run(&["policy", "show"]);
    ends(&output, 0);
    let text = out(&output);
    for part in [
        "from (project)  ",
        ".portcullis/policy.toml:5\n",
        "  wall        90s",
        "Readable: list 2 of 2; every `read` list must cover a place",
        "the rule that allows `make` is ignored",
    ] {
        holds(&text, part);
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let output = place.run(&["policy", "show", "--workspace", elsewhere.path().to_str().unwrap()]);
    ends(&output, 0);
    assert!(!out(&output).contains("from (project)"), "{}", out(&output));
    ends(&place.run(&["policy", "show", "--workspace", "/nowhere/at/all"]), 2);
    place.file(".portcullis/policy.toml", "schema = 1\nname = \"bound\"\nwhat = 1\n");
    let output = place.run(&["policy", "show"]);
    ends(&output, 3);
    holds(&err(&output), "unknown key `what`");
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    let place = Place::new();
    for arguments in [&["policy", "show", "workspce-write"][..], &["policy", "show", "workspce-write", "--expanded"]] {
        let output = place.run(arguments);
        ends(&output, 2);
        assert!(out(&output).is_empty());
        holds(&err(&output), "unknown preset `workspce-write`");
        holds(&err(&output), "did you mean `workspace-write`?");
    }
}

#[test]
fn policy_check_prints_one_line_with_the_fingerprint_or_points_at_the_error() {
    let place = Place::new();
    place.file("good.toml", "schema = 1\nname = \"good\"\nextends = \"locked\"\n");
    let output = place.run(&["policy", "check", "good.toml"]);
    ends(&output, 0);
    let fingerprint = portcullis::policy::preset("locked").unwrap().fingerprint();
    assert_eq!(out(&output), format!("good.toml: OK: good, fingerprint sha256:{fingerprint}\n"));

    place.file("bad.toml", "schema = 1\nname = \"bad\"\n[filesystem]\nraed = []\n");
    for arguments in [&["policy", "check", "bad.toml"][..], &["policy", "show", "bad.toml"], &["policy", "show", "bad.toml", "--expanded"]]
    {
        let output = place.run(arguments);
        ends(&output, 3);
        assert!(out(&output).is_empty());
        assert_eq!(err(&output), "portcullis: bad.toml:4:1: unknown key `raed`\n    4 | raed = []\n      | ^^^^ did you mean `read`?\n");
    }
    let output = place.run(&["policy", "check", "absent.toml"]);
    ends(&output, 2);
    holds(&err(&output), "absent.toml: cannot be read");
    ends(&place.run(&["policy", "check", "."]), 3);
}

#[test]
fn what_a_hostile_file_holds_does_not_reach_the_terminal_as_it_is() {
    let place = Place::new();
    place.file("evil.toml", "schema = 1\nname = \"evil\"\n[environment]\nset = { A = \"\u{202e}\u{200b}x\" }\n");
    let output = place.run(&["policy", "show", "evil.toml", "--expanded"]);
    ends(&output, 0);
    holds(&out(&output), "A=\\u{202e}\\u{200b}x");
    assert!(!out(&output).contains(['\u{202e}', '\u{200b}', '\u{1b}']));
}

#[test]
fn colours_are_only_where_they_are_wanted() {
    let place = Place::new();
    assert!(!out(&place.run(&["policy", "list"])).contains('\u{1b}'));
    let forced = place.command(&["policy", "list"]).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(out(&forced).contains("\u{1b}[1m"));
    let refused = place.command(&["policy", "list"]).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1").output().unwrap();
    assert!(!out(&refused).contains('\u{1b}'));
}

/// Every command that prints.
const PRINTING: [&str; 8] =
    ["doctor", "doctor --json", "policy list", "policy show", "policy show ci", "policy show ci --expanded", "--help", "--version"];

#[test]
fn a_closed_standard_output_is_an_error_and_not_silence() {
    let place = Place::new();
    for command in PRINTING {
        let output = place.shell(&format!("\"$0\" {command} >&-"));
        ends(&output, 6);
        assert_eq!(err(&output), "portcullis: standard output is closed; nothing could be written\n", "{command}");
    }
}

#[test]
fn dev_null_is_not_a_closed_standard_output_however_it_was_opened() {
    let place = Place::new();
    for redirection in [">/dev/null", "1<>/dev/null"] {
        ends(&place.shell(&format!("\"$0\" policy list {redirection}")), 0);
    }
    // As the process modules of other languages open it.
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
    let output = place.command(&["policy", "list"]).stdout(null).output().unwrap();
    ends(&output, 0);
}

#[test]
fn a_full_or_unwritable_standard_output_is_an_error() {
    let place = Place::new();
    for command in PRINTING {
        let output = place.shell(&format!("\"$0\" {command} >/dev/full"));
        ends(&output, 6);
        holds(&err(&output), "standard output could not be written: No space left on device");
        assert_eq!(err(&output).lines().count(), 1);
    }
    let output = place.command(&["policy", "list"]).stdout(File::open("/dev/null").unwrap()).output().unwrap();
    ends(&output, 6);
    holds(&err(&output), "Bad file descriptor");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    for command in PRINTING {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let arguments: Vec<&str> = command.split(' ').collect();
        let output = place.command(&arguments).stdout(writer).output().unwrap();
        let expected = if command.starts_with("doctor") { place.run(&["doctor"]).status.code() } else { Some(0) };
        assert_eq!(output.status.code(), expected, "{command}: {}", err(&output));
        assert!(err(&output).is_empty(), "{command}: {}", err(&output));
    }
}

#[test]
fn a_pipe_that_does_not_block_gets_everything() {
    let place = Place::new();
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let flags = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_GETFL).unwrap();
    let flags = nix::fcntl::OFlag::from_bits_truncate(flags) | nix::fcntl::OFlag::O_NONBLOCK;
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(flags)).unwrap();
    // A full pipe, so that the first write of the program cannot succeed.
    let mut filled = 0;
    while let Ok(written) = writer.write(&[b' '; 4096]) {
        filled += written;
    }
    let mut child = place.command(&["policy", "list"]).stdout(writer).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    let mut text = Vec::new();
    reader.read_to_end(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    let text = String::from_utf8(text).unwrap();
    assert!(text.split_at(filled).1.ends_with("edit, build, test and commit.\n"), "{text}");
}

#[test]
fn every_command_shows_examples() {
    let place = Place::new();
    for command in ["doctor", "policy", "policy list", "policy show", "policy check", "sandbox"] {
        let arguments: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let output = place.run(&arguments);
        ends(&output, 0);
        let examples = out(&output).lines().filter(|line| line.starts_with("  portcullis ")).count();
        assert!(examples >= 2, "{command}: {}", out(&output));
    }
}
