//! From records to a report, one record at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Call, Denials, Destination, LIST_CAP, Moment, Probing, Question, Session, SessionGrant};
use crate::{
    audit::{
        reading::{Entry, Line},
        record::{CallStatus, Denial, Event},
        sentence::{Mood, action, clipped, sentence, status},
    },
    egress::Ending,
    sandbox::Applied,
};

/// Calls with the same refusal from which on it looks like probing.
const PROBING: usize = 3;
/// Rules, resources and calls that are told apart.
const GROUPS: usize = 1_000;
/// Calls that may be open at the same time; the outcome of one more is only counted.
const OPEN: usize = 65_536;
/// Resources that are named for one rule.
const RESOURCES: usize = 20;

#[derive(Debug, Default)]
struct Group {
    times: u64,
    calls: BTreeSet<u64>,
    resources: BTreeMap<String, u64>,
    certainty: String,
    grant: Option<String>,
    first: String,
    last: String,
}

/// A session's report in the making.
#[derive(Debug, Default)]
pub struct Collector {
    session: Session,
    first_ns: Option<u64>,
    last_ns: u64,
    /// Where in the list a call stands that has not ended, and its number.
    open: HashMap<String, (Option<usize>, u64)>,
    questions: HashMap<String, Question>,
    groups: BTreeMap<(String, String), Group>,
}

impl Collector {
    /// Takes the next line of the log.
    pub fn add(&mut self, line: &Line) {
        self.session.counts.lines += 1;
        let entry = match line {
            Line::Entry(entry) => entry,
            Line::Unreadable { number, bytes, why } => {
                self.session.counts.unreadable += 1;
                let text = format!("line {number} ({bytes} bytes) is no record: {why}");
                let (time, at_ms) = (self.session.ended.clone(), self.at_ms(self.last_ns));
                self.session.moments.push(Moment { time, at_ms, mood: Mood::Bad, what: "unreadable".to_owned(), text });
                return;
            }
        };
        if self.session.session.is_empty() {
            self.session.session.clone_from(&entry.session);
            self.session.began.clone_from(&entry.time);
        }
        if let Some(now) = entry.monotonic_ns {
            self.first_ns.get_or_insert(now);
            self.last_ns = self.last_ns.max(now);
        }
        if !entry.time.is_empty() {
            self.session.ended.clone_from(&entry.time);
        }
        if entry.is_erased() {
            self.session.counts.erased += 1;
        } else if entry.event.is_none() {
            self.session.counts.unknown += 1;
        }
        self.take(entry);
    }

    fn at_ms(&self, ns: u64) -> u64 {
        ns.saturating_sub(self.first_ns.unwrap_or(ns)) / 1_000_000
    }

    fn moment(&mut self, entry: &Entry) {
        let said = sentence(entry);
        let mut text = said.text;
        for (_, line) in said.more {
            text.push('\n');
            text.push_str(&line);
        }
        let at_ms = self.at_ms(entry.monotonic_ns.unwrap_or(self.last_ns));
        self.session.moments.push(Moment { time: entry.time.clone(), at_ms, mood: said.mood, what: said.what, text });
    }

