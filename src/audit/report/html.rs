//! The report as one page that needs nothing else: no script, no request, and everything that comes from a log escaped.

use std::fmt::Write as _;

use super::{Call, Destination, Report, Session, escape::escape};
use crate::audit::{
    sentence::Mood,
    verify::{Integrity, Verdict},
};

/// What the page may load and run: nothing but its own style.
pub const CONTENT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
macro_rules! put {
    ($out:expr, $($part:tt)*) => {{
        // Writing to a string cannot fail.
        let _infallible = write!($out, $($part)*);
    }};
}

mod decided;
mod ran;

use decided::{approvals, denials, escalations};
use ran::{calls, left_out, tiles, time_line};

/// The page.
pub fn page(report: &Report) -> String {
    let mut out = String::with_capacity(64 * 1024);
    put!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{CONTENT_POLICY}\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta name=\"referrer\" content=\"no-referrer\">\
         <title>Audit report</title><style>{}</style></head>\n<body><main>\n<header><h1>What the agent did</h1>\
         <p class=\"soft\">Audit report by portcullis, made {}. Times are UTC.</p>",
        include_str!("page.css"),
        escape(&report.made)
    );
    if report.sessions.len() > 1 {
        out.push_str("<nav aria-label=\"Sessions\"><ol>");
        for (at, session) in report.sessions.iter().enumerate() {
            let calls = session.calls.total;
            put!(
                out,
                "<li><a href=\"#s{at}\">{}</a> <span class=\"soft\">{} · {calls} calls</span></li>",
                escape(&session.session),
                day(&session.began)
            );
        }
        out.push_str("</ol></nav>");
    }
    out.push_str("</header>\n");
    if report.sessions.is_empty() {
        out.push_str("<p>There is no session in this report.</p>");
    }
    for (at, session) in report.sessions.iter().enumerate() {
        article(&mut out, session, at);
    }
    live_grants(&mut out, report);
    out.push_str("</main></body></html>\n");
    out
}

fn day(time: &str) -> String {
    escape(&time.get(..16).unwrap_or(time).replace('T', " "))
}

fn clock(time: &str) -> String {
    escape(time.get(11..23).unwrap_or(time))
}

fn chip(class: &str, text: &str) -> String {
    format!("<span class=\"chip {class}\">{}</span>", escape(text))
}

fn status_class(call: &Call) -> &'static str {
    match call.status {
        _ if call.decision == "refuse" || !call.denials.is_empty() => "bad",
        Some("ok") => "good",
        Some("failed" | "interrupted") | None => "warn",
        Some(_) => "bad",
    }
}

fn integrity(verdict: Option<&Verdict>) -> (&'static str, String) {
    let Some(verdict) = verdict else { return ("warn", "not verified".to_owned()) };
    let (class, word) = match verdict.integrity {
        Integrity::Intact => ("good", "intact"),
        Integrity::Unproven => ("warn", "unproven"),
        Integrity::Broken => ("bad", "changed"),
    };
    if verdict.complete {
        (class, format!("{word} and complete"))
    } else {
        (if class == "good" { "warn" } else { class }, format!("{word}, incomplete"))
    }
}

fn article(out: &mut String, session: &Session, at: usize) {
    let (class, word) = integrity(session.verdict.as_ref());
    put!(
        out,
        "<article id=\"s{at}\" aria-labelledby=\"h{at}\"><h2 id=\"h{at}\">{}</h2><p><span class=\"mono\">{}</span> {}</p>",
        escape(if session.workspace.is_empty() { "Session" } else { &session.workspace }),
        escape(&session.session),
        chip(class, &word)
    );
    tiles(out, session);
    out.push_str("<dl>");
    let user = session.uid.map_or_else(|| "not recorded".to_owned(), |uid| format!("number {uid}"));
    let ended = if session.in_order { String::new() } else { ", not ended in order".to_owned() };
    let facts = [
        ("When", format!("{} to {}{ended}", session.began.replace('T', " "), session.ended.replace('T', " "))),
        ("User", user),
        ("Model", format!("{} at {}", session.model, session.endpoint)),
        ("Policy", format!("{}, sha256:{}", session.policy.name, session.policy.fingerprint)),
        ("Program", format!("portcullis {}", session.version)),
        (
            "Tokens",
            format!("{} in, {} out, in {} requests", session.counts.input_tokens, session.counts.output_tokens, session.counts.requests),
        ),
    ];
    for (name, text) in facts {
        put!(out, "<dt>{name}</dt><dd>{}</dd>", escape(&text));
    }
    out.push_str("</dl>");
    let counts = &session.counts;
    if counts.is_partial() {
        put!(
            out,
            "<p class=\"note\">Not all can be shown: {} records were lost, {} lines are no records, {} were erased, and {} are of events that this program does not know.</p>",
            counts.lost,
            counts.unreadable,
            counts.erased,
            counts.unknown
        );
    }
    time_line(out, session);
    calls(out, session);
    approvals(out, session);
    escalations(out, session);
    denials(out, session);
    out.push_str("<h3>Network</h3>");
    put!(out, "<p>{}</p>", escape(&session.network.sentence()));
    network(out, session);
    policy(out, session);
    whole(out, session);
    moments(out, session);
    out.push_str("</article>\n");
}

