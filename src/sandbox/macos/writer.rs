//! How a profile is written: rules into a text, and values into parameters that the text names.

use std::path::Path;

use super::{profile::Profile, refusal::Refusal};

/// Filters, each once, in order.
#[derive(Debug, Default)]
pub(super) struct Filters(pub(super) Vec<String>);

impl Filters {
    pub(super) fn push(&mut self, filter: String) {
        if !self.0.contains(&filter) {
            self.0.push(filter);
        }
    }
}

/// A path as the text that it has to be.
pub(super) fn text(path: &Path) -> Result<&str, Refusal> {
    path.to_str().filter(|text| !text.contains('\0')).ok_or_else(|| Refusal::NotText { path: path.to_path_buf() })
}

/// The text as far as it is written, and its parameters.
pub(super) struct Writer {
    text: String,
    parameters: Vec<(String, String)>,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { text: String::from("(version 1)\n(deny default)\n"), parameters: Vec::new() }
    }

    /// What was written.
    pub(super) fn finish(self) -> Profile {
        Profile { text: self.text, parameters: self.parameters }
    }

    pub(super) fn section(&mut self, title: &str) {
        self.text.push_str(&format!("\n; {title}\n"));
    }

    /// A rule over any of the filters; over everything if there is none and the operation takes none. A rule over an empty choice is no rule.
    pub(super) fn rule(&mut self, action: &str, operations: &str, filters: &[String]) {
        match filters {
            [] if !["process-fork", "pseudo-tty", "system-socket"].contains(&operations) => {}
            [] => self.text.push_str(&format!("({action} {operations})\n")),
            [filter] if !filter.contains(';') => self.text.push_str(&format!("({action} {operations} {filter})\n")),
            _ => {
                self.text.push_str(&format!("({action} {operations}\n"));
                filters.iter().for_each(|filter| self.text.push_str(&format!("  {filter}\n")));
                self.text.push_str(")\n");
            }
        }
    }

    pub(super) fn subpath(&mut self, kind: &str, path: &Path) -> Result<String, Refusal> {
        Ok(format!("(subpath (param \"{}\"))", self.name(kind, path)?))
    }

    pub(super) fn literal(&mut self, kind: &str, path: &Path) -> Result<String, Refusal> {
        Ok(format!("(literal (param \"{}\"))", self.name(kind, path)?))
    }

    pub(super) fn regex(&mut self, kind: &str, expression: String) -> String {
        format!("(regex (param \"{}\"))", self.named(kind, expression))
    }

    pub(super) fn name(&mut self, kind: &str, path: &Path) -> Result<String, Refusal> {
        let value = text(path)?.to_owned();
        Ok(self.named(kind, value))
    }

    /// The name of a value; the same for the same value of the same kind.
    fn named(&mut self, kind: &str, value: String) -> String {
        let of_kind = |name: &str| name.rsplit_once('_').is_some_and(|(other, _)| other == kind);
        let mut number = 0;
        for (name, known) in self.parameters.iter().filter(|(name, _)| of_kind(name)) {
            if *known == value {
                return name.clone();
            }
            number += 1;
        }
        let name = format!("{kind}_{number}");
        self.parameters.push((name.clone(), value));
        name
    }
}
