//! The certificate: what was tried, what was seen, and whether each statement of a policy holds.

use std::{
    fs, io,
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    canonical::{canonical, digest},
    run::kernel,
};
use crate::{
    audit::{Key, Keys, keys::is_signed},
    sandbox::Applied,
};

/// The version of the shape.
pub const SCHEMA: u32 = 1;
/// The largest certificate that is read, in bytes.
const LARGEST: u64 = 4 * 1024 * 1024;
/// The folder of saved certificates, below the state folder.
pub const FOLDER: &str = "certificates";

/// What a statement came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It was tried, and is so.
    Holds,
    /// It was tried, and is not so.
    Fails,
    /// It was not tried; what the kernel, or whoever told it, says of itself agrees.
    ReadBack,
    /// It could not be tried here: `seen` says why. It counts neither way.
    Untried,
}

/// One statement of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// The claim that it belongs to: `read`, `write`, `deny`, `protect`, `git`, `network`, ….
    pub claim: &'static str,
    /// What is promised, as the policy writes it.
    pub said: String,
    /// File and line, where one line says it.
    pub origin: Option<String>,
    /// `host`: the place itself; `scratch`: a copy of the shape of the workspace and home, made for the run.
    pub on: &'static str,
    /// What was tried.
    pub tried: String,
    /// What was seen.
    pub seen: String,
    /// What it came to.
    pub verdict: Verdict,
}

/// What a certificate is about besides its statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The policy's name.
    pub policy: String,
    /// Its fingerprint: 64 hexadecimal digits.
    pub fingerprint: String,
    /// The kernel's release.
    pub kernel: String,
    /// SHA-256 of the host's name.
    pub host: String,
    /// Time of the run, RFC 3339 in UTC.
    pub time: String,
    /// What the kernel was told.
    pub applied: Applied,
}

/// Whoever signs: the bytes are the canonical form of the certificate without `digest` and `signature`.
pub type Sign<'a> = dyn Fn(&[u8]) -> Option<Value> + 'a;

/// Whether all that was tried holds, and something was.
pub fn holds(statements: &[Statement]) -> bool {
    statements.iter().any(|one| one.verdict == Verdict::Holds) && statements.iter().all(|one| one.verdict != Verdict::Fails)
}

/// Puts the certificate together.
pub fn certificate(subject: &Subject, statements: &[Statement], sign: &Sign<'_>) -> Value {
    let mut body = json!({
        "schema": SCHEMA,
        "portcullis": env!("CARGO_PKG_VERSION"),
        "policy": subject.policy,
        "fingerprint": format!("sha256:{}", subject.fingerprint),
        "kernel": subject.kernel,
        "landlock_abi": subject.applied.landlock_abi,
        "applied": subject.applied,
        "host": format!("sha256:{}", subject.host),
        "time": subject.time,
        "uid": nix::unistd::geteuid().as_raw(),
        "holds": holds(statements),
        "statements": statements,
    });
    let bytes = canonical(&body);
    if let Some(members) = body.as_object_mut() {
        members.insert("digest".to_owned(), Value::String(format!("sha256:{}", digest(bytes.as_bytes()))));
        if let Some(signature) = sign(bytes.as_bytes()) {
            members.insert("signature".to_owned(), signature);
        }
    }
    body
}

/// What is signed: its first line keeps the signature from passing for one of something else that the log's key signs.
fn statement(bytes: &[u8]) -> Vec<u8> {
    [b"portcullis certificate 1\n", bytes].concat()
}

/// By the log's key, which it names by its id and its public half.
pub fn signature(key: &Key, bytes: &[u8]) -> Value {
    json!({"key": key.id, "public": key.public(), "ed25519": key.sign(&statement(bytes))})
}

/// The certificate that is kept for a policy, if it is about this policy on this kernel by this version, and was signed by one of these keys.
pub fn kept(state: &Path, fingerprint: &str) -> Option<Value> {
    let mut bytes = Vec::new();
    fs::File::open(path(state, fingerprint)).ok()?.take(LARGEST).read_to_end(&mut bytes).ok()?;
    let certificate: Value = serde_json::from_slice(&bytes).ok()?;
    let signature = certificate.get("signature")?;
    let text = |key: &str| signature.get(key).and_then(Value::as_str);
    let key = Keys::of(state).get(text("key")?).ok()?;
    let signed = is_signed(&key.public(), &statement(body(&certificate)?.as_bytes()), text("ed25519")?);
    (signed && is_of(&certificate, fingerprint, &kernel())).then_some(certificate)
}

/// The canonical form of a certificate without what was made of that form: its digest and its signature.
fn body(certificate: &Value) -> Option<String> {
    let mut body = certificate.as_object()?.clone();
    body.remove("digest");
    body.remove("signature");
    Some(canonical(&Value::Object(body)))
}

/// Whether a certificate is about this policy on this kernel by this version, holds, and is whole: what a session asks before it puts one at the
/// head of its log. Who signed it is another question.
pub fn is_of(certificate: &Value, fingerprint: &str, kernel: &str) -> bool {
    let says = |key: &str, value: &str| certificate.get(key).and_then(Value::as_str) == Some(value);
    body(certificate).is_some_and(|body| says("digest", &format!("sha256:{}", digest(body.as_bytes()))))
        && says("fingerprint", &format!("sha256:{fingerprint}"))
        && says("kernel", kernel)
        && says("portcullis", env!("CARGO_PKG_VERSION"))
        && certificate.get("holds") == Some(&Value::Bool(true))
}

/// Where the certificate of a policy is kept.
pub fn path(state: &Path, fingerprint: &str) -> PathBuf {
    state.join(FOLDER).join(format!("{fingerprint}.json"))
}

/// Keeps a certificate in the state folder (0600), in one step, in the place of an older one.
///
/// # Errors
/// What the system says where it cannot be written.
pub fn save(state: &Path, fingerprint: &str, certificate: &Value) -> io::Result<PathBuf> {
    let path = path(state, fingerprint);
    let folder = state.join(FOLDER);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let beside = folder.join(format!(".{}.new", uuid::Uuid::now_v7().simple()));
    let written = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).and_then(|mut file| {
        file.write_all(canonical(certificate).as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&beside, &path)) {
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    Ok(path)
}
