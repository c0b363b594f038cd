//! How far a server says that a call has come: words for whoever looks on, and nothing that the model sees or that gives the call more time.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rmcp::model::ProgressNotificationParam;
use tokio::sync::mpsc::UnboundedSender;

use super::tool::visible;

/// The longest words of a server's about its progress, in characters.
const WORDS: usize = 200;
/// The most lines of one call.
const LINES: usize = 1000;

/// Who looks on at the call that runs, if anybody does. There is one call of a server at a time.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Option<(UnboundedSender<String>, usize)>>);

impl Progress {
    fn lock(&self) -> MutexGuard<'_, Option<(UnboundedSender<String>, usize)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody looks on, or nobody does, for as long as the result lives: a call that is dropped is over.
    pub(super) fn watch(&self, to: Option<UnboundedSender<String>>) -> Watching<'_> {
        *self.lock() = to.map(|to| (to, 0));
        Watching(self)
    }

    /// What a server said.
    pub(super) fn told(&self, told: &ProgressNotificationParam) {
        let mut watched = self.lock();
        let Some((to, lines)) = watched.as_mut().filter(|(_, lines)| *lines < LINES) else { return };
        *lines += 1;
        // That nobody looks on any more is no reason to stop.
        let _ = to.send(line(told));
    }
}

/// The time of one call.
#[derive(Debug)]
pub(super) struct Watching<'a>(&'a Progress);

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

fn line(told: &ProgressNotificationParam) -> String {
    let how_far = match told.total {
        Some(total) => format!("{} of {total}", told.progress),
        None => told.progress.to_string(),
    };
    let words: String = told.message.as_deref().unwrap_or_default().chars().take(WORDS).collect();
    // One line, whatever it says.
    let words = visible(&words).replace('\n', " ");
    if words.is_empty() { format!("progress: {how_far}\n") } else { format!("progress: {how_far}: {words}\n") }
}

#[cfg(test)]
mod tests {
    use rmcp::model::{NumberOrString, ProgressToken};
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    fn told(message: Option<&str>, total: Option<f64>) -> ProgressNotificationParam {
        let mut told = ProgressNotificationParam::new(ProgressToken(NumberOrString::Number(1)), 2.0);
        (told.total, told.message) = (total, message.map(str::to_owned));
        told
    }

    #[test]
    fn it_is_one_line_of_visible_words_and_never_endless() {
        assert_eq!(line(&told(None, Some(5.0))), "progress: 2 of 5\n");
        assert_eq!(line(&told(Some("copying"), None)), "progress: 2: copying\n");
        let long = line(&told(Some(&("a\u{1b}[2J\nb".to_owned() + &"x".repeat(10_000))), None));
        assert!(long.matches('\n').count() == 1 && !long.contains('\u{1b}') && long.len() < 2 * WORDS, "{long}");
        let progress = Progress::default();
        progress.told(&told(None, None));
        let (to, mut lines) = unbounded_channel();
        let watching = progress.watch(Some(to));
        for _ in 0..2 * LINES {
            progress.told(&told(None, None));
        }
        drop(watching);
        progress.told(&told(None, None));
        let mut seen = 0;
        while lines.try_recv().is_ok() {
            seen += 1;
        }
        assert_eq!(seen, LINES);
    }
}
