//! What a person has allowed for longer than one call.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::wider::Wider;

/// What is allowed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Permission {
    /// Exactly this shell text, run in this folder.
    Exactly {
        /// The text.
        command: String,
        /// The folder.
        cwd: PathBuf,
    },
    /// Plain simple commands that begin with these words: what a rule with this `prefix` and `decision = "allow"` covers.
    Words {
        /// The words; never empty.
        words: Vec<String>,
    },
    /// The tools that only read files.
    Reading,
    /// Patches.
    Patching,
    /// A tool of an MCP server, whatever its arguments.
    ServerTool {
        /// The server's name.
        server: String,
        /// The tool's name there.
        tool: String,
    },
    /// Wider access.
    Wider(Wider),
}

impl Permission {
    /// What it allows, in words, as it is shown before it is saved and in lists.
    pub fn sentence(&self) -> String {
        match self {
            Self::Exactly { command, cwd } => format!("exactly this command in {}: {command}", cwd.display()),
            Self::Words { words } => format!("plain commands that begin with: {}", words.join(" ")),
            Self::Reading => "reading with the file tools, within the policy".to_owned(),
            Self::Patching => "patches, within the policy".to_owned(),
            Self::ServerTool { server, tool } => format!("the tool {tool} of the MCP server {server}, whatever its arguments"),
            Self::Wider(wider) => wider.sentence(),
        }
    }
}

/// How far a permission reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Until this session ends. Not saved.
    Session,
    /// In this repository.
    Repository,
    /// For this user, everywhere.
    User,
}

impl Scope {
    /// In words, behind "allowed".
    pub const fn words(self) -> &'static str {
        match self {
            Self::Session => "for this session",
            Self::Repository => "in this repository",
            Self::User => "for this user",
        }
    }
}
