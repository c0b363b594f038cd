//! The shell's own rules for tokens: words, quotes, assignments, redirections (POSIX 2.3 and 2.6, bash's manual 3.1 and 3.5).

use std::{collections::HashMap, ops::Range};

use tree_sitter::Node;

use super::{Assignment, Dialect, Opaque, Redirect, RedirectKind, Shape, Simple, Word};

/// A text, and where the grammar found substitutions in it.
pub(super) struct Lexer<'t> {
    pub(super) text: &'t str,
    pub(super) dialect: Dialect,
    /// The substitutions of commands and processes, by the byte at which they begin.
    pub(super) substitutions: HashMap<usize, Node<'t>>,
}

/// What a stretch of text held besides its words: the substitutions that have to be read as commands.
pub(super) type Inner<'t> = Vec<Node<'t>>;

/// A here-document that was announced.
#[derive(Debug)]
pub(super) struct Announced {
    /// The line that ends it.
    pub(super) delimiter: String,
    /// Whether expansions in it are carried out.
    pub(super) expands: bool,
    /// Whether leading tabs are taken away (`<<-`).
    pub(super) strips: bool,
    /// Where the announcement ends.
    pub(super) end: usize,
}

/// A simple command as it was read, and where it ends.
pub(super) struct Read<'t> {
    pub(super) simple: Simple,
    pub(super) inner: Inner<'t>,
    pub(super) announced: Vec<Announced>,
    pub(super) end: usize,
}

/// A word that is being put together.
pub(super) struct Draft {
    text: String,
    /// How many bytes of the text are known and stand before anything that is not.
    lead: Option<usize>,
    shape: Shape,
    plain: bool,
    /// The unquoted characters that can make a pattern or a choice, in order, and how long the text was at the first.
    special: String,
    special_at: Option<usize>,
}

impl Draft {
    pub(super) fn new() -> Self {
        Self { text: String::new(), lead: None, shape: Shape::Literal, plain: true, special: String::new(), special_at: None }
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn special(&mut self, byte: u8) {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'{' | b'}' | b',' | b'.') {
            self.special.push(char::from(byte));
            if !matches!(byte, b',' | b'.') {
                self.special_at.get_or_insert(self.text.len());
            }
        }
    }

    fn unknown(&mut self, written: &str, shape: Shape) {
        self.plain = false;
        self.lead.get_or_insert(self.text.len());
        self.text.push_str(written);
        if self.shape != Shape::Any {
            self.shape = shape;
        }
    }

    fn conclude(mut self, span: Range<usize>) -> Word {
        let after = |mark: char| self.special.split_once(mark).map(|(_, rest)| rest);
        let chooses =
            after('{').is_some_and(|rest| rest.rsplit_once('}').is_some_and(|(held, _)| held.contains(',') || held.contains("..")));
        let matches_files = self.special.contains(['*', '?']) || after('[').is_some_and(|rest| rest.contains(']'));
        if chooses || matches_files {
            self.shape = Shape::Any;
            self.plain = false;
            let at = self.special_at.unwrap_or(0);
            self.lead = Some(self.lead.map_or(at, |lead| lead.min(at)));
        }
        let lead = self.text.get(..self.lead.unwrap_or(self.text.len())).unwrap_or_default().to_owned();
        Word { text: self.text, shape: self.shape, lead, span, plain: self.plain }
    }
}

/// Where a word ends that is not quoted.
fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b')' | b'<' | b'>')
}

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

