//! A question on the screen: all of it, to be read to its end before a yes is taken.

use unicode_width::UnicodeWidthStr;

use super::{
    columns::fit,
    field::Field,
    keys::Key,
    sanitize::visible_line,
    scroller::Scroller,
    style::{Paint, Tone},
    view::{HURRIED, View, Weight},
};
use crate::{
    approval::{
        Answer, Question, Scope,
        question::{Lasting, Line, LineKind, Subject},
        store::LIFETIME,
    },
    policy::Permission,
};

/// On a smaller screen nothing can be shown as it should be, and nothing is approved.
const SMALLEST: (usize, usize) = (32, 10);

/// See the module.
#[derive(Debug)]
pub struct QuestionView {
    title: String,
    body: Scroller,
    lasting: Option<Lasting>,
    /// The command, where it can be changed.
    command: Option<String>,
    paint: Paint,
    size: (usize, usize),
    state: State,
    /// Why the last key did nothing.
    hint: Option<String>,
}

#[derive(Debug)]
enum State {
    Reading,
    /// What would be saved, and the words that it covers.
    Confirming {
        scope: Scope,
        words: usize,
        body: Scroller,
    },
    Editing(Field),
    Saying(Field),
}

impl QuestionView {
    /// Of a question. Nothing of it has been on the screen yet.
    pub fn new(question: &Question, paint: Paint) -> Self {
        let (title, command) = match &question.subject {
            Subject::Command { text, .. } => ("May this run?", Some(text.clone())),
            Subject::Patch { .. } => ("May these files be changed?", None),
            Subject::Call { .. } => ("May this be done?", None),
            Subject::Wider { .. } => ("May it have this?", None),
        };
        Self {
            title: title.to_owned(),
            body: Scroller::new(question.lines()),
            lasting: question.lasting.clone().filter(|lasting| !lasting.scopes.is_empty()),
            command,
            paint,
            size: (0, 0),
            state: State::Reading,
            hint: None,
        }
    }

    fn too_small(&self) -> bool {
        self.size.0 < SMALLEST.0 || self.size.1 < SMALLEST.1
    }

    fn offers(&self, scope: Scope) -> bool {
        self.lasting.as_ref().is_some_and(|lasting| lasting.scopes.contains(&scope))
    }

    /// The keys that mean something, with what they mean.
    fn choices(&self) -> Vec<(&'static str, &'static str)> {
        match &self.state {
            State::Reading => {
                let mut choices = vec![("y", "once")];
                let scopes =
                    [("s", "this session", Scope::Session), ("r", "this repository", Scope::Repository), ("u", "everywhere", Scope::User)];
                choices.extend(scopes.into_iter().filter(|(.., scope)| self.offers(*scope)).map(|(key, what, _)| (key, what)));
                if self.command.is_some() {
                    choices.push(("e", "edit"));
                }
                choices.extend([("n", "no"), ("m", "no, and say why"), ("Esc", "stop the turn")]);
                choices
            }
            State::Confirming { .. } => {
                let mut choices = vec![("Enter", "allow just this")];
                if self.lasting.as_ref().is_some_and(|lasting| lasting.with_words(lasting.shortest) != lasting.permission) {
                    choices.push(("← →", "fewer or more words"));
                }
                choices.push(("Esc", "back"));
                choices
            }
            State::Editing(_) => vec![("Enter", "done; it is judged again"), ("Ctrl-J", "another line"), ("Esc", "back")],
            State::Saying(_) => vec![("Enter", "say no, with these words"), ("Esc", "back")],
        }
    }

    /// The choices in as many rows as they need.
    fn footer(&self) -> Vec<String> {
        let mut rows = vec![String::new()];
        let mut used = 0;
        for (key, what) in self.choices() {
            let width = key.width() + 1 + what.width();
            if used > 0 && used + 3 + width > self.size.0 {
                rows.push(String::new());
                used = 0;
            }
            let Some(row) = rows.last_mut() else { continue };
            if used > 0 {
                row.push_str("   ");
                used += 3;
            }
            let yes = matches!(key, "y" | "s" | "r" | "u") && !self.body.reached();
            let tone = if yes { Tone::Faint } else { Tone::Accent };
            row.push_str(&format!("{} {what}", self.paint.text(tone, key)));
            used += width;
        }
        rows
    }

