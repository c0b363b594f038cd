//! The findings as text and as JSON.
//!
//! # The JSON object
//! `--json` prints one object. Keys may be added; a change that takes one away, or changes what it means, raises `version`.
//!
//! | key | what it holds |
//! |---|---|
//! | `version` | 1, the version of this shape |
//! | `portcullis` | the program's version |
//! | `policy` | `{name, fingerprint}` |
//! | `root` | whether the caller is uid 0 |
//! | `summary` | `{refused, leaked, does_not_apply, untried}`: numbers of cases |
//! | `findings` | one `{id, area, title, list, also, verdict, evidence, reason, control}` per case; `verdict` is `"refused"`, `"leaked"`, `"does-not-apply"` or `"untried"`; `list` holds numbers of published escapes |
//! | `findings[].tries` | what the attempt reported of each thing that it tried: `{what, worked, answer}` |
//! | `findings[].milliseconds` | how long the case took |

use serde_json::{Value, json};

use crate::{
    policy::Policy,
    selftest::{
        Finding, Matching, Verdict, Wanted,
        case::Control,
        cases,
        published::{PUBLISHED, Standing, cases_of},
        tries::Said,
    },
    ui::{
        style::{Paint, Tone},
        table::{Cell, Table},
    },
};

/// Whether nothing got out, and everything was tried.
pub(super) fn is_clean(findings: &[Finding]) -> bool {
    !findings.iter().any(|finding| matches!(finding.verdict, Verdict::Leaked(_) | Verdict::Untried(_)))
}

fn number(findings: &[Finding], wanted: impl Fn(&Verdict) -> bool) -> usize {
    findings.iter().filter(|finding| wanted(&finding.verdict)).count()
}

/// Leaks first, then everything by area, then one line that sums it up.
pub(super) fn text(policy: &Policy, findings: &[Finding], width: usize, paint: Paint) -> String {
    let mut out = String::new();
    let mut leaks = Table::new(2);
    for finding in findings {
        match &finding.verdict {
            Verdict::Leaked(evidence) => {
                leaks.row([Cell::new(Tone::Bad, finding.case.id), finding.case.title.into()]);
                for line in evidence.iter().take(6) {
                    leaks.row(["".into(), Cell::new(Tone::Bad, line)]);
                }
                if evidence.len() > 6 {
                    leaks.row(["".into(), format!("and {} more", evidence.len() - 6).into()]);
                }
            }
            Verdict::Untried(reason) => {
                leaks.row([Cell::new(Tone::Caution, finding.case.id), finding.case.title.into()]);
                leaks.row(["".into(), Cell::new(Tone::Caution, &format!("could not be tried: {reason}"))]);
            }
            Verdict::Refused | Verdict::DoesNotApply(_) => {}
        }
    }
    if !leaks.is_empty() {
        out.push_str(&format!("{}\n{}\n", paint.text(Tone::Bad, "LEAKED, or not tried"), leaks.render(width, paint)));
    }
    let mut table = Table::new(2);
    for (index, finding) in findings.iter().enumerate() {
        let (state, detail) = match &finding.verdict {
            Verdict::Refused => (Cell::new(Tone::Good, "refused"), finding.case.title.to_owned()),
            Verdict::Leaked(_) => (Cell::new(Tone::Bad, "LEAKED"), finding.case.title.to_owned()),
            Verdict::DoesNotApply(reason) => (Cell::new(Tone::Faint, "does not apply"), reason.clone()),
            Verdict::Untried(_) => (Cell::new(Tone::Caution, "not tried"), finding.case.title.to_owned()),
        };
        table.row([finding.case.id.into(), state, detail.into()]);
        let last = findings.get(index + 1).is_none_or(|next| next.case.area != finding.case.area);
        if last {
            out.push_str(&format!("{}\n{}\n", paint.text(Tone::Strong, finding.case.area.title()), table.render(width, paint)));
            table = Table::new(2);
        }
    }
    let leaked = number(findings, |verdict| matches!(verdict, Verdict::Leaked(_)));
    let untried = number(findings, |verdict| matches!(verdict, Verdict::Untried(_)));
    let mut summary = format!(
        "{}: {} refused, {leaked} leaked, {} do not apply",
        policy.name,
        number(findings, |verdict| *verdict == Verdict::Refused),
        number(findings, |verdict| matches!(verdict, Verdict::DoesNotApply(_))),
    );
    if untried > 0 {
        summary.push_str(&format!(", {untried} could not be tried"));
    }
    let tone = if is_clean(findings) { Tone::Good } else { Tone::Bad };
    // One line whatever the width, so that `tail -n 1` is the sum of it.
    out + &paint.text(tone, &format!("{summary}.")) + "\n"
}

