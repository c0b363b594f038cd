//! Long outputs of a session, kept whole where the model's tools can read them in pages, and no others.

use std::{collections::VecDeque, fs, io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf};

/// Bytes of all outputs of a session together. The oldest go when there are more.
const CAP: u64 = 256 * 1024 * 1024;

/// The outputs that are kept.
#[derive(Debug)]
pub(super) struct Outputs {
    folder: PathBuf,
    cap: u64,
    next: u64,
    kept: VecDeque<(String, u64)>,
    bytes: u64,
}

impl Outputs {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, cap: CAP, next: 0, kept: VecDeque::new(), bytes: 0 }
    }

    /// Keeps one, and gives its name; none if it cannot be kept.
    pub(super) fn keep(&mut self, text: &str) -> Option<String> {
        self.keep_bytes(text.as_bytes(), "txt")
    }

    /// The same for what is no text, by the extension of its kind.
    pub(super) fn keep_bytes(&mut self, bytes: &[u8], extension: &str) -> Option<String> {
        let name = format!("{}.{extension}", self.next);
        self.next += 1;
        let length = bytes.len() as u64;
        // Before it is written, so that there never is more.
        while self.bytes.saturating_add(length) > self.cap {
            let (oldest, its) = self.kept.pop_front()?;
            // One that cannot be taken away still counts no more: it would stand in the way of all that follow.
            let _ = fs::remove_file(self.folder.join(oldest));
            self.bytes -= its;
        }
        let path = self.folder.join(&name);
        let written =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).and_then(|mut file| file.write_all(bytes));
        if written.is_err() {
            let _ = fs::remove_file(path);
            return None;
        }
        self.kept.push_back((name.clone(), length));
        self.bytes += length;
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_when_there_are_too_many_and_one_that_is_too_long_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut outputs = Outputs { cap: 100, ..Outputs::new(folder.path().to_path_buf()) };
        let text = "x".repeat(40);
        for number in 0..5 {
            assert_eq!(outputs.keep(&text), Some(format!("{number}.txt")));
        }
        let mut left: Vec<String> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["3.txt", "4.txt"]);
        assert_eq!(outputs.keep(&"x".repeat(101)), None);
        let gone = Outputs::new(folder.path().join("gone")).keep("x");
        assert_eq!(gone, None);
    }
}
