//! From what was typed and what the environment says to what is meant: the second stage of the arguments.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use crate::{
    hooks::{self, Hook},
    policy::{self, Access, Judge, Place, Policy, PolicyError, Problem},
    sandbox::{self, Plan, PlanError, Session, private},
    tools::{
        self,
        hooks::{PrepareError, Prepared, prepare},
    },
};

use super::{exit::Exit, report};

/// Why a command cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The workspace is not there, or is no folder.
    #[error("the workspace {path} cannot be used: {source}", path = path.display())]
    Workspace {
        /// As it was named.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The current folder is the home folder, and no workspace was named.
    #[error("{home} is your home folder: everything in it would be the workspace; go to a project's folder, or name one with --workspace", home = home.display())]
    HomeAsWorkspace {
        /// The home folder.
        home: PathBuf,
    },
    /// The state folder cannot be made.
    #[error("the state folder {path} cannot be made: {source}; PORTCULLIS_HOME can name another", path = path.display())]
    State {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The session's private folder cannot be made.
    #[error("no private folder for the session can be made in {path}: {source}; TMPDIR can name another", path = path.display())]
    Private {
        /// Where it was tried.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Calls could change what a later session goes by.
    #[error("the calls of this session could change {path}, by which later ones go: {named} leads there; move it to where the policy lets nothing be written", path = path.display(), named = named.display())]
    SettingsWritable {
        /// The person's file.
        named: PathBuf,
        /// What calls could write on the way to it.
        path: PathBuf,
    },
    /// A hook that the person set cannot be run.
    #[error(transparent)]
    Hook(#[from] PrepareError),
    /// The policy of such a hook has an error.
    #[error("the policy of the hook {hook}: {source}")]
    HookPolicy {
        /// The hook, as file and line.
        hook: String,
        /// What is wrong.
        source: Box<PolicyError>,
    },
    /// The policy has an error.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The policy cannot be carried out here.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

impl ResolveError {
    /// The exit code for it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Workspace { .. } | Self::HomeAsWorkspace { .. } => Exit::Usage,
            Self::State { .. } | Self::Private { .. } => Exit::Output,
            // Nothing is wrong with a policy that was never found.
            Self::Policy(error) if error.mark.is_none() && matches!(error.problem, Problem::UnknownPreset(_)) => Exit::Usage,
            Self::Policy(_) | Self::Plan(_) | Self::Hook(_) | Self::HookPolicy { .. } | Self::SettingsWritable { .. } => Exit::Policy,
        }
    }
}

/// What the environment says of folders.
#[derive(Debug, Clone)]
pub struct Folders {
    /// The person's home, canonical.
    pub home: PathBuf,
    /// Logs, grants, journals.
    pub state: PathBuf,
    /// The person's own policy, if it exists.
    pub user_policy: PathBuf,
    /// The person's own file about endpoints.
    pub providers: PathBuf,
    /// The person's own file about hooks.
    pub hooks: PathBuf,
    /// The person's own file about MCP servers.
    pub mcp: PathBuf,
    /// The environment at the start.
    pub environment: BTreeMap<String, String>,
}

/// Where an administrator's policy lies.
pub const SYSTEM_POLICY: &str = "/etc/portcullis/policy.toml";
/// Where a repository's own policy lies, below its root.
pub const PROJECT_POLICY: &str = ".portcullis/policy.toml";
/// The home folder inside a sandbox of somebody who has none.
const NO_HOME: &str = "/home/agent";

impl Folders {
    /// Takes them from the environment. Variables that are not UTF-8 are left out: no policy could name their values.
    pub fn from_environment() -> Self {
        let environment: BTreeMap<String, String> =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect();
        let absolute = |name: &str| environment.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
        // A container's `HOME=/` is no home.
        let home = absolute("HOME").filter(|home| home.parent().is_some()).or_else(registered_home);
        let home = home.map(|home| fs::canonicalize(&home).unwrap_or(home));
        let home = home.unwrap_or_else(|| PathBuf::from(NO_HOME));
        let (state, config) = match absolute("PORTCULLIS_HOME") {
            Some(folder) => (folder.clone(), folder),
            None => (
                absolute("XDG_STATE_HOME").unwrap_or_else(|| home.join(".local/state")).join("portcullis"),
                absolute("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("portcullis"),
            ),
        };
        let of_person = |name: &str| config.join(name);
        let (user_policy, providers) = (of_person("policy.toml"), of_person("providers.toml"));
        let (hooks, mcp) = (of_person("hooks.toml"), of_person("mcp.toml"));
        Self { home, state, user_policy, providers, hooks, mcp, environment }
    }
}

/// The home that the system has on record for whoever runs this, where it exists.
fn registered_home() -> Option<PathBuf> {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok()??;
    Some(user.dir).filter(|home| home.parent().is_some() && home.is_dir())
}

/// Everything that a command which runs calls needs. The private folder goes when this is dropped.
#[derive(Debug)]
pub struct Resolved {
    /// The merged policy.
    pub policy: Policy,
    /// What the kernel will be told.
    pub plan: Plan,
    /// The facts of the session.
    pub session: Session,
    /// Where calls start.
    pub cwd: PathBuf,
    _private: tempfile::TempDir,
}

impl Resolved {
    /// The `PATH` by which names of programs are found inside.
    pub fn search_path(&self) -> String {
        let environment = self.plan.environment(&self.policy, &self.session);
        environment.into_iter().find(|(name, _)| name == "PATH").map_or_else(String::new, |(_, value)| value)
    }
}

/// Resolves the workspace, the policy of all layers, and the plan.
pub fn resolve(workspace: Option<&Path>, policy: Option<&str>, folders: &Folders) -> Result<Resolved, ResolveError> {
    let (workspace, cwd) = find_workspace(workspace, &folders.home)?;
    let mut policy = load_policy(policy, &workspace, folders)?;
    if let Some(lost) = sandbox::lost(&policy) {
        report(&lost);
        policy.notes.push(lost.to_owned());
    }
    let state = make_state(&folders.state)?;
    let temporary = std::env::temp_dir();
    let private_error = |source| ResolveError::Private { path: temporary.clone(), source };
    let private = private::make().map_err(private_error)?;
    let root = fs::canonicalize(private.path()).map_err(private_error)?;
    let session = Session {
        linked: sandbox::linked_repository(&workspace),
        workspace,
        home: folders.home.clone(),
        private: root,
        state,
        environment: folders.environment.clone(),
    };
    let plan = Plan::new(&policy, &session)?;
    settings_out_of_reach(&policy, &session, folders)?;
    Ok(Resolved { policy, plan, session, cwd, _private: private })
}

/// The same; where it cannot be done, says why on standard error and gives the code to end with.
pub(super) fn resolve_or_report(workspace: Option<&Path>, policy: Option<&str>, folders: &Folders) -> Result<Resolved, Exit> {
    resolve(workspace, policy, folders).map_err(|error| {
        report(&error);
        error.exit()
    })
}

/// What the person has set must not be for calls to change, whatever links lead to it: a call of this session would choose the endpoint, or the policy, of the next.
pub(super) fn settings_out_of_reach(policy: &Policy, session: &Session, folders: &Folders) -> Result<(), ResolveError> {
    let anchors = session.anchors();
    let judge = Judge::new(policy, &anchors);
    let writable = |path: &PathBuf| {
        let verdict = judge.judge(path, Access::Write);
        // What is private to a session lies elsewhere on the host, and no sandbox sees the state folder.
        let private = verdict.because.rule.is_some_and(|rule| matches!(rule.place, Place::Temporary | Place::PrivateHome));
        verdict.allowed && !private && !path.starts_with(&session.state)
    };
    for named in [&folders.providers, &folders.user_policy, &folders.hooks, &folders.mcp] {
        if let Some(path) = on_the_way(named).into_iter().find(writable) {
            return Err(ResolveError::SettingsWritable { named: named.clone(), path });
        }
    }
    Ok(())
}

/// The most links that are followed, as the kernel does (path_resolution(7)).
const LINKS: usize = 40;

/// Every link on the way to a file, and where it leads in the end, whether or not anything is there.
fn on_the_way(path: &Path) -> Vec<PathBuf> {
    let mut passed = Vec::new();
    let mut left: Vec<OsString> = path.components().rev().map(|part| part.as_os_str().to_owned()).collect();
    let mut at = PathBuf::from("/");
    while let Some(part) = left.pop() {
        if part == "/" || part == "." {
            continue;
        }
        if part == ".." {
            at.pop();
            continue;
        }
        at.push(&part);
        let Ok(target) = fs::read_link(&at) else { continue };
        passed.push(at.clone());
        if passed.len() > LINKS {
            return passed;
        }
        at.pop();
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        left.extend(target.components().rev().map(|part| part.as_os_str().to_owned()));
    }
    // A file that is not there can be made by whoever may write where it would be.
    passed.push(at);
    passed
}

/// The hooks that the person has set, as they are written.
pub fn written_hooks(folders: &Folders) -> Result<Vec<Hook>, PolicyError> {
    let known: Vec<String> = tools::definitions().into_iter().map(|tool| tool.name).collect();
    policy::load::settings(&folders.hooks)?.map_or(Ok(Vec::new()), |source| hooks::read(&source, &known))
}

/// The same for a session, each with a policy of its own. What the administrator and the person take away holds for hooks as well; a repository's
/// file has no say in what looks at the calls that are made in it.
pub fn hooks(resolved: &Resolved, folders: &Folders) -> Result<Vec<Prepared>, ResolveError> {
    let prepared = |hook: Hook| {
        // Beside the file that names it, wherever a session starts.
        let beside = folders.hooks.parent().filter(|_| policy::load::is_path(&hook.policy)).map(|folder| folder.join(&hook.policy));
        let chosen = beside.map_or_else(|| hook.policy.clone(), |path| path.display().to_string());
        let search = policy::Search {
            chosen: Some(chosen),
            system: Some(PathBuf::from(SYSTEM_POLICY)),
            user: Some(folders.user_policy.clone()),
            project: None,
        };
        let policy =
            policy::load(&search).map_err(|source| ResolveError::HookPolicy { hook: hook.origin.clone(), source: Box::new(source) })?;
        Ok(prepare(hook, &policy, &resolved.session, &resolved.cwd)?)
    };
    written_hooks(folders)?.into_iter().map(prepared).collect()
}

/// Loads and merges the policy of all layers for a workspace.
pub fn load_policy(chosen: Option<&str>, workspace: &Path, folders: &Folders) -> Result<Policy, PolicyError> {
    policy::load(&policy::Search {
        chosen: chosen.map(str::to_owned),
        system: Some(PathBuf::from(SYSTEM_POLICY)),
        user: Some(folders.user_policy.clone()),
        project: Some(workspace.join(PROJECT_POLICY)),
    })
}

/// The workspace and the folder to start in: what was named, else the repository around the current folder, else that folder.
pub fn find_workspace(named: Option<&Path>, home: &Path) -> Result<(PathBuf, PathBuf), ResolveError> {
    let asked = named.unwrap_or(Path::new("."));
    let error = |source| ResolveError::Workspace { path: asked.to_path_buf(), source };
    let folder = fs::canonicalize(asked).map_err(error)?;
    if !folder.is_dir() {
        return Err(error(io::ErrorKind::NotADirectory.into()));
    }
    if named.is_some() {
        return Ok((folder.clone(), folder));
    }
    // Everything of the person's would be the call's to change.
    if folder == home {
        return Err(ResolveError::HomeAsWorkspace { home: folder });
    }
    Ok((repository_around(&folder, home).unwrap_or_else(|| folder.clone()), folder))
}

/// The nearest folder upwards with a `.git`. It must belong to the same person as the current folder, as git itself demands, and a home
/// folder under version control is no workspace for everything in it.
fn repository_around(folder: &Path, home: &Path) -> Option<PathBuf> {
    let owner = fs::metadata(folder).ok()?.uid();
    folder
        .ancestors()
        .take_while(|candidate| *candidate == folder || (!home.starts_with(candidate) && candidate.parent().is_some()))
        .find(|candidate| {
            let git = fs::symlink_metadata(candidate.join(".git"));
            git.is_ok_and(|git| git.uid() == owner) && fs::metadata(candidate).is_ok_and(|found| found.uid() == owner)
        })
        .map(Path::to_path_buf)
}

/// The state folder, made if it is not there, canonical.
pub fn make_state(state: &Path) -> Result<PathBuf, ResolveError> {
    let error = |source| ResolveError::State { path: state.to_path_buf(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(state).map_err(error)?;
    fs::canonicalize(state).map_err(error)
}
