//! `mcp.lock`: what a person has approved of each server. It lies in the state folder, which no sandbox sees.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    identity::Identity,
    settings::Way,
    tool::{CheckedTool, hexadecimal},
};
use crate::mcp::remote::Remote;

/// The version of the file.
const VERSION: u32 = 2;
/// The longest file in bytes.
const CAP: u64 = 64 * 1024 * 1024;

/// How a server is reached, and what was found there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reached {
    /// A program of this machine.
    Command {
        /// The program and its arguments, as they are written.
        command: Vec<String>,
        /// The files that it starts.
        identity: Identity,
    },
    /// Streamable HTTP.
    Remote(Remote),
}

impl Reached {
    /// Whether it is what the settings say.
    fn is(&self, way: &Way) -> bool {
        match (self, way) {
            (Self::Command { command, .. }, Way::Command(now)) => command == now,
            (Self::Remote(remote), Way::Remote(now)) => remote == now,
            _ => false,
        }
    }
}

/// All that was approved of a server. A change of any of it asks again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approved {
    /// How it is reached.
    pub reached: Reached,
    /// The names of variables that it is given, sorted.
    pub environment: Vec<String>,
    /// The name of its policy.
    pub policy: String,
    /// SHA-256 of its policy, in hexadecimal.
    pub fingerprint: String,
    /// Its tools, sorted by name.
    pub tools: Vec<CheckedTool>,
}

