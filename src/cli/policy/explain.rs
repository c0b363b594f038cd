//! `portcullis policy explain`: what holds for one command, path or host, and why.

use std::{fs, io, path::PathBuf};

use clap::{Args, Subcommand};

use crate::{
    approval::{Judged, Judgement},
    cli::{
        exit::Exit,
        output, report,
        resolve::{self, Folders, Resolved},
    },
    policy::{Access, Anchors, Judge, NetworkMode, Policy},
    sandbox::plan::INSIDE_TMP,
    tools::{Invocation, absolute, denial::Explainer, verdict},
    ui::{
        sanitize::visible_line,
        style::{Paint, Tone},
    },
};

/// For `--help`.
pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  portcullis policy explain command 'git push origin main'
  portcullis policy explain read ~/.ssh/id_ed25519
  portcullis policy explain --policy read-only write src/main.rs
  portcullis policy explain host example.org:443

Ends with 0 if it is allowed, and with 1 if it is asked about or refused.";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The policy: a preset's name, or a file [default: the one in force here].
    #[arg(long, value_name = "NAME|FILE")]
    policy: Option<String>,
    /// The workspace [default: the repository around the current folder, else that folder].
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The text of a shell command.
    Command {
        /// The text, in quotes.
        #[arg(allow_hyphen_values = true)]
        text: String,
    },
    /// Reading a path.
    Read {
        /// The path.
        path: String,
    },
    /// Writing a path.
    Write {
        /// The path.
        path: String,
    },
    /// Reaching a host.
    Host {
        /// The host, with or without a port.
        host: String,
    },
}

/// What is said.
struct Explained {
    allowed: bool,
    word: &'static str,
    lines: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let folders = Folders::from_environment();
    let resolved = match resolve::resolve(arguments.workspace.as_deref(), arguments.policy.as_deref(), &folders) {
        Ok(resolved) => resolved,
        Err(error) => {
            report(&error);
            return error.exit();
        }
    };
    let judge = Judge::new(&resolved.policy, &anchors(&resolved));
    let explained = match &arguments.what {
        What::Command { text } => command(text, &resolved, &judge),
        What::Read { path } => file(path, Access::Read, &resolved, &judge),
        What::Write { path } => file(path, Access::Write, &resolved, &judge),
        What::Host { host } => reach(host, &resolved.policy),
    };
    let paint = Paint::of(&io::stdout());
    let tone = if explained.allowed { Tone::Good } else { Tone::Bad };
    let mut text = format!("{}  ({}, sha256:{})\n", paint.text(tone, explained.word), resolved.policy.name, resolved.policy.fingerprint());
    for line in explained.lines {
        text.push_str(&format!("  {}\n", visible_line(&line)));
    }
    match output::print(&text) {
        Err(exit) => exit,
        Ok(()) if explained.allowed => Exit::Success,
        Ok(()) => Exit::Failure,
    }
}

fn anchors(resolved: &Resolved) -> Anchors {
    let session = &resolved.session;
    Anchors { workspace: session.workspace.clone(), home: session.home.clone(), temporary: PathBuf::from(INSIDE_TMP) }
}

fn command(text: &str, resolved: &Resolved, judge: &Judge) -> Explained {
    let environment = resolved.plan.environment(&resolved.policy, &resolved.session);
    let path = environment.iter().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value.as_str());
    let rules = verdict::rules(&resolved.policy, judge, &resolved.session.workspace, path, Vec::new(), resolved.policy.ask);
    let invocation = Invocation::Shell { command: text.to_owned(), workdir: None, timeout_ms: None, background: false };
    let (judgement, judged) = verdict::judge(&rules, &invocation);
    let (word, mut lines) = match judgement {
        Judgement::Allow { rule: Some(rule) } => {
            ("allowed", vec![format!("by the rule `{}`: {} ({})", rule.prefix.join(" "), rule.why, rule.origin)])
        }
        Judgement::Allow { rule: None } => {
            ("allowed", vec!["no rule is about it, and [approval] ask lets what is confined run".to_owned()])
        }
        Judgement::Ask { reason } => (
            "asked",
            vec![
                reason,
                "your yes would let it run, and so would a policy that does not ask here; an allow rule does not outweigh one that asks"
                    .to_owned(),
            ],
        ),
        Judgement::Forbid { reason } => {
            ("forbidden", vec![reason, "only a policy without that rule would let it run; no yes does".to_owned()])
        }
    };
    lines.extend(judged.iter().flat_map(parts));
    lines.push("Whatever runs is confined: the rules are for convenience, and the kernel is the boundary.".to_owned());
    Explained { allowed: word == "allowed", word, lines }
}