fn network(out: &mut String, session: &Session) {
    let network = &session.network;
    if network.destinations.is_empty() {
        return;
    }
    out.push_str("<table><thead><tr><th>Host</th><th>Served</th><th>Refused</th><th>Not reached</th><th>Bytes out</th><th>Bytes in</th><th>Rule</th></tr></thead><tbody>");
    for Destination { target, served, refused, failed, sent, received, rule } in &network.destinations {
        let rule = escape(rule.as_deref().unwrap_or_default());
        let target = escape(target);
        put!(
            out,
            "<tr><td><code>{target}</code></td><td>{served}</td><td>{refused}</td><td>{failed}</td><td>{sent}</td><td>{received}</td><td>{rule}</td></tr>"
        );
    }
    out.push_str("</tbody></table>");
    if network.elsewhere > 0 {
        put!(out, "<p>And {} connections more.</p>", network.elsewhere);
    }
}

fn policy(out: &mut String, session: &Session) {
    put!(
        out,
        "<h3>Policy in force</h3><p>{} <span class=\"mono\">sha256:{}</span></p><ul>",
        escape(&session.policy.name),
        escape(&session.policy.fingerprint)
    );
    for (file, role) in &session.policy.sources {
        put!(out, "<li><span class=\"mono\">{}</span> <span class=\"soft\">{}</span></li>", escape(file), escape(role));
    }
    out.push_str("</ul>");
    for note in &session.policy.notes {
        put!(out, "<p class=\"note\">{}</p>", escape(note));
    }
    if let Some(canonical) = &session.policy.canonical {
        put!(out, "<details><summary>All of it, in canonical form</summary><pre>{}</pre></details>", escape(canonical));
    }
    if let Some(certificate) = &session.certificate {
        let text = serde_json::to_string_pretty(certificate).unwrap_or_default();
        put!(out, "<details><summary>Its statements, probed against this kernel</summary><pre>{}</pre></details>", escape(&text));
    }
}

fn whole(out: &mut String, session: &Session) {
    out.push_str("<h3>Is this all, and is it true?</h3>");
    let (class, word) = integrity(session.verdict.as_ref());
    put!(out, "<p>{} ", chip(class, &word));
    match &session.verdict {
        None => out
            .push_str("This report does not know whether the log is what was written. <code>portcullis audit verify</code> finds out.</p>"),
        Some(verdict) => {
            put!(
                out,
                "{} records, of which a signature covers the first {}.</p><p class=\"soft mono\">head {}, key {}</p>",
                verdict.records,
                verdict.signed,
                escape(&verdict.head),
                escape(verdict.key.as_deref().unwrap_or("none"))
            );
            if !verdict.findings.is_empty() {
                put!(
                    out,
                    "<details><summary>{} findings</summary><ul class=\"refusals\">",
                    verdict.findings.len() as u64 + verdict.more_findings
                );
                for finding in &verdict.findings {
                    put!(out, "<li>line {}: {}</li>", finding.line, escape(&finding.text));
                }
                out.push_str("</ul></details>");
            }
        }
    }
}

fn moments(out: &mut String, session: &Session) {
    if session.moments.items.is_empty() {
        return;
    }
    put!(out, "<h3>What else happened</h3><details><summary>{} moments</summary>", session.moments.total);
    out.push_str(
        "<table><caption>Turns, grants, modes and troubles, in order</caption><thead><tr><th scope=\"col\">Time</th><th scope=\"col\">What</th><th scope=\"col\">More</th></tr></thead><tbody>",
    );
    for moment in &session.moments.items {
        let class = match moment.mood {
            Mood::Good => "good",
            Mood::Caution => "warn",
            Mood::Bad => "bad",
            Mood::Plain | Mood::Faint => "",
        };
        put!(
            out,
            "<tr><td>{}</td><td>{}</td><td class=\"pre\">{}</td></tr>",
            clock(&moment.time),
            chip(class, &moment.what),
            escape(&moment.text)
        );
    }
    out.push_str("</tbody></table></details>");
    left_out(out, &session.moments, "moments");
}

fn live_grants(out: &mut String, report: &Report) {
    out.push_str("<article><h2>Grants on this machine</h2>");
    if report.grants.is_empty() {
        out.push_str("<p>Nothing is granted beyond the policies.</p></article>");
        return;
    }
    out.push_str(
        "<div class=\"wide\"><table><caption>What is allowed beyond policies, when this report was made</caption><thead><tr><th scope=\"col\">Grant</th>\
         <th scope=\"col\">Allows</th><th scope=\"col\">Where</th><th scope=\"col\">State</th><th scope=\"col\">Last used in these sessions</th></tr></thead><tbody>",
    );
    for live in &report.grants {
        let state = if live.expired { chip("", "expired") } else { chip("warn", "live") };
        let last =
            live.last_used.as_deref().map_or_else(|| chip("warn", "not used"), |time| format!("{} ({} calls)", day(time), live.uses));
        put!(
            out,
            "<tr><td class=\"mono\">{}</td><td>{}</td><td>{} <span class=\"mono\">{}</span></td><td>{state}</td><td>{last}</td></tr>",
            escape(&live.grant.id),
            escape(&live.grant.permission.sentence()),
            escape(live.grant.scope.words()),
            escape(&live.grant.repository.path.display().to_string())
        );
    }
    out.push_str("</tbody></table></div></article>");
}
