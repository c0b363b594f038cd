//! A person's home, a workspace and things that are nobody's business, all made up, and ways to look at them from inside a sandbox.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{Read, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::ExitStatusExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use portcullis::policy::{self, Policy, Search};
use serde_json::Value;
use tempfile::TempDir;

use super::said::Anchors;

/// What runs inside.
const INSIDE: &str = include_str!("inside.py");
/// What no sandbox may ever show.
pub const SECRET: &str = "SECRET-of-the-person";
/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A policy under test, and what else lies about.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    /// A preset's name, or the text of a file, in which `{base}` is the folder of the made-up world.
    pub chosen: &'static str,
    /// The repository's own file.
    pub project: Option<&'static str>,
}

/// What is planted where a policy names a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// Nothing, and no repository.
    Nothing,
    /// A repository, and of what a policy names only what makes one.
    Repository,
    /// A file at each place.
    Files,
    /// A folder with a file in it at each place.
    Folders,
}

/// What a program did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
    pub took: Duration,
}

pub struct World {
    base: TempDir,
    pub case: Case,
    pub policy: Policy,
}

impl World {
    pub fn new(case: Case) -> Self {
        // Outside of /tmp where that is possible, so that the private /tmp has nothing to show.
        let made = |folder: &Path| tempfile::Builder::new().prefix("prefix-").tempdir_in(folder);
        let base = made(Path::new("/var/tmp")).or_else(|_| made(&std::env::temp_dir())).unwrap();
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut world = Self { base, case, policy: policy::preset("locked").unwrap() };
        world.rebuild(Plant::Nothing);
        world.policy = policy::load(&Search {
            chosen: Some(world.policy_argument()),
            system: Some("/etc/portcullis/policy.toml".into()),
            user: None,
            project: Some(world.workspace().join(".portcullis/policy.toml")),
        })
        .unwrap();
        world
    }

    pub fn base(&self) -> PathBuf {
        fs::canonicalize(self.base.path()).unwrap()
    }

    pub fn home(&self) -> PathBuf {
        self.base().join("home")
    }

    pub fn workspace(&self) -> PathBuf {
        self.home().join("work")
    }

    pub fn anchors(&self) -> Anchors {
        Anchors { home: self.home(), workspace: self.workspace() }
    }

    fn policy_argument(&self) -> String {
        if self.case.chosen.contains('\n') { self.base().join("chosen.toml").display().to_string() } else { self.case.chosen.to_owned() }
    }

