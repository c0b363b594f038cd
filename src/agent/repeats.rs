//! A model that makes the same call again and again although it fails each time the same way is told so, and in the end stopped.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::audit::CallStatus;

/// After so many equal failures the model is told.
const TOLD: u32 = 3;
/// After so many the turn ends.
pub const STOPPED: u32 = 6;

/// Failures that were seen in a turn, by call and outcome.
#[derive(Debug, Default)]
pub struct Repeats {
    seen: HashMap<[u8; 32], u32>,
}

/// What follows from an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Goes,
    /// The model is told this.
    Told(String),
    /// The turn is to end: the same failure came so many times.
    Stops(u32),
}

impl Repeats {
    /// Takes an outcome. A call that succeeded may have changed what others met, unless it only reads.
    pub fn take(&mut self, tool: &str, arguments: &str, status: CallStatus, output: &str, only_reads: bool) -> Verdict {
        if status == CallStatus::Ok {
            if !only_reads {
                self.seen.clear();
            }
            return Verdict::Goes;
        }
        let mut digest = Sha256::new();
        for part in [tool, arguments, output] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let count = self.seen.entry(digest.finalize().into()).or_default();
        *count += 1;
        match *count {
            STOPPED.. => Verdict::Stops(*count),
            TOLD.. => Verdict::Told(format!(
                "\n[portcullis] This very call has failed the same way {count} times. Do something else; at {STOPPED} the turn is ended."
            )),
            _ => Verdict::Goes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_failures_are_told_of_and_stopped_and_a_change_begins_anew() {
        let mut repeats = Repeats::default();
        let mut fail = |arguments: &str, output: &str| repeats.take("shell", arguments, CallStatus::Failed, output, false);
        assert_eq!((fail("a", "x"), fail("a", "x")), (Verdict::Goes, Verdict::Goes));
        assert!(matches!(fail("a", "x"), Verdict::Told(_)));
        // Another outcome of the same call, and another call, are others.
        assert_eq!((fail("a", "y"), fail("b", "x")), (Verdict::Goes, Verdict::Goes));
        assert!(matches!((fail("a", "x"), fail("a", "x")), (Verdict::Told(_), Verdict::Told(_))));
        assert_eq!(fail("a", "x"), Verdict::Stops(STOPPED));
        assert_eq!(repeats.take("read_file", "", CallStatus::Ok, "", true), Verdict::Goes);
        assert!(matches!(repeats.take("shell", "a", CallStatus::Failed, "x", false), Verdict::Stops(_)));
        assert_eq!(repeats.take("shell", "c", CallStatus::Ok, "", false), Verdict::Goes);
        assert_eq!(repeats.take("shell", "a", CallStatus::Failed, "x", false), Verdict::Goes);
    }
}
