//! Findings as SARIF 2.1.0 (OASIS Standard, 27 March 2020), which code hosts show in a review.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::policy::lint::{Finding, RULES, Report};

/// The schema that a log names.
const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The log of one run.
pub(super) fn log(found: &Report, workspace: &Path) -> Value {
    let rules: Vec<Value> = RULES
        .iter()
        .map(|rule| {
            json!({
                "id": rule.id,
                "shortDescription": { "text": rule.id.replace('-', " ") },
                "fullDescription": { "text": rule.help },
                "help": { "text": rule.help },
                "defaultConfiguration": { "level": rule.severity.word() },
            })
        })
        .collect();
    let open = found.findings.iter().map(|finding| result(finding, None, workspace));
    let accepted = found.accepted.iter().map(|(finding, reason)| result(finding, Some(reason), workspace));
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "portcullis policy lint",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": open.chain(accepted).collect::<Vec<_>>(),
        }],
    })
}

fn result(finding: &Finding, reason: Option<&String>, workspace: &Path) -> Value {
    let suppressions: Vec<Value> = reason.map(|reason| json!({ "kind": "inSource", "justification": reason })).into_iter().collect();
    json!({
        "ruleId": finding.rule.id,
        "ruleIndex": RULES.iter().position(|rule| rule.id == finding.rule.id),
        "level": finding.severity.word(),
        "message": { "text": format!("{}. {}.", capital(&finding.problem), capital(&finding.advice)) },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri(&finding.origin.file, workspace) },
            "region": { "startLine": finding.origin.line.max(1) },
        } }],
        "suppressions": suppressions,
    })
}

fn capital(sentence: &str) -> String {
    let mut rest = sentence.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

/// Below the workspace a relative reference, which is what a code host can find; elsewhere the whole path. A preset is `policies/NAME.toml`.
fn uri(file: &str, workspace: &Path) -> String {
    let preset = file.strip_prefix("policies/").and_then(|name| name.strip_suffix(".toml"));
    let path = Path::new(file);
    if preset.is_some_and(|name| crate::policy::presets().iter().any(|(known, _)| *known == name)) {
        return encoded(path);
    }
    let whole = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(file));
    let real = std::fs::canonicalize(&whole).unwrap_or(whole);
    match real.strip_prefix(workspace) {
        Ok(below) => encoded(below),
        Err(_) => format!("file://{}", encoded(&real)),
    }
}

/// A path as a URI writes it (RFC 3986, section 3.3).
fn encoded(path: &Path) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=@".contains(&byte);
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes.iter().map(|byte| if plain(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_below_the_workspace_are_relative_and_others_are_not() {
        let workspace = Path::new("/no/such/work");
        assert_eq!(uri("/no/such/work/a b#.toml", workspace), "a%20b%23.toml");
        assert_eq!(uri("/no/such/else/ä.toml", workspace), "file:///no/such/else/%C3%A4.toml");
        assert_eq!(uri("policies/ci.toml", workspace), "policies/ci.toml");
    }
}