/// The findings as one object.
pub(super) fn json(policy: &Policy, findings: &[Finding]) -> String {
    let each = findings.iter().map(|finding| {
        let (verdict, evidence, reason) = match &finding.verdict {
            Verdict::Refused => ("refused", Vec::new(), None),
            Verdict::Leaked(evidence) => ("leaked", evidence.clone(), None),
            Verdict::DoesNotApply(reason) => ("does-not-apply", Vec::new(), Some(reason)),
            Verdict::Untried(reason) => ("untried", Vec::new(), Some(reason)),
        };
        let case = &finding.case;
        let tries = finding.said.iter().filter_map(|said| match said {
            Said::Tried { what, got } => {
                Some(json!({"what": what, "worked": got.is_ok(), "answer": shorten(got.as_ref().unwrap_or_else(|error| error))}))
            }
            Said::End => None,
        });
        json!({
            "id": case.id, "area": case.area, "title": case.title, "list": case.list, "also": case.also,
            "verdict": verdict, "evidence": evidence, "reason": reason, "control": control(case.control),
            "milliseconds": u64::try_from(finding.took.as_millis()).unwrap_or(u64::MAX),
            "tries": tries.collect::<Vec<Value>>(),
        })
    });
    let object = json!({
        "version": 1,
        "portcullis": env!("CARGO_PKG_VERSION"),
        "policy": {"name": policy.name, "fingerprint": policy.fingerprint()},
        "root": nix::unistd::geteuid().is_root(),
        "summary": {
            "refused": number(findings, |verdict| *verdict == Verdict::Refused),
            "leaked": number(findings, |verdict| matches!(verdict, Verdict::Leaked(_))),
            "does_not_apply": number(findings, |verdict| matches!(verdict, Verdict::DoesNotApply(_))),
            "untried": number(findings, |verdict| matches!(verdict, Verdict::Untried(_))),
        },
        "findings": each.collect::<Vec<Value>>(),
    });
    format!("{object}\n")
}

fn shorten(text: &str) -> String {
    text.chars().take(200).collect()
}

fn control(control: Control) -> Value {
    match control {
        Control::Leaks => json!({"leaks": "always"}),
        Control::LeaksForRoot(why) => json!({"leaks": "for root", "why": why}),
        Control::LeaksForUsers(why) => json!({"leaks": "for ordinary users", "why": why}),
        Control::Not(why) => json!({"leaks": "not tried", "why": why}),
    }
}

/// What there is to run, and what stands for each published escape.
pub(super) fn list(wanted: &Matching, width: usize, paint: Paint) -> String {
    let all = cases::all();
    let mut out = String::new();
    let mut table = Table::new(2);
    let chosen: Vec<_> = all.iter().filter(|case| wanted.wants(case)).collect();
    for (index, case) in chosen.iter().enumerate() {
        table.row([Cell::new(Tone::Strong, case.id), case.title.into()]);
        if chosen.get(index + 1).is_none_or(|next| next.area != case.area) {
            out.push_str(&format!("{}\n{}\n", paint.text(Tone::Strong, case.area.title()), table.render(width, paint)));
            table = Table::new(2);
        }
    }
    if wanted.0.is_none() {
        for published in PUBLISHED {
            let text = match published.standing {
                Standing::Cases => cases_of(published.number, &all).join(", "),
                Standing::CasesAnd(more) => format!("{}; {more}", cases_of(published.number, &all).join(", ")),
                Standing::Elsewhere(why) => why.to_owned(),
                Standing::DoesNotApply(why) => format!("does not apply: {why}"),
            };
            table.row([format!("{:>2}", published.number).into(), published.title.into()]);
            table.row(["".into(), Cell::new(Tone::Faint, &text)]);
        }
        out.push_str(&format!(
            "{}\n{}",
            paint.text(Tone::Strong, "Published escapes, and what stands for each"),
            table.render(width, paint)
        ));
    }
    out
}

/// The same as one object: `cases`, each `{id, area, title, list, also, control}`, and `published`, each `{number, title, cases, note, applies}`.
pub(super) fn list_json(wanted: &Matching) -> String {
    let all = cases::all();
    let cases = all.iter().filter(|case| wanted.wants(case)).map(|case| {
        json!({"id": case.id, "area": case.area, "title": case.title, "list": case.list, "also": case.also, "control": control(case.control)})
    });
    let published = PUBLISHED.iter().map(|published| {
        let note = match published.standing {
            Standing::Cases => None,
            Standing::CasesAnd(note) | Standing::Elsewhere(note) | Standing::DoesNotApply(note) => Some(note),
        };
        let applies = !matches!(published.standing, Standing::DoesNotApply(_));
        json!({"number": published.number, "title": published.title, "cases": cases_of(published.number, &all), "note": note, "applies": applies})
    });
    let (cases, published): (Vec<Value>, Vec<Value>) = (cases.collect(), published.collect());
    format!("{}\n", json!({"version": 1, "portcullis": env!("CARGO_PKG_VERSION"), "cases": cases, "published": published}))
}
