//! How records hold together: what is written at the end of each line, and what a checkpoint signs.
//!
//! A line is `BODY,"mac":"MAC"}` and a newline, where `BODY` is a JSON object without its closing brace, and `MAC` is 64 hexadecimal digits. With
//! `‖` for "followed by", all in bytes:
//!
//! - `digest(n) = SHA-256(BODY(n))`
//! - `mac(n) = HMAC-SHA-256(seal, mac(n-1) ‖ digest(n))`, and `mac(-1) = HMAC-SHA-256(seal, "portcullis log 2\n" ‖ name)`
//! - `head(n) = SHA-256(head(n-1) ‖ digest(n))`, and `head(-1) = SHA-256("portcullis log 2\n" ‖ name)`
//!
//! `name` is the session's id, or `ledger`. `seal` is secret, so that nobody without it can write, change or move a record; what each `mac` rests on
//! stands in the line before, so that one change breaks one link and no more. `head` needs no secret: a checkpoint signs it, and so whoever has the public key
//! alone can tell that nothing before a checkpoint was changed. Of an erased record its digest stays, and with it both chains.

use std::fmt::Write as _;

use ring::{
    digest::{SHA256, digest},
    hmac,
};

/// What both chains begin with.
const CONTEXT: &str = "portcullis log 2\n";
/// What stands between the body and the MAC of a line.
const JOINT: &[u8] = b",\"mac\":\"";
/// Bytes that follow the body of a line, its newline left out.
const TAIL: usize = JOINT.len() + 64 + 2;

/// 32 bytes: a digest, a MAC, a head, a key.
pub type Bytes32 = [u8; 32];

/// The state of both chains behind some record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The MAC of the last record; nothing without the key.
    pub mac: Option<Bytes32>,
    /// The public head.
    pub head: Bytes32,
    /// Records so far.
    pub records: u64,
}

impl Chain {
    /// Before the first record of the log `name`.
    pub fn new(name: &str, seal: Option<&hmac::Key>) -> Self {
        let start = [CONTEXT.as_bytes(), name.as_bytes()].concat();
        Self { mac: seal.map(|seal| bytes(hmac::sign(seal, &start).as_ref())), head: sha256(&start), records: 0 }
    }

    /// The MAC of the next record, and the chain behind it. `previous` is what it rests on, which is the MAC that the line before has.
    pub fn mac_of(seal: &hmac::Key, previous: &Bytes32, digest: &Bytes32) -> Bytes32 {
        let mut context = hmac::Context::with_key(seal);
        context.update(previous);
        context.update(digest);
        bytes(context.sign().as_ref())
    }

    /// Goes on by a record with this digest.
    pub fn advance(&mut self, seal: Option<&hmac::Key>, digest: &Bytes32) {
        self.mac = match (seal, &self.mac) {
            (Some(seal), Some(previous)) => Some(Self::mac_of(seal, previous, digest)),
            _ => None,
        };
        self.head = sha256(&[self.head.as_slice(), digest].concat());
        self.records += 1;
    }

    /// The line for a body, and goes on behind it.
    pub fn seal(&mut self, seal: &hmac::Key, mut body: Vec<u8>) -> Vec<u8> {
        self.advance(Some(seal), &sha256(&body));
        body.extend_from_slice(JOINT);
        body.extend_from_slice(hex(&self.mac.unwrap_or_default()).as_bytes());
        body.extend_from_slice(b"\"}\n");
        body
    }
}

/// Takes a line without its newline apart: its body, and its MAC. `None` if it is not of that form.
pub fn open(line: &[u8]) -> Option<(&[u8], Bytes32)> {
    let (body, tail) = line.split_at_checked(line.len().checked_sub(TAIL)?)?;
    let mac = tail.strip_prefix(JOINT)?.strip_suffix(b"\"}")?;
    Some((body, unhex(mac)?))
}

/// What a checkpoint signs.
pub fn statement(name: &str, records: u64, head: &str, key: &str) -> Vec<u8> {
    format!("portcullis checkpoint 2\n{name}\n{records}\n{head}\n{key}\n").into_bytes()
}

/// SHA-256 (FIPS 180-4).
pub fn sha256(data: &[u8]) -> Bytes32 {
    bytes(digest(&SHA256, data).as_ref())
}

fn bytes(slice: &[u8]) -> Bytes32 {
    let mut array = [0; 32];
    for (to, from) in array.iter_mut().zip(slice) {
        *to = *from;
    }
    array
}

/// Lowercase hexadecimal.
pub fn hex(data: &[u8]) -> String {
    data.iter().fold(String::with_capacity(data.len() * 2), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes of lowercase hexadecimal, `N` of them exactly.
pub fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 2 * N {
        return None;
    }
    let mut array = [0; N];
    for (to, pair) in array.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *to = digit(*high)? << 4 | digit(*low)?;
    }
    Some(array)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_opened_as_it_was_sealed() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
        let mut chain = Chain::new("s", Some(&key));
        let line = chain.seal(&key, b"{\"v\":2".to_vec());
        let (body, mac) = open(line.strip_suffix(b"\n").unwrap()).unwrap();
        assert_eq!((body, Some(mac), chain.records), (b"{\"v\":2".as_slice(), chain.mac, 1));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_stumble_and_hexadecimal_comes_back(line in prop::collection::vec(any::<u8>(), 0..300), value in any::<[u8; 32]>()) {
            let _ = open(&line);
            prop_assert_eq!(unhex::<32>(hex(&value).as_bytes()), Some(value));
        }
    }
}
