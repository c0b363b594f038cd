//! The file in which a person's grants are kept: theirs alone, mode 0600, in the state folder that no sandbox sees.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::policy::{Permission, Scope};

/// The version of the file that this program writes.
const VERSION: u32 = 1;
/// The largest file that is read, in bytes.
const CAP: u64 = 4 * 1024 * 1024;
/// How long a saved grant holds.
pub const LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The repository that a grant holds in: the folder, and which folder that was. One that is made anew in its place is another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// The workspace: absolute and canonical.
    pub path: PathBuf,
    /// Its device.
    pub device: u64,
    /// Its number on that device. A number is given again when a folder is gone.
    pub inode: u64,
    /// When it was made, in nanoseconds since 1970, where the file system knows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub born: Option<u64>,
}

impl Repository {
    /// Looks at the folder.
    ///
    /// # Errors
    /// If it is not there, or cannot be looked at.
    pub fn of(workspace: &Path) -> io::Result<Self> {
        let found = fs::metadata(workspace)?;
        let born = found.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        let born = born.and_then(|born| u64::try_from(born.as_nanos()).ok());
        Ok(Self { path: workspace.to_path_buf(), device: found.dev(), inode: found.ino(), born })
    }
}

/// Something that a person has allowed for longer than one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Names it in lists; eight hexadecimal digits.
    pub id: String,
    /// What is allowed.
    pub permission: Permission,
    /// How far it reaches.
    pub scope: Scope,
    /// Where it was given, and holds if its scope is [`Scope::Repository`].
    pub repository: Repository,
    /// The policy under which it was given, and alone holds: SHA-256 in hexadecimal.
    pub fingerprint: String,
    /// That policy's name, for people.
    pub policy: String,
    /// When it was given, in seconds since 1970.
    pub given: u64,
    /// When it ends, in seconds since 1970.
    pub ends: u64,
}

/// Why a grant does not hold here and now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lapsed {
    /// Its time is over.
    Expired,
    /// It was given in another repository.
    ElsewhereGiven,
    /// The policy has changed since.
    PolicyChanged,
}

impl Grant {
    /// A new one, given now.
    pub fn new(permission: Permission, scope: Scope, repository: Repository, policy: (&str, &str), now: u64) -> Self {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let (name, fingerprint) = policy;
        Self {
            // The end of such an id is random, the beginning a clock.
            id: id.get(id.len() - 8..).unwrap_or(&id).to_owned(),
            permission,
            scope,
            repository,
            fingerprint: fingerprint.to_owned(),
            policy: name.to_owned(),
            given: now,
            ends: now.saturating_add(LIFETIME.as_secs()),
        }
    }

    /// Whether it holds in this repository, under this policy, at this time: seconds since 1970.
    ///
    /// # Errors
    /// If it does not, with the first reason.
    pub fn holds(&self, repository: &Repository, fingerprint: &str, now: u64) -> Result<(), Lapsed> {
        if now >= self.ends || now < self.given.saturating_sub(CLOCK_SLACK) {
            Err(Lapsed::Expired)
        } else if self.scope != Scope::User && self.repository != *repository {
            Err(Lapsed::ElsewhereGiven)
        } else if self.fingerprint != fingerprint {
            Err(Lapsed::PolicyChanged)
        } else {
            Ok(())
        }
    }
}

/// Seconds by which the clock may have been set back since a grant was given. One that seems to be from further in the future does not hold.
const CLOCK_SLACK: u64 = 24 * 60 * 60;

/// Why grants could not be read or kept. Reading that fails stops a session: a person who revoked one must not find it in force, nor one who gave
/// one wonder.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system says no.
    #[error("the grants in {path} cannot be {doing}: {source}", path = path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// `read` or `kept`.
        doing: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Others could have written it.
    #[error("the grants in {path} are not used: {why}; only you may own and read that file (chmod 600)", path = path.display())]
    NotPrivate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It does not say what it must.
    #[error("the grants in {path} cannot be understood: {why}; mend the file, or remove it to begin anew", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        why: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    v: u32,
    grants: Vec<Grant>,
}

