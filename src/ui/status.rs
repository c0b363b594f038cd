//! The status line of a session: what confines it, what it cost so far, what it does.

use std::time::Duration;

use super::columns::{columns, fit};
use crate::policy::{Ask, NetworkMode};

/// What the line says.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// The policy's name.
    pub policy: String,
    /// What its programs can reach.
    pub network: NetworkMode,
    /// When a person is asked.
    pub ask: Ask,
    /// Programs that run in the background.
    pub background: usize,
    input: u64,
    cached: u64,
    output: u64,
}

impl Status {
    /// Of a session that has cost nothing yet.
    pub fn new(policy: &str, network: NetworkMode, ask: Ask) -> Self {
        Self { policy: policy.to_owned(), network, ask, ..Self::default() }
    }

    /// Adds the tokens of a response.
    pub fn count(&mut self, input: u64, cached: u64, output: u64) {
        self.input += input;
        self.cached += cached;
        self.output += output;
    }

    /// Input, cached and output tokens so far.
    pub fn tokens(&self) -> (u64, u64, u64) {
        (self.input, self.cached, self.output)
    }

    /// How many of a hundred input tokens came from the provider's cache; none where there was no input.
    pub fn hit_rate(&self) -> Option<u64> {
        (self.cached.min(self.input) * 100).checked_div(self.input)
    }

    /// The line, in at most so many columns. On a narrow screen the parts that find no room are left out, the last ones first.
    pub fn line(&self, width: usize, elapsed: Option<Duration>, doing: &str) -> String {
        let mut parts = Vec::new();
        if let Some(elapsed) = elapsed {
            parts.push(format!("{doing} · {} s", elapsed.as_secs()));
        }
        parts.push(super::sanitize::visible_line(&self.policy));
        parts.push(network(self.network).to_owned());
        if self.background > 0 {
            parts.push(format!("{} in the background", self.background));
        }
        if self.input > 0 {
            let rate = self.hit_rate().unwrap_or(0);
            parts.push(format!("{} in, {rate} % cached, {} out", short(self.input), short(self.output)));
        }
        parts.push(asks(self.ask).to_owned());
        let mut line = parts.remove(0);
        for part in parts {
            if columns(&line) + 3 + columns(&part) <= width {
                line.push_str(" · ");
                line.push_str(&part);
            }
        }
        fit(&line, width)
    }
}

/// A network mode in words.
pub const fn network(mode: NetworkMode) -> &'static str {
    match mode {
        NetworkMode::None => "no network",
        NetworkMode::Loopback => "loopback",
        NetworkMode::Allowlist => "listed hosts",
        NetworkMode::Open => "open network",
    }
}

/// A mode of asking in words.
pub const fn asks(ask: Ask) -> &'static str {
    match ask {
        Ask::Always => "asks always",
        Ask::WhenNeeded => "asks when needed",
        Ask::Never => "asks never",
    }
}

/// 950, 12.3k, 4.5M.
fn short(count: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", count / unit, count % unit * 10 / unit);
    match count {
        0..=999 => count.to_string(),
        1_000..=999_999 => format!("{}k", tenths(1_000)),
        _ => format!("{}M", tenths(1_000_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_fits_and_says_what_matters_first() {
        let mut status = Status { policy: "workspace-write".to_owned(), ..Status::default() };
        status.count(12_345, 9_876, 950);
        let wide = status.line(200, Some(Duration::from_secs(7)), "thinking");
        assert_eq!(wide, "thinking · 7 s · workspace-write · no network · 12.3k in, 80 % cached, 950 out · asks when needed");
        let narrow = status.line(79, Some(Duration::from_secs(12)), "thinking");
        assert_eq!(narrow, "thinking · 12 s · workspace-write · no network · 12.3k in, 80 % cached, 950 out");
        for width in 0..130 {
            assert!(columns(&status.line(width, None, "")) <= width);
        }
        assert_eq!(status.line(20, None, ""), "workspace-write");
    }
}
