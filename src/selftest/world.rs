//! The world of a run: a workspace, a home, what lies beside them, and all that is watched outside. All of it lies in one temporary folder.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use super::{
    services::{Addresses, Shared, Sockets},
    victim::Victim,
};
use crate::sandbox::{Session, plan::PRIVATE_PREFIX};

/// Variables of the session's start that no policy hands on, each a way to run something or to be somebody. The values are secrets of this run.
pub const POISON: [&str; 16] = [
    "OPENAI_API_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "GITHUB_TOKEN",
    "SSH_AUTH_SOCK",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "BASH_ENV",
    "ENV",
    "PYTHONSTARTUP",
    "NODE_OPTIONS",
    "GIT_CONFIG_GLOBAL",
    "GIT_SSH_COMMAND",
    "PERL5OPT",
    "RUBYOPT",
    "PORTCULLIS_HOME",
    "PAGER",
];

/// Files that hold secrets: below the root of the world, and what they are called.
const SECRET_FILES: [&str; 13] = [
    "home/.ssh/id_ed25519",
    "home/.netrc",
    "home/.aws/credentials",
    "home/.bash_history",
    "home/.config/gh/hosts.yml",
    "home/.claude/.credentials.json",
    "home/.codex/auth.json",
    "home/notes.txt",
    "outside/secret",
    "state/log/session.jsonl",
    "workspace/.env",
    "workspace/sub/.env.local",
    "workspace/id_rsa",
];

/// Everything else that lies there at the start.
const FILES: [(&str, &str); 24] = [
    ("home/.bashrc", "# a person's shell\n"),
    ("home/.profile", "# a person's session\n"),
    ("home/.gitconfig", "[user]\n\tname = Somebody\n"),
    ("outside/file", "outside\n"),
    ("outside/folder/inner", "outside\n"),
    ("outside/program", "#!/bin/sh\nexit 0\n"),
    ("workspace-evil/file", "beside\n"),
    ("workspace/README.md", "# a project\n"),
    ("workspace/src/main.c", "int main(void) { return 0; }\n"),
    ("workspace/sub/deep/file", "deep\n"),
    ("workspace/.git/HEAD", "ref: refs/heads/main\n"),
    ("workspace/.git/config", "[core]\n\trepositoryformatversion = 0\n\tbare = false\n"),
    ("workspace/.git/hooks/pre-commit", "#!/bin/sh\nexit 0\n"),
    ("workspace/.git/info/exclude", "# nothing\n"),
    ("workspace/.git/description", "a project\n"),
    ("workspace/.vscode/tasks.json", "{}\n"),
    ("workspace/.mcp.json", "{}\n"),
    ("workspace/.envrc", "# nothing\n"),
    ("workspace/.portcullis/policy.toml", "schema = 1\nname = \"project\"\n"),
    ("workspace/tools/a.code-workspace", "{}\n"),
    ("workspace/nested/.git/HEAD", "ref: refs/heads/main\n"),
    ("workspace/nested/.git/config", "[core]\n\tbare = false\n"),
    ("workspace/nested/.git/hooks/pre-push", "#!/bin/sh\nexit 0\n"),
    ("workspace/nested/file", "nested\n"),
];

/// Empty folders.
const FOLDERS: [&str; 10] = [
    "workspace/.git/objects/info",
    "workspace/.git/refs/heads",
    "workspace/nested/.git/objects",
    "workspace/nested/.git/refs",
    "workspace/run",
    "outside/empty",
    "private/tmp",
    "private/home",
    "private/outputs",
    "state/placeholders",
];

/// What is rebuilt when something was changed.
const PARTS: [&str; 5] = ["workspace", "workspace-evil", "home", "outside", "state"];

/// The world.
#[derive(Debug)]
pub struct World {
    folder: tempfile::TempDir,
    root: PathBuf,
    name: String,
    /// The facts from which a plan is made.
    pub session: Session,
    /// What must not be said, and what it is.
    secrets: Vec<(String, String)>,
    sockets: Option<Sockets>,
    /// Ports.
    pub addresses: Addresses,
    /// Memory and messages of other processes.
    pub shared: Shared,
    victim: Option<Victim>,
}

