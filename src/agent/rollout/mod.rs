//! A session on disk: its items as the model was sent them, appended one by one, so that the session can be taken up again after any end.
//!
//! JSON Lines, readable by its owner alone. The first line is a [`Header`], every other one `{"item":…}` with an item's very bytes, `{"forget":N}` where
//! the last N items were never sent, `{"compact":N}` where the last N items were replaced by those that follow, or `{"turn":"…"}` with the beginning of
//! what the person asked. A last line that is not whole is as if it had never been written. Such a file holds what the person and the model said; no
//! sandbox sees the folder.

mod listing;
mod pruning;
mod reading;

pub use listing::{Listed, count, list};
pub use pruning::{Pruned, Pruning, prune};

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use self::reading::{Read, copy_lines, read};
use super::cache::HeadSegment;
use crate::model::Conversation;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// The version that this program writes.
const VERSION: u32 = 1;
/// Characters of a title.
const TITLE: usize = 80;

/// What a session was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the file.
    pub v: u32,
    /// The session, a UUID of version 7.
    pub session: String,
    /// The one whose first items it shares, if it is a fork.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fork_of: Option<String>,
    /// By which the provider's prompt cache knows it.
    pub cache_key: String,
    /// When it began, RFC 3339 in UTC.
    pub began: String,
    /// The workspace.
    pub workspace: PathBuf,
    /// The folder in which it was begun.
    pub cwd: PathBuf,
    /// The model's name.
    pub model: String,
    /// The fingerprint of the policy that the model was told.
    pub fingerprint: String,
    /// How many of the items, from the first, are the prefix.
    pub prefix: usize,
    /// What stood before the items, by its parts.
    #[serde(default)]
    pub head: Vec<HeadSegment>,
}

impl Header {
    /// Of a session that begins now.
    pub fn new(session: &str, workspace: &Path, cwd: &Path, model: &str, fingerprint: String, prefix: usize) -> Self {
        Self {
            v: VERSION,
            session: session.to_owned(),
            fork_of: None,
            cache_key: session.to_owned(),
            began: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            workspace: workspace.to_path_buf(),
            cwd: cwd.to_path_buf(),
            model: model.to_owned(),
            fingerprint,
            prefix,
            head: Vec::new(),
        }
    }
}

/// Why a session cannot be kept or taken up again.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// The system says no.
    #[error("the session in {path} cannot be {doing}: {source}", path = path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// `read` or `kept`.
        doing: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// It makes no sense.
    #[error("the session in {path} cannot be taken up again: {why}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        why: String,
    },
    /// It goes on elsewhere.
    #[error("the session in {path} is open in another process; end it there first, or fork it", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// There is none.
    #[error("there is no session {what}; `portcullis resume --list` lists those of this workspace")]
    NoSuch {
        /// What was looked for.
        what: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Line<'a> {
    #[serde(borrow)]
    Item(&'a RawValue),
    Forget(usize),
    Compact(usize),
    Turn(String),
}

/// An open session file.
#[derive(Debug)]
pub struct Rollout {
    path: PathBuf,
    file: File,
    length: u64,
}

/// A session that was read: what it was, its conversation, and the file to go on with.
#[derive(Debug)]
pub struct Reopened {
    /// What it was.
    pub header: Header,
    /// What was, or would have been, sent.
    pub conversation: Conversation,
    /// To go on with.
    pub rollout: Rollout,
}

/// The folder for the sessions of one workspace.
fn folder(state: &Path, workspace: &Path) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let digest = Sha256::digest(workspace.as_os_str().as_bytes());
    let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    state.join("sessions").join(name)
}

fn file_of(state: &Path, workspace: &Path, session: &str) -> PathBuf {
    folder(state, workspace).join(format!("{session}.jsonl"))
}