impl Approved {
    /// SHA-256 over all of it, in hexadecimal.
    pub fn hash(&self) -> String {
        hexadecimal(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// What of the settings is not as it was approved, in words.
    pub fn settings_changed(&self, way: &Way, environment: &[String], fingerprint: &str) -> Option<String> {
        if !self.reached.is(way) {
            let what = match way {
                Way::Command(_) => "its command is not the one that was approved",
                Way::Remote(_) => "its address, or what is sent there, is not what was approved",
            };
            return Some(what.to_owned());
        }
        if self.environment != environment {
            return Some("the variables that it is given are not those that were approved".to_owned());
        }
        (self.fingerprint != fingerprint).then(|| "its policy is not the one that was approved".to_owned())
    }

    /// What of the files is not as it was approved, in words.
    pub fn files_changed(&self, now: &Identity) -> Option<String> {
        let shown = |path: &Path| path.display().to_string();
        let Reached::Command { identity, .. } = &self.reached else { return None };
        if identity.program != now.program {
            return Some(format!("its program {} is not the one that was approved", shown(&now.program.path)));
        }
        if identity.script != now.script {
            let path = now.script.as_ref().or(identity.script.as_ref()).map(|script| shown(&script.path)).unwrap_or_default();
            return Some(format!("its script {path} is not the one that was approved"));
        }
        None
    }

    /// What of the tools is not as it was approved, in words. A tool that is new is not offered, and one that is gone is missed by whoever calls it.
    pub fn tools_changed(&self, now: &[CheckedTool]) -> Option<String> {
        let changed = |tool: &&CheckedTool| now.iter().any(|other| other.name == tool.name && other.sha256 != tool.sha256);
        let names: Vec<&str> = self.tools.iter().filter(changed).map(|tool| tool.name.as_str()).collect();
        let what = if names.len() == 1 { "of the tool" } else { "of the tools" };
        (!names.is_empty()).then(|| format!("what it says {what} {} is not what was approved", names.join(", ")))
    }
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The system says no.
    #[error("{path} cannot be {doing}: {source}", path = path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// `read` or `kept`.
        doing: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Others could have written it.
    #[error("{path} is not used: only you may own and read it (chmod 600)", path = path.display())]
    NotPrivate {
        /// The file.
        path: PathBuf,
    },
    /// It does not say what it must.
    #[error("{path} cannot be understood: {why}; remove it, and review your servers anew", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    v: u32,
    servers: BTreeMap<String, Approved>,
}

/// The file.
#[derive(Debug, Clone)]
pub struct Lock {
    path: PathBuf,
}

impl Lock {
    /// The one in a state folder. Nothing is looked at yet.
    pub fn new(state: &Path) -> Self {
        Self { path: state.join("mcp.lock") }
    }

    /// What was approved, by server. No file is nothing.
    ///
    /// # Errors
    /// If it cannot be read, could have been written by others, or makes no sense.
    pub fn load(&self) -> Result<BTreeMap<String, Approved>, LockError> {
        let error = |source| LockError::System { path: self.path.clone(), doing: "read", source };
        let malformed = |why: String| LockError::Malformed { path: self.path.clone(), why };
        let file = match fs::OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).open(&self.path) {
            Ok(file) => file,
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(problem) => return Err(error(problem)),
        };
        let found = file.metadata().map_err(error)?;
        if found.uid() != nix::unistd::geteuid().as_raw() || found.mode() & 0o077 != 0 {
            return Err(LockError::NotPrivate { path: self.path.clone() });
        }
        if found.len() > CAP {
            return Err(malformed(format!("it is longer than {CAP} bytes")));
        }
        let contents: Contents = serde_json::from_reader(io::BufReader::new(file)).map_err(|problem| malformed(problem.to_string()))?;
        if contents.v != VERSION {
            return Err(malformed(format!("it is of version {}; this program knows {VERSION}", contents.v)));
        }
        Ok(contents.servers)
    }

    /// Keeps what was approved of a server, or forgets it.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn set(&self, name: &str, approved: Option<Approved>) -> Result<(), LockError> {
        let mut servers = self.load()?;
        match approved {
            Some(approved) => drop(servers.insert(name.to_owned(), approved)),
            None => drop(servers.remove(name)),
        }
        let error = |source| LockError::System { path: self.path.clone(), doing: "kept", source };
        let text = serde_json::to_vec_pretty(&Contents { v: VERSION, servers }).map_err(|problem| error(problem.into()))?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        // Such a file is made for its owner alone.
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(error)?;
        file.write_all(&text).and_then(|()| file.write_all(b"\n")).and_then(|()| file.as_file().sync_data()).map_err(error)?;
        file.persist(&self.path).map_err(|problem| error(problem.error)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::{super::identity::Measured, *};

    fn identity() -> Identity {
        Identity { program: Measured { path: "/bin/sh".into(), sha256: "1".to_owned() }, script: None }
    }

    fn approved() -> Approved {
        let tool = |name: &str| CheckedTool {
            name: name.to_owned(),
            description: "d".to_owned(),
            parameters: json!({"type": "object"}),
            destructive: false,
            sha256: format!("of {name}"),
        };
        Approved {
            reached: Reached::Command { command: vec!["sh".to_owned()], identity: identity() },
            environment: vec!["A".to_owned()],
            policy: "mcp-server".to_owned(),
            fingerprint: "f".to_owned(),
            tools: vec![tool("a"), tool("b")],
        }
    }

    #[test]
    fn what_was_approved_is_kept_for_the_owner_alone_and_read_from_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::new(folder.path());
        assert!(lock.load().unwrap().is_empty());
        lock.set("one", Some(approved())).unwrap();
        lock.set("two", Some(approved())).unwrap();
        assert_eq!(fs::metadata(&lock.path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(lock.load().unwrap()["one"], approved());
        lock.set("one", None).unwrap();
        assert_eq!(lock.load().unwrap().keys().collect::<Vec<_>>(), ["two"]);
        fs::set_permissions(&lock.path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(lock.load(), Err(LockError::NotPrivate { .. })));
    }

    #[test]
    fn each_change_is_named_and_no_change_is_none() {
        let was = approved();
        let way = |program: &str| Way::Command(vec![program.to_owned()]);
        assert_eq!(was.settings_changed(&way("sh"), &was.environment, &was.fingerprint), None);
        assert!(was.settings_changed(&way("zsh"), &was.environment, "f").unwrap().contains("command"));
        assert!(was.settings_changed(&way("sh"), &[], "f").unwrap().contains("variables"));
        assert!(was.settings_changed(&way("sh"), &was.environment, "g").unwrap().contains("policy"));
        let remote = |url: &str| Remote::new(url, None, BTreeMap::new()).unwrap();
        let far = Approved { reached: Reached::Remote(remote("https://one.example/")), ..was.clone() };
        let change = |url: &str| far.settings_changed(&Way::Remote(remote(url)), &far.environment, "f");
        assert_eq!(change("https://one.example"), None);
        assert!(change("https://two.example/").unwrap().contains("address"));
        assert!(was.settings_changed(&Way::Remote(remote("https://one.example/")), &was.environment, "f").unwrap().contains("address"));
        let (mut now, mut files) = (was.clone(), identity());
        assert_eq!(was.files_changed(&files), None);
        files.program.sha256.push('x');
        assert!(was.files_changed(&files).unwrap().contains("program /bin/sh"));
        files = identity();
        files.script = Some(Measured { path: "/x.py".into(), sha256: String::new() });
        assert!(was.files_changed(&files).unwrap().contains("script /x.py"));
        // Another order, one more and one fewer are no change of what was approved.
        now.tools.reverse();
        now.tools.push(CheckedTool { name: "c".to_owned(), ..now.tools[0].clone() });
        assert_eq!(was.tools_changed(&now.tools), None);
        now.tools[0].sha256.push('x');
        assert!(was.tools_changed(&now.tools).unwrap().contains("the tool b"));
    }
}
