//! What of each request the provider's prompt cache should have known, what it says that it knew, and where the two differ: why.
//!
//! A request is seen as segments: the parts of its head, then its items. The digests of those that were sent last are kept, so that a miss names the first
//! segment that is another than before; where none is, the provider has dropped what it had.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::model::{Conversation, Link, Usage};

/// Providers cache nothing shorter than this, in tokens (<https://platform.openai.com/docs/guides/prompt-caching>).
const LEAST: u64 = 1024;
/// They cache in steps of this many tokens.
const STEP: u64 = 128;

/// The digest of a segment.
pub type SegmentDigest = u64;

/// A part of the head, by name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HeadSegment {
    /// What it is.
    pub name: String,
    /// Its digest.
    pub digest: SegmentDigest,
}

impl HeadSegment {
    /// Of a part with this text.
    pub fn new(name: &str, text: &[u8]) -> Self {
        Self { name: name.to_owned(), digest: digest(text) }
    }
}

/// What one request made of the cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Tokens that the cache should have known; none where that cannot be told.
    pub expected: Option<u64>,
    /// Why it knew less.
    pub miss: Option<String>,
}

/// Follows the requests of a session.
#[derive(Debug, Default)]
pub struct CacheWatch {
    head: Vec<HeadSegment>,
    head_bytes: usize,
    /// Names of the items of the prefix.
    names: Vec<String>,
    /// Of the request before this one, and of this one.
    before: Vec<Link>,
    now: Vec<Link>,
    /// Tokens and bytes of the request before.
    last: Option<(u64, usize)>,
    /// A segment of the head that is another than in the session that goes on here.
    changed: Option<String>,
    /// Whether the session goes on with an earlier one, of which nothing was sent yet.
    resumed: bool,
    /// Whether the endpoint has ever reported a cached token, and whether it was said that it does not.
    reported: bool,
    silence_told: bool,
    compacted: bool,
    misses: BTreeMap<String, u64>,
}

impl CacheWatch {
    /// Of a session whose head has these parts and so many bytes, and whose prefix has these items.
    pub fn new(head: Vec<HeadSegment>, head_bytes: usize, names: Vec<String>) -> Self {
        Self { head, head_bytes, names, ..Self::default() }
    }

    /// The same, where the session goes on with one that had another head, or the same.
    #[must_use]
    pub fn after(mut self, earlier: &[HeadSegment]) -> Self {
        let differs =
            |part: &&HeadSegment| earlier.iter().find(|other| other.name == part.name).is_some_and(|other| other.digest != part.digest);
        self.changed = self.head.iter().find(differs).map(|part| part.name.clone());
        self.resumed = true;
        self
    }

    /// The parts of the head.
    pub fn head(&self) -> &[HeadSegment] {
        &self.head
    }

    /// Takes a request that is about to be sent.
    pub fn sending(&mut self, conversation: &Conversation) {
        std::mem::swap(&mut self.before, &mut self.now);
        self.now.clear();
        self.now.extend_from_slice(conversation.links());
    }

    /// Takes note that the conversation was made shorter.
    pub fn compacted(&mut self) {
        self.compacted = true;
    }

    /// What the request that was sent last made of the cache.
    pub fn report(&mut self, usage: &Usage, conversation: &Conversation) -> Report {
        self.reported |= usage.cached_tokens > 0;
        let bytes = self.head_bytes + conversation.as_bytes().len();
        let differs = match self.changed.take() {
            Some(part) => Some((part, 0)),
            None => self.first_difference(conversation),
        };
        let resumed = std::mem::take(&mut self.resumed);
        let compacted = std::mem::take(&mut self.compacted);
        let expected = match (self.last, &differs) {
            (None, None) if resumed => None,
            (None, _) => Some(0),
            (Some((tokens, _)), None) => Some(steps(tokens)),
            (Some((tokens, before)), Some((_, shared))) => Some(steps((tokens as f64 * *shared as f64 / before.max(1) as f64) as u64)),
        };
        let lacks = match expected {
            Some(expected) => usage.cached_tokens + STEP < expected,
            None => usage.cached_tokens == 0 && usage.input_tokens >= LEAST,
        };
        let miss = match differs {
            Some(_) if compacted => Some("compaction".to_owned()),
            Some((segment, _)) => Some(segment),
            None if !lacks => None,
            None if self.reported => Some("evicted by the provider".to_owned()),
            None if std::mem::replace(&mut self.silence_told, true) => None,
            None => Some("the endpoint reports no cached tokens".to_owned()),
        };
        if let Some(miss) = &miss {
            *self.misses.entry(miss.clone()).or_default() += 1;
        }
        self.last = Some((usage.input_tokens, bytes));
        Report { expected, miss }
    }

