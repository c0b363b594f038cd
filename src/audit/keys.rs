//! The keys of the log: one secret that seals records, one that signs what they came to. They lie in the state folder, which no sandbox can see.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};

use super::chain::{hex, sha256, unhex};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file of it cannot be read or made.
    #[error("the log's key {path} cannot be used: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file does not hold one.
    #[error("{path} is no key of the log: it has to be two lines, `seal` and `sign` with 64 hexadecimal digits each; it is left alone", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// Others could have read or changed it.
    #[error("others can read or write the log's key {path}; `chmod 600` it if you are sure that none did, else `portcullis audit key rotate`", path = path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// The system has no random numbers.
    #[error("the system gives no random numbers for a key of the log")]
    Random,
}

/// A key: both secrets and the name by which records call them.
#[derive(Debug)]
pub struct Key {
    /// 16 hexadecimal digits: the beginning of the SHA-256 of the public half.
    pub id: String,
    /// What seals records.
    pub seal: hmac::Key,
    pair: Ed25519KeyPair,
    salts: hmac::Key,
}

impl Key {
    /// From both secrets.
    fn new(seal: &[u8; 32], seed: &[u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let salts = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, seal), b"portcullis salts 2");
        Some(Self {
            id: id_of(pair.public_key().as_ref()),
            seal: hmac::Key::new(hmac::HMAC_SHA256, seal),
            pair,
            salts: hmac::Key::new(hmac::HMAC_SHA256, salts.as_ref()),
        })
    }

    /// A key that is nowhere kept.
    ///
    /// # Errors
    /// If there are no random numbers.
    pub fn ephemeral() -> Result<Self, KeyError> {
        let (seal, seed) = random()?;
        Self::new(&seal, &seed).ok_or(KeyError::Random)
    }

    /// Ed25519 over `message`, in hexadecimal.
    pub fn sign(&self, message: &[u8]) -> String {
        hex(self.pair.sign(message).as_ref())
    }

    /// The public half, in hexadecimal.
    pub fn public(&self) -> String {
        hex(self.pair.public_key().as_ref())
    }

    /// The salt of one record: 16 bytes in hexadecimal.
    pub fn salt(&self, name: &str, sequence: u64) -> String {
        let mut context = hmac::Context::with_key(&self.salts);
        context.update(name.as_bytes());
        context.update(&sequence.to_be_bytes());
        hex(context.sign().as_ref().get(..16).unwrap_or_default())
    }
}

/// Whether `signature` is Ed25519 by the public half `public` over `message`; both in hexadecimal.
pub fn is_signed(public: &str, message: &[u8], signature: &str) -> bool {
    let (Some(public), Some(signature)) = (unhex::<32>(public.as_bytes()), unhex::<64>(signature.as_bytes())) else { return false };
    UnparsedPublicKey::new(&ED25519, public).verify(message, &signature).is_ok()
}

/// The name of a key by its public half.
pub fn id_of(public: &[u8]) -> String {
    hex(&sha256(public)).chars().take(16).collect()
}

/// The folder with the keys of one state folder.
#[derive(Debug, Clone)]
pub struct Keys {
    folder: PathBuf,
}

/// The file that names the key which is used now.
const CURRENT: &str = "current";

impl Keys {
    /// Those of a state folder.
    pub fn of(state: &Path) -> Self {
        Self { folder: state.join("keys") }
    }

    /// Those of a folder with nothing else in it.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    /// The key that is used now; made, if there is none.
    ///
    /// # Errors
    /// If it cannot be read or made, or others could have it.
    pub fn current(&self) -> Result<Key, KeyError> {
        match self.current_id()? {
            Some(id) => self.get(&id),
            None => self.rotate(),
        }
    }