    /// Makes everything anew.
    pub fn rebuild(&self, plant: Plant) {
        for entry in fs::read_dir(self.base()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        for folder in ["home/work/src", "outside/folder", "extra/inner", "more", "state", "tmp"] {
            fs::create_dir_all(self.base().join(folder)).unwrap();
        }
        for number in 1..=14 {
            fs::create_dir_all(self.base().join(format!("many/{number:02}"))).unwrap();
        }
        fs::set_permissions(self.base().join("state"), fs::Permissions::from_mode(0o700)).unwrap();
        let text = |path: &str, content: &str| fs::write(self.base().join(path), content).unwrap();
        text("outside/file", SECRET);
        text("outside/folder/file", SECRET);
        text("state/log.jsonl", SECRET);
        text("home/notes.txt", SECRET);
        text("home/work/README", "read me\n");
        text("home/work/src/main.sh", "true\n");
        text("extra/inner/file", "extra");
        if self.case.chosen.contains('\n') {
            text("chosen.toml", &self.case.chosen.replace("{base}", &self.base().display().to_string()));
        }
        if let Some(project) = self.case.project {
            fs::create_dir(self.workspace().join(".portcullis")).unwrap();
            text("home/work/.portcullis/policy.toml", project);
        }
        if plant == Plant::Repository {
            self.repository();
        }
    }

    /// A repository with one commit. False where there is no git.
    pub fn repository(&self) -> bool {
        let git = |arguments: &[&str]| {
            let mut command = self.command("git");
            command.current_dir(self.workspace()).args(["-c", "init.templateDir=", "-c", "init.defaultBranch=main"]);
            command.args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]).args(arguments);
            command.output().is_ok_and(|output| output.status.success())
        };
        git(&["init", "-q"]) && git(&["add", "README", "src"]) && git(&["commit", "-qm", "first"])
    }

    /// Plants a file or a folder at `path`, unless something is there.
    pub fn plant(&self, path: &Path, plant: Plant, content: &str) {
        if !path.starts_with(self.base()) || fs::symlink_metadata(path).is_ok() {
            return;
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if plant == Plant::Folders {
            fs::create_dir(path).unwrap();
            fs::write(path.join("inside"), content).unwrap();
        } else {
            fs::write(path, content).unwrap();
        }
    }

    /// A program with the made-up person's environment and no other.
    fn command(&self, program: impl Into<OsString>) -> Command {
        let mut command = Command::new(program.into());
        command.env_clear().envs(self.environment());
        command
    }

    /// What the person's environment holds, for every policy the same.
    pub fn environment(&self) -> Vec<(String, String)> {
        let home = self.home().display().to_string();
        let fixed = [
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("LANG", "C.UTF-8"),
            ("LC_ALL", "C.UTF-8"),
            ("TERM", "xterm"),
            ("TZ", "UTC"),
            ("NO_COLOR", "1"),
            ("COLORTERM", "truecolor"),
            ("USER", "ada"),
            ("LOGNAME", "ada"),
            ("OPENAI_API_KEY", SECRET),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("SSH_AUTH_SOCK", "/nowhere"),
            ("LD_LIBRARY_PATH", "/nowhere"),
            ("HARMLESS", "as it is outside"),
            // Words that a program with a switch of this kind might look for.
            ("PORTCULLIS_POLICY", "networked"),
            ("PORTCULLIS_SANDBOX", "off"),
            ("PORTCULLIS_UNCONFINED", "1"),
            ("PORTCULLIS_ASK", "when-needed"),
        ];
        let mut all: Vec<(String, String)> = fixed.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        all.push(("HOME".to_owned(), home));
        all.push(("PORTCULLIS_HOME".to_owned(), self.base().join("state").display().to_string()));
        all.push(("TMPDIR".to_owned(), self.base().join("tmp").display().to_string()));
        all
    }

    pub fn portcullis(&self, subcommand: &str) -> Command {
        let mut command = self.command(binary());
        command.args([subcommand, "--policy", &self.policy_argument(), "--workspace"]).arg(self.workspace());
        command
    }

    /// `portcullis sandbox -- arguments`.
    pub fn sandbox(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = self.portcullis("sandbox");
        command.arg("--").args(arguments);
        run(command, input)
    }

    /// Carries out requests in one sandbox and returns the answer to each.
    pub fn inside(&self, requests: &[Value]) -> Result<Vec<Value>, String> {
        let input = serde_json::to_string(requests).unwrap();
        let ran = self.sandbox(&["python3", "-c", INSIDE, INSIDE], &input);
        match serde_json::from_str::<Vec<Value>>(&ran.out) {
            Ok(answers) if answers.len() == requests.len() => Ok(answers),
            _ => Err(format!("the requests were not answered (exit code {}): {}\n{}", ran.code, ran.out, ran.err)),
        }
    }

    pub fn one(&self, request: Value) -> Result<Value, String> {
        Ok(self.inside(&[request])?.swap_remove(0))
    }

    /// Everything below the made-up world but the program's own state and temporary folder, with kind, mode and content.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        for folder in ["home", "outside", "extra", "more", "many"] {
            snapshot(&self.base().join(folder), &mut found);
        }
        found
    }
}

fn snapshot(path: &Path, found: &mut BTreeMap<PathBuf, String>) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let content = if metadata.is_file() {
        format!("{:?}", fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    } else {
        String::new()
    };
    found.insert(path.to_path_buf(), format!("{:o} {content}", metadata.mode()));
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            snapshot(&entry.unwrap().path(), found);
        }
    }
}

/// What is in the one and not, or not the same, in the other.
pub fn difference(before: &BTreeMap<PathBuf, String>, after: &BTreeMap<PathBuf, String>) -> Vec<PathBuf> {
    let changed = before.iter().filter(|(path, what)| after.get(*path) != Some(what)).map(|(path, _)| path.clone());
    changed.chain(after.keys().filter(|path| !before.contains_key(*path)).cloned()).collect()
}

/// The program under test.
pub fn binary() -> OsString {
    std::env::var_os("PORTCULLIS_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_portcullis").into())
}

pub fn run(mut command: Command, input: &str) -> Ran {
    let began = Instant::now();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdin, stdout, stderr) = (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let input = input.to_owned();
    // What runs may end without reading all of it.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).is_ok());
    let out = collect(stdout);
    let err = collect(stderr);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let took = began.elapsed();
    let (out, err) = (out.join().unwrap(), err.join().unwrap());
    let _ = writer.join();
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
    Ran { code, out, err, took }
}

fn collect(mut stream: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
