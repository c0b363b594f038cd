//! When a person is asked: as the policy says, or more often.

use super::gate::Gate;
use crate::{audit::Event, policy::Ask};

impl Gate {
    /// In a mode that asks more often than the policy does, from the start: stricter than the policy is always possible, laxer is the policy's to say.
    /// It is recorded by [`Self::record_beginning`].
    #[must_use]
    pub fn in_mode(self, ask: Ask) -> Self {
        self.ask.set(ask.max(self.policy.ask));
        self.renew_rules();
        self
    }

    /// When a person is asked.
    pub fn ask_mode(&self) -> Ask {
        self.ask.get()
    }

    /// Asks more often, or as often as the policy says again. The model is told with [`Self::take_notes`].
    ///
    /// # Errors
    /// In words, if the policy asks more often than that; or if it cannot be recorded.
    pub fn set_ask_mode(&self, ask: Ask) -> Result<(), String> {
        if ask < self.policy.ask {
            return Err(format!("the policy {} asks more often than that ([approval] ask)", self.policy.name));
        }
        if ask != self.ask.get() {
            self.log.append(Event::AskMode { mode: ask }).map_err(|error| error.to_string())?;
            self.ask.set(ask);
            self.renew_rules();
            self.note(told_of_mode(ask));
        }
        Ok(())
    }
}

/// What the model is told of a mode that begins to hold.
pub fn told_of_mode(ask: Ask) -> String {
    let words = match ask {
        Ask::Always => "a person is asked before every call",
        Ask::WhenNeeded => "a person is asked only where a rule says so, and for wider access",
        Ask::Never => "nobody is asked: what would ask is refused",
    };
    format!("From here on, {words}.")
}
