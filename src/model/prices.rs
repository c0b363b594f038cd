//! What tokens cost, as the person says it: portcullis knows no price list, which would be wrong by tomorrow.

use std::{fmt, str::FromStr};

use super::Usage;

/// Prices in millionths of a dollar, or of whatever the person counts in, for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prices {
    /// Of input that the cache did not know.
    input: u64,
    /// Of input that it knew.
    cached: u64,
    /// Of output, reasoning included.
    output: u64,
}

impl Prices {
    /// What so many tokens cost, in millionths, rounded up.
    pub fn cost(&self, usage: &Usage) -> u64 {
        let uncached = usage.input_tokens.saturating_sub(usage.cached_tokens);
        let all = [(uncached, self.input), (usage.cached_tokens.min(usage.input_tokens), self.cached), (usage.output_tokens, self.output)];
        let sum: u128 = all.iter().map(|(tokens, price)| u128::from(*tokens) * u128::from(*price)).sum();
        u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

/// A text that is no three prices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("prices are three numbers for a million tokens, of input, of cached input and of output, such as 1.25/0.125/10")]
pub struct BadPrices;

impl FromStr for Prices {
    type Err = BadPrices;

    fn from_str(text: &str) -> Result<Self, BadPrices> {
        let price = |text: &str| -> Result<u64, BadPrices> {
            let number: f64 = text.trim().parse().map_err(|_| BadPrices)?;
            if (0.0..=1e9).contains(&number) { Ok((number * 1e6).round() as u64) } else { Err(BadPrices) }
        };
        match text.split('/').collect::<Vec<_>>()[..] {
            [input, cached, output] => Ok(Self { input: price(input)?, cached: price(cached)?, output: price(output)? }),
            _ => Err(BadPrices),
        }
    }
}

impl fmt::Display for Prices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [input, cached, output] = [self.input, self.cached, self.output].map(|price| price as f64 / 1e6);
        write!(f, "{input}/{cached}/{output}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_counts_cached_input_by_its_own_price() {
        let prices: Prices = "1.25/0.125/10".parse().unwrap();
        let usage = Usage { input_tokens: 1_000_000, cached_tokens: 800_000, output_tokens: 1000, ..Usage::default() };
        assert_eq!(prices.cost(&usage), 250_000 + 100_000 + 10_000);
        assert_eq!(prices.to_string(), "1.25/0.125/10");
        for bad in ["", "1/2", "1/2/x", "1/2/-3", "nan/1/1", "1/2/3/4", "1e30/1/1"] {
            assert!(bad.parse::<Prices>().is_err(), "{bad}");
        }
        let most = Usage { input_tokens: u64::MAX, cached_tokens: u64::MAX, output_tokens: u64::MAX, ..Usage::default() };
        assert_eq!("1e9/1e9/1e9".parse::<Prices>().unwrap().cost(&most), u64::MAX);
    }
}
