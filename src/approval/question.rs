//! The question that is put to whoever approves, and the answers that there are.
//!
//! A question holds all that will happen: the whole text, the simple commands in it, the folder, the rule that asks, and what the call may read,
//! write and reach. [`Question::lines`] is the one form of it: a person is shown these lines, a program is handed them, and their hash stands in
//! the log, so that it can be said later what was approved.

use std::{fmt::Debug, future::Future, path::PathBuf, pin::Pin};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::policy::{Permission, Scope, Wider};

/// What a call is, as far as a person has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Subject {
    /// A shell command.
    Command {
        /// The whole text.
        text: String,
        /// The simple commands in it, in the order of the text, as far as they are understood.
        parts: Vec<Part>,
        /// What of it is not plainly understood.
        opaque: Option<String>,
        /// Whether it goes on while the model does other things.
        background: bool,
    },
    /// A patch.
    Patch {
        /// The whole patch.
        text: String,
    },
    /// Another call.
    Call {
        /// The tool's arguments, in words.
        text: String,
    },
    /// Wider access, which the model asks for or a refused call lacked.
    Wider {
        /// What is asked for.
        wider: Wider,
        /// Why, in the words of whoever asks.
        reason: String,
        /// What a person should know of it, such as that a socket equals root on this host.
        warnings: Vec<String>,
        /// The command that was refused it and is run again, if it is granted.
        repeats: Option<String>,
    },
}

/// One simple command of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Its words as they are understood; what is not known stands as it was written.
    pub text: String,
    /// What it stands in, outermost first, such as `sh -c`.
    pub within: Vec<String>,
    /// What there is to know of it: `writes out.txt`, `runs code (-c)`.
    pub facts: Vec<String>,
    /// What the rules say of it, with file and line.
    pub rule: Option<String>,
}

/// A question about one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Question {
    /// The call's id, as the model gave it.
    pub call: String,
    /// The tool.
    pub tool: String,
    /// What it is about.
    pub subject: Subject,
    /// Why somebody has to approve: the rule with file and line, or the mode.
    pub because: String,
    /// Where it runs.
    pub cwd: PathBuf,
    /// What the call may read, write and reach, a line each.
    pub access: Vec<String>,
    /// The permission that an answer for longer than this call would give; none where nothing can be remembered of it.
    pub lasting: Option<Lasting>,
}

/// What can be allowed for longer than one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lasting {
    /// What would be allowed, unless the person makes it wider.
    pub permission: Permission,
    /// The fewest words that [`Permission::Words`] may be shortened to; its own length where it may not be.
    pub shortest: usize,
    /// How far it may reach.
    pub scopes: Vec<Scope>,
}

impl Lasting {
    /// The permission with only so many words, within what is allowed. Others than [`Permission::Words`] stay as they are.
    pub fn with_words(&self, count: usize) -> Permission {
        match &self.permission {
            Permission::Words { words } => {
                let count = count.clamp(self.shortest.min(words.len()), words.len());
                Permission::Words { words: words.iter().take(count).cloned().collect() }
            }
            other => other.clone(),
        }
    }
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// This call, and nothing after it.
    Once,
    /// This call, and from now on what the permission covers.
    Always {
        /// How far it reaches.
        scope: Scope,
        /// The permission, exactly as it was shown before it was saved.
        permission: Permission,
    },
    /// This shell command instead. It is judged, and asked about, again.
    Edit {
        /// The new text.
        command: String,
    },
    /// No.
    Refuse {
        /// A word to the model.
        say: Option<String>,
    },
    /// No, and the turn ends.
    Stop,
}

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A person at the terminal.
    Person,
    /// The program that `--approver` names.
    Approver,
    /// Nobody in time.
    Timeout,
    /// Nobody: there is no one to ask.
    Nobody,
}

/// An answer, and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The answer.
    pub answer: Answer,
    /// Who gave it.
    pub by: By,
    /// Why there is none, where nobody answered.
    pub why: Option<String>,
}

impl Answered {
    /// An answer of a person's.
    pub fn person(answer: Answer) -> Self {
        Self { answer, by: By::Person, why: None }
    }

    /// A refusal because nobody answered.
    pub fn nobody(by: By, why: impl Into<String>) -> Self {
        Self { answer: Answer::Refuse { say: None }, by, why: Some(why.into()) }
    }
}

/// Puts questions to somebody. Dropping the future takes the question back.
pub trait Asker: Debug {
    /// Asks, and waits for the answer.
    fn ask<'a>(&'a self, question: &'a Question) -> Pin<Box<dyn Future<Output = Answered> + 'a>>;

