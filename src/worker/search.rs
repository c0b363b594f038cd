//! `search`: lines that match a regular expression, with ripgrep's own libraries on one thread.

use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use grep_matcher::{LineTerminator, Matcher};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkContext, SinkFinish, SinkMatch};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ignore::overrides::{Override, OverrideBuilder};
use ignore::{DirEntry, WalkBuilder};

use super::error::WorkerError;
use super::text::{Body, head, visible};
use super::{Served, path};

const PATTERN_BYTES: usize = 4 * 1024;
/// For the compiled program, and again for the automaton's cache.
const REGEX_BYTES: usize = 10 * 1024 * 1024;
const DEFAULT_MATCHES: u64 = 200;
const MATCHES: u64 = 2000;
const CONTEXT: u32 = 20;
const LINE_CHARACTERS: usize = 400;
/// Characters shown before a match that lies further to the right than a shown line is long.
const LEAD_CHARACTERS: usize = 80;
/// What is read in all. `take` on a file enforces it to the byte.
const READ_BYTES: u64 = 200 * 1000 * 1000;
/// A longer line makes its file unsearchable, which is said.
const LINE_BUFFER_BYTES: usize = 16 * 1024 * 1024;
/// Directory entries that are looked at, ignored ones excluded.
const ENTRIES: u64 = 500_000;

/// The arguments of a search; see [`super::Request::Search`].
#[derive(Debug)]
pub(crate) struct Query<'a> {
    pub pattern: &'a str,
    pub path: Option<&'a str>,
    pub glob: Option<&'a str>,
    pub case_insensitive: bool,
    pub context: Option<u32>,
    pub limit: Option<u64>,
    pub files_only: bool,
}

/// Searches the files under a path, sorted by path.
///
/// `.gitignore`, `.ignore` and `.git/info/exclude` are honoured, also outside a repository; the user's global ignore file is not,
/// because the sandbox's home is not the user's. Hidden files are skipped unless the path itself is hidden. `.git` is never entered
/// from outside, links are not followed, and a file with a NUL byte is skipped as binary. The glob narrows what the ignore files
/// leave; unlike ripgrep's `--glob` it never brings an ignored file back.
///
/// # Errors
/// A pattern or glob that does not compile or is too large, a number out of range, and a path that cannot be read.
pub(crate) fn search(cwd: &Path, query: &Query<'_>) -> Result<Served, WorkerError> {
    let limit = query.limit.unwrap_or(DEFAULT_MATCHES);
    if !(1..=MATCHES).contains(&limit) {
        return Err(WorkerError::Argument { argument: "limit", problem: format!("{limit} is not in 1 to {MATCHES}") });
    }
    let context = query.context.unwrap_or(0);
    if context > CONTEXT {
        return Err(WorkerError::Argument { argument: "context", problem: format!("{context} is not in 0 to {CONTEXT}") });
    }
    let matcher = compile(query.pattern, query.case_insensitive)?;
    let shown = query.path.unwrap_or(".");
    let root = path::resolve(cwd, shown)?;
    let metadata = std::fs::metadata(&root).map_err(|source| WorkerError::reading(shown, "search it", source))?;
    if !metadata.is_dir() {
        path::require_regular(&metadata, shown, super::Access::Read)?;
    }
    let globs = overrides(&root, query.glob)?;

    let context_lines = if query.files_only { 0 } else { context as usize };
    let mut searcher = SearcherBuilder::new()
        .line_terminator(LineTerminator::crlf())
        .binary_detection(BinaryDetection::quit(0))
        .heap_limit(Some(LINE_BUFFER_BYTES))
        .before_context(context_lines)
        .after_context(context_lines)
        .build();
    let mut run = Run { body: Body::default(), found: 0, limit, left: READ_BYTES, unreadable: 0, stop: None };
    let hidden = !names_hidden(shown);
    let mut entries = 0;
    for entry in walk(cwd, &root, hidden, globs.clone()) {
        entries += 1;
        if entries > ENTRIES {
            run.stop = Some(Stop::Entries);
        }
        if run.stop.is_some() {
            break;
        }
        match entry {
            Err(_) => run.unreadable += 1,
            Ok(entry) => {
                let is_file = if entry.depth() == 0 { metadata.is_file() } else { entry.file_type().is_some_and(|kind| kind.is_file()) };
                if !is_file {
                    continue;
                }
                if entry.depth() > 0 && globs.matched(entry.path(), false).is_ignore() {
                    continue;
                }
                let name = display(&root, shown, entry.path());
                run.file(&mut searcher, &matcher, entry.path(), &name, query.files_only);
            }
        }
    }
    Ok(run.finish(query.files_only))
}

