//! The report as one page that needs nothing else: no script, no request, and everything that comes from a log escaped.

use std::fmt::Write as _;

use super::{Call, Destination, List, Report, Session, escape::escape};
use crate::audit::{
    sentence::{Mood, milliseconds},
    verify::{Integrity, Verdict},
};

/// What the page may load and run: nothing but its own style.
pub const CONTENT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
/// Calls that overlap are drawn below each other, in so many rows.
const LANES: usize = 6;
/// Pixels of one row.
const ROW: usize = 18;

macro_rules! put {
    ($out:expr, $($part:tt)*) => {{
        // Writing to a string cannot fail.
        let _infallible = write!($out, $($part)*);
    }};
}

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

fn tiles(out: &mut String, session: &Session) {
    let counts = &session.counts;
    let tiles = [
        ("", session.calls.total.to_string(), "calls"),
        (if counts.refused > 0 { "bad" } else { "" }, counts.refused.to_string(), "did not run"),
        (if counts.denials > 0 { "bad" } else { "" }, counts.denials.to_string(), "refusals by the sandbox"),
        (
            if counts.questions > 0 { "warn" } else { "" },
            counts.questions.to_string(),
            if counts.questions == 1 { "question" } else { "questions" },
        ),
        (
            if session.grants.total > 0 { "warn" } else { "" },
            session.grants.total.to_string(),
            if session.grants.total == 1 { "grant" } else { "grants" },
        ),
        ("", milliseconds(session.duration_ms), "from first to last"),
    ];
    out.push_str("<ul class=\"tiles\">");
    for (class, number, text) in tiles {
        put!(out, "<li class=\"{class}\"><b>{number}</b>{text}</li>");
    }
    out.push_str("</ul>");
}

fn time_line(out: &mut String, session: &Session) {
    if session.calls.items.is_empty() {
        return;
    }
    let whole = session.duration_ms.max(1);
    // Thousandths of the width; one place behind the comma is finer than a screen.
    let place = |ms: u64| (ms.min(whole) as f64 / whole as f64 * 1000.0).floor() / 10.0;
    let mut ends = [0_u64; LANES];
    let mut bars = String::new();
    let mut used = 1;
    for call in &session.calls.items {
        let lane = ends.iter().position(|end| *end <= call.at_ms).unwrap_or(LANES - 1);
        let end = call.at_ms.saturating_add(call.duration_ms.max(whole / 150));
        if let Some(kept) = ends.get_mut(lane) {
            *kept = end;
        }
        used = used.max(lane + 1);
        let title =
            format!("{} {}: {}, {}", clock(&call.time), call.tool, call.status.unwrap_or("no outcome"), milliseconds(call.duration_ms));
        put!(
            bars,
            "<rect class=\"b-{}\" x=\"{}%\" y=\"{}\" width=\"{}%\" height=\"{}\" rx=\"3\"><title>{}</title></rect>",
            status_class(call),
            place(call.at_ms),
            lane * ROW + 2,
            place(end - call.at_ms).max(0.5),
            ROW - 4,
            escape(&title)
        );
    }
    let height = used * ROW + 26;
    put!(
        out,
        "<h3>Time line</h3><figure><svg role=\"img\" height=\"{height}\" aria-label=\"{} calls over {}\">",
        session.calls.items.len(),
        milliseconds(whole)
    );
    for (quarter, anchor) in [(0, "start"), (1, "middle"), (2, "middle"), (3, "middle"), (4, "end")] {
        let x = quarter * 25;
        put!(
            out,
            "<line class=\"axis\" x1=\"{x}%\" x2=\"{x}%\" y1=\"0\" y2=\"{}\"/><text x=\"{x}%\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            used * ROW + 4,
            height - 4,
            milliseconds(whole / 4 * quarter + whole % 4 * quarter / 4)
        );
    }
    put!(
        out,
        "{bars}</svg><figcaption class=\"key\"><span><i class=\"good\"></i>ran</span><span><i class=\"warn\"></i>failed by its own account</span>\
         <span><i class=\"bad\"></i>something was refused</span></figcaption></figure>"
    );
}

fn left_out<T>(out: &mut String, list: &List<T>, what: &str) {
    if list.left_out() > 0 {
        put!(
            out,
            "<p class=\"note\">{} more {what} are not on this page; <code>portcullis audit show</code> shows all of them.</p>",
            list.left_out()
        );
    }
}

fn calls(out: &mut String, session: &Session) {
    out.push_str("<h3>What ran</h3>");
    if session.calls.items.is_empty() {
        out.push_str("<p>No call was made.</p>");
    }
    for call in &session.calls.items {
        let first = call.action.lines().next().unwrap_or_default();
        let status = if call.decision == "refuse" { "did not run" } else { call.status.unwrap_or("no outcome") };
        let class = status_class(call);
        let status = if call.denials.is_empty() { status.to_owned() } else { format!("{status} · {} refused", call.denials.len()) };
        put!(
            out,
            "<details class=\"call\"><summary><span class=\"soft mono\">{}</span><b class=\"first\">{}</b><span class=\"first mono\">{}</span>{}\
             <span class=\"soft end\">{}</span></summary><div class=\"in\">",
            clock(&call.time),
            escape(&call.tool),
            escape(first),
            chip(class, &status),
            milliseconds(call.duration_ms)
        );
        put!(out, "<pre>{}</pre>", escape(&call.action));
        if !call.denials.is_empty() {
            out.push_str("<ul class=\"refusals\">");
            for denial in &call.denials {
                put!(out, "<li>{}</li>", escape(denial));
            }
            out.push_str("</ul>");
        }
        out.push_str("<dl>");
        let rule = call.rule.as_ref().map(|rule| format!(": {rule}")).unwrap_or_default();
        let word = if call.decision == "refuse" { "refused" } else { "allowed" };
        put!(out, "<dt>Decided</dt><dd>{}</dd>", escape(&format!("{word} by {}{rule}", call.decided_by)));
        let code = call.exit_code.map(|code| format!("exit {code}, ")).unwrap_or_default();
        put!(
            out,
            "<dt>Came to</dt><dd>{}{} bytes of output, from {} bytes of arguments</dd>",
            code,
            call.output_bytes,
            call.argument_bytes
        );
        for (name, text) in [("Unclear", &call.opaque), ("Enforced", &call.enforced)] {
            if let Some(text) = text {
                put!(out, "<dt>{name}</dt><dd>{}</dd>", escape(text));
            }
        }
        put!(out, "<dt>Call</dt><dd class=\"mono\">{}</dd></dl></div></details>", escape(&call.call));
    }
    left_out(out, &session.calls, "calls");
}

fn approvals(out: &mut String, session: &Session) {
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

fn escalations(out: &mut String, session: &Session) {
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

fn denials(out: &mut String, session: &Session) {
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
