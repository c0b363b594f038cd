//! Digests that are chained over the items of a conversation.

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// A digest of a conversation so far. Two conversations with the same link have the same items before it, byte for byte.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link([u8; 16]);

impl Link {
    /// The link after one more item.
    #[must_use]
    pub fn then(self, item: &RawValue) -> Self {
        self.after(&one_line(item).collect::<Vec<u8>>())
    }

    pub(super) fn after(self, item: &[u8]) -> Self {
        let digest = Sha256::new().chain_update(self.0).chain_update(item).finalize();
        let mut link = [0; 16];
        link.copy_from_slice(&digest[..16]);
        Self(link)
    }
}

/// An item without line feeds. Within its strings there can be none, so nothing but white space changes; and an item is one line wherever it is kept.
pub(super) fn one_line(item: &RawValue) -> impl Iterator<Item = u8> + '_ {
    item.get().bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte })
}
