//! Calls that start nothing: a question about the policy, and a call that is none. Both are on record like any other.

use std::time::Instant;

use super::{
    explain::{Answer, Asked, Question, Word},
    gate::{Gate, GateError, Outcome},
    outcome::Done,
    recorded::milliseconds,
};
use crate::audit::{CallStatus, Event, LogError};

impl Gate {
    /// Answers a question about what is in force here. Where a path leads is not looked up: whoever is confined may not learn it by asking.
    ///
    /// # Errors
    /// If it cannot be recorded.
    pub fn explain(&self, id: &str, name: &str, arguments: &str, question: &Question) -> Result<(Outcome, Answer), GateError> {
        let began = Instant::now();
        self.record_decision(id, name, arguments, None)?;
        let confinement = self.confinement();
        let asked = Asked::new(&confinement.policy, &self.session, confinement.path(), &self.cwd)
            .with_rules(self.granted.borrow().rules(), self.ask.get())
            .by_name();
        let mut answer = asked.answer(question);
        if answer.word == Word::Ask && !self.asker.is_anybody() {
            answer.lines.push("nobody can be asked here, so it is refused".to_owned());
        }
        for line in answer.lines.iter_mut().chain(&mut answer.about) {
            *line = self.redact(line);
        }
        let word = match answer.word {
            Word::Allow => "allowed",
            Word::Ask => "asked",
            Word::Forbid => "forbidden",
            Word::Refuse => "refused",
        };
        let text = answer.lines.iter().fold(word.to_owned(), |text, line| format!("{text}\n  {line}"));
        let duration_ms = milliseconds(began.elapsed());
        let output_bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.record_outcome(id, duration_ms, &Done { output_bytes, ..Done::ok(String::new()) })?;
        Ok((Outcome { duration_ms, ..Outcome::of(CallStatus::Ok, &text) }, answer))
    }

    /// Refuses a call for what is wrong with it, whether or not there is such a tool.
    ///
    /// # Errors
    /// If it cannot be recorded.
    pub fn refuse(&self, id: &str, name: &str, arguments: &str, reason: &str) -> Result<Outcome, GateError> {
        self.record_decision(id, name, arguments, Some(reason))?;
        let text = self.redact(&format!("Refused: {reason}"));
        self.record_outcome(id, 0, &Done::refused(String::new()))?;
        Ok(Outcome::of(CallStatus::Refused, &text))
    }

    fn record_decision(&self, id: &str, name: &str, arguments: &str, refusal: Option<&str>) -> Result<(), LogError> {
        let (decision, decided_by) = if refusal.is_some() { ("refuse", "arguments") } else { ("allow", "policy") };
        self.log.append(Event::CallIntent {
            call: id.to_owned(),
            tool: self.redact(name),
            arguments: self.redact(arguments),
            decision: decision.to_owned(),
            decided_by: decided_by.to_owned(),
            rule: refusal.map(|reason| self.redact(reason)),
            opaque: None,
        })
    }
}
