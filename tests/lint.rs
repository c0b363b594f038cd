//! What `policy lint` finds, and what it leaves alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests may fail as tests do")]

#[path = "lint/program.rs"]
mod program;
#[path = "lint/rules.rs"]
mod rules;
#[path = "lint/texts.rs"]
mod texts;

use std::path::{Path, PathBuf};

use portcullis::policy::{
    Anchors,
    error::Source,
    lint::{Facts, Kind, Report, lint},
    load,
    load::check_text,
};

/// A machine that nobody has: what is on it is said here.
struct Imagined {
    anchors: Anchors,
    program_folders: Vec<PathBuf>,
}

impl Imagined {
    fn new() -> Self {
        Self {
            anchors: Anchors { workspace: "/home/ann/work".into(), home: "/home/ann".into(), temporary: "/tmp".into() },
            program_folders: ["/usr/bin", "/home/ann/tools"].map(PathBuf::from).to_vec(),
        }
    }
}

impl Facts for Imagined {
    fn anchors(&self) -> &Anchors {
        &self.anchors
    }

    fn program_folders(&self) -> &[PathBuf] {
        &self.program_folders
    }

    fn finds(&self, program: &str) -> bool {
        ["cargo", "env", "git", "ls", "make", "npm", "python3", "rg", "sudo"].contains(&program)
    }

    fn kind(&self, path: &Path) -> Kind {
        match path.to_str().unwrap() {
            "/srv/service.sock" => Kind::Socket,
            path if path.contains("absent") => Kind::Missing,
            _ => Kind::Present,
        }
    }

    fn leads_to(&self, path: &Path) -> Option<PathBuf> {
        Some(if path == Path::new("/home/ann/work/linked") { PathBuf::from("/srv/elsewhere") } else { path.to_path_buf() })
    }

    fn memory(&self) -> Option<u64> {
        Some(8 << 30)
    }

    fn looks_secret(&self, text: &str) -> bool {
        text.starts_with("ghp_")
    }
}

/// Lints a text as if it were the file `p.toml`, with the presets that it extends.
fn linted(text: &str) -> Report {
    let policy = check_text("p.toml", text).unwrap_or_else(|error| panic!("{error}")).complete();
    let mut sources = vec![Source::new("p.toml", text)];
    sources.extend(policy.sources.iter().skip(1).map(|(file, _)| {
        let name = file.strip_prefix("policies/").unwrap().strip_suffix(".toml").unwrap();
        load::written(name).unwrap().swap_remove(0)
    }));
    lint(&policy, &sources, &Imagined::new())
}

/// The ids of what is found, each with its line.
fn found(text: &str) -> Vec<(&'static str, u32)> {
    linted(text).findings.iter().map(|finding| (finding.rule.id, finding.origin.line)).collect()
}