    /// The name of the key that is used now.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn current_id(&self) -> Result<Option<String>, KeyError> {
        let path = self.folder.join(CURRENT);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(KeyError::File { path, source }),
        }
    }

    /// The key of this name.
    ///
    /// # Errors
    /// If there is none that only its owner can read.
    pub fn get(&self, id: &str) -> Result<Key, KeyError> {
        let malformed = |path: &Path| KeyError::Malformed { path: path.to_path_buf() };
        if !is_id(id) {
            return Err(malformed(&self.folder.join(CURRENT)));
        }
        let path = self.folder.join(format!("{id}.key"));
        let error = |source| KeyError::File { path: path.clone(), source };
        let file =
            OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC).open(&path).map_err(error)?;
        let metadata = file.metadata().map_err(error)?;
        if metadata.mode() & 0o077 != 0 || metadata.uid() != nix::unistd::getuid().as_raw() {
            return Err(KeyError::Exposed { path });
        }
        let mut text = String::new();
        file.take(1024).read_to_string(&mut text).map_err(error)?;
        let secret =
            |line: Option<&str>, name: &str| line?.strip_prefix(name)?.strip_prefix(' ').and_then(|hex| unhex::<32>(hex.as_bytes()));
        let mut lines = text.lines();
        let both = secret(lines.next(), "seal").zip(secret(lines.next(), "sign"));
        both.and_then(|(seal, seed)| Key::new(&seal, &seed)).filter(|key| key.id == id).ok_or_else(|| malformed(&path))
    }

    /// The names of all keys, sorted.
    pub fn ids(&self) -> Vec<String> {
        let names = fs::read_dir(&self.folder).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut ids: Vec<String> = names.filter_map(|name| name.strip_suffix(".key").filter(|id| is_id(id)).map(str::to_owned)).collect();
        ids.sort();
        ids
    }

    /// A new key, which is used from here on. Those before it stay, to verify what they sealed.
    ///
    /// # Errors
    /// If it cannot be made or kept.
    pub fn rotate(&self) -> Result<Key, KeyError> {
        let error = |path: &Path, source| KeyError::File { path: path.to_path_buf(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(|source| error(&self.folder, source))?;
        let (seal, seed) = random()?;
        let key = Key::new(&seal, &seed).ok_or(KeyError::Random)?;
        let path = self.folder.join(format!("{}.key", key.id));
        let keep = |path: &Path, text: &str| -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        keep(&path, &format!("seal {}\nsign {}\n", hex(&seal), hex(&seed))).map_err(|source| error(&path, source))?;
        let (current, next) = (self.folder.join(CURRENT), self.folder.join(format!("{CURRENT}.{}", key.id)));
        keep(&next, &format!("{}\n", key.id)).and_then(|()| fs::rename(&next, &current)).map_err(|source| error(&current, source))?;
        Ok(key)
    }
}

fn is_id(id: &str) -> bool {
    id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn random() -> Result<([u8; 32], [u8; 32]), KeyError> {
    let (mut seal, mut seed) = ([0; 32], [0; 32]);
    let source = SystemRandom::new();
    source.fill(&mut seal).and_then(|()| source.fill(&mut seed)).map_err(|_| KeyError::Random)?;
    Ok((seal, seed))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_is_the_owners_alone_and_outlives_its_successor() {
        let state = tempfile::tempdir().unwrap();
        let keys = Keys::of(state.path());
        let first = keys.current().unwrap();
        assert_eq!(keys.current().unwrap().id, first.id);
        let path = keys.folder.join(format!("{}.key", first.id));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let second = keys.rotate().unwrap();
        assert_eq!(keys.current().unwrap().id, second.id);
        assert_eq!(keys.get(&first.id).unwrap().public(), first.public());
        assert_eq!(keys.ids().len(), 2);
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_none_is_not_used() {
        let state = tempfile::tempdir().unwrap();
        let keys = Keys::of(state.path());
        let path = keys.folder.join(format!("{}.key", keys.current().unwrap().id));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(keys.current(), Err(KeyError::Exposed { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "seal 00\n").unwrap();
        assert!(matches!(keys.current(), Err(KeyError::Malformed { .. })));
        fs::write(keys.folder.join(CURRENT), "../../etc/passwd").unwrap();
        assert!(matches!(keys.current(), Err(KeyError::Malformed { .. })));
    }

    #[test]
    fn a_signature_is_of_one_message_by_one_key() {
        let (one, other) = (Key::ephemeral().unwrap(), Key::ephemeral().unwrap());
        let signature = one.sign(b"a");
        assert!(is_signed(&one.public(), b"a", &signature));
        assert!(!is_signed(&one.public(), b"b", &signature) && !is_signed(&other.public(), b"a", &signature));
        assert!(!is_signed("", b"a", "zz"));
    }
}