impl<'t> Lexer<'t> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn slice(&self, span: Range<usize>) -> &'t str {
        self.text.get(span).unwrap_or_default()
    }

    fn starts(&self, at: usize, with: &str) -> bool {
        self.text.as_bytes().get(at..).is_some_and(|rest| rest.starts_with(with.as_bytes()))
    }

    fn opaque<T>(&self, what: &str, span: Range<usize>) -> Result<T, Opaque> {
        Err(Opaque::new(what, span))
    }

    /// Whether a line is continued at a place without a token being joined over its end: the shell takes the backslash and the newline away before it
    /// looks for tokens, so that `$` at the end of one line and `(` at the start of the next begin a substitution.
    pub(super) fn continues(&self, at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|before| self.byte(before));
        let behind = self.byte(at + 2);
        let blank = |byte: Option<u8>| byte.is_none_or(|byte| matches!(byte, b' ' | b'\t' | b'\n'));
        let operator = |byte: Option<u8>| byte.is_some_and(|byte| matches!(byte, b'&' | b'|' | b';'));
        let plain = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/');
        self.starts(at, "\\\n") && (blank(before) || blank(behind) || (operator(before) && plain(behind)))
    }

    /// Skips blanks and continued lines.
    pub(super) fn skip_blanks(&self, mut at: usize) -> usize {
        loop {
            match self.byte(at) {
                Some(b' ' | b'\t') => at += 1,
                Some(b'\\') if self.continues(at) => at += 2,
                _ => return at,
            }
        }
    }

    /// Reads a simple command from its first byte to where it can only end.
    pub(super) fn simple(&self, start: usize) -> Result<Read<'t>, Opaque> {
        let mut read = Read { simple: Simple::default(), inner: Vec::new(), announced: Vec::new(), end: start };
        let mut at = start;
        loop {
            at = self.skip_blanks(at);
            match self.byte(at) {
                None | Some(b'\n' | b';' | b'|' | b')' | b'#') => break,
                // Only behind a blank does `#` begin a comment, and here a blank or an operator came before.
                Some(b'&') if !self.starts(at, "&>") => break,
                Some(b'`') if at > start && !self.substitutions.contains_key(&at) => break,
                _ => {}
            }
            if let Some((redirect, end)) = self.redirect(at, &mut read.inner, &mut read.announced)? {
                read.simple.redirects.push(redirect);
                (at, read.end) = (end, end);
                continue;
            }
            let assigns = if read.simple.words.is_empty() { self.assignment_name(at)? } else { None };
            if let Some((name, value_at)) = assigns {
                let (value, end) = self.value(value_at, &mut read.inner)?;
                read.simple.assignments.push(Assignment { name, value });
                (at, read.end) = (end, end);
                continue;
            }
            let declares = read.simple.words.first().is_some_and(|word| word.plain && is_declaration(&word.text));
            let (mut word, end) = self.word(at, declares, &mut read.inner)?;
            // bash reads `NAME=value` behind these as the assignment that it looks like.
            if declares && self.dialect == Dialect::Bash && word.shape == Shape::Any && self.assignment_name(at)?.is_some() {
                word.shape = Shape::One;
            }
            if end == at {
                return self.opaque("a token that no command begins with", at..at + 1);
            }
            read.simple.words.push(word);
            (at, read.end) = (end, end);
        }
        if read.end == start {
            return self.opaque("an empty command", start..start);
        }
        read.simple.span = start..read.end;
        Ok(read)
    }

    /// `NAME=` or `NAME+=` at a place, and where the value begins.
    fn assignment_name(&self, at: usize) -> Result<Option<(String, usize)>, Opaque> {
        if !self.byte(at).is_some_and(is_name_start) {
            return Ok(None);
        }
        let mut end = at;
        while self.byte(end).is_some_and(is_name) {
            end += 1;
        }
        let name = self.slice(at..end).to_owned();
        match self.byte(end) {
            Some(b'=') => Ok(Some((name, end + 1))),
            Some(b'+') if self.byte(end + 1) == Some(b'=') && self.dialect == Dialect::Bash => Ok(Some((name, end + 2))),
            // An index is arithmetic, which can run commands.
            Some(b'[')
                if self
                    .slice(end..self.text.len())
                    .split(['\n', ';'])
                    .next()
                    .is_some_and(|rest| rest.contains("]=") || rest.contains("]+=")) =>
            {
                self.opaque("an element of an array", at..end)
            }
            _ => Ok(None),
        }
    }

    /// The value of an assignment, which is neither split nor matched against files.
    fn value(&self, at: usize, inner: &mut Inner<'t>) -> Result<(Word, usize), Opaque> {
        if self.byte(at) == Some(b'(') {
            return self.opaque("an array", at..at + 1);
        }
        let (mut word, end) = self.word(at, true, inner)?;
        if word.shape == Shape::Any {
            word.shape = Shape::One;
        }
        Ok((word, end))
    }

    /// A redirection at a place, with its end.
    pub(super) fn redirect(
        &self,
        start: usize,
        inner: &mut Inner<'t>,
        announced: &mut Vec<Announced>,
    ) -> Result<Option<(Redirect, usize)>, Opaque> {
        let mut at = start;
        while self.byte(at).is_some_and(|byte| byte.is_ascii_digit()) {
            at += 1;
        }
        let numbered = at > start;
        if self.byte(at) == Some(b'{') && !numbered {
            let name_end = (at + 1..self.text.len()).find(|end| !self.byte(*end).is_some_and(is_name)).unwrap_or(at + 1);
            if name_end > at + 1 && self.byte(name_end) == Some(b'}') && matches!(self.byte(name_end + 1), Some(b'<' | b'>')) {
                return self.opaque("a descriptor that is put into a variable", at..name_end);
            }
        }
        const OPERATORS: [(&str, RedirectKind); 12] = [
            ("<<<", RedirectKind::HereString),
            ("<<-", RedirectKind::HereDocument),
            ("&>>", RedirectKind::Write),
            ("<<", RedirectKind::HereDocument),
            ("<&", RedirectKind::Duplicate),
            ("<>", RedirectKind::Write),
            (">>", RedirectKind::Write),
            (">&", RedirectKind::Duplicate),
            (">|", RedirectKind::Write),
            ("&>", RedirectKind::Write),
            ("<", RedirectKind::Read),
            (">", RedirectKind::Write),
        ];
        let Some((operator, mut kind)) = OPERATORS.into_iter().find(|(operator, _)| self.starts(at, operator)) else { return Ok(None) };
        if operator.starts_with('&') && (numbered || self.dialect == Dialect::Posix) {
            return if numbered { Ok(None) } else { self.opaque("`&>`, which shells read differently", at..at + 2) };
        }
        // `<(` and `>(` begin a word.
        if operator.len() == 1 && self.byte(at + 1) == Some(b'(') {
            return if numbered { self.opaque("a number before a process substitution", start..at) } else { Ok(None) };
        }
        if operator == "<<<" && self.dialect == Dialect::Posix {
            return self.opaque("`<<<`, which not every shell has", at..at + 3);
        }
        // zsh's `>!` and the like are not bash's, so whatever follows is the word that bash reads there.
        let target_at = self.skip_blanks(at + operator.len());
        let (mut target, end) = self.word(target_at, false, inner)?;
        if end == target_at {
            return self.opaque("a redirection without a target", start..end.max(start + 1));
        }
        match kind {
            RedirectKind::HereDocument => {
                let delimiter = self.slice(target_at..end);
                if delimiter.contains(['$', '`', '\\', '\n']) || target.text.is_empty() {
                    return self.opaque("a here-document with an unusual delimiter", target_at..end);
                }
                let expands = !delimiter.contains(['\'', '"']);
                target.shape = Shape::Literal;
                target.lead.clone_from(&target.text);
                announced.push(Announced { delimiter: target.text.clone(), expands, strips: operator == "<<-", end });
            }
            RedirectKind::Duplicate => {
                let descriptor = target.literal().is_some_and(|text| {
                    let number = text.strip_suffix('-').unwrap_or(text);
                    number.bytes().all(|byte| byte.is_ascii_digit())
                });
                if !descriptor && (operator == "<&" || numbered || target.shape != Shape::Literal || self.dialect == Dialect::Posix) {
                    return self.opaque("a descriptor that is not known before it runs", target_at..end);
                }
                if !descriptor {
                    kind = RedirectKind::Write;
                }
            }
            _ => {}
        }
        Ok(Some((Redirect { kind, target, span: start..end }, end)))
    }

    /// The redirections behind a compound command.
    pub(super) fn redirects(&self, start: usize) -> Result<Option<Read<'t>>, Opaque> {
        let mut read = Read { simple: Simple::default(), inner: Vec::new(), announced: Vec::new(), end: start };
        let mut first = None;
        loop {
            let at = self.skip_blanks(read.end);
            let Some((redirect, end)) = self.redirect(at, &mut read.inner, &mut read.announced)? else { break };
            first.get_or_insert(at);
            read.simple.redirects.push(redirect);
            read.end = end;
        }
        let Some(first) = first else { return Ok(None) };
        read.simple.span = first..read.end;
        Ok(Some(read))
    }

    /// Reads one word; its end is its start where there is none. In an `assigned` word a tilde expands behind `=` and `:` too.
    pub(super) fn word(&self, start: usize, assigned: bool, inner: &mut Inner<'t>) -> Result<(Word, usize), Opaque> {
        let mut draft = Draft::new();
        let mut at = start;
        while let Some(byte) = self.byte(at) {
            match byte {
                b'<' | b'>' if self.byte(at + 1) == Some(b'(') => {
                    if self.dialect == Dialect::Posix {
                        return self.opaque("a process substitution, which not every shell has", at..at + 2);
                    }
                    at = self.substitution(at, "process_substitution", Shape::One, &mut draft, inner)?;
                }
                byte if ends_word(byte) => break,
                b'(' => return self.opaque("a parenthesis in a word", at..at + 1),
                b'\\' => match self.slice(at + 1..self.text.len()).chars().next() {
                    Some('\n') if self.continues(at) => at += 2,
                    Some('\n') => return self.opaque("a token that goes on in the next line", at..at + 2),
                    Some(c) => {
                        draft.plain = false;
                        draft.push(c.encode_utf8(&mut [0; 4]));
                        at += 1 + c.len_utf8();
                    }
                    None => return self.opaque("a backslash at the end", at..at + 1),
                },
                b'\'' => {
                    let Some(length) = self.slice(at + 1..self.text.len()).find('\'') else {
                        return self.opaque("a quote that is not closed", at..at + 1);
                    };
                    draft.plain = false;
                    draft.push(self.slice(at + 1..at + 1 + length));
                    at += length + 2;
                }
                b'"' => {
                    draft.plain = false;
                    at = self.quoted(at + 1, self.text.len(), Quoting::Double, &mut draft, inner)?;
                }
                // The one that ends the substitution around this word is in no tree.
                b'`' if !self.substitutions.contains_key(&at) => break,
                b'`' => at = self.substitution(at, "command_substitution", Shape::Any, &mut draft, inner)?,
                b'$' => at = self.dollar(at, Quoting::None, &mut draft, inner)?,
                b'~' if at == start || (assigned && matches!(self.byte(at - 1), Some(b'=' | b':'))) => {
                    draft.unknown("~", Shape::One);
                    at += 1;
                }
                _ => {
                    draft.special(byte);
                    let length = self.slice(at..self.text.len()).chars().next().map_or(1, char::len_utf8);
                    draft.push(self.slice(at..at + length));
                    at += length;
                }
            }
        }
        Ok((draft.conclude(start..at), at))
    }

    /// Reads what stands in double quotes, or in a here-document that expands, up to `limit`, and gives the place behind it.
    pub(super) fn quoted(
        &self,
        start: usize,
        limit: usize,
        quoting: Quoting,
        draft: &mut Draft,
        inner: &mut Inner<'t>,
    ) -> Result<usize, Opaque> {
        let mut at = start;
        while at < limit {
            match self.byte(at) {
                Some(b'"') if quoting == Quoting::Double => return Ok(at + 1),
                Some(b'\\') => match self.byte(at + 1) {
                    Some(b'\n') if self.continues(at) => at += 2,
                    Some(b'\n') => return self.opaque("a token that goes on in the next line", at..at + 2),
                    Some(b'"') if quoting == Quoting::Document => {
                        draft.push("\\\"");
                        at += 2;
                    }
                    Some(byte @ (b'$' | b'`' | b'"' | b'\\')) => {
                        draft.push(char::from(byte).encode_utf8(&mut [0; 4]));
                        at += 2;
                    }
                    _ => {
                        draft.push("\\");
                        at += 1;
                    }
                },
                Some(b'`') => {
                    // What a quote inside it means depends on the shell.
                    let end = self.substitutions.get(&at).map_or(at, Node::end_byte);
                    if self.slice(at..end).contains('"') {
                        return self.opaque("quotes in backquotes in quotes", at..end);
                    }
                    at = self.substitution(at, "command_substitution", Shape::One, draft, inner)?;
                }
                Some(b'$') => at = self.dollar(at, quoting, draft, inner)?,
                _ => {
                    let length = self.slice(at..self.text.len()).chars().next().map_or(1, char::len_utf8);
                    draft.push(self.slice(at..at + length));
                    at += length;
                }
            }
        }
        if quoting == Quoting::Document && at == limit { Ok(at) } else { self.opaque("a quote that is not closed", start..at) }
    }

    /// A substitution that the grammar found at a place, and the place behind it.
    fn substitution(&self, at: usize, kind: &str, shape: Shape, draft: &mut Draft, inner: &mut Inner<'t>) -> Result<usize, Opaque> {
        let Some(node) = self.substitutions.get(&at).filter(|node| node.kind() == kind) else {
            return self.opaque("a substitution that does not parse", at..at + 1);
        };
        let written = self.slice(node.byte_range());
        // Inside backquotes a backslash is read twice.
        if written.starts_with('`') && written.contains('\\') {
            return self.opaque("a backslash in backquotes", node.byte_range());
        }
        draft.unknown(written, shape);
        inner.push(*node);
        Ok(node.end_byte())
    }

    /// Reads what begins with `$`.
    fn dollar(&self, at: usize, quoting: Quoting, draft: &mut Draft, inner: &mut Inner<'t>) -> Result<usize, Opaque> {
        let split = if quoting == Quoting::None { Shape::Any } else { Shape::One };
        let end = match self.byte(at + 1) {
            Some(b'(') if self.byte(at + 2) == Some(b'(') => self.arithmetic(at)?,
            Some(b'(') => return self.substitution(at, "command_substitution", split, draft, inner),
            Some(b'{') => return self.parameter(at, split, draft),
            Some(b'[') => return self.opaque("arithmetic in `$[`", at..at + 2),
            Some(b'\'') if quoting == Quoting::None => return self.opaque("`$'`, whose escapes are read differently", at..at + 2),
            Some(b'"') if quoting == Quoting::None => return self.opaque("`$\"`, which is translated", at..at + 2),
            // All positional parameters: each its own word, in quotes too.
            Some(b'@') => {
                draft.unknown("$@", Shape::Any);
                return Ok(at + 2);
            }
            Some(b'*' | b'#' | b'?' | b'-' | b'$' | b'!' | b'0'..=b'9') => at + 2,
            Some(byte) if is_name_start(byte) => {
                let mut end = at + 2;
                while self.byte(end).is_some_and(is_name) {
                    end += 1;
                }
                end
            }
            _ => {
                draft.push("$");
                return Ok(at + 1);
            }
        };
        draft.unknown(self.slice(at..end), split);
        Ok(end)
    }

    /// `$((…))` of numbers alone. A variable in it would be evaluated in its turn, which can run commands.
    fn arithmetic(&self, at: usize) -> Result<usize, Opaque> {
        let mut depth = 0_usize;
        for (offset, byte) in self.slice(at + 1..self.text.len()).bytes().enumerate() {
            match byte {
                b'(' => depth += 1,
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        let end = at + 1 + offset + 1;
                        return if self.slice(at..end).ends_with("))") { Ok(end) } else { self.opaque("arithmetic", at..end) };
                    }
                }
                b'0'..=b'9' | b'+' | b'-' | b'*' | b'/' | b'%' | b' ' => {}
                _ => break,
            }
        }
        self.opaque("arithmetic with variables or commands", at..at + 3)
    }

    /// `${…}` in one of the forms that only read a variable.
    fn parameter(&self, at: usize, split: Shape, draft: &mut Draft) -> Result<usize, Opaque> {
        let Some(length) = self.slice(at + 2..self.text.len()).find('}') else {
            return self.opaque("an expansion that is not closed", at..at + 2);
        };
        let end = at + 2 + length + 1;
        let body = self.slice(at + 2..at + 2 + length);
        let fail = || Err(Opaque::new("an expansion that does more than read a variable", at..end));
        let counts = body.len() > 1 && body.starts_with('#');
        let rest = if counts { body.get(1..).unwrap_or_default() } else { body };
        let name = rest.bytes().take_while(|byte| is_name(*byte)).count();
        let (name, mut rest) = match rest.split_at_checked(name) {
            Some(("", rest)) if rest.starts_with(['@', '*', '#', '?', '-', '$', '!']) => rest.split_at(1),
            Some(found) => found,
            None => return fail(),
        };
        let numbered = name.bytes().all(|byte| byte.is_ascii_digit());
        if name.is_empty() || name == "!" || (name.starts_with(|c: char| c.is_ascii_digit()) && !numbered) {
            return fail();
        }
        let mut all = name == "@";
        if let Some(index) = ["[@]", "[*]"].into_iter().find(|index| rest.starts_with(index)) {
            if self.dialect == Dialect::Posix {
                return fail();
            }
            all |= index == "[@]";
            rest = rest.get(3..).unwrap_or_default();
        }
        // No operator that assigns (`=`), reads another variable (`!`), evaluates (`@P`) or counts (`:1`); no expansion inside.
        let posix = [":-", ":+", ":?", "-", "+", "?", "%%", "%", "##", "#"];
        let more = ["//", "/", "^^", "^", ",,", ","];
        let known = posix.iter().chain(more.iter().filter(|_| self.dialect == Dialect::Bash)).find_map(|known| rest.strip_prefix(known));
        let plain = match known {
            _ if rest.is_empty() => true,
            Some(word) => !counts && !word.contains(['$', '`', '"', '\'', '\\', '{', '(', ')', '<', '>', '\n', '~', '!']),
            None => false,
        };
        if !plain {
            return fail();
        }
        draft.unknown(self.slice(at..end), if all { Shape::Any } else { split });
        Ok(end)
    }
}

/// In what an expansion stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quoting {
    /// Nothing.
    None,
    /// Double quotes.
    Double,
    /// A here-document.
    Document,
}

/// Whether a word that is written so makes assignments of the words behind it.
fn is_declaration(word: &str) -> bool {
    matches!(word, "export" | "readonly" | "declare" | "typeset" | "local")
}
