//! Who decided: what was asked and answered, what was granted, what was refused.

use std::fmt::Write as _;

use super::{
    super::{Session, escape::escape},
    chip, clock,
    ran::left_out,
};
use crate::audit::sentence::milliseconds;

pub(super) fn approvals(out: &mut String, session: &Session) {
    out.push_str("<h3>Who approved it</h3>");
    let asked: Vec<_> = session.calls.items.iter().filter_map(|call| Some((call, call.question.as_ref()?))).collect();
    if asked.is_empty() {
        out.push_str("<p>Nobody was asked: the policy and its rules decided every call.</p>");
        return;
    }
    out.push_str(
        "<div class=\"wide\"><table><caption>Each question, what came of it, how long was looked, and the hash of what was shown</caption><thead><tr>\
         <th scope=\"col\">Time</th><th scope=\"col\">Call</th><th scope=\"col\">Asked because</th><th scope=\"col\">Answer</th>\
         <th scope=\"col\" class=\"n\">Looked</th><th scope=\"col\">Shown</th></tr></thead><tbody>",
    );
    for (call, question) in asked {
        let answer = question.answer.as_deref().unwrap_or("none");
        let class = if matches!(answer, "refuse" | "stop" | "none") { "bad" } else { "good" };
        let text = question.text.as_ref().map(|text| format!("<br><span class=\"soft\">{}</span>", escape(text))).unwrap_or_default();
        put!(
            out,
            "<tr><td>{}</td><td class=\"mono\">{}</td><td>{}</td><td>{} {}{text}</td><td class=\"n\">{}</td><td class=\"mono\">{}</td></tr>",
            clock(&call.time),
            escape(call.action.lines().next().unwrap_or_default()),
            escape(&question.because),
            chip(class, answer),
            escape(question.by.as_deref().unwrap_or_default()),
            question.waited_ms.map(milliseconds).unwrap_or_default(),
            escape(&question.shown)
        );
    }
    out.push_str("</tbody></table></div>");
}

pub(super) fn escalations(out: &mut String, session: &Session) {
    out.push_str("<h3>Escalations and grants</h3>");
    if session.grants.items.is_empty() {
        out.push_str("<p>Nothing was allowed for longer than one call.</p>");
        return;
    }
    out.push_str(
        "<div class=\"wide\"><table><caption>What was allowed for longer than one call</caption><thead><tr><th scope=\"col\">Since</th><th scope=\"col\">Allows</th>\
         <th scope=\"col\">Scope</th><th scope=\"col\" class=\"n\">Decided</th><th scope=\"col\">Last used</th></tr></thead><tbody>",
    );
    for grant in &session.grants.items {
        let revoked = if grant.revoked { chip("good", "taken back") } else { String::new() };
        let last = grant.last_used.as_deref().map_or_else(|| chip("warn", "never decided a call"), clock);
        put!(
            out,
            "<tr><td>{}</td><td>{} <span class=\"soft mono\">{}</span> {revoked}</td><td>{}</td><td class=\"n\">{}</td><td>{last}</td></tr>",
            clock(&grant.time),
            escape(&grant.allows),
            escape(&grant.grant),
            escape(&grant.scope),
            grant.uses
        );
    }
    out.push_str("</tbody></table></div>");
    left_out(out, &session.grants, "grants");
}

pub(super) fn denials(out: &mut String, session: &Session) {
    out.push_str("<h3>Denials by rule</h3>");
    if session.denials.is_empty() {
        out.push_str("<p>The sandbox refused nothing.</p>");
    } else {
        out.push_str(
            "<div class=\"wide\"><table class=\"refused\"><caption>What the sandbox refused</caption><thead><tr><th scope=\"col\" class=\"n\">Times</th><th scope=\"col\">Rule and layer</th>\
             <th scope=\"col\">What</th><th scope=\"col\">Smallest change that allows it</th></tr></thead><tbody>",
        );
        for group in &session.denials {
            let what: Vec<String> =
                group.resources.iter().map(|(what, times)| format!("<code>{}</code> × {times}", escape(what))).collect();
            put!(
                out,
                "<tr><td class=\"n\"><b>{}</b></td><td><span class=\"mono\">{}</span><br><span class=\"soft\">{}; {}</span></td><td>{}</td><td>{}</td></tr>",
                group.times,
                escape(&group.rule),
                escape(&group.layer),
                escape(&group.certainty),
                what.join("<br>"),
                escape(group.grant.as_deref().unwrap_or("no policy can"))
            );
        }
        out.push_str("</tbody></table></div>");
    }
    for probe in &session.probing {
        let (first, last) = &probe.times;
        put!(
            out,
            "<p class=\"note\"><b>Looks like probing:</b> {}, in {} calls from {} to {}.</p>",
            escape(&probe.what),
            probe.calls,
            clock(first),
            clock(last)
        );
    }
}
