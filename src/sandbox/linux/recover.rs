//! What a call left behind that was killed together with its init, by a `kill -9` of the agent's whole tree or by the machine's end.
//!
//! Before a program starts, its init writes down what was there ([`super::sweep`]) in a file of the state folder, and the launcher removes
//! that file when the call has ended in order. Whoever works in the workspace next, and is alone in it, sweeps for every file that is left.
//!
//! An init that outlives the agent, or the launcher too, sweeps as always, but there is nobody left whom it could tell. It leaves what it
//! undid in the file, and whoever comes next is told.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Failure, placeholder::name_of, sweep};
use crate::sandbox::{message::Undone, plan::Plan};

/// What stands in the name of a record before the number of the launcher.
const CALL: &str = ".call-";
/// The same for a sandbox that waits for its call.
const AHEAD: &str = ".ahead-";
/// The longest record that is read, in bytes.
const LONGEST: u64 = 64 * 1024 * 1024;

/// The record of one call. Until that has begun, by a name that tells so: what changed by then was no call's doing.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    begun: bool,
}

impl Record {
    /// Makes the file for call `number` of this launcher, and opens it for the call's init.
    pub fn prepare(plan: &Plan, number: u64) -> Result<(Self, File), Failure> {
        let path = plan.journals.join(format!("{}{AHEAD}{}-{number}", name_of(&plan.workspace), std::process::id()));
        let failure = |error: std::io::Error| Failure::system("write down what the workspace holds", &error).about(&path);
        fs::create_dir_all(&plan.journals).map_err(failure)?;
        // One of the same name is of a process that is long gone and had this one's number.
        let mut options = OpenOptions::new();
        let file =
            options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(&path).map_err(failure)?;
        Ok((Self { path: path.clone(), begun: false }, file))
    }

    /// The call begins.
    pub fn begin(&mut self) -> Result<(), Failure> {
        let name = self.path.file_name().map(|name| name.to_string_lossy().replacen(AHEAD, CALL, 1)).unwrap_or_default();
        let path = self.path.with_file_name(name);
        fs::rename(&self.path, &path).map_err(|error| Failure::system("write down that the call begins", &error).about(&self.path))?;
        (self.path, self.begun) = (path, true);
        Ok(())
    }

    /// What its init has left in it because nobody could be told.
    pub fn untold(&self) -> Vec<Undone> {
        untold(&read(&self.path)).unwrap_or_default()
    }

    /// It is not needed: its call was swept in order and its agent told of it, or it never began.
    pub fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.begun {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What a record holds in the end where nobody could be told.
#[derive(Serialize, Deserialize)]
struct Untold {
    untold: Vec<Undone>,
}

/// Puts what was undone in the place of what the workspace held.
pub fn leave_untold(mut record: File, undone: &[Undone]) {
    let Ok(bytes) = serde_json::to_vec(&Untold { untold: undone.to_vec() }) else { return };
    // If this fails, the next one sweeps again and finds nothing.
    let _ = record.set_len(0).and_then(|()| record.rewind()).and_then(|()| record.write_all(&bytes));
}

/// Sweeps for the calls that were killed in the workspace of `plan`. To be called by whoever is alone in it.
pub fn abandoned(plan: &Plan) -> Vec<Undone> {
    let name = name_of(&plan.workspace);
    let mut undone = Vec::new();
    for entry in fs::read_dir(&plan.journals).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let Some(kind) = file.to_str().and_then(|file| file.strip_prefix(&name)) else { continue };
        if kind.starts_with(CALL) {
            undone.extend(sweep_for(plan, &entry.path()));
        }
        if kind.starts_with(CALL) || kind.starts_with(AHEAD) {
            let _ = fs::remove_file(entry.path());
        }
    }
    undone
}

/// One that ended before it had written all of it down had not started a program either.
fn sweep_for(plan: &Plan, record: &Path) -> Vec<Undone> {
    let bytes = read(record);
    if let Some(undone) = untold(&bytes) {
        return undone;
    }
    let before = sweep::globs(plan).ok().and_then(|globs| sweep::Before::recall(&bytes, &plan.workspace, globs).ok());
    before.map(|before| before.sweep().0).unwrap_or_default()
}

/// What a record holds; nothing where it cannot be read.
fn read(record: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = File::open(record).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
    read.map(|_| bytes).unwrap_or_default()
}

fn untold(bytes: &[u8]) -> Option<Vec<Undone>> {
    serde_json::from_slice(bytes).ok().map(|Untold { untold }| untold)
}
