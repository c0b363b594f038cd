//! What ran: the figures of a session, its time line and its calls.

use std::fmt::Write as _;

use super::{
    super::{List, Session, escape::escape},
    chip, clock, status_class,
};
use crate::audit::sentence::milliseconds;

/// Calls that overlap are drawn below each other, in so many rows.
const LANES: usize = 6;
/// Pixels of one row.
const ROW: usize = 18;

pub(super) fn tiles(out: &mut String, session: &Session) {
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

pub(super) fn time_line(out: &mut String, session: &Session) {
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

pub(super) fn left_out<T>(out: &mut String, list: &List<T>, what: &str) {
    if list.left_out() > 0 {
        put!(
            out,
            "<p class=\"note\">{} more {what} are not on this page; <code>portcullis audit show</code> shows all of them.</p>",
            list.left_out()
        );
    }
}

pub(super) fn calls(out: &mut String, session: &Session) {
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
