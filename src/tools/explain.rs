//! The answer to a question about a policy: may this command run, this path be read, this host be reached; by which rule, and what would change it.
//!
//! It is the gate's own decision ([`verdict`]) and the enforcing layers' own judge, asked without running anything.

use std::{
    fs, net,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{access::absolute, denial::Explainer, invocation::Invocation, verdict};
use crate::{
    approval::{Judged, JudgedCommand, Judgement, Rules},
    policy::{
        Access, Ask, CommandRule, Judge, NetworkMode, Origin, Policy, Reach, Reason,
        host::{HostLists, HostReason, HostRules, Target},
    },
    sandbox::Session,
};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// May a shell command with this text run?
    Command(String),
    /// May this path be read?
    Read(String),
    /// May it be written?
    Write(String),
    /// May this host, with or without a port, be reached?
    Host(String),
}

/// What holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// It may.
    Allow,
    /// A person is asked first.
    Ask,
    /// A command that does not run.
    Forbid,
    /// A path or a host that cannot be reached.
    Refuse,
}

/// A rule over commands that matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Matched {
    /// Its words.
    pub prefix: Vec<String>,
    /// What it says.
    pub decision: crate::policy::Decision,
    /// File and line.
    pub rule: String,
    /// Whether it decided; another that is stricter, or as strict and longer, outweighs the rest.
    pub decided: bool,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// What holds.
    pub word: Word,
    /// File and line of the rule that decides; `None` where a mode decides, or where nothing covers it.
    pub rule: Option<String>,
    /// What that rule is about: a command's first words, or a place.
    pub about: Option<String>,
    /// Every rule over commands that matched.
    pub matched: Vec<Matched>,
    /// What else there is to say, for a person: sentences.
    pub lines: Vec<String>,
}

/// A policy in a session, ready to be asked.
#[derive(Debug)]
pub struct Asked<'a> {
    policy: &'a Policy,
    session: &'a Session,
    cwd: &'a Path,
    search_path: &'a str,
    judge: Judge,
    rules: Rules,
    explainer: Explainer,
    /// Whether links are followed to where a path leads.
    follows: bool,
}

impl<'a> Asked<'a> {
    /// Prepares. `search_path` is the `PATH` of the sandbox, `cwd` what relative paths start from.
    pub fn new(policy: &'a Policy, session: &'a Session, search_path: &'a str, cwd: &'a Path) -> Self {
        let anchors = session.anchors();
        let judge = Judge::new(policy, &anchors);
        let rules = verdict::rules(policy, &judge, &session.workspace, search_path, Vec::new(), policy.ask);
        Self { policy, session, cwd, search_path, judge, rules, explainer: Explainer::new(policy, session), follows: true }
    }

    /// With what a session adds to the policy's rules: what was granted, and the mode that is in force.
    #[must_use]
    pub fn with_rules(mut self, granted: Vec<CommandRule>, ask: Ask) -> Self {
        self.rules = verdict::rules(self.policy, &self.judge, &self.session.workspace, self.search_path, granted, ask);
        self
    }

    /// Without a look at the file system, for somebody who may not see it: paths are judged as they are named.
    #[must_use]
    pub fn by_name(mut self) -> Self {
        self.follows = false;
        self
    }

    /// The answer to one question.
    pub fn answer(&self, question: &Question) -> Answer {
        match question {
            Question::Command(text) => self.command(text),
            Question::Read(path) => self.file(path, Access::Read),
            Question::Write(path) => self.file(path, Access::Write),
            Question::Host(host) => reach(host, self.policy),
        }
    }

