//! How far each preset can be enforced on a machine, whatever its system, and how that is shown.

use serde::Serialize;

use crate::{
    policy::load::DEFAULT_PRESET,
    ui::{
        style::Tone,
        table::{Cell, Table},
    },
};

/// How far a policy can be enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Enforced {
    /// All that it says holds.
    Full,
    /// Calls run, and something that it says does not hold.
    Part,
    /// No call runs.
    Refused,
}

/// Something that a policy needs and the machine lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Lack {
    pub(super) what: String,
    pub(super) reason: String,
    pub(super) lost: String,
    pub(super) stops: bool,
    pub(super) remedy: String,
}

/// Whether something works, and why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) works: bool,
    pub(super) reason: Option<String>,
}

impl From<&Result<(), String>> for Finding {
    fn from(result: &Result<(), String>) -> Self {
        Self { works: result.is_ok(), reason: result.clone().err() }
    }
}

/// A preset, and how far it can be enforced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Preset {
    pub(super) name: String,
    pub(super) default: bool,
    pub(super) enforced: Enforced,
    pub(super) needs: Vec<String>,
    pub(super) lacks: Vec<Lack>,
}

/// What that means for the default preset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    pub(super) preset: &'static str,
    pub(super) enforced: Enforced,
    pub(super) text: String,
}

impl Preset {
    /// From what it needs and what the machine lacks of that.
    pub(super) fn new(name: &str, needs: Vec<String>, lacks: Vec<Lack>) -> Self {
        let enforced = match (lacks.is_empty(), lacks.iter().any(|lack| lack.stops)) {
            (true, _) => Enforced::Full,
            (false, false) => Enforced::Part,
            (false, true) => Enforced::Refused,
        };
        Self { name: name.to_owned(), default: name == DEFAULT_PRESET, enforced, needs, lacks }
    }
}

impl Verdict {
    /// The verdict on the default preset, which is one of these.
    pub(super) fn of(presets: &[Preset]) -> Self {
        let default = presets.iter().find(|preset| preset.default);
        let enforced = default.map_or(Enforced::Refused, |preset| preset.enforced);
        let what: Vec<&str> = default.iter().flat_map(|preset| &preset.lacks).map(|lack| lack.what.as_str()).collect();
        let what = what.join(", ");
        let text = match enforced {
            Enforced::Full => format!("the default preset, {DEFAULT_PRESET}, can be enforced in full on this machine"),
            Enforced::Part => format!("the default preset, {DEFAULT_PRESET}, can be enforced in part only; lacking: {what}"),
            Enforced::Refused => format!("nothing runs under the default preset, {DEFAULT_PRESET}, on this machine; lacking: {what}"),
        };
        Self { preset: DEFAULT_PRESET, enforced, text }
    }
}

/// Each preset with what it needs or lacks.
pub(super) fn table(presets: &[Preset]) -> Table {
    let mut table = Table::new(2);
    for preset in presets {
        let name = if preset.default { format!("{} (default)", preset.name) } else { preset.name.clone() };
        let state = match preset.enforced {
            Enforced::Full => "enforced in full",
            Enforced::Part => "enforced in part",
            Enforced::Refused => "refused",
        };
        let what: Vec<&str> = preset.lacks.iter().map(|lack| lack.what.as_str()).collect();
        let detail = if what.is_empty() { format!("needs {}", preset.needs.join(", ")) } else { format!("lacking: {}", what.join(", ")) };
        table.row([Cell::new(Tone::Strong, &name), Cell::new(tone(preset.enforced), state), detail.into()]);
    }
    table
}

/// Each lack once, though most presets share it.
pub(super) fn lacking(presets: &[Preset]) -> Table {
    let mut lacks: Vec<(&Lack, Vec<&str>)> = Vec::new();
    for preset in presets {
        for lack in &preset.lacks {
            match lacks
                .iter_mut()
                .find(|(known, _)| (&known.what, &known.reason, &known.remedy) == (&lack.what, &lack.reason, &lack.remedy))
            {
                Some((_, names)) => names.push(&preset.name),
                None => lacks.push((lack, vec![&preset.name])),
            }
        }
    }
    let mut table = Table::new(2);
    for (lack, names) in lacks {
        table.row([Cell::new(Tone::Strong, &lack.what)]);
        let effect = if lack.stops { "no call runs" } else { "calls run without it" };
        table.row(["  needed by".into(), format!("{} ({effect})", names.join(", ")).into()]);
        for (name, text) in [("  why", &lack.reason), ("  lost", &lack.lost), ("  remedy", &lack.remedy)] {
            table.row([name.into(), format!("{text}.").into()]);
        }
    }
    table
}

/// The tone for it.
pub(super) const fn tone(enforced: Enforced) -> Tone {
    match enforced {
        Enforced::Full => Tone::Good,
        Enforced::Part => Tone::Caution,
        Enforced::Refused => Tone::Bad,
    }
}
