//! Puts questions to a program of the person's, for editors and bots: `--approver CMD`.
//!
//! The program is started anew for each question, outside of any sandbox, as the person's own: with their environment, but without the model's key. It
//! is given one JSON object on standard input, `{"v":1,"shown":"…","lines":["…"],"call":"…","tool":"…","subject":{…},"because":"…","cwd":"…",
//! "access":["…"],"lasting":{…}}`: the question as [`Question`] has it, the lines that a person would be shown, and their hash. It answers with one
//! JSON object on standard output and exits with 0:
//!
//! - `{"answer":"once"}`
//! - `{"answer":"always","scope":"session","permission":{"words":{"words":["cargo","test"]}}}`, with a scope and the permission that `lasting` offers
//! - `{"answer":"edit","command":"cargo test -q"}`
//! - `{"answer":"refuse"}`, `{"answer":"refuse","say":"a word to the model"}`
//! - `{"answer":"stop"}`
//!
//! Anything else is a refusal, and so is no answer in time.
//!
//! What is run is the file that was found at the start, and [`Approver::files`] says which files the answers depend on, so that no call gets to write them.

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
    time::timeout,
};

use super::{
    program::{find, hops},
    question::{Answer, Answered, Asker, By, Question},
};

/// The version of what the program is given.
const VERSION: u32 = 1;
/// The longest answer in bytes.
const CAP: u64 = 64 * 1024;

/// The program cannot be what was named.
#[derive(Debug, thiserror::Error)]
#[error("--approver names no program: {text}")]
pub struct NoProgram {
    text: String,
}

/// See the module.
#[derive(Debug)]
pub struct Approver {
    /// As it was named.
    program: String,
    /// Where it was found at the start: by its name, and behind all links.
    found: Option<(PathBuf, PathBuf)>,
    cwd: PathBuf,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    patience: Duration,
}

#[derive(Serialize)]
struct Asked<'a> {
    v: u32,
    shown: String,
    lines: Vec<String>,
    #[serde(flatten)]
    question: &'a Question,
}

impl Approver {
    /// A command line as a shell would split it. The program gets the environment without the key, by whatever name it stands there.
    ///
    /// # Errors
    /// If there is no program in it, or a quote is left open.
    pub fn new(
        command: &str,
        environment: &BTreeMap<String, String>,
        key_variable: &str,
        key: Option<&str>,
        patience: Duration,
        cwd: &Path,
    ) -> Result<Self, NoProgram> {
        let no_program = || NoProgram { text: command.to_owned() };
        let mut words = shlex::split(command).ok_or_else(no_program)?.into_iter();
        let program = words.next().filter(|program| !program.is_empty()).ok_or_else(no_program)?;
        let secret = |name: &str, value: &str| name == key_variable || key.is_some_and(|key| value.contains(key));
        let kept = environment.iter().filter(|(name, value)| !secret(name, value));
        let environment: BTreeMap<_, _> = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        let found = find(&program, environment.get("PATH").map_or("", String::as_str), cwd);
        Ok(Self { program, found, cwd: cwd.to_path_buf(), arguments: words.collect(), environment, patience })
    }

    /// The files that its answers depend on, as far as its command line names them: the program and each argument that is a file or folder, with every
    /// link on the way.
    pub fn files(&self) -> Vec<PathBuf> {
        let named = self.found.iter().map(|(path, _)| path.clone()).chain(self.arguments.iter().map(|argument| self.cwd.join(argument)));
        named.filter(|path| path.exists()).flat_map(|path| hops(&path)).collect()
    }

    #[allow(clippy::disallowed_methods, reason = "the person's own program, which the person named")]
    async fn run(&self, question: &Question) -> io::Result<Result<Answer, String>> {
        let lines = question.lines().into_iter().map(|line| line.text).collect();
        let asked = serde_json::to_vec(&Asked { v: VERSION, shown: question.hash(), lines, question })?;
        let (_, program) = self.found.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let mut child = Command::new(program)
            .arg0(&self.program)
            .args(&self.arguments)
            .current_dir(&self.cwd)
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let _group = Group(child.id().and_then(|id| i32::try_from(id).ok()));
        if let Some(mut input) = child.stdin.take() {
            // A program that knows its answer without reading is free to.
            let _ = input.write_all(&asked).await;
        }
        let mut output = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(CAP + 1).read_to_end(&mut output).await?;
        }
        if output.len() as u64 > CAP {
            return Ok(Err(format!("it wrote more than {CAP} bytes")));
        }
        let status = child.wait().await?;
        Ok(if status.success() { parse(&output) } else { Err(format!("it ended with {status}")) })
    }
}