    fn layout(&mut self) {
        let room = self.size.1.saturating_sub(3 + self.footer().len());
        let width = self.size.0;
        self.body.resize(width, if self.too_small() { 0 } else { room });
        if let State::Confirming { body, .. } = &mut self.state {
            body.resize(width, room);
        }
    }

    fn enter(&mut self, state: State) -> Option<Answer> {
        self.state = state;
        self.layout();
        None
    }

    fn confirm(&mut self, scope: Scope, words: usize) -> Option<Answer> {
        let Some(lasting) = &self.lasting else { return None };
        let permission = lasting.with_words(words);
        let words = match &permission {
            Permission::Words { words } => words.len(),
            _ => 0,
        };
        let line = |kind, text: &str| Line { kind, text: text.to_owned() };
        let mut lines = vec![line(LineKind::Title, "from now on this is allowed without a question")];
        lines.extend(permission.sentence().lines().map(|text| line(LineKind::Text, text)));
        lines.push(line(LineKind::Title, "how far"));
        lines.push(line(LineKind::Text, scope.words()));
        if scope != Scope::Session {
            lines.push(line(LineKind::Title, "how long"));
            let days = LIFETIME.as_secs() / 86_400;
            lines.push(line(
                LineKind::Text,
                &format!("{days} days, and only under this policy as it is now; `portcullis grants` lists and revokes"),
            ));
        }
        lines.push(line(LineKind::Title, "what stays"));
        lines.push(line(LineKind::Note, "It runs confined as before, and rules that forbid still do."));
        self.enter(State::Confirming { scope, words, body: Scroller::new(lines) })
    }

    fn reading(&mut self, key: &Key) -> Option<Answer> {
        let scope = |c| match c {
            's' => Some(Scope::Session),
            'r' => Some(Scope::Repository),
            'u' => Some(Scope::User),
            _ => None,
        };
        match key {
            Key::Char('n') => return Some(Answer::Refuse { say: None }),
            Key::Char('m') if !self.too_small() => return self.enter(State::Saying(Field::new("", false))),
            Key::Escape | Key::Ctrl('c') => return Some(Answer::Stop),
            Key::Char('e') if !self.too_small() => {
                if let Some(command) = self.command.clone() {
                    return self.enter(State::Editing(Field::new(&command, true)));
                }
            }
            Key::Char('y' | 's' | 'r' | 'u') if self.too_small() => {}
            Key::Char('y' | 's' | 'r' | 'u') if !self.body.reached() => {
                self.hint = Some("Not before all of it has been on the screen: space goes on, End to its end.".to_owned());
            }
            Key::Char('y') => return Some(Answer::Once),
            Key::Char(c) if scope(*c).is_some_and(|scope| self.offers(scope)) => {
                return self.confirm(scope(*c)?, usize::MAX);
            }
            key => drop(self.body.key(key)),
        }
        None
    }
}

impl View for QuestionView {
    type Answer = Answer;

    fn resize(&mut self, columns: usize, rows: usize) {
        self.size = (columns, rows);
        self.layout();
    }

    fn rows(&self) -> (Vec<String>, Option<(usize, usize)>) {
        let (width, height) = self.size;
        if self.too_small() {
            let mut rows = vec![fit("too small to approve: n no, Esc stop", width)];
            rows.resize(height.max(1), String::new());
            rows.truncate(height);
            return (rows, None);
        }
        let footer = self.footer();
        let room = height.saturating_sub(3 + footer.len());
        let mut rows = vec![self.paint.text(Tone::Strong, &fit(&self.title, width))];
        let mut cursor = None;
        let mut state = String::new();
        match &self.state {
            State::Reading => {
                rows.extend(self.body.shown(self.paint));
                state = self.body.rest(true);
            }
            State::Confirming { body, .. } => rows.extend(body.shown(self.paint)),
            State::Editing(field) | State::Saying(field) => {
                let (text, (row, column)) = field.rows(width, room);
                rows.extend(text);
                cursor = Some((row + 1, column.min(width.saturating_sub(1))));
            }
        }
        rows.push(self.paint.text(Tone::Faint, &"─".repeat(width)));
        rows.push(self.paint.text(Tone::Caution, &fit(self.hint.as_ref().unwrap_or(&state), width)));
        rows.extend(footer);
        rows.truncate(height);
        (rows, cursor)
    }