impl World {
    /// Makes it. `environment` is the session's; what must not be handed on is added. To be called while this process has one thread.
    pub fn make(environment: &BTreeMap<String, String>) -> io::Result<Self> {
        // Not in /tmp where that can be helped: a sandbox has a /tmp of its own, which would hide half of what is to be tried.
        let parent = Path::new("/var/tmp");
        let builder = || {
            let mut builder = tempfile::Builder::new();
            builder.prefix("portcullis-selftest-").permissions(fs::Permissions::from_mode(0o700));
            builder
        };
        let folder = builder().tempdir_in(parent).or_else(|_| builder().tempdir())?;
        let root = fs::canonicalize(folder.path())?;
        let name = format!("selftest-{}", uuid::Uuid::now_v7().simple());
        let mut secrets: Vec<(String, String)> = Vec::new();
        let mut secret = |what: &str| {
            let token = format!("canary-{}", uuid::Uuid::now_v7().simple());
            secrets.push((what.to_owned(), token.clone()));
            token
        };
        let mut environment = environment.clone();
        for name in POISON {
            environment.insert(name.to_owned(), secret(&format!("the variable {name}")));
        }
        for path in SECRET_FILES {
            secret(path);
        }
        let victim = Victim::start(&secret("the memory of another process"))?;
        let shared = Shared::make(&name, [&secret("shared memory"), &secret("a message queue"), &secret("a file in /dev/shm")]);
        let private = root.join(format!("{PRIVATE_PREFIX}private"));
        let session = Session {
            linked: None,
            workspace: root.join("workspace"),
            home: root.join("home"),
            private,
            state: root.join("state"),
            environment,
        };
        let addresses = Addresses { tcp: 0, tcp6: None, udp: 0 };
        let mut world = Self { folder, root, name, session, secrets, sockets: None, addresses, shared, victim: Some(victim) };
        world.lay()?;
        Ok(world)
    }

    /// A path of the world.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// A name that nothing else on this machine has.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name that a process which stays behind takes: at most 15 bytes, prctl(2).
    pub fn mark(&self) -> String {
        let random = self.name.len().saturating_sub(11);
        format!("pcs-{}", &self.name[random..])
    }

    /// The other process.
    pub fn victim(&self) -> Option<&Victim> {
        self.victim.as_ref()
    }

    /// What arrived at the sockets since the last look.
    pub fn reached(&self) -> Vec<String> {
        self.sockets.as_ref().map(Sockets::reached).unwrap_or_default()
    }

    /// The secrets that a text holds, by what they are.
    pub fn secrets_in(&self, text: &str) -> Vec<&str> {
        self.secrets.iter().filter(|(_, token)| text.contains(token)).map(|(what, _)| what.as_str()).collect()
    }

    fn secret_of(&self, path: &str) -> &str {
        self.secrets.iter().find(|(what, _)| what == path).map_or("", |(_, token)| token)
    }

    /// Lays everything out.
    fn lay(&mut self) -> io::Result<()> {
        for folder in FOLDERS {
            fs::create_dir_all(self.private_or_at(folder))?;
        }
        fs::set_permissions(&self.session.private, fs::Permissions::from_mode(0o700))?;
        for (path, content) in FILES {
            make(&self.at(path), content)?;
        }
        for path in SECRET_FILES {
            make(&self.at(path), self.secret_of(path))?;
            fs::set_permissions(self.at(path), fs::Permissions::from_mode(0o600))?;
        }
        for program in ["outside/program", "workspace/.git/hooks/pre-commit", "workspace/nested/.git/hooks/pre-push"] {
            fs::set_permissions(self.at(program), fs::Permissions::from_mode(0o755))?;
        }
        for (link, target) in [
            ("workspace/link-out", "outside"),
            ("workspace/link-file", "outside/file"),
            ("workspace/link-home", "home"),
            ("workspace/link-key", "home/.ssh/id_ed25519"),
        ] {
            symlink(self.at(target), self.at(link))?;
        }
        symlink(".env", self.at("workspace/link-env"))?;
        let [outer, outer_datagram, inner, inner_datagram] =
            ["outside/stream", "outside/datagram", "workspace/run/stream", "workspace/run/datagram"].map(|path| self.at(path));
        let names = [format!("{}-stream", self.name), format!("{}-datagram", self.name)];
        let sockets = Sockets::open([&outer, &outer_datagram], [&inner, &inner_datagram], [&names[0], &names[1]])?;
        self.addresses = sockets.addresses()?;
        self.sockets = Some(sockets);
        Ok(())
    }

