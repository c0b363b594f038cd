//! From a hook as it is written to one that can be run: its program found, and its policy with what the program itself needs.

use std::path::{Path, PathBuf};

use crate::{
    approval::program::{find, hops},
    hooks::Hook,
    policy::{Access, Anchors, Judge, Origin, Policy},
    sandbox::{Plan, PlanError, Session},
    tools::{access::is_private, recorded::milliseconds},
};

/// Why a hook cannot be run. A session does not begin without a hook that it should have.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// There is no such program.
    #[error("the hook {hook} names no program that can be run: {program}")]
    NoProgram {
        /// The hook, as file and line.
        hook: String,
        /// As it is named.
        program: String,
    },
    /// Its own sandbox would not show it.
    #[error("the hook {hook} could not see its own program: {program} is denied by its policy, or lies where portcullis keeps its state")]
    Hidden {
        /// The hook, as file and line.
        hook: String,
        /// Where it lies.
        program: String,
    },
    /// Its policy cannot be carried out here.
    #[error("the hook {hook}: {source}")]
    Plan {
        /// The hook, as file and line.
        hook: String,
        /// Why not.
        source: PlanError,
    },
}

/// A hook that can be run.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// As it is written.
    pub hook: Hook,
    /// What the kernel is told for it.
    pub plan: Plan,
    /// Its environment.
    pub environment: Vec<(String, String)>,
    /// The program as it was found, and its arguments.
    pub command: Vec<String>,
    /// The files that its answers depend on, as far as its command and its policy name them, with every link on the way.
    pub files: Vec<PathBuf>,
}

/// Prepares a hook for a session, under a policy of its own. The program, and arguments that name files in full, can be read besides what the policy lets
/// be read, where it does not deny them: they lie in the person's home, of which the sandbox sees nothing else.
///
/// # Errors
/// If the program is not there, or the policy cannot be carried out.
pub fn prepare(hook: Hook, policy: &Policy, session: &Session, cwd: &Path) -> Result<Prepared, PrepareError> {
    let error = |source| PrepareError::Plan { hook: hook.origin.clone(), source };
    let plan = Plan::new(policy, session).map_err(error)?;
    let path = plan.environment(policy, session).into_iter().find(|(name, _)| name == "PATH").map_or_else(String::new, |(_, path)| path);
    let no_program = |program: &str| PrepareError::NoProgram { hook: hook.origin.clone(), program: program.to_owned() };
    let [program, arguments @ ..] = hook.command.as_slice() else { return Err(no_program("")) };
    let (found, _) = find(program, &path, cwd).ok_or_else(|| no_program(program))?;

    let anchors = session.anchors();
    let judge = Judge::new(policy, &anchors);
    let visible = |path: &Path| {
        let verdict = judge.judge(path, Access::Read);
        verdict.allowed && !is_private(verdict.because.rule.as_ref())
    };
    let mut widened = policy.clone();
    // By its real name where the links that lead to it cannot be seen.
    let mut seen = |path: &Path| {
        let all = hops(path);
        if all.iter().all(|path| visible(path)) {
            return path.to_path_buf();
        }
        let real = all.into_iter().next_back().unwrap_or_else(|| path.to_path_buf());
        if !visible(&real) {
            let line = hook.origin.rsplit_once(':').and_then(|(_, line)| line.parse().ok()).unwrap_or_default();
            let origin = Origin { file: "hooks.toml".to_owned(), line, group: None };
            widened = widened.with_path(&real, false, origin);
        }
        real
    };
    let mut command = vec![seen(&found)];
    let mut files = hops(&found);
    // What it is confined to counts as much; presets lie nowhere.
    files.extend(policy.sources.iter().map(|(file, _)| Path::new(file)).filter(|file| file.is_absolute()).flat_map(hops));
    for argument in arguments {
        let named = Path::new(argument);
        if named.is_absolute() && named.is_file() {
            command.push(seen(named));
        } else {
            command.push(named.to_path_buf());
        }
        let lies = cwd.join(named);
        if lies.exists() {
            files.extend(hops(&lies));
        }
    }
    let command = command.into_iter().map(|word| word.into_os_string().into_string());
    let command = command.collect::<Result<_, _>>().map_err(|word| no_program(&word.to_string_lossy()))?;
    if is_hidden(&found, &widened, &anchors, session) {
        return Err(PrepareError::Hidden { hook: hook.origin.clone(), program: found.display().to_string() });
    }
    let mut plan = Plan::new(&widened, session).map_err(error)?;
    plan.limits.wall_ms = plan.limits.wall_ms.min(milliseconds(hook.timeout));
    let environment = plan.environment(&widened, session);
    Ok(Prepared { plan, environment, command, files, hook })
}

/// Whether a program cannot be read where it lies, although its own place was granted.
fn is_hidden(program: &Path, policy: &Policy, anchors: &Anchors, session: &Session) -> bool {
    let judge = Judge::new(policy, anchors);
    hops(program).last().is_some_and(|real| real.starts_with(&session.state) || !judge.judge(real, Access::Read).allowed)
}
