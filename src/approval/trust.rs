//! Which folders a person has trusted, and what those configured then.
//!
//! Before a session takes anything from a folder, the person is shown what the folder would configure. What they said yes to is remembered as a digest,
//! so that a folder which configures something else by now is asked about again, and so is another folder in its place.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::store::Repository;

/// The longest file that is shown and taken, in bytes.
const CAP: u64 = 256 * 1024;

/// What one file of a folder says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// This text; bytes that are no UTF-8 are replaced.
    Text(String),
    /// It is no file that is read from here, such as a link.
    Odd(String),
}

/// A file of a folder that would take effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configured {
    /// Its path, relative to the folder.
    pub path: String,
    /// What it would do, in a few words.
    pub effect: &'static str,
    /// What it says.
    pub said: Said,
}

impl Configured {
    /// Looks at a file; none if there is nothing.
    ///
    /// # Errors
    /// If it is there and cannot be looked at, or is too long to be shown.
    pub fn look(folder: &Path, path: &str, effect: &'static str) -> io::Result<Option<Self>> {
        let whole = folder.join(path);
        let found = match fs::symlink_metadata(&whole) {
            Ok(found) => found,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
            Err(error) => return Err(error),
        };
        // A link within the folder is read where it leads: what stands there can change as the file itself can.
        let leads = fs::canonicalize(&whole)
            .ok()
            .filter(|real| found.is_symlink() && real.is_file() && fs::canonicalize(folder).is_ok_and(|folder| real.starts_with(folder)));
        let said = if found.is_file() || leads.is_some() {
            let real = leads.as_ref().unwrap_or(&whole);
            let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC).open(real)?;
            let mut bytes = Vec::new();
            file.take(CAP + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > CAP {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {CAP} bytes")));
            }
            Said::Text(String::from_utf8_lossy(&bytes).into_owned())
        } else if found.is_symlink() {
            Said::Odd(format!("a link to {}", fs::read_link(&whole)?.display()))
        } else {
            Said::Odd("no ordinary file".to_owned())
        };
        Ok(Some(Self { path: path.to_owned(), effect, said }))
    }
}

/// What a folder configures, as one digest: SHA-256 in hexadecimal.
pub fn digest(configured: &[Configured]) -> String {
    let mut digest = Sha256::new();
    for file in configured {
        let (kind, text) = match &file.said {
            Said::Text(text) => (b"text".as_slice(), text),
            Said::Odd(text) => (b"odd".as_slice(), text),
        };
        for part in [file.path.as_bytes(), kind, text.as_bytes()] {
            // The length keeps two parts from passing for one.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is known of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It was never trusted, or it is another folder in the place of one that was.
    Unknown,
    /// It was trusted, and configures something else by now.
    Changed,
    /// It was trusted as it is.
    Trusted,
}

/// The folders that a person has trusted: one file for each, in the state folder, which no sandbox sees.
#[derive(Debug, Clone)]
pub struct Trust {
    folder: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    v: u32,
    repository: Repository,
    configures: String,
}

impl Trust {
    /// In a state folder.
    pub fn new(state: &Path) -> Self {
        Self { folder: state.join("trusted") }
    }

    fn file(&self, repository: &Repository) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        let name: String = Sha256::digest(repository.path.as_os_str().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(format!("{name}.json"))
    }

    /// What is known of a folder that configures this now. What cannot be read is not known.
    pub fn standing(&self, repository: &Repository, digest: &str) -> Standing {
        let entry = fs::read(self.file(repository)).ok().and_then(|bytes| serde_json::from_slice::<Entry>(&bytes).ok());
        match entry {
            Some(entry) if entry.v != 1 || entry.repository != *repository => Standing::Unknown,
            Some(entry) if entry.configures != digest => Standing::Changed,
            Some(_) => Standing::Trusted,
            None => Standing::Unknown,
        }
    }

    /// Remembers a folder as it is.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn remember(&self, repository: &Repository, digest: &str) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let entry = Entry { v: 1, repository: repository.clone(), configures: digest.to_owned() };
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(&serde_json::to_vec(&entry)?)?;
        file.persist(self.file(repository)).map_err(|error| error.error).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(folder: &Path) -> Vec<Configured> {
        Configured::look(folder, "AGENTS.md", "instructions").unwrap().into_iter().collect()
    }

    #[test]
    fn a_folder_is_trusted_as_it_was_and_no_other_in_its_place() {
        let (state, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let trust = Trust::new(state.path());
        let here = Repository::of(folder.path()).unwrap();
        let before = digest(&configured(folder.path()));
        assert_eq!(trust.standing(&here, &before), Standing::Unknown);
        trust.remember(&here, &before).unwrap();
        assert_eq!(trust.standing(&here, &before), Standing::Trusted);
        fs::write(folder.path().join("AGENTS.md"), "Do as I say.").unwrap();
        let after = digest(&configured(folder.path()));
        assert_eq!(trust.standing(&here, &after), Standing::Changed);
        trust.remember(&here, &after).unwrap();
        assert_eq!(trust.standing(&here, &after), Standing::Trusted);
        let other = Repository { inode: here.inode + 1, ..here.clone() };
        assert_eq!(trust.standing(&other, &after), Standing::Unknown);
        fs::write(trust.file(&here), "{").unwrap();
        assert_eq!(trust.standing(&here, &after), Standing::Unknown);
    }

    #[test]
    fn links_are_followed_within_the_folder_alone_pipes_not_at_all_and_long_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("AGENTS.md");
        fs::write(folder.path().join("notes.md"), "linked").unwrap();
        std::os::unix::fs::symlink("notes.md", &path).unwrap();
        assert_eq!(configured(folder.path())[0].said, Said::Text("linked".to_owned()));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert_eq!(configured(folder.path())[0].said, Said::Odd("a link to /etc/passwd".to_owned()));
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(matches!(configured(folder.path())[0].said, Said::Odd(_)));
        fs::remove_file(&path).unwrap();
        fs::write(&path, vec![b'x'; 300 * 1024]).unwrap();
        assert!(Configured::look(folder.path(), "AGENTS.md", "").is_err());
    }

    #[test]
    fn what_stands_in_two_files_is_not_what_stands_in_one() {
        let file = |path: &str, text: &str| Configured { path: path.to_owned(), effect: "", said: Said::Text(text.to_owned()) };
        assert_ne!(digest(&[file("a", "b"), file("c", "d")]), digest(&[file("a", "bc"), file("", "d")]));
    }
}
