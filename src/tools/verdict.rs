//! The one decision on a call: what the rules of a policy say of it (invariant I9). The gate asks here before it runs anything, and so does whoever explains
//! or replays a decision.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::invocation::Invocation;
use crate::{
    approval::{Binaries, Judged, Judgement, Rules, shell::Dialect},
    policy::{Access, Ask, CommandRule, Judge, Policy},
};

/// What holds for a call, and of a shell command all that was understood on the way.
pub fn judge(rules: &Rules, invocation: &Invocation) -> (Judgement, Option<Judged>) {
    match invocation {
        Invocation::Shell { command, background, .. } => {
            // Whoever allowed a command for longer expected it to end; one in the background goes on.
            let judged = if *background { Rules::clone(rules).with_granted(Vec::new()).judge(command) } else { rules.judge(command) };
            (judged.judgement.clone(), Some(judged))
        }
        // What the person set for a server's tool is looked at before.
        Invocation::File(_) | Invocation::Guest(_) => (rules.judge_other(), None),
        // A plan is a note, and a program in the background was judged when it was started. Access is asked for by itself.
        Invocation::UpdatePlan(_) | Invocation::Background(_) | Invocation::RequestAccess(_) => (Judgement::Allow { rule: None }, None),
    }
}

/// The shell that runs commands on this host, and the grammar by which it reads them.
pub fn shell() -> (&'static str, Dialect) {
    let bash = ["/bin/bash", "/usr/bin/bash"].iter().any(|path| Path::new(path).exists());
    if bash { ("bash", Dialect::Bash) } else { ("sh", Dialect::Posix) }
}

/// The rules of a policy with what was granted besides, in a mode, for the shell and the `PATH` that will run what they judge.
pub fn rules(policy: &Policy, judge: &Judge, workspace: &Path, path: &str, granted: Vec<CommandRule>, ask: Ask) -> Rules {
    let names = policy.commands.iter().chain(&granted).filter_map(|rule| rule.prefix.first()).map(String::as_str);
    let binaries = binaries(names, judge, workspace, path);
    Rules::new(policy, binaries, shell().1).with_granted(granted).in_mode(ask)
}

/// The binaries that names stand for: those that the sandbox's `PATH` finds, and that no call can replace.
pub fn binaries<'n>(names: impl IntoIterator<Item = &'n str>, judge: &Judge, workspace: &Path, path: &str) -> Binaries {
    // A link counts by where it lies and by where it leads.
    let out_of_reach = |path: &Path| {
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        [path, &real].iter().all(|path| !path.starts_with(workspace) && !judge.judge(path, Access::Write).allowed)
    };
    let is_program = |path: &Path| fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    let folders: Vec<PathBuf> = path.split(':').map(PathBuf::from).collect();
    Binaries::find(names, &folders, &out_of_reach, &is_program)
}