fn compile(pattern: &str, case_insensitive: bool) -> Result<RegexMatcher, WorkerError> {
    let refuse = |problem: String| WorkerError::Argument { argument: "pattern", problem };
    if pattern.len() > PATTERN_BYTES {
        return Err(refuse(format!("{} bytes; at most {PATTERN_BYTES}", pattern.len())));
    }
    RegexMatcherBuilder::new()
        .case_insensitive(case_insensitive)
        .multi_line(true)
        .line_terminator(Some(b'\n'))
        .crlf(true)
        .size_limit(REGEX_BYTES)
        .dfa_size_limit(REGEX_BYTES)
        .build(pattern)
        .map_err(|error| match error.kind() {
            grep_regex::ErrorKind::NotAllowed(_) | grep_regex::ErrorKind::Banned(_) => {
                refuse(format!("{error}: the search goes line by line, so a pattern cannot span lines"))
            }
            _ => refuse(unwrapped(&error.to_string(), pattern)),
        })
}

/// A syntax error that shows the pattern as it was given: the library parses it inside `(?:` and `)`, and shows that.
fn unwrapped(message: &str, pattern: &str) -> String {
    let mut lines: Vec<String> = message.lines().map(str::to_owned).collect();
    let wrapped = format!("    (?:{pattern})");
    let Some(line) = lines.iter().position(|line| *line == wrapped) else { return message.to_owned() };
    lines[line] = format!("    {pattern}");
    if let Some(caret) = lines.get_mut(line + 1) {
        match caret.strip_prefix("       ") {
            Some(rest) => *caret = format!("    {rest}"),
            // A group that is left open takes the closing parenthesis for its own, so that the mark is on the wrapper.
            None => caret.clear(),
        }
    }
    lines.retain(|line| !line.is_empty());
    lines.join("\n")
}

fn overrides(root: &Path, glob: Option<&str>) -> Result<Override, WorkerError> {
    let Some(glob) = glob else { return Ok(Override::empty()) };
    let refuse = |problem: String| WorkerError::Argument { argument: "glob", problem };
    if glob.len() > PATTERN_BYTES {
        return Err(refuse(format!("{} bytes; at most {PATTERN_BYTES}", glob.len())));
    }
    let mut builder = OverrideBuilder::new(root);
    builder.add(glob).and_then(|builder| builder.build()).map_err(|error| refuse(error.to_string()))
}

fn walk(cwd: &Path, root: &Path, hidden: bool, globs: Override) -> ignore::Walk {
    let in_repository = root.ancestors().any(|directory| directory.join(".git").exists());
    // Outside a repository nothing would stop the search for parents' ignore files: a `*` in the home directory's (as people have
    // who keep their settings in git) would hide every project in it. So there, those from the working directory on count.
    let above = if in_repository { Vec::new() } else { ignore_files_above(cwd, root) };
    WalkBuilder::new(root)
        .hidden(hidden)
        .parents(in_repository)
        // Where there is a repository, its root ends the search for parents' ignore files, which only this setting brings about.
        .require_git(in_repository)
        .git_global(false)
        .follow_links(false)
        .sort_by_file_path(Path::cmp)
        .filter_entry(move |entry| entry.depth() == 0 || enters(entry, &globs, &above))
        .build()
}

