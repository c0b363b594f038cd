//! A network of its own with names, public addresses and servers that note what reaches them, and the program in it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::{program, skip};

/// What came of a command.
#[derive(Debug)]
pub struct Ran {
    pub code: i64,
    pub out: String,
    pub err: String,
    /// What reached a server meanwhile.
    pub noted: Vec<Value>,
}

impl Ran {
    /// Whether a plain request for this path reached a server at this address.
    pub fn served(&self, at: &str, path: &str) -> bool {
        self.noted.iter().any(|note| note["at"] == at && note["path"] == path)
    }

    /// What reached any address but the one that is allowed.
    pub fn strays(&self) -> Vec<&Value> {
        self.noted.iter().filter(|note| note["at"] != PUBLIC && note["tls"] != "named").collect()
    }
}

pub const PUBLIC: &str = "93.184.215.14";
pub const OTHER: &str = "93.184.215.15";

pub struct Stage {
    folder: TempDir,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Stage {
    /// `None`, with a word, where no such network can be made.
    pub fn new(name: &str) -> Option<Self> {
        // Not below /tmp, which calls have for their own.
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        for made in ["home", "ws", "site", "state", "tmp"] {
            fs::create_dir(folder.path().join(made)).unwrap();
        }
        fs::write(folder.path().join("site/hello"), "hello\n").unwrap();
        let pem = |name: &str| folder.path().join(name);
        let mut certificate = Command::new("openssl");
        certificate.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=allowed.test"]);
        certificate
            .args(["-addext", "subjectAltName=DNS:allowed.test,DNS:*.allowed.test,DNS:other.test", "-keyout"])
            .arg(pem("key.pem"))
            .arg("-out");
        assert!(certificate.arg(pem("cert.pem")).stderr(Stdio::null()).status().unwrap().success());
        let mut command = Command::new("unshare");
        command.args(["-Urmn", "/usr/bin/python3", "-c", include_str!("stage.py")]).arg(folder.path()).arg(folder.path().join("site"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        output.read_line(&mut ready).unwrap();
        if ready.trim() != "ready" {
            let said = child.wait_with_output().unwrap();
            skip(name, &format!("no network of its own can be set up here: {}", String::from_utf8_lossy(&said.stderr)));
            return None;
        }
        let input = child.stdin.take();
        Some(Self { folder, child, input, output })
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub fn write(&self, below: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Runs something in that network, outside of any sandbox.
    pub fn run(&mut self, command: &[&str]) -> Ran {
        let home = self.path("home");
        let env = json!({
            "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": home, "PORTCULLIS_HOME": self.path("state"), "TMPDIR": self.path("tmp"),
            "OPENAI_API_KEY": "sk-secret-key-of-the-model",
        });
        let request = json!({"run": command, "cwd": self.path("ws"), "env": env});
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{request}").unwrap();
        input.flush().unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        Ran {
            code: answer["code"].as_i64().unwrap(),
            out: text("out"),
            err: text("err"),
            noted: answer["noted"].as_array().unwrap().clone(),
        }
    }

    /// A policy with these rules about hosts, on top of the default one.
    pub fn policy(&self, network: &str) -> String {
        let more = format!("schema = 1\nname = \"listed\"\nextends = \"workspace-write\"\n[network]\nmode = \"allowlist\"\n{network}\n");
        self.write("policy.toml", more).display().to_string()
    }

    /// Runs a shell script in a sandbox under rules about hosts.
    pub fn sh(&mut self, network: &str, script: &str) -> Ran {
        self.sandbox(network, &["sh", "-c", script])
    }

    /// Runs a Python program in one.
    pub fn python(&mut self, network: &str, text: &str) -> Ran {
        self.sandbox(network, &["/usr/bin/python3", "-c", text])
    }

    pub fn sandbox(&mut self, network: &str, command: &[&str]) -> Ran {
        let policy = self.policy(network);
        let (program, workspace) = (program().display().to_string(), self.path("ws").display().to_string());
        let mut all = vec![program.as_str(), "sandbox", "--policy", &policy, "--workspace", &workspace, "--"];
        all.extend(command);
        self.run(&all)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