/// Each simple command of a text with what there is to know of it.
fn parts(judged: &Judged) -> Vec<String> {
    let mut lines = Vec::new();
    for command in &judged.commands {
        let words: Vec<&str> = command.simple.words.iter().map(|word| word.text.as_str()).collect();
        let mut line = format!("runs: {}", words.join(" "));
        if !command.within.is_empty() {
            line.push_str(&format!("  (in {})", command.within.join(", ")));
        }
        lines.push(line);
        let facts = command.facts.iter().chain(command.levels.iter().flat_map(|level| &level.facts));
        lines.extend(facts.map(|fact| format!("      it {fact}")));
        if let Some(rule) = &command.rule {
            let sure = if command.perhaps { "perhaps " } else { "" };
            lines.push(format!("      {sure}rule `{}`: {} ({})", rule.prefix.join(" "), rule.why, rule.origin));
        }
    }
    if let Some(opaque) = &judged.opaque {
        lines.push(format!("not plainly understood: {}; rules were looked for among its words", opaque.what));
    }
    lines
}

fn file(path: &str, access: Access, resolved: &Resolved, judge: &Judge) -> Explained {
    let session = &resolved.session;
    let named = absolute(path, &resolved.cwd, &session.home);
    // What the kernel judges is where a path leads. Of one that is not there, its folder does.
    let real = fs::canonicalize(&named).ok().or_else(|| Some(fs::canonicalize(named.parent()?).ok()?.join(named.file_name()?)));
    let real = real.unwrap_or_else(|| named.clone());
    let mut lines = Vec::new();
    if real != named {
        lines.push(format!("{} leads to {}", named.display(), real.display()));
    }
    if real.starts_with(&session.state) {
        lines.push("it is of portcullis' own state, which no sandbox can see, whatever a policy says".to_owned());
        return Explained { allowed: false, word: "refused", lines };
    }
    match Explainer::new(&resolved.policy, session).of_path(&real, access, "decided by the policy") {
        Some(denial) => {
            lines.push(denial.sentence());
            Explained { allowed: false, word: "refused", lines }
        }
        None => {
            let rule = judge.judge(&real, access).because.rule;
            let rule = rule.map_or_else(|| "[git] allow".to_owned(), |rule| format!("{} ({})", rule.place, rule.origin));
            lines.push(format!("by {rule}"));
            Explained { allowed: true, word: "allowed", lines }
        }
    }
}

/// Whether a host, with or without a port, is this machine itself.
fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.split(']').next());
    let bare = bare.unwrap_or_else(|| if host.matches(':').count() == 1 { host.split(':').next().unwrap_or_default() } else { host });
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn reach(host: &str, policy: &Policy) -> Explained {
    let origin = policy.network.mode_origin.as_ref().map_or_else(|| "no file sets it".to_owned(), ToString::to_string);
    let (allowed, line) = match policy.network.mode {
        NetworkMode::None => (false, "there is no network at all"),
        NetworkMode::Loopback if is_loopback(host) => (true, "each call has a loopback of its own; nothing of the host's is on it"),
        NetworkMode::Loopback => (false, "there is only a loopback of the call's own"),
        NetworkMode::Allowlist => (false, "host allow lists are not enforced yet, so that such a policy does not run"),
        NetworkMode::Open => (true, "every host can be reached"),
    };
    let mut lines = vec![format!("{line}: mode under [network] ({origin})")];
    if !allowed {
        lines.push("mode = \"open\" under [network] in a policy of your own would allow it, and all other hosts".to_owned());
    }
    Explained { allowed, word: if allowed { "allowed" } else { "refused" }, lines }
}