    fn command(&self, text: &str) -> Answer {
        let invocation = Invocation::Shell { command: text.to_owned(), workdir: None, timeout_ms: None, background: false };
        let (judgement, judged) = verdict::judge(&self.rules, &invocation);
        let (word, mut lines) = match judgement {
            Judgement::Allow { rule: Some(rule) } => {
                (Word::Allow, vec![format!("by the rule `{}`: {} ({})", rule.prefix.join(" "), rule.why, rule.origin)])
            }
            Judgement::Allow { rule: None } => {
                (Word::Allow, vec!["no rule is about it, and [approval] ask lets what is confined run".to_owned()])
            }
            Judgement::Ask { reason } => (
                Word::Ask,
                vec![
                    reason,
                    "your yes would let it run, and so would a policy that does not ask here; an allow rule does not outweigh one that asks"
                        .to_owned(),
                ],
            ),
            Judgement::Forbid { reason } => {
                (Word::Forbid, vec![reason, "only a policy without that rule would let it run; no yes does".to_owned()])
            }
        };
        let deciding = judged.as_ref().and_then(deciding);
        let matched = judged.as_ref().map_or_else(Vec::new, |judged| self.matched(judged, deciding));
        lines.extend(judged.iter().flat_map(parts));
        let overruled = matched.iter().filter(|matched| !matched.decided);
        lines.extend(overruled.map(|matched| format!("outweighed: rule `{}` ({})", matched.prefix.join(" "), matched.rule)));
        lines.push("Whatever runs is confined: the rules are for convenience, and the kernel is the boundary.".to_owned());
        let about = deciding.map(|rule| rule.prefix.join(" "));
        Answer { word, rule: deciding.map(|rule| rule.origin.to_string()), about, matched, lines }
    }

    /// Every rule that matches one of the commands, at any level.
    fn matched(&self, judged: &Judged, deciding: Option<&CommandRule>) -> Vec<Matched> {
        let matches = |rule: &CommandRule| {
            let found = judged.found.as_ref() == Some(rule);
            found || judged.commands.iter().any(|command| command.rule.as_ref() == Some(rule) || command.reached_by(rule) == Reach::Yes)
        };
        let matching = self.policy.commands.iter().filter(|rule| matches(rule));
        matching
            .map(|rule| Matched {
                prefix: rule.prefix.clone(),
                decision: rule.decision,
                rule: rule.origin.to_string(),
                decided: deciding == Some(rule),
            })
            .collect()
    }

    fn file(&self, path: &str, access: Access) -> Answer {
        let named = absolute(path, self.cwd, &self.session.home);
        let real = if self.follows { leads_to(&named) } else { named.clone() };
        let mut lines = Vec::new();
        if !self.follows {
            lines.push("judged by its name; where it is a link, what counts is where that leads".to_owned());
        }
        if real != named {
            lines.push(format!("{} leads to {}", named.display(), real.display()));
        }
        if real.starts_with(&self.session.state) {
            lines.push("it is of portcullis' own state, which no sandbox can see, whatever a policy says".to_owned());
            return Answer { word: Word::Refuse, rule: None, about: None, matched: Vec::new(), lines };
        }
        let because = self.judge.judge(&real, access).because;
        // Of a list that lacks the path any entry would be the wrong one to name.
        let rule = because.rule.filter(|_| because.kind != Reason::NotCovered);
        let word = match self.explainer.of_path(&real, access, "decided by the policy") {
            Some(denial) => {
                lines.push(denial.sentence());
                Word::Refuse
            }
            None => {
                let by = rule.as_ref().map_or_else(|| "[git] allow".to_owned(), |rule| format!("{} ({})", rule.place, rule.origin));
                lines.push(format!("by {by}"));
                Word::Allow
            }
        };
        let about = rule.as_ref().map(|rule| rule.place.to_string());
        Answer { word, rule: rule.map(|rule| rule.origin.to_string()), about, matched: Vec::new(), lines }
    }
}

/// What the kernel judges is where a path leads. Of one that is not there, its folder does.
fn leads_to(named: &Path) -> PathBuf {
    let of_folder = || Some(fs::canonicalize(named.parent()?).ok()?.join(named.file_name()?));
    fs::canonicalize(named).ok().or_else(of_folder).unwrap_or_else(|| named.to_path_buf())
}

/// The strictest of the rules that decided on the commands of a text.
pub(super) fn deciding(judged: &Judged) -> Option<&CommandRule> {
    let rules = judged.commands.iter().filter_map(|command| command.rule.as_ref()).chain(&judged.found);
    rules.max_by_key(|rule| (rule.decision, rule.prefix.len()))
}

