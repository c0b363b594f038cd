//! `portcullis selftest` as a person runs it, under every preset.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;

/// The program under test.
fn program() -> PathBuf {
    std::env::var_os("PORTCULLIS_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_portcullis")), PathBuf::from)
}

#[allow(clippy::disallowed_methods, reason = "a test starts the program under test")]
fn selftest(arguments: &[&str]) -> (Value, i32) {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(program())
        .arg("selftest")
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", home.path())
        .env("LANG", "C.UTF-8")
        .env("OPENAI_API_KEY", "never-to-be-seen")
        .env("PORTCULLIS_HOME", home.path().join("state"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("never-to-be-seen"));
    let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    (json, output.status.code().unwrap())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn nothing_leaks_under(preset: &str) {
    let (report, code) = selftest(&["--policy", preset, "--json"]);
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.len() > 100, "{} cases", findings.len());
    let mut wrong = Vec::new();
    for finding in findings {
        let id = text(finding, "id");
        match text(finding, "verdict") {
            "refused" => {}
            "does-not-apply" => assert!(!text(finding, "reason").is_empty(), "{id}"),
            verdict => wrong.push(format!("{id}: {verdict}: {} {}", finding["evidence"], finding["reason"])),
        }
    }
    assert!(wrong.is_empty(), "under {preset}: {wrong:#?}");
    assert_eq!(code, 0, "the exit code says whether anything leaked");
    assert_eq!(report["summary"]["leaked"], 0);
}

pub fn nothing_leaks_under_workspace_write() {
    nothing_leaks_under("workspace-write");
}

pub fn nothing_leaks_under_read_only() {
    nothing_leaks_under("read-only");
}

pub fn nothing_leaks_under_locked() {
    nothing_leaks_under("locked");
}

pub fn nothing_leaks_under_networked() {
    nothing_leaks_under("networked");
}

pub fn nothing_leaks_under_ci() {
    nothing_leaks_under("ci");
}

pub fn each_published_escape_has_a_case_or_a_reason() {
    let (list, code) = selftest(&["--list", "--json"]);
    assert_eq!(code, 0);
    let published = list["published"].as_array().unwrap();
    let numbers: Vec<u64> = published.iter().map(|row| row["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=72).collect::<Vec<u64>>());
    let names: Vec<&str> = list["cases"].as_array().unwrap().iter().map(|case| text(case, "id")).collect();
    for row in published {
        let cases = row["cases"].as_array().unwrap();
        assert!(cases.iter().all(|case| names.contains(&case.as_str().unwrap())), "{row}");
        assert!(!cases.is_empty() || !text(row, "note").is_empty(), "{row}");
    }
}

pub fn a_choice_of_cases_runs_these_alone_and_one_that_fits_none_is_a_mistake() {
    let (report, code) = selftest(&["--policy", "workspace-write", "--only", "outside-mode", "--json"]);
    let ids: Vec<&str> = report["findings"].as_array().unwrap().iter().map(|finding| text(finding, "id")).collect();
    assert_eq!((ids.as_slice(), code), (["outside-mode"].as_slice(), 0));
    #[allow(clippy::disallowed_methods, reason = "a test starts the program under test")]
    let output = Command::new(program()).args(["selftest", "--only", "no such case"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

pub fn an_allowed_write_is_no_leak_and_a_granted_folder_no_canary() {
    // The other side of the pair: under a policy that grants the place of the canaries, writing there is what the policy says.
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("wide.toml");
    let text_of_policy = "schema = 1\nname = \"wide\"\nextends = \"workspace-write\"\n[filesystem]\nread = [\"@system\", \"@workspace\", \"/var/tmp\"]\nwrite = [\"@workspace\", \"@tmp\", \"@home\"]\n";
    std::fs::write(&policy, text_of_policy).unwrap();
    let (report, _) = selftest(&["--policy", policy.to_str().unwrap(), "--only", "secrets-outside", "--json"]);
    let finding = &report["findings"][0];
    assert_eq!(text(finding, "verdict"), "does-not-apply", "{finding}");
    let (report, _) = selftest(&["--policy", policy.to_str().unwrap(), "--only", "outside-write", "--json"]);
    assert_eq!(text(&report["findings"][0], "verdict"), "refused", "{report}");
}
