//! The interactive session in a real terminal (tmux), with a scripted model behind a real socket: what a person types, sees and is asked.

mod support;

#[path = "chat/driven.rs"]
mod driven;

#[path = "chat/commands.rs"]
mod commands;
#[path = "chat/endings.rs"]
mod endings;
#[path = "chat/kept.rs"]
mod kept;
#[path = "chat/questions.rs"]
mod questions;
#[path = "chat/trust.rs"]
mod trust;
#[path = "chat/turns.rs"]
mod turns;
