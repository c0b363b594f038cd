//! The pass over the ledger of a folder.

use std::{collections::BTreeMap, fs::File, io::BufReader, path::Path};

use super::{
    super::{
        keys::Key,
        ledger::{self, Entry, LEDGER, LedgerEvent},
        line::{self, Bytes},
        walk::{Kind, Walk, parts},
    },
    Known, Trust, Verdict, VerifyError,
};

/// Verifies the ledger of a folder, and says what it knows of each log.
///
/// # Errors
/// If it cannot be read.
pub fn verify_ledger(
    folder: &Path,
    trust: &Trust,
    anchor: Option<&(u64, String)>,
) -> Result<(Verdict, BTreeMap<String, Known>), VerifyError> {
    let path = ledger::path(folder);
    let error = |source| VerifyError::Read { path: path.clone(), source };
    let file = File::open(&path).map_err(error)?;
    // Whoever enters something just now is done in a moment.
    file.lock_shared().map_err(error)?;
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    let mut buffer = Vec::new();
    let mut walk = Walk::new(LEDGER);
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    let mut keys: BTreeMap<String, Option<Key>> = BTreeMap::new();
    let mut reached = anchor.is_none();
    while let Some(line) = line::next(&mut reader, &mut buffer).map_err(error)? {
        walk.line += 1;
        let line = match line {
            Bytes::Whole(line) => line,
            Bytes::Torn(_) => {
                walk.find(Kind::Torn, "the last entry was never finished: its writer died, or the disk was full");
                continue;
            }
            Bytes::TooLong(_) => {
                walk.unreadable("a line is longer than any entry");
                continue;
            }
        };
        let (Ok(entry), Some((digest, mac))) = (serde_json::from_slice::<Entry>(line), parts(line, None)) else {
            // A writer died in the middle of this one, and the next went on without it.
            walk.find(
                if line.starts_with(b"{\"v\":") && !line.ends_with(b"\"}") { Kind::Torn } else { Kind::Unreadable },
                "this line is no entry",
            );
            continue;
        };
        let first = walk.head().0 == 0;
        let key = keys.entry(entry.key.clone()).or_insert_with(|| trust.keys.as_ref().and_then(|keys| keys.get(&entry.key).ok()));
        if let (true, Some(key)) = (first, &key) {
            walk.sealed_by(LEDGER, &key.seal);
        }
        if walk.head().1 != entry.previous && !walk.broken() {
            walk.find(Kind::HeadDiffers, format!("entry {} follows another head than those before it come to", entry.seq));
        }
        walk.step(key.as_ref().map(|key| &key.seal), entry.seq, &digest, mac);
        reached |= anchor.is_some_and(|anchor| *anchor == walk.head());
        enter(&mut known, entry.event);
    }
    if !reached {
        walk.line = 0;
        walk.find(Kind::AnchorMissing, "the ledger does not come to the head that was kept elsewhere: it was cut off, or is another");
    }
    let proven = keys.values().all(Option::is_some) && !keys.is_empty();
    if !proven {
        walk.line = 0;
        walk.find(Kind::UnknownKey, "a key that seals entries of the ledger is not at hand");
    }
    let key = keys.keys().next_back().cloned();
    Ok((Verdict { key, ..Verdict::of(LEDGER.to_owned(), vec![path], walk, proven) }, known))
}

fn enter(known: &mut BTreeMap<String, Known>, event: LedgerEvent) {
    match event {
        LedgerEvent::Opened { session } => drop(known.entry(session).or_default()),
        LedgerEvent::Head { session, records, head, .. } => {
            let log = known.entry(session).or_default();
            (log.records, log.head) = (records, Some(head));
        }
        LedgerEvent::Pruned { session, .. } => known.entry(session).or_default().pruned = true,
        LedgerEvent::Erased { session, records } => known.entry(session).or_default().erased.extend(records),
        LedgerEvent::KeyRotated { .. } | LedgerEvent::DeliveryFailed { .. } | LedgerEvent::Held { .. } | LedgerEvent::Released { .. } => {}
    }
}