fn enters(entry: &DirEntry, globs: &Override, above: &[Gitignore]) -> bool {
    let directory = entry.file_type().is_some_and(|kind| kind.is_dir());
    if entry.file_name() == ".git" || (directory && globs.matched(entry.path(), true).is_ignore()) {
        return false;
    }
    for rules in above {
        let matched = rules.matched(entry.path(), directory);
        if !matched.is_none() {
            return !matched.is_ignore();
        }
    }
    true
}

/// The ignore files between a root and the working directory that it lies in, the nearest first.
fn ignore_files_above(cwd: &Path, root: &Path) -> Vec<Gitignore> {
    let root = path::normalize(root);
    let cwd = path::normalize(cwd);
    if root == cwd || !root.starts_with(&cwd) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for directory in root.ancestors().skip(1).take_while(|directory| directory.starts_with(&cwd)) {
        for name in [".ignore", ".gitignore"] {
            let file = directory.join(name);
            if file.is_file() {
                let mut builder = GitignoreBuilder::new(directory);
                builder.add(file);
                found.extend(builder.build());
            }
        }
    }
    found
}

fn names_hidden(shown: &str) -> bool {
    Path::new(shown).components().any(|part| matches!(part, Component::Normal(name) if name.to_string_lossy().starts_with('.')))
}

/// The name of a found file, built from the caller's own name for the root.
fn display(root: &Path, shown: &str, found: &Path) -> String {
    let relative = found.strip_prefix(root).unwrap_or(found);
    let name = if shown == "." {
        relative.to_path_buf()
    } else if relative.as_os_str().is_empty() {
        PathBuf::from(shown)
    } else {
        Path::new(shown).join(relative)
    };
    visible(&name.to_string_lossy()).into_owned()
}

/// Why a search ended before every file was read.
#[derive(Debug, Clone, Copy)]
enum Stop {
    Matches,
    Text,
    Read,
    Entries,
}

struct Run {
    body: Body,
    found: u64,
    limit: u64,
    /// Bytes that may still be read.
    left: u64,
    /// Files and directories that could not be searched.
    unreadable: u64,
    stop: Option<Stop>,
}

impl Run {
    fn file(&mut self, searcher: &mut Searcher, matcher: &RegexMatcher, file: &Path, name: &str, files_only: bool) {
        let Ok((opened, metadata)) = path::open_regular(file, name, true) else {
            self.unreadable += 1;
            return;
        };
        let mut reader = opened.take(self.left);
        let mut sink = FileSink {
            name,
            matcher,
            files_only,
            lines: Vec::new(),
            found: 0,
            room: self.limit - self.found,
            over: false,
            binary: false,
            bytes: 0,
        };
        let searched = searcher.search_reader(matcher, &mut reader, &mut sink);
        let cut_short = reader.limit() == 0 && metadata.len() > self.left;
        self.left = reader.limit();
        if sink.binary {
            return;
        }
        if searched.is_err() {
            self.unreadable += 1;
        }
        if !self.body.is_empty() && !sink.lines.is_empty() && !files_only && searcher.before_context() > 0 {
            self.body.push("--");
        }
        for line in &sink.lines {
            if !self.body.push(line) {
                self.stop = Some(Stop::Text);
                return;
            }
        }
        self.found += sink.found;
        if sink.over {
            self.stop = Some(Stop::Matches);
        } else if cut_short {
            self.stop = Some(Stop::Read);
        }
    }

