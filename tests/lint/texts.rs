//! Comments that accept, and where a value is found.

use super::{found, linted};

const HEAD: &str = "schema = 1\nname = \"p\"\n";

fn accepted(body: &str) -> Vec<(&'static str, u32, String)> {
    let report = linted(&format!("{HEAD}{body}"));
    report.accepted.into_iter().map(|(finding, reason)| (finding.rule.id, finding.origin.line, reason)).collect()
}

#[test]
fn a_comment_accepts_its_own_line_or_the_next_and_no_other() {
    let reason = |line| vec![("full-git", line, "tests clone".to_owned())];
    assert_eq!(accepted("git.allow = \"full\" # lint: allow full-git because tests clone"), reason(3));
    assert_eq!(accepted("# lint: allow full-git because tests clone\ngit.allow = \"full\""), reason(4));
    assert_eq!(accepted("# lint: allow full-git because tests clone\n# and more\n\ngit.allow = \"full\""), reason(6));
    assert_eq!(accepted("# lint: allow full-git because tests clone\nwhy = \"x\"\ngit.allow = \"full\""), []);
    assert_eq!(accepted("why = \"x\" # lint: allow full-git because tests clone\ngit.allow = \"full\""), []);
    assert_eq!(accepted("git.allow = \"full\"\n# lint: allow full-git because tests clone"), []);
}

#[test]
fn a_comment_accepts_one_rule_and_leaves_the_others() {
    let body = "filesystem.write = [\"~/.bashrc\", \"/srv/absent\"] # lint: allow missing-path because elsewhere it is there";
    assert_eq!(accepted(body).len(), 1);
    assert_eq!(found(&format!("{HEAD}{body}")), [("writable-startup-file", 3)]);
}

#[test]
fn above_a_rule_over_commands_it_accepts_within_that_rule_alone() {
    let rule = "[[command]]\ndecision = \"ask\"\nprefix = [\"ls\"]\n";
    let body = format!("# lint: allow no-why because it is plain\n{rule}{rule}");
    assert_eq!(accepted(&body), [("no-why", 6, "it is plain".to_owned())]);
    let left: Vec<u32> = found(&format!("{HEAD}{body}")).into_iter().filter(|(rule, _)| *rule == "no-why").map(|(_, line)| line).collect();
    assert_eq!(left, [9]);
}

#[test]
fn what_only_looks_like_such_a_comment_accepts_nothing() {
    for line in [
        "why = \"# lint: allow full-git because of a string\"\ngit.allow = \"full\"",
        "why = \"\"\"\\\n# lint: allow full-git because of a string\"\"\"\ngit.allow = \"full\"",
        "# lint: allowed full-git because of a word\ngit.allow = \"full\"",
        "# lint: allow full-git becausethere is no space\ngit.allow = \"full\"",
        "# lint: allow full-git because \ngit.allow = \"full\"",
    ] {
        assert_eq!(accepted(line), [], "{line}");
        assert!(found(&format!("{HEAD}{line}")).iter().any(|(rule, _)| *rule == "full-git"), "{line}");
    }
}

#[test]
fn a_value_is_found_in_the_file_that_it_comes_from() {
    let report = linted("schema = 1\nname = \"p\"\nextends = \"networked\"\n[limits]\nwall = \"3h\"\n");
    let found: Vec<String> = report.findings.iter().map(|finding| format!("{} {}", finding.rule.id, finding.origin)).collect();
    assert_eq!(found, ["lax-limits p.toml:5", "open-network policies/networked.toml:7"]);
}

#[test]
fn at_extends_a_comment_accepts_what_is_extended_and_nothing_of_the_file_itself() {
    let text = "schema = 1\nname = \"p\"\nextends = \"networked\" # lint: allow open-network because packages are fetched\n";
    let report = linted(text);
    assert_eq!(report.findings, []);
    assert_eq!(report.accepted.len(), 1);
    let own = format!("{text}[network]\nmode = \"open\"\n");
    assert_eq!(found(&own), [("open-network", 5)]);
    // What another rule finds there stays.
    assert_eq!(found(&text.replace("allow open-network", "allow full-git")), [("open-network", 7)]);
}
