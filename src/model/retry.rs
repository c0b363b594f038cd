//! When to ask again, and after how long. Pure: no clock, no randomness of its own.

use std::time::Duration;

/// Longest wait that a server may ask for. A longer one ends the request with the server's message: a person should decide.
pub(super) const MAX_ASKED_WAIT: Duration = Duration::from_secs(120);

/// Exponential back-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait before the first retry; each later one doubles.
    pub base: Duration,
    /// No wait is longer than this, jitter aside.
    pub cap: Duration,
    /// How many times to ask again after the first request.
    pub retries: u32,
}

impl Default for Backoff {
    /// 200 ms doubling up to 20 s, five retries.
    fn default() -> Self {
        Self { base: Duration::from_millis(200), cap: Duration::from_secs(20), retries: 5 }
    }
}

impl Backoff {
    /// The wait before retry number `retry` (from 1). `seed` spreads it evenly over ±10 %; equal seeds give equal waits.
    pub fn wait(&self, retry: u32, seed: u64) -> Duration {
        let doubled = self.base.saturating_mul(1_u32.checked_shl(retry.saturating_sub(1)).unwrap_or(u32::MAX)).min(self.cap);
        // 900 to 1100 per mille; the remainder of 201 fits any integer type.
        let per_mille = 900 + u32::try_from(seed % 201).unwrap_or(100);
        doubled.saturating_mul(per_mille) / 1000
    }
}

/// What a server asked for in its headers. `retry-after-ms` (fractions allowed) is preferred to `retry-after` in seconds
/// (fractions allowed). A `Retry-After` that is a date (RFC 9110, 10.2.3) is not read; the back-off applies then.
pub(super) fn asked_in_headers(retry_after_ms: Option<&str>, retry_after: Option<&str>) -> Option<Duration> {
    let number = |text: Option<&str>, unit: f64| text.and_then(|text| text.trim().parse::<f64>().ok()).and_then(|n| duration(n * unit));
    number(retry_after_ms, 0.001).or_else(|| number(retry_after, 1.0))
}

/// What a server asked for in a sentence: "try again in 1.3s", "20ms", "1m2s", "2 seconds".
pub(super) fn asked_in_message(message: &str) -> Option<Duration> {
    const PHRASE: &str = "try again in ";
    let lower = message.to_ascii_lowercase();
    let mut rest = &lower[lower.find(PHRASE)? + PHRASE.len()..];
    let mut seconds = 0.0;
    let mut found = false;
    loop {
        let (number, after) = split(rest.trim_start(), |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split(after.trim_start(), |c| c.is_ascii_alphabetic());
        let unit = match unit {
            "ms" | "millisecond" | "milliseconds" => 0.001,
            "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
            "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
            "h" | "hour" | "hours" => 3600.0,
            _ => break,
        };
        let Ok(number) = number.trim_end_matches('.').parse::<f64>() else { break };
        seconds += number * unit;
        found = true;
        rest = after;
    }
    if found { duration(seconds) } else { None }
}

fn split(text: &str, of: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !of(c)).unwrap_or(text.len()))
}

fn duration(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

/// Whether asking again cannot help, judged by the server's error code.
pub(super) fn is_final_code(code: &str) -> bool {
    matches!(
        code,
        "insufficient_quota"
            | "billing_hard_limit_reached"
            | "usage_not_included"
            | "model_not_found"
            | "authentication_error"
            | "permission_denied"
    ) || code.starts_with("invalid_")
        || code.starts_with("unsupported_")
        || code.starts_with("content_policy")
        || code.ends_with("_policy")
        || code.starts_with("image_")
        || is_context_length(Some(code), "")
}

/// Whether asking again can help, judged by the HTTP status and the server's error code: time-outs, conflicts, rate limits and
/// the server's own failures.
pub(super) fn is_transient(status: u16, code: Option<&str>) -> bool {
    let by_status = matches!(status, 408 | 409 | 425 | 429) || (500..600).contains(&status) && !matches!(status, 501 | 505);
    by_status && !code.is_some_and(is_final_code)
}

/// Whether the prompt is too long for the model. OpenAI and vLLM use a code or a sentence, llama.cpp its own code.
pub(super) fn is_context_length(code: Option<&str>, message: &str) -> bool {
    matches!(code, Some("context_length_exceeded" | "exceed_context_size_error"))
        || message.contains("maximum context length")
        || message.contains("exceeds the context window")
        || message.contains("exceeds the available context size")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let backoff = Backoff::default();
        let waits: Vec<u128> = (1..=9).map(|retry| backoff.wait(retry, 100).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 12_800, 20_000, 20_000]);
        assert_eq!(backoff.wait(1, 0).as_millis(), 180);
        assert_eq!(backoff.wait(1, 200).as_millis(), 220);
    }

    #[test]
    fn a_wait_in_a_sentence_is_read() {
        for (text, milliseconds) in [
            ("Rate limit reached. Please try again in 1.3s. Visit ...", 1300),
            ("try again in 20ms", 20),
            ("Try again in 1m2s.", 62_000),
            ("try again in 2 seconds", 2000),
            ("try again in 1h", 3_600_000),
        ] {
            assert_eq!(asked_in_message(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["try again later", "try again in ", "try again in 5 bananas", "wait 5s", "try again in 1.2.3s"] {
            assert_eq!(asked_in_message(text), None, "{text}");
        }
    }

    #[test]
    fn headers_are_read_in_seconds_and_milliseconds_but_not_as_dates() {
        assert_eq!(asked_in_headers(None, Some("2")), Some(Duration::from_secs(2)));
        assert_eq!(asked_in_headers(Some("1.5"), Some("2")), Some(Duration::from_micros(1500)));
        assert_eq!(asked_in_headers(None, Some("Wed, 21 Oct 2026 07:28:00 GMT")), None);
        for bad in ["-1", "nan", "inf", "1e400", ""] {
            assert_eq!(asked_in_headers(None, Some(bad)), None, "{bad}");
        }
    }

    #[test]
    fn only_what_can_pass_by_itself_is_transient() {
        for status in [408, 429, 500, 502, 503, 504, 529] {
            assert!(is_transient(status, None), "{status}");
        }
        for status in [301, 400, 401, 403, 404, 422, 501] {
            assert!(!is_transient(status, None), "{status}");
        }
        assert!(!is_transient(429, Some("insufficient_quota")));
        assert!(is_transient(429, Some("rate_limit_exceeded")));
        assert!(!is_final_code("server_error") && is_final_code("invalid_prompt"));
    }

    proptest! {
        #[test]
        fn no_sentence_and_no_header_panics(text in "\\PC{0,40}", tail in "[0-9.hms ]{0,60}") {
            asked_in_message(&format!("{text}try again in {tail}"));
            asked_in_headers(Some(&text), Some(&tail));
        }

        #[test]
        fn a_wait_stays_within_a_tenth_of_its_step(retry in 1_u32..200, seed: u64) {
            let backoff = Backoff::default();
            let wait = backoff.wait(retry, seed);
            prop_assert!(wait >= backoff.base * 9 / 10 && wait <= backoff.cap * 11 / 10);
        }
    }
}
