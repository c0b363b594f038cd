//! What a command really starts: the program's file, and the script that an interpreter is given.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Programs that run what they are given, by the beginning of their name.
const INTERPRETERS: [&str; 11] = ["bash", "bun", "deno", "lua", "node", "perl", "php", "pypy", "python", "ruby", "sh"];

/// A file and its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Where it is found.
    pub path: PathBuf,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
}

impl Measured {
    fn of(path: &Path) -> io::Result<Self> {
        let mut digest = Sha256::new();
        io::copy(&mut fs::File::open(path)?, &mut Hashing(&mut digest))?;
        Ok(Self { path: path.to_path_buf(), sha256: digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect() })
    }
}

/// A digest that can be written to.
struct Hashing<'a>(&'a mut Sha256);

impl io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a command starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The program.
    pub program: Measured,
    /// The script, where an interpreter is given one by an absolute path.
    pub script: Option<Measured>,
}

impl Identity {
    /// Looks at the files that a command starts. `search` is the `PATH` of its sandbox.
    ///
    /// # Errors
    /// In words, if there is no such program, or one of the files cannot be read.
    pub fn of(command: &[String], search: &str) -> Result<Self, String> {
        let name = command.first().map(String::as_str).unwrap_or_default();
        let program = find(name, search).ok_or_else(|| format!("there is no program {name} on the PATH of its sandbox ({search})"))?;
        let measured = |path: &Path| Measured::of(path).map_err(|error| format!("{} cannot be read: {error}", path.display()));
        let script = script(command).map(|path| measured(&path)).transpose()?;
        Ok(Self { program: measured(&program)?, script })
    }
}

/// The program's file, as it is named.
fn find(name: &str, search: &str) -> Option<PathBuf> {
    let runs = |path: &PathBuf| fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_absolute() && runs(path));
    }
    search.split(':').map(|folder| Path::new(folder).join(name)).find(runs)
}

/// The first argument of an interpreter that is the absolute path of a file.
fn script(command: &[String]) -> Option<PathBuf> {
    let (program, arguments) = command.split_first()?;
    let name = Path::new(program).file_name()?.to_str()?;
    if !INTERPRETERS.iter().any(|interpreter| name.starts_with(interpreter)) {
        return None;
    }
    arguments.iter().map(PathBuf::from).find(|path| path.is_absolute() && path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_and_the_script_that_it_is_given_are_measured_and_a_change_of_either_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("server.py");
        fs::write(&script, "one").unwrap();
        let command = ["sh".to_owned(), "-u".to_owned(), script.display().to_string(), "/etc/hostname".to_owned()];
        let before = Identity::of(&command, "/nowhere:/usr/bin:/bin").unwrap();
        assert!(before.program.path.ends_with("bin/sh") && before.program.sha256.len() == 64);
        assert_eq!(before.script.as_ref().map(|script| script.path.clone()), Some(script.clone()));
        fs::write(&script, "two").unwrap();
        let after = Identity::of(&command, "/nowhere:/usr/bin:/bin").unwrap();
        assert_eq!(before.program, after.program);
        assert_ne!(before.script, after.script);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_and_an_argument_of_a_program_is_no_script() {
        assert!(Identity::of(&["no-such-program".to_owned()], "/usr/bin:/bin").is_err());
        assert!(Identity::of(&["./sh".to_owned()], "/usr/bin:/bin").is_err());
        assert_eq!(Identity::of(&["cat".to_owned(), "/etc/passwd".to_owned()], "/usr/bin:/bin").unwrap().script, None);
    }
}
