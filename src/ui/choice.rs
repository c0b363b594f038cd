//! A choice before a session begins: lines to read, and keys to press.

use std::{io, sync::atomic::AtomicBool};

use super::{
    columns::fit,
    keys::Key,
    sanitize::visible_line,
    scroller::Scroller,
    style::{Paint, Tone},
    view::{HURRIED, View, Weight, show},
};
use crate::approval::question::Line;

/// See the module.
#[derive(Debug)]
struct Choice {
    title: String,
    body: Scroller,
    choices: Vec<(char, String)>,
    /// Those that are taken only when all has been on the screen.
    yes: Vec<char>,
    paint: Paint,
    size: (usize, usize),
    /// Whether the last key was not taken, because it came on the heels of others.
    hurried: bool,
}

/// Shows lines until a choice is made; none if the person wants none of them. Those in `yes` are taken only when all has been on the screen.
///
/// # Errors
/// If there is no terminal, or it goes.
pub fn choose(title: &str, lines: &[Line], choices: &[(char, &str)], yes: &[char]) -> io::Result<Option<char>> {
    let choices = choices.iter().map(|(key, what)| (*key, (*what).to_owned())).collect();
    let (body, paint) = (Scroller::new(lines.to_vec()), Paint::of(&io::stdout()));
    let mut view = Choice { title: title.to_owned(), body, choices, yes: yes.to_vec(), paint, size: (0, 0), hurried: false };
    Ok(show(&mut view, &AtomicBool::new(false))?.flatten())
}

impl View for Choice {
    type Answer = Option<char>;

    fn resize(&mut self, columns: usize, rows: usize) {
        self.size = (columns, rows);
        self.body.resize(columns, rows.saturating_sub(4));
    }

    fn rows(&self) -> (Vec<String>, Option<(usize, usize)>) {
        let (width, height) = self.size;
        let mut rows = vec![self.paint.text(Tone::Strong, &fit(&visible_line(&self.title), width))];
        rows.extend(self.body.shown(self.paint));
        rows.push(self.paint.text(Tone::Faint, &"─".repeat(width)));
        let state = if self.hurried { HURRIED.to_owned() } else { self.body.rest(!self.yes.is_empty()) };
        rows.push(self.paint.text(Tone::Caution, &fit(&state, width)));
        let choices = self.choices.iter().map(|(key, what)| format!("{key} {what}")).chain(["Esc leave".to_owned()]);
        rows.push(fit(&choices.collect::<Vec<_>>().join("   "), width));
        rows.truncate(height);
        (rows, None)
    }

    fn weight(&self, key: &Key) -> Weight {
        match key {
            Key::Escape | Key::Ctrl('c') => Weight::Alone,
            Key::Char(c) if self.choices.iter().any(|(key, _)| key == c) => Weight::Decides,
            _ => Weight::Light,
        }
    }

    fn hurried(&mut self) {
        self.hurried = true;
    }

    fn key(&mut self, key: &Key) -> Option<Option<char>> {
        self.hurried = false;
        match key {
            Key::Escape | Key::Ctrl('c') => return Some(None),
            Key::Char(c) if self.yes.contains(c) && !self.body.reached() => {}
            Key::Char(c) if self.choices.iter().any(|(key, _)| key == c) => return Some(Some(*c)),
            key => drop(self.body.key(key)),
        }
        None
    }
}
