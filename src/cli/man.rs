//! `portcullis man`: manual pages, made from what `--help` says.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, Command, CommandFactory as _};
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use super::{args, exit::Exit, output, report};

/// For `--help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  portcullis man | man -l -
  portcullis man policy diff | man -l -
  portcullis man --dir ~/.local/share/man/man1";

const CHANGES: &str = include_str!("../../.packaging/CHANGELOG.md");

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Write all pages into this folder, which is made where it does not exist, instead of printing one.
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    dir: Option<PathBuf>,
    /// The command whose page is printed [default: that of portcullis itself].
    command: Vec<String>,
}

/// Prints a page, or writes all of them.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let mut all = args::Arguments::command().disable_help_subcommand(true);
    all.build();
    if let Some(folder) = &arguments.dir {
        return match write(&all, folder) {
            Ok(()) => Exit::Success,
            Err(error) => {
                report(&format!("the pages cannot be written to {}: {error}", folder.display()));
                Exit::Output
            }
        };
    }
    let mut command = &all;
    for name in &arguments.command {
        let Some(found) = command.find_subcommand(name) else {
            report(&format!("there is no command `{} {name}`; `--help` lists them", command.get_bin_name().unwrap_or("portcullis")));
            return Exit::Usage;
        };
        command = found;
    }
    match page(command) {
        Ok(text) => output::print(&String::from_utf8_lossy(&text)).err().unwrap_or(Exit::Success),
        Err(error) => {
            report(&format!("the page cannot be made: {error}"));
            Exit::Failure
        }
    }
}

/// Writes the pages of a command and of all below it.
fn write(command: &Command, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join(Man::new(command.clone()).get_filename()), page(command)?)?;
    command.get_subcommands().try_for_each(|below| write(below, folder))
}

/// The page of one command, in the order that man-pages(7) gives to sections.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let version = concat!("portcullis ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).date(date()).source(version).manual("User Commands");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    sections(&command.get_after_help().map(ToString::to_string).unwrap_or_default()).to_writer(&mut text)?;
    Ok(text)
}

/// When the newest version was released, so that the pages of a version are the same whenever they are made.
fn date() -> &'static str {
    let heading = CHANGES.lines().find(|line| line.starts_with("## ")).unwrap_or_default();
    heading.split_once('(').map_or("", |(_, date)| date.trim_end_matches(')'))
}

/// What stands below the help. A paragraph whose first line is a title becomes a section; lines that are indented stay as they are.
fn sections(text: &str) -> Roff {
    let mut roff = Roff::new();
    let mut in_notes = false;
    for paragraph in text.split("\n\n") {
        let (first, rest) = paragraph.split_once('\n').unwrap_or((paragraph, ""));
        let title = first.strip_suffix(':').filter(|title| !title.starts_with(' ') && title.len() < 20);
        match title {
            Some("Exit codes") => drop(roff.control("SH", ["EXIT STATUS"])),
            Some(title) => drop(roff.control("SH", [title.to_uppercase().as_str()])),
            None if in_notes => drop(roff.control("PP", [])),
            None => drop(roff.control("SH", ["NOTES"])),
        }
        in_notes = title.is_none();
        let mut verbatim = false;
        for line in if title.is_some() { rest } else { paragraph }.lines() {
            if line.starts_with(' ') != verbatim {
                verbatim = !verbatim;
                roff.control(if verbatim { "nf" } else { "fi" }, []);
            }
            roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
        }
        if verbatim {
            roff.control("fi", []);
        }
    }
    roff
}
