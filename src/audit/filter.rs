//! Which records of a log are wanted. What is asked of a call holds for all records of that call.

use std::time::SystemTime;

use super::{
    reading::Entry,
    record::{CallStatus, Event},
    remembered::{Remembered, call_of},
};
use crate::egress::Ending;

/// What is asked for; everything that is set has to hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Calls of this tool.
    pub tool: Option<String>,
    /// Calls that were decided so: `allow` or `refuse`.
    pub decision: Option<String>,
    /// Only what was refused.
    pub denied: bool,
    /// Calls that name this path, or were refused it.
    pub path: Option<String>,
    /// Calls that name this host, connected to it, or were refused it.
    pub host: Option<String>,
    /// Not before.
    pub since: Option<SystemTime>,
    /// Not after.
    pub until: Option<SystemTime>,
    /// Only these events.
    pub events: Vec<String>,
}

impl Filter {
    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        let Self { tool, decision, denied, path, host, since, until, events } = self;
        let of_calls = tool.is_none() && decision.is_none() && !denied && path.is_none() && host.is_none();
        of_calls && since.is_none() && until.is_none() && events.is_empty()
    }
}

/// A filter at work on one log.
#[derive(Debug)]
pub struct Filtering<'a> {
    filter: &'a Filter,
    /// Whether tool, decision, path and host of a call are as asked.
    calls: Remembered<bool>,
}

impl<'a> Filtering<'a> {
    /// At the log's beginning.
    pub fn new(filter: &'a Filter) -> Self {
        Self { filter, calls: Remembered::default() }
    }

    /// Whether the next record of the log is wanted.
    pub fn wants(&mut self, entry: &Entry) -> bool {
        let filter = self.filter;
        let call = self.of_call(entry);
        let in_time = |at: SystemTime| filter.since.is_none_or(|since| at >= since) && filter.until.is_none_or(|until| at <= until);
        let timed = (filter.since.is_none() && filter.until.is_none()) || entry.at.is_some_and(in_time);
        let named = filter.events.is_empty() || filter.events.contains(&entry.name);
        timed && named && call && (!filter.denied || is_denied(entry))
    }

    fn of_call(&mut self, entry: &Entry) -> bool {
        let filter = self.filter;
        let asks = filter.tool.is_some() || filter.decision.is_some() || filter.path.is_some() || filter.host.is_some();
        if !asks {
            return true;
        }
        let Some(call) = call_of(entry) else { return false };
        let mentions = |wanted: &Option<String>| wanted.as_ref().is_none_or(|wanted| mentions(entry, wanted));
        if entry.name == "call_intent" {
            let is = |field: &str, wanted: &Option<String>| wanted.as_ref().is_none_or(|wanted| entry.text(field) == Some(wanted));
            let fits = is("tool", &filter.tool) && is("decision", &filter.decision) && mentions(&filter.path) && mentions(&filter.host);
            self.calls.insert(call, fits);
            return fits;
        }
        if self.calls.get(&call).copied().unwrap_or(false) {
            return true;
        }
        // A path or host that only turns up among what was refused.
        filter.tool.is_none()
            && filter.decision.is_none()
            && (filter.path.is_some() || filter.host.is_some())
            && mentions(&filter.path)
            && mentions(&filter.host)
    }
}

/// Whether something was refused in it.
pub fn is_denied(entry: &Entry) -> bool {
    match &entry.event {
        Some(Event::CallIntent { decision, .. }) => decision == "refuse",
        Some(Event::CallOutcome { status, denials, .. }) => *status == CallStatus::Refused || !denials.is_empty(),
        Some(Event::Answer { answer, .. }) => answer == "refuse" || answer == "stop",
        Some(Event::Hook { decision, .. }) => decision.as_deref() == Some("refuse"),
        Some(Event::Connection { ending, .. }) => !matches!(ending, Ending::Served | Ending::Unreachable(_)),
        _ => false,
    }
}

/// Whether a call's arguments or what it was refused hold a text.
fn mentions(entry: &Entry, wanted: &str) -> bool {
    match &entry.event {
        Some(Event::CallIntent { arguments, .. }) => arguments.contains(wanted),
        Some(Event::CallOutcome { denials, .. }) => denials.iter().any(|denial| denial.resource.contains(wanted)),
        Some(Event::Connection { target, .. }) => target.contains(wanted),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::reading::{Line, Lines};

    const LOG: &str = r#"{"session":"s","event":"session_end","time":"2026-01-01T00:00:00Z"}
{"session":"s","event":"call_intent","time":"2026-01-01T00:00:01Z","call":"1","tool":"shell","arguments":"cat /etc/x","decision":"allow","decided_by":"policy"}
{"session":"s","event":"call_outcome","time":"2026-01-01T00:00:02Z","call":"1","status":"ok","duration_ms":1,"output_bytes":1,"denials":[]}
{"session":"s","event":"call_intent","time":"2026-01-01T00:00:03Z","call":"2","tool":"read_file","arguments":"y","decision":"refuse","decided_by":"rule"}
{"session":"s","event":"call_outcome","time":"2026-01-01T00:00:04Z","call":"2","status":"refused","duration_ms":1,"output_bytes":1,"denials":[]}
"#;

    fn wanted(filter: &Filter) -> Vec<u64> {
        let mut filtering = Filtering::new(filter);
        let lines = Lines::new(LOG.as_bytes()).map(Result::unwrap).enumerate();
        lines.filter_map(|(at, line)| matches!(line, Line::Entry(entry) if filtering.wants(&entry)).then_some(at as u64)).collect()
    }

    #[test]
    fn what_is_asked_of_a_call_holds_for_all_its_records() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(wanted(&Filter::default()), [0, 1, 2, 3, 4]);
        assert_eq!(wanted(&Filter { tool: text("shell"), ..Filter::default() }), [1, 2]);
        assert_eq!(wanted(&Filter { decision: text("refuse"), ..Filter::default() }), [3, 4]);
        assert_eq!(wanted(&Filter { denied: true, ..Filter::default() }), [3, 4]);
        assert_eq!(wanted(&Filter { path: text("/etc/x"), ..Filter::default() }), [1, 2]);
        assert_eq!(wanted(&Filter { path: text("/etc/x"), denied: true, ..Filter::default() }), [] as [u64; 0]);
        assert_eq!(wanted(&Filter { since: humantime::parse_rfc3339("2026-01-01T00:00:03Z").ok(), ..Filter::default() }), [3, 4]);
        assert_eq!(wanted(&Filter { events: vec!["session_end".to_owned()], ..Filter::default() }), [0]);
    }
}
