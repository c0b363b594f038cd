//! A host for the tests of the real program: a fresh workspace, a home with secrets in it, a state folder, and nothing else of the
//! machine's environment. Every test has its own, so tests can run at the same time and as any user.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::ExitStatusExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// What the fake home's private key holds; it must never be seen from inside.
pub const SECRET: &str = "TOP-SECRET-KEY";
/// Longer than anything that is waited for takes, also on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(20);
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Says that a test cannot run here. Where the machine was promised to be complete (`PORTCULLIS_NO_SKIP`), only what the kernel or the
/// user cannot help is an excuse.
pub fn skip(name: &str, reason: &str) {
    let excused = reason.starts_with("kernel:") || reason.starts_with("uid:");
    assert!(excused || std::env::var_os("PORTCULLIS_NO_SKIP").is_none(), "{name} may not be skipped: {reason}");
    // Not by `eprintln`, which the test harness keeps to itself.
    std::io::stderr().write_all(format!("SKIP {name}: {reason}\n").as_bytes()).unwrap();
}

/// The program under test.
pub fn program() -> PathBuf {
    std::env::var_os("PORTCULLIS_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_portcullis")), PathBuf::from)
}

/// Whether a program is where a sandbox finds it as well.
pub fn installed(name: &str) -> bool {
    PATH.split(':').any(|folder| Path::new(folder).join(name).exists())
}

/// Whether this process is root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Waits until something holds; false if it never does.
pub fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if holds() {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    holds()
}

/// The children of a process with one thread.
pub fn children_of(process: i32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    children.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

/// How many processes of the host have `mark` as one of their arguments.
pub fn processes_with(mark: &str) -> usize {
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    entries
        .flatten()
        .filter(|entry| {
            fs::read(entry.path().join("cmdline")).is_ok_and(|line| line.split(|byte| *byte == 0).any(|part| part == mark.as_bytes()))
        })
        .count()
}

/// Everything below a folder: kind and mode of each entry, and what it holds.
pub fn listing(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut pending = vec![folder.to_path_buf()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let held = if metadata.is_symlink() {
                fs::read_link(&path).unwrap().display().to_string()
            } else if metadata.is_file() {
                String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
            } else {
                String::new()
            };
            if metadata.is_dir() {
                pending.push(path.clone());
            }
            all.insert(path, format!("{:o} {held}", metadata.mode()));
        }
    }
    all
}

/// Fails with the entries that two listings do not share.
#[track_caller]
pub fn assert_same(after: &BTreeMap<PathBuf, String>, before: &BTreeMap<PathBuf, String>, context: &str) {
    let lacks = |one: &BTreeMap<PathBuf, String>, other: &BTreeMap<PathBuf, String>| -> Vec<String> {
        one.iter().filter(|(path, held)| other.get(*path) != Some(held)).map(|(path, held)| format!("{}: {held}", path.display())).collect()
    };
    let (new, gone) = (lacks(after, before), lacks(before, after));
    assert!(new.is_empty() && gone.is_empty(), "{context}\nnew or changed: {new:#?}\ngone or changed: {gone:#?}");
}

/// How one run ended.
#[derive(Debug)]
pub struct Ended {
    /// The code that a shell would see.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0)),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ended {
    /// The same, if there was a sandbox: where none starts, nothing can be broken either, and a test of a protection would prove nothing.
    #[track_caller]
    pub fn ran(self) -> Self {
        let refusal = self.stderr.lines().any(|line| {
            line.starts_with("portcullis: ")
                && !line.contains("end of the command")
                && !line.contains("while the command ran")
                && !line.contains("ended the command")
        });
        assert!(!refusal, "{self:#?}");
        self
    }

    /// The same, if the command succeeded.
    #[track_caller]
    pub fn done(self) -> Self {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }
}

/// See the module.
pub struct Host {
    pub root: PathBuf,
    pub workspace: PathBuf,
    pub home: PathBuf,
    pub state: PathBuf,
    _folder: TempDir,
}

impl Host {
    /// A host whose workspace is a git repository with one commit.
    pub fn new() -> Self {
        Self::without_git().with_repository()
    }

    fn with_repository(self) -> Self {
        let host = self;
        host.git(&["init", "-q"]);
        host.git(&["config", "user.name", "Test"]);
        host.git(&["config", "user.email", "test@example.invalid"]);
        host.write("file", "one\n");
        host.git(&["add", "."]);
        host.git(&["commit", "-qm", "first"]);
        host
    }

    /// A host whose workspace is an empty folder.
    pub fn without_git() -> Self {
        Self::bare_in(&std::env::temp_dir())
    }

    /// One that lies in a certain folder, with a repository or without.
    #[allow(dead_code, reason = "most tests are content with the usual folder")]
    pub fn in_folder(parent: &Path, repository: bool) -> Self {
        if repository { Self::bare_in(parent).with_repository() } else { Self::bare_in(parent) }
    }

    fn bare_in(parent: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("portcullis-test-").tempdir_in(parent).unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let at = |name: &str| root.join(name);
        for name in ["workspace", "home/.ssh", "state", "tmp", "outside"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::write(at("home/.ssh/id_ed25519"), SECRET).unwrap();
        fs::write(at("home/.netrc"), SECRET).unwrap();
        fs::write(at("home/.bash_history"), SECRET).unwrap();
        fs::write(at("outside/precious"), "precious\n").unwrap();
        Self { workspace: at("workspace"), home: at("home"), state: at("state"), root, _folder: folder }
    }

    /// Writes a file of the workspace, with the folders above it.
    pub fn write(&self, path: &str, content: &str) {
        let path = self.workspace.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// What a file of the workspace holds, if it is there.
    pub fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.workspace.join(path)).ok()
    }

