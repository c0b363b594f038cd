//! The program as it is typed.

#![allow(clippy::disallowed_methods, reason = "a test of the program starts the program")]

use std::{
    fs,
    os::unix::net::UnixListener,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// The program under test.
fn program() -> PathBuf {
    std::env::var_os("PORTCULLIS_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_portcullis")), PathBuf::from)
}

/// A home folder with a workspace in it.
struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("home/work/.git")).unwrap();
        Self { root }
    }

    fn work(&self) -> PathBuf {
        fs::canonicalize(self.root.path().join("home/work")).unwrap()
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.run_in("home/work", arguments)
    }

    fn run_in(&self, folder: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program());
        command.args(["policy", "lint"]).args(arguments).current_dir(self.root.path().join(folder)).stdin(Stdio::null());
        command.env_clear().env("HOME", self.root.path().join("home")).env("PATH", "/usr/bin:/bin").output().unwrap()
    }

    #[track_caller]
    fn says(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(code), "stdout:\n{out}\nstderr:\n{err}");
        out + &err
    }

    #[track_caller]
    fn json(&self, arguments: &[&str], code: i32) -> Value {
        serde_json::from_str(&self.says(arguments, code)).unwrap()
    }
}

const CLEAN: &str = "schema = 1\nname = \"clean\"\nextends = \"read-only\"\n";

#[test]
fn it_ends_with_1_for_a_warning_and_with_0_for_less() {
    let place = Place::new();
    let note = place.file("note.toml", &format!("{CLEAN}[audit]\ndetail = \"metadata\"\n"));
    let text = place.says(&[note.to_str().unwrap()], 0);
    assert!(text.contains("note.toml:5: note [metadata-detail]\n") && text.ends_with("clean: 1 note\n"), "{text}");
    let warning = place.file("warning.toml", &format!("{CLEAN}[network]\nmode = \"open\"\n"));
    let text = place.says(&[warning.to_str().unwrap()], 1);
    assert!(text.contains("warning.toml:5: warning [open-network]\n") && text.ends_with("clean: 1 warning\n"), "{text}");
    assert_eq!(place.says(&["locked"], 0), "locked: no findings\n");
    place.says(&["lokced"], 2);
    place.says(&["./none.toml"], 2);
    place.says(&["--json", "--sarif"], 2);
    let wrong = place.file("wrong.toml", "schema = 1\nname = \"x\"\n[filesystm]\n");
    assert!(place.says(&[wrong.to_str().unwrap()], 3).contains("did you mean `filesystem`?"));
}

