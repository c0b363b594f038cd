//! What another policy would have said of calls that were recorded. Nothing is executed.

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;

use super::{access::absolute, invocation::Invocation, registry::parse, verdict};
use crate::{
    approval::{Judgement, Rules},
    audit::{Denial, Event},
    policy::{
        Access, Judge, NetworkMode, Policy,
        host::{HostLists, HostRules, Target},
    },
    worker::{
        Request,
        patch::parse::{Operation, parse as parse_patch},
    },
};

/// What holds for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// It runs, confined.
    Allow,
    /// A person is asked.
    Ask,
    /// It does not run.
    Forbid,
    /// It runs, and is refused what it reaches for.
    Denied,
}

/// A verdict that would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The call's id.
    pub call: String,
    /// The tool.
    pub tool: String,
    /// What it was to do, as it was recorded.
    pub what: String,
    /// What held.
    pub was: Word,
    /// By which rule, or who decided.
    pub by: String,
    /// What would hold.
    pub would_be: Word,
    /// By which rule.
    pub because: String,
}

/// What a replay came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Calls that were judged.
    pub calls: u64,
    /// Those whose verdict would change.
    pub changes: Vec<Change>,
    /// Calls of which it cannot be told, each with the reason.
    pub untold: Vec<(String, String)>,
    /// Calls of file tools that would be refused what they reach for, until their outcome says whether they were.
    #[serde(skip)]
    reaching: BTreeMap<String, Change>,
}

impl Replayed {
    /// The end of the log: a call without an outcome was refused nothing.
    pub fn finish(&mut self) {
        self.changes.extend(std::mem::take(&mut self.reaching).into_values());
    }
}

/// A candidate, ready to judge.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Its rules over commands.
    pub rules: Rules,
    /// Its judge of paths.
    pub judge: Judge,
    /// What relative paths start from; links on the way cannot be told from a record.
    pub workspace: &'a Path,
    /// What `~` stands for.
    pub home: &'a Path,
}

/// The marks that stand in a record in place of what nobody is to read.
const MARKS: [&str; 2] = ["[redacted]", "[not recorded: "];

