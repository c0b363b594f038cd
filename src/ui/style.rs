//! Colours, where they can be seen and are wanted.

use std::{ffi::OsString, io::IsTerminal};

use anstyle::{AnsiColor, Style};

/// What a piece of text is, from which its colour follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// Text.
    #[default]
    Plain,
    /// A heading or a name.
    Strong,
    /// It works.
    Good,
    /// It works in part.
    Caution,
    /// It does not work.
    Bad,
    /// What leads the eye from step to step.
    Accent,
    /// Where something comes from, and other things that are looked at last.
    Faint,
}

impl Tone {
    const fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Strong => Style::new().bold(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Caution => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Accent => AnsiColor::Cyan.on_default(),
            Self::Faint => Style::new().dimmed(),
        }
    }
}

/// Whether one stream gets colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// Never any colour.
    pub const PLAIN: Self = Self { on: false };

    /// Decides for a stream of this process.
    pub fn of(stream: &impl IsTerminal) -> Self {
        Self::new(stream.is_terminal(), |name| std::env::var_os(name))
    }

    /// A non-empty `NO_COLOR` (no-color.org) is stronger than `CLICOLOR_FORCE` (bixense.com/clicolors), and that stronger than whether the
    /// stream is a terminal that understands colours.
    pub fn new(terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
        let forced = variable("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0");
        let capable = terminal && variable("TERM").is_none_or(|term| term != "dumb");
        Self { on: !set("NO_COLOR") && (forced || capable) }
    }

    /// Whether there are colours.
    pub const fn is_on(self) -> bool {
        self.on
    }

    /// `text` in the colour of `tone`.
    pub fn text(self, tone: Tone, text: &str) -> String {
        if !self.on || tone == Tone::Plain || text.is_empty() {
            return text.to_owned();
        }
        let style = tone.style();
        format!("{style}{text}{style:#}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paint(terminal: bool, variables: &[(&str, &str)]) -> bool {
        Paint::new(terminal, |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))).is_on()
    }

    #[test]
    fn colours_need_a_terminal_that_understands_them_and_a_person_who_wants_them() {
        assert!(paint(true, &[]));
        assert!(paint(true, &[("TERM", "xterm"), ("NO_COLOR", "")]));
        assert!(!paint(false, &[("TERM", "xterm")]));
        assert!(!paint(true, &[("TERM", "dumb")]));
        assert!(!paint(true, &[("NO_COLOR", "1")]));
        assert!(!paint(true, &[("NO_COLOR", "0")]));
    }

    #[test]
    fn colours_can_be_forced_into_a_pipe_but_not_against_no_color() {
        assert!(paint(false, &[("CLICOLOR_FORCE", "1")]));
        assert!(paint(true, &[("CLICOLOR_FORCE", "1"), ("TERM", "dumb")]));
        assert!(!paint(false, &[("CLICOLOR_FORCE", "0")]));
        assert!(!paint(false, &[("CLICOLOR_FORCE", "")]));
        assert!(!paint(true, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    }

    #[test]
    fn painted_text_ends_its_own_colour_and_plain_text_has_none() {
        let on = Paint { on: true };
        let text = on.text(Tone::Bad, "no");
        assert!(text.starts_with("\u{1b}[") && text.ends_with("\u{1b}[0m") && text.contains("no"), "{text:?}");
        assert_eq!(on.text(Tone::Plain, "no"), "no");
        assert_eq!(Paint::PLAIN.text(Tone::Bad, "no"), "no");
    }
}