    fn private_or_at(&self, folder: &str) -> PathBuf {
        folder.strip_prefix("private/").map_or_else(|| self.at(folder), |below| self.session.private.join(below))
    }

    /// Puts everything back after something was changed.
    pub fn rebuild(&mut self) -> io::Result<()> {
        self.sockets = None;
        for part in PARTS {
            remove(&self.at(part))?;
        }
        let secret = self.secret_of("the memory of another process").to_owned();
        self.victim = None;
        self.victim = Some(Victim::start(&secret)?);
        self.lay()
    }

    /// Empties the private folders, which one call leaves to the next.
    pub fn empty_private(&self) -> io::Result<()> {
        for folder in ["tmp", "home", "outputs"] {
            let folder = self.session.private.join(folder);
            remove(&folder)?;
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        // A launcher that ends takes the private folder with it.
        fs::set_permissions(&self.session.private, fs::Permissions::from_mode(0o700))
    }

    /// All that lies outside of the workspace and may not change.
    pub fn outside(&self) -> Listing {
        let mut listing = Listing::default();
        for part in ["workspace-evil", "home", "outside", "state/log"] {
            listing.add(&self.at(part), &self.root);
        }
        listing
    }

    /// The workspace.
    pub fn workspace(&self) -> Listing {
        let mut listing = Listing::default();
        listing.add(&self.session.workspace, &self.session.workspace);
        listing
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // What an attempt made unreadable would stay behind for an ordinary user.
        let _ = make_removable(self.folder.path());
    }
}

fn make(path: &Path, content: &str) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, content)
}

fn make_removable(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = make_removable(&entry.path());
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(metadata) if metadata.is_dir() => {
            let _ = make_removable(path);
            fs::remove_dir_all(path)
        }
        _ => fs::remove_file(path),
    }
}

/// What lies below a folder: for each path all that a program could change of it, the time of the last change of its metadata included, so
/// that a change which was taken back is seen as well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing(pub BTreeMap<PathBuf, Entry>);

/// One path of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is and holds.
    pub content: String,
    /// Owner, mode, links and times.
    pub metadata: String,
    /// The mode.
    pub mode: u32,
}

impl Entry {
    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.content == "folder"
    }
}

impl Listing {
    fn add(&mut self, path: &Path, base: &Path) {
        let Ok(metadata) = fs::symlink_metadata(path) else { return };
        let kind = metadata.file_type();
        let content = if kind.is_symlink() {
            format!("link to {}", fs::read_link(path).unwrap_or_default().display())
        } else if kind.is_file() {
            format!("file: {}", fs::read(path).map_or_else(|error| error.to_string(), |bytes| String::from_utf8_lossy(&bytes).into_owned()))
        } else if kind.is_dir() {
            "folder".to_owned()
        } else {
            format!("special {:o} {}", metadata.mode() & libc::S_IFMT, metadata.rdev())
        };
        let times = format!("{}.{:09} {}.{:09}", metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec());
        let text = format!("{:o} {}:{} x{} {times}", metadata.mode(), metadata.uid(), metadata.gid(), metadata.nlink());
        let entry = Entry { content, metadata: text, mode: metadata.mode() };
        self.0.insert(path.strip_prefix(base).unwrap_or(path).to_path_buf(), entry);
        if kind.is_dir() {
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                self.add(&entry.path(), base);
            }
        }
    }

    /// The paths that differ, with how.
    pub fn changes(&self, after: &Self) -> Vec<(PathBuf, &'static str)> {
        let mut changes = Vec::new();
        for (path, entry) in &self.0 {
            match after.0.get(path) {
                None => changes.push((path.clone(), "removed")),
                Some(other) if other.content != entry.content => changes.push((path.clone(), "changed")),
                Some(other) if other.metadata != entry.metadata => changes.push((path.clone(), "changed in its metadata")),
                Some(_) => {}
            }
        }
        changes.extend(after.0.keys().filter(|path| !self.0.contains_key(*path)).map(|path| (path.clone(), "made")));
        changes
    }
}
