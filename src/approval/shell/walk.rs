//! From the grammar's tree to simple commands, with every byte accounted for.

use std::{
    cell::RefCell,
    collections::HashMap,
    ops::{ControlFlow, Range},
    time::{Duration, Instant},
};

use tree_sitter::{Node, ParseOptions, ParseState, Parser, Tree};

use super::{
    Assignment, DEEPEST, Dialect, MOST_COMMANDS, Opaque, Script, Shape, Simple, Word,
    lex::{Announced, Draft, Inner, Lexer, Quoting, Read},
};

thread_local! {
    /// Making a parser costs more than reading a short text.
    static PARSER: RefCell<Option<Parser>> = const { RefCell::new(None) };
}

/// How long the grammar may take. A text that parses takes a few milliseconds at most; repairing a broken one can take its length squared.
const PATIENCE: Duration = Duration::from_millis(200);

/// The tree of a text, or what is wrong with it. A text that is seen to be broken is not repaired: it is opaque in any case.
fn parse(text: &str) -> Result<Tree, Opaque> {
    let opaque = |what: &str| Opaque::new(what, 0..text.len());
    PARSER.with_borrow_mut(|parser| {
        if parser.is_none() {
            let mut new = Parser::new();
            new.set_language(&tree_sitter_bash::LANGUAGE.into()).map_err(|_| opaque("a text that the grammar does not take"))?;
            *parser = Some(new);
        }
        let Some(parser) = parser.as_mut() else { return Err(opaque("a text that the grammar does not take")) };
        parser.reset();
        let began = Instant::now();
        let (mut broken, mut late) = (false, false);
        let mut watch = |state: &ParseState| {
            broken = state.has_error();
            late = began.elapsed() > PATIENCE;
            if broken || late { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let options = ParseOptions::new().progress_callback(&mut watch);
        let bytes = text.as_bytes();
        let tree = parser.parse_with_options(&mut |at, _| bytes.get(at..).unwrap_or_default(), None, Some(options));
        match tree {
            Some(tree) => Ok(tree),
            None if late && !broken => Err(Opaque::budget("more to repair than there is time for", 0..text.len())),
            None => Err(opaque("what does not parse")),
        }
    })
}

/// Words with which a compound begins, goes on or ends. As the first word of a command they are never a program's name.
const RESERVED: [&str; 21] = [
    "!", "{", "}", "[[", "]]", "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in", "select",
    "then", "until", "while",
];

/// Tokens that structure a text and mean nothing else.
const OPERATORS: [&str; 16] = [";", ";;", ";&", ";;&", "&", "&&", "|", "||", "|&", "\n", "(", ")", "$(", "<(", ">(", "`"];

/// Reads a text with the grammar, then by its tokens, and holds the one against the other.
pub(super) fn walk(text: &str, dialect: Dialect, depth: usize, commands: usize) -> Script {
    let tree = match parse(text) {
        Ok(tree) => tree,
        Err(opaque) => return Script { opaque: Some(opaque), ..Script::default() },
    };
    let mut substitutions = HashMap::new();
    let mut wrong = None;
    let mut cursor = tree.walk();
    'nodes: loop {
        let node = cursor.node();
        if matches!(node.kind(), "command_substitution" | "process_substitution") {
            substitutions.entry(node.start_byte()).or_insert(node);
        }
        if wrong.is_none() && (node.is_error() || node.is_missing()) {
            wrong = Some(node.byte_range());
        }
        if cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                break 'nodes;
            }
        }
    }
    let mut walker = Walker {
        lexer: Lexer { text, dialect, substitutions },
        script: Script { opaque: wrong.map(|span| Opaque::new("what does not parse", span)), ..Script::default() },
        claims: Vec::new(),
        announced: Vec::new(),
        documents: Vec::new(),
        found: commands,
    };
    walker.region(tree.root_node(), 0..text.len(), depth);
    walker.script.commands.sort_by_key(|command| command.span.start);
    walker.script
}

struct Walker<'t> {
    lexer: Lexer<'t>,
    script: Script,
    /// What the parts of the present region cover.
    claims: Vec<Range<usize>>,
    /// The here-documents that the present region announced, in the order of the text.
    announced: Vec<Announced>,
    /// Where the grammar found the bodies and the ends of here-documents.
    documents: Vec<Range<usize>>,
    /// Commands found so far, those of the texts around this one included.
    found: usize,
}