    fn take(&mut self, entry: &Entry) {
        let session = &mut self.session;
        match &entry.event {
            Some(Event::SessionStart { version, uid, workspace, policy, fingerprint, sources, endpoint, model, .. }) => {
                session.version = clipped(version);
                session.uid = Some(*uid);
                session.workspace = clipped(workspace);
                session.endpoint = clipped(endpoint);
                session.model = clipped(model);
                session.policy.name = clipped(policy);
                session.policy.fingerprint = clipped(fingerprint);
                session.policy.sources.clone_from(sources);
            }
            Some(Event::Policy { fingerprint, canonical, notes }) => {
                session.policy.fingerprint = clipped(fingerprint);
                session.network.mode = canonical.lines().find_map(|line| line.strip_prefix("network.mode ")).map(clipped);
                session.policy.canonical = Some(canonical.chars().take(256 * 1024).collect());
                session.policy.notes = notes.iter().map(|note| clipped(note)).collect();
            }
            Some(Event::Certificate { certificate }) => session.certificate = Some(certificate.clone()),
            Some(Event::LogTrouble { lost, .. }) => {
                session.counts.lost = session.counts.lost.saturating_add(*lost);
                self.moment(entry);
            }
            Some(Event::CallIntent { .. }) => self.intent(entry),
            Some(Event::Question { call, shown, because, lasting }) => {
                session.counts.questions += 1;
                let lasting = lasting.as_ref().map(|lasting| clipped(&lasting.sentence()));
                let question = Question { because: clipped(because), shown: clipped(shown), lasting, ..Question::default() };
                if self.questions.len() < LIST_CAP {
                    self.questions.insert(call.clone(), question);
                }
            }
            Some(Event::Answer { call, answer, by, waited_ms, text }) => {
                if let Some(question) = self.questions.get_mut(call) {
                    question.answer = Some(clipped(answer));
                    question.by = Some(clipped(by));
                    question.waited_ms = Some(*waited_ms);
                    question.text = text.as_ref().map(|text| clipped(text));
                }
            }
            Some(Event::Granted { grant, permission, scope }) => {
                session.grants.push(SessionGrant {
                    grant: clipped(grant),
                    allows: clipped(&permission.sentence()),
                    scope: scope.words().to_owned(),
                    time: entry.time.clone(),
                    revoked: false,
                    uses: 0,
                    last_used: None,
                });
                self.moment(entry);
            }
            Some(Event::Revoked { grant }) => {
                for known in session.grants.items.iter_mut().filter(|known| known.grant == *grant) {
                    known.revoked = true;
                }
                self.moment(entry);
            }
            Some(Event::CallOutcome { .. }) => self.outcome(entry),
            Some(Event::Connection { .. }) => self.connection(entry),
            Some(Event::ConnectionsMore { more, .. }) => session.network.elsewhere = session.network.elsewhere.saturating_add(*more),
            Some(Event::TurnEnd { requests, input_tokens, output_tokens, .. }) => {
                let counts = &mut session.counts;
                counts.turns += 1;
                counts.requests = counts.requests.saturating_add(*requests);
                counts.input_tokens = counts.input_tokens.saturating_add(*input_tokens);
                counts.output_tokens = counts.output_tokens.saturating_add(*output_tokens);
                self.moment(entry);
            }
            Some(Event::SessionEnd) => session.in_order = true,
            Some(Event::LogOpened { .. } | Event::Checkpoint { .. }) => {}
            _ => self.moment(entry),
        }
    }

