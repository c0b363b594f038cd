//! A machine of somebody else's on which one agent works: its own repository, state and model, and the task.

use std::{fs, os::unix::fs::symlink, path::PathBuf, process::Command};

use portcullis::model::scripted::{ScriptedModel, Turn};

use super::support::{World, binary, finish, one, shell, start};

/// Nothing of it may ever be taken for shell text.
pub const TASK: &str = "Fix \"it\"; touch pwned; $(touch pwned) `touch pwned` '";

pub struct Site {
    pub world: World,
    pub model: ScriptedModel,
}

impl Site {
    /// A repository with one commit, and a model that writes `mark` into a new line of its file and tries to leave the workspace.
    pub fn new(mark: &str) -> Self {
        let work = format!("echo {mark} >> file; echo {mark} > /usr/{mark}; true");
        let model = start([one(shell(&work)), Turn::message("Done.")]);
        let world = World::new();
        world.write("ws/file", "one\n");
        for arguments in [
            &["init", "-q"][..],
            &["add", "."],
            &["-c", "user.name=Test", "-c", "user.email=test@example.invalid", "commit", "-qm", "first"],
        ] {
            assert_eq!(finish(world.program("git").args(arguments)).code(), Some(0));
        }
        let provider = format!("default = \"scripted\"\n[provider.scripted]\nurl = \"{}\"\nmodel = \"scripted\"\n", model.base_url());
        world.write("state/providers.toml", provider);
        for folder in ["bin", "results", "tasks"] {
            fs::create_dir(world.path(folder)).unwrap();
        }
        symlink(binary(), world.path("bin/portcullis")).unwrap();
        Self { world, model }
    }

    /// A program in the site's environment, with `portcullis` among the programs.
    pub fn program(&self, program: &str) -> Command {
        let mut command = self.world.program(program);
        command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", self.world.path("bin").display())).env("OPENAI_API_KEY", "test-key");
        command
    }

    /// Where the workspace is.
    pub fn workspace(&self) -> PathBuf {
        self.world.workspace()
    }

    /// The agent was given the task as it stands, did its work, and reached nothing besides.
    #[track_caller]
    pub fn worked(&self, task: &str, mark: &str) {
        let sent: Vec<String> = self.model.requests().iter().map(|request| String::from_utf8_lossy(&request.body).into_owned()).collect();
        assert_eq!(sent.len(), 2, "{sent:?}");
        assert!(sent[0].contains(serde_json::to_string(task).unwrap().trim_matches('"')), "{}", sent[0]);
        assert_eq!(fs::read_to_string(self.workspace().join("file")).unwrap(), format!("one\n{mark}\n"));
        assert!(!std::path::Path::new("/usr").join(mark).exists());
        for pwned in ["ws/pwned", "bin/pwned", "pwned"] {
            assert!(!self.world.path(pwned).exists());
        }
    }

    /// No model was asked, and nothing changed.
    #[track_caller]
    pub fn did_nothing(&self) {
        assert_eq!(self.model.requests().len(), 0);
        assert_eq!(fs::read_to_string(self.workspace().join("file")).unwrap(), "one\n");
    }
}
