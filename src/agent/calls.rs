//! The calls of one response: those that only read run side by side, any other runs alone, and none overtakes one that came before it and may change
//! something.

use std::{collections::VecDeque, pin::Pin};

use futures_util::stream::FuturesUnordered;

use super::{
    event::{Event, Observer},
    ledger::Ledger,
    repeats::{Repeats, Verdict},
    turn::{TurnError, observe},
};
use crate::{
    audit::CallStatus,
    model::Image,
    tools::{Gate, GateError, Outcome},
};

type Running<'a> = Pin<Box<dyn Future<Output = (usize, Result<Outcome, GateError>)> + 'a>>;

/// See the module.
pub(super) struct Calls<'a> {
    gate: &'a Gate,
    ledger: &'a mut Ledger,
    repeats: &'a mut Repeats,
    /// A tool whose call has failed the same way too often, and how often.
    pub(super) repeated: Option<(String, u32)>,
    all: Vec<(String, String, String)>,
    waiting: VecDeque<(usize, bool)>,
    pub(super) running: FuturesUnordered<Running<'a>>,
    alone: bool,
    /// Whether no more are started, because the person wants the turn to end.
    pub(super) stopped: bool,
    outputs: Vec<Option<(String, Option<Image>)>>,
}

impl<'a> Calls<'a> {
    pub(super) fn new(gate: &'a Gate, ledger: &'a mut Ledger, repeats: &'a mut Repeats) -> Self {
        Self {
            gate,
            ledger,
            repeats,
            repeated: None,
            all: Vec::new(),
            waiting: VecDeque::new(),
            running: FuturesUnordered::new(),
            alone: false,
            stopped: false,
            outputs: Vec::new(),
        }
    }

    /// Whether none waits and none runs.
    pub(super) fn idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Takes a call of the model's, which [`Self::start`] starts when its turn comes.
    pub(super) fn add(&mut self, id: &str, name: &str, arguments: &str) {
        self.waiting.push_back((self.all.len(), Gate::only_reads(name, arguments)));
        self.all.push((id.to_owned(), name.to_owned(), arguments.to_owned()));
        self.outputs.push(None);
    }

    /// Starts those that may run now.
    pub(super) fn start(&mut self, observer: &mut dyn Observer) -> Result<(), TurnError> {
        while let Some(&(place, only_reads)) = self.waiting.front() {
            if self.stopped || (!self.running.is_empty() && (self.alone || !only_reads)) {
                break;
            }
            self.waiting.pop_front();
            self.alone = !only_reads;
            let (id, name, arguments) = self.all[place].clone();
            observe(observer, Event::CallStarted { call: id.clone(), tool: name.clone(), arguments: self.gate.redact(&arguments) })?;
            let gate = self.gate;
            self.running.push(Box::pin(async move { (place, gate.call(&id, &name, &arguments).await) }));
        }
        Ok(())
    }

    /// Takes the outcome of one that ran, and starts those that waited for it.
    pub(super) fn finish(
        &mut self,
        place: usize,
        outcome: Result<Outcome, GateError>,
        observer: &mut dyn Observer,
    ) -> Result<(), TurnError> {
        let Outcome { mut text, status, exit_code, denials, duration_ms, plan, image } = match outcome {
            Err(GateError::Stopped) => {
                self.stopped = true;
                Outcome::of(
                    CallStatus::Refused,
                    "Stopped: the person ended the turn where it asked. What had run until then is not undone.",
                )
            }
            outcome => outcome?,
        };
        let (call, tool, arguments) = self.all[place].clone();
        self.ledger.call(&tool, &arguments, status, exit_code);
        if let Some(plan) = plan {
            self.ledger.plan(plan);
        }
        match self.repeats.take(&tool, &arguments, status, &text, Gate::only_reads(&tool, &arguments)) {
            Verdict::Goes => {}
            Verdict::Told(note) => text.push_str(&note),
            Verdict::Stops(times) => self.repeated = Some((tool.clone(), times)),
        }
        self.outputs[place] = Some((text.clone(), image));
        observe(observer, Event::CallFinished { call, tool, status, exit_code, duration_ms, output: text, denials })?;
        self.start(observer)
    }

    /// Ends what runs, and says of everything that has no outcome that it was interrupted.
    pub(super) fn end(&mut self, observer: &mut dyn Observer) -> Result<(), TurnError> {
        self.running.clear();
        let waiting: Vec<usize> = self.waiting.drain(..).map(|(place, _)| place).collect();
        for (place, (call, tool, _)) in self.all.iter().enumerate() {
            let output = &mut self.outputs[place];
            if output.is_some() {
                continue;
            }
            if waiting.contains(&place) {
                *output = Some(("It was not begun: the person interrupted the turn.".to_owned(), None));
                continue;
            }
            let Outcome { text, status, exit_code, denials, duration_ms, .. } = self.gate.interrupted(call)?;
            *output = Some((text.clone(), None));
            let (call, tool) = (call.clone(), tool.clone());
            observe(observer, Event::CallFinished { call, tool, status, exit_code, duration_ms, output: text, denials })?;
        }
        Ok(())
    }

    /// What the model is told of each, in the order in which it called them.
    pub(super) fn outputs(self) -> Vec<(String, String, Option<Image>)> {
        let told = |((id, ..), output): ((String, _, _), Option<_>)| {
            let (text, image) = output.unwrap_or_default();
            (id, text, image)
        };
        self.all.into_iter().zip(self.outputs).map(told).collect()
    }
}
