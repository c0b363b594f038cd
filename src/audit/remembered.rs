//! What is remembered of the calls of a log: of the newest alone, so that memory stays flat however long the log is.

use std::collections::{HashMap, VecDeque};

use super::reading::Entry;

/// Calls that are remembered.
const CALLS: usize = 65_536;

/// The session and the id of a call.
pub type CallKey = (String, String);

/// The call that a record is about.
pub fn call_of(entry: &Entry) -> Option<CallKey> {
    Some((entry.session.clone(), entry.text("call")?.to_owned()))
}

/// Something of each call.
#[derive(Debug)]
pub struct Remembered<T> {
    calls: HashMap<CallKey, T>,
    order: VecDeque<CallKey>,
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self { calls: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T> Remembered<T> {
    /// What is remembered of a call.
    pub fn get(&self, call: &CallKey) -> Option<&T> {
        self.calls.get(call)
    }

    /// Remembers something of a call, in the place of what was remembered of it before.
    pub fn insert(&mut self, call: CallKey, what: T) {
        if self.calls.insert(call.clone(), what).is_some() {
            return;
        }
        self.order.push_back(call);
        if self.order.len() > CALLS
            && let Some(oldest) = self.order.pop_front()
        {
            self.calls.remove(&oldest);
        }
    }
}
