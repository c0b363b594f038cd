//! The examples as those see them who published their schemas.

use std::{fs, path::PathBuf, process::Command};

use super::support::skip;

pub const GITHUB: &str = include_str!("../../.packaging/examples/github-actions.yml");
pub const GITLAB: &str = include_str!("../../.packaging/examples/gitlab-ci.yml");
pub const KUBERNETES: &str = include_str!("../../.packaging/examples/kubernetes.yaml");

/// What a checker says of a text; none if there is no checker.
fn check(program: &str, arguments: &[&str], text: &str) -> Option<(bool, String)> {
    let folder = PathBuf::from(std::env::var_os("PORTCULLIS_SCHEMAS")?);
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("example.yaml");
    fs::write(&file, text).unwrap();
    let output = Command::new(folder.join(program)).args(arguments).arg(&file).env("HOME", place.path()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[track_caller]
fn pair(name: &str, program: &str, arguments: &[&str], text: &str, broken: &str) {
    let Some((good, said)) = check(program, arguments, text) else {
        let reason = "PORTCULLIS_SCHEMAS names no folder with check-jsonschema and kubernetes-validate";
        assert!(std::env::var_os("PORTCULLIS_NO_SKIP").is_none(), "{name} may not be skipped: {reason}");
        return skip(name, reason);
    };
    assert!(good, "{said}");
    assert_ne!(text, broken);
    let (good, said) = check(program, arguments, broken).unwrap();
    assert!(!good, "{said}");
}

#[test]
fn the_schema_of_github_takes_the_workflow() {
    let arguments = ["--builtin-schema", "vendor.github-workflows"];
    pair("the_schema_of_github_takes_the_workflow", "check-jsonschema", &arguments, GITHUB, &GITHUB.replace("runs-on:", "runs-at:"));
}

#[test]
fn the_schema_of_gitlab_takes_the_job() {
    let arguments = ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"];
    pair("the_schema_of_gitlab_takes_the_job", "check-jsonschema", &arguments, GITLAB, &GITLAB.replace("  script:", "  scripts:"));
}

#[test]
fn the_schema_of_kubernetes_takes_the_manifest() {
    let name = "the_schema_of_kubernetes_takes_the_manifest";
    // The first version that takes the manifest without a feature gate, and the newest that the checker knows.
    for version in ["1.33", "1.37"] {
        pair(
            name,
            "kubernetes-validate",
            &["--strict", "--kubernetes-version", version],
            KUBERNETES,
            &KUBERNETES.replace("procMount:", "procMounts:"),
        );
    }
}