impl Candidate<'_> {
    /// Takes one event of a log.
    pub fn take(&self, event: &Event, replayed: &mut Replayed) {
        match event {
            Event::CallIntent { call, tool, arguments, decision, decided_by, rule, .. } => {
                let was = match (decision.as_str(), decided_by.as_str()) {
                    // It never was a call.
                    (_, "arguments") => return,
                    (_, "person" | "approver" | "timeout" | "nobody" | "grant") => Word::Ask,
                    ("allow", _) => Word::Allow,
                    _ => Word::Forbid,
                };
                replayed.calls += 1;
                let by = rule.clone().unwrap_or_else(|| decided_by.clone());
                self.call(call, tool, arguments, was, by, replayed);
            }
            Event::CallOutcome { call, denials, .. } => {
                // What it was refused then, and would be refused again, is no change.
                if let Some(change) = replayed.reaching.remove(call).filter(|_| denials.is_empty()) {
                    replayed.changes.push(change);
                }
                denials.iter().for_each(|denial| self.denial(call, denial, replayed));
            }
            _ => {}
        }
    }

    fn call(&self, call: &str, tool: &str, arguments: &str, was: Word, by: String, replayed: &mut Replayed) {
        if MARKS.iter().any(|mark| arguments.contains(mark)) {
            return replayed.untold.push((call.to_owned(), "a part of what it was to do is not recorded".to_owned()));
        }
        let invocation = match parse(tool, arguments) {
            Ok(invocation) => invocation,
            Err(reason) => return replayed.untold.push((call.to_owned(), reason)),
        };
        let (would_be, because) = match verdict::judge(&self.rules, &invocation).0 {
            Judgement::Allow { rule } => match self.reach(&invocation) {
                Some(refused) if was != Word::Forbid => (Word::Denied, refused),
                _ => (Word::Allow, rule.map_or_else(|| "no rule; [approval] ask".to_owned(), |rule| rule.origin.to_string())),
            },
            Judgement::Ask { reason } => (Word::Ask, reason),
            Judgement::Forbid { reason } => (Word::Forbid, reason),
        };
        if would_be != was {
            let what = words(&invocation, arguments);
            let change = Change { call: call.to_owned(), tool: tool.to_owned(), what, was, by, would_be, because };
            if would_be == Word::Denied && was == Word::Allow {
                replayed.reaching.insert(call.to_owned(), change);
            } else {
                replayed.changes.push(change);
            }
        }
    }

    /// The first path of a file tool's that would be refused, in words.
    fn reach(&self, invocation: &Invocation) -> Option<String> {
        let Invocation::File(request) = invocation else { return None };
        paths(request).into_iter().find_map(|(path, access)| {
            let path = absolute(&path, self.workspace, self.home);
            let verdict = self.judge.judge(&path, access);
            let word = if access == Access::Write { "write" } else { "read" };
            let rule = verdict.because.rule.map_or_else(|| "no rule covers it".to_owned(), |rule| rule.origin.to_string());
            (!verdict.allowed).then(|| format!("{word} {}: {rule}", path.display()))
        })
    }

    /// A refusal that would be none.
    fn denial(&self, call: &str, denial: &Denial, replayed: &mut Replayed) {
        let because = match denial.access.as_str() {
            "read" | "write" => {
                let access = if denial.access == "write" { Access::Write } else { Access::Read };
                let verdict = self.judge.judge(&absolute(&denial.resource, self.workspace, self.home), access);
                if !verdict.allowed {
                    return;
                }
                verdict.because.rule.map_or_else(String::new, |rule| rule.origin.to_string())
            }
            "connect" if self.policy.network.mode == NetworkMode::Open => {
                self.policy.network.mode_origin.as_ref().map_or_else(String::new, ToString::to_string)
            }
            "connect" => {
                let judge = |lists: &HostLists| Some(HostRules::new(lists).judge(&Target::parse(&denial.resource, 443).ok()?, None));
                match HostLists::of(&self.policy.network).as_ref().and_then(judge) {
                    Some(verdict) if verdict.allowed() => {
                        verdict.rule.map_or_else(String::new, |(rule, origin)| format!("{rule}, {origin}"))
                    }
                    _ => return,
                }
            }
            _ => return,
        };
        replayed.changes.push(Change {
            call: call.to_owned(),
            tool: String::new(),
            what: format!("{} {}", denial.access, denial.resource),
            was: Word::Denied,
            by: denial.rule.clone(),
            would_be: Word::Allow,
            because,
        });
    }
}

fn words(invocation: &Invocation, arguments: &str) -> String {
    match invocation {
        Invocation::Shell { command, .. } => command.clone(),
        Invocation::File(Request::ApplyPatch { .. }) => "a patch".to_owned(),
        Invocation::File(request) => request.sentence(),
        _ => arguments.to_owned(),
    }
}

/// The paths that a file tool names, and what for.
fn paths(request: &Request) -> Vec<(String, Access)> {
    match request {
        Request::ReadFile { path, .. } | Request::ListDir { path, .. } => vec![(path.clone(), Access::Read)],
        Request::Search { path, .. } => vec![(path.clone().unwrap_or_else(|| ".".to_owned()), Access::Read)],
        Request::ApplyPatch { patch } => {
            let sections = parse_patch(patch).unwrap_or_default();
            let named = sections.iter().flat_map(|section| match &section.operation {
                Operation::Update { move_to: Some(to), .. } => vec![&section.path, to],
                _ => vec![&section.path],
            });
            named.map(|path| (path.clone(), Access::Write)).collect()
        }
        Request::ViewImage { path } => vec![(path.clone(), Access::Read)],
        Request::ReadInstructions { .. } => Vec::new(),
    }
}