#[test]
fn without_a_name_it_lints_what_is_in_force_here_of_all_its_files() {
    let place = Place::new();
    assert_eq!(place.says(&[], 0), "workspace-write: no findings\n");
    let own = place.root.path().join("home/.config/portcullis/policy.toml");
    fs::create_dir_all(own.parent().unwrap()).unwrap();
    fs::write(&own, "schema = 1\nname = \"own\"\nextends = \"networked\"\n").unwrap();
    place.file(
        ".portcullis/policy.toml",
        "schema = 1\nname = \"repo\"\n[[command]]\nprefix = [\"git\", \"push\", \"-f\"]\ndecision = \"ask\"\nwhy = \"x\"\n",
    );
    let found = place.json(&["--json"], 1);
    let rows: Vec<String> = found["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| format!("{}:{} {}", row["file"].as_str().unwrap(), row["line"], row["rule"].as_str().unwrap()))
        .collect();
    let project = place.work().join(".portcullis/policy.toml").display().to_string();
    assert_eq!((&found["v"], &found["policy"]), (&1.into(), &"own".into()));
    assert_eq!(rows, ["policies/networked.toml:7 open-network".to_owned(), format!("{project}:4 no-examples")]);
    assert_eq!(found["accepted"].as_array().unwrap().len(), 0);
}

#[test]
fn in_the_home_folder_a_file_is_linted_as_if_for_another_folder() {
    let place = Place::new();
    let policy = place.file("p.toml", &format!("{CLEAN}[filesystem]\nread = [\"@system\", \"src\"]\n"));
    let lint = |folder: &str, arguments: &[&str]| {
        let output = place.run_in(folder, arguments);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    for folder in ["home", "."] {
        assert_eq!(lint(folder, &["ci"]), (Some(0), "ci: no findings\n".to_owned()), "{folder}");
        assert_eq!(lint(folder, &[policy.to_str().unwrap()]).1, "clean: no findings\n", "{folder}");
    }
    let (code, text) = lint("home/work", &[policy.to_str().unwrap()]);
    assert!(code == Some(0) && text.contains("[missing-path]") && text.ends_with("clean: 1 note\n"), "{text}");
    // What is in force in the home folder is nothing: no session begins there.
    assert_eq!(lint("home", &[]).0, Some(2));
}

#[test]
fn this_machine_is_asked_what_is_a_socket_a_link_and_a_program() {
    let place = Place::new();
    let _listener = UnixListener::bind(place.work().join("service")).unwrap();
    std::os::unix::fs::symlink("/usr", place.work().join("leads")).unwrap();
    place.file("plain", "");
    let policy = place.file(
        "p.toml",
        &format!("{CLEAN}[filesystem]\nread = [\n\"service\",\n\"leads\",\n\"plain\",\n\"gone\",\n]\n[[command]]\nprefix = [\"sh\"]\ndecision = \"ask\"\nwhy = \"x\"\n[[command]]\nprefix = [\"no-such-program\"]\ndecision = \"ask\"\nwhy = \"x\"\n"),
    );
    let found = place.json(&[policy.to_str().unwrap(), "--json"], 1);
    let rows: Vec<String> =
        found["findings"].as_array().unwrap().iter().map(|row| format!("{} {}", row["line"], row["rule"].as_str().unwrap())).collect();
    assert_eq!(rows, ["6 socket-in-reach", "7 symlink-out", "9 missing-path", "12 no-examples", "16 no-examples", "16 missing-program"]);
}

#[test]
fn what_a_file_says_cannot_reach_a_terminal_as_it_is() {
    let place = Place::new();
    let policy = place.file("p.toml", &format!("{CLEAN}[[command]]\nprefix = [\"a\\u001b[2J\"]\ndecision = \"ask\"\nwhy = \"x\"\n"));
    let text = place.says(&[policy.to_str().unwrap()], 0);
    assert!(text.contains("a^[[2J") && !text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn accepted_findings_are_counted_and_end_with_0() {
    let place = Place::new();
    let text = format!("{CLEAN}[network]\nmode = \"open\" # lint: allow open-network because packages are fetched\n");
    let policy = place.file("sub/p q.toml", &text);
    let name = policy.to_str().unwrap();
    assert_eq!(place.says(&[name], 0), "clean: no findings; 1 accepted\n");
    let found = place.json(&[name, "--json"], 0);
    assert_eq!(found["accepted"][0]["reason"], "packages are fetched");
    let log = place.json(&[name, "--sarif"], 0);
    let result = &log["runs"][0]["results"][0];
    assert_eq!(result["suppressions"][0]["kind"], "inSource");
    assert_eq!(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "sub/p%20q.toml");
    place.file("sub/p q.toml", &text.replace(" because packages are fetched", ""));
    let text = place.says(&[name], 1);
    assert!(text.contains("[open-network]") && text.contains("[accept-without-reason]"), "{text}");
}

#[test]
fn sarif_has_the_shape_that_its_readers_take() {
    let place = Place::new();
    let log = place.json(&["networked", "--sarif"], 1);
    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().unwrap().ends_with("sarif-schema-2.1.0.json"));
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    for rule in rules {
        assert!(rule["id"].is_string() && rule["help"]["text"].is_string() && rule["shortDescription"]["text"].is_string());
        assert!(["note", "warning", "error"].contains(&rule["defaultConfiguration"]["level"].as_str().unwrap()));
    }
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 1);
    let result = &results[0];
    let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!((&rules[index]["id"], &result["ruleId"]), (&"open-network".into(), &"open-network".into()));
    assert_eq!(result["level"], "warning");
    assert!(result["message"]["text"].as_str().unwrap().ends_with('.'));
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!((&place["artifactLocation"]["uri"], &place["region"]["startLine"]), (&"policies/networked.toml".into(), &7.into()));
}
