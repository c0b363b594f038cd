//! Output as it comes, in whole lines, so that no secret is torn apart before it is redacted.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use super::{gate::Live, redact::Redactor};

/// Bytes of a line that are held back until its end comes; of a longer one, all that has come is passed on.
const LONGEST: usize = 8 * 1024;

/// Cuts a stream into lines.
#[derive(Debug)]
pub(super) struct Lines {
    call: String,
    to: UnboundedSender<Live>,
    redactor: Arc<Redactor>,
    held: Vec<u8>,
}

impl Lines {
    pub(super) fn new(call: &str, to: UnboundedSender<Live>, redactor: Arc<Redactor>) -> Self {
        Self { call: call.to_owned(), to, redactor, held: Vec::new() }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        let whole = self.held.iter().rposition(|byte| *byte == b'\n').map(|end| end + 1);
        let end = whole.or_else(|| (self.held.len() > LONGEST).then_some(self.held.len()));
        if let Some(end) = end.map(|end| self.redactor.cut(&self.held, end)).filter(|end| *end > 0) {
            let rest = self.held.split_off(end);
            let lines = std::mem::replace(&mut self.held, rest);
            self.send(&lines);
        }
    }

    pub(super) fn finish(&mut self) {
        let rest = std::mem::take(&mut self.held);
        if !rest.is_empty() {
            self.send(&rest);
        }
    }

    fn send(&self, bytes: &[u8]) {
        // That nobody looks on any more is no reason to stop.
        let _ = self.to.send((self.call.clone(), self.redactor.redact(&String::from_utf8_lossy(bytes))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_and_without_secrets_wherever_the_stream_is_cut() {
        let text = b"one\nthe secret-value here\nlast";
        for cut in 0..text.len() {
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
            let mut lines = Lines::new("c", sender, Arc::new(Redactor::new(["secret-value".to_owned()])));
            lines.push(&text[..cut]);
            lines.push(&text[cut..]);
            lines.finish();
            let mut all = String::new();
            while let Ok((call, part)) = receiver.try_recv() {
                assert_eq!(call, "c");
                all.push_str(&part);
            }
            assert_eq!(all, "one\nthe [redacted] here\nlast", "{cut}");
        }
    }

    #[test]
    fn a_secret_is_not_torn_where_a_long_line_is_cut_nor_at_a_line_end_of_its_own() {
        for secret in ["secret-value", "secret\nvalue\n"] {
            let text = format!("{}{secret}{}", "x".repeat(LONGEST - 4), "y".repeat(50));
            for cut in LONGEST - 10..=text.len() {
                let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
                let mut lines = Lines::new("c", sender, Arc::new(Redactor::new([secret.to_owned()])));
                lines.push(&text.as_bytes()[..cut]);
                lines.push(&text.as_bytes()[cut..]);
                lines.finish();
                let mut all = String::new();
                while let Ok((_, part)) = receiver.try_recv() {
                    all.push_str(&part);
                }
                assert_eq!(all, text.replace(secret, "[redacted]"), "{cut}");
            }
        }
    }

    #[test]
    fn a_line_without_an_end_does_not_pile_up() {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let mut lines = Lines::new("c", sender, Arc::new(Redactor::new(["0123456789".to_owned()])));
        for _ in 0..100 {
            lines.push(&[b'x'; 1024]);
            assert!(lines.held.len() <= LONGEST + 1024);
        }
        assert!(receiver.try_recv().is_ok());
    }
}
