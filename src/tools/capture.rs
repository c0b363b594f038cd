//! What is kept of a call's output: its beginning and its end, exact counts, and for the model a shorter view that says what it leaves out.

use std::collections::VecDeque;

use super::redact::Redactor;

/// Bytes of output that the model is shown at most, about 10 000 tokens.
pub const SHOWN: usize = 40 * 1024;
/// Of these, for lines from the middle that look like errors.
const ERRORS: usize = 8 * 1024;

/// A bounded copy of a stream: the first half of the cap, and the last.
#[derive(Debug)]
pub struct Capture {
    half: usize,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
}

impl Capture {
    /// Keeps at most `cap` bytes.
    pub fn new(cap: u64) -> Self {
        let half = usize::try_from(cap / 2).unwrap_or(usize::MAX / 2);
        Self { half, head: Vec::new(), tail: VecDeque::new(), total: 0 }
    }

    /// Takes more of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = self.half.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..room]);
        let rest = &bytes[room..];
        let rest = &rest[rest.len().saturating_sub(self.half)..];
        let over = (self.tail.len() + rest.len()).saturating_sub(self.half);
        self.tail.drain(..over);
        self.tail.extend(rest);
    }

    /// Bytes that went by.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes from the middle that were not kept.
    pub fn gap(&self) -> u64 {
        self.total - (self.head.len() + self.tail.len()) as u64
    }

    /// What was kept, without a mark where something is missing.
    pub fn bytes(&self) -> Vec<u8> {
        self.head.iter().chain(&self.tail).copied().collect()
    }

    /// What was kept, as text; a gap is marked with its size. Bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> String {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        match self.gap() {
            0 => String::from_utf8_lossy(&[self.head.as_slice(), &tail].concat()).into_owned(),
            gap => format!("{}{}{}", String::from_utf8_lossy(&self.head), mark(gap), String::from_utf8_lossy(&tail)),
        }
    }
}

impl Capture {
    /// The text without the secrets that are known, nor the parts of them that a gap has left.
    pub fn redacted(&self, redactor: &Redactor) -> String {
        if self.gap() == 0 {
            return redactor.redact(&self.text());
        }
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        let (end, start) = (redactor.cut(&self.head, self.head.len()), redactor.rest_of_a_secret(&tail));
        let gap = self.gap() + (self.head.len() - end + start) as u64;
        let part = |bytes: &[u8]| redactor.redact(&String::from_utf8_lossy(bytes));
        format!("{}{}{}", part(&self.head[..end]), mark(gap), part(&tail[start..]))
    }
}

fn mark(gap: u64) -> String {
    format!("\n[... {gap} bytes were not kept ...]\n")
}

/// Shortens output for the model: head, lines that look like errors, tail. `whole` names where the text can be read, if anywhere, and
/// `gap` the bytes that it lacks already. `None` if it is short enough as it is.
pub fn shorten(text: &str, whole: Option<&str>, gap: u64) -> Option<String> {
    if text.len() <= SHOWN {
        return None;
    }
    let half = (SHOWN - ERRORS) / 2;
    let head = &text[..floor(text, half)];
    let tail = &text[ceil(text, text.len() - half)..];
    let middle = &text[head.len()..text.len() - tail.len()];
    let mut errors = String::new();
    let (mut found, mut shown) = (0usize, 0usize);
    for line in middle.lines().filter(|line| looks_like_an_error(line)) {
        found += 1;
        let line = &line[..floor(line, 400)];
        if errors.len() + line.len() < ERRORS {
            errors.push_str(line);
            errors.push('\n');
            shown += 1;
        }
    }
    // How many lines a gap had nobody knows.
    let (left_out, readable) = if gap == 0 {
        (format!("{} bytes, {} lines left out", middle.len(), middle.lines().count()), "all of it")
    } else {
        let bytes = (middle.len() - mark(gap).len().min(middle.len())) as u64 + gap;
        (format!("{bytes} bytes left out, of which {gap} bytes were not kept"), "the rest")
    };
    let readable = whole.map_or_else(String::new, |path| format!("; {readable} can be read at {path}"));
    let mut result = format!("{head}\n[... {left_out}{readable} ...]\n");
    if found > 0 {
        result.push_str(&format!("[{shown} of {found} lines in there that look like errors:]\n{errors}[... end of these ...]\n"));
    }
    result.push_str(tail);
    Some(result)
}

fn looks_like_an_error(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    ["error", "failed", "failure", "panicked", "fatal", "exception", "traceback", "undefined reference"]
        .iter()
        .any(|word| line.contains(word))
}

fn floor(text: &str, mut index: usize) -> usize {
    index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

fn ceil(text: &str, mut index: usize) -> usize {
    while index < text.len() && !text.is_char_boundary(index) {
        index += 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_capture_keeps_both_ends_and_counts_exactly(chunks in proptest::collection::vec(proptest::collection::vec(proptest::prelude::any::<u8>(), 0..50), 0..20)) {
            let mut capture = Capture::new(64);
            chunks.iter().for_each(|chunk| capture.push(chunk));
            let all = chunks.concat();
            assert_eq!(capture.total(), all.len() as u64);
            assert!(all.starts_with(&capture.head));
            let tail: Vec<u8> = capture.tail.iter().copied().collect();
            assert!(all.ends_with(&tail));
            assert_eq!(capture.head.len() + tail.len(), all.len().min(64));
        }

        #[test]
        fn shortened_text_is_bounded_and_keeps_both_ends(text in "(äöü|error: x\n|[a-z ]{1,40}\n){0,9000}") {
            match shorten(&text, Some("/x"), 0) {
                None => assert!(text.len() <= SHOWN),
                Some(short) => {
                    assert!(short.len() < SHOWN + 1024);
                    assert_eq!(short.chars().next(), text.chars().next());
                    assert_eq!(short.chars().last(), text.chars().last());
                }
            }
        }
    }

    #[test]
    fn of_a_secret_that_a_gap_tears_nothing_is_left() {
        let secret = "sk-0123456789abcdef";
        let redactor = Redactor::new([secret.to_owned()]);
        let text = format!("{}{secret}{}{secret}{}", "a".repeat(20), "b".repeat(200), "c".repeat(20));
        // However the edges of what is kept lie to it.
        for cap in 20..120 {
            let mut capture = Capture::new(cap);
            capture.push(text.as_bytes());
            let shown = capture.redacted(&redactor);
            for part in ["sk-", "cdef", "345"] {
                assert!(!shown.contains(part), "{cap}: {shown}");
            }
            let lost: u64 = shown.split_once("[... ").unwrap().1.split_once(' ').unwrap().0.parse().unwrap();
            assert!(lost >= capture.gap() && lost < capture.gap() + 2 * secret.len() as u64, "{cap}: {shown}");
        }
    }

    #[test]
    fn an_error_in_the_middle_survives() {
        let text = format!("{}error[E1]: here\n{}", "a line\n".repeat(9000), "b line\n".repeat(9000));
        let short = shorten(&text, Some("/run/o/1"), 0).unwrap();
        assert!(short.contains("error[E1]: here") && short.contains("/run/o/1"), "{}", &short[16_000..17_000]);
    }
}