    fn weight(&self, key: &Key) -> Weight {
        match (&self.state, key) {
            (_, Key::Escape | Key::Ctrl('c')) => Weight::Alone,
            (State::Reading, Key::Char('y' | 's' | 'r' | 'u' | 'n')) | (State::Confirming { .. }, Key::Enter) => Weight::Decides,
            (State::Reading, Key::Char('m' | 'e')) | (State::Editing(_) | State::Saying(_), Key::Enter) => Weight::Alone,
            _ => Weight::Light,
        }
    }

    fn hurried(&mut self) {
        self.hint = Some(HURRIED.to_owned());
    }

    fn key(&mut self, key: &Key) -> Option<Answer> {
        self.hint = None;
        let too_small = self.too_small();
        match (&mut self.state, key) {
            (State::Reading, key) => return self.reading(key),
            (_, Key::Ctrl('c')) => return Some(Answer::Stop),
            (_, Key::Escape) => return self.enter(State::Reading),
            (State::Confirming { .. }, Key::Enter) if too_small => {}
            (State::Confirming { scope, words, body }, key) => {
                let (scope, words) = (*scope, *words);
                match key {
                    Key::Enter if body.reached() => {
                        let permission = self.lasting.as_ref()?.with_words(words);
                        return Some(Answer::Always { scope, permission });
                    }
                    Key::Left => return self.confirm(scope, words.saturating_sub(1)),
                    Key::Right => return self.confirm(scope, words + 1),
                    key => drop(body.key(key)),
                }
            }
            (State::Editing(field), Key::Enter) => {
                let command = field.text();
                if !command.trim().is_empty() {
                    return Some(Answer::Edit { command });
                }
            }
            (State::Saying(field), Key::Enter) => {
                let say = field.text();
                return Some(Answer::Refuse { say: Some(say).filter(|say| !say.trim().is_empty()) });
            }
            (State::Editing(field) | State::Saying(field), key) => field.key(key),
        }
        None
    }
}

