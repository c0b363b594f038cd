//! What the init of a call tells its launcher, on a pipe of their own: which repositories the call made, a line each, and as its last word that nothing is
//! left of the call but itself. What comes after that word is the kernel's work of taking the namespaces apart, for which nobody has to wait.

use std::{
    io::{PipeReader, Read},
    os::fd::OwnedFd,
    path::PathBuf,
};

use nix::unistd::write;

/// The most bytes of names that a call may report. With the last word that is less than a pipe holds without a reader (pipe(7)).
pub const CAP: usize = 60 * 1024;
/// The last word where an agent was told what was undone. It is JSON as the names are, and no name.
const TOLD: &[u8] = b"true\n";
/// The same where nobody could be told.
const UNTOLD: &[u8] = b"false\n";

/// Says which repositories there are now. What does not fit is covered as the person's own in later calls.
pub fn tell_made(report: &OwnedFd, made: &[PathBuf]) {
    let mut lines = Vec::new();
    for line in made.iter().filter_map(|path| serde_json::to_vec(path).ok()) {
        if lines.len() + line.len() < CAP {
            lines.extend(line);
            lines.push(b'\n');
        }
    }
    let _ = write(report, &lines);
}

/// Says that the call has ended and was swept, and whether an agent was told what was undone.
pub fn tell_end(report: &OwnedFd, told: bool) {
    let _ = write(report, if told { TOLD } else { UNTOLD });
}

/// A part of a report.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Names of repositories as JSON strings, a line each; the last word may stand behind them.
    pub made: Vec<u8>,
    /// Once the last word is said: whether an agent was told what was undone.
    pub ended: Option<bool>,
}

/// Takes what was said by now; waits where nothing was. `None` where nobody is left who could say anything.
pub fn hear(report: &mut PipeReader) -> Option<Heard> {
    let mut made = vec![0; CAP + UNTOLD.len()];
    let length = report.read(&mut made).unwrap_or(0);
    made.truncate(length);
    let last = made.split_inclusive(|byte| *byte == b'\n').next_back()?;
    let ended = [(TOLD, true), (UNTOLD, false)].into_iter().find(|(word, _)| *word == last).map(|(_, told)| told);
    Some(Heard { made, ended })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_is_heard_whatever_was_said_before_it_and_no_name_is_one() {
        for told in [true, false] {
            let (mut reader, writer) = std::io::pipe().unwrap();
            let writer = OwnedFd::from(writer);
            let names = ["true", "false\n", "/w/.git"].map(PathBuf::from);
            tell_made(&writer, &names);
            let heard = hear(&mut reader).unwrap();
            assert_eq!((heard.made.split(|byte| *byte == b'\n').count(), heard.ended), (names.len() + 1, None));
            tell_made(&writer, &names);
            tell_end(&writer, told);
            assert_eq!(hear(&mut reader).unwrap().ended, Some(told));
            drop(writer);
            assert_eq!(hear(&mut reader), None);
        }
    }
}