impl Rollout {
    /// Begins a file.
    ///
    /// # Errors
    /// If it cannot be made, or is there already.
    pub fn create(state: &Path, header: &Header) -> Result<Self, RolloutError> {
        let path = file_of(state, &header.workspace, &header.session);
        let error = |source| RolloutError::System { path: path.clone(), doing: "kept", source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder(state, &header.workspace)).map_err(error)?;
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path).map_err(error)?;
        file.try_lock().map_err(|_| RolloutError::Open { path: path.clone() })?;
        let mut rollout = Self { path: path.clone(), file, length: 0 };
        rollout.line(header)?;
        Ok(rollout)
    }

    /// Opens the file of a session of a workspace, for nobody else meanwhile, and reads it. What broke off at its end is taken away.
    ///
    /// # Errors
    /// If there is none, it is open elsewhere, or it makes no sense.
    pub fn open(state: &Path, workspace: &Path, session: &str) -> Result<Reopened, RolloutError> {
        let path = find(state, workspace, session)?;
        let mut file = open(&path, true)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(RolloutError::Open { path }),
            Err(TryLockError::Error(source)) => return Err(RolloutError::System { path, doing: "read", source }),
        }
        let Read { header, conversation, length } = read(&mut file).map_err(|error| error.of(&path))?;
        let malformed = |why: String| RolloutError::Malformed { path: path.clone(), why };
        if header.workspace != workspace || header.session != session {
            return Err(malformed("it is the file of another session".to_owned()));
        }
        file.set_len(length).map_err(|source| RolloutError::System { path: path.clone(), doing: "kept", source })?;
        Ok(Reopened { header, conversation, rollout: Self { path, file, length } })
    }

    /// Begins a file that shares all items of another session so far. That one may be open; it stays as it is.
    ///
    /// # Errors
    /// If there is no such session, it makes no sense, or the new file cannot be made.
    pub fn fork(state: &Path, workspace: &Path, session: &str, fork: &str) -> Result<Reopened, RolloutError> {
        let path = find(state, workspace, session)?;
        let mut file = open(&path, false)?;
        let Read { header, conversation, length } = read(&mut file).map_err(|error| error.of(&path))?;
        let header = Header { fork_of: Some(header.session), session: fork.to_owned(), ..header };
        let mut rollout = Self::create(state, &header)?;
        copy_lines(&mut file, length, &mut rollout.file).map_err(|error| error.of(&path))?;
        rollout.length = rollout.file.metadata().map_or(0, |metadata| metadata.len());
        Ok(Reopened { header, conversation, rollout })
    }

    /// Appends an item.
    ///
    /// # Errors
    /// If it cannot be written: then it is not there, and must not be sent.
    pub fn item(&mut self, raw: &RawValue) -> Result<(), RolloutError> {
        self.line(&Line::Item(raw))
    }

    /// Takes back the last items, which were never sent.
    ///
    /// # Errors
    /// As for [`Self::item`].
    pub fn forget(&mut self, count: usize) -> Result<(), RolloutError> {
        if count == 0 { Ok(()) } else { self.line(&Line::Forget(count)) }
    }

    /// Notes that the last items are replaced by those that follow.
    ///
    /// # Errors
    /// As for [`Self::item`].
    pub fn compact(&mut self, count: usize) -> Result<(), RolloutError> {
        self.line(&Line::Compact(count))
    }

    /// Notes what a turn is about, for lists.
    ///
    /// # Errors
    /// As for [`Self::item`].
    pub fn turn(&mut self, prompt: &str) -> Result<(), RolloutError> {
        self.line(&Line::Turn(prompt.chars().take(TITLE).collect()))
    }

    fn line(&mut self, what: &impl Serialize) -> Result<(), RolloutError> {
        let error = |source| RolloutError::System { path: self.path.clone(), doing: "kept", source };
        let mut line = serde_json::to_vec(what).map_err(|problem| error(problem.into()))?;
        line.push(b'\n');
        if let Err(problem) = self.file.write_all(&line) {
            // Half a line would make the next one unreadable as well.
            let _ = self.file.set_len(self.length);
            return Err(error(problem));
        }
        self.length += line.len() as u64;
        Ok(())
    }
}

/// The file of a session that exists.
fn find(state: &Path, workspace: &Path, session: &str) -> Result<PathBuf, RolloutError> {
    let path = file_of(state, workspace, session);
    // Nothing but an id is ever made a part of a path.
    if uuid::Uuid::parse_str(session).is_err() || !path.exists() {
        return Err(RolloutError::NoSuch { what: session.to_owned() });
    }
    Ok(path)
}

