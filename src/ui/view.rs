//! A view that has the whole terminal until it is answered, and what counts as an answer: a key that a person pressed now, alone, and not in the flow of
//! typing something else. What was pasted, piped or typed ahead is none.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use super::{
    keys::{Decoder, Key},
    terminal::Taken,
};

/// Within this time nothing that is typed counts: nobody can have read anything yet.
const DEAF: Duration = Duration::from_millis(300);
/// Input that comes closer together than this was not typed key by key.
const APART: u16 = 50;
/// Who presses keys closer together than this is typing, and has not stopped to decide.
const PAUSE: Duration = Duration::from_millis(500);
/// What a view says of a key that came closer.
pub(super) const HURRIED: &str = "That came on the heels of other keys, so it was not taken: press it again.";

/// What a key can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Nothing that could not be taken back.
    Light,
    /// It ends something that was typed, or gives up: it has to come alone.
    Alone,
    /// It decides: it has to come alone, after a pause.
    Decides,
}

/// What can be shown and answered.
pub trait View {
    /// The answer.
    type Answer;

    /// The terminal has so many columns and rows.
    fn resize(&mut self, columns: usize, rows: usize);

    /// All rows of the screen, and where the cursor is, if it is to be seen.
    fn rows(&self) -> (Vec<String>, Option<(usize, usize)>);

    /// What a key can do just now.
    fn weight(&self, key: &Key) -> Weight;

    /// Says that a key was not taken, because it came on the heels of others.
    fn hurried(&mut self);

    /// Takes a key; an answer ends the view.
    fn key(&mut self, key: &Key) -> Option<Self::Answer>;
}

/// Shows a view until it is answered; none if it was told to stop.
///
/// # Errors
/// If there is no terminal, or it goes.
pub fn show<V: View>(view: &mut V, stop: &AtomicBool) -> io::Result<Option<V::Answer>> {
    let mut terminal = Taken::take()?;
    let mut decoder = Decoder::default();
    let mut size = (0, 0);
    let mut drawn = None;
    let began = Instant::now();
    // Whether the last wait brought input.
    let mut busy = false;
    let mut last: Option<Instant> = None;
    while !stop.load(Ordering::Relaxed) {
        let now = terminal.size();
        if now != size {
            size = now;
            view.resize(size.0, size.1);
            drawn = None;
        }
        let rows = view.rows();
        if drawn.as_ref() != Some(&rows) {
            terminal.draw(&rows.0, rows.1)?;
            drawn = Some(rows);
        }
        let (keys, ended) = match terminal.read(APART)? {
            Some(bytes) => (decoder.push(&bytes), false),
            None => (decoder.quiet().into_iter().collect(), true),
        };
        let alone = !busy && keys.len() == 1;
        let paused = last.is_none_or(|last| last.elapsed() >= PAUSE);
        // The beginning of a key is judged when the rest of it, or nothing, has come.
        if ended || !keys.is_empty() {
            busy = !ended;
        }
        if !keys.is_empty() {
            last = Some(Instant::now());
        }
        if began.elapsed() < DEAF {
            continue;
        }
        for key in keys {
            let weight = view.weight(&key);
            if weight != Weight::Light {
                // A lone escape has already waited for what did not come.
                let followed = !ended && followed(&mut terminal, &mut decoder, view)?;
                if !alone || followed || (weight == Weight::Decides && !paused) {
                    busy |= followed;
                    view.hurried();
                    continue;
                }
            }
            if let Some(answer) = view.key(&key) {
                return Ok(Some(answer));
            }
        }
    }
    Ok(None)
}

/// Whether more comes right behind a key. What does is taken as far as it decides nothing.
fn followed<V: View>(terminal: &mut Taken, decoder: &mut Decoder, view: &mut V) -> io::Result<bool> {
    let Some(bytes) = terminal.read(APART)? else { return Ok(false) };
    for key in decoder.push(&bytes) {
        if view.weight(&key) == Weight::Light {
            let _ = view.key(&key);
        }
    }
    Ok(true)
}