    /// Whether there is anybody who could answer. Where there is not, nothing is offered that only an answer could give.
    fn is_anybody(&self) -> bool {
        true
    }
}

/// Nobody: every question is answered with a refusal that says so.
#[derive(Debug, Clone, Copy)]
pub struct Nobody;

impl Asker for Nobody {
    fn ask<'a>(&'a self, _: &'a Question) -> Pin<Box<dyn Future<Output = Answered> + 'a>> {
        Box::pin(std::future::ready(Answered::nobody(By::Nobody, "none can be asked here")))
    }

    fn is_anybody(&self) -> bool {
        false
    }
}

/// What a line of a question is, for whoever colours it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKind {
    /// The title of a part of the question.
    Title,
    /// A part of the command, or of other text that the model wrote.
    Text,
    /// A line that a patch adds.
    Added,
    /// A line that a patch takes away.
    Removed,
    /// A line of a patch that names a file or a place.
    Place,
    /// What is known or follows.
    Note,
    /// What a person should not miss.
    Warning,
}

/// A line of a question. The text is as the model wrote it: who shows it makes control characters visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it is.
    pub kind: LineKind,
    /// The text, without a line feed.
    pub text: String,
}

impl Question {
    /// All of it, in lines.
    pub fn lines(&self) -> Vec<Line> {
        let mut page = Page(Vec::new());
        match &self.subject {
            Subject::Command { text, parts, opaque, background } => {
                page.title(if *background { "run in the background" } else { "run" });
                page.text(text);
                page.parts(parts, opaque.as_deref());
            }
            Subject::Patch { text } => {
                page.title("change files");
                for line in text.split('\n') {
                    let kind = match line.as_bytes().first() {
                        Some(b'+') => LineKind::Added,
                        Some(b'-') => LineKind::Removed,
                        Some(b'*' | b'@') => LineKind::Place,
                        _ => LineKind::Text,
                    };
                    page.line(kind, line);
                }
            }
            Subject::Call { text } => {
                page.title(&format!("call {}", self.tool));
                page.text(text);
            }
            Subject::Wider { wider, reason, warnings, repeats } => {
                page.title("grant wider access");
                page.line(LineKind::Text, &wider.sentence());
                for warning in warnings {
                    page.line(LineKind::Warning, warning);
                }
                page.title("the reason given");
                page.text(reason);
                if let Some(command) = repeats {
                    page.title("then run again, confined; what it has done already is not undone");
                    page.text(command);
                }
            }
        }
        page.title("in");
        page.line(LineKind::Note, &self.cwd.display().to_string());
        page.title("asked because");
        page.line(LineKind::Note, &self.because);
        page.title("the call can");
        for line in &self.access {
            page.line(LineKind::Note, line);
        }
        page.0
    }

    /// SHA-256 over the lines, in hexadecimal: what stands in the log for what was shown.
    pub fn hash(&self) -> String {
        let mut digest = Sha256::new();
        for line in self.lines() {
            digest.update(line.text.as_bytes());
            digest.update(b"\n");
        }
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

struct Page(Vec<Line>);

impl Page {
    fn line(&mut self, kind: LineKind, text: &str) {
        self.0.push(Line { kind, text: text.to_owned() });
    }

    fn title(&mut self, text: &str) {
        self.line(LineKind::Title, text);
    }

    fn text(&mut self, text: &str) {
        for line in text.split('\n') {
            self.line(LineKind::Text, line);
        }
    }

    /// The simple commands, where they say more than the text does.
    fn parts(&mut self, parts: &[Part], opaque: Option<&str>) {
        let telling = |part: &Part| !part.facts.is_empty() || !part.within.is_empty() || part.rule.is_some();
        if parts.len() > 1 || parts.iter().any(telling) {
            self.title("which is");
            for part in parts {
                let within = if part.within.is_empty() { String::new() } else { format!("  (in {})", part.within.join(", in ")) };
                self.line(LineKind::Text, &format!("{}{within}", part.text.replace('\n', "\u{23ce}")));
                for fact in &part.facts {
                    self.line(LineKind::Warning, &format!("  {fact}"));
                }
                if let Some(rule) = &part.rule {
                    self.line(LineKind::Note, &format!("  {rule}"));
                }
            }
        }
        if let Some(opaque) = opaque {
            self.line(LineKind::Warning, &format!("not plainly understood: it holds {opaque}"));
        }
    }
}