/// Each simple command of a text with what there is to know of it.
fn parts(judged: &Judged) -> Vec<String> {
    let mut lines: Vec<String> = judged.commands.iter().flat_map(part).collect();
    if let Some(opaque) = &judged.opaque {
        lines.push(format!("not plainly understood: {}; rules were looked for among its words", opaque.what));
    }
    lines
}

fn part(command: &JudgedCommand) -> Vec<String> {
    let words: Vec<&str> = command.simple.words.iter().map(|word| word.text.as_str()).collect();
    let within = if command.within.is_empty() { String::new() } else { format!("  (in {})", command.within.join(", ")) };
    let mut lines = vec![format!("runs: {}{within}", words.join(" "))];
    let facts = command.facts.iter().chain(command.levels.iter().flat_map(|level| &level.facts));
    lines.extend(facts.map(|fact| format!("      it {fact}")));
    if let Some(rule) = &command.rule {
        let sure = if command.perhaps { "perhaps " } else { "" };
        lines.push(format!("      {sure}rule `{}`: {} ({})", rule.prefix.join(" "), rule.why, rule.origin));
    }
    lines
}

/// Whether a host, with or without a port, is this machine itself.
fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.split(']').next());
    let bare = bare.unwrap_or_else(|| if host.matches(':').count() == 1 { host.split(':').next().unwrap_or_default() } else { host });
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What an allow list says of a host.
fn listed(host: &str, lists: &HostLists) -> Answer {
    let answer =
        |word, rule: Option<&Origin>, about, lines| Answer { word, rule: rule.map(ToString::to_string), about, matched: Vec::new(), lines };
    let target = match Target::parse(host, 443) {
        Ok(target) => target,
        Err(error) => return answer(Word::Refuse, None, None, vec![format!("it names no host: {error}")]),
    };
    let rules = HostRules::new(lists);
    let verdict = rules.judge(&target, None);
    let (about, origin) = verdict.rule.unzip();
    let by = match (&about, &origin) {
        (Some(rule), Some(origin)) => format!("{rule} ({origin})"),
        _ => "the allow list is empty".to_owned(),
    };
    let add = format!("\"{target}\" under allow in [network] would allow it, and so would a yes of yours to that host");
    let lines = match verdict.reason {
        HostReason::Allowed => {
            vec![format!("by {by}"), "once its name leads to public addresses alone, or to addresses that rules name".to_owned()]
        }
        HostReason::Denied => vec![format!("deny under [network]: {by}"), "no yes takes that back".to_owned()],
        HostReason::Method => vec![format!("only plain HTTP with other methods is allowed: {by}"), add],
        HostReason::Port => vec![format!("only other ports of it are allowed: {by}"), add],
        HostReason::NotCovered | HostReason::NotPublic => vec![format!("no rule allows it: the list that begins with {by}"), add],
    };
    // Of a list that lacks the host any entry would be the wrong one to name.
    let named = verdict.reason != HostReason::NotCovered;
    answer(
        if verdict.reason == HostReason::Allowed { Word::Allow } else { Word::Refuse },
        origin.as_ref().filter(|_| named),
        about.filter(|_| named),
        lines,
    )
}

fn reach(host: &str, policy: &Policy) -> Answer {
    if let Some(lists) = HostLists::of(&policy.network) {
        return listed(host, &lists);
    }
    let origin = policy.network.mode_origin.as_ref().map(ToString::to_string);
    let (allowed, line) = match policy.network.mode {
        NetworkMode::None => (false, "there is no network at all"),
        NetworkMode::Loopback if is_loopback(host) => (true, "each call has a loopback of its own; nothing of the host's is on it"),
        NetworkMode::Loopback => (false, "there is only a loopback of the call's own"),
        NetworkMode::Allowlist => (false, "no host is listed"),
        NetworkMode::Open => (true, "every host can be reached"),
    };
    let mut lines = vec![format!("{line}: mode under [network] ({})", origin.as_deref().unwrap_or("no file sets it"))];
    if !allowed {
        let list = format!("mode = \"allowlist\" and allow = [\"{host}\"] under [network] in a policy of your own would allow it");
        lines.push(format!("{list}, and so would a yes of yours to that host"));
    }
    Answer { word: if allowed { Word::Allow } else { Word::Refuse }, rule: origin, about: None, matched: Vec::new(), lines }
}