    /// Whether anything is at a path of the workspace, be it a dangling link.
    pub fn has(&self, path: &str) -> bool {
        fs::symlink_metadata(self.workspace.join(path)).is_ok()
    }

    /// Writes a policy file outside the workspace, on top of `workspace-write`.
    pub fn policy(&self, name: &str, rules: &str) -> String {
        let path = self.root.join(format!("{name}.toml"));
        fs::write(&path, format!("schema = 1\nname = \"{name}\"\nextends = \"workspace-write\"\n{rules}\n")).unwrap();
        path.display().to_string()
    }

    /// Runs git on the host, as the person would.
    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> Ended {
        let mut command = self.clean("git");
        command.args(["-C".as_ref(), self.workspace.as_os_str()]).args(arguments).env("GIT_CONFIG_NOSYSTEM", "1");
        Ended::from(command.output().unwrap()).done()
    }

    /// git on the host in a folder of the workspace, still to be told what to do.
    pub fn git_command(&self, folder: &str) -> Command {
        let mut command = self.plain_git();
        command.arg("-C").arg(self.workspace.join(folder));
        command
    }

    /// git on the host, as the person would run it, still to be told what to do.
    pub fn plain_git(&self) -> Command {
        let mut command = self.clean("git");
        command.env("GIT_CONFIG_NOSYSTEM", "1");
        command
    }

    /// Another program in the clean environment, still to be told what to do.
    pub fn bare_program(&self, name: &str) -> Command {
        self.clean(name)
    }

    /// The program itself, with arguments.
    pub fn bare(&self, arguments: &[&str]) -> Command {
        let mut command = self.clean(program());
        command.args(arguments);
        command
    }

    /// The listing of the workspace.
    pub fn tree(&self) -> BTreeMap<PathBuf, String> {
        listing(&self.workspace)
    }

    /// `portcullis sandbox` on the workspace with a command, still to be run.
    pub fn sandbox(&self, command: &[&str]) -> Command {
        self.sandbox_under("workspace-write", command)
    }

    /// The same under another policy: a preset's name, or a file's path.
    pub fn sandbox_under(&self, policy: &str, command: &[&str]) -> Command {
        let mut all = self.clean(program());
        all.args(["sandbox", "--policy", policy, "--workspace"]).arg(&self.workspace).arg("--").args(command);
        all
    }

    /// Runs a shell script in the sandbox to its end.
    #[track_caller]
    pub fn sh(&self, script: &str) -> Ended {
        self.sh_under("workspace-write", script)
    }

    /// The same under another policy.
    #[track_caller]
    pub fn sh_under(&self, policy: &str, script: &str) -> Ended {
        Ended::from(self.sandbox_under(policy, &["sh", "-c", script]).output().unwrap()).ran()
    }

    /// Runs a Python program in the sandbox to its end.
    #[track_caller]
    pub fn python(&self, program: &str) -> Ended {
        Ended::from(self.sandbox(&["python3", "-c", program]).output().unwrap()).ran()
    }

    /// Tries to run a shell script and is refused before it starts.
    #[track_caller]
    pub fn refused(&self, policy: &str, script: &str) -> Ended {
        let ended = Ended::from(self.sandbox_under(policy, &["sh", "-c", script]).output().unwrap());
        assert!(ended.stderr.starts_with("portcullis: "), "{ended:#?}");
        ended
    }

    /// A program on the host, still to be run, with this home and nothing else of the machine's environment.
    #[allow(clippy::disallowed_methods, reason = "a test starts the program under test, and git as the person would")]
    pub fn clean(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", &self.home)
            .env("LANG", "C.UTF-8")
            .env("PORTCULLIS_HOME", &self.state)
            .env("TMPDIR", self.root.join("tmp"))
            .current_dir(&self.root)
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // What a test made unreadable would stay behind for an ordinary user.
        let _ = make_removable(&self.root);
    }
}

fn make_removable(folder: &Path) -> std::io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = make_removable(&entry.path());
        }
    }
    Ok(())
}

/// A run that has not ended yet. It is killed if the test ends first.
pub struct Running(Child);

impl Running {
    /// Starts it with pipes for its streams.
    pub fn start(mut command: Command) -> Self {
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// The process id of `portcullis sandbox` itself.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// The process id of its launcher: its only child.
    pub fn launcher(&self) -> i32 {
        children_of(i32::try_from(self.id()).unwrap())[0]
    }

    /// Sends a signal to `portcullis sandbox` itself.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(self.id()).unwrap()), signal).unwrap();
    }

    /// Types into its standard input.
    pub fn type_line(&mut self, line: &str) {
        let stdin = self.0.stdin.as_mut().unwrap();
        if let Err(error) = writeln!(stdin, "{line}").and_then(|()| stdin.flush()) {
            let mut said = String::new();
            let _ = std::io::Read::read_to_string(self.0.stderr.as_mut().unwrap(), &mut said);
            panic!("it does not read any more: {error}; it said: {said}");
        }
    }

    /// The next line that it writes.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        let stdout = self.0.stdout.as_mut().unwrap();
        while line.last() != Some(&b'\n') && std::io::Read::read(stdout, &mut byte).unwrap() > 0 {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    /// Closes its standard input and waits for its end.
    pub fn end(mut self) -> Ended {
        drop(self.0.stdin.take());
        let mut output = Output { status: ExitStatusExt::from_raw(0), stdout: Vec::new(), stderr: Vec::new() };
        let mut stderr = self.0.stderr.take().unwrap();
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = std::io::Read::read_to_end(&mut stderr, &mut bytes);
            bytes
        });
        std::io::Read::read_to_end(&mut self.0.stdout.take().unwrap(), &mut output.stdout).unwrap();
        output.stderr = reader.join().unwrap();
        output.status = self.0.wait().unwrap();
        output.into()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