/// Ends the program and what it has started.
struct Group(Option<i32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    }
}

/// Reads an answer. The error says what is wrong, and can follow "it".
fn parse(output: &[u8]) -> Result<Answer, String> {
    if output.trim_ascii().is_empty() {
        return Err("it gave no answer".to_owned());
    }
    serde_json::from_slice(output).map_err(|error| format!("its answer could not be understood ({error})"))
}

impl Asker for Approver {
    fn ask<'a>(&'a self, question: &'a Question) -> Pin<Box<dyn Future<Output = Answered> + 'a>> {
        Box::pin(async move {
            match timeout(self.patience, self.run(question)).await {
                Ok(Ok(Ok(answer))) => Answered { answer, by: By::Approver, why: None },
                Ok(Ok(Err(why))) => Answered::nobody(By::Approver, why),
                Ok(Err(error)) => Answered::nobody(By::Approver, format!("it could not be run ({error})")),
                Err(_) => Answered::nobody(
                    By::Timeout,
                    format!("the approver gave no answer within {}", humantime::format_duration(self.patience)),
                ),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::policy::{Permission, Scope};

    #[test]
    fn answers_are_read_and_everything_else_is_refused() {
        let words = Permission::Words { words: vec!["make".to_owned()] };
        let cases = [
            (r#"{"answer":"once"}"#, Answer::Once),
            (" {\"answer\":\"stop\"}\n", Answer::Stop),
            (r#"{"answer":"refuse"}"#, Answer::Refuse { say: None }),
            (r#"{"answer":"refuse","say":"no"}"#, Answer::Refuse { say: Some("no".to_owned()) }),
            (r#"{"answer":"edit","command":"ls"}"#, Answer::Edit { command: "ls".to_owned() }),
            (
                r#"{"answer":"always","scope":"user","permission":{"words":{"words":["make"]}}}"#,
                Answer::Always { scope: Scope::User, permission: words },
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text.as_bytes()), Ok(expected), "{text}");
        }
        for text in [
            "",
            "\n",
            "yes",
            "{}",
            "\"once\"",
            "{\"answer\":\"yes\"}",
            "{\"answer\":\"once\"}{\"answer\":\"once\"}",
            "[{\"answer\":\"once\"}]",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn the_key_is_not_in_its_environment_by_any_name() {
        let environment: BTreeMap<String, String> = [("KEY", "other"), ("COPY", "Bearer sk-1234"), ("PATH", "/bin")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let new = |text: &str, key| Approver::new(text, &environment, "KEY", key, Duration::from_secs(1), Path::new("/"));
        let approver = new("a 'b c'", Some("sk-1234")).unwrap();
        assert_eq!(approver.environment.into_iter().collect::<Vec<_>>(), [("PATH".to_owned(), "/bin".to_owned())]);
        assert_eq!((approver.program.as_str(), approver.arguments.as_slice()), ("a", ["b c".to_owned()].as_slice()));
        for text in ["", "  ", "''", "a 'b"] {
            assert!(new(text, None).is_err(), "{text}");
        }
    }

    #[test]
    fn what_the_answers_depend_on_is_found_over_links() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::write(root.join("own-script"), "").unwrap();
        std::os::unix::fs::symlink("own-script", root.join("second")).unwrap();
        std::os::unix::fs::symlink(root.join("second"), root.join("first")).unwrap();
        let environment = BTreeMap::from([("PATH".to_owned(), "relative:/usr/bin:/bin".to_owned())]);
        let new = |text: &str| Approver::new(text, &environment, "KEY", None, Duration::from_secs(1), &root).unwrap();
        let files = new("sh ./first --flag nowhere").files();
        for file in ["first", "second", "own-script"] {
            assert!(files.contains(&root.join(file)) || files.contains(&root.join("./first")), "{files:?}");
        }
        assert!(files.iter().any(|file| file.ends_with("sh")) && !files.iter().any(|file| file.ends_with("nowhere")), "{files:?}");
        // Not executable, and in no folder of PATH.
        assert!(new("./own-script").found.is_none() && new("own-script").found.is_none());
    }

    proptest! {
        #[test]
        fn any_output_is_an_answer_or_a_refusal(output in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,60}") {
            let _ = parse(&output);
            let _ = parse(format!("{{\"answer\":{text}").as_bytes());
        }
    }
}