/// The file.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    /// The one in a state folder. Nothing is looked at yet.
    pub fn new(state: &Path) -> Self {
        Self { path: state.join("grants.json") }
    }

    /// All grants, those that hold no more included. No file is no grants.
    ///
    /// # Errors
    /// If there is a file that cannot be read, that others could have written, or that makes no sense.
    pub fn load(&self) -> Result<Vec<Grant>, StoreError> {
        let error = |source| StoreError::System { path: self.path.clone(), doing: "read", source };
        let file = match fs::OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).open(&self.path) {
            Ok(file) => file,
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(problem) => return Err(error(problem)),
        };
        let found = file.metadata().map_err(error)?;
        let refuse = |why| Err(StoreError::NotPrivate { path: self.path.clone(), why });
        if found.uid() != nix::unistd::geteuid().as_raw() {
            return refuse("it belongs to somebody else");
        }
        if found.mode() & 0o077 != 0 {
            return refuse("others may read or write it");
        }
        if found.len() > CAP {
            return Err(StoreError::Malformed { path: self.path.clone(), why: format!("it is longer than {CAP} bytes") });
        }
        let mut text = String::new();
        file.take(CAP).read_to_string(&mut text).map_err(error)?;
        self.parse(&text)
    }

    fn parse(&self, text: &str) -> Result<Vec<Grant>, StoreError> {
        let malformed = |why| StoreError::Malformed { path: self.path.clone(), why };
        let contents: Contents = serde_json::from_str(text).map_err(|problem| malformed(problem.to_string()))?;
        if contents.v != VERSION {
            return Err(malformed(format!("it is of version {}, and this program knows {VERSION}", contents.v)));
        }
        let empty = |grant: &Grant| matches!(&grant.permission, Permission::Words { words } if words.is_empty() || words.iter().any(String::is_empty));
        match contents.grants.iter().find(|grant| empty(grant) || grant.scope == Scope::Session) {
            Some(grant) => Err(malformed(format!("the grant {} can never have been saved", grant.id))),
            None => Ok(contents.grants),
        }
    }

    /// Adds one.
    ///
    /// # Errors
    /// As [`Store::load`], or if the file cannot be written.
    pub fn add(&self, grant: &Grant) -> Result<(), StoreError> {
        self.change(|grants| {
            grants.push(grant.clone());
            true
        })
        .map(drop)
    }

    /// Takes away those that `which` names; says how many there were.
    ///
    /// # Errors
    /// As [`Store::add`].
    pub fn remove(&self, which: impl Fn(&Grant) -> bool) -> Result<usize, StoreError> {
        let mut gone = 0;
        self.change(|grants| {
            let before = grants.len();
            grants.retain(|grant| !which(grant));
            gone = before - grants.len();
            gone > 0
        })?;
        Ok(gone)
    }

    /// Reads, changes and replaces the file as a whole, alone: another session may be doing the same.
    fn change(&self, change: impl FnOnce(&mut Vec<Grant>) -> bool) -> Result<(), StoreError> {
        let error = |source| StoreError::System { path: self.path.clone(), doing: "kept", source };
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let lock = self.path.with_extension("lock");
        let lock = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(lock)
            .map_err(error)?;
        lock.lock().map_err(error)?;
        let mut grants = self.load()?;
        if !change(&mut grants) {
            return Ok(());
        }
        let text = serde_json::to_vec_pretty(&Contents { v: VERSION, grants }).map_err(|problem| error(problem.into()))?;
        // A file of tempfile's has mode 0600 from the start.
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(error)?;
        file.write_all(&text).and_then(|()| file.write_all(b"\n")).and_then(|()| file.as_file().sync_data()).map_err(error)?;
        file.persist(&self.path).map_err(|problem| error(problem.error)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;

    fn grant(folder: &Path, permission: Permission) -> Grant {
        Grant::new(permission, Scope::Repository, Repository::of(folder).unwrap(), ("p", "f"), 1000)
    }

    fn words(words: &[&str]) -> Permission {
        Permission::Words { words: words.iter().map(|word| (*word).to_owned()).collect() }
    }

    #[test]
    fn grants_are_kept_for_their_owner_alone_and_can_be_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        assert_eq!(store.load().unwrap(), []);
        let (one, other) = (
            grant(folder.path(), words(&["cargo", "test"])),
            grant(folder.path(), Permission::Wider(super::super::Wider::Read("/srv".into()))),
        );
        store.add(&one).unwrap();
        store.add(&other).unwrap();
        assert_eq!(store.load().unwrap(), [one.clone(), other.clone()]);
        assert_eq!(fs::metadata(&store.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(store.remove(|grant| grant.id == one.id).unwrap(), 1);
        assert_eq!(store.load().unwrap(), [other]);
        assert_eq!(store.remove(|grant| grant.id == one.id).unwrap(), 0);
    }

    #[test]
    fn a_grant_holds_in_its_repository_under_its_policy_and_for_its_time() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (here, there) = (Repository::of(folder.path()).unwrap(), Repository::of(elsewhere.path()).unwrap());
        let grant = grant(folder.path(), words(&["make"]));
        assert_eq!(grant.holds(&here, "f", 1000), Ok(()));
        assert_eq!(grant.holds(&there, "f", 1000), Err(Lapsed::ElsewhereGiven));
        assert_eq!(grant.holds(&here, "other", 1000), Err(Lapsed::PolicyChanged));
        assert_eq!(grant.holds(&here, "f", 1000 + LIFETIME.as_secs()), Err(Lapsed::Expired));
        let user = Grant { scope: Scope::User, ..grant.clone() };
        assert_eq!(user.holds(&there, "f", 1000), Ok(()));
        // The same path, made anew; its number may be the same.
        fs::remove_dir(folder.path()).unwrap();
        fs::create_dir(folder.path()).unwrap();
        let again = Repository::of(folder.path()).unwrap();
        assert_eq!(grant.holds(&again, "f", 1000), Err(Lapsed::ElsewhereGiven));
        let other = Repository { inode: here.inode + 1, ..here };
        assert_eq!(grant.holds(&other, "f", 1000), Err(Lapsed::ElsewhereGiven));
    }

    #[test]
    fn a_file_that_others_could_have_written_or_that_makes_no_sense_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        store.add(&grant(folder.path(), words(&["make"]))).unwrap();
        fs::set_permissions(&store.path, fs::Permissions::from_mode(0o620)).unwrap();
        assert!(matches!(store.load(), Err(StoreError::NotPrivate { .. })));
        assert!(matches!(store.add(&grant(folder.path(), words(&["x"]))), Err(StoreError::NotPrivate { .. })));
        fs::set_permissions(&store.path, fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["", "{", "[]", "{\"v\":2,\"grants\":[]}", "{\"v\":1,\"grants\":[],\"x\":1}"] {
            fs::write(&store.path, text).unwrap();
            assert!(matches!(store.load(), Err(StoreError::Malformed { .. })), "{text}");
        }
        let mut empty = grant(folder.path(), words(&[]));
        fs::write(&store.path, serde_json::to_string(&Contents { v: 1, grants: vec![empty.clone()] }).unwrap()).unwrap();
        assert!(matches!(store.load(), Err(StoreError::Malformed { .. })));
        empty.permission = Permission::Reading;
        empty.scope = Scope::Session;
        fs::write(&store.path, serde_json::to_string(&Contents { v: 1, grants: vec![empty] }).unwrap()).unwrap();
        assert!(matches!(store.load(), Err(StoreError::Malformed { .. })));
        fs::remove_file(&store.path).unwrap();
        std::os::unix::fs::symlink("/dev/null", &store.path).unwrap();
        assert!(store.load().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,300}") {
            let _ = Store::new(Path::new("/")).parse(&text);
        }
    }
}
