//! Sizes and durations as a person writes them.

use std::time::Duration;

/// The units of a size, largest first, with the bytes that each stands for.
const SIZES: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
/// The units of a duration, largest first, with the seconds that each stands for.
const DURATIONS: [(&str, u64); 4] = [("d", 24 * 3600), ("h", 3600), ("m", 60), ("s", 1)];

/// What an error says of sizes.
pub(super) const SIZE_HINT: &str = "write bytes as a number, or a whole number with KiB, MiB, GiB or TiB, such as \"512MiB\"";
/// What an error says of durations.
pub(crate) const DURATION_HINT: &str = "write a whole number with s, m, h or d, such as \"90s\" or \"10m\"";

/// Reads `4GiB`; `None` for another unit, a fraction, a sign or more than 2^64 - 1 bytes.
pub fn parse_size(text: &str) -> Option<u64> {
    counted(text, &SIZES)
}

/// Reads `10m`; `None` for another unit, a fraction or a sign.
pub fn parse_duration(text: &str) -> Option<Duration> {
    counted(text, &DURATIONS).map(Duration::from_secs)
}

/// Writes bytes with the largest unit that divides them.
pub fn show_size(bytes: u64) -> String {
    largest(bytes, &SIZES)
}

/// Writes a duration with the largest unit that divides it; fractions of a second are dropped, as no policy can hold any.
pub fn show_duration(duration: Duration) -> String {
    largest(duration.as_secs(), &DURATIONS)
}

fn counted(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = units.iter().find(|(name, _)| *name == unit.trim_start_matches(' '))?.1;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn largest(number: u64, units: &[(&str, u64)]) -> String {
    let fitting = units.iter().find(|(_, factor)| number >= *factor && number.is_multiple_of(*factor)).or(units.last());
    fitting.map_or_else(|| number.to_string(), |(name, factor)| format!("{}{name}", number / factor))
}
