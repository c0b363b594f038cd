//! The plan that the model keeps of its work, and how it is written down.

use serde::Deserialize;

/// What a plan in words begins with.
const HEAD: &str = "Plan recorded:";

/// One step of the model's plan.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanStep {
    /// What is to be done.
    pub step: String,
    /// How far it is.
    pub status: StepStatus,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Not begun.
    Pending,
    /// Under way.
    InProgress,
    /// Done.
    Completed,
}

impl StepStatus {
    const ALL: [Self; 3] = [Self::Pending, Self::InProgress, Self::Completed];

    /// What stands in brackets before such a step.
    const fn mark(self) -> &'static str {
        match self {
            Self::Pending => " ",
            Self::InProgress => ">",
            Self::Completed => "x",
        }
    }
}

/// A plan in words.
pub fn show_plan(plan: &[PlanStep]) -> String {
    plan.iter().fold(HEAD.to_owned(), |text, step| format!("{text}\n[{}] {}", step.status.mark(), step.step))
}

/// The plan that a text holds in the words of [`show_plan`], if it holds one.
pub fn read_plan(text: &str) -> Option<Vec<PlanStep>> {
    let steps = text.lines().skip_while(|line| *line != HEAD).skip(1).map_while(|line| {
        let (mark, step) = line.strip_prefix('[')?.split_once("] ")?;
        let status = StepStatus::ALL.into_iter().find(|status| status.mark() == mark)?;
        Some(PlanStep { step: step.to_owned(), status })
    });
    Some(steps.collect::<Vec<_>>()).filter(|plan| !plan.is_empty())
}