    fn finish(mut self, files_only: bool) -> Served {
        let things = if files_only { "files" } else { "matches" };
        if self.body.is_empty() {
            self.body.push("no matches");
        }
        match self.stop {
            None => {}
            Some(Stop::Matches) => {
                self.body.note(format!("stopped after {} {things}; there are more: narrow the pattern or raise the limit", self.found));
            }
            Some(Stop::Text) => self.body.note("stopped at the size cap of a reply; there are more: narrow the pattern, path or glob"),
            Some(Stop::Read) => self.body.note("stopped after reading 200 MB; the rest was not searched: narrow the path or glob"),
            Some(Stop::Entries) => self.body.note(format!("stopped after {ENTRIES} entries; the rest was not searched: narrow the path")),
        }
        if self.unreadable > 0 {
            self.body.note(format!("{} files or directories could not be searched", self.unreadable));
        }
        Served { text: self.body.finish(), changes: Vec::new(), truncated: self.stop.is_some() }
    }
}

/// Collects one file's lines, which count only once the file has turned out not to be binary.
struct FileSink<'a> {
    name: &'a str,
    matcher: &'a RegexMatcher,
    files_only: bool,
    lines: Vec<String>,
    found: u64,
    /// Matches that may still be shown.
    room: u64,
    /// Whether there was a match beyond that.
    over: bool,
    binary: bool,
    /// Length of `lines`, so that one file cannot collect more than a reply holds.
    bytes: usize,
}

impl FileSink<'_> {
    fn collect(&mut self, line: String) -> bool {
        self.bytes += line.len();
        self.lines.push(line);
        self.bytes <= super::text::REPLY_BYTES
    }
}

impl Sink for FileSink<'_> {
    type Error = io::Error;

    fn matched(&mut self, _searcher: &Searcher, found: &SinkMatch<'_>) -> Result<bool, io::Error> {
        if self.found == self.room {
            self.over = true;
            return Ok(false);
        }
        self.found += 1;
        if self.files_only {
            self.collect(self.name.to_owned());
            return Ok(false);
        }
        let bytes = found.bytes();
        let matched_to = self.matcher.find(bytes).ok().flatten().map_or(0..0, |place| place.start()..place.end());
        let line = format!("{}:{}:{}", self.name, found.line_number().unwrap_or(0), window(bytes, matched_to));
        Ok(self.collect(line))
    }

    fn context(&mut self, _searcher: &Searcher, context: &SinkContext<'_>) -> Result<bool, io::Error> {
        let line = format!("{}-{}-{}", self.name, context.line_number().unwrap_or(0), window(context.bytes(), 0..0));
        Ok(self.collect(line))
    }

    fn context_break(&mut self, _searcher: &Searcher) -> Result<bool, io::Error> {
        Ok(self.collect("--".to_owned()))
    }

    fn binary_data(&mut self, _searcher: &Searcher, _offset: u64) -> Result<bool, io::Error> {
        self.binary = true;
        Ok(false)
    }

    fn finish(&mut self, _searcher: &Searcher, end: &SinkFinish) -> Result<(), io::Error> {
        self.binary |= end.binary_byte_offset().is_some();
        Ok(())
    }
}

/// A line without its ending, cut to 400 characters that hold the match at `place` where there is one.
fn window(bytes: &[u8], place: std::ops::Range<usize>) -> String {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let before = String::from_utf8_lossy(bytes.get(..place.start).unwrap_or_default()).chars().count();
    let through = String::from_utf8_lossy(bytes.get(..place.end).unwrap_or_default()).chars().count();
    let line = String::from_utf8_lossy(bytes);
    let skip = if through <= LINE_CHARACTERS { 0 } else { before.saturating_sub(LEAD_CHARACTERS) };
    let start = line.char_indices().nth(skip).map_or(line.len(), |(start, _)| start);
    let (shown, after) = head(&line[start..], LINE_CHARACTERS);
    let mut text = String::new();
    if skip > 0 {
        text.push_str(&format!("[{skip} characters] …"));
    }
    text.push_str(shown);
    if after > 0 {
        text.push_str(&format!("… [+{after} characters]"));
    }
    text
}
