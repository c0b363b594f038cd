//! `portcullis policy verify`: each statement of a policy, tried against the kernel of this machine.

use std::{collections::BTreeMap, io};

use super::super::{exit::Exit, output, report, resolve};
use crate::{
    audit::Keys,
    certificate::{self, Options, Statement, Subject, Verdict, VerifyError, canonical::canonical, document},
    ui::{
        self,
        sanitize::visible_line,
        style::{Paint, Tone},
        table::{Cell, Table},
    },
};

/// What was asked for.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The policy: a preset's name, or a file (a path with a slash, or ending in .toml) [default: the one in force here].
    #[arg(long, value_name = "NAME|FILE")]
    policy: Option<String>,
    /// The folder whose policy is tried. Nothing in it is touched: what is tried on has its shape and is made for the run.
    #[arg(long, value_name = "DIR")]
    workspace: Option<std::path::PathBuf>,
    /// Print the certificate: one JSON object in canonical form.
    #[arg(long)]
    json: bool,
    /// Keep the certificate in the state folder, for the head of the logs of sessions under this policy.
    #[arg(long)]
    save: bool,
}

pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  portcullis policy verify
  portcullis policy verify --policy locked --save
  portcullis policy verify --json | jq '.statements[] | select(.verdict == \"fails\")'

Ends with 0 if everything that was tried holds, with 1 if something does not, and with 4 if the policy cannot be enforced here.
Places of the workspace and home are tried on copies of their shape, which are made for the run; others are tried as they are, without change.";

/// Tries everything and says what came of it.
pub(super) fn run(arguments: &Arguments) -> Exit {
    if let Err(error) = output::check_open() {
        report(&error);
        return Exit::Output;
    }
    let folders = resolve::Folders::from_environment();
    let resolved = match resolve::resolve_or_report(arguments.workspace.as_deref(), arguments.policy.as_deref(), &folders) {
        Ok(resolved) => resolved,
        Err(exit) => return exit,
    };
    let options = Options { policy: &resolved.policy, session: &resolved.session, other: None };
    let (subject, statements) = match certificate::run(&options) {
        Ok(found) => found,
        Err(error) => {
            report(&error);
            return match error {
                VerifyError::Scratch(_) => Exit::Output,
                VerifyError::Plan(_) => Exit::Policy,
                VerifyError::Launch(_) | VerifyError::NoSandbox(_) => Exit::Sandbox,
            };
        }
    };
    let key = match Keys::of(&resolved.session.state).current() {
        Ok(key) => key,
        Err(error) => {
            report(&error);
            return Exit::Output;
        }
    };
    let certificate = document::certificate(&subject, &statements, &|bytes| Some(document::signature(&key, bytes)));
    if arguments.save {
        match document::save(&resolved.session.state, &subject.fingerprint, &certificate) {
            Ok(path) => report(&format!("kept as {}", path.display())),
            Err(error) => {
                report(&format!("the certificate could not be kept: {error}"));
                return Exit::Output;
            }
        }
    }
    let text = if arguments.json {
        canonical(&certificate) + "\n"
    } else {
        let digest = certificate.get("digest").and_then(serde_json::Value::as_str).unwrap_or_default();
        page(&subject, &statements, digest)
    };
    match output::print(&text) {
        Err(exit) => exit,
        Ok(()) if document::holds(&statements) => Exit::Success,
        Ok(()) => Exit::Failure,
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "holds",
        Verdict::Fails => "FAILS",
        Verdict::ReadBack => "read back",
        Verdict::Untried => "untried",
    }
}

fn page(subject: &Subject, statements: &[Statement], digest: &str) -> String {
    let paint = Paint::of(&io::stdout());
    let mut table = Table::new(0);
    let mut claims: Vec<&str> = statements.iter().map(|one| one.claim).collect();
    claims.dedup();
    for claim in claims {
        let mut counts: BTreeMap<Verdict, usize> = BTreeMap::new();
        statements.iter().filter(|one| one.claim == claim).for_each(|one| *counts.entry(one.verdict).or_default() += 1);
        let text: Vec<String> = counts.iter().map(|(verdict, count)| format!("{count} {}", word(*verdict))).collect();
        table.row([Cell::new(Tone::Strong, claim), text.join(", ").into()]);
    }
    let mut details = Table::new(2);
    for one in statements.iter().filter(|one| one.verdict == Verdict::Fails) {
        let origin = one.origin.clone().unwrap_or_default();
        details.row([
            word(one.verdict).into(),
            format!("{}: {}", one.claim, one.said).into(),
            one.tried.as_str().into(),
            one.seen.as_str().into(),
            Cell::new(Tone::Faint, &origin),
        ]);
    }
    let mut text = table.render(ui::width(), paint);
    if !details.is_empty() {
        text.push_str(&format!("\nWhat does not hold:\n{}", details.render(ui::width(), paint)));
    }
    let verdict = if document::holds(statements) { "everything that was tried holds" } else { "NOT everything holds" };
    text.push_str(&format!(
        "\n{}: {verdict}. {} statements, Linux {}, Landlock ABI {}, portcullis {}\npolicy sha256:{}\ncertificate {digest}\n",
        visible_line(&subject.policy),
        statements.len(),
        visible_line(&subject.kernel),
        subject.applied.landlock_abi,
        env!("CARGO_PKG_VERSION"),
        subject.fingerprint,
    ));
    text
}