    fn intent(&mut self, entry: &Entry) {
        let Some(Event::CallIntent { call, tool, arguments, decision, decided_by, rule, opaque }) = &entry.event else { return };
        let item = Call {
            call: clipped(call),
            time: entry.time.clone(),
            at_ms: self.at_ms(entry.monotonic_ns.unwrap_or(self.last_ns)),
            tool: clipped(tool),
            action: action(tool, arguments),
            argument_bytes: arguments.len() as u64,
            decision: clipped(decision),
            decided_by: clipped(decided_by),
            rule: rule.as_ref().map(|rule| clipped(rule)),
            opaque: opaque.as_ref().map(|opaque| clipped(opaque)),
            question: self.questions.remove(call),
            ..Call::default()
        };
        if decided_by == "grant" {
            // The rule of a call that a grant decided names the grant.
            for grant in self.session.grants.items.iter_mut() {
                if rule.as_ref().is_some_and(|rule| rule.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == grant.grant)) {
                    grant.uses += 1;
                    grant.last_used = Some(entry.time.clone());
                }
            }
        }
        let number = self.session.calls.total;
        let place = (self.session.calls.items.len() < LIST_CAP).then_some(self.session.calls.items.len());
        self.session.calls.push(item);
        if self.open.len() < OPEN {
            self.open.insert(call.clone(), (place, number));
        }
    }

    fn outcome(&mut self, entry: &Entry) {
        let Some(Event::CallOutcome { call, status: ended, exit_code, duration_ms, output_bytes, applied, denials, .. }) = &entry.event
        else {
            return;
        };
        let counts = &mut self.session.counts;
        match ended {
            CallStatus::Ok => counts.ok += 1,
            CallStatus::Failed => counts.failed += 1,
            CallStatus::Refused => counts.refused += 1,
            _ => counts.cut_short += 1,
        }
        counts.denials += denials.len() as u64;
        if let Some(applied) = applied {
            let own = applied.namespaces.iter().any(|name| name == "network");
            if own { self.session.network.isolated += 1 } else { self.session.network.open += 1 }
        }
        let (place, number) = self.open.remove(call).unwrap_or((None, self.session.calls.total));
        for denial in denials {
            self.deny(denial, number, &entry.time);
        }
        let Some(item) = place.and_then(|place| self.session.calls.items.get_mut(place)) else { return };
        item.status = Some(status(*ended).1);
        item.exit_code = *exit_code;
        item.duration_ms = *duration_ms;
        item.output_bytes = *output_bytes;
        item.denials = denials.iter().take(RESOURCES).map(|denial| clipped(&denial.sentence())).collect();
        item.enforced = applied.as_ref().map(Applied::sentence);
    }

    fn connection(&mut self, entry: &Entry) {
        let Some(Event::Connection { target, ending, rule, sent, received, .. }) = &entry.event else { return };
        let destinations = &mut self.session.network.destinations;
        let target = clipped(target);
        let place = destinations.iter().position(|known| known.target == target).or_else(|| {
            (destinations.len() < GROUPS).then(|| {
                destinations.push(Destination { target, ..Destination::default() });
                destinations.len() - 1
            })
        });
        let Some(known) = place.and_then(|place| destinations.get_mut(place)) else {
            self.session.network.elsewhere = self.session.network.elsewhere.saturating_add(1);
            return;
        };
        match ending {
            Ending::Served => known.served += 1,
            Ending::Unreachable(_) => known.failed += 1,
            _ => known.refused += 1,
        }
        known.sent = known.sent.saturating_add(*sent);
        known.received = known.received.saturating_add(*received);
        known.rule = rule.as_ref().map(|rule| clipped(rule));
    }

    fn deny(&mut self, denial: &Denial, call: u64, time: &str) {
        let key = (clipped(&denial.rule), clipped(&denial.layer));
        if !self.groups.contains_key(&key) && self.groups.len() >= GROUPS {
            return;
        }
        let group = self.groups.entry(key).or_default();
        group.times += 1;
        if group.calls.len() < GROUPS {
            group.calls.insert(call);
        }
        let resource = clipped(&format!("{} {}", denial.access, denial.resource));
        if group.resources.len() < GROUPS || group.resources.contains_key(&resource) {
            *group.resources.entry(resource).or_default() += 1;
        }
        group.certainty = clipped(&denial.certainty);
        group.grant = denial.grant.as_ref().map(|grant| clipped(grant));
        if group.first.is_empty() {
            time.clone_into(&mut group.first);
        }
        time.clone_into(&mut group.last);
    }

    /// The report.
    pub fn finish(mut self) -> Session {
        self.session.duration_ms = self.at_ms(self.last_ns);
        for ((rule, layer), group) in self.groups {
            let mut resources: Vec<(String, u64)> = group.resources.into_iter().collect();
            resources.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
            if group.calls.len() >= PROBING {
                let what = format!("{} different things that {rule} refuses", resources.len());
                self.session.probing.push(Probing { what, calls: group.calls.len() as u64, times: (group.first, group.last) });
            }
            resources.truncate(RESOURCES);
            let calls = group.calls.len() as u64;
            let denials = Denials { rule, layer, times: group.times, calls, resources, certainty: group.certainty, grant: group.grant };
            self.session.denials.push(denials);
        }
        let passed = |known: &Destination| known.sent.saturating_add(known.received);
        self.session.network.destinations.sort_by(|one, other| passed(other).cmp(&passed(one)).then_with(|| one.target.cmp(&other.target)));
        self.session.denials.sort_by(|one, other| other.times.cmp(&one.times).then_with(|| one.rule.cmp(&other.rule)));
        self.session
    }
}