fn open(path: &Path, append: bool) -> Result<File, RolloutError> {
    let opened = OpenOptions::new().read(true).append(append).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    opened.map_err(|source| RolloutError::System { path: path.to_path_buf(), doing: "read", source })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn header(session: &str, workspace: &Path) -> Header {
        Header::new(session, workspace, workspace, "m", "f".to_owned(), 0)
    }

    fn texts(conversation: &Conversation) -> Vec<String> {
        conversation.items().map(|item| item.get().to_owned()).collect()
    }

    #[test]
    fn a_session_comes_back_as_it_was_wherever_its_file_was_cut() {
        let state = tempfile::tempdir().unwrap();
        let workspace = Path::new("/w");
        let id = uuid::Uuid::now_v7().to_string();
        let mut rollout = Rollout::create(state.path(), &header(&id, workspace)).unwrap();
        rollout.turn("do it ä").unwrap();
        let items = ["{\"a\": 1}", "{\"b\":\"ü\\n\"}", "{\"c\":[ ]}"];
        for item in items {
            rollout.item(&raw(item)).unwrap();
        }
        rollout.forget(1).unwrap();
        rollout.item(&raw("{\"d\":0}")).unwrap();
        let path = rollout.path.clone();
        drop(rollout);
        let all = fs::read(&path).unwrap();
        let expected = ["{\"a\": 1}", "{\"b\":\"ü\\n\"}", "{\"d\":0}"];
        assert_eq!(texts(&Rollout::open(state.path(), workspace, &id).unwrap().conversation), expected);
        let first = all.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for cut in first..all.len() {
            fs::write(&path, &all[..cut]).unwrap();
            let read = Rollout::open(state.path(), workspace, &id).unwrap();
            assert!(read.conversation.len() <= 3, "{cut}");
            let mut rollout = read.rollout;
            rollout.item(&raw("{\"after\":true}")).unwrap();
            drop(rollout);
            let again = Rollout::open(state.path(), workspace, &id).unwrap();
            assert_eq!(texts(&again.conversation).last().unwrap(), "{\"after\":true}");
            assert_eq!(again.conversation.len(), read.conversation.len() + 1);
        }
    }

    #[test]
    fn a_session_is_open_once_and_found_by_its_workspace() {
        let state = tempfile::tempdir().unwrap();
        let (here, there) = (Path::new("/w"), Path::new("/x"));
        let ids: Vec<String> = (0..3).map(|_| uuid::Uuid::now_v7().to_string()).collect();
        let mut open = Rollout::create(state.path(), &header(&ids[0], here)).unwrap();
        open.turn("first").unwrap();
        Rollout::create(state.path(), &header(&ids[1], here)).unwrap();
        Rollout::create(state.path(), &header(&ids[2], there)).unwrap().turn("elsewhere").unwrap();
        assert!(matches!(Rollout::open(state.path(), here, &ids[0]), Err(RolloutError::Open { .. })));
        assert!(matches!(Rollout::open(state.path(), here, &ids[2]), Err(RolloutError::NoSuch { .. })));
        assert!(matches!(Rollout::open(state.path(), here, "../../x"), Err(RolloutError::NoSuch { .. })));
        let listed = list(state.path(), here, 9);
        assert_eq!(listed.iter().map(|one| one.title.as_str()).collect::<Vec<_>>(), ["first"]);
        let fork = uuid::Uuid::now_v7().to_string();
        let forked = Rollout::fork(state.path(), here, &ids[0], &fork).unwrap();
        assert_eq!((forked.header.fork_of.as_deref(), forked.header.cache_key.as_str()), (Some(ids[0].as_str()), ids[0].as_str()));
        assert_eq!(list(state.path(), here, 9).len(), 2);
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&open.path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_session_that_lost_its_beginning_says_so() {
        let state = tempfile::tempdir().unwrap();
        let workspace = Path::new("/w");
        let id = uuid::Uuid::now_v7().to_string();
        let rollout = Rollout::create(state.path(), &header(&id, workspace)).unwrap();
        let path = rollout.path.clone();
        drop(rollout);
        let all = fs::read(&path).unwrap();
        for cut in 0..all.len() {
            fs::write(&path, &all[..cut]).unwrap();
            let error = Rollout::open(state.path(), workspace, &id).unwrap_err();
            assert!(matches!(error, RolloutError::Malformed { .. }) && error.to_string().contains("line 1"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,300}", item in "\\PC{0,40}") {
            let _ = read(&mut text.as_bytes());
            let header = serde_json::to_string(&header("s", Path::new("/w"))).unwrap();
            let _ = read(&mut format!("{header}\n{text}\n{{\"item\":{item}}}").as_bytes());
        }

        /// One byte that is another than it was never goes by with a hole in the conversation: all items are there, or an error names the line.
        #[test]
        fn a_byte_that_was_changed_makes_no_hole(place in 0usize..400, byte: u8) {
            let header = serde_json::to_string(&header("s", Path::new("/w"))).unwrap();
            let mut text = format!("{header}\n{{\"item\":{{\"a\":1}}}}\n{{\"turn\":\"x\"}}\n{{\"item\":{{\"b\":2}}}}\n{{\"item\":{{\"c\":3}}}}\n").into_bytes();
            let place = place % text.len();
            // A line that ends where it did not, or does not end, is told apart by what follows; the end itself is where a crash cuts.
            prop_assume!(place + 1 < text.len() && text[place] != b'\n' && byte != b'\n');
            text[place] = byte;
            match read(&mut text.as_slice()) {
                Ok(read) => prop_assert!(read.conversation.len() == 3 || text[place].is_ascii_digit() || read.conversation.len() == 2),
                Err(error) => prop_assert!(error.of(Path::new("/f")).to_string().contains("line ")),
            }
        }
    }
}