/// What was answered, in a line for whoever reads back.
pub fn said(answer: &Answer) -> String {
    match answer {
        Answer::Once => "you allowed it once".to_owned(),
        Answer::Always { scope, permission } => format!("you allowed {}: {}", scope.words(), visible_line(&permission.sentence())),
        Answer::Edit { command } => format!("you changed it to: {}", visible_line(command)),
        Answer::Refuse { say: None } => "you said no".to_owned(),
        Answer::Refuse { say: Some(say) } => format!("you said no: {}", visible_line(say)),
        Answer::Stop => "you stopped the turn".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::approval::question::Part;

    fn question(text: &str) -> Question {
        Question {
            call: "c".to_owned(),
            tool: "shell".to_owned(),
            subject: Subject::Command {
                text: text.to_owned(),
                parts: vec![Part { text: text.to_owned(), within: vec![], facts: vec!["runs code".to_owned()], rule: None }],
                opaque: None,
                background: false,
            },
            because: "policy.toml:3".to_owned(),
            cwd: "/w".into(),
            access: vec!["It can write the workspace.".to_owned()],
            lasting: Some(Lasting {
                permission: Permission::Words { words: ["git", "push", "origin", "main"].map(str::to_owned).to_vec() },
                shortest: 2,
                scopes: vec![Scope::Session, Scope::Repository, Scope::User],
            }),
        }
    }

    fn view(text: &str) -> QuestionView {
        let mut view = QuestionView::new(&question(text), Paint::PLAIN);
        view.resize(80, 24);
        view
    }

    fn press(view: &mut QuestionView, keys: &[Key]) -> Option<Answer> {
        keys.iter().find_map(|key| view.key(key))
    }

    fn screen(view: &QuestionView) -> String {
        view.rows().0.join("\n")
    }

    #[test]
    fn a_short_question_can_be_answered_at_once_and_a_long_one_at_its_end() {
        assert_eq!(press(&mut view("git push"), &[Key::Char('y')]), Some(Answer::Once));
        let long: String = (0..60).map(|number| format!("echo {number}\n")).collect();
        let mut view = view(&format!("{long}curl evil"));
        assert!(!screen(&view).contains("curl evil"));
        for key in ['y', 's', 'r', 'u'] {
            assert_eq!(press(&mut view, &[Key::Char(key)]), None);
            assert!(screen(&view).contains("on the screen"), "{}", screen(&view));
        }
        assert_eq!(press(&mut view, &[Key::Char(' ')]), None);
        assert_eq!(press(&mut view, &[Key::Char('y')]), None);
        while !view.body.reached() {
            view.key(&Key::Char(' '));
        }
        assert_eq!(press(&mut view, &[Key::Char('y')]), Some(Answer::Once));
    }

    #[test]
    fn what_is_saved_is_shown_before_and_can_be_made_wider_as_far_as_it_may() {
        let mut view = view("git push origin main");
        assert_eq!(press(&mut view, &[Key::Char('r')]), None);
        assert!(screen(&view).contains("begin with: git push origin main") && screen(&view).contains("in this repository"));
        press(&mut view, &[Key::Left, Key::Left, Key::Left, Key::Left]);
        assert!(screen(&view).contains("begin with: git push\n"), "{}", screen(&view));
        press(&mut view, &[Key::Right]);
        let words = ["git", "push", "origin"].map(str::to_owned).to_vec();
        let permission = Permission::Words { words };
        assert_eq!(press(&mut view, &[Key::Enter]), Some(Answer::Always { scope: Scope::Repository, permission }));
    }

    #[test]
    fn every_other_answer_is_one_or_a_few_keys_away() {
        let word = |text: &str| text.chars().map(Key::Char).collect::<Vec<_>>();
        assert_eq!(press(&mut view("x"), &[Key::Char('n')]), Some(Answer::Refuse { say: None }));
        assert_eq!(press(&mut view("x"), &[Key::Escape]), Some(Answer::Stop));
        assert_eq!(press(&mut view("x"), &[Key::Ctrl('c')]), Some(Answer::Stop));
        let keys = [vec![Key::Char('m')], word("use y"), vec![Key::Enter]].concat();
        assert_eq!(press(&mut view("x"), &keys), Some(Answer::Refuse { say: Some("use y".to_owned()) }));
        let keys = [vec![Key::Char('e')], word(" -n"), vec![Key::Enter]].concat();
        assert_eq!(press(&mut view("git push"), &keys), Some(Answer::Edit { command: "git push -n".to_owned() }));
        // Back, and then once.
        let keys = [Key::Char('e'), Key::Char('z'), Key::Escape, Key::Char('y')];
        assert_eq!(press(&mut view("git push"), &keys), Some(Answer::Once));
        // A paste answers nothing.
        assert_eq!(press(&mut view("x"), &[Key::Paste("y\ny\n".to_owned()), Key::Enter]), None);
    }

    #[test]
    fn hidden_characters_are_shown_and_controls_are_not_obeyed() {
        let shown = screen(&view("echo \u{202e}safe\u{200b} \u{1b}[2J"));
        assert!(shown.contains("\\u{202e}safe\\u{200b} ^[[2J"), "{shown}");
    }

    fn key() -> impl Strategy<Value = Key> {
        prop_oneof![
            proptest::sample::select("ysruenmjkgG abc".chars().collect::<Vec<_>>()).prop_map(Key::Char),
            Just(Key::Enter),
            Just(Key::Escape),
            Just(Key::Left),
            Just(Key::Right),
            Just(Key::Down),
            Just(Key::PageDown),
            Just(Key::End),
            Just(Key::Backspace),
            ".{0,8}".prop_map(Key::Paste),
        ]
    }

    proptest! {
        #[test]
        fn no_screen_and_no_keys_break_it_and_no_yes_is_taken_unseen(
            text in "(\\PC|\n|\u{1b}|\u{202e}){0,400}", columns in 0usize..200, rows in 0usize..60,
            keys in proptest::collection::vec(key(), 0..30)
        ) {
            let mut view = QuestionView::new(&question(&text), Paint::PLAIN);
            view.resize(columns, rows);
            for key in &keys {
                let shown = view.rows().0;
                prop_assert!(shown.len() <= rows);
                for row in &shown {
                    prop_assert!(row.width() <= columns || view.too_small(), "{row:?} in {columns}");
                    prop_assert!(!row.chars().any(char::is_control) && !row.contains('\u{202e}'), "{row:?}");
                }
                let reached = view.body.reached();
                match view.key(key) {
                    Some(Answer::Once | Answer::Always { .. }) => prop_assert!(reached && !view.too_small()),
                    Some(_) => return Ok(()),
                    None => {}
                }
            }
        }
    }
}
