//! What a person sees.

pub mod sanitize;
pub mod screen;
pub mod style;
