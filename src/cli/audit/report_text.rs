//! The report for a terminal.

use crate::{
    audit::{
        report::{Report, Session},
        sentence::milliseconds,
        verify::Integrity,
    },
    ui::{
        sanitize::visible_line,
        style::{Paint, Tone},
    },
};

/// The report as lines.
pub(super) fn text(report: &Report, paint: Paint) -> String {
    let mut out = Out { text: String::new(), paint };
    for session in &report.sessions {
        about(&mut out, session);
    }
    out.heading("Grants on this machine");
    for live in &report.grants {
        let state = if live.expired { "expired" } else { "live" };
        let last = live.last_used.as_deref().map_or_else(|| "not used in these sessions".to_owned(), |time| format!("last used {time}"));
        let sentence = live.grant.permission.sentence();
        out.line(Tone::Caution, &format!("{}  {sentence} {}: {state}, {last}", live.grant.id, live.grant.scope.words()));
    }
    if report.grants.is_empty() {
        out.line(Tone::Plain, "none");
    }
    out.text
}

struct Out {
    text: String,
    paint: Paint,
}

impl Out {
    fn heading(&mut self, text: &str) {
        self.text.push_str(&format!("\n{}\n", self.paint.text(Tone::Strong, &visible_line(text))));
    }

    fn line(&mut self, tone: Tone, text: &str) {
        self.text.push_str(&format!("  {}\n", self.paint.text(tone, &visible_line(text))));
    }

    fn left_out(&mut self, count: u64) {
        if count > 0 {
            self.line(Tone::Faint, &format!("and {count} more"));
        }
    }
}

fn about(out: &mut Out, session: &Session) {
    let counts = &session.counts;
    out.heading(&format!("Session {}", session.session));
    out.line(Tone::Plain, &format!("{} to {} ({})", session.began, session.ended, milliseconds(session.duration_ms)));
    out.line(Tone::Plain, &format!("{} under {}", session.workspace, session.policy.name));
    out.line(Tone::Faint, &format!("policy sha256:{}", session.policy.fingerprint));
    out.line(Tone::Faint, &format!("model {} at {}, portcullis {}", session.model, session.endpoint, session.version));
    let ran = format!(
        "{} calls: {} ok, {} failed, {} did not run, {} cut short; {} refusals by the sandbox, {} questions",
        session.calls.total, counts.ok, counts.failed, counts.refused, counts.cut_short, counts.denials, counts.questions
    );
    out.line(Tone::Plain, &ran);
    if counts.is_partial() {
        let text = format!(
            "{} records lost, {} lines unreadable, {} erased, {} of unknown events",
            counts.lost, counts.unreadable, counts.erased, counts.unknown
        );
        out.line(Tone::Caution, &text);
    }
    match &session.verdict {
        None => out.line(Tone::Caution, "log: not verified"),
        Some(verdict) => {
            let tone = if verdict.integrity == Integrity::Intact && verdict.complete { Tone::Good } else { Tone::Bad };
            let word = match verdict.integrity {
                Integrity::Intact => "intact",
                Integrity::Unproven => "unproven",
                Integrity::Broken => "CHANGED",
            };
            out.line(tone, &format!("log: {word}, {}", if verdict.complete { "complete" } else { "INCOMPLETE" }));
            for finding in &verdict.findings {
                out.line(Tone::Bad, &format!("line {}: {}", finding.line, finding.text));
            }
        }
    }
    calls(out, session);
    approvals(out, session);
    grants(out, session);
    denials(out, session);
    network(out, session);
}

fn approvals(out: &mut Out, session: &Session) {
    out.heading("Who approved it");
    let mut nobody = true;
    for call in &session.calls.items {
        let Some(question) = &call.question else { continue };
        nobody = false;
        let answer = question.answer.as_deref().unwrap_or("no answer");
        let by = question.by.as_deref().unwrap_or("nobody");
        let looked = question.waited_ms.map(milliseconds).unwrap_or_default();
        out.line(Tone::Caution, &format!("{}  {answer}, by {by}, after {looked}: {}", call.call, question.because));
        out.line(Tone::Faint, &format!("  shown sha256:{}", question.shown));
    }
    if nobody {
        out.line(Tone::Plain, "nobody was asked: the policy and its rules decided");
    }
}

fn grants(out: &mut Out, session: &Session) {
    out.heading("Escalations and grants");
    for grant in &session.grants.items {
        let last = grant.last_used.as_deref().unwrap_or("never");
        let revoked = if grant.revoked { ", taken back" } else { "" };
        out.line(
            Tone::Caution,
            &format!("{} {} ({}){revoked}; decided {} calls, last {last}", grant.allows, grant.scope, grant.grant, grant.uses),
        );
    }
    if session.grants.items.is_empty() {
        out.line(Tone::Plain, "nothing was allowed for longer than one call");
    }
    out.left_out(session.grants.left_out());
}

fn denials(out: &mut Out, session: &Session) {
    out.heading("Denials by rule");
    for group in &session.denials {
        out.line(Tone::Bad, &format!("{} × {} ({}; {})", group.times, group.rule, group.layer, group.certainty));
        for (what, times) in &group.resources {
            out.line(Tone::Plain, &format!("  {what} × {times}"));
        }
    }
    if session.denials.is_empty() {
        out.line(Tone::Plain, "the sandbox refused nothing");
    }
    for probe in &session.probing {
        let (first, last) = &probe.times;
        out.line(Tone::Bad, &format!("looks like probing: {}, in {} calls from {first} to {last}", probe.what, probe.calls));
    }
}

fn network(out: &mut Out, session: &Session) {
    out.heading("Network");
    out.line(Tone::Plain, &session.network.sentence());
    for destination in &session.network.destinations {
        out.line(if destination.refused > 0 { Tone::Bad } else { Tone::Plain }, &format!("  {}", destination.sentence()));
    }
    if session.network.elsewhere > 0 {
        out.line(Tone::Caution, &format!("  and {} connections more", session.network.elsewhere));
    }
}

fn calls(out: &mut Out, session: &Session) {
    out.heading("What ran");
    for call in &session.calls.items {
        let time = call.time.get(11..19).unwrap_or(&call.time);
        let first = call.action.lines().next().unwrap_or_default();
        let status = call.status.unwrap_or("no outcome");
        let tone = match call.status {
            _ if !call.denials.is_empty() => Tone::Bad,
            Some("ok") => Tone::Plain,
            _ => Tone::Caution,
        };
        let refused = if call.denials.is_empty() { String::new() } else { format!(", {} refused", call.denials.len()) };
        let by = format!("{} by {}", call.decision, call.decided_by);
        out.line(tone, &format!("{time}  {:12} {first}  [{status}{refused}; {by}; {}]", call.tool, milliseconds(call.duration_ms)));
    }
    out.left_out(session.calls.left_out());
}
