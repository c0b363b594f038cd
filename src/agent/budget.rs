//! How full the model's window is, when the conversation has to be made shorter, and when that no longer helps. Pure: no clock, no endpoint.

use crate::model::Usage;

/// Bytes of a request that count as one token until an endpoint has said better.
const BYTES_PER_TOKEN: f64 = 4.0;
/// How many compactions in a row may be without progress before the turn ends.
const BARREN: u32 = 2;

/// See the module.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Tokens that the model takes, where that is known or was learned.
    window: Option<u64>,
    /// Percent of them.
    share: u8,
    ratio: f64,
    /// What the last response said: tokens, at so many bytes.
    known: Option<(u64, usize)>,
    /// Responses since the last compaction, if there was one.
    since: Option<u32>,
    barren: u32,
}

impl Budget {
    /// Of a window of so many tokens, if that is known, to be filled up to so many percent (1 to 100).
    pub fn new(window: Option<u64>, share: u8) -> Self {
        Self { window, share: share.clamp(1, 100), ratio: BYTES_PER_TOKEN, known: None, since: None, barren: 0 }
    }

    /// Tokens at which the conversation is compacted, if that is known.
    pub fn limit(&self) -> Option<u64> {
        self.window.map(|window| window.saturating_mul(u64::from(self.share)) / 100)
    }

    /// Tokens of a request of so many bytes, as far as that can be told.
    pub fn estimate(&self, bytes: usize) -> u64 {
        match self.known {
            Some((tokens, then)) => tokens + tokens_of(bytes.saturating_sub(then), self.ratio),
            None => tokens_of(bytes, self.ratio),
        }
    }

    /// Whether a request of so many bytes had better not be sent.
    pub fn is_full(&self, bytes: usize) -> bool {
        self.limit().is_some_and(|limit| self.estimate(bytes) >= limit)
    }

    /// Takes note of the tokens that were counted for a request of `sent` bytes. With what the model wrote besides, the next has `now` bytes.
    pub fn responded(&mut self, usage: Option<Usage>, sent: usize, now: usize) {
        self.since = self.since.map(|count| count.saturating_add(1));
        let Some(usage) = usage.filter(|usage| usage.input_tokens > 0) else { return };
        // An endpoint that counts nonsense is not followed far.
        self.ratio = (sent as f64 / usage.input_tokens as f64).clamp(1.0, 8.0);
        self.known = Some((usage.input_tokens.saturating_add(usage.output_tokens), now));
    }

    /// Takes note that a request of so many bytes was too long: from here on that is the window.
    pub fn overflowed(&mut self, bytes: usize) {
        let estimate = self.estimate(bytes);
        self.window = Some(self.window.map_or(estimate, |window| window.min(estimate)));
    }

    /// Takes note that the conversation was compacted, so that the next request has so many bytes. False when that has not helped twice in a row: a
    /// compaction has not helped if it follows on the heels of another, or leaves the window full.
    pub fn compacted(&mut self, bytes: usize) -> bool {
        self.known = None;
        let helped = self.since.is_none_or(|responses| responses > 1) && !self.is_full(bytes);
        self.since = Some(0);
        self.barren = if helped { 0 } else { self.barren + 1 };
        self.barren < BARREN
    }

    /// Whether the last compaction did not help.
    pub fn is_tight(&self) -> bool {
        self.barren > 0 || self.since == Some(0)
    }

    /// Forgets what did not help, because somebody who knows asks for another try.
    pub fn reset(&mut self) {
        (self.known, self.since, self.barren) = (None, None, 0);
    }
}

fn tokens_of(bytes: usize, ratio: f64) -> u64 {
    (bytes as f64 / ratio).ceil() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usage(input_tokens: u64, output_tokens: u64) -> Option<Usage> {
        Some(Usage { input_tokens, output_tokens, ..Usage::default() })
    }

    #[test]
    fn what_the_endpoint_counted_counts_and_what_came_since_is_estimated() {
        let mut budget = Budget::new(Some(1000), 80);
        assert_eq!(budget.limit(), Some(800));
        assert!(!budget.is_full(3000) && budget.is_full(3200));
        budget.responded(usage(500, 50), 1000, 1100);
        assert_eq!(budget.estimate(1100), 550);
        assert!(!budget.is_full(1500) && budget.is_full(1700), "{}", budget.estimate(1700));
        assert!(!Budget::new(None, 80).is_full(usize::MAX));
    }

    #[test]
    fn a_window_is_learned_from_a_request_that_was_too_long() {
        let mut budget = Budget::new(None, 50);
        budget.overflowed(4000);
        assert_eq!(budget.limit(), Some(500));
        assert!(budget.is_full(2000) && !budget.is_full(1900));
    }

    #[test]
    fn two_compactions_without_progress_are_the_last_ones() {
        let mut budget = Budget::new(Some(1000), 80);
        // One after many responses helps.
        assert!(budget.compacted(400));
        for _ in 0..3 {
            budget.responded(usage(700, 10), 2800, 2840);
        }
        assert!(budget.compacted(400));
        // One after a single response does not, nor does one that leaves the window full.
        budget.responded(usage(900, 10), 3600, 3640);
        assert!(budget.compacted(400));
        assert!(!budget.compacted(9000));
        budget.reset();
        assert!(budget.compacted(400));
    }

    proptest! {
        #[test]
        fn no_count_of_an_endpoint_is_too_strange(input: u64, output: u64, sent in 0usize..1 << 40, more in 0usize..1 << 40, window: u64, share: u8) {
            let mut budget = Budget::new(Some(window), share);
            budget.responded(usage(input / 4, output / 4), sent, sent + more);
            let _ = (budget.is_full(sent), budget.estimate(sent + more));
            budget.overflowed(sent);
            let _ = budget.compacted(more);
        }
    }
}
