//! `portcullis policy test`: a policy against what is expected of it.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;

use crate::{
    cli::{
        exit::Exit,
        output, report,
        resolve::{self, Folders, Resolved},
    },
    policy::{
        Origin, Policy,
        case_file::{self, Case, CaseFile, Expected, Subject},
        file::LARGEST_FILE,
        load::is_path,
    },
    tools::explain::{Answer, Asked, Question, Word},
    ui::{
        self,
        sanitize::visible_line,
        style::{Paint, Tone},
        table::{Cell, Table},
    },
};

/// For `--help`.
pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  portcullis policy test .portcullis/cases.toml
  portcullis policy test --policy ci --coverage cases/*.toml

A file of cases:
  schema = 1
  policy = \"./policy.toml\"        # a preset's name, or a path from this file's folder; without it, the one in force here

  [[case]]
  command = \"git push origin main\"
  expect  = \"ask\"                 # allow, ask or forbid
  rule    = \"git push\"            # if given, the rule that has to decide: its words, or a part of file and line

  [[case]]
  read    = \"~/.ssh/id_ed25519\"   # or write, or host
  expect  = \"refuse\"              # allow or refuse
  rule    = \"@credentials\"

The examples of rules (match, not_match) are checked whenever a policy is read.
Ends with 0 if all cases hold, with 1 if one does not, with 2 if there is no such file, and with 3 for an error in a file.";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The files of cases.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The policy, whatever the files name: a preset's name, or a file.
    #[arg(long, value_name = "NAME|FILE")]
    policy: Option<String>,
    /// The workspace [default: the repository around the current folder, else that folder].
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Fail too if the policy has an entry of its own that no case and no example reaches.
    #[arg(long)]
    coverage: bool,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// How one case went.
#[derive(Debug, Serialize)]
struct Tried {
    file: String,
    line: u32,
    subject: &'static str,
    text: String,
    holds: bool,
    is: Word,
    rule: Option<String>,
    /// What was expected and is not so.
    missed: Option<String>,
}

/// How all of them went.
#[derive(Debug, Default)]
struct Report {
    tried: Vec<Tried>,
    examples: usize,
    unreached: BTreeSet<(String, String)>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    match try_all(arguments) {
        Ok(exit) | Err(exit) => exit,
    }
}

fn try_all(arguments: &Arguments) -> Result<Exit, Exit> {
    let folders = Folders::from_environment();
    let mut whole = Report::default();
    for path in &arguments.files {
        let file = open(path)?;
        let beside = file.policy.as_ref().map(|policy| match path.parent() {
            Some(folder) if is_path(policy) => folder.join(policy.trim_start_matches("./")).display().to_string(),
            _ => policy.clone(),
        });
        let chosen = arguments.policy.clone().or(beside);
        let resolved = resolve::resolve_or_report(arguments.workspace.as_deref(), chosen.as_deref(), &folders)?;
        one(path, &file, &resolved, &mut whole);
    }
    output::print(&if arguments.json { json(&whole) } else { text(&whole) })?;
    let covered = !arguments.coverage || whole.unreached.is_empty();
    Ok(if covered && whole.tried.iter().all(|tried| tried.holds) { Exit::Success } else { Exit::Failure })
}

fn open(path: &Path) -> Result<CaseFile, Exit> {
    let name = path.display().to_string();
    let failed = |error: io::Error| {
        report(&format!("{name} cannot be read: {error}"));
        Exit::Usage
    };
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > LARGEST_FILE {
        report(&format!("{name} is larger than {LARGEST_FILE} bytes"));
        return Err(Exit::Policy);
    }
    case_file::read(&name, &fs::read_to_string(path).map_err(failed)?).map_err(|error| {
        report(&error);
        Exit::Policy
    })
}

fn one(path: &Path, file: &CaseFile, resolved: &Resolved, whole: &mut Report) {
    let search_path = resolved.search_path();
    // Relative paths start from the workspace, wherever the command was typed: a file of cases means the same everywhere.
    let asked = Asked::new(&resolved.policy, &resolved.session, &search_path, &resolved.session.workspace);
    let mut reached: BTreeSet<String> = BTreeSet::new();
    for case in &file.cases {
        let answer = asked.answer(&question(case));
        reached.extend(answer.rule.iter().zip(&answer.about).map(|(rule, about)| key(rule, about)));
        reached.extend(answer.matched.iter().map(|matched| key(&matched.rule, &matched.prefix.join(" "))));
        let missed = missed(case, &answer);
        whole.tried.push(Tried {
            file: path.display().to_string(),
            line: case.line,
            subject: case.subject.key(),
            text: case.text.clone(),
            holds: missed.is_none(),
            is: answer.word,
            rule: answer.rule,
            missed,
        });
    }
    let commands = &resolved.policy.commands;
    whole.examples += commands.iter().map(|rule| rule.examples_match.len() + rule.examples_not_match.len()).sum::<usize>();
    whole.unreached.extend(unreached(&resolved.policy, &reached));
}

fn question(case: &Case) -> Question {
    let text = case.text.clone();
    match case.subject {
        Subject::Command => Question::Command(text),
        Subject::Read => Question::Read(text),
        Subject::Write => Question::Write(text),
        Subject::Host => Question::Host(text),
    }
}

/// What was expected and is not so.
fn missed(case: &Case, answer: &Answer) -> Option<String> {
    let fits = match case.expected {
        Expected::Allow => answer.word == Word::Allow,
        Expected::Ask => answer.word == Word::Ask,
        Expected::Refuse => matches!(answer.word, Word::Forbid | Word::Refuse),
    };
    let by = answer.rule.as_deref().unwrap_or("no rule");
    if !fits {
        let why = answer.lines.first().map_or("", String::as_str);
        return Some(format!("{} was expected, and it is {} ({by}): {why}", expected(case), word(answer.word)));
    }
    let rule = case.rule.as_ref()?;
    let named = answer.about.as_ref() == Some(rule) || answer.rule.as_ref().is_some_and(|found| found.contains(rule.as_str()));
    (!named).then(|| format!("the rule `{rule}` was expected to decide, and {by} did"))
}

const fn expected(case: &Case) -> &'static str {
    match (case.expected, case.subject) {
        (Expected::Allow, _) => "allow",
        (Expected::Ask, _) => "ask",
        (Expected::Refuse, Subject::Command) => "forbid",
        (Expected::Refuse, _) => "refuse",
    }
}

const fn word(word: Word) -> &'static str {
    match word {
        Word::Allow => "allow",
        Word::Ask => "ask",
        Word::Forbid => "forbid",
        Word::Refuse => "refuse",
    }
}

/// One entry of a policy: a line can hold several.
fn key(origin: &str, about: &str) -> String {
    format!("{origin} {about}")
}

/// The entries that files other than presets have themselves, and that no case and no example reached, each with where it stands.
fn unreached(policy: &Policy, reached: &BTreeSet<String>) -> Vec<(String, String)> {
    let own = |origin: &Origin| origin.group.is_none() && !origin.file.starts_with("policies/");
    let missed = |origin: &Origin, about: &str| own(origin) && !reached.contains(&key(&origin.to_string(), about));
    let mut unreached = Vec::new();
    for rule in policy.commands.iter().filter(|rule| rule.examples_match.is_empty()) {
        let words = rule.prefix.join(" ");
        if missed(&rule.origin, &words) {
            unreached.push((rule.origin.to_string(), format!("command {words}")));
        }
    }
    let files = &policy.filesystem;
    let lists = [("deny", &files.deny), ("protect", &files.protect)].into_iter();
    let lists = lists.chain(files.read.iter().map(|list| ("read", list))).chain(files.write.iter().map(|list| ("write", list)));
    for (name, rule) in lists.flat_map(|(name, list)| list.iter().map(move |rule| (name, rule))) {
        let place = rule.place.to_string();
        if missed(&rule.origin, &place) {
            unreached.push((rule.origin.to_string(), format!("{name} {place}")));
        }
    }
    unreached
}

fn json(report: &Report) -> String {
    let unreached: Vec<_> = report.unreached.iter().map(|(origin, what)| serde_json::json!({"rule": origin, "what": what})).collect();
    format!("{}\n", serde_json::json!({"v": 1, "cases": report.tried, "examples": report.examples, "unreached": unreached}))
}

fn text(report: &Report) -> String {
    let paint = Paint::of(&io::stdout());
    let mut table = Table::new(0);
    for tried in &report.tried {
        let (tone, verdict) = if tried.holds { (Tone::Good, "holds") } else { (Tone::Bad, "FAILS") };
        let by = tried.rule.as_deref().unwrap_or("");
        let said = tried.missed.clone().unwrap_or_else(|| format!("{} {by}", word(tried.is)).trim_end().to_owned());
        table.row([
            format!("{}:{}", tried.file, tried.line).into(),
            Cell::new(tone, verdict),
            format!("{} {}", tried.subject, tried.text).into(),
            said.into(),
        ]);
    }
    let mut out = table.render(ui::width(), paint);
    if !report.unreached.is_empty() {
        let mut table = Table::new(2);
        for (origin, what) in &report.unreached {
            table.row([Cell::from(what.as_str()), Cell::new(Tone::Faint, origin)]);
        }
        out.push_str(&format!("\nno case and no example reaches:\n{}", table.render(ui::width(), paint)));
    }
    let failed = report.tried.iter().filter(|tried| !tried.holds).count();
    let cases = visible_line(&format!("{} cases, {failed} failed; {} examples of rules hold", report.tried.len(), report.examples));
    out.push_str(&format!("\n{cases}\n"));
    out
}