impl<'t> Walker<'t> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.lexer.text.as_bytes().get(at).copied()
    }

    fn slice(&self, span: Range<usize>) -> &'t str {
        self.lexer.text.get(span).unwrap_or_default()
    }

    fn note(&mut self, opaque: Opaque) {
        // A budget that is exceeded outweighs what is merely not understood.
        if self.script.opaque.as_ref().is_none_or(|first| opaque.over_budget && !first.over_budget) {
            self.script.opaque = Some(opaque);
        }
    }

    fn full(&self) -> bool {
        self.script.opaque.as_ref().is_some_and(|opaque| opaque.over_budget)
    }

    /// Reads the commands of a node that spans `range`, and checks that nothing of it is left over.
    fn region(&mut self, node: Node<'t>, range: Range<usize>, depth: usize) {
        let claims = std::mem::take(&mut self.claims);
        let announced = std::mem::take(&mut self.announced);
        let documents = std::mem::take(&mut self.documents);
        self.children(node, depth);
        self.here_documents(depth);
        let mut mine = std::mem::replace(&mut self.claims, claims);
        self.announced = announced;
        self.documents = documents;
        if self.script.opaque.is_some() {
            return;
        }
        mine.sort_by_key(|claim| (claim.start, claim.end));
        let mut at = range.start;
        for claim in mine {
            if claim.is_empty() {
                continue;
            }
            if claim.start < at || !self.is_blank(at..claim.start) {
                return self.note(Opaque::new("what two readings take for different things", at.min(claim.start)..claim.end));
            }
            at = claim.end;
        }
        if !self.is_blank(at..range.end) {
            self.note(Opaque::new("what two readings take for different things", at..range.end));
        }
    }

    /// Whether there are only blanks, continued lines and comments.
    fn is_blank(&self, range: Range<usize>) -> bool {
        let mut at = range.start;
        while at < range.end {
            match self.byte(at) {
                Some(b' ' | b'\t' | b'\n') => at += 1,
                Some(b'\\') if self.lexer.continues(at) => at += 2,
                Some(b'#') if at == 0 || self.byte(at - 1).is_some_and(|byte| b" \t\n;&|()`".contains(&byte)) => {
                    while at < range.end && self.byte(at) != Some(b'\n') {
                        at += 1;
                    }
                    // A comment goes on to the end of its line, but for that in backquotes.
                    if self.byte(at).is_some_and(|byte| byte != b'\n' && byte != b'`') {
                        return false;
                    }
                }
                _ => return false,
            }
        }
        true
    }

    fn children(&mut self, node: Node<'t>, depth: usize) {
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            if self.full() {
                return;
            }
            self.node(child, depth);
        }
    }

    fn node(&mut self, node: Node<'t>, depth: usize) {
        if depth > DEEPEST {
            return self.note(Opaque::budget(format!("more than {DEEPEST} levels of nesting"), node.byte_range()));
        }
        let result = match node.kind() {
            kind if !node.is_named() => self.token(node, kind),
            "comment" => Ok(()),
            "list" | "pipeline" | "subshell" | "do_group" | "if_statement" | "elif_clause" | "else_clause" | "while_statement"
            | "negated_command" | "program" => {
                // A list or pipeline grows to the left without being any deeper.
                let deeper = usize::from(!matches!(node.kind(), "list" | "pipeline"));
                self.children(node, depth + deeper);
                Ok(())
            }
            "compound_statement" if self.byte(node.start_byte()) == Some(b'{') => {
                self.children(node, depth + 1);
                Ok(())
            }
            "compound_statement" | "c_style_for_statement" => Err(Opaque::new("arithmetic", node.byte_range())),
            "command" | "declaration_command" | "unset_command" | "variable_assignment" | "variable_assignments" => {
                self.simple(node.start_byte(), depth)
            }
            "test_command" if self.slice(node.byte_range()).starts_with("[[") => self.conditional(node, depth),
            "test_command" if self.slice(node.byte_range()).starts_with("((") => Err(Opaque::new("arithmetic", node.byte_range())),
            "test_command" => self.simple(node.start_byte(), depth),
            "redirected_statement" => self.redirected(node, depth),
            "heredoc_redirect" => {
                self.announcement(node, depth);
                Ok(())
            }
            "for_statement" => self.for_loop(node, depth),
            "case_statement" => self.case(node, depth),
            "function_definition" => self.function(node, depth),
            "ERROR" => Err(Opaque::new("what does not parse", node.byte_range())),
            kind => Err(Opaque::new(format!("a {}", kind.replace('_', " ")), node.byte_range())),
        };
        if let Err(opaque) = result {
            self.note(opaque);
        }
    }

    fn token(&mut self, node: Node<'t>, kind: &str) -> Result<(), Opaque> {
        let range = node.byte_range();
        let word = RESERVED.contains(&kind) && !matches!(kind, "[[" | "]]" | "coproc");
        let apart = self.byte(range.end).is_none_or(|byte| b" \t\n;&|()<>`\\".contains(&byte));
        if self.slice(range.clone()) != kind || !(OPERATORS.contains(&kind) || (word && apart)) {
            return Err(Opaque::new("a token that is not known", range));
        }
        if self.lexer.dialect == Dialect::Posix && matches!(kind, "|&" | ";&" | ";;&" | "select" | "function") {
            return Err(Opaque::new("a token that not every shell has", range));
        }
        self.claims.push(range);
        Ok(())
    }

    /// Takes in a simple command: its text, its here-documents, what it substitutes.
    fn take(&mut self, read: Read<'t>, depth: usize) {
        self.claims.push(read.simple.span.clone());
        self.announced.extend(read.announced);
        self.push(read.simple);
        self.inner(read.inner, depth);
    }

    fn push(&mut self, simple: Simple) {
        self.found += 1;
        if self.found > MOST_COMMANDS {
            return self.note(Opaque::budget(format!("more than {MOST_COMMANDS} commands"), simple.span));
        }
        self.script.commands.push(simple);
    }

    fn inner(&mut self, nodes: Inner<'t>, depth: usize) {
        for node in nodes {
            if self.full() {
                return;
            }
            if depth >= DEEPEST {
                return self.note(Opaque::budget(format!("more than {DEEPEST} levels of nesting"), node.byte_range()));
            }
            // `$(< file)` reads a file and has a redirection for a command.
            self.region(node, node.byte_range(), depth + 1);
        }
    }

    fn simple(&mut self, start: usize, depth: usize) -> Result<(), Opaque> {
        let read = self.lexer.simple(start)?;
        let simple = &read.simple;
        if let Some(first) = simple.words.first() {
            let timed = first.plain && first.text == "time";
            let second = simple.words.iter().skip(1).find(|word| !matches!(word.text.as_str(), "-p" | "--"));
            let reserved = |word: &Word| word.plain && RESERVED.contains(&word.text.as_str());
            if reserved(first) || (timed && second.is_some_and(|word| reserved(word) || word.text == "time")) {
                return Err(Opaque::new(format!("`{}` where a command begins", first.text), simple.span.clone()));
            }
        }
        self.take(read, depth);
        Ok(())
    }

    fn redirected(&mut self, node: Node<'t>, depth: usize) -> Result<(), Opaque> {
        let body = node.child_by_field_name("body");
        match body {
            None => self.simple(node.start_byte(), depth)?,
            // A redirection stands before the command, so that it is the command's first token.
            Some(body) if body.start_byte() > node.start_byte() && !is_compound(body) => self.simple(node.start_byte(), depth)?,
            Some(body) => {
                self.node(body, depth);
                if is_compound(body)
                    && let Some(read) = self.lexer.redirects(body.end_byte())?
                {
                    self.take(read, depth);
                }
            }
        }
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            match child.kind() {
                "heredoc_redirect" => self.announcement(child, depth),
                "file_redirect" | "herestring_redirect" => {}
                _ if Some(child) == body => {}
                _ => return Err(Opaque::new("a redirection that is not known", child.byte_range())),
            }
        }
        Ok(())
    }

    /// What the grammar hangs below `<<EOF`: the rest of the line, and the body.
    fn announcement(&mut self, node: Node<'t>, depth: usize) {
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            match child.kind() {
                // All of these are tokens of the command, which has claimed them.
                "<<"
                | "<<-"
                | "heredoc_start"
                | "file_descriptor"
                | "file_redirect"
                | "herestring_redirect"
                | "word"
                | "string"
                | "raw_string"
                | "concatenation"
                | "number"
                | "simple_expansion"
                | "expansion"
                | "command_substitution" => {}
                "heredoc_body" => self.documents.push(child.byte_range()),
                "heredoc_end" => {}
                _ => self.node(child, depth),
            }
        }
    }

    /// Holds the here-documents that were announced against the lines of the text.
    fn here_documents(&mut self, depth: usize) {
        let mut announced = std::mem::take(&mut self.announced);
        announced.sort_by_key(|document| document.end);
        let mut from = 0;
        for document in announced {
            match self.here_document(&document, from) {
                Ok((body, end)) => {
                    from = end;
                    self.claims.push(body.start..end);
                    if document.expands {
                        let mut inner = Vec::new();
                        match self.lexer.quoted(body.start, body.end, Quoting::Document, &mut Draft::new(), &mut inner) {
                            Ok(_) => self.inner(inner, depth),
                            Err(opaque) => self.note(opaque),
                        }
                    }
                }
                Err(opaque) => return self.note(opaque),
            }
        }
    }

    /// The body of a here-document, and where the line that ends it ends.
    fn here_document(&self, document: &Announced, from: usize) -> Result<(Range<usize>, usize), Opaque> {
        let fail = || Opaque::new("a here-document whose end is not plain", document.end..document.end);
        // It begins behind the first end of a line that belongs to no word.
        let start = if from > document.end {
            from + 1
        } else {
            let inside = |at: usize| self.claims.iter().any(|claim| claim.start < at && at + 1 < claim.end);
            let line = (document.end..self.lexer.text.len()).find(|at| self.byte(*at) == Some(b'\n') && !inside(*at));
            line.ok_or_else(fail)? + 1
        };
        if start > self.lexer.text.len() {
            return Err(fail());
        }
        let mut at = start;
        let mut continued = false;
        for line in self.slice(start..self.lexer.text.len()).split('\n') {
            let stripped = if document.strips { line.trim_start_matches('\t') } else { line };
            if stripped == document.delimiter {
                // The shell has joined it to the line before, so that it ends nothing.
                if continued {
                    return Err(fail());
                }
                let body = start..at;
                // The grammar may count the tabs before the last line to either side.
                let agrees = |found: &Range<usize>| {
                    found.start >= start
                        && self.slice(start..found.start).trim_matches('\t').is_empty()
                        && self.slice(at.min(found.end)..at.max(found.end)).trim_matches('\t').is_empty()
                };
                let empty = body.is_empty() && !self.documents.iter().any(|found| found.start >= start && found.start < at + line.len());
                if !empty && !self.documents.iter().any(agrees) {
                    return Err(fail());
                }
                return Ok((body, at + line.len()));
            }
            continued = document.expands && line.ends_with('\\');
            // Joined to what follows, it could be the end.
            if continued && document.delimiter.starts_with(stripped.trim_end_matches('\\')) {
                return Err(fail());
            }
            at += line.len() + 1;
        }
        Err(fail())
    }

    /// `[[ … ]]`: words, operators and patterns, but nothing that is evaluated as arithmetic.
    fn conditional(&mut self, node: Node<'t>, depth: usize) -> Result<(), Opaque> {
        let range = node.byte_range();
        if self.lexer.dialect == Dialect::Posix {
            return Err(Opaque::new("`[[`, which not every shell has", range));
        }
        let fail = |at: usize| Opaque::new("a condition that is not plain", at..range.end);
        let (mut at, mut inner, mut words) = (range.start + 2, Vec::new(), Vec::new());
        loop {
            while self.byte(at).is_some_and(|byte| b" \t\n".contains(&byte)) {
                at += 1;
            }
            if at >= range.end {
                return Err(fail(range.start));
            }
            if self.byte(at).is_some_and(|byte| b"()<>&|".contains(&byte)) && !["<(", ">("].contains(&self.slice(at..at + 2)) {
                at += 1;
                continue;
            }
            let (word, end) = self.lexer.word(at, false, &mut inner)?;
            if end == at || word.text.starts_with('#') {
                return Err(fail(at));
            }
            at = end;
            if word.plain && word.text == "]]" {
                break;
            }
            words.push(word);
        }
        if at != range.end {
            return Err(fail(range.start));
        }
        let number = |word: Option<&Word>| {
            word.is_some_and(|word| {
                word.literal().is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
                    || ["$#", "$?"].contains(&word.text.as_str())
            })
        };
        for (place, word) in words.iter().enumerate() {
            let compares = ["-eq", "-ne", "-lt", "-le", "-gt", "-ge"].contains(&word.text.as_str());
            let plain = !compares || (number(words.get(place.wrapping_sub(1))) && number(words.get(place + 1)));
            if !plain || ["-v", "-R"].contains(&word.text.as_str()) {
                return Err(Opaque::new("a condition that evaluates arithmetic", word.span.clone()));
            }
        }
        self.claims.push(range);
        self.inner(inner, depth);
        Ok(())
    }

    /// A variable that a loop sets: to a reader an assignment of something that is not known.
    fn sets(&mut self, name: &str, span: Range<usize>) {
        let value = Word { text: String::new(), shape: Shape::One, lead: String::new(), span: span.clone(), plain: false };
        self.push(Simple { assignments: vec![Assignment { name: name.to_owned(), value }], span, ..Simple::default() });
    }

    fn for_loop(&mut self, node: Node<'t>, depth: usize) -> Result<(), Opaque> {
        let Some(name) = node.child_by_field_name("variable") else { return Err(Opaque::new("a loop without a name", node.byte_range())) };
        self.claims.push(name.byte_range());
        let mut inner = Vec::new();
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            match child.kind() {
                "do_group" | "compound_statement" => self.node(child, depth + 1),
                "in" => {
                    self.token(child, "in")?;
                    let mut at = self.lexer.skip_blanks(child.end_byte());
                    loop {
                        let (word, end) = self.lexer.word(at, false, &mut inner)?;
                        if end == at {
                            break;
                        }
                        self.claims.push(word.span);
                        at = self.lexer.skip_blanks(end);
                    }
                }
                kind if !child.is_named() => self.token(child, kind)?,
                _ => {}
            }
        }
        self.sets(self.slice(name.byte_range()), name.byte_range());
        self.inner(inner, depth);
        Ok(())
    }

    fn case(&mut self, node: Node<'t>, depth: usize) -> Result<(), Opaque> {
        let mut inner = Vec::new();
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            match child.kind() {
                "case" => {
                    self.token(child, "case")?;
                    let (word, _) = self.lexer.word(self.lexer.skip_blanks(child.end_byte()), false, &mut inner)?;
                    self.claims.push(word.span);
                }
                "case_item" => self.case_item(child, depth + 1)?,
                kind if !child.is_named() => self.token(child, kind)?,
                _ => {}
            }
        }
        self.inner(inner, depth);
        Ok(())
    }

    fn case_item(&mut self, node: Node<'t>, depth: usize) -> Result<(), Opaque> {
        let mut inner = Vec::new();
        let mut at = node.start_byte();
        if self.byte(at) == Some(b'(') {
            at += 1;
        }
        loop {
            at = self.lexer.skip_blanks(at);
            let (word, end) = self.lexer.word(at, false, &mut inner)?;
            if end == at || (word.plain && word.text == "esac") {
                return Err(Opaque::new("a pattern that is not plain", node.byte_range()));
            }
            at = self.lexer.skip_blanks(end);
            match self.byte(at) {
                Some(b'|') => at += 1,
                Some(b')') => break,
                _ => return Err(Opaque::new("a pattern that is not plain", node.byte_range())),
            }
        }
        let patterns = node.start_byte()..at + 1;
        self.claims.push(patterns.clone());
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            if child.end_byte() > patterns.end {
                if child.start_byte() < patterns.end {
                    return Err(Opaque::new("a pattern that is not plain", node.byte_range()));
                }
                self.node(child, depth);
            }
        }
        self.inner(inner, depth);
        Ok(())
    }

    fn function(&mut self, node: Node<'t>, depth: usize) -> Result<(), Opaque> {
        let (Some(name), Some(body)) = (node.child_by_field_name("name"), node.child_by_field_name("body")) else {
            return Err(Opaque::new("a function without a body", node.byte_range()));
        };
        let written = self.slice(name.byte_range());
        if written.is_empty() || !written.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte)) {
            return Err(Opaque::new("a function with an unusual name", name.byte_range()));
        }
        self.script.functions.push(written.to_owned());
        self.claims.push(name.byte_range());
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            match child.kind() {
                kind if !child.is_named() => self.token(child, kind)?,
                _ if child == body => self.node(child, depth + 1),
                _ => {}
            }
        }
        if let Some(read) = self.lexer.redirects(body.end_byte())? {
            self.take(read, depth);
        }
        Ok(())
    }
}

/// Whether redirections behind a node are not part of its last command.
fn is_compound(node: Node<'_>) -> bool {
    match node.kind() {
        "subshell"
        | "compound_statement"
        | "for_statement"
        | "while_statement"
        | "if_statement"
        | "case_statement"
        | "c_style_for_statement" => true,
        "test_command" => node.child(0).is_some_and(|child| child.kind() != "["),
        _ => false,
    }
}