    /// What a request made of the cache that is no part of the conversation, but stands behind all of it.
    pub fn report_aside(&mut self, usage: &Usage) -> Report {
        self.reported |= usage.cached_tokens > 0;
        let expected = self.last.map(|(tokens, _)| steps(tokens));
        let lacks = self.reported && expected.is_some_and(|expected| usage.cached_tokens + STEP < expected);
        Report { expected, miss: lacks.then(|| "evicted by the provider".to_owned()) }
    }

    /// How often each reason for a miss was met.
    pub fn misses(&self) -> &BTreeMap<String, u64> {
        &self.misses
    }

    /// The first item that is another than in the request before, and the bytes before it that are the same.
    fn first_difference(&self, conversation: &Conversation) -> Option<(String, usize)> {
        let place = (0..self.before.len()).find(|place| self.now.get(*place) != self.before.get(*place))?;
        let shared =
            self.head_bytes + (0..place).filter_map(|place| conversation.item_bytes(place)).map(|bytes| bytes.len() + 1).sum::<usize>();
        Some((self.names.get(place).cloned().unwrap_or_else(|| format!("item {}", place + 1)), shared))
    }
}

fn steps(tokens: u64) -> u64 {
    if tokens < LEAST { 0 } else { tokens / STEP * STEP }
}

fn digest(bytes: &[u8]) -> SegmentDigest {
    let hash = Sha256::digest(bytes);
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(input_tokens: u64, cached_tokens: u64) -> Usage {
        Usage { input_tokens, cached_tokens, ..Usage::default() }
    }

    fn watch(tools: &str) -> CacheWatch {
        let head = vec![HeadSegment::new("tools", tools.as_bytes()), HeadSegment::new("base instructions", b"i")];
        CacheWatch::new(head, 4000, vec!["sandbox text".to_owned()])
    }

    fn conversation(texts: &[&str]) -> Conversation {
        let mut conversation = Conversation::new();
        texts.iter().for_each(|text| conversation.push_developer(text));
        conversation
    }

    /// Sends one request, and says what came of it.
    fn one(watch: &mut CacheWatch, texts: &[&str], input: u64, cached: u64) -> (Option<u64>, Option<String>) {
        let conversation = conversation(texts);
        watch.sending(&conversation);
        let report = watch.report(&usage(input, cached), &conversation);
        (report.expected, report.miss)
    }

    #[test]
    fn what_was_sent_before_is_expected_and_a_miss_says_why() {
        let mut watch = watch("t");
        assert_eq!(one(&mut watch, &["sandbox", "a"], 5000, 0), (Some(0), None));
        assert_eq!(one(&mut watch, &["sandbox", "a", "b"], 5100, 4992), (Some(4992), None));
        assert_eq!(one(&mut watch, &["sandbox", "a", "b", "c"], 5200, 0), (Some(4992), Some("evicted by the provider".to_owned())));
        let (_, miss) = one(&mut watch, &["sandbox", "a", "other", "c"], 5200, 1024);
        assert_eq!(miss.as_deref(), Some("item 3"));
        assert_eq!(one(&mut watch, &["changed", "a", "other", "c"], 5200, 0).1.as_deref(), Some("sandbox text"));
        assert_eq!(watch.misses().values().sum::<u64>(), 3);
    }

    #[test]
    fn a_compaction_is_named_and_only_the_prefix_is_expected_after_it() {
        let mut watch = watch("t");
        let long = "x".repeat(16_000);
        one(&mut watch, &["sandbox", &long], 5000, 0);
        watch.compacted();
        let (expected, miss) = one(&mut watch, &["sandbox", "the summary"], 1300, 1024);
        assert_eq!(miss.as_deref(), Some("compaction"));
        assert!(expected.unwrap() < 1300, "{expected:?}");
        assert_eq!(one(&mut watch, &["sandbox", "the summary", "x"], 1400, 1280), (Some(1280), None));
    }

    #[test]
    fn a_session_that_goes_on_names_what_the_program_changed() {
        let earlier = watch("old tools");
        let mut changed = watch("new tools").after(earlier.head());
        assert_eq!(one(&mut changed, &["sandbox", "a"], 5000, 0).1.as_deref(), Some("tools"));
        let mut same = watch("old tools").after(earlier.head());
        assert_eq!(one(&mut same, &["sandbox", "a"], 5000, 4096), (None, None));
        let mut silent = watch("old tools");
        one(&mut silent, &["sandbox"], 5000, 0);
        assert_eq!(one(&mut silent, &["sandbox", "a"], 5000, 0).1.as_deref(), Some("the endpoint reports no cached tokens"));
        assert_eq!(one(&mut silent, &["sandbox", "a", "b"], 5000, 0).1, None);
    }
}
