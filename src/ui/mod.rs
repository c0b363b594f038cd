//! What a person sees on a terminal: colours, tables, and hostile text made harmless.

pub mod asker;
pub mod choice;
pub mod columns;
pub mod field;
pub mod footer;
pub mod keys;
pub mod line_editor;
pub mod question_view;
pub mod quiet;
pub mod sanitize;
pub mod screen;
pub mod scroller;
pub mod session_screen;
pub mod status;
pub mod style;
pub mod table;
pub mod terminal;
pub mod view;

use std::{io, os::fd::AsFd};

use crate::sandbox::sys;

/// Columns that a page has where standard output is no terminal.
const PAGE: usize = 100;
/// Fewer columns than this are not worth folding text into.
const NARROWEST: usize = 40;

/// Columns that text on standard output may fill.
pub fn width() -> usize {
    screen_width().max(NARROWEST)
}

/// Columns of the terminal on standard output, however few.
pub fn screen_width() -> usize {
    let columns = sys::window_size(io::stdout().as_fd()).map(|(_, columns)| usize::from(columns)).ok();
    columns.filter(|columns| *columns > 0).unwrap_or(PAGE)
}
