//! Colours, where they are wanted.

/// Escape sequences, or empty texts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Palette {
    /// What leads the eye.
    pub accent: &'static str,
    /// What carries the weight.
    pub strong: &'static str,
    /// What is there to be looked up.
    pub dim: &'static str,
    /// What went well.
    pub good: &'static str,
    /// What was refused or failed.
    pub bad: &'static str,
    /// The end of any of these.
    pub reset: &'static str,
}

impl Palette {
    /// In colour on a terminal, unless `NO_COLOR` is set or the terminal is dumb (no-color.org).
    pub fn for_stream(is_terminal: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if set("CLICOLOR_FORCE") || (is_terminal && !set("NO_COLOR") && !dumb) { Self::colours() } else { Self::default() }
    }

    fn colours() -> Self {
        Self { accent: "\x1b[36m", strong: "\x1b[1m", dim: "\x1b[2m", good: "\x1b[32m", bad: "\x1b[31m", reset: "\x1b[0m" }
    }
}
