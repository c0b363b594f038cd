//! A prompt cache, simulated: four bytes are a token, and what a request shares with an earlier one is cached.

use crate::model::Usage;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::{HashMap, VecDeque};

/// A prefix shorter than this is not cached, in tokens.
const MIN_CACHED: u64 = 1024;
/// Cached prefixes come in steps of this many tokens.
const STEP: u64 = 128;
/// How many earlier prompts are remembered for each cache key.
const REMEMBERED: usize = 8;
const BYTES_PER_TOKEN: u64 = 4;

#[derive(Deserialize)]
struct Visible<'a> {
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    instructions: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    prompt_cache_key: Option<String>,
}

/// Earlier prompts by cache key.
#[derive(Debug, Default)]
pub(super) struct PromptCache {
    seen: HashMap<String, VecDeque<Vec<u8>>>,
}

impl PromptCache {
    /// The input token counts of a request, which is then remembered. A body that is not a request counts as nothing.
    pub(super) fn look_up(&mut self, body: &[u8]) -> Usage {
        let Ok(visible) = serde_json::from_slice::<Visible<'_>>(body) else { return Usage::default() };
        let mut prompt = Vec::with_capacity(body.len());
        prompt.extend_from_slice(visible.tools.map_or("", RawValue::get).as_bytes());
        prompt.extend_from_slice(visible.instructions.unwrap_or_default().as_bytes());
        // Without the closing bracket, so that a longer conversation extends a shorter one.
        let input = visible.input.map_or("", RawValue::get);
        prompt.extend_from_slice(input.strip_suffix(']').unwrap_or(input).as_bytes());

        let earlier = self.seen.entry(visible.prompt_cache_key.unwrap_or_default()).or_default();
        let shared = earlier.iter().map(|other| shared_prefix(other, &prompt)).max().unwrap_or(0) as u64 / BYTES_PER_TOKEN;
        let cached_tokens = if shared < MIN_CACHED { 0 } else { shared / STEP * STEP };
        let input_tokens = prompt.len() as u64 / BYTES_PER_TOKEN;
        if earlier.len() == REMEMBERED {
            earlier.pop_front();
        }
        earlier.push_back(prompt);
        Usage { input_tokens, cached_tokens, ..Usage::default() }
    }
}

fn shared_prefix(one: &[u8], other: &[u8]) -> usize {
    let length = one.len().min(other.len());
    // The usual case, compared as memory and not byte by byte.
    if one[..length] == other[..length] {
        return length;
    }
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(key: &str, instructions: &str, inputs: &[&str]) -> Vec<u8> {
        serde_json::json!({"prompt_cache_key": key, "instructions": instructions, "input": inputs}).to_string().into_bytes()
    }

    #[test]
    fn an_extended_prompt_is_cached_in_steps_and_only_under_its_key() {
        let mut cache = PromptCache::default();
        let long = "x".repeat(6000);
        assert_eq!(cache.look_up(&body("k", &long, &["a"])).cached_tokens, 0);
        let second = cache.look_up(&body("k", &long, &["a", "b"]));
        assert_eq!((second.cached_tokens, second.input_tokens), (1408, 6008 / 4));
        assert_eq!(cache.look_up(&body("other", &long, &["a", "b"])).cached_tokens, 0);
    }

    #[test]
    fn a_short_prefix_is_not_cached() {
        let mut cache = PromptCache::default();
        let short = "x".repeat(4000);
        cache.look_up(&body("k", &short, &["a"]));
        assert_eq!(cache.look_up(&body("k", &short, &["a", "b"])).cached_tokens, 0);
    }

    #[test]
    fn a_body_that_is_not_json_counts_nothing() {
        assert_eq!(PromptCache::default().look_up(b"\xff{"), Usage::default());
    }
}
