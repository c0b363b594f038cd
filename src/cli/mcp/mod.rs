//! `portcullis mcp`: the Model Context Protocol.

mod serve;

use clap::Subcommand;

use super::exit::Exit;

/// For `--help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  portcullis mcp serve --policy read-only --workspace ~/src/project";

#[derive(Debug, Subcommand)]
pub(super) enum McpCommand {
    /// Offer the tools to another agent over standard input and output, under a policy that it cannot change.
    #[command(after_help = serve::EXAMPLES)]
    Serve(serve::Arguments),
}

/// Does what was typed.
pub(super) fn run(command: McpCommand) -> Exit {
    match command {
        McpCommand::Serve(arguments) => serve::run(arguments),
    }
}
