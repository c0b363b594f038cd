//! What a policy says of everything but files, as steps and readings.

use super::{
    document::{Statement, Verdict},
    files::Check,
    inside::MOST_FILES,
    step::{Answer, Step},
};
use crate::{
    policy::{NetworkMode, Policy, canonical},
    sandbox::Applied,
};

/// A statement that was read back or judged by itself.
pub fn statement(claim: &'static str, said: &str, tried: &str, seen: String, verdict: Verdict) -> Statement {
    Statement { claim, said: said.to_owned(), origin: None, on: "scratch", tried: tried.to_owned(), seen, verdict }
}

/// The checks of the network, the kernel's surface and limits.
pub fn checks(policy: &Policy, workspace: &std::path::Path, port: u16, socket: &str, mark: &str) -> Vec<Check> {
    let mode = policy.network.mode;
    let check = |claim, said: &str, tried: &str, step, allowed| Check::new(claim, "scratch", said, tried.to_owned(), step, allowed);
    let network = canonical::mode(mode);
    let git = workspace.join(".git");
    let mut out = vec![
        check("network", network, "connect to a TCP listener outside of the sandbox", Step::Connect(port), mode == NetworkMode::Open),
        check("network", network, "listen and connect on 127.0.0.1 inside", Step::Loopback, mode != NetworkMode::None),
        check("network", network, "connect to an abstract unix socket outside", Step::Abstract(socket.to_owned()), false),
        check("confined", "no way to more rights", "make a user namespace", Step::Namespace, false),
        check(
            "lifetime",
            "processes end with their call",
            "leave a process in a session of its own",
            Step::LeaveBehind(mark.to_owned()),
            true,
        ),
    ];
    let writable = crate::policy::Judge::new(
        policy,
        &crate::policy::Anchors { workspace: workspace.to_path_buf(), home: "/".into(), temporary: "/tmp".into() },
    );
    let objects = git.join("objects");
    let may = writable.judge(&objects, crate::policy::Access::Write).allowed;
    let said = canonical::git(policy.git);
    out.push(check("git", said, "write below .git/objects", Step::Write(objects, "portcullis".to_owned()), may));
    out.push(check("git", said, "make .git/hooks/pre-commit", Step::Make(git.join("hooks/pre-commit")), false));
    out
}

/// What `/proc/self/status` must say.
pub fn status(answer: Option<&Answer>) -> Statement {
    let wanted = [
        "CapInh: 0000000000000000",
        "CapPrm: 0000000000000000",
        "CapEff: 0000000000000000",
        "CapBnd: 0000000000000000",
        "NoNewPrivs: 1",
        "Seccomp: 2",
    ];
    let seen = answer.map_or_else(String::new, |answer| answer.text().to_owned());
    let holds = wanted.iter().all(|line| seen.contains(line));
    let verdict = if holds { Verdict::Holds } else { Verdict::Fails };
    statement("confined", "every call is confined", "read /proc/self/status: no capability, no new privileges, a filter", seen, verdict)
}

/// The layers, as they were really applied.
pub fn layers(policy: &Policy, applied: &Applied) -> Vec<Statement> {
    let on_missing = canonical::on_missing(policy.enforcement.on_missing);
    let namespaces = applied.namespaces.join(", ");
    let read = |said: String, seen: String, there: bool| {
        let verdict = if there { Verdict::ReadBack } else { Verdict::Fails };
        statement("layers", &said, "what the sandbox reports to have applied", seen, verdict)
    };
    vec![
        read(format!("landlock ({on_missing})"), format!("ABI {}", applied.landlock_abi), applied.landlock_abi > 0),
        read(format!("seccomp ({on_missing})"), format!("{} calls are known", applied.seccomp_allowed), applied.seccomp_allowed > 0),
        read(format!("namespaces ({on_missing})"), namespaces, !applied.namespaces.is_empty()),
    ]
}

/// The steps of limits, in the order in which [`limits`] takes their answers.
pub fn limit_steps(policy: &Policy, folder: &std::path::Path) -> Vec<Step> {
    let limits = &policy.limits;
    let mut steps: Vec<Step> = ["files", "file-size", "processes"].map(|name| Step::Limit(name.to_owned())).into();
    steps.push(Step::FileSize(folder.to_path_buf(), limits.file_size));
    if limits.open_files <= MOST_FILES {
        steps.push(Step::OpenFiles);
    }
    steps
}

/// What limits came to.
pub fn limits(policy: &Policy, applied: &Applied, answers: &[Answer]) -> Vec<Statement> {
    let limits = &policy.limits;
    let number = |at: usize| answers.get(at).and_then(|answer| answer.text().parse::<u64>().ok());
    let words = |at: usize| answers.get(at).map_or_else(|| "no answer".to_owned(), |answer| answer.text().to_owned());
    let read = |said: String, at: usize, limit: u64| {
        let verdict = if number(at).is_some_and(|found| found <= limit) { Verdict::ReadBack } else { Verdict::Fails };
        statement("limits", &said, "getrlimit inside", words(at), verdict)
    };
    let mut out = vec![
        read(format!("open_files = {}", limits.open_files), 0, limits.open_files),
        read(format!("file_size = {}", limits.file_size), 1, limits.file_size),
    ];
    let kept = |by: &str| if by.is_empty() || by == "none" { Verdict::Fails } else { Verdict::ReadBack };
    out.push(statement(
        "limits",
        &format!("processes = {}", limits.processes),
        "what the sandbox reports to keep it, and getrlimit inside",
        format!("kept by {}; RLIMIT_NPROC {}", applied.process_limit, words(2)),
        kept(&applied.process_limit),
    ));
    out.push(statement(
        "limits",
        &format!("memory = {}", limits.memory),
        "what the sandbox reports to keep it",
        format!("kept by {}", applied.memory_limit),
        kept(&applied.memory_limit),
    ));
    let verdict = match answers.get(3) {
        Some(Answer::Worked(bytes)) if bytes == "1" => Verdict::Holds,
        Some(Answer::Worked(_)) => Verdict::Fails,
        // A file system with smaller files, or no folder that can be written.
        _ => Verdict::Untried,
    };
    let seen = if verdict == Verdict::Untried { words(3) } else { format!("{} of 2 bytes were written", words(3)) };
    out.push(statement("limits", &format!("file_size = {}", limits.file_size), "write two bytes across the limit", seen, verdict));
    if limits.open_files <= MOST_FILES {
        let verdict = if number(4).is_some_and(|most| most <= limits.open_files) { Verdict::Holds } else { Verdict::Fails };
        out.push(statement(
            "limits",
            &format!("open_files = {}", limits.open_files),
            "open descriptors until there are no more",
            format!("{} were open", words(4)),
            verdict,
        ));
    }
    out
}
