//! `portcullis completion`: what a shell needs to complete a command line.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{args, exit::Exit, output};

/// For `--help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  portcullis completion bash > ~/.local/share/bash-completion/completions/portcullis
  portcullis completion zsh > ~/.zfunc/_portcullis
  portcullis completion fish > ~/.config/fish/completions/portcullis.fish

The Debian package has those of bash, zsh and fish in their places. For zsh the folder has to be in `fpath` before `compinit` runs.";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Whose.
    shell: Shell,
}

/// Prints it.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut args::Arguments::command(), "portcullis", &mut text);
    output::print(&String::from_utf8_lossy(&text)).err().unwrap_or(Exit::Success)
}
