//! Findings about rules over commands.

use std::path::Path;

use super::{
    super::{
        command,
        model::{CommandRule, Decision},
    },
    Finding, Subject, programs, rules,
};

pub(super) fn find(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let all = &subject.policy.commands;
    for (at, rule) in all.iter().enumerate() {
        against_others(subject, at, rule, findings);
        by_itself(subject, rule, findings);
    }
}

fn words(rule: &CommandRule) -> String {
    rule.prefix.join(" ")
}

fn name(decision: Decision) -> &'static str {
    super::super::canonical::decision(decision)
}

/// What another rule makes of this one. `at` is its place among all.
fn against_others(subject: &Subject<'_>, at: usize, rule: &CommandRule, findings: &mut Vec<Finding>) {
    // What reaches the words of the rule themselves reaches every command that begins with them, or holds them.
    let reaches = |other: &CommandRule| command::matches(other, &rule.prefix);
    let all = &subject.policy.commands;
    if let Some(stricter) = all.iter().find(|other| other.decision > rule.decision && reaches(other)) {
        findings.push(Finding::new(
            &rules::NEVER_MATCHES,
            &rule.origin,
            format!(
                "`{}` ({}) never takes effect: {} has `{}` ({}), which reaches all of it and is stricter",
                words(rule),
                name(rule.decision),
                stricter.origin,
                words(stricter),
                name(stricter.decision)
            ),
            "take one of the two rules out, or make the stricter one longer",
        ));
        return;
    }
    let redundant = all.iter().enumerate().find(|(place, other)| {
        let twin = other.prefix == rule.prefix;
        // A longer rule with a sentence of its own is there for that sentence.
        let silent = rule.why.is_empty() || rule.why == other.why;
        *place != at
            && other.decision == rule.decision
            && subject.same_role(&other.origin, &rule.origin)
            && (twin && *place < at || !twin && silent && reaches(other) && !(command::matches(rule, &other.prefix) && *place > at))
    });
    if let Some((_, other)) = redundant {
        findings.push(Finding::new(
            &rules::REDUNDANT_RULE,
            &rule.origin,
            format!("`{}` ({}) says what `{}` at {} says already", words(rule), name(rule.decision), words(other), other.origin),
            "take it out, or give it a why of its own",
        ));
    }
}

fn by_itself(subject: &Subject<'_>, rule: &CommandRule, findings: &mut Vec<Finding>) {
    let Some(program) = rule.prefix.first() else { return };
    let shown = words(rule);
    let mut push = |which, problem: String, advice: &str| findings.push(Finding::new(which, &rule.origin, problem, advice));
    if rule.decision == Decision::Allow && programs::runs_anything(&rule.prefix) {
        push(
            &rules::INTERPRETER_ALLOWED,
            format!("`{shown}` is allowed, and what it runs is not judged"),
            "allow the very commands that are wanted, as tasks of their own",
        );
    }
    if rule.examples_match.is_empty() {
        push(&rules::NO_EXAMPLES, format!("`{shown}` has no examples"), "add match = [\"…\"] with a command that the rule is for");
    }
    if rule.decision != Decision::Allow && rule.why.is_empty() {
        push(&rules::NO_WHY, format!("`{shown}` has no why"), "add why = \"…\" with one sentence for whoever is asked or refused");
    }
    let in_workspace = match program.contains('/') {
        true if Path::new(program).is_absolute() => Path::new(program).starts_with(&subject.facts.anchors().workspace),
        other => other,
    };
    if in_workspace {
        push(
            &rules::RELATIVE_PROGRAM,
            format!("`{program}` lies in the workspace, where calls can change it"),
            "name a program by its name alone, or by an absolute path that no call can write",
        );
    }
    let bare = !program.contains('/') && !programs::is_builtin(program);
    if bare && !subject.is_preset(&rule.origin) && !subject.facts.finds(program) {
        push(
            &rules::MISSING_PROGRAM,
            format!("no folder of the PATH has a program called `{program}`"),
            "correct its name, or leave it if other machines have it",
        );
    }
    if rule.decision == Decision::Forbid && rule.prefix.len() == 1 && programs::is_wrapper(program) {
        push(
            &rules::WRAPPER_FORBIDDEN,
            format!("`{program}` is forbidden, and what it would run is not"),
            "forbid what must not run: rules see through programs that run others",
        );
    }
}
