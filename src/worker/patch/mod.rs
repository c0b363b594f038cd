//! The patch tool: a patch is parsed (`parse`), each hunk is found in its file (`matching`), every new content is computed in memory
//! (`apply`), and only then is the tree changed, all at once or not at all (`transaction`).

pub mod apply;
mod content;
pub mod matching;
pub mod parse;
mod transaction;
