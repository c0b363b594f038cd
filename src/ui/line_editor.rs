//! Line editing at the prompt: history, several lines, completion of `/commands` and `@files`. On a thread of its own, so that the event loop goes on.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use rustyline::{
    Behavior, Cmd, CompletionType, Config, Context, Editor, Helper, KeyCode, KeyEvent, Modifiers,
    completion::{Completer, Pair},
    error::ReadlineError,
    highlight::Highlighter,
    hint::Hinter,
    history::FileHistory,
    validate::{ValidationContext, ValidationResult, Validator},
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::sanitize::visible_line;

/// Lines of history that are kept.
const HISTORY: usize = 1000;
/// Names that are offered for one completion.
const OFFERED: usize = 200;

/// What was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    /// A text, with the line feeds that are in it.
    Text(String),
    /// Ctrl-C: what stood there is given up.
    Interrupted,
    /// Ctrl-D on an empty line, or the terminal is gone.
    End,
    /// The terminal cannot be read.
    Failed(String),
}

/// The editor.
#[derive(Debug)]
pub struct LineEditor {
    prompts: Sender<String>,
    typed: UnboundedReceiver<Typed>,
}

impl LineEditor {
    /// Starts it. History is kept in a file of the person's own; completion looks into `folder`.
    ///
    /// # Errors
    /// If there is no terminal, or no thread.
    pub fn start(history: PathBuf, folder: PathBuf, commands: Vec<String>) -> io::Result<Self> {
        let config = Config::builder()
            .max_history_size(HISTORY)
            .and_then(|config| config.history_ignore_dups(true))
            .map_err(io::Error::other)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .behavior(Behavior::PreferTerm)
            .bracketed_paste(true)
            .build();
        let mut editor: Editor<Completing, FileHistory> = Editor::with_config(config).map_err(io::Error::other)?;
        editor.set_helper(Some(Completing { folder, commands }));
        // Enter sends, as everywhere; these begin another line.
        for key in [KeyEvent::ctrl('J'), KeyEvent(KeyCode::Enter, Modifiers::ALT)] {
            editor.bind_sequence(key, Cmd::Newline);
        }
        let (prompts, asked) = mpsc::channel();
        let (answer, typed) = unbounded_channel();
        thread::Builder::new().name("line editor".to_owned()).spawn(move || edit(&mut editor, &history, &asked, &answer))?;
        Ok(Self { prompts, typed })
    }

    /// Reads one text.
    pub async fn read(&mut self, prompt: &str) -> Typed {
        if self.prompts.send(prompt.to_owned()).is_err() {
            return Typed::End;
        }
        self.typed.recv().await.unwrap_or(Typed::End)
    }
}

fn edit(editor: &mut Editor<Completing, FileHistory>, history: &Path, asked: &Receiver<String>, answer: &UnboundedSender<Typed>) {
    // No history is no reason not to begin one.
    let _ = editor.load_history(history);
    while let Ok(prompt) = asked.recv() {
        let typed = match editor.readline(&prompt) {
            Ok(text) => {
                // Nor is one that cannot be kept a reason to stop.
                if editor.add_history_entry(text.as_str()).is_ok_and(|new| new) {
                    let _ = editor.append_history(history);
                }
                Typed::Text(text)
            }
            Err(ReadlineError::Interrupted) => Typed::Interrupted,
            Err(ReadlineError::Eof) => Typed::End,
            Err(error) => Typed::Failed(error.to_string()),
        };
        if answer.send(typed).is_err() {
            return;
        }
    }
}

/// Completes commands at the beginning of a line, and files behind an `@`.
#[derive(Debug)]
struct Completing {
    folder: PathBuf,
    commands: Vec<String>,
}

impl Completing {
    fn candidates(&self, line: &str, position: usize) -> (usize, Vec<Pair>) {
        let before = &line[..position];
        if before.starts_with('/') && !before.contains(char::is_whitespace) {
            let found = self.commands.iter().filter(|command| command.starts_with(before));
            return (0, found.map(|command| Pair { display: command.clone(), replacement: format!("{command} ") }).collect());
        }
        let start = before.rfind(char::is_whitespace).map_or(0, |blank| blank + before[blank..].chars().next().map_or(1, char::len_utf8));
        match before[start..].strip_prefix('@') {
            Some(path) => (start + 1, self.files(path)),
            None => (position, Vec::new()),
        }
    }

    /// What is in the folder that a path begins to name. Only names are looked at, and only those that are what they look like.
    fn files(&self, path: &str) -> Vec<Pair> {
        let (folder, begun) = path.rsplit_once('/').map_or(("", path), |(folder, begun)| (folder, begun));
        let Ok(entries) = fs::read_dir(self.folder.join(folder)) else { return Vec::new() };
        let mut found: Vec<Pair> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let hidden = name.starts_with('.') && !begun.starts_with('.');
                if !name.starts_with(begun) || hidden || visible_line(&name) != name || name.contains(char::is_whitespace) {
                    return None;
                }
                let slash = if entry.file_type().is_ok_and(|kind| kind.is_dir()) { "/" } else { "" };
                let above = if folder.is_empty() { String::new() } else { format!("{folder}/") };
                Some(Pair { display: format!("{name}{slash}"), replacement: format!("{above}{name}{slash}") })
            })
            .collect();
        found.sort_by(|one, other| one.display.cmp(&other.display));
        found.truncate(OFFERED);
        found
    }
}

impl Completer for Completing {
    type Candidate = Pair;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        Ok(self.candidates(line, position))
    }
}

impl Hinter for Completing {
    type Hint = String;
}

impl Highlighter for Completing {}

impl Validator for Completing {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        // A backslash at the end goes on in the next line, as in a shell.
        let goes_on = context.input().ends_with('\\');
        Ok(if goes_on { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

impl Helper for Completing {}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(completing: &Completing, line: &str) -> (usize, Vec<String>) {
        let (start, pairs) = completing.candidates(line, line.len());
        (start, pairs.into_iter().map(|pair| pair.replacement).collect())
    }

    #[test]
    fn files_and_commands_are_completed_where_they_can_stand() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        for name in ["src/main.rs", "src/map.rs", "sure", ".hidden", "with blank", "with\u{1b}escape", "right\u{202e}left"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let completing = Completing { folder: folder.path().to_path_buf(), commands: vec!["/help".to_owned(), "/policy".to_owned()] };
        assert_eq!(offered(&completing, "look at @s"), (9, vec!["src/".to_owned(), "sure".to_owned()]));
        assert_eq!(offered(&completing, "@src/ma"), (1, vec!["src/main.rs".to_owned(), "src/map.rs".to_owned()]));
        assert_eq!(offered(&completing, "@.h").1, [".hidden"]);
        for nothing in ["@", "@w", "@r"] {
            assert!(offered(&completing, nothing).1.iter().all(|name| !name.contains(['\u{1b}', ' ', '\u{202e}'])), "{nothing}");
        }
        assert!(offered(&completing, "mail@s").1.is_empty());
        assert_eq!(offered(&completing, "/he"), (0, vec!["/help ".to_owned()]));
        assert!(offered(&completing, "a /he").1.is_empty());
        assert_eq!(offered(&completing, "ü\u{3000}@su").1, ["sure"]);
    }
}
